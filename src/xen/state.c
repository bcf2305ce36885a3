/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain's state as bytes (records XEN and XENSTORE of docs/image-format.md). Guest memory is
 * elsewhere: shared_info, vcpu_info, rings and FIFO arrays are pages of the guest. What follows from
 * other state is rebuilt, not saved. Everything read is checked before any of it is used.
 */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "xen/internal.h"

#define STATE_VERSION 2 /* 1 had no watchdogs */
#define STORE_MAX     (64 * 1024 * 1024)

static void save_vcpu(struct bytes_writer *w, const struct xen_vcpu *v)
{
	bytes_put_u64(w, v->info_gpa);
	bytes_put_u64(w, v->runstate_gva);
	bytes_put_u64(w, v->time_gva);
	bytes_put_u8(w, v->vector);
	bytes_put_u64(w, v->deadline);
	bytes_put_u64(w, v->control_gpa);
	for (unsigned int q = 0; q < FIFO_QUEUES; q++)
		bytes_put_u16(w, v->tail[q]);
}

static void save_ports(struct bytes_writer *w, const struct xen_domain *d)
{
	uint32_t n = 0;

	for (unsigned int p = 1; p < XEN_PORTS; p++)
		n += d->port[p].kind != PORT_FREE;
	bytes_put_u32(w, n);
	for (unsigned int p = 1; p < XEN_PORTS; p++) {
		const struct port *port = &d->port[p];

		if (port->kind == PORT_FREE)
			continue;
		bytes_put_u16(w, (uint16_t)p);
		bytes_put_u8(w, (uint8_t)port->kind);
		bytes_put_u8(w, port->vcpu);
		bytes_put_u8(w, port->virq);
		bytes_put_u8(w, port->priority);
		bytes_put_u8(w, port->last_vcpu);
		bytes_put_u8(w, port->last_priority);
		bytes_put_u16(w, port->remote_domid);
		bytes_put_u16(w, port->remote_port);
	}
}

static void save_grants(struct bytes_writer *w, const struct xen_domain *d)
{
	bytes_put_u32(w, d->grant_frames);
	for (unsigned int i = 0; i < d->grant_frames; i++) {
		bytes_put_u64(w, gmem_grant_gfn(d->mem, i));
		bytes_put(w, gmem_grant_hva(d->mem, i), NIDRA_PAGE_SIZE);
	}
}

static void save_transport(struct bytes_writer *w, const struct xen_transport_state *t)
{
	bytes_put_u8(w, t->thunks_found);
	bytes_put_u8(w, t->thunks_patched);
	bytes_put_u64(w, t->thunk_gpa[0]);
	bytes_put_u64(w, t->thunk_gpa[1]);
	bytes_put_u64(w, t->page_gpa);
}

int xen_domain_save(struct xen_domain *d, struct bytes_writer *w, struct err *err)
{
	SCOPED_LOCK(&d->lock);

	bytes_put_u32(w, STATE_VERSION);
	bytes_put_u32(w, d->vcpus);
	bytes_put_u32(w, d->config.vcpus_online);
	bytes_put_u64(w, d->config.memory_bytes);
	save_transport(w, &d->transport);
	bytes_put_u64(w, d->shared_info_gpa);
	bytes_put_u32(w, d->wallclock_version);
	for (unsigned int i = 0; i < XEN_PARAMS; i++)
		bytes_put_u64(w, d->param[i]);
	for (unsigned int i = 0; i < d->vcpus; i++)
		save_vcpu(w, &d->vcpu[i]);
	save_ports(w, d);
	bytes_put_u8(w, d->fifo);
	bytes_put_u8(w, (uint8_t)d->fifo_pages);
	for (unsigned int i = 0; i < FIFO_PAGES; i++)
		bytes_put_u64(w, d->fifo_array[i]);
	save_grants(w, d);
	balloon_save(d, w);
	watchdog_save(d, w);
	return w->failed ? err_errno(err, -ENOMEM, "state of the Xen domain") : 0;
}

/* A page-inside address of RAM, whole pages aligned as such, or NOWHERE. */
static bool good_gpa(struct xen_domain *d, uint64_t gpa, size_t len)
{
	return gpa == NOWHERE ||
	       (!(gpa & (len == NIDRA_PAGE_SIZE ? NIDRA_PAGE_SIZE - 1 : 7)) && gmem_ram_hva(d->mem, gpa, len));
}

static void load_vcpu(struct xen_domain *d, struct bytes_reader *r, struct xen_vcpu *v)
{
	v->info_gpa = bytes_get_u64(r);
	v->runstate_gva = bytes_get_u64(r);
	v->time_gva = bytes_get_u64(r);
	v->vector = bytes_get_u8(r);
	v->deadline = bytes_get_u64(r);
	v->control_gpa = bytes_get_u64(r);
	for (unsigned int q = 0; q < FIFO_QUEUES; q++) {
		v->tail[q] = bytes_get_u16(r);
		if (v->tail[q] >= XEN_PORTS)
			bytes_fail(r);
	}
	if (!good_gpa(d, v->info_gpa, sizeof(vcpu_info_t)) || (v->info_gpa != NOWHERE && v->info_gpa & 7) ||
	    (v->vector && v->vector < 0x10) || !good_gpa(d, v->control_gpa, sizeof(struct evtchn_fifo_control_block)))
		bytes_fail(r);
}

static void load_port(struct xen_domain *d, struct bytes_reader *r)
{
	uint16_t n = bytes_get_u16(r);
	struct port port = { .kind = bytes_get_u8(r) };

	port.vcpu = bytes_get_u8(r);
	port.virq = bytes_get_u8(r);
	port.priority = bytes_get_u8(r);
	port.last_vcpu = bytes_get_u8(r);
	port.last_priority = bytes_get_u8(r);
	port.remote_domid = bytes_get_u16(r);
	port.remote_port = bytes_get_u16(r);
	if (!n || n >= XEN_PORTS || port.kind == PORT_FREE || port.kind > PORT_IPI || port.vcpu >= d->vcpus ||
	    port.last_vcpu >= d->vcpus || port.virq >= XEN_VIRQS || port.priority >= FIFO_QUEUES ||
	    port.last_priority >= FIFO_QUEUES ||
	    (port.kind == PORT_INTERDOMAIN && (!port.remote_port || port.remote_port >= XEN_PORTS)) ||
	    (port.kind == PORT_VIRQ && d->vcpu[evtchn_virq_owner(&port)].virq_port[port.virq]))
		bytes_fail(r);
	if (r->failed)
		return;
	port.send = d->port[n].send; /* the rings' backends are bound already */
	port.arg = d->port[n].arg;
	if (n <= XEN_PORT_CONSOLE && port.kind != PORT_BACKEND)
		bytes_fail(r);
	d->port[n] = port;
	if (port.kind == PORT_VIRQ)
		d->vcpu[evtchn_virq_owner(&port)].virq_port[port.virq] = n;
}

static void load_grants(struct xen_domain *d, struct bytes_reader *r)
{
	uint32_t n = bytes_get_u32(r);

	if (n > GMEM_GRANT_FRAMES)
		bytes_fail(r);
	for (uint32_t i = 0; i < n && !r->failed; i++) {
		uint64_t gfn = bytes_get_u64(r);

		bytes_get_into(r, gmem_grant_hva(d->mem, i), NIDRA_PAGE_SIZE);
		if (!r->failed && gfn != UINT64_MAX && machine_map_grant(d->machine, i, gfn) < 0)
			bytes_fail(r);
	}
	d->grant_frames = r->failed ? 0 : n;
}

static void load_transport(struct xen_domain *d, struct bytes_reader *r)
{
	struct xen_transport_state *t = &d->transport;

	t->thunks_found = bytes_get_u8(r);
	t->thunks_patched = bytes_get_u8(r);
	t->thunk_gpa[0] = bytes_get_u64(r);
	t->thunk_gpa[1] = bytes_get_u64(r);
	t->page_gpa = bytes_get_u64(r);
	if (!good_gpa(d, t->page_gpa, NIDRA_PAGE_SIZE) ||
	    (t->thunks_found &&
	     (!gmem_ram_hva(d->mem, t->thunk_gpa[0], 3) || !gmem_ram_hva(d->mem, t->thunk_gpa[1], 3))))
		bytes_fail(r);
}

static void load_fifo(struct xen_domain *d, struct bytes_reader *r)
{
	d->fifo = bytes_get_u8(r);
	d->fifo_pages = bytes_get_u8(r);
	if (d->fifo_pages > FIFO_PAGES)
		bytes_fail(r);
	for (unsigned int i = 0; i < FIFO_PAGES; i++) {
		d->fifo_array[i] = bytes_get_u64(r);
		if (!good_gpa(d, d->fifo_array[i], NIDRA_PAGE_SIZE))
			bytes_fail(r);
	}
}

int xen_domain_load(struct xen_domain *d, struct bytes_reader *r, struct err *err)
{
	SCOPED_LOCK(&d->lock);
	uint32_t version = bytes_get_u32(r);

	if (!version || version > STATE_VERSION || bytes_get_u32(r) != d->vcpus)
		return err_set(err, -EBADMSG, "the image's Xen state is of another version or vCPU count");
	d->config.vcpus_online = bytes_get_u32(r);
	d->config.memory_bytes = bytes_get_u64(r);
	if (!d->config.vcpus_online || d->config.vcpus_online > d->vcpus ||
	    d->config.memory_bytes > d->config.memory_max_bytes)
		bytes_fail(r);
	load_transport(d, r);
	d->shared_info_gpa = bytes_get_u64(r);
	if (!good_gpa(d, d->shared_info_gpa, NIDRA_PAGE_SIZE))
		bytes_fail(r);
	d->wallclock_version = bytes_get_u32(r);
	for (unsigned int i = 0; i < XEN_PARAMS; i++)
		d->param[i] = bytes_get_u64(r);
	for (unsigned int i = 0; i < d->vcpus && !r->failed; i++)
		load_vcpu(d, r, &d->vcpu[i]);
	for (uint32_t n = bytes_get_u32(r); n && !r->failed; n--)
		load_port(d, r);
	load_fifo(d, r);
	load_grants(d, r);
	if (!r->failed)
		balloon_load(d, r);
	if (version > 1)
		watchdog_load(d, r);
	return bytes_done(r) ? err_set(err, -EBADMSG, "the image's Xen state makes no sense") : 0;
}

int xen_domain_save_store(struct xen_domain *d, struct bytes_writer *w, struct err *err)
{
	SCOPED_LOCK(&d->lock);

	xs_save(d->store, w);
	return w->failed ? err_errno(err, -ENOMEM, "state of xenstore") : 0;
}

int xen_domain_load_store(struct xen_domain *d, struct bytes_reader *r, struct err *err)
{
	struct xs *store;
	int ret = xs_load(r, &store, err);
	SCOPED_LOCK(&d->lock);

	if (ret < 0)
		return ret;
	xs_free(d->store);
	d->store = store;
	xs_observe(store, d->store_changed, d->store_changed_arg);
	return 0;
}
