/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that a guest wrote into its disk's ring. What the parser lets through is inside of the disk, of its pages,
 * and of what the answer can say.
 */
#include <stdint.h>
#include <string.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "device/blkif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		__builtin_trap();
}

static void check_pieces(const struct blkif_work *w)
{
	uint64_t sum = 0;

	check(w->pieces <= BLKIF_INDIRECTS);
	for (unsigned int i = 0; i < w->pieces; i++) {
		const struct blkif_piece *p = &w->piece[i];

		check(p->bytes && p->offset % BLKIF_SECTOR == 0 && p->bytes % BLKIF_SECTOR == 0);
		check((uint64_t)p->offset + p->bytes <= NIDRA_PAGE_SIZE);
		sum += p->bytes;
	}
	check(sum == w->bytes);
}

static void check_range(const struct blkif_work *w, uint64_t disk_bytes)
{
	check(w->offset % BLKIF_SECTOR == 0 && w->bytes % BLKIF_SECTOR == 0);
	check(w->offset <= disk_bytes && w->bytes <= disk_bytes - w->offset);
}

static void check_work(const struct blkif_work *w, uint64_t disk_bytes, bool readonly)
{
	switch (w->op) {
	case BLKIF_OP_READ:
		check(w->pieces);
		break;
	case BLKIF_OP_WRITE:
		check(w->pieces && !readonly);
		break;
	case BLKIF_OP_FLUSH_DISKCACHE:
		check(!w->pieces || !readonly);
		break;
	case BLKIF_OP_DISCARD:
		check(!w->pieces && w->bytes && !readonly);
		check_range(w, disk_bytes);
		return;
	default:
		check(false);
	}
	check_pieces(w);
	if (w->pieces)
		check_range(w, disk_bytes);
}

/* Less than a page of segments is filled up with zeros, as the page could be. */
static int second_half(struct bytes_reader *r, uint64_t disk_bytes, struct blkif_work *w)
{
	struct blkif_request_segment seg[BLKIF_INDIRECTS] = { 0 };
	size_t n = r->left < sizeof(seg) ? r->left : sizeof(seg);
	const void *p = bytes_get(r, n);

	check((w->op == BLKIF_OP_READ || w->op == BLKIF_OP_WRITE) && w->pieces && w->pieces <= BLKIF_INDIRECTS);
	if (p)
		memcpy(seg, p, n);
	return blkif_pieces(seg, disk_bytes, w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes_reader r = bytes_reader(data, len);
	bool readonly = bytes_get_u8(&r) & 1;
	uint64_t disk_bytes = bytes_get_u64(&r) / BLKIF_SECTOR * BLKIF_SECTOR;
	struct blkif_request req;
	struct blkif_work w;
	int status;

	bytes_get_into(&r, &req, sizeof(req));
	if (r.failed)
		return 0;
	memset(&w, 0xa5, sizeof(w)); /* nothing of an earlier request is used */
	status = blkif_parse(&req, disk_bytes, readonly, &w);
	if (!status && w.indirect)
		status = second_half(&r, disk_bytes, &w);
	check(w.id == req.id);
	/* An indirect request has its operation where others have a number of segments. */
	check(w.op == (req.operation == BLKIF_OP_INDIRECT ? req.nr_segments : req.operation));
	if (!status)
		check_work(&w, disk_bytes, readonly);
	else
		check(status == BLKIF_RSP_ERROR || status == BLKIF_RSP_EOPNOTSUPP);
	return 0;
}
