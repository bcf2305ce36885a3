/* SPDX-License-Identifier: Apache-2.0 */
/* top: what machines use. The difference between two answers of each monitor. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

struct usage {
	uint64_t cpu_ns, read_bytes, written_bytes, requests, rx_bytes, tx_bytes;
};

static uint64_t number(json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static struct usage usage_of(json_t *machine)
{
	struct usage u = { .cpu_ns = number(machine, "cpu_time_ns") };
	json_t *disk, *nic;
	size_t i;

	json_array_foreach (json_object_get(machine, "disks"), i, disk) {
		u.read_bytes += number(disk, "read_bytes");
		u.written_bytes += number(disk, "written_bytes");
		u.requests += number(disk, "reads") + number(disk, "writes");
	}
	json_array_foreach (json_object_get(machine, "nics"), i, nic) {
		u.rx_bytes += number(nic, "rx_bytes");
		u.tx_bytes += number(nic, "tx_bytes");
	}
	return u;
}

/* The same machine, a while ago; NULL: it is new. A name may have become another machine's. */
static json_t *find(json_t *machines, json_t *like)
{
	json_t *m;
	size_t i;

	json_array_foreach (machines, i, m)
		if (number(m, "pid") == number(like, "pid"))
			return m;
	return NULL;
}

static double mib_a_second(uint64_t now, uint64_t then, double seconds)
{
	return (double)(now - then) / (1 << 20) / seconds;
}

static void print_row(json_t *m, json_t *before, double seconds)
{
	struct usage now = usage_of(m), then = before ? usage_of(before) : now;
	const char *state = json_string_value(json_object_get(m, "state"));

	printf("%-24s %-10s %5" PRIu64 " %6.1f %8.1f %8.1f %8.2f %8.2f %7.0f %8.2f %8.2f\n",
	       json_string_value(json_object_get(m, "name")), state ?: "?", number(m, "vcpus_online"),
	       (double)(now.cpu_ns - then.cpu_ns) / 1e7 / seconds, (double)number(m, "memory_bytes") / (1 << 20),
	       (double)number(m, "resident_bytes") / (1 << 20), mib_a_second(now.read_bytes, then.read_bytes, seconds),
	       mib_a_second(now.written_bytes, then.written_bytes, seconds),
	       (double)(now.requests - then.requests) / seconds, mib_a_second(now.rx_bytes, then.rx_bytes, seconds),
	       mib_a_second(now.tx_bytes, then.tx_bytes, seconds));
}

static void print_all(json_t *now, json_t *before, double seconds)
{
	json_t *m;
	size_t i;

	if (isatty(1))
		fputs("\033[H\033[J", stdout);
	printf("%-24s %-10s %5s %6s %8s %8s %8s %8s %7s %8s %8s\n", "NAME", "STATE", "VCPUS", "CPU%", "MEM(MiB)",
	       "OWN(MiB)", "RD MiB/s", "WR MiB/s", "DISK/s", "RX MiB/s", "TX MiB/s");
	json_array_foreach (now, i, m)
		print_row(m, find(before, m), seconds);
	fflush(stdout);
}

int cmd_top(int argc, char **argv)
{
	uint32_t delay = 2, times = 0;
	const struct flag flags[] = { { "delay", 'd', FLAG_NUMBER, &delay }, { "number", 'n', FLAG_NUMBER, &times } };
	uint64_t then = clock_monotonic_ns();
	json_t *before = NULL;
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n || !delay)
		return usage(n ? "top: it shows all machines" : "top: --delay 0 is too short");
	before = all_machines();
	for (uint32_t i = 0; !times || i < times; i++) {
		json_t *now;
		uint64_t ns;

		sleep(delay);
		now = all_machines();
		ns = clock_monotonic_ns();
		print_all(now, before, (double)(ns - then) / 1e9);
		then = ns;
		json_decref(before);
		before = now;
	}
	json_decref(before);
	return EXIT_OK;
}
