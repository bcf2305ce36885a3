/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: what was written is read, what was altered is refused, and what was not finished never
 * was. Each test works in a folder of its own and looks at all that is in it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch.h"

#include "base/addr.h"
#include "base/io.h"
#include "base/str.h"
#include "image/image.h"

#define PAGE NIDRA_PAGE_SIZE
#define META "{\"name\": \"web\"}"

static const struct image_options replacing = { .replace = true };
static char folder[64], path[96];

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "%s/nidra-image.XXXXXX", scratch());
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/web.nidra", folder);
	return 0;
}

/* How many files there are, hidden ones too. */
static int files(void)
{
	DIR *dir = opendir(folder);
	int n = 0;

	for (struct dirent *e; (e = readdir(dir));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
	closedir(dir);
	return n;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return files() ? -1 : rmdir(folder);
}

/* ---- memory ---- */

struct memory {
	int fd;
	struct image_region region[3];
	size_t n;
	uint64_t bytes;
	uint8_t *hva;
};

/* Regions of @sizes in one memfd, in another order there than in the guest. */
static void memory_new(struct memory *m, size_t n, const uint64_t *gpa, const uint64_t *sizes)
{
	*m = (struct memory){ .fd = memfd_create("memory", MFD_CLOEXEC), .n = n };
	for (size_t i = n; i-- > 0;) {
		m->region[i] = (struct image_region){
			.kind = (uint32_t)i + 1, .gpa = gpa[i], .bytes = sizes[i], .fd = m->fd, .fd_offset = m->bytes
		};
		m->bytes += sizes[i];
	}
	assert_int_equal(ftruncate(m->fd, (off_t)m->bytes), 0);
	m->hva = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(m->hva, MAP_FAILED);
	for (size_t i = 0; i < n; i++)
		m->region[i].hva = m->hva + m->region[i].fd_offset;
}

static void memory_free(struct memory *m)
{
	munmap(m->hva, m->bytes);
	close(m->fd);
}

static const uint64_t gpas[] = { 0, UINT64_C(0xfeff8000), GIB * 4 };
static const uint64_t sizes[] = { 24 * MIB, 8 * NIDRA_PAGE_SIZE, 3 * MIB };

/* Pages of all sorts: holes, zeros that were written, runs longer than an extent, single ones. */
static void scribble(struct memory *m)
{
	unsigned int seed = 7;

	for (uint64_t at = 0; at < m->bytes; at += PAGE) {
		uint64_t mib = at / MIB;

		if (mib % 5 == 0 || (mib % 5 == 1 && rand_r(&seed) % 2))
			memset(m->hva + at, (int)(rand_r(&seed) % 255) + 1, PAGE);
		if (mib % 5 == 0)
			memcpy(m->hva + at, &at, sizeof(at)); /* like no other */
		else if (mib % 5 == 2 && rand_r(&seed) % 7 == 0)
			m->hva[at + PAGE - 1] = 1; /* nearly zero */
		else if (mib % 5 == 3)
			memset(m->hva + at, 0, PAGE);
	}
}

/* ---- images ---- */

static int begin(struct image_writer **w, bool replace)
{
	struct err err = { 0 };
	int r = image_writer_new(path, replace ? &replacing : NULL, w, &err);

	if (r == 0)
		r = image_writer_record(*w, IMAGE_REC_METADATA, 0, 0, META, strlen(META), &err);
	return r;
}

static void write_image(const struct memory *m, struct image_stats *stats)
{
	_cleanup_(image_writer_freep) struct image_writer *w = NULL;
	struct err err = { 0 };

	assert_int_equal(begin(&w, true), 0);
	assert_int_equal(image_writer_record(w, IMAGE_REC_VCPU, 3, 0, "vcpu", 4, &err), 0);
	assert_int_equal(image_writer_record(w, IMAGE_REC_XEN, 0, 0, NULL, 0, &err), 0);
	assert_int_equal(image_writer_memory(w, m->region, m->n, NULL, &err), 0);
	assert_int_equal(image_writer_seal(w, stats, &err), 0);
}

/* One page of data, as small as it gets: 4096 + 4096 + some hundred bytes. */
static uint8_t *small_image(size_t *len)
{
	struct image_stats stats;
	struct memory m;
	struct err err;
	uint8_t *buf;

	memory_new(&m, 1, (uint64_t[]){ 0 }, (uint64_t[]){ 4 * PAGE });
	memset(m.hva + PAGE, 0x5a, PAGE);
	write_image(&m, &stats);
	memory_free(&m);
	assert_int_equal(io_read_file(path, MIB, &buf, len, &err), 0);
	assert_int_equal(*len, stats.file_bytes);
	return buf;
}

static int open_bytes(const uint8_t *buf, size_t len, struct image_reader **r, struct err *err)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_int_equal(io_write_full(fd, buf, len), 0);
	return image_reader_open_fd(fd, "web.nidra", r, err);
}

/* Opens and checks all of it. */
static int check_bytes(const uint8_t *buf, size_t len, struct err *err)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	int ret = open_bytes(buf, len, &r, err);

	return ret < 0 ? ret : image_reader_verify(r, NULL, err);
}

/* By field: the struct has bytes between them. */
static void assert_stats_equal(const struct image_stats *a, const struct image_stats *b)
{
	assert_int_equal(a->file_bytes, b->file_bytes);
	assert_int_equal(a->memory_bytes, b->memory_bytes);
	assert_int_equal(a->zero_bytes, b->zero_bytes);
	assert_int_equal(a->extents, b->extents);
	assert_int_equal(a->files, b->files);
	assert_int_equal(a->version, b->version);
	assert_memory_equal(&a->id, &b->id, sizeof(a->id));
}

static void test_memory_and_records_come_back(void **state)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_stats wrote, read, opened;
	struct memory m, back;
	struct err err = { 0 };
	const void *body;
	size_t len;

	(void)state;
	memory_new(&m, 3, gpas, sizes);
	memory_new(&back, 3, gpas, sizes);
	scribble(&m);
	write_image(&m, &wrote);
	assert_int_equal(wrote.memory_bytes + wrote.zero_bytes, m.bytes);
	assert_true(wrote.memory_bytes > 5 * MIB && wrote.zero_bytes > 8 * MIB);

	assert_int_equal(image_reader_open(path, &r, &err), 0);
	image_reader_stats(r, &opened);
	assert_stats_equal(&opened, &wrote);
	assert_int_equal(image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len), 0);
	assert_int_equal(len, strlen(META));
	assert_memory_equal(body, META, len);
	assert_int_equal(image_reader_record(r, IMAGE_REC_VCPU, 3, &body, &len), 0);
	assert_memory_equal(body, "vcpu", 4);
	assert_int_equal(image_reader_record(r, IMAGE_REC_VCPU, 0, &body, &len), -ENOENT);
	assert_int_equal(image_reader_record(r, IMAGE_REC_XEN, 0, &body, &len), 0);
	assert_int_equal(len, 0);

	assert_int_equal(image_reader_verify(r, NULL, &err), 0);
	assert_int_equal(image_reader_memory(r, back.region, 3, NULL, &read, &err), 0);
	assert_memory_equal(m.hva, back.hva, m.bytes);
	memory_free(&m);
	memory_free(&back);
}

static void test_memory_of_zeros_takes_no_space(void **state)
{
	struct image_stats stats;
	struct memory m;

	(void)state;
	memory_new(&m, 3, gpas, sizes);
	memset(m.hva, 0, 4 * MIB); /* touched */
	write_image(&m, &stats);
	assert_int_equal(stats.memory_bytes, 0);
	assert_int_equal(stats.extents, 0);
	assert_true(stats.file_bytes < 8192);
	memory_free(&m);
}

static void test_memory_laid_out_otherwise_is_refused(void **state)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m, 3, gpas, sizes);
	write_image(&m, &stats);
	assert_int_equal(image_reader_open(path, &r, &err), 0);
	assert_int_equal(image_reader_memory(r, m.region, 2, NULL, &stats, &err), -EBADMSG);
	m.region[1].kind = 9;
	assert_int_equal(image_reader_memory(r, m.region, 3, NULL, &stats, &err), -EBADMSG);
	memory_free(&m);
}

static void test_every_truncation_is_refused(void **state)
{
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);

	(void)state;
	for (size_t n = 0; n < len; n++) {
		struct err err = { 0 };

		assert_true(check_bytes(buf, n, &err) < 0);
		assert_true(err.msg[0]);
	}
	assert_int_equal(check_bytes(buf, len, NULL), 0);
}

static void test_bytes_behind_the_end_are_refused(void **state)
{
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);

	(void)state;
	buf = realloc(buf, len + 8);
	memset(buf + len, 0, 8);
	assert_int_equal(check_bytes(buf, len + 1, NULL), -EBADMSG);
	assert_int_equal(check_bytes(buf, len + 8, NULL), -EBADMSG);
}

static void test_every_altered_byte_is_refused(void **state)
{
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);

	(void)state;
	for (size_t at = 0; at < len; at++) {
		uint8_t flip[] = { 0xff, (uint8_t)(1u << at % 8) };

		for (size_t i = 0; i < ARRAY_SIZE(flip); i++) {
			struct err err = { 0 };

			buf[at] ^= flip[i];
			if (check_bytes(buf, len, &err) >= 0 || !err.msg[0])
				fail_msg("byte %zu xor 0x%x was accepted", at, flip[i]);
			/* Who does not want the sentence gets the code all the same. */
			if (at % 61 == 0 && check_bytes(buf, len, NULL) >= 0)
				fail_msg("byte %zu xor 0x%x was accepted by a silent caller", at, flip[i]);
			buf[at] ^= flip[i];
		}
	}
	assert_int_equal(check_bytes(buf, len, NULL), 0);
}

static void test_altered_memory_never_arrives(void **state)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);
	struct image_stats stats;
	struct memory m;
	struct err err = { 0 };

	(void)state;
	memory_new(&m, 1, (uint64_t[]){ 0 }, (uint64_t[]){ 4 * PAGE });
	buf[IMAGE_DATA_OFFSET + 5] ^= 1;
	assert_int_equal(open_bytes(buf, len, &r, &err), 0);
	assert_int_equal(image_reader_memory(r, m.region, 1, NULL, &stats, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "0x1000"));
	for (uint64_t i = 0; i < m.bytes; i++)
		assert_int_equal(m.hva[i], 0);
	memory_free(&m);
}

/* ---- images of other versions: digests are made anew ---- */

static void fix_header(uint8_t *buf)
{
	struct image_header h;

	memcpy(&h, buf, sizeof(h));
	h.digest = image_digest(&h, offsetof(struct image_header, digest));
	memcpy(buf, &h, sizeof(h));
}

/* Digests of all records and of the last one, which has those of all. */
static void fix_records(uint8_t *buf, size_t len)
{
	struct image_digest all[16];
	struct image_header h;
	size_t n = 0;

	memcpy(&h, buf, sizeof(h));
	for (size_t at = h.records_offset; at < len;) {
		uint8_t whole[4096];
		struct image_record rec;

		memcpy(&rec, buf + at, sizeof(rec));
		if (rec.type == IMAGE_REC_END) {
			struct image_digest d = image_digest(all, n * sizeof(all[0]));

			memcpy(buf + at + sizeof(rec), &d, sizeof(d));
		}
		memcpy(whole, &rec, offsetof(struct image_record, digest));
		memcpy(whole + offsetof(struct image_record, digest), buf + at + sizeof(rec), rec.len);
		rec.digest = image_digest(whole, offsetof(struct image_record, digest) + rec.len);
		memcpy(buf + at, &rec, sizeof(rec));
		all[n++] = rec.digest;
		at += sizeof(rec) + (rec.len + 7) / 8 * 8;
	}
}

static void test_a_newer_version_is_refused_by_name(void **state)
{
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);
	struct err err = { 0 };

	(void)state;
	buf[8]++;
	fix_header(buf);
	assert_int_equal(check_bytes(buf, len, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "newer nidra"));
	buf[8] = 0;
	fix_header(buf);
	assert_int_equal(check_bytes(buf, len, &err), -EBADMSG);
}

static void test_features_are_required_or_optional(void **state)
{
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);
	struct err err = { 0 };

	(void)state;
	buf[offsetof(struct image_header, optional)] = 1;
	fix_header(buf);
	assert_int_equal(check_bytes(buf, len, &err), 0);
	for (int bit = 0; bit < 64; bit++) {
		bool known = (uint64_t)IMAGE_FEATURES >> bit & 1;
		/* There is no record that would have to be. */
		bool lacks = (uint64_t)(IMAGE_FEATURE_PARENT | IMAGE_FEATURE_ENCRYPTED) >> bit & 1;

		buf[offsetof(struct image_header, required) + (size_t)bit / 8] = (uint8_t)(1u << bit % 8);
		fix_header(buf);
		assert_int_equal(check_bytes(buf, len, &err), lacks ? -EBADMSG : known ? 0 : -EOPNOTSUPP);
		if (!known)
			assert_non_null(strstr(err.msg, "features"));
		buf[offsetof(struct image_header, required) + (size_t)bit / 8] = 0;
	}
}

static void test_unknown_records_are_skipped_or_named(void **state)
{
	static const uint32_t types[] = { 0, IMAGE_REC_LAST + 1, 1000, UINT32_MAX };
	size_t len;
	_cleanup_free_ uint8_t *buf = small_image(&len);
	struct image_header h;
	struct image_record rec;
	struct err err = { 0 };
	char word[32];

	(void)state;
	memcpy(&h, buf, sizeof(h));
	memcpy(&rec, buf + h.records_offset, sizeof(rec));
	fix_records(buf, len);
	assert_int_equal(check_bytes(buf, len, &err), 0); /* the test does as the writer */
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		rec.type = types[i];
		rec.flags = IMAGE_RECORD_FLAG_OPTIONAL;
		memcpy(buf + h.records_offset, &rec, sizeof(rec));
		fix_records(buf, len);
		assert_int_equal(check_bytes(buf, len, &err), 0);
		rec.flags = 0;
		memcpy(buf + h.records_offset, &rec, sizeof(rec));
		fix_records(buf, len);
		assert_int_equal(check_bytes(buf, len, &err), -EOPNOTSUPP);
		snprintf(word, sizeof(word), "type %u", types[i]);
		assert_non_null(strstr(err.msg, word));
	}
}

/* A record that was exchanged for another good one: the last record knows them all. */
static void test_exchanged_records_are_refused(void **state)
{
	const size_t end_bytes = sizeof(struct image_record) + sizeof(struct image_digest);
	size_t len;
	_cleanup_free_ uint8_t *good = small_image(&len);
	_cleanup_free_ uint8_t *buf = malloc(len);
	struct image_header h;

	(void)state;
	memcpy(&h, good, sizeof(h));
	memcpy(buf, good, len);
	buf[h.records_offset + sizeof(struct image_record)] = '[';
	fix_records(buf, len);
	assert_int_equal(check_bytes(buf, len, NULL), 0);
	memcpy(buf + len - end_bytes, good + len - end_bytes, end_bytes);
	assert_int_equal(check_bytes(buf, len, NULL), -EBADMSG);
}

/* With digests made right, every number of the indices may be anything. */
static void test_forged_indices_are_harmless(void **state)
{
	static const uint64_t evil[] = { 0,
					 1,
					 4095,
					 4096,
					 4097,
					 16384,
					 1U << 20,
					 UINT32_MAX,
					 1ULL << 40,
					 INT64_MAX,
					 1ULL << 63,
					 UINT64_MAX,
					 UINT64_MAX - 4095 };
	size_t len;
	_cleanup_free_ uint8_t *good = small_image(&len);
	_cleanup_free_ uint8_t *buf = malloc(len);
	struct image_header h;
	struct image_record rec;
	struct memory m;

	(void)state;
	memory_new(&m, 1, (uint64_t[]){ 0 }, (uint64_t[]){ 4 * PAGE });
	memcpy(&h, good, sizeof(h));
	for (size_t at = h.records_offset; at < len; at += sizeof(rec) + (rec.len + 7) / 8 * 8) {
		memcpy(&rec, good + at, sizeof(rec));
		if (rec.type != IMAGE_REC_REGIONS && rec.type != IMAGE_REC_EXTENTS && rec.type != IMAGE_REC_MAP)
			continue;
		for (size_t i = 0; i < 3 * ARRAY_SIZE(evil); i++) {
			_cleanup_(image_reader_freep) struct image_reader *r = NULL;
			struct image_stats stats;
			uint64_t *word;

			memcpy(buf, good, len);
			word = (uint64_t *)(buf + at + sizeof(rec)) + i % 3;
			if (*word == evil[i / 3] || (rec.type == IMAGE_REC_REGIONS && i % 3 == 0))
				continue; /* as it was, or the caller's own number */
			*word = evil[i / 3];
			fix_records(buf, len);
			/* A smaller region, too: the extent is not in it any more, or it is not
			 * ours. */
			if (open_bytes(buf, len, &r, NULL) < 0)
				continue;
			if (rec.type == IMAGE_REC_MAP) /* only the first page is another place in the region */
				assert_true(i % 3 == 0 && !evil[i / 3]);
			else
				assert_true(image_reader_memory(r, m.region, 1, NULL, &stats, NULL) < 0);
		}
	}
	memory_free(&m);
}

/* ---- files ---- */

static void test_an_image_in_the_way_stays(void **state)
{
	struct image_writer *w = NULL;
	struct image_stats stats;
	struct err err = { 0 };
	struct memory m;
	struct stat before, after;

	(void)state;
	memory_new(&m, 1, gpas, (uint64_t[]){ PAGE });
	write_image(&m, &stats);
	stat(path, &before);
	assert_int_equal(image_writer_new(path, NULL, &w, &err), -EEXIST);
	assert_null(w);
	assert_non_null(strstr(err.msg, path));
	write_image(&m, &stats); /* with replace */
	stat(path, &after);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(files(), 1);
	memory_free(&m);
}

/* Somebody else may put one there while we write. */
static void test_an_image_that_came_meanwhile_stays(void **state)
{
	_cleanup_(image_writer_freep) struct image_writer *w = NULL;
	struct image_stats stats;
	struct err err = { 0 };
	struct memory m;
	int fd;

	(void)state;
	memory_new(&m, 1, gpas, (uint64_t[]){ PAGE });
	assert_int_equal(begin(&w, false), 0);
	assert_int_equal(image_writer_memory(w, m.region, 1, NULL, &err), 0);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
	assert_int_equal(image_writer_seal(w, &stats, &err), -EEXIST);
	assert_int_equal(files(), 1);
	fd = open(path, O_RDONLY);
	assert_int_equal(lseek(fd, 0, SEEK_END), 4);
	close(fd);
	memory_free(&m);
}

static void test_a_writer_that_is_not_sealed_leaves_nothing(void **state)
{
	struct image_writer *w = NULL;
	struct err err = { 0 };
	struct memory m;

	(void)state;
	memory_new(&m, 3, gpas, sizes);
	scribble(&m);
	assert_int_equal(begin(&w, false), 0);
	assert_int_equal(files(), 0);
	assert_int_equal(image_writer_memory(w, m.region, 3, NULL, &err), 0);
	assert_int_equal(files(), 0);
	image_writer_free(w);
	assert_int_equal(files(), 0);
	image_writer_free(NULL);
	memory_free(&m);
}

static int make_file(const char *name)
{
	char full[160];

	snprintf(full, sizeof(full), "%s/%s", folder, name);
	return open(full, O_CREAT | O_RDWR, 0600);
}

static bool remove_file(const char *name)
{
	char full[160];

	snprintf(full, sizeof(full), "%s/%s", folder, name);
	return unlink(full) == 0;
}

/* Of writers that are no more; not of those that still write, and nobody else's. */
static void test_left_over_files_are_removed(void **state)
{
	static const char *const old[] = { ".web.nidra.a1B2c3.partial", "web.nidra.77.partial" };
	static const char *const others[] = { ".web.nidra.zzzzzz.partial", "web.nidra.78.partial",
					      "web.nidra.notes.partial", "other.nidra.77.partial",
					      "web.nidra.partial" };
	struct image_writer *w = NULL;
	int fd[ARRAY_SIZE(others)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(old); i++)
		close(make_file(old[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		fd[i] = make_file(others[i]);
		if (i < 2)
			assert_int_equal(flock(fd[i], LOCK_EX), 0);
	}
	assert_int_equal(begin(&w, false), 0);
	for (size_t i = 0; i < ARRAY_SIZE(old); i++)
		assert_false(remove_file(old[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		close(fd[i]);
		assert_true(remove_file(others[i]));
	}
	image_writer_free(w);
}

/* ---- fsync that fails: ours comes before the C library's ---- */

static bool folders_fail, files_fail;

int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (S_ISDIR(st.st_mode) ? folders_fail : files_fail)) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* Nothing is there that was not promised, and what it would have replaced never goes without it. */
static void test_what_the_disk_does_not_take_is_not_there(void **state)
{
	struct image_stats stats;
	struct err err = { 0 };
	struct memory m;

	(void)state;
	memory_new(&m, 1, gpas, (uint64_t[]){ PAGE });
	for (int round = 0; round < 4; round++) {
		_cleanup_(image_writer_freep) struct image_writer *w = NULL;
		_cleanup_(image_reader_freep) struct image_reader *r = NULL;

		assert_int_equal(begin(&w, true), 0);
		assert_int_equal(image_writer_memory(w, m.region, 1, NULL, &err), 0);
		files_fail = round % 2 == 0;
		folders_fail = round % 2;
		assert_int_equal(image_writer_seal(w, &stats, &err), -EIO);
		files_fail = folders_fail = false;
		if (round < 2) {
			assert_int_equal(files(), 0);
			if (round == 1)
				write_image(&m, &stats);
		} else {
			assert_int_equal(files(), 1);
			assert_int_equal(image_reader_open(path, &r, &err), 0);
		}
	}
	memory_free(&m);
}

static int cancel_in_the_middle(void *arg, uint64_t done, uint64_t total, struct err *err)
{
	uint64_t *last = arg;

	assert_true(done >= *last && done <= total);
	*last = done;
	return done > total / 3 ? err_set(err, -ECANCELED, "somebody changed his mind") : 0;
}

static void test_a_cancelled_image_leaves_nothing(void **state)
{
	struct image_writer *w = NULL;
	uint64_t last = 0;
	const struct image_progress progress = { cancel_in_the_middle, &last };
	struct err err = { 0 };
	struct memory m;

	(void)state;
	memory_new(&m, 3, (uint64_t[]){ 0, GIB, 2 * GIB }, (uint64_t[]){ 32 * MIB, 32 * MIB, 32 * MIB });
	memset(m.hva, 1, m.bytes);
	assert_int_equal(begin(&w, false), 0);
	assert_int_equal(image_writer_memory(w, m.region, 3, &progress, &err), -ECANCELED);
	assert_string_equal(err.msg, "somebody changed his mind");
	image_writer_free(w);
	assert_int_equal(files(), 0);
	memory_free(&m);
}

/* In a child, because the limit is the process's. */
static void test_a_full_disk_leaves_nothing(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		struct rlimit limit = { 3 * MIB, 3 * MIB };
		struct image_writer *w = NULL;
		struct err err = { 0 };
		struct memory m;
		int r;

		memory_new(&m, 3, gpas, sizes);
		scribble(&m);
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
		if (begin(&w, false))
			_exit(1);
		r = image_writer_memory(w, m.region, 3, NULL, &err);
		if (r != -EFBIG || !strstr(err.msg, path))
			_exit(2);
		image_writer_free(w);
		_exit(files() ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(files(), 0);
}

static void test_images_are_the_owners(void **state)
{
	struct image_stats stats;
	struct memory m;
	struct stat st;

	(void)state;
	memory_new(&m, 1, gpas, (uint64_t[]){ PAGE });
	write_image(&m, &stats);
	stat(path, &st);
	assert_int_equal(st.st_mode & 07777, 0600); /* a guest's memory is inside */
	memory_free(&m);
}

static void test_only_files_are_images(void **state)
{
	struct image_reader *r = NULL;
	struct image_writer *w = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(image_reader_open(path, &r, &err), -ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(image_reader_open(path, &r, &err), -EINVAL); /* and does not wait for a writer */
	assert_int_equal(image_writer_new(path, &replacing, &w, &err), -EINVAL);
	assert_int_equal(image_reader_open(folder, &r, &err), -EINVAL);
	assert_int_equal(image_writer_new(folder, &replacing, &w, &err), -EINVAL);
	assert_int_equal(image_reader_open("/dev/null", &r, &err), -EINVAL);
	assert_null(r);
	assert_null(w);
	assert_int_equal(image_writer_new("/nonexistent/web.nidra", &replacing, &w, &err), -ENOENT);
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(memory_and_records_come_back),
		t(memory_of_zeros_takes_no_space),
		t(memory_laid_out_otherwise_is_refused),
		t(every_truncation_is_refused),
		t(bytes_behind_the_end_are_refused),
		t(every_altered_byte_is_refused),
		t(altered_memory_never_arrives),
		t(a_newer_version_is_refused_by_name),
		t(features_are_required_or_optional),
		t(unknown_records_are_skipped_or_named),
		t(exchanged_records_are_refused),
		t(forged_indices_are_harmless),
		t(an_image_in_the_way_stays),
		t(an_image_that_came_meanwhile_stays),
		t(a_writer_that_is_not_sealed_leaves_nothing),
		t(left_over_files_are_removed),
		t(what_the_disk_does_not_take_is_not_there),
		t(a_cancelled_image_leaves_nothing),
		t(a_full_disk_leaves_nothing),
		t(images_are_the_owners),
		t(only_files_are_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
