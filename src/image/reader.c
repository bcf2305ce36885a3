/* SPDX-License-Identifier: Apache-2.0 */
/* Header and records. Every length and order of an image is checked here, and nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "image/reader.h"

void image_reader_free(struct image_reader *r)
{
	if (!r)
		return;
	close_fdp(&r->fd);
	free(r->records);
	free(r->by_offset);
	free(r->name);
	free(r);
}

#define BAD(r, err, ...) image_bad(r, err, __VA_ARGS__)

int image_bad(const struct image_reader *r, struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "%s is damaged: %s", r->name, what);
}

static int check_header(struct image_reader *r, const struct image_header *h, uint64_t size, struct err *err)
{
	struct image_digest digest = image_digest(h, offsetof(struct image_header, digest));

	if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)))
		return err_set(err, -EINVAL, "%s is not an image of nidra", r->name);
	if (h->version > IMAGE_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "%s was made by a newer nidra: its format is %u, this one reads up to %u", r->name,
			       h->version, IMAGE_VERSION);
	if (!image_digest_equal(&digest, &h->digest))
		return BAD(r, err, "its header was altered");
	if (h->required)
		return err_set(err, -EOPNOTSUPP,
			       "%s needs features that this nidra does not know (bits 0x%" PRIx64 ")", r->name,
			       h->required);
	if (h->version != IMAGE_VERSION || h->header_len != IMAGE_HEADER_LEN)
		return BAD(r, err, "its header makes no sense");
	if (h->file_len != size)
		return err_set(err, -EBADMSG, "%s is damaged: it has %" PRIu64 " bytes of %" PRIu64, r->name, size,
			       h->file_len);
	if (h->records_offset < IMAGE_DATA_OFFSET || h->records_offset % IMAGE_ALIGN ||
	    h->records_offset > size || size - h->records_offset > IMAGE_RECORDS_MAX)
		return BAD(r, err, "its header makes no sense");
	return 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static int read_header(struct image_reader *r, struct err *err)
{
	uint8_t page[IMAGE_DATA_OFFSET];
	struct image_header h;
	struct stat st;
	int ret;

	if (fstat(r->fd, &st) < 0)
		return err_errno(err, -errno, "stat %s", r->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s is not a regular file", r->name);
	ret = io_pread_full(r->fd, page, sizeof(h), 0);
	memcpy(&h, page, sizeof(h));
	if (ret == -ENODATA)
		return err_set(err, -EINVAL, "%s is not an image of nidra", r->name);
	if (ret < 0)
		return err_errno(err, ret, "read %s", r->name);
	ret = check_header(r, &h, (uint64_t)st.st_size, err);
	if (ret < 0)
		return ret;
	ret = io_pread_full(r->fd, page, sizeof(page), 0);
	if (ret < 0)
		return err_errno(err, ret, "read %s", r->name);
	if (!all_zero(page + IMAGE_HEADER_LEN, sizeof(page) - IMAGE_HEADER_LEN))
		return BAD(r, err, "bytes behind its header were altered");
	r->data_end = h.records_offset;
	r->file_len = h.file_len;
	return 0;
}

static int read_records(struct image_reader *r, struct err *err)
{
	int ret;

	r->records_len = r->file_len - r->data_end;
	r->records = malloc(r->records_len + 8);
	if (!r->records)
		return err_errno(err, -ENOMEM, "records of %s", r->name);
	ret = io_pread_full(r->fd, r->records, r->records_len, r->data_end);
	return ret < 0 ? err_errno(err, ret, "read %s", r->name) : 0;
}

const struct image_record *image_reader_next(struct image_reader *r, const struct image_record *prev)
{
	const uint8_t *p = prev ? (const uint8_t *)(prev + 1) + ((prev->len + 7) & ~UINT64_C(7)) : r->records;

	return p == r->records + r->records_len ? NULL : (const struct image_record *)(const void *)p;
}

static bool known(uint32_t type)
{
	return type >= IMAGE_REC_METADATA && type <= IMAGE_REC_END;
}

static int check_record(struct image_reader *r, size_t left, const struct image_record *rec,
			struct err *err)
{
	struct image_digest digest;

	if (left < sizeof(*rec) || rec->len > left - sizeof(*rec) ||
	    ((rec->len + 7) & ~UINT64_C(7)) > left - sizeof(*rec))
		return BAD(r, err, "a record is cut off");
	digest = image_record_digest(rec, rec + 1);
	if (!image_digest_equal(&digest, &rec->digest) || rec->zero ||
	    !all_zero((const uint8_t *)(rec + 1) + rec->len, -rec->len & 7))
		return BAD(r, err, "a record was altered");
	if (!known(rec->type) && !(rec->flags & IMAGE_RECORD_FLAG_OPTIONAL))
		return err_set(err, -EOPNOTSUPP, "%s needs a record of type %u, which this nidra does not know",
			       r->name, rec->type);
	return 0;
}

/* All records in order, the last one END with the digest of the digests. */
static int check_records(struct image_reader *r, struct err *err)
{
	_cleanup_bytes_ struct bytes_writer digests = { 0 };
	const struct image_record *rec = NULL;
	struct image_digest all;
	size_t at = 0;
	int ret;

	while (at < r->records_len) {
		rec = (const struct image_record *)(const void *)(r->records + at);
		ret = check_record(r, r->records_len - at, rec, err);
		if (ret < 0)
			return ret;
		at += sizeof(*rec) + ((rec->len + 7) & ~UINT64_C(7));
		if (rec->type == IMAGE_REC_END)
			break;
		bytes_put(&digests, &rec->digest, sizeof(rec->digest));
	}
	all = image_digest(digests.buf, digests.len);
	if (!rec || rec->type != IMAGE_REC_END || at != r->records_len || rec->len != sizeof(all) ||
	    !image_digest_equal(&all, (const struct image_digest *)(rec + 1)))
		return BAD(r, err, "its last record is not its end");
	return digests.failed ? err_errno(err, -ENOMEM, "%s", r->name) : 0;
}

int image_reader_record(struct image_reader *r, uint32_t type, uint32_t instance, const void **ret_body,
			size_t *ret_len)
{
	for (const struct image_record *rec = image_reader_next(r, NULL); rec; rec = image_reader_next(r, rec))
		if (rec->type == type && rec->instance == instance) {
			*ret_body = rec + 1;
			*ret_len = rec->len;
			return 0;
		}
	return -ENOENT;
}

int image_reader_open_fd(int fd, const char *name, struct image_reader **ret, struct err *err)
{
	_cleanup_(image_reader_freep) struct image_reader *r = calloc(1, sizeof(*r));
	int e;

	if (!r) {
		close(fd);
		return err_errno(err, -ENOMEM, "image");
	}
	r->fd = fd;
	r->name = strdup(name);
	if (!r->name)
		return err_errno(err, -ENOMEM, "image");
	e = read_header(r, err);
	e = e ?: read_records(r, err);
	e = e ?: check_records(r, err);
	e = e ?: image_reader_check_index(r, err);
	if (e < 0)
		return e;
	*ret = take_ptr(r);
	return 0;
}

int image_reader_open(const char *path, struct image_reader **ret, struct err *err)
{
	/* Not blocking: somebody may name a FIFO. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? err_errno(err, -errno, "open %s", path) : image_reader_open_fd(fd, path, ret, err);
}

void image_reader_stats(const struct image_reader *r, struct image_stats *ret)
{
	*ret = (struct image_stats){ .file_bytes = r->file_len,
				     .memory_bytes = r->data_end - IMAGE_DATA_OFFSET,
				     .zero_bytes = r->memory_bytes - (r->data_end - IMAGE_DATA_OFFSET),
				     .extents = r->extents };
}
