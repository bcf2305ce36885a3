/*
 * Does a guest's disk stay what the guest knows that it is, whatever is done to the guest?
 *
 *   diskcheck DEVICE MIB [WRITERS [PASS_SECONDS]]
 *
 * WRITERS threads write blocks of 1 to 64 KiB, past the page cache, each in its own part of the first MIB of the
 * device, and remember in memory what each 1 KiB has to be. Now and then they flush, discard nothing, and
 * read back something old. Every PASS_SECONDS all of it is read and compared, with one line:
 *
 *   diskcheck: pass 3 OK writes=4711
 *   diskcheck: pass 4 BAD=2 first=0x1f000 writes=4711
 *
 * What a unit holds follows from its number and how often it was written, so what is old, or is another
 * one's, is found out. The knowledge is memory: a machine that is put back to an earlier moment finds its disk wrong
 * unless that was put back with it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define UNIT	  1024u
#define UNITS_MAX 64u /* of one write */

static struct {
	int fd;
	uint32_t *version; /* of each unit */
	pthread_mutex_t pass;
	volatile uint64_t writes, bad, first_bad;
} c;

struct writer {
	pthread_t thread;
	uint64_t first, units, seed;
	pthread_mutex_t lock; /* held while a write of it is under way */
	uint8_t *buf;
};

/* splitmix64: every input bit reaches every output bit */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static void fill(uint8_t *at, uint64_t unit, uint32_t version)
{
	uint64_t key = mix(mix(unit) ^ version);

	for (unsigned int i = 0; i < UNIT / 8; i++)
		memcpy(at + i * 8, &(uint64_t){ key + i * 0x9e3779b97f4a7c15ULL }, 8);
}

static void found_bad(uint64_t unit, const char *what, int error)
{
	if (__atomic_fetch_add(&c.bad, 1, __ATOMIC_SEQ_CST) == 0)
		c.first_bad = unit * UNIT;
	if (error)
		printf("diskcheck: BAD: %s at 0x%llx: %s\n", what, (unsigned long long)unit * UNIT, strerror(error));
}

static void check(uint8_t *buf, uint64_t unit, uint64_t n)
{
	uint8_t want[UNIT];

	if (pread(c.fd, buf, n * UNIT, (off_t)(unit * UNIT)) != (ssize_t)(n * UNIT)) {
		found_bad(unit, "read", errno ? errno : EIO);
		return;
	}
	for (uint64_t i = 0; i < n; i++) {
		if (!c.version[unit + i])
			continue;
		fill(want, unit + i, c.version[unit + i]);
		if (memcmp(want, buf + i * UNIT, UNIT))
			found_bad(unit + i, "", 0);
	}
}

static void write_some(struct writer *w)
{
	uint64_t r = mix(w->seed++), n = 1 + r % UNITS_MAX, unit = w->first + (r >> 20) % (w->units - n);

	pthread_mutex_lock(&w->lock);
	if (r >> 60 == 0)
		check(w->buf, unit, n);
	for (uint64_t i = 0; i < n; i++)
		fill(w->buf + i * UNIT, unit + i, c.version[unit + i] + 1);
	if (pwrite(c.fd, w->buf, n * UNIT, (off_t)(unit * UNIT)) != (ssize_t)(n * UNIT))
		found_bad(unit, "write", errno ? errno : EIO);
	for (uint64_t i = 0; i < n; i++)
		c.version[unit + i]++;
	if (r >> 59 == 1 && fdatasync(c.fd) < 0)
		found_bad(unit, "flush", errno);
	pthread_mutex_unlock(&w->lock);
	__atomic_fetch_add(&c.writes, 1, __ATOMIC_RELAXED);
}

static void *writer_main(void *arg)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	for (;;) {
		write_some(arg);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

static void pass(struct writer *writer, unsigned int writers, unsigned int number)
{
	uint64_t bad;

	for (struct writer *w = writer; w < writer + writers; w++) {
		pthread_mutex_lock(&w->lock);
		for (uint64_t u = 0; u < w->units; u += UNITS_MAX)
			check(w->buf, w->first + u, w->units - u < UNITS_MAX ? w->units - u : UNITS_MAX);
		pthread_mutex_unlock(&w->lock);
	}
	bad = __atomic_exchange_n(&c.bad, 0, __ATOMIC_SEQ_CST);
	if (bad)
		printf("diskcheck: pass %u BAD=%llu first=0x%llx writes=%llu\n", number, (unsigned long long)bad,
		       (unsigned long long)c.first_bad, (unsigned long long)c.writes);
	else
		printf("diskcheck: pass %u OK writes=%llu\n", number, (unsigned long long)c.writes);
}

int main(int argc, char **argv)
{
	uint64_t units = argc > 2 ? strtoull(argv[2], NULL, 0) * (1048576 / UNIT) : 0;
	unsigned int writers = argc > 3 ? (unsigned int)atoi(argv[3]) : 4,
		     seconds = argc > 4 ? (unsigned int)atoi(argv[4]) : 2;
	struct writer *writer = calloc(writers, sizeof(*writer));

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!units || !writers || units / writers <= UNITS_MAX || !writer) {
		fprintf(stderr, "usage: diskcheck DEVICE MIB [WRITERS [PASS_SECONDS]]\n");
		return 2;
	}
	c.fd = open(argv[1], O_RDWR | O_DIRECT);
	c.version = calloc(units, sizeof(*c.version));
	if (c.fd < 0 || !c.version) {
		perror(argv[1]);
		return 2;
	}
	for (unsigned int i = 0; i < writers; i++) {
		struct writer *w = &writer[i];

		w->units = units / writers;
		w->first = i * w->units;
		w->seed = (uint64_t)i << 32;
		pthread_mutex_init(&w->lock, NULL);
		if (posix_memalign((void **)&w->buf, 4096, UNITS_MAX * UNIT) ||
		    pthread_create(&w->thread, NULL, writer_main, w)) {
			perror("diskcheck");
			return 2;
		}
	}
	for (unsigned int number = 1;; number++) {
		sleep(seconds);
		pass(writer, writers, number);
	}
}
