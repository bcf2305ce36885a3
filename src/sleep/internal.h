/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations share: the object that phases work on, and the phases of more than one table. */
#ifndef NIDRA_SLEEP_INTERNAL_H
#define NIDRA_SLEEP_INTERNAL_H

#include <jansson.h>
#include <stdatomic.h>

#include "image/image.h"
#include "pm/chain.h"
#include "pm/pm.h"
#include "sleep/sleep.h"

/* What an image says of a disk, or (RESTORE) what was made for it. */
struct sleep_disk {
	char *snapshot;	 /* path of a clone */
	int snapshot_fd; /* of one that has no name yet; -1: it has it */
	bool noted;	 /* what it was like: */
	bool remote;	 /* a server's: nobody knows when it was written to */
	uint64_t bytes;
	int64_t mtime_ns;
	uint64_t wanted_bytes; /* RESTORE: what a remote one has to have; 0: anything */
};

/* One operation, from start to end. Lives on its thread. */
struct sleep_op {
	struct sleeper *sleeper;
	enum sleep_verb verb;
	struct sleep_args args;	    /* strings owned, see sleeper.c */
	struct guest_config config; /* BOOT, RESTORE: owned */
	struct guest *guest;
	uint32_t wakes;	    /* RESTORE: of the image */
	struct err trouble; /* RESTORE: what is wrong with the image's parents */
	bool not_asked;	    /* RESTORE: the image was made without the guest's knowledge */
	struct sleep_stats stats;

	/* the guest's way into sleep */
	struct pm_handler handler; /* on the guest's chain while we wait for it */
	atomic_bool expecting;	   /* a suspend hypercall is welcome */
	atomic_bool arrived;	   /* it came */
	uint64_t stopped_ns;	   /* when (monotonic) */

	bool watched; /* gmem_watch(): since the guest was asked to sleep */

	/* the image */
	struct image_writer *writer;
	struct image_reader *reader;
	bool reader_lent;				   /* the guest's pager has it */
	bool child;					   /* the image has a parent: the base's */
	struct image_digest image_id;			   /* once sealed */
	struct live *live;				   /* live.c */
	struct sleep_range guests_range[SLEEP_RANGES_MAX]; /* what the guest leaves out, as it says at the moment */
	size_t guests_ranges;

	struct sleep_disk *disk; /* disks.c */
	size_t disks;
	struct guest_disks other_disks;	  /* RESTORE: paths that replace the image's */
	json_t *disk_notes;		  /* RESTORE: the image's */
	struct guest_shares other_shares; /* RESTORE: folders that replace the image's */

	int state_fd, base_fd; /* FORK: what the clones get; -1: nothing (yet) */
};

/* What incremental checkpoints are based on: the last of them. One per guest. */
struct sleep_base {
	char *image; /* path; NULL: there was none */
	struct image_digest id;
	struct pageset *since; /* changed since then; together with what is still in the dirty log */
};

/* Tables, one file per operation. */
extern const struct pm_table sleep_boot_table;
extern const struct pm_table sleep_restore_table;
extern const struct pm_table sleep_suspend_table;
extern const struct pm_table sleep_resume_table;
extern const struct pm_table sleep_checkpoint_table;	 /* of a running guest */
extern const struct pm_table sleep_snapshot_table;	 /* of one that is not asked */
extern const struct pm_table sleep_copy_table;		 /* checkpoint of a suspended guest */
extern const struct pm_table sleep_save_table;		 /* of a running guest */
extern const struct pm_table sleep_save_suspended_table; /* of a suspended one */
extern const struct pm_table sleep_save_stay_table;	 /* save -p */
extern const struct pm_table sleep_fork_table;		 /* of a running guest */
extern const struct pm_table sleep_fork_asleep_table;	 /* of one that stands in its suspend hypercall */

#define SLEEP_LIMIT_NS (60 * UINT64_C(1000000000)) /* Xen's toolstack allows as much for each half */

/* asleep.c: phases that bring a guest to sleep and back */
int sleep_request_enter(struct pm_run *run, void *op, struct err *err);
void sleep_request_undo(struct pm_run *run, void *op);
int sleep_freeze_enter(struct pm_run *run, void *op, struct err *err);
void sleep_freeze_undo(struct pm_run *run, void *op);
int sleep_park_enter(struct pm_run *run, void *op, struct err *err);
int sleep_drain_enter(struct pm_run *run, void *op, struct err *err);
int sleep_thaw_enter(struct pm_run *run, void *op, struct err *err);

/* The same without the guest's knowledge: its vCPUs stop wherever they are. */
int sleep_stop_enter(struct pm_run *run, void *op, struct err *err);
void sleep_stop_undo(struct pm_run *run, void *op);
int sleep_go_enter(struct pm_run *run, void *op, struct err *err);

#define PHASE_REQUEST                                                                                                  \
	{                                                                                                              \
		"request", sleep_request_enter, sleep_request_undo, .limit_ns = SLEEP_LIMIT_NS                         \
	}
#define PHASE_FREEZE                                                                                                   \
	{                                                                                                              \
		"freeze", sleep_freeze_enter, sleep_freeze_undo, .limit_ns = SLEEP_LIMIT_NS                            \
	}
#define PHASE_PARK                                                                                                     \
	{                                                                                                              \
		"park", sleep_park_enter, NULL, .limit_ns = SLEEP_LIMIT_NS                                             \
	}
#define PHASE_DRAIN                                                                                                    \
	{                                                                                                              \
		"drain", sleep_drain_enter, NULL, .limit_ns = SLEEP_LIMIT_NS                                           \
	}
#define PHASE_THAW                                                                                                     \
	{                                                                                                              \
		"thaw", sleep_thaw_enter, NULL                                                                         \
	}

/* capture.c: the sleeping guest into an image */
int sleep_load_enter(struct pm_run *run, void *op, struct err *err);
int sleep_image_open_enter(struct pm_run *run, void *op, struct err *err);
void sleep_image_open_undo(struct pm_run *run, void *op);
int sleep_capture_enter(struct pm_run *run, void *op, struct err *err);
int sleep_watch_enter(struct pm_run *run, void *op, struct err *err);
int sleep_memory_enter(struct pm_run *run, void *op, struct err *err);
int sleep_seal_enter(struct pm_run *run, void *op, struct err *err);

#define PHASE_LOAD                                                                                                     \
	{                                                                                                              \
		"load", sleep_load_enter, NULL                                                                         \
	}
#define PHASE_IMAGE_OPEN                                                                                               \
	{                                                                                                              \
		"image-open", sleep_image_open_enter, sleep_image_open_undo                                            \
	}
#define PHASE_WATCH                                                                                                    \
	{                                                                                                              \
		"watch", sleep_watch_enter, NULL                                                                       \
	}
#define PHASE_CAPTURE                                                                                                  \
	{                                                                                                              \
		"capture", sleep_capture_enter, NULL                                                                   \
	}
#define PHASE_MEMORY                                                                                                   \
	{                                                                                                              \
		"memory", sleep_memory_enter, NULL                                                                     \
	}

/* live.c: memory of a guest that runs */
int sleep_precopy_enter(struct pm_run *run, void *op, struct err *err);
void sleep_precopy_undo(struct pm_run *run, void *op);
int sleep_moment_enter(struct pm_run *run, void *op, struct err *err);
int sleep_write_enter(struct pm_run *run, void *op, struct err *err);
int sleep_live_seal_enter(struct pm_run *run, void *op, struct err *err);
void sleep_live_free(struct sleep_op *op);
/* FORK: the rest into op->base_fd, which then is the guest's memory's base (gmem_rebase()). */
int sleep_live_rebase(struct sleep_op *op, struct err *err);

#define PHASE_PRECOPY                                                                                                  \
	{                                                                                                              \
		"precopy", sleep_precopy_enter, sleep_precopy_undo                                                     \
	}
#define PHASE_MOMENT                                                                                                   \
	{                                                                                                              \
		"moment", sleep_moment_enter, NULL                                                                     \
	}
#define PHASE_WRITE                                                                                                    \
	{                                                                                                              \
		"write", sleep_write_enter, NULL                                                                       \
	}

/* disks.c */
int sleep_sync_disks_enter(struct pm_run *run, void *op, struct err *err);
int sleep_disks_enter(struct pm_run *run, void *op, struct err *err);
void sleep_disks_undo(struct pm_run *run, void *op);
/* Clones get their names, on the disk: right before the image has its own. A monitor that is killed leaves none. */
int sleep_disks_name(struct sleep_op *op, struct err *err);
void sleep_disks_fini(struct sleep_op *op);
json_t *sleep_disks_json(const struct sleep_op *op); /* for the metadata */
/* RESTORE: op->config's disks become those that the machine is to have. */
int sleep_disks_prepare_enter(struct pm_run *run, void *op, struct err *err);
/* What would stand in the way later: a disk that stalls, or one that cannot be copied. Before anything is done. */
int sleep_check_own_disks(struct sleep_op *op, struct err *err);
/* RESTORE: what only shows once they are open. */
int sleep_check_disks(struct sleep_op *op, struct err *err);
/* shares.c. RESTORE: op->config's folders become those that the machine is to have, and are all there. */
int sleep_shares_enter(struct pm_run *run, void *op, struct err *err);
#define PHASE_SYNC_DISKS                                                                                               \
	{                                                                                                              \
		"sync-disks", sleep_sync_disks_enter, NULL, .limit_ns = 5 * SLEEP_LIMIT_NS                             \
	}
#define PHASE_DISKS                                                                                                    \
	{                                                                                                              \
		"disks", sleep_disks_enter, sleep_disks_undo, .limit_ns = SLEEP_LIMIT_NS                               \
	}

/* fork.c: what is left of a fork's operation, whichever way it ended */
void sleep_fork_fini(struct sleep_op *op);

/* base.c */
/* Takes @image (NULL: no memory). False: there is no base now, for want of memory. */
bool sleep_base_set(struct sleep_base *b, char *image, const struct image_digest *id, uint64_t pages);
void sleep_base_fini(struct sleep_base *b);

/* leave_out.c: memory that is not written, because the operator or the guest says so */
/* "GFN COUNT GFN COUNT ...": how many there are; -EINVAL: it makes no sense, or there are more than @max. */
int sleep_ranges_parse(const char *text, struct sleep_range *ret, size_t max);
/* The operator's ranges are RAM. */
int sleep_leave_out_check(const struct sleep_op *op, struct err *err);
/* The guest's ranges; nothing if they make no sense. */
void sleep_leave_out_ask(struct sleep_op *op);
/* Tells the writer of all that are known so far. */
int sleep_leave_out(struct sleep_op *op, struct err *err);
/* They are not in the image, but in memory: the next child may want them. */
void sleep_leave_out_owe(const struct sleep_op *op, struct pageset *since);

/* metadata.c */
char *sleep_metadata(const struct sleep_op *op); /* JSON, allocated; NULL: no memory */
/* Its configuration, and what else restoring needs to know: op->wakes, op->not_asked. */
int sleep_metadata_config(const char *json, size_t len, struct guest_config *ret, struct sleep_op *op, struct err *err);

/* sleeper.c */
void sleeper_set_guest(struct sleeper *s, struct guest *g); /* takes ownership; frees the old one */
struct sleep_base *sleeper_base(struct sleeper *s);	    /* for the operation that runs */
const struct guest_observer *sleeper_guest_observer(struct sleeper *s);

#define TABLE(array)                                                                                                   \
	{                                                                                                              \
		.phases = (array), .n = ARRAY_SIZE(array)                                                              \
	}

#endif
