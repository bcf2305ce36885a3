/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iobench DEVICE SECONDS: what a disk does, past the page cache, each line for SECONDS:
 *
 *   iobench: NAME OPERATIONS-PER-SECOND MIB-PER-SECOND
 *
 * Static, for an initramfs. Its last line is "iobench: done".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 16

struct kind {
	const char *name;
	bool write, random;
	size_t bytes;
	unsigned int threads; /* requests under way */
};

static const struct kind kinds[] = {
	{ "read-4k-random-1", false, true, 4096, 1 },	    { "write-4k-random-1", true, true, 4096, 1 },
	{ "read-4k-random-16", false, true, 4096, 16 },	    { "write-4k-random-16", true, true, 4096, 16 },
	{ "read-1m-sequential", false, false, 1 << 20, 2 }, { "write-1m-sequential", true, false, 1 << 20, 2 },
};

static int fd;
static uint64_t disk_bytes;
static volatile bool stop;

struct worker {
	pthread_t thread;
	const struct kind *kind;
	unsigned int number;
	uint64_t operations;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	const struct kind *k = w->kind;
	uint64_t blocks = disk_bytes / k->bytes, x = w->number + 1, at = w->number;
	void *buf;

	if (posix_memalign(&buf, 4096, k->bytes))
		fail("memory");
	memset(buf, 0x5a, k->bytes);
	while (!stop) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		off_t offset = (off_t)((k->random ? (x >> 20) % blocks : at++ % blocks) * k->bytes);
		ssize_t n = k->write ? pwrite(fd, buf, k->bytes, offset) : pread(fd, buf, k->bytes, offset);

		if (n != (ssize_t)k->bytes)
			fail(k->name);
		w->operations++;
	}
	free(buf);
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(const struct kind *k, unsigned int seconds)
{
	struct worker w[THREADS_MAX];
	double start = now(), took;
	uint64_t total = 0;

	stop = false;
	for (unsigned int i = 0; i < k->threads; i++) {
		w[i] = (struct worker){ .kind = k, .number = i };
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			fail("thread");
	}
	sleep(seconds);
	stop = true;
	for (unsigned int i = 0; i < k->threads; i++) {
		pthread_join(w[i].thread, NULL);
		total += w[i].operations;
	}
	took = now() - start;
	printf("iobench: %s %.1f %.1f\n", k->name, (double)total / took,
	       (double)total * (double)k->bytes / took / (1 << 20));
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &disk_bytes) < 0)
		fail(argv[1]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure(&kinds[i], (unsigned int)atoi(argv[2]));
	puts("iobench: done");
	return 0;
}
