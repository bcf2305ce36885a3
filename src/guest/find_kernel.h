/* SPDX-License-Identifier: Apache-2.0 */
/* Where a guest's kernel comes from: files that the configuration names, or the first disk that has one. */
#ifndef NIDRA_GUEST_FIND_KERNEL_H
#define NIDRA_GUEST_FIND_KERNEL_H

#include "boot/boot.h"
#include "boot/fromdisk.h"
#include "device/vbd.h"
#include "guest/config.h"

/* @disk are those of @c, open, and @vbd what the guest has of them, at rest. The error is that of the first one. */
int find_kernel(const struct guest_config *c, struct disk *const *disk, struct vbd *const *vbd, boot_wait_fn *wait,
		void *arg, struct boot_found *ret, struct err *err);

struct kernel_paths {
	char kernel[32], initrd[32], name[256];
};
/* What boot_load() reads: of the configuration, or of @f, whose descriptors get names in @paths. */
struct boot_source kernel_source(const struct guest_config *c, const struct boot_found *f, struct kernel_paths *paths);

#endif
