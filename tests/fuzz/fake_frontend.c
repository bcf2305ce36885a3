/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_frontend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xen/event_channel.h>
#include <xen/io/xs_wire.h>
#include <xen/memory.h>

#define ARGS	   UINT64_C(0x8000)
#define LIST	   UINT64_C(0x8800) /* of gfns */
#define GRANTS_GFN UINT64_C(0x2000) /* behind the RAM */

int frontend_init(struct frontend *f)
{
	static const struct xen_domain_config config = { .domid = FRONT_DOMID,
							 .vcpus = 1,
							 .vcpus_online = 1,
							 .name = "front",
							 .uuid = "6f0d8a3a-0000-4000-8000-0123456789ab",
							 .memory_bytes = FRONT_RAM,
							 .memory_max_bytes = FRONT_RAM };
	xen_add_to_physmap_t map = { .domid = DOMID_SELF, .gpfn = gpa_to_gfn(FRONT_SHARED) };
	xen_add_to_physmap_t grants = { .domid = DOMID_SELF, .space = XENMAPSPACE_grant_table, .gpfn = GRANTS_GFN };

	f->d = NULL;
	if (fake_machine_init(&f->m, FRONT_RAM, 1) || xen_domain_new(&f->m, &config, &fake_domain_ops, &f->d, NULL))
		return -1;
	if (frontend_call(f, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map, sizeof(map)) ||
	    frontend_call(f, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &grants, sizeof(grants)))
		return -1;
	return 0;
}

void frontend_fini(struct frontend *f)
{
	xen_domain_free(f->d);
	fake_machine_fini(&f->m);
}

int64_t frontend_call(struct frontend *f, uint64_t nr, uint64_t cmd, void *op, size_t len)
{
	struct hypercall h = { .nr = nr, .arg = { cmd, ARGS, 1 }, .long_mode = true };
	uint8_t *args = gmem_hva(f->m.mem, ARGS, len);
	int64_t r;

	memcpy(args, op, len);
	r = xen_hypercall(f->d, &f->m.vcpu[0], &h);
	memcpy(op, args, len);
	return r;
}

uint32_t frontend_port(struct frontend *f)
{
	evtchn_alloc_unbound_t op = { .dom = DOMID_SELF, .remote_dom = 0 };

	return frontend_call(f, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &op, sizeof(op)) ? 0 : op.port;
}

void frontend_send(struct frontend *f, uint32_t port)
{
	evtchn_send_t op = { .port = port };

	frontend_call(f, __HYPERVISOR_event_channel_op, EVTCHNOP_send, &op, sizeof(op));
}

void frontend_close(struct frontend *f, uint32_t port)
{
	evtchn_close_t op = { .port = port };

	frontend_call(f, __HYPERVISOR_event_channel_op, EVTCHNOP_close, &op, sizeof(op));
}

static void balloon(struct frontend *f, uint64_t cmd, uint64_t gfn)
{
	uint64_t *list = gmem_hva(f->m.mem, LIST, sizeof(*list));
	xen_memory_reservation_t op = { .nr_extents = 1, .domid = DOMID_SELF };

	*list = gfn;
	memcpy(&op.extent_start, &(uint64_t){ LIST }, sizeof(uint64_t));
	frontend_call(f, __HYPERVISOR_memory_op, cmd, &op, sizeof(op));
}

void frontend_balloon_out(struct frontend *f, uint64_t gfn)
{
	balloon(f, XENMEM_decrease_reservation, gfn);
}

void frontend_balloon_in(struct frontend *f, uint64_t gfn)
{
	balloon(f, XENMEM_populate_physmap, gfn);
}

void frontend_grant(struct frontend *f, uint32_t ref, uint64_t gfn, uint16_t flags)
{
	unsigned int per_frame = NIDRA_PAGE_SIZE / sizeof(grant_entry_v1_t);
	union {
		grant_entry_v1_t entry;
		uint64_t word;
	} e = { .entry = { .flags = flags, .domid = 0, .frame = (uint32_t)gfn } };
	uint64_t *frame = gmem_grant_hva(f->m.mem, ref / per_frame);

	__atomic_store_n(&frame[ref % per_frame], e.word, __ATOMIC_SEQ_CST);
}

void *frontend_page(struct frontend *f, uint64_t gfn)
{
	return gmem_ram_hva(f->m.mem, gfn_to_gpa(gfn), NIDRA_PAGE_SIZE);
}

/* ---- xenstore ---- */

static void put(struct xenstore_domain_interface *ring, const void *buf, size_t len)
{
	uint32_t prod = ring->req_prod;

	for (size_t i = 0; i < len; i++)
		ring->req[MASK_XENSTORE_IDX(prod++)] = ((const char *)buf)[i];
	__atomic_store_n(&ring->req_prod, prod, __ATOMIC_RELEASE);
}

/* Backends may be writing to the store. */
static void skip_replies(struct xenstore_domain_interface *ring)
{
	uint32_t prod = __atomic_load_n(&ring->rsp_prod, __ATOMIC_ACQUIRE);

	__atomic_store_n(&ring->rsp_cons, prod, __ATOMIC_RELEASE);
}

/* The hypercall that sends the event has answered when it returns. */
static bool ask(struct frontend *f, uint32_t type, const void *body, size_t len)
{
	struct xenstore_domain_interface *ring = gmem_hva(f->m.mem, GMEM_XENSTORE_GPA, NIDRA_PAGE_SIZE);
	struct xsd_sockmsg msg = { .type = type, .len = (uint32_t)len };
	char reply[sizeof(msg)];

	skip_replies(ring);
	put(ring, &msg, sizeof(msg));
	put(ring, body, len);
	frontend_send(f, XEN_PORT_XENSTORE);
	for (size_t i = 0; i < sizeof(reply); i++)
		reply[i] = ring->rsp[MASK_XENSTORE_IDX(ring->rsp_cons + i)];
	memcpy(&msg, reply, sizeof(msg));
	skip_replies(ring);
	return msg.type == type;
}

bool frontend_write(struct frontend *f, const char *path, const char *fmt, ...)
{
	char body[512];
	int n = snprintf(body, sizeof(body), "%s", path) + 1;
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(body + n, sizeof(body) - (size_t)n, fmt, ap);
	va_end(ap);
	return ask(f, XS_WRITE, body, (size_t)n);
}

bool frontend_rm(struct frontend *f, const char *path)
{
	return ask(f, XS_RM, path, strlen(path) + 1);
}
