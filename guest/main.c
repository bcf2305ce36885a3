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

static void announce(void)
{
	xenbus_watch("control/shutdown", "shutdown");
	xenbus_watch("memory/target", "memory");
	xenbus_watch("cpu", "cpu");
	xenbus_write("control/feature-poweroff", "1", 0);
	xenbus_write("control/feature-reboot", "1", 0);
	xenbus_write("control/feature-suspend", "1", 0);
}

/* Requests last: what else was asked before them is done first. */
static void handle_watches(void)
{
	bool memory = false, cpus = false, request = false;
	char path[128];

	while (xenbus_event(path, sizeof(path))) {
		memory |= !strcmp(path, "memory/target");
		cpus |= starts_with(path, "cpu");
		request |= !strcmp(path, "control/shutdown");
	}
	if (memory)
		balloon_poll();
	if (cpus)
		hotplug_poll();
	if (request)
		pm_poll();
}

static void loop(void)
{
	char line[256];

	for (;;) {
		timer_set(clock_now() + NSEC / 10);
		wait_for_interrupt();
		event_store = event_console = false;
		handle_watches();
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
	hotplug_count();
	cpu_start_others();
	grant_init();
	print("guest: up, %u CPUs, %u MiB\n", (uint64_t)cpu_count, mem_top >> 20);
	announce();
	command_line(words);
	print("guest: ready\n");
	loop();
}
