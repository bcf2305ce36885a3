/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FIFO ABI of event channels: an event word per port in pages of the guest, and per vCPU a
 * control block with one queue per priority. Source: Xen public/event_channel.h.
 *
 * All words are the guest's to write. A corrupt link only loses the guest's own events: what we
 * follow is our own record of each queue's tail, never a link.
 */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "xen/internal.h"

#define WORDS_PER_PAGE (NIDRA_PAGE_SIZE / sizeof(event_word_t))
#define PENDING	       (UINT32_C(1) << EVTCHN_FIFO_PENDING)
#define MASKED	       (UINT32_C(1) << EVTCHN_FIFO_MASKED)
#define LINKED	       (UINT32_C(1) << EVTCHN_FIFO_LINKED)
#define LINK_TRIES     64

static event_word_t *word_of(struct xen_domain *d, unsigned int port)
{
	uint64_t page = d->fifo_array[port / WORDS_PER_PAGE];

	if (page == NOWHERE)
		return NULL;
	return gmem_hva_to_write(d->mem, page + port % WORDS_PER_PAGE * sizeof(event_word_t), sizeof(event_word_t));
}

static struct evtchn_fifo_control_block *control_of(struct xen_domain *d, unsigned int vcpu)
{
	if (d->vcpu[vcpu].control_gpa == NOWHERE)
		return NULL;
	return gmem_hva_to_write(d->mem, d->vcpu[vcpu].control_gpa, sizeof(struct evtchn_fifo_control_block));
}

/* Appends @port to the word of the queue's tail, if that is still linked. */
static bool set_link(event_word_t *tail, unsigned int port)
{
	event_word_t w = __atomic_load_n(tail, __ATOMIC_SEQ_CST);

	for (int i = 0; i < LINK_TRIES; i++) {
		if (!(w & LINKED))
			return false;
		if (__atomic_compare_exchange_n(tail, &w, (w & ~EVTCHN_FIFO_LINK_MASK) | port, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return true;
	}
	return false;
}

/* A port that moved to another queue must not stay the tail of its old one. */
static void leave_old_queue(struct xen_domain *d, unsigned int port)
{
	struct port *p = &d->port[port];
	uint16_t *tail = &d->vcpu[p->last_vcpu].tail[p->last_priority];

	if ((p->last_vcpu != p->vcpu || p->last_priority != p->priority) && *tail == port)
		*tail = 0;
	p->last_vcpu = p->vcpu;
	p->last_priority = p->priority;
}

static void enqueue(struct xen_domain *d, unsigned int port)
{
	struct port *p = &d->port[port];
	struct evtchn_fifo_control_block *control = control_of(d, p->vcpu);
	uint16_t *tail = &d->vcpu[p->vcpu].tail[p->priority];
	event_word_t *tail_word = *tail ? word_of(d, *tail) : NULL;
	uint32_t ready = UINT32_C(1) << p->priority;
	bool linked;

	leave_old_queue(d, port);
	if (!control)
		return;
	linked = tail_word && *tail != port && set_link(tail_word, port);
	if (!linked)
		__atomic_store_n(&control->head[p->priority], port, __ATOMIC_SEQ_CST);
	*tail = (uint16_t)port;
	if (!linked && !(__atomic_fetch_or(&control->ready, ready, __ATOMIC_SEQ_CST) & ready))
		upcall_mark(d, p->vcpu);
}

void fifo_raise(struct xen_domain *d, unsigned int port)
{
	event_word_t *w = word_of(d, port);

	if (!w)
		return;
	__atomic_fetch_or(w, PENDING, __ATOMIC_SEQ_CST);
	/* Without a control block there is no queue; LINKED would keep it out of one for ever. */
	if (__atomic_load_n(w, __ATOMIC_SEQ_CST) & MASKED || !control_of(d, d->port[port].vcpu))
		return;
	if (!(__atomic_fetch_or(w, LINKED, __ATOMIC_SEQ_CST) & LINKED))
		enqueue(d, port);
}

void fifo_unmask(struct xen_domain *d, unsigned int port)
{
	event_word_t *w = word_of(d, port);

	if (w && __atomic_and_fetch(w, ~MASKED, __ATOMIC_SEQ_CST) & PENDING)
		fifo_raise(d, port);
}

bool fifo_pending(struct xen_domain *d, unsigned int port)
{
	event_word_t *w = word_of(d, port);

	return w && __atomic_load_n(w, __ATOMIC_SEQ_CST) & PENDING;
}

void fifo_clear_pending(struct xen_domain *d, unsigned int port)
{
	event_word_t *w = word_of(d, port);

	if (w)
		__atomic_and_fetch(w, ~PENDING, __ATOMIC_SEQ_CST);
}

/* Events that were pending in the 2-level bits when the guest switched over stay pending. */
static void carry_over(struct xen_domain *d)
{
	shared_info_t *s = xen_shared_info(d);

	for (unsigned int p = 1; s && p < WORDS_PER_PAGE; p++)
		if (d->port[p].kind != PORT_FREE && s->evtchn_pending[p / 64] >> p % 64 & 1)
			fifo_raise(d, p);
}

int fifo_init_control(struct xen_domain *d, const evtchn_init_control_t *op)
{
	uint64_t gpa = gfn_to_gpa(op->control_gfn) + op->offset;

	if (op->vcpu >= d->vcpus)
		return -ENOENT;
	if (op->offset > NIDRA_PAGE_SIZE - sizeof(struct evtchn_fifo_control_block) || op->offset & 7 ||
	    op->control_gfn >= UINT64_C(1) << 40)
		return -EINVAL;
	if (d->vcpu[op->vcpu].control_gpa != NOWHERE || !gmem_ram_hva(d->mem, gpa, NIDRA_PAGE_SIZE - op->offset))
		return -EINVAL;
	d->vcpu[op->vcpu].control_gpa = gpa;
	memset(d->vcpu[op->vcpu].tail, 0, sizeof(d->vcpu[op->vcpu].tail));
	d->fifo = true;
	return 0;
}

int fifo_expand_array(struct xen_domain *d, uint64_t gfn)
{
	if (!d->fifo)
		return -EOPNOTSUPP;
	if (d->fifo_pages == FIFO_PAGES)
		return -ENOSPC;
	if (gfn >= UINT64_C(1) << 40 || !gmem_ram_hva(d->mem, gfn_to_gpa(gfn), NIDRA_PAGE_SIZE))
		return -EINVAL;
	d->fifo_array[d->fifo_pages++] = gfn_to_gpa(gfn);
	if (d->fifo_pages == 1)
		carry_over(d);
	return 0;
}

void fifo_reset(struct xen_domain *d)
{
	d->fifo = false;
	d->fifo_pages = 0;
	for (unsigned int i = 0; i < FIFO_PAGES; i++)
		d->fifo_array[i] = NOWHERE;
	for (unsigned int i = 0; i < MACHINE_VCPUS_MAX; i++) {
		d->vcpu[i].control_gpa = NOWHERE;
		memset(d->vcpu[i].tail, 0, sizeof(d->vcpu[i].tail));
	}
}
