/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/util.h"
#include "device/disk.h"

#define DEPTH  128 /* under way in the kernel; more wait in its queue */
#define SECTOR 512u

struct disk_file {
	struct disk disk;
	struct io_uring ring;
	bool has_ring, is_device, no_flush;
};

static const char *const cache_names[] = { "writeback", "none", "writethrough", "directsync", "unsafe" };

int disk_cache_parse(const char *name, enum disk_cache *ret)
{
	int i = str_index(cache_names, ARRAY_SIZE(cache_names), name);

	if (i < 0)
		return i;
	*ret = (enum disk_cache)i;
	return 0;
}

const char *disk_cache_name(enum disk_cache c)
{
	return cache_names[c];
}

static struct io_uring_sqe *get_sqe(struct disk_file *f)
{
	struct io_uring_sqe *sqe;

	/* Full: what is in it goes to the kernel first. */
	while (!(sqe = io_uring_get_sqe(&f->ring)))
		if (io_uring_submit(&f->ring) < 0)
			return NULL;
	return sqe;
}

static void submit(struct disk *d, struct disk_io *io)
{
	struct disk_file *f = container_of(d, struct disk_file, disk);
	struct io_uring_sqe *sqe;

	if (io->op == DISK_FLUSH && f->no_flush) {
		io->done(io, 0);
		return;
	}
	sqe = get_sqe(f);
	if (!sqe) {
		io->done(io, -EAGAIN);
		return;
	}
	switch (io->op) {
	case DISK_READ:
		io_uring_prep_readv(sqe, f->disk.fd, io->iov, io->iovs, io->offset);
		break;
	case DISK_WRITE:
		io_uring_prep_writev(sqe, f->disk.fd, io->iov, io->iovs, io->offset);
		break;
	case DISK_FLUSH:
	case DISK_SYNC:
		io_uring_prep_fsync(sqe, f->disk.fd, IORING_FSYNC_DATASYNC);
		break;
	case DISK_DISCARD:
		io_uring_prep_fallocate(sqe, f->disk.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, io->offset,
					io->bytes);
		break;
	}
	io_uring_sqe_set_data(sqe, io); /* reap() hands it to the kernel, with all others of its turn */
}

/* The first @n bytes are done. */
static void advance(struct disk_io *io, uint64_t n)
{
	io->offset += n;
	io->bytes -= n;
	while (n && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->iovs--;
	}
	if (n) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

static void finish(struct disk *d, struct disk_io *io, int res)
{
	bool moves = io->op == DISK_READ || io->op == DISK_WRITE;

	if (res == -EAGAIN || res == -EINTR) {
		submit(d, io);
	} else if (res < 0 || !moves) {
		io->done(io, res < 0 ? res : 0);
	} else if (!res) { /* the file has become shorter */
		io->done(io, -EIO);
	} else {
		advance(io, (uint64_t)res);
		if (io->bytes)
			submit(d, io);
		else
			io->done(io, 0);
	}
}

static void reap(struct disk *d)
{
	struct disk_file *f = container_of(d, struct disk_file, disk);
	struct io_uring_cqe *cqe;
	int r;

	do {
		/* What is in the page cache is done by this. What the kernel has no room for waits for the next call.
		 */
		r = io_uring_sq_ready(&f->ring) ? io_uring_submit(&f->ring) : 0;
		while (io_uring_peek_cqe(&f->ring, &cqe) == 0) {
			struct disk_io *io = io_uring_cqe_get_data(cqe);
			int res = cqe->res;

			io_uring_cqe_seen(&f->ring, cqe);
			finish(d, io, res);
		}
	} while (r > 0 && io_uring_sq_ready(&f->ring));
}

static int ring_fd(struct disk *d)
{
	return container_of(d, struct disk_file, disk)->ring.ring_fd;
}

static int find_size(struct disk_file *f, uint64_t *ret)
{
	struct stat st;
	uint64_t bytes;

	if (fstat(f->disk.fd, &st) < 0)
		return -errno;
	f->is_device = S_ISBLK(st.st_mode);
	if (!f->is_device && !S_ISREG(st.st_mode))
		return -ENOTBLK;
	if (f->is_device && ioctl(f->disk.fd, BLKGETSIZE64, &bytes) < 0)
		return -errno;
	*ret = (f->is_device ? bytes : (uint64_t)st.st_size) / SECTOR * SECTOR;
	return 0;
}

static int resized(struct disk *d, uint64_t *ret_bytes)
{
	return find_size(container_of(d, struct disk_file, disk), ret_bytes);
}

static void close_file(struct disk *d)
{
	struct disk_file *f = container_of(d, struct disk_file, disk);

	if (f->has_ring)
		io_uring_queue_exit(&f->ring);
	close_fdp(&f->disk.fd);
	free(f);
}

static const struct disk_ops ops = {
	.submit = submit, .reap = reap, .fd = ring_fd, .resized = resized, .close = close_file
};

/* What it takes without the page cache. */
static void find_units(struct disk_file *f, bool direct)
{
	struct statx x = { 0 };
	int n = 0;

	f->disk.block_bytes = SECTOR;
	if (f->is_device && ioctl(f->disk.fd, BLKSSZGET, &n) == 0 && n > 0)
		f->disk.block_bytes = (uint32_t)n;
#ifdef STATX_DIOALIGN
	else if (direct && statx(f->disk.fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && x.stx_mask & STATX_DIOALIGN)
		f->disk.block_bytes = MAX(x.stx_dio_offset_align, SECTOR);
#endif
	(void)direct;
	if (!f->disk.readonly)
		f->disk.discard_unit = MAX(4096u, f->disk.block_bytes);
}

static int lock(struct disk_file *f, const char *path, struct err *err)
{
	struct flock l = { .l_type = f->disk.readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(f->disk.fd, F_OFD_SETLK, &l) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(err, -EBUSY, "%s is in use by another machine%s", path,
			       f->disk.readonly ? ", which writes to it" : "");
	return err_errno(err, -errno, "lock %s", path);
}

int disk_file_open(const struct disk_options *o, struct disk **ret, struct err *err)
{
	static const int flags[] = { 0, O_DIRECT, O_DSYNC, O_DIRECT | O_DSYNC, 0 };
	struct disk_file *f = calloc(1, sizeof(*f));
	_cleanup_(disk_closep) struct disk *d = f ? &f->disk : NULL;
	int r;

	if (!f)
		return err_errno(err, -ENOMEM, "disk %s", o->path);
	f->disk.ops = &ops;
	f->disk.readonly = o->readonly;
	f->no_flush = o->cache == DISK_UNSAFE || o->readonly;
	f->disk.fd = open(o->path, (o->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | flags[o->cache]);
	if (f->disk.fd < 0)
		return err_errno(err, -errno, "disk %s", o->path);
	r = find_size(f, &f->disk.bytes);
	if (r < 0)
		return r == -ENOTBLK ? err_set(err, -EINVAL, "disk %s is neither a file nor a block device", o->path)
				     : err_errno(err, r, "disk %s", o->path);
	fcntl(f->disk.fd, F_SETFL, fcntl(f->disk.fd, F_GETFL) & ~O_NONBLOCK);
	find_units(f, flags[o->cache] & O_DIRECT);
	r = lock(f, o->path, err);
	if (r < 0)
		return r;
	r = io_uring_queue_init(DEPTH, &f->ring, 0);
	if (r < 0)
		return err_errno(err, r, "io_uring, which disks need (see nidra check)");
	f->has_ring = true;
	*ret = take_ptr(d);
	return 0;
}
