/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways to the hypervisor: the CPU's own instruction (as current Linux does), or a page of stubs
 * that it fills in (as older guests do). Source: Xen public/arch-x86/cpuid.h.
 */
#include "kit.h"

extern char thunk_amd[], thunk_intel[];

static char page[4096] __attribute__((aligned(4096)));
static char *thunk; /* NULL: the page */

static uint32_t find_xen(void)
{
	for (uint32_t base = 0x40000000; base < 0x40010000; base += 0x100) {
		uint32_t r[4];

		cpuid(base, r);
		if (r[1] == 0x566e6558 && r[2] == 0x65584d4d && r[3] == 0x4d4d566e)
			return base;
	}
	return 0;
}

bool hypercall_init(const char *how)
{
	uint32_t base = find_xen(), r[4];

	if (!base)
		return false;
	if (starts_with(how, "page")) {
		cpuid(base + 2, r);
		wrmsr(r[1], (uint64_t)page);
		return true;
	}
	cpuid(0, r);
	thunk = r[1] == 0x68747541 || r[1] == 0x6f677948 ? thunk_amd : thunk_intel;
	return true;
}

const char *hypercall_entry(uint64_t nr)
{
	return thunk ?: page + nr * 32;
}

int64_t hypercall(uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	const char *entry = hypercall_entry(nr);
	int64_t r;

	__asm__ volatile("call *%[entry]"
			 : "=a"(r), "+D"(a), "+S"(b), "+d"(c)
			 : "0"(nr), [entry] "r"(entry)
			 : "rcx", "r8", "r9", "r10", "r11", "memory");
	return r;
}
