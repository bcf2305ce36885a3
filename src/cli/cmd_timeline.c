/* SPDX-License-Identifier: Apache-2.0 */
/* timeline: from the API's JSON, or the file that an ended machine left, to a drawing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "api/paths.h"
#include "cli/cli.h"
#include "cli/timeline_draw.h"

#define OPS_MAX	  32
#define SPANS_MAX 32

struct drawing {
	struct timeline_op op[OPS_MAX];
	struct timeline_span span[OPS_MAX][SPANS_MAX];
	char note[OPS_MAX][64];
	size_t n;
};

static uint64_t number(json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* Times of a span are since the operation's start; 0 means "did not happen" to the drawer, so all
 * are moved by one. */
static void add_span(struct timeline_span *s, json_t *o)
{
	*s = (struct timeline_span){ .name = json_string_value(json_object_get(o, "name")) ?: "?",
				     .result = timeline_result_parse(json_string_value(json_object_get(o, "result"))
									     ?: "") };
	if (json_object_get(o, "start_ns"))
		s->start_ns = number(o, "start_ns") + 1;
	if (json_object_get(o, "end_ns"))
		s->end_ns = number(o, "end_ns") + 1;
	if (json_object_get(o, "undo_start_ns"))
		s->undo_start_ns = number(o, "undo_start_ns") + 1;
	if (json_object_get(o, "undo_end_ns"))
		s->undo_end_ns = number(o, "undo_end_ns") + 1;
}

static void add_op(struct drawing *d, json_t *job)
{
	json_t *t = json_object_get(job, "timeline"), *phases = json_object_get(t, "phases");
	struct timeline_op *op = &d->op[d->n];
	time_t when = (time_t)(number(job, "started_ns") / 1000000000);
	struct tm tm;

	localtime_r(&when, &tm);
	strftime(d->note[d->n], sizeof(d->note[0]), "%F %T", &tm);
	*op = (struct timeline_op){
		.op = json_string_value(json_object_get(job, "operation")) ?: "?",
		.note = d->note[d->n],
		.message = json_string_value(json_object_get(json_object_get(job, "error"), "message")),
		.result = timeline_result_parse(json_string_value(json_object_get(t, "result")) ?: ""),
		.start_ns = 1,
		.end_ns = number(t, "duration_ns") ? number(t, "duration_ns") + 1 : 0,
		.spans = d->span[d->n],
		.n = MIN(json_array_size(phases), (size_t)SPANS_MAX),
	};
	for (size_t i = 0; i < op->n; i++)
		add_span(&d->span[d->n][i], json_array_get(phases, i));
	d->n++;
}

static json_t *load(const char *what)
{
	_cleanup_free_ char *path = NULL;
	struct err err = { 0 };
	json_t *o = NULL;

	if (!strchr(what, '/') && path_is_live(what)) {
		if (api_call(what, "GET", "/v1/jobs", NULL, &o, &err) < 0)
			fail("%s", err.msg);
		return o;
	}
	if (!strchr(what, '/'))
		path = path_state(what, "timeline.json");
	o = json_load_file(path && !access(path, R_OK) ? path : what, 0, NULL);
	if (!json_is_array(o)) {
		json_decref(o);
		fail("%s is neither a machine nor a file with a timeline", what);
		return NULL;
	}
	return o;
}

static unsigned int width(void)
{
	struct winsize w;

	return isatty(1) && !ioctl(1, TIOCGWINSZ, &w) ? w.ws_col : 0;
}

int cmd_timeline(int argc, char **argv)
{
	static struct drawing d;
	json_auto_t *jobs = NULL;
	const char *svg = NULL;
	uint32_t last = OPS_MAX;
	bool json = false;
	const struct flag flags[] = { { "svg", 's', FLAG_STRING, &svg },
				      { "last", 'n', FLAG_NUMBER, &last },
				      { "json", 0, FLAG_BOOL, &json } };
	size_t count;
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("timeline: which machine?");
	jobs = load(argv[1]);
	if (!jobs)
		return EXIT_FAILED;
	count = json_array_size(jobs);
	for (size_t i = count > last ? count - last : 0; i < count && d.n < OPS_MAX; i++)
		add_op(&d, json_array_get(jobs, i));
	if (svg) {
		_cleanup_file_ FILE *f = fopen(svg, "w");

		if (!f)
			return fail("%s: %s", svg, strerror(errno));
		timeline_draw_svg(f, d.op, d.n);
		return ferror(f) ? fail("%s: %s", svg, strerror(errno)) : EXIT_OK;
	}
	if (json) {
		json_dumpf(jobs, stdout, JSON_INDENT(2));
		puts("");
	} else {
		timeline_draw_text(stdout, d.op, d.n, width(), isatty(1));
	}
	return EXIT_OK;
}
