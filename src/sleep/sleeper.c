/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's operations: one at a time under its sleep lock, each on a thread of its own, with a
 * history of what happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "kvm/machine.h"
#include "pm/lock.h"
#include "guest/config_device.h"
#include "sleep/internal.h"

struct sleeper {
	struct sleep_observer observer;
	struct guest_observer guest_observer;
	struct pm_lock sleep_lock;

	pthread_mutex_t lock;		     /* what follows */
	struct guest *guest;		     /* owned */
	struct sleep_base base;		     /* of that guest; the running operation's */
	struct sleep_job job[SLEEP_HISTORY]; /* job n is at n % SLEEP_HISTORY */
	uint64_t last_job;
	struct pm_run *run; /* of the operation that runs, or NULL */
	pthread_t thread;
	bool joinable;
};

/* What the thread gets; it owns it. */
struct start {
	struct sleeper *sleeper;
	struct sleep_op op;
	const struct pm_table *table;
	uint64_t job;
	struct image_key *key;
	char *image, *working_sets, *fail_at;
	struct sleep_fork fork; /* RESTORE from it: owned copies */
};

static const char *const verb_names[SLEEP_VERBS] = { "boot",	   "restore", "suspend", "resume",
						     "checkpoint", "save",    "fork" };

const char *sleep_verb_name(enum sleep_verb v)
{
	return verb_names[v];
}

int sleep_verb_parse(const char *s, enum sleep_verb *ret)
{
	int i = str_index(verb_names, SLEEP_VERBS, s);

	if (i < 0)
		return i;
	*ret = (enum sleep_verb)i;
	return 0;
}

static void tell(struct sleeper *s)
{
	if (s->observer.changed)
		s->observer.changed(s->observer.arg);
}

static void on_guest_changed(void *arg)
{
	tell(arg);
}

const struct guest_observer *sleeper_guest_observer(struct sleeper *s)
{
	return &s->guest_observer;
}

int sleeper_new(const struct sleep_observer *observer, struct sleeper **ret, struct err *err)
{
	struct sleeper *s = calloc(1, sizeof(*s));

	if (!s)
		return err_errno(err, -ENOMEM, "sleeper");
	pthread_mutex_init(&s->lock, NULL);
	if (observer)
		s->observer = *observer;
	s->guest_observer =
		(struct guest_observer){ .changed = on_guest_changed, .arg = s, .folder = s->observer.folder };
	*ret = s;
	return 0;
}

void sleeper_free(struct sleeper *s)
{
	if (!s)
		return;
	sleep_cancel(s, 0);
	if (s->joinable)
		pthread_join(s->thread, NULL);
	guest_free(s->guest);
	sleep_base_fini(&s->base);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct guest *sleeper_guest(struct sleeper *s)
{
	SCOPED_LOCK(&s->lock);

	return s->guest;
}

void sleeper_set_guest(struct sleeper *s, struct guest *g)
{
	struct guest *old;

	pthread_mutex_lock(&s->lock);
	old = s->guest;
	s->guest = g;
	pthread_mutex_unlock(&s->lock);
	guest_free(old);
	sleep_base_fini(&s->base);
}

struct sleep_base *sleeper_base(struct sleeper *s)
{
	return &s->base;
}

/* ---- the running operation ---- */

static struct sleep_job *job_of(struct sleeper *s, uint64_t id)
{
	return &s->job[id % SLEEP_HISTORY];
}

static void on_phase(void *arg, const struct pm_timeline *t, size_t index)
{
	struct start *st = arg;
	struct sleeper *s = st->sleeper;
	struct sleep_job *job;

	pthread_mutex_lock(&s->lock);
	job = job_of(s, st->job);
	job->timeline = *t;
	snprintf(job->phase, sizeof(job->phase), "%s", t->span[index].name);
	job->done = job->total = 0;
	pthread_mutex_unlock(&s->lock);
	tell(s);
}

static void on_progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	struct start *st = arg;
	struct sleeper *s = st->sleeper;

	(void)phase;
	pthread_mutex_lock(&s->lock);
	job_of(s, st->job)->done = done;
	job_of(s, st->job)->total = total;
	pthread_mutex_unlock(&s->lock);
	tell(s);
}

static void finish(struct start *st, struct pm_run *run, int r, const struct err *err)
{
	struct sleeper *s = st->sleeper;
	struct sleep_job *job;

	pthread_mutex_lock(&s->lock);
	job = job_of(s, st->job);
	job->running = false;
	job->result = r;
	snprintf(job->message, sizeof(job->message), "%s", r < 0 ? err->msg : "");
	job->stats = st->op.stats;
	job->timeline = run->timeline;
	s->run = NULL;
	pthread_mutex_unlock(&s->lock);
	log_info("job %llu: %s %s%s", (unsigned long long)st->job, st->table->name, r < 0 ? "failed: " : "done",
		 r < 0 ? err->msg : "");
	pm_lock_release(&s->sleep_lock);
	tell(s);
}

static void start_free(struct start *st)
{
	if (!st)
		return;
	guest_config_fini(&st->op.config);
	guest_disks_fini(&st->op.other_disks);
	guest_shares_fini(&st->op.other_shares);
	json_decref(st->op.disk_notes);
	sleep_disks_fini(&st->op);
	sleep_fork_fini(&st->op);
	close_fdp(&st->fork.state_fd);
	close_fdp(&st->fork.memory_fd);
	image_key_free(st->key);
	free(st->image);
	free(st->working_sets);
	free(st->fail_at);
	free(st);
}
DEFINE_CLEANUP(struct start *, start_free)

static void *op_main(void *arg)
{
	struct start *st = arg;
	struct sleeper *s = st->sleeper;
	struct err err = { 0 };
	struct pm_run run = { .observer = { .phase = on_phase, .progress = on_progress, .arg = st },
			      .fail_at = st->fail_at };
	int r;

	pthread_setname_np(pthread_self(), "sleep");
	if (st->op.args.timeout_s)
		run.limit_scale_pct = MAX(UINT64_C(1), st->op.args.timeout_s * NSEC_PER_SEC * 100 / SLEEP_LIMIT_NS);
	pthread_mutex_lock(&s->lock);
	s->run = &run;
	if (job_of(s, st->job)->result == -ECANCELED) /* asked for before we came here */
		pm_cancel(&run);
	pthread_mutex_unlock(&s->lock);
	r = pm_run(&run, st->table, &st->op, &err);
	finish(st, &run, r, &err);
	start_free(st);
	return NULL;
}

/* ---- starting one ---- */

/* The table for @verb in the machine's state, or NULL with a sentence. */
static const struct pm_table *choose_table(struct sleeper *s, enum sleep_verb verb, const struct sleep_args *a,
					   struct err *err)
{
	enum guest_state state = s->guest ? guest_state(s->guest) : GUEST_ENDED;
	bool asleep = state == GUEST_SUSPENDED || (verb == SLEEP_FORK && s->guest && guest_in_suspend_call(s->guest));

	if (verb == SLEEP_BOOT || verb == SLEEP_RESTORE) {
		if (state == GUEST_ENDED)
			return verb == SLEEP_BOOT ? &sleep_boot_table : &sleep_restore_table;
		err_set(err, -EINVAL, "there is a guest already");
		return NULL;
	}
	if (verb == SLEEP_RESUME && !asleep)
		err_set(err, -EINVAL, "not suspended but %s", guest_state_name(state));
	else if (verb != SLEEP_RESUME && !asleep && state != GUEST_RUNNING &&
		 !(verb == SLEEP_CHECKPOINT && a->uncooperative && state == GUEST_PAUSED))
		err_set(err, -EINVAL, "the guest is %s%s", guest_state_name(state),
			state == GUEST_PAUSED ? " and cannot take part; unpause it first" : "");
	else if (verb == SLEEP_SUSPEND && asleep)
		err_set(err, -EALREADY, "it is suspended already");
	else
		switch (verb) {
		case SLEEP_SUSPEND:
			return &sleep_suspend_table;
		case SLEEP_RESUME:
			return &sleep_resume_table;
		case SLEEP_FORK:
			return asleep ? &sleep_fork_asleep_table : &sleep_fork_table;
		case SLEEP_CHECKPOINT:
			if (a->uncooperative && !asleep)
				return &sleep_snapshot_table;
			return asleep ? &sleep_copy_table : &sleep_checkpoint_table;
		default:
			if (a->paused)
				return asleep ? &sleep_copy_table : &sleep_save_stay_table;
			return asleep ? &sleep_save_suspended_table : &sleep_save_table;
		}
	return NULL;
}

static int take_fork(struct start *st, const struct sleep_fork *from, struct err *err)
{
	st->fork = (struct sleep_fork){ -1, -1 };
	if (!from)
		return 0;
	st->op.args.fork = &st->fork;
	st->fork.state_fd = fcntl(from->state_fd, F_DUPFD_CLOEXEC, 3);
	st->fork.memory_fd = fcntl(from->memory_fd, F_DUPFD_CLOEXEC, 3);
	return st->fork.state_fd < 0 || st->fork.memory_fd < 0 ? err_errno(err, -errno, "fork") : 0;
}

static int make_start(struct sleeper *s, enum sleep_verb verb, const struct sleep_args *a, const struct pm_table *table,
		      struct start **ret, struct err *err)
{
	_cleanup_(start_freep) struct start *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return err_errno(err, -ENOMEM, "operation");
	st->sleeper = s;
	st->table = table;
	st->op = (struct sleep_op){
		.sleeper = s, .verb = verb, .args = *a, .guest = s->guest, .state_fd = -1, .base_fd = -1
	};
	st->op.args.clones = (struct sleep_clones){ 0 };
	r = take_fork(st, a->fork, err);
	if (r < 0)
		return r;
	st->image = a->image ? strdup(a->image) : NULL;
	st->fail_at = a->fail_at ? strdup(a->fail_at) : NULL;
	st->working_sets = a->working_sets ? strdup(a->working_sets) : NULL;
	st->key = a->key ? image_key_copy(a->key) : NULL;
	if (a->key && !st->key)
		return err_errno(err, -ENOMEM, "key");
	st->op.args.key = st->key;
	st->op.args.image = st->image;
	st->op.args.working_sets = st->working_sets;
	st->op.args.fail_at = st->fail_at;
	if (verb == SLEEP_BOOT || verb == SLEEP_RESTORE)
		st->op.guest = NULL;
	if (a->config) {
		r = guest_config_copy(a->config, &st->op.config, err);
		if (r < 0)
			return r;
		st->op.args.config = &st->op.config;
	}
	if ((verb == SLEEP_SAVE || verb == SLEEP_CHECKPOINT || verb == SLEEP_RESTORE) && !st->image)
		return err_set(err, -EINVAL, "%s: which image?", sleep_verb_name(verb));
	st->op.args.clones = a->clones;
	*ret = take_ptr(st);
	return 0;
}

static int spawn(struct sleeper *s, struct start *st, struct err *err)
{
	int r;

	if (s->joinable)
		pthread_join(s->thread, NULL); /* it has let go of the sleep lock: at its end */
	s->joinable = false;
	r = thread_start(&s->thread, op_main, st);
	if (r < 0)
		return err_errno(err, r, "start a thread");
	s->joinable = true;
	return 0;
}

int sleep_start(struct sleeper *s, enum sleep_verb verb, const struct sleep_args *args, uint64_t *ret_job,
		struct err *err)
{
	_cleanup_(start_freep) struct start *st = NULL;
	const struct pm_table *table;
	int r = pm_lock_take(&s->sleep_lock, sleep_verb_name(verb), err);

	if (r < 0) {
		if (args->clones.free)
			args->clones.free(args->clones.arg);
		return r;
	}
	table = choose_table(s, verb, args, err);
	/* Its memory is needed again; and only our caller may still look at it, so it goes here. */
	if (table && (verb == SLEEP_BOOT || verb == SLEEP_RESTORE))
		sleeper_set_guest(s, NULL);
	r = table ? make_start(s, verb, args, table, &st, err) : err->code;
	if (!st && args->clones.free)
		args->clones.free(args->clones.arg);
	if (st) {
		pthread_mutex_lock(&s->lock);
		st->job = ++s->last_job;
		*job_of(s, st->job) = (struct sleep_job){
			.id = st->job, .verb = verb, .running = true, .start_realtime_ns = clock_realtime_ns()
		};
		pthread_mutex_unlock(&s->lock);
		*ret_job = st->job;
		r = spawn(s, st, err);
	}
	if (r < 0) {
		pm_lock_release(&s->sleep_lock);
		return r;
	}
	st = NULL; /* the thread's */
	return 0;
}

bool sleep_cancel(struct sleeper *s, uint64_t id)
{
	SCOPED_LOCK(&s->lock);
	struct sleep_job *job = job_of(s, s->last_job);

	if (!s->last_job || !job->running || (id && id != s->last_job))
		return false;
	if (s->run)
		pm_cancel(s->run);
	else
		job->result = -ECANCELED; /* the thread looks at it when it begins */
	return true;
}

int sleep_get_job(struct sleeper *s, uint64_t id, struct sleep_job *ret)
{
	SCOPED_LOCK(&s->lock);

	if (!id)
		id = s->last_job;
	if (!id || id > s->last_job || job_of(s, id)->id != id)
		return -ENOENT;
	*ret = *job_of(s, id);
	return 0;
}
