/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that must survive: each page is filled from a seed and its number, so any page that was lost,
 * mixed up or altered shows. Dirtying gives pages another generation.
 */
#include "kit.h"

#include <xen/arch-x86/hvm/start_info.h>

#define START (32ull << 20) /* above the kernel */
#define HIGH  (4ull << 30)  /* where RAM goes on behind the hole */
#define PAGE  4096
#define WORDS (PAGE / 8)

extern char guest_end[];
uint64_t mem_top;
bool mem_high_first;
static uint64_t low_end, initrd_free_end, pages, used, gone, seed, next_dirty;
static uint32_t *generation; /* of each page; lies in the memory itself */

void mem_init(uint64_t start_info)
{
	const struct hvm_start_info *s = (const struct hvm_start_info *)start_info;
	const struct hvm_memmap_table_entry *map = (const void *)s->memmap_paddr;

	for (uint32_t i = 0; i < s->memmap_entries; i++) {
		if (map[i].type != 1)
			continue;
		if (map[i].addr == 0)
			low_end = map[i].size;
		if (map[i].addr + map[i].size > mem_top)
			mem_top = map[i].addr + map[i].size;
	}
	initrd_free_end = low_end < (1ull << 30) ? low_end - (2ull << 20) : low_end;
}

static uint64_t low_pages(void)
{
	return (initrd_free_end - START) / PAGE;
}

static uint64_t high_pages(void)
{
	return mem_top > HIGH ? (mem_top - HIGH) / PAGE : 0;
}

/* Page @i of the test memory: below 4 GiB first, then above (or the other way), around what boot put at 1 GiB. */
static uint64_t *page(uint64_t i)
{
	uint64_t first = mem_high_first ? high_pages() : low_pages();
	bool high = (i < first) == mem_high_first;
	uint64_t gpa = (high ? HIGH : START) + (i < first ? i : i - first) * PAGE;

	return (uint64_t *)gpa;
}

/* Pages of test memory that there are. */
static uint64_t room(void)
{
	return low_pages() + high_pages() - gone;
}

static uint64_t value(uint64_t i, uint32_t gen)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull ^ i * 0xbf58476d1ce4e5b9ull ^ (uint64_t)gen << 40;

	return x ^ x >> 29;
}

static void fill_page(uint64_t i)
{
	uint64_t *p = page(i), v = value(i, generation[i]);

	for (unsigned int w = 0; w < WORDS; w++, v = v * 6364136223846793005ull + 1442695040888963407ull)
		p[w] = v;
}

static bool page_good(uint64_t i)
{
	uint64_t *p = page(i), v = value(i, generation[i]);

	for (unsigned int w = 0; w < WORDS; w++, v = v * 6364136223846793005ull + 1442695040888963407ull)
		if (p[w] != v)
			return false;
	return true;
}

uint64_t mem_fill(uint64_t mib, uint64_t new_seed)
{
	uint64_t table;

	used = 0;
	pages = mib << 8;
	if (pages > room())
		pages = room();
	table = (pages * sizeof(*generation) + PAGE - 1) / PAGE;
	/* The generations are kept in the last pages. */
	pages = pages > 2 * table ? pages - table : 0;
	if (!pages)
		return 0;
	generation = (uint32_t *)page(pages);
	/* They must lie in one piece: not across the hole. */
	while (pages && page(pages + table - 1) != page(pages) + (table - 1) * WORDS) {
		pages -= table;
		generation = (uint32_t *)page(pages);
	}
	used = pages + table;
	seed = new_seed;
	memset(generation, 0, table * PAGE);
	for (uint64_t i = 0; i < pages; i++)
		fill_page(i);
	return pages >> 8;
}

uint64_t mem_verify(void)
{
	uint64_t bad = 0;

	for (uint64_t i = 0; i < pages; i++)
		bad += !page_good(i);
	return bad;
}

void mem_dirty(uint64_t count)
{
	for (; pages && count; count--) {
		next_dirty = (next_dirty + 7919) % pages;
		generation[next_dirty]++;
		fill_page(next_dirty);
	}
}

uint64_t mem_filled_mib(void)
{
	return pages >> 8;
}

uint64_t mem_free_pages(void)
{
	return room() - used;
}

uint64_t *mem_last_page(uint64_t i)
{
	return page(room() - 1 - i);
}

void mem_shrink(uint64_t count)
{
	gone = count;
}
