/* SPDX-License-Identifier: Apache-2.0 */
/* What CPUID tells the guest: what KVM supports, less what cannot be saved, plus Xen's leaves. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/internal.h"

#define ENTRIES_MAX 256
#define EXTRA_MAX   16

static struct kvm_cpuid2 *supported(int kvm_fd, struct err *err)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + (ENTRIES_MAX + EXTRA_MAX) * sizeof(c->entries[0]));

	if (!c) {
		err_errno(err, -ENOMEM, "CPUID table");
		return NULL;
	}
	c->nent = ENTRIES_MAX;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, c) < 0) {
		err_errno(err, -errno, "ask KVM for its CPUID");
		free(c);
		return NULL;
	}
	return c;
}

static bool dropped(const struct kvm_cpuid_entry2 *e, bool hide_xsave)
{
	/* The guest takes the highest hypervisor base it finds; KVM's would win over Xen's. */
	if (e->function >= 0x40000000 && e->function < 0x40010000)
		return true;
	/* Topology leaves describe the host; the MADT and leaf 1 tell the guest's. */
	if (e->function == 0xb || e->function == 0x1f || e->function == 0x80000026)
		return true;
	return hide_xsave && e->function == 0xd;
}

#define BIT(n) (1u << (n))

static void hide_xsave_bits(struct kvm_cpuid_entry2 *e)
{
	switch (e->function) {
	case 1: /* XSAVE OSXSAVE AVX FMA F16C */
		e->ecx &= ~(BIT(26) | BIT(27) | BIT(28) | BIT(12) | BIT(29));
		break;
	case 7:
		if (e->index == 1) { /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA */
			e->eax &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23));
			e->edx = 0;
			break;
		}
		/* AVX2, AVX512*, MPX */
		e->ebx &= ~(BIT(5) | BIT(14) | BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) |
			    BIT(31));
		/* AVX512*, PKU, VAES, VPCLMULQDQ */
		e->ecx &= ~(BIT(1) | BIT(3) | BIT(4) | BIT(6) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14));
		/* AVX512*, AMX */
		e->edx &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));
		break;
	case 0x80000001: /* XOP FMA4 */
		e->ecx &= ~(BIT(11) | BIT(16));
		break;
	}
}

static void adjust(struct kvm_cpuid_entry2 *e, unsigned int id, bool deadline)
{
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | 1u << 16 | (uint32_t)APIC_ID(id) << 24;
		e->ecx |= BIT(31) | BIT(21); /* hypervisor, x2APIC */
		if (deadline)
			e->ecx |= BIT(24);
		e->ecx &= ~BIT(5);  /* VMX: nested state is not saved */
		e->edx &= ~BIT(28); /* HTT: one core per package */
		break;
	case 4: /* no core shares a cache with another */
		e->eax &= ~0xffffc000u;
		break;
	case 0xa: /* no PMU: its state is not saved */
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	case 0x80000001:
		/* SVM, TOPOEXT, PERFCTR_CORE, PERFCTR_NB */
		e->ecx &= ~(BIT(2) | BIT(22) | BIT(23) | BIT(24));
		break;
	case 0x80000002: /* the processor's name, which KVM leaves to us */
	case 0x80000003:
	case 0x80000004:
		__cpuid(e->function, e->eax, e->ebx, e->ecx, e->edx);
		break;
	case 0x80000008:
		e->ecx = 0;
		break;
	case 0x80000022:
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	}
}

int vcpu_make_cpuid(struct vcpu *v, const struct machine_config *config, bool hide_xsave, struct err *err)
{
	_cleanup_free_ struct kvm_cpuid2 *c = supported(v->machine->kvm_fd, err);
	struct machine_cpuid_leaf extra[EXTRA_MAX];
	bool deadline = ioctl(v->machine->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	unsigned int n = 0;

	if (!c)
		return -EOPNOTSUPP;
	for (unsigned int i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 e = c->entries[i];

		if (dropped(&e, hide_xsave))
			continue;
		if (hide_xsave)
			hide_xsave_bits(&e);
		adjust(&e, v->id, deadline);
		c->entries[n++] = e;
	}
	c->nent = n;
	n = config->cpuid ? config->cpuid(config->cpuid_arg, v->id, extra, EXTRA_MAX) : 0;
	for (unsigned int i = 0; i < n; i++)
		c->entries[c->nent++] = (struct kvm_cpuid_entry2){ .function = extra[i].leaf,
								   .index = extra[i].subleaf,
								   .flags = extra[i].leaf == 0x40000003
										    ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX
										    : 0,
								   .eax = extra[i].eax,
								   .ebx = extra[i].ebx,
								   .ecx = extra[i].ecx,
								   .edx = extra[i].edx };
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return err_errno(err, -errno, "set CPUID");
	v->cpuid = take_ptr(c);
	return 0;
}
