/* SPDX-License-Identifier: Apache-2.0 */
/* Where a disk's filesystems may be: MBR with logical partitions, GPT, and the whole disk. */
#ifndef NIDRA_BOOTDISK_PARTS_H
#define NIDRA_BOOTDISK_PARTS_H

#include <stddef.h>
#include <stdint.h>

#define PARTS_MAX 64

struct part {
	uint64_t offset, bytes; /* within the disk */
};

/* Bytes of the disk; 0 or a negative errno. */
typedef int parts_read_fn(void *arg, void *buf, size_t len, uint64_t offset);

/* Fills @ret in the order of the tables, the whole disk last; how many. What is nonsense is left out. */
size_t parts_find(parts_read_fn *read, void *arg, uint64_t disk_bytes, struct part ret[PARTS_MAX]);

#endif
