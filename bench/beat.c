/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest does while it is measured (bench/measure).
 *
 *   beat MIB RATE
 *
 * Fills MIB of memory with what cannot be compressed and says "ready". From then on one loop, without
 * a rest, reads the clock, rewrites pages (RATE MiB a second) and prints "b" every 10 ms. What comes
 * on the console, a letter and two numbers, is answered by a word and two numbers; the second one is the
 * question's, which may have been typed twice:
 *
 *   z0 T   "zero 0 T": forget the longest gap, unless T was told to already
 *   g0 T   "gap US T": the longest time between two turns of the loop since then, by the TSC. That is what
 *          this guest felt of whatever was done to it; printing and the kernel's ticks are in it
 *   rN T   "rate N T": N MiB a second from now on
 *   w0 T   "work SUM T": after reading 1024 pages from all over the memory
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGE	   4096
#define WORK_PAGES 1024
#define BEAT_US	   10000
#define DEBT_US	   20000 /* of rewriting: what is later than that is not made up for */

struct beat {
	uint8_t *mem;
	uint64_t pages, rate; /* pages a second */
	uint64_t tsc_per_ms;
	uint64_t last, gap; /* TSC */
	uint64_t zeroed;    /* which question did it */
	uint64_t due;	    /* TSC of the next page */
	uint64_t random;
};

static uint64_t next_random(struct beat *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

static uint64_t ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t calibrate(void)
{
	uint64_t from = ns(), tsc = __rdtsc(), now;

	while ((now = ns()) - from < 200000000)
		;
	return (__rdtsc() - tsc) * 1000000 / (now - from);
}

static void fill(struct beat *b)
{
	for (uint64_t i = 0; i < b->pages * PAGE / 8; i++)
		((uint64_t *)b->mem)[i] = next_random(b);
}

static void say(const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = write(1, text, len);

		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
}

static void say_number(const char *what, uint64_t number, uint64_t tag)
{
	char line[80];

	snprintf(line, sizeof(line), "%s %llu %llu\n", what, (unsigned long long)number, (unsigned long long)tag);
	say(line);
}

static uint64_t work(struct beat *b)
{
	uint64_t sum = 0;

	for (int i = 0; i < WORK_PAGES; i++)
		sum += *(volatile uint64_t *)(b->mem + next_random(b) % b->pages * PAGE);
	return sum;
}

static void zero(struct beat *b, uint64_t tag)
{
	if (tag != b->zeroed) {
		b->gap = 0; /* first: when the answer is out, the next thing may be done to us */
		b->last = __rdtsc();
	}
	b->zeroed = tag;
	say_number("zero", 0, tag);
}

static void answer(struct beat *b, const char *line)
{
	char *end = NULL;
	uint64_t number = *line ? strtoull(line + 1, &end, 10) : 0, tag = end ? strtoull(end, NULL, 10) : 0;

	if (line[0] == 'z') {
		zero(b, tag);
	} else if (line[0] == 'g') {
		say_number("gap", b->gap * 1000 / b->tsc_per_ms, tag);
	} else if (line[0] == 'r') {
		b->rate = number * (1 << 20) / PAGE;
		say_number("rate", number, tag);
	} else if (line[0] == 'w') {
		say_number("work", work(b), tag);
	}
}

static void listen(struct beat *b)
{
	static char line[32];
	static size_t len;
	char c;

	while (read(0, &c, 1) == 1) {
		if (c != '\n' && len < sizeof(line) - 1) {
			line[len++] = c;
			continue;
		}
		line[len] = 0;
		len = 0;
		answer(b, line);
	}
}

static void dirty(struct beat *b, uint64_t now)
{
	uint64_t *page;

	if (!b->rate || now < b->due)
		return;
	page = (uint64_t *)(b->mem + next_random(b) % b->pages * PAGE);
	for (int i = 0; i < PAGE / 8; i += 8)
		page[i] = b->random + (uint64_t)i;
	b->due += b->tsc_per_ms * 1000 / b->rate;
	if (b->due + b->tsc_per_ms * DEBT_US / 1000 < now)
		b->due = now;
}

static void loop(struct beat *b)
{
	uint64_t beat = 0, now;

	b->last = __rdtsc();
	for (;;) {
		now = __rdtsc();
		if (now - b->last > b->gap && now > b->last)
			b->gap = now - b->last;
		b->last = now;
		if (now < beat) /* another machine's TSC */
			beat = 0;
		if (now - beat > b->tsc_per_ms * BEAT_US / 1000) {
			beat = now;
			say("b\n");
			listen(b);
		}
		dirty(b, now);
	}
}

static void raw_console(void)
{
	struct termios t;

	if (tcgetattr(0, &t))
		return;
	cfmakeraw(&t);
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	tcsetattr(0, TCSANOW, &t);
}

int main(int argc, char **argv)
{
	struct beat b = { .random = 88172645463325252ULL };

	if (argc != 3) {
		fprintf(stderr, "usage: beat MIB RATE\n");
		return 2;
	}
	b.pages = strtoull(argv[1], NULL, 10) * (1 << 20) / PAGE;
	b.rate = strtoull(argv[2], NULL, 10) * (1 << 20) / PAGE;
	b.mem = mmap(NULL, b.pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.mem == MAP_FAILED || b.pages == 0) {
		perror("beat");
		return 2;
	}
	raw_console();
	b.tsc_per_ms = calibrate();
	fill(&b);
	say("ready\n");
	loop(&b);
}
