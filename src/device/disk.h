/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind a guest's disk: bytes that are read and written without waiting. One thread owns a disk,
 * submits, waits until its descriptor is readable, and reaps; disk_drain() included.
 */
#ifndef NIDRA_DEVICE_DISK_H
#define NIDRA_DEVICE_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/err.h"

enum disk_cache { /* the names and their meaning are QEMU's */
		  DISK_WRITEBACK,
		  DISK_NONE,	     /* O_DIRECT */
		  DISK_WRITETHROUGH, /* O_DSYNC */
		  DISK_DIRECTSYNC,   /* both */
		  DISK_UNSAFE,	     /* flushes do nothing */
};
/* "writeback", ...; -EINVAL */
int disk_cache_parse(const char *name, enum disk_cache *ret);
const char *disk_cache_name(enum disk_cache c);

struct disk_options {
	const char *path;
	bool readonly;
	enum disk_cache cache;
};

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD };

/* One piece of work; the submitter's until done() is called. */
struct disk_io {
	enum disk_op op;
	uint64_t offset, bytes; /* FLUSH: none */
	struct iovec *iov;	/* READ, WRITE; changed on the way */
	unsigned int iovs;
	/* @result: 0 or a negative errno. From disk_reap() or disk_submit(). */
	void (*done)(struct disk_io *io, int result);
};

struct disk {
	uint64_t bytes;	       /* a multiple of 512 */
	uint32_t block_bytes;  /* the smallest unit it takes: 512 or more */
	uint32_t discard_unit; /* bytes; 0: it cannot discard */
	bool readonly;
	int fd; /* of its file; the implementation's */
	const struct disk_ops *ops;
};

struct disk_ops {
	/* May wait for reap() to begin. */
	void (*submit)(struct disk *d, struct disk_io *io);
	/* Begins what was submitted, and ends what is done. */
	void (*reap)(struct disk *d);
	int (*fd)(struct disk *d);
	int (*resized)(struct disk *d, uint64_t *ret_bytes);
	void (*close)(struct disk *d);
};

struct disk_stats {	/* what a guest did with it since it was opened */
	bool connected; /* the guest's driver is there */
	uint64_t bytes; /* its size */
	uint64_t reads, writes, flushes, discards, errors;
	uint64_t read_bytes, written_bytes;
};

/* Its file, for who copies it while it is at rest. */
static inline int disk_fd(const struct disk *d)
{
	return d->fd;
}

/*
 * A raw file or a block device, by io_uring. It is locked for as long as it is open, against all who lock as we do:
 * one writer, or readers. -EBUSY: somebody has it.
 */
int disk_file_open(const struct disk_options *o, struct disk **ret, struct err *err);

static inline void disk_close(struct disk *d)
{
	if (d)
		d->ops->close(d);
}
DEFINE_CLEANUP(struct disk *, disk_close)

#endif
