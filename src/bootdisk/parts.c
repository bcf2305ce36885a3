/* SPDX-License-Identifier: Apache-2.0 */
#include "bootdisk/parts.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#define MBR_BYTES      512
#define MBR_TABLE      446
#define GPT_ENTRIES    128 /* that are looked at */
#define GPT_ENTRY_MAX  4096
#define TYPE_GPT       0xee
#define MBR_SECTOR     UINT64_C(512)
#define TYPE_IS_EXT(t) ((t) == 0x05 || (t) == 0x0f || (t) == 0x85)

struct finder {
	parts_read_fn *read;
	void *arg;
	uint64_t disk_bytes;
	struct part *part;
	size_t n;
};

static void add(struct finder *f, uint64_t first, uint64_t count, uint64_t sector)
{
	uint64_t sectors = f->disk_bytes / sector;

	if (f->n == PARTS_MAX - 1 || !count || !first || first >= sectors)
		return;
	count = count < sectors - first ? count : sectors - first;
	f->part[f->n++] = (struct part){ first * sector, count * sector };
}

struct mbr_entry {
	uint8_t type;
	uint32_t first, count;
};

/* False: no table there. */
static bool read_mbr(struct finder *f, uint64_t sector, struct mbr_entry ret[4])
{
	uint8_t b[MBR_BYTES];
	struct bytes_reader r;

	if (f->read(f->arg, b, sizeof(b), sector * MBR_SECTOR) < 0 || b[510] != 0x55 || b[511] != 0xaa)
		return false;
	r = bytes_reader(b + MBR_TABLE, sizeof(b) - MBR_TABLE);
	for (int i = 0; i < 4; i++) {
		bytes_get(&r, 4);
		ret[i].type = bytes_get_u8(&r);
		bytes_get(&r, 3);
		ret[i].first = bytes_get_u32(&r);
		ret[i].count = bytes_get_u32(&r);
	}
	return true;
}

/* A chain of tables with one partition and one link each; one that goes in circles ends. */
static void find_logical(struct finder *f, uint64_t extended)
{
	uint64_t at = extended;
	struct mbr_entry e[4];

	for (int links = 0; links < PARTS_MAX && read_mbr(f, at, e); links++) {
		if (e[0].type)
			add(f, at + e[0].first, e[0].count, MBR_SECTOR);
		if (!TYPE_IS_EXT(e[1].type) || !e[1].first)
			return;
		at = extended + e[1].first;
	}
}

/* False: no GPT for sectors of this size. */
static bool find_gpt(struct finder *f, uint64_t sector)
{
	uint8_t b[GPT_ENTRY_MAX];
	static const uint8_t unused[16];
	struct bytes_reader r;
	uint64_t table;
	uint32_t count, size;

	if (f->read(f->arg, b, MBR_BYTES, sector) < 0 || memcmp(b, "EFI PART", 8))
		return false;
	r = bytes_reader(b + 72, MBR_BYTES - 72);
	table = bytes_get_u64(&r);
	count = bytes_get_u32(&r);
	size = bytes_get_u32(&r);
	if (size < 128 || size > GPT_ENTRY_MAX || table > f->disk_bytes / sector)
		return true;
	for (uint32_t i = 0; i < count && i < GPT_ENTRIES; i++) {
		uint64_t first, last;

		if (f->read(f->arg, b, size, table * sector + (uint64_t)i * size) < 0)
			break;
		r = bytes_reader(b + 32, 16);
		first = bytes_get_u64(&r);
		last = bytes_get_u64(&r);
		if (memcmp(b, unused, sizeof(unused)) && last >= first && last < UINT64_MAX)
			add(f, first, last - first + 1, sector);
	}
	return true;
}

static void find_mbr(struct finder *f)
{
	struct mbr_entry e[4];
	bool gpt = false;

	if (!read_mbr(f, 0, e))
		return;
	for (int i = 0; i < 4; i++)
		gpt |= e[i].type == TYPE_GPT;
	if (gpt && (find_gpt(f, 512) || find_gpt(f, 4096)))
		return;
	for (int i = 0; i < 4; i++) {
		if (TYPE_IS_EXT(e[i].type))
			find_logical(f, e[i].first);
		else if (e[i].type)
			add(f, e[i].first, e[i].count, MBR_SECTOR);
	}
}

size_t parts_find(parts_read_fn *read, void *arg, uint64_t disk_bytes, struct part ret[PARTS_MAX])
{
	struct finder f = { .read = read, .arg = arg, .disk_bytes = disk_bytes, .part = ret };

	find_mbr(&f);
	ret[f.n++] = (struct part){ 0, disk_bytes };
	return f.n;
}
