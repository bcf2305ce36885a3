/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks, in nanoseconds. */
#ifndef NIDRA_BASE_CLOCK_H
#define NIDRA_BASE_CLOCK_H

#include <stdint.h>

#define NSEC_PER_USEC UINT64_C(1000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC  UINT64_C(1000000000)

uint64_t clock_monotonic_ns(void);
uint64_t clock_realtime_ns(void);

struct timespec;
struct timespec clock_timespec(uint64_t ns);

#endif
