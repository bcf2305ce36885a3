/* SPDX-License-Identifier: Apache-2.0 */
/* Files of an ext2, ext3 or ext4 filesystem on a part of a disk, by libext2fs. It is only read, its journal is not. */
#ifndef NIDRA_BOOTDISK_EXTFS_H
#define NIDRA_BOOTDISK_EXTFS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define EXTFS_NAME_MAX 255

struct extfs;

/* -ENOEXEC: it is no such filesystem. */
int extfs_open(int fd, uint64_t offset, uint64_t bytes, struct extfs **ret, struct err *err);
void extfs_close(struct extfs *fs);
DEFINE_CLEANUP(struct extfs *, extfs_close)

/* The whole file, allocated; -ENOENT; -EFBIG above @max. Symbolic links are followed within the filesystem. */
int extfs_read(struct extfs *fs, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err);
/* The same to where @out is; *written is how much @out has already, and grows. */
int extfs_copy(struct extfs *fs, const char *path, int out, uint64_t max, uint64_t *written, struct err *err);

/* The name in @folder that begins with @prefix and is the newest version of all: 6.10 is newer than 6.9. -ENOENT */
int extfs_newest(struct extfs *fs, const char *folder, const char *prefix, char ret[EXTFS_NAME_MAX + 1]);

/* 36 characters */
void extfs_uuid(const struct extfs *fs, char ret[37]);

#endif
