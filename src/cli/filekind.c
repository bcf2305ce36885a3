/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/filekind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/util.h"

struct magic {
	size_t offset;
	const char *bytes;
	size_t len;
};

static const struct magic disks[] = {
	{ 510, "\x55\xaa", 2 },	  /* MBR, and what boots or is FAT */
	{ 512, "EFI PART", 8 },	  /* GPT without its MBR */
	{ 1080, "\x53\xef", 2 },  /* ext2, ext3, ext4 */
	{ 0, "XFSB", 4 },	  /* that nidra can say what it lacks */
	{ 65600, "_BHRfS_M", 8 }, /* Btrfs */
};

static const struct {
	struct magic magic;
	const char *what;
} others[] = {
	{ { 0, "QFI\xfb", 4 }, "a qcow2 image" },
	{ { 0, "KDMV", 4 }, "a VMDK image" },
	{ { 0, "conectix", 8 }, "a VHD image" },
	{ { 0, "vhdxfile", 8 }, "a VHDX image" },
};

static bool has(const uint8_t *b, size_t len, const struct magic *m)
{
	return m->offset + m->len <= len && !memcmp(b + m->offset, m->bytes, m->len);
}

/* In any encoding that people write configurations in. */
static bool is_text(const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (b[i] == 0x7f || (b[i] < ' ' && !strchr("\t\n\r\f", b[i])) || !b[i])
			return false;
	return true;
}

int filekind(const uint8_t *b, size_t len, const char *file, struct err *err)
{
	if (is_text(b, len))
		return FILEKIND_TEXT;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (has(b, len, &others[i].magic))
			return err_set(err, -EINVAL,
				       "%s is %s, and its name does not say so: --disk format=...,target=FILE does",
				       file, others[i].what);
	for (size_t i = 0; i < ARRAY_SIZE(disks); i++)
		if (has(b, len, &disks[i]))
			return FILEKIND_DISK;
	return err_set(err, -EINVAL,
		       "%s is neither a configuration (it is no text) nor a disk (no partition table or filesystem)",
		       file);
}

int filekind_of(const char *file, struct err *err)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	uint8_t b[FILEKIND_BYTES];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "%s", file);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return FILEKIND_TEXT; /* a pipe is read once */
	n = pread(fd, b, sizeof(b), 0);
	return n < 0 ? err_errno(err, -errno, "%s", file) : filekind(b, (size_t)n, file, err);
}
