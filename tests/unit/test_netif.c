/* SPDX-License-Identifier: Apache-2.0 */
/* The rings of a network device: what is a packet, what is answered with an error, and what is nonsense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xen/xen.h>
#include <xen/io/netif.h>

#include "base/util.h"
#include "device/netif.h"

#define PAGES	 300
#define GRANT_0	 8 /* what is below is not granted */
#define READONLY (GRANT_0 + PAGES - 1)

/* A guest: two ring pages, and pages that it granted, by number. */
struct guest {
	_Alignas(4096) uint8_t tx_page[4096];
	_Alignas(4096) uint8_t rx_page[4096];
	uint8_t page[PAGES][4096];
	uint8_t buf[PACKET_BYTES_MAX];
	struct netif_tx_sring *tx_ring;
	struct netif_rx_sring *rx_ring;
	struct netif_tx tx;
	struct netif_rx rx;
	struct netif_grants grants;
	uint32_t tx_prod, tx_seen, rx_prod;
};

static void *get_page(void *arg, uint32_t ref, bool write)
{
	struct guest *g = arg;

	if (ref < GRANT_0 || ref - GRANT_0 >= PAGES || (write && ref == READONLY))
		return NULL;
	return g->page[ref - GRANT_0];
}

static int setup_at(void **state, uint32_t start)
{
	struct guest *g = aligned_alloc(4096, (sizeof(*g) + 4095) / 4096 * 4096);

	memset(g, 0, sizeof(*g));
	g->tx_ring = (struct netif_tx_sring *)g->tx_page;
	g->rx_ring = (struct netif_rx_sring *)g->rx_page;
	g->tx_ring->req_prod = g->tx_ring->rsp_prod = g->tx_prod = g->tx_seen = start;
	g->rx_ring->req_prod = g->rx_ring->rsp_prod = g->rx_prod = start;
	g->grants = (struct netif_grants){ .get = get_page, .arg = g };
	assert_int_equal(netif_tx_init(&g->tx, g->tx_page, g->buf), 0);
	assert_int_equal(netif_rx_init(&g->rx, g->rx_page), 0);
	g->rx.sg = g->rx.gso4 = g->rx.gso6 = g->rx.csum4 = g->rx.csum6 = true;
	*state = g;
	return 0;
}

static int setup(void **state)
{
	return setup_at(state, 0);
}

static int setup_before_wrap(void **state)
{
	return setup_at(state, UINT32_MAX - 1);
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* ---- from the guest ---- */

static void ask(struct guest *g, uint32_t ref, uint16_t offset, uint16_t size, uint16_t flags)
{
	netif_tx_request_t r = {
		.gref = ref, .offset = offset, .size = size, .flags = flags, .id = (uint16_t)g->tx_prod
	};

	g->tx_ring->ring[g->tx_prod++ % NETIF_RING_SLOTS].req = r;
}

static void ask_extra(struct guest *g, uint8_t type, uint8_t flags, uint8_t gso_type, uint16_t gso_size)
{
	netif_extra_info_t e = { .type = type, .flags = flags };

	e.u.gso.type = gso_type;
	e.u.gso.size = gso_size;
	memcpy(&g->tx_ring->ring[g->tx_prod++ % NETIF_RING_SLOTS], &e, sizeof(e));
}

static int next(struct guest *g, struct packet *p)
{
	g->tx_ring->req_prod = g->tx_prod;
	return netif_tx_next(&g->tx, &g->grants, p);
}

/* The answers to all that was asked have this status, or are no answers (extras). */
static void answered(struct guest *g, int16_t status)
{
	netif_tx_push(&g->tx);
	assert_int_equal(g->tx_ring->rsp_prod, g->tx_prod);
	for (; g->tx_seen != g->tx_prod; g->tx_seen++) {
		netif_tx_response_t r = g->tx_ring->ring[g->tx_seen % NETIF_RING_SLOTS].rsp;

		if (r.status == NETIF_RSP_NULL)
			continue;
		assert_int_equal(r.status, status);
		assert_int_equal(r.id, (uint16_t)g->tx_seen);
	}
}

static void fill(uint8_t *p, size_t n, uint8_t first)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(first + i * 7);
}

/* A TCP or UDP packet with @payload bytes of it; its length. */
static size_t make_ip(uint8_t *p, bool v6, uint8_t protocol, size_t payload)
{
	size_t l4 = (protocol == 6 ? 20 : 8) + payload, ip = v6 ? 40 : 20;

	memset(p, 0, 14 + ip + l4);
	fill(p, 12, 2);
	p[12] = v6 ? 0x86 : 0x08;
	p[13] = v6 ? 0xdd : 0;
	p[14] = v6 ? 0x60 : 0x45;
	if (v6) {
		p[18] = (uint8_t)(l4 >> 8);
		p[19] = (uint8_t)l4;
		p[20] = protocol;
		fill(p + 22, 32, 9);
	} else {
		p[16] = (uint8_t)((ip + l4) >> 8);
		p[17] = (uint8_t)(ip + l4);
		p[23] = protocol;
		fill(p + 26, 8, 9);
	}
	fill(p + 14 + ip, l4, 77);
	if (protocol == 6)
		p[14 + ip + 12] = 5 << 4;
	return 14 + ip + l4;
}

static void test_one_request_is_a_packet(void **state)
{
	struct guest *g = *state;
	struct packet p;

	fill(g->page[0] + 100, 60, 1);
	ask(g, GRANT_0, 100, 60, 0);
	assert_int_equal(next(g, &p), 1);
	assert_int_equal(p.len, 60);
	assert_memory_equal(p.data, g->page[0] + 100, 60);
	assert_false(p.csum_blank);
	assert_int_equal(next(g, &p), 0);
	answered(g, NETIF_RSP_OKAY);
}

static void test_pieces_are_put_together(void **state)
{
	struct guest *g = *state;
	struct packet p;

	for (int i = 0; i < 3; i++)
		fill(g->page[i], 4096, (uint8_t)i);
	ask(g, GRANT_0, 4000, 96 + 4096 + 10, NETTXF_more_data | NETTXF_data_validated);
	ask(g, GRANT_0 + 1, 0, 4096, NETTXF_more_data);
	ask(g, GRANT_0 + 2, 5, 10, 0);
	assert_int_equal(next(g, &p), 1);
	assert_int_equal(p.len, 96 + 4096 + 10);
	assert_true(p.csum_good);
	assert_memory_equal(p.data, g->page[0] + 4000, 96);
	assert_memory_equal(p.data + 96, g->page[1], 4096);
	assert_memory_equal(p.data + 96 + 4096, g->page[2] + 5, 10);
	answered(g, NETIF_RSP_OKAY);
}

static void ask_large(struct guest *g, bool v6, uint8_t protocol, uint8_t gso_type, uint16_t gso_size)
{
	size_t n = make_ip(g->page[0], v6, protocol, 3000);

	ask(g, GRANT_0, 0, (uint16_t)n, NETTXF_extra_info | NETTXF_more_data | NETTXF_csum_blank);
	ask_extra(g, XEN_NETIF_EXTRA_TYPE_GSO, 0, gso_type, gso_size);
	ask(g, GRANT_0, 1000, (uint16_t)(n - 1000), 0); /* the first piece is shorter by this */
}

static void test_large_segments_are_told_by_extras(void **state)
{
	struct guest *g = *state;
	struct packet p;

	for (int v6 = 0; v6 < 2; v6++) {
		ask_large(g, v6, 6, v6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4, 1400);
		assert_int_equal(next(g, &p), 1);
		assert_int_equal(p.gso, v6 ? PACKET_GSO_TCPV6 : PACKET_GSO_TCPV4);
		assert_int_equal(p.gso_size, 1400);
		assert_true(p.csum_blank);
		assert_int_equal(p.csum_start, v6 ? 54 : 34);
		assert_int_equal(p.csum_offset, 16);
		assert_int_equal(p.header_len, v6 ? 74 : 54);
		assert_int_equal(g->tx_ring->ring[(g->tx_prod - 2) % NETIF_RING_SLOTS].rsp.status, NETIF_RSP_NULL);
		answered(g, NETIF_RSP_OKAY);
	}
}

/* One thing wrong with each. */
static void bad_no_grant(struct guest *g)
{
	ask(g, 3, 0, 60, 0);
}
static void bad_ref(struct guest *g)
{
	ask(g, UINT32_MAX, 0, 60, 0);
}
static void bad_page_end(struct guest *g)
{
	ask(g, GRANT_0, 4090, 60, 0);
}
static void bad_offset(struct guest *g)
{
	ask(g, GRANT_0, 65535, 65535, 0);
}
static void bad_short(struct guest *g)
{
	ask(g, GRANT_0, 0, 13, 0);
}
static void bad_empty(struct guest *g)
{
	ask(g, GRANT_0, 0, 0, 0);
}
static void bad_not_ip(struct guest *g)
{
	ask(g, GRANT_0 + 9, 0, 60, NETTXF_csum_blank);
}

static void bad_sum(struct guest *g)
{
	ask(g, GRANT_0, 0, 60, NETTXF_more_data);
	ask(g, GRANT_0, 0, 60, 0);
}

static void bad_second_grant(struct guest *g)
{
	ask(g, GRANT_0, 0, 100, NETTXF_more_data);
	ask(g, 0, 0, 60, 0);
}

static void bad_long(struct guest *g)
{
	ask(g, GRANT_0, 0, 60000, NETTXF_more_data);
	for (int i = 0; i < 30; i++)
		ask(g, GRANT_0, 0, 60, i < 29 ? NETTXF_more_data : 0);
}

static void bad_full(struct guest *g)
{
	ask(g, GRANT_0, 0, 60000, NETTXF_more_data);
	for (int i = 1; i < NETIF_RING_SLOTS; i++)
		ask(g, GRANT_0, 0, 1, i < NETIF_RING_SLOTS - 1 ? NETTXF_more_data : 0);
}

static void bad_extra(struct guest *g, uint8_t type, uint8_t gso_type)
{
	make_ip(g->page[0], false, 6, 200);
	ask(g, GRANT_0, 0, 254, NETTXF_extra_info);
	ask_extra(g, type, 0, gso_type, 100);
}

static void bad_extra_type_0(struct guest *g)
{
	bad_extra(g, 0, 1);
}
static void bad_extra_type_9(struct guest *g)
{
	bad_extra(g, 9, 1);
}
static void bad_multicast(struct guest *g)
{
	bad_extra(g, XEN_NETIF_EXTRA_TYPE_MCAST_ADD, 1);
}
static void bad_gso_type(struct guest *g)
{
	bad_extra(g, XEN_NETIF_EXTRA_TYPE_GSO, 3);
}
static void bad_gso_version(struct guest *g)
{
	ask_large(g, false, 6, XEN_NETIF_GSO_TYPE_TCPV6, 1400);
}
static void bad_gso_size(struct guest *g)
{
	ask_large(g, false, 6, XEN_NETIF_GSO_TYPE_TCPV4, 0);
}
static void bad_gso_udp(struct guest *g)
{
	ask_large(g, false, 17, XEN_NETIF_GSO_TYPE_TCPV4, 1400);
}

static void bad_gso_twice(struct guest *g)
{
	make_ip(g->page[0], false, 6, 200);
	ask(g, GRANT_0, 0, 254, NETTXF_extra_info);
	ask_extra(g, XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_EXTRA_FLAG_MORE, XEN_NETIF_GSO_TYPE_TCPV4, 100);
	ask_extra(g, XEN_NETIF_EXTRA_TYPE_GSO, 0, XEN_NETIF_GSO_TYPE_TCPV4, 200);
}

static void bad_fragment(struct guest *g)
{
	make_ip(g->page[0], false, 17, 200);
	g->page[0][20] = 0x20;
	ask(g, GRANT_0, 0, 242, NETTXF_csum_blank);
}

static void bad_ip_length(struct guest *g)
{
	make_ip(g->page[0], false, 17, 200);
	g->page[0][16] = 9;
	ask(g, GRANT_0, 0, 242, NETTXF_csum_blank);
}

static void bad_tcp_header(struct guest *g)
{
	ask_large(g, false, 6, XEN_NETIF_GSO_TYPE_TCPV4, 1400);
	g->page[0][14 + 20 + 12] = 4 << 4;
}

static void test_bad_requests_are_errors_and_the_next_one_is_not(void **state)
{
	static void (*const bad[])(struct guest *) = {
		bad_no_grant,	  bad_ref,	 bad_page_end,	   bad_offset,	   bad_short,	    bad_empty,
		bad_not_ip,	  bad_sum,	 bad_second_grant, bad_long,	   bad_full,	    bad_extra_type_0,
		bad_extra_type_9, bad_multicast, bad_gso_type,	   bad_gso_size,   bad_gso_version, bad_gso_udp,
		bad_gso_twice,	  bad_fragment,	 bad_ip_length,	   bad_tcp_header,
	};
	struct guest *g = *state;
	struct packet p;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		bad[i](g);
		if (next(g, &p) != 0)
			fail_msg("bad request %zu is a packet", i);
		answered(g, NETIF_RSP_ERROR);
		ask(g, GRANT_0 + 9, 0, 60, 0);
		assert_int_equal(next(g, &p), 1);
		answered(g, NETIF_RSP_OKAY);
	}
}

static void test_a_ring_that_makes_no_sense_is_left_alone(void **state)
{
	struct guest *g = *state;
	struct packet p;

	g->tx_prod += NETIF_RING_SLOTS + 1;
	assert_int_equal(next(g, &p), -EPROTO);
	g->tx_prod -= NETIF_RING_SLOTS + 2;
	assert_int_equal(next(g, &p), -EPROTO);
	assert_int_equal(g->tx_ring->rsp_prod, 0);
	assert_int_equal(netif_tx_init(&g->tx, g->tx_page, g->buf), -EPROTO);
	g->rx_ring->req_prod = NETIF_RING_SLOTS + 1;
	assert_int_equal(netif_rx_init(&g->rx, g->rx_page), -EPROTO);
}

/* It cannot have more under way than there are answers that it has not seen. */
static void test_answers_that_are_not_shown_are_no_room(void **state)
{
	struct guest *g = *state;
	struct packet p;

	ask(g, GRANT_0, 0, 60, 0);
	assert_int_equal(next(g, &p), 1);
	g->tx_prod = NETIF_RING_SLOTS + 1;
	assert_int_equal(next(g, &p), -EPROTO);
}

static void test_chains_without_an_end_are_nonsense(void **state)
{
	struct guest *g = *state;
	struct packet p;

	ask(g, GRANT_0, 0, 60, NETTXF_more_data);
	assert_int_equal(next(g, &p), -EPROTO);
	g->tx_prod = 0;
	ask(g, GRANT_0, 0, 60, NETTXF_extra_info);
	assert_int_equal(next(g, &p), -EPROTO);
	g->tx_prod = 0;
	ask(g, GRANT_0, 0, 60, NETTXF_extra_info);
	for (int i = 1; i < NETIF_RING_SLOTS; i++)
		ask_extra(g, XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_EXTRA_FLAG_MORE, 0, 0);
	assert_int_equal(next(g, &p), -EPROTO);
}

static void test_the_guest_is_asked_for_events_and_gets_those_it_asked_for(void **state)
{
	struct guest *g = *state;
	struct packet p;

	assert_int_equal(next(g, &p), 0);
	assert_int_equal(g->tx_ring->req_event, 1);
	assert_false(netif_tx_has_answers(&g->tx));
	for (int i = 0; i < 4; i++)
		ask(g, GRANT_0, 0, 60, 0);
	g->tx_ring->rsp_event = 4;
	for (int i = 0; i < 3; i++)
		assert_int_equal(next(g, &p), 1);
	assert_true(netif_tx_has_answers(&g->tx));
	assert_false(netif_tx_push(&g->tx));
	assert_int_equal(next(g, &p), 1);
	assert_true(netif_tx_push(&g->tx));
	assert_int_equal(next(g, &p), 0);
	assert_int_equal(g->tx_ring->req_event, 5);
}

static void test_rings_in_use_are_taken_up_at_the_first_without_an_answer(void **state)
{
	struct guest *g = *state;
	struct packet p;

	for (int i = 0; i < 3; i++)
		ask(g, GRANT_0, 0, (uint16_t)(60 + i), 0);
	g->tx_ring->req_prod = g->tx_prod;
	g->tx_ring->rsp_prod = g->tx_seen = 1;
	assert_int_equal(netif_tx_init(&g->tx, g->tx_page, g->buf), 0);
	assert_int_equal(next(g, &p), 1);
	assert_int_equal(p.len, 61);
	assert_int_equal(next(g, &p), 1);
	assert_int_equal(next(g, &p), 0);
	answered(g, NETIF_RSP_OKAY);
}

/* ---- to the guest ---- */

static void offer(struct guest *g, unsigned int n)
{
	for (; n; n--) {
		netif_rx_request_t r = { .id = (uint16_t)g->rx_prod, .gref = GRANT_0 + g->rx_prod % NETIF_RING_SLOTS };

		g->rx_ring->ring[g->rx_prod++ % NETIF_RING_SLOTS].req = r;
	}
	g->rx_ring->req_prod = g->rx_prod;
}

static int put(struct guest *g, struct packet *p)
{
	return netif_rx_put(&g->rx, &g->grants, p);
}

static netif_rx_response_t given(struct guest *g, uint32_t i)
{
	return g->rx_ring->ring[i % NETIF_RING_SLOTS].rsp;
}

static void test_packets_go_into_as_many_pages_as_they_need(void **state)
{
	static uint8_t data[10000];
	struct guest *g = *state;
	struct packet small = { .data = data, .len = 60, .csum_good = true }, large = { .data = data, .len = 10000 };

	fill(data, sizeof(data), 3);
	offer(g, 4);
	assert_int_equal(put(g, &small), 0);
	assert_int_equal(put(g, &large), 0);
	assert_int_equal(g->rx_ring->rsp_prod, 0);
	g->rx_ring->rsp_event = 1;
	assert_true(netif_rx_push(&g->rx));
	assert_int_equal(g->rx_ring->rsp_prod, 4);
	assert_int_equal(given(g, 0).status, 60);
	assert_int_equal(given(g, 0).flags, NETRXF_data_validated);
	for (uint32_t i = 1; i < 4; i++) {
		assert_int_equal(given(g, i).id, i);
		assert_int_equal(given(g, i).status, i < 3 ? 4096 : 10000 - 8192);
		assert_int_equal(given(g, i).flags, i < 3 ? NETRXF_more_data : 0);
	}
	assert_memory_equal(g->page[0], data, 60);
	assert_memory_equal(g->page[3], data + 8192, 10000 - 8192);
}

static void test_all_that_was_written_is_told(void **state)
{
	static uint8_t data[5000];
	struct guest *g = *state;
	struct packet p = { .data = data, .len = sizeof(data) };

	offer(g, 2);
	assert_int_equal(put(g, &p), 0);
	netif_rx_push(&g->rx);
	assert_int_equal(g->rx.n_wrote, 3);
	assert_ptr_equal(g->rx.wrote[0].hva, g->page[0]);
	assert_int_equal(g->rx.wrote[0].len, 4096);
	assert_ptr_equal(g->rx.wrote[1].hva, g->page[1]);
	assert_int_equal(g->rx.wrote[1].len, 5000 - 4096);
	assert_ptr_equal(g->rx.wrote[2].hva, g->rx_page);
	g->rx.n_wrote = 0;
	assert_false(netif_rx_push(&g->rx));
	assert_int_equal(g->rx.n_wrote, 0);
}

static void test_too_few_pages_are_waited_for(void **state)
{
	static uint8_t data[5000];
	struct guest *g = *state;
	struct packet p = { .data = data, .len = sizeof(data) };

	offer(g, 1);
	assert_int_equal(put(g, &p), -EAGAIN);
	assert_int_equal(g->rx_ring->req_event, 2);
	assert_false(netif_rx_push(&g->rx));
	offer(g, 1);
	assert_int_equal(put(g, &p), 0);
}

static void test_large_segments_take_a_slot_more(void **state)
{
	static uint8_t data[3054];
	struct guest *g = *state;
	struct packet p = { .data = data, .len = sizeof(data), .gso = PACKET_GSO_TCPV4, .gso_size = 1400 };
	netif_extra_info_t extra;

	make_ip(data, false, 6, 3000);
	assert_true(packet_prepare(&p));
	offer(g, 1);
	assert_int_equal(put(g, &p), -EAGAIN);
	offer(g, 1);
	assert_int_equal(put(g, &p), 0);
	assert_int_equal(given(g, 0).flags, NETRXF_csum_blank | NETRXF_data_validated | NETRXF_extra_info);
	memcpy(&extra, &g->rx_ring->ring[g->rx.cons - 1], sizeof(extra));
	assert_int_equal(extra.type, XEN_NETIF_EXTRA_TYPE_GSO);
	assert_int_equal(extra.flags, 0);
	assert_int_equal(extra.u.gso.type, XEN_NETIF_GSO_TYPE_TCPV4);
	assert_int_equal(extra.u.gso.size, 1400);
}

static void test_what_a_frontend_does_not_take_it_does_not_get(void **state)
{
	static uint8_t data[5000];
	struct guest *g = *state;
	struct packet large = { .data = data, .len = sizeof(data) };
	struct packet gso = { .data = data, .len = 3054, .gso = PACKET_GSO_TCPV4, .gso_size = 1400 };
	struct packet blank = { .data = data, .len = 54, .csum_blank = true };

	offer(g, 4);
	make_ip(data, false, 6, 0);
	assert_true(packet_prepare(&blank));
	g->rx.sg = g->rx.gso4 = g->rx.csum4 = false;
	assert_int_equal(put(g, &large), 0);
	assert_int_equal(put(g, &gso), 0);
	assert_int_equal(g->rx.cons, 0);
	assert_int_equal(put(g, &blank), 0);
	assert_int_equal(given(g, 0).flags, NETRXF_data_validated);
}

static void test_a_page_that_is_not_granted_is_an_error_to_who_gave_it(void **state)
{
	static uint8_t data[5000];
	struct guest *g = *state;
	uint32_t second = 1;
	struct packet p = { .data = data, .len = sizeof(data) };

	offer(g, 2);
	g->rx_ring->ring[second].req.gref = READONLY;
	assert_int_equal(put(g, &p), 0);
	assert_int_equal(given(g, 0).status, 4096);
	assert_int_equal(given(g, 1).status, NETIF_RSP_ERROR);
	netif_rx_push(&g->rx);
	assert_int_equal(g->rx.n_wrote, 2);
}

static void test_rings_go_round(void **state)
{
	static uint8_t data[5000];
	struct guest *g = *state;
	struct packet p = { .data = data, .len = sizeof(data) }, got;

	for (int i = 0; i < 1000; i++) {
		offer(g, 2);
		assert_int_equal(put(g, &p), 0);
		netif_rx_push(&g->rx);
		g->rx.n_wrote = 0;
		ask(g, GRANT_0, 0, 100, NETTXF_more_data);
		ask(g, GRANT_0, 0, 50, 0);
		assert_int_equal(next(g, &got), 1);
		answered(g, NETIF_RSP_OKAY);
	}
	g->rx_ring->req_prod = g->rx.cons + NETIF_RING_SLOTS + 1;
	assert_int_equal(put(g, &p), -EPROTO);
}

static void test_a_whole_ring_at_once(void **state)
{
	static uint8_t data[60];
	struct guest *g = *state;
	struct packet p = { .data = data, .len = sizeof(data) };

	offer(g, NETIF_RING_SLOTS);
	for (int i = 0; i < NETIF_RING_SLOTS; i++)
		assert_int_equal(put(g, &p), 0);
	assert_int_equal(put(g, &p), -EAGAIN);
	netif_rx_push(&g->rx);
	assert_int_equal(g->rx.n_wrote, NETIF_PIECES);
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(one_request_is_a_packet),
		t(pieces_are_put_together),
		t(large_segments_are_told_by_extras),
		t(bad_requests_are_errors_and_the_next_one_is_not),
		t(a_ring_that_makes_no_sense_is_left_alone),
		t(answers_that_are_not_shown_are_no_room),
		t(chains_without_an_end_are_nonsense),
		t(the_guest_is_asked_for_events_and_gets_those_it_asked_for),
		t(rings_in_use_are_taken_up_at_the_first_without_an_answer),
		t(packets_go_into_as_many_pages_as_they_need),
		t(all_that_was_written_is_told),
		t(too_few_pages_are_waited_for),
		t(large_segments_take_a_slot_more),
		t(what_a_frontend_does_not_take_it_does_not_get),
		t(a_page_that_is_not_granted_is_an_error_to_who_gave_it),
		t(rings_go_round),
		t(a_whole_ring_at_once),
		cmocka_unit_test_setup_teardown(test_rings_go_round, setup_before_wrap, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
