/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sleep engine against a model of it.
 *
 * Every phase of a table follows a script. All tables of up to four phases with all scripts and
 * all points of no return are run, and many longer ones; each run is compared with what the
 * model, a dozen lines that know no engine, says about it. A phase notes its small letter when
 * it is entered and its capital when it is undone.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pm/pm.h"

#define LIMIT (10 * NSEC_PER_SEC)

enum script {
	OK,
	FAIL,	     /* with a sentence */
	FAIL_MUTE,   /* without one */
	CANCEL_PASS, /* somebody cancels; this phase does not look */
	CANCEL_WAIT, /* somebody cancels while this phase waits for a second */
	TOO_LATE,    /* waits for longer than its limit, and looks */
	LATE_PASS,   /* takes longer than its limit, and succeeds without a look */
	OWN_TIMEOUT, /* gives up by itself, before its limit */
	OWN_CANCEL,  /* says "cancelled" although nobody did */
	SCRIPTS
};

struct scene {
	size_t n;
	enum script script[PM_PHASES_MAX];
	bool no_return[PM_PHASES_MAX];
	int fail_at;	    /* -1: none */
	bool cancel_before; /* pm_cancel() before pm_run() */
	bool no_limit;
};

/* What a run did, or what the model says that it does. */
struct story {
	char log[2 * PM_PHASES_MAX + 1];
	enum pm_result result[PM_PHASES_MAX];
	int code[PM_PHASES_MAX];
	enum pm_result whole;
	int r;
	int first; /* phase that is told; -1 */
	bool past;
};

/* The model. */

static enum pm_result outcome(const struct scene *s, size_t i, bool *cancel, bool past, int *code)
{
	static const int codes[SCRIPTS] = {
		[FAIL] = -ENOSPC,	 [FAIL_MUTE] = -EPIPE,	     [CANCEL_WAIT] = -ECANCELED,
		[TOO_LATE] = -ETIMEDOUT, [OWN_TIMEOUT] = -ETIMEDOUT, [OWN_CANCEL] = -ECANCELED,
	};
	enum script script = s->script[i];

	if (script == CANCEL_PASS || script == CANCEL_WAIT)
		*cancel = true;
	if ((script == CANCEL_WAIT && past) || (script == TOO_LATE && s->no_limit))
		return PM_DONE;
	*code = codes[script];
	if (!*code)
		return PM_DONE;
	return script == CANCEL_WAIT ? PM_CANCELLED : script == TOO_LATE ? PM_TIMED_OUT : PM_FAILED;
}

static enum pm_result foretell_phase(const struct scene *s, size_t i, struct story *t, bool *cancel)
{
	if (*cancel && !t->past) {
		t->code[i] = -ECANCELED;
		return PM_CANCELLED;
	}
	if (s->fail_at == (int)i) {
		t->code[i] = -EIO;
		return PM_FAILED;
	}
	t->log[strlen(t->log)] = (char)('a' + i % 26);
	return outcome(s, i, cancel, t->past, &t->code[i]);
}

static struct story foretell(const struct scene *s)
{
	struct story t = { .first = -1, .whole = PM_DONE };
	bool cancel = s->cancel_before;

	for (size_t i = 0; i < s->n; i++) {
		t.result[i] = foretell_phase(s, i, &t, &cancel);
		if (t.result[i] == PM_DONE) {
			t.past |= s->no_return[i];
			continue;
		}
		if (t.first < 0) {
			t.first = (int)i;
			t.whole = t.result[i];
			t.r = t.code[i];
		}
		if (t.past)
			continue;
		for (size_t j = i; j-- > 0;) {
			t.result[j] = PM_UNDONE;
			t.log[strlen(t.log)] = (char)('A' + j % 26);
		}
		break;
	}
	return t;
}

/* The stage: phases that follow their script. */

static uint64_t fake_ns;

/* Every look at the clock takes a while, so that times that must differ do. */
static uint64_t fake_now(void)
{
	fake_ns += NSEC_PER_USEC;
	return fake_ns;
}

struct stage {
	const struct scene *scene;
	char log[2 * PM_PHASES_MAX + 1];
	unsigned int phase_calls, progress_calls;
	const char *wrong; /* what the phases or the observer found */
};

static int wait_for(struct pm_run *run, uint64_t ns, struct err *err)
{
	for (uint64_t end = fake_now() + ns; fake_now() < end; fake_ns += NSEC_PER_SEC / 4) {
		int r = pm_check(run, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int play(struct pm_run *run, enum script script, struct err *err)
{
	switch (script) {
	case FAIL:
		return err_set(err, -ENOSPC, "the disk is full");
	case FAIL_MUTE:
		return -EPIPE;
	case CANCEL_PASS:
		pm_cancel(run);
		return 0;
	case CANCEL_WAIT:
		pm_cancel(run);
		return wait_for(run, NSEC_PER_SEC, err);
	case TOO_LATE:
		return wait_for(run, 2 * LIMIT, err);
	case LATE_PASS:
		fake_ns += 2 * LIMIT;
		return 0;
	case OWN_TIMEOUT:
		return err_set(err, -ETIMEDOUT, "the peer is silent");
	case OWN_CANCEL:
		return err_set(err, -ECANCELED, "the guest refused");
	default:
		return 0;
	}
}

static int enter(struct pm_run *run, void *op, struct err *err)
{
	struct stage *st = op;
	uint64_t left = pm_left_ns(run);

	st->log[strlen(st->log)] = (char)('a' + run->current % 26);
	if (st->scene->no_limit ? left != UINT64_MAX : left > LIMIT || left < LIMIT / 2)
		st->wrong = "pm_left_ns() in enter";
	pm_progress(run, run->current, st->scene->n);
	return play(run, st->scene->script[run->current], err);
}

static void undo(struct pm_run *run, void *op)
{
	struct stage *st = op;
	uint64_t left = pm_left_ns(run);

	st->log[strlen(st->log)] = (char)('A' + run->current % 26);
	if (st->scene->no_limit ? left != UINT64_MAX : left > LIMIT || left < LIMIT / 2)
		st->wrong = "pm_left_ns() in undo: not a limit of its own";
	if (wait_for(run, NSEC_PER_SEC, NULL))
		st->wrong = "an undo cannot wait";
}

/* At any moment a look at the timeline makes sense. */
static void on_phase(void *arg, const struct pm_timeline *t, size_t index)
{
	struct stage *st = arg;
	const struct pm_span *span = &t->span[index];

	st->phase_calls++;
	if (span->result == PM_NOT_RUN || !span->start_ns)
		st->wrong = "told about a phase that was not entered";
	if ((span->result == PM_RUNNING) != !span->end_ns)
		st->wrong = "a phase that runs has an end, or one that ended has none";
	if ((span->result == PM_UNDONE) != (span->undo_end_ns != 0))
		st->wrong = "undone before it was undone";
	for (size_t i = 0; i < t->n; i++)
		if (i != index && t->span[i].result == PM_RUNNING)
			st->wrong = "two phases at a time";
}

static void on_progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	struct stage *st = arg;

	st->progress_calls++;
	if (phase[1] != (char)('0' + done / 10) || phase[2] != (char)('0' + done % 10) || total != st->scene->n)
		st->wrong = "progress of another phase";
}

/* Comparison. */

static const char *describe(const struct scene *s)
{
	static const char *const name[SCRIPTS] = { "ok",       "fail",	    "fail-mute", "cancel",    "wait",
						   "too-late", "late-pass", "own-time",	 "own-cancel" };
	static char text[1024];
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s ", name[s->script[i]],
				      s->no_return[i] ? "(no return)" : "");
	snprintf(text + n, sizeof(text) - n, "fail_at=%d cancel_before=%d limit=%d", s->fail_at, s->cancel_before,
		 !s->no_limit);
	return text;
}

#define CHECK(scene, what)                                                                                             \
	do {                                                                                                           \
		if (!(what))                                                                                           \
			fail_msg("%s: %s", describe(scene), #what);                                                    \
	} while (0)

static const char *expected_words(const struct scene *s, const struct story *want)
{
	size_t i = (size_t)want->first;

	if (want->whole == PM_CANCELLED)
		return "cancelled after ";
	if (s->fail_at == want->first)
		return "failed on purpose";
	switch (s->script[i]) {
	case FAIL:
		return "the disk is full";
	case FAIL_MUTE:
		return "Broken pipe";
	case TOO_LATE:
		return "not done after 10.0 s";
	case OWN_TIMEOUT:
		return "the peer is silent";
	default:
		return "the guest refused";
	}
}

static void check_error(const struct scene *s, const struct story *want, const struct err *err)
{
	char head[64];

	if (want->first < 0) {
		CHECK(s, !err->msg[0]);
		return;
	}
	snprintf(head, sizeof(head), "op: p%02d: %s", want->first, expected_words(s, want));
	CHECK(s, err->code == want->r);
	if (strncmp(err->msg, head, strlen(head)))
		fail_msg("%s: '%s' does not start with '%s'", describe(s), err->msg, head);
}

/* Times of a run go one way: every phase after the one before it, undone ones from the last on. */
static void check_times(const struct scene *s, const struct pm_timeline *t)
{
	uint64_t last = t->start_ns, undo_end = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct pm_span *p = &t->span[i];

		if (p->result == PM_NOT_RUN) {
			CHECK(s, !p->start_ns && !p->end_ns && !p->undo_start_ns && !p->undo_end_ns);
			continue;
		}
		CHECK(s, p->start_ns > last && p->end_ns > p->start_ns);
		last = p->end_ns;
		CHECK(s, (p->result == PM_UNDONE) == (p->undo_end_ns != 0));
	}
	for (size_t i = t->n; i-- > 0;) {
		const struct pm_span *p = &t->span[i];

		if (p->result != PM_UNDONE)
			continue;
		CHECK(s, p->undo_start_ns > (undo_end ? undo_end : last));
		CHECK(s, p->undo_end_ns > p->undo_start_ns);
		undo_end = p->undo_end_ns;
	}
	CHECK(s, t->end_ns > (undo_end ? undo_end : last));
}

static void check_story(const struct scene *s, const struct story *want, const struct pm_run *run,
			const struct stage *st)
{
	const struct pm_timeline *t = &run->timeline;
	unsigned int events = 0, entered = 0;

	if (strcmp(st->log, want->log))
		fail_msg("%s: did '%s', should '%s'", describe(s), st->log, want->log);
	CHECK(s, t->result == want->whole && t->n == s->n && !strcmp(t->op, "op"));
	CHECK(s, run->past_return == want->past);
	for (size_t i = 0; i < s->n; i++) {
		CHECK(s, t->span[i].result == want->result[i]);
		CHECK(s, t->span[i].code == want->code[i]);
		events += want->result[i] == PM_NOT_RUN ? 0 : want->result[i] == PM_UNDONE ? 4 : 2;
	}
	for (const char *c = want->log; *c; c++)
		entered += *c >= 'a';
	CHECK(s, st->phase_calls == events && st->progress_calls == entered);
	if (st->wrong)
		fail_msg("%s: %s", describe(s), st->wrong);
}

static void try_scene(const struct scene *s)
{
	static char names[PM_PHASES_MAX][4];
	struct pm_phase phases[PM_PHASES_MAX] = { 0 };
	struct pm_table table = { "op", phases, s->n };
	struct stage st = { .scene = s };
	struct pm_run run = { .now = fake_now, .observer = { on_phase, on_progress, &st } };
	struct story want = foretell(s);
	struct err err = { 0 };
	int r;

	for (size_t i = 0; i < s->n; i++) {
		snprintf(names[i], sizeof(names[i]), "p%02u", (unsigned int)(i % 100));
		phases[i] = (struct pm_phase){ names[i], enter, undo, s->no_limit ? 0 : LIMIT, s->no_return[i] };
	}
	if (s->fail_at >= 0)
		run.fail_at = names[s->fail_at];
	if (s->cancel_before)
		pm_cancel(&run);

	r = pm_run(&run, &table, &st, &err);

	CHECK(s, r == want.r);
	check_story(s, &want, &run, &st);
	check_times(s, &run.timeline);
	check_error(s, &want, &err);
}

/* All values of @digits digits of base @base, one after the other. False: it was the last. */
static bool count_up(unsigned int *digit, size_t digits, unsigned int base)
{
	for (size_t i = 0; i < digits; i++) {
		if (++digit[i] < base)
			return true;
		digit[i] = 0;
	}
	return false;
}

static void try_scripts(struct scene *s)
{
	unsigned int digit[8] = { 0 };

	do {
		for (size_t i = 0; i < s->n; i++)
			s->script[i] = digit[i];
		try_scene(s);
	} while (count_up(digit, s->n, SCRIPTS));
}

static void test_every_script_of_small_tables(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 4; n++) {
		for (unsigned int mask = 0; mask < 1U << n; mask++) {
			struct scene s = { .n = n, .fail_at = -1 };

			for (size_t i = 0; i < n; i++)
				s.no_return[i] = mask >> i & 1;
			try_scripts(&s);
		}
	}
}

static void test_every_phase_fails_on_purpose(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 3; n++) {
		for (unsigned int mask = 0; mask < 1U << n; mask++) {
			for (int at = 0; at < (int)n; at++) {
				struct scene s = { .n = n, .fail_at = at };

				for (size_t i = 0; i < n; i++)
					s.no_return[i] = mask >> i & 1;
				try_scripts(&s);
			}
		}
	}
}

static void test_cancelled_before_it_began(void **state)
{
	(void)state;
	for (size_t n = 0; n <= 3; n++) {
		struct scene s = { .n = n, .fail_at = -1, .cancel_before = true };

		try_scripts(&s);
	}
}

static void test_without_limits_nothing_is_late(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 3; n++) {
		struct scene s = { .n = n, .fail_at = -1, .no_limit = true };

		try_scripts(&s);
	}
}

/* Tables up to the largest; mostly good phases, or no long story would be told. */
static void test_random_scripts_of_large_tables(void **state)
{
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct scene s = { .n = (size_t)rand_r(&seed) % (PM_PHASES_MAX + 1), .fail_at = -1 };

		for (size_t i = 0; i < s.n; i++) {
			if (rand_r(&seed) % 8 == 0)
				s.script[i] = (unsigned int)rand_r(&seed) % SCRIPTS;
			s.no_return[i] = rand_r(&seed) % 16 == 0;
		}
		if (s.n && rand_r(&seed) % 4 == 0)
			s.fail_at = rand_r(&seed) % (int)s.n;
		try_scene(&s);
	}
}

/* What the model does not cover. */

static const struct pm_phase two_phases[] = { { "first", enter, undo, LIMIT, false },
					      { "second", enter, NULL, LIMIT, false } };
static const struct pm_table two = { "op", two_phases, 2 };

static void test_unknown_fail_at_is_refused_before_anything_happens(void **state)
{
	struct scene s = { .n = 2 };
	struct stage st = { .scene = &s };
	struct pm_run run = { .now = fake_now, .fail_at = "thrid" };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(pm_run(&run, &two, &st, &err), -EINVAL);
	assert_string_equal(err.msg, "op: has no phase 'thrid'");
	assert_string_equal(st.log, "");
}

static void test_too_large_a_table_is_refused(void **state)
{
	struct pm_phase phases[PM_PHASES_MAX + 1] = { { .name = "x" } };
	struct pm_table table = { "op", phases, PM_PHASES_MAX + 1 };
	struct pm_run run = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(pm_run(&run, &table, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 32 phases"));
}

static void test_nobody_listens(void **state)
{
	struct scene s = { .n = 2, .script = { OK, FAIL } };
	struct stage st = { .scene = &s };
	struct pm_run run = { .now = fake_now };

	(void)state;
	assert_int_equal(pm_run(&run, &two, &st, NULL), -ENOSPC);
	assert_string_equal(st.log, "abA");
}

static void test_nothing_to_undo_is_undone_too(void **state)
{
	static const struct pm_phase phases[] = { { "first", enter, NULL, LIMIT, false },
						  { "second", enter, NULL, LIMIT, false } };
	static const struct pm_table table = { "op", phases, 2 };
	struct scene s = { .n = 2, .script = { OK, FAIL } };
	struct stage st = { .scene = &s };
	struct pm_run run = { .now = fake_now };

	(void)state;
	assert_int_equal(pm_run(&run, &table, &st, NULL), -ENOSPC);
	assert_int_equal(run.timeline.span[0].result, PM_UNDONE);
	assert_true(run.timeline.span[0].undo_end_ns > run.timeline.span[0].undo_start_ns);
}

/* A phase that waits for far longer than any of the limits below. */
static int enter_long(struct pm_run *run, void *op, struct err *err)
{
	(void)op;
	return wait_for(run, 1000 * NSEC_PER_SEC, err);
}

static void test_limits_are_scaled(void **state)
{
	static const struct pm_phase phases[] = { { "long", enter_long, NULL, LIMIT, false } };
	static const struct pm_table table = { "op", phases, 1 };
	static const struct {
		uint64_t pct;
		const char *msg;
	} row[] = {
		{ 0, "op: long: not done after 10.0 s" }, { 100, "op: long: not done after 10.0 s" },
		{ 50, "op: long: not done after 5.0 s" }, { 2000, "op: long: not done after 200.0 s" },
		{ 5, "op: long: not done after 500 ms" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct pm_run run = { .now = fake_now, .limit_scale_pct = row[i].pct };
		struct err err = { 0 };

		assert_int_equal(pm_run(&run, &table, NULL, &err), -ETIMEDOUT);
		assert_string_equal(err.msg, row[i].msg);
		assert_int_equal(run.timeline.result, PM_TIMED_OUT);
	}
}

static void test_a_limit_beyond_the_clock_is_none(void **state)
{
	static const struct pm_phase phases[] = { { "long", enter_long, NULL, UINT64_MAX, false } };
	static const struct pm_table table = { "op", phases, 1 };
	static const uint64_t pct[] = { 1, 100, 200, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pct); i++) {
		struct pm_run run = { .now = fake_now, .limit_scale_pct = pct[i] };

		assert_int_equal(pm_run(&run, &table, NULL, NULL), 0);
	}
}

static void test_results_have_names(void **state)
{
	(void)state;
	assert_string_equal(pm_result_name(PM_NOT_RUN), "not-run");
	assert_string_equal(pm_result_name(PM_RUNNING), "running");
	assert_string_equal(pm_result_name(PM_DONE), "done");
	assert_string_equal(pm_result_name(PM_FAILED), "failed");
	assert_string_equal(pm_result_name(PM_CANCELLED), "cancelled");
	assert_string_equal(pm_result_name(PM_TIMED_OUT), "timed-out");
	assert_string_equal(pm_result_name(PM_UNDONE), "undone");
	assert_string_equal(pm_result_name(PM_UNDONE + 1), "unknown");
}

/* Another thread cancels, on the host's own clock. */

struct helper {
	struct pm_run *run;
	sem_t waiting; /* phase @at has begun to wait */
	size_t at;
	char log[32];
};

static void *cancel_when_waiting(void *arg)
{
	struct helper *h = arg;

	sem_wait(&h->waiting);
	pm_cancel(h->run);
	return NULL;
}

static int enter_slices(struct pm_run *run, void *op, struct err *err)
{
	const struct timespec slice = { .tv_nsec = 100000 };
	struct helper *h = op;

	h->log[strlen(h->log)] = (char)('a' + run->current);
	if (run->current != h->at)
		return 0;
	sem_post(&h->waiting);
	for (;;) {
		int r = pm_check(run, err);

		/* Past the point of no return only the flag tells that the other thread came. */
		if (r < 0 || (run->past_return && pm_is_cancelled(run)))
			return r;
		nanosleep(&slice, NULL);
	}
}

static void undo_note(struct pm_run *run, void *op)
{
	struct helper *h = op;

	h->log[strlen(h->log)] = (char)('A' + run->current);
}

static void test_another_thread_cancels(void **state)
{
	static const struct pm_phase phases[] = {
		{ "a", enter_slices, undo_note, 60 * NSEC_PER_SEC, false },
		{ "b", enter_slices, undo_note, 60 * NSEC_PER_SEC, false },
		{ "c", enter_slices, undo_note, 60 * NSEC_PER_SEC, true },
		{ "d", enter_slices, undo_note, 60 * NSEC_PER_SEC, false },
	};
	static const struct pm_table table = { "op", phases, 4 };
	static const char *const log[] = { "a", "abA", "abcBA", "abcd" };

	(void)state;
	for (size_t at = 0; at < 4; at++) {
		struct pm_run run = { 0 };
		struct helper h = { .run = &run, .at = at };
		struct err err = { 0 };
		pthread_t thread;

		sem_init(&h.waiting, 0, 0);
		assert_int_equal(pthread_create(&thread, NULL, cancel_when_waiting, &h), 0);
		assert_int_equal(pm_run(&run, &table, &h, &err), at < 3 ? -ECANCELED : 0);
		pthread_join(thread, NULL);
		sem_destroy(&h.waiting);
		assert_string_equal(h.log, log[at]);
		assert_int_equal(run.timeline.result, at < 3 ? PM_CANCELLED : PM_DONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_script_of_small_tables),
		cmocka_unit_test(test_every_phase_fails_on_purpose),
		cmocka_unit_test(test_cancelled_before_it_began),
		cmocka_unit_test(test_without_limits_nothing_is_late),
		cmocka_unit_test(test_random_scripts_of_large_tables),
		cmocka_unit_test(test_unknown_fail_at_is_refused_before_anything_happens),
		cmocka_unit_test(test_too_large_a_table_is_refused),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_nothing_to_undo_is_undone_too),
		cmocka_unit_test(test_limits_are_scaled),
		cmocka_unit_test(test_a_limit_beyond_the_clock_is_none),
		cmocka_unit_test(test_results_have_names),
		cmocka_unit_test(test_another_thread_cancels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
