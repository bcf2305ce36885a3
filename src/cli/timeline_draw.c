/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/timeline_draw.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

static const struct {
	const char *name;   /* as the engine says it */
	const char *words;  /* as a person reads it */
	const char *escape; /* of the terminal; the sixteen colours, which follow its theme */
} results[TIMELINE_RESULTS] = {
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
		if (!strcmp(name, results[i].name))
			return (enum timeline_result)i;
	return TIMELINE_NOT_RUN;
}

/* Time, as both drawings see it. */

/* More than a century: sums of two such lengths still fit. */
#define LENGTH_MAX (UINT64_MAX / 4)

/* From the start of an operation to its end, or to the last that is known of it; at least 1. */
static uint64_t op_length(const struct timeline_op *op)
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

/* A stretch of time inside an operation, in ns since its start. */
struct stretch {
	uint64_t from, to;
	bool there;
};

static struct stretch stretch(const struct timeline_op *op, uint64_t start, uint64_t end)
{
	uint64_t length = op_length(op);
	struct stretch s = { .there = start != 0 };

	if (!s.there)
		return s;
	s.from = start > op->start_ns ? MIN(start - op->start_ns, length) : 0;
	s.to = end ? (end > op->start_ns ? MIN(end - op->start_ns, length) : 0) : length;
	s.to = MAX(s.from, s.to);
	return s;
}

static struct stretch entered(const struct timeline_op *op, const struct timeline_span *s)
{
	return stretch(op, s->start_ns, s->end_ns);
}

static struct stretch undone(const struct timeline_op *op, const struct timeline_span *s)
{
	return stretch(op, s->undo_start_ns, s->undo_end_ns);
}

struct text {
	char s[32];
};

struct phrase {
	char s[96];
};

/* Three digits, and no help from the locale: an SVG file has points, not commas. */
static struct text duration(uint64_t ns)
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

/* "0", "500 ms", "1.5 s": a tick is a multiple of a round number, so has no need of zeros. */
static struct text tick_label(uint64_t ns)
{
	struct text t = duration(ns);
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

/* The smallest 1, 2 or 5 with zeros, of a microsecond or a minute, for at most @most ticks. */
static uint64_t tick_step(uint64_t length, uint64_t most)
{
	bool minutes = length / most > 20 * NSEC_PER_SEC;
	uint64_t step = minutes ? 60 * NSEC_PER_SEC : NSEC_PER_USEC;

	for (unsigned int i = 0; length / step > most && step < UINT64_MAX / 5; i++)
		step = i % 3 == 1 ? step / 2 * 5 : step * 2;
	return step;
}

/* "done in 1.24 s", "failed after 2.31 s, all undone" */
static struct phrase summary(const struct timeline_op *op)
{
	bool undid = false;
	struct phrase t;

	for (size_t i = 0; i < op->n; i++)
		undid |= op->spans[i].result == TIMELINE_UNDONE;
	snprintf(t.s, sizeof(t.s), "%s %s %s%s", results[op->result].words,
		 op->result == TIMELINE_DONE	  ? "in"
		 : op->result == TIMELINE_RUNNING ? "for"
						  : "after",
		 duration(op_length(op)).s, undid ? ", all undone" : "");
	return t;
}

/* What a phase has beside its duration, unless it went as it should. */
static struct phrase remark(const struct timeline_op *op, const struct timeline_span *span)
{
	struct stretch undo = undone(op, span);
	struct phrase t = { "" };

	if (span->result == TIMELINE_UNDONE && undo.there)
		snprintf(t.s, sizeof(t.s), "undone in %s", duration(undo.to - undo.from).s);
	else if (span->result != TIMELINE_DONE)
		snprintf(t.s, sizeof(t.s), "%s", results[span->result].words);
	return t;
}

/* Columns that @s takes: code points of UTF-8. */
static size_t columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* Bytes of the first @most columns of @s. */
static size_t bytes_of(const char *s, size_t most)
{
	size_t i = 0;

	for (size_t n = 0; s[i]; i++) {
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
		if (n > most)
			break;
	}
	return i;
}

/* What all operations of a drawing have in common, so that their bars stand one below another. */
struct layout {
	size_t names, remarks; /* columns of the widest */
};

enum { NAME_MAX_COLUMNS = 28 };

static struct layout layout(const struct timeline_op *ops, size_t n)
{
	struct layout l = { 0 };

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < ops[i].n; j++) {
			const struct timeline_span *span = &ops[i].spans[j];
			struct phrase more = remark(&ops[i], span);

			l.names = MAX(l.names, columns(span->name));
			l.remarks = MAX(l.remarks, columns(more.s));
		}
	}
	l.names = MIN(l.names, (size_t)NAME_MAX_COLUMNS);
	return l;
}

/* Length of the first line of @s that fits in @width (not 0), broken at a space if there is one. */
static size_t line_length(const char *s, size_t width)
{
	size_t len = strlen(s), cut = MIN(len, width);

	if (cut == len)
		return len;
	while (cut && s[cut] != ' ')
		cut--;
	return cut ? cut : MIN(len, width);
}

/* The terminal. */

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
	escape(t, style == UNDO ? "\033[33m" : style == GRID ? "\033[2m" : results[style].escape);
}

static void put_blanks(const struct terminal *t, size_t n)
{
	while (n--)
		fputc(' ', t->f);
}

/* At most @most columns of @s; what would move the cursor is not let through. */
static size_t put_text(const struct terminal *t, const char *s, size_t most)
{
	bool cut = columns(s) > most;
	size_t bytes = bytes_of(s, cut ? most - 1 : most);

	for (size_t i = 0; i < bytes; i++)
		fputc((unsigned char)s[i] < ' ' || s[i] == 127 ? '?' : s[i], t->f);
	fputs(cut ? "…" : "", t->f);
	return cut ? most : columns(s);
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
	paint(t, row, entered(op, span), (int)span->result);
	paint(t, row, undone(op, span), UNDO);
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
	struct stretch in = entered(op, span);
	struct text took = in.there ? duration(in.to - in.from) : (struct text){ "" };
	struct phrase more = remark(op, span);
	size_t width = columns(took.s);

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
		struct text label = tick_label(tick);
		unsigned int c = place(t, tick) / 8;

		if (c < at || c + 1 + columns(label.s) > t->cells)
			continue;
		put_blanks(t, c - at);
		fprintf(t->f, "╵%s", label.s);
		at = c + 1 + (unsigned int)columns(label.s);
	}
	escape(t, "\033[0m");
	fputc('\n', t->f);
}

static void put_message(const struct terminal *t, const char *s, size_t width)
{
	while (s && *s) {
		size_t n = line_length(s, width);

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
	fputs(summary(op).s, t->f);
	escape(t, "\033[0m");
	fputc('\n', t->f);
}

static void draw_op(struct terminal *t, const struct timeline_op *op, unsigned int width)
{
	t->length = op_length(op);
	t->step = tick_step(t->length, MAX(t->cells / 12, 1U));
	put_head(t, op);
	for (size_t i = 0; i < op->n; i++)
		put_row(t, op, &op->spans[i]);
	if (op->n)
		put_axis(t);
	put_message(t, op->message, width > 4 ? width - 4 : 1);
}

void timeline_draw_text(FILE *f, const struct timeline_op *ops, size_t n, unsigned int width, bool colour)
{
	struct layout l = layout(ops, n);
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

/* SVG. Lengths are in pixels, coordinates of times in tenths of one. */

enum {
	SVG_WIDTH = 960,
	SVG_MARGIN = 28,
	SVG_HEAD = 62, /* from the top of a panel to its first row */
	SVG_ROW = 26,
	SVG_BAR = 14,
	SVG_FOOT = 40, /* axis */
	SVG_LINE = 18, /* of a message */
	SVG_MESSAGE_COLUMNS = 120,
	SVG_TOOK = 90, /* durations, right of the bars */
	SVG_REMARK = 138,
	SVG_LETTER = 8, /* of a name, rather wide */
};

static const char svg_style[] = ".page{fill:#fff}.panel{fill:#f7f8fa;stroke:#e3e6ea}"
				"text{font:13px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1f2933}"
				".op{font-size:18px;font-weight:600}.note,.axis,.off{fill:#6b7785}.axis{font-size:11px}"
				".took{text-anchor:end;font-variant-numeric:tabular-nums}.grid{stroke:#dfe3e8}"
				".done{fill:#2f7fd1}.running{fill:#1aa3a3}.failed{fill:#d13b3b}.cancelled{fill:#c27c0e}"
				".timed-out{fill:#a83fa0}.undone{fill:#a9c4e2}.not-run{fill:#6b7785}"
				".undo{fill:url(#undo)}.stripe{stroke:#c27c0e}.undo-edge{fill:none;stroke:#c27c0e}"
				"text.undone{fill:#9a6206}text.done{fill:#2569ae}"
				"@media(prefers-color-scheme:dark){.page{fill:#14171b}"
				".panel{fill:#1c2026;stroke:#2c323a}text{fill:#e4e8ed}.note,.axis,.off{fill:#929dab}"
				".grid{stroke:#2e353e}.done{fill:#4a9bea}.running{fill:#33c2c2}.failed{fill:#ef6363}"
				".cancelled{fill:#e0a03c}.timed-out{fill:#cf74c8}.undone{fill:#3d5a7a}"
				".not-run{fill:#929dab}.stripe,.undo-edge{stroke:#e0a03c}"
				"text.undone{fill:#e0a03c}text.done{fill:#6fb1f0}}";

struct svg {
	FILE *f;
	unsigned int left, right; /* of the bars */
	uint64_t length, step;
};

static void put_xml(FILE *f, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '<')
			fputs("&lt;", f);
		else if (s[i] == '>')
			fputs("&gt;", f);
		else if (s[i] == '&')
			fputs("&amp;", f);
		else if (s[i] == '"')
			fputs("&quot;", f);
		else
			fputc((unsigned char)s[i] < ' ' ? '?' : s[i], f);
	}
}

static void svg_text(FILE *f, unsigned int x, unsigned int y, const char *class, const char *s)
{
	fprintf(f, "<text x=\"%u\" y=\"%u\" class=\"%s\">", x, y, class);
	put_xml(f, s, bytes_of(s, NAME_MAX_COLUMNS));
	fputs("</text>\n", f);
}

static unsigned int svg_x10(const struct svg *v, uint64_t ns)
{
	return v->left * 10 + (unsigned int)((double)ns / (double)v->length * (v->right - v->left) * 10 + 0.5);
}

static void svg_bar(const struct svg *v, struct stretch s, unsigned int y, const char *class, const char *name,
		    const char *what)
{
	unsigned int from, width;

	if (!s.there)
		return;
	/* A phase too short to be seen is seen all the same. */
	from = svg_x10(v, s.from);
	width = MAX(svg_x10(v, s.to) - from, 20U);
	fprintf(v->f,
		"<rect x=\"%u.%u\" y=\"%u\" width=\"%u.%u\" height=\"%d\" rx=\"%d\" "
		"class=\"%s\"><title>",
		from / 10, from % 10, y, width / 10, width % 10, SVG_BAR, width < 60 ? 1 : 3, class);
	put_xml(v->f, name, strlen(name));
	fprintf(v->f, ": %s %s</title></rect>\n", what, duration(s.to - s.from).s);
}

static void svg_row(const struct svg *v, const struct timeline_op *op, const struct timeline_span *span, unsigned int y)
{
	struct stretch in = entered(op, span), back = undone(op, span);
	const char *class = results[span->result].name;
	unsigned int bar = y + (SVG_ROW - SVG_BAR) / 2, base = y + SVG_ROW / 2 + 5;

	svg_text(v->f, 2 * SVG_MARGIN, base, in.there ? "name" : "off", span->name);
	svg_bar(v, in, bar, class, span->name, results[span->result].words);
	svg_bar(v, back, bar, "undo", span->name, "undo");
	svg_bar(v, back, bar, "undo-edge", span->name, "undo");
	if (in.there)
		svg_text(v->f, v->right + SVG_TOOK, base, "took", duration(in.to - in.from).s);
	svg_text(v->f, v->right + SVG_TOOK + 14, base, class, remark(op, span).s);
}

static void svg_axis(const struct svg *v, unsigned int top, unsigned int bottom)
{
	for (uint64_t tick = 0; tick <= v->length; tick += v->step) {
		unsigned int x = svg_x10(v, tick) / 10;

		fprintf(v->f, "<path d=\"M%u.5 %uV%u\" class=\"grid\"/>\n", x, top, bottom + 4);
		fprintf(v->f, "<text x=\"%u\" y=\"%u\" class=\"axis\" text-anchor=\"middle\">%s</text>\n", x,
			bottom + 18, tick_label(tick).s);
	}
}

static unsigned int message_lines(const char *s)
{
	unsigned int lines = 0;

	for (; s && *s; lines++) {
		s += line_length(s, SVG_MESSAGE_COLUMNS);
		s += *s == ' ';
	}
	return lines;
}

static unsigned int panel_height(const struct timeline_op *op)
{
	unsigned int lines = message_lines(op->message);

	return SVG_HEAD + (unsigned int)op->n * SVG_ROW + SVG_FOOT + (lines ? lines * SVG_LINE + 8 : 0);
}

static void svg_message(const struct svg *v, const char *s, const char *class, unsigned int y)
{
	while (s && *s) {
		size_t n = line_length(s, SVG_MESSAGE_COLUMNS);

		fprintf(v->f, "<text x=\"%d\" y=\"%u\" class=\"%s\">", 2 * SVG_MARGIN, y, class);
		put_xml(v->f, s, n);
		fputs("</text>\n", v->f);
		s += n;
		s += *s == ' ';
		y += SVG_LINE;
	}
}

static void svg_head(const struct svg *v, const struct timeline_op *op, unsigned int y)
{
	fprintf(v->f, "<text x=\"%d\" y=\"%u\"><tspan class=\"op\">", 2 * SVG_MARGIN, y);
	put_xml(v->f, op->op, strlen(op->op));
	fputs("</tspan>", v->f);
	if (op->note) {
		fputs("<tspan dx=\"12\" class=\"note\">", v->f);
		put_xml(v->f, op->note, strlen(op->note));
		fputs("</tspan>", v->f);
	}
	fprintf(v->f, "</text>\n<text x=\"%d\" y=\"%u\" class=\"%s\" text-anchor=\"end\">%s</text>\n",
		SVG_WIDTH - 2 * SVG_MARGIN, y, results[op->result].name, summary(op).s);
}

static void svg_panel(struct svg *v, const struct timeline_op *op, unsigned int y)
{
	unsigned int rows = y + SVG_HEAD, end = rows + (unsigned int)op->n * SVG_ROW;

	v->length = op_length(op);
	v->step = tick_step(v->length, 6);
	fprintf(v->f,
		"<rect x=\"%d.5\" y=\"%u.5\" width=\"%d\" height=\"%u\" rx=\"8\" "
		"class=\"panel\"/>\n",
		SVG_MARGIN, y, SVG_WIDTH - 2 * SVG_MARGIN - 1, panel_height(op) - 1);
	svg_head(v, op, y + 36);
	if (op->n)
		svg_axis(v, rows - 4, end);
	for (size_t i = 0; i < op->n; i++)
		svg_row(v, op, &op->spans[i], rows + (unsigned int)i * SVG_ROW);
	svg_message(v, op->message, results[op->result].name, end + SVG_FOOT + 2);
}

void timeline_draw_svg(FILE *f, const struct timeline_op *ops, size_t n)
{
	unsigned int height = SVG_MARGIN, y = SVG_MARGIN;
	struct layout l = layout(ops, n);
	struct svg v = { .f = f };

	v.left = 2 * SVG_MARGIN + (unsigned int)l.names * SVG_LETTER + 16;
	v.right = SVG_WIDTH - 2 * SVG_MARGIN - SVG_TOOK - (l.remarks ? SVG_REMARK : 0);

	for (size_t i = 0; i < n; i++)
		height += panel_height(&ops[i]) + SVG_MARGIN;
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\" "
		"viewBox=\"0 0 %d %u\" role=\"img\" aria-label=\"timeline\">\n<style>%s</style>\n",
		SVG_WIDTH, height, SVG_WIDTH, height, svg_style);
	fputs("<defs><pattern id=\"undo\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
	      "patternTransform=\"rotate(45)\"><path d=\"M0 0V6\" class=\"stripe\" "
	      "stroke-width=\"5\"/></pattern></defs>\n",
	      f);
	fprintf(f, "<rect width=\"%d\" height=\"%u\" class=\"page\"/>\n", SVG_WIDTH, height);
	for (size_t i = 0; i < n; i++) {
		svg_panel(&v, &ops[i], y);
		y += panel_height(&ops[i]) + SVG_MARGIN;
	}
	fputs("</svg>\n", f);
}
