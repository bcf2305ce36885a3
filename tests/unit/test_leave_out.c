/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest writes to data/leave-out: ranges, or nothing at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sleep/internal.h"

static void test_ranges_are_read(void **state)
{
	struct sleep_range r[4];

	(void)state;
	assert_int_equal(sleep_ranges_parse("", r, 4), 0);
	assert_int_equal(sleep_ranges_parse(" \n", r, 4), 0);
	assert_int_equal(sleep_ranges_parse("16 2", r, 4), 1);
	assert_int_equal(r[0].gpa, 0x10000);
	assert_int_equal(r[0].bytes, 0x2000);
	assert_int_equal(sleep_ranges_parse("0x100 0x10\n 7\t1 \n", r, 4), 2);
	assert_int_equal(r[0].gpa, 0x100000);
	assert_int_equal(r[1].gpa, 0x7000);
	assert_int_equal(sleep_ranges_parse("1 1 2 1 3 1 4 1", r, 4), 4);
}

static void test_what_makes_no_sense_is_nothing(void **state)
{
	static const char *const bad[] = { "1",
					   "1 2 3",
					   "-1 1",
					   "1 -1",
					   "1 +1",
					   "x",
					   "1 1x",
					   "1,1",
					   "0x 1",
					   "4503599627370496 1", /* 2^52 pages */
					   "1 18446744073709551615",
					   "1 99999999999999999999999",
					   "1 1 2 1 3 1 4 1 5 1",
					   "1 1 \x80" };
	struct sleep_range r[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (sleep_ranges_parse(bad[i], r, 4) != -EINVAL)
			fail_msg("\"%s\" was accepted", bad[i]);
}

/* Anything that fits into a node, also without a NUL inside of what was written. */
static void test_noise_is_harmless(void **state)
{
	static const char letters[] = "0123456789xX \n\t-+abcdefABCDEF\xff,";
	struct sleep_range r[SLEEP_RANGES_MAX];
	unsigned int seed = 11;
	char text[2049];

	(void)state;
	for (int round = 0; round < 2000; round++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(text);
		int n;

		for (size_t i = 0; i < len; i++)
			text[i] = letters[(size_t)rand_r(&seed) % (round % 2 ? 13 : sizeof(letters) - 1)];
		text[len] = 0;
		n = sleep_ranges_parse(text, r, SLEEP_RANGES_MAX);
		assert_true(n == -EINVAL || (n >= 0 && n <= SLEEP_RANGES_MAX));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranges_are_read),
		cmocka_unit_test(test_what_makes_no_sense_is_nothing),
		cmocka_unit_test(test_noise_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
