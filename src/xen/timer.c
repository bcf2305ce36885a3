/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain's own thread: a single-shot timer per vCPU (VIRQ_TIMER), retries of dropped upcalls
 * and of a busy ring, the watchdogs' tick, and now and then a look whether all vCPUs have halted for ever.
 *
 * Deadlines are in the guest's system time. The host timer is set by the difference to now and may
 * fire a little early or after the guest has set another deadline: expiry is decided under the lock
 * by looking at the deadline again.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "xen/internal.h"

#define RETRY_NS   (2 * NSEC_PER_MSEC)
#define HALT_NS	   (2 * NSEC_PER_SEC)
#define KEY_STOP   1000
#define KEY_RETRY  1001
#define KEY_HALT   1002
#define KEY_TICK   1003
#define EVENTS_MAX 16

uint64_t xen_now(struct xen_domain *d)
{
	return machine_clock_ns(d->machine);
}

static void set_timer(int fd, uint64_t ns)
{
	struct itimerspec t = { .it_value = clock_timespec(ns) };

	timerfd_settime(fd, 0, &t, NULL);
}

static void set_period(int fd, uint64_t ns)
{
	struct itimerspec t = { .it_value = clock_timespec(ns), .it_interval = clock_timespec(ns) };

	timerfd_settime(fd, 0, &t, NULL);
}

void timer_arm(struct xen_domain *d, unsigned int vcpu, uint64_t deadline)
{
	struct xen_vcpu *v = &d->vcpu[vcpu];
	uint64_t now;

	v->deadline = deadline;
	if (!deadline) {
		set_timer(v->timer_fd, 0);
		return;
	}
	now = xen_now(d);
	if (deadline <= now) { /* passed already: fires at once, and the call succeeds */
		v->deadline = 0;
		set_timer(v->timer_fd, 0);
		evtchn_raise_virq(d, vcpu, VIRQ_TIMER);
		return;
	}
	set_timer(v->timer_fd, deadline - now);
}

void timer_arm_retry(struct xen_domain *d)
{
	set_timer(d->retry_fd, RETRY_NS);
}

static void expire(struct xen_domain *d, unsigned int vcpu)
{
	struct xen_vcpu *v = &d->vcpu[vcpu];

	/* Set again if early, raised if not; nothing if the guest switched it off meanwhile. */
	if (v->deadline)
		timer_arm(d, vcpu, v->deadline);
}

/* Every WATCHDOG_TICK_NS, while there are watchdogs and vCPUs run. */
void timer_tick(struct xen_domain *d, bool on)
{
	set_period(d->tick_fd, on ? WATCHDOG_TICK_NS : 0);
}

static bool tick(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);

	if (!machine_park_reasons(d->machine) && watchdog_runs(d))
		return watchdog_tick(d);
	timer_tick(d, false); /* xen_domain_wake() starts it again */
	return false;
}

static void handle(struct xen_domain *d, uint64_t key)
{
	if (key == KEY_TICK) {
		if (tick(d))
			d->ops.watchdog(d->ops.arg);
		return;
	}
	if (key == KEY_HALT) {
		machine_check_halted(d->machine);
		return;
	}
	SCOPED_LOCK(&d->lock);
	/* A parked machine's timers wait: xen_domain_wake() arms them anew. */
	if (machine_park_reasons(d->machine))
		return;
	if (key == KEY_RETRY) {
		upcall_retry(d);
		store_ring_push(d);
	} else {
		expire(d, (unsigned int)key);
	}
}

static void *timer_main(void *arg)
{
	struct xen_domain *d = arg;
	struct epoll_event ev[EVENTS_MAX];

	pthread_setname_np(pthread_self(), "xen-timer");
	for (;;) {
		int n = epoll_wait(d->epoll_fd, ev, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			uint64_t key = ev[i].data.u64, count;
			int fd = key == KEY_RETRY  ? d->retry_fd
				 : key == KEY_HALT ? d->halt_fd
				 : key == KEY_TICK ? d->tick_fd
				 : key == KEY_STOP ? d->stop_fd
						   : d->vcpu[key].timer_fd;

			if (key == KEY_STOP)
				return NULL;
			if (read(fd, &count, sizeof(count)) == sizeof(count))
				handle(d, key);
		}
	}
}

static int watch(struct xen_domain *d, int fd, uint64_t key)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = key };

	return fd < 0 || epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int open_timers(struct xen_domain *d)
{
	int flags = TFD_NONBLOCK | TFD_CLOEXEC, r;

	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->retry_fd = timerfd_create(CLOCK_MONOTONIC, flags);
	d->halt_fd = timerfd_create(CLOCK_MONOTONIC, flags);
	d->tick_fd = timerfd_create(CLOCK_MONOTONIC, flags);
	r = watch(d, d->stop_fd, KEY_STOP) ?: watch(d, d->retry_fd, KEY_RETRY) ?: watch(d, d->halt_fd, KEY_HALT) ?:
	    watch(d, d->tick_fd, KEY_TICK);
	for (unsigned int i = 0; r == 0 && i < d->vcpus; i++) {
		d->vcpu[i].timer_fd = timerfd_create(CLOCK_MONOTONIC, flags);
		r = watch(d, d->vcpu[i].timer_fd, i);
	}
	return r;
}

int timer_start(struct xen_domain *d, struct err *err)
{
	int r = open_timers(d);

	if (r < 0)
		return err_errno(err, r, "create the domain's timers");
	set_period(d->halt_fd, HALT_NS);
	r = thread_start(&d->timer_thread, timer_main, d);
	if (r < 0)
		return err_errno(err, r, "start the domain's timer thread");
	d->timer_started = true;
	return 0;
}

void timer_stop(struct xen_domain *d)
{
	if (d->timer_started) {
		eventfd_write(d->stop_fd, 1);
		pthread_join(d->timer_thread, NULL);
	}
	close_fdp(&d->epoll_fd);
	close_fdp(&d->stop_fd);
	close_fdp(&d->retry_fd);
	close_fdp(&d->halt_fd);
	close_fdp(&d->tick_fd);
	for (unsigned int i = 0; i < d->vcpus; i++)
		close_fdp(&d->vcpu[i].timer_fd);
}
