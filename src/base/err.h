/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An error: a negative errno and a sentence for a person.
 *
 * It never allocates, because it has to work while everything else fails.
 * Functions that can fail because of something an operator did take a
 * `struct err *` last and end with `return err_set(err, -EIO, "...")` where the
 * failure was noticed; callers add what they were doing by err_prefix(). Only
 * the programs' own layers (monitor, cli) print, so a failure is told once.
 *
 * @err may be NULL everywhere: the caller wants only the number.
 */
#ifndef NIDRA_BASE_ERR_H
#define NIDRA_BASE_ERR_H

#include "base/util.h"

struct err {
	int code; /* negative errno; 0: none */
	char msg[512];
};

/* Sets the sentence as it is, and returns @code. */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* The same with ": " and the text of @code's errno behind it. */
int err_errno(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* Puts "@fmt: " before the sentence, and returns the code (-EIO if there is no @err to ask). */
int err_prefix(struct err *err, const char *fmt, ...) _printf_(2, 3);

#ifdef __clang_analyzer__ /* it cannot know that they return what they were given, a negative number */
#define negative_(r)                                                                                                   \
	({                                                                                                             \
		int r_ = (r);                                                                                          \
		if (r_ >= 0)                                                                                           \
			__builtin_unreachable();                                                                       \
		r_;                                                                                                    \
	})
#define err_set(...)	negative_(err_set(__VA_ARGS__))
#define err_errno(...)	negative_(err_errno(__VA_ARGS__))
#define err_prefix(...) negative_(err_prefix(__VA_ARGS__))
#endif

#endif
