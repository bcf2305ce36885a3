/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel, initrd and command line of a disk. nidra-bootdisk reads it, confined, because a disk's owner can write
 * anything onto it; here is who starts it and waits. Nothing of it stays on the host: the files are memfds.
 */
#ifndef NIDRA_BOOT_FROMDISK_H
#define NIDRA_BOOT_FROMDISK_H

#include "base/cleanup.h"
#include "base/err.h"

struct boot_found {
	int kernel_fd, initrd_fd; /* -1: none */
	char *cmdline;
	const char *disk; /* whose they are, for messages; the caller's */
};

#define BOOT_FOUND_NONE                                                                                                \
	(struct boot_found)                                                                                            \
	{                                                                                                              \
		-1, -1, NULL, NULL                                                                                     \
	}

void boot_found_fini(struct boot_found *f);

/* Whether to wait on: 0 or the error to give up with. Called several times a second. */
typedef int boot_wait_fn(void *arg, struct err *err);

/* @disk_fd is read at offsets. -ENOEXEC and others: there is nothing to boot on it, in a sentence. */
int boot_from_disk(int disk_fd, boot_wait_fn *wait, void *arg, struct boot_found *ret, struct err *err);

#endif
