/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define LIMIT_BURST   10
#define LIMIT_EACH_NS (60 * NSEC_PER_SEC)

static enum log_level max_level = LOG_INFO_;

void log_set_level(enum log_level level)
{
	max_level = level;
}

/* One write per line, so that lines of several threads do not mix. */
static void _printf_(2, 0) emit(const char *head, const char *fmt, va_list ap)
{
	char line[1024];
	uint64_t now = clock_monotonic_ns();
	int n;

	n = snprintf(line, sizeof(line), "[%5llu.%06llu] %s", (unsigned long long)(now / 1000000000),
		     (unsigned long long)(now / 1000 % 1000000), head);
	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	strcat(line, "\n");
	fputs(line, stderr);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const head[] = { "error: ", "warning: ", "", "debug: " };
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	emit(head[level], fmt, ap);
	va_end(ap);
}

bool log_allowed(struct log_limit *l)
{
	uint64_t now = clock_monotonic_ns(), minutes = (now - l->since_ns) / LIMIT_EACH_NS;

	l->used -= (unsigned int)MIN(minutes, (uint64_t)l->used);
	if (minutes)
		l->since_ns = now;
	if (l->used == LIMIT_BURST)
		return false;
	l->used++;
	return true;
}

static bool trace_wanted(const char *event)
{
	const char *globs = getenv("NIDRA_TRACE");
	char glob[64];

	for (const char *p = globs; p && *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
		snprintf(glob, sizeof(glob), "%.*s", (int)strcspn(p, ","), p);
		if (!fnmatch(glob, event, 0))
			return true;
	}
	return false;
}

bool trace_ask(const char *event, signed char *state)
{
	if (!*state)
		*state = trace_wanted(event) ? 2 : 1;
	return *state == 2;
}

void trace_emit(const char *event, const char *fmt, ...)
{
	char head[64];
	va_list ap;

	snprintf(head, sizeof(head), "trace: %s ", event);
	va_start(ap, fmt);
	emit(head, fmt, ap);
	va_end(ap);
}
