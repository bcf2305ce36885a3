/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon: pages of test memory, from the end, given back and taken again as memory/target says.
 * Before a page goes it is written to, so that it can be seen that it comes back empty.
 */
#include "kit.h"

#include <xen/memory.h>

#define PAGE  4096
#define CHUNK 512

static uint64_t out; /* pages that are gone */
static xen_pfn_t list[CHUNK];

static uint64_t read_kib(const char *path)
{
	char value[32];

	return xenbus_read(path, value, sizeof(value), 0) < 0 ? 0 : to_number(value);
}

/* Pages that should be out. The toolstack counts from static-max. */
static uint64_t wanted(void)
{
	uint64_t max = read_kib("memory/static-max"), target = read_kib("memory/target");

	if (!target || target >= max)
		return 0;
	return (max - target) / (PAGE / 1024);
}

static uint64_t reserve(unsigned int op, uint64_t n)
{
	struct xen_memory_reservation r = { .nr_extents = n, .domid = DOMID_SELF };
	int64_t done;

	set_xen_guest_handle(r.extent_start, list);
	done = HCALL(__HYPERVISOR_memory_op, op, &r);
	if (done != (int64_t)n)
		print("error: balloon: %d of %u pages\n", done, n);
	return done > 0 ? (uint64_t)done : 0;
}

static uint64_t give(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t *p = mem_last_page(i);

		*p = 0xdead;
		list[i] = (uint64_t)p >> 12;
	}
	n = reserve(XENMEM_decrease_reservation, n);
	out += n;
	mem_shrink(out);
	return n;
}

static uint64_t take(uint64_t n)
{
	uint64_t full = 0;

	mem_shrink(out - n);
	for (uint64_t i = 0; i < n; i++) /* in the order in which they can go again */
		list[i] = (uint64_t)mem_last_page(n - 1 - i) >> 12;
	n = reserve(XENMEM_populate_physmap, n);
	out -= n;
	mem_shrink(out);
	for (uint64_t i = 0; i < n; i++)
		full += *mem_last_page(i) != 0;
	if (full)
		print("error: balloon: %u pages came back with what was in them\n", full);
	return n;
}

void balloon_poll(void)
{
	uint64_t want = wanted(), before = out, done = 1;

	if (want > out + mem_free_pages())
		want = out + mem_free_pages();
	while (out != want && done) {
		uint64_t n = out < want ? want - out : out - want;

		n = n < CHUNK ? n : CHUNK;
		done = out < want ? give(n) : take(n);
	}
	if (out != before)
		print("balloon: %u MiB out\n", balloon_mib());
}

uint64_t balloon_mib(void)
{
	return out >> 8;
}
