/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF executables: loadable segments by their physical address, and Xen's notes. Everything in the
 * file is checked against its length before it is used. Source of the notes: Xen public/elfnote.h.
 */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>
#include <xen/elfnote.h>

#include "base/addr.h"
#include "boot/kernel.h"

struct part {
	uint32_t type, flags;
	uint64_t offset, paddr, file_bytes, mem_bytes;
};

static bool inside(size_t len, uint64_t offset, uint64_t bytes)
{
	return offset <= len && bytes <= len - offset;
}

static uint64_t round4(uint64_t n)
{
	return (n + 3) & ~UINT64_C(3);
}

static void take_note(struct kernel_elf *elf, uint32_t type, const uint8_t *desc, uint64_t len)
{
	uint64_t value = 0;

	if (len != 4 && len != 8)
		return;
	memcpy(&value, desc, len);
	if (type == XEN_ELFNOTE_PHYS32_ENTRY) {
		elf->entry = value;
		elf->has_entry = true;
	} else if (type == XEN_ELFNOTE_SUSPEND_CANCEL) {
		elf->suspend_cancel = value != 0;
	}
}

static void read_notes(struct kernel_elf *elf, uint64_t offset, uint64_t bytes)
{
	const uint8_t *p = elf->file + offset;

	elf->notes_read += bytes;
	if (elf->notes_read > elf->len)
		return;
	while (bytes >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		uint64_t name, all;

		memcpy(&h, p, sizeof(h));
		name = round4(h.n_namesz);
		all = sizeof(h) + name + round4(h.n_descsz);
		if (name > bytes || sizeof(h) + name + h.n_descsz > bytes)
			return;
		if (h.n_namesz == 4 && !memcmp(p + sizeof(h), "Xen", 4))
			take_note(elf, h.n_type, p + sizeof(h) + name, h.n_descsz);
		all = MIN(all, bytes);
		p += all;
		bytes -= all;
	}
}

static int take_segment(struct kernel_elf *elf, const struct part *part, struct err *err)
{
	uint64_t end;

	if (!part->mem_bytes)
		return 0;
	if (elf->segments == KERNEL_SEGMENTS_MAX)
		return err_set(err, -EINVAL, "an ELF file with more than %d segments", KERNEL_SEGMENTS_MAX);
	if (part->file_bytes > part->mem_bytes || add_overflow(part->paddr, part->mem_bytes, &end))
		return err_set(err, -EINVAL, "an ELF file with a segment that makes no sense");
	elf->segment[elf->segments++] = (struct kernel_segment){ .paddr = part->paddr,
								 .file_offset = part->offset,
								 .file_bytes = part->file_bytes,
								 .mem_bytes = part->mem_bytes,
								 .executable = part->flags & PF_X };
	return 0;
}

static int take_part(struct kernel_elf *elf, const struct part *part, struct err *err)
{
	if (part->type != PT_LOAD && part->type != PT_NOTE)
		return 0;
	if (!inside(elf->len, part->offset, part->file_bytes))
		return err_set(err, -EINVAL, "an ELF file that is cut off");
	if (part->type == PT_LOAD)
		return take_segment(elf, part, err);
	read_notes(elf, part->offset, part->file_bytes);
	return 0;
}

/* The two classes differ in the order and width of the same fields. */
#define DEFINE_READ_PARTS(bits)                                                                                        \
	static int read_parts##bits(struct kernel_elf *elf, struct err *err)                                           \
	{                                                                                                              \
		Elf##bits##_Ehdr h;                                                                                    \
		Elf##bits##_Phdr p;                                                                                    \
		int r = 0;                                                                                             \
                                                                                                                       \
		if (elf->len < sizeof(h))                                                                              \
			return err_set(err, -EINVAL, "an ELF file that is cut off");                                   \
		memcpy(&h, elf->file, sizeof(h));                                                                      \
		if (h.e_phentsize != sizeof(p) || !inside(elf->len, h.e_phoff, (uint64_t)h.e_phnum * sizeof(p)))       \
			return err_set(err, -EINVAL, "an ELF file without program headers");                           \
		for (unsigned int i = 0; i < h.e_phnum && r == 0; i++) {                                               \
			struct part part;                                                                              \
                                                                                                                       \
			memcpy(&p, elf->file + h.e_phoff + i * sizeof(p), sizeof(p));                                  \
			part = (struct part){ .type = p.p_type,                                                        \
					      .flags = p.p_flags,                                                      \
					      .offset = p.p_offset,                                                    \
					      .paddr = p.p_paddr,                                                      \
					      .file_bytes = p.p_filesz,                                                \
					      .mem_bytes = p.p_memsz };                                                \
			r = take_part(elf, &part, err);                                                                \
		}                                                                                                      \
		return r;                                                                                              \
	}                                                                                                              \
                                                                                                                       \
	/* For files whose linker made no PT_NOTE. */                                                                  \
	static void read_note_sections##bits(struct kernel_elf *elf)                                                   \
	{                                                                                                              \
		Elf##bits##_Ehdr h;                                                                                    \
		Elf##bits##_Shdr s;                                                                                    \
                                                                                                                       \
		memcpy(&h, elf->file, sizeof(h));                                                                      \
		if (h.e_shentsize != sizeof(s) || !inside(elf->len, h.e_shoff, (uint64_t)h.e_shnum * sizeof(s)))       \
			return;                                                                                        \
		for (unsigned int i = 0; i < h.e_shnum; i++) {                                                         \
			memcpy(&s, elf->file + h.e_shoff + i * sizeof(s), sizeof(s));                                  \
			if (s.sh_type == SHT_NOTE && inside(elf->len, s.sh_offset, s.sh_size))                         \
				read_notes(elf, s.sh_offset, s.sh_size);                                               \
		}                                                                                                      \
	}

DEFINE_READ_PARTS(32)
DEFINE_READ_PARTS(64)

int kernel_parse(const uint8_t *file, size_t len, struct kernel_elf *ret, struct err *err)
{
	bool is64;
	int r;

	*ret = (struct kernel_elf){ .file = file, .len = len };
	if (len < EI_NIDENT || memcmp(file, ELFMAG, SELFMAG) || file[EI_DATA] != ELFDATA2LSB)
		return err_set(err, -ENOEXEC, "not an ELF file");
	is64 = file[EI_CLASS] == ELFCLASS64;
	r = is64 ? read_parts64(ret, err) : read_parts32(ret, err);
	if (r == 0 && !ret->has_entry)
		is64 ? read_note_sections64(ret) : read_note_sections32(ret);
	return r;
}

int kernel_place(const struct kernel_elf *elf, struct gmem *mem, uint64_t *ret_end, struct err *err)
{
	uint64_t end = 0;

	for (size_t i = 0; i < elf->segments; i++) {
		const struct kernel_segment *s = &elf->segment[i];
		uint8_t *p = gmem_ram_hva(mem, s->paddr, s->mem_bytes);

		if (!p)
			return err_set(err, -ENOMEM,
				       "it needs memory from 0x%" PRIx64 " to 0x%" PRIx64
				       ", and the machine has %" PRIu64 " MiB",
				       s->paddr, s->paddr + s->mem_bytes, gmem_ram_bytes(mem) / MIB);
		memcpy(p, elf->file + s->file_offset, s->file_bytes);
		memset(p + s->file_bytes, 0, s->mem_bytes - s->file_bytes);
		end = MAX(end, s->paddr + s->mem_bytes);
	}
	*ret_end = end;
	return 0;
}
