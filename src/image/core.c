/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image as an ELF core, for gdb and crash: a note with the registers of each vCPU, and guest
 * memory by its physical addresses. The file is sparse where memory is zero.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/procfs.h>

#include "base/io.h"
#include "base/str.h"
#include "image/reader.h"

#define PAGE	  ((uint64_t)IMAGE_ALIGN)
#define VCPUS_MAX 32

/* Items of a VCPU record, docs/image-format.md: struct kvm_regs, and what we need of kvm_sregs. */
enum { ITEM_SREGS = 2, ITEM_REGS = 3 };
struct regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
};
struct segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint8_t rest[10];
};
struct sregs {
	struct segment cs, ds, es, fs, gs, ss;
};

struct note {
	Elf64_Nhdr head;
	char name[8]; /* "CORE", padded to 4 */
	struct elf_prstatus status;
} __attribute__((packed));

static const void *find_item(const void *body, size_t len, uint32_t kind, size_t min)
{
	struct bytes_reader r = bytes_reader(body, len);

	while (r.left && !r.failed) {
		uint32_t k = bytes_get_u32(&r);
		size_t n;
		const void *p = bytes_get_blob(&r, r.left, &n);

		if (k == kind && p && n >= min)
			return p;
	}
	return NULL;
}

static int fill_note(struct note *note, int vcpu, const void *body, size_t len)
{
	const void *p = find_item(body, len, ITEM_REGS, sizeof(struct regs));
	const void *q = find_item(body, len, ITEM_SREGS, sizeof(struct sregs));
	struct user_regs_struct u = { 0 };
	struct regs r;
	struct sregs s;

	if (!p || !q)
		return -EBADMSG;
	memcpy(&r, p, sizeof(r));
	memcpy(&s, q, sizeof(s));
	u = (struct user_regs_struct){ .r15 = r.r15,
				       .r14 = r.r14,
				       .r13 = r.r13,
				       .r12 = r.r12,
				       .rbp = r.rbp,
				       .rbx = r.rbx,
				       .r11 = r.r11,
				       .r10 = r.r10,
				       .r9 = r.r9,
				       .r8 = r.r8,
				       .rax = r.rax,
				       .rcx = r.rcx,
				       .rdx = r.rdx,
				       .rsi = r.rsi,
				       .rdi = r.rdi,
				       .orig_rax = r.rax,
				       .rip = r.rip,
				       .cs = s.cs.selector,
				       .eflags = r.rflags,
				       .rsp = r.rsp,
				       .ss = s.ss.selector,
				       .fs_base = s.fs.base,
				       .gs_base = s.gs.base,
				       .ds = s.ds.selector,
				       .es = s.es.selector,
				       .fs = s.fs.selector,
				       .gs = s.gs.selector };
	*note = (struct note){ .head = { .n_namesz = 5, .n_descsz = sizeof(note->status), .n_type = NT_PRSTATUS },
			       .name = "CORE" };
	note->status.pr_pid = vcpu + 1;
	_Static_assert(sizeof(note->status.pr_reg) == sizeof(u), "registers");
	memcpy(&note->status.pr_reg, &u, sizeof(u));
	return 0;
}

/* How many there are; negative errno. */
static int fill_notes(struct image_reader *r, struct note *note)
{
	const void *body;
	size_t len;
	int n = 0;

	while (n < VCPUS_MAX && image_reader_record(r, IMAGE_REC_VCPU, (uint32_t)n, &body, &len) == 0) {
		int e = fill_note(&note[n], n, body, len);

		if (e < 0)
			return e;
		n++;
	}
	return n;
}

/* Headers and notes; the places of memory go into @region. */
static int write_head(struct image_reader *r, int fd, struct image_region *region, uint64_t *ret_size)
{
	const struct image_file *f = r->file[0];
	_cleanup_free_ struct note *note = calloc(VCPUS_MAX, sizeof(*note));
	Elf64_Phdr ph[IMAGE_REGIONS_MAX + 1] = { 0 };
	Elf64_Ehdr eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_CORE,
			  .e_machine = EM_X86_64,
			  .e_version = EV_CURRENT,
			  .e_phoff = sizeof(eh),
			  .e_ehsize = sizeof(eh),
			  .e_phentsize = sizeof(ph[0]),
			  .e_phnum = (Elf64_Half)(f->regions + 1) };
	int vcpus = note ? fill_notes(r, note) : -ENOMEM, e;
	uint64_t at = sizeof(eh) + eh.e_phnum * sizeof(ph[0]);

	if (vcpus < 0)
		return vcpus;
	ph[0] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = at, .p_filesz = (size_t)vcpus * sizeof(*note) };
	at = (at + ph[0].p_filesz + PAGE - 1) / PAGE * PAGE;
	for (size_t i = 0; i < f->regions; i++) {
		const struct image_region_entry *g = &f->region[i];

		region[i] = (struct image_region){
			.kind = g->kind, .gpa = g->gpa, .bytes = g->bytes, .fd = fd, .fd_offset = at
		};
		ph[i + 1] = (Elf64_Phdr){ .p_type = PT_LOAD,
					  .p_flags = PF_R | PF_W | PF_X,
					  .p_offset = at,
					  .p_vaddr = g->gpa,
					  .p_paddr = g->gpa,
					  .p_filesz = g->bytes,
					  .p_memsz = g->bytes,
					  .p_align = PAGE };
		at += g->bytes;
	}
	*ret_size = at;
	e = io_pwrite_full(fd, &eh, sizeof(eh), 0);
	e = e ?: io_pwrite_full(fd, ph, eh.e_phnum * sizeof(ph[0]), sizeof(eh));
	return e ?: io_pwrite_full(fd, note, ph[0].p_filesz, ph[0].p_offset);
}

int image_export_core(const char *path, struct image_key *key, const char *out, const struct image_progress *progress,
		      struct err *err)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_region region[IMAGE_REGIONS_MAX];
	_cleanup_close_ int fd = -1;
	struct image_stats stats;
	uint64_t size;
	int e = image_reader_open_key(path, key, &r, err);

	if (e < 0)
		return e;
	fd = open(out, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, -errno, "create %s", out);
	e = write_head(r, fd, region, &size);
	if (e == 0 && ftruncate(fd, (off_t)size) < 0)
		e = -errno;
	e = e < 0 ? err_errno(err, e, "write %s", out)
		  : image_reader_memory(r, region, r->file[0]->regions, progress, &stats, err);
	if (e == 0 && fsync(fd) < 0)
		e = err_errno(err, -errno, "write %s", out);
	if (e < 0)
		unlink(out);
	return e;
}
