/* SPDX-License-Identifier: Apache-2.0 */
/* A timeline in the terminal. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/timeline_layout.h"

enum {
	CELLS_MIN = 16,
	CELLS_MAX = 400,
	DURATION_COLUMNS = 11,
	UNDO = TIMELINE_RESULTS, /* styles besides those of the results */
	GRID,
};

struct terminal {
	FILE *f;
	bool colour;
	unsigned int cells; /* width of the bars */
	size_t name_columns;
	uint64_t length, step; /* of the operation; between two ticks */
};

struct cell {
	const char *glyph;
	int style;
};

static void escape(const struct terminal *t, const char *sequence)
{
	if (t->colour)
		fputs(sequence, t->f);
}

static void choose(const struct terminal *t, int style)
{
	escape(t, "\033[0m");
	escape(t, style == UNDO ? "\033[33m" : style == GRID ? "\033[2m" : timeline_results[style].escape);
}

static void put_blanks(const struct terminal *t, size_t n)
{
	while (n--)
		fputc(' ', t->f);
}

/* At most @most columns of @s; what would move the cursor is not let through. */
static size_t put_text(const struct terminal *t, const char *s, size_t most)
{
	bool cut = timeline_columns(s) > most;
	size_t bytes = timeline_bytes_of(s, cut ? most - 1 : most);

	for (size_t i = 0; i < bytes; i++)
		fputc((unsigned char)s[i] < ' ' || s[i] == 127 ? '?' : s[i], t->f);
	fputs(cut ? "…" : "", t->f);
	return cut ? most : timeline_columns(s);
}

/* In eighths of a cell. */
static unsigned int place(const struct terminal *t, uint64_t ns)
{
	return (unsigned int)((double)ns / (double)t->length * t->cells * 8 + 0.5);
}

/* What a bar from @a to @b, in eighths of a cell, shows in that cell. */
static const char *block(unsigned int a, unsigned int b)
{
	static const char *const left[] = { "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };

	if (a == 0)
		return left[b - 1];
	if (b == 8)
		return b - a >= 3 ? "▐" : "▕";
	return a < 4 ? "▏" : "▕";
}

static void paint(const struct terminal *t, struct cell *row, struct stretch s, int style)
{
	unsigned int from, to;

	if (!s.there)
		return;
	from = MIN(place(t, s.from), t->cells * 8 - 1);
	to = MAX(from + 1, place(t, s.to));
	for (unsigned int c = from / 8; c * 8 < to && c < t->cells; c++) {
		unsigned int a = MAX(from, c * 8) - c * 8, b = MIN(to, c * 8 + 8) - c * 8;

		row[c] = (struct cell){ style == UNDO ? "▒" : block(a, b), style };
	}
}

static void put_bars(const struct terminal *t, const struct timeline_op *op, const struct timeline_span *span)
{
	struct cell row[CELLS_MAX] = { 0 };
	int style = GRID;

	for (uint64_t tick = 0; tick <= t->length && place(t, tick) < t->cells * 8; tick += t->step)
		row[place(t, tick) / 8] = (struct cell){ "·", GRID };
	paint(t, row, timeline_entered(op, span), (int)span->result);
	paint(t, row, timeline_undone(op, span), UNDO);
	choose(t, style);
	for (unsigned int c = 0; c < t->cells; c++) {
		if (row[c].glyph && row[c].style != style)
			choose(t, style = row[c].style);
		fputs(row[c].glyph ? row[c].glyph : " ", t->f);
	}
	escape(t, "\033[0m");
}

static void put_row(const struct terminal *t, const struct timeline_op *op, const struct timeline_span *span)
{
	struct stretch in = timeline_entered(op, span);
	struct text took = in.there ? timeline_duration(in.to - in.from) : (struct text){ "" };
	struct phrase more = timeline_remark(op, span);
	size_t width = timeline_columns(took.s);

	put_blanks(t, 2);
	if (span->result == TIMELINE_NOT_RUN)
		escape(t, "\033[2m");
	put_blanks(t, t->name_columns - put_text(t, span->name, t->name_columns) + 2);
	put_bars(t, op, span);
	put_blanks(t, width < DURATION_COLUMNS ? DURATION_COLUMNS - width : 1);
	fputs(took.s, t->f);
	if (more.s[0]) {
		choose(t, span->result == TIMELINE_UNDONE ? UNDO : (int)span->result);
		fprintf(t->f, "  %s", more.s);
		escape(t, "\033[0m");
	}
	fputc('\n', t->f);
}

static void put_axis(const struct terminal *t)
{
	unsigned int at = 0;

	put_blanks(t, t->name_columns + 4);
	escape(t, "\033[2m");
	for (uint64_t tick = 0; tick <= t->length; tick += t->step) {
		struct text label = timeline_tick_label(tick);
		unsigned int c = place(t, tick) / 8;

		if (c < at || c + 1 + timeline_columns(label.s) > t->cells)
			continue;
		put_blanks(t, c - at);
		fprintf(t->f, "╵%s", label.s);
		at = c + 1 + (unsigned int)timeline_columns(label.s);
	}
	escape(t, "\033[0m");
	fputc('\n', t->f);
}

static void put_message(const struct terminal *t, const char *s, size_t width)
{
	while (s && *s) {
		size_t n = timeline_line_length(s, width);

		put_blanks(t, 2);
		for (size_t i = 0; i < n; i++)
			fputc((unsigned char)s[i] < ' ' || s[i] == 127 ? '?' : s[i], t->f);
		fputc('\n', t->f);
		s += n;
		s += *s == ' ';
	}
}

static void put_head(const struct terminal *t, const struct timeline_op *op)
{
	escape(t, "\033[1m");
	put_text(t, op->op, SIZE_MAX);
	escape(t, "\033[0m");
	if (op->note) {
		fputs("  ", t->f);
		put_text(t, op->note, SIZE_MAX);
	}
	fputs("  ", t->f);
	choose(t, (int)op->result);
	fputs(timeline_summary(op).s, t->f);
	escape(t, "\033[0m");
	fputc('\n', t->f);
}

static void draw_op(struct terminal *t, const struct timeline_op *op, unsigned int width)
{
	t->length = timeline_op_length(op);
	t->step = timeline_tick_step(t->length, MAX(t->cells / 12, 1U));
	put_head(t, op);
	for (size_t i = 0; i < op->n; i++)
		put_row(t, op, &op->spans[i]);
	if (op->n)
		put_axis(t);
	put_message(t, op->message, width > 4 ? width - 4 : 1);
}

void timeline_draw_text(FILE *f, const struct timeline_op *ops, size_t n, unsigned int width, bool colour)
{
	struct layout l = timeline_layout(ops, n);
	size_t used = 2 + l.names + 2 + DURATION_COLUMNS + (l.remarks ? l.remarks + 2 : 0);
	struct terminal t = { .f = f, .colour = colour, .name_columns = l.names };

	width = width ? width : 80;
	t.cells = width > used ? (unsigned int)MIN(width - used, (size_t)CELLS_MAX) : 0;
	t.cells = MAX(t.cells, (unsigned int)CELLS_MIN);
	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc('\n', f);
		draw_op(&t, &ops[i], width);
	}
}
