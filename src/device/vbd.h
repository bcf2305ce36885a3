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

void vbd_get_stats(struct vbd *v, struct disk_stats *ret); /* any thread */

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
