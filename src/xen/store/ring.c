/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring's indices are the guest's to write: each is read once and bounded. Ours are read from
 * the page, too (a restored guest's page has them), and a ring that makes no sense is left alone.
 */
#include "xen/store/ring.h"

#include <string.h>
#include <xen/io/xs_wire.h>

#include "xen/store/internal.h"

#define RING	 XENSTORE_RING_SIZE
#define CALL_MAX (64 * 1024) /* bytes; a guest that keeps the ring busy must not keep its domain's lock */

/* One contiguous piece of the ring from @from, of at most @len bytes. */
static size_t piece(uint32_t from, uint32_t len)
{
	return MIN((size_t)len, (size_t)(RING - (from & (RING - 1))));
}

static size_t take_requests(struct xs *xs, struct xenstore_domain_interface *ring)
{
	uint32_t prod = __atomic_load_n(&ring->req_prod, __ATOMIC_ACQUIRE);
	uint32_t cons = __atomic_load_n(&ring->req_cons, __ATOMIC_RELAXED);
	char buf[RING];
	size_t moved = 0;

	while (prod - cons <= RING && prod != cons) {
		size_t n = piece(cons, prod - cons), taken;

		memcpy(buf, (const char *)ring->req + (cons & (RING - 1)), n);
		taken = xs_input(xs, buf, n);
		cons += (uint32_t)taken;
		moved += taken;
		if (taken < n)
			break;
	}
	__atomic_store_n(&ring->req_cons, cons, __ATOMIC_RELEASE);
	return moved;
}

static size_t give_output(struct xs *xs, struct xenstore_domain_interface *ring)
{
	uint32_t cons = __atomic_load_n(&ring->rsp_cons, __ATOMIC_ACQUIRE);
	uint32_t prod = __atomic_load_n(&ring->rsp_prod, __ATOMIC_RELAXED);
	size_t moved = 0;

	while (prod - cons < RING) {
		size_t n = xs_output(xs, (char *)ring->rsp + (prod & (RING - 1)), piece(prod, RING - (prod - cons)));

		if (!n)
			break;
		prod += (uint32_t)n;
		moved += n;
	}
	__atomic_store_n(&ring->rsp_prod, prod, __ATOMIC_RELEASE);
	return moved;
}

/* What the guest may have made of them since is not our word. */
static bool makes_sense(const struct xenstore_domain_interface *ring)
{
	return __atomic_load_n(&ring->req_prod, __ATOMIC_RELAXED) -
			       __atomic_load_n(&ring->req_cons, __ATOMIC_RELAXED) <=
		       RING &&
	       __atomic_load_n(&ring->rsp_prod, __ATOMIC_RELAXED) -
			       __atomic_load_n(&ring->rsp_cons, __ATOMIC_RELAXED) <=
		       RING;
}

/* As xenstored does: the field is there to be read by a person who debugs the guest. True: it is new. */
static bool tell_error(struct xenstore_domain_interface *ring, uint32_t error)
{
	if (error == XENSTORE_ERROR_NONE || __atomic_load_n(&ring->error, __ATOMIC_RELAXED) != XENSTORE_ERROR_NONE)
		return false;
	__atomic_store_n(&ring->error, error, __ATOMIC_RELEASE);
	return true;
}

bool xs_ring_process(struct xs *xs, void *page)
{
	struct xenstore_domain_interface *ring = page;
	size_t total = 0, moved;

	/*
	 * The guest sends an event only if it found the request ring empty or the response ring
	 * full. So its indices are looked at again after ours are there for it to see, until
	 * nothing moves: what it adds later it finds an idle ring for.
	 */
	do {
		moved = take_requests(xs, ring);
		moved += give_output(xs, ring);
		total += moved;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (moved && total < CALL_MAX);
	xs->ring_unfinished = moved;
	if (tell_error(ring, xs_broken(xs)	 ? XENSTORE_ERROR_PROTO
			     : makes_sense(ring) ? XENSTORE_ERROR_NONE
						 : XENSTORE_ERROR_RINGIDX))
		return true;
	return total;
}

bool xs_ring_unfinished(const struct xs *xs)
{
	return xs->ring_unfinished;
}

void xs_ring_reset(void *page)
{
	struct xenstore_domain_interface *ring = page;

	ring->req_cons = ring->req_prod = ring->rsp_cons = ring->rsp_prod = 0;
}
