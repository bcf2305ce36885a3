/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: which parts of guest-physical space have memory, and the only way
 * from a guest address to a host pointer.
 *
 * One struct gmem per machine. RAM, the special pages and the ACPI blob are fixed before
 * the first vCPU runs. Grant frames come later, where the guest puts them: adding one and
 * looking up addresses happen under the Xen domain's lock, or while all vCPUs are parked.
 *
 * The guest may rewrite these bytes at any moment. Never check a value through gmem_hva()
 * and then use it: gmem_read() it into a local first.
 */
#ifndef NIDRA_KVM_GMEM_H
#define NIDRA_KVM_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

enum gmem_kind {
	GMEM_RAM = 1,	  /* guest RAM: usable memory in the guest's memory map */
	GMEM_SPECIAL = 2, /* Xen's special pages: xenstore ring, console ring */
	GMEM_ACPI = 3,	  /* ACPI tables */
	GMEM_GRANT = 4,	  /* a grant table frame, mapped at a gfn of the guest's choice */
};

struct gmem_region {
	enum gmem_kind kind;
	uint64_t gpa, bytes;
	uint64_t fd_offset; /* in gmem_fd(): all regions live in one memfd */
	uint8_t *hva;
	int slot; /* KVM memory slot */
};

/* Guest-physical layout, as Xen's toolstack builds it for PVH (xen-abi.md 1.4). */
#define GMEM_SPECIAL_GPA   UINT64_C(0xfeff8000)
#define GMEM_SPECIAL_PAGES 8
#define GMEM_XENSTORE_GPA  UINT64_C(0xfeffc000)
#define GMEM_CONSOLE_GPA   UINT64_C(0xfefff000)
#define GMEM_ACPI_GPA	   UINT64_C(0xfc000000)
#define GMEM_ACPI_BYTES	   (UINT64_C(64) << 10)
#define GMEM_IOAPIC_GPA	   UINT64_C(0xfec00000) /* no memory: the I/O APIC, if there is one */
#define GMEM_LOW_MAX	   UINT64_C(0xf0000000) /* RAM below 4 GiB ends here at the latest */
#define GMEM_HIGH_GPA	   (UINT64_C(1) << 32)	/* and goes on here */
#define GMEM_GRANT_FRAMES  64

struct gmem;

/*
 * @ram_bytes of RAM (page multiple, split around the hole below 4 GiB), special pages, ACPI
 * pages, and backing for grant frames that are not mapped yet. Everything is zero.
 */
int gmem_new(uint64_t ram_bytes, struct gmem **ret_mem, struct err *err);
/*
 * The same with the contents of another one's base (below): what is written here is seen nowhere else.
 * @base_fd is borrowed. -EINVAL: it is of another size.
 */
int gmem_new_over(int base_fd, uint64_t ram_bytes, struct gmem **ret_mem, struct err *err);
void gmem_free(struct gmem *mem);
DEFINE_CLEANUP(struct gmem *, gmem_free)

/* The memfd: the memory itself or, if that is private, its base. */
int gmem_fd(const struct gmem *mem);
uint64_t gmem_ram_bytes(const struct gmem *mem);
/* First byte behind the RAM below 4 GiB. */
uint64_t gmem_low_end(const struct gmem *mem);

/* Regions in use, in no particular order. The array may change with the next grant frame. */
const struct gmem_region *gmem_regions(const struct gmem *mem, size_t *ret_n);

/*
 * Puts grant frame @idx at @gfn. The same frame at the same gfn again changes nothing; at
 * another gfn it moves. -EINVAL: bad index, or @gfn is taken. *ret_old is the region as it
 * was (kind 0: it was not mapped), *ret_region the one to give to KVM.
 */
int gmem_map_grant(struct gmem *mem, unsigned int idx, uint64_t gfn, struct gmem_region *ret_region,
		   struct gmem_region *ret_old);
/* Frame @idx by its contents, mapped or not. NULL: bad index. */
void *gmem_grant_hva(const struct gmem *mem, unsigned int idx);
/* gfn at which frame @idx is mapped, or UINT64_MAX. */
uint64_t gmem_grant_gfn(const struct gmem *mem, unsigned int idx);

/* Host address of [gpa, gpa + len), or NULL if the range is not whole in one region. */
void *gmem_hva(const struct gmem *mem, uint64_t gpa, size_t len);
/* The same, but only RAM: what a grant or a ring of the guest may point to. */
void *gmem_ram_hva(const struct gmem *mem, uint64_t gpa, size_t len);

/*
 * Bases. Memory that many share is a memfd that nobody can change any more; each has it mapped
 * privately, so that the kernel copies a page when somebody writes it.
 *
 * gmem_rebase() makes @base_fd (taken, also when it fails) the base of this memory: its contents must be equal.
 * -1: what is in gmem_fd() now. Hold the domain's lock, and all vCPUs parked; KVM needs not be told.
 */
bool gmem_is_private(const struct gmem *mem);
int gmem_rebase(struct gmem *mem, int base_fd, struct err *err);
/* A memfd that can become a base: as large, all zero. -1: errno. */
int gmem_base_new(const struct gmem *mem);
/* Adds the pages that are not (or not any more) the base's to @set, if there is one, and returns how many; -errno. */
struct pageset;
int64_t gmem_private_pages(const struct gmem *mem, struct pageset *set);

/*
 * What is touched from a moment on, by the guest or by us: gmem_watch() takes all pages out of the page tables (what
 * they hold stays), gmem_watched() adds those that are in them again. Linux brings neighbours that exist along, 16 in a
 * block. False: it is private memory, of which that would lose what was written. Pages have to be there already:
 * no pager.
 */
bool gmem_watch(struct gmem *mem);
int gmem_watched(const struct gmem *mem, struct pageset *set);

/*
 * Pages have numbers: their offset in gmem_fd() / 4096. What we write to guest memory ourselves is in no
 * dirty log of KVM's, so it is noted here. Who writes through a pointer gets it from gmem_hva_to_write()
 * each time, and both asks and writes under the Xen domain's lock, under which the notes are taken.
 * The special pages are not noted: they count as written at all times.
 */
uint64_t gmem_pages(const struct gmem *mem);
/* Where page @number is mapped; all are, one behind the other. */
void *gmem_page(const struct gmem *mem, uint64_t number);
void gmem_touch(struct gmem *mem, const void *hva, size_t len);
void *gmem_hva_to_write(struct gmem *mem, uint64_t gpa, size_t len);
/* Moves the notes into @set. */
void gmem_take_touched(struct gmem *mem, struct pageset *set);

/* Copy @len bytes within one region. -EFAULT, and nothing copied, otherwise. */
int gmem_read(const struct gmem *mem, uint64_t gpa, void *buf, size_t len);
int gmem_write(struct gmem *mem, uint64_t gpa, const void *buf, size_t len);

/* Gives the memory behind a page back to the host; the guest reads zeros (ballooning). */
int gmem_discard(struct gmem *mem, uint64_t gpa, size_t len);

#endif
