/* SPDX-License-Identifier: Apache-2.0 */
/* The drawings of timelines: a terminal's to the letter, an SVG file's in its structure. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/util.h"
#include "cli/timeline_draw.h"

#define MS(x) (NSEC_PER_SEC + (x)*NSEC_PER_MSEC) /* x ms after the start of an operation */

static const struct timeline_span saved[] = {
	{ "freeze", TIMELINE_DONE, MS(0), MS(100), 0, 0 },
	{ "write", TIMELINE_DONE, MS(100), MS(350), 0, 0 },
	{ "destroy", TIMELINE_DONE, MS(350), MS(400), 0, 0 },
};
static const struct timeline_op save = { "save", "web", NULL, TIMELINE_DONE, MS(0), MS(400), saved, ARRAY_SIZE(saved) };

static const struct timeline_span unsaved[] = {
	{ "freeze", TIMELINE_UNDONE, MS(0), MS(100), MS(300), MS(400) },
	{ "write", TIMELINE_FAILED, MS(100), MS(300), 0, 0 },
	{ "destroy", TIMELINE_NOT_RUN, 0, 0, 0, 0 },
};
static const struct timeline_op failed = {
	"save", NULL, "save: write: the disk <is> full", TIMELINE_FAILED, MS(0), MS(400), unsaved, ARRAY_SIZE(unsaved)
};

static char *text_of(const struct timeline_op *ops, size_t n, unsigned int width, bool colour)
{
	char *s = NULL;
	size_t len;
	FILE *f = open_memstream(&s, &len);

	assert_non_null(f);
	timeline_draw_text(f, ops, n, width, colour);
	assert_int_equal(fclose(f), 0);
	return s;
}

static char *svg_of(const struct timeline_op *ops, size_t n)
{
	char *s = NULL;
	size_t len;
	FILE *f = open_memstream(&s, &len);

	assert_non_null(f);
	timeline_draw_svg(f, ops, n);
	assert_int_equal(fclose(f), 0);
	return s;
}

static void test_an_operation_that_went_well(void **state)
{
	_cleanup_free_ char *s = text_of(&save, 1, 54, false);

	(void)state;
	assert_string_equal(s, "save  web  done in 400 ms\n"
			       "  freeze   ████████        ·                    100 ms\n"
			       "  write    ·       ████████████████████         250 ms\n"
			       "  destroy  ·               ·           ████    50.0 ms\n"
			       "           ╵0              ╵200 ms\n");
}

static void test_an_operation_that_was_undone(void **state)
{
	_cleanup_free_ char *s = text_of(&failed, 1, 72, false);

	(void)state;
	assert_string_equal(s, "save  failed after 400 ms, all undone\n"
			       "  freeze   ████████        ·       ▒▒▒▒▒▒▒▒     100 ms  undone in 100 ms\n"
			       "  write    ·       ████████████████             200 ms  failed\n"
			       "  destroy  ·               ·                            not run\n"
			       "           ╵0              ╵200 ms\n"
			       "  save: write: the disk <is> full\n");
}

static void test_bars_of_several_operations_stand_below_each_other(void **state)
{
	const struct timeline_op both[] = { save, failed };
	_cleanup_free_ char *s = text_of(both, 2, 72, false);
	const char *first = strstr(s, "  freeze   "), *second = strstr(first + 1, "  freeze   ");

	(void)state;
	assert_non_null(second);
	assert_non_null(strstr(s, "ms\n\nsave  failed"));
}

static void test_an_operation_that_runs(void **state)
{
	const struct timeline_span spans[] = {
		{ "freeze", TIMELINE_DONE, MS(0), MS(100), 0, 0 },
		{ "write", TIMELINE_RUNNING, MS(100), 0, 0, 0 },
	};
	struct timeline_op op = { "save", NULL, NULL, TIMELINE_RUNNING, MS(0), MS(200), spans, 2 };
	_cleanup_free_ char *s = text_of(&op, 1, 64, false);
	_cleanup_free_ char *unknown = NULL;

	(void)state;
	assert_non_null(strstr(s, "save  running for 200 ms\n"));
	assert_non_null(strstr(s, "100 ms  running\n"));
	op.end_ns = 0; /* drawn up to the last time known */
	unknown = text_of(&op, 1, 64, false);
	assert_non_null(strstr(unknown, "save  running for 100 ms\n"));
}

/* Colours: none unless asked, and without them the two are the same. */
static void test_colours_only_when_asked(void **state)
{
	_cleanup_free_ char *plain = text_of(&failed, 1, 72, false);
	_cleanup_free_ char *colour = text_of(&failed, 1, 72, true);
	char *to = colour;

	(void)state;
	assert_null(strchr(plain, '\033'));
	assert_non_null(strstr(colour, "\033[31m"));
	for (const char *from = colour; *from;) {
		if (*from == '\033')
			from = strchr(from, 'm') + 1;
		else
			*to++ = *from++;
	}
	*to = 0;
	assert_string_equal(colour, plain);
}

static size_t columns(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xc0) != 0x80;
	return n;
}

static void test_lines_fit_the_width(void **state)
{
	(void)state;
	for (unsigned int width = 60; width < 600; width += 7) {
		_cleanup_free_ char *s = text_of(&failed, 1, width, false);

		for (const char *line = s; *line; line += strcspn(line, "\n") + 1)
			assert_true(columns(line, strcspn(line, "\n")) <= width);
	}
}

static void test_durations_have_three_digits(void **state)
{
	static const struct {
		uint64_t ns;
		const char *want;
	} row[] = {
		{ 0, " 0 µs\n" },
		{ 999, " 0 µs\n" },
		{ 1000, " 1 µs\n" },
		{ 999999, " 999 µs\n" },
		{ 1000000, " 1.00 ms\n" },
		{ 1239999, " 1.23 ms\n" },
		{ 12340000, " 12.3 ms\n" },
		{ 123400000, " 123 ms\n" },
		{ 1050000000, " 1.05 s\n" },
		{ UINT64_C(59990000000), " 59.9 s\n" },
		{ UINT64_C(60000000000), " 1 min 00 s\n" },
		{ UINT64_C(3725000000000), " 62 min 05 s\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct timeline_span span = { "x", TIMELINE_DONE, MS(0), MS(0) + row[i].ns, 0, 0 };
		struct timeline_op op = { "op", NULL, NULL, TIMELINE_DONE, MS(0), MS(9e6), &span, 1 };
		_cleanup_free_ char *s = text_of(&op, 1, 80, false);

		assert_non_null(strstr(s, row[i].want));
	}
}

static void test_control_characters_do_not_pass(void **state)
{
	const struct timeline_span span = { "a\033[2Jb", TIMELINE_DONE, MS(0), MS(1), 0, 0 };
	struct timeline_op op = { "op\n", "\x07", "m\033", TIMELINE_DONE, MS(0), MS(1), &span, 1 };
	_cleanup_free_ char *s = text_of(&op, 1, 80, false);
	_cleanup_free_ char *svg = svg_of(&op, 1);

	(void)state;
	assert_null(strchr(s, '\033'));
	assert_null(strchr(s, '\x07'));
	assert_non_null(strstr(s, "a?[2Jb"));
	assert_null(strchr(svg, '\033'));
}

static void test_long_names_are_cut(void **state)
{
	const struct timeline_span span = {
		"eine-sehr-lange-ÜÜÜÜÜÜÜÜÜÜÜÜÜÜÜÜ-phase", TIMELINE_DONE, MS(0), MS(1), 0, 0
	};
	struct timeline_op op = { "op", NULL, NULL, TIMELINE_DONE, MS(0), MS(1), &span, 1 };
	_cleanup_free_ char *s = text_of(&op, 1, 80, false);

	(void)state;
	assert_non_null(strstr(s, "  eine-sehr-lange-ÜÜÜÜÜÜÜÜÜÜÜ…  "));
}

/* SVG. */

static size_t count(const char *s, const char *what)
{
	size_t n = 0;

	for (s = strstr(s, what); s; s = strstr(s + 1, what))
		n++;
	return n;
}

/* Every tag that is opened is closed, in order; enough XML for what is drawn here. */
static void check_tags(const char *s)
{
	const char *open[32] = { 0 };
	size_t depth = 0;

	for (s = strchr(s, '<'); s; s = strchr(s + 1, '<')) {
		const char *end = strchr(s, '>');

		assert_non_null(end);
		if (end[-1] == '/')
			continue;
		if (s[1] != '/') {
			assert_true(depth < ARRAY_SIZE(open));
			open[depth++] = s + 1;
			continue;
		}
		assert_true(depth > 0);
		depth = depth ? depth - 1 : 0;
		assert_memory_equal(open[depth], s + 2, (size_t)(end - s - 2));
	}
	assert_int_equal(depth, 0);
}

static void test_svg_shows_every_phase(void **state)
{
	const struct timeline_op both[] = { save, failed };
	_cleanup_free_ char *s = svg_of(both, 2);

	(void)state;
	assert_memory_equal(s, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39);
	check_tags(s);
	assert_int_equal(count(s, "class=\"panel\""), 2);
	assert_int_equal(count(s, "rx=\"3\" class=\"done\"><title>"), 3);
	assert_int_equal(count(s, "<title>write: failed 200 ms</title>"), 1);
	assert_int_equal(count(s, "class=\"undo\"><title>freeze: undo 100 ms</title>"), 1);
	assert_int_equal(count(s, ">not run</text>"), 1);
	assert_int_equal(count(s, "failed after 400 ms, all undone"), 1);
	assert_int_equal(count(s, "the disk &lt;is&gt; full"), 1);
	assert_int_equal(count(s, "prefers-color-scheme:dark"), 1);
	assert_null(strstr(s, "href")); /* nothing from elsewhere */
}

static void test_svg_escapes_what_it_is_told(void **state)
{
	const struct timeline_span span = { "<a&\"b>", TIMELINE_DONE, MS(0), MS(1), 0, 0 };
	struct timeline_op op = { "</svg>", "<&>", "\"", TIMELINE_DONE, MS(0), MS(1), &span, 1 };
	_cleanup_free_ char *s = svg_of(&op, 1);

	(void)state;
	check_tags(s);
	assert_int_equal(count(s, "&lt;a&amp;&quot;b&gt;"), 2);
	assert_int_equal(count(s, "&lt;/svg&gt;"), 1);
}

/* Numbers of a file have points, whatever the operator's language. */
static void test_svg_does_not_follow_the_locale(void **state)
{
	_cleanup_free_ char *before = svg_of(&failed, 1);
	_cleanup_free_ char *after = NULL;

	(void)state;
	setlocale(LC_ALL, "de_DE.UTF-8"); /* may not be there: then this tests nothing */
	after = svg_of(&failed, 1);
	setlocale(LC_ALL, "C");
	assert_string_equal(before, after);
}

/* Times from elsewhere make no sense; they are drawn somehow, and no sanitizer complains. */
static uint64_t any_time(unsigned int *seed)
{
	static const uint64_t odd[] = { 0, 1, MS(0), MS(1), UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2 };

	if (rand_r(seed) % 2)
		return odd[(size_t)rand_r(seed) % ARRAY_SIZE(odd)];
	return MS((uint64_t)rand_r(seed) % 1000);
}

static enum timeline_result any_result(unsigned int *seed)
{
	return (enum timeline_result)(rand_r(seed) % TIMELINE_RESULTS);
}

static void test_any_times_are_drawn(void **state)
{
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct timeline_span spans[4];
		struct timeline_op op = { "op",
					  NULL,
					  NULL,
					  any_result(&seed),
					  any_time(&seed),
					  any_time(&seed),
					  spans,
					  (size_t)rand_r(&seed) % 5 };
		_cleanup_free_ char *s = NULL, *svg = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(spans); i++)
			spans[i] = (struct timeline_span){ "phase",	    any_result(&seed), any_time(&seed),
							   any_time(&seed), any_time(&seed),   any_time(&seed) };
		s = text_of(&op, 1, (unsigned int)rand_r(&seed) % 500, true);
		svg = svg_of(&op, 1);
		assert_non_null(s);
		assert_true(strlen(svg) < 64 << 10);
		check_tags(svg);
	}
}

static void test_nothing_to_draw(void **state)
{
	struct timeline_op op = { "op", NULL, NULL, TIMELINE_DONE, MS(0), MS(1), NULL, 0 };
	_cleanup_free_ char *none = text_of(NULL, 0, 80, false);
	_cleanup_free_ char *empty = text_of(&op, 1, 80, false);
	_cleanup_free_ char *svg = svg_of(NULL, 0);

	(void)state;
	assert_string_equal(none, "");
	assert_string_equal(empty, "op  done in 1.00 ms\n");
	check_tags(svg);
}

static void test_results_are_parsed(void **state)
{
	(void)state;
	assert_int_equal(timeline_result_parse("not-run"), TIMELINE_NOT_RUN);
	assert_int_equal(timeline_result_parse("running"), TIMELINE_RUNNING);
	assert_int_equal(timeline_result_parse("done"), TIMELINE_DONE);
	assert_int_equal(timeline_result_parse("failed"), TIMELINE_FAILED);
	assert_int_equal(timeline_result_parse("cancelled"), TIMELINE_CANCELLED);
	assert_int_equal(timeline_result_parse("timed-out"), TIMELINE_TIMED_OUT);
	assert_int_equal(timeline_result_parse("undone"), TIMELINE_UNDONE);
	assert_int_equal(timeline_result_parse("something new"), TIMELINE_NOT_RUN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_operation_that_went_well),
		cmocka_unit_test(test_an_operation_that_was_undone),
		cmocka_unit_test(test_bars_of_several_operations_stand_below_each_other),
		cmocka_unit_test(test_an_operation_that_runs),
		cmocka_unit_test(test_colours_only_when_asked),
		cmocka_unit_test(test_lines_fit_the_width),
		cmocka_unit_test(test_durations_have_three_digits),
		cmocka_unit_test(test_control_characters_do_not_pass),
		cmocka_unit_test(test_long_names_are_cut),
		cmocka_unit_test(test_svg_shows_every_phase),
		cmocka_unit_test(test_svg_escapes_what_it_is_told),
		cmocka_unit_test(test_svg_does_not_follow_the_locale),
		cmocka_unit_test(test_any_times_are_drawn),
		cmocka_unit_test(test_nothing_to_draw),
		cmocka_unit_test(test_results_are_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
