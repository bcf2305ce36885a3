/*
 * Does a guest's memory survive what is done to the guest?
 *
 *   memcheck MIB [PAGES_PER_SECOND [PASS_SECONDS [SEED]]]
 *
 * Fills MIB of memory with a pattern, keeps rewriting random pages (each is
 * checked first), and every PASS_SECONDS, or at once on SIGUSR1, checks all of
 * them and prints one line:
 *
 *   memcheck: pass 3 OK pages=16384 dirtied=4711
 *   memcheck: pass 4 BAD=2 first=0x1f00 pages=16384 dirtied=4711
 *
 * A page's content follows from the seed, its number and how often it was
 * rewritten, so a page that is old, or is another page's, is found out.
 * PASS_SECONDS 0: one pass, and the exit status tells (0 good, 1 bad).
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_WORDS 512
#define TURN_NS	   50000000L /* rewrites are dealt out 20 times a second */

struct check {
	uint64_t *mem;
	uint32_t *version; /* rewrites of each page */
	uint64_t pages;
	uint64_t seed;
	uint64_t dirtied;
	uint64_t bad, first_bad; /* since the last line */
};

static volatile sig_atomic_t asked;

static void on_usr1(int sig)
{
	(void)sig;
	asked = 1;
}

/* splitmix64: every input bit reaches every output bit */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t page_key(const struct check *c, uint64_t page)
{
	return mix(c->seed ^ mix(page << 32 | c->version[page]));
}

static void page_write(struct check *c, uint64_t page)
{
	uint64_t key = page_key(c, page), *word = c->mem + page * PAGE_WORDS;

	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		word[i] = key + i * 0x9e3779b97f4a7c15ULL;
}

static void page_check(struct check *c, uint64_t page)
{
	uint64_t key = page_key(c, page), *word = c->mem + page * PAGE_WORDS;
	uint64_t differ = 0;

	for (unsigned int i = 0; i < PAGE_WORDS; i++)
		differ |= word[i] ^ (key + i * 0x9e3779b97f4a7c15ULL);
	if (differ && c->bad++ == 0)
		c->first_bad = page;
}

/* Check everything and say what was found, here or while rewriting. */
static int pass(struct check *c, unsigned int number)
{
	int bad;

	for (uint64_t page = 0; page < c->pages; page++)
		page_check(c, page);
	bad = c->bad != 0;
	if (bad)
		printf("memcheck: pass %u BAD=%llu first=0x%llx pages=%llu dirtied=%llu\n", number,
		       (unsigned long long)c->bad, (unsigned long long)c->first_bad, (unsigned long long)c->pages,
		       (unsigned long long)c->dirtied);
	else
		printf("memcheck: pass %u OK pages=%llu dirtied=%llu\n", number, (unsigned long long)c->pages,
		       (unsigned long long)c->dirtied);
	c->bad = 0;
	return bad;
}

static void dirty(struct check *c, uint64_t count)
{
	while (count-- > 0) {
		uint64_t page = mix(c->seed + c->dirtied++) % c->pages;

		page_check(c, page);
		c->version[page]++;
		page_write(c, page);
	}
}

static void run(struct check *c, uint64_t rate, uint64_t period)
{
	const struct timespec turn = { .tv_nsec = TURN_NS };
	uint64_t turns_per_pass = period * (1000000000UL / TURN_NS);

	for (unsigned int number = 1;; number++) {
		for (uint64_t t = 0; t < turns_per_pass && !asked; t++) {
			uint64_t due = rate * TURN_NS * (t + 1) / 1000000000UL - rate * TURN_NS * t / 1000000000UL;

			dirty(c, due);
			nanosleep(&turn, NULL);
		}
		asked = 0;
		pass(c, number);
	}
}

static uint64_t argument(char **argv, int argc, int i, uint64_t otherwise)
{
	return i < argc ? strtoull(argv[i], NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	struct check c = {
		.pages = argument(argv, argc, 1, 0) * 256,
		.seed = argument(argv, argc, 4, 1),
	};
	uint64_t rate = argument(argv, argc, 2, 100);
	uint64_t period = argument(argv, argc, 3, 5);

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGUSR1, on_usr1);
	if (c.pages == 0) {
		fprintf(stderr, "usage: memcheck MIB [PAGES_PER_SECOND [PASS_SECONDS [SEED]]]\n");
		return 2;
	}
	c.mem = mmap(NULL, c.pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	c.version = calloc(c.pages, sizeof(*c.version));
	if (c.mem == MAP_FAILED || !c.version) {
		perror("memcheck");
		return 2;
	}
	for (uint64_t page = 0; page < c.pages; page++)
		page_write(&c, page);
	printf("memcheck: filled pages=%llu\n", (unsigned long long)c.pages);
	if (period == 0) {
		dirty(&c, rate);
		return pass(&c, 1);
	}
	run(&c, rate, period);
}
