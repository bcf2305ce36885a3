/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image format version 1 as numbers: docs/image-format.md is the norm, this file its constants.
 * All integers are little-endian. Nothing but constants belongs here.
 *
 *	0		header (64 bytes, then zeros up to 4096)
 *	4096		page data
 *	records_offset	records, one behind the other, each padded to 8
 *	file_bytes - 32	trailer
 */
#ifndef NIDRA_IMAGE_FORMAT_H
#define NIDRA_IMAGE_FORMAT_H

#include <stdint.h>

#define IMAGE_FORMAT_VERSION 1

#define IMAGE_MAGIC	  "\x89NIDRA\r\n"
#define IMAGE_END_MAGIC	  "NIDRAEND"
#define IMAGE_MAGIC_BYTES 8

#define IMAGE_DIGEST_BYTES	  16 /* XXH3-128, canonical (big-endian) form */
#define IMAGE_HEADER_BYTES	  64
#define IMAGE_HEADER_DIGESTED	  48 /* the rest of the header is the digest of these */
#define IMAGE_DATA_OFFSET	  4096
#define IMAGE_RECORD_HEADER_BYTES 40
#define IMAGE_TRAILER_BYTES	  32
#define IMAGE_ALIGN		  8 /* of records */

/* A required feature that a reader does not know makes it refuse. Version 1 has none yet; these
 * bits have names already, so that the refusal can say what is missing. */
#define IMAGE_FEATURE_PARENT	 (UINT64_C(1) << 0) /* pages that are not here are in a parent */
#define IMAGE_FEATURE_COMPRESSED (UINT64_C(1) << 1)
#define IMAGE_FEATURE_ENCRYPTED	 (UINT64_C(1) << 2)

enum image_record_type {
	IMAGE_REC_METADATA = 1,	      /* JSON, for people and tools */
	IMAGE_REC_MACHINE = 2,	      /* clock, hypercall transport, ... */
	IMAGE_REC_VCPU = 3,	      /* instance: vCPU id */
	IMAGE_REC_XEN = 4,	      /* Xen domain state */
	IMAGE_REC_XENSTORE = 5,
	IMAGE_REC_CONSOLE = 6,
	IMAGE_REC_MEMORY_REGIONS = 7, /* made by the writer */
	IMAGE_REC_EXTENT_INDEX = 8,   /* made by the writer */
	IMAGE_REC_TYPES
};

/* A reader that does not know the type skips the record; without this flag it refuses. */
#define IMAGE_REC_OPTIONAL   UINT32_C(1)
#define IMAGE_REC_FLAGS_KNOWN IMAGE_REC_OPTIONAL

#define IMAGE_REGION_BYTES 24

/*
 * An extent: the non-zero pages of one window of up to 1 MiB, packed, in order. A window starts
 * at a multiple of 1 MiB from the start of its region. Bit n of the map: page n of the window.
 */
#define IMAGE_WINDOW_BYTES (UINT64_C(1) << 20)
#define IMAGE_WINDOW_PAGES 256
#define IMAGE_EXTENT_BYTES 64

/* What a reader accepts, whatever a file says. */
#define IMAGE_RECORDS_MAX_BYTES (UINT64_C(256) << 20) /* all records together */
#define IMAGE_RECORDS_MAX	65536
#define IMAGE_REGIONS_MAX	4096
#define IMAGE_GPA_MAX		(UINT64_C(1) << 52)

#endif
