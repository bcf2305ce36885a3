/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk's owner writes for boot loaders. The first byte chooses: grub.cfg, extlinux.conf, or a disk whose
 * first bytes these are, for its partition tables.
 */
#include <stdint.h>
#include <string.h>

#include "bootdisk/entry.h"
#include "bootdisk/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DISK_BYTES (UINT64_C(1) << 30)

struct input {
	const uint8_t *data;
	size_t len;
};

static int read_disk(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct input *in = arg;

	if (offset > DISK_BYTES || len > DISK_BYTES - offset)
		return -1;
	memset(buf, 0, len);
	if (offset < in->len)
		memcpy(buf, in->data + offset, len < in->len - offset ? len : in->len - offset);
	return 0;
}

static void parts(const uint8_t *data, size_t len)
{
	struct input in = { data, len };
	struct part p[PARTS_MAX];
	size_t n = parts_find(read_disk, &in, DISK_BYTES, p);

	if (!n || n > PARTS_MAX)
		__builtin_trap();
	for (size_t i = 0; i < n; i++)
		if (p[i].offset > DISK_BYTES || p[i].bytes > DISK_BYTES - p[i].offset)
			__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct boot_entry e;
	int r = -1;

	if (!len)
		return 0;
	if (*data % 3 == 2)
		parts(data + 1, len - 1);
	else
		r = (*data % 3 ? extlinux_parse : grubcfg_parse)((const char *)data + 1, len - 1, &e, NULL);
	if (r < 0)
		return 0;
	/* What is taken is whole, and goes into one line. */
	if (!*e.kernel || e.initrds > ENTRY_INITRDS_MAX || strlen(e.cmdline) > ENTRY_CMDLINE_MAX)
		__builtin_trap();
	if (strpbrk(e.cmdline, "\n\r\x1b") || strpbrk(e.kernel, "\n\r\x1b"))
		__builtin_trap();
	entry_add_console(&e, NULL);
	return 0;
}
