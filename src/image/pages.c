/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory into extents: runs of pages that are not zero, written straight from the guest's
 * mapping by several threads. Memory that was never touched is not looked at: the memfd has holes
 * there.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/io.h"
#include "image/writer.h"

#define CHUNK	  (UINT64_C(8) << 20) /* one piece of work */
/* A page that is touched in a lazy restore brings its whole extent. */
#define EXTENT	  (UINT64_C(128) << 10)
#define PAGE	  ((uint64_t)IMAGE_ALIGN)
#define WORDS	  (IMAGE_ALIGN / sizeof(uint64_t))

struct scan {
	struct image_writer *w;
	const struct image_region *region;
	size_t n;
	uint64_t first_chunk[IMAGE_REGIONS_MAX + 1]; /* of each region */
	struct image_work *work;
	pthread_mutex_t lock; /* the writer's extents and data_end */
};

/* Most pages that are not zero show it in their first words. */
static bool page_is_zero(const uint8_t *page)
{
	const uint64_t *p = (const uint64_t *)page;

	for (size_t i = 0; i < WORDS; i += 8)
		if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7])
			return false;
	return true;
}

/* A place in the index and in the file; -ENOMEM. */
static int add_extent(struct scan *s, const struct image_extent *e, uint64_t *ret_offset)
{
	struct image_writer *w = s->w;
	SCOPED_LOCK(&s->lock);

	if (w->extents == w->extents_cap) {
		size_t cap = w->extents_cap * 2 + 1024;
		struct image_extent *grown = realloc(w->extent, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->extent = grown;
		w->extents_cap = cap;
	}
	*ret_offset = w->data_end;
	w->extent[w->extents] = *e;
	w->extent[w->extents++].offset = w->data_end;
	w->data_end += e->bytes;
	return 0;
}

static int write_extent(struct scan *s, const struct image_region *g, uint64_t start, uint64_t bytes,
			struct err *err)
{
	struct image_extent e = { .gpa = g->gpa + start,
				  .bytes = bytes,
				  .digest = image_digest(g->hva + start, bytes) };
	uint64_t offset;
	int r = add_extent(s, &e, &offset);

	if (r < 0)
		return err_errno(err, r, "index of %s", s->w->path);
	r = io_pwrite_full(s->w->fd, g->hva + start, bytes, offset);
	return r < 0 ? err_errno(err, r, "write %s (after %" PRIu64 " MiB)", s->w->path, offset >> 20) : 0;
}

/* [start, end) of a region has been touched, at least in part. */
static int scan_range(struct scan *s, const struct image_region *g, uint64_t start, uint64_t end,
		      struct err *err)
{
	uint64_t run = start;
	int r = 0;

	for (uint64_t at = start; at < end && r == 0; at += PAGE) {
		bool zero = page_is_zero(g->hva + at);

		if (!zero && at + PAGE - run < EXTENT && at + PAGE < end)
			continue;
		if (!zero)
			r = write_extent(s, g, run, at + PAGE - run, err);
		else if (at > run)
			r = write_extent(s, g, run, at - run, err);
		run = at + PAGE;
	}
	return r;
}

static int scan_chunk(void *arg, uint64_t number, void *scratch, struct err *err)
{
	struct scan *s = arg;
	const struct image_region *g = s->region;
	uint64_t start, end, at;
	int r = 0;

	(void)scratch;
	while (number >= s->first_chunk[g - s->region + 1])
		g++;
	start = (number - s->first_chunk[g - s->region]) * CHUNK;
	end = MIN(start + CHUNK, g->bytes);
	at = start;
	while (at < end && r == 0) {
		off_t data = lseek(g->fd, (off_t)(g->fd_offset + at), SEEK_DATA), hole;

		if (data < 0 && errno != ENXIO)
			return err_errno(err, -errno, "look for guest memory in use");
		if (data < 0 || (uint64_t)data >= g->fd_offset + end)
			break;
		hole = lseek(g->fd, data, SEEK_HOLE);
		at = ((uint64_t)data - g->fd_offset) & ~(PAGE - 1);
		r = scan_range(s, g, at, MIN(end, (uint64_t)hole - g->fd_offset), err);
		at = (uint64_t)hole - g->fd_offset;
	}
	s->work->done += end - start;
	return r;
}

static int by_gpa(const void *a, const void *b)
{
	const struct image_extent *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

int image_writer_memory(struct image_writer *w, const struct image_region *region, size_t n,
			const struct image_progress *progress, struct err *err)
{
	struct image_work work = { .work = scan_chunk, .progress = progress };
	struct scan s = { .w = w, .region = region, .n = n, .work = &work };
	int r;

	if (n > IMAGE_REGIONS_MAX || w->regions)
		return err_set(err, -EINVAL, "%s: too many memory regions", w->path);
	for (size_t i = 0; i < n; i++) {
		w->region[i] = (struct image_region_entry){ .kind = region[i].kind,
							    .gpa = region[i].gpa,
							    .bytes = region[i].bytes };
		s.first_chunk[i] = work.count;
		work.count += (region[i].bytes + CHUNK - 1) / CHUNK;
		work.total += region[i].bytes;
	}
	s.first_chunk[n] = work.count;
	w->regions = n;
	w->memory_bytes = work.total;
	work.arg = &s;
	pthread_mutex_init(&s.lock, NULL);
	r = image_work_run(&work, err);
	pthread_mutex_destroy(&s.lock);
	if (r == 0 && w->extents)
		qsort(w->extent, w->extents, sizeof(w->extent[0]), by_gpa);
	return r;
}
