/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of its RAM the guest has given back. A bit per page, by RAM offset. */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "xen/internal.h"

/* Index of @gfn in RAM as one line (the hole below 4 GiB taken out); UINT64_MAX: not RAM. */
static uint64_t ram_index(struct xen_domain *d, uint64_t gfn)
{
	uint64_t low = gpa_to_gfn(gmem_low_end(d->mem)), all = gpa_to_gfn(gmem_ram_bytes(d->mem));
	uint64_t high = gpa_to_gfn(GMEM_HIGH_GPA);

	if (gfn < low)
		return gfn;
	if (gfn >= high && gfn - high < all - low)
		return low + (gfn - high);
	return UINT64_MAX;
}

static uint64_t gfn_of(struct xen_domain *d, uint64_t index)
{
	uint64_t low = gpa_to_gfn(gmem_low_end(d->mem));

	return index < low ? index : gpa_to_gfn(GMEM_HIGH_GPA) + (index - low);
}

static size_t bitmap_bytes(struct xen_domain *d)
{
	return (gpa_to_gfn(gmem_ram_bytes(d->mem)) + 7) / 8;
}

int balloon_init(struct xen_domain *d, struct err *err)
{
	d->ballooned = calloc(1, bitmap_bytes(d));
	return d->ballooned ? 0 : err_errno(err, -ENOMEM, "balloon map");
}

bool balloon_out(struct xen_domain *d, uint64_t gfn)
{
	uint64_t i = ram_index(d, gfn);

	if (i == UINT64_MAX || d->ballooned[i / 8] >> i % 8 & 1)
		return false;
	d->ballooned[i / 8] |= (uint8_t)(1u << i % 8);
	d->ballooned_pages++;
	gmem_discard(d->mem, gfn_to_gpa(gfn), NIDRA_PAGE_SIZE);
	return true;
}

void balloon_drop_again(struct xen_domain *d)
{
	uint64_t pages = gpa_to_gfn(gmem_ram_bytes(d->mem));

	for (uint64_t i = 0; i < pages; i++)
		if (d->ballooned[i / 8] >> i % 8 & 1)
			gmem_discard(d->mem, gfn_to_gpa(gfn_of(d, i)), NIDRA_PAGE_SIZE);
}

bool balloon_in(struct xen_domain *d, uint64_t gfn)
{
	uint64_t i = ram_index(d, gfn);

	if (i == UINT64_MAX || !(d->ballooned[i / 8] >> i % 8 & 1))
		return false;
	d->ballooned[i / 8] &= (uint8_t) ~(1u << i % 8);
	d->ballooned_pages--;
	return true;
}

bool balloon_has(struct xen_domain *d, uint64_t gfn)
{
	uint64_t i = ram_index(d, gfn);

	return i != UINT64_MAX && !(d->ballooned[i / 8] >> i % 8 & 1);
}

/* Runs {u64 first index, u64 pages} of pages that are out. */
void balloon_save(struct xen_domain *d, struct bytes_writer *w)
{
	uint64_t pages = gpa_to_gfn(gmem_ram_bytes(d->mem)), runs = 0, start = UINT64_MAX;
	struct bytes_writer body = { 0 };

	for (uint64_t i = 0; i <= pages; i++) {
		bool out = i < pages && d->ballooned[i / 8] >> i % 8 & 1;

		if (out && start == UINT64_MAX)
			start = i;
		if (!out && start != UINT64_MAX) {
			bytes_put_u64(&body, start);
			bytes_put_u64(&body, i - start);
			start = UINT64_MAX;
			runs++;
		}
	}
	w->failed |= body.failed;
	bytes_put_u64(w, runs);
	bytes_put(w, body.buf, body.len);
	bytes_writer_fini(&body);
}

int balloon_load(struct xen_domain *d, struct bytes_reader *r)
{
	uint64_t pages = gpa_to_gfn(gmem_ram_bytes(d->mem)), runs = bytes_get_u64(r);

	memset(d->ballooned, 0, bitmap_bytes(d));
	d->ballooned_pages = 0;
	for (uint64_t n = 0; n < runs && !r->failed; n++) {
		uint64_t start = bytes_get_u64(r), len = bytes_get_u64(r);

		if (start >= pages || len > pages - start) {
			bytes_fail(r);
			break;
		}
		for (uint64_t i = start; i < start + len; i++) {
			d->ballooned_pages += !(d->ballooned[i / 8] >> i % 8 & 1);
			d->ballooned[i / 8] |= (uint8_t)(1u << i % 8);
		}
	}
	return r->failed ? -EBADMSG : 0;
}
