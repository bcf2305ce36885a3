/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations share: the object that phases work on, and the phases of more than one table. */
#ifndef NIDRA_SLEEP_INTERNAL_H
#define NIDRA_SLEEP_INTERNAL_H

#include <stdatomic.h>

#include "image/image.h"
#include "pm/chain.h"
#include "pm/pm.h"
#include "sleep/sleep.h"

/* One operation, from start to end. Lives on its thread. */
struct sleep_op {
	struct sleeper *sleeper;
	enum sleep_verb verb;
	struct sleep_args args; /* strings owned, see sleeper.c */
	struct guest_config config; /* BOOT, RESTORE: owned */
	struct guest *guest;
	uint32_t wakes; /* RESTORE: of the image */
	struct sleep_stats stats;

	/* the guest's way into sleep */
	struct pm_handler handler; /* on the guest's chain while we wait for it */
	atomic_bool expecting; /* a suspend hypercall is welcome */
	atomic_bool arrived;   /* it came */
	uint64_t stopped_ns;   /* when (monotonic) */

	/* the image */
	struct image_writer *writer;
	struct image_reader *reader;
	bool reader_lent; /* the guest's pager has it */
};

/* Tables, one file per operation. */
extern const struct pm_table sleep_boot_table;
extern const struct pm_table sleep_restore_table;
extern const struct pm_table sleep_suspend_table;
extern const struct pm_table sleep_resume_table;
extern const struct pm_table sleep_checkpoint_table;	  /* of a running guest */
extern const struct pm_table sleep_copy_table;		  /* checkpoint of a suspended guest */
extern const struct pm_table sleep_save_table;		  /* of a running guest */
extern const struct pm_table sleep_save_suspended_table;  /* of a suspended one */
extern const struct pm_table sleep_save_stay_table;	  /* save -p */

#define SLEEP_LIMIT_NS (60 * UINT64_C(1000000000)) /* Xen's toolstack allows as much for each half */

/* asleep.c: phases that bring a guest to sleep and back */
int sleep_request_enter(struct pm_run *run, void *op, struct err *err);
void sleep_request_undo(struct pm_run *run, void *op);
int sleep_freeze_enter(struct pm_run *run, void *op, struct err *err);
void sleep_freeze_undo(struct pm_run *run, void *op);
int sleep_park_enter(struct pm_run *run, void *op, struct err *err);
int sleep_thaw_enter(struct pm_run *run, void *op, struct err *err);

#define PHASE_REQUEST                                                                              \
	{ "request", sleep_request_enter, sleep_request_undo, .limit_ns = SLEEP_LIMIT_NS }
#define PHASE_FREEZE                                                                               \
	{ "freeze", sleep_freeze_enter, sleep_freeze_undo, .limit_ns = SLEEP_LIMIT_NS }
#define PHASE_PARK { "park", sleep_park_enter, NULL, .limit_ns = SLEEP_LIMIT_NS }
#define PHASE_THAW { "thaw", sleep_thaw_enter, NULL }

/* capture.c: the sleeping guest into an image */
int sleep_load_enter(struct pm_run *run, void *op, struct err *err);
int sleep_image_open_enter(struct pm_run *run, void *op, struct err *err);
void sleep_image_open_undo(struct pm_run *run, void *op);
int sleep_capture_enter(struct pm_run *run, void *op, struct err *err);
int sleep_memory_enter(struct pm_run *run, void *op, struct err *err);
int sleep_seal_enter(struct pm_run *run, void *op, struct err *err);

#define PHASE_LOAD	 { "load", sleep_load_enter, NULL }
#define PHASE_IMAGE_OPEN { "image-open", sleep_image_open_enter, sleep_image_open_undo }
#define PHASE_CAPTURE	 { "capture", sleep_capture_enter, NULL }
#define PHASE_MEMORY	 { "memory", sleep_memory_enter, NULL }

/* metadata.c */
char *sleep_metadata(struct guest *g, const char *verb); /* JSON, allocated; NULL: no memory */
int sleep_metadata_config(const char *json, size_t len, struct guest_config *ret, uint32_t *ret_wakes,
			  struct err *err);

/* sleeper.c */
void sleeper_set_guest(struct sleeper *s, struct guest *g); /* takes ownership; frees the old one */
const struct guest_observer *sleeper_guest_observer(struct sleeper *s);

#define TABLE(array) { .phases = (array), .n = ARRAY_SIZE(array) }

#endif
