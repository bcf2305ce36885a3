/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save: the guest goes into an image and ends here. checkpoint: a copy of it goes into an image, and
 * it runs on.
 *
 * The image is opened first, so that a bad path or a full disk shows before the guest notices. It
 * has its final name only after `seal`; from then on the image is the guest (save) or a complete
 * copy (checkpoint).
 */
#include "device/console.h"
#include "sleep/internal.h"

static int end_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	(void)run;
	(void)err;
	guest_end_as(op->guest, GUEST_END_SAVED);
	return 0;
}

static const struct pm_phase save_phases[] = {
	PHASE_IMAGE_OPEN,
	PHASE_LOAD,
	PHASE_SYNC_DISKS,
	PHASE_WATCH,
	PHASE_REQUEST,
	PHASE_FREEZE,
	PHASE_PARK,
	PHASE_DRAIN,
	PHASE_DISKS,
	PHASE_CAPTURE,
	PHASE_MEMORY,
	{ "seal", sleep_seal_enter, NULL, .no_return = true },
	{ "end", end_enter, NULL },
};

const struct pm_table sleep_save_table = { "save", save_phases, ARRAY_SIZE(save_phases) };

static const struct pm_phase save_suspended_phases[] = {
	PHASE_IMAGE_OPEN,
	PHASE_LOAD,
	PHASE_PARK,
	PHASE_DISKS,
	PHASE_CAPTURE,
	PHASE_MEMORY,
	{ "seal", sleep_seal_enter, NULL, .no_return = true },
	{ "end", end_enter, NULL },
};

const struct pm_table sleep_save_suspended_table = { "save", save_suspended_phases, ARRAY_SIZE(save_suspended_phases) };

/* save -p: the guest stays here, suspended, beside its image. */
static const struct pm_phase save_stay_phases[] = {
	PHASE_IMAGE_OPEN, PHASE_LOAD,	 PHASE_SYNC_DISKS, PHASE_WATCH,
	PHASE_REQUEST,	  PHASE_FREEZE,	 PHASE_PARK,	   PHASE_DRAIN,
	PHASE_DISKS,	  PHASE_CAPTURE, PHASE_MEMORY,	   { "seal", sleep_seal_enter, NULL, .no_return = true },
};

const struct pm_table sleep_save_stay_table = { "save", save_stay_phases, ARRAY_SIZE(save_stay_phases) };

/* Memory is written before and behind the moment: the guest waits for neither. */
static const struct pm_phase checkpoint_phases[] = {
	PHASE_IMAGE_OPEN, PHASE_LOAD,
	PHASE_PRECOPY,	  PHASE_SYNC_DISKS,
	PHASE_REQUEST,	  PHASE_FREEZE,
	PHASE_PARK,	  PHASE_DRAIN,
	PHASE_DISKS,	  PHASE_CAPTURE,
	PHASE_MOMENT,	  PHASE_THAW,
	PHASE_WRITE,	  { "seal", sleep_live_seal_enter, NULL },
};

const struct pm_table sleep_checkpoint_table = { "checkpoint", checkpoint_phases, ARRAY_SIZE(checkpoint_phases) };

/* checkpoint --uncooperative: the same, but the guest knows nothing of it. */
static const struct pm_phase snapshot_phases[] = {
	PHASE_IMAGE_OPEN,
	PHASE_LOAD,
	PHASE_PRECOPY,
	PHASE_SYNC_DISKS,
	{ "stop", sleep_stop_enter, sleep_stop_undo, .limit_ns = SLEEP_LIMIT_NS },
	PHASE_DRAIN,
	PHASE_DISKS,
	PHASE_CAPTURE,
	PHASE_MOMENT,
	{ "go", sleep_go_enter, NULL },
	PHASE_WRITE,
	{ "seal", sleep_live_seal_enter, NULL },
};

const struct pm_table sleep_snapshot_table = { "checkpoint", snapshot_phases, ARRAY_SIZE(snapshot_phases) };

/* Of a guest that sleeps already. */
static const struct pm_phase copy_phases[] = {
	PHASE_IMAGE_OPEN,
	PHASE_LOAD,
	PHASE_PARK,
	PHASE_DISKS,
	PHASE_CAPTURE,
	PHASE_MEMORY,
	{ "seal", sleep_seal_enter, NULL },
};

const struct pm_table sleep_copy_table = { "checkpoint", copy_phases, ARRAY_SIZE(copy_phases) };
