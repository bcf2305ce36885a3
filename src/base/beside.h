/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the folder of the program that runs: nidra's other programs, and its modules. */
#ifndef NIDRA_BASE_BESIDE_H
#define NIDRA_BASE_BESIDE_H

#include <limits.h>

#include "base/err.h"

#define BESIDE_PATH_MAX (PATH_MAX + 32)

/* Path of @name there, whether it exists or not; at most 31 characters. */
int beside_path(const char *name, char ret[BESIDE_PATH_MAX], struct err *err);

/*
 * A function of a module: code that few machines want, with libraries of its own that the others then need not load.
 * @ret is a pointer to a pointer to that function. It stays loaded. A program that has the function itself (a test)
 * uses its own.
 */
int beside_function(const char *module, const char *function, void *ret, struct err *err);

#endif
