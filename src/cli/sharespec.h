/* SPDX-License-Identifier: Apache-2.0 */
/* Shared folders as people write them, in a file or behind --share. */
#ifndef NIDRA_CLI_SHARESPEC_H
#define NIDRA_CLI_SHARESPEC_H

#include <jansson.h>

#include "base/err.h"

/* "FOLDER:TAG[,ro|rw]", as the configuration wants it (guest/config.h). The folder is made absolute. */
int sharespec_parse(const char *text, json_t **ret, struct err *err);

#endif
