/* SPDX-License-Identifier: Apache-2.0 */
/* The memory tables of one file. What version 1 says in one table is brought into version 2's form. */
#include <errno.h>
#include <string.h>

#include "image/reader.h"

#define PAGE ((uint64_t)IMAGE_ALIGN)

static int find_table(struct image_file *f, uint32_t type, size_t size, const void **ret, size_t *ret_n,
		      struct err *err)
{
	size_t len;

	if (image_file_record(f, type, 0, ret, &len) < 0 || len % size)
		return image_bad(f, err, "its memory index is missing");
	*ret_n = len / size;
	return 0;
}

static int check_regions(struct image_file *f, struct err *err)
{
	for (size_t i = 0; i < f->regions; i++) {
		const struct image_region_entry *g = &f->region[i];
		uint64_t end;

		if (g->zero || g->gpa % PAGE || g->bytes % PAGE || add_overflow(g->gpa, g->bytes, &end) ||
		    add_overflow(f->memory_bytes, g->bytes, &f->memory_bytes))
			return image_bad(f, err, "a memory region makes no sense");
		for (size_t k = 0; k < i; k++)
			if (g->gpa < f->region[k].gpa + f->region[k].bytes && f->region[k].gpa < end)
				return image_bad(f, err, "memory regions overlap");
	}
	return 0;
}

/* ---- version 1 ---- */

static int by_offset(const void *a, const void *b, void *arg)
{
	const struct image_extent_v1 *e = arg;
	uint64_t x = e[*(const uint32_t *)a].offset, y = e[*(const uint32_t *)b].offset;

	return x < y ? -1 : x > y;
}

static int convert_v1(struct image_file *f, struct err *err)
{
	_cleanup_free_ uint32_t *order = NULL;
	const struct image_extent_v1 *v1;
	struct image_extent *extent;
	struct image_run *run;
	const void *table;
	size_t n = 0;
	int r = find_table(f, IMAGE_REC_EXTENTS_V1, sizeof(*v1), &table, &n, err);

	if (r < 0)
		return r;
	if (n >= IMAGE_RUN_ZERO)
		return image_bad(f, err, "its memory index makes no sense");
	v1 = table;
	f->made[0] = extent = calloc(n + 1, sizeof(*extent));
	f->made[1] = run = calloc(n + 1, sizeof(*run));
	order = calloc(n + 1, sizeof(*order));
	if (!extent || !run || !order)
		return err_errno(err, -ENOMEM, "memory index of %s", f->name);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), by_offset, (void *)(uintptr_t)v1);
	for (size_t i = 0; i < n; i++) {
		const struct image_extent_v1 *e = &v1[order[i]];

		if (!e->bytes || e->bytes > IMAGE_EXTENT_MAX || e->bytes % PAGE)
			return image_bad(f, err, "its memory index makes no sense");
		extent[i] = (struct image_extent){ .offset = e->offset,
						   .bytes = (uint32_t)e->bytes,
						   .pages = (uint16_t)(e->bytes / PAGE),
						   .digest = e->digest };
		run[order[i]] = (struct image_run){ .gpa = e->gpa, .pages = extent[i].pages, .extent = (uint32_t)i };
	}
	f->extent = extent;
	f->run = run;
	f->extents = f->runs = n;
	return 0;
}

/* ---- version 2 ---- */

static int find_v2(struct image_file *f, struct err *err)
{
	const void *table;
	int r = find_table(f, IMAGE_REC_EXTENTS, sizeof(*f->extent), &table, &f->extents, err);

	f->extent = table;
	r = r ?: find_table(f, IMAGE_REC_MAP, sizeof(*f->run), &table, &f->runs, err);
	f->run = table;
	return r;
}

static int find_parent(struct image_file *f, struct err *err)
{
	const void *table;
	size_t len;

	if (image_file_record(f, IMAGE_REC_PARENT, 0, &table, &len) == 0) {
		f->parent = table;
		f->parent_name_len = len - sizeof(*f->parent);
		if (len <= sizeof(*f->parent) || f->parent_name_len > IMAGE_PARENT_NAME_MAX ||
		    memchr(f->parent + 1, 0, f->parent_name_len))
			return image_bad(f, err, "its parent's name makes no sense");
	}
	if (!f->parent != !(f->features & IMAGE_FEATURE_PARENT))
		return image_bad(f, err, "it has a parent, or it has none");
	return 0;
}

/* ---- both ---- */

/* Extents lie one behind the other, and the last one's page is filled up with zeros. */
static int check_extents(struct image_file *f, struct err *err)
{
	uint64_t offset = IMAGE_DATA_OFFSET;

	for (size_t i = 0; i < f->extents; i++) {
		const struct image_extent *e = &f->extent[i];

		if (!e->bytes || !e->pages || e->pages > IMAGE_PAGES_MAX || e->bytes > e->pages * PAGE || e->zero ||
		    e->codec >= IMAGE_CODECS || (e->codec == IMAGE_CODEC_NONE && e->bytes != e->pages * PAGE))
			return image_bad(f, err, "its memory index makes no sense");
		if (e->offset != offset)
			return image_bad(f, err, "its memory index leaves bytes out");
		offset += e->bytes;
	}
	if (offset > f->data_end || f->data_end - offset >= PAGE)
		return image_bad(f, err, "its memory index leaves bytes out");
	return image_file_check_zeros(f, offset, f->data_end - offset, err);
}

static const struct image_region_entry *region_of(const struct image_file *f, const struct image_run *run)
{
	uint64_t bytes = run->pages * PAGE;

	for (size_t i = 0; i < f->regions; i++) {
		const struct image_region_entry *g = &f->region[i];

		if (run->gpa >= g->gpa && run->gpa - g->gpa < g->bytes && bytes <= g->bytes - (run->gpa - g->gpa))
			return g;
	}
	return NULL;
}

static int check_runs(struct image_file *f, struct err *err)
{
	uint64_t gpa = 0;

	for (size_t i = 0; i < f->runs; i++) {
		const struct image_run *run = &f->run[i];
		bool zeros = run->extent == IMAGE_RUN_ZERO;

		if (!run->pages || run->gpa % PAGE || run->gpa < gpa || run->zero || !region_of(f, run))
			return image_bad(f, err, "its memory index makes no sense");
		if (zeros ? run->first || !f->parent
			  : run->extent >= f->extents || run->first >= f->extent[run->extent].pages ||
				    run->pages > f->extent[run->extent].pages - run->first)
			return image_bad(f, err, "its memory index makes no sense");
		gpa = run->gpa + run->pages * PAGE;
	}
	return 0;
}

int image_file_check_index(struct image_file *f, struct err *err)
{
	const void *table;
	int r = find_table(f, IMAGE_REC_REGIONS, sizeof(*f->region), &table, &f->regions, err);

	if (r < 0)
		return r;
	f->region = table;
	if (f->regions > IMAGE_REGIONS_MAX)
		return image_bad(f, err, "its memory index makes no sense");
	r = f->version == 1 ? 0 : find_parent(f, err);
	if (r < 0 || image_file_locked(f))
		return r;
	r = f->version == 1 ? convert_v1(f, err) : find_v2(f, err);
	r = r ?: check_regions(f, err);
	r = r ?: check_extents(f, err);
	return r ?: check_runs(f, err);
}
