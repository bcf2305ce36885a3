/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux' two hypercall thunks: `vmmcall` and `vmcall`, each followed by the same return, at most 64
 * bytes apart, in that order. There are dozens of other places with those bytes (KVM, Hyper-V, data),
 * so only the pair counts, and only if there is exactly one. xen-abi.md 4.1 has the measurements.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/kernel.h"

#define PAIR_DISTANCE 64
#define TAIL_LEN      5 /* e9 and its offset */
#define INSN_LEN      3

static const uint8_t vmmcall[INSN_LEN] = { 0x0f, 0x01, 0xd9 };
static const uint8_t vmcall[INSN_LEN] = { 0x0f, 0x01, 0xc1 };

/* Where the return behind the instruction at @at leads: -1 for RET itself, or the jump's target. */
static bool return_target(const uint8_t *code, size_t len, size_t at, int64_t *ret)
{
	int32_t offset;

	if (at + INSN_LEN + TAIL_LEN > len)
		return false;
	if (code[at + INSN_LEN] == 0xc3) {
		*ret = -1;
		return true;
	}
	if (code[at + INSN_LEN] != 0xe9)
		return false;
	memcpy(&offset, code + at + INSN_LEN + 1, sizeof(offset));
	*ret = (int64_t)at + INSN_LEN + TAIL_LEN + offset;
	return true;
}

static bool find_partner(const uint8_t *code, size_t len, size_t at, size_t *ret)
{
	int64_t target, other;

	if (!return_target(code, len, at, &target))
		return false;
	for (size_t i = at + INSN_LEN; i < at + PAIR_DISTANCE && i + INSN_LEN <= len; i++)
		if (!memcmp(code + i, vmcall, INSN_LEN) && return_target(code, len, i, &other) && other == target) {
			*ret = i;
			return true;
		}
	return false;
}

void kernel_find_thunks(const struct kernel_elf *elf, struct boot_thunks *ret)
{
	unsigned int pairs = 0;

	*ret = (struct boot_thunks){ 0 };
	for (size_t s = 0; s < elf->segments; s++) {
		const struct kernel_segment *seg = &elf->segment[s];
		const uint8_t *code = elf->file + seg->file_offset, *p = code;
		size_t second;

		while (seg->executable && (p = memmem(p, seg->file_bytes - (size_t)(p - code), vmmcall, INSN_LEN))) {
			if (find_partner(code, seg->file_bytes, (size_t)(p - code), &second)) {
				ret->gpa[0] = seg->paddr + (uint64_t)(p - code);
				ret->gpa[1] = seg->paddr + second;
				pairs++;
			}
			p += INSN_LEN;
		}
	}
	ret->found = pairs == 1;
}

int boot_thunks_patch(struct gmem *mem, const struct boot_thunks *thunks, uint8_t port, struct err *err)
{
	const uint8_t patch[INSN_LEN] = { 0xe7, port, 0x90 }; /* out %eax,$port; nop */
	uint8_t *p[2];

	for (int i = 0; i < 2; i++) {
		p[i] = gmem_ram_hva(mem, thunks->gpa[i], INSN_LEN);
		if (!p[i] || (memcmp(p[i], i ? vmcall : vmmcall, INSN_LEN) && memcmp(p[i], patch, INSN_LEN)))
			return err_set(err, -EINVAL, "no hypercall instruction at 0x%" PRIx64 " to patch",
				       thunks->gpa[i]);
	}
	memcpy(p[0], patch, INSN_LEN);
	memcpy(p[1], patch, INSN_LEN);
	return 0;
}

#define STUB_LEN  32
#define STUB_IRET 23 /* HYPERVISOR_iret has no meaning for a guest like ours */

void boot_hypercall_page(uint8_t *page, uint8_t port)
{
	memset(page, 0, 128 * STUB_LEN);
	for (uint32_t nr = 0; nr < 128; nr++) {
		uint8_t *p = page + nr * STUB_LEN;

		if (nr == STUB_IRET) {
			p[0] = 0x0f; /* ud2 */
			p[1] = 0x0b;
			continue;
		}
		p[0] = 0xb8; /* mov $nr,%eax */
		memcpy(p + 1, &nr, sizeof(nr));
		p[5] = 0xe7; /* out %eax,$port */
		p[6] = port;
		p[7] = 0xc3; /* ret */
	}
}
