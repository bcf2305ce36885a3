/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sleep engine: an operation is a table of phases, entered in order.
 *
 * A phase that fails has left no trace. When one fails, is cancelled or runs out of time, the
 * phases entered before it are undone in reverse order, and the machine is as it was before.
 * After a phase marked no_return has been entered nothing is undone any more: the way is
 * forward, cancellation has no effect, and a failing phase is reported but those behind it are
 * still entered.
 *
 * Cancellation and limits are noticed where somebody looks: before a phase is entered, and in
 * pm_check(). A phase that has succeeded although it was late, or although a wish to cancel had
 * come meanwhile, has succeeded; a wish that comes during the last phase, or during the one of
 * no return, comes too late unless that phase itself looks.
 *
 * The engine is pure: no KVM, no Xen, no file, no thread. Time comes from a function, progress
 * and transitions go to an observer. Phases that wait do it in slices, calling pm_check().
 */
#ifndef NIDRA_PM_PM_H
#define NIDRA_PM_PM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pm_run;

struct pm_phase {
	const char *name; /* in timelines, errors and --fail-at: keep stable */
	int (*enter)(struct pm_run *run, void *op, struct err *err); /* 0 or negative errno */
	void (*undo)(struct pm_run *run, void *op);		     /* cannot fail; NULL: nothing to undo */
	uint64_t limit_ns; /* how long enter may take, and undo anew; 0: as long as it needs */
	bool no_return;	   /* once entered, the operation has happened */
};

struct pm_table {
	const char *name; /* the operation: "save" */
	const struct pm_phase *phases;
	size_t n;
};

enum pm_result {
	PM_NOT_RUN,
	PM_RUNNING,
	PM_DONE,
	PM_FAILED,    /* this phase's enter failed */
	PM_CANCELLED, /* ... because the operation was cancelled */
	PM_TIMED_OUT, /* ... because of its limit */
	PM_UNDONE,    /* entered, then undone because a later one failed */
};

#define PM_PHASES_MAX 32

/*
 * What happened to one phase. Times are those of pm_run.now; 0: did not happen. A phase that was
 * cancelled before it was entered, or failed on purpose, has start_ns == end_ns or nearly so.
 */
struct pm_span {
	const char *name;
	enum pm_result result;
	int code; /* what enter returned */
	uint64_t start_ns, end_ns;
	uint64_t undo_start_ns, undo_end_ns;
};

struct pm_timeline {
	const char *op;
	enum pm_result result; /* DONE, FAILED, CANCELLED, TIMED_OUT; RUNNING meanwhile */
	uint64_t start_ns, end_ns;
	size_t n;
	struct pm_span span[PM_PHASES_MAX];
};

/*
 * Called when a phase is about to be entered, has ended, is about to be undone and has been
 * undone, and on progress; in the thread of pm_run(). All members may be NULL.
 */
struct pm_observer {
	void (*phase)(void *arg, const struct pm_timeline *t, size_t index);
	void (*progress)(void *arg, const char *phase, uint64_t done, uint64_t total);
	void *arg;
};

/* One running transition. Zero it, set the first group, run it once. */
struct pm_run {
	uint64_t (*now)(void); /* NULL: the host's monotonic clock */
	struct pm_observer observer;
	uint64_t limit_scale_pct; /* 0: 100; all limits times this (slow hosts) */
	/*
	 * For tests: the phase of this name is not entered but fails (-EIO, "failed on purpose"),
	 * before or past the point of no return. -EINVAL, and nothing runs, if no phase has it.
	 */
	const char *fail_at;

	/* Engine's own. */
	struct pm_timeline timeline;
	uint64_t since_ns;    /* when the current phase was started, or its undo */
	uint64_t deadline_ns; /* of the current phase; 0: none */
	size_t current;
	bool past_return;
	bool undoing;
	int cancelled; /* atomic: pm_cancel() may come from another thread */
};

/*
 * Runs @table over @op. 0, or the first failure with a sentence that names operation and phase:
 * "save: write: ...". run->timeline tells the rest; run->past_return whether the operation has
 * happened in spite of a failure. A pm_cancel() that came before is obeyed.
 */
int pm_run(struct pm_run *run, const struct pm_table *table, void *op, struct err *err);

/*
 * For phases: 0 to go on; -ECANCELED or -ETIMEDOUT to give up, with a sentence that says after how
 * long. Never -ECANCELED past the point of no return or in an undo, which may use it to wait.
 */
int pm_check(struct pm_run *run, struct err *err);
/* ns until the current phase's limit, UINT64_MAX if it has none. */
uint64_t pm_left_ns(const struct pm_run *run);
void pm_progress(struct pm_run *run, uint64_t done, uint64_t total);

/* Asks a run to stop; any thread. Takes effect at the next pm_check() or phase boundary. */
void pm_cancel(struct pm_run *run);
/* Whether somebody asked; any thread. Phases want pm_check(), which knows whether it counts. */
bool pm_is_cancelled(const struct pm_run *run);

const char *pm_result_name(enum pm_result result);

#endif
