/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that change nothing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "share/internal.h"

/* ACCESS */
#define MAY_READ    0x01
#define MAY_LOOKUP  0x02
#define MAY_MODIFY  0x04
#define MAY_EXTEND  0x08
#define MAY_DELETE  0x10
#define MAY_EXECUTE 0x20

/* FSINFO: hard links, symbolic links, all files alike, times can be set */
#define PROPERTIES (0x01 | 0x02 | 0x08 | 0x10)

int nfs_null(struct call *c)
{
	(void)c;
	return 0;
}

int nfs_getattr(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct handle h;
	int r;

	get_handle(c, &h);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_handle(c, &h, &f);
	put_status(c, r);
	if (r == 0)
		put_attr(c, &f);
	return 0;
}

int nfs_lookup(struct call *c)
{
	_cleanup_(file_fini) struct file dir = FILE_NONE, f = FILE_NONE;
	struct handle h;
	struct name name;
	int r;

	get_handle(c, &h);
	get_name(c, &name);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_handle(c, &h, &dir);
	r = r ?: check_name(&name);
	r = r ?: tree_lookup(c->share->tree, &dir, name.text, &f);
	put_status(c, r);
	if (r == 0) {
		put_handle(c, &f.id);
		put_post_attr(c, &f);
	}
	put_post_attr(c, &dir);
	return 0;
}

static bool may(const struct file *f, int mode)
{
	return syscall(SYS_faccessat2, f->fd, "", mode, AT_EMPTY_PATH | AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0;
}

static uint32_t rights(const struct share *s, const struct file *f)
{
	bool dir = S_ISDIR(f->st.stx_mode);
	uint32_t all = may(f, R_OK) ? MAY_READ : 0;

	if (!s->readonly && may(f, W_OK))
		all |= MAY_MODIFY | MAY_EXTEND | (dir ? MAY_DELETE : 0);
	if (may(f, X_OK))
		all |= dir ? MAY_LOOKUP : MAY_EXECUTE;
	return all;
}

int nfs_access(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct handle h;
	uint32_t wanted;
	int r;

	get_handle(c, &h);
	wanted = xdr_get_u32(&c->in);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_handle(c, &h, &f);
	put_status(c, r);
	put_post_attr(c, &f);
	if (r == 0)
		xdr_put_u32(c->out, wanted & rights(c->share, &f));
	return 0;
}

int nfs_readlink(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	char target[PATH_MAX];
	struct handle h;
	ssize_t n = 0;
	int r;

	get_handle(c, &h);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_handle(c, &h, &f);
	if (r == 0) {
		n = S_ISLNK(f.st.stx_mode) ? readlinkat(f.fd, "", target, sizeof(target)) : -1;
		if (n < 0)
			r = S_ISLNK(f.st.stx_mode) ? -errno : -EINVAL;
	}
	put_status(c, r);
	put_post_attr(c, &f);
	if (r == 0)
		xdr_put_opaque(c->out, target, (size_t)n);
	return 0;
}

/* ---- of the filesystem ---- */

/* What three calls begin with. */
static int root_call(struct call *c, struct file *f)
{
	struct handle h;
	int r;

	get_handle(c, &h);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_handle(c, &h, f);
	put_status(c, r);
	put_post_attr(c, f);
	return r < 0 ? 1 : 0;
}

int nfs_fsstat(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct statfs s = { 0 };
	uint64_t unit;
	int r = root_call(c, &f);

	if (r)
		return r < 0 ? r : 0;
	fstatfs(f.fd, &s);
	unit = (uint64_t)(s.f_frsize ?: s.f_bsize);
	xdr_put_u64(c->out, (uint64_t)s.f_blocks * unit);
	xdr_put_u64(c->out, (uint64_t)s.f_bfree * unit);
	xdr_put_u64(c->out, (uint64_t)s.f_bavail * unit);
	xdr_put_u64(c->out, s.f_files);
	xdr_put_u64(c->out, s.f_ffree);
	xdr_put_u64(c->out, s.f_ffree);
	xdr_put_u32(c->out, 0); /* it may be another one at any time */
	return 0;
}

int nfs_fsinfo(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	int r = root_call(c, &f);

	if (r)
		return r < 0 ? r : 0;
	for (int i = 0; i < 2; i++) { /* to read, to write: at most, best, a multiple of */
		xdr_put_u32(c->out, SHARE_DATA_MAX);
		xdr_put_u32(c->out, SHARE_DATA_MAX);
		xdr_put_u32(c->out, 4096);
	}
	xdr_put_u32(c->out, 65536); /* of a folder */
	xdr_put_u64(c->out, INT64_MAX);
	xdr_put_u32(c->out, 0); /* times are exact to the nanosecond */
	xdr_put_u32(c->out, 1);
	xdr_put_u32(c->out, PROPERTIES);
	return 0;
}

int nfs_pathconf(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	int r = root_call(c, &f);

	if (r)
		return r < 0 ? r : 0;
	xdr_put_u32(c->out, 32000); /* links of a file: what most can */
	xdr_put_u32(c->out, TREE_NAME_MAX);
	xdr_put_u32(c->out, 1); /* longer names are refused, */
	xdr_put_u32(c->out, 1); /* owners cannot be changed by anybody, */
	xdr_put_u32(c->out, 0); /* a and A are two, */
	xdr_put_u32(c->out, 1); /* and stay what they are */
	return 0;
}
