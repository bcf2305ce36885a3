/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's disk: blkif (blkif.h) on one side, a disk (disk.h) on the other, a thread in between. */
#ifndef NIDRA_DEVICE_VBD_H
#define NIDRA_DEVICE_VBD_H

#include "device/bus.h"
#include "device/disk.h"

/*
 * Adds @disk (taken, also when it fails) to @b as @vdev ("xvda"), which has to be a name that vbd_number()
 * knows. At rest until bus_go().
 */
struct vbd;
int vbd_add(struct bus *b, const char *vdev, struct disk *disk, const char *path, struct vbd **ret, struct err *err);

/* What is done with errors, and who is told when a stall begins and ends: on the disk's thread, under its lock. */
void vbd_on_error(struct vbd *v, enum disk_on_error on_error, void (*changed)(void *arg), void *arg);

void vbd_get_stats(struct vbd *v, struct disk_stats *ret); /* any thread */

/*
 * All that was written so far goes where it stays, also with `unsafe`. Waits, and asks @go_on now and then whether to:
 * its error is returned, with what is waited for. -EBUSY: the disk stalls.
 */
int vbd_sync(struct vbd *v, int (*go_on)(void *arg, struct err *err), void *arg, struct err *err);
/* Reads some of it, at most VBD_READ_MAX; waits as vbd_sync(). One caller at a time. */
#define VBD_READ_MAX 65536u
int vbd_read(struct vbd *v, void *buf, size_t len, uint64_t offset, int (*go_on)(void *arg, struct err *err), void *arg,
	     struct err *err);
/* -EBUSY: it stalls, and why. */
int vbd_check(struct vbd *v, struct err *err);

/*
 * Looks how large the disk is now, after it was made @bytes large (0: somebody else did that), and tells the guest.
 * Disks that are files only grow here: -EINVAL. Not while an operation goes on.
 */
int vbd_resize(struct vbd *v, uint64_t bytes, struct err *err);

/*
 * The number that Linux' frontend makes a device of (Xen docs/man/xen-vbd-interface.7.pandoc): xvda to xvdz with
 * or without a partition of 1 to 15. 0: no such name.
 */
unsigned int vbd_number(const char *vdev);

#endif
