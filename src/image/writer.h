/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's state: writer.c has the file, pages.c its memory. */
#ifndef NIDRA_IMAGE_WRITER_H
#define NIDRA_IMAGE_WRITER_H

#include "base/bytes.h"
#include "base/pageset.h"
#include "image/crypt.h"
#include "image/internal.h"
#include "image/share.h"

#define PLACE_BITS	  5 /* of the number inside the extent */
#define PLACE_EXTENTS_MAX ((UINT32_C(1) << (32 - PLACE_BITS)) - 2)

static inline image_place place_of(size_t extent, unsigned int page)
{
	return ((uint32_t)extent + 1) << PLACE_BITS | page;
}

struct image_writer {
	char *path, *temp_name; /* temp_name NULL: the file has no name yet */
	int fd, dir_fd;
	bool replace, sealed, replaced;
	enum image_codec codec;
	int level;
	char *parent; /* NULL: none */
	struct image_digest parent_id;
	struct image_crypt *crypt; /* NULL: not encrypted; owned */
	bool hide_metadata;

	struct bytes_writer records, digests;
	uint64_t records_n;
	struct image_digest id; /* once sealed */

	struct image_region region[IMAGE_REGIONS_MAX]; /* by rising gpa */
	size_t regions;
	struct pageset *left_out;  /* NULL: nothing; owned */
	image_place *place;	   /* of each page by its number; owned */
	struct image_share *share; /* owned */
	uint64_t pages;		   /* numbers that there are */
	uint64_t memory_bytes;	   /* of all regions */

	pthread_mutex_t lock;	     /* what follows */
	struct image_extent *extent; /* by rising offset */
	size_t extents, extents_cap;
	uint64_t data_end; /* where the next extent goes */

	uint64_t file_len, stored_bytes;
};

/* pages.c: the EXTENTS and MAP records' bodies. */
int image_writer_map(struct image_writer *w, struct bytes_writer *ret, struct err *err);

#endif
