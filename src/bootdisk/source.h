/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk's descriptor is: a file that is read at offsets, or a socket behind which somebody reads
 * (base/served.h). */
#ifndef NIDRA_BOOTDISK_SOURCE_H
#define NIDRA_BOOTDISK_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Looks what it is, while that is still allowed. */
int source_open(int fd, uint64_t *ret_bytes);
bool source_is_served(void);
/* -ENODATA, or another error: not all of it is there. */
int source_read(int fd, void *buf, size_t len, uint64_t offset);

#endif
