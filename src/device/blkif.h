/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a guest's disk driver, as values that can be trusted. Pure. Source: Xen public/io/blkif.h; all
 * sector numbers are of 512 bytes, whatever the disk's own are.
 */
#ifndef NIDRA_DEVICE_BLKIF_H
#define NIDRA_DEVICE_BLKIF_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/io/blkif.h>

#define BLKIF_SECTOR	512u
#define BLKIF_INDIRECTS 256u /* segments in one request: 1 MiB */

struct blkif_piece {
	uint32_t gref;
	uint16_t offset, bytes; /* in its page */
};

struct blkif_work {
	uint8_t op; /* BLKIF_OP_*, also as the response has it; never INDIRECT */
	uint64_t id;
	uint64_t offset, bytes; /* on the disk */
	unsigned int pieces;	/* in piece[] */
	uint32_t indirect_gref; /* the page with that many segments, if they are not here; blkif_pieces() */
	bool indirect;
	struct blkif_piece piece[BLKIF_INDIRECTS];
};

/*
 * @req is a copy of ours. 0: *ret is good as far as it goes (see `indirect`). Else BLKIF_RSP_ERROR or
 * BLKIF_RSP_EOPNOTSUPP, with the ids to answer.
 */
int blkif_parse(const struct blkif_request *req, uint64_t disk_bytes, bool readonly, struct blkif_work *ret);
/* The second half for indirect requests: @seg is a copy of ours, of ret->pieces segments. */
int blkif_pieces(const struct blkif_request_segment *seg, uint64_t disk_bytes, struct blkif_work *ret);

#endif
