/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/addr.h"
#include "base/io.h"
#include "base/log.h"
#include "base/pageset.h"

enum { REGION_LOW, REGION_SPECIAL, REGION_ACPI, REGION_HIGH, REGION_GRANT0 };
#define REGION_MAX (REGION_GRANT0 + GMEM_GRANT_FRAMES)

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_SWAPPED (UINT64_C(1) << 62)
#define PAGEMAP_FILE	(UINT64_C(1) << 61) /* or shared memory */

struct gmem {
	int fd;
	uint8_t *hva; /* one mapping of the whole memfd */
	uint64_t bytes;
	bool private; /* what is written stays here: fd is a base */
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

int gmem_base_new(const struct gmem *mem)
{
	_cleanup_close_ int fd = memfd_create("nidra-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)mem->bytes) < 0)
		return -1;
	/* A shrunk memfd would turn every guest access into SIGBUS for us. */
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0 ? -1 : take_fd(fd);
}

/* Where it is already, or (the first time) anywhere. */
static int map(struct gmem *mem, struct err *err)
{
	int flags = MAP_NORESERVE | (mem->private ? MAP_PRIVATE : MAP_SHARED) | (mem->hva ? MAP_FIXED : 0);
	void *hva = mmap(mem->hva, mem->bytes, PROT_READ | PROT_WRITE, flags, mem->fd, 0);

	if (hva == MAP_FAILED)
		return err_errno(err, -errno, "map %" PRIu64 " MiB of guest memory", mem->bytes / MIB);
	mem->hva = hva;
	/* Guest memory does not belong into a core dump of the monitor. */
	madvise(hva, mem->bytes, MADV_DONTDUMP);
	return 0;
}

static int open_base(struct gmem *mem, int base_fd, struct err *err)
{
	struct stat st;

	if (fstat(base_fd, &st) < 0 || (uint64_t)st.st_size != mem->bytes)
		return err_set(err, -EINVAL, "the shared memory is not that of such a machine");
	mem->private = true;
	mem->fd = fcntl(base_fd, F_DUPFD_CLOEXEC, 3);
	return mem->fd < 0 ? err_errno(err, -errno, "shared guest memory") : 0;
}

static int lay_out(struct gmem *mem, uint64_t ram_bytes, int base_fd, struct err *err)
{
	uint64_t special = ram_bytes, acpi = special + GMEM_SPECIAL_PAGES * NIDRA_PAGE_SIZE;
	uint64_t low = MIN(ram_bytes, GMEM_LOW_MAX);
	int r;

	mem->ram_bytes = ram_bytes;
	mem->grant_offset = acpi + GMEM_ACPI_BYTES;
	mem->bytes = mem->grant_offset + GMEM_GRANT_FRAMES * NIDRA_PAGE_SIZE;
	for (size_t i = 0; i < GMEM_GRANT_FRAMES; i++)
		mem->grant_gfn[i] = UINT64_MAX;
	mem->touched = pageset_new(mem->bytes / NIDRA_PAGE_SIZE);
	if (!mem->touched)
		return err_errno(err, -ENOMEM, "guest memory");
	if (base_fd >= 0) {
		r = open_base(mem, base_fd, err);
	} else {
		mem->fd = gmem_base_new(mem);
		r = mem->fd < 0 ? err_errno(err, -errno, "memfd of %" PRIu64 " MiB for guest memory", mem->bytes / MIB)
				: 0;
	}
	r = r ?: map(mem, err);
	if (r < 0)
		return r;
	add_region(mem, GMEM_RAM, REGION_LOW, 0, low, 0);
	if (ram_bytes > low)
		add_region(mem, GMEM_RAM, REGION_HIGH, GMEM_HIGH_GPA, ram_bytes - low, low);
	add_region(mem, GMEM_SPECIAL, REGION_SPECIAL, GMEM_SPECIAL_GPA, GMEM_SPECIAL_PAGES * NIDRA_PAGE_SIZE, special);
	add_region(mem, GMEM_ACPI, REGION_ACPI, GMEM_ACPI_GPA, GMEM_ACPI_BYTES, acpi);
	return 0;
}

int gmem_new_over(int base_fd, uint64_t ram_bytes, struct gmem **ret_mem, struct err *err)
{
	_cleanup_(gmem_freep) struct gmem *mem = calloc(1, sizeof(*mem));
	int r;

	if (!mem)
		return err_errno(err, -ENOMEM, "guest memory");
	mem->fd = -1;
	if (!ram_bytes || page_offset(ram_bytes) || ram_bytes > (UINT64_C(1) << 40))
		return err_set(err, -EINVAL, "guest memory of %" PRIu64 " bytes is not possible", ram_bytes);
	r = lay_out(mem, ram_bytes, base_fd, err);
	if (r == 0)
		*ret_mem = take_ptr(mem);
	return r;
}

int gmem_new(uint64_t ram_bytes, struct gmem **ret_mem, struct err *err)
{
	return gmem_new_over(-1, ram_bytes, ret_mem, err);
}

/* ---- bases ---- */

bool gmem_is_private(const struct gmem *mem)
{
	return mem->private;
}

int gmem_rebase(struct gmem *mem, int base_fd, struct err *err)
{
	_cleanup_close_ int old = base_fd < 0 ? -1 : mem->fd;
	bool was_private = mem->private;
	int r;

	if (base_fd >= 0)
		mem->fd = base_fd;
	mem->private = true;
	r = map(mem, err);
	if (r < 0) { /* nothing was mapped anew */
		mem->private = was_private;
		if (base_fd >= 0) {
			mem->fd = take_fd(old);
			close(base_fd);
		}
		return r;
	}
	/* Nobody has it mapped shared any more, and so nobody ever will. */
	if (fcntl(mem->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
		log_warn("a base of guest memory cannot be sealed: %s", strerror(errno));
	return 0;
}

/* Pages whose entry of /proc/self/pagemap is one that @want wants: into @set, if there is one; how many. */
static int64_t look_up(const struct gmem *mem, bool (*want)(uint64_t entry), struct pageset *set)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t pages = gmem_pages(mem), entry[512], n;
	int64_t count = 0;

	if (fd < 0)
		return -errno;
	for (uint64_t at = 0; at < pages; at += n) {
		int r;

		n = MIN(pages - at, ARRAY_SIZE(entry));
		r = io_pread_full(fd, entry, n * sizeof(entry[0]),
				  ((uintptr_t)mem->hva / NIDRA_PAGE_SIZE + at) * sizeof(entry[0]));
		if (r < 0)
			return r;
		for (uint64_t i = 0; i < n; i++)
			if (want(entry[i])) {
				count++;
				if (set)
					pageset_add(set, at + i, 1);
			}
	}
	return count;
}

/* A page of a file is the base's. */
static bool is_private(uint64_t entry)
{
	return entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED) && !(entry & PAGEMAP_FILE);
}

int64_t gmem_private_pages(const struct gmem *mem, struct pageset *set)
{
	return mem->private ? look_up(mem, is_private, set) : 0;
}

bool gmem_watch(struct gmem *mem)
{
	return !mem->private && !madvise(mem->hva, mem->bytes, MADV_DONTNEED);
}

static bool is_present(uint64_t entry)
{
	return entry & PAGEMAP_PRESENT;
}

int gmem_watched(const struct gmem *mem, struct pageset *set)
{
	int64_t n = look_up(mem, is_present, set);

	return n < 0 ? (int)n : 0;
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

/* What is not written is the base's, so zeros of our own lie over it: a mapping, or else memory. */
static int discard_private(uint8_t *hva, size_t len)
{
	int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	if (mmap(hva, len, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED)
		memset(hva, 0, len);
	else
		madvise(hva, len, MADV_DONTDUMP);
	return 0;
}

int gmem_discard(struct gmem *mem, uint64_t gpa, size_t len)
{
	const struct gmem_region *g = find(mem, gpa, len);

	if (!g || g->kind != GMEM_RAM)
		return -EFAULT;
	gmem_touch(mem, g->hva + (gpa - g->gpa), len);
	if (mem->private)
		return discard_private(g->hva + (gpa - g->gpa), len);
	if (fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(g->fd_offset + (gpa - g->gpa)),
		      (off_t)len) < 0)
		return -errno;
	return 0;
}
