/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork: N machines from one moment of this one. All of them wake from their suspend hypercall with 0
 * ("restored", docs/architecture.md, "Forks"); this one with 1, as after a checkpoint.
 *
 *   copy     memory that is shared already with an earlier fork: a new base is filled while the guest runs
 *   capture  the guest's state without its memory, into an image that never gets a name
 *   share    memory becomes a base that nobody can change; the guest goes on over a private view of it
 *   clone    the others start over views of their own. All of them, or none
 */
#include <errno.h>
#include <fcntl.h>

#include "kvm/machine.h"
#include "sleep/internal.h"
#include "sleep/regions.h"
#include "xen/backend.h"

static int copy_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct gmem *mem = machine_mem(guest_machine(op->guest));
	int r;

	if (!gmem_is_private(mem))
		return 0;
	op->base_fd = gmem_base_new(mem);
	if (op->base_fd < 0)
		return err_errno(err, -errno, "memory for a fork of a fork");
	r = sleep_precopy_enter(run, op, err);
	if (r < 0)
		close_fdp(&op->base_fd);
	return r;
}

static void copy_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	sleep_precopy_undo(run, op);
	close_fdp(&op->base_fd);
}

static void capture_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	image_writer_free(op->writer);
	op->writer = NULL;
}

static int capture_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct image_region region[SLEEP_REGIONS_MAX];
	size_t n = sleep_regions(guest_machine(op->guest), region);
	int r = image_writer_new_unnamed("the fork's state", &op->writer, err);

	r = r ?: image_writer_regions(op->writer, region, n, err);
	r = r ?: sleep_capture_enter(run, op, err);
	if (r < 0)
		capture_undo(run, op);
	return r;
}

struct first_base {
	struct gmem *mem;
	int result;
	struct err *err;
};

static void share_locked(void *arg)
{
	struct first_base *f = arg;

	f->result = gmem_rebase(f->mem, -1, f->err);
}

/* From here the guest's own writes are copies. It does not see a difference, so there is nothing to undo. */
static int share_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct first_base f = { .mem = machine_mem(guest_machine(op->guest)), .err = err };
	int r = pm_check(run, err);

	if (r < 0)
		return r;
	if (op->live) {
		r = sleep_live_rebase(op, err);
		sleep_live_free(op);
		return r;
	}
	xen_backend_locked(guest_domain(op->guest), share_locked, &f);
	return f.result;
}

static int state_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	op->state_fd = fcntl(image_writer_fd(op->writer), F_DUPFD_CLOEXEC, 3);
	if (op->state_fd < 0)
		return err_errno(err, -errno, "the fork's state");
	return sleep_seal_enter(run, op, err);
}

static int await(struct pm_run *run, const struct sleep_clones *c, uint32_t i, struct err *err)
{
	int r;

	do {
		r = c->wait(c->arg, i, err);
		if (r == -EAGAIN)
			r = pm_check(run, err) ?: -EAGAIN;
	} while (r == -EAGAIN);
	return r;
}

static int clone_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	const struct sleep_clones *c = &op->args.clones;
	struct sleep_fork from = { op->state_fd, gmem_fd(machine_mem(guest_machine(op->guest))) };
	int r = state_enter(run, op, err);

	from.state_fd = op->state_fd;
	for (uint32_t i = 0; r == 0 && i < c->n; i++)
		r = pm_check(run, err) ?: c->start(c->arg, i, &from, err);
	for (uint32_t i = 0; r == 0 && i < c->n; i++) {
		pm_progress(run, i, c->n);
		r = await(run, c, i, err);
	}
	for (uint32_t i = 0; r < 0 && i < c->n; i++)
		c->stop(c->arg, i);
	if (r == 0)
		sleep_disks_undo(run, op); /* each has a clone of its own by now */
	return r;
}

void sleep_fork_fini(struct sleep_op *op)
{
	close_fdp(&op->state_fd);
	close_fdp(&op->base_fd);
	if (op->args.clones.free)
		op->args.clones.free(op->args.clones.arg);
}

#define PHASE_COPY                                                                                                     \
	{                                                                                                              \
		"copy", copy_enter, copy_undo                                                                          \
	}
#define PHASE_STATE                                                                                                    \
	{                                                                                                              \
		"capture", capture_enter, capture_undo                                                                 \
	}
#define PHASE_SHARE                                                                                                    \
	{                                                                                                              \
		"share", share_enter, NULL                                                                             \
	}
#define PHASE_CLONE                                                                                                    \
	{                                                                                                              \
		"clone", clone_enter, NULL                                                                             \
	}

static const struct pm_phase fork_phases[] = {
	PHASE_LOAD,  PHASE_SYNC_DISKS, PHASE_COPY,  PHASE_REQUEST, PHASE_FREEZE, PHASE_PARK,
	PHASE_DRAIN, PHASE_DISKS,      PHASE_STATE, PHASE_SHARE,   PHASE_THAW,	 PHASE_CLONE,
};

const struct pm_table sleep_fork_table = { "fork", fork_phases, ARRAY_SIZE(fork_phases) };

/* Of one that sleeps, or was restored and has not run yet. It stays as it is. */
static const struct pm_phase fork_asleep_phases[] = {
	PHASE_LOAD, PHASE_COPY, PHASE_PARK, PHASE_DISKS, PHASE_STATE, PHASE_SHARE, PHASE_CLONE,
};

const struct pm_table sleep_fork_asleep_table = { "fork", fork_asleep_phases, ARRAY_SIZE(fork_asleep_phases) };
