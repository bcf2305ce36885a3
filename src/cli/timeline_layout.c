/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/timeline_layout.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

const struct timeline_result_look timeline_results[TIMELINE_RESULTS] = {
	[TIMELINE_NOT_RUN] = { "not-run", "not run", "\033[2m" },
	[TIMELINE_RUNNING] = { "running", "running", "\033[36m" },
	[TIMELINE_DONE] = { "done", "done", "\033[32m" },
	[TIMELINE_FAILED] = { "failed", "failed", "\033[31m" },
	[TIMELINE_CANCELLED] = { "cancelled", "cancelled", "\033[33m" },
	[TIMELINE_TIMED_OUT] = { "timed-out", "timed out", "\033[35m" },
	[TIMELINE_UNDONE] = { "undone", "undone", "\033[2m" },
};

enum timeline_result timeline_result_parse(const char *name)
{
	for (size_t i = 0; i < TIMELINE_RESULTS; i++)
		if (!strcmp(name, timeline_results[i].name))
			return (enum timeline_result)i;
	return TIMELINE_NOT_RUN;
}

/* More than a century: sums of two such lengths still fit. */
#define LENGTH_MAX (UINT64_MAX / 4)

uint64_t timeline_op_length(const struct timeline_op *op)
{
	uint64_t end = op->end_ns;

	for (size_t i = 0; i < op->n; i++) {
		const struct timeline_span *s = &op->spans[i];

		end = MAX(end, s->start_ns);
		end = MAX(end, s->end_ns);
		end = MAX(end, s->undo_start_ns);
		end = MAX(end, s->undo_end_ns);
	}
	return end > op->start_ns ? MIN(end - op->start_ns, LENGTH_MAX) : 1;
}

static struct stretch stretch(const struct timeline_op *op, uint64_t start, uint64_t end)
{
	uint64_t length = timeline_op_length(op);
	struct stretch s = { .there = start != 0 };

	if (!s.there)
		return s;
	s.from = start > op->start_ns ? MIN(start - op->start_ns, length) : 0;
	s.to = end ? (end > op->start_ns ? MIN(end - op->start_ns, length) : 0) : length;
	s.to = MAX(s.from, s.to);
	return s;
}

struct stretch timeline_entered(const struct timeline_op *op, const struct timeline_span *s)
{
	return stretch(op, s->start_ns, s->end_ns);
}

struct stretch timeline_undone(const struct timeline_op *op, const struct timeline_span *s)
{
	return stretch(op, s->undo_start_ns, s->undo_end_ns);
}

struct text timeline_duration(uint64_t ns)
{
	static const struct {
		uint64_t unit;
		const char *name;
	} row[] = { { NSEC_PER_SEC, "s" }, { NSEC_PER_MSEC, "ms" }, { NSEC_PER_USEC, "µs" } };
	struct text t;
	size_t i = 0;

	if (ns >= 60 * NSEC_PER_SEC) {
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " min %02" PRIu64 " s", ns / (60 * NSEC_PER_SEC),
			 ns / NSEC_PER_SEC % 60);
		return t;
	}
	while (i + 1 < ARRAY_SIZE(row) && ns < row[i].unit)
		i++;
	if (ns >= 100 * row[i].unit || i + 1 == ARRAY_SIZE(row))
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " %s", ns / row[i].unit, row[i].name);
	else if (ns >= 10 * row[i].unit)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 ".%" PRIu64 " %s", ns / row[i].unit,
			 ns % row[i].unit / (row[i].unit / 10), row[i].name);
	else
		snprintf(t.s, sizeof(t.s), "%" PRIu64 ".%02" PRIu64 " %s", ns / row[i].unit,
			 ns % row[i].unit / (row[i].unit / 100), row[i].name);
	return t;
}

struct text timeline_tick_label(uint64_t ns)
{
	struct text t = timeline_duration(ns);
	char *point = strchr(t.s, '.'), *unit = strchr(t.s, ' '), *end = unit;
	char *seconds = strstr(t.s, " 00 s");

	if (!ns)
		return (struct text){ "0" };
	if (seconds)
		*seconds = 0;
	if (!point)
		return t;
	while (end[-1] == '0')
		end--;
	if (end[-1] == '.')
		end--;
	memmove(end, unit, strlen(unit) + 1);
	return t;
}

uint64_t timeline_tick_step(uint64_t length, uint64_t most)
{
	bool minutes = length / most > 20 * NSEC_PER_SEC;
	uint64_t step = minutes ? 60 * NSEC_PER_SEC : NSEC_PER_USEC;

	for (unsigned int i = 0; length / step > most && step < UINT64_MAX / 5; i++)
		step = i % 3 == 1 ? step / 2 * 5 : step * 2;
	return step;
}

struct phrase timeline_summary(const struct timeline_op *op)
{
	bool undid = false;
	struct phrase t;

	for (size_t i = 0; i < op->n; i++)
		undid |= op->spans[i].result == TIMELINE_UNDONE;
	snprintf(t.s, sizeof(t.s), "%s %s %s%s", timeline_results[op->result].words,
		 op->result == TIMELINE_DONE	  ? "in"
		 : op->result == TIMELINE_RUNNING ? "for"
						  : "after",
		 timeline_duration(timeline_op_length(op)).s, undid ? ", all undone" : "");
	return t;
}

struct phrase timeline_remark(const struct timeline_op *op, const struct timeline_span *span)
{
	struct stretch undo = timeline_undone(op, span);
	struct phrase t = { "" };

	if (span->result == TIMELINE_UNDONE && undo.there)
		snprintf(t.s, sizeof(t.s), "undone in %s", timeline_duration(undo.to - undo.from).s);
	else if (span->result != TIMELINE_DONE)
		snprintf(t.s, sizeof(t.s), "%s", timeline_results[span->result].words);
	return t;
}

size_t timeline_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

size_t timeline_bytes_of(const char *s, size_t most)
{
	size_t i = 0;

	for (size_t n = 0; s[i]; i++) {
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
		if (n > most)
			break;
	}
	return i;
}

struct layout timeline_layout(const struct timeline_op *ops, size_t n)
{
	struct layout l = { 0 };

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < ops[i].n; j++) {
			const struct timeline_span *span = &ops[i].spans[j];
			struct phrase more = timeline_remark(&ops[i], span);

			l.names = MAX(l.names, timeline_columns(span->name));
			l.remarks = MAX(l.remarks, timeline_columns(more.s));
		}
	}
	l.names = MIN(l.names, (size_t)NAME_MAX_COLUMNS);
	return l;
}

size_t timeline_line_length(const char *s, size_t width)
{
	size_t len = strlen(s), cut = MIN(len, width);

	if (cut == len)
		return len;
	while (cut && s[cut] != ' ')
		cut--;
	return cut ? cut : MIN(len, width);
}
