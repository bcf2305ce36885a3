/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watchdog that is poked ten times a second, also while we are told to sleep: what is left of it stands still then.
 * A new life has none, so the poke fails and it is set up again. (Linux takes its down before it sleeps.)
 */
#include "kit.h"

#include <xen/sched.h>

static struct sched_watchdog watchdog;

static int64_t call(uint32_t id)
{
	struct sched_watchdog op = { .id = id, .timeout = watchdog.timeout };

	return HCALL(__HYPERVISOR_sched_op, SCHEDOP_watchdog, &op);
}

void watchdog_set(uint64_t seconds)
{
	watchdog.timeout = (uint32_t)seconds;
	watchdog_poke();
}

void watchdog_poke(void)
{
	int64_t r;

	if (!watchdog.timeout || (watchdog.id && !call(watchdog.id)))
		return;
	r = call(0);
	watchdog.id = r > 0 ? (uint32_t)r : 0;
	print(r > 0 ? "ok: watchdog %d\n" : "error: watchdog: %d\n", r);
}
