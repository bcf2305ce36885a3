/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope of calls (RFC 5531), who answers which, and the MOUNT protocol. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>

#include "share/internal.h"

#define CALL	      0
#define REPLY	      1
#define RPC_VERSION   2
#define AUTH_MAX      400
#define PROGRAM_NFS   100003
#define PROGRAM_MOUNT 100005
#define VERSION	      3 /* of both */

#define AUTH_NONE 0
#define AUTH_SYS  1

enum denied { RPC_MISMATCH };
enum accepted { SUCCESS, PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS, SYSTEM_ERR };

call_fn *const nfs_procs[NFS_PROCS] = {
	nfs_null,    nfs_getattr,     nfs_setattr, nfs_lookup, nfs_access,   nfs_readlink, nfs_read,   nfs_write,
	nfs_create,  nfs_mkdir,	      nfs_symlink, nfs_mknod,  nfs_remove,   nfs_rmdir,	   nfs_rename, nfs_link,
	nfs_readdir, nfs_readdirplus, nfs_fsstat,  nfs_fsinfo, nfs_pathconf, nfs_commit,
};

/* Done twice, they would be answered another way the second time. */
static bool is_once(uint32_t program, uint32_t proc)
{
	static const uint32_t setattr = 2, create = 8, link = 15;

	return program == PROGRAM_NFS && (proc == setattr || (proc >= create && proc <= link));
}

/* ---- MOUNT ---- */

static int mount_mnt(struct call *c)
{
	static const struct file_id root;
	const char *tag = c->share->tag;
	size_t len;
	const uint8_t *p = xdr_get_opaque(&c->in, 1024, &len);

	if (bytes_done(&c->in))
		return -EBADMSG;
	if (len && *p == '/') {
		p++;
		len--;
	}
	if (len != strlen(tag) || memcmp(p, tag, len)) {
		put_status(c, -ENOENT);
		return 0;
	}
	put_status(c, 0);
	put_handle(c, &root);
	xdr_put_u32(c->out, 2);
	xdr_put_u32(c->out, AUTH_SYS);
	xdr_put_u32(c->out, AUTH_NONE);
	return 0;
}

/* Who has it mounted is not kept. */
static int mount_dump(struct call *c)
{
	xdr_put_u32(c->out, 0);
	return 0;
}

static int mount_export(struct call *c)
{
	char path[SHARE_TAG_MAX + 2] = "/";

	strcat(path, c->share->tag);
	xdr_put_u32(c->out, 1);
	xdr_put_opaque(c->out, path, strlen(path));
	xdr_put_u32(c->out, 0); /* for everybody */
	xdr_put_u32(c->out, 0);
	return 0;
}

call_fn *const mount_procs[MOUNT_PROCS] = { nfs_null, mount_mnt, mount_dump, nfs_null, nfs_null, mount_export };

/* ---- calls ---- */

struct header {
	uint32_t xid, program, version, proc;
};

static void put_header(struct bytes_writer *out, const struct header *h, enum accepted how)
{
	xdr_put_u32(out, h->xid);
	xdr_put_u32(out, REPLY);
	xdr_put_u32(out, 0);
	xdr_put_u64(out, 0); /* no verifier */
	xdr_put_u32(out, how);
}

static void put_refusal(struct bytes_writer *out, const struct header *h)
{
	xdr_put_u32(out, h->xid);
	xdr_put_u32(out, REPLY);
	xdr_put_u32(out, 1);
	xdr_put_u32(out, RPC_MISMATCH);
	xdr_put_u32(out, RPC_VERSION);
	xdr_put_u32(out, RPC_VERSION);
}

static void skip_auth(struct bytes_reader *in)
{
	size_t len;

	xdr_get_u32(in);
	xdr_get_opaque(in, AUTH_MAX, &len);
}

static int make_answer(struct call *c, const struct header *h)
{
	bool nfs = h->program == PROGRAM_NFS;
	call_fn *const *procs = nfs ? nfs_procs : mount_procs;
	size_t start = c->out->len;
	enum accepted how = SUCCESS;

	if (!nfs && h->program != PROGRAM_MOUNT)
		how = PROG_UNAVAIL;
	else if (h->version != VERSION)
		how = PROG_MISMATCH;
	else if (h->proc >= (nfs ? NFS_PROCS : MOUNT_PROCS))
		how = PROC_UNAVAIL;
	put_header(c->out, h, how);
	if (how == PROG_MISMATCH) {
		xdr_put_u32(c->out, VERSION);
		xdr_put_u32(c->out, VERSION);
	}
	if (how != SUCCESS || procs[h->proc](c) == 0)
		return 0;
	c->out->len = start;
	put_header(c->out, h, GARBAGE_ARGS);
	return 0;
}

/* The one that it was given before, or a new one. */
static int answer_once(struct call *c, const struct header *h, const void *msg, size_t len)
{
	struct replies *replies = c->share->replies;
	size_t start = c->out->len, old_len;
	uint8_t hash[REPLIES_HASH];
	const uint8_t *old;
	int r;

	replies_hash(msg, len, hash);
	old = replies_find(replies, hash, &old_len);
	if (old) {
		bytes_put(c->out, old, old_len);
		return 0;
	}
	r = make_answer(c, h);
	if (r == 0 && !c->out->failed)
		replies_add(replies, hash, c->out->buf + start, c->out->len - start);
	return r;
}

int share_answer(struct share *s, const void *msg, size_t len, struct bytes_writer *out)
{
	struct call c = { .share = s, .in = bytes_reader(msg, len), .out = out };
	struct header h = { .xid = xdr_get_u32(&c.in) };
	uint32_t type = xdr_get_u32(&c.in), version = xdr_get_u32(&c.in);

	h.program = xdr_get_u32(&c.in);
	h.version = xdr_get_u32(&c.in);
	h.proc = xdr_get_u32(&c.in);
	skip_auth(&c.in);
	skip_auth(&c.in);
	if (c.in.failed || type != CALL)
		return -EBADMSG;
	if (version != RPC_VERSION) {
		put_refusal(out, &h);
		return 0;
	}
	return is_once(h.program, h.proc) ? answer_once(&c, &h, msg, len) : make_answer(&c, &h);
}

/* ---- the share ---- */

int share_new(const struct share_options *o, struct share **ret)
{
	_cleanup_(share_freep) struct share *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	strncpy(s->tag, o->tag, SHARE_TAG_MAX);
	s->root_fd = o->root_fd;
	s->proc_fd = o->proc_fd;
	s->readonly = o->readonly;
	r = replies_new(o->state_fd, &s->replies);
	r = r ?: tree_new(o->root_fd, &s->tree);
	if (r < 0)
		return r;
	randombytes_buf(&s->verifier, sizeof(s->verifier));
	crypto_generichash((uint8_t *)&s->fsid, sizeof(s->fsid), replies_key(s->replies), REPLIES_KEY, NULL, 0);
	*ret = take_ptr(s);
	return 0;
}

void share_free(struct share *s)
{
	if (!s)
		return;
	tree_free(s->tree);
	replies_free(s->replies);
	free(s);
}
