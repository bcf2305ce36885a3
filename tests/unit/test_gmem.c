/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: what is where, and that nothing else is reached. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/pageset.h"
#include "kvm/gmem.h"

#define RAM (64 * MIB)

static struct gmem *mem;

static int setup(void **state)
{
	(void)state;
	return gmem_new(RAM, &mem, NULL);
}

static int teardown(void **state)
{
	(void)state;
	gmem_free(mem);
	return 0;
}

static void test_sizes_that_cannot_be_are_refused(void **state)
{
	static const uint64_t bad[] = { 0, 1, 4095, MIB + 1, (UINT64_C(1) << 40) + 4096, UINT64_MAX };
	struct gmem *none = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(gmem_new(bad[i], &none, NULL), -EINVAL);
	assert_null(none);
	gmem_free(NULL);
}

static void test_ram_is_split_around_the_hole(void **state)
{
	struct gmem *big;
	const struct gmem_region *g;
	uint64_t ram = 0;
	size_t n;

	(void)state;
	assert_int_equal(gmem_new(6 * GIB, &big, NULL), 0);
	assert_int_equal(gmem_low_end(big), GMEM_LOW_MAX);
	g = gmem_regions(big, &n);
	for (size_t i = 0; i < n; i++)
		ram += g[i].kind == GMEM_RAM ? g[i].bytes : 0;
	assert_int_equal(ram, 6 * GIB);
	assert_non_null(gmem_ram_hva(big, GMEM_LOW_MAX - 1, 1));
	assert_null(gmem_ram_hva(big, GMEM_LOW_MAX, 1));
	assert_null(gmem_ram_hva(big, GMEM_HIGH_GPA - 1, 1));
	assert_non_null(gmem_ram_hva(big, GMEM_HIGH_GPA, 1));
	assert_non_null(gmem_ram_hva(big, GMEM_HIGH_GPA + 6 * GIB - GMEM_LOW_MAX - 1, 1));
	assert_null(gmem_ram_hva(big, GMEM_HIGH_GPA + 6 * GIB - GMEM_LOW_MAX, 1));
	gmem_free(big);
}

static void test_regions_do_not_overlap_anywhere(void **state)
{
	const struct gmem_region *g;
	struct gmem_region region, old;
	struct stat st;
	size_t n;

	(void)state;
	for (unsigned int i = 0; i < GMEM_GRANT_FRAMES; i++)
		assert_int_equal(gmem_map_grant(mem, i, 0x10000 + i, &region, &old), 0);
	g = gmem_regions(mem, &n);
	assert_int_equal(fstat(gmem_fd(mem), &st), 0);
	assert_int_equal(n, 3 + GMEM_GRANT_FRAMES);
	for (size_t i = 0; i < n; i++) {
		assert_true(g[i].fd_offset + g[i].bytes <= (uint64_t)st.st_size);
		for (size_t k = 0; k < i; k++) {
			assert_true(g[i].gpa >= g[k].gpa + g[k].bytes || g[k].gpa >= g[i].gpa + g[i].bytes);
			assert_true(g[i].fd_offset >= g[k].fd_offset + g[k].bytes ||
				    g[k].fd_offset >= g[i].fd_offset + g[i].bytes);
			assert_int_not_equal(g[i].slot, g[k].slot);
		}
	}
}

static void test_nothing_behind_the_end_is_reached(void **state)
{
	static const struct {
		uint64_t gpa;
		size_t len;
	} bad[] = { { RAM, 1 },
		    { RAM - 1, 2 },
		    { RAM - 8, SIZE_MAX },
		    { 0, RAM + 1 },
		    { 0, SIZE_MAX },
		    { UINT64_MAX, 1 },
		    { UINT64_MAX, 2 },
		    { UINT64_MAX - 7, 8 },
		    { GMEM_SPECIAL_GPA - 1, 1 },
		    { GMEM_SPECIAL_GPA - 1, 2 },
		    { GMEM_ACPI_GPA + GMEM_ACPI_BYTES, 1 } };
	uint8_t buf[16] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_null(gmem_hva(mem, bad[i].gpa, bad[i].len));
		assert_null(gmem_ram_hva(mem, bad[i].gpa, bad[i].len));
		if (bad[i].len <= sizeof(buf)) {
			assert_int_equal(gmem_read(mem, bad[i].gpa, buf, bad[i].len), -EFAULT);
			assert_int_equal(gmem_write(mem, bad[i].gpa, buf, bad[i].len), -EFAULT);
		}
	}
}

static void test_what_is_written_is_read(void **state)
{
	uint64_t in = 0x1122334455667788, out = 0;

	(void)state;
	assert_int_equal(gmem_write(mem, RAM - 8, &in, 8), 0);
	assert_int_equal(gmem_read(mem, RAM - 8, &out, 8), 0);
	assert_int_equal(out, in);
	assert_int_equal(gmem_write(mem, GMEM_XENSTORE_GPA + 5, &in, 8), 0);
	assert_int_equal(gmem_read(mem, GMEM_XENSTORE_GPA + 5, &out, 8), 0);
	assert_int_equal(out, in);
}

static void test_only_ram_is_ram(void **state)
{
	struct gmem_region region, old;

	(void)state;
	assert_int_equal(gmem_map_grant(mem, 0, 0x20000, &region, &old), 0);
	assert_non_null(gmem_hva(mem, gfn_to_gpa(0x20000), 4096));
	assert_null(gmem_ram_hva(mem, gfn_to_gpa(0x20000), 1));
	assert_non_null(gmem_hva(mem, GMEM_CONSOLE_GPA, 4096));
	assert_null(gmem_ram_hva(mem, GMEM_CONSOLE_GPA, 1));
	assert_null(gmem_ram_hva(mem, GMEM_ACPI_GPA, 1));
	assert_int_equal(gmem_discard(mem, GMEM_CONSOLE_GPA, 4096), -EFAULT);
}

static void test_grant_frames_move_with_their_contents(void **state)
{
	struct gmem_region region, old;
	uint8_t *p;

	(void)state;
	assert_int_equal(gmem_grant_gfn(mem, 3), UINT64_MAX);
	assert_int_equal(gmem_map_grant(mem, 3, 0x20000, &region, &old), 0);
	assert_int_equal(old.kind, 0);
	assert_int_equal(region.kind, GMEM_GRANT);
	p = gmem_hva(mem, gfn_to_gpa(0x20000), 4096);
	p[7] = 0x77;
	assert_int_equal(gmem_map_grant(mem, 3, 0x20001, &region, &old), 0);
	assert_int_equal(old.gpa, gfn_to_gpa(0x20000));
	assert_null(gmem_hva(mem, gfn_to_gpa(0x20000), 1));
	assert_ptr_equal(gmem_hva(mem, gfn_to_gpa(0x20001), 4096), p);
	assert_ptr_equal(gmem_grant_hva(mem, 3), p);
	assert_int_equal(gmem_grant_gfn(mem, 3), 0x20001);
	assert_int_equal(gmem_map_grant(mem, 3, 0x20001, &region, &old), 0);
	assert_int_equal(p[7], 0x77);
	assert_null(gmem_grant_hva(mem, GMEM_GRANT_FRAMES));
	assert_int_equal(gmem_grant_gfn(mem, GMEM_GRANT_FRAMES), UINT64_MAX);
}

static void test_grant_frames_go_where_nothing_is(void **state)
{
	static const uint64_t bad[] = { 0,
					RAM / 4096 - 1,
					0xfee00,
					0xfec00,
					0xfffff,
					0xfc000,
					0xfeffc,
					UINT64_C(1) << 34,
					UINT64_C(1) << 52,
					(UINT64_C(1) << 52) + 0x20000,
					UINT64_MAX - 1,
					UINT64_MAX };
	struct gmem_region region, old;
	size_t n, before;

	(void)state;
	gmem_regions(mem, &before);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(gmem_map_grant(mem, 0, bad[i], &region, &old), -EINVAL);
	gmem_regions(mem, &n);
	assert_int_equal(n, before);
	assert_int_equal(gmem_map_grant(mem, GMEM_GRANT_FRAMES, 0x20000, &region, &old), -EINVAL);
	assert_int_equal(gmem_map_grant(mem, 0, 0x20000, &region, &old), 0);
	assert_int_equal(gmem_map_grant(mem, 1, 0x20000, &region, &old), -EINVAL);
	assert_int_equal(gmem_map_grant(mem, 0, 0, &region, &old), -EINVAL);
	assert_int_equal(gmem_grant_gfn(mem, 0), 0x20000); /* where it was */
}

static void test_discarded_pages_are_zero_and_take_no_memory(void **state)
{
	struct stat st;
	uint8_t *p = gmem_hva(mem, 0, RAM);

	(void)state;
	memset(p, 0x11, 16 * 4096);
	assert_int_equal(fstat(gmem_fd(mem), &st), 0);
	assert_int_equal(st.st_blocks * 512, 16 * 4096);
	assert_int_equal(gmem_discard(mem, 4096, 14 * 4096), 0);
	assert_int_equal(fstat(gmem_fd(mem), &st), 0); /* before a look brings pages back */
	assert_int_equal(st.st_blocks * 512, 2 * 4096);
	assert_int_equal(p[4095], 0x11);
	assert_int_equal(p[4096], 0);
	assert_int_equal(p[15 * 4096 - 1], 0);
	assert_int_equal(p[15 * 4096], 0x11);
}

static void test_memory_cannot_be_cut(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(gmem_fd(mem), 0), -1);
	assert_int_equal(errno, EPERM);
}

static uint8_t byte_at(struct gmem *m, uint64_t gpa)
{
	uint8_t b;

	assert_int_equal(gmem_read(m, gpa, &b, 1), 0);
	return b;
}

static void test_what_is_shared_is_written_by_nobody(void **state)
{
	struct gmem *other, *third, *small;
	struct err err = { 0 };
	void *before;

	(void)state;
	gmem_write(mem, 0x5000, "a", 1);
	gmem_write(mem, GMEM_SPECIAL_GPA, "s", 1);
	before = gmem_hva(mem, 0x5000, 1);
	assert_int_equal(gmem_private_pages(mem, NULL), 0);
	assert_int_equal(gmem_rebase(mem, -1, &err), 0);
	assert_true(gmem_is_private(mem));
	assert_ptr_equal(gmem_hva(mem, 0x5000, 1), before); /* KVM knows it by this */
	assert_int_equal(pwrite(gmem_fd(mem), "x", 1, 0x5000), -1);
	assert_int_equal(gmem_new_over(gmem_fd(mem), RAM + MIB, &small, &err), -EINVAL);
	assert_int_equal(gmem_new_over(gmem_fd(mem), RAM, &other, &err), 0);
	assert_int_equal(gmem_new_over(gmem_fd(mem), RAM, &third, &err), 0);

	gmem_write(mem, 0x5000, "b", 1);
	gmem_write(other, 0x5000, "c", 1);
	assert_int_equal(byte_at(mem, 0x5000), 'b');
	assert_int_equal(byte_at(other, 0x5000), 'c');
	assert_int_equal(byte_at(third, 0x5000), 'a');
	assert_int_equal(byte_at(third, GMEM_SPECIAL_GPA), 's');
	gmem_free(other);
	gmem_free(third);
}

static void test_private_pages_are_counted_and_discarded(void **state)
{
	struct pageset *set = pageset_new(gmem_pages(mem));
	struct gmem *other;

	(void)state;
	gmem_write(mem, 0x5000, "a", 1);
	gmem_write(mem, 0x9000, "a", 1);
	assert_int_equal(gmem_rebase(mem, -1, NULL), 0);
	assert_int_equal(gmem_new_over(gmem_fd(mem), RAM, &other, NULL), 0);
	assert_int_equal(byte_at(other, 0x9000), 'a'); /* reading copies nothing */
	assert_int_equal(gmem_private_pages(other, set), 0);
	gmem_write(other, 0x5000, "b", 1);
	gmem_write(other, 0x7000, "b", 1);
	assert_int_equal(gmem_private_pages(other, set), 2);
	assert_true(pageset_has(set, 5) && pageset_has(set, 7) && pageset_count(set) == 2);

	assert_int_equal(gmem_discard(other, 0x5000, 0x5000), 0);
	assert_int_equal(byte_at(other, 0x5000) | byte_at(other, 0x7000) | byte_at(other, 0x9000), 0);
	assert_int_equal(byte_at(mem, 0x9000), 'a');
	gmem_free(other);
	free(set);
}

static void test_what_is_touched_is_watched(void **state)
{
	struct pageset *set = pageset_new(gmem_pages(mem));

	(void)state;
	gmem_write(mem, 0x5000, "a", 1);
	gmem_write(mem, 0x205000, "b", 1); /* no neighbours */
	assert_true(gmem_watch(mem));
	assert_int_equal(gmem_watched(mem, set), 0);
	assert_int_equal(pageset_count(set), 0);
	assert_int_equal(byte_at(mem, 0x205000), 'b');
	assert_int_equal(gmem_watched(mem, set), 0);
	assert_true(pageset_has(set, 0x205));
	assert_false(pageset_has(set, 5));
	assert_int_equal(byte_at(mem, 0x5000), 'a');

	/* Of private memory that would forget what was written. */
	assert_int_equal(gmem_rebase(mem, -1, NULL), 0);
	gmem_write(mem, 0x5000, "c", 1);
	assert_false(gmem_watch(mem));
	assert_int_equal(byte_at(mem, 0x5000), 'c');
	free(set);
}

static void test_a_base_can_be_replaced_by_an_equal_one(void **state)
{
	int base;

	(void)state;
	gmem_write(mem, 0x5000, "a", 1);
	assert_int_equal(gmem_rebase(mem, -1, NULL), 0);
	gmem_write(mem, 0x5000, "b", 1);
	base = gmem_base_new(mem);
	assert_true(base >= 0);
	assert_int_equal(pwrite(base, gmem_page(mem, 5), 4096, 0x5000), 4096);
	assert_int_equal(gmem_rebase(mem, base, NULL), 0);
	assert_int_equal(byte_at(mem, 0x5000), 'b');
	assert_int_equal(gmem_private_pages(mem, NULL), 0);
	gmem_write(mem, 0x5000, "c", 1);
	assert_int_equal(gmem_private_pages(mem, NULL), 1);
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(sizes_that_cannot_be_are_refused),
		t(ram_is_split_around_the_hole),
		t(regions_do_not_overlap_anywhere),
		t(nothing_behind_the_end_is_reached),
		t(what_is_written_is_read),
		t(only_ram_is_ram),
		t(grant_frames_move_with_their_contents),
		t(grant_frames_go_where_nothing_is),
		t(discarded_pages_are_zero_and_take_no_memory),
		t(memory_cannot_be_cut),
		t(what_is_shared_is_written_by_nobody),
		t(private_pages_are_counted_and_discarded),
		t(what_is_touched_is_watched),
		t(a_base_can_be_replaced_by_an_equal_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
