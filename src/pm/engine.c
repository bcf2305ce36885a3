/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sleep engine: forward through a table of phases, back on failure.
 *
 * All that happens to a phase happens in enter_phase() and undo_phase(), so that every
 * operation is traced, timed, observed and failed on purpose in the same way.
 */
#include "pm/pm.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static uint64_t now_ns(const struct pm_run *run)
{
	return run->now ? run->now() : clock_monotonic_ns();
}

/* @limit_ns from now; a limit too large for the clock is none. */
static uint64_t deadline_of(const struct pm_run *run, uint64_t limit_ns, uint64_t now)
{
	uint64_t pct = run->limit_scale_pct ? run->limit_scale_pct : 100;
	uint64_t scaled, deadline;

	if (!limit_ns || mul_overflow(limit_ns, pct, &scaled) || add_overflow(now, scaled / 100, &deadline))
		return 0;
	return deadline;
}

static void notify(struct pm_run *run, size_t i)
{
	if (run->observer.phase)
		run->observer.phase(run->observer.arg, &run->timeline, i);
}

struct text {
	char s[32];
};

static struct text seconds(uint64_t ns)
{
	struct text t;

	if (ns < NSEC_PER_SEC)
		snprintf(t.s, sizeof(t.s), "%" PRIu64 " ms", ns / NSEC_PER_MSEC);
	else
		snprintf(t.s, sizeof(t.s), "%.1f s", (double)ns / (double)NSEC_PER_SEC);
	return t;
}

void pm_cancel(struct pm_run *run)
{
	__atomic_store_n(&run->cancelled, 1, __ATOMIC_RELEASE);
}

bool pm_is_cancelled(const struct pm_run *run)
{
	return __atomic_load_n(&run->cancelled, __ATOMIC_ACQUIRE);
}

/* Whether a wish to stop still counts: not where there is no way back, nor on the way back. */
static bool may_stop(const struct pm_run *run)
{
	return !run->past_return && !run->undoing && pm_is_cancelled(run);
}

static bool is_late(const struct pm_run *run)
{
	return run->deadline_ns && now_ns(run) >= run->deadline_ns;
}

int pm_check(struct pm_run *run, struct err *err)
{
	if (may_stop(run))
		return err_set(err, -ECANCELED, "cancelled after %s", seconds(now_ns(run) - run->timeline.start_ns).s);
	if (is_late(run))
		return err_set(err, -ETIMEDOUT, "not done after %s", seconds(now_ns(run) - run->since_ns).s);
	return 0;
}

uint64_t pm_left_ns(const struct pm_run *run)
{
	uint64_t now = now_ns(run);

	if (!run->deadline_ns)
		return UINT64_MAX;
	return run->deadline_ns > now ? run->deadline_ns - now : 0;
}

void pm_progress(struct pm_run *run, uint64_t done, uint64_t total)
{
	if (run->observer.progress)
		run->observer.progress(run->observer.arg, run->timeline.span[run->current].name, done, total);
}

/*
 * What a phase's answer means. Its number alone does not tell: a guest that refuses and a socket
 * that waited too long answer with the same ones, so the engine's own state decides.
 */
static enum pm_result result_of(const struct pm_run *run, int r)
{
	if (!r)
		return PM_DONE;
	if (r == -ECANCELED && may_stop(run))
		return PM_CANCELLED;
	if (r == -ETIMEDOUT && is_late(run))
		return PM_TIMED_OUT;
	return PM_FAILED;
}

static int try_enter(struct pm_run *run, const struct pm_phase *phase, void *op, struct err *err)
{
	int r = pm_check(run, err);

	if (r < 0)
		return r;
	if (run->fail_at && !strcmp(run->fail_at, phase->name))
		return err_set(err, -EIO, "failed on purpose");
	r = phase->enter(run, op, err);
	assert(r <= 0);
	if (r < 0 && !err->msg[0])
		err_set(err, r, "%s", strerrordesc_np(-r) ?: "unknown error");
	return r;
}

static void start_clock(struct pm_run *run, size_t i, uint64_t limit_ns)
{
	run->current = i;
	run->since_ns = now_ns(run);
	run->deadline_ns = deadline_of(run, limit_ns, run->since_ns);
}

static int enter_phase(struct pm_run *run, const struct pm_table *table, size_t i, void *op, struct err *err)
{
	const struct pm_phase *phase = &table->phases[i];
	struct pm_span *span = &run->timeline.span[i];
	int r;

	start_clock(run, i, phase->limit_ns);
	span->result = PM_RUNNING;
	span->start_ns = run->since_ns;
	trace(pm_enter, "op=%s phase=%s", table->name, phase->name);
	notify(run, i);

	r = try_enter(run, phase, op, err);

	span->end_ns = now_ns(run);
	span->code = r;
	span->result = result_of(run, r);
	if (!r && phase->no_return)
		run->past_return = true;
	trace(pm_entered, "op=%s phase=%s result=%s r=%d ns=%" PRIu64, table->name, phase->name,
	      pm_result_name(span->result), r, span->end_ns - span->start_ns);
	notify(run, i);
	return r;
}

static void undo_phase(struct pm_run *run, const struct pm_table *table, size_t i, void *op)
{
	const struct pm_phase *phase = &table->phases[i];
	struct pm_span *span = &run->timeline.span[i];

	start_clock(run, i, phase->limit_ns);
	span->undo_start_ns = run->since_ns;
	trace(pm_undo, "op=%s phase=%s", table->name, phase->name);
	notify(run, i);

	if (phase->undo)
		phase->undo(run, op);

	span->undo_end_ns = now_ns(run);
	span->result = PM_UNDONE;
	trace(pm_undone, "op=%s phase=%s ns=%" PRIu64, table->name, phase->name,
	      span->undo_end_ns - span->undo_start_ns);
	notify(run, i);
}

static void undo_all(struct pm_run *run, const struct pm_table *table, size_t n, void *op)
{
	run->undoing = true;
	while (n-- > 0)
		undo_phase(run, table, n, op);
}

/* Refused before anything happens: a table that does not fit, a --fail-at that fits nothing. */
static int check_table(const struct pm_run *run, const struct pm_table *table, struct err *err)
{
	if (table->n > PM_PHASES_MAX)
		return err_set(err, -EINVAL, "%s: more than %d phases", table->name, PM_PHASES_MAX);
	if (!run->fail_at)
		return 0;
	for (size_t i = 0; i < table->n; i++)
		if (!strcmp(run->fail_at, table->phases[i].name))
			return 0;
	return err_set(err, -EINVAL, "%s: has no phase '%s'", table->name, run->fail_at);
}

static void begin(struct pm_run *run, const struct pm_table *table)
{
	struct pm_timeline *t = &run->timeline;

	*t = (struct pm_timeline){ .op = table->name, .result = PM_RUNNING, .n = table->n };
	for (size_t i = 0; i < table->n; i++)
		t->span[i].name = table->phases[i].name;
	t->start_ns = now_ns(run);
	run->past_return = run->undoing = false;
}

/* Through the table; the first failure is the one that is told. */
static int go(struct pm_run *run, const struct pm_table *table, void *op, struct err *err)
{
	int first = 0;

	for (size_t i = 0; i < table->n; i++) {
		struct err why = { 0 };
		int r = enter_phase(run, table, i, op, &why);

		if (!r || first)
			continue;
		first = err_set(err, r, "%s: %s: %s", table->name, table->phases[i].name, why.msg);
		run->timeline.result = run->timeline.span[i].result;
		if (!run->past_return) {
			undo_all(run, table, i, op);
			break;
		}
	}
	return first;
}

int pm_run(struct pm_run *run, const struct pm_table *table, void *op, struct err *err)
{
	int r = check_table(run, table, err);

	if (r < 0)
		return r;
	begin(run, table);
	r = go(run, table, op, err);
	run->deadline_ns = 0;
	run->timeline.end_ns = now_ns(run);
	if (!r)
		run->timeline.result = PM_DONE;
	trace(pm_done, "op=%s result=%s r=%d ns=%" PRIu64, table->name, pm_result_name(run->timeline.result), r,
	      run->timeline.end_ns - run->timeline.start_ns);
	return r;
}

const char *pm_result_name(enum pm_result result)
{
	static const char *const name[] = {
		[PM_NOT_RUN] = "not-run", [PM_RUNNING] = "running",	[PM_DONE] = "done",
		[PM_FAILED] = "failed",	  [PM_CANCELLED] = "cancelled", [PM_TIMED_OUT] = "timed-out",
		[PM_UNDONE] = "undone",
	};

	return (unsigned int)result < ARRAY_SIZE(name) ? name[result] : "unknown";
}
