/* SPDX-License-Identifier: Apache-2.0 */
/* Times and words, as both drawings have them. */
#ifndef NIDRA_CLI_TIMELINE_LAYOUT_H
#define NIDRA_CLI_TIMELINE_LAYOUT_H

#include "cli/timeline_draw.h"

struct timeline_result_look {
	const char *name;   /* as the engine says it */
	const char *words;  /* as a person reads it */
	const char *escape; /* of the terminal; the sixteen colours, which follow its theme */
};
extern const struct timeline_result_look timeline_results[TIMELINE_RESULTS];

/* A stretch of time inside an operation, in ns since its start. */
struct stretch {
	uint64_t from, to;
	bool there;
};

struct text {
	char s[32];
};

struct phrase {
	char s[96];
};

enum { NAME_MAX_COLUMNS = 28 };

/* What all operations of a drawing have in common, so that their bars stand one below another. */
struct layout {
	size_t names, remarks; /* columns of the widest */
};

/* From the start of an operation to its end, or to the last that is known of it; at least 1. */
uint64_t timeline_op_length(const struct timeline_op *op);
struct stretch timeline_entered(const struct timeline_op *op, const struct timeline_span *s);
struct stretch timeline_undone(const struct timeline_op *op, const struct timeline_span *s);
/* Three digits, and no help from the locale: an SVG file has points, not commas. */
struct text timeline_duration(uint64_t ns);
/* "0", "500 ms", "1.5 s": a tick is a multiple of a round number, so has no need of zeros. */
struct text timeline_tick_label(uint64_t ns);
/* The smallest 1, 2 or 5 with zeros, of a microsecond or a minute, for at most @most ticks. */
uint64_t timeline_tick_step(uint64_t length, uint64_t most);
/* "done in 1.24 s", "failed after 2.31 s, all undone" */
struct phrase timeline_summary(const struct timeline_op *op);
/* What a phase has beside its duration, unless it went as it should. */
struct phrase timeline_remark(const struct timeline_op *op, const struct timeline_span *span);
/* Columns that @s takes: code points of UTF-8. */
size_t timeline_columns(const char *s);
/* Bytes of the first @most columns of @s. */
size_t timeline_bytes_of(const char *s, size_t most);
struct layout timeline_layout(const struct timeline_op *ops, size_t n);
/* Length of the first line of @s that fits in @width (not 0), broken at a space if there is one. */
size_t timeline_line_length(const char *s, size_t width);

#endif
