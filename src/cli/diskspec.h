/* SPDX-License-Identifier: Apache-2.0 */
/* Disks as people write them: xl-disk-configuration(5), in a file or behind --disk. */
#ifndef NIDRA_CLI_DISKSPEC_H
#define NIDRA_CLI_DISKSPEC_H

#include <jansson.h>

#include "base/err.h"

/* "qcow2" for web.qcow2; NULL: its name says nothing, so it is raw. */
const char *diskspec_format_of(const char *file);

/*
 * "PATH", "PATH,raw,xvda,ro", "vdev=xvda,access=ro,cache=none,target=PATH" and mixtures, as the configuration
 * wants it (guest/config.h). The path is made absolute, unless it is a URI of NBD. Without a format, a file's
 * extension says which (web.qcow2), never its content. `cache` and `on-error` are ours.
 */
int diskspec_parse(const char *text, json_t **ret, struct err *err);

#endif
