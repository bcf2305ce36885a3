/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of a guest that runs on (docs/architecture.md, "Live checkpoints").
 *
 *   precopy  memory is written while the guest runs, then again what changed meanwhile, until that is
 *            little or does not get less
 *   moment   the guest stands still: what changed since it was written is copied aside
 *   write    that copy is written, behind the guest that runs again
 *
 * So the guest waits for as much memory as it changes in a short time, however much it has. A child of
 * an earlier checkpoint begins with what changed since then, instead of all.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "base/io.h"
#include "base/pageset.h"
#include "kvm/machine.h"
#include "sleep/internal.h"
#include "sleep/regions.h"
#include "xen/backend.h"

#define PAGE	NIDRA_PAGE_SIZE
#define ROUNDS	5
#define FEW	1024	       /* pages: as many as change while a guest goes to sleep anyway */
#define RESERVE UINT64_C(4096) /* pages of the copy that are there before the guest stands still */

struct live {
	struct machine *machine;
	struct xen_domain *domain;
	struct pageset *changed; /* all that was taken from the log since this began */
	struct pageset *left;	 /* of that, what is not written yet */
	bool moment;		 /* what @left has is not in @changed */
	bool done;		 /* the image is sealed */

	/* The copy: pages of @left in their order. */
	uint8_t *copy;
	uint64_t capacity; /* pages */
	uint32_t *before;  /* members of @left before each 64 of its pages */
	int result;
	struct err err;
};

void sleep_live_free(struct sleep_op *op)
{
	struct live *l = op->live;
	struct sleep_base *base = sleeper_base(op->sleeper);

	if (!l)
		return;
	/* What was taken from the log must not be forgotten by the next child. */
	if (base->image && !l->done && l->changed)
		pageset_or(base->since, l->changed);
	if (base->image && !l->done && l->moment)
		pageset_or(base->since, l->left);
	if (!base->image)
		machine_log_stop(l->machine);
	if (l->copy)
		munmap(l->copy, l->capacity * PAGE);
	free(l->before);
	free(l->changed);
	free(l->left);
	free(l);
	op->live = NULL;
}

static int live_new(struct sleep_op *op, struct err *err)
{
	struct machine *m = guest_machine(op->guest);
	uint64_t pages = gmem_pages(machine_mem(m));
	struct live *l = calloc(1, sizeof(*l));

	if (!l)
		return err_errno(err, -ENOMEM, "checkpoint");
	op->live = l;
	l->machine = m;
	l->domain = guest_domain(op->guest);
	l->changed = pageset_new(pages);
	l->left = pageset_new(pages);
	l->before = calloc(pages / 64 + 1, sizeof(*l->before));
	l->capacity = MIN(pages, RESERVE);
	l->copy = mmap(NULL, l->capacity * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
		       0);
	if (l->copy == MAP_FAILED)
		l->copy = NULL;
	if (!l->changed || !l->left || !l->before || !l->copy)
		return err_errno(err, -ENOMEM, "checkpoint");
	return machine_log_start(m, err);
}

/* ---- precopy ---- */

/* Under the domain's lock: nothing that we write ourselves is halfway. */
static void collect_locked(void *arg)
{
	struct live *l = arg;

	l->result = machine_log_collect(l->machine, l->left, &l->err);
}

static int collect(struct live *l, struct err *err)
{
	l->err = (struct err){ 0 };
	xen_backend_locked(l->domain, collect_locked, l);
	pageset_or(l->changed, l->left);
	if (l->result < 0 && err)
		*err = l->err;
	return l->result;
}

/* Into the memory that a fork's clones will share. */
static int write_base(struct pm_run *run, struct sleep_op *op, struct err *err)
{
	const struct pageset *left = op->live->left;
	const uint8_t *memory = gmem_page(machine_mem(op->live->machine), 0);
	uint64_t total = pageset_count(left), done = 0, end = left->pages;
	int r = 0;

	for (uint64_t page = 0; r == 0 && (page = pageset_next(left, page, end)) < end; page++) {
		r = io_pwrite_full(op->base_fd, memory + page * PAGE, PAGE, page * PAGE);
		if (r < 0)
			err_errno(err, r, "copy guest memory");
		else if (run && ++done % 1024 == 0)
			r = sleep_progress_step(run, done * PAGE, total * PAGE, err);
	}
	return r;
}

static int write_left(struct pm_run *run, struct sleep_op *op, const struct image_source *source, struct err *err)
{
	struct image_progress progress = { .step = sleep_progress_step, .arg = run };

	if (op->verb == SLEEP_FORK)
		return write_base(run, op, err);
	return image_writer_pages(op->writer, op->live->left, source, &progress, err);
}

/* What the image begins with: all memory, or what changed since its parent. */
static int first_set(struct sleep_op *op, struct err *err)
{
	struct live *l = op->live;
	struct image_region region[SLEEP_REGIONS_MAX];
	size_t n = sleep_regions(l->machine, region);
	struct pageset *in_use;
	int r = op->verb == SLEEP_FORK ? 0 : image_writer_regions(op->writer, region, n, err);

	r = r ?: op->verb == SLEEP_FORK ? 0 : sleep_leave_out(op, err);
	r = r ?: collect(l, err);
	if (r < 0)
		return r;
	if (op->child) {
		pageset_or(l->left, sleeper_base(op->sleeper)->since);
		return 0;
	}
	in_use = sleep_pages_in_use(l->machine, region, n); /* after the log: what comes into use now is in there */
	if (!in_use)
		return err_errno(err, -ENOMEM, "checkpoint");
	pageset_or(l->left, in_use);
	pageset_and(l->left, in_use);
	free(in_use);
	return 0;
}

static int precopy(struct pm_run *run, struct sleep_op *op, struct err *err)
{
	int r = first_set(op, err);
	uint64_t last, now;

	if (r < 0)
		return r;
	now = pageset_count(op->live->left);
	for (int round = 0; r == 0 && round < ROUNDS && now > FEW; round++) {
		last = now;
		r = write_left(run, op, NULL, err);
		pageset_clear(op->live->left);
		r = r ?: collect(op->live, err);
		now = pageset_count(op->live->left);
		if (now > last / 4 * 3) /* it changes as fast as we write */
			break;
	}
	return r;
}

int sleep_precopy_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r = live_new(op, err);

	r = r ?: precopy(run, op, err);
	if (r < 0)
		sleep_live_free(op);
	return r;
}

void sleep_precopy_undo(struct pm_run *run, void *arg)
{
	(void)run;
	sleep_live_free(arg);
}

/* ---- the moment ---- */

static int reserve(struct live *l, uint64_t pages)
{
	void *copy;

	if (pages <= l->capacity)
		return 0;
	copy = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return -ENOMEM;
	munmap(l->copy, l->capacity * PAGE);
	l->copy = copy;
	l->capacity = pages;
	return 0;
}

/* How many pages. */
static uint64_t copy_aside(struct live *l)
{
	const uint8_t *memory = gmem_page(machine_mem(l->machine), 0);
	uint64_t end = l->left->pages, n = 0;

	for (uint64_t page = 0, word = 0; (page = pageset_next(l->left, page, end)) < end; page++) {
		for (; word <= page / 64; word++)
			l->before[word] = (uint32_t)n;
		memcpy(l->copy + n++ * PAGE, memory + page * PAGE, PAGE);
	}
	return n;
}

static void moment_locked(void *arg)
{
	struct sleep_op *op = arg;
	struct live *l = op->live;

	collect_locked(l);
	if (l->result == 0)
		l->result = reserve(l, pageset_count(l->left));
	if (l->result == 0)
		op->stats.moment_bytes = copy_aside(l) * PAGE;
	else if (!l->err.msg[0])
		err_errno(&l->err, l->result, "copy of what changed");
}

int sleep_moment_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct live *l = op->live;

	(void)run;
	l->err = (struct err){ 0 };
	xen_backend_locked(l->domain, moment_locked, op);
	l->moment = true;
	if (l->result < 0)
		*err = l->err;
	return l->result;
}

/* ---- the moment of a fork: what changed goes to the others, not aside ---- */

static void base_locked(void *arg)
{
	struct sleep_op *op = arg;
	struct live *l = op->live;
	struct gmem *mem = machine_mem(l->machine);
	uint64_t ram = gmem_ram_bytes(mem) / PAGE;

	collect_locked(l);
	pageset_add(l->left, ram, gmem_pages(mem) - ram); /* what lies behind RAM is not all in the log */
	op->stats.moment_bytes = pageset_count(l->left) * PAGE;
	l->result = l->result ?: write_base(NULL, op, &l->err);
	l->result = l->result ?: gmem_rebase(mem, take_fd(op->base_fd), &l->err);
}

int sleep_live_rebase(struct sleep_op *op, struct err *err)
{
	struct live *l = op->live;

	l->err = (struct err){ 0 };
	xen_backend_locked(l->domain, base_locked, op);
	pageset_or(l->changed, l->left);
	if (l->result < 0)
		*err = l->err;
	return l->result;
}

/* ---- behind the guest ---- */

static void read_copy(void *arg, uint64_t page, void *dst)
{
	struct live *l = arg;
	uint64_t below = l->left->word[page / 64] & ((UINT64_C(1) << page % 64) - 1);

	memcpy(dst, l->copy + (l->before[page / 64] + (uint64_t)__builtin_popcountll(below)) * PAGE, PAGE);
}

int sleep_write_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct image_source source = { .read = read_copy, .arg = op->live };

	return sleep_leave_out(op, err) ?: write_left(run, op, &source, err);
}

/* The next child is this image's. What changed since the moment is still in the log. */
int sleep_live_seal_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct sleep_base *base = sleeper_base(op->sleeper);
	char *image = op->args.incremental ? strdup(op->args.image) : NULL;
	int r = sleep_seal_enter(run, op, err);

	if (r == 0 && op->args.incremental)
		op->live->done = sleep_base_set(base, take_ptr(image), &op->image_id, op->live->changed->pages);
	if (r == 0 && op->args.incremental && base->image)
		sleep_leave_out_owe(op, base->since);
	free(image);
	if (r == 0)
		sleep_live_free(op);
	return r;
}
