/* SPDX-License-Identifier: Apache-2.0 */
/* What a host's CPU lacks is told by name, all of it, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvm/internal.h"

static char lacks[400];
static struct kvm_cpuid2 *here;

static int setup(void **state)
{
	(void)state;
	here = calloc(1, sizeof(*here) + 4 * sizeof(here->entries[0]));
	here->nent = 2;
	here->entries[0] = (struct kvm_cpuid_entry2){ .function = 1, .ecx = 1u << 0 | 1u << 20, .edx = 0x07ffffff };
	here->entries[1] = (struct kvm_cpuid_entry2){ .function = 7, .ebx = 1u << 3 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(here);
	return 0;
}

static void test_less_is_fine(void **state)
{
	struct kvm_cpuid_entry2 want[] = { { .function = 1, .ecx = 1u << 20, .edx = 1 },
					   { .function = 0x80000001 },
					   { .function = 7, .index = 2, .eax = UINT32_MAX } };

	(void)state;
	assert_false(cpuid_lacks(here, want, ARRAY_SIZE(want), lacks, sizeof(lacks)));
	assert_string_equal(lacks, "");
}

static void test_all_that_lacks_is_named(void **state)
{
	struct kvm_cpuid_entry2 want[] = { { .function = 7, .ebx = 1u << 5 | 1u << 3 | 1u << 6 },
					   { .function = 1, .ecx = 1u << 28 | 1u << 12 | 1u } };

	(void)state;
	assert_true(cpuid_lacks(here, want, ARRAY_SIZE(want), lacks, sizeof(lacks)));
	assert_string_equal(lacks, "fma, avx, avx2, CPUID 0x7.0 ebx bit 6");
}

static void test_what_we_set_ourselves_is_no_matter(void **state)
{
	struct kvm_cpuid_entry2 want[] = { { .function = 1, .ecx = 1u << 31 | 1u << 27 | 1u << 24 | 1u << 21 } };

	(void)state;
	assert_false(cpuid_lacks(here, want, ARRAY_SIZE(want), lacks, sizeof(lacks)));
}

static void test_a_long_list_is_cut(void **state)
{
	struct kvm_cpuid_entry2 want[] = {
		{ .function = 1, .ecx = UINT32_MAX, .edx = UINT32_MAX },
		{ .function = 7, .ebx = UINT32_MAX, .ecx = UINT32_MAX, .edx = UINT32_MAX },
		{ .function = 0x80000001, .ecx = UINT32_MAX, .edx = UINT32_MAX },
	};

	(void)state;
	assert_true(cpuid_lacks(here, want, ARRAY_SIZE(want), lacks, 64));
	assert_true(strlen(lacks) == 63);
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(less_is_fine),
		t(all_that_lacks_is_named),
		t(what_we_set_ourselves_is_no_matter),
		t(a_long_list_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
