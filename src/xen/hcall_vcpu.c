/* SPDX-License-Identifier: Apache-2.0 */
/* HYPERVISOR_vcpu_op and set_timer_op. Source: Xen public/vcpu.h. */
#include <errno.h>
#include <stdint.h>
#include <xen/vcpu.h>

#include "base/addr.h"
#include "xen/internal.h"

static int64_t register_info(struct hcall *h, unsigned int vcpu)
{
	struct xen_domain *d = h->d;
	vcpu_register_vcpu_info_t op;
	vcpu_info_t *old, *new;
	uint64_t gpa;

	if (GET_ARG(h, h->arg[2], &op))
		return -EFAULT;
	if (op.offset > NIDRA_PAGE_SIZE - sizeof(vcpu_info_t) || op.offset & 7 || op.mfn >= UINT64_C(1) << 40)
		return -EINVAL;
	if (d->vcpu[vcpu].info_gpa != NOWHERE)
		return -EBUSY;
	gpa = gfn_to_gpa(op.mfn) + op.offset;
	new = gmem_ram_hva(d->mem, gpa, sizeof(*new));
	if (!new)
		return -EINVAL;
	old = xen_vcpu_info(d, vcpu);
	if (old)
		*new = *old;
	d->vcpu[vcpu].info_gpa = gpa;
	vcpu_set_pvclock(machine_vcpu(d->machine, vcpu), gpa + offsetof(vcpu_info_t, time));
	/* Nothing that was pending in the old place gets lost: the guest looks everywhere once. */
	__atomic_store_n(&new->evtchn_pending_sel, ~(xen_ulong_t)0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&new->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	upcall_mark(d, vcpu);
	return 0;
}

/*
 * KVM forgets where a vCPU's clock record is when the vCPU gets INIT, which is how APs start, after
 * the BSP has registered their vcpu_info. Every bring-up makes the calls that come here.
 */
static void renew_pvclock(struct hcall *h, unsigned int vcpu)
{
	uint64_t gpa = h->d->vcpu[vcpu].info_gpa;

	if (vcpu == h->vcpu && gpa != NOWHERE)
		vcpu_set_pvclock(h->v, gpa + offsetof(vcpu_info_t, time));
}

static int64_t register_area(struct hcall *h, uint64_t *ret_gva)
{
	uint64_t gva;

	if (GET_ARG(h, h->arg[2], &gva))
		return -EFAULT;
	*ret_gva = gva;
	return 0;
}

static int64_t set_singleshot(struct hcall *h, unsigned int vcpu)
{
	vcpu_set_singleshot_timer_t op;

	if (GET_ARG(h, h->arg[2], &op))
		return -EFAULT;
	if (vcpu != h->vcpu)
		return -EINVAL;
	if (op.flags & VCPU_SSHOTTMR_future && op.timeout_abs_ns < xen_now(h->d))
		return -ETIME;
	timer_arm(h->d, vcpu, MAX(op.timeout_abs_ns, UINT64_C(1)));
	return 0;
}

static int64_t stop_singleshot(struct hcall *h, unsigned int vcpu)
{
	if (vcpu != h->vcpu)
		return -EINVAL;
	timer_arm(h->d, vcpu, 0);
	return 0;
}

int64_t hcall_vcpu(struct hcall *h)
{
	unsigned int vcpu = (unsigned int)h->arg[1];

	if (h->arg[1] >= h->d->vcpus)
		return -ENOENT;
	switch (h->arg[0]) {
	case VCPUOP_register_vcpu_info:
		return register_info(h, vcpu);
	case VCPUOP_register_runstate_memory_area:
		renew_pvclock(h, vcpu);
		return register_area(h, &h->d->vcpu[vcpu].runstate_gva);
	case VCPUOP_set_singleshot_timer:
		return set_singleshot(h, vcpu);
	case VCPUOP_stop_singleshot_timer:
		return stop_singleshot(h, vcpu);
	case VCPUOP_stop_periodic_timer: /* there is none */
		renew_pvclock(h, vcpu);
		return 0;
	case VCPUOP_is_up: /* CPUs go up and down by INIT/SIPI and HLT, not by us */
		return 1;
	case VCPUOP_up:
	case VCPUOP_down: /* in a resume, of CPUs that spin with interrupts off */
		return 0;
	default:
		/* Among them register_vcpu_time_memory_area: KVM keeps one clock record per vCPU, and
		 * vcpu_info has it. The guest's vDSO then asks its kernel. */
		return -ENOSYS;
	}
}

int64_t hcall_set_timer(struct hcall *h)
{
	timer_arm(h->d, h->vcpu, h->arg[0]);
	return 0;
}
