/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs that come and go, as cpu/N/availability in xenstore says. */
#include "kit.h"

/* False: there is no such CPU. */
static bool is_wanted(unsigned int cpu, bool *ret)
{
	char path[32], value[16];

	text(path, sizeof(path), "cpu/%u/availability", (uint64_t)cpu);
	if (xenbus_read(path, value, sizeof(value), 0) < 0)
		return false;
	*ret = !strcmp(value, "online");
	return true;
}

/* Those that the MADT would name; here Xen's tree tells. */
void hotplug_count(void)
{
	bool wanted;

	for (cpu_count = 1; cpu_count < CPUS_MAX && is_wanted(cpu_count, &wanted); cpu_count++)
		cpus[cpu_count].off = !wanted;
}

static void change(unsigned int cpu, bool on)
{
	bool done = on ? cpu_start(cpu) : cpu_stop(cpu);

	cpus[cpu].off = !on;
	print(done ? "cpu: %u %s\n" : "error: cpu %u does not go %s\n", (uint64_t)cpu, on ? "online" : "offline");
}

void hotplug_poll(void)
{
	for (unsigned int i = 1; i < cpu_count; i++) {
		bool wanted;

		if (is_wanted(i, &wanted) && wanted == cpus[i].off)
			change(i, wanted);
	}
}
