/* SPDX-License-Identifier: Apache-2.0 */
#include "device/blkif.h"

#include <string.h>

#include "base/addr.h"
#include "base/util.h"

#define SECTORS_PER_PAGE (NIDRA_PAGE_SIZE / BLKIF_SECTOR)

static bool in_range(uint64_t sector, uint64_t sectors, uint64_t disk_bytes)
{
	uint64_t end;

	return !add_overflow(sector, sectors, &end) && end <= disk_bytes / BLKIF_SECTOR;
}

/* Sums up what the segments say. */
static int take_segments(const struct blkif_request_segment *seg, unsigned int n, struct blkif_work *w)
{
	w->bytes = 0;
	for (unsigned int i = 0; i < n; i++) {
		if (seg[i].first_sect > seg[i].last_sect || seg[i].last_sect >= SECTORS_PER_PAGE)
			return BLKIF_RSP_ERROR;
		w->piece[i] = (struct blkif_piece){
			.gref = seg[i].gref,
			.offset = (uint16_t)(seg[i].first_sect * BLKIF_SECTOR),
			.bytes = (uint16_t)((seg[i].last_sect - seg[i].first_sect + 1u) * BLKIF_SECTOR),
		};
		w->bytes += w->piece[i].bytes;
	}
	w->pieces = n;
	return 0;
}

static int check_range(const struct blkif_work *w, uint64_t disk_bytes)
{
	return in_range(w->offset / BLKIF_SECTOR, w->bytes / BLKIF_SECTOR, disk_bytes) ? 0 : BLKIF_RSP_ERROR;
}

static int set_offset(struct blkif_work *w, uint64_t sector)
{
	return mul_overflow(sector, (uint64_t)BLKIF_SECTOR, &w->offset) ? BLKIF_RSP_ERROR : 0;
}

static int parse_plain(const struct blkif_request *req, uint64_t disk_bytes, struct blkif_work *w)
{
	int r;

	if (req->nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST)
		return BLKIF_RSP_ERROR;
	/* A flush may carry data, a transfer has to. Without data there is no sector; Linux writes -1. */
	if (!req->nr_segments)
		return w->op == BLKIF_OP_FLUSH_DISKCACHE ? 0 : BLKIF_RSP_ERROR;
	r = set_offset(w, req->sector_number);
	r = r ? r : take_segments(req->seg, req->nr_segments, w);
	return r ? r : check_range(w, disk_bytes);
}

static int parse_discard(const struct blkif_request_discard *req, uint64_t disk_bytes, struct blkif_work *w)
{
	w->id = req->id;
	if (req->flag & BLKIF_DISCARD_SECURE)
		return BLKIF_RSP_EOPNOTSUPP;
	if (!req->nr_sectors || !in_range(req->sector_number, req->nr_sectors, disk_bytes))
		return BLKIF_RSP_ERROR;
	w->bytes = req->nr_sectors * BLKIF_SECTOR;
	return set_offset(w, req->sector_number);
}

static int parse_indirect(const struct blkif_request_indirect *req, struct blkif_work *w)
{
	w->id = req->id;
	w->op = req->indirect_op;
	if ((w->op != BLKIF_OP_READ && w->op != BLKIF_OP_WRITE) || !req->nr_segments ||
	    req->nr_segments > BLKIF_INDIRECTS)
		return BLKIF_RSP_ERROR;
	w->indirect = true;
	w->pieces = req->nr_segments;
	w->indirect_gref = req->indirect_grefs[0];
	return set_offset(w, req->sector_number);
}

static int parse(const struct blkif_request *req, uint64_t disk_bytes, struct blkif_work *w)
{
	struct blkif_request_indirect indirect;
	struct blkif_request_discard discard;

	switch (req->operation) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
	case BLKIF_OP_FLUSH_DISKCACHE:
		return parse_plain(req, disk_bytes, w);
	case BLKIF_OP_DISCARD:
		memcpy(&discard, req, sizeof(discard));
		return parse_discard(&discard, disk_bytes, w);
	case BLKIF_OP_INDIRECT:
		memcpy(&indirect, req, sizeof(indirect));
		return parse_indirect(&indirect, w);
	default:
		return BLKIF_RSP_EOPNOTSUPP;
	}
}

/* A read-only disk takes no write, and has nothing to flush or give back. */
static int check_op(const struct blkif_work *w, bool readonly)
{
	return readonly && w->op != BLKIF_OP_READ && !(w->op == BLKIF_OP_FLUSH_DISKCACHE && !w->pieces)
		       ? BLKIF_RSP_ERROR
		       : 0;
}

int blkif_parse(const struct blkif_request *req, uint64_t disk_bytes, bool readonly, struct blkif_work *w)
{
	int r;

	/* All but piece[], which is large and filled as far as it is used. */
	memset(w, 0, offsetof(struct blkif_work, piece));
	w->op = req->operation;
	w->id = req->id;
	r = parse(req, disk_bytes, w);
	return r ? r : check_op(w, readonly);
}

int blkif_pieces(const struct blkif_request_segment *seg, uint64_t disk_bytes, struct blkif_work *w)
{
	int r = take_segments(seg, w->pieces, w);

	return r ? r : check_range(w, disk_bytes);
}
