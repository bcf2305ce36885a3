/* SPDX-License-Identifier: Apache-2.0 */
/* HYPERVISOR_hvm_op. Source: Xen public/hvm/hvm_op.h, params.h. */
#include <errno.h>
#include <stdint.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>

#include "xen/internal.h"

static bool guest_may_read(uint32_t index)
{
	switch (index) {
	case HVM_PARAM_CALLBACK_IRQ:
	case HVM_PARAM_STORE_PFN:
	case HVM_PARAM_STORE_EVTCHN:
	case HVM_PARAM_CONSOLE_PFN:
	case HVM_PARAM_CONSOLE_EVTCHN:
		return true;
	default:
		return false;
	}
}

static int64_t get_param(struct hcall *h)
{
	struct xen_hvm_param op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (op.index >= XEN_PARAMS)
		return -EINVAL;
	if (!xen_is_self(h->d, op.domid) || !guest_may_read(op.index))
		return -EPERM;
	op.value = h->d->param[op.index];
	return PUT_ARG(h, h->arg[1], &op);
}

/* CALLBACK_IRQ is only remembered: with per-vCPU vectors it tells toolstacks "PV drivers are here". */
static int64_t set_param(struct hcall *h)
{
	struct xen_hvm_param op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (!xen_is_self(h->d, op.domid) || op.index != HVM_PARAM_CALLBACK_IRQ)
		return -EPERM;
	h->d->param[op.index] = op.value;
	return 0;
}

static int64_t set_upcall_vector(struct hcall *h)
{
	struct xen_hvm_evtchn_upcall_vector op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (op.vector < 0x10)
		return -EINVAL;
	if (op.vcpu >= h->d->vcpus)
		return -ENOENT;
	h->d->vcpu[op.vcpu].vector = op.vector;
	upcall_send(h->d, op.vcpu); /* whatever is pending already; spurious ones do no harm */
	return 0;
}

int64_t hcall_hvm(struct hcall *h)
{
	switch (h->arg[0]) {
	case HVMOP_set_param:
		return set_param(h);
	case HVMOP_get_param:
		return get_param(h);
	case HVMOP_set_evtchn_upcall_vector:
		return set_upcall_vector(h);
	default:
		return -ENOSYS;
	}
}
