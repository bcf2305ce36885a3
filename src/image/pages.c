/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory into extents: pages that are not zero, some at a time, packed and written by several
 * threads. Each page goes through a copy, because the guest may run meanwhile: what is digested,
 * packed and written is the same whatever it does. A page that is written again takes a new place;
 * the old one stays in the file, and nothing leads to it. A page that equals one that is in the file
 * already takes its place.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/pageset.h"
#include "image/aio.h"
#include "image/codec.h"
#include "image/reader.h"
#include "image/writer.h"

#define PAGE	    ((uint64_t)IMAGE_ALIGN)
#define CHUNK_PAGES UINT64_C(2048) /* one piece of work */
/* A page that is touched in a lazy restore brings its whole extent. */
#define EXTENT_PAGES (1u << PLACE_BITS)
#define APART_PAGES  4u		/* in an extent of pages here and there */
#define APART_MAX    (1u << 20) /* extents */
#define BATCH_PAGES  1024u	/* that wait for these to be written, because some are equal */

/* One call of image_writer_pages(). */
struct pass {
	struct image_writer *w;
	const struct pageset *set;
	const struct image_source *source;
	uint64_t first_chunk[IMAGE_REGIONS_MAX + 1]; /* of each region */
	bool apart;
	struct image_work *work;
};

/* What a thread gathers. */
struct batch {
	struct codec *codec;
	unsigned int n; /* pages to be stored, and for how many each */
	struct image_fingerprint print[EXTENT_PAGES];
	uint32_t uses[EXTENT_PAGES];
	uint64_t last; /* page that was looked at */
	unsigned int waiting;
	struct {
		uint64_t page;
		unsigned int stored; /* which of those */
	} wait[BATCH_PAGES];
	struct image_aio *aio;
	uint64_t offset; /* of the last write */
	uint8_t raw[EXTENT_PAGES * IMAGE_ALIGN];
};

static void batch_free(void *arg)
{
	struct batch *b = arg;

	if (!b)
		return;
	image_aio_free(b->aio);
	codec_free(b->codec);
	free(b);
}

static void *batch_new(void)
{
	struct batch *b = malloc(sizeof(*b));

	if (!b)
		return NULL;
	b->n = b->waiting = 0;
	b->offset = 0;
	b->codec = codec_new();
	b->aio = image_aio_new(sizeof(b->raw));
	if (b->codec && b->aio)
		return b;
	batch_free(b);
	return NULL;
}

/* Most pages that are not zero show it in their first words. @page lies anywhere (extents are packed). */
static bool page_is_zero(const uint8_t *page)
{
	uint64_t w[8];

	for (size_t at = 0; at < PAGE; at += sizeof(w)) {
		memcpy(w, page + at, sizeof(w));
		if (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7])
			return false;
	}
	return true;
}

/* A place in the index and in the file; -ENOMEM. */
static int add_extent(struct image_writer *w, struct image_extent *e, size_t *ret_number)
{
	SCOPED_LOCK(&w->lock);

	if (w->extents == w->extents_cap) {
		size_t cap = w->extents_cap * 2 + 1024;
		struct image_extent *grown = realloc(w->extent, cap * sizeof(*grown));

		if (!grown || cap > PLACE_EXTENTS_MAX) {
			w->extent = grown ?: w->extent;
			return -ENOMEM;
		}
		w->extent = grown;
		w->extents_cap = cap;
	}
	e->offset = w->data_end;
	*ret_number = w->extents;
	w->extent[w->extents++] = *e;
	w->data_end += e->bytes;
	return 0;
}

/* An encrypted extent's depends on its place. */
static void set_digest(struct image_writer *w, size_t number, const struct image_digest *digest)
{
	SCOPED_LOCK(&w->lock);

	w->extent[number].digest = *digest;
}

static int failed_write(const struct image_writer *w, const struct batch *b, int r, struct err *err)
{
	return err_errno(err, r, "write %s (after %" PRIu64 " MiB)", w->path, b->offset >> 20);
}

/* What is in the batch, packed into a buffer of its own, which is written from then on. */
static int pack(struct image_writer *w, struct batch *b, struct image_extent *ret, uint8_t **ret_data, struct err *err)
{
	size_t raw = b->n * PAGE, packed;
	int r = image_aio_buffer(b->aio, ret_data);

	if (r < 0)
		return failed_write(w, b, r, err);
	packed = codec_pack(b->codec, w->codec, w->level, b->raw, raw, *ret_data);
	if (!packed)
		memcpy(*ret_data, b->raw, raw);
	*ret = (struct image_extent){ .bytes = (uint32_t)(packed ?: raw),
				      .pages = (uint16_t)b->n,
				      .codec = packed ? (uint8_t)w->codec : IMAGE_CODEC_NONE };
	return 0;
}

static int write_batch(struct image_writer *w, struct batch *b, struct err *err)
{
	struct image_extent e;
	uint8_t *data;
	size_t number;
	int r = pack(w, b, &e, &data, err);

	if (r < 0)
		return r;
	r = add_extent(w, &e, &number);
	if (r < 0)
		return err_errno(err, r, "index of %s", w->path);
	if (w->crypt)
		image_crypt_extent(w->crypt, &e, data);
	else
		e.digest = image_digest(data, e.bytes);
	set_digest(w, number, &e.digest);
	b->offset = e.offset;
	r = image_aio_write(b->aio, w->fd, e.bytes, e.offset);
	if (r < 0)
		return failed_write(w, b, r, err);
	for (unsigned int i = 0; i < b->waiting; i++)
		w->place[b->wait[i].page] = place_of(number, b->wait[i].stored);
	for (unsigned int i = 0; i < b->n; i++)
		image_share_add(w->share, &b->print[i], place_of(number, i), b->uses[i]);
	b->n = b->waiting = 0;
	return 0;
}

/* A thread's last writes are on their way when its work is done. */
static int flush_batch(void *arg, void *scratch, struct err *err)
{
	struct pass *p = arg;
	struct batch *b = scratch;
	int r = image_aio_finish(b->aio);

	return r < 0 ? failed_write(p->w, b, r, err) : 0;
}

/* Which of the pages to be stored @print is of; b->n: none. */
static unsigned int find_in_batch(const struct batch *b, const struct image_fingerprint *print)
{
	unsigned int i = 0;

	while (i < b->n && (!image_fingerprint_equal(&b->print[i], print) || b->uses[i] >= SHARE_MAX))
		i++;
	return i;
}

/* @page, whose copy lies behind the others. */
static int take_page(struct image_writer *w, struct batch *b, uint64_t page, struct err *err)
{
	const uint8_t *copy = b->raw + b->n * PAGE;
	struct image_fingerprint print;
	unsigned int i;

	if (page_is_zero(copy)) {
		w->place[page] = PLACE_ZERO;
		return 0;
	}
	print = image_share_fingerprint(w->share, copy);
	w->place[page] = image_share_find(w->share, &print);
	if (w->place[page] != PLACE_NONE)
		return 0;
	i = find_in_batch(b, &print);
	if (i == b->n) {
		b->print[b->n] = print;
		b->uses[b->n++] = 0;
	}
	b->uses[i]++;
	b->wait[b->waiting].page = page;
	b->wait[b->waiting++].stored = i;
	return b->n == EXTENT_PAGES || b->waiting == BATCH_PAGES ? write_batch(w, b, err) : 0;
}

static void read_page(const struct pass *p, const struct image_region *g, uint64_t page, uint8_t *dst)
{
	if (p->source)
		p->source->read(p->source->arg, page, dst);
	else
		memcpy(dst, g->hva + (page * PAGE - g->fd_offset), PAGE);
}

static bool is_left_out(const struct image_writer *w, uint64_t page)
{
	return w->left_out && pageset_has(w->left_out, page);
}

static int write_chunk(void *arg, uint64_t number, void *scratch, struct err *err)
{
	struct pass *p = arg;
	struct batch *b = scratch;
	const struct image_region *g = p->w->region;
	uint64_t page, end, pages = 0;
	int r = 0;

	while (number >= p->first_chunk[g - p->w->region + 1])
		g++;
	page = g->fd_offset / PAGE + (number - p->first_chunk[g - p->w->region]) * CHUNK_PAGES;
	end = MIN(page + CHUNK_PAGES, (g->fd_offset + g->bytes) / PAGE);
	while (r == 0 && (page = pageset_next(p->set, page, end)) < end) {
		if (p->apart && b->n >= APART_PAGES && page != b->last + 1)
			r = write_batch(p->w, b, err);
		if (r < 0)
			break;
		if (!is_left_out(p->w, page)) {
			read_page(p, g, page, b->raw + b->n * PAGE);
			r = take_page(p->w, b, page, err);
			b->last = page;
		}
		page++;
		pages++;
	}
	if (r == 0 && b->n)
		r = write_batch(p->w, b, err);
	p->work->done += pages * PAGE;
	return r;
}

/*
 * Grandchildren replace pages of a child, and what is left of an extent costs as much as all of it. Neighbours
 * that changed together will change together; of pages here and there some are left in every extent. So extents
 * of those are small, as long as that makes no huge index.
 */
static bool in_extents_apart(const struct image_writer *w, const struct pageset *set)
{
	return w->parent && w->extents + pageset_count(set) < APART_MAX;
}

int image_writer_pages(struct image_writer *w, const struct pageset *set, const struct image_source *source,
		       const struct image_progress *progress, struct err *err)
{
	struct image_work work = { .work = write_chunk,
				   .scratch_new = batch_new,
				   .scratch_flush = flush_batch,
				   .scratch_free = batch_free,
				   .total = pageset_count(set) * PAGE,
				   .progress = progress };
	struct pass p = { .w = w, .set = set, .source = source, .apart = in_extents_apart(w, set), .work = &work };

	for (size_t i = 0; i < w->regions; i++) {
		p.first_chunk[i] = work.count;
		work.count += (w->region[i].bytes / PAGE + CHUNK_PAGES - 1) / CHUNK_PAGES;
	}
	p.first_chunk[w->regions] = work.count;
	work.arg = &p;
	return image_work_run(&work, err);
}

static int by_gpa(const void *a, const void *b)
{
	const struct image_region *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

int image_writer_regions(struct image_writer *w, const struct image_region *region, size_t n, struct err *err)
{
	if (n > IMAGE_REGIONS_MAX || w->regions)
		return err_set(err, -EINVAL, "%s: too many memory regions", w->path);
	memcpy(w->region, region, n * sizeof(*region));
	qsort(w->region, n, sizeof(*region), by_gpa);
	w->regions = n;
	for (size_t i = 0; i < n; i++) {
		w->memory_bytes += region[i].bytes;
		w->pages = MAX(w->pages, (region[i].fd_offset + region[i].bytes) / PAGE);
	}
	w->place = calloc(w->pages + 1, sizeof(*w->place));
	w->share = image_share_new(w->memory_bytes / PAGE);
	return w->place && w->share ? 0 : err_errno(err, -ENOMEM, "index of %s", w->path);
}

int image_writer_leave_out(struct image_writer *w, uint64_t gpa, uint64_t bytes, struct err *err)
{
	const struct image_region *g = image_region_at(w->region, w->regions, gpa);

	if (!g || gpa % PAGE || bytes % PAGE || bytes > g->bytes - (gpa - g->gpa))
		return err_set(err, -EINVAL, "%s: 0x%" PRIx64 "+0x%" PRIx64 " is no memory that could be left out",
			       w->path, gpa, bytes);
	if (!w->left_out)
		w->left_out = pageset_new(w->pages);
	if (!w->left_out)
		return err_errno(err, -ENOMEM, "index of %s", w->path);
	pageset_add(w->left_out, (g->fd_offset + (gpa - g->gpa)) / PAGE, bytes / PAGE);
	return 0;
}

struct pageset *image_pages_in_use(const struct image_region *region, size_t n)
{
	struct pageset *set;
	uint64_t pages = 0;

	for (size_t i = 0; i < n; i++)
		pages = MAX(pages, (region[i].fd_offset + region[i].bytes) / PAGE);
	set = pageset_new(pages);
	for (size_t i = 0; set && i < n; i++) {
		uint64_t at = region[i].fd_offset, end = at + region[i].bytes;

		while (at < end) {
			off_t data = lseek(region[i].fd, (off_t)at, SEEK_DATA), hole;

			if (data < 0 || (uint64_t)data >= end)
				break;
			hole = lseek(region[i].fd, data, SEEK_HOLE);
			at = MIN((uint64_t)hole, end);
			pageset_add(set, (uint64_t)data / PAGE, (at - (uint64_t)data + PAGE - 1) / PAGE);
		}
	}
	return set;
}

int image_writer_memory(struct image_writer *w, const struct image_region *region, size_t n,
			const struct image_progress *progress, struct err *err)
{
	_cleanup_free_ struct pageset *set = image_pages_in_use(region, n);
	int r = set ? 0 : err_errno(err, -ENOMEM, "index of %s", w->path);

	r = r ?: image_writer_regions(w, region, n, err);
	return r ?: image_writer_pages(w, set, NULL, progress, err);
}

/* ---- the map ---- */

static bool continues(const struct image_run *run, image_place place)
{
	if (place == PLACE_ZERO)
		return run->extent == IMAGE_RUN_ZERO;
	return run->extent != IMAGE_RUN_ZERO && run->first + run->pages < EXTENT_PAGES &&
	       place == place_of(run->extent, run->first + run->pages);
}

static void map_region(struct image_writer *w, const struct image_region *g, struct bytes_writer *ret)
{
	struct image_run run = { 0 };

	for (uint64_t i = 0; i < g->bytes / PAGE; i++) {
		uint64_t page = g->fd_offset / PAGE + i;
		image_place place = is_left_out(w, page) ? PLACE_ZERO : w->place[page];

		if (place == PLACE_ZERO && !w->parent)
			place = PLACE_NONE;
		w->stored_bytes += place > PLACE_ZERO ? PAGE : 0;
		if (run.pages && place != PLACE_NONE && continues(&run, place)) {
			run.pages++;
			continue;
		}
		if (run.pages)
			bytes_put(ret, &run, sizeof(run));
		run = (struct image_run){ .gpa = g->gpa + i * PAGE, .pages = place != PLACE_NONE };
		run.extent = place == PLACE_ZERO ? IMAGE_RUN_ZERO : (place >> PLACE_BITS) - 1;
		run.first = place == PLACE_ZERO ? 0 : place % EXTENT_PAGES;
	}
	if (run.pages)
		bytes_put(ret, &run, sizeof(run));
}

int image_writer_map(struct image_writer *w, struct bytes_writer *ret, struct err *err)
{
	for (size_t i = 0; i < w->regions; i++)
		map_region(w, &w->region[i], ret);
	return ret->failed ? err_errno(err, -ENOMEM, "index of %s", w->path) : 0;
}
