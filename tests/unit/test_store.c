/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xenstore as its guest sees it: bytes in, bytes out. Every request is answered, saved and
 * loaded again on the way (see ask()), so that each test is one of state, too.
 */
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

struct scene {
	struct xs *xs;
	uint32_t tx;
	char ev[65536]; /* events as "path token\n" */
	struct xsd_sockmsg head;
	char body[XENSTORE_PAYLOAD_MAX + 1];
};

static struct scene sc;
static unsigned int next_id = 1;
static bool reload = true; /* save and load between a request and its answer */

static void sleep_and_wake(void)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 }, again = { 0 };
	struct bytes_reader r;
	struct xs *woken = NULL;
	struct err err = { 0 };

	xs_save(sc.xs, &w);
	r = bytes_reader(w.buf, w.len);
	if (xs_load(&r, &woken, &err))
		fail_msg("%s", err.msg);
	xs_save(woken, &again);
	assert_int_equal(w.len, again.len);
	assert_memory_equal(w.buf, again.buf, w.len);
	xs_free(sc.xs);
	sc.xs = woken;
}

static int setup(void **state)
{
	(void)state;
	memset(&sc, 0, sizeof(sc));
	reload = true;
	if (xs_new(GUEST, &sc.xs, NULL))
		return -1;
	return xs_write(sc.xs, HOME, "%s", "") || xs_set_perms(sc.xs, HOME, "n7") ||
	       xs_write(sc.xs, "/tool/secret", "42") || xs_write(sc.xs, HOME "/name", "web") ||
	       xs_write(sc.xs, HOME "/public", "x") || xs_set_perms(sc.xs, HOME "/public", "r0");
}

static int teardown(void **state)
{
	(void)state;
	xs_free(sc.xs);
	return 0;
}

static void put(uint32_t type, const void *body, size_t len)
{
	struct xsd_sockmsg head = { .type = type, .req_id = next_id++, .tx_id = sc.tx, .len = (uint32_t)len };
	char raw[sizeof(head) + XENSTORE_PAYLOAD_MAX];

	memcpy(raw, &head, sizeof(head));
	if (len)
		memcpy(raw + sizeof(head), body, len);
	assert_int_equal(xs_input(sc.xs, raw, sizeof(head) + len), sizeof(head) + len);
}

/* One message out of the output; false: there is none. */
static bool get(void)
{
	if (!xs_output_pending(sc.xs))
		return false;
	assert_int_equal(xs_output(sc.xs, &sc.head, sizeof(sc.head)), sizeof(sc.head));
	assert_true(sc.head.len <= XENSTORE_PAYLOAD_MAX);
	assert_int_equal(xs_output(sc.xs, sc.body, sc.head.len), sc.head.len);
	sc.body[sc.head.len] = 0;
	return true;
}

static void note_event(void)
{
	size_t n = strlen(sc.ev);

	assert_int_equal(sc.head.req_id, 0);
	assert_int_equal(sc.body[sc.head.len - 1], 0);
	assert_int_equal(strlen(sc.body) + 1 + strlen(sc.body + strlen(sc.body) + 1) + 1, sc.head.len);
	snprintf(sc.ev + n, sizeof(sc.ev) - n, "%s %s\n", sc.body, sc.body + strlen(sc.body) + 1);
}

static const char *events(void)
{
	static char text[sizeof(sc.ev)];

	while (get()) {
		assert_int_equal(sc.head.type, XS_WATCH_EVENT);
		note_event();
	}
	strcpy(text, sc.ev);
	sc.ev[0] = 0;
	return text;
}

/* The answer to one request; events that come before or behind it are kept. */
static const char *ask(uint32_t type, const void *body, size_t len)
{
	static char answer[XENSTORE_PAYLOAD_MAX + 1];
	static struct xsd_sockmsg head;
	uint32_t id = next_id;
	bool answered = false;

	put(type, body, len);
	if (reload && !sc.tx)
		sleep_and_wake();
	while (get()) {
		if (sc.head.type == XS_WATCH_EVENT) {
			note_event();
			continue;
		}
		assert_false(answered);
		answered = true;
		assert_int_equal(sc.head.req_id, id);
		assert_int_equal(sc.head.tx_id, sc.tx);
		assert_true(sc.head.type == type || sc.head.type == XS_ERROR);
		head = sc.head;
		memcpy(answer, sc.body, sizeof(answer));
	}
	assert_true(answered);
	sc.head = head;
	return answer;
}

#define ASK(type, body)	 ask(type, body, sizeof(body)) /* with the NUL */
#define RAW(type, body)	 ask(type, body, sizeof(body) - 1)
#define is(answer, want) assert_string_equal(answer, want)
#define is_error(answer, want)                                                                                         \
	do {                                                                                                           \
		assert_string_equal(answer, want);                                                                     \
		assert_int_equal(sc.head.type, XS_ERROR);                                                              \
	} while (0)

static const char *get_value(const char *path)
{
	return ask(XS_READ, path, strlen(path) + 1);
}

static void set_value(const char *path, const char *value)
{
	char body[XENSTORE_PAYLOAD_MAX];
	int n = snprintf(body, sizeof(body), "%s%c%s", path, 0, value);

	is(ask(XS_WRITE, body, (size_t)n), "OK");
}

static uint32_t start(void)
{
	reload = false; /* a sleep would end it */
	return (uint32_t)strtoul(ASK(XS_TRANSACTION_START, ""), NULL, 10);
}

static const char *end(uint32_t tx, const char *how)
{
	const char *answer;

	sc.tx = tx;
	answer = ask(XS_TRANSACTION_END, how, 2);
	sc.tx = 0;
	return answer;
}

/* ---- nodes ---- */

static void test_a_written_value_is_read_back(void **state)
{
	(void)state;
	set_value("data/a", "one");
	is(get_value("data/a"), "one");
	assert_int_equal(sc.head.len, 3);
	is(get_value(HOME "/data/a"), "one");
	is(get_value("data"), ""); /* made on the way */
	set_value("data/a", "");
	is(get_value("data/a"), "");
	assert_int_equal(sc.head.len, 0);
}

static void test_values_are_bytes(void **state)
{
	(void)state;
	is(RAW(XS_WRITE, "bin\0a\0b\xff\n"), "OK");
	get_value("bin");
	assert_int_equal(sc.head.len, 5);
	assert_memory_equal(sc.body, "a\0b\xff\n", 5);
}

static void test_directory_lists_children_by_name(void **state)
{
	(void)state;
	set_value("d/b", "");
	set_value("d/a", "");
	set_value("d/ab/c", "");
	ASK(XS_DIRECTORY, "d");
	assert_int_equal(sc.head.len, 7);
	assert_memory_equal(sc.body, "a\0ab\0b", 7);
	is(ASK(XS_DIRECTORY, "d/a"), "");
	is_error(ASK(XS_DIRECTORY, "d/none"), "ENOENT");
}

static void test_mkdir_keeps_what_is_there(void **state)
{
	(void)state;
	is(ASK(XS_MKDIR, "m/n"), "OK");
	is(get_value("m/n"), "");
	set_value("m/n", "v");
	is(ASK(XS_MKDIR, "m/n"), "OK");
	is(get_value("m/n"), "v");
}

static void test_rm_takes_everything_below(void **state)
{
	(void)state;
	set_value("r/a/b", "");
	is(ASK(XS_RM, "r/a"), "OK");
	is_error(get_value("r/a/b"), "ENOENT");
	is_error(get_value("r/a"), "ENOENT");
	is(get_value("r"), "");
	is(ASK(XS_RM, "r/gone"), "OK"); /* the parent is there: as xenstored */
	is_error(ASK(XS_RM, "r/gone/deeper"), "ENOENT");
	is_error(ASK(XS_RM, "/"), "EINVAL");
}

static void test_bad_paths_are_refused(void **state)
{
	static const char *const bad[] = { "", "//", "a//b", "a/", "/a/", "a b", "a.b", "a\n", "\xc3\xa4", "a*" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		is_error(get_value(bad[i]), "EINVAL");
	is_error(RAW(XS_READ, "name"), "EINVAL"); /* no NUL */
	is_error(RAW(XS_READ, ""), "EINVAL");
	is_error(ASK(XS_READ, "name\0more"), "EINVAL");
	is_error(ASK(XS_READ, "@introduceDomain"), "ENOENT");
}

static void test_path_lengths_have_limits(void **state)
{
	char path[XENSTORE_ABS_PATH_MAX + 2];

	(void)state;
	memset(path, 'a', sizeof(path));
	path[XENSTORE_REL_PATH_MAX] = 0;
	is_error(get_value(path), "ENOENT");
	path[XENSTORE_REL_PATH_MAX] = 'a';
	path[XENSTORE_REL_PATH_MAX + 1] = 0;
	is_error(get_value(path), "EINVAL");
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[XENSTORE_ABS_PATH_MAX] = 0;
	is_error(get_value(path), "EACCES");
	path[XENSTORE_ABS_PATH_MAX] = 'a';
	path[XENSTORE_ABS_PATH_MAX + 1] = 0;
	is_error(get_value(path), "EINVAL");
}

/* ---- permissions ---- */

static void test_nodes_of_the_host_are_the_hosts(void **state)
{
	(void)state;
	is_error(get_value("/tool/secret"), "EACCES");
	is_error(get_value("/tool/none"), "EACCES"); /* not even that it is not there */
	is_error(get_value("/"), "EACCES");
	is_error(ASK(XS_DIRECTORY, "/tool"), "EACCES");
	is_error(ASK(XS_GET_PERMS, "/tool/secret"), "EACCES");
	is_error(RAW(XS_WRITE, "/tool/secret\0x"), "EACCES");
	is_error(RAW(XS_WRITE, "/tool/mine\0x"), "EACCES");
	is_error(ASK(XS_MKDIR, "/mine"), "EACCES");
	is_error(ASK(XS_RM, "/tool/secret"), "EACCES");
	is_error(ASK(XS_SET_PERMS, "/tool/secret\0b7"), "EACCES");
	is_error(ASK(XS_SET_PERMS, "public\0b7"), "EACCES");
	is_error(RAW(XS_WRITE, "public\0x"), "EACCES");
	is(get_value("public"), "x");
	free(xs_read(sc.xs, "/tool/secret", NULL));
}

static void test_permissions_are_told_set_and_kept(void **state)
{
	(void)state;
	set_value("p", "v");
	ASK(XS_GET_PERMS, "p");
	assert_int_equal(sc.head.len, 3);
	assert_memory_equal(sc.body, "n7", 3);
	is(ASK(XS_SET_PERMS, "p\0w7\0r3\0b65535"), "OK");
	ASK(XS_GET_PERMS, "p");
	assert_int_equal(sc.head.len, 13);
	assert_memory_equal(sc.body, "w7\0r3\0b65535", 13);
	is_error(ASK(XS_SET_PERMS, "p\0n0"), "EPERM"); /* given away */
	is_error(ASK(XS_SET_PERMS, "none\0n7"), "ENOENT");
}

static void test_bad_permissions_are_refused(void **state)
{
	(void)state;
	is_error(ASK(XS_SET_PERMS, "name\0x7"), "EINVAL");
	is_error(ASK(XS_SET_PERMS, "name\0n"), "EINVAL");
	is_error(ASK(XS_SET_PERMS, "name\0n-1"), "EINVAL");
	is_error(ASK(XS_SET_PERMS, "name\0n65536"), "EINVAL");
	is_error(ASK(XS_SET_PERMS, "name\0n7 "), "EINVAL");
	is_error(RAW(XS_SET_PERMS, "name\0n7"), "EINVAL");
	is_error(RAW(XS_SET_PERMS, "name\0"), "EINVAL");
	is_error(ASK(XS_SET_PERMS, "name\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7\0n7"),
		 "EINVAL");
}

/* ---- watches ---- */

static void test_a_watch_fires_at_once_and_for_everything_below(void **state)
{
	(void)state;
	is(ASK(XS_WATCH, "w\0token 1"), "OK");
	is(events(), "w token 1\n");
	set_value("w", "1");
	is(events(), "w token 1\n");
	set_value(HOME "/w/x", "1");
	is(events(), "w/x token 1\n"); /* relative, as it was asked for */
	set_value("wide", "1");
	is(events(), "");
	is(ASK(XS_MKDIR, "w/x"), "OK"); /* nothing changed */
	is(events(), "");
	is(ASK(XS_MKDIR, "w/y"), "OK");
	is(events(), "w/y token 1\n");
	is(ASK(XS_SET_PERMS, "w/y\0r7"), "OK");
	is(events(), "w/y token 1\n");
}

static void test_absolute_watches_tell_absolute_paths(void **state)
{
	(void)state;
	is(ASK(XS_WATCH, HOME "/w\0t"), "OK");
	is(events(), HOME "/w t\n");
	set_value("w/x", "1");
	is(events(), HOME "/w/x t\n");
}

static void test_the_answer_comes_before_the_first_event(void **state)
{
	(void)state;
	put(XS_WATCH, "w\0t", 4);
	assert_true(get());
	assert_int_equal(sc.head.type, XS_WATCH);
	assert_true(get());
	assert_int_equal(sc.head.type, XS_WATCH_EVENT);
	assert_false(get());
}

static void test_the_host_and_the_guest_fire_the_same_watches(void **state)
{
	(void)state;
	is(ASK(XS_WATCH, "control\0c"), "OK");
	events();
	assert_int_equal(xs_write(sc.xs, HOME "/control/shutdown", "suspend"), 0);
	is(events(), "control/shutdown c\n");
	assert_int_equal(xs_rm(sc.xs, HOME "/control/shutdown"), 0);
	is(events(), "control/shutdown c\n");
}

static void test_no_event_tells_what_may_not_be_read(void **state)
{
	(void)state;
	is(ASK(XS_WATCH, "/tool\0t"), "OK");
	is(events(), "/tool t\n");
	assert_int_equal(xs_write(sc.xs, "/tool/new", "1"), 0);
	assert_int_equal(xs_rm(sc.xs, "/tool"), 0);
	is(events(), "");
}

static void test_deep_rm_tells_watches_below(void **state)
{
	(void)state;
	set_value("a/b/c", "1");
	set_value("a/d", "1");
	ASK(XS_WATCH, "a/b/c\0deep");
	ASK(XS_WATCH, "a\0top");
	ASK(XS_WATCH, "a/none\0never");
	events();
	is(ASK(XS_RM, "a"), "OK");
	is(events(), "a/b/c deep\na top\n");
	is(ASK(XS_RM, "a"), "OK"); /* it is gone: nothing happens */
	is(events(), "");
}

static void test_unwatch_needs_path_and_token(void **state)
{
	(void)state;
	ASK(XS_WATCH, "w\0one");
	ASK(XS_WATCH, "w\0two");
	is_error(ASK(XS_WATCH, "w\0one"), "EEXIST");
	is_error(ASK(XS_UNWATCH, "w\0three"), "ENOENT");
	is_error(ASK(XS_UNWATCH, "v\0one"), "ENOENT");
	events();
	is(ASK(XS_UNWATCH, "w\0one"), "OK");
	set_value("w", "");
	is(events(), "w two\n");
	is_error(ASK(XS_UNWATCH, "w\0one"), "ENOENT");
}

static void test_watches_of_domains_coming_and_going(void **state)
{
	(void)state;
	is(ASK(XS_WATCH, "@introduceDomain\0i"), "OK");
	is(ASK(XS_WATCH, "@releaseDomain\0r"), "OK");
	is_error(ASK(XS_WATCH, "@other\0r"), "EINVAL");
	is(events(), "@introduceDomain i\n@releaseDomain r\n");
}

static void test_bad_watches_are_refused(void **state)
{
	(void)state;
	is_error(ASK(XS_WATCH, "w"), "EINVAL"); /* no token */
	is_error(RAW(XS_WATCH, "w\0t"), "EINVAL");
	is_error(ASK(XS_WATCH, "w\0t\0more"), "EINVAL");
	is_error(RAW(XS_WATCH, "@introduceDomain"), "EINVAL");
	is_error(ASK(XS_WATCH, "a//b\0t"), "EINVAL");
}

static void test_reset_forgets_watches_and_transactions(void **state)
{
	uint32_t tx;

	(void)state;
	reload = false;
	ASK(XS_WATCH, "w\0t");
	tx = start();
	events();
	is(ASK(XS_RESET_WATCHES, ""), "OK");
	set_value("w", "");
	is(events(), "");
	is_error(end(tx, "T"), "ENOENT");
	tx = start();
	sc.tx = tx;
	is(ASK(XS_RESET_WATCHES, ""), "OK"); /* from inside one that goes with it */
	sc.tx = 0;
	is_error(end(tx, "F"), "ENOENT");
}

/* ---- transactions ---- */

static void test_a_transaction_is_seen_by_nobody_until_its_end(void **state)
{
	uint32_t tx = start();

	(void)state;
	reload = false;
	ASK(XS_WATCH, "t\0w");
	events();
	sc.tx = tx;
	set_value("t/a", "1");
	is(get_value("t/a"), "1");
	sc.tx = 0;
	is_error(get_value("t/a"), "ENOENT");
	is(events(), "");
	is(end(tx, "T"), "OK");
	is(get_value("t/a"), "1");
	is(events(), "t/a w\n");
	is_error(end(tx, "T"), "ENOENT");
}

static void test_a_transaction_sees_the_store_of_its_start(void **state)
{
	uint32_t tx;

	(void)state;
	reload = false;
	set_value("a", "old");
	tx = start();
	set_value("a", "new");
	sc.tx = tx;
	is(get_value("a"), "old");
	sc.tx = 0;
	is_error(end(tx, "T"), "EAGAIN"); /* it saw what is not true any more */
}

static void test_an_aborted_transaction_never_was(void **state)
{
	uint32_t tx = start();

	(void)state;
	reload = false;
	sc.tx = tx;
	set_value("a", "1");
	is(ASK(XS_RM, "name"), "OK");
	is(end(tx, "F"), "OK");
	is_error(get_value("a"), "ENOENT");
	is(get_value("name"), "web");
}

static void test_conflicts_are_found(void **state)
{
	uint32_t one, two;

	(void)state;
	reload = false;
	set_value("a", "");
	set_value("b", "");
	one = start();
	two = start();
	sc.tx = one;
	set_value("a", "1");
	sc.tx = two;
	set_value("b", "2");
	is(end(one, "T"), "OK");
	is(end(two, "T"), "OK"); /* different nodes */
	is(get_value("a"), "1");
	is(get_value("b"), "2");

	one = start();
	two = start();
	sc.tx = one;
	set_value("a", "3");
	sc.tx = two;
	set_value("a", "4");
	is(end(one, "T"), "OK");
	is_error(end(two, "T"), "EAGAIN");
	is(get_value("a"), "3");
	is_error(end(two, "T"), "ENOENT"); /* it is over */
}

static void test_a_list_that_changed_conflicts(void **state)
{
	uint32_t tx;

	(void)state;
	reload = false;
	set_value("l/a", "");
	tx = start();
	sc.tx = tx;
	ASK(XS_DIRECTORY, "l");
	sc.tx = 0;
	set_value("l/a", "changed"); /* not the list */
	is(end(tx, "T"), "OK");
	tx = start();
	sc.tx = tx;
	ASK(XS_DIRECTORY, "l");
	sc.tx = 0;
	set_value("l/b", "");
	is_error(end(tx, "T"), "EAGAIN");
	tx = start();
	sc.tx = tx;
	is_error(get_value("l/c"), "ENOENT");
	sc.tx = 0;
	set_value("l/c", "");
	is_error(end(tx, "T"), "EAGAIN"); /* what was missing is there */
	tx = start();
	sc.tx = tx;
	is(get_value("l/c"), "");
	sc.tx = 0;
	ASK(XS_RM, "l/c");
	set_value("l/c", "");
	is_error(end(tx, "T"), "EAGAIN"); /* the same again is not the same */
}

static void test_a_commit_is_whole_or_not_at_all(void **state)
{
	char path[32];
	uint32_t tx = start();

	(void)state;
	reload = false;
	sc.tx = tx;
	set_value("first", "1");
	set_value("host/below/deep", "1");
	sc.tx = 0;
	/* The place for the second one is taken by the host. */
	xs_write(sc.xs, HOME "/host", "%s", "");
	xs_set_perms(sc.xs, HOME "/host", "n0");
	assert_int_not_equal(strcmp(end(tx, "T"), "OK"), 0);
	is_error(get_value("first"), "ENOENT");

	tx = start();
	sc.tx = tx;
	set_value("second", "1");
	set_value("last/one", "1");
	sc.tx = 0;
	for (int i = 0;; i++) { /* all but one of the nodes that it may have */
		snprintf(path, sizeof(path), "fill/%d", i);
		put(XS_MKDIR, path, strlen(path) + 1);
		assert_true(get());
		if (sc.head.type == XS_ERROR)
			break;
	}
	is(ASK(XS_RM, "fill/0"), "OK");
	assert_int_not_equal(strcmp(end(tx, "T"), "OK"), 0);
	is_error(get_value("second"), "ENOENT");
}

static void test_bad_ends_are_refused(void **state)
{
	uint32_t tx = start();

	(void)state;
	reload = false;
	is_error(ASK(XS_TRANSACTION_END, "T"), "ENOENT");
	sc.tx = tx;
	is_error(ASK(XS_TRANSACTION_END, "X"), "EINVAL");
	is_error(RAW(XS_TRANSACTION_END, "T"), "EINVAL");
	is_error(ASK(XS_TRANSACTION_END, ""), "EINVAL");
	is_error(ASK(XS_TRANSACTION_START, ""), "EBUSY");
	is(end(tx, "T"), "OK");
	sc.tx = 12345;
	is_error(get_value("name"), "ENOENT");
	sc.tx = 0;
}

static void test_slept_over_transactions_cannot_be_committed(void **state)
{
	uint32_t tx[2 * XS_TRANSACTIONS_MAX];

	(void)state;
	reload = false;
	for (int i = 0; i < XS_TRANSACTIONS_MAX; i++)
		tx[i] = start();
	sc.tx = tx[0];
	set_value("a", "1");
	sc.tx = 0;
	is_error(ASK(XS_TRANSACTION_START, ""), "ENOSPC");
	xs_transactions_stale(sc.xs);
	sleep_and_wake();
	/* They are in nobody's way, and can still be looked into and ended. */
	for (int i = XS_TRANSACTIONS_MAX; i < 2 * XS_TRANSACTIONS_MAX; i++)
		tx[i] = start();
	sc.tx = tx[0];
	is(get_value("name"), "web");
	is_error(end(tx[0], "T"), "EAGAIN");
	is(end(tx[1], "F"), "OK");
	is_error(get_value("a"), "ENOENT");
	xs_transactions_stale(sc.xs);
	sleep_and_wake();
	/* Of all that were slept over the newest are known. */
	is_error(end(tx[2 * XS_TRANSACTIONS_MAX - 1], "T"), "EAGAIN");
	is_error(end(tx[XS_TRANSACTIONS_MAX], "T"), "EAGAIN");
	is_error(end(tx[2], "T"), "ENOENT");
}

static void test_which_slept_over_transactions_are_known_survives_sleeps(void **state)
{
	uint32_t tx[XS_TRANSACTIONS_MAX + 1];

	(void)state;
	reload = false;
	for (int i = 0; i < XS_TRANSACTIONS_MAX; i++)
		tx[i] = start();
	for (int i = 0; i < 3; i++) {
		xs_transactions_stale(sc.xs);
		sleep_and_wake();
	}
	tx[XS_TRANSACTIONS_MAX] = start();
	xs_transactions_stale(sc.xs);
	sleep_and_wake();
	is_error(end(tx[0], "T"), "ENOENT"); /* the oldest had to go */
	is_error(end(tx[1], "T"), "EAGAIN");
	is_error(end(tx[XS_TRANSACTIONS_MAX], "T"), "EAGAIN");
}

/* ---- quotas ---- */

static void test_nodes_are_limited(void **state)
{
	char path[32];
	int made = 0;

	(void)state;
	reload = false;
	for (; made < 2 * XS_NODES_MAX; made++) {
		snprintf(path, sizeof(path), "q/%d", made);
		put(XS_MKDIR, path, strlen(path) + 1);
		assert_true(get());
		if (sc.head.type == XS_ERROR)
			break;
	}
	is(sc.body, "ENOSPC");
	assert_true(made > XS_NODES_MAX - 8 && made < XS_NODES_MAX);
	is_error(ASK(XS_MKDIR, "q/one-more"), "ENOSPC");
	set_value("q/0", "still"); /* what is there may change */
	assert_int_equal(xs_write(sc.xs, HOME "/hosts", "no limit"), 0);
	is(ASK(XS_RM, "q"), "OK");
	set_value("q/0", "again");
}

static void test_values_are_limited(void **state)
{
	char body[XENSTORE_PAYLOAD_MAX];

	(void)state;
	memset(body, 'v', sizeof(body));
	body[0] = 'x';
	body[1] = 0;
	is(ask(XS_WRITE, body, 2 + XS_VALUE_MAX), "OK");
	is_error(ask(XS_WRITE, body, 2 + XS_VALUE_MAX + 1), "ENOSPC");
	is_error(ask(XS_WRITE, body, sizeof(body)), "ENOSPC");
	get_value("x");
	assert_int_equal(sc.head.len, XS_VALUE_MAX);
}

static void test_watches_are_limited(void **state)
{
	char body[32];

	(void)state;
	reload = false;
	for (int i = 0; i < XS_WATCHES_MAX; i++) {
		int n = snprintf(body, sizeof(body), "w%c%d", 0, i);

		is(ask(XS_WATCH, body, (size_t)n + 1), "OK");
	}
	is_error(ASK(XS_WATCH, "w\0one more"), "ENOSPC");
	is(ASK(XS_UNWATCH, "w\0"
			   "5"),
	   "OK");
	is(ASK(XS_WATCH, "w\0one more"), "OK");
	sleep_and_wake();
}

static void test_transactions_log_is_limited(void **state)
{
	uint32_t tx = start();
	const char *answer = "OK";

	(void)state;
	reload = false;
	sc.tx = tx;
	for (int i = 0; i < 5000 && !strcmp(answer, "OK"); i++)
		answer = RAW(XS_WRITE, "name\0x");
	is_error(answer, "ENOSPC");
	is(end(tx, "F"), "OK");
}

static void test_output_that_nobody_takes_is_limited(void **state)
{
	size_t most = 0;
	struct xsd_sockmsg head = { .type = XS_READ, .len = 5 };
	char raw[sizeof(head) + 5];

	(void)state;
	memcpy(raw, &head, sizeof(head));
	memcpy(raw + sizeof(head), "name", 5);
	while (xs_input(sc.xs, raw, sizeof(raw)) == sizeof(raw))
		assert_true(++most < 100000);
	assert_true(xs_output_pending(sc.xs) < XS_OUTPUT_HIGH + 8192);
	while (get())
		;
	assert_true(xs_input(sc.xs, raw, sizeof(raw)) > 0); /* there is room again */
}

static void test_events_that_nobody_takes_are_limited(void **state)
{
	(void)state;
	reload = false;
	ASK(XS_WATCH, "c\0t");
	for (int i = 0; i < 100000; i++)
		xs_write(sc.xs, HOME "/c", "%d", i);
	assert_true(xs_output_pending(sc.xs) < XS_OUTPUT_MAX + 8192);
	while (get())
		;
	is(get_value("c"), "99999");
}

/* ---- framing ---- */

static void test_an_oversized_message_breaks_the_connection(void **state)
{
	struct xsd_sockmsg head = { .type = XS_READ, .len = XENSTORE_PAYLOAD_MAX + 1 };
	uint8_t buf[64];

	(void)state;
	put(XS_READ, "name", 5);
	assert_false(xs_broken(sc.xs));
	xs_input(sc.xs, &head, sizeof(head));
	assert_true(xs_broken(sc.xs));
	sleep_and_wake();
	assert_true(xs_broken(sc.xs));
	assert_int_equal(xs_input(sc.xs, "more", 4), 0);
	assert_int_equal(xs_output(sc.xs, buf, sizeof(buf)), 0);
}

static void test_requests_may_come_byte_by_byte(void **state)
{
	struct xsd_sockmsg head = { .type = XS_READ, .req_id = 99, .len = 5 };
	char raw[sizeof(head) + 5];

	(void)state;
	memcpy(raw, &head, sizeof(head));
	memcpy(raw + sizeof(head), "name", 5);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(raw); i++) {
			assert_int_equal(xs_output_pending(sc.xs), 0);
			assert_int_equal(xs_input(sc.xs, raw + i, 1), 1);
			sleep_and_wake();
		}
		assert_true(get());
		assert_int_equal(sc.head.req_id, 99);
		is(sc.body, "web");
	}
}

static void test_unknown_requests_are_answered(void **state)
{
	(void)state;
	is_error(ASK(XS_INTRODUCE, "7"), "EACCES");
	is_error(ASK(XS_RELEASE, "7"), "EACCES");
	is_error(ASK(XS_SET_TARGET, "7"), "EACCES");
	is_error(ASK(XS_RESUME, "7"), "EACCES");
	is_error(ASK(XS_CONTROL, "check"), "EACCES");
	is_error(ASK(XS_WATCH_EVENT, "a\0b"), "ENOSYS");
	is_error(ASK(4711, "x"), "ENOSYS");
	is_error(ASK(UINT32_MAX, "x"), "ENOSYS");
}

static void test_domains_have_paths(void **state)
{
	(void)state;
	is(ASK(XS_GET_DOMAIN_PATH, "7"), HOME);
	is(ASK(XS_GET_DOMAIN_PATH, "0"), "/local/domain/0");
	is(ASK(XS_IS_DOMAIN_INTRODUCED, "7"), "T");
	is(ASK(XS_IS_DOMAIN_INTRODUCED, "0"), "T");
	is(ASK(XS_IS_DOMAIN_INTRODUCED, "8"), "F");
	is_error(ASK(XS_GET_DOMAIN_PATH, "x"), "EINVAL");
	is_error(ASK(XS_GET_DOMAIN_PATH, ""), "EINVAL");
	is_error(RAW(XS_GET_DOMAIN_PATH, "7"), "EINVAL");
	is_error(ASK(XS_GET_DOMAIN_PATH, "99999"), "EINVAL");
}

static void test_long_lists_come_in_parts(void **state)
{
	char request[64], all[XS_NODES_MAX * 32], generation[32] = "";
	size_t got = 0, want = 0;

	(void)state;
	reload = false;
	for (int i = 0; i < 500; i++) {
		snprintf(request, sizeof(request), "long/%020d", i);
		is(ask(XS_MKDIR, request, strlen(request) + 1), "OK");
		want += 21;
	}
	is_error(ASK(XS_DIRECTORY, "long"), "E2BIG");
	for (;;) {
		int n = snprintf(request, sizeof(request), "long%c%zu", 0, got);
		const char *part = ask(XS_DIRECTORY_PART, request, (size_t)n + 1);
		size_t head = strlen(part) + 1;

		assert_int_equal(sc.head.type, XS_DIRECTORY_PART);
		if (*generation)
			is(part, generation);
		snprintf(generation, sizeof(generation), "%s", part);
		assert_true(sc.head.len > head);
		memcpy(all + got, part + head, sc.head.len - head);
		got += sc.head.len - head;
		if (!all[got - 1] && !all[got - 2]) /* an empty name */
			break;
	}
	assert_int_equal(got, want + 1);
	for (int i = 0; i < 500; i++) {
		snprintf(request, sizeof(request), "%020d", i);
		is(all + i * 21, request);
	}
	set_value("long/x", "");
	ASK(XS_DIRECTORY_PART, "long\0"
			       "0");
	assert_string_not_equal(sc.body, generation);
	is_error(ASK(XS_DIRECTORY_PART, "long"), "EINVAL");
}

/* ---- the ring ---- */

static struct xenstore_domain_interface ring;

static void ring_put(const void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		memcpy(&ring.req[(ring.req_prod + i) % XENSTORE_RING_SIZE], (const char *)buf + i, 1);
	ring.req_prod += (uint32_t)len;
}

static void ring_get(void *buf, size_t len)
{
	assert_true(ring.rsp_prod - ring.rsp_cons >= len);
	for (size_t i = 0; i < len; i++)
		((char *)buf)[i] = ring.rsp[(ring.rsp_cons + i) % XENSTORE_RING_SIZE];
	ring.rsp_cons += (uint32_t)len;
}

static void test_a_ring_wraps_around(void **state)
{
	static const uint32_t starts[] = { 0, 1000, 1023, 1024, UINT32_MAX - 3, UINT32_MAX - 20 };
	struct xsd_sockmsg head = { .type = XS_READ, .len = 5 };
	char body[8];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(starts); k++) {
		xs_ring_reset(&ring);
		ring.req_cons = ring.req_prod = ring.rsp_cons = ring.rsp_prod = starts[k];
		assert_false(xs_ring_process(sc.xs, &ring)); /* nothing to do, nobody to tell */
		for (int i = 0; i < 200; i++) {
			head.req_id++;
			ring_put(&head, sizeof(head));
			ring_put("name", 5);
			assert_true(xs_ring_process(sc.xs, &ring));
			assert_int_equal(ring.req_cons, ring.req_prod);
			ring_get(&head, sizeof(head));
			assert_int_equal(head.len, 3);
			ring_get(body, 3);
			assert_memory_equal(body, "web", 3);
			assert_int_equal(ring.rsp_cons, ring.rsp_prod);
			head = (struct xsd_sockmsg){ .type = XS_READ, .len = 5, .req_id = head.req_id };
		}
	}
}

static void test_an_answer_longer_than_the_ring_comes_in_pieces(void **state)
{
	struct xsd_sockmsg head = { .type = XS_READ, .len = 4 };
	char value[2001];

	(void)state;
	memset(value, 'v', sizeof(value));
	value[2000] = 0;
	assert_int_equal(xs_write(sc.xs, HOME "/big", "%s", value), 0);
	xs_ring_reset(&ring);
	ring_put(&head, sizeof(head));
	ring_put("big", 4);
	assert_true(xs_ring_process(sc.xs, &ring));
	assert_int_equal(ring.rsp_prod, XENSTORE_RING_SIZE);
	assert_false(xs_ring_process(sc.xs, &ring)); /* full */
	ring_get(&head, sizeof(head));
	assert_int_equal(head.len, 2000);
	ring_get(value, XENSTORE_RING_SIZE - sizeof(head));
	assert_true(xs_ring_process(sc.xs, &ring));
	ring_get(value, 2000 - (XENSTORE_RING_SIZE - sizeof(head)));
	assert_int_equal(ring.rsp_prod, ring.rsp_cons);
	assert_int_equal(xs_output_pending(sc.xs), 0);
}

static void test_hostile_indices_are_left_alone(void **state)
{
	static const uint32_t lag[] = { XENSTORE_RING_SIZE + 1, 1U << 31, UINT32_MAX };
	struct xenstore_domain_interface before;

	(void)state;
	put(XS_READ, "name", 5); /* there is output that would fit */
	for (size_t i = 0; i < ARRAY_SIZE(lag); i++) {
		xs_ring_reset(&ring);
		memset(ring.req, 0xff, sizeof(ring.req));
		ring.req_prod = lag[i];
		ring.rsp_cons = 1; /* ahead of what was given */
		ring.error = XENSTORE_ERROR_NONE;
		before = ring;
		before.error = XENSTORE_ERROR_RINGIDX; /* told, once */
		assert_true(xs_ring_process(sc.xs, &ring));
		assert_false(xs_ring_process(sc.xs, &ring));
		assert_memory_equal(&before, &ring, sizeof(ring));
		assert_false(xs_broken(sc.xs));
	}
}

/* ---- hostile state ---- */

static void test_every_truncated_state_is_refused(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	(void)state;
	ASK(XS_WATCH, "w\0t");
	start();
	put(XS_READ, "name", 5);
	xs_input(sc.xs, "half", 4);
	xs_save(sc.xs, &w);
	for (size_t len = 0; len < w.len; len++) {
		uint8_t *exact = malloc(len ? len : 1); /* so that ASan sees a byte too far */
		struct bytes_reader r = bytes_reader(memcpy(exact, w.buf, len), len);
		struct xs *xs = NULL;

		assert_int_equal(xs_load(&r, &xs, NULL), -EBADMSG);
		assert_null(xs);
		free(exact);
	}
}

static void test_a_state_makes_nobody_domain_0(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct xs *xs = NULL;
	struct bytes_reader r;

	(void)state;
	xs_save(sc.xs, &w);
	assert_int_equal(w.buf[4], GUEST);
	w.buf[4] = 0;
	r = bytes_reader(w.buf, w.len);
	assert_int_equal(xs_load(&r, &xs, NULL), -EBADMSG);
}

/* Whatever a state says: if it loads, a guest may go on with it and breaks nothing. */
static void test_altered_states_are_harmless(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	char zeros[XENSTORE_RING_SIZE] = { 0 }, out[4096];

	(void)state;
	ASK(XS_WATCH, "w\0t");
	start();
	put(XS_READ, "name", 5);
	xs_input(sc.xs, "\2\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0nam", 19); /* not whole yet */
	xs_save(sc.xs, &w);
	for (size_t i = 0; i < w.len * 9; i++) {
		static const uint8_t flip[] = { 0xff, 1, 2, 4, 8, 16, 32, 64, 128 };
		struct bytes_reader r = bytes_reader(w.buf, w.len);
		struct xs *xs = NULL;

		w.buf[i / 9] ^= flip[i % 9];
		if (!xs_load(&r, &xs, NULL)) {
			for (int k = 0; k < 16; k++) {
				xs_input(xs, zeros, sizeof(zeros));
				while (xs_output(xs, out, sizeof(out)))
					;
			}
			xs_free(xs);
		}
		w.buf[i / 9] ^= flip[i % 9];
	}
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(a_written_value_is_read_back),
		t(values_are_bytes),
		t(directory_lists_children_by_name),
		t(mkdir_keeps_what_is_there),
		t(rm_takes_everything_below),
		t(bad_paths_are_refused),
		t(path_lengths_have_limits),
		t(nodes_of_the_host_are_the_hosts),
		t(permissions_are_told_set_and_kept),
		t(bad_permissions_are_refused),
		t(a_watch_fires_at_once_and_for_everything_below),
		t(absolute_watches_tell_absolute_paths),
		t(the_answer_comes_before_the_first_event),
		t(the_host_and_the_guest_fire_the_same_watches),
		t(no_event_tells_what_may_not_be_read),
		t(deep_rm_tells_watches_below),
		t(unwatch_needs_path_and_token),
		t(watches_of_domains_coming_and_going),
		t(bad_watches_are_refused),
		t(reset_forgets_watches_and_transactions),
		t(a_transaction_is_seen_by_nobody_until_its_end),
		t(a_transaction_sees_the_store_of_its_start),
		t(an_aborted_transaction_never_was),
		t(conflicts_are_found),
		t(a_list_that_changed_conflicts),
		t(a_commit_is_whole_or_not_at_all),
		t(bad_ends_are_refused),
		t(slept_over_transactions_cannot_be_committed),
		t(which_slept_over_transactions_are_known_survives_sleeps),
		t(nodes_are_limited),
		t(values_are_limited),
		t(watches_are_limited),
		t(transactions_log_is_limited),
		t(output_that_nobody_takes_is_limited),
		t(events_that_nobody_takes_are_limited),
		t(an_oversized_message_breaks_the_connection),
		t(requests_may_come_byte_by_byte),
		t(unknown_requests_are_answered),
		t(domains_have_paths),
		t(long_lists_come_in_parts),
		t(a_ring_wraps_around),
		t(an_answer_longer_than_the_ring_comes_in_pieces),
		t(hostile_indices_are_left_alone),
		t(every_truncated_state_is_refused),
		t(a_state_makes_nobody_domain_0),
		t(altered_states_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
