/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that make, name and remove files. Each works on a folder's descriptor and one name in it, so whatever becomes
 * of links and folders meanwhile, it ends in that folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "share/internal.h"

/* A folder and a name in it: what most calls begin with. */
struct place {
	struct handle handle;
	struct name name;
	struct file dir;
	struct before was;
};

#define PLACE_NONE                                                                                                     \
	(struct place)                                                                                                 \
	{                                                                                                              \
		.dir = FILE_NONE                                                                                       \
	}

static void place_fini(struct place *p)
{
	file_fini(&p->dir);
}

static void get_place(struct call *c, struct place *p)
{
	get_handle(c, &p->handle);
	get_name(c, &p->name);
}

static int open_place(struct call *c, struct place *p)
{
	int r = c->share->readonly ? -EROFS : open_handle(c, &p->handle, &p->dir);

	before(&p->was, &p->dir);
	if (r == 0 && !S_ISDIR(p->dir.st.stx_mode))
		r = -ENOTDIR;
	return r ?: check_name(&p->name);
}

/* What a call that made something answers. */
static void put_made(struct call *c, int r, const struct file *f, struct place *p)
{
	put_status(c, r);
	if (r == 0) {
		put_post_handle(c, &f->id);
		put_post_attr(c, f);
	}
	put_changes(c, &p->was, &p->dir);
}

int nfs_setattr(struct call *c)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	uint32_t guarded, sec = 0, nsec = 0;
	struct before was;
	struct sattr a;
	struct handle h;
	int r;

	get_handle(c, &h);
	get_sattr(c, &a);
	guarded = xdr_get_u32(&c->in);
	if (guarded) {
		sec = xdr_get_u32(&c->in);
		nsec = xdr_get_u32(&c->in);
	}
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = c->share->readonly ? -EROFS : open_handle(c, &h, &f);
	before(&was, &f);
	if (r == 0 && guarded && (sec != (uint32_t)was.ctime.tv_sec || nsec != was.ctime.tv_nsec))
		r = -ENODATA; /* "not in step": the client looks again */
	r = r ?: apply_sattr(c->share, &f, &a);
	put_status(c, r);
	put_changes(c, &was, &f);
	return 0;
}

/* ---- CREATE ---- */

enum create_how { UNCHECKED, GUARDED, EXCLUSIVE };

/* Times that a later try of the same call is known by. */
static void verifier_times(uint64_t verifier, struct sattr *ret)
{
	*ret = (struct sattr){ .atime = SET_TIME_GIVEN, .mtime = SET_TIME_GIVEN };
	ret->times[0].tv_sec = (time_t)(verifier >> 32 & INT32_MAX);
	ret->times[1].tv_sec = (time_t)(verifier & INT32_MAX);
}

static int create_new(struct call *c, struct place *p, const struct sattr *a, struct file *ret)
{
	struct sattr rest = *a;
	int fd = tree_openat(p->dir.fd, p->name.text, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, safe_mode(a, 0644));
	int r;

	if (fd < 0)
		return fd;
	close(fd);
	r = tree_lookup(c->share->tree, &p->dir, p->name.text, ret);
	rest.has_mode = false;
	rest.has_size = a->has_size && a->size;
	return r ?: apply_sattr(c->share, ret, &rest);
}

/* It is there already, and that may be right. It is not opened but as what it is: it could be a device. */
static int create_over(struct call *c, struct place *p, enum create_how how, const struct sattr *a, struct file *ret)
{
	struct sattr size = { .has_size = a->has_size, .size = a->size };
	int r = how == GUARDED ? -EEXIST : tree_lookup(c->share->tree, &p->dir, p->name.text, ret);

	if (r == 0 && !S_ISREG(ret->st.stx_mode))
		r = -EEXIST;
	if (r < 0)
		return r;
	if (how == UNCHECKED)
		return apply_sattr(c->share, ret, &size);
	return ret->st.stx_atime.tv_sec == a->times[0].tv_sec && ret->st.stx_mtime.tv_sec == a->times[1].tv_sec
		       ? 0
		       : -EEXIST;
}

int nfs_create(struct call *c)
{
	_cleanup_(place_fini) struct place p = PLACE_NONE;
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct sattr a;
	uint32_t how;
	int r;

	get_place(c, &p);
	how = xdr_get_u32(&c->in);
	if (how == EXCLUSIVE)
		verifier_times(xdr_get_u64(&c->in), &a);
	else
		get_sattr(c, &a);
	if (bytes_done(&c->in) || how > EXCLUSIVE)
		return -EBADMSG;
	r = open_place(c, &p);
	r = r ?: create_new(c, &p, &a, &f);
	if (r == -EEXIST)
		r = create_over(c, &p, (enum create_how)how, &a, &f);
	r = r ?: file_stat(&f);
	put_made(c, r, &f, &p);
	return 0;
}

/* ---- MKDIR, SYMLINK, MKNOD ---- */

/* What @r is of making it, and then the rest of what was asked for. */
static int finish(struct call *c, struct place *p, int r, struct sattr *a, struct file *ret)
{
	if (r < 0)
		return -errno;
	a->has_mode = a->has_size = false;
	r = tree_lookup(c->share->tree, &p->dir, p->name.text, ret);
	r = r ?: apply_sattr(c->share, ret, a);
	return r ?: file_stat(ret);
}

int nfs_mkdir(struct call *c)
{
	_cleanup_(place_fini) struct place p = PLACE_NONE;
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct sattr a;
	int r;

	get_place(c, &p);
	get_sattr(c, &a);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_place(c, &p);
	r = r ?: finish(c, &p, mkdirat(p.dir.fd, p.name.text, safe_mode(&a, 0755)), &a, &f);
	put_made(c, r, &f, &p);
	return 0;
}

int nfs_symlink(struct call *c)
{
	_cleanup_(place_fini) struct place p = PLACE_NONE;
	_cleanup_(file_fini) struct file f = FILE_NONE;
	char target[PATH_MAX] = "";
	const uint8_t *text;
	struct sattr a;
	size_t len;
	int r;

	get_place(c, &p);
	get_sattr(c, &a);
	text = xdr_get_opaque(&c->in, SHARE_REQUEST_MAX, &len);
	if (bytes_done(&c->in))
		return -EBADMSG;
	if (text && len < sizeof(target))
		memcpy(target, text, len);
	r = open_place(c, &p);
	r = r ?: len >= sizeof(target) ? -ENAMETOOLONG : strlen(target) != len ? -EINVAL : 0;
	r = r ?: finish(c, &p, symlinkat(target, p.dir.fd, p.name.text), &a, &f);
	put_made(c, r, &f, &p);
	return 0;
}

/* Pipes and sockets mean something between the guest's own programs. Devices would mean the host's. */
static mode_t node_type(uint32_t type)
{
	switch (type) {
	case 6:
		return S_IFSOCK;
	case 7:
		return S_IFIFO;
	default:
		return 0;
	}
}

int nfs_mknod(struct call *c)
{
	_cleanup_(place_fini) struct place p = PLACE_NONE;
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct sattr a = { 0 };
	uint32_t type;
	mode_t node;
	int r;

	get_place(c, &p);
	type = xdr_get_u32(&c->in);
	if (type == 3 || type == 4 || node_type(type))
		get_sattr(c, &a);
	if (type == 3 || type == 4)
		xdr_get_u64(&c->in); /* its numbers */
	if (bytes_done(&c->in))
		return -EBADMSG;
	node = node_type(type);
	r = open_place(c, &p);
	r = r ?: node ? r : -EPERM;
	r = r ?: finish(c, &p, mknodat(p.dir.fd, p.name.text, node | safe_mode(&a, 0644), 0), &a, &f);
	put_made(c, r, &f, &p);
	return 0;
}

/* ---- REMOVE, RMDIR, RENAME, LINK ---- */

static int remove_name(struct call *c, int flags)
{
	_cleanup_(place_fini) struct place p = PLACE_NONE;
	int r;

	get_place(c, &p);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_place(c, &p);
	if (r == 0 && unlinkat(p.dir.fd, p.name.text, flags) < 0)
		r = -errno;
	put_status(c, r);
	put_changes(c, &p.was, &p.dir);
	return 0;
}

int nfs_remove(struct call *c)
{
	return remove_name(c, 0);
}

int nfs_rmdir(struct call *c)
{
	return remove_name(c, AT_REMOVEDIR);
}

int nfs_rename(struct call *c)
{
	_cleanup_(place_fini) struct place from = PLACE_NONE, to = PLACE_NONE;
	_cleanup_(file_fini) struct file f = FILE_NONE;
	int r;

	get_place(c, &from);
	get_place(c, &to);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_place(c, &from);
	r = open_place(c, &to) ?: r;
	if (r == 0 && renameat(from.dir.fd, from.name.text, to.dir.fd, to.name.text) < 0)
		r = -errno;
	if (r == 0)
		tree_lookup(c->share->tree, &to.dir, to.name.text, &f); /* where it is now */
	put_status(c, r);
	put_changes(c, &from.was, &from.dir);
	put_changes(c, &to.was, &to.dir);
	return 0;
}

int nfs_link(struct call *c)
{
	_cleanup_(place_fini) struct place to = PLACE_NONE;
	_cleanup_(file_fini) struct file f = FILE_NONE;
	char name[FD_NAME];
	struct handle h;
	int r;

	get_handle(c, &h);
	get_place(c, &to);
	if (bytes_done(&c->in))
		return -EBADMSG;
	r = open_place(c, &to);
	r = r ?: open_handle(c, &h, &f);
	/* A symbolic link is followed by the kernel here, from its name among the descriptors to wherever it leads. */
	if (r == 0 && S_ISLNK(f.st.stx_mode))
		r = -EINVAL;
	if (r == 0) {
		fd_name(f.fd, name);
		if (linkat(c->share->proc_fd, name, to.dir.fd, to.name.text, AT_SYMLINK_FOLLOW) < 0)
			r = -errno;
	}
	if (f.fd >= 0 && file_stat(&f) < 0)
		file_fini(&f);
	put_status(c, r);
	put_post_attr(c, &f);
	put_changes(c, &to.was, &to.dir);
	return 0;
}
