/* SPDX-License-Identifier: Apache-2.0 */
/* Faults that the xenstore once had, each as the guest or the image that would meet it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xen/io/xs_wire.h>

#include "xen/store/ring.h"
#include "xen/store/store.h"

#define GUEST 7
#define HOME  "/local/domain/7"

static struct xs *xs;

static int setup(void **state)
{
	(void)state;
	return xs_new(GUEST, &xs, NULL) || xs_write(xs, HOME, "%s", "") || xs_set_perms(xs, HOME, "n7");
}

static int teardown(void **state)
{
	(void)state;
	xs_free(xs);
	return 0;
}

/* One request and its answer; events before it are dropped. */
static const char *ask(uint32_t tx, uint32_t type, const void *body, size_t len)
{
	static char answer[XENSTORE_PAYLOAD_MAX + 1];
	struct xsd_sockmsg head = { .type = type, .req_id = 1, .tx_id = tx, .len = (uint32_t)len };

	assert_int_equal(xs_input(xs, &head, sizeof(head)), sizeof(head));
	assert_int_equal(xs_input(xs, body, len), len);
	do {
		assert_int_equal(xs_output(xs, &head, sizeof(head)), sizeof(head));
		assert_int_equal(xs_output(xs, answer, head.len), head.len);
		answer[head.len] = 0;
	} while (head.type == XS_WATCH_EVENT);
	return answer;
}

#define ASK(tx, type, body) ask(tx, type, body, sizeof(body))
#define RAW(tx, type, body) ask(tx, type, body, sizeof(body) - 1)

/* ---- state ---- */

/* The tail of a state with one transaction: its number, the request, the output, "broken". */
static bool loads(uint32_t tx, uint32_t len, uint32_t in_len, bool broken)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 }, again = { 0 };
	struct xsd_sockmsg head = { .type = XS_READ, .len = len };
	uint8_t in[sizeof(head) + XENSTORE_PAYLOAD_MAX] = { 0 };
	struct xs *woken = NULL;
	struct bytes_reader r;

	xs_save(xs, &w);
	w.len -= 4 + 4 + 4 + 4 + 1; /* transactions, last, request, output, broken */
	memcpy(in, &head, sizeof(head));
	bytes_put_u32(&w, 2);
	bytes_put_u32(&w, 9);
	bytes_put_u32(&w, tx);
	bytes_put_u32(&w, 10);
	bytes_put_blob(&w, in, in_len);
	bytes_put_u32(&w, 0);
	bytes_put_u8(&w, broken);
	r = bytes_reader(w.buf, w.len);
	if (xs_load(&r, &woken, NULL))
		return false;
	xs_save(woken, &again);
	assert_int_equal(again.len, w.len);
	assert_memory_equal(again.buf, w.buf, w.len);
	xs_free(woken);
	return true;
}

static void test_a_saved_request_is_one_that_is_not_whole(void **state)
{
	(void)state;
	assert_true(loads(8, 100, 15, false));
	assert_true(loads(8, 100, 16, false));
	assert_true(loads(8, 100, 115, false));
	assert_false(loads(8, 100, 116, false));
	assert_false(loads(8, 100, 4000, false));
	assert_false(loads(8, 0, 16, false));
	assert_true(loads(8, XENSTORE_PAYLOAD_MAX, 4111, false));
	assert_false(loads(8, XENSTORE_PAYLOAD_MAX + 1, 16, false));
	assert_false(loads(8, UINT32_MAX, 4111, false));
	assert_true(loads(8, UINT32_MAX, 16, true)); /* this is what broke it */
}

static void test_saved_transactions_have_numbers_of_their_own(void **state)
{
	(void)state;
	assert_true(loads(8, 0, 0, false));
	assert_true(loads(UINT32_MAX, 0, 0, false));
	assert_false(loads(9, 0, 0, false));
	assert_false(loads(0, 0, 0, false));
}

static void test_a_long_name_survives_a_sleep(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	char body[XENSTORE_ABS_PATH_MAX + 1] = HOME "/";
	struct bytes_reader r;

	(void)state;
	memset(body + strlen(body), 'a', sizeof(body) - 1 - strlen(body));
	assert_string_equal(ask(0, XS_MKDIR, body, sizeof(body)), "OK");
	xs_save(xs, &w);
	xs_free(xs);
	xs = NULL;
	r = bytes_reader(w.buf, w.len);
	assert_int_equal(xs_load(&r, &xs, NULL), 0);
}

/* ---- the ring ---- */

static struct xenstore_domain_interface ring;

static void ring_put(const void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		memcpy(&ring.req[(ring.req_prod + i) % XENSTORE_RING_SIZE], (const char *)buf + i, 1);
	ring.req_prod += (uint32_t)len;
}

static void test_requests_that_waited_for_room_are_taken_with_it(void **state)
{
	struct xsd_sockmsg head = { .type = XS_DIRECTORY, .len = 2 };
	int sent = 0, rounds = 0;

	(void)state;
	memset(&ring, 0, sizeof(ring));
	/* More answers than the connection holds, until it takes no requests any more. */
	do {
		while (ring.req_prod - ring.req_cons + sizeof(head) + 2 <= XENSTORE_RING_SIZE) {
			ring_put(&head, sizeof(head));
			ring_put("/", 2);
			sent++;
		}
	} while (xs_ring_process(xs, &ring));
	assert_true(ring.req_prod != ring.req_cons);
	assert_true(xs_output_pending(xs) >= XS_OUTPUT_HIGH);
	/* From here on the guest only reads, and only tells when the ring was full. */
	for (; ring.rsp_cons != ring.rsp_prod; rounds++) {
		assert_true(rounds < 1000);
		ring.rsp_cons = ring.rsp_prod;
		xs_ring_process(xs, &ring);
		assert_false(xs_ring_unfinished(xs));
	}
	assert_int_equal(ring.req_prod, ring.req_cons);
	assert_int_equal(ring.rsp_prod, (uint32_t)sent * (sizeof(head) + sizeof("EACCES")));
}

static void test_a_broken_connection_tells_why(void **state)
{
	struct xsd_sockmsg head = { .type = XS_READ, .len = XENSTORE_PAYLOAD_MAX + 1 };

	(void)state;
	memset(&ring, 0, sizeof(ring));
	ring_put(&head, sizeof(head));
	assert_true(xs_ring_process(xs, &ring));
	assert_int_equal(ring.error, XENSTORE_ERROR_PROTO);
	assert_false(xs_ring_process(xs, &ring));
}

/* ---- changes ---- */

static size_t saved_size(void)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	xs_save(xs, &w);
	return w.len;
}

static void test_a_refused_write_leaves_nothing_behind(void **state)
{
	char body[4 + 2 * 300 + 1] = "deep";
	size_t before = saved_size();

	(void)state;
	for (int i = 0; i < 300; i++)
		strcat(body, "/a");
	assert_string_equal(ask(0, XS_MKDIR, body, sizeof(body)), "EINVAL");
	assert_string_equal(ask(0, XS_WRITE, body, sizeof(body)), "EINVAL");
	assert_int_equal(saved_size(), before);
}

static void test_nobody_learns_what_is_missing(void **state)
{
	(void)state;
	xs_write(xs, "/tool/secret", "1");
	assert_string_equal(ASK(0, XS_RM, "/tool/secret"), "EACCES");
	assert_string_equal(ASK(0, XS_RM, "/tool/none"), "EACCES");
	assert_string_equal(ASK(0, XS_RM, "/tool/none/deeper"), "EACCES");
	assert_string_equal(ASK(0, XS_SET_PERMS, "/tool/secret\0n7"), "EACCES");
	assert_string_equal(ASK(0, XS_SET_PERMS, "/tool/none\0n7"), "EACCES");
	assert_string_equal(ASK(0, XS_RM, "none"), "OK");
	assert_string_equal(ASK(0, XS_RM, "none/deeper"), "ENOENT");
	assert_int_equal(xs_rm(xs, "/tool/none/deeper"), ENOENT);
}

static uint32_t start(void)
{
	return (uint32_t)strtoul(ASK(0, XS_TRANSACTION_START, ""), NULL, 10);
}

static void test_a_failed_commit_fires_nothing(void **state)
{
	uint32_t tx = start();

	(void)state;
	assert_string_equal(RAW(tx, XS_WRITE, "first\0x"), "OK");
	assert_string_equal(RAW(tx, XS_WRITE, "host/below/deep\0x"), "OK");
	xs_write(xs, HOME "/host", "%s", "");
	xs_set_perms(xs, HOME "/host", "n0");
	assert_string_equal(ASK(0, XS_WATCH, "first\0t"), "OK");
	while (xs_output(xs, &(char){ 0 }, 1))
		;
	assert_string_equal(ASK(tx, XS_TRANSACTION_END, "T"), "EAGAIN");
	assert_int_equal(xs_output_pending(xs), 0);
	assert_null(xs_read(xs, HOME "/first", NULL));
}

static void test_a_removal_conflicts_with_changes_below(void **state)
{
	uint32_t tx;

	(void)state;
	assert_string_equal(RAW(0, XS_WRITE, "a/b/c\0x"), "OK");
	tx = start();
	assert_string_equal(ASK(tx, XS_RM, "a"), "OK");
	assert_string_equal(RAW(0, XS_WRITE, "a/b/c\0y"), "OK");
	assert_string_equal(ASK(tx, XS_TRANSACTION_END, "T"), "EAGAIN");
	tx = start();
	assert_string_equal(ASK(tx, XS_RM, "a"), "OK");
	assert_string_equal(RAW(0, XS_WRITE, "elsewhere\0y"), "OK");
	assert_string_equal(ASK(tx, XS_TRANSACTION_END, "T"), "OK");
	assert_null(xs_read(xs, HOME "/a", NULL));
}

static void test_some_requests_know_no_transactions(void **state)
{
	(void)state;
	assert_string_equal(ASK(4711, XS_READ, "name"), "ENOENT");
	assert_string_equal(ASK(4711, XS_WATCH, "w\0t"), "OK");
	assert_string_equal(ASK(4711, XS_UNWATCH, "w\0t"), "OK");
	assert_string_equal(ASK(4711, XS_INTRODUCE, "7"), "EACCES");
	assert_string_equal(ASK(4711, XS_CONTROL, "check"), "EACCES");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_saved_request_is_one_that_is_not_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_saved_transactions_have_numbers_of_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_long_name_survives_a_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requests_that_waited_for_room_are_taken_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_broken_connection_tells_why, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_refused_write_leaves_nothing_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_learns_what_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_failed_commit_fires_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_removal_conflicts_with_changes_below, setup, teardown),
		cmocka_unit_test_setup_teardown(test_some_requests_know_no_transactions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
