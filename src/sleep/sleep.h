/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on one machine: each is a table of phases (suspend.c, save.c, ...) run by its own
 * thread under the machine's sleep lock.
 *
 * A sleeper outlives its guest: it exists before `boot` or `restore` made one, and after `save`
 * ended it. All functions: any thread, none blocks (but sleeper_free()).
 */
#ifndef NIDRA_SLEEP_SLEEP_H
#define NIDRA_SLEEP_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/guest.h"
#include "image/image.h"
#include "pm/pm.h"

struct sleeper;

enum sleep_verb {
	SLEEP_BOOT,	  /* config -> running (or built and paused) guest */
	SLEEP_RESTORE,	  /* image -> running (or paused) guest */
	SLEEP_SUSPEND,	  /* cooperative, in RAM */
	SLEEP_RESUME,	  /* of a suspended guest; told "cancelled" */
	SLEEP_CHECKPOINT, /* to an image, and on it goes */
	SLEEP_SAVE,	  /* to an image, and the guest ends here */
	SLEEP_FORK,	  /* more machines from this moment, which share its memory; and on it goes */
	SLEEP_VERBS
};

const char *sleep_verb_name(enum sleep_verb v);
/* -EINVAL: not a verb. */
int sleep_verb_parse(const char *s, enum sleep_verb *ret);

/* What makes a machine one of a fork. Borrowed. */
struct sleep_fork {
	int state_fd;  /* an image without memory */
	int memory_fd; /* a base: gmem_new_over() */
};

/* How a fork's machines come to be: each in a process of its own, which this layer knows nothing about. */
struct sleep_clones {
	uint32_t n;
	/* Starts number @i; does not wait for it. It restores with what struct sleep_fork says. */
	int (*start)(void *arg, uint32_t i, const struct sleep_fork *from, struct err *err);
	/* 0: it runs. -EAGAIN: not yet (after a little while). Else it never will, and nothing of it is left. */
	int (*wait)(void *arg, uint32_t i, struct err *err);
	/* Ends it if it was started. */
	void (*stop)(void *arg, uint32_t i);
	void (*free)(void *arg);
	void *arg;
};

/* Of guest memory: whole pages of RAM. */
struct sleep_range {
	uint64_t gpa, bytes;
};
#define SLEEP_RANGES_MAX 64

struct sleep_args {
	const char *image;		   /* SAVE, CHECKPOINT, RESTORE: path */
	const struct guest_config *config; /* BOOT: the machine; RESTORE: NULL, or a config of which name, uuid
					      and domid (if not NULL or 0) override the image's */
	uint32_t memory_mib;		   /* RESTORE: new target for the guest's balloon; 0: as it was */
	const char *working_sets;	   /* RESTORE: folder that remembers what was touched first, or NULL */
	const struct sleep_fork *fork;	   /* RESTORE: from this; @image is only for messages */
	struct sleep_clones clones;	   /* FORK: taken, also when it does not start */
	bool paused;			   /* BOOT, RESTORE: vCPUs not started. SAVE: stays suspended here */
	bool eager;			   /* RESTORE: all memory is read before it starts */
	bool transparent;		   /* RESTORE: wake with "cancelled" and all state brought back */
	bool uncooperative;		   /* RESUME: the guest is told "restored", its Xen state is reset.
					      CHECKPOINT: the guest is not asked, its vCPUs just stop for a moment */
	bool incremental;		   /* CHECKPOINT: only what changed since the last incremental one; and the
					      next incremental one is this one's child */
	bool full;			   /* CHECKPOINT, incremental: all memory; a chain begins here */
	bool no_disks;			   /* SAVE, CHECKPOINT: what the disks are like is the caller's business */
	bool keep_disks;		   /* RESTORE: likewise, whatever the image says of them */
	bool replace;			   /* SAVE, CHECKPOINT: an existing file may be replaced */
	struct image_key *key;		   /* SAVE, CHECKPOINT, RESTORE: of the image; NULL: it is not encrypted */
	bool hide_metadata;		   /* SAVE, CHECKPOINT, with a key: metadata, too */
	struct sleep_range leave_out[SLEEP_RANGES_MAX]; /* SAVE, CHECKPOINT: not written, zero after a restore */
	size_t leave_outs;
	enum image_codec codec; /* SAVE, CHECKPOINT */
	int level;		/* of the codec; 0: its default */
	uint32_t timeout_s;	/* how long the guest may take to go to sleep; 0: 60 */
	const char *fail_at;	/* for tests: phase that fails on purpose */
};

struct sleep_observer {
	/* An operation or guest changed (phase, progress, state): look. Any thread; must not block. */
	void (*changed)(void *arg);
	void *arg;
	const char *folder; /* guest_observer's */
};

int sleeper_new(const struct sleep_observer *observer, struct sleeper **ret, struct err *err);
/* Cancels and joins what runs; frees the guest. */
void sleeper_free(struct sleeper *s);
DEFINE_CLEANUP(struct sleeper *, sleeper_free)

/* NULL before boot/restore succeeded; valid until the sleeper is freed or the next sleep_start() of
 * BOOT or RESTORE, which is for the thread that uses the guest to call. */
struct guest *sleeper_guest(struct sleeper *s);

/*
 * Starts an operation; *ret_job is its number (1, 2, ...). -EBUSY names the operation that runs;
 * -EINVAL etc. when it cannot be done in the machine's state. Arguments are copied.
 */
int sleep_start(struct sleeper *s, enum sleep_verb verb, const struct sleep_args *args, uint64_t *ret_job,
		struct err *err);
/* Asks the running operation to stop. False: none with that number runs (0: any). */
bool sleep_cancel(struct sleeper *s, uint64_t job);

struct sleep_stats {	       /* of SAVE, CHECKPOINT, RESTORE; 0 where it does not apply */
	uint64_t file_bytes;   /* size of the image */
	uint64_t memory_bytes; /* guest memory stored or read */
	uint64_t zero_bytes;   /* guest memory elided */
	uint64_t pause_ns;     /* time in which no vCPU could run */
	uint64_t moment_bytes; /* CHECKPOINT: memory copied in that time */
};

struct sleep_job {
	uint64_t id;
	enum sleep_verb verb;
	bool running;
	int result;	      /* 0 or negative errno, when not running */
	char message[512];    /* why it failed */
	char phase[32];	      /* current phase */
	uint64_t done, total; /* progress of the current phase, bytes or steps; total 0: unknown */
	uint64_t start_realtime_ns;
	struct sleep_stats stats;
	struct pm_timeline timeline; /* so far, or whole */
};

#define SLEEP_HISTORY 32

/* -ENOENT: not known (only the last SLEEP_HISTORY are kept). @id 0: the newest. */
int sleep_get_job(struct sleeper *s, uint64_t id, struct sleep_job *ret);

#endif
