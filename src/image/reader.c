/* SPDX-License-Identifier: Apache-2.0 */
/* Header and records of one file: every length and order is checked here. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "image/reader.h"

void image_file_free(struct image_file *f)
{
	if (!f)
		return;
	close_fdp(&f->fd);
	free(f->records);
	free(f->made[0]);
	free(f->made[1]);
	free(f->name);
	free(f);
}

#define BAD(f, err, ...) image_bad(f, err, __VA_ARGS__)

int image_bad(const struct image_file *f, struct err *err, const char *what)
{
	return err_set(err, -EBADMSG, "%s is damaged: %s", f->name, what);
}

static int check_header(struct image_file *f, const struct image_header *h, uint64_t size, struct err *err)
{
	struct image_digest digest = image_digest(h, offsetof(struct image_header, digest));

	if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)))
		return err_set(err, -EINVAL, "%s is not an image of nidra", f->name);
	if (h->version > IMAGE_VERSION)
		return err_set(err, -EOPNOTSUPP,
			       "%s was made by a newer nidra: its format is %u, this one reads up to %u", f->name,
			       h->version, IMAGE_VERSION);
	if (!image_digest_equal(&digest, &h->digest))
		return BAD(f, err, "its header was altered");
	if (h->required & ~(uint64_t)(h->version == 1 ? 0 : IMAGE_FEATURES))
		return err_set(err, -EOPNOTSUPP, "%s needs features that this nidra does not know (bits 0x%" PRIx64 ")",
			       f->name, h->required & ~(uint64_t)(h->version == 1 ? 0 : IMAGE_FEATURES));
	if (!h->version || h->header_len != IMAGE_HEADER_LEN)
		return BAD(f, err, "its header makes no sense");
	if (h->file_len != size)
		return err_set(err, -EBADMSG, "%s is damaged: it has %" PRIu64 " bytes of %" PRIu64, f->name, size,
			       h->file_len);
	if (h->records_offset < IMAGE_DATA_OFFSET || h->records_offset % IMAGE_ALIGN || h->records_offset > size ||
	    size - h->records_offset > IMAGE_RECORDS_MAX)
		return BAD(f, err, "its header makes no sense");
	return 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static int read_header(struct image_file *f, struct err *err)
{
	uint8_t page[IMAGE_DATA_OFFSET];
	struct image_header h;
	struct stat st;
	int ret;

	if (fstat(f->fd, &st) < 0)
		return err_errno(err, -errno, "stat %s", f->name);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s is not a regular file", f->name);
	ret = io_pread_full(f->fd, page, sizeof(h), 0);
	memcpy(&h, page, sizeof(h));
	if (ret == -ENODATA)
		return err_set(err, -EINVAL, "%s is not an image of nidra", f->name);
	if (ret < 0)
		return err_errno(err, ret, "read %s", f->name);
	ret = check_header(f, &h, (uint64_t)st.st_size, err);
	if (ret < 0)
		return ret;
	ret = io_pread_full(f->fd, page, sizeof(page), 0);
	if (ret < 0)
		return err_errno(err, ret, "read %s", f->name);
	if (!all_zero(page + IMAGE_HEADER_LEN, sizeof(page) - IMAGE_HEADER_LEN))
		return BAD(f, err, "bytes behind its header were altered");
	f->version = h.version;
	f->features = h.required;
	f->data_end = h.records_offset;
	f->file_len = h.file_len;
	return 0;
}

static int read_records(struct image_file *f, struct err *err)
{
	int ret;

	f->records_len = f->file_len - f->data_end;
	f->records = malloc(f->records_len + 8);
	if (!f->records)
		return err_errno(err, -ENOMEM, "records of %s", f->name);
	ret = io_pread_full(f->fd, f->records, f->records_len, f->data_end);
	return ret < 0 ? err_errno(err, ret, "read %s", f->name) : 0;
}

const struct image_record *image_file_next(const struct image_file *f, const struct image_record *prev)
{
	const uint8_t *p = prev ? (const uint8_t *)(prev + 1) + ((prev->len + 7) & ~UINT64_C(7)) : f->records;

	return p == f->records + f->records_len ? NULL : (const struct image_record *)(const void *)p;
}

static bool known(uint32_t type)
{
	return (type >= IMAGE_REC_METADATA && type <= IMAGE_REC_LAST) || type == IMAGE_REC_IOAPIC;
}

static int check_record(struct image_file *f, size_t left, const struct image_record *rec, struct err *err)
{
	struct image_digest digest;

	if (left < sizeof(*rec) || rec->len > left - sizeof(*rec) ||
	    ((rec->len + 7) & ~UINT64_C(7)) > left - sizeof(*rec))
		return BAD(f, err, "a record is cut off");
	digest = image_record_digest(rec, rec + 1);
	if (!image_digest_equal(&digest, &rec->digest) || rec->zero ||
	    !all_zero((const uint8_t *)(rec + 1) + rec->len, -rec->len & 7))
		return BAD(f, err, "a record was altered");
	if (!known(rec->type) && !(rec->flags & IMAGE_RECORD_FLAG_OPTIONAL))
		return err_set(err, -EOPNOTSUPP, "%s needs a record of type %u, which this nidra does not know",
			       f->name, rec->type);
	return 0;
}

/* All records in order, the last one END with the digest of the digests. */
static int check_records(struct image_file *f, struct err *err)
{
	_cleanup_bytes_ struct bytes_writer digests = { 0 };
	const struct image_record *rec = NULL;
	struct image_digest all;
	size_t at = 0;
	int ret;

	while (at < f->records_len) {
		rec = (const struct image_record *)(const void *)(f->records + at);
		ret = check_record(f, f->records_len - at, rec, err);
		if (ret < 0)
			return ret;
		at += sizeof(*rec) + ((rec->len + 7) & ~UINT64_C(7));
		if (rec->type == IMAGE_REC_END)
			break;
		bytes_put(&digests, &rec->digest, sizeof(rec->digest));
	}
	all = image_digest(digests.buf, digests.len);
	if (!rec || rec->type != IMAGE_REC_END || at != f->records_len || rec->len != sizeof(all) ||
	    !image_digest_equal(&all, (const struct image_digest *)(rec + 1)))
		return BAD(f, err, "its last record is not its end");
	f->id = all;
	return digests.failed ? err_errno(err, -ENOMEM, "%s", f->name) : 0;
}

int image_file_record(const struct image_file *f, uint32_t type, uint32_t instance, const void **ret_body,
		      size_t *ret_len)
{
	for (const struct image_record *rec = image_file_next(f, NULL); rec; rec = image_file_next(f, rec))
		if (rec->type == type && rec->instance == instance) {
			*ret_body = rec + 1;
			*ret_len = rec->len;
			return 0;
		}
	return -ENOENT;
}

bool image_file_is(const struct image_file *f, const struct image_digest *id)
{
	const struct image_digest *other;
	const void *body;
	size_t len;

	if (image_digest_equal(&f->id, id))
		return true;
	if (image_file_record(f, IMAGE_REC_STANDS_FOR, 0, &body, &len) < 0)
		return false;
	other = body;
	for (size_t i = 0; i < len / sizeof(*other); i++)
		if (image_digest_equal(&other[i], id))
			return true;
	return false;
}

int image_file_check_zeros(struct image_file *f, uint64_t offset, size_t len, struct err *err)
{
	uint8_t buf[IMAGE_ALIGN];
	int ret = io_pread_full(f->fd, buf, len, offset);

	if (ret < 0)
		return err_errno(err, ret, "read %s", f->name);
	return all_zero(buf, len) ? 0 : BAD(f, err, "bytes behind its memory were altered");
}

static int new_file(int fd, const char *name, struct image_file **ret, struct err *err)
{
	struct image_file *f = calloc(1, sizeof(*f));

	if (!f) {
		close(fd);
		return err_errno(err, -ENOMEM, "image");
	}
	f->fd = fd;
	f->name = strdup(name);
	*ret = f;
	return f->name ? 0 : err_errno(err, -ENOMEM, "image");
}

int image_file_open(int fd, const char *name, struct image_file **ret, struct err *err)
{
	_cleanup_(image_file_freep) struct image_file *f = NULL;
	int r = new_file(fd, name, &f, err);

	r = r ?: read_header(f, err);
	r = r ?: read_records(f, err);
	r = r ?: check_records(f, err);
	r = r ?: image_file_check_index(f, err);
	if (r == 0)
		*ret = take_ptr(f);
	return r;
}
