/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest at the rings of its network device. The input is a list of steps, each a u8 that says which (see step()) and
 * what it needs. Packets that it sends come back to it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/io/netif.h>

#include "base/bytes.h"
#include "base/util.h"
#include "device/netif.h"

#define PAGES	4 /* granted as 8, 9, ...; 11 to be read only */
#define GRANT_0 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct guest {
	struct netif_tx_sring *tx_ring;
	struct netif_rx_sring *rx_ring;
	uint8_t *page[PAGES], *buf;
	uint32_t tx_at, rx_at; /* where the next slot goes */
	struct netif_tx tx;
	struct netif_rx rx;
	struct netif_grants grants;
	bool tx_dead, rx_dead;
};

static void *get_page(void *arg, uint32_t ref, bool write)
{
	struct guest *g = arg;

	return ref < GRANT_0 || ref - GRANT_0 >= PAGES || (write && ref == GRANT_0 + 3) ? NULL : g->page[ref - GRANT_0];
}

static void connect_rings(struct guest *g)
{
	g->tx_dead = netif_tx_init(&g->tx, g->tx_ring, g->buf) < 0;
	g->rx_dead = netif_rx_init(&g->rx, g->rx_ring) < 0;
}

static void check(const struct packet *p)
{
	if (p->len < PACKET_BYTES_MIN || p->len > PACKET_BYTES_MAX)
		__builtin_trap();
	if (p->csum_blank && (size_t)p->csum_start + p->csum_offset + 2 > p->len)
		__builtin_trap();
	if (p->gso != PACKET_GSO_NONE && (!p->csum_blank || !p->gso_size || p->header_len > p->len))
		__builtin_trap();
}

static void receive(struct guest *g, struct packet *p)
{
	if (!g->rx_dead)
		g->rx_dead = netif_rx_put(&g->rx, &g->grants, p) == -EPROTO;
}

static void send_all(struct guest *g)
{
	struct packet p;
	int r = 0;

	while (!g->tx_dead && (r = netif_tx_next(&g->tx, &g->grants, &p)) == 1) {
		check(&p);
		receive(g, &p);
		if (p.gso == PACKET_GSO_NONE)
			packet_complete(&p);
	}
	g->tx_dead |= r < 0;
}

static void push(struct guest *g)
{
	if (!g->tx_dead && netif_tx_has_answers(&g->tx))
		netif_tx_push(&g->tx);
	netif_rx_push(&g->rx);
	if (g->rx.n_wrote > NETIF_PIECES)
		__builtin_trap();
	g->rx.n_wrote = 0;
}

static void write_page(struct guest *g, struct bytes_reader *r)
{
	uint8_t *page = g->page[bytes_get_u8(r) % PAGES];
	size_t at = bytes_get_u32(r) % 4096, n = bytes_get_u8(r);

	for (; n && at < 4096 && r->left; n--)
		page[at++] = bytes_get_u8(r);
}

/* Of the network: bytes of the input. */
static void from_outside(struct guest *g, struct bytes_reader *r)
{
	struct packet p = { .csum_blank = bytes_get_u8(r) & 1 };
	size_t n = bytes_get_u32(r) % (PACKET_BYTES_MAX + 2), given = 0;
	uint8_t *data = calloc(1, n + 1);

	p.gso = (enum packet_gso)(bytes_get_u8(r) % 3);
	p.gso_size = bytes_get_u8(r);
	for (; given < n && given < 128 && r->left; given++)
		data[given] = bytes_get_u8(r);
	p.data = data;
	p.len = n;
	if (packet_prepare(&p)) {
		check(&p);
		receive(g, &p);
	}
	free(data);
}

static void put_slot(void *to, size_t bytes, struct bytes_reader *r)
{
	for (size_t i = 0; i < bytes; i++)
		((uint8_t *)to)[i] = bytes_get_u8(r);
}

static void step(struct guest *g, struct bytes_reader *r)
{
	uint8_t what = bytes_get_u8(r) % 12;

	switch (what) {
	case 0:
		put_slot(&g->tx_ring->ring[g->tx_at++ % NETIF_RING_SLOTS], sizeof(netif_tx_request_t), r);
		break;
	case 1:
		put_slot(&g->rx_ring->ring[g->rx_at++ % NETIF_RING_SLOTS], sizeof(netif_rx_request_t), r);
		break;
	case 2:
		g->tx_ring->req_prod = g->tx_at;
		send_all(g);
		break;
	case 3:
		g->rx_ring->req_prod = g->rx_at;
		break;
	case 4:
		from_outside(g, r);
		break;
	case 5:
		push(g);
		break;
	case 6:
		write_page(g, r);
		break;
	case 7:
		g->tx_ring->req_prod = g->tx_at = bytes_get_u32(r);
		break;
	case 8:
		g->rx_ring->req_prod = g->rx_at = bytes_get_u32(r);
		break;
	case 9:
		connect_rings(g);
		break;
	case 10:
		g->tx_ring->rsp_prod = g->rx_ring->rsp_prod = bytes_get_u32(r);
		break;
	default:
		g->rx.sg = bytes_get_u8(r) & 1;
		g->rx.gso4 = g->rx.gso6 = bytes_get_u8(r) & 1;
		g->rx.csum4 = g->rx.csum6 = bytes_get_u8(r) & 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes_reader r = bytes_reader(data, len);
	struct guest g = { .tx_ring = calloc(1, 4096), .rx_ring = calloc(1, 4096), .buf = malloc(PACKET_BYTES_MAX) };

	for (int i = 0; i < PAGES; i++)
		g.page[i] = calloc(1, 4096);
	g.grants = (struct netif_grants){ .get = get_page, .arg = &g };
	connect_rings(&g);
	while (r.left && !r.failed)
		step(&g, &r);
	push(&g);
	for (int i = 0; i < PAGES; i++)
		free(g.page[i]);
	free(g.tx_ring);
	free(g.rx_ring);
	free(g.buf);
	return 0;
}
