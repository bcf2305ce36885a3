/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nidra-bootdisk: what would this disk boot? nidra-monitor starts it for a machine that has disks and no kernel.
 *
 *     nidra-bootdisk 3<DISK 4>KERNEL 5>INITRD
 *
 * It has no arguments and opens nothing. One line comes out: "ok COMMAND-LINE", or "no WHY"; or none, if the disk
 * made it do what it may not.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "base/str.h"
#include "bootdisk/confine.h"
#include "bootdisk/entry.h"
#include "bootdisk/extfs.h"
#include "bootdisk/parts.h"
#include "bootdisk/source.h"

#define CONFIG_MAX (UINT64_C(1) << 20)
#define KERNEL_MAX (UINT64_C(256) << 20)
#define INITRD_MAX (UINT64_C(1) << 30)

typedef int parse_fn(const char *text, size_t len, struct boot_entry *ret, struct err *err);

static const struct {
	const char *folder, *file; /* paths in it that do not begin with / are relative to the folder */
	parse_fn *parse;
} configs[] = {
	{ "/boot/grub", "grub.cfg", grubcfg_parse },
	{ "/grub", "grub.cfg", grubcfg_parse },
	{ "/boot/grub2", "grub.cfg", grubcfg_parse },
	{ "/grub2", "grub.cfg", grubcfg_parse },
	{ "/boot/extlinux", "extlinux.conf", extlinux_parse },
	{ "/extlinux", "extlinux.conf", extlinux_parse },
	{ "/boot/syslinux", "syslinux.cfg", extlinux_parse },
	{ "/boot", "extlinux.conf", extlinux_parse },
	{ "", "extlinux.conf", extlinux_parse },
};

static int absolute(char *path, const char *folder, struct err *err)
{
	_cleanup_free_ char *full = *path == '/' ? strdup(path) : str_printf("%s/%s", folder, path);

	return full ? entry_set_path(path, full, err) : err_errno(err, -ENOMEM, "path");
}

static int from_config(struct extfs *fs, size_t i, struct boot_entry *ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/%s", configs[i].folder, configs[i].file), *text = NULL;
	size_t len;
	int r = path ? extfs_read(fs, path, CONFIG_MAX, &text, &len, err) : err_errno(err, -ENOMEM, "path");

	r = r ?: configs[i].parse(text, len, ret, err);
	r = r ?: absolute(ret->kernel, configs[i].folder, err);
	for (size_t n = 0; r == 0 && n < ret->initrds; n++)
		r = absolute(ret->initrd[n], configs[i].folder, err);
	return r;
}

/* Without any configuration: the newest kernel of a system's root. */
static int from_names(struct extfs *fs, struct boot_entry *ret, struct err *err)
{
	static const char prefix[] = "vmlinuz-";
	char name[EXTFS_NAME_MAX + 1], uuid[37];
	_cleanup_free_ char *ignored = NULL;
	size_t len;
	int r = extfs_newest(fs, "/boot", prefix, name);

	if (r < 0)
		return err_set(err, r, "neither a boot loader's configuration nor /boot/%s*", prefix);
	extfs_uuid(fs, uuid);
	*ret = (struct boot_entry){ 0 };
	snprintf(ret->kernel, sizeof(ret->kernel), "/boot/%s", name);
	snprintf(ret->cmdline, sizeof(ret->cmdline), "root=UUID=%s ro", uuid);
	snprintf(ret->initrd[0], sizeof(ret->initrd[0]), "/boot/initrd.img-%s", name + strlen(prefix));
	/* Too large is there, too. */
	ret->initrds = extfs_read(fs, ret->initrd[0], 0, &ignored, &len, NULL) != -ENOENT;
	return 0;
}

static int find_entry(struct extfs *fs, struct boot_entry *ret, struct err *err)
{
	for (size_t i = 0; i < sizeof(configs) / sizeof(*configs); i++) {
		int r = from_config(fs, i, ret, err);

		if (r != -ENOENT)
			return r;
	}
	return from_names(fs, ret, err);
}

/* Kernel and initrds of one filesystem; initrds follow each other, as a boot loader places them. */
static int take(struct extfs *fs, struct boot_entry *e, struct err *err)
{
	uint64_t kernel = 0, initrd = 0;
	int r = find_entry(fs, e, err);

	r = r ?: extfs_copy(fs, e->kernel, FD_KERNEL, KERNEL_MAX, &kernel, err);
	for (size_t i = 0; r == 0 && i < e->initrds; i++)
		r = extfs_copy(fs, e->initrd[i], FD_INITRD, INITRD_MAX, &initrd, err);
	return r ?: entry_add_console(e, err);
}

static int read_disk(void *arg, void *buf, size_t len, uint64_t offset)
{
	(void)arg;
	return source_read(FD_DISK, buf, len, offset);
}

/*
 * The first partition that has something to boot. One whose entry names what is not there ends the search: some of it
 * may have been written already, and another system on the disk is not what anybody asked for.
 */
static int search(uint64_t disk_bytes, struct boot_entry *ret, struct err *err)
{
	struct part part[PARTS_MAX];
	size_t n = parts_find(read_disk, NULL, disk_bytes, part), filesystems = 0;
	struct err last = { 0 };

	for (size_t i = 0; i < n; i++) {
		_cleanup_(extfs_closep) struct extfs *fs = NULL;
		int r = extfs_open(FD_DISK, part[i].offset, part[i].bytes, &fs, err);

		if (r == 0) {
			filesystems++;
			r = take(fs, ret, err);
		}
		if (r == 0 || (fs && *ret->kernel))
			return r;
		if (r != -ENOEXEC)
			last = *err;
	}
	if (last.code)
		*err = last;
	else
		err_set(err, -ENOEXEC, "no partition of it has an ext2, ext3 or ext4 filesystem");
	return err->code;
}

/* Bytes of a disk become no line break and no escape sequence. */
static void tell(const char *what, const char *text)
{
	char line[ENTRY_CMDLINE_MAX + 8];
	int n = snprintf(line, sizeof(line), "%s %s", what, text);

	n = n < (int)sizeof(line) - 1 ? n : (int)sizeof(line) - 2;
	for (int i = 0; i < n; i++)
		if (!isprint((unsigned char)line[i]))
			line[i] = '?';
	line[n] = '\n';
	io_write_full(FD_RESULT, line, (size_t)n + 1);
}

int main(void)
{
	uint64_t bytes = 0;
	_cleanup_free_ struct boot_entry *e = calloc(1, sizeof(*e));
	struct err err = { 0 };
	int r = e ? source_open(FD_DISK, &bytes) : -ENOMEM;

	if (r < 0) {
		fprintf(stderr, "nidra-bootdisk: it is started by nidra-monitor, with descriptors\n");
		return 2;
	}
	r = confine(source_is_served(), &err);
	r = r ?: search(bytes, e, &err);
	tell(r < 0 ? "no" : "ok", r < 0 ? err.msg : e->cmdline);
	return r < 0;
}
