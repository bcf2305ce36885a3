/* SPDX-License-Identifier: Apache-2.0 */
/* Memory in images: packed, written more than once, in chains, and as version 1 had it. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch.h"

#include "base/addr.h"
#include "base/bytes.h"
#include "base/io.h"
#include "base/pageset.h"
#include "image/image.h"
#include "image/share.h"

#define PAGE NIDRA_PAGE_SIZE
#define META "{\"name\": \"web\"}"

static char folder[64];

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "%s/nidra-image.XXXXXX", scratch());
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(folder);
}

static const char *in_folder(char buf[128], const char *name)
{
	snprintf(buf, 128, "%s/%s", folder, name);
	return buf;
}

struct memory {
	int fd;
	struct image_region region[2];
	uint64_t bytes;
	uint8_t *hva;
};

#define LOW_BYTES  (20 * MIB)
#define HIGH_BYTES (3 * MIB)

static void memory_new(struct memory *m)
{
	*m = (struct memory){ .fd = memfd_create("memory", MFD_CLOEXEC), .bytes = LOW_BYTES + HIGH_BYTES };
	assert_int_equal(ftruncate(m->fd, (off_t)m->bytes), 0);
	m->hva = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(m->hva, MAP_FAILED);
	m->region[0] = (struct image_region){ .kind = 1,
					      .gpa = 4 * GIB,
					      .bytes = HIGH_BYTES,
					      .fd = m->fd,
					      .fd_offset = LOW_BYTES,
					      .hva = m->hva + LOW_BYTES };
	m->region[1] = (struct image_region){ .kind = 1, .bytes = LOW_BYTES, .fd = m->fd, .hva = m->hva };
}

static void memory_free(struct memory *m)
{
	munmap(m->hva, m->bytes);
	close(m->fd);
}

/* Runs, single pages, zeros that were written, and holes. */
static void scribble(struct memory *m)
{
	unsigned int seed = 7;

	for (uint64_t page = 0; page < m->bytes / PAGE; page++) {
		uint64_t part = page / 200 % 5;

		if (part == 0 || (part == 1 && rand_r(&seed) % 2))
			memset(m->hva + page * PAGE, rand_r(&seed) % 255 + 1, PAGE);
		else if (part == 2)
			memset(m->hva + page * PAGE, 0, PAGE);
	}
}

static struct image_writer *writer_of(const char *name, const struct image_options *o, const struct memory *m)
{
	struct image_writer *w = NULL;
	struct err err = { 0 };

	assert_int_equal(image_writer_new(name, o, &w, &err), 0);
	assert_int_equal(image_writer_regions(w, m->region, 2, &err), 0);
	return w;
}

static void put(struct image_writer *w, const struct pageset *set)
{
	struct err err = { 0 };

	assert_int_equal(image_writer_pages(w, set, NULL, NULL, &err), 0);
}

static void seal(struct image_writer *w, struct image_stats *stats)
{
	struct err err = { 0 };

	assert_int_equal(image_writer_seal(w, stats, &err), 0);
	image_writer_free(w);
}

/* What @name holds is what @m holds. */
static void compare(const char *name, const struct memory *m)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_stats stats;
	struct memory back;
	struct err err = { 0 };

	memory_new(&back);
	if (image_reader_open(name, &r, &err) < 0 || image_reader_verify(r, NULL, &err) < 0 ||
	    image_reader_memory(r, back.region, 2, NULL, &stats, &err) < 0)
		fail_msg("%s", err.msg);
	assert_memory_equal(m->hva, back.hva, m->bytes);
	memory_free(&back);
}

static void test_every_codec_brings_memory_back(void **state)
{
	uint64_t size[IMAGE_CODECS];
	char name[128];
	struct memory m;

	(void)state;
	memory_new(&m);
	scribble(&m);
	for (uint64_t page = 0; page < m.bytes / PAGE; page++) /* no two are equal */
		if (m.hva[page * PAGE + PAGE - 1])
			memcpy(m.hva + page * PAGE, &page, sizeof(page));
	for (uint64_t i = 0; i < MIB / 8; i++) /* nothing makes this smaller */
		((uint64_t *)(void *)m.hva)[i] = i * i * UINT64_C(0x9e3779b97f4a7c15) ^ i << 40 ^ (i * 77) << 13;
	for (int codec = 0; codec < IMAGE_CODECS; codec++) {
		struct image_options o = { .codec = (enum image_codec)codec };
		_cleanup_free_ struct pageset *all = image_pages_in_use(m.region, 2);
		struct image_writer *w = writer_of(in_folder(name, "image"), &o, &m);
		struct image_stats stats;

		put(w, all);
		seal(w, &stats);
		compare(name, &m);
		unlink(name);
		size[codec] = stats.file_bytes;
	}
	assert_true(size[IMAGE_CODEC_ZSTD] < size[IMAGE_CODEC_NONE] / 2);
	assert_true(size[IMAGE_CODEC_LZ4] < size[IMAGE_CODEC_NONE] / 2);
	memory_free(&m);
}

static void test_the_last_of_a_page_counts(void **state)
{
	_cleanup_free_ struct pageset *all = NULL, *some = pageset_new((LOW_BYTES + HIGH_BYTES) / PAGE);
	struct image_writer *w;
	struct image_stats stats;
	char name[128];
	struct memory m;
	unsigned int seed = 3;

	(void)state;
	memory_new(&m);
	scribble(&m);
	all = image_pages_in_use(m.region, 2);
	w = writer_of(in_folder(name, "image"), NULL, &m);
	put(w, all);
	for (int round = 0; round < 4; round++) {
		pageset_clear(some);
		for (int i = 0; i < 300; i++) {
			uint64_t page = (uint64_t)rand_r(&seed) % (m.bytes / PAGE);

			memset(m.hva + page * PAGE, rand_r(&seed) % 3, PAGE); /* zero, too */
			pageset_add(some, page, 1);
		}
		put(w, some);
	}
	seal(w, &stats);
	compare(name, &m);
	unlink(name);
	memory_free(&m);
}

/* Pages of a set may come from elsewhere: a copy that was made while the guest stood still. */
static void read_number(void *arg, uint64_t page, void *dst)
{
	(void)arg;
	memset(dst, (int)(page % 255) + 1, PAGE);
}

static void test_pages_from_a_source(void **state)
{
	const struct image_source source = { .read = read_number };
	_cleanup_free_ struct pageset *some = pageset_new((LOW_BYTES + HIGH_BYTES) / PAGE);
	struct image_writer *w;
	struct image_stats stats;
	char name[128];
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m);
	w = writer_of(in_folder(name, "image"), NULL, &m);
	pageset_add(some, 7, 3);
	pageset_add(some, LOW_BYTES / PAGE - 1, 2); /* the end of one region, the beginning of the other */
	assert_int_equal(image_writer_pages(w, some, &source, NULL, &err), 0);
	seal(w, &stats);
	assert_int_equal(stats.memory_bytes, 5 * PAGE);
	for (uint64_t page = 0; (page = pageset_next(some, page, some->pages)) < some->pages; page++)
		read_number(NULL, page, m.hva + page * PAGE);
	compare(name, &m);
	unlink(name);
	memory_free(&m);
}

/* Each child has only what changed; the memory of each is read through all above it. */
static void test_chains(void **state)
{
	enum { LINKS = 12 };
	_cleanup_free_ struct pageset *some = NULL;
	char name[LINKS][128];
	struct image_stats stats;
	struct memory m;
	unsigned int seed = 5;

	(void)state;
	memory_new(&m);
	scribble(&m);
	for (int i = 0; i < LINKS; i++) {
		struct image_options o = { .codec = (enum image_codec)(i % IMAGE_CODECS),
					   .parent = i ? name[i - 1] : NULL };
		struct image_writer *w;

		snprintf(name[i], sizeof(name[i]), "%s/%d.nidra", folder, i);
		w = writer_of(name[i], &o, &m);
		free(some);
		some = i ? pageset_new(m.bytes / PAGE) : image_pages_in_use(m.region, 2);
		for (int k = 0; i && k < 200; k++) {
			uint64_t page = (uint64_t)rand_r(&seed) % (m.bytes / PAGE);

			memset(m.hva + page * PAGE, rand_r(&seed) % 4 ? i : 0, PAGE);
			pageset_add(some, page, 1);
		}
		put(w, some);
		seal(w, &stats);
		if (i)
			assert_true(stats.file_bytes < 2 * MIB);
		compare(name[i], &m);
	}
	for (int i = 0; i < LINKS; i++)
		unlink(name[i]);
	memory_free(&m);
}

static int open_child(const char *child, struct err *err)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;

	return image_reader_open(child, &r, err);
}

static void test_a_child_needs_its_parent(void **state)
{
	char parent[128], child[128], moved[128];
	struct image_options o = { .parent = parent }, again = { .parent = parent, .replace = true };
	_cleanup_free_ struct pageset *set = pageset_new(1);
	struct image_writer *w = NULL;
	struct image_stats stats;
	struct err err = { 0 };
	struct memory m;

	(void)state;
	in_folder(parent, "parent");
	in_folder(child, "child");
	in_folder(moved, "moved");
	memory_new(&m);
	scribble(&m);
	assert_int_equal(image_writer_new(child, &o, &w, &err), -ENOENT);
	w = writer_of(parent, NULL, &m);
	put(w, set);
	seal(w, &stats);
	assert_int_equal(image_writer_new(parent, &again, &w, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "own parent"));
	w = writer_of(child, &o, &m);
	seal(w, &stats);
	assert_int_equal(open_child(child, &err), 0);

	rename(parent, moved);
	assert_int_equal(open_child(child, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "needs its parent"));
	w = writer_of(parent, NULL, &m); /* another of the same name */
	m.hva[0]++;
	pageset_add(set, 0, 1);
	put(w, set);
	seal(w, &stats);
	assert_int_equal(open_child(child, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "is not the parent"));
	unlink(parent);
	unlink(child);
	unlink(moved);
	memory_free(&m);
}

/* a <- b <- c, of three moments of @m; names[i] is absolute. */
static void make_family(struct memory *m, char name[3][128])
{
	_cleanup_free_ struct pageset *set = image_pages_in_use(m->region, 2);

	for (int i = 0; i < 3; i++) {
		struct image_options o = { .parent = i ? name[i - 1] : NULL };
		struct image_stats stats;
		struct image_writer *w;

		snprintf(name[i], 128, "%s/%c", folder, 'a' + i);
		w = writer_of(name[i], &o, m);
		if (i) {
			pageset_clear(set);
			pageset_add(set, (uint64_t)i * 1000, 700);
			memset(m->hva + (uint64_t)i * 1000 * PAGE, 'a' + i, 500 * PAGE);
			memset(m->hva + ((uint64_t)i * 1000 + 500) * PAGE, 0, 200 * PAGE);
		}
		put(w, set);
		assert_int_equal(image_writer_record(w, IMAGE_REC_METADATA, 0, 0, name[i], strlen(name[i]), NULL), 0);
		seal(w, &stats);
	}
}

static void test_a_chain_is_folded_in_place(void **state)
{
	const struct image_options o = { .codec = IMAGE_CODEC_ZSTD };
	char name[3][128], out[128];
	struct image_reader *r = NULL;
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };
	const void *body;
	size_t len;

	(void)state;
	memory_new(&m);
	scribble(&m);
	make_family(&m, name);
	assert_int_equal(image_fold(name[2], in_folder(out, "out"), &o, NULL, &stats, &err), 0);
	compare(out, &m);
	assert_int_equal(image_fold(name[1], NULL, &o, NULL, &stats, &err), 0);
	unlink(name[0]); /* nobody needs it now */
	compare(name[2], &m);
	assert_int_equal(image_reader_open(name[2], &r, &err), 0);
	image_reader_stats(r, &stats);
	assert_int_equal(stats.files, 2);
	image_reader_free(r);
	assert_int_equal(image_fold(name[1], NULL, &o, NULL, &stats, &err), 0); /* it stands for what it stood for */
	compare(name[2], &m);
	assert_int_equal(image_reader_open(out, &r, &err), 0);
	assert_int_equal(image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len), 0);
	assert_memory_equal(body, name[2], len);
	image_reader_free(r);
	unlink(name[1]);
	unlink(name[2]);
	unlink(out);
	memory_free(&m);
}

/* ---- equal pages ---- */

/* How many pages lie in the extents of @name. */
static uint64_t stored_pages(const char *name)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	const struct image_extent *e;
	const void *body;
	uint64_t pages = 0;
	size_t len;

	assert_int_equal(image_reader_open(name, &r, NULL), 0);
	assert_int_equal(image_reader_record(r, IMAGE_REC_EXTENTS, 0, &body, &len), 0);
	e = body;
	for (size_t i = 0; i < len / sizeof(*e); i++)
		pages += e[i].pages;
	return pages;
}

/* Page @at of @m is number @number of 4096 different ones. */
static void put_number(struct memory *m, uint64_t at, uint64_t number)
{
	uint64_t *words = (uint64_t *)(void *)(m->hva + at * PAGE);

	for (uint64_t i = 0; i < PAGE / 8; i++)
		words[i] = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ i * i << 20;
}

static void write_all(const char *name, const struct memory *m, struct image_stats *stats)
{
	_cleanup_free_ struct pageset *all = image_pages_in_use(m->region, 2);
	struct image_writer *w = writer_of(name, NULL, m);

	put(w, all);
	seal(w, stats);
}

static void test_equal_pages_are_stored_once(void **state)
{
	enum { DIFFERENT = 300, PAGES = 3000 };
	const struct image_options none = { .codec = IMAGE_CODEC_NONE };
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	char name[128], folded[128];
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m);
	for (uint64_t i = 0; i < PAGES; i++)
		put_number(&m, i * 7 % PAGES, i % DIFFERENT);
	write_all(in_folder(name, "image"), &m, &stats);
	assert_int_equal(stats.memory_bytes, PAGES * PAGE);
	/* Two threads may have met the same page at the same time. */
	assert_in_range(stored_pages(name), DIFFERENT, 2 * DIFFERENT);
	compare(name, &m);
	assert_int_equal(image_reader_open(name, &r, &err), 0);
	assert_int_equal(image_reader_equal_bytes(r), (PAGES - stored_pages(name)) * PAGE);
	assert_int_equal(image_fold(name, in_folder(folded, "folded"), &none, NULL, &stats, &err), 0);
	assert_in_range(stored_pages(folded), DIFFERENT, 2 * DIFFERENT);
	compare(folded, &m);
	unlink(name);
	unlink(folded);
	memory_free(&m);
}

/* Pages that differ in a single bit, anywhere, are different. */
static void test_pages_that_differ_little_stay_apart(void **state)
{
	struct image_stats stats;
	char name[128];
	struct memory m;

	(void)state;
	memory_new(&m);
	for (uint64_t i = 0; i < 4000; i++) {
		put_number(&m, i, 0);
		m.hva[i * PAGE + i * 1021 % PAGE] ^= (uint8_t)(1u << i % 8);
	}
	write_all(in_folder(name, "image"), &m, &stats);
	compare(name, &m);
	assert_int_equal(stored_pages(name), 4000);
	unlink(name);
	memory_free(&m);
}

/* Who touches one waits for all of its extent. */
static void test_a_stored_page_stands_for_a_few(void **state)
{
	struct image_stats stats;
	char name[128];
	struct memory m;

	(void)state;
	memory_new(&m);
	memset(m.hva, 0xcc, LOW_BYTES); /* 5120 pages */
	write_all(in_folder(name, "image"), &m, &stats);
	compare(name, &m);
	assert_in_range(stored_pages(name), LOW_BYTES / PAGE / 64, LOW_BYTES / PAGE / 16);
	unlink(name);
	memory_free(&m);
}

static void test_a_page_that_is_as_it_was_takes_no_space(void **state)
{
	_cleanup_free_ struct pageset *all = NULL;
	struct image_stats stats;
	struct image_writer *w;
	char name[128];
	struct memory m;

	(void)state;
	memory_new(&m);
	for (uint64_t i = 0; i < 1000; i++)
		put_number(&m, i, i);
	all = image_pages_in_use(m.region, 2);
	w = writer_of(in_folder(name, "image"), NULL, &m);
	for (int round = 0; round < 5; round++)
		put(w, all);
	seal(w, &stats);
	assert_int_equal(stored_pages(name), 1000);
	compare(name, &m);
	unlink(name);
	memory_free(&m);
}

/* ---- left out ---- */

static void leave_out(struct image_writer *w, uint64_t gpa, uint64_t pages)
{
	struct err err = { 0 };

	assert_int_equal(image_writer_leave_out(w, gpa, pages * PAGE, &err), 0);
}

/* Before or after it was written, in an image or in its child, whatever the parent has. */
static void test_memory_that_is_left_out_is_zero(void **state)
{
	_cleanup_free_ struct pageset *all = NULL, *some = pageset_new((LOW_BYTES + HIGH_BYTES) / PAGE);
	char parent[128], child[128];
	struct image_options o = { .parent = in_folder(parent, "parent") };
	struct image_stats stats;
	struct image_writer *w;
	struct memory m;

	(void)state;
	memory_new(&m);
	for (uint64_t i = 0; i < m.bytes / PAGE; i++)
		put_number(&m, i, i);
	all = image_pages_in_use(m.region, 2);
	w = writer_of(parent, NULL, &m);
	leave_out(w, 100 * PAGE, 50);
	put(w, all);
	leave_out(w, 4 * GIB, HIGH_BYTES / PAGE); /* all of a region */
	seal(w, &stats);
	memset(m.hva + 100 * PAGE, 0, 50 * PAGE);
	memset(m.hva + LOW_BYTES, 0, HIGH_BYTES);
	compare(parent, &m);
	assert_int_equal(stats.memory_bytes, LOW_BYTES - 50 * PAGE);
	assert_int_equal(stored_pages(parent), m.bytes / PAGE - 50); /* what was known before takes no space */

	w = writer_of(in_folder(child, "child"), &o, &m);
	pageset_add(some, 300, 10);
	leave_out(w, 305 * PAGE, 100); /* written and not, all in the parent */
	put(w, some);
	leave_out(w, 700 * PAGE, 1);
	seal(w, &stats);
	memset(m.hva + 305 * PAGE, 0, 100 * PAGE);
	memset(m.hva + 700 * PAGE, 0, PAGE);
	compare(child, &m);
	unlink(child);
	unlink(parent);
	memory_free(&m);
}

static void test_only_memory_can_be_left_out(void **state)
{
	static const uint64_t bad[][2] = { { 1, PAGE },		{ 0, 1 },
					   { LOW_BYTES, PAGE }, { LOW_BYTES - PAGE, 2 * PAGE },
					   { 5 * GIB, PAGE },	{ PAGE, UINT64_MAX - PAGE + 1 } };
	struct image_writer *w;
	char name[128];
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m);
	w = writer_of(in_folder(name, "image"), NULL, &m);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(image_writer_leave_out(w, bad[i][0], bad[i][1], &err), -EINVAL);
	assert_int_equal(image_writer_leave_out(w, 0, LOW_BYTES, &err), 0);
	image_writer_free(w);
	memory_free(&m);
}

/* A VCPU record as far as a core needs one: kvm_sregs and kvm_regs, all bytes of each the same. */
static void put_vcpu(struct image_writer *w, uint32_t vcpu, uint8_t fill)
{
	struct bytes_writer b = { 0 };
	uint8_t sregs[312], regs[144];

	memset(sregs, 1, sizeof(sregs));
	memset(regs, fill, sizeof(regs));
	bytes_put_u32(&b, 2);
	bytes_put_blob(&b, sregs, sizeof(sregs));
	bytes_put_u32(&b, 3);
	bytes_put_blob(&b, regs, sizeof(regs));
	assert_int_equal(image_writer_record(w, IMAGE_REC_VCPU, vcpu, 0, b.buf, b.len, NULL), 0);
	bytes_writer_fini(&b);
}

static void test_an_image_becomes_a_core(void **state)
{
	_cleanup_free_ struct pageset *all = NULL;
	char name[128], core[128];
	struct elf_prstatus status;
	struct image_writer *w;
	struct image_stats stats;
	const Elf64_Phdr *ph;
	struct memory m;
	struct err err = { 0 };
	uint8_t *p;
	size_t len;

	(void)state;
	memory_new(&m);
	scribble(&m);
	all = image_pages_in_use(m.region, 2);
	w = writer_of(in_folder(name, "image"), NULL, &m);
	put(w, all);
	put_vcpu(w, 0, 0x11);
	put_vcpu(w, 1, 0x22);
	seal(w, &stats);
	assert_int_equal(image_export_core(name, NULL, in_folder(core, "core"), NULL, &err), 0);
	assert_int_equal(image_export_core(name, NULL, core, NULL, &err), -EEXIST);
	assert_int_equal(io_read_file(core, 64 * MIB, &p, &len, &err), 0);
	ph = (const Elf64_Phdr *)(void *)(p + sizeof(Elf64_Ehdr));
	assert_int_equal(ph[0].p_type, PT_NOTE);
	memcpy(&status, p + ph[0].p_offset + 2 * sizeof(Elf64_Nhdr) + 8 + sizeof(status) + 8, sizeof(status));
	assert_int_equal(status.pr_pid, 2);
	assert_int_equal(((const struct user_regs_struct *)&status.pr_reg)->rip, 0x2222222222222222);
	for (int i = 1; i <= 2; i++) {
		const uint8_t *memory = ph[i].p_paddr ? m.hva + LOW_BYTES : m.hva;

		assert_int_equal(ph[i].p_type, PT_LOAD);
		assert_memory_equal(p + ph[i].p_offset, memory, ph[i].p_filesz);
	}
	assert_int_equal(ph[1].p_filesz + ph[2].p_filesz, m.bytes);
	free(p);
	unlink(name);
	unlink(core);
	memory_free(&m);
}

/* tests/image_reader.py: whole, for it as well, and the same memory; no altered byte passes. */
static void read_by_another(const char *name, const struct memory *m, int alter)
{
	char dump[128], command[512];
	struct err err = { 0 };
	uint8_t *p;
	size_t len;

	snprintf(command, sizeof(command), "%s %s --dump %s --alter %d >/dev/null", IMAGE_READER, name,
		 in_folder(dump, "dump"), alter);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	assert_int_equal(io_read_file(dump, 64 * MIB, &p, &len, &err), 0);
	assert_int_equal(len, m->bytes);
	assert_memory_equal(p, m->hva, len);
	free(p);
	unlink(dump);
}

/* Links of a chain, each with some pages more in @m; the last one is small, and all codecs occur. */
static void make_links(struct memory *m, char name[4][128], const struct pageset *first)
{
	_cleanup_free_ struct pageset *set = pageset_new(m->bytes / PAGE);

	pageset_or(set, first);
	for (int i = 0; i < 4; i++) {
		struct image_options o = { .codec = (enum image_codec)((i + 1) % IMAGE_CODECS),
					   .parent = i ? name[i - 1] : NULL };
		struct image_stats stats;
		struct image_writer *w;

		snprintf(name[i], 128, "%s/%d", folder, i);
		w = writer_of(name[i], &o, m);
		if (i) {
			pageset_clear(set);
			pageset_add(set, 10 * (uint64_t)i, 4);
			pageset_add(set, LOW_BYTES / PAGE + (uint64_t)i, 3);
			memset(m->hva + 10 * (uint64_t)i * PAGE, 'a' + i, 3 * PAGE);
			memset(m->hva + (10 * (uint64_t)i + 3) * PAGE, 0, PAGE);
			snprintf((char *)m->hva + LOW_BYTES + (uint64_t)i * PAGE, PAGE, "link %d", i);
		}
		put(w, set);
		assert_int_equal(image_writer_record(w, IMAGE_REC_METADATA, 0, 0, META, strlen(META), NULL), 0);
		seal(w, &stats);
	}
}

static void unlink_links(char name[4][128])
{
	for (int i = 0; i < 4; i++)
		unlink(name[i]);
}

static void test_another_reader_agrees(void **state)
{
	const struct image_options o = { .codec = IMAGE_CODEC_LZ4 };
	_cleanup_free_ struct pageset *all = NULL;
	char name[4][128], core[128];
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m);
	scribble(&m);
	for (uint64_t i = 0; i < MIB / 8; i++) /* nothing makes this smaller */
		((uint64_t *)(void *)m.hva)[i] = i * i * UINT64_C(0x9e3779b97f4a7c15) ^ i << 40 ^ (i * 77) << 13;
	for (uint64_t i = MIB; i < 2 * MIB; i++)
		m.hva[i] = "nidra"[i * i / 7 % 5];
	all = image_pages_in_use(m.region, 2);
	make_links(&m, name, all);
	read_by_another(name[3], &m, 5);
	assert_int_equal(image_fold(name[2], NULL, &o, NULL, &stats, &err), 0);
	read_by_another(name[3], &m, 5);
	unlink(name[1]);
	assert_int_equal(image_fold(name[3], in_folder(core, "core"), &o, NULL, &stats, &err), 0);
	read_by_another(core, &m, 100000);
	unlink(core);
	unlink_links(name);
	memory_free(&m);
}

static bool is_refused(const char *name)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct err err = { 0 };

	if (image_reader_open(name, &r, &err) == 0 && image_reader_verify(r, NULL, &err) == 0)
		return false;
	assert_true(err.msg[0]);
	return true;
}

/* Of each file of a chain: parents, one that stands for others, runs of zeros; extents of all codecs. */
static void test_every_altered_byte_of_a_chain_is_refused(void **state)
{
	const struct image_options o = { .codec = IMAGE_CODEC_ZSTD };
	_cleanup_free_ struct pageset *few = NULL;
	char name[4][128];
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m);
	few = pageset_new(m.bytes / PAGE);
	pageset_add(few, 9, 3);
	memset(m.hva + 9 * PAGE, 7, 3 * PAGE);
	make_links(&m, name, few);
	assert_int_equal(image_fold(name[1], NULL, &o, NULL, &stats, &err), 0);
	assert_false(is_refused(name[3]));
	for (int i = 1; i < 4; i++) {
		int fd = open(name[i], O_RDWR | O_CLOEXEC);
		uint8_t b, flipped;

		/* Of the zeros behind the header only some. */
		for (off_t at = 0; pread(fd, &b, 1, at) == 1; at += at > 64 && at < 4080 ? 13 : 1) {
			flipped = b ^ (uint8_t)(1u << at % 8);
			assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
			if (!is_refused(name[3]))
				fail_msg("byte %ld of %s was altered", (long)at, name[i]);
			assert_int_equal(pwrite(fd, &b, 1, at), 1);
		}
		close(fd);
	}
	assert_false(is_refused(name[3]));
	compare(name[3], &m);
	unlink_links(name);
	memory_free(&m);
}

static void test_parents_are_not_removed_from_their_children(void **state)
{
	char name[3][128], other[128];
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m);
	scribble(&m);
	make_family(&m, name);
	assert_int_equal(image_remove(name[0], false, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "is needed by b"));
	assert_int_equal(image_remove(in_folder(other, "none"), false, &err), -ENOENT);
	assert_int_equal(image_remove("/dev/null", true, &err), -EINVAL);
	assert_int_equal(image_remove(name[2], false, &err), 0);
	assert_int_equal(access(name[2], F_OK), -1);
	assert_int_equal(image_remove(name[0], true, &err), 0);
	assert_int_equal(access(name[1], F_OK), -1);
	assert_int_equal(access(name[0], F_OK), -1);
	memory_free(&m);
}

/* ---- version 1: what it wrote stays readable ---- */

struct v1 {
	uint8_t data[IMAGE_DATA_OFFSET + 3 * NIDRA_PAGE_SIZE + 4096];
	size_t len;
	struct image_digest all[8];
	size_t records;
};

static void v1_record(struct v1 *v, uint32_t type, const void *body, size_t len)
{
	struct image_record rec = { .type = type, .len = len };
	const size_t head = offsetof(struct image_record, digest);

	memcpy(v->data + v->len, &rec, head);
	memcpy(v->data + v->len + head, body, len);
	rec.digest = image_digest(v->data + v->len, head + len);
	memcpy(v->data + v->len, &rec, sizeof(rec));
	memcpy(v->data + v->len + sizeof(rec), body, len);
	memset(v->data + v->len + sizeof(rec) + len, 0, -len & 7);
	v->len += sizeof(rec) + (len + 7) / 8 * 8;
	v->all[v->records++] = rec.digest;
}

/* Two extents, of which the later in memory comes first in the file. */
static void make_v1(struct v1 *v)
{
	const struct image_region_entry region[] = { { .kind = 1, .bytes = LOW_BYTES },
						     { .kind = 1, .gpa = 4 * GIB, .bytes = HIGH_BYTES } };
	struct image_extent_v1 e[] = {
		{ .gpa = PAGE, .offset = IMAGE_DATA_OFFSET + 2 * PAGE, .bytes = PAGE },
		{ .gpa = 4 * GIB, .offset = IMAGE_DATA_OFFSET, .bytes = 2 * PAGE },
	};
	struct image_header h = { .magic = IMAGE_MAGIC, .version = 1, .header_len = IMAGE_HEADER_LEN };
	struct image_digest all;

	*v = (struct v1){ .len = IMAGE_DATA_OFFSET + 3 * PAGE };
	memset(v->data + IMAGE_DATA_OFFSET, 'b', 2 * PAGE);
	memset(v->data + IMAGE_DATA_OFFSET + 2 * PAGE, 'a', PAGE);
	for (int i = 0; i < 2; i++)
		e[i].digest = image_digest(v->data + e[i].offset, e[i].bytes);
	h.records_offset = v->len;
	v1_record(v, IMAGE_REC_METADATA, META, strlen(META));
	v1_record(v, IMAGE_REC_REGIONS, region, sizeof(region));
	v1_record(v, IMAGE_REC_EXTENTS_V1, e, sizeof(e));
	all = image_digest(v->all, v->records * sizeof(all));
	v1_record(v, IMAGE_REC_END, &all, sizeof(all));
	h.file_len = v->len;
	h.digest = image_digest(&h, offsetof(struct image_header, digest));
	memcpy(v->data, &h, sizeof(h));
}

static void write_file(const char *name, const struct v1 *v)
{
	_cleanup_close_ int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	assert_int_equal(io_write_full(fd, v->data, v->len), 0);
}

static void test_version_1_is_read(void **state)
{
	static struct v1 v;
	char name[128];
	struct memory m;

	(void)state;
	make_v1(&v);
	memory_new(&m);
	memset(m.hva + PAGE, 'a', PAGE);
	memset(m.hva + LOW_BYTES, 'b', 2 * PAGE);
	write_file(in_folder(name, "old"), &v);
	compare(name, &m);
	for (size_t at = 0; at < v.len; at += at >= IMAGE_DATA_OFFSET && at < IMAGE_DATA_OFFSET + 3 * PAGE ? 97 : 1) {
		_cleanup_(image_reader_freep) struct image_reader *r = NULL;

		v.data[at] ^= 0x10;
		write_file(name, &v);
		if (image_reader_open(name, &r, NULL) == 0 && image_reader_verify(r, NULL, NULL) == 0)
			fail_msg("byte %zu was altered", at);
		v.data[at] ^= 0x10;
	}
	unlink(name);
	memory_free(&m);
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

static void test_fingerprints_see_each_bit(void **state)
{
	struct image_share *s = image_share_new(1), *other = image_share_new(1);
	static uint8_t page[PAGE];
	struct image_fingerprint zero = image_share_fingerprint(s, page), f = image_share_fingerprint(other, page);

	(void)state;
	assert_false(image_fingerprint_equal(&zero, &f)); /* a key for each image */
	for (unsigned int bit = 0; bit < PAGE * 8; bit++) {
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
		f = image_share_fingerprint(s, page);
		assert_false(image_fingerprint_equal(&zero, &f));
		page[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	/* Words in another order, which a plain sum would not see. */
	page[0] = 1;
	zero = image_share_fingerprint(s, page);
	page[0] = 0;
	page[16] = 1;
	f = image_share_fingerprint(s, page);
	assert_false(image_fingerprint_equal(&zero, &f));
	image_share_free(s);
	image_share_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(another_reader_agrees),
		t(every_altered_byte_of_a_chain_is_refused),
		t(every_codec_brings_memory_back),
		t(the_last_of_a_page_counts),
		t(pages_from_a_source),
		t(chains),
		t(a_child_needs_its_parent),
		t(a_chain_is_folded_in_place),
		t(equal_pages_are_stored_once),
		t(pages_that_differ_little_stay_apart),
		t(a_stored_page_stands_for_a_few),
		t(a_page_that_is_as_it_was_takes_no_space),
		t(memory_that_is_left_out_is_zero),
		t(only_memory_can_be_left_out),
		t(an_image_becomes_a_core),
		t(parents_are_not_removed_from_their_children),
		t(version_1_is_read),
		cmocka_unit_test(test_fingerprints_see_each_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
