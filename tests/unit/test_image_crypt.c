/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encrypted images: nothing is read without the key, and nothing that somebody without it made. A
 * forger here makes all digests right: only the key stands against him.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "base/io.h"
#include "base/pageset.h"
#include "image/image.h"

#define PAGE   NIDRA_PAGE_SIZE
#define PAGES  1024u
#define META   "{\"name\": \"web\"}"
#define SECRET "swordfish swordfish" /* in memory and in records, but never in a file */

static const char key_bytes[] = "0123456789abcdef0123456789abcdef", other_bytes[] = "0123456789abcdef0123456789abcdeF";
static char folder[64], path[96], second[96], third[96];
static struct image_key *key, *other, *words;

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "%s/nidra-crypt.XXXXXX", scratch());
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/web.nidra", folder);
	snprintf(second, sizeof(second), "%s/second.nidra", folder);
	snprintf(third, sizeof(third), "%s/third.nidra", folder);
	return image_key_new(IMAGE_KEY_FILE, key_bytes, 32, &key, NULL) ?:
		       image_key_new(IMAGE_KEY_FILE, other_bytes, 32, &other, NULL) ?:
		       image_key_new(IMAGE_KEY_PASSPHRASE, "correct horse\n", 14, &words, NULL);
}

static int teardown(void **state)
{
	(void)state;
	image_key_free(key);
	image_key_free(other);
	image_key_free(words);
	unlink(path);
	unlink(second);
	unlink(third);
	return rmdir(folder);
}

/* ---- memory and images ---- */

struct memory {
	int fd;
	struct image_region region;
};

static void memory_new(struct memory *m)
{
	m->fd = memfd_create("memory", MFD_CLOEXEC);
	assert_int_equal(ftruncate(m->fd, PAGES * PAGE), 0);
	m->region = (struct image_region){ .kind = 1, .bytes = PAGES * PAGE, .fd = m->fd };
	m->region.hva = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(m->region.hva, MAP_FAILED);
}

static void memory_free(struct memory *m)
{
	munmap(m->region.hva, PAGES * PAGE);
	close(m->fd);
}

/* Page @n has the secret, and is like no other. */
static void put_page(struct memory *m, uint32_t n)
{
	for (size_t at = 0; at < PAGE; at += 32) {
		memcpy(m->region.hva + n * PAGE + at, SECRET, strlen(SECRET));
		memcpy(m->region.hva + n * PAGE + at + 20, &n, sizeof(n));
	}
}

static void write_image(const char *name, const struct memory *m, const struct image_options *o)
{
	_cleanup_(image_writer_freep) struct image_writer *w = NULL;
	struct image_options options = *o;
	struct image_stats stats;
	struct err err = { 0 };

	options.replace = true;
	if (image_writer_new(name, &options, &w, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(image_writer_record(w, IMAGE_REC_METADATA, 0, 0, META, strlen(META), &err), 0);
	assert_int_equal(image_writer_record(w, IMAGE_REC_XEN, 0, 0, SECRET, strlen(SECRET), &err), 0);
	assert_int_equal(image_writer_record(w, IMAGE_REC_VCPU, 0, 0, SECRET "0", strlen(SECRET) + 1, &err), 0);
	assert_int_equal(image_writer_record(w, IMAGE_REC_VCPU, 1, 0, SECRET "1", strlen(SECRET) + 1, &err), 0);
	assert_int_equal(image_writer_memory(w, &m->region, 1, NULL, &err), 0);
	assert_int_equal(image_writer_seal(w, &stats, &err), 0);
	assert_int_equal(stats.encrypted, options.key != NULL);
}

static void compare(const char *name, struct image_key *k, const struct memory *m)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_stats stats;
	struct memory back;
	struct err err = { 0 };
	const void *body;
	size_t len;

	memory_new(&back);
	if (image_reader_open_key(name, k, &r, &err) < 0 || image_reader_verify(r, NULL, &err) < 0 ||
	    image_reader_memory(r, &back.region, 1, NULL, &stats, &err) < 0)
		fail_msg("%s", err.msg);
	assert_memory_equal(m->region.hva, back.region.hva, PAGES * PAGE);
	assert_int_equal(image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len), 0);
	assert_int_equal(len, strlen(META));
	assert_memory_equal(body, META, len);
	assert_int_equal(image_reader_record(r, IMAGE_REC_VCPU, 1, &body, &len), 0);
	assert_int_equal(len, strlen(SECRET) + 1);
	assert_memory_equal(body, SECRET "1", len);
	memory_free(&back);
}

static uint8_t *read_all(const char *name, size_t *len)
{
	uint8_t *buf;

	assert_int_equal(io_read_file(name, 16 * MIB, &buf, len, NULL), 0);
	return buf;
}

static void write_all(const char *name, const uint8_t *buf, size_t len)
{
	_cleanup_close_ int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	assert_int_equal(io_write_full(fd, buf, len), 0);
}

/* Opens @name and checks all of it. */
static int check(const char *name, struct image_key *k, struct err *err)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	int e = image_reader_open_key(name, k, &r, err);

	return e ?: image_reader_verify(r, NULL, err);
}

static int check_bytes(const uint8_t *buf, size_t len, struct err *err)
{
	write_all(second, buf, len);
	return check(second, key, err);
}

/* Some pages, as small as it gets. */
static uint8_t *small_image(const struct image_options *o, size_t *len)
{
	struct memory m;

	memory_new(&m);
	put_page(&m, 3);
	put_page(&m, 900);
	write_image(path, &m, o);
	memory_free(&m);
	return read_all(path, len);
}

/* tests/image_reader.py, which knows the document only: the same memory, and no altered byte passes. */
static void read_by_another(const char *name, const char *key_flag, const struct memory *m)
{
	char command[512];
	uint8_t *p;
	size_t len;

	write_all(second, (const uint8_t *)(strstr(key_flag, "pass") ? "correct horse" : key_bytes),
		  strstr(key_flag, "pass") ? 13 : 32);
	snprintf(command, sizeof(command), "%s %s --dump %s --alter 997 %s %s >/dev/null", IMAGE_READER, name, third,
		 key_flag, second);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	p = read_all(third, &len);
	assert_int_equal(len, PAGES * PAGE);
	assert_memory_equal(p, m->region.hva, len);
	free(p);
}

/* ---- what the forger does ---- */

static void fix_digests(uint8_t *buf, size_t len)
{
	struct image_digest all[16];
	struct image_header h;
	size_t n = 0;

	memcpy(&h, buf, sizeof(h));
	h.file_len = len;
	h.digest = image_digest(&h, offsetof(struct image_header, digest));
	memcpy(buf, &h, sizeof(h));
	if (h.records_offset < IMAGE_DATA_OFFSET || h.records_offset > len)
		return;
	for (size_t at = h.records_offset; at + sizeof(struct image_record) < len && n < ARRAY_SIZE(all);) {
		const size_t head = offsetof(struct image_record, digest);
		uint8_t whole[4096];
		struct image_record rec;

		memcpy(&rec, buf + at, sizeof(rec));
		if (rec.len > len - at - sizeof(rec) || rec.len > sizeof(whole) - head)
			return;
		if (rec.type == IMAGE_REC_END && rec.len == sizeof(struct image_digest)) {
			struct image_digest d = image_digest(all, n * sizeof(all[0]));

			memcpy(buf + at + sizeof(rec), &d, sizeof(d));
		}
		memcpy(whole, &rec, head);
		memcpy(whole + head, buf + at + sizeof(rec), rec.len);
		rec.digest = image_digest(whole, head + rec.len);
		memcpy(buf + at, &rec, sizeof(rec));
		all[n++] = rec.digest;
		at += sizeof(rec) + (rec.len + 7) / 8 * 8;
	}
}

/* Offset of the first record @type, and its bytes with head and padding. */
static size_t find_record(const uint8_t *buf, size_t len, uint32_t type, size_t *ret_len)
{
	struct image_header h;
	struct image_record rec;
	size_t at;

	memcpy(&h, buf, sizeof(h));
	for (at = h.records_offset; at < len; at += *ret_len) {
		memcpy(&rec, buf + at, sizeof(rec));
		*ret_len = sizeof(rec) + (rec.len + 7) / 8 * 8;
		if (rec.type == type)
			return at;
	}
	fail_msg("no record %u", type);
	return 0;
}

static bool contains(const uint8_t *buf, size_t len, const char *text)
{
	return memmem(buf, len, text, strlen(text));
}

/* ---- tests ---- */

static void test_all_comes_back_with_the_key(void **state)
{
	struct memory m;

	(void)state;
	memory_new(&m);
	for (uint32_t n = 0; n < PAGES; n += n % 7 ? 1 : 3)
		put_page(&m, n);
	for (int i = 0; i < 2 * IMAGE_CODECS; i++) {
		const struct image_options o = { .codec = (enum image_codec)(i / 2),
						 .key = i % 2 ? key : words,
						 .hide_metadata = i % 3 == 0 };
		size_t len;
		uint8_t *buf;

		write_image(path, &m, &o);
		compare(path, i % 2 ? key : words, &m);
		buf = read_all(path, &len);
		assert_false(contains(buf, len, SECRET));
		assert_int_equal(contains(buf, len, META), !o.hide_metadata);
		free(buf);
	}
	memory_free(&m);
}

static void test_another_reader_finds_the_same(void **state)
{
	const struct image_options o = { .codec = IMAGE_CODEC_LZ4, .key = key },
				   p = { .codec = IMAGE_CODEC_ZSTD, .key = words, .hide_metadata = true };
	struct memory m;

	(void)state;
	memory_new(&m);
	for (uint32_t n = 0; n < PAGES; n += 9)
		put_page(&m, n);
	write_image(path, &m, &o);
	read_by_another(path, "--key-file", &m);
	write_image(path, &m, &p);
	read_by_another(path, "--passphrase-file", &m);
	memory_free(&m);
}

static void test_without_the_key_there_is_only_metadata(void **state)
{
	for (int hidden = 0; hidden < 2; hidden++) {
		const struct image_options o = { .key = key, .hide_metadata = hidden };
		_cleanup_(image_reader_freep) struct image_reader *r = NULL;
		struct err err = { 0 };
		struct image_stats stats;
		const void *body;
		size_t len;

		free(small_image(&o, &len));
		assert_int_equal(image_reader_open(path, &r, &err), -ENOKEY);
		assert_non_null(strstr(err.msg, "is encrypted"));
		assert_int_equal(image_reader_look(path, &r, &err), 0);
		image_reader_stats(r, &stats);
		assert_true(stats.encrypted && !stats.passphrase);
		assert_int_equal(image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len), hidden ? -ENOKEY : 0);
		assert_int_equal(image_reader_record(r, IMAGE_REC_VCPU, 0, &body, &len), -ENOKEY);
		assert_int_equal(image_reader_record(r, IMAGE_REC_MAP, 0, &body, &len), -ENOKEY);
	}
	(void)state;
}

static void test_a_wrong_key_is_told_from_damage(void **state)
{
	const struct image_options o = { .key = key }, p = { .key = words };
	struct image_key *wrong_words = NULL;
	struct err err = { 0 };
	size_t len;

	(void)state;
	free(small_image(&o, &len));
	assert_int_equal(check(path, other, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.msg, "has another key"));
	assert_int_equal(check(path, words, &err), -EKEYREJECTED);
	assert_int_equal(check(path, key, &err), 0);
	free(small_image(&p, &len));
	assert_int_equal(image_key_new(IMAGE_KEY_PASSPHRASE, "correct hors", 12, &wrong_words, &err), 0);
	assert_int_equal(check(path, wrong_words, &err), -EKEYREJECTED);
	assert_int_equal(check(path, key, &err), -EKEYREJECTED);
	assert_non_null(strstr(err.msg, "a passphrase"));
	image_key_free(wrong_words);
}

/* Who has a key wants to know that nobody else made the image. */
static void test_an_image_without_encryption_is_refused_where_there_is_a_key(void **state)
{
	const struct image_options o = { 0 };
	struct err err = { 0 };
	size_t len;

	(void)state;
	free(small_image(&o, &len));
	assert_int_equal(check(path, NULL, &err), 0);
	assert_int_equal(check(path, key, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "is not encrypted"));
}

static void test_every_byte_is_authenticated(void **state)
{
	const struct image_options o = { .key = key, .codec = IMAGE_CODEC_ZSTD };
	size_t len;
	_cleanup_free_ uint8_t *good = small_image(&o, &len);
	_cleanup_free_ uint8_t *buf = malloc(len);

	(void)state;
	for (size_t at = 0; at < len; at++) {
		if (at == IMAGE_HEADER_LEN)
			at = IMAGE_DATA_OFFSET; /* zeros, and checked to be */
		memcpy(buf, good, len);
		buf[at] ^= (uint8_t)(1u << at % 8);
		fix_digests(buf, len);
		if (!memcmp(buf, good, len)) /* a digest, and right again */
			continue;
		if (check_bytes(buf, len, NULL) == 0)
			fail_msg("byte %zu of %zu was altered, and nobody noticed", at, len);
	}
	assert_int_equal(check_bytes(good, len, NULL), 0);
}

/* Of the same image, at another place; and of another image with the same key, at the same place. */
static void test_extents_stay_where_they_are(void **state)
{
	const struct image_options o = { .key = key };
	const size_t extent = 32 * PAGE;
	_cleanup_free_ uint8_t *a = NULL, *b = NULL, *swapped = NULL;
	struct err err = { 0 };
	struct memory m;
	size_t len;

	(void)state;
	memory_new(&m);
	for (uint32_t n = 0; n < 64; n++)
		put_page(&m, n);
	write_image(path, &m, &o);
	a = read_all(path, &len);
	write_image(path, &m, &o);
	b = read_all(path, &len);
	memory_free(&m);
	swapped = malloc(len);
	memcpy(swapped, a, len);
	assert_int_equal(check_bytes(swapped, len, &err), 0);
	assert_memory_not_equal(a + IMAGE_DATA_OFFSET, b + IMAGE_DATA_OFFSET, extent); /* the same memory */
	memcpy(swapped + IMAGE_DATA_OFFSET, a + IMAGE_DATA_OFFSET + extent, extent);
	memcpy(swapped + IMAGE_DATA_OFFSET + extent, a + IMAGE_DATA_OFFSET, extent);
	assert_int_equal(check_bytes(swapped, len, &err), -EBADMSG);
	assert_non_null(strstr(err.msg, "guest memory at 0x"));
	memcpy(swapped, a, len);
	memcpy(swapped + IMAGE_DATA_OFFSET, b + IMAGE_DATA_OFFSET, extent);
	assert_int_equal(check_bytes(swapped, len, &err), -EBADMSG);
}

/* Takes record @type out of @buf. */
static size_t without(uint8_t *buf, size_t len, uint32_t type)
{
	size_t n, at = find_record(buf, len, type, &n);

	memmove(buf + at, buf + at + n, len - at - n);
	fix_digests(buf, len - n);
	return len - n;
}

static void test_records_cannot_be_left_out_or_exchanged(void **state)
{
	static const uint32_t types[] = { IMAGE_REC_METADATA, IMAGE_REC_VCPU, IMAGE_REC_XEN, IMAGE_REC_MAP,
					  IMAGE_REC_CRYPT,    IMAGE_REC_MAC,  IMAGE_REC_END };
	const struct image_options o = { .key = key };
	size_t len, n, at, from;
	_cleanup_free_ uint8_t *good = small_image(&o, &len), *again = small_image(&o, &len), *buf = malloc(len);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		memcpy(buf, good, len);
		assert_int_equal(check_bytes(buf, without(buf, len, types[i]), NULL), -EBADMSG);
	}
	memcpy(buf, good, len); /* the vCPUs' */
	at = find_record(buf, len, IMAGE_REC_VCPU, &n);
	memcpy(buf + at, good + at + n, n);
	memcpy(buf + at + n, good + at, n);
	fix_digests(buf, len);
	assert_int_equal(check_bytes(buf, len, NULL), -EBADMSG);
	memcpy(buf, good, len); /* another image's */
	from = find_record(again, len, IMAGE_REC_XEN, &n);
	memcpy(buf + from, again + from, n);
	fix_digests(buf, len);
	assert_int_equal(check_bytes(buf, len, NULL), -EBADMSG);
	memcpy(buf, good, len); /* an index and extents of one, all else of the other */
	at = find_record(buf, len, IMAGE_REC_EXTENTS, &n);
	memcpy(buf + at, again + at, n);
	memcpy(buf + IMAGE_DATA_OFFSET, again + IMAGE_DATA_OFFSET, 2 * PAGE);
	fix_digests(buf, len);
	assert_int_equal(check_bytes(buf, len, NULL), -EBADMSG);
	fix_digests(good, len);
	assert_int_equal(check_bytes(good, len, NULL), 0); /* the forger does as the writer */
}

/* Before the MAC can be checked, there is only what the image asks for. */
static void test_unreasonable_parameters_cost_nothing(void **state)
{
	const struct image_options o = { .key = words };
	struct image_crypt_entry e;
	struct err err = { 0 };
	size_t len, n;
	_cleanup_free_ uint8_t *buf = small_image(&o, &len);
	size_t at = find_record(buf, len, IMAGE_REC_CRYPT, &n) + sizeof(struct image_record);
	static const uint64_t evil[][2] = { { 0, 64 << 20 },	      { 1 << 20, 64 << 20 }, { 3, 0 },
					    { 3, UINT64_C(1) << 40 }, { 3, UINT64_MAX },     { UINT64_MAX, 8192 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(evil); i++) {
		memcpy(&e, buf + at, sizeof(e));
		e.kdf_ops = evil[i][0];
		e.kdf_bytes = evil[i][1];
		memcpy(buf + at, &e, sizeof(e));
		fix_digests(buf, len);
		write_all(second, buf, len);
		assert_int_equal(check(second, words, &err), -EBADMSG);
		assert_non_null(strstr(err.msg, "more work"));
	}
	e.cipher = 2;
	memcpy(buf + at, &e, sizeof(e));
	fix_digests(buf, len);
	write_all(second, buf, len);
	assert_int_equal(check(second, words, &err), -EOPNOTSUPP);
}

static void test_a_chain_has_one_key(void **state)
{
	struct image_options plain = { 0 }, first = { .key = words }, child = { .key = words, .parent = path },
			     wrong = { .key = key, .parent = path }, bare = { .parent = path };
	_cleanup_(image_writer_freep) struct image_writer *w = NULL;
	struct image_stats stats;
	struct err err = { 0 };
	struct memory m;

	(void)state;
	memory_new(&m);
	put_page(&m, 1);
	write_image(path, &m, &first);
	put_page(&m, 2);
	write_image(second, &m, &child);
	compare(second, words, &m);
	assert_int_equal(check(second, NULL, &err), -ENOKEY);
	assert_int_equal(image_writer_new(third, &wrong, &w, &err), -EKEYREJECTED);
	assert_int_equal(image_writer_new(third, &bare, &w, &err), -ENOKEY);

	/* Without the key they are known as parent and child, and one can go with the other. */
	assert_int_equal(image_remove(path, false, &err), -EBUSY);
	assert_int_equal(image_fold(second, third, &first, NULL, &stats, &err), 0);
	compare(third, words, &m);
	assert_int_equal(check(third, NULL, &err), -ENOKEY);
	assert_int_equal(image_fold(third, NULL, &plain, NULL, &stats, &err), -ENOKEY);
	assert_int_equal(image_remove(path, true, &err), 0);
	assert_int_equal(access(second, F_OK), -1);
	compare(third, words, &m);

	write_image(path, &m, &plain);
	assert_int_equal(image_writer_new(second, &child, &w, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "is not encrypted"));
	memory_free(&m);
}

/* What the fold makes is as hidden as what it was made of. */
static void test_a_fold_hides_what_was_hidden(void **state)
{
	const struct image_options hidden = { .key = key, .hide_metadata = true }, o = { .key = key };
	_cleanup_free_ uint8_t *buf = NULL;
	struct image_stats stats;
	struct err err = { 0 };
	struct memory m;
	size_t len;

	(void)state;
	memory_new(&m);
	put_page(&m, 77);
	write_image(path, &m, &hidden);
	assert_int_equal(image_fold(path, NULL, &o, NULL, &stats, &err), 0);
	compare(path, key, &m);
	buf = read_all(path, &len);
	assert_false(contains(buf, len, META));
	assert_false(contains(buf, len, SECRET));
	memory_free(&m);
}

static void test_memory_comes_when_it_is_touched(void **state)
{
	const struct image_options o = { .key = key, .codec = IMAGE_CODEC_LZ4 };
	struct image_reader *r = NULL;
	struct image_pager *p = NULL;
	struct memory m, back;
	struct err err = { 0 };

	(void)state;
	if (!image_pager_possible())
		skip();
	memory_new(&m);
	memory_new(&back);
	for (uint32_t n = 0; n < PAGES; n++)
		put_page(&m, n);
	write_image(path, &m, &o);
	assert_int_equal(image_reader_open_key(path, key, &r, &err), 0);
	assert_int_equal(image_pager_new(r, &back.region, 1, NULL, NULL, &p, &err), 0);
	for (uint32_t n = 0; n < PAGES; n++)
		assert_memory_equal(back.region.hva + n * 389 % PAGES * PAGE, m.region.hva + n * 389 % PAGES * PAGE,
				    PAGE);
	image_pager_free(p);
	memory_free(&m);
	memory_free(&back);
}

/* ---- keys ---- */

static void test_keys_are_read_from_files(void **state)
{
	const struct image_options o = { .key = key };
	_cleanup_(image_key_freep) struct image_key *k = NULL, *copy = NULL, *lent = NULL, *line = NULL;
	_cleanup_close_ int fd = -1;
	struct err err = { 0 };
	char name[64];
	size_t len;

	(void)state;
	write_all(second, (const uint8_t *)key_bytes, 32);
	assert_int_equal(image_key_read(IMAGE_KEY_FILE, second, &k, &err), 0);
	free(small_image(&o, &len));
	assert_int_equal(check(path, k, &err), 0);
	copy = image_key_copy(k);
	assert_int_equal(check(path, copy, &err), 0);
	fd = image_key_lend(k, &err);
	snprintf(name, sizeof(name), "/proc/%d/fd/%d", getpid(), fd);
	assert_int_equal(image_key_read(IMAGE_KEY_FILE, name, &lent, &err), 0);
	assert_int_equal(check(path, lent, &err), 0);
	write_all(second, (const uint8_t *)"correct horse", 13);
	assert_int_equal(image_key_read(IMAGE_KEY_PASSPHRASE, second, &line, &err), 0);
	free(small_image(&(struct image_options){ .key = words }, &len)); /* that one ended with a line feed */
	assert_int_equal(check(path, line, &err), 0);
}

static void test_what_is_no_key_is_refused_without_being_told(void **state)
{
	_cleanup_free_ uint8_t *large = calloc(1, 8192);
	struct image_key *k = NULL;
	struct err err = { 0 };

	(void)state;
	write_all(second, (const uint8_t *)"hunter2", 7);
	assert_int_equal(image_key_read(IMAGE_KEY_FILE, second, &k, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "32"));
	assert_null(strstr(err.msg, "hunter2"));
	write_all(second, (const uint8_t *)"\n", 1);
	assert_int_equal(image_key_read(IMAGE_KEY_PASSPHRASE, second, &k, &err), -EINVAL);
	write_all(second, large, 8192);
	assert_int_equal(image_key_read(IMAGE_KEY_FILE, second, &k, &err), -E2BIG);
	assert_int_equal(image_key_new(IMAGE_KEY_FILE, large, 8192, &k, &err), -E2BIG);
	assert_int_equal(image_key_read(IMAGE_KEY_FILE, third, &k, &err), -ENOENT);
	assert_int_equal(image_key_read(IMAGE_KEY_FILE, "/dev/zero", &k, &err), -EINVAL);
	assert_null(k);
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(all_comes_back_with_the_key),
		t(another_reader_finds_the_same),
		t(without_the_key_there_is_only_metadata),
		t(a_wrong_key_is_told_from_damage),
		t(an_image_without_encryption_is_refused_where_there_is_a_key),
		t(every_byte_is_authenticated),
		t(extents_stay_where_they_are),
		t(records_cannot_be_left_out_or_exchanged),
		t(unreasonable_parameters_cost_nothing),
		t(a_chain_has_one_key),
		t(a_fold_hides_what_was_hidden),
		t(memory_comes_when_it_is_touched),
		t(keys_are_read_from_files),
		t(what_is_no_key_is_refused_without_being_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
