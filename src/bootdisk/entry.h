/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk says that is to be booted. The parsers are pure: text of somebody else in, one entry out. They take
 * what a boot loader's own configuration usually says, and evaluate no conditions: all branches are read, the last
 * assignment counts.
 */
#ifndef NIDRA_BOOTDISK_ENTRY_H
#define NIDRA_BOOTDISK_ENTRY_H

#include <stddef.h>

#include "base/err.h"

#define ENTRY_PATH_MAX	  1024
#define ENTRY_CMDLINE_MAX 2047 /* BOOT_CMDLINE_MAX */
#define ENTRY_INITRDS_MAX 4

struct boot_entry {
	char kernel[ENTRY_PATH_MAX]; /* "": it has none */
	char initrd[ENTRY_INITRDS_MAX][ENTRY_PATH_MAX];
	size_t initrds;
	char cmdline[ENTRY_CMDLINE_MAX + 1];
};

/* The entry that `set default` names, else the first one with a kernel. -ENOENT: there is none. */
int grubcfg_parse(const char *text, size_t len, struct boot_entry *ret, struct err *err);
int extlinux_parse(const char *text, size_t len, struct boot_entry *ret, struct err *err);

/* Unless it has a console of ours: all others lead to devices that the machine does not have. */
int entry_add_console(struct boot_entry *e, struct err *err);

/* For the parsers. A word at the end, behind a space; -E2BIG. */
int entry_add_word(struct boot_entry *e, const char *word, struct err *err);
/* A path without GRUB's "(hd0,gpt1)" before it; -E2BIG. */
int entry_set_path(char *dst, const char *path, struct err *err);

#endif
