/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

#include <xen/arch-x86/hvm/start_info.h>

static const char *find_word(const char *line, const char *prefix)
{
	for (; *line; line++)
		if (starts_with(line, prefix))
			return line + strlen(prefix);
	return "";
}

/* vCPUs that the MADT would name; here Xen's tree tells. */
static void count_cpus(void)
{
	char path[] = "cpu/00/availability", value[16];

	for (cpu_count = 1; cpu_count < CPUS_MAX; cpu_count++) {
		const char *p = path;

		if (cpu_count >= 10) {
			path[4] = (char)('0' + cpu_count / 10);
			path[5] = (char)('0' + cpu_count % 10);
			path[6] = '/';
			memcpy(path + 7, "availability", 13);
		} else {
			path[4] = (char)('0' + cpu_count);
			memcpy(path + 5, "/availability", 14);
		}
		if (xenbus_read(p, value, sizeof(value), 0) < 0 || strcmp(value, "online"))
			return;
	}
}

static void announce(void)
{
	xenbus_watch("control/shutdown", "shutdown");
	xenbus_watch("memory/target", "memory");
	xenbus_write("control/feature-poweroff", "1", 0);
	xenbus_write("control/feature-reboot", "1", 0);
	xenbus_write("control/feature-suspend", "1", 0);
}

static void loop(void)
{
	char line[256], path[128];

	for (;;) {
		timer_set(clock_now() + NSEC / 10);
		wait_for_interrupt();
		event_store = event_console = false;
		while (xenbus_event(path, sizeof(path)))
			if (!strcmp(path, "control/shutdown"))
				pm_poll();
		while (console_line(line, sizeof(line)))
			command_run(line);
		command_tick();
	}
}

void guest_main(uint64_t start_info);

void guest_main(uint64_t start_info)
{
	const struct hvm_start_info *s = (const struct hvm_start_info *)start_info;
	const char *words = (const char *)s->cmdline_paddr;

	cli();
	mem_init(start_info);
	cpu_init();
	if (!hypercall_init(find_word(words, "hypercall="))) {
		print("guest: no Xen here\n");
		for (;;)
			__asm__ volatile("cli; hlt");
	}
	event_init();
	console_init();
	xenbus_init();
	cpu_apic_enable(true);
	count_cpus();
	cpu_start_others();
	grant_init();
	print("guest: up, %u CPUs, %u MiB\n", (uint64_t)cpu_count, mem_top >> 20);
	announce();
	command_line(words);
	print("guest: ready\n");
	loop();
}
