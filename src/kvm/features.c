/* SPDX-License-Identifier: Apache-2.0 */
/* CPU features by the names that Linux has for them in /proc/cpuinfo (bits: Intel SDM 2A, AMD APM 3). */
#include <stdio.h>
#include <string.h>

#include "kvm/internal.h"

/* Words of which a guest's set bits must be there on its host. */
static const struct {
	uint32_t function, index;
	unsigned int word; /* 0 eax .. 3 edx */
	uint32_t ignore;   /* ours (hypervisor, x2APIC, TSC deadline), and what mirrors CR4 (OSXSAVE) */
	const char *names; /* from bit 0 on; "-": it has none */
} features[] = {
	{ 1, 0, 2, 1u << 31 | 1u << 21 | 1u << 24 | 1u << 27,
	  "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - "
	  "pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c "
	  "rdrand hypervisor" },
	{ 1, 0, 3, 1u << 28,
	  "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - "
	  "dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe" },
	{ 7, 0, 1, 0,
	  "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a "
	  "avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er "
	  "avx512cd sha_ni avx512bw avx512vl" },
	{ 7, 0, 2, 1u << 4,
	  "prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq "
	  "avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect "
	  "cldemote - movdiri movdir64b enqcmd sgx_lc pks" },
	{ 7, 0, 3, 0,
	  "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect srbds_ctrl md_clear "
	  "rtm_always_abort - tsx_force_abort serialize hybrid tsxldtrk - pconfig arch_lbr ibt - "
	  "amx_bf16 avx512_fp16 amx_tile amx_int8 spec_ctrl intel_stibp flush_l1d arch_capabilities "
	  "core_capabilities spec_ctrl_ssbd" },
	{ 0xd, 1, 0, 0, "xsaveopt xsavec xgetbv1 xsaves xfd" },
	{ 0x80000001, 0, 2, 0,
	  "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs "
	  "xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext "
	  "ptsc perfctr_llc mwaitx" },
	{ 0x80000001, 0, 3, 0,
	  "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - "
	  "lm 3dnowext 3dnow" },
};

static uint32_t word_of(const struct kvm_cpuid_entry2 *e, size_t n, size_t f)
{
	for (size_t i = 0; i < n; i++)
		if (e[i].function == features[f].function && e[i].index == features[f].index)
			return (&e[i].eax)[features[f].word];
	return 0;
}

/* Name of a bit of features[@f], or its number. */
static void add_name(char *buf, size_t size, size_t f, unsigned int bit)
{
	static const char reg[] = "abcd";
	const char *name = features[f].names;
	size_t used = strlen(buf), len;

	for (unsigned int i = 0; i < bit && name; i++) {
		name = strchr(name, ' ');
		name = name ? name + 1 : NULL;
	}
	len = name ? strcspn(name, " ") : 0;
	if (len && *name != '-')
		snprintf(buf + used, size - used, "%s%.*s", used ? ", " : "", (int)len, name);
	else
		snprintf(buf + used, size - used, "%sCPUID 0x%x.%u e%cx bit %u", used ? ", " : "", features[f].function,
			 features[f].index, reg[features[f].word], bit);
}

bool cpuid_lacks(const struct kvm_cpuid2 *here, const struct kvm_cpuid_entry2 *want, size_t n, char *buf, size_t size)
{
	bool any = false;

	*buf = 0;
	for (size_t f = 0; f < ARRAY_SIZE(features); f++) {
		uint32_t have = word_of(here->entries, here->nent, f);
		uint32_t lack = word_of(want, n, f) & ~have & ~features[f].ignore;

		for (unsigned int bit = 0; bit < 32; bit++)
			if (lack >> bit & 1) {
				add_name(buf, size, f, bit);
				any = true;
			}
	}
	return any;
}
