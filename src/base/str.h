/* SPDX-License-Identifier: Apache-2.0 */
/* Text: printf into allocated memory, and what C lacks for parsing. */
#ifndef NIDRA_BASE_STR_H
#define NIDRA_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/* Allocated string, or NULL without memory. */
char *str_printf(const char *fmt, ...) _printf_(1, 2);

/* @s without the spaces and tabs around it; in place. */
char *str_trim(char *s);

/* Which of @n @names @s is, or -EINVAL. */
int str_index(const char *const *names, size_t n, const char *s);

/* "nbd://..." and the like: a disk of an NBD server. */
bool str_is_nbd_uri(const char *s);

#endif
