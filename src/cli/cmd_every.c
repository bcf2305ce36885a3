/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint --every: incremental checkpoints into a folder. Every KEEP-th one has all memory and begins
 * a chain, so old chains can go as a whole, and nothing ever needs to be folded: there are at least
 * KEEP images, and less than twice as many.
 */
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "api/paths.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"
#include "image/image.h"

#define KEEP 10

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	(void)sig;
	stopped = 1;
}

/* 0: makes no sense. */
static uint64_t parse_period(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || !n || n > 1000000 || (*end && end[1]))
		return 0;
	return *end == 'h' ? n * 3600 : *end == 'm' ? n * 60 : !*end || *end == 's' ? n : 0;
}

static bool begins_chain(const char *path)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	const void *body;
	size_t len;

	return image_reader_look(path, &r, NULL) == 0 &&
	       image_reader_record(r, IMAGE_REC_PARENT, 0, &body, &len) == -ENOENT;
}

/* The oldest chain goes when the others have enough. Names sort by age. */
static void retire(const char *folder, const char *name, uint32_t keep)
{
	_cleanup_free_ char *pattern = str_printf("%s/%s-*.nidra", folder, name);
	glob_t g = { 0 };
	size_t second = 1;
	struct err err = { 0 };

	if (pattern && !glob(pattern, 0, NULL, &g)) {
		while (second < g.gl_pathc && !begins_chain(g.gl_pathv[second]))
			second++;
		if (g.gl_pathc > second && g.gl_pathc - second >= keep && image_remove(g.gl_pathv[0], true, &err) < 0)
			fail("%s", err.msg);
	}
	globfree(&g);
}

static int one(const char *name, const char *folder, bool full, json_t *body, const struct job_options *o)
{
	time_t now = (time_t)(clock_realtime_ns() / NSEC_PER_SEC);
	_cleanup_free_ char *path = NULL;
	char when[32];
	struct tm tm;
	int r;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	path = str_printf("%s/%s-%s.nidra", folder, name, when);
	if (!path)
		return fail("%s", strerror(ENOMEM));
	json_object_set_new(body, "image", json_string(path));
	json_object_set_new(body, "incremental", json_true());
	json_object_set_new(body, "full", json_boolean(full));
	r = run_job(name, "checkpoint", json_deep_copy(body), o);
	if (r == EXIT_OK && !o->json)
		printf("%s\n", path);
	fflush(stdout);
	return r;
}

static void wait_until(uint64_t ns)
{
	while (!stopped && !job_was_interrupted() && clock_monotonic_ns() < ns)
		usleep(100000);
}

int checkpoint_periodically(const char *name, const char *folder, const char *every, uint32_t keep, json_t *body,
			    const struct job_options *o)
{
	json_auto_t *request = body;
	uint64_t period = every ? parse_period(every) : 0, next = clock_monotonic_ns();
	struct sigaction sa = { .sa_handler = on_signal };
	uint32_t n = 0;
	int r = EXIT_OK;

	keep = keep ?: KEEP;
	if (!period)
		return usage("checkpoint: --every wants a time such as 30s, 5m or 1h");
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return fail("%s: %s", folder, strerror(errno));
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	/* One that fails is told, and the machine runs on; the next one has what it would have had. */
	while (!stopped && !job_was_interrupted() && path_is_live(name) && r != EXIT_CANCELLED) {
		r = one(name, folder, n % keep == 0, request, o);
		if (r == EXIT_OK) {
			n++;
			retire(folder, name, keep);
		}
		next = MAX(next + period * NSEC_PER_SEC, clock_monotonic_ns());
		wait_until(next);
	}
	return stopped || job_was_interrupted() || r == EXIT_CANCELLED ? EXIT_OK : r;
}
