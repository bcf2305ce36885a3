/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that C lacks. */
#ifndef NIDRA_BASE_UTIL_H
#define NIDRA_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MIN(a, b)                                                                                                      \
	({                                                                                                             \
		__typeof__(a) a_ = (a);                                                                                \
		__typeof__(b) b_ = (b);                                                                                \
		a_ < b_ ? a_ : b_;                                                                                     \
	})
#define MAX(a, b)                                                                                                      \
	({                                                                                                             \
		__typeof__(a) a_ = (a);                                                                                \
		__typeof__(b) b_ = (b);                                                                                \
		a_ > b_ ? a_ : b_;                                                                                     \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Sums and products of sizes that come from outside. True: it overflowed. */
#define add_overflow(a, b, ret) __builtin_add_overflow(a, b, ret)
#define mul_overflow(a, b, ret) __builtin_mul_overflow(a, b, ret)

#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _unused_	     __attribute__((unused))
#define _noreturn_	     __attribute__((noreturn))

#endif
