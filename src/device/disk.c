/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of disk a path and a format mean. */
#include "device/disk.h"

#include <string.h>

#include "base/str.h"

/*
 * What people call it, xl and others, and what qemu-nbd does. Not those that need a secret, and not those whose file
 * is written to once more when it is closed (qed, parallels): an image would not know its disk again.
 */
static const struct {
	const char *name, *qemu;
} formats[] = {
	{ "raw", "raw" },   { "qcow2", "qcow2" }, { "qcow", "qcow" }, { "vdi", "vdi" },
	{ "vmdk", "vmdk" }, { "vhd", "vpc" },	  { "vpc", "vpc" },   { "vhdx", "vhdx" },
};

const char *disk_format(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (!strcmp(formats[i].name, name))
			return formats[i].qemu;
	return NULL;
}

bool disk_format_is_raw(const char *format)
{
	return !format || !strcmp(format, "raw");
}

int disk_open(const struct disk_options *o, struct disk **ret, struct err *err)
{
	return str_is_nbd_uri(o->path) || !disk_format_is_raw(o->format) ? disk_nbd_open(o, ret, err)
									 : disk_file_open(o, ret, err);
}
