/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's state: reader.c has header and records, extents.c memory. */
#ifndef NIDRA_IMAGE_READER_H
#define NIDRA_IMAGE_READER_H

#include "base/bytes.h"
#include "image/internal.h"

struct image_reader {
	int fd;
	char *name;
	uint64_t data_end, file_len;
	uint8_t *records; /* owned */
	size_t records_len;

	/* Inside records. */
	const struct image_region_entry *region;
	size_t regions;
	const struct image_extent *extent; /* by rising gpa */
	size_t extents;
	uint32_t *by_offset; /* numbers of extents by rising offset: the order to read them in; owned */
	uint64_t memory_bytes; /* of all regions */
};

/* "<file> is damaged: <what>" */
int image_bad(const struct image_reader *r, struct err *err, const char *what);
/* -EBADMSG unless @region are the image's regions. */
int image_same_regions(const struct image_reader *r, const struct image_region *region, size_t n, struct err *err);
/* The region that has @gpa, or NULL. */
const struct image_region *image_region_at(const struct image_region *region, size_t n, uint64_t gpa);
/* Reads an extent into @scratch, checks it, and writes it to the memory of @g (NULL: only checks). */
int image_extent_load(const struct image_reader *r, const struct image_extent *e, const struct image_region *g,
		      void *scratch, struct err *err);
/* Regions and extents: sizes, order, bounds, no overlap in guest or file, no byte left out. */
int image_reader_check_index(struct image_reader *r, struct err *err);

#endif
