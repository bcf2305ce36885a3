/* SPDX-License-Identifier: Apache-2.0 */
/* A timeline as SVG. Lengths are in pixels, coordinates of times in tenths of one. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/timeline_layout.h"

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
	put_xml(f, s, timeline_bytes_of(s, NAME_MAX_COLUMNS));
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
	fprintf(v->f, ": %s %s</title></rect>\n", what, timeline_duration(s.to - s.from).s);
}

static void svg_row(const struct svg *v, const struct timeline_op *op, const struct timeline_span *span, unsigned int y)
{
	struct stretch in = timeline_entered(op, span), back = timeline_undone(op, span);
	const char *class = timeline_results[span->result].name;
	unsigned int bar = y + (SVG_ROW - SVG_BAR) / 2, base = y + SVG_ROW / 2 + 5;

	svg_text(v->f, 2 * SVG_MARGIN, base, in.there ? "name" : "off", span->name);
	svg_bar(v, in, bar, class, span->name, timeline_results[span->result].words);
	svg_bar(v, back, bar, "undo", span->name, "undo");
	svg_bar(v, back, bar, "undo-edge", span->name, "undo");
	if (in.there)
		svg_text(v->f, v->right + SVG_TOOK, base, "took", timeline_duration(in.to - in.from).s);
	svg_text(v->f, v->right + SVG_TOOK + 14, base, class, timeline_remark(op, span).s);
}

static void svg_axis(const struct svg *v, unsigned int top, unsigned int bottom)
{
	for (uint64_t tick = 0; tick <= v->length; tick += v->step) {
		unsigned int x = svg_x10(v, tick) / 10;

		fprintf(v->f, "<path d=\"M%u.5 %uV%u\" class=\"grid\"/>\n", x, top, bottom + 4);
		fprintf(v->f, "<text x=\"%u\" y=\"%u\" class=\"axis\" text-anchor=\"middle\">%s</text>\n", x,
			bottom + 18, timeline_tick_label(tick).s);
	}
}

static unsigned int message_lines(const char *s)
{
	unsigned int lines = 0;

	for (; s && *s; lines++) {
		s += timeline_line_length(s, SVG_MESSAGE_COLUMNS);
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
		size_t n = timeline_line_length(s, SVG_MESSAGE_COLUMNS);

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
		SVG_WIDTH - 2 * SVG_MARGIN, y, timeline_results[op->result].name, timeline_summary(op).s);
}

static void svg_panel(struct svg *v, const struct timeline_op *op, unsigned int y)
{
	unsigned int rows = y + SVG_HEAD, end = rows + (unsigned int)op->n * SVG_ROW;

	v->length = timeline_op_length(op);
	v->step = timeline_tick_step(v->length, 6);
	fprintf(v->f,
		"<rect x=\"%d.5\" y=\"%u.5\" width=\"%d\" height=\"%u\" rx=\"8\" "
		"class=\"panel\"/>\n",
		SVG_MARGIN, y, SVG_WIDTH - 2 * SVG_MARGIN - 1, panel_height(op) - 1);
	svg_head(v, op, y + 36);
	if (op->n)
		svg_axis(v, rows - 4, end);
	for (size_t i = 0; i < op->n; i++)
		svg_row(v, op, &op->spans[i], rows + (unsigned int)i * SVG_ROW);
	svg_message(v, op->message, timeline_results[op->result].name, end + SVG_FOOT + 2);
}

void timeline_draw_svg(FILE *f, const struct timeline_op *ops, size_t n)
{
	unsigned int height = SVG_MARGIN, y = SVG_MARGIN;
	struct layout l = timeline_layout(ops, n);
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
