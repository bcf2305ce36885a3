/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the server share: a call, its arguments and results. Numbers are those of RFC 1813 and RFC 5531. */
#ifndef NIDRA_SHARE_INTERNAL_H
#define NIDRA_SHARE_INTERNAL_H

#include "share/replies.h"
#include "share/share.h"
#include "share/tree.h"
#include "share/xdr.h"

struct share {
	char tag[SHARE_TAG_MAX + 1];
	int root_fd, proc_fd;
	bool readonly;
	uint64_t verifier; /* another one in each process: data that was not committed is sent again */
	uint64_t fsid;
	struct tree *tree;
	struct replies *replies;
};

struct call {
	struct share *share;
	struct bytes_reader in;
	struct bytes_writer *out;
};

/* Takes its arguments and puts its results. -EBADMSG: the arguments make no sense; nothing was done. */
typedef int call_fn(struct call *c);

#define NFS_PROCS   22
#define MOUNT_PROCS 6

extern call_fn *const nfs_procs[NFS_PROCS];
extern call_fn *const mount_procs[MOUNT_PROCS];

/* look.c */
call_fn nfs_null, nfs_getattr, nfs_lookup, nfs_access, nfs_readlink, nfs_fsstat, nfs_fsinfo, nfs_pathconf;
/* list.c */
call_fn nfs_readdir, nfs_readdirplus;
/* data.c */
call_fn nfs_read, nfs_write, nfs_commit;
/* change.c */
call_fn nfs_setattr, nfs_create, nfs_mkdir, nfs_symlink, nfs_mknod, nfs_remove, nfs_rmdir, nfs_rename, nfs_link;

/* ---- handles (handle.c) ---- */

#define HANDLE_BYTES 36
#define HANDLE_MAX   64

void handle_make(const struct share *s, const struct file_id *id, uint8_t ret[HANDLE_BYTES]);
/* -EBADF: it is none of ours. */
int handle_check(const struct share *s, const uint8_t *handle, size_t len, struct file_id *ret);

struct handle {
	const uint8_t *p;
	size_t len;
};
void get_handle(struct call *c, struct handle *ret);
/* -EBADF, -ESTALE */
int open_handle(struct call *c, const struct handle *h, struct file *ret);
void put_handle(struct call *c, const struct file_id *id);
void put_post_handle(struct call *c, const struct file_id *id);

/* One name of a folder. False in ->good: it is none that a folder can have. */
struct name {
	char text[TREE_NAME_MAX + 1];
	bool good, too_long;
};
void get_name(struct call *c, struct name *ret);
/* 0, -ENAMETOOLONG or -EINVAL */
int check_name(const struct name *n);

/* ---- attributes (attr.c) ---- */

/* NFS' number for a negative errno, or 0. */
void put_status(struct call *c, int r);
void put_attr(struct call *c, const struct file *f);
void put_post_attr(struct call *c, const struct file *f); /* none if it is not open */

/* What a file was like before a call changed it. */
struct before {
	bool known;
	uint64_t bytes;
	struct statx_timestamp mtime, ctime;
};
void before(struct before *b, const struct file *f);
/* ... and what it is like now. */
void put_changes(struct call *c, const struct before *b, struct file *f);

enum set_time { SET_TIME_NOT, SET_TIME_NOW, SET_TIME_GIVEN };

struct sattr {
	bool has_mode, has_uid, has_gid, has_size;
	uint32_t mode, uid, gid;
	uint64_t size;
	enum set_time atime, mtime;
	struct timespec times[2];
};
void get_sattr(struct call *c, struct sattr *ret);
/* All but the size of what is no regular file. */
int apply_sattr(struct share *s, struct file *f, const struct sattr *a);
/* Mode bits that a guest may give: none that makes a program run as somebody else on the host. */
mode_t safe_mode(const struct sattr *a, mode_t otherwise);

/* The file behind an O_PATH descriptor, for reading or writing. Only regular files and folders. */
int reopen(struct share *s, const struct file *f, int flags);
/* "123", its name in proc_fd */
#define FD_NAME 12
void fd_name(int fd, char ret[FD_NAME]);

#endif
