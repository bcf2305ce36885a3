/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest goes to sleep and is told that it was only cancelled.
 *
 *   request  the toolstack writes control/shutdown = "suspend"; the guest takes it by writing ""
 *   freeze   it freezes tasks and devices and calls SCHEDOP_shutdown(suspend) on CPU 0
 *   park     all its vCPUs have left guest mode
 *   drain    its disks have done what it asked of them; what undoes this is the thaw
 *   thaw     the hypercall returns 1, and it goes on
 *
 * Taking the request is no promise: a guest whose freeze fails says nothing (xen-abi.md, fact 8), so
 * freeze has a limit of its own. A suspend that comes after we gave up is told "cancelled" at once by
 * the guest's own handler: `expecting` is false then.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "kvm/machine.h"
#include "sleep/internal.h"
#include "xen/control.h"

#define SLICE_NS  (2 * NSEC_PER_MSEC)
#define SETTLE_NS (10 * NSEC_PER_SEC)
#define COMMAND	  "suspend"

/* On the vCPU thread that called, under the guest's lock. */
static int on_guest_call(struct pm_handler *self, int command, void *data, struct err *err)
{
	struct sleep_op *op = (struct sleep_op *)((char *)self - offsetof(struct sleep_op, handler));
	struct guest *g = data;

	(void)err;
	if (command != XEN_SUSPEND || !atomic_exchange(&op->expecting, false))
		return PM_PASS;
	op->stopped_ns = clock_monotonic_ns();
	machine_park(guest_machine(g), PARK_SUSPEND);
	op->arrived = true;
	guest_changed(g);
	return PM_TAKEN;
}

static int check_alive(struct sleep_op *op, struct err *err)
{
	const char *why = guest_end_reason(op->guest);

	if (guest_state(op->guest) != GUEST_ENDED)
		return 0;
	return err_set(err, -ESHUTDOWN, "the guest ended meanwhile (%s%s%s)", guest_end_name(guest_end(op->guest)),
		       *why ? ": " : "", why);
}

/*
 * A guest that has just been told that it woke connects its disks anew, by the thread that also takes our requests. If
 * that one is asked to sleep again before, tasks wait for their disks and cannot be frozen, and Linux tries
 * that for 20 seconds. So its drivers get a moment to come back; those that it does not load again do not count for
 * long.
 */
static int await_devices(struct pm_run *run, struct sleep_op *op, struct err *err)
{
	uint64_t end = clock_monotonic_ns() + SETTLE_NS;
	int r = 0;

	while (r == 0 && !guest_devices_settled(op->guest, clock_monotonic_ns() > end)) {
		r = pm_check(run, err) ?: check_alive(op, err);
		if (r == 0)
			guest_wait(op->guest, SLICE_NS);
	}
	return r;
}

int sleep_request_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct xen_domain *d = guest_domain(op->guest);
	int r = 0;

	if (guest_state(op->guest) == GUEST_PAUSED)
		return err_set(err, -EINVAL, "the guest is paused and cannot take part; unpause it first");
	if (!xen_control_can_suspend(d))
		return err_set(err, -EOPNOTSUPP,
			       "the guest's kernel has not said that it can suspend "
			       "(control/feature-suspend is not 1): it still boots, or has no Xen support");
	/* Tasks that wait for a disk cannot be frozen: it would fail late, and without saying why. */
	r = guest_check_disks(op->guest, err) ?: await_devices(run, op, err);
	if (r < 0)
		return r;
	op->handler = (struct pm_handler){ .name = "sleep", .priority = 10, .handle = on_guest_call };
	op->arrived = false;
	op->expecting = true;
	guest_add_handler(op->guest, &op->handler);
	r = xen_control_ask(d, COMMAND, err);
	while (r == 0 && xen_control_state(d, COMMAND) == XEN_ASK_PENDING) {
		r = pm_check(run, err) ?: check_alive(op, err);
		if (r == 0)
			guest_wait(op->guest, SLICE_NS);
	}
	if (r < 0)
		sleep_request_undo(run, op);
	return r;
}

void sleep_request_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	op->expecting = false;
	if (xen_control_withdraw(guest_domain(op->guest), COMMAND))
		trace(sleep_withdraw, "withdrawn=1");
	guest_remove_handler(op->guest, &op->handler);
}

int sleep_freeze_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r = 0;

	while (r == 0 && !op->arrived) {
		r = pm_check(run, err) ?: check_alive(op, err);
		if (r == 0)
			guest_wait(op->guest, SLICE_NS);
	}
	guest_remove_handler(op->guest, &op->handler);
	/* It may have come in the last moment: then take that back, as if a later phase had failed. */
	if (r < 0 && op->arrived && guest_state(op->guest) == GUEST_SUSPENDED)
		sleep_freeze_undo(run, op);
	return r;
}

void sleep_freeze_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	/* After a checkpoint's thaw it runs already. Thawing means parked first: upcalls that are sent
	 * and registers that are read belong to a machine that stands still. */
	if (!(machine_park_reasons(guest_machine(op->guest)) & PARK_SUSPEND))
		return;
	machine_wait_parked(guest_machine(op->guest), SLEEP_LIMIT_NS);
	sleep_thaw_enter(run, op, NULL);
}

int sleep_park_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct machine *m = guest_machine(op->guest);
	int r = 0;

	while (r == 0 && !machine_wait_parked(m, 10 * NSEC_PER_MSEC))
		r = pm_check(run, err);
	if (r == 0)
		r = check_alive(op, err);
	return r;
}

int sleep_drain_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct err busy = { 0 };
	int r, drained = -ETIMEDOUT;

	while ((r = pm_check(run, err)) == 0 && drained == -ETIMEDOUT)
		drained = guest_drain_devices(op->guest, clock_monotonic_ns() + 10 * NSEC_PER_MSEC, &busy);
	if (r < 0)
		return busy.code < 0 ? err_prefix(err, "%s", busy.msg) : r;
	/* One that stalls is not waited for: what it needs comes when it comes. */
	return drained < 0 ? err_set(err, drained, "%s", busy.msg) : 0;
}

/* RAX is 1 since the hypercall was handled; see docs/xen-abi.md for what "cancelled" leaves to us. */
int sleep_thaw_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct xen_domain *d = guest_domain(op->guest);

	(void)run;
	(void)err;
	xen_domain_cancelled(d);
	xen_domain_update_wallclock(d);
	guest_devices_go(op->guest);
	machine_unpark(guest_machine(op->guest), PARK_SUSPEND);
	xen_domain_wake(d);
	if (op->stopped_ns)
		op->stats.pause_ns = clock_monotonic_ns() - op->stopped_ns;
	guest_changed(op->guest);
	return 0;
}

/* ---- a guest that is not asked ---- */

int sleep_stop_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r;

	op->stopped_ns = clock_monotonic_ns();
	machine_park(guest_machine(op->guest), PARK_OPERATION);
	r = sleep_park_enter(run, op, err);
	if (r < 0)
		sleep_stop_undo(run, op);
	return r;
}

void sleep_stop_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	if (machine_park_reasons(guest_machine(op->guest)) & PARK_OPERATION)
		sleep_go_enter(run, op, NULL);
}

int sleep_go_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	(void)run;
	(void)err;
	guest_devices_go(op->guest);
	machine_unpark(guest_machine(op->guest), PARK_OPERATION);
	xen_domain_wake(guest_domain(op->guest));
	op->stats.pause_ns = clock_monotonic_ns() - op->stopped_ns;
	return 0;
}
