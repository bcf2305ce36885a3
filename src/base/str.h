/* SPDX-License-Identifier: Apache-2.0 */
/* printf into allocated memory. */
#ifndef NIDRA_BASE_STR_H
#define NIDRA_BASE_STR_H

#include "base/util.h"

/* Allocated string, or NULL without memory. */
char *str_printf(const char *fmt, ...) _printf_(1, 2);

#endif
