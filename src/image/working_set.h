/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which extents of an image a guest touched first when it was restored, in that order: what the next
 * restore of the same image loads first. A hint beside the image, in a file of its own that may be lost, stale or
 * wrong: numbers are checked, and at worst the wrong extents come first.
 */
#ifndef NIDRA_IMAGE_WORKING_SET_H
#define NIDRA_IMAGE_WORKING_SET_H

#include "image/reader.h"

#define WORKING_SET_MAX 16384u /* extents: 2 GiB of memory, 64 KiB of file */

struct working_set {
	size_t n;
	uint32_t extent[WORKING_SET_MAX];
};

/* That of @r in @folder, allocated; empty if there is none. NULL: no memory. */
struct working_set *working_set_read(const char *folder, const struct image_reader *r);
/* Replaces it; the oldest go when there are many. Trouble is logged. */
void working_set_write(const char *folder, const struct image_reader *r, const struct working_set *set);

#endif
