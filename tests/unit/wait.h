/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for what another thread does. Behind cmocka.h. */
#ifndef NIDRA_TESTS_WAIT_H
#define NIDRA_TESTS_WAIT_H

#include <sched.h>

#include "base/clock.h"

#define LIMIT_NS (20 * NSEC_PER_SEC) /* what takes so long will not come */

/* @step between looks. */
#define WAIT_DOING(cond, step)                                                                                         \
	do {                                                                                                           \
		uint64_t limit_ = clock_monotonic_ns() + LIMIT_NS;                                                     \
		while (!(cond) && clock_monotonic_ns() < limit_)                                                       \
			step;                                                                                          \
		assert_true(cond);                                                                                     \
	} while (0)

#define WAIT(cond) WAIT_DOING(cond, sched_yield())

#endif
