/* SPDX-License-Identifier: Apache-2.0 */
/* Words of the command line and lines typed on the console: the same commands. */
#include "kit.h"

static bool ticking;
static uint64_t tick_number, next_tick, dirty_rate;

static void info(void)
{
	print("ok: cpus=%u ram=%uMiB out=%uMiB filled=%uMiB wakes=%u mono=%u wall=%u\n", (uint64_t)cpu_count,
	      mem_top >> 20, balloon_mib(), mem_filled_mib(), (uint64_t)pm_wakes, clock_now() / 1000000,
	      clock_wall() / 1000000);
}

static bool wait_until(bool (*done)(unsigned int cpu, uint64_t from), unsigned int cpu, uint64_t from)
{
	for (uint64_t end = clock_now() + 3 * NSEC; clock_now() < end;) {
		if (done(cpu, from))
			return true;
		timer_set(clock_now() + NSEC / 100);
		wait_for_interrupt();
	}
	return false;
}

static bool ticked(unsigned int cpu, uint64_t from)
{
	return cpus[cpu].timer_ticks > from;
}

static bool got_ipi(unsigned int cpu, uint64_t from)
{
	return cpus[cpu].ipis > from;
}

/* Everything that a wake could have broken. */
void selftest(void)
{
	uint64_t bad = mem_verify(), before = clock_now();
	const char *wrong = NULL;
	char value[64];

	for (unsigned int i = 0; i < cpu_count && !wrong; i++) {
		uint64_t ipis = cpus[i].ipis;

		if (cpus[i].off)
			continue;
		if (!cpus[i].online)
			wrong = "a CPU is missing";
		else if (!wait_until(ticked, i, cpus[i].timer_ticks))
			wrong = "a CPU's timer is dead";
		event_send(cpus[i].ipi_port);
		if (!wrong && !wait_until(got_ipi, i, ipis))
			wrong = "an IPI is lost";
	}
	if (bad)
		wrong = "memory was altered";
	if (!grant_check())
		wrong = "a grant is lost";
	if (clock_now() < before)
		wrong = "the clock runs backwards";
	if (xenbus_write("data/selftest", "here", 0) < 0 || xenbus_read("data/selftest", value, sizeof(value), 0) < 0 ||
	    strcmp(value, "here"))
		wrong = "xenstore does not keep what is written";
	print(wrong ? "error: selftest: %s\n" : "ok: selftest\n", wrong);
}

static void show(const char *path)
{
	char value[256];
	int r = xenbus_read(path, value, sizeof(value), 0);

	print(r < 0 ? "error: %s: %s\n" : "ok: %s = %s\n", path, value);
}

void command_run(char *line)
{
	if (starts_with(line, "fill "))
		print("ok: filled %u MiB\n", mem_fill(to_number(line + 5), 1));
	else if (starts_with(line, "mem="))
		print("ok: filled %u MiB\n", mem_fill(to_number(line + 4), 1));
	else if (starts_with(line, "dirty="))
		dirty_rate = to_number(line + 6);
	else if (!strcmp(line, "high"))
		mem_high_first = true;
	else if (!strcmp(line, "verify"))
		print("ok: bad pages %u\n", mem_verify());
	else if (starts_with(line, "watchdog="))
		watchdog_set(to_number(line + 9));
	else if (!strcmp(line, "tick"))
		ticking = true;
	else if (!strcmp(line, "info"))
		info();
	else if (!strcmp(line, "oddcalls"))
		oddcalls();
	else if (!strcmp(line, "selftest"))
		selftest();
	else if (starts_with(line, "read "))
		show(line + 5);
	else if (starts_with(line, "misbehave ") || starts_with(line, "misbehave=")) {
		misbehave_set(line + 10);
		print("ok: misbehave %s\n", line + 10);
	} else if (!strcmp(line, "poweroff"))
		power(0);
	else if (!strcmp(line, "reboot"))
		power(1);
	else if (!strcmp(line, "crash"))
		power(3);
	else if (!starts_with(line, "hypercall="))
		print("error: unknown command %s\n", line);
}

/* Words that have a meaning for somebody else are passed over. */
void command_line(const char *words)
{
	char word[64];

	while (*words) {
		size_t n = 0;

		while (*words == ' ')
			words++;
		while (words[n] && words[n] != ' ')
			n++;
		if (n && n < sizeof(word)) {
			memcpy(word, words, n);
			word[n] = 0;
			command_run(word);
		}
		words += n;
	}
}

/* Ten times a second. */
void command_tick(void)
{
	uint64_t now = clock_now();

	watchdog_poke();
	if (dirty_rate)
		mem_dirty(dirty_rate / 10 + 1);
	if (!ticking || now < next_tick)
		return;
	next_tick = now + NSEC;
	print("tick %u mono=%u wall=%u\n", tick_number++, now / 1000000, clock_wall() / 1000000);
}
