/* SPDX-License-Identifier: Apache-2.0 */
/* One operation at a time, and whoever is refused hears which. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pm/lock.h"

static void test_refusal_names_the_holder(void **state)
{
	struct pm_lock lock = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_null(pm_lock_holder(&lock));
	assert_int_equal(pm_lock_take(&lock, "save", &err), 0);
	assert_string_equal(pm_lock_holder(&lock), "save");

	assert_int_equal(pm_lock_take(&lock, "suspend", &err), -EBUSY);
	assert_int_equal(err.code, -EBUSY);
	assert_string_equal(err.msg, "suspend: refused while save runs");
	assert_string_equal(pm_lock_holder(&lock), "save");
}

static void test_free_again_after_release(void **state)
{
	struct pm_lock lock = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pm_lock_take(&lock, "save", NULL), 0);
		pm_lock_release(&lock);
		assert_null(pm_lock_holder(&lock));
	}
}

static void test_the_same_operation_twice_is_refused(void **state)
{
	struct pm_lock lock = { 0 };

	(void)state;
	assert_int_equal(pm_lock_take(&lock, "save", NULL), 0);
	assert_int_equal(pm_lock_take(&lock, "save", NULL), -EBUSY);
}

/* Threads that all want the lock; the plain counter shows whether two ever had it at once. */

#define THREADS 8
#define TURNS	20000

static const char *const op_names[THREADS] = { "op0", "op1", "op2", "op3", "op4", "op5", "op6", "op7" };

struct rivals {
	struct pm_lock lock;
	uint64_t turns; /* guarded by the lock alone */
	int inside;	/* atomic */
	int wrong;	/* atomic */
};

struct rival {
	struct rivals *all;
	const char *name;
	uint64_t taken;
};

static bool is_op(const char *text)
{
	for (size_t i = 0; i < THREADS; i++)
		if (strstr(text, op_names[i]))
			return true;
	return false;
}

static void *compete(void *arg)
{
	struct rival *me = arg;
	struct rivals *all = me->all;

	for (int i = 0; i < TURNS; i++) {
		struct err err = { 0 };

		if (pm_lock_take(&all->lock, me->name, &err) < 0) {
			const char *who = strstr(err.msg, "while ");

			if (!who || !is_op(who))
				__atomic_add_fetch(&all->wrong, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (__atomic_add_fetch(&all->inside, 1, __ATOMIC_RELAXED) != 1)
			__atomic_add_fetch(&all->wrong, 1, __ATOMIC_RELAXED);
		all->turns++;
		me->taken++;
		__atomic_sub_fetch(&all->inside, 1, __ATOMIC_RELAXED);
		pm_lock_release(&all->lock);
	}
	return NULL;
}

static void test_one_of_many_threads_holds_it(void **state)
{
	struct rivals all = { 0 };
	struct rival rival[THREADS];
	pthread_t thread[THREADS];
	uint64_t taken = 0;

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		rival[i] = (struct rival){ &all, op_names[i], 0 };
		assert_int_equal(pthread_create(&thread[i], NULL, compete, &rival[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		taken += rival[i].taken;
	}
	assert_int_equal(all.wrong, 0);
	assert_true(taken > 0);
	assert_int_equal(all.turns, taken);
	assert_null(pm_lock_holder(&all.lock));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusal_names_the_holder),
		cmocka_unit_test(test_free_again_after_release),
		cmocka_unit_test(test_the_same_operation_twice_is_refused),
		cmocka_unit_test(test_one_of_many_threads_holds_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
