/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks without a guest: the frontend is a fake one (fake_frontend.h), all else is real, with a cable (link_pair.c)
 * whose other end is this test's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wait.h"

#include <xen/io/netif.h>
#include <xen/io/xenbus.h>

#include "../fuzz/fake_frontend.h"
#include "base/clock.h"
#include "base/pageset.h"
#include "device/netif.h"
#include "device/vif.h"

#define TX_GFN	 0x100u
#define RX_GFN	 0x101u
#define DATA_GFN 0x200u /* [PAGES] */
#define TX_REF	 8u
#define RX_REF	 9u
#define DATA_REF 16u
#define PAGES	 64u

static const uint8_t mac[] = { 0x00, 0x16, 0x3e, 1, 2, 3 };

static struct frontend f;
static struct bus *bus;
static struct vif *vif;
static struct link *other;
static char folder[32], path[64];
static struct netif_tx_sring *tx;
static struct netif_rx_sring *rx;
static uint32_t tx_port, rx_port;
static uint16_t tx_id;

static struct {
	uint8_t data[9000];
	size_t len;
	unsigned int n;
} heard;

static bool hear(void *arg, struct packet *p)
{
	(void)arg;
	heard.n++;
	heard.len = p->len;
	memcpy(heard.data, p->data, p->len < sizeof(heard.data) ? p->len : sizeof(heard.data));
	return true;
}

static void listen_once(void)
{
	static struct link_poll p;

	p.n = 0;
	other->ops->prepare(other, &p, true);
	poll(p.fd, p.n, 0);
	other->ops->dispatch(other, &p, true);
}

static bool has_heard(unsigned int n)
{
	listen_once();
	return heard.n >= n;
}

/* ---- the machine ---- */

static void add_vif(void)
{
	struct link_config c = { .type = LINK_PAIR, .path = path };
	struct err lacks = { 0 };

	assert_int_equal(bus_new(f.d, &bus, NULL), 0);
	assert_int_equal(vif_add(bus, 0, mac, &c, "test", &lacks, &vif, NULL), 0);
	assert_int_equal(lacks.code, 0);
}

static int setup(void **state)
{
	struct link_config c = { .type = LINK_PAIR, .path = path };
	struct err err = { 0 };

	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/nidra-vif-XXXXXX");
	if (!mkdtemp(folder) || frontend_init(&f))
		return -1;
	snprintf(path, sizeof(path), "%s/cable", folder);
	memset(&heard, 0, sizeof(heard));
	if (link_new(&c, "test", hear, NULL, &err, &other, &err) < 0)
		return -1;
	for (unsigned int i = 0; i < PAGES; i++)
		frontend_grant(&f, DATA_REF + i, DATA_GFN + i, GTF_permit_access);
	add_vif();
	bus_offer(bus);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bus_free(bus);
	link_free(other);
	frontend_fini(&f);
	rmdir(folder);
	return 0;
}

static char *node(const char *key)
{
	char full[128];

	snprintf(full, sizeof(full), "/local/domain/0/backend/vif/%u/0/%s", FRONT_DOMID, key);
	return xen_backend_read(f.d, full);
}

static bool is(const char *key, const char *value)
{
	_cleanup_free_ char *text = node(key);

	return text && !strcmp(text, value);
}

static bool has_error(const char *words)
{
	_cleanup_free_ char *text = node("error");

	return text && strstr(text, words);
}

static void put(const char *key, uint32_t n)
{
	char full[64];

	snprintf(full, sizeof(full), "device/vif/0/%s", key);
	assert_true(frontend_write(&f, full, "%u", n));
}

static void wait_state(enum xenbus_state s)
{
	char text[4];

	snprintf(text, sizeof(text), "%d", s);
	WAIT(is("state", text));
}

static void make_rings(void)
{
	tx = frontend_page(&f, TX_GFN);
	rx = frontend_page(&f, RX_GFN);
	memset(tx, 0, 4096);
	memset(rx, 0, 4096);
	tx->rsp_event = rx->rsp_event = 1;
	frontend_grant(&f, TX_REF, TX_GFN, GTF_permit_access);
	frontend_grant(&f, RX_REF, RX_GFN, GTF_permit_access);
	tx_port = frontend_port(&f);
	rx_port = frontend_port(&f);
}

static void put_nodes(void)
{
	make_rings();
	put("tx-ring-ref", TX_REF);
	put("rx-ring-ref", RX_REF);
	put("event-channel-tx", tx_port);
	put("event-channel-rx", rx_port);
	put("request-rx-copy", 1);
	put("feature-sg", 1);
	put("feature-ipv6-csum-offload", 1);
}

static void connect_front(void)
{
	put_nodes();
	put("state", XenbusStateConnected);
	wait_state(XenbusStateConnected);
}

static void close_front(void)
{
	put("state", XenbusStateClosing);
	wait_state(XenbusStateClosing);
	put("state", XenbusStateClosed);
	wait_state(XenbusStateClosed);
	put("state", XenbusStateInitialising);
	wait_state(XenbusStateInitWait);
}

/* A packet of @len bytes in page @page, and whether to say so. */
static void send_packet(unsigned int page, uint16_t len, bool event)
{
	uint32_t at = tx->req_prod;
	netif_tx_request_t r = { .gref = DATA_REF + page, .size = len, .id = ++tx_id };

	memset(frontend_page(&f, DATA_GFN + page), 0x40 + (int)page, len);
	tx->ring[at % NETIF_RING_SLOTS].req = r;
	__atomic_store_n(&tx->req_prod, at + 1, __ATOMIC_SEQ_CST);
	if (event)
		frontend_send(&f, tx_port);
}

static void give_page(unsigned int page)
{
	uint32_t at = rx->req_prod;

	rx->ring[at % NETIF_RING_SLOTS].req = (netif_rx_request_t){ .id = (uint16_t)at, .gref = DATA_REF + page };
	__atomic_store_n(&rx->req_prod, at + 1, __ATOMIC_SEQ_CST);
	frontend_send(&f, rx_port);
}

static void send_from_outside(uint8_t byte, size_t len)
{
	uint8_t data[9000];
	struct packet p = { .data = data, .len = len };

	memset(data, byte, len);
	other->ops->send(other, &p);
}

static bool tx_answered(uint32_t n)
{
	return __atomic_load_n(&tx->rsp_prod, __ATOMIC_ACQUIRE) == n;
}

static bool rx_answered(uint32_t n)
{
	return __atomic_load_n(&rx->rsp_prod, __ATOMIC_ACQUIRE) == n;
}

static void drain(void)
{
	assert_int_equal(bus_drain(bus, clock_monotonic_ns() + LIMIT_NS, NULL), 0);
}

/* ---- tests ---- */

static void test_the_guest_finds_what_there_is(void **state)
{
	_cleanup_free_ char *own = xen_backend_read(f.d, "device/vif/0/mac");

	(void)state;
	assert_string_equal(own, "00:16:3e:01:02:03");
	assert_true(is("mac", "00:16:3e:01:02:03"));
	assert_true(is("feature-rx-copy", "1") && is("feature-sg", "1") && is("feature-split-event-channels", "1"));
	assert_true(is("feature-gso-tcpv4", "0")); /* a cable's other end may not take them */
	assert_true(is("state", "2"));
}

static void test_packets_go_out_and_come_in(void **state)
{
	(void)state;
	connect_front();
	send_packet(1, 100, true);
	WAIT(has_heard(1));
	assert_int_equal(heard.len, 100);
	assert_int_equal(heard.data[50], 0x41);
	WAIT(tx_answered(1));
	assert_int_equal(tx->ring[0].rsp.status, NETIF_RSP_OKAY);
	give_page(2);
	send_from_outside(0x77, 200);
	WAIT(rx_answered(1));
	assert_int_equal(rx->ring[0].rsp.status, 200);
	assert_int_equal(((uint8_t *)frontend_page(&f, DATA_GFN + 2))[199], 0x77);
}

static void test_packets_are_counted(void **state)
{
	struct vif_stats s;

	(void)state;
	vif_get_stats(vif, &s);
	assert_false(s.connected);
	connect_front();
	send_packet(1, 100, true);
	WAIT(has_heard(1));
	for (int i = 0; i < 2; i++)
		send_from_outside(0x77, 200);
	give_page(2);
	WAIT(rx_answered(1));
	vif_get_stats(vif, &s);
	assert_true(s.connected);
	assert_int_equal(s.tx_packets, 1);
	assert_int_equal(s.tx_bytes, 100);
	assert_int_equal(s.rx_packets, 1); /* the other one waits */
	assert_int_equal(s.rx_bytes, 200);
	give_page(3);
	WAIT(rx_answered(2));
	vif_get_stats(vif, &s);
	assert_int_equal(s.rx_packets, 2);
	assert_int_equal(s.rx_bytes, 400);
	assert_int_equal(s.rx_dropped, 0);
}

static void test_packets_wait_for_buffers_in_their_order(void **state)
{
	(void)state;
	connect_front();
	for (int i = 0; i < 20; i++)
		send_from_outside((uint8_t)i, 5000);
	for (unsigned int i = 0; i < 40; i++)
		give_page(i);
	WAIT((listen_once(), rx_answered(40))); /* our end has a queue, too */
	for (unsigned int i = 0; i < 40; i++)
		assert_int_equal(*(uint8_t *)frontend_page(&f, DATA_GFN + i), i / 2);
}

static void test_at_rest_nothing_is_taken_and_go_needs_no_event(void **state)
{
	(void)state;
	connect_front();
	send_packet(1, 100, true);
	WAIT(tx_answered(1));
	drain();
	send_packet(2, 100, true);
	give_page(3);
	send_from_outside(0x55, 100);
	for (int i = 0; i < 2000; i++)
		sched_yield();
	assert_true(tx_answered(1) && rx_answered(0));
	/* Events of before are not what starts it. */
	bus_go(bus);
	WAIT(tx_answered(2) && rx_answered(1));
	drain();
	send_packet(2, 100, false);
	bus_go(bus);
	WAIT(tx_answered(3));
}

/* A transparent wake in a new process: what has no answer yet is taken, what has one is not taken again. */
static void test_rings_in_use_go_on_in_a_new_process(void **state)
{
	(void)state;
	connect_front();
	for (int i = 0; i < 3; i++)
		send_packet(1, 100, true);
	give_page(1);
	send_from_outside(1, 60);
	WAIT(tx_answered(3) && rx_answered(1) && has_heard(3));
	drain();
	send_packet(2, 101, false);
	give_page(2);
	bus_free(bus);
	add_vif();
	assert_int_equal(bus_adopt(bus, NULL), 0);
	bus_go(bus);
	WAIT(tx_answered(4) && has_heard(4));
	assert_int_equal(heard.n, 4);
	assert_int_equal(heard.len, 101);
	send_from_outside(2, 61);
	WAIT(rx_answered(2));
	assert_int_equal(rx->ring[1].rsp.status, 61);
	send_packet(1, 100, true);
	WAIT(tx_answered(5));
}

static void test_all_that_was_written_is_noted(void **state)
{
	static const uint32_t gfn[] = { TX_GFN, RX_GFN, DATA_GFN + 2, DATA_GFN + 3 };
	_cleanup_free_ struct pageset *set = pageset_new(gmem_pages(f.m.mem));

	(void)state;
	connect_front();
	drain();
	gmem_take_touched(f.m.mem, set);
	pageset_clear(set);
	bus_go(bus);
	send_packet(1, 100, true);
	give_page(2);
	give_page(3);
	send_from_outside(0x77, 5000);
	WAIT(tx_answered(1) && rx_answered(2));
	drain();
	gmem_take_touched(f.m.mem, set);
	for (size_t i = 0; i < ARRAY_SIZE(gfn); i++)
		assert_true(pageset_has(set, gfn[i]));
	assert_false(pageset_has(set, DATA_GFN + 4));
}

static void test_a_ring_of_nonsense_is_left_until_the_guest_connects_anew(void **state)
{
	(void)state;
	connect_front();
	tx->req_prod = 1000;
	frontend_send(&f, tx_port);
	WAIT(has_error("ring of packets to send"));
	tx->req_prod = 0;
	send_packet(1, 100, true);
	for (int i = 0; i < 20000; i++)
		sched_yield();
	assert_true(tx_answered(0));
	close_front();
	connect_front();
	send_packet(1, 100, true);
	WAIT(tx_answered(1));
	close_front();
	connect_front();
	rx->req_prod = 1000;
	send_from_outside(1, 100);
	WAIT(has_error("ring of packets to receive"));
}

static void refused(const char *words)
{
	put("state", XenbusStateConnected);
	wait_state(XenbusStateClosing);
	if (!has_error(words))
		fail_msg("not refused by '%s'", words);
	close_front();
}

static void test_frontends_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	put_nodes();
	put("request-rx-copy", 0);
	refused("request-rx-copy");
	put_nodes();
	put("multi-queue-num-queues", 4);
	refused("4 queues");
	put("multi-queue-num-queues", 1);
	put_nodes();
	put("tx-ring-ref", 5);
	refused("tx-ring-ref 5");
	put_nodes();
	put("event-channel-rx", XEN_PORT_XENSTORE);
	refused("event channel");
	put_nodes();
	rx->req_prod = 257;
	refused("indices");
	connect_front();
}

static void test_one_event_channel_does_for_both_rings(void **state)
{
	(void)state;
	put_nodes();
	assert_true(frontend_rm(&f, "device/vif/0/event-channel-tx"));
	assert_true(frontend_rm(&f, "device/vif/0/event-channel-rx"));
	put("event-channel", tx_port);
	put("state", XenbusStateConnected);
	wait_state(XenbusStateConnected);
	rx_port = tx_port;
	send_packet(1, 100, true);
	WAIT(tx_answered(1));
	send_from_outside(1, 100);
	give_page(1);
	WAIT(rx_answered(1));
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(the_guest_finds_what_there_is),
		t(packets_go_out_and_come_in),
		t(packets_are_counted),
		t(packets_wait_for_buffers_in_their_order),
		t(at_rest_nothing_is_taken_and_go_needs_no_event),
		t(rings_in_use_go_on_in_a_new_process),
		t(all_that_was_written_is_noted),
		t(a_ring_of_nonsense_is_left_until_the_guest_connects_anew),
		t(frontends_that_make_no_sense_are_refused),
		t(one_event_channel_does_for_both_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
