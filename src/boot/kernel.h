/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers behind boot.h, each for itself: bytes in, facts out. For boot.c, tests and fuzzers. */
#ifndef NIDRA_BOOT_KERNEL_H
#define NIDRA_BOOT_KERNEL_H

#include "boot/boot.h"

#define KERNEL_FILE_MAX	    ((size_t)512 << 20)
#define KERNEL_IMAGE_MAX    ((size_t)512 << 20) /* unpacked */
#define KERNEL_SEGMENTS_MAX 32

/* One part of a kernel that goes into memory. Offsets are inside the ELF file, and checked. */
struct kernel_segment {
	uint64_t paddr, file_offset, file_bytes, mem_bytes;
	bool executable;
};

struct kernel_elf {
	const uint8_t *file; /* borrowed */
	size_t len;
	struct kernel_segment segment[KERNEL_SEGMENTS_MAX];
	size_t segments;
	uint64_t notes_read; /* bytes of notes: a file that names the same ones again and again is left */
	uint64_t entry;	     /* of the PHYS32_ENTRY note */
	bool has_entry, suspend_cancel;
};

/*
 * A bzImage's ELF, allocated. -ENOEXEC: not a bzImage (perhaps an ELF file itself).
 */
int kernel_unpack(const uint8_t *file, size_t len, uint8_t **ret, size_t *ret_len, struct err *err);

/* Segments and Xen notes of an ELF64 or ELF32 file. -ENOEXEC: no ELF for x86. */
int kernel_parse(const uint8_t *file, size_t len, struct kernel_elf *ret, struct err *err);

/* Looks for the pair of hypercall thunks; found = false if there is none, or more than one. */
void kernel_find_thunks(const struct kernel_elf *elf, struct boot_thunks *ret);

/* Copies the segments. *ret_end is behind the highest byte. */
int kernel_place(const struct kernel_elf *elf, struct gmem *mem, uint64_t *ret_end, struct err *err);

#endif
