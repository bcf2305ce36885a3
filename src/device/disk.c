/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of disk a path and a format mean. */
#include "device/disk.h"

#include <string.h>

#include "base/beside.h"
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

/* libnbd has libraries for TLS and XML. */
static int open_nbd(const struct disk_options *o, struct disk **ret, struct err *err)
{
	__typeof__(disk_nbd_open) *open_it;

	return beside_function("nidra-nbd.so", "disk_nbd_open", &open_it, err) ?: open_it(o, ret, err);
}

int disk_open(const struct disk_options *o, struct disk **ret, struct err *err)
{
	return str_is_nbd_uri(o->path) || !disk_format_is_raw(o->format) ? open_nbd(o, ret, err)
									 : disk_file_open(o, ret, err);
}
