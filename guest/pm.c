/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's half of sleep, in the order of Linux' drivers/xen/manage.c. Every step is logged with
 * "pm:" in front.
 *
 * The suspend hypercall returns twice, as it were: 1 means "cancelled" (it was only a checkpoint, all
 * state is as it was: THAW), 0 means a new life (Xen knows nothing of us any more: RESTORE).
 */
#include "kit.h"

#include <xen/sched.h>

unsigned int pm_wakes;
static volatile bool stop_wanted;
static volatile unsigned int stopped;

void pm_stop_here(void);

/* On the other CPUs, in their IPI handler, interrupts off: they stand still until it is over. */
void pm_stop_here(void)
{
	if (!stop_wanted || !this_cpu()->id)
		return;
	timers_stop();
	__atomic_fetch_add(&stopped, 1, __ATOMIC_SEQ_CST);
	while (stop_wanted)
		__builtin_ia32_pause();
	__atomic_fetch_sub(&stopped, 1, __ATOMIC_SEQ_CST);
	timer_set(clock_now() + NSEC / 10);
}

static void stop_others(void)
{
	stop_wanted = true;
	barrier();
	for (unsigned int i = 1; i < cpu_count; i++)
		if (cpus[i].online)
			event_send(cpus[i].ipi_port);
	for (unsigned int i = 1, want = 0; i < cpu_count; i++) {
		want += cpus[i].online;
		while (stopped < want)
			__builtin_ia32_pause();
	}
}

static void let_others_go(void)
{
	barrier();
	stop_wanted = false;
	while (stopped)
		__builtin_ia32_pause();
}

void power(unsigned int reason)
{
	struct sched_shutdown op = { .reason = reason };

	HCALL(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &op);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void freeze(void)
{
	print("pm: freeze memory\n");
	print("pm: freeze grants\n");
	print("pm: freeze timer\n");
	print("pm: freeze xenstore\n");
	print("pm: freeze console\n");
}

static void thaw(void)
{
	event_set_vectors();
	grant_remap();
	cpu_apic_enable(true);
	let_others_go();
	print("pm: thaw (the hypercall returned 1)\n");
}

static void watch_all(void)
{
	xenbus_watch("control/shutdown", "shutdown");
	xenbus_watch("memory/target", "memory");
	xenbus_watch("cpu", "cpu");
}

static void restore(void)
{
	event_rebind();
	grant_remap();
	grant_reset();
	cpu_apic_enable(true);
	console_reconnect();
	xenbus_reconnect();
	let_others_go();
	pm_wakes++;
	print("pm: restore (the hypercall returned 0)\n");
	watch_all();
}

static void suspend(void)
{
	struct sched_shutdown op = { .reason = SHUTDOWN_suspend };
	int64_t r;

	freeze();
	if (!misbehave(IN_FREEZE)) {
		print("pm: freeze refused\n");
		return;
	}
	print("pm: noirq\n");
	stop_others();
	timers_stop();
	cpu_apic_enable(false);
	r = HCALL(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &op);
	if (r)
		thaw();
	else
		restore();
	print("pm: awake mono=%u wall=%u bad=%u grants=%s\n", clock_now() / 1000000, clock_wall() / 1000000,
	      mem_verify(), grant_check() ? "good" : "lost");
}

/* Takes the request: what it was, and "" in its place, in one transaction. */
static void take_request(char *what, size_t size)
{
	uint32_t tx;

	do {
		tx = xenbus_begin();
		if (xenbus_read("control/shutdown", what, size, tx) < 0)
			*what = 0;
		if (*what)
			xenbus_write("control/shutdown", "", tx);
	} while (!xenbus_end(tx, *what));
}

void pm_poll(void)
{
	char what[32];

	if (!misbehave(ON_REQUEST))
		return;
	take_request(what, sizeof(what));
	if (!*what)
		return;
	print("pm: asked for %s\n", what);
	if (!strcmp(what, "suspend"))
		suspend();
	else if (!strcmp(what, "poweroff") || !strcmp(what, "halt"))
		power(SHUTDOWN_poweroff);
	else if (!strcmp(what, "reboot"))
		power(SHUTDOWN_reboot);
}
