/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hypercalls that are to be refused, and how: from 32-bit code, whose structures are others; from CPL 3,
 * which is not the kernel; and one that Linux asks for and can do without.
 */
#include "kit.h"

#include <xen/vcpu.h>
#include <xen/version.h>

#define EPERM  1
#define ENOSYS 38

extern int64_t compat_call(const char *entry, uint64_t nr);

static unsigned int wrong;

static void expect(const char *what, int64_t got, int64_t want)
{
	if (got == want)
		return;
	print("error: %s: %d instead of %d\n", what, got, want);
	wrong++;
}

/* The vDSO's own copy of a CPU's clock: without it, it asks the kernel. */
static int64_t register_time(void)
{
	static struct vcpu_time_info info;
	struct vcpu_register_time_memory_area area = { .addr.p = (uint64_t)&info };

	return hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_time_memory_area, 0, (uint64_t)&area);
}

void oddcalls(void)
{
	const char *version = hypercall_entry(__HYPERVISOR_xen_version);

	wrong = 0;
	expect("from 32-bit code", compat_call(version, __HYPERVISOR_xen_version), -ENOSYS);
	expect("from CPL 3", cpu_call_from_user(version, __HYPERVISOR_xen_version), -EPERM);
	expect("a clock for the vDSO", register_time(), -ENOSYS);
	expect("after all of them", HCALL(__HYPERVISOR_xen_version, XENVER_version, 0) > 0, true);
	print(wrong ? "error: oddcalls: %u are wrong\n" : "ok: oddcalls\n", (uint64_t)wrong);
}
