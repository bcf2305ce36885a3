/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draws what happened in an operation, phase by phase: as bars in a terminal, or as an SVG file
 * for a browser. Knows no engine and no socket: whoever has a timeline fills in these structs.
 *
 * All times are of one clock, in nanoseconds; 0: did not happen. They may come from elsewhere,
 * so any values are drawn somehow. Nothing here fails: ask ferror() afterwards.
 */
#ifndef NIDRA_CLI_TIMELINE_DRAW_H
#define NIDRA_CLI_TIMELINE_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum timeline_result {
	TIMELINE_NOT_RUN,
	TIMELINE_RUNNING,
	TIMELINE_DONE,
	TIMELINE_FAILED,
	TIMELINE_CANCELLED,
	TIMELINE_TIMED_OUT,
	TIMELINE_UNDONE,
	TIMELINE_RESULTS
};

/* "not-run", "running", "done", "failed", "cancelled", "timed-out", "undone"; else NOT_RUN. */
enum timeline_result timeline_result_parse(const char *name);

struct timeline_span {
	const char *name;
	enum timeline_result result;
	uint64_t start_ns, end_ns; /* end 0 while it runs */
	uint64_t undo_start_ns, undo_end_ns;
};

struct timeline_op {
	const char *op;	     /* "save" */
	const char *note;    /* beside the name: machine, hour; NULL */
	const char *message; /* why it failed; NULL */
	enum timeline_result result;
	uint64_t start_ns, end_ns; /* end 0 while it runs: it is drawn up to the last time known */
	const struct timeline_span *spans;
	size_t n;
};

/* @width: columns of the terminal (80 if 0). @colour: with escape sequences. */
void timeline_draw_text(FILE *f, const struct timeline_op *ops, size_t n, unsigned int width, bool colour);
void timeline_draw_svg(FILE *f, const struct timeline_op *ops, size_t n);

#endif
