/* SPDX-License-Identifier: Apache-2.0 */
/* HYPERVISOR_sched_op: yield, poll, watchdogs, and shutdown, where every sleep begins. Xen public/sched.h. */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <xen/sched.h>

#include "base/clock.h"
#include "base/log.h"
#include "xen/internal.h"

#define POLL_PORTS_MAX 128
#define POLL_SLICE_NS  (5 * NSEC_PER_MSEC) /* so that a request to park is seen soon */

static int64_t do_shutdown(struct hcall *h)
{
	struct xen_domain *d = h->d;
	struct sched_shutdown op;
	int r;

	pthread_mutex_lock(&d->lock);
	r = GET_ARG(h, h->arg[1], &op);
	pthread_mutex_unlock(&d->lock);
	if (r)
		return -EFAULT;
	trace(shutdown, "vcpu=%u reason=%u", h->vcpu, op.reason);
	if (op.reason > XEN_SOFT_RESET)
		return -EINVAL;
	/* Linux suspends on CPU 0 with the others spinning; anything else is not a quiesced guest. */
	if (op.reason == XEN_SUSPEND && h->vcpu != 0)
		return -EINVAL;
	d->ops.shutdown(d->ops.arg, (enum xen_shutdown)op.reason);
	/* For suspend: 1, "cancelled", unless somebody sets 0 while the machine is parked. */
	return op.reason == XEN_SUSPEND ? 1 : 0;
}

static bool any_pending(struct xen_domain *d, const evtchn_port_t *port, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (port[i] && port[i] < XEN_PORTS && evtchn_pending(d, port[i]))
			return true;
	return false;
}

static bool upcall_pending(struct hcall *h)
{
	vcpu_info_t *info = xen_vcpu_info(h->d, h->vcpu);

	return info && __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST);
}

static int64_t do_poll(struct hcall *h)
{
	struct xen_domain *d = h->d;
	evtchn_port_t port[POLL_PORTS_MAX];
	struct sched_poll op;
	SCOPED_LOCK(&d->lock);

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	if (op.nr_ports > POLL_PORTS_MAX)
		return -EINVAL;
	if (xen_copy_from(h, port, (uintptr_t)op.ports.p, op.nr_ports * sizeof(port[0])))
		return -EFAULT;
	/* Spurious returns are legal; a request to park ends the wait. */
	while (!any_pending(d, port, op.nr_ports) && !upcall_pending(h) && !vcpu_wanted(h->v)) {
		uint64_t now = xen_now(d), left = POLL_SLICE_NS;
		struct timespec until;

		if (op.timeout) {
			if (now >= op.timeout)
				break;
			left = MIN(left, op.timeout - now);
		}
		until = clock_timespec(clock_monotonic_ns() + left);
		pthread_cond_timedwait(&d->vcpu[h->vcpu].poll, &d->lock, &until);
	}
	return 0;
}

static int64_t do_watchdog(struct hcall *h)
{
	struct sched_watchdog op;
	SCOPED_LOCK(&h->d->lock);

	return GET_ARG(h, h->arg[1], &op) ? -EFAULT : watchdog_set(h->d, op.id, op.timeout);
}

int64_t hcall_sched(struct hcall *h)
{
	switch (h->arg[0]) {
	case SCHEDOP_yield:
		sched_yield();
		return 0;
	case SCHEDOP_block:
		return 0;
	case SCHEDOP_shutdown:
		return do_shutdown(h);
	case SCHEDOP_poll:
		return do_poll(h);
	case SCHEDOP_watchdog:
		return do_watchdog(h);
	default:
		return -ENOSYS;
	}
}
