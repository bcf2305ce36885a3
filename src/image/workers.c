/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/thread.h"
#include "image/internal.h"

#define WORKERS_MAX 4

struct pool {
	struct image_work *work;
	_Atomic uint64_t next;
	atomic_bool stop;
	pthread_mutex_t lock;
	int result; /* first failure */
	struct err err;
};

static void fail(struct pool *p, int r, const struct err *err)
{
	SCOPED_LOCK(&p->lock);

	if (!p->result) {
		p->result = r;
		p->err = *err;
	}
	p->stop = true;
}

static bool do_one(struct pool *p, void *scratch)
{
	struct image_work *w = p->work;
	uint64_t n = atomic_fetch_add(&p->next, 1);
	struct err err = { 0 };
	int r;

	if (n >= w->count || p->stop)
		return false;
	r = w->work(w->arg, n, scratch, &err);
	if (r < 0)
		fail(p, r, &err);
	return r == 0;
}

static void flush(struct pool *p, void *scratch)
{
	struct image_work *w = p->work;
	struct err err = { 0 };
	int r = w->scratch_flush ? w->scratch_flush(w->arg, scratch, &err) : 0;

	if (r < 0)
		fail(p, r, &err);
}

static void *helper(void *arg)
{
	struct pool *p = arg;
	void *scratch = p->work->scratch_new();

	while (scratch && do_one(p, scratch)) /* without memory the others do it */
		;
	if (scratch)
		flush(p, scratch);
	p->work->scratch_free(scratch);
	return NULL;
}

/* The caller's thread works, too, and is the one that tells about progress. */
static void work_and_tell(struct pool *p, void *scratch)
{
	struct image_work *w = p->work;
	struct err err = { 0 };

	do {
		int r = w->progress && w->progress->step ? w->progress->step(w->progress->arg, w->done, w->total, &err)
							 : 0;

		if (r < 0) {
			fail(p, r, &err);
			return;
		}
	} while (do_one(p, scratch));
}

long image_usable_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);
}

int image_work_run(struct image_work *w, struct err *err)
{
	struct pool p = { .work = w, .lock = PTHREAD_MUTEX_INITIALIZER };
	long cpus = image_usable_cpus();
	pthread_t thread[WORKERS_MAX];
	void *scratch = w->scratch_new();
	int n = 0;

	if (!scratch)
		return err_errno(err, -ENOMEM, "read or write an image");

	while (n + 1 < MIN(cpus, (long)WORKERS_MAX) && (uint64_t)n + 1 < w->count &&
	       thread_start(&thread[n], helper, &p) == 0)
		n++;
	work_and_tell(&p, scratch);
	flush(&p, scratch);
	w->scratch_free(scratch);
	while (n)
		pthread_join(thread[--n], NULL);
	if (p.result && err)
		*err = p.err;
	return p.result;
}
