/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts kernel, initrd and start_info into guest memory. All of start_info, its tables and the initrd
 * lie below 1 GiB, where early page tables reach, and above the kernel.
 */
#include "boot/boot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/arch-x86/hvm/start_info.h>

#include "base/addr.h"
#include "base/io.h"
#include "boot/acpi.h"
#include "boot/kernel.h"

#define INITRD_MAX    ((size_t)4 << 30)
#define E820_RAM      1
#define E820_RESERVED 2
#define E820_NVS      4 /* as Xen types the ACPI blob, so that a kexec'd kernel keeps it */

/* start_info and what it points to, in one piece. */
struct start {
	struct hvm_start_info info;
	struct hvm_modlist_entry module;
	struct hvm_memmap_table_entry map[4];
	char cmdline[BOOT_CMDLINE_MAX + 1];
};

static int load_kernel(struct gmem *mem, const struct boot_source *source, struct boot_info *ret, uint64_t *ret_end,
		       struct err *err)
{
	const char *path = source->name ?: source->kernel;
	_cleanup_free_ uint8_t *file = NULL, *unpacked = NULL;
	struct kernel_elf elf;
	size_t len;
	int r = io_read_file(source->kernel, KERNEL_FILE_MAX, &file, &len, err);

	if (r < 0)
		return err_prefix(err, "kernel");
	r = kernel_unpack(file, len, &unpacked, &len, err);
	if (r < 0 && r != -ENOEXEC)
		return err_prefix(err, "kernel %s is", path);
	r = kernel_parse(unpacked ?: file, len, &elf, err);
	if (r == -ENOEXEC)
		return err_set(err, r, "kernel %s is neither a bzImage nor an ELF file", path);
	if (r < 0)
		return err_prefix(err, "kernel %s is", path);
	if (!elf.has_entry || elf.entry > UINT32_MAX)
		return err_set(err, -ENOEXEC,
			       "kernel %s has no PVH entry (PHYS32_ENTRY note): Linux has it with CONFIG_XEN_PVH",
			       path);
	r = kernel_place(&elf, mem, ret_end, err);
	if (r < 0)
		return err_prefix(err, "kernel %s", path);
	ret->entry = (uint32_t)elf.entry;
	ret->suspend_cancel = elf.suspend_cancel;
	kernel_find_thunks(&elf, &ret->thunks);
	return 0;
}

/* Straight from the file into guest memory. */
static int load_initrd(struct gmem *mem, const struct boot_source *source, uint64_t bottom, uint64_t top,
		       struct hvm_modlist_entry *ret, struct err *err)
{
	_cleanup_free_ uint8_t *file = NULL;
	size_t len;
	uint64_t gpa;
	int r = io_read_file(source->initrd, INITRD_MAX, &file, &len, err);

	if (r < 0)
		return err_prefix(err, "initrd");
	if (page_up(len) > top || top - page_up(len) < bottom)
		return err_set(err, -ENOMEM,
			       "initrd %s has %zu MiB and does not fit beside the kernel; give the machine more memory",
			       source->name ?: source->initrd, (size_t)(len / MIB));
	gpa = top - page_up(len);
	gmem_write(mem, gpa, file, len);
	*ret = (struct hvm_modlist_entry){ .paddr = gpa, .size = len };
	return 0;
}

static uint32_t fill_map(const struct gmem *mem, struct hvm_memmap_table_entry map[4])
{
	uint64_t low = gmem_low_end(mem), all = gmem_ram_bytes(mem);
	uint32_t n = 0;

	map[n++] = (struct hvm_memmap_table_entry){ .addr = 0, .size = low, .type = E820_RAM };
	map[n++] = (struct hvm_memmap_table_entry){ .addr = GMEM_ACPI_GPA, .size = GMEM_ACPI_BYTES, .type = E820_NVS };
	map[n++] = (struct hvm_memmap_table_entry){ .addr = GMEM_SPECIAL_GPA,
						    .size = GMEM_SPECIAL_PAGES * NIDRA_PAGE_SIZE,
						    .type = E820_RESERVED };
	if (all > low)
		map[n++] =
			(struct hvm_memmap_table_entry){ .addr = GMEM_HIGH_GPA, .size = all - low, .type = E820_RAM };
	return n;
}

static void fill_start(struct start *s, const struct gmem *mem, uint64_t gpa, uint64_t rsdp)
{
	s->info.magic = XEN_HVM_START_MAGIC_VALUE;
	s->info.version = 1;
	s->info.nr_modules = s->module.size ? 1 : 0;
	s->info.modlist_paddr = gpa + offsetof(struct start, module);
	s->info.cmdline_paddr = gpa + offsetof(struct start, cmdline);
	s->info.rsdp_paddr = rsdp;
	s->info.memmap_paddr = gpa + offsetof(struct start, map);
	s->info.memmap_entries = fill_map(mem, s->map);
}

int boot_load(struct gmem *mem, const struct boot_source *source, struct boot_info *ret, struct err *err)
{
	_cleanup_free_ struct start *s = calloc(1, sizeof(*s));
	uint64_t top = MIN(gmem_low_end(mem), GIB), gpa = top - page_up(sizeof(*s)), kernel_end;
	struct boot_info info = { 0 };
	int r;

	if (!s)
		return err_errno(err, -ENOMEM, "start_info");
	if (strlen(source->cmdline) > BOOT_CMDLINE_MAX)
		return err_set(err, -E2BIG, "the kernel command line has %zu bytes; %d are possible",
			       strlen(source->cmdline), BOOT_CMDLINE_MAX);
	strcpy(s->cmdline, source->cmdline);
	r = load_kernel(mem, source, &info, &kernel_end, err);
	if (r < 0)
		return r;
	if (kernel_end > gpa)
		return err_set(err, -ENOMEM, "kernel %s leaves no room below %" PRIu64 " MiB",
			       source->name ?: source->kernel, top / MIB);
	if (source->initrd)
		r = load_initrd(mem, source, kernel_end, gpa, &s->module, err);
	if (r < 0)
		return r;
	fill_start(s, mem, gpa, acpi_build(mem, source->vcpus));
	info.start_info = (uint32_t)gpa;
	gmem_write(mem, gpa, s, sizeof(*s));
	*ret = info;
	return 0;
}
