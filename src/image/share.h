/* SPDX-License-Identifier: Apache-2.0 */
/* What pages an image has already, so that equal ones are stored once. Any thread. */
#ifndef NIDRA_IMAGE_SHARE_H
#define NIDRA_IMAGE_SHARE_H

#include "image/internal.h"

/* Where a page is: nowhere (zeros, or the parent's), in zeros, or as one of an extent. */
typedef uint32_t image_place;
#define PLACE_NONE 0
#define PLACE_ZERO 1

/* Who touches one page of a lazily restored guest waits for all that comes from the same extent, so a
 * stored page stands for no more than these. */
#define SHARE_MAX 64u

struct image_share;

struct image_fingerprint {
	uint64_t w[2];
};

/* For an image of @pages pages; at most 24 MiB, whatever they are. NULL: no memory. */
struct image_share *image_share_new(uint64_t pages);
void image_share_free(struct image_share *s);

/* Of a page that does not change meanwhile. Two that are equal are of equal pages (see share.c). */
struct image_fingerprint image_share_fingerprint(const struct image_share *s, const void *page);
bool image_fingerprint_equal(const struct image_fingerprint *a, const struct image_fingerprint *b);
/* Where such a page is, for one more to be there; PLACE_NONE: it has to be stored. */
image_place image_share_find(struct image_share *s, const struct image_fingerprint *f);
/* It was stored at @place, for @uses pages. */
void image_share_add(struct image_share *s, const struct image_fingerprint *f, image_place place, uint32_t uses);

#endif
