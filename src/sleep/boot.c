/* SPDX-License-Identifier: Apache-2.0 */
/* boot: from a configuration to a guest that executes its first instruction. */
#include "sleep/internal.h"

static int build_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	(void)run;
	return guest_new(&op->config, sleeper_guest_observer(op->sleeper), NULL, &op->guest, err);
}

static void build_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	guest_free(op->guest);
	op->guest = NULL;
}

static int go_on(void *arg, struct err *err)
{
	return pm_check(arg, err);
}

/* After the disks were locked, and at each start: a guest that installed another kernel and reboots gets it. */
static int find_kernel_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	return guest_find_kernel(op->guest, go_on, run, err);
}

static int load_kernel_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	(void)run;
	return guest_load_kernel(op->guest, err);
}

static int start_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	(void)run;
	sleeper_set_guest(op->sleeper, op->guest);
	return op->args.paused ? 0 : guest_run(op->guest, err);
}

static const struct pm_phase boot_phases[] = {
	{ "build", build_enter, build_undo },
	{ "find-kernel", find_kernel_enter, NULL, .limit_ns = 2 * SLEEP_LIMIT_NS },
	{ "load-kernel", load_kernel_enter, NULL },
	{ "start", start_enter, NULL, .no_return = true },
};

const struct pm_table sleep_boot_table = { "boot", boot_phases, ARRAY_SIZE(boot_phases) };
