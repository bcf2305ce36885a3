/* SPDX-License-Identifier: Apache-2.0 */
/* suspend: the guest sleeps, its memory stays. resume: it goes on, told that it was cancelled. */
#include <errno.h>

#include "kvm/machine.h"
#include "sleep/internal.h"
#include "xen/domain.h"

static const struct pm_phase suspend_phases[] = {
	PHASE_REQUEST,
	PHASE_FREEZE,
	PHASE_PARK,
	PHASE_DRAIN,
};

const struct pm_table sleep_suspend_table = { "suspend", suspend_phases, ARRAY_SIZE(suspend_phases) };

/*
 * Uncooperative: for a guest that cannot take "cancelled". The hypercall returns 0, and everything
 * that a new life registers anew is forgotten first; Xen's own slow resume leaves that out, and a PVH
 * Linux then panics (xen-abi.md 6.3). Cooperative: nothing to forget.
 */
static int reset_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r;

	(void)run;
	if (!op->args.uncooperative)
		return 0;
	r = vcpu_set_rax(machine_vcpu(guest_machine(op->guest), 0), 0, err);
	r = r ?: guest_new_generation(op->guest, err);
	r = r ?: xen_domain_reset(guest_domain(op->guest), err);
	r = r ?: guest_connect_devices(op->guest, true, err);
	if (r < 0)
		vcpu_set_rax(machine_vcpu(guest_machine(op->guest), 0), 1, NULL);
	return r;
}

static const struct pm_phase resume_phases[] = {
	/* What was forgotten cannot be taken back; thaw follows and cannot fail. */
	{ "reset", reset_enter, NULL, .no_return = true },
	PHASE_THAW,
};

const struct pm_table sleep_resume_table = { "resume", resume_phases, ARRAY_SIZE(resume_phases) };
