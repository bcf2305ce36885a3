/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's state: writer.c has the file, pages.c its memory. */
#ifndef NIDRA_IMAGE_WRITER_H
#define NIDRA_IMAGE_WRITER_H

#include "base/bytes.h"
#include "image/internal.h"


struct image_writer {
	char *path, *temp_name; /* temp_name NULL: the file has no name yet */
	int fd, dir_fd;
	bool replace, sealed;

	struct bytes_writer records, digests;

	struct image_region_entry region[IMAGE_REGIONS_MAX];
	size_t regions;
	struct image_extent *extent;
	size_t extents, extents_cap;
	uint64_t data_end;     /* where the next extent goes */
	uint64_t memory_bytes; /* of all regions */
	uint64_t file_len;
};

#endif
