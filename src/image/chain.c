/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image and its parents as one memory. Each file's map lies over its parent's; what is seen from
 * above is cut into pieces, sorted by the extent that they come from. So a chain is read like a single
 * file: every extent once, and only if something of it is needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>

#include "base/str.h"
#include "image/reader.h"

#define PAGE ((uint64_t)IMAGE_ALIGN)

void image_reader_free(struct image_reader *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->files; i++)
		image_file_free(r->file[i]);
	free(r->piece);
	free(r->first_piece);
	free(r->by_gpa);
	free(r);
}

/* ---- names of parents ---- */

/* @name in the folder of @beside, allocated. */
static char *in_folder_of(const char *beside, const char *name)
{
	_cleanup_free_ char *copy = strdup(beside);

	return copy ? str_printf("%s/%s", dirname(copy), name) : NULL;
}

char *image_parent_name(const char *parent, const char *child)
{
	_cleanup_free_ char *copy = strdup(child), *real = realpath(parent, NULL), *dir = NULL, *real_copy = NULL;

	if (!copy || !real)
		return NULL;
	dir = realpath(dirname(copy), NULL);
	real_copy = strdup(real);
	if (!dir || !real_copy)
		return NULL;
	if (!strcmp(dirname(real_copy), dir))
		return strdup(strrchr(real, '/') + 1);
	return take_ptr(real);
}

/* Where it was said to be, or beside its child, to which it may have moved. */
static int open_parent(const struct image_file *f, struct image_key *key, struct image_file **ret, struct err *err)
{
	_cleanup_free_ char *said = str_printf("%.*s", (int)f->parent_name_len, (const char *)(f->parent + 1));
	_cleanup_free_ char *path = said && *said != '/' ? in_folder_of(f->name, said) : said ? strdup(said) : NULL;
	_cleanup_free_ char *beside = said ? in_folder_of(f->name, basename(said)) : NULL;
	int fd, r;

	if (!said || !path || !beside)
		return err_errno(err, -ENOMEM, "image");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		fd = open(beside, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_errno(err, -errno, "%s needs its parent: open %s", f->name, path);
	r = image_file_open(fd, path, key, ret, err);
	if (r < 0)
		return err_prefix(err, "%s needs its parent", f->name);
	return 0;
}

static bool same_regions(const struct image_file *a, const struct image_file *b)
{
	return a->regions == b->regions && !memcmp(a->region, b->region, a->regions * sizeof(*a->region));
}

static int open_parents(struct image_reader *r, struct image_key *key, struct err *err)
{
	while (r->file[r->files - 1]->parent) {
		const struct image_file *f = r->file[r->files - 1];
		struct image_file *parent;
		int e = r->files < IMAGE_FILES_MAX ? open_parent(f, key, &parent, err)
						   : err_set(err, -EBADMSG, "%s has more than %u parents",
							     r->file[0]->name, IMAGE_FILES_MAX);

		if (e < 0)
			return e;
		r->file[r->files++] = parent;
		e = image_file_need_key(parent, err);
		if (e < 0)
			return e;
		if (!image_file_is(parent, &f->parent->id))
			return err_set(err, -EBADMSG, "%s is not the parent that %s was made from", parent->name,
				       f->name);
		if (!same_regions(parent, f))
			return err_set(err, -EBADMSG, "%s and its parent %s are of different machines", f->name,
				       parent->name);
	}
	return 0;
}

/* ---- one map over the other ---- */

/* What a page is, seen from above: 0, or file + 1, extent and page of it. */
typedef uint64_t seen;

static seen *page_of(seen *table, const struct image_file *f, uint64_t gpa)
{
	for (size_t i = 0; i < f->regions; i++) {
		if (gpa >= f->region[i].gpa && gpa - f->region[i].gpa < f->region[i].bytes)
			return table + (gpa - f->region[i].gpa) / PAGE;
		table += f->region[i].bytes / PAGE;
	}
	return NULL;
}

static void lay_over(seen *table, const struct image_reader *r, size_t number)
{
	const struct image_file *f = r->file[number];

	for (size_t i = 0; i < f->runs; i++) {
		const struct image_run *run = &f->run[i];
		seen *page = page_of(table, f, run->gpa);
		seen first = (uint64_t)(r->first_extent[number] + run->extent) << 8 | run->first;

		for (uint32_t n = 0; n < run->pages; n++)
			page[n] = run->extent == IMAGE_RUN_ZERO ? 0 : first + n + (UINT64_C(1) << 40);
	}
}

static int by_gpa(const void *a, const void *b)
{
	const struct image_region_entry *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

static int add_piece(struct image_reader *r, size_t *cap, const struct image_piece *p)
{
	if (r->pieces == *cap) {
		size_t more = *cap * 2 + 1024;
		struct image_piece *grown = realloc(r->piece, more * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->piece = grown;
		*cap = more;
	}
	r->piece[r->pieces++] = *p;
	r->bytes += p->pages * PAGE;
	return 0;
}

static int cut_region(struct image_reader *r, size_t *cap, const struct image_region_entry *g, const seen *table)
{
	uint64_t pages = g->bytes / PAGE;
	int e = 0;

	for (uint64_t i = 0, n; i < pages && e == 0; i += n) {
		for (n = 1;
		     table[i] && i + n < pages && table[i + n] == table[i] + n && table[i + n] >> 8 == table[i] >> 8;
		     n++)
			;
		if (table[i])
			e = add_piece(r, cap,
				      &(struct image_piece){ .gpa = g->gpa + i * PAGE,
							     .extent = (uint32_t)(table[i] >> 8),
							     .pages = (uint16_t)n,
							     .first = (uint16_t)(table[i] & 0xff) });
	}
	return e;
}

/* The pieces of a chain by rising gpa. */
static int cut_chain(struct image_reader *r)
{
	const struct image_file *f = r->file[0];
	struct image_region_entry region[IMAGE_REGIONS_MAX];
	_cleanup_free_ seen *table = calloc(f->memory_bytes / PAGE + 1, sizeof(*table));
	size_t cap = 0;
	int e = table ? 0 : -ENOMEM;

	for (size_t i = r->files; e == 0 && i-- > 0;)
		lay_over(table, r, i);
	memcpy(region, f->region, f->regions * sizeof(*region));
	qsort(region, f->regions, sizeof(*region), by_gpa);
	for (size_t i = 0; e == 0 && i < f->regions; i++)
		e = cut_region(r, &cap, &region[i], page_of(table, f, region[i].gpa));
	return e;
}

/* Those of a single file are its runs. */
static int cut_file(struct image_reader *r)
{
	const struct image_file *f = r->file[0];
	size_t cap = 0;
	int e = 0;

	for (size_t i = 0; e == 0 && i < f->runs; i++)
		e = add_piece(r, &cap,
			      &(struct image_piece){ .gpa = f->run[i].gpa,
						     .extent = f->run[i].extent,
						     .pages = (uint16_t)f->run[i].pages,
						     .first = (uint16_t)f->run[i].first });
	return e;
}

/* From rising gpa to rising extent, counting. */
static int sort_pieces(struct image_reader *r)
{
	_cleanup_free_ struct image_piece *sorted = malloc((r->pieces + 1) * sizeof(*sorted));
	_cleanup_free_ uint32_t *next = calloc((size_t)r->extents + 2, sizeof(*next));

	r->first_piece = calloc((size_t)r->extents + 2, sizeof(*r->first_piece));
	r->by_gpa = malloc((r->pieces + 1) * sizeof(*r->by_gpa));
	if (!sorted || !next || !r->first_piece || !r->by_gpa)
		return -ENOMEM;
	for (size_t i = 0; i < r->pieces; i++)
		r->first_piece[r->piece[i].extent + 1]++;
	for (uint32_t e = 0; e < r->extents; e++)
		next[e + 1] = r->first_piece[e + 1] += r->first_piece[e];
	for (size_t i = 0; i < r->pieces; i++) {
		r->by_gpa[i] = next[r->piece[i].extent]++;
		sorted[r->by_gpa[i]] = r->piece[i];
	}
	free(r->piece);
	r->piece = take_ptr(sorted);
	return 0;
}

static int number_extents(struct image_reader *r, struct err *err)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->files; i++) {
		n += r->file[i]->extents;
		if (n >= UINT32_MAX)
			return image_bad(r->file[i], err, "its memory index makes no sense");
		r->first_extent[i + 1] = (uint32_t)n;
	}
	r->extents = (uint32_t)n;
	return 0;
}

static int open_chain(struct image_reader *r, struct image_key *key, struct err *err)
{
	int e = image_file_need_key(r->file[0], err);

	e = e ?: open_parents(r, key, err);
	e = e ?: number_extents(r, err);
	if (e < 0)
		return e;
	e = r->files == 1 ? cut_file(r) : cut_chain(r);
	e = e ?: sort_pieces(r);
	return e < 0 ? err_errno(err, e, "memory index of %s", r->file[0]->name) : 0;
}

static int open_file(int fd, const char *name, struct image_key *key, bool look, struct image_reader **ret,
		     struct err *err)
{
	_cleanup_(image_reader_freep) struct image_reader *r = calloc(1, sizeof(*r));
	int e;

	if (!r) {
		close(fd);
		return err_errno(err, -ENOMEM, "image");
	}
	e = image_file_open(fd, name, key, &r->file[0], err);
	if (e < 0)
		return e;
	r->files = 1;
	e = look ? 0 : open_chain(r, key, err);
	if (e < 0)
		return e;
	*ret = take_ptr(r);
	return 0;
}

static int open_path(const char *path, struct image_key *key, bool look, struct image_reader **ret, struct err *err)
{
	/* Not blocking: somebody may name a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? err_errno(err, -errno, "open %s", path) : open_file(fd, path, key, look, ret, err);
}

int image_reader_open_fd(int fd, const char *name, struct image_reader **ret, struct err *err)
{
	return open_file(fd, name, NULL, false, ret, err);
}

int image_reader_open(const char *path, struct image_reader **ret, struct err *err)
{
	return open_path(path, NULL, false, ret, err);
}

int image_reader_open_key(const char *path, struct image_key *key, struct image_reader **ret, struct err *err)
{
	return open_path(path, key, false, ret, err);
}

int image_reader_look(const char *path, struct image_reader **ret, struct err *err)
{
	return open_path(path, NULL, true, ret, err);
}

int image_reader_record(struct image_reader *r, uint32_t type, uint32_t instance, const void **ret_body,
			size_t *ret_len)
{
	return image_file_record(r->file[0], type, instance, ret_body, ret_len);
}

const struct image_record *image_reader_next(struct image_reader *r, const struct image_record *prev)
{
	return image_file_next(r->file[0], prev);
}

const char *image_reader_file(const struct image_reader *r, size_t i)
{
	return i < r->files ? r->file[i]->name : NULL;
}

void image_reader_stats(const struct image_reader *r, struct image_stats *ret)
{
	const struct image_crypt_entry *crypt = image_file_crypt_entry(r->file[0]);

	*ret = (struct image_stats){ .file_bytes = r->file[0]->file_len,
				     .memory_bytes = r->bytes,
				     .zero_bytes = r->file[0]->memory_bytes - r->bytes,
				     .extents = r->file[0]->extents,
				     .files = r->files,
				     .version = r->file[0]->version,
				     .encrypted = crypt,
				     .locked = image_file_locked(r->file[0]),
				     .passphrase = crypt && crypt->kdf != IMAGE_KDF_NONE,
				     .id = r->file[0]->id };
}

uint64_t image_reader_equal_bytes(const struct image_reader *r)
{
	uint64_t pages = 0;

	for (uint32_t e = 0; e < r->extents; e++) {
		bool used[IMAGE_PAGES_MAX] = { 0 };

		for (uint32_t i = r->first_piece[e]; i < r->first_piece[e + 1]; i++)
			for (unsigned int k = 0; k < r->piece[i].pages; k++) {
				pages += used[r->piece[i].first + k];
				used[r->piece[i].first + k] = true;
			}
	}
	return pages * PAGE;
}
