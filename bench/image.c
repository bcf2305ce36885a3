/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast images are written and read, without any guest: what telling equal pages apart costs, and what
 * encryption does.
 *
 *     image MIB FOLDER
 *
 * Speeds are by the CPU time of all threads, so other load does not count; the time in brackets is the clock's. MIB of
 * memory that packs about as a guest's does: half noise, half repetition, each page like no other, or with a third of
 * the pages equal to some other one.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "image/image.h"
#include "image/share.h"

#define PAGE 4096ULL

static uint64_t bytes;
static struct image_region region;

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void fill(unsigned int equal_percent)
{
	uint64_t state = 1;

	for (uint64_t page = 0; page < bytes / PAGE; page++) {
		uint64_t *w = (uint64_t *)(void *)(region.hva + page * PAGE);

		if (page && page * 7919 % 100 < equal_percent) {
			memcpy(w, region.hva + page * 2654435761ULL % page * PAGE, PAGE);
			continue;
		}
		for (uint64_t i = 0; i < PAGE / 8; i++) {
			state = state * 6364136223846793005ULL + 1442695040888963407ULL;
			w[i] = i % 2 ? state : page;
		}
	}
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static double mib_per_s(uint64_t start)
{
	return (double)bytes / (1 << 20) / ((double)(cpu_ns() - start) / 1e9);
}

static void fingerprints(void)
{
	struct image_share *s = image_share_new(bytes / PAGE);
	uint64_t start = cpu_ns(), all = 0;

	for (uint64_t at = 0; s && at < bytes; at += PAGE)
		all += image_share_fingerprint(s, region.hva + at).w[0];
	printf("fingerprints, one thread: %.0f MiB/s (%d)\n", mib_per_s(start), (int)(all & 1));
	image_share_free(s);
}

static void one(const char *path, const char *what, const struct image_options *o)
{
	struct image_writer *w = NULL;
	struct image_reader *r = NULL;
	struct image_stats stats;
	struct err err = { 0 };
	uint64_t start = cpu_ns(), begin = clock_monotonic_ns(), took;
	double wrote;

	if (image_writer_new(path, o, &w, &err) || image_writer_memory(w, &region, 1, NULL, &err) ||
	    image_writer_seal(w, &stats, &err))
		die(err.msg);
	wrote = mib_per_s(start);
	took = clock_monotonic_ns() - begin;
	image_writer_free(w);
	start = cpu_ns();
	if (image_reader_open_key(path, o->key, &r, &err) || image_reader_verify(r, NULL, &err))
		die(err.msg);
	printf("%-24s written %5.0f MiB/s (%4.0f ms), checked %5.0f MiB/s, file %5.0f MiB\n", what, wrote,
	       (double)took / NSEC_PER_MSEC, mib_per_s(start), (double)stats.file_bytes / (1 << 20));
	image_reader_free(r);
	unlink(path);
}

static void all_codecs(const char *path, const char *what, struct image_key *key)
{
	static const char *const names[] = { "not packed", "zstd 1", "LZ4" };
	char name[64];

	for (int codec = IMAGE_CODEC_NONE; codec < IMAGE_CODECS; codec++) {
		const struct image_options o = {
			.codec = (enum image_codec)codec, .level = 1, .replace = true, .key = key
		};

		snprintf(name, sizeof(name), "%s, %s", names[codec], what);
		one(path, name, &o);
	}
}

int main(int argc, char **argv)
{
	struct image_key *key = NULL;
	char path[4096];

	if (argc != 3)
		die("image MIB FOLDER");
	bytes = strtoull(argv[1], NULL, 10) << 20;
	snprintf(path, sizeof(path), "%s/image", argv[2]);
	region = (struct image_region){ .kind = 1, .bytes = bytes, .fd = memfd_create("memory", MFD_CLOEXEC) };
	if (ftruncate(region.fd, (off_t)bytes))
		die("memory");
	region.hva = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, region.fd, 0);
	if (region.hva == MAP_FAILED)
		die("memory");
	fill(0);
	fingerprints();
	all_codecs(path, "all different", NULL);
	if (image_key_new(IMAGE_KEY_FILE, "no guest, no secret, but 32 bytes", 32, &key, NULL))
		die("key");
	all_codecs(path, "encrypted", key);
	fill(33);
	all_codecs(path, "a third equal", NULL);
	image_key_free(key);
	return 0;
}
