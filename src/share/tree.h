/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of one folder, by what they are instead of by where they are. A file is found again by the path at which it
 * was seen last; if it is not there any more, by looking through the folder. So a new process finds what an earlier
 * one gave out, and all that is kept here may be forgotten at any time.
 *
 * Every walk begins at the folder and stays beneath it: no symbolic link, no "..", no other mount (openat2()). No
 * descriptor outlives a request, so what was moved out of the folder is out of reach with the next one.
 */
#ifndef NIDRA_SHARE_TREE_H
#define NIDRA_SHARE_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define TREE_NAME_MAX 255

/* Number and birth. A number is used again for another file; its birth is another one then, where it is known. */
struct file_id {
	uint64_t ino; /* 0: the folder itself, whichever it is */
	uint64_t born_ns;
};

struct file {
	int fd; /* O_PATH */
	struct file_id id;
	struct statx st;
};

#define FILE_NONE                                                                                                      \
	(struct file)                                                                                                  \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

static inline void file_fini(struct file *f)
{
	close_fdp(&f->fd);
}

struct tree;

/* @root_fd is a folder, and the caller's for as long as the tree lives. */
int tree_new(int root_fd, struct tree **ret);
void tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree *, tree_free)

/* -ESTALE: there is no such file in the folder. */
int tree_open(struct tree *t, const struct file_id *id, struct file *ret);
/* @name in @dir. A symbolic link is opened as what it is. */
int tree_lookup(struct tree *t, const struct file *dir, const char *name, struct file *ret);
/* It is there now. */
void tree_note(struct tree *t, const struct file_id *dir, const char *name, const struct file_id *id);
/* st anew. */
int file_stat(struct file *f);
int file_stat_fd(int fd, struct file *ret); /* all but its fd */

/* True: one name, that leads nowhere else. */
bool tree_name_is_good(const uint8_t *name, size_t len);

/* openat2() beneath @dir_fd, with no way out. */
int tree_openat(int dir_fd, const char *path, int flags, mode_t mode);

#endif
