/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty log. With KVM_DIRTY_LOG_MANUAL_PROTECT asking for it changes nothing, and pages are
 * protected again in pieces by KVM_CLEAR_DIRTY_LOG, so the guest never waits for long; and with
 * INITIALLY_SET starting costs nothing at all: everything counts as written once.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/addr.h"
#include "base/pageset.h"
#include "kvm/internal.h"

#define CLEAR_PAGES (UINT64_C(1) << 14) /* protected at a time, under KVM's lock */

void machine_log_setup(struct machine *m)
{
	int can = ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };

	if (can <= 0)
		return;
	cap.args[0] = (uint64_t)can & (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
	m->manual_log = ioctl(m->vm_fd, KVM_ENABLE_CAP, &cap) == 0;
}

static int set_flags(struct machine *m, uint32_t flags)
{
	const struct gmem_region *g;
	size_t n;
	int r = 0;

	g = gmem_regions(m->mem, &n);
	for (size_t i = 0; i < n; i++) {
		struct kvm_userspace_memory_region slot = { .slot = (uint32_t)g[i].slot,
							    .flags = flags,
							    .guest_phys_addr = g[i].gpa,
							    .memory_size = g[i].bytes,
							    .userspace_addr = (uintptr_t)g[i].hva };

		/* A grant frame's slot comes and goes; its contents are the Xen domain's state. */
		if (g[i].kind != GMEM_GRANT && ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			r = -errno;
	}
	return r;
}

int machine_log_start(struct machine *m, struct err *err)
{
	int r;

	if (m->logging)
		return 0;
	/* All of it is there before it is needed: the guest waits when it is. */
	m->log_bitmap = malloc(gmem_pages(m->mem) / 8 + sizeof(uint64_t));
	if (!m->log_bitmap)
		return err_errno(err, -ENOMEM, "KVM's dirty log");
	memset(m->log_bitmap, 0, gmem_pages(m->mem) / 8 + sizeof(uint64_t));
	r = set_flags(m, KVM_MEM_LOG_DIRTY_PAGES);
	m->logging = true;
	if (r < 0) {
		machine_log_stop(m);
		return err_errno(err, r, "start KVM's dirty log");
	}
	return 0;
}

void machine_log_stop(struct machine *m)
{
	if (m->logging)
		set_flags(m, 0);
	free(take_ptr(m->log_bitmap));
	m->logging = false;
}

static int clear_log(struct machine *m, const struct gmem_region *g, const uint64_t *bitmap)
{
	uint64_t pages = g->bytes / NIDRA_PAGE_SIZE;

	for (uint64_t at = 0; at < pages; at += CLEAR_PAGES) {
		uint64_t n = MIN(CLEAR_PAGES, pages - at), any = 0;
		struct kvm_clear_dirty_log clear = { .slot = (uint32_t)g->slot,
						     .num_pages = (uint32_t)n,
						     .first_page = at };

		for (uint64_t i = at / 64; i < (at + n + 63) / 64; i++)
			any |= bitmap[i];
		clear.dirty_bitmap = (void *)(uintptr_t)(bitmap + at / 64);
		if (any && ioctl(m->vm_fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
			return -errno;
	}
	return 0;
}

static void add_bits(struct pageset *set, uint64_t first, const uint64_t *bitmap, uint64_t pages)
{
	for (uint64_t i = 0; i < (pages + 63) / 64; i++) {
		uint64_t bits = bitmap[i];

		if (!bits)
			continue;
		if (first % 64 == 0)
			pageset_add_word(set, first + i * 64, bits);
		else
			for (; bits; bits &= bits - 1)
				pageset_add(set, first + i * 64 + (uint64_t)__builtin_ctzll(bits), 1);
	}
}

static int collect_region(struct machine *m, const struct gmem_region *g, struct pageset *set)
{
	uint64_t pages = g->bytes / NIDRA_PAGE_SIZE, first = g->fd_offset / NIDRA_PAGE_SIZE;
	uint64_t *bitmap = m->log_bitmap;
	struct kvm_dirty_log log = { .slot = (uint32_t)g->slot, .dirty_bitmap = bitmap };
	int r;

	if (ioctl(m->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return -errno;
	r = m->manual_log ? clear_log(m, g, bitmap) : 0;
	if (pages % 64)
		bitmap[pages / 64] &= (UINT64_C(1) << pages % 64) - 1;
	if (r == 0)
		add_bits(set, first, bitmap, pages);
	return r;
}

int machine_log_collect(struct machine *m, struct pageset *set, struct err *err)
{
	const struct gmem_region *g;
	size_t n;
	int r = 0;

	g = gmem_regions(m->mem, &n);
	for (size_t i = 0; i < n && r == 0; i++) {
		if (g[i].kind == GMEM_GRANT)
			continue;
		r = collect_region(m, &g[i], set);
		if (g[i].kind == GMEM_SPECIAL)
			pageset_add(set, g[i].fd_offset / NIDRA_PAGE_SIZE, g[i].bytes / NIDRA_PAGE_SIZE);
	}
	gmem_take_touched(m->mem, set);
	return r < 0 ? err_errno(err, r, "read KVM's dirty log") : 0;
}
