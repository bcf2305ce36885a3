/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind a guest's disk: bytes that are read and written without waiting. One thread owns a disk,
 * submits, waits until its descriptor is readable, and reaps.
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

/* What becomes of a request that fails. */
enum disk_on_error {
	DISK_ON_ERROR_AUTO,   /* stall while there is no space or no server, report all else */
	DISK_ON_ERROR_REPORT, /* the guest is told */
	DISK_ON_ERROR_STALL,  /* it is kept, and tried again until it works */
};
/* "auto", "report", "stall"; -EINVAL */
int disk_on_error_parse(const char *name, enum disk_on_error *ret);
const char *disk_on_error_name(enum disk_on_error e);

struct disk_options {
	const char *path;   /* or a URI: str_is_nbd_uri() */
	const char *format; /* NULL or "raw": as it is. Else what qemu-nbd calls it: disk_format() */
	const char *name;   /* "xvda"; of the socket of a server of its own */
	const char *folder; /* that its socket is in */
	bool readonly;
	enum disk_cache cache;
};

/* DISK_SYNC: a flush that is one with `unsafe`, too. */
enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_SYNC };
#define DISK_OPS (DISK_SYNC + 1)

/* One piece of work; the submitter's until done() is called. */
struct disk_io {
	enum disk_op op;
	bool again;		/* it failed before, and was kept: disk_stall.h */
	uint64_t offset, bytes; /* FLUSH, SYNC: none */
	struct iovec *iov;	/* READ, WRITE; changed on the way */
	unsigned int iovs;
	/* @result: 0 or a negative errno. From disk_reap() or disk_submit(). */
	void (*done)(struct disk_io *io, int result);
	struct disk_io *next; /* disk_stall.h */
};

struct disk {
	uint64_t bytes;	       /* a multiple of 512 */
	uint32_t block_bytes;  /* the smallest unit it takes: 512 or more */
	uint32_t discard_unit; /* bytes; 0: it cannot discard */
	bool readonly;
	int fd;		    /* of its file; the implementation's. -1: it is not one */
	uint32_t comebacks; /* of a server: what failed may work now */
	char trouble[200];  /* why it does not work now, if errno says it badly */
	const struct disk_ops *ops;
};

struct disk_ops {
	/* May wait for reap() to begin. */
	void (*submit)(struct disk *d, struct disk_io *io);
	/* Begins what was submitted, and ends what is done. */
	void (*reap)(struct disk *d);
	int (*fd)(struct disk *d);
	int (*resized)(struct disk *d, uint64_t *ret_bytes);
	/* What is under way ends with -ECANCELED, unless nobody but the kernel can end it. */
	void (*close)(struct disk *d);
};

struct disk_stats {	/* what a guest did with it since it was opened */
	bool connected; /* the guest's driver is there */
	uint64_t bytes; /* its size */
	uint64_t reads, writes, flushes, discards, errors;
	uint64_t read_bytes, written_bytes;
	uint64_t stalled_ns; /* since when requests are kept (monotonic); 0: none are */
	char trouble[200];   /* then: why */
};

/* Its file, for who copies it while it is at rest. -1: it has none, or not the disk's own bytes. */
static inline int disk_fd(const struct disk *d)
{
	return d->fd;
}

/*
 * A raw file or a block device, by io_uring. It is locked for as long as it is open, against all who lock as we do:
 * one writer, or readers. -EBUSY: somebody has it.
 */
int disk_file_open(const struct disk_options *o, struct disk **ret, struct err *err);

/*
 * What an NBD server has, by libnbd (disk_nbd.c): one that a URI names, or a qemu-nbd of its own, which reads
 * @format and ends with the disk. A server that goes away is looked for until it is back; meanwhile requests end
 * with -ENOTCONN. What it had acknowledged and not yet flushed is written again then, so that a flush means what it
 * says, whatever became of the server.
 */
int disk_nbd_open(const struct disk_options *o, struct disk **ret, struct err *err);

/* One of the two. */
int disk_open(const struct disk_options *o, struct disk **ret, struct err *err);

/* As qemu-nbd has it, of a name in a configuration ("vhd" is "vpc"); NULL: no such format. */
const char *disk_format(const char *name);
bool disk_format_is_raw(const char *format); /* or NULL */

static inline void disk_close(struct disk *d)
{
	if (d)
		d->ops->close(d);
}
DEFINE_CLEANUP(struct disk *, disk_close)

#endif
