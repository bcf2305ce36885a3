/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest must not do, on request: so that it can be seen that nothing comes of it. */
#include "kit.h"

#include <xen/sched.h>

static char how[32];

void misbehave_set(const char *h)
{
	size_t n = strlen(h);

	memcpy(how, h, n < sizeof(how) ? n + 1 : sizeof(how));
	how[sizeof(how) - 1] = 0;
	if (!strcmp(how, "garbage"))
		xenbus_garbage();
	if (!strcmp(how, "triple"))
		cpu_triple_fault();
	if (!strcmp(how, "hog")) {
		cli();
		for (;;)
			__builtin_ia32_pause();
	}
	if (!strcmp(how, "badports"))
		for (uint32_t p = 0; p < 100000; p += 37)
			if (p > 16)
				event_send(p * 43);
	if (!strcmp(how, "badcalls"))
		for (uint64_t nr = 0; nr < 64; nr++)
			for (uint64_t op = 0; op < 32; op++)
				if (!(nr == __HYPERVISOR_sched_op && (op == SCHEDOP_shutdown || op == SCHEDOP_poll)))
					hypercall(nr, op, 0xdead000000000000ull + op, ~0ull);
	if (!strcmp(how, "strayin")) { /* a suspend that nobody asked for */
		struct sched_shutdown op = { .reason = SHUTDOWN_suspend };
		int64_t r = HCALL(__HYPERVISOR_sched_op, SCHEDOP_shutdown, &op);

		print("misbehave: stray suspend returned %d\n", r);
	}
}

static void delay(uint64_t seconds)
{
	for (uint64_t end = clock_now() + seconds * NSEC; clock_now() < end;) {
		timer_set(clock_now() + NSEC / 10);
		wait_for_interrupt();
	}
}

bool misbehave(enum when when)
{
	if (when == ON_REQUEST) {
		if (!strcmp(how, "never"))
			return false;
		if (starts_with(how, "late="))
			delay(to_number(how + 5));
		return true;
	}
	if (!strcmp(how, "refuse"))
		return false;
	if (!strcmp(how, "crash"))
		power(SHUTDOWN_crash);
	if (!strcmp(how, "poweroff"))
		power(SHUTDOWN_poweroff);
	if (starts_with(how, "slow="))
		delay(to_number(how + 5));
	return true;
}
