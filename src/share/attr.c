/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "share/internal.h"

#define NFS_IO 5

/* ---- numbers ---- */

void put_status(struct call *c, int r)
{
	static const struct {
		int code;
		uint32_t nfs;
	} map[] = {
		{ 0, 0 },
		{ -EPERM, 1 },
		{ -ENOENT, 2 },
		{ -EIO, NFS_IO },
		{ -ENXIO, 6 },
		{ -EACCES, 13 },
		{ -EEXIST, 17 },
		{ -EXDEV, 18 },
		{ -ENODEV, 19 },
		{ -ENOTDIR, 20 },
		{ -EISDIR, 21 },
		{ -EINVAL, 22 },
		{ -EFBIG, 27 },
		{ -ENOSPC, 28 },
		{ -EROFS, 30 },
		{ -EMLINK, 31 },
		{ -ENAMETOOLONG, 63 },
		{ -ENOTEMPTY, 66 },
		{ -EDQUOT, 69 },
		{ -ESTALE, 70 },
		{ -EBADF, 10001 },
		{ -ENODATA, 10002 },
		{ -ESPIPE, 10003 },
		{ -EOPNOTSUPP, 10004 },
		{ -EOVERFLOW, 10005 },
		{ -EMFILE, 10008 },
		{ -ENFILE, 10008 },
		{ -ENOMEM, 10008 }, /* "try again later" */
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].code == r) {
			xdr_put_u32(c->out, map[i].nfs);
			return;
		}
	xdr_put_u32(c->out, NFS_IO);
}

static uint32_t type_of(const struct file *f)
{
	switch (f->st.stx_mode & S_IFMT) {
	case S_IFREG:
		return 1;
	case S_IFDIR:
		return 2;
	case S_IFBLK:
		return 3;
	case S_IFCHR:
		return 4;
	case S_IFLNK:
		return 5;
	case S_IFSOCK:
		return 6;
	default:
		return 7;
	}
}

static void put_time(struct call *c, const struct statx_timestamp *t)
{
	xdr_put_u32(c->out, (uint32_t)t->tv_sec);
	xdr_put_u32(c->out, t->tv_nsec);
}

void put_attr(struct call *c, const struct file *f)
{
	xdr_put_u32(c->out, type_of(f));
	xdr_put_u32(c->out, f->st.stx_mode & 07777);
	xdr_put_u32(c->out, f->st.stx_nlink);
	xdr_put_u32(c->out, f->st.stx_uid);
	xdr_put_u32(c->out, f->st.stx_gid);
	xdr_put_u64(c->out, f->st.stx_size);
	xdr_put_u64(c->out, f->st.stx_blocks * 512);
	xdr_put_u32(c->out, f->st.stx_rdev_major);
	xdr_put_u32(c->out, f->st.stx_rdev_minor);
	xdr_put_u64(c->out, c->share->fsid);
	xdr_put_u64(c->out, f->st.stx_ino);
	put_time(c, &f->st.stx_atime);
	put_time(c, &f->st.stx_mtime);
	put_time(c, &f->st.stx_ctime);
}

void put_post_attr(struct call *c, const struct file *f)
{
	xdr_put_u32(c->out, f->fd >= 0);
	if (f->fd >= 0)
		put_attr(c, f);
}

void before(struct before *b, const struct file *f)
{
	*b = (struct before){
		.known = f->fd >= 0, .bytes = f->st.stx_size, .mtime = f->st.stx_mtime, .ctime = f->st.stx_ctime
	};
}

void put_changes(struct call *c, const struct before *b, struct file *f)
{
	xdr_put_u32(c->out, b->known);
	if (b->known) {
		xdr_put_u64(c->out, b->bytes);
		put_time(c, &b->mtime);
		put_time(c, &b->ctime);
	}
	if (f->fd >= 0 && file_stat(f) < 0)
		file_fini(f);
	put_post_attr(c, f);
}

/* ---- what is to be set ---- */

static bool get_u32_if(struct call *c, uint32_t *ret)
{
	bool there = xdr_get_u32(&c->in) == 1;

	if (there)
		*ret = xdr_get_u32(&c->in);
	return there;
}

static enum set_time get_time_if(struct call *c, struct timespec *ret)
{
	uint32_t how = xdr_get_u32(&c->in);

	ret->tv_nsec = how == SET_TIME_NOW ? UTIME_NOW : UTIME_OMIT;
	if (how > SET_TIME_GIVEN)
		bytes_fail(&c->in);
	if (how != SET_TIME_GIVEN)
		return (enum set_time)how;
	ret->tv_sec = xdr_get_u32(&c->in);
	ret->tv_nsec = xdr_get_u32(&c->in);
	if (ret->tv_nsec >= 1000000000)
		bytes_fail(&c->in);
	return SET_TIME_GIVEN;
}

void get_sattr(struct call *c, struct sattr *ret)
{
	*ret = (struct sattr){ 0 };
	ret->has_mode = get_u32_if(c, &ret->mode);
	ret->has_uid = get_u32_if(c, &ret->uid);
	ret->has_gid = get_u32_if(c, &ret->gid);
	ret->has_size = xdr_get_u32(&c->in) == 1;
	if (ret->has_size)
		ret->size = xdr_get_u64(&c->in);
	ret->atime = get_time_if(c, &ret->times[0]);
	ret->mtime = get_time_if(c, &ret->times[1]);
}

mode_t safe_mode(const struct sattr *a, mode_t otherwise)
{
	return (a->has_mode ? a->mode : otherwise) & 01777;
}

void fd_name(int fd, char ret[FD_NAME])
{
	snprintf(ret, FD_NAME, "%d", fd);
}

static int set_mode(struct share *s, const struct file *f, mode_t mode)
{
	char name[FD_NAME];

	if (S_ISLNK(f->st.stx_mode))
		return 0; /* they have none */
	fd_name(f->fd, name);
	return fchmodat(s->proc_fd, name, mode, 0) < 0 ? -errno : 0;
}

static int open_again(struct share *s, const struct file *f, int flags)
{
	char name[FD_NAME];
	int fd;

	fd_name(f->fd, name);
	fd = openat(s->proc_fd, name, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/*
 * A client has a file open, and its owner takes his own right to write away, or never gave it: git does. What was open
 * can be written to on. There is no open file here, so the right is given back for a moment.
 */
int reopen(struct share *s, const struct file *f, int flags)
{
	mode_t mode = f->st.stx_mode & 07777;
	int fd, r;

	if (!S_ISREG(f->st.stx_mode) && !S_ISDIR(f->st.stx_mode))
		return -EINVAL;
	fd = open_again(s, f, flags);
	if (fd != -EACCES || !S_ISREG(f->st.stx_mode) || f->st.stx_uid != geteuid() || s->readonly)
		return fd;
	r = set_mode(s, f, mode | S_IRUSR | S_IWUSR);
	if (r < 0)
		return -EACCES;
	fd = open_again(s, f, flags);
	r = set_mode(s, f, mode);
	if (r < 0 && fd >= 0)
		close_fdp(&fd);
	return r < 0 ? r : fd;
}

static int set_size(struct share *s, const struct file *f, uint64_t size)
{
	_cleanup_close_ int fd = -1;

	if (S_ISDIR(f->st.stx_mode))
		return -EISDIR;
	if (size > INT64_MAX)
		return -EFBIG;
	fd = reopen(s, f, O_WRONLY);
	if (fd < 0)
		return fd;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int set_owner(const struct file *f, const struct sattr *a)
{
	bool uid = a->has_uid && a->uid != f->st.stx_uid, gid = a->has_gid && a->gid != f->st.stx_gid;

	if (!uid && !gid)
		return 0;
	return fchownat(f->fd, "", uid ? a->uid : (uid_t)-1, gid ? a->gid : (gid_t)-1,
			AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0
		       ? -errno
		       : 0;
}

int apply_sattr(struct share *s, struct file *f, const struct sattr *a)
{
	int r = a->has_size ? set_size(s, f, a->size) : 0;

	if (r == 0)
		r = set_owner(f, a);
	if (r == 0 && a->has_mode)
		r = set_mode(s, f, safe_mode(a, 0));
	if (r == 0 && (a->atime || a->mtime) && utimensat(f->fd, "", a->times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	return r;
}
