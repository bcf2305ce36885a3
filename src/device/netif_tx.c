/* SPDX-License-Identifier: Apache-2.0 */
/* From the guest: chains of requests. A chain is taken, looked at, copied and answered in one call. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/io/netif.h>

#include "base/log.h"
#include "device/netif.h"

#define MASK(i) ((i) & (NETIF_RING_SLOTS - 1))

_Static_assert(__CONST_RING_SIZE(netif_tx, NETIF_RING_BYTES) == NETIF_RING_SLOTS, "slots of a ring");
_Static_assert(sizeof(netif_extra_info_t) <= sizeof(netif_tx_request_t), "an extra fits where a request does");

/* One packet's requests. */
struct chain {
	netif_tx_request_t data[NETIF_PACKET_SLOTS];
	unsigned int n_data;
	uint16_t id[NETIF_RING_SLOTS]; /* of every slot, extras among them */
	bool is_extra[NETIF_RING_SLOTS];
	unsigned int n;
	uint32_t left; /* slots of the ring that are there and not looked at */
	bool bad;
	uint8_t gso_type;
	uint16_t gso_size;
};

int netif_tx_init(struct netif_tx *tx, void *page, uint8_t *buf)
{
	struct netif_tx_sring *s = page;
	uint32_t rsp = __atomic_load_n(&s->rsp_prod, __ATOMIC_ACQUIRE);
	uint32_t req = __atomic_load_n(&s->req_prod, __ATOMIC_ACQUIRE);

	*tx = (struct netif_tx){ .shared = s, .cons = rsp, .told = rsp, .buf = buf };
	return req - rsp > NETIF_RING_SLOTS ? -EPROTO : 0;
}

/* Requests that are there; with none, the guest is asked to say when there is one. -EPROTO. */
static int available(struct netif_tx *tx)
{
	uint32_t n = __atomic_load_n(&tx->shared->req_prod, __ATOMIC_ACQUIRE) - tx->cons;

	if (!n) {
		__atomic_store_n(&tx->shared->req_event, tx->cons + 1, __ATOMIC_SEQ_CST);
		/* It may have put one before it could see that. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		n = __atomic_load_n(&tx->shared->req_prod, __ATOMIC_ACQUIRE) - tx->cons;
	}
	return n > NETIF_RING_SLOTS - (tx->cons - tx->told) ? -EPROTO : (int)n;
}

/* A copy that the compiler may not make twice. */
static void copy_slot(void *to, const volatile void *from, size_t bytes)
{
	const volatile uint32_t *src = from;

	for (size_t i = 0; i < bytes / sizeof(uint32_t); i++)
		((uint32_t *)to)[i] = src[i];
}

static int next_slot(struct netif_tx *tx, struct chain *c, netif_tx_request_t *ret)
{
	if (!c->left)
		return -EPROTO;
	copy_slot(ret, &tx->shared->ring[MASK(tx->cons + c->n)].req, sizeof(*ret));
	c->left--;
	c->id[c->n++] = ret->id;
	return 0;
}

static void take_extra(struct chain *c, const netif_extra_info_t *extra)
{
	switch (extra->type) {
	case XEN_NETIF_EXTRA_TYPE_GSO:
		c->bad |= c->gso_type || (extra->u.gso.type != XEN_NETIF_GSO_TYPE_TCPV4 &&
					  extra->u.gso.type != XEN_NETIF_GSO_TYPE_TCPV6);
		c->gso_type = extra->u.gso.type;
		c->gso_size = extra->u.gso.size;
		break;
	case XEN_NETIF_EXTRA_TYPE_HASH: /* nothing is done with it, and nothing needs to be */
		break;
	default: /* not offered */
		c->bad = true;
	}
}

static int take_extras(struct netif_tx *tx, struct chain *c)
{
	netif_tx_request_t slot;
	netif_extra_info_t extra;
	int r;

	do {
		c->is_extra[c->n < NETIF_RING_SLOTS ? c->n : 0] = true;
		r = next_slot(tx, c, &slot);
		if (r < 0)
			return r;
		memcpy(&extra, &slot, sizeof(extra));
		take_extra(c, &extra);
	} while (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE);
	return 0;
}

/* The requests of one packet. The first one's size is the packet's; extras follow it, then the other pieces. */
static int take_chain(struct netif_tx *tx, struct chain *c)
{
	netif_tx_request_t req;
	int r;

	do {
		r = next_slot(tx, c, &req);
		if (r < 0)
			return r;
		if (c->n_data < NETIF_PACKET_SLOTS)
			c->data[c->n_data] = req;
		else
			c->bad = true;
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): next_slot() wrote it, in words */
		if (!c->n_data && req.flags & NETTXF_extra_info)
			r = take_extras(tx, c);
		c->n_data++;
	} while (r == 0 && req.flags & NETTXF_more_data);
	return r;
}

/* Makes the first request's size that of its own piece. */
static bool check_sizes(struct chain *c)
{
	uint32_t total = c->data[0].size, others = 0;

	for (unsigned int i = 1; i < c->n_data; i++)
		others += c->data[i].size;
	if (others >= total)
		return false;
	c->data[0].size = (uint16_t)(total - others);
	for (unsigned int i = 0; i < c->n_data; i++)
		if ((uint32_t)c->data[i].offset + c->data[i].size > NETIF_RING_BYTES)
			return false;
	return true;
}

static bool copy_packet(struct netif_tx *tx, const struct netif_grants *grants, const struct chain *c, struct packet *p)
{
	for (unsigned int i = 0; i < c->n_data; i++) {
		const uint8_t *page = grants->get(grants->arg, c->data[i].gref, false);

		if (!page)
			return false;
		memcpy(tx->buf + p->len, page + c->data[i].offset, c->data[i].size);
		p->len += c->data[i].size;
	}
	return true;
}

static bool make_packet(struct netif_tx *tx, const struct netif_grants *grants, struct chain *c, struct packet *p)
{
	*p = (struct packet){ .data = tx->buf,
			      .csum_blank = c->data[0].flags & NETTXF_csum_blank,
			      .csum_good = c->data[0].flags & NETTXF_data_validated,
			      .gso = c->gso_type == XEN_NETIF_GSO_TYPE_TCPV4   ? PACKET_GSO_TCPV4
				     : c->gso_type == XEN_NETIF_GSO_TYPE_TCPV6 ? PACKET_GSO_TCPV6
									       : PACKET_GSO_NONE,
			      .gso_size = c->gso_size };
	return !c->bad && check_sizes(c) && copy_packet(tx, grants, c, p) && packet_prepare(p);
}

static void answer(struct netif_tx *tx, const struct chain *c, int16_t status)
{
	for (unsigned int i = 0; i < c->n; i++) {
		netif_tx_response_t rsp = { .id = c->is_extra[i] ? 0 : c->id[i],
					    .status = c->is_extra[i] ? NETIF_RSP_NULL : status };

		tx->shared->ring[MASK(tx->cons + i)].rsp = rsp;
	}
	tx->cons += c->n;
}

int netif_tx_next(struct netif_tx *tx, const struct netif_grants *grants, struct packet *ret)
{
	for (;;) {
		struct chain c = { 0 };
		int n = available(tx), r;
		bool good;

		if (n <= 0)
			return n;
		c.left = (uint32_t)n;
		r = take_chain(tx, &c);
		if (r < 0)
			return r;
		good = make_packet(tx, grants, &c, ret);
		answer(tx, &c, good ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
		trace(netif_tx, "slots=%u len=%zu gso=%d blank=%d good=%d", c.n, ret->len, ret->gso, ret->csum_blank,
		      good);
		if (good)
			return 1;
	}
}

bool netif_tx_has_answers(const struct netif_tx *tx)
{
	return tx->cons != tx->told;
}

bool netif_tx_push(struct netif_tx *tx)
{
	uint32_t old = tx->told;

	__atomic_store_n(&tx->shared->rsp_prod, tx->cons, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	tx->told = tx->cons;
	return tx->cons - __atomic_load_n(&tx->shared->rsp_event, __ATOMIC_ACQUIRE) < tx->cons - old;
}
