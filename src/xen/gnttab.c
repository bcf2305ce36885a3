/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grant table, version 1. Frames are pages of ours that the guest maps at gfns of its choice;
 * entries are read once, as a whole. Source: Xen public/grant_table.h.
 */
#include <errno.h>
#include <string.h>
#include <stdint.h>
#include <xen/grant_table.h>

#include "base/addr.h"
#include "xen/internal.h"

#define ENTRIES_PER_FRAME (NIDRA_PAGE_SIZE / sizeof(grant_entry_v1_t))

void gnttab_reset(struct xen_domain *d)
{
	for (unsigned int i = 0; i < GMEM_GRANT_FRAMES; i++)
		memset(gmem_grant_hva(d->mem, i), 0, NIDRA_PAGE_SIZE);
	d->grant_frames = 0;
}

void *xen_backend_grant(struct xen_domain *d, uint32_t ref, bool write)
{
	const uint64_t *frame = gmem_grant_hva(d->mem, (unsigned int)(ref / ENTRIES_PER_FRAME));
	union {
		uint64_t word;
		grant_entry_v1_t entry;
	} e;
	SCOPED_LOCK(&d->lock);

	if (!frame)
		return NULL;
	e.word = __atomic_load_n(&frame[ref % ENTRIES_PER_FRAME], __ATOMIC_SEQ_CST);
	if ((e.entry.flags & GTF_type_mask) != GTF_permit_access || e.entry.domid != 0 ||
	    e.entry.flags & GTF_sub_page || (write && e.entry.flags & GTF_readonly) || !balloon_has(d, e.entry.frame))
		return NULL;
	return gmem_ram_hva(d->mem, gfn_to_gpa(e.entry.frame), NIDRA_PAGE_SIZE);
}

static int64_t set_version(struct hcall *h)
{
	struct gnttab_set_version op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (op.version == 2)
		return -ENOSYS;
	if (op.version != 1)
		return -EINVAL;
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t query_size(struct hcall *h)
{
	struct gnttab_query_size op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.dom)) {
		op.status = GNTST_bad_domain;
	} else {
		op.nr_frames = MAX(h->d->grant_frames, 1u);
		op.max_nr_frames = GMEM_GRANT_FRAMES;
		op.status = GNTST_okay;
	}
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t get_version(struct hcall *h)
{
	struct gnttab_get_version op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.dom))
		return -EPERM;
	op.version = 1;
	return PUT_ARG(h, h->arg[1], &op);
}

int64_t hcall_grant(struct hcall *h)
{
	if (h->arg[2] != 1) /* these three take one element */
		return h->arg[2] == 0 ? 0 : -EINVAL;
	switch (h->arg[0]) {
	case GNTTABOP_set_version:
		return set_version(h);
	case GNTTABOP_query_size:
		return query_size(h);
	case GNTTABOP_get_version:
		return get_version(h);
	default:
		return -ENOSYS;
	}
}
