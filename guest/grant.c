/* SPDX-License-Identifier: Apache-2.0 */
/* The grant table: one frame, mapped above all RAM, with an entry whose fate can be checked. */
#include "kit.h"

#include <xen/grant_table.h>
#include <xen/memory.h>

#define FRAME_GPA (19ull << 30) /* mapped by entry.S, above the most RAM that there can be */
#define REF	  9

static char granted[4096] __attribute__((aligned(4096)));
static grant_entry_v1_t *const table = (grant_entry_v1_t *)FRAME_GPA;

void grant_remap(void)
{
	struct gnttab_set_version version = { .version = 1 };
	struct gnttab_query_size size = { .dom = DOMID_SELF };
	xen_add_to_physmap_t op = { .domid = DOMID_SELF, .space = XENMAPSPACE_grant_table, .gpfn = FRAME_GPA >> 12 };
	int64_t r = hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_set_version, (uint64_t)&version, 1);

	hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_query_size, (uint64_t)&size, 1);
	r = r ?: HCALL(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &op);
	if (r < 0)
		print("grant: %d\n", r);
}

void grant_reset(void)
{
	table[REF] = (grant_entry_v1_t){ .domid = 0, .frame = (uint32_t)((uint64_t)granted >> 12) };
	barrier();
	table[REF].flags = GTF_permit_access;
}

void grant_init(void)
{
	grant_remap();
	grant_reset();
}

bool grant_check(void)
{
	return table[REF].flags == GTF_permit_access && table[REF].frame == (uint32_t)((uint64_t)granted >> 12);
}
