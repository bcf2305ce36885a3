/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest addresses and page arithmetic. No other file shifts by PAGE_SHIFT.
 *
 * gpa: guest physical address in bytes. gfn: guest frame number, gpa / 4096.
 * gva: guest virtual address. hva: host virtual address, always a pointer.
 */
#ifndef NIDRA_BASE_ADDR_H
#define NIDRA_BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#define NIDRA_PAGE_SHIFT 12
#define NIDRA_PAGE_SIZE	 (UINT64_C(1) << NIDRA_PAGE_SHIFT)

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static inline uint64_t gfn_to_gpa(uint64_t gfn)
{
	return gfn << NIDRA_PAGE_SHIFT;
}

static inline uint64_t gpa_to_gfn(uint64_t gpa)
{
	return gpa >> NIDRA_PAGE_SHIFT;
}

static inline uint64_t page_offset(uint64_t addr)
{
	return addr & (NIDRA_PAGE_SIZE - 1);
}

static inline uint64_t page_down(uint64_t addr)
{
	return addr & ~(NIDRA_PAGE_SIZE - 1);
}

static inline uint64_t page_up(uint64_t addr)
{
	return page_down(addr + NIDRA_PAGE_SIZE - 1);
}

#endif
