/* SPDX-License-Identifier: Apache-2.0 */
/* Lazy reading: what is touched is what was written, or the one who touches it never goes on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch.h"

#include "base/addr.h"
#include "base/pageset.h"
#include "image/image.h"
#include "image/working_set.h"

#define PAGE  NIDRA_PAGE_SIZE
#define PAGES 8192u

static const struct image_options replacing = { .replace = true };
static char path[64];
static const char *folder; /* of working sets */

struct memory {
	int fd;
	struct image_region region;
};

static void memory_new(struct memory *m)
{
	m->fd = memfd_create("memory", MFD_CLOEXEC);
	assert_int_equal(ftruncate(m->fd, PAGES * PAGE), 0);
	m->region = (struct image_region){ .kind = 1, .gpa = GIB, .bytes = PAGES * PAGE, .fd = m->fd };
	m->region.hva = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(m->region.hva, MAP_FAILED);
}

static void memory_free(struct memory *m)
{
	munmap(m->region.hva, PAGES * PAGE);
	close(m->fd);
}

/* What page @n has: runs of data, single pages, holes of all sizes. */
static uint8_t content(unsigned int n)
{
	unsigned int part = n / 1024;

	if (part == 3 || (part % 2 && n % 3))
		return 0;
	return (uint8_t)(n % 251 + 1);
}

static int setup(void **state)
{
	struct image_writer *w = NULL;
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };

	(void)state;
	snprintf(path, sizeof(path), "%s/nidra-pager.%d", scratch(), getpid());
	memory_new(&m);
	for (unsigned int n = 0; n < PAGES; n++)
		if (content(n))
			memset(m.region.hva + n * PAGE, content(n), PAGE);
	assert_int_equal(image_writer_new(path, &replacing, &w, &err), 0);
	assert_int_equal(image_writer_memory(w, &m.region, 1, NULL, &err), 0);
	assert_int_equal(image_writer_seal(w, &stats, &err), 0);
	image_writer_free(w);
	memory_free(&m);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

struct seen {
	_Atomic int loaded, failed;
};

static void on_loaded(void *arg)
{
	((struct seen *)arg)->loaded++;
}

static void on_failed(void *arg, const struct err *err)
{
	assert_int_equal(err->code, -EBADMSG);
	usleep(20000); /* nobody who waits may go on before this is over */
	((struct seen *)arg)->failed++;
}

static struct image_pager *start(struct memory *m, struct seen *seen)
{
	struct image_pager_events events = { .loaded = on_loaded, .failed = on_failed, .arg = seen };
	struct image_reader *r = NULL;
	struct image_pager *p = NULL;
	struct err err = { 0 };

	if (!image_pager_possible())
		skip(); /* needs userfaultfd for faults in the kernel: root, or a sysctl */
	*seen = (struct seen){ 0 };
	memory_new(m);
	assert_int_equal(image_reader_open(path, &r, &err), 0);
	assert_int_equal(image_pager_new(r, &m->region, 1, folder, &events, &p, &err), 0);
	return p;
}

static bool is_page(const struct memory *m, unsigned int n)
{
	const uint8_t *p = m->region.hva + n * PAGE;

	for (unsigned int i = 0; i < PAGE; i += 511)
		if (p[i] != content(n))
			return false;
	return true;
}

static void test_what_is_touched_is_there(void **state)
{
	struct seen seen;
	struct memory m;
	struct image_pager *p = start(&m, &seen);

	(void)state;
	for (unsigned int i = 0; i < PAGES; i++)
		assert_true(is_page(&m, i * 2654435761u % PAGES));
	image_pager_free(p);
	assert_int_equal(seen.failed, 0);
	memory_free(&m);
}

static void *toucher(void *arg)
{
	const struct memory *m = arg;
	unsigned int seed = (unsigned int)(uintptr_t)&seed, bad = 0;

	for (unsigned int i = 0; i < PAGES; i++)
		bad += !is_page(m, (unsigned int)rand_r(&seed) % PAGES);
	return (void *)(uintptr_t)bad;
}

static void test_many_touch_at_once(void **state)
{
	struct seen seen;
	struct memory m;
	struct image_pager *p = start(&m, &seen);
	struct err err = { 0 };
	pthread_t thread[4];
	void *bad;

	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, toucher, &m);
	assert_int_equal(image_pager_finish(p, NULL, &err), 0);
	assert_int_equal(image_pager_left(p), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(thread[i], &bad);
		assert_null(bad);
	}
	image_pager_free(p);
	memory_free(&m);
}

/* What a guest wrote is never overwritten by what comes behind it. */
static void test_what_is_written_stays(void **state)
{
	struct seen seen;
	struct memory m;
	struct image_pager *p = start(&m, &seen);
	struct err err = { 0 };

	(void)state;
	for (unsigned int n = PAGES; n-- > 0;)
		m.region.hva[n * PAGE + 8] = 0xee;
	assert_int_equal(image_pager_finish(p, NULL, &err), 0);
	for (unsigned int n = 0; n < PAGES; n++) {
		assert_int_equal(m.region.hva[n * PAGE + 8], 0xee);
		assert_int_equal(m.region.hva[n * PAGE], content(n));
	}
	image_pager_free(p);
	memory_free(&m);
}

static void remove_folder(const char *dir)
{
	struct dirent **entry;
	int n = scandir(dir, &entry, NULL, NULL), fd = open(dir, O_RDONLY | O_DIRECTORY);

	for (int i = 0; i < n; i++) {
		unlinkat(fd, entry[i]->d_name, 0);
		free(entry[i]);
	}
	free(entry);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

static void test_what_was_touched_is_remembered(void **state)
{
	char dir[64];
	struct image_reader *r = NULL;
	struct working_set *set = NULL;
	struct image_pager *p;
	struct err err = { 0 };
	struct seen seen;
	struct memory m;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/nidra-touched.XXXXXX", scratch());
	folder = mkdtemp(dir);
	assert_int_equal(image_reader_open(path, &r, &err), 0);
	do { /* once; or until we were there before the one who loads the rest */
		free(set);
		p = start(&m, &seen);
		assert_true(is_page(&m, PAGES - 2)); /* of an extent that comes late */
		assert_int_equal(image_pager_finish(p, NULL, &err), 0);
		while (!seen.loaded)
			usleep(1000);
		image_pager_free(p);
		memory_free(&m);
		set = working_set_read(dir, r);
	} while (!set->n);
	folder = NULL;
	assert_true(set->n >= 1 && set->n < 8); /* not all that was loaded */
	for (size_t i = 0; i < set->n; i++)
		assert_true(set->extent[i] < r->extents);
	/* Nonsense in it does no harm. */
	set->extent[set->n++] = UINT32_MAX;
	working_set_write(dir, r, set);
	free(set);
	set = working_set_read(dir, r);
	for (size_t i = 0; i < set->n; i++)
		assert_true(set->extent[i] < r->extents);
	set->n = 0;
	working_set_write(dir, r, set);
	free(set);
	set = working_set_read("/nowhere", r);
	assert_int_equal(set->n, 0);
	free(set);
	image_reader_free(r);
	remove_folder(dir);
}

static void test_it_comes_by_itself(void **state)
{
	struct seen seen;
	struct memory m;
	struct image_pager *p = start(&m, &seen);

	(void)state;
	while (!seen.loaded)
		usleep(1000);
	assert_int_equal(image_pager_left(p), 0);
	unlink(path); /* nothing needs it any more */
	for (unsigned int n = 0; n < PAGES; n++)
		assert_true(is_page(&m, n));
	image_pager_free(p);
	memory_free(&m);
	setup(state);
}

static void test_pages_given_back_are_zero(void **state)
{
	struct seen seen;
	struct memory m;
	struct image_pager *p = start(&m, &seen);
	uint8_t *page = m.region.hva;

	(void)state;
	assert_int_equal(*page, content(0));
	assert_int_equal(fallocate(m.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	assert_int_equal(*(volatile uint8_t *)page, 0);
	image_pager_free(p);
	memory_free(&m);
}

/* Where in the file the extent with page @n is: threads that pack put them there as they get ready. */
static long place_of(unsigned int n)
{
	struct image_reader *r = NULL;
	const struct image_extent *extent;
	const struct image_run *run;
	size_t len;
	long at;

	assert_int_equal(image_reader_open(path, &r, NULL), 0);
	assert_int_equal(image_reader_record(r, IMAGE_REC_MAP, 0, (const void **)&run, &len), 0);
	assert_int_equal(image_reader_record(r, IMAGE_REC_EXTENTS, 0, (const void **)&extent, &len), 0);
	while (run->gpa + run->pages * PAGE <= GIB + n * PAGE)
		run++;
	at = (long)extent[run->extent].offset;
	image_reader_free(r);
	return at;
}

static void alter(long at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

static void test_altered_memory_stops_all(void **state)
{
	struct seen seen;
	struct memory m;
	struct image_pager *p;
	struct err err = { 0 };
	long at;

	(void)state;
	at = place_of(5);
	alter(at);
	p = start(&m, &seen);
	assert_int_not_equal(*(volatile uint8_t *)(m.region.hva + 5 * PAGE), content(5) ^ 0x10);
	assert_int_equal(seen.failed, 1);
	assert_int_equal(image_pager_finish(p, NULL, &err), -EIO);
	assert_non_null(strstr(err.msg, "altered"));
	image_pager_free(p);
	assert_int_equal(seen.failed, 1);
	assert_int_equal(seen.loaded, 0);
	memory_free(&m);
	alter(at);
}

/* ---- a chain of two small files, every byte of its memory ---- */

static void write_link(const char *name, const char *parent, struct memory *m, unsigned int first)
{
	struct image_options o = { .codec = parent ? IMAGE_CODEC_LZ4 : IMAGE_CODEC_ZSTD, .parent = parent };
	_cleanup_free_ struct pageset *set = pageset_new(PAGES);
	struct image_writer *w = NULL;
	struct image_stats stats;
	struct err err = { 0 };

	for (unsigned int n = first; n < first + 6; n++)
		memset(m->region.hva + n * PAGE, (int)(first + n), PAGE / 2);
	pageset_add(set, first, 6);
	assert_int_equal(image_writer_new(name, &o, &w, &err), 0);
	assert_int_equal(image_writer_regions(w, &m->region, 1, &err), 0);
	assert_int_equal(image_writer_pages(w, set, NULL, NULL, &err), 0);
	assert_int_equal(image_writer_seal(w, &stats, &err), 0);
	image_writer_free(w);
}

static void count_failed(void *arg, const struct err *err)
{
	assert_int_equal(err->code, -EBADMSG);
	((struct seen *)arg)->failed++;
}

/* Each page is what it was, or the one who touches it was told before. False: the image was refused at once. */
static bool touch_all(const char *name, const struct memory *was, struct seen *seen)
{
	struct image_pager_events events = { .failed = count_failed, .arg = seen };
	struct image_reader *r = NULL;
	struct image_pager *p = NULL;
	struct memory m;
	struct err err = { 0 };

	*seen = (struct seen){ 0 };
	if (image_reader_open(name, &r, &err) < 0)
		return false;
	memory_new(&m);
	assert_int_equal(image_pager_new(r, &m.region, 1, NULL, &events, &p, &err), 0);
	for (unsigned int n = 0; n < 16; n++)
		if (memcmp(m.region.hva + n * PAGE, was->region.hva + n * PAGE, PAGE))
			assert_int_equal(seen->failed, 1);
	if (image_pager_finish(p, NULL, &err) < 0)
		while (!seen->failed) /* who read on was faster */
			usleep(100);
	image_pager_free(p);
	memory_free(&m);
	return true;
}

static void test_every_altered_byte_of_a_chain_stops_it(void **state)
{
	char name[2][80];
	struct memory m;
	struct seen seen;
	unsigned int late = 0;

	(void)state;
	if (!image_pager_possible())
		skip();
	memory_new(&m);
	for (int i = 0; i < 2; i++) {
		snprintf(name[i], sizeof(name[i]), "%s.%d", path, i);
		write_link(name[i], i ? name[0] : NULL, &m, 3 + 3 * (unsigned int)i);
	}
	assert_true(touch_all(name[1], &m, &seen));
	assert_int_equal(seen.failed, 0);
	for (int i = 0; i < 2; i++) {
		int fd = open(name[i], O_RDWR | O_CLOEXEC);
		uint8_t b, flipped;

		for (off_t at = 0; pread(fd, &b, 1, at) == 1; at += at > 64 && at < IMAGE_DATA_OFFSET - 99 ? 99 : 1) {
			flipped = b ^ (uint8_t)(1u << at % 8);
			assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
			if (touch_all(name[1], &m, &seen)) {
				assert_int_equal(seen.failed, 1);
				late++;
			}
			assert_int_equal(pwrite(fd, &b, 1, at), 1);
		}
		close(fd);
		assert_true(late > 20); /* bytes of extents */
		late = 0;
	}
	assert_true(touch_all(name[1], &m, &seen));
	assert_int_equal(seen.failed, 0);
	unlink(name[0]);
	unlink(name[1]);
	memory_free(&m);
}

static void test_it_can_be_left_at_any_time(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct seen seen;
		struct memory m;
		struct image_pager *p = start(&m, &seen);

		if (i % 2)
			assert_true(is_page(&m, (unsigned int)i * 97));
		usleep((useconds_t)i * 40);
		image_pager_free(p);
		memory_free(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_touched_is_there),
		cmocka_unit_test(test_many_touch_at_once),
		cmocka_unit_test(test_what_is_written_stays),
		cmocka_unit_test(test_it_comes_by_itself),
		cmocka_unit_test(test_pages_given_back_are_zero),
		cmocka_unit_test(test_altered_memory_stops_all),
		cmocka_unit_test(test_it_can_be_left_at_any_time),
		cmocka_unit_test(test_what_was_touched_is_remembered),
		cmocka_unit_test(test_every_altered_byte_of_a_chain_stops_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
