/* SPDX-License-Identifier: Apache-2.0 */
#include "bootdisk/extfs.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "bootdisk/source.h"
#include "base/util.h"

#define CHUNK ((uint64_t)1 << 20)

struct extfs {
	ext2_filsys fs;
};

/* ---- a part of a descriptor, as libext2fs wants it ---- */

struct range {
	int fd;
	uint64_t offset, bytes;
};

/* ext2fs_open() has no argument that it would pass on. One filesystem is opened at a time. */
static struct range opening;

static errcode_t range_close(io_channel c)
{
	if (--c->refcount > 0)
		return 0;
	free(c->private_data);
	free(c->name);
	free(c);
	return 0;
}

static errcode_t range_set_blksize(io_channel c, int size)
{
	c->block_size = size;
	return 0;
}

/* A negative count is one of bytes. */
static errcode_t range_read64(io_channel c, unsigned long long block, int count, void *data)
{
	const struct range *at = c->private_data;
	uint64_t size = (uint64_t)c->block_size, offset, len;

	len = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * size;
	if (__builtin_mul_overflow((uint64_t)block, size, &offset) || offset > at->bytes || len > at->bytes - offset)
		return EXT2_ET_SHORT_READ;
	return source_read(at->fd, data, len, at->offset + offset) < 0 ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t range_read(io_channel c, unsigned long block, int count, void *data)
{
	return range_read64(c, block, count, data);
}

static errcode_t range_write64(io_channel c, unsigned long long block, int count, const void *data)
{
	(void)c;
	(void)block;
	(void)count;
	(void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t range_write(io_channel c, unsigned long block, int count, const void *data)
{
	return range_write64(c, block, count, data);
}

static errcode_t range_flush(io_channel c)
{
	(void)c;
	return 0;
}

static errcode_t range_open(const char *name, int flags, io_channel *ret);

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "a part of a descriptor",
	.open = range_open,
	.close = range_close,
	.set_blksize = range_set_blksize,
	.read_blk = range_read,
	.read_blk64 = range_read64,
	.write_blk = range_write,
	.write_blk64 = range_write64,
	.flush = range_flush,
};

static errcode_t range_open(const char *name, int flags, io_channel *ret)
{
	struct struct_io_channel *c = calloc(1, sizeof(*c));
	struct range *at = malloc(sizeof(*at));

	(void)flags;
	if (!c || !at || !(c->name = strdup(name))) {
		free(at);
		free(c);
		return EXT2_ET_NO_MEMORY;
	}
	*at = opening;
	c->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	c->manager = &manager;
	c->block_size = 1024;
	c->refcount = 1;
	c->private_data = at;
	*ret = c;
	return 0;
}

/* ---- the filesystem ---- */

/* The library's own texts would have to be looked up, perhaps in files. */
static int refuse(struct err *err, const char *what, errcode_t code)
{
	if (code == EXT2_ET_NO_MEMORY)
		return err_errno(err, -ENOMEM, "%s", what);
	return err_set(err, -EIO, "%s: the filesystem is damaged, or newer than nidra knows (libext2fs error %ld)",
		       what, (long)(code & 0xff));
}

int extfs_open(int fd, uint64_t offset, uint64_t bytes, struct extfs **ret, struct err *err)
{
	struct extfs *fs = calloc(1, sizeof(*fs));
	errcode_t code;

	if (!fs)
		return err_errno(err, -ENOMEM, "filesystem");
	opening = (struct range){ fd, offset, bytes };
	code = ext2fs_open("disk", EXT2_FLAG_64BITS, 0, 0, &manager, &fs->fs);
	if (!code) {
		*ret = fs;
		return 0;
	}
	free(fs);
	/* Too short for a superblock is not one either. */
	if (code == EXT2_ET_BAD_MAGIC || code == EXT2_ET_SHORT_READ)
		return err_set(err, -ENOEXEC, "no ext2, ext3 or ext4 filesystem");
	return refuse(err, "superblock", code);
}

void extfs_close(struct extfs *fs)
{
	if (!fs)
		return;
	ext2fs_free(fs->fs);
	free(fs);
}

static int find(struct extfs *fs, const char *path, ext2_ino_t *ret, struct err *err)
{
	errcode_t code = ext2fs_namei_follow(fs->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, ret);

	if (code == EXT2_ET_FILE_NOT_FOUND || code == EXT2_ET_NO_DIRECTORY)
		return err_set(err, -ENOENT, "%s is not there", path);
	return code ? refuse(err, path, code) : 0;
}

/* A regular file. */
static int open_file(struct extfs *fs, const char *path, uint64_t max, ext2_file_t *ret, uint64_t *ret_size,
		     struct err *err)
{
	struct ext2_inode inode;
	ext2_ino_t ino;
	errcode_t code;
	int r = find(fs, path, &ino, err);

	if (r < 0)
		return r;
	code = ext2fs_read_inode(fs->fs, ino, &inode);
	if (code)
		return refuse(err, path, code);
	if (!LINUX_S_ISREG(inode.i_mode))
		return err_set(err, -EINVAL, "%s is no regular file", path);
	if (EXT2_I_SIZE(&inode) > max)
		return err_set(err, -EFBIG, "%s has %llu bytes; %llu are possible", path,
			       (unsigned long long)EXT2_I_SIZE(&inode), (unsigned long long)max);
	*ret_size = EXT2_I_SIZE(&inode);
	code = ext2fs_file_open(fs->fs, ino, 0, ret);
	return code ? refuse(err, path, code) : 0;
}

static int read_chunk(ext2_file_t f, const char *path, void *buf, size_t want, struct err *err)
{
	for (size_t have = 0; have < want;) {
		unsigned int got = 0;
		errcode_t code = ext2fs_file_read(f, (char *)buf + have, (unsigned int)(want - have), &got);

		if (code || !got)
			return refuse(err, path, code);
		have += got;
	}
	return 0;
}

int extfs_read(struct extfs *fs, const char *path, size_t max, char **ret, size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *buf = NULL;
	ext2_file_t f;
	uint64_t size;
	int r = open_file(fs, path, max, &f, &size, err);

	if (r < 0)
		return r;
	buf = malloc(size + 1);
	r = buf ? read_chunk(f, path, buf, size, err) : err_errno(err, -ENOMEM, "%s", path);
	ext2fs_file_close(f);
	if (r < 0)
		return r;
	buf[size] = 0;
	*ret_len = size;
	*ret = take_ptr(buf);
	return 0;
}

int extfs_copy(struct extfs *fs, const char *path, int out, uint64_t max, uint64_t *written, struct err *err)
{
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	ext2_file_t f;
	uint64_t size;
	int r = buf ? open_file(fs, path, max - *written, &f, &size, err) : err_errno(err, -ENOMEM, "%s", path);

	if (r < 0)
		return r;
	while (r == 0 && size) {
		size_t n = MIN(size, CHUNK);

		r = read_chunk(f, path, buf, n, err);
		if (r < 0)
			break;
		r = io_write_full(out, buf, n);
		if (r < 0)
			err_errno(err, r, "%s", path);
		size -= n;
		*written += n;
	}
	ext2fs_file_close(f);
	return r;
}

/* ---- names ---- */

struct newest {
	const char *prefix;
	char *best;
};

static int look(struct ext2_dir_entry *e, int offset, int block_size, char *block, void *arg)
{
	int len = ext2fs_dirent_name_len(e);
	char name[EXTFS_NAME_MAX + 1];
	struct newest *n = arg;

	(void)offset;
	(void)block_size;
	(void)block;
	if (len < 0 || len > EXTFS_NAME_MAX)
		return 0;
	memcpy(name, e->name, (size_t)len);
	name[len] = 0;
	if (!strncmp(name, n->prefix, strlen(n->prefix)) && strlen(name) == (size_t)len &&
	    (!*n->best || strverscmp(name, n->best) > 0))
		strcpy(n->best, name);
	return 0;
}

int extfs_newest(struct extfs *fs, const char *folder, const char *prefix, char ret[EXTFS_NAME_MAX + 1])
{
	struct newest n = { prefix, ret };
	ext2_ino_t ino;
	int r = find(fs, folder, &ino, NULL);

	*ret = 0;
	if (r < 0)
		return r;
	if (ext2fs_dir_iterate(fs->fs, ino, 0, NULL, look, &n) || !*ret)
		return -ENOENT;
	return 0;
}

void extfs_uuid(const struct extfs *fs, char ret[37])
{
	const uint8_t *u = fs->fs->super->s_uuid;
	int n = 0;

	for (int i = 0; i < 16; i++)
		n += snprintf(ret + n, (size_t)(37 - n), "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      u[i]);
}
