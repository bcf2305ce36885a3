/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upcalls: telling a vCPU that event channels are pending, by its edge-triggered APIC vector.
 *
 * An APIC that the guest has disabled drops the interrupt (at boot, before an AP runs, and in every
 * resume), and nothing would ever send it again. Xen raises it when the guest enables the APIC; we
 * do not see that, so a dropped upcall is retried every few milliseconds while it is pending.
 */
#include "base/log.h"
#include "xen/internal.h"

vcpu_info_t *xen_vcpu_info(struct xen_domain *d, unsigned int vcpu)
{
	struct xen_vcpu *v = &d->vcpu[vcpu];
	shared_info_t *s;

	if (v->info_gpa != NOWHERE)
		return gmem_hva_to_write(d->mem, v->info_gpa, sizeof(vcpu_info_t));
	s = xen_shared_info(d);
	return s && vcpu < XEN_LEGACY_MAX_VCPUS ? &s->vcpu_info[vcpu] : NULL;
}

void upcall_send(struct xen_domain *d, unsigned int vcpu)
{
	struct xen_vcpu *v = &d->vcpu[vcpu];
	int r;

	if (!v->vector)
		return;
	r = machine_signal(d->machine, vcpu, v->vector);
	v->retry = r == 0;
	if (v->retry)
		timer_arm_retry(d);
	trace(upcall, "vcpu=%u vector=0x%x delivered=%d", vcpu, v->vector, r);
}

void upcall_mark(struct xen_domain *d, unsigned int vcpu)
{
	vcpu_info_t *info = xen_vcpu_info(d, vcpu);

	if (info && !__atomic_exchange_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST))
		upcall_send(d, vcpu);
	pthread_cond_broadcast(&d->vcpu[vcpu].poll);
}

void upcall_retry(struct xen_domain *d)
{
	for (unsigned int i = 0; i < d->vcpus; i++) {
		vcpu_info_t *info = xen_vcpu_info(d, i);

		if (!d->vcpu[i].retry)
			continue;
		d->vcpu[i].retry = false;
		if (info && __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST))
			upcall_send(d, i);
	}
}
