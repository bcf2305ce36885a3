/* SPDX-License-Identifier: Apache-2.0 */
/* What a person names to make a machine of: a configuration is text, a disk has a table or a filesystem. */
#ifndef NIDRA_CLI_FILEKIND_H
#define NIDRA_CLI_FILEKIND_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum filekind { FILEKIND_TEXT, FILEKIND_DISK };

#define FILEKIND_BYTES ((size_t)65536 + 4096) /* that are looked at: up to Btrfs' superblock */

/* Of the first bytes of a file; -EINVAL with a sentence that names @file, if it is neither. */
int filekind(const uint8_t *b, size_t len, const char *file, struct err *err);
int filekind_of(const char *file, struct err *err);

#endif
