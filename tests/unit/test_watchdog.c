/* SPDX-License-Identifier: Apache-2.0 */
/* Watchdogs of a domain, on a machine without KVM, which is parked unless a test says otherwise. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xen/sched.h>

#include "../fuzz/fake_machine.h"
#include "base/addr.h"
#include "base/clock.h"
#include "xen/internal.h"
#include "wait.h"

#define RAM   (1 * MIB)
#define ARGS  UINT64_C(0x8000)
#define TICKS (NSEC_PER_SEC / WATCHDOG_TICK_NS) /* of a second */

static struct machine m;
static struct xen_domain *d;
static unsigned int heard;

static bool on_watchdog(void *arg)
{
	(void)arg;
	__atomic_fetch_add(&heard, 1, __ATOMIC_SEQ_CST);
	return false;
}

static int domain_new(struct xen_domain **ret)
{
	static const struct xen_domain_config config = { .domid = 7,
							 .vcpus = 1,
							 .vcpus_online = 1,
							 .name = "test",
							 .uuid = "6f0d8a3a-0000-4000-8000-0123456789ab",
							 .memory_bytes = RAM,
							 .memory_max_bytes = RAM };
	struct xen_domain_ops ops = fake_domain_ops;

	ops.watchdog = on_watchdog;
	return xen_domain_new(&m, &config, &ops, ret, NULL);
}

static int setup(void **state)
{
	(void)state;
	heard = 0;
	return fake_machine_init(&m, RAM, 1) ?: domain_new(&d);
}

static int teardown(void **state)
{
	(void)state;
	xen_domain_free(d);
	fake_machine_fini(&m);
	return 0;
}

static int64_t watchdog(uint32_t id, uint32_t seconds)
{
	sched_watchdog_t op = { .id = id, .timeout = seconds };
	struct hypercall h = { .nr = __HYPERVISOR_sched_op, .arg = { SCHEDOP_watchdog, ARGS }, .long_mode = true };

	gmem_write(m.mem, ARGS, &op, sizeof(op));
	return xen_hypercall(d, &m.vcpu[0], &h);
}

/* So many ticks go by; how many of them found one that has expired. */
static unsigned int ticks(unsigned int n)
{
	unsigned int expired = 0;
	SCOPED_LOCK(&d->lock);

	while (n--)
		expired += watchdog_tick(d);
	return expired;
}

static void test_two_and_no_third(void **state)
{
	(void)state;
	assert_int_equal(watchdog(0, 10), 1);
	assert_int_equal(watchdog(0, 10), 2);
	assert_int_equal(watchdog(0, 10), -ENOSPC);
	assert_int_equal(watchdog(1, 0), 0);
	assert_int_equal(watchdog(0, 10), 1);
}

static void test_what_makes_no_sense_is_refused(void **state)
{
	struct hypercall h = { .nr = __HYPERVISOR_sched_op, .arg = { SCHEDOP_watchdog, RAM }, .long_mode = true };

	(void)state;
	assert_int_equal(watchdog(1, 10), -EINVAL); /* nobody set it up */
	assert_int_equal(watchdog(2, 0), -EINVAL);
	assert_int_equal(watchdog(3, 10), -EINVAL);
	assert_int_equal(watchdog(UINT32_MAX, 10), -EINVAL);
	assert_int_equal(watchdog(0, 0), -EINVAL);
	assert_int_equal(xen_hypercall(d, &m.vcpu[0], &h), -EFAULT);
	assert_int_equal(ticks(1), 0);
}

static void test_it_expires_when_its_time_is_over(void **state)
{
	(void)state;
	assert_int_equal(watchdog(0, 3), 1);
	assert_int_equal(ticks(3 * TICKS - 1), 0);
	assert_int_equal(ticks(1), 1);
	assert_int_equal(ticks(1), 1); /* as long as nobody took it */
	assert_int_equal(watchdog(1, UINT32_MAX), 0);
	assert_int_equal(ticks(100), 0);
}

static void test_who_pokes_lives(void **state)
{
	(void)state;
	assert_int_equal(watchdog(0, 2), 1);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ticks(2 * TICKS - 1), 0);
		assert_int_equal(watchdog(1, 2), 0);
	}
	assert_int_equal(watchdog(1, 0), 0);
	assert_int_equal(ticks(5 * TICKS), 0);
	assert_int_equal(watchdog(1, 2), -EINVAL);
}

static void test_what_is_left_goes_into_an_image(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct bytes_reader r;

	(void)state;
	assert_int_equal(watchdog(0, 60), 1);
	assert_int_equal(watchdog(0, 2), 2);
	assert_int_equal(ticks(TICKS), 0);
	assert_int_equal(xen_domain_save(d, &w, NULL), 0);
	xen_domain_free(d);
	assert_int_equal(domain_new(&d), 0);
	r = bytes_reader(w.buf, w.len);
	assert_int_equal(xen_domain_load(d, &r, NULL), 0);
	assert_int_equal(ticks(TICKS - 1), 0);
	assert_int_equal(ticks(1), 1);
	assert_int_equal(watchdog(2, 0), 0);
	assert_int_equal(ticks(57 * TICKS), 0);
	assert_int_equal(ticks(TICKS), 1);
}

static void test_images_from_before_have_none(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct bytes_reader r;

	(void)state;
	assert_int_equal(watchdog(0, 1), 1);
	assert_int_equal(xen_domain_save(d, &w, NULL), 0);
	((uint8_t *)w.buf)[0] = 1;
	r = bytes_reader(w.buf, w.len - XEN_WATCHDOGS * sizeof(uint64_t));
	assert_int_equal(xen_domain_reset(d, NULL), 0);
	assert_int_equal(xen_domain_load(d, &r, NULL), 0);
	assert_false(watchdog_runs(d));
}

static void test_more_than_can_be_set_is_refused(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct bytes_reader r;

	(void)state;
	assert_int_equal(xen_domain_save(d, &w, NULL), 0);
	memset((uint8_t *)w.buf + w.len - 8, 0xff, 8);
	r = bytes_reader(w.buf, w.len);
	assert_int_equal(xen_domain_load(d, &r, NULL), -EBADMSG);
}

static void test_a_new_life_has_none(void **state)
{
	(void)state;
	assert_int_equal(watchdog(0, 1), 1);
	assert_int_equal(xen_domain_reset(d, NULL), 0);
	assert_false(watchdog_runs(d));
}

/* By the domain's own thread: not while the machine is parked, and again and again until somebody takes it. */
static void test_the_machine_hears_of_it_when_it_runs(void **state)
{
	(void)state;
	assert_int_equal(watchdog(0, 1), 1);
	ticks(TICKS);
	usleep(3 * WATCHDOG_TICK_NS / 1000);
	assert_int_equal(heard, 0);
	__atomic_store_n(&m.runs, true, __ATOMIC_SEQ_CST);
	usleep(2 * WATCHDOG_TICK_NS / 1000);
	assert_int_equal(heard, 0); /* the ticks have stopped until it wakes */
	xen_domain_wake(d);
	WAIT(__atomic_load_n(&heard, __ATOMIC_SEQ_CST) >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_and_no_third, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_makes_no_sense_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_expires_when_its_time_is_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_pokes_lives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_left_goes_into_an_image, setup, teardown),
		cmocka_unit_test_setup_teardown(test_images_from_before_have_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_can_be_set_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_new_life_has_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_machine_hears_of_it_when_it_runs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
