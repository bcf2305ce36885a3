/* SPDX-License-Identifier: Apache-2.0 */
/* Copies from and to guest virtual addresses, page by page: buffers may straddle pages. */
#include <errno.h>

#include "base/addr.h"
#include "xen/internal.h"

static int copy(const struct hcall *h, void *buf, uint64_t gva, size_t len, bool to_guest)
{
	uint8_t *p = buf;

	while (len) {
		size_t part = MIN(len, (size_t)(NIDRA_PAGE_SIZE - page_offset(gva)));
		uint64_t gpa;
		int r = vcpu_translate(h->v, gva, &gpa);

		if (r == 0)
			r = to_guest ? gmem_write(h->d->mem, gpa, p, part) : gmem_read(h->d->mem, gpa, p, part);
		if (r < 0)
			return -EFAULT;
		p += part;
		gva += part;
		len -= part;
	}
	return 0;
}

int xen_copy_from(const struct hcall *h, void *dst, uint64_t gva, size_t len)
{
	return copy(h, dst, gva, len, false);
}

int xen_copy_to(const struct hcall *h, uint64_t gva, const void *src, size_t len)
{
	return copy(h, (void *)(uintptr_t)src, gva, len, true);
}

bool xen_is_self(const struct xen_domain *d, domid_t domid)
{
	return domid == DOMID_SELF || domid == d->config.domid;
}
