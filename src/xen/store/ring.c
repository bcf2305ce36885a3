/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's indices are the guest's to write: each is read once and bounded. Ours are read from the
 * page, too (a restored guest's page has them), and a ring that makes no sense is left alone.
 */
#include "xen/store/ring.h"

#include <string.h>
#include <xen/io/xs_wire.h>

#define RING XENSTORE_RING_SIZE

/* One contiguous piece of the ring from @from, of at most @len bytes. */
static size_t piece(uint32_t from, uint32_t len)
{
	return MIN((size_t)len, (size_t)(RING - (from & (RING - 1))));
}

static bool take_requests(struct xs *xs, struct xenstore_domain_interface *ring)
{
	uint32_t prod = __atomic_load_n(&ring->req_prod, __ATOMIC_ACQUIRE);
	uint32_t cons = __atomic_load_n(&ring->req_cons, __ATOMIC_RELAXED);
	char buf[RING];
	bool moved = false;

	while (prod - cons <= RING && prod != cons) {
		size_t n = piece(cons, prod - cons), taken;

		memcpy(buf, (const char *)ring->req + (cons & (RING - 1)), n);
		taken = xs_input(xs, buf, n);
		cons += (uint32_t)taken;
		moved |= taken > 0;
		if (taken < n)
			break;
	}
	__atomic_store_n(&ring->req_cons, cons, __ATOMIC_RELEASE);
	return moved;
}

static bool give_output(struct xs *xs, struct xenstore_domain_interface *ring)
{
	uint32_t cons = __atomic_load_n(&ring->rsp_cons, __ATOMIC_ACQUIRE);
	uint32_t prod = __atomic_load_n(&ring->rsp_prod, __ATOMIC_RELAXED);
	bool moved = false;

	while (prod - cons < RING) {
		size_t n = xs_output(xs, (char *)ring->rsp + (prod & (RING - 1)), piece(prod, RING - (prod - cons)));

		if (!n)
			break;
		prod += (uint32_t)n;
		moved = true;
	}
	__atomic_store_n(&ring->rsp_prod, prod, __ATOMIC_RELEASE);
	return moved;
}

bool xs_ring_process(struct xs *xs, void *page)
{
	bool moved = false, again;

	/* Giving output may make room for the requests that waited for it; each turn moves bytes, and
	 * there are at most RING of them in each direction. */
	do {
		bool in = take_requests(xs, page), out = give_output(xs, page);

		again = in && out && xs_output_pending(xs) == 0;
		moved |= in || out;
	} while (again && ((struct xenstore_domain_interface *)page)->req_prod !=
				  ((struct xenstore_domain_interface *)page)->req_cons);
	return moved;
}

void xs_ring_reset(void *page)
{
	struct xenstore_domain_interface *ring = page;

	ring->req_cons = ring->req_prod = ring->rsp_cons = ring->rsp_prod = 0;
}
