/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xl.cfg(5): what nidra takes of it. A parser of its own, because Xen's library for it brings the
 * whole toolstack along.
 */
#ifndef NIDRA_CLI_XLCFG_H
#define NIDRA_CLI_XLCFG_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

/*
 * The configuration as the monitor wants it (see guest/config.h). Keys that nidra does not use are
 * named in *ret_ignored (allocated, "a, b", or NULL). Paths are made absolute.
 */
int xlcfg_parse(const char *text, const char *file, json_t **ret, char **ret_ignored, struct err *err);

#endif
