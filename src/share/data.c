/* SPDX-License-Identifier: Apache-2.0 */
/* READ, WRITE and COMMIT. */
#include <errno.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/util.h"
#include "share/internal.h"

enum stable { UNSTABLE, DATA_SYNC, FILE_SYNC };

/* @count bytes into @at, or to the end of the file; how many, or a negative errno. */
static ssize_t read_some(int fd, void *at, size_t count, uint64_t offset)
{
	size_t have = 0;
	ssize_t n = 1;

	while (have < count && n > 0) {
		n = pread(fd, (char *)at + have, count - have, (off_t)(offset + have));
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	return n < 0 ? -errno : (ssize_t)have;
}

static int open_data(struct call *c, const struct file *f, int flags)
{
	if (S_ISDIR(f->st.stx_mode))
		return -EISDIR;
	return reopen(c->share, f, flags);
}

int nfs_read(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ void *buf = NULL;
	struct handle h;
	uint64_t offset;
	uint32_t count;
	ssize_t n = 0;
	int r;

	get_handle(c, &h);
	offset = xdr_get_u64(&c->in);
	count = xdr_get_u32(&c->in);
	if (bytes_done(&c->in))
		return -EBADMSG;
	count = MIN(count, SHARE_DATA_MAX);
	r = open_handle(c, &h, &f);
	if (r == 0)
		r = fd = open_data(c, &f, O_RDONLY);
	if (r >= 0 && offset < INT64_MAX - SHARE_DATA_MAX) {
		buf = malloc(count + 1);
		n = buf ? read_some(fd, buf, count, offset) : -ENOMEM;
		r = n < 0 ? (int)n : 0;
	}
	put_status(c, MIN(r, 0));
	put_post_attr(c, &f);
	if (r < 0)
		return 0;
	xdr_put_u32(c->out, (uint32_t)n);
	xdr_put_u32(c->out, offset + (uint64_t)n >= f.st.stx_size);
	xdr_put_opaque(c->out, buf, (size_t)n);
	return 0;
}

static int write_data(int fd, const uint8_t *data, size_t len, uint64_t offset, uint32_t stable)
{
	int r = offset > INT64_MAX - SHARE_DATA_MAX ? -EFBIG : io_pwrite_full(fd, data, len, offset);

	if (r == 0 && stable == DATA_SYNC && fdatasync(fd) < 0)
		r = -errno;
	if (r == 0 && stable == FILE_SYNC && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* For what changes a regular file: a descriptor, or why not; and what it was like before. */
static int open_to_change(struct call *c, const struct handle *h, struct file *f, struct before *was)
{
	int r = c->share->readonly ? -EROFS : open_handle(c, h, f);

	before(was, f);
	return r < 0 ? r : open_data(c, f, O_WRONLY);
}

int nfs_write(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	_cleanup_close_ int fd = -1;
	struct before was;
	struct handle h;
	uint64_t offset;
	uint32_t count, stable;
	const uint8_t *data;
	size_t len;
	int r;

	get_handle(c, &h);
	offset = xdr_get_u64(&c->in);
	count = xdr_get_u32(&c->in);
	stable = xdr_get_u32(&c->in);
	data = xdr_get_opaque(&c->in, SHARE_DATA_MAX, &len);
	if (bytes_done(&c->in) || count != len || stable > FILE_SYNC)
		return -EBADMSG;
	r = fd = open_to_change(c, &h, &f, &was);
	if (r >= 0)
		r = write_data(fd, data, len, offset, stable);
	put_status(c, r);
	put_changes(c, &was, &f);
	if (r < 0)
		return 0;
	xdr_put_u32(c->out, count);
	xdr_put_u32(c->out, stable);
	xdr_put_u64(c->out, c->share->verifier);
	return 0;
}

/* All of the file, whatever part was asked for. */
int nfs_commit(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	_cleanup_close_ int fd = -1;
	struct before was;
	struct handle h;
	int r;

	get_handle(c, &h);
	xdr_get_u64(&c->in);
	xdr_get_u32(&c->in);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = fd = open_to_change(c, &h, &f, &was);
	if (r >= 0)
		r = fsync(fd) < 0 ? -errno : 0;
	put_status(c, r);
	put_changes(c, &was, &f);
	if (r == 0)
		xdr_put_u64(c->out, c->share->verifier);
	return 0;
}
