/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log: few lines, sentences, for operators; to stderr (a monitor's stderr is its log
 * file). Trace: for developers, one line "event key=value ..." per event, chosen by
 * NIDRA_TRACE, a comma-separated list of globs over event names ("pm_*,hcall"). An event
 * that is off costs a load and a branch.
 */
#ifndef NIDRA_BASE_LOG_H
#define NIDRA_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

enum log_level { LOG_ERROR_, LOG_WARN_, LOG_INFO_, LOG_DEBUG_ };

/* Lines above @level are dropped. Default: info. */
void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_line(LOG_ERROR_, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN_, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO_, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG_, __VA_ARGS__)

/*
 * For lines that a guest can bring about as often as it likes: ten, and then one a minute. False: not this one. Zeros
 * at first, and under a lock of the caller's.
 */
struct log_limit {
	unsigned int used;
	uint64_t since_ns;
};
bool log_allowed(struct log_limit *l);

/* 0: not asked yet, 1: off, 2: on. One per event and file that uses it. */
bool trace_ask(const char *event, signed char *state);
void trace_emit(const char *event, const char *fmt, ...) _printf_(2, 3);

/* trace(hcall, "nr=%u r=%d", nr, r); */
#define trace(event, ...)                                                                                              \
	do {                                                                                                           \
		static signed char trace_state_;                                                                       \
		if (__builtin_expect(trace_state_ != 1, 0) && trace_ask(#event, &trace_state_))                        \
			trace_emit(#event, __VA_ARGS__);                                                               \
	} while (0)

#endif
