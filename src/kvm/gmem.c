/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "base/pageset.h"

enum { REGION_LOW, REGION_SPECIAL, REGION_ACPI, REGION_HIGH, REGION_GRANT0 };
#define REGION_MAX (REGION_GRANT0 + GMEM_GRANT_FRAMES)

struct gmem {
	int fd;
	uint8_t *hva; /* one mapping of the whole memfd */
	uint64_t bytes;
	uint64_t ram_bytes, grant_offset;
	struct gmem_region region[REGION_MAX]; /* compact: n in use */
	size_t n;
	uint64_t grant_gfn[GMEM_GRANT_FRAMES]; /* UINT64_MAX: not mapped */
	struct pageset *touched;
};

void gmem_free(struct gmem *mem)
{
	if (!mem)
		return;
	if (mem->hva)
		munmap(mem->hva, mem->bytes);
	free(mem->touched);
	close_fdp(&mem->fd);
	free(mem);
}

static void add_region(struct gmem *mem, enum gmem_kind kind, int slot, uint64_t gpa, uint64_t bytes, uint64_t offset)
{
	mem->region[mem->n++] = (struct gmem_region){
		.kind = kind, .gpa = gpa, .bytes = bytes, .fd_offset = offset, .hva = mem->hva + offset, .slot = slot
	};
}

static int map_memfd(struct gmem *mem, struct err *err)
{
	void *hva;

	mem->fd = memfd_create("nidra-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem->fd < 0)
		return err_errno(err, -errno, "memfd for guest memory");
	if (ftruncate(mem->fd, (off_t)mem->bytes) < 0)
		return err_errno(err, -errno, "size guest memory to %" PRIu64 " MiB", mem->bytes / MIB);
	/* A shrunk memfd would turn every guest access into SIGBUS for us. */
	if (fcntl(mem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		return err_errno(err, -errno, "seal guest memory");
	hva = mmap(NULL, mem->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mem->fd, 0);
	if (hva == MAP_FAILED)
		return err_errno(err, -errno, "map %" PRIu64 " MiB of guest memory", mem->bytes / MIB);
	mem->hva = hva;
	/* Guest memory does not belong into a core dump of the monitor. */
	madvise(hva, mem->bytes, MADV_DONTDUMP);
	return 0;
}

int gmem_new(uint64_t ram_bytes, struct gmem **ret_mem, struct err *err)
{
	_cleanup_(gmem_freep) struct gmem *mem = calloc(1, sizeof(*mem));
	uint64_t low = MIN(ram_bytes, GMEM_LOW_MAX), special, acpi;
	int r;

	if (!mem)
		return err_errno(err, -ENOMEM, "guest memory");
	mem->fd = -1;
	if (!ram_bytes || page_offset(ram_bytes) || ram_bytes > (UINT64_C(1) << 40))
		return err_set(err, -EINVAL, "guest memory of %" PRIu64 " bytes is not possible", ram_bytes);
	mem->ram_bytes = ram_bytes;
	special = ram_bytes;
	acpi = special + GMEM_SPECIAL_PAGES * NIDRA_PAGE_SIZE;
	mem->grant_offset = acpi + GMEM_ACPI_BYTES;
	mem->bytes = mem->grant_offset + GMEM_GRANT_FRAMES * NIDRA_PAGE_SIZE;
	for (size_t i = 0; i < GMEM_GRANT_FRAMES; i++)
		mem->grant_gfn[i] = UINT64_MAX;

	mem->touched = pageset_new(mem->bytes / NIDRA_PAGE_SIZE);
	if (!mem->touched)
		return err_errno(err, -ENOMEM, "guest memory");
	r = map_memfd(mem, err);
	if (r < 0)
		return r;
	add_region(mem, GMEM_RAM, REGION_LOW, 0, low, 0);
	if (ram_bytes > low)
		add_region(mem, GMEM_RAM, REGION_HIGH, GMEM_HIGH_GPA, ram_bytes - low, low);
	add_region(mem, GMEM_SPECIAL, REGION_SPECIAL, GMEM_SPECIAL_GPA, GMEM_SPECIAL_PAGES * NIDRA_PAGE_SIZE, special);
	add_region(mem, GMEM_ACPI, REGION_ACPI, GMEM_ACPI_GPA, GMEM_ACPI_BYTES, acpi);
	*ret_mem = take_ptr(mem);
	return 0;
}

int gmem_fd(const struct gmem *mem)
{
	return mem->fd;
}

uint64_t gmem_ram_bytes(const struct gmem *mem)
{
	return mem->ram_bytes;
}

uint64_t gmem_low_end(const struct gmem *mem)
{
	return MIN(mem->ram_bytes, GMEM_LOW_MAX);
}

const struct gmem_region *gmem_regions(const struct gmem *mem, size_t *ret_n)
{
	*ret_n = mem->n;
	return mem->region;
}

static const struct gmem_region *find(const struct gmem *mem, uint64_t gpa, size_t len)
{
	for (size_t i = 0; i < mem->n; i++) {
		const struct gmem_region *g = &mem->region[i];

		if (gpa >= g->gpa && gpa - g->gpa < g->bytes && len <= g->bytes - (gpa - g->gpa))
			return g;
	}
	return NULL;
}

/* The RAM that the guest may have is contiguous below the special pages, so a frame above is free
 * unless another frame is there. Addresses beyond 2^46 are beyond every CPU's MAXPHYADDR. */
static bool grant_gfn_free(const struct gmem *mem, uint64_t gfn)
{
	uint64_t gpa = gfn_to_gpa(gfn);

	if (gfn >= (UINT64_C(1) << 34) || (gpa >= 0xfec00000 && gpa < GMEM_HIGH_GPA))
		return false;
	return !find(mem, gpa, 1);
}

int gmem_map_grant(struct gmem *mem, unsigned int idx, uint64_t gfn, struct gmem_region *ret_region,
		   struct gmem_region *ret_old)
{
	struct gmem_region *g = NULL;

	if (idx >= GMEM_GRANT_FRAMES)
		return -EINVAL;
	for (size_t i = 0; i < mem->n; i++)
		if (mem->region[i].slot == REGION_GRANT0 + (int)idx)
			g = &mem->region[i];
	/* UINT64_MAX means "not mapped", so it is not "the same place again". */
	if ((gfn == UINT64_MAX || mem->grant_gfn[idx] != gfn) && !grant_gfn_free(mem, gfn))
		return -EINVAL;
	*ret_old = g ? *g : (struct gmem_region){ 0 };
	if (!g) {
		add_region(mem, GMEM_GRANT, REGION_GRANT0 + (int)idx, gfn_to_gpa(gfn), NIDRA_PAGE_SIZE,
			   mem->grant_offset + idx * NIDRA_PAGE_SIZE);
		g = &mem->region[mem->n - 1];
	}
	g->gpa = gfn_to_gpa(gfn);
	mem->grant_gfn[idx] = gfn;
	*ret_region = *g;
	return 0;
}

void *gmem_grant_hva(const struct gmem *mem, unsigned int idx)
{
	if (idx >= GMEM_GRANT_FRAMES)
		return NULL;
	return mem->hva + mem->grant_offset + idx * NIDRA_PAGE_SIZE;
}

uint64_t gmem_grant_gfn(const struct gmem *mem, unsigned int idx)
{
	return idx < GMEM_GRANT_FRAMES ? mem->grant_gfn[idx] : UINT64_MAX;
}

void *gmem_hva(const struct gmem *mem, uint64_t gpa, size_t len)
{
	const struct gmem_region *g = find(mem, gpa, len);

	return g ? g->hva + (gpa - g->gpa) : NULL;
}

void *gmem_ram_hva(const struct gmem *mem, uint64_t gpa, size_t len)
{
	const struct gmem_region *g = find(mem, gpa, len);

	return g && g->kind == GMEM_RAM ? g->hva + (gpa - g->gpa) : NULL;
}

uint64_t gmem_pages(const struct gmem *mem)
{
	return mem->bytes / NIDRA_PAGE_SIZE;
}

void *gmem_page(const struct gmem *mem, uint64_t number)
{
	return mem->hva + number * NIDRA_PAGE_SIZE;
}

void gmem_touch(struct gmem *mem, const void *hva, size_t len)
{
	uint64_t first = (uint64_t)((const uint8_t *)hva - mem->hva), last = first + len - 1;

	pageset_add(mem->touched, first / NIDRA_PAGE_SIZE, last / NIDRA_PAGE_SIZE - first / NIDRA_PAGE_SIZE + 1);
}

void gmem_take_touched(struct gmem *mem, struct pageset *set)
{
	pageset_move(set, mem->touched);
}

void *gmem_hva_to_write(struct gmem *mem, uint64_t gpa, size_t len)
{
	void *p = gmem_hva(mem, gpa, len);

	if (p)
		gmem_touch(mem, p, len);
	return p;
}

int gmem_read(const struct gmem *mem, uint64_t gpa, void *buf, size_t len)
{
	const void *p = gmem_hva(mem, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int gmem_write(struct gmem *mem, uint64_t gpa, const void *buf, size_t len)
{
	void *p = gmem_hva_to_write(mem, gpa, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}

int gmem_discard(struct gmem *mem, uint64_t gpa, size_t len)
{
	const struct gmem_region *g = find(mem, gpa, len);

	if (!g || g->kind != GMEM_RAM)
		return -EFAULT;
	gmem_touch(mem, g->hva + (gpa - g->gpa), len);
	if (fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(g->fd_offset + (gpa - g->gpa)),
		      (off_t)len) < 0)
		return -errno;
	return 0;
}
