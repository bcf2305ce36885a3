/* SPDX-License-Identifier: Apache-2.0 */
/* READDIR and READDIRPLUS. A cookie is the filesystem's own position, so it holds through the end of this process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "share/internal.h"

#define LIST_BYTES  32768
#define ANSWER_MAX  65536u
#define ENTRY_BYTES 24	/* of an entry, besides its name */
#define PLUS_BYTES  136 /* besides, with attributes and handle */
#define END_BYTES   104 /* attributes and verifier before, the end behind */

struct list {
	struct call *call;
	struct file *dir;
	size_t max; /* bytes of the answer */
	size_t start;
	bool plus, full;
};

static void put_plus(struct list *l, const char *name)
{
	_cleanup_(file_fini) struct file f = FILE_NONE;
	struct call *c = l->call;

	/* "." and ".." are told by number only. */
	if (!tree_name_is_good((const uint8_t *)name, strlen(name)) ||
	    tree_lookup(c->share->tree, l->dir, name, &f) < 0) {
		xdr_put_u32(c->out, 0);
		xdr_put_u32(c->out, 0);
		return;
	}
	put_post_attr(c, &f);
	put_post_handle(c, &f.id);
}

static void put_entry(struct list *l, const struct dirent64 *e)
{
	size_t len = strlen(e->d_name), need = ENTRY_BYTES + len + 3 + (l->plus ? PLUS_BYTES : 0);
	struct call *c = l->call;
	/* What is above the folder is nobody's business here. */
	bool above = !l->dir->id.ino && !strcmp(e->d_name, "..");

	if (c->out->len - l->start + need + END_BYTES > l->max) {
		l->full = true;
		return;
	}
	xdr_put_u32(c->out, 1);
	xdr_put_u64(c->out, above ? l->dir->st.stx_ino : e->d_ino);
	xdr_put_opaque(c->out, e->d_name, len);
	xdr_put_u64(c->out, (uint64_t)e->d_off);
	if (l->plus)
		put_plus(l, e->d_name);
}

/* 1: to its end. */
static int put_entries(struct list *l, int fd)
{
	_cleanup_free_ char *buf = malloc(LIST_BYTES);
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	while ((n = getdents64(fd, buf, LIST_BYTES)) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *e = (const struct dirent64 *)(buf + at);

			put_entry(l, e);
			if (l->full)
				return 0;
			at += e->d_reclen;
		}
	return n < 0 ? -errno : 1;
}

static int open_list(struct call *c, const struct file *dir, uint64_t cookie)
{
	_cleanup_close_ int fd = -1;

	if (!S_ISDIR(dir->st.stx_mode))
		return -ENOTDIR;
	fd = reopen(c->share, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	if (cookie && lseek(fd, (off_t)cookie, SEEK_SET) < 0)
		return -ESPIPE; /* a bad cookie */
	return take_fd(fd);
}

static void put_list(struct list *l, int r, int fd)
{
	struct call *c = l->call;
	size_t status_at = c->out->len, empty;

	l->start = status_at;
	put_status(c, r);
	put_post_attr(c, l->dir);
	if (r < 0)
		return;
	xdr_put_u64(c->out, 0); /* cookies need no verifier */
	empty = c->out->len;
	r = put_entries(l, fd);
	if (r >= 0 && l->full && c->out->len == empty)
		r = -EOVERFLOW; /* not even one: the client wants too little */
	if (r < 0) {
		c->out->len = status_at;
		put_status(c, r);
		put_post_attr(c, l->dir);
		return;
	}
	xdr_put_u32(c->out, 0);
	xdr_put_u32(c->out, r == 1);
}

static int list(struct call *c, bool plus)
{
	_cleanup_(file_fini) struct file dir = FILE_NONE;
	_cleanup_close_ int fd = -1;
	struct list l = { .call = c, .dir = &dir, .plus = plus };
	struct handle h;
	uint64_t cookie;
	int r;

	get_handle(c, &h);
	cookie = xdr_get_u64(&c->in);
	xdr_get_u64(&c->in); /* verifier */
	l.max = xdr_get_u32(&c->in);
	if (plus)
		l.max = xdr_get_u32(&c->in); /* the first one counts less than is sent */
	if (bytes_done(&c->in))
		return -EBADMSG;
	l.max = MIN(l.max, ANSWER_MAX);
	r = open_handle(c, &h, &dir);
	if (r == 0) {
		fd = open_list(c, &dir, cookie);
		r = fd < 0 ? fd : 0;
	}
	put_list(&l, r, fd);
	return 0;
}

int nfs_readdir(struct call *c)
{
	return list(c, false);
}

int nfs_readdirplus(struct call *c)
{
	return list(c, true);
}
