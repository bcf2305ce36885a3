/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's xenstore ring: its page and its event channel, on one side; the store on the other. */
#include "xen/internal.h"
#include "xen/store/ring.h"

static void *ring_page(struct xen_domain *d)
{
	return gmem_hva(d->mem, GMEM_XENSTORE_GPA, 4096);
}

static bool process(struct xen_domain *d)
{
	bool notify = xs_ring_process(d->store, ring_page(d));

	if (xs_ring_unfinished(d->store))
		timer_arm_retry(d); /* others may have the lock first */
	return notify;
}

bool store_ring_event(void *arg)
{
	struct xen_domain *d = arg;
	bool notify = process(d);

	/* Whoever waits for the guest to answer looks again. */
	pthread_cond_broadcast(&d->changed);
	return notify;
}

void store_ring_push(struct xen_domain *d)
{
	if (process(d))
		evtchn_raise(d, XEN_PORT_XENSTORE);
}
