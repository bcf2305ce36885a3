/* SPDX-License-Identifier: Apache-2.0 */
/* Following an operation: progress bar, Ctrl-C, and how it ended. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/key.h"

#define BAR 24

struct follow {
	const char *name;
	uint64_t job;
	bool bar; /* stderr is a terminal */
	json_t *last;
};

static volatile sig_atomic_t interrupted;
static bool was_interrupted;

bool job_was_interrupted(void)
{
	return was_interrupted;
}

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void draw(const struct follow *f, json_t *job)
{
	json_t *p = json_object_get(job, "progress");
	uint64_t done = (uint64_t)json_integer_value(json_object_get(p, "done"));
	uint64_t total = (uint64_t)json_integer_value(json_object_get(p, "total"));
	unsigned int filled = total ? (unsigned int)(done * BAR / total) : 0;
	char bar[BAR + 1];

	if (!f->bar || !p)
		return;
	memset(bar, ' ', BAR);
	memset(bar, '#', MIN(filled, (unsigned int)BAR));
	bar[BAR] = 0;
	fprintf(stderr, "\r\033[K%s %s: %s", json_string_value(json_object_get(job, "operation")), f->name,
		json_string_value(json_object_get(p, "phase")));
	if (total)
		fprintf(stderr, " [%s] %3" PRIu64 "%% of %" PRIu64 " MiB", bar, done * 100 / total, total >> 20);
}

static bool on_line(void *arg, json_t *o)
{
	struct follow *f = arg;

	json_decref(f->last);
	f->last = json_incref(o);
	draw(f, o);
	return !strcmp(json_string_value(json_object_get(o, "state")) ?: "", "running");
}

/* The stream blocks in a thread of its own, so that Ctrl-C can be answered by a request. */
static void *watch(void *arg)
{
	struct follow *f = arg;
	struct err err = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/v1/jobs/%" PRIu64 "/events", f->job);
	api_stream(f->name, path, on_line, f, &err);
	return NULL;
}

static void cancel(struct follow *f)
{
	struct err err = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/v1/jobs/%" PRIu64, f->job);
	api_call(f->name, "DELETE", path, NULL, NULL, &err);
}

static void wait_for_end(struct follow *f)
{
	struct sigaction sa = { .sa_handler = on_interrupt }, old;
	struct timespec ts;
	pthread_t thread;

	interrupted = 0;
	sigaction(SIGINT, &sa, &old);
	if (pthread_create(&thread, NULL, watch, f)) {
		sigaction(SIGINT, &old, NULL);
		watch(f);
		return;
	}
	do {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += 20000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_nsec -= 1000000000;
			ts.tv_sec++;
		}
		if (interrupted) {
			interrupted = 0;
			was_interrupted = true;
			cancel(f);
		}
	} while (pthread_timedjoin_np(thread, NULL, &ts));
	sigaction(SIGINT, &old, NULL);
	was_interrupted |= interrupted;
}

static void print_stats(json_t *job)
{
	json_t *timeline = json_object_get(job, "timeline"), *stats = json_object_get(job, "stats"), *p, *v;
	const char *key;
	size_t i;

	json_array_foreach (json_object_get(timeline, "phases"), i, p) {
		json_int_t start = json_integer_value(json_object_get(p, "start_ns"));
		json_int_t end = json_integer_value(json_object_get(p, "end_ns"));

		printf("%-12s %10.3f ms  %s\n", json_string_value(json_object_get(p, "name")),
		       (double)(end - start) / 1e6, json_string_value(json_object_get(p, "result")));
	}
	printf("%-12s %10.3f ms\n", "all", (double)json_integer_value(json_object_get(timeline, "duration_ns")) / 1e6);
	json_object_foreach (stats, key, v)
		if (json_integer_value(v))
			printf("%-12s %10" PRId64 "\n", key, (int64_t)json_integer_value(v));
}

static int report(struct follow *f, const struct job_options *o)
{
	const char *state = json_string_value(json_object_get(f->last, "state")) ?: "";
	json_t *error = json_object_get(f->last, "error");

	if (f->bar)
		fputs("\r\033[K", stderr);
	if (o->json) {
		json_dumpf(f->last, stdout, JSON_INDENT(2));
		puts("");
	} else if (o->print_stats) {
		print_stats(f->last);
	}
	if (!strcmp(state, "done"))
		return EXIT_OK;
	if (!strcmp(state, "cancelled")) {
		const char *op = json_string_value(json_object_get(f->last, "operation")) ?: "";
		bool made = !strcmp(op, "boot") || !strcmp(op, "restore");

		fprintf(stderr, "nidra: %s cancelled%s%s\n", op,
			made ? "" : "; the machine is as it was: ", made ? "" : f->name);
		return EXIT_CANCELLED;
	}
	if (error) {
		struct err err = { .code = -(int)json_integer_value(json_object_get(error, "code")) };

		snprintf(err.msg, sizeof(err.msg), "%s: %s", f->name,
			 json_string_value(json_object_get(error, "message")));
		return fail_of(&err);
	}
	return fail("%s: its monitor went away in the middle of the operation", f->name);
}

int job_follow(const char *name, uint64_t job, const struct job_options *o, json_t **ret_job)
{
	struct follow f = { .name = name, .job = job, .bar = isatty(2) && !o->quiet };
	int r;

	wait_for_end(&f);
	r = report(&f, o);
	if (ret_job)
		*ret_job = json_incref(f.last);
	json_decref(f.last);
	return r;
}
