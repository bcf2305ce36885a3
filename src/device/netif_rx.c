/* SPDX-License-Identifier: Apache-2.0 */
/* To the guest: each request is an empty page; a packet takes as many as it needs, and one for what is said of it. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/io/netif.h>

#include "base/log.h"
#include "base/util.h"
#include "device/netif.h"

#define MASK(i)	   ((i) & (NETIF_RING_SLOTS - 1))
#define PAGE_BYTES ((size_t)4096)

_Static_assert(__CONST_RING_SIZE(netif_rx, NETIF_RING_BYTES) == NETIF_RING_SLOTS, "slots of a ring");
_Static_assert(sizeof(netif_extra_info_t) == sizeof(netif_rx_response_t), "an extra is where a response would be");

int netif_rx_init(struct netif_rx *rx, void *page)
{
	struct netif_rx_sring *s = page;
	uint32_t rsp = __atomic_load_n(&s->rsp_prod, __ATOMIC_ACQUIRE);
	uint32_t req = __atomic_load_n(&s->req_prod, __ATOMIC_ACQUIRE);

	*rx = (struct netif_rx){ .shared = s, .cons = rsp, .told = rsp };
	return req - rsp > NETIF_RING_SLOTS ? -EPROTO : 0;
}

/* Are there @want buffers? If not, the guest is asked to say when there are more. */
static int have(struct netif_rx *rx, uint32_t want)
{
	uint32_t prod, event;

	do {
		prod = __atomic_load_n(&rx->shared->req_prod, __ATOMIC_ACQUIRE);
		if (prod - rx->cons > NETIF_RING_SLOTS - (rx->cons - rx->told))
			return -EPROTO;
		if (prod - rx->cons >= want)
			return 0;
		event = prod + 1;
		__atomic_store_n(&rx->shared->req_event, event, __ATOMIC_SEQ_CST);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&rx->shared->req_prod, __ATOMIC_ACQUIRE) != prod);
	return -EAGAIN;
}

static netif_rx_request_t next_request(struct netif_rx *rx)
{
	const volatile netif_rx_request_t *slot = &rx->shared->ring[MASK(rx->cons)].req;

	return (netif_rx_request_t){ .id = slot->id, .gref = slot->gref };
}

static uint16_t first_flags(const struct packet *p)
{
	uint16_t flags = 0;

	if (p->csum_blank)
		flags |= NETRXF_csum_blank | NETRXF_data_validated;
	if (p->csum_good)
		flags |= NETRXF_data_validated;
	if (p->gso != PACKET_GSO_NONE)
		flags |= NETRXF_extra_info;
	return flags;
}

static void put_extra(struct netif_rx *rx, const struct packet *p)
{
	netif_extra_info_t extra = { .type = XEN_NETIF_EXTRA_TYPE_GSO };

	extra.u.gso.size = p->gso_size;
	extra.u.gso.type = p->gso == PACKET_GSO_TCPV4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
	memcpy((void *)&rx->shared->ring[MASK(rx->cons)], &extra, sizeof(extra));
	rx->cons++;
}

/* The piece of @p from @at on into the next buffer. */
static void put_piece(struct netif_rx *rx, const struct netif_grants *grants, const struct packet *p, size_t at)
{
	netif_rx_request_t req = next_request(rx);
	size_t n = MIN(p->len - at, PAGE_BYTES);
	void *page = grants->get(grants->arg, req.gref, true);
	netif_rx_response_t rsp = { .id = req.id, .status = page ? (int16_t)n : NETIF_RSP_ERROR };

	if (page) {
		memcpy(page, p->data + at, n);
		rx->wrote[rx->n_wrote++] = (struct xen_backend_piece){ page, n };
	}
	if (!at)
		rsp.flags = first_flags(p);
	if (at + n < p->len)
		rsp.flags |= NETRXF_more_data;
	rx->shared->ring[MASK(rx->cons)].rsp = rsp;
	rx->cons++;
}

static bool is_ipv6(const struct packet *p)
{
	return p->gso == PACKET_GSO_TCPV6 || (p->len > 13 && p->data[12] == 0x86 && p->data[13] == 0xdd);
}

/* In a form that this frontend takes. False: there is none. */
static bool fit(const struct netif_rx *rx, struct packet *p)
{
	if (p->len < PACKET_BYTES_MIN || p->len > PACKET_BYTES_MAX || (!rx->sg && p->len > PAGE_BYTES))
		return false;
	if ((p->gso == PACKET_GSO_TCPV4 && !rx->gso4) || (p->gso == PACKET_GSO_TCPV6 && !rx->gso6))
		return false;
	if (p->csum_blank && p->gso == PACKET_GSO_NONE && !(is_ipv6(p) ? rx->csum6 : rx->csum4))
		packet_complete(p);
	return true;
}

int netif_rx_put(struct netif_rx *rx, const struct netif_grants *grants, struct packet *p)
{
	bool extra = p->gso != PACKET_GSO_NONE;
	uint32_t slots = (uint32_t)((p->len + PAGE_BYTES - 1) / PAGE_BYTES) + extra;
	int r;

	if (!fit(rx, p)) {
		trace(netif_rx, "dropped=1 len=%zu gso=%d", p->len, p->gso);
		return 0;
	}
	r = have(rx, slots);
	if (r < 0)
		return r;
	trace(netif_rx, "slots=%u len=%zu gso=%d blank=%d", slots, p->len, p->gso, p->csum_blank);
	for (size_t at = 0; at < p->len; at += PAGE_BYTES) {
		put_piece(rx, grants, p, at);
		if (!at && extra)
			put_extra(rx, p);
	}
	return 0;
}

bool netif_rx_push(struct netif_rx *rx)
{
	uint32_t old = rx->told;

	if (rx->cons == old)
		return false;
	__atomic_store_n(&rx->shared->rsp_prod, rx->cons, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	rx->told = rx->cons;
	rx->wrote[rx->n_wrote++] = (struct xen_backend_piece){ rx->shared, NETIF_RING_BYTES };
	return rx->cons - __atomic_load_n(&rx->shared->rsp_event, __ATOMIC_ACQUIRE) < rx->cons - old;
}
