/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event channels: the table of ports, and the 2-level ABI.
 *
 * Delivery order is Xen's: pending bit, then (if unmasked) the selector bit of the target vCPU, then
 * its upcall flag, then the vector. The guest clears them in the opposite order.
 */
#include <errno.h>
#include <string.h>

#include "xen/internal.h"

#define BITS 64

void evtchn_init(struct xen_domain *d)
{
	for (unsigned int p = XEN_PORT_XENSTORE; p <= XEN_PORT_CONSOLE; p++)
		d->port[p] = (struct port){ .kind = PORT_BACKEND, .priority = EVTCHN_FIFO_PRIORITY_DEFAULT };
}

unsigned int evtchn_find_free(struct xen_domain *d, unsigned int from)
{
	for (unsigned int p = from; p < XEN_PORTS; p++)
		if (d->port[p].kind == PORT_FREE)
			return p;
	return 0;
}

struct port *evtchn_get(struct xen_domain *d, uint64_t port)
{
	if (!port || port >= XEN_PORTS || d->port[port].kind == PORT_FREE)
		return NULL;
	return &d->port[port];
}

static bool test_and_set(xen_ulong_t *bits, unsigned int n)
{
	xen_ulong_t bit = (xen_ulong_t)1 << n % BITS;

	return __atomic_fetch_or(&bits[n / BITS], bit, __ATOMIC_SEQ_CST) & bit;
}

static bool test_and_clear(xen_ulong_t *bits, unsigned int n)
{
	xen_ulong_t bit = (xen_ulong_t)1 << n % BITS;

	return __atomic_fetch_and(&bits[n / BITS], ~bit, __ATOMIC_SEQ_CST) & bit;
}

static bool test(const xen_ulong_t *bits, unsigned int n)
{
	return __atomic_load_n(&bits[n / BITS], __ATOMIC_SEQ_CST) >> n % BITS & 1;
}

static void select_port(struct xen_domain *d, unsigned int port)
{
	unsigned int vcpu = d->port[port].vcpu;
	vcpu_info_t *info = xen_vcpu_info(d, vcpu);

	if (info && !test_and_set(&info->evtchn_pending_sel, port / BITS))
		upcall_mark(d, vcpu);
}

static void two_level_raise(struct xen_domain *d, unsigned int port)
{
	shared_info_t *s = xen_shared_info(d);

	if (s && !test_and_set(s->evtchn_pending, port) && !test(s->evtchn_mask, port))
		select_port(d, port);
}

void evtchn_raise(struct xen_domain *d, unsigned int port)
{
	if (d->fifo)
		fifo_raise(d, port);
	else
		two_level_raise(d, port);
	/* Pollers wake even for masked ports. */
	pthread_cond_broadcast(&d->vcpu[d->port[port].vcpu].poll);
}

void evtchn_raise_virq(struct xen_domain *d, unsigned int vcpu, unsigned int virq)
{
	unsigned int port = d->vcpu[vcpu].virq_port[virq];

	if (port)
		evtchn_raise(d, port);
}

void evtchn_unmask(struct xen_domain *d, unsigned int port)
{
	shared_info_t *s = xen_shared_info(d);

	if (d->fifo)
		fifo_unmask(d, port);
	else if (s && test_and_clear(s->evtchn_mask, port) && test(s->evtchn_pending, port))
		select_port(d, port);
}

bool evtchn_pending(struct xen_domain *d, unsigned int port)
{
	shared_info_t *s = xen_shared_info(d);

	if (d->fifo)
		return fifo_pending(d, port);
	return s && test(s->evtchn_pending, port);
}

bool evtchn_virq_is_global(unsigned int virq)
{
	switch (virq) {
	case VIRQ_TIMER:
	case VIRQ_DEBUG:
	case VIRQ_XENOPROF:
	case VIRQ_XENPMU:
		return false;
	default:
		return true;
	}
}

unsigned int evtchn_virq_owner(const struct port *p)
{
	return evtchn_virq_is_global(p->virq) ? 0 : p->vcpu;
}

void evtchn_close(struct xen_domain *d, unsigned int port)
{
	struct port *p = &d->port[port];
	shared_info_t *s = xen_shared_info(d);

	if (p->kind == PORT_VIRQ)
		d->vcpu[evtchn_virq_owner(p)].virq_port[p->virq] = 0;
	if (p->kind == PORT_INTERDOMAIN && d->port[p->remote_port].kind == PORT_INTERDOMAIN)
		d->port[p->remote_port].kind = PORT_UNBOUND;
	/* Whoever gets this number next is not to find an old event. */
	if (d->fifo)
		fifo_clear_pending(d, port);
	else if (s)
		test_and_clear(s->evtchn_pending, port);
	*p = (struct port){ .last_vcpu = p->last_vcpu, .last_priority = p->last_priority };
}

void evtchn_reset(struct xen_domain *d)
{
	static const struct port none;

	/* Zeros are not written over zeros: most ports were never used, and forks pay for each page that is written. */
	for (unsigned int p = 1; p < XEN_PORTS; p++)
		if (p != XEN_PORT_XENSTORE && p != XEN_PORT_CONSOLE &&
		    memcmp(&d->port[p], &none, sizeof(none))) /* NOLINT(bugprone-suspicious-memory-comparison) */
			d->port[p] = none;
	for (unsigned int p = XEN_PORT_XENSTORE; p <= XEN_PORT_CONSOLE; p++)
		d->port[p].vcpu = 0;
	for (unsigned int i = 0; i < d->vcpus; i++)
		memset(d->vcpu[i].virq_port, 0, sizeof(d->vcpu[i].virq_port));
	fifo_reset(d);
}
