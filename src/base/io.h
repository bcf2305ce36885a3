/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes. All return 0 or a negative errno. */
#ifndef NIDRA_BASE_IO_H
#define NIDRA_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* -ENODATA if the file ends before @len bytes. */
int io_read_full(int fd, void *buf, size_t len);
int io_pread_full(int fd, void *buf, size_t len, uint64_t offset);
int io_write_full(int fd, const void *buf, size_t len);
int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);

/* Whole file into allocated memory with a NUL behind it; refused above @max bytes. */
int io_read_file(const char *path, size_t max, uint8_t **ret_buf, size_t *ret_len, struct err *err);

/*
 * A new file at @path that shares the blocks of @fd until one of both is written. -EEXIST; -EOPNOTSUPP, -EXDEV,
 * -EINVAL, -ENOTTY: the filesystem cannot, or @path is on another one. Nothing is left of it then.
 */
int io_clone_file(int fd, const char *path, mode_t mode);
/*
 * The same in a file beside @path that has no name, and is gone with its descriptor, until io_give_name() gives it one.
 * Returns the descriptor; -EOPNOTSUPP, -EISDIR, -ENOENT also where the filesystem has no such files.
 */
int io_clone_unnamed(int fd, const char *path, mode_t mode);
/* @fd is of such a file. -EEXIST. */
int io_give_name(int fd, const char *path);
/* What @path's folder says of it is on the disk. */
int io_sync_folder(const char *path);

#endif
