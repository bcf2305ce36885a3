/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files to guest memory that is ready for the first instruction: PVH boot, as Xen's toolstack
 * does it. The files stay untouched and are as hostile as the guest.
 */
#ifndef NIDRA_BOOT_BOOT_H
#define NIDRA_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "kvm/gmem.h"

#define BOOT_CMDLINE_MAX 2047 /* Linux' COMMAND_LINE_SIZE, less the NUL */

struct boot_source {
	const char *kernel; /* bzImage, ELF64 or ELF32 with a PHYS32_ENTRY note */
	const char *initrd; /* or NULL */
	const char *cmdline;
	unsigned int vcpus; /* possible ones */
	const char *name;   /* what the files are called in messages; NULL: by their paths */
};

/*
 * The two places where a Linux kernel executes VMMCALL and VMCALL for Xen. Kernels since the fix of
 * XSA-466 do that themselves, and a KVM without KVM_XEN swallows it: there they are patched.
 */
struct boot_thunks {
	bool found;
	uint64_t gpa[2]; /* of VMMCALL, of VMCALL */
};

struct boot_info {
	uint32_t entry;	     /* gpa of the first instruction, 32-bit protected mode */
	uint32_t start_info; /* gpa; goes into EBX */
	bool suspend_cancel; /* the kernel says that it understands "cancelled" */
	struct boot_thunks thunks;
};

int boot_load(struct gmem *mem, const struct boot_source *source, struct boot_info *ret, struct err *err);

/* Puts "out %eax,$port; nop" at both. Refused if something else than a hypercall is there. */
int boot_thunks_patch(struct gmem *mem, const struct boot_thunks *thunks, uint8_t port, struct err *err);

/* The 4096 bytes of a hypercall page whose stubs write to @port. */
void boot_hypercall_page(uint8_t *page, uint8_t port);

#endif
