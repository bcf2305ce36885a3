/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef NIDRA_IMAGE_INTERNAL_H
#define NIDRA_IMAGE_INTERNAL_H

#include <stdatomic.h>

#include "image/image.h"

#define IMAGE_REGIONS_MAX 16
#define IMAGE_PAGES_MAX	  (IMAGE_EXTENT_MAX / IMAGE_ALIGN) /* in one extent */

/* digest.c */
struct image_digest image_record_digest(const struct image_record *head, const void *body);
bool image_digest_equal(const struct image_digest *a, const struct image_digest *b);

/*
 * workers.c: @count pieces of work spread over some threads, the caller's among them. @work is
 * called with each number once, from any of them; the first failure stops all.
 */
struct image_work {
	uint64_t count;
	int (*work)(void *arg, uint64_t number, void *scratch, struct err *err);
	/* What each thread keeps for @work: memory that is new for every piece would be faulted in
	 * for every piece. NULL: no memory. */
	void *(*scratch_new)(void);
	/* What it may have left undone (NULL: nothing), in the end. */
	int (*scratch_flush)(void *arg, void *scratch, struct err *err);
	void (*scratch_free)(void *scratch);
	void *arg;
	uint64_t total; /* bytes, for progress */
	_Atomic uint64_t done;
	const struct image_progress *progress;
};
int image_work_run(struct image_work *w, struct err *err);
/* Those that we may run on, not all that there are. */
long image_usable_cpus(void);

#endif
