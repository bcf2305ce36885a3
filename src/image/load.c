/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading memory. Data goes through a buffer: it is read, its digest is checked, it is unpacked, and
 * only then it is written to the guest's memfd, which costs less than faulting its pages in through a
 * mapping.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "image/reader.h"

#define PAGE ((uint64_t)IMAGE_ALIGN)

void *image_scratch_new(void)
{
	struct image_scratch *s = malloc(sizeof(*s));

	if (!s)
		return NULL;
	s->codec = codec_new();
	if (s->codec)
		return s;
	free(s);
	return NULL;
}

void image_scratch_free(void *scratch)
{
	struct image_scratch *s = scratch;

	if (s)
		codec_free(s->codec);
	free(s);
}

const struct image_region *image_region_at(const struct image_region *region, size_t n, uint64_t gpa)
{
	for (size_t i = 0; i < n; i++)
		if (gpa >= region[i].gpa && gpa - region[i].gpa < region[i].bytes)
			return &region[i];
	return NULL;
}

/* What was read is what was written there; decrypts it. */
static bool is_whole(const struct image_file *f, const struct image_extent *e, void *stored)
{
	struct image_digest digest;

	if (f->crypt)
		return image_decrypt_extent(f->crypt, e, stored) == 0;
	digest = image_digest(stored, e->bytes);
	return image_digest_equal(&digest, &e->digest);
}

/* Reads @e, checks it, and unpacks it into scratch->memory. */
static int read_extent(const struct image_file *f, const struct image_extent *e, uint64_t gpa,
		       struct image_scratch *scratch, struct err *err)
{
	int r = io_pread_full(f->fd, scratch->stored, e->bytes, e->offset);

	if (r < 0)
		return err_errno(err, r, "read %s at %" PRIu64, f->name, e->offset);
	if (!is_whole(f, e, scratch->stored))
		return err_set(err, -EBADMSG,
			       "%s is damaged: guest memory at 0x%" PRIx64 " (bytes %" PRIu64 " to %" PRIu64
			       " of the file) was altered",
			       f->name, gpa, e->offset, e->offset + e->bytes);
	if (codec_unpack(scratch->codec, e->codec, scratch->stored, e->bytes, scratch->memory, e->pages * PAGE) < 0)
		return err_set(err, -EBADMSG, "%s is damaged: bytes %" PRIu64 " to %" PRIu64 " cannot be unpacked",
			       f->name, e->offset, e->offset + e->bytes);
	return 0;
}

/* Extent @extent of the chain, and the file that has it. */
static const struct image_extent *find_extent(const struct image_reader *r, uint32_t extent,
					      const struct image_file **ret_file)
{
	size_t low = 0, high = r->files - 1;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->first_extent[mid + 1] <= extent)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_file = r->file[low];
	return &r->file[low]->extent[extent - r->first_extent[low]];
}

uint64_t image_extent_bytes(const struct image_reader *r, uint32_t extent)
{
	uint64_t bytes = 0;

	for (uint32_t i = r->first_piece[extent]; i < r->first_piece[extent + 1]; i++)
		bytes += r->piece[i].pages * PAGE;
	return bytes;
}

int image_extent_load(const struct image_reader *r, uint32_t extent, const struct image_region *region, size_t n,
		      struct image_scratch *scratch, struct err *err)
{
	const struct image_file *f;
	const struct image_extent *e = find_extent(r, extent, &f);
	uint32_t first = r->first_piece[extent], end = r->first_piece[extent + 1];
	int ret;

	if (first == end)
		return 0;
	ret = read_extent(f, e, r->piece[first].gpa, scratch, err);
	for (uint32_t i = first; ret == 0 && i < end; i++) {
		const struct image_piece *p = &r->piece[i];
		const struct image_region *g = image_region_at(region, n, p->gpa);

		ret = io_pwrite_full(g->fd, scratch->memory + p->first * PAGE, p->pages * PAGE,
				     g->fd_offset + (p->gpa - g->gpa));
		if (ret < 0)
			err_errno(err, ret, "fill guest memory at 0x%" PRIx64, p->gpa);
	}
	return ret;
}

/* ---- all of it ---- */

struct fill {
	struct image_reader *r;
	const struct image_region *region;
	size_t n;
	struct image_work *work;
};

static int fill_extent(void *arg, uint64_t number, void *scratch, struct err *err)
{
	struct fill *f = arg;

	f->work->done += image_extent_bytes(f->r, (uint32_t)number);
	return image_extent_load(f->r, (uint32_t)number, f->region, f->n, scratch, err);
}

int image_same_regions(const struct image_reader *r, const struct image_region *region, size_t n, struct err *err)
{
	const struct image_file *f = r->file[0];
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < f->regions; k++)
			found += f->region[k].kind == region[i].kind && f->region[k].gpa == region[i].gpa &&
				 f->region[k].bytes == region[i].bytes;
	return found == n && n == f->regions
		       ? 0
		       : err_set(err, -EBADMSG, "%s: its memory is not laid out as this machine's", f->name);
}

int image_reader_memory(struct image_reader *r, const struct image_region *region, size_t n,
			const struct image_progress *progress, struct image_stats *ret, struct err *err)
{
	struct image_work work = { .count = r->extents,
				   .work = fill_extent,
				   .scratch_new = image_scratch_new,
				   .scratch_free = image_scratch_free,
				   .total = r->bytes,
				   .progress = progress };
	struct fill f = { .r = r, .region = region, .n = n, .work = &work };
	int e = image_same_regions(r, region, n, err);

	work.arg = &f;
	e = e ?: image_work_run(&work, err);
	if (e == 0)
		image_reader_stats(r, ret);
	return e;
}

/* ---- only checked ---- */

static int verify_extent(void *arg, uint64_t number, void *scratch, struct err *err)
{
	struct fill *f = arg;
	const struct image_file *file;
	const struct image_extent *e = find_extent(f->r, (uint32_t)number, &file);
	uint32_t piece = f->r->first_piece[number];

	f->work->done += e->bytes;
	return read_extent(file, e, piece < f->r->pieces ? f->r->piece[piece].gpa : 0, scratch, err);
}

/* Also what a later page has taken the place of. */
int image_reader_verify(struct image_reader *r, const struct image_progress *progress, struct err *err)
{
	struct image_work work = { .count = r->extents,
				   .work = verify_extent,
				   .scratch_new = image_scratch_new,
				   .scratch_free = image_scratch_free,
				   .progress = progress };
	struct fill f = { .r = r, .work = &work };

	for (size_t i = 0; i < r->files; i++)
		work.total += r->file[i]->data_end - IMAGE_DATA_OFFSET;
	work.arg = &f;
	return image_work_run(&work, err);
}
