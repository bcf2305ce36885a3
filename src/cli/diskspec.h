/* SPDX-License-Identifier: Apache-2.0 */
/* Disks as people write them: xl-disk-configuration(5), in a file or behind --disk. */
#ifndef NIDRA_CLI_DISKSPEC_H
#define NIDRA_CLI_DISKSPEC_H

#include <jansson.h>

#include "base/err.h"

/*
 * "PATH", "PATH,raw,xvda,ro", "vdev=xvda,access=ro,cache=none,target=PATH" and mixtures, as the configuration
 * wants it (guest/config.h). The path is made absolute. `cache` is ours; formats other than raw are refused.
 */
int diskspec_parse(const char *text, json_t **ret, struct err *err);

#endif
