/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCHEDOP_watchdog: timers that end the domain unless the guest pokes them. Xen has two per domain.
 *
 * They count what the guest had of time, not what passed: a tick counts only if the machine is not parked, and ticks
 * that this process missed (it was stopped, its host slept) are not made up for. So what is left needs no clock to be
 * kept in an image.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "xen/internal.h"

int64_t watchdog_set(struct xen_domain *d, uint32_t id, uint32_t seconds)
{
	if (id > XEN_WATCHDOGS || (!id && !seconds))
		return -EINVAL;
	if (id) {
		if (!d->watchdog_ns[id - 1])
			return -EINVAL;
		d->watchdog_ns[id - 1] = seconds * NSEC_PER_SEC;
		return 0;
	}
	for (unsigned int i = 0; i < XEN_WATCHDOGS; i++) {
		if (d->watchdog_ns[i])
			continue;
		d->watchdog_ns[i] = seconds * NSEC_PER_SEC;
		timer_tick(d, true);
		return i + 1;
	}
	return -ENOSPC;
}

bool watchdog_runs(const struct xen_domain *d)
{
	bool runs = false;

	for (unsigned int i = 0; i < XEN_WATCHDOGS; i++)
		runs |= d->watchdog_ns[i] != 0;
	return runs;
}

bool watchdog_tick(struct xen_domain *d)
{
	bool expired = false;

	for (unsigned int i = 0; i < XEN_WATCHDOGS; i++) {
		if (!d->watchdog_ns[i])
			continue;
		if (d->watchdog_ns[i] > WATCHDOG_TICK_NS) {
			d->watchdog_ns[i] -= WATCHDOG_TICK_NS;
			continue;
		}
		/* What is left stays: if nobody can hear it now, the next tick says it again. */
		trace(watchdog, "id=%u", i + 1);
		expired = true;
	}
	return expired;
}

void watchdog_forget(struct xen_domain *d)
{
	for (unsigned int i = 0; i < XEN_WATCHDOGS; i++)
		d->watchdog_ns[i] = 0;
}

void watchdog_save(const struct xen_domain *d, struct bytes_writer *w)
{
	for (unsigned int i = 0; i < XEN_WATCHDOGS; i++)
		bytes_put_u64(w, d->watchdog_ns[i]);
}

void watchdog_load(struct xen_domain *d, struct bytes_reader *r)
{
	for (unsigned int i = 0; i < XEN_WATCHDOGS; i++) {
		d->watchdog_ns[i] = bytes_get_u64(r);
		if (d->watchdog_ns[i] > UINT32_MAX * NSEC_PER_SEC)
			bytes_fail(r);
	}
}
