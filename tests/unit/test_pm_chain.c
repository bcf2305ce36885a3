/* SPDX-License-Identifier: Apache-2.0 */
/* A command goes along a chain by priority until somebody takes it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pm/chain.h"

/* Who was asked, in order. */
struct calls {
	char log[32];
};

struct tester {
	struct pm_handler handler;
	struct pm_chain *chain; /* to leave while it is called; NULL: stays */
	char letter;
	int knows; /* command; 0: none */
	int answer;
};

static int note(struct pm_handler *self, int command, void *data, struct err *err)
{
	struct tester *t = container_of(self, struct tester, handler);
	struct calls *calls = data;

	calls->log[strlen(calls->log)] = t->letter;
	if (t->chain)
		pm_chain_remove(t->chain, self);
	if (t->knows != command)
		return PM_PASS;
	return t->answer < 0 ? err_set(err, t->answer, "no power") : t->answer;
}

static struct tester *add(struct pm_chain *chain, struct tester *t, char letter, int priority)
{
	static char names[26][2];

	names[letter - 'a'][0] = letter;
	*t = (struct tester){ .handler = { names[letter - 'a'], priority, note, NULL }, .letter = letter };
	pm_chain_add(chain, &t->handler);
	return t;
}

static const char *call(struct pm_chain *chain, int command, int want)
{
	static struct calls calls;

	calls = (struct calls){ 0 };
	assert_int_equal(pm_chain_call(chain, command, &calls, NULL), want);
	return calls.log;
}

static void test_an_empty_chain_passes(void **state)
{
	struct pm_chain chain = { 0 };

	(void)state;
	assert_string_equal(call(&chain, 1, PM_PASS), "");
}

static void test_priority_then_registration(void **state)
{
	struct pm_chain chain = { 0 };
	struct tester t[6];

	(void)state;
	add(&chain, &t[0], 'c', 0);
	add(&chain, &t[1], 'd', 0);
	add(&chain, &t[2], 'a', 10);
	add(&chain, &t[3], 'f', -5);
	add(&chain, &t[4], 'b', 10);
	add(&chain, &t[5], 'e', 0);
	assert_string_equal(call(&chain, 1, PM_PASS), "abcdef");
}

/* Every order in which five handlers with two priorities can come. */
static void test_order_does_not_depend_on_luck(void **state)
{
	(void)state;
	for (unsigned int mask = 0; mask < 32; mask++) {
		struct pm_chain chain = { 0 };
		struct tester t[5];
		char want[6] = { 0 };

		for (size_t i = 0; i < 5; i++)
			add(&chain, &t[i], (char)('a' + i), mask >> i & 1);
		for (int priority = 1; priority >= 0; priority--)
			for (size_t i = 0; i < 5; i++)
				if ((int)(mask >> i & 1) == priority)
					want[strlen(want)] = (char)('a' + i);
		assert_string_equal(call(&chain, 1, PM_PASS), want);
	}
}

static void test_the_first_that_knows_it_takes_it(void **state)
{
	struct pm_chain chain = { 0 };
	struct tester t[3];

	(void)state;
	add(&chain, &t[0], 'a', 0);
	add(&chain, &t[1], 'b', 0)->knows = 7;
	t[1].answer = PM_TAKEN;
	add(&chain, &t[2], 'c', 0)->knows = 7;
	t[2].answer = PM_TAKEN;
	assert_string_equal(call(&chain, 7, PM_TAKEN), "ab");
	assert_string_equal(call(&chain, 8, PM_PASS), "abc");
}

static void test_failure_stops_the_chain_and_names_the_taker(void **state)
{
	struct pm_chain chain = { 0 };
	struct calls calls = { 0 };
	struct err err = { 0 };
	struct tester t[2];

	(void)state;
	add(&chain, &t[0], 'a', 0)->knows = 7;
	t[0].answer = -EIO;
	add(&chain, &t[1], 'b', 0)->knows = 7;
	assert_int_equal(pm_chain_call(&chain, 7, &calls, &err), -EIO);
	assert_string_equal(calls.log, "a");
	assert_string_equal(err.msg, "a: no power");
	assert_int_equal(err.code, -EIO);
}

static void test_any_handler_can_be_removed(void **state)
{
	static const char *const want[] = { "bcd", "acd", "abd", "abc" };

	(void)state;
	for (size_t gone = 0; gone < 4; gone++) {
		struct pm_chain chain = { 0 };
		struct tester t[4];

		for (size_t i = 0; i < 4; i++)
			add(&chain, &t[i], (char)('a' + i), 0);
		pm_chain_remove(&chain, &t[gone].handler);
		assert_null(t[gone].handler.next);
		assert_string_equal(call(&chain, 1, PM_PASS), want[gone]);
		pm_chain_remove(&chain, &t[gone].handler); /* not there: nothing happens */
		assert_string_equal(call(&chain, 1, PM_PASS), want[gone]);
	}
}

/* Every set of handlers leaves while it is asked; all are still asked once. */
static void test_handlers_leave_while_they_are_called(void **state)
{
	(void)state;
	for (unsigned int mask = 0; mask < 16; mask++) {
		struct pm_chain chain = { 0 };
		struct tester t[4];
		char stay[5] = { 0 };

		for (size_t i = 0; i < 4; i++) {
			add(&chain, &t[i], (char)('a' + i), 0);
			if (mask >> i & 1)
				t[i].chain = &chain;
			else
				stay[strlen(stay)] = t[i].letter;
		}
		assert_string_equal(call(&chain, 1, PM_PASS), "abcd");
		assert_string_equal(call(&chain, 1, PM_PASS), stay);
	}
}

struct mortal {
	struct pm_handler handler;
	struct pm_chain *chain;
};

static int leave_and_die(struct pm_handler *self, int command, void *data, struct err *err)
{
	struct mortal *m = container_of(self, struct mortal, handler);

	(void)command;
	(void)data;
	pm_chain_remove(m->chain, self);
	free(m);
	return err_set(err, -EIO, "gone");
}

static void test_a_handler_frees_itself(void **state)
{
	struct pm_chain chain = { 0 };
	struct mortal *m = calloc(1, sizeof(*m));
	struct err err = { 0 };

	(void)state;
	assert_non_null(m);
	*m = (struct mortal){ { "mortal", 0, leave_and_die, NULL }, &chain };
	pm_chain_add(&chain, &m->handler);
	assert_int_equal(pm_chain_call(&chain, 1, NULL, &err), -EIO);
	assert_string_equal(err.msg, "mortal: gone");
	assert_null(chain.first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_chain_passes),
		cmocka_unit_test(test_priority_then_registration),
		cmocka_unit_test(test_order_does_not_depend_on_luck),
		cmocka_unit_test(test_the_first_that_knows_it_takes_it),
		cmocka_unit_test(test_failure_stops_the_chain_and_names_the_taker),
		cmocka_unit_test(test_any_handler_can_be_removed),
		cmocka_unit_test(test_handlers_leave_while_they_are_called),
		cmocka_unit_test(test_a_handler_frees_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
