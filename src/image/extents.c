/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of memory, and reading it. Data goes through a buffer: it is read, its digest is
 * checked, and only then it is written to the guest's memfd, which costs less than faulting its
 * pages in through a mapping.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "image/reader.h"

static const struct image_region_entry *region_of(const struct image_reader *r, const struct image_extent *e)
{
	for (size_t i = 0; i < r->regions; i++) {
		const struct image_region_entry *g = &r->region[i];

		if (e->gpa >= g->gpa && e->gpa - g->gpa < g->bytes && e->bytes <= g->bytes - (e->gpa - g->gpa))
			return g;
	}
	return NULL;
}

static int find_table(struct image_reader *r, uint32_t type, size_t size, const void **ret, size_t *ret_n,
		      struct err *err)
{
	size_t len;

	if (image_reader_record(r, type, 0, ret, &len) < 0 || len % size)
		return image_bad(r, err, "its memory index is missing");
	*ret_n = len / size;
	return 0;
}

static int check_regions(struct image_reader *r, struct err *err)
{
	for (size_t i = 0; i < r->regions; i++) {
		const struct image_region_entry *g = &r->region[i];
		uint64_t end;

		if (g->zero || g->gpa % IMAGE_ALIGN || g->bytes % IMAGE_ALIGN || add_overflow(g->gpa, g->bytes, &end) ||
		    add_overflow(r->memory_bytes, g->bytes, &r->memory_bytes))
			return image_bad(r, err, "a memory region makes no sense");
		for (size_t k = 0; k < i; k++)
			if (g->gpa < r->region[k].gpa + r->region[k].bytes && r->region[k].gpa < end)
				return image_bad(r, err, "memory regions overlap");
	}
	return 0;
}

static int by_offset(const void *a, const void *b, void *arg)
{
	const struct image_extent *e = arg;
	uint64_t x = e[*(const uint32_t *)a].offset, y = e[*(const uint32_t *)b].offset;

	return x < y ? -1 : x > y;
}

static int check_extents(struct image_reader *r, struct err *err)
{
	uint64_t gpa = 0, offset = IMAGE_DATA_OFFSET;

	for (size_t i = 0; i < r->extents; i++) {
		const struct image_extent *e = &r->extent[i];

		if (!e->bytes || e->bytes > IMAGE_EXTENT_MAX || (e->gpa | e->bytes) % IMAGE_ALIGN || e->gpa < gpa ||
		    !region_of(r, e))
			return image_bad(r, err, "its memory index makes no sense");
		gpa = e->gpa + e->bytes;
		r->by_offset[i] = (uint32_t)i;
	}
	qsort_r(r->by_offset, r->extents, sizeof(r->by_offset[0]), by_offset, (void *)(uintptr_t)r->extent);
	for (size_t i = 0; i < r->extents; i++) {
		if (r->extent[r->by_offset[i]].offset != offset)
			return image_bad(r, err, "its memory index leaves bytes out");
		offset += r->extent[r->by_offset[i]].bytes;
	}
	return offset == r->data_end ? 0 : image_bad(r, err, "its memory index leaves bytes out");
}

int image_reader_check_index(struct image_reader *r, struct err *err)
{
	const void *table;
	int ret = find_table(r, IMAGE_REC_REGIONS, sizeof(*r->region), &table, &r->regions, err);

	if (ret < 0)
		return ret;
	r->region = table;
	ret = find_table(r, IMAGE_REC_EXTENTS, sizeof(*r->extent), &table, &r->extents, err);
	if (ret < 0)
		return ret;
	r->extent = table;
	if (r->regions > 64 || r->extents > UINT32_MAX)
		return image_bad(r, err, "its memory index makes no sense");
	r->by_offset = malloc((r->extents + 1) * sizeof(r->by_offset[0]));
	if (!r->by_offset)
		return err_errno(err, -ENOMEM, "memory index of %s", r->name);
	ret = check_regions(r, err);
	return ret ?: check_extents(r, err);
}

struct fill {
	struct image_reader *r;
	const struct image_region *region; /* n 0: only check */
	size_t n;
	struct image_work *work;
};

const struct image_region *image_region_at(const struct image_region *region, size_t n, uint64_t gpa)
{
	for (size_t i = 0; i < n; i++)
		if (gpa >= region[i].gpa && gpa - region[i].gpa < region[i].bytes)
			return &region[i];
	return NULL;
}

int image_extent_load(const struct image_reader *r, const struct image_extent *e, const struct image_region *g,
		      void *scratch, struct err *err)
{
	struct image_digest digest;
	int ret = io_pread_full(r->fd, scratch, e->bytes, e->offset);

	if (ret < 0)
		return err_errno(err, ret, "read %s at %" PRIu64, r->name, e->offset);
	digest = image_digest(scratch, e->bytes);
	if (!image_digest_equal(&digest, &e->digest))
		return err_set(err, -EBADMSG,
			       "%s is damaged: guest memory at 0x%" PRIx64 " (bytes %" PRIu64 " to %" PRIu64
			       " of the file) was altered",
			       r->name, e->gpa, e->offset, e->offset + e->bytes);
	if (!g)
		return 0;
	ret = io_pwrite_full(g->fd, scratch, e->bytes, g->fd_offset + (e->gpa - g->gpa));
	return ret < 0 ? err_errno(err, ret, "fill guest memory at 0x%" PRIx64, e->gpa) : 0;
}

static int fill_extent(void *arg, uint64_t number, void *scratch, struct err *err)
{
	struct fill *f = arg;
	const struct image_extent *e = &f->r->extent[f->r->by_offset[number]];

	f->work->done += e->bytes;
	return image_extent_load(f->r, e, image_region_at(f->region, f->n, e->gpa), scratch, err);
}

static int fill_all(struct image_reader *r, const struct image_region *region, size_t n,
		    const struct image_progress *progress, struct err *err)
{
	struct image_work work = { .count = r->extents,
				   .work = fill_extent,
				   .scratch = IMAGE_EXTENT_MAX,
				   .total = r->data_end - IMAGE_DATA_OFFSET,
				   .progress = progress };
	struct fill f = { .r = r, .region = region, .n = n, .work = &work };

	work.arg = &f;
	return image_work_run(&work, err);
}

int image_same_regions(const struct image_reader *r, const struct image_region *region, size_t n, struct err *err)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < r->regions; k++)
			found += r->region[k].kind == region[i].kind && r->region[k].gpa == region[i].gpa &&
				 r->region[k].bytes == region[i].bytes;
	return found == n && n == r->regions ? 0 :
					       err_set(err, -EBADMSG, "%s: its memory is not laid out as this machine's",
						       r->name);
}

int image_reader_memory(struct image_reader *r, const struct image_region *region, size_t n,
			const struct image_progress *progress, struct image_stats *ret, struct err *err)
{
	int e = image_same_regions(r, region, n, err);

	e = e ?: fill_all(r, region, n, progress, err);
	if (e == 0)
		image_reader_stats(r, ret);
	return e;
}

int image_reader_verify(struct image_reader *r, const struct image_progress *progress, struct err *err)
{
	return fill_all(r, NULL, 0, progress, err);
}
