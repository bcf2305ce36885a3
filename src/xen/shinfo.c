/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared info page. The guest names one of its RAM pages for it; Xen would put another page
 * there, we use that very page, so it is saved with RAM and no memory slot changes.
 */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/clock.h"
#include "xen/internal.h"

shared_info_t *xen_shared_info(struct xen_domain *d)
{
	return d->shared_info_gpa == NOWHERE ? NULL : gmem_hva_to_write(d->mem, d->shared_info_gpa, NIDRA_PAGE_SIZE);
}

/* wc is the wall clock time at which the system time was zero. */
void shinfo_write_wallclock(struct xen_domain *d)
{
	shared_info_t *s = xen_shared_info(d);
	uint64_t wc;

	if (!s)
		return;
	wc = clock_realtime_ns() - xen_now(d);
	__atomic_store_n(&s->wc_version, d->wallclock_version + 1, __ATOMIC_SEQ_CST);
	s->wc_sec = (uint32_t)(wc / NSEC_PER_SEC);
	s->wc_nsec = (uint32_t)(wc % NSEC_PER_SEC);
	s->wc_sec_hi = (uint32_t)(wc / NSEC_PER_SEC >> 32);
	d->wallclock_version += 2;
	__atomic_store_n(&s->wc_version, d->wallclock_version, __ATOMIC_SEQ_CST);
}

/*
 * The guest derives its TSC frequency from the scale in vcpu_info[0] right after mapping the page:
 * system_time = (delta << shift) * mul >> 32, in ns. KVM fills in whole records later.
 */
static void write_tsc_scale(struct xen_domain *d, vcpu_time_info_t *t)
{
	uint64_t hz = (uint64_t)machine_tsc_khz(d->machine) * 1000;
	int8_t shift = 0;

	while (hz > 2 * NSEC_PER_SEC) {
		hz >>= 1;
		shift--;
	}
	while (hz <= NSEC_PER_SEC) {
		hz <<= 1;
		shift++;
	}
	t->tsc_to_system_mul = (uint32_t)((NSEC_PER_SEC << 32) / hz);
	t->tsc_shift = shift;
}

int shinfo_map(struct xen_domain *d, uint64_t gfn)
{
	shared_info_t *s;

	if (gfn >= UINT64_C(1) << 40 || !gmem_ram_hva(d->mem, gfn_to_gpa(gfn), NIDRA_PAGE_SIZE))
		return -EINVAL;
	if (d->shared_info_gpa == gfn_to_gpa(gfn))
		return 0; /* as after a cancelled suspend: nothing changes */
	d->shared_info_gpa = gfn_to_gpa(gfn);
	s = xen_shared_info(d);
	memset(s, 0, NIDRA_PAGE_SIZE);
	/*
	 * A new page has every port masked. Linux does not mask them again after a restore, and ports
	 * that it keeps disabled would be live (xen-abi.md, fact 6).
	 */
	memset(s->evtchn_mask, 0xff, sizeof(s->evtchn_mask));
	for (unsigned int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
		write_tsc_scale(d, &s->vcpu_info[i].time);
	for (unsigned int i = 0; i < MIN(d->vcpus, (unsigned int)XEN_LEGACY_MAX_VCPUS); i++)
		if (d->vcpu[i].info_gpa == NOWHERE)
			vcpu_set_pvclock(machine_vcpu(d->machine, i),
					 d->shared_info_gpa + i * sizeof(vcpu_info_t) + offsetof(vcpu_info_t, time));
	shinfo_write_wallclock(d);
	return 0;
}
