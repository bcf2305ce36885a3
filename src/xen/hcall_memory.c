/* SPDX-License-Identifier: Apache-2.0 */
/* HYPERVISOR_memory_op. Source: Xen public/memory.h. */
#include <errno.h>
#include <stdint.h>
#include <xen/memory.h>

#include "base/addr.h"
#include "xen/internal.h"

#define OP(cmd)	    ((cmd)&0x3f) /* the rest is a continuation index, which we do not need */
#define CHUNK	    512
#define EXTENTS_MAX (UINT64_C(1) << 22)
#define ORDER_MAX   9

static int64_t add_grant_frame(struct xen_domain *d, uint64_t idx, uint64_t gfn)
{
	int r;

	if (idx & XENMAPIDX_grant_table_status || idx >= GMEM_GRANT_FRAMES)
		return -EINVAL;
	/* Never clears the frame: the guest maps it again in every resume, with grants in it. */
	r = machine_map_grant(d->machine, (unsigned int)idx, gfn);
	if (r == 0)
		d->grant_frames = MAX(d->grant_frames, (uint32_t)idx + 1);
	return r;
}

static int64_t add_to_physmap(struct hcall *h)
{
	xen_add_to_physmap_t op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.domid))
		return -EPERM;
	switch (op.space) {
	case XENMAPSPACE_shared_info:
		return op.idx ? -EINVAL : shinfo_map(h->d, op.gpfn);
	case XENMAPSPACE_grant_table:
		return add_grant_frame(h->d, op.idx, op.gpfn);
	default:
		return -EINVAL;
	}
}

static bool apply(struct xen_domain *d, uint64_t gfn, unsigned int order, bool out)
{
	bool ok = true;

	if (gfn >= UINT64_C(1) << 40)
		return false;
	for (uint64_t i = 0; ok && i < UINT64_C(1) << order; i++)
		ok = out ? balloon_out(d, gfn + i) : balloon_in(d, gfn + i);
	return ok;
}

/* decrease_reservation (out) and populate_physmap (in): how many extents were done. */
static int64_t balloon(struct hcall *h, bool out)
{
	struct xen_memory_reservation op;
	xen_pfn_t gfn[CHUNK];
	uint64_t list, done = 0;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.domid))
		return -EPERM;
	if (op.nr_extents > EXTENTS_MAX || op.extent_order > ORDER_MAX)
		return -EINVAL;
	list = (uintptr_t)op.extent_start.p;
	while (done < op.nr_extents) {
		size_t n = MIN((uint64_t)CHUNK, op.nr_extents - done);

		if (xen_copy_from(h, gfn, list + done * sizeof(gfn[0]), n * sizeof(gfn[0])))
			return (int64_t)done;
		for (size_t i = 0; i < n; i++, done++)
			if (!apply(h->d, gfn[i], op.extent_order, out))
				return (int64_t)done;
	}
	return (int64_t)done;
}

static int64_t memory_map(struct hcall *h)
{
	/* Only guests with a version 0 start_info ask, and ours is version 1. */
	(void)h;
	return -ENOSYS;
}

int64_t hcall_memory(struct hcall *h)
{
	switch (OP(h->arg[0])) {
	case XENMEM_decrease_reservation:
		return balloon(h, true);
	case XENMEM_populate_physmap:
		return balloon(h, false);
	case XENMEM_add_to_physmap:
		return add_to_physmap(h);
	case XENMEM_memory_map:
		return memory_map(h);
	case XENMEM_maximum_reservation:
		return (int64_t)gpa_to_gfn(h->d->config.memory_max_bytes);
	case XENMEM_current_reservation:
		return (int64_t)(gpa_to_gfn(gmem_ram_bytes(h->d->mem)) - h->d->ballooned_pages);
	default:
		return -ENOSYS;
	}
}
