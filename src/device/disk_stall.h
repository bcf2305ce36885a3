/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a disk that failed and are tried again: as long as the disk's configuration wants that, with growing
 * pauses, and at once when the disk says that it is back. Under a lock of the caller's.
 */
#ifndef NIDRA_DEVICE_DISK_STALL_H
#define NIDRA_DEVICE_DISK_STALL_H

#include "device/disk.h"

struct disk_stall {
	enum disk_on_error on_error;
	struct disk_io *first, **last; /* kept */
	unsigned int trying;	       /* that are with the disk again */
	uint64_t since_ns, next_ns, pause_ns;
	uint32_t comebacks; /* of the disk, when it was last tried */
	int error;
};

void disk_stall_init(struct disk_stall *s);
/*
 * To be called with each result. True: @io is kept, and done() will be called for it again. False: the result is the
 * guest's.
 */
bool disk_stall_takes(struct disk_stall *s, struct disk_io *io, int result, uint64_t now_ns);
/* Submits what is kept, when it is time. */
void disk_stall_retry(struct disk_stall *s, struct disk *d, uint64_t now_ns);
/* What is kept ends with -ECANCELED. */
void disk_stall_cancel(struct disk_stall *s);

static inline bool disk_stall_is_on(const struct disk_stall *s)
{
	return s->since_ns;
}

#endif
