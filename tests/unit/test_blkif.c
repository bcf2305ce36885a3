/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of a disk's frontend: what is taken, what is refused, and what the answer to it has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "device/blkif.h"

#define SECTORS UINT64_C(2048)
#define DISK	(SECTORS * BLKIF_SECTOR)
#define ID	UINT64_C(0xfedcba9876543210)

static struct blkif_work w;

static struct blkif_request rw(uint8_t op, uint64_t sector, uint8_t segments)
{
	struct blkif_request req = { .operation = op, .nr_segments = segments, .id = ID, .sector_number = sector };

	for (unsigned int i = 0; i < ARRAY_SIZE(req.seg); i++)
		req.seg[i] = (struct blkif_request_segment){ .gref = 100 + i, .first_sect = 0, .last_sect = 7 };
	return req;
}

/* What is in *w afterwards is not to be what was there before. */
static int parse(const struct blkif_request *req, bool readonly)
{
	memset(&w, 0xa5, sizeof(w));
	return blkif_parse(req, DISK, readonly, &w);
}

static int parse_rw(uint8_t op, uint64_t sector, uint8_t segments)
{
	struct blkif_request req = rw(op, sector, segments);

	return parse(&req, false);
}

static int parse_segment(uint8_t first, uint8_t last)
{
	struct blkif_request req = rw(BLKIF_OP_READ, 0, 2);

	req.seg[1].first_sect = first;
	req.seg[1].last_sect = last;
	return parse(&req, false);
}

static int parse_discard(uint64_t sector, uint64_t sectors, uint8_t flag, bool readonly)
{
	struct blkif_request_discard d = {
		.operation = BLKIF_OP_DISCARD, .flag = flag, .id = ID, .sector_number = sector, .nr_sectors = sectors
	};
	struct blkif_request req;

	memset(&req, 0x5a, sizeof(req));
	memcpy(&req, &d, sizeof(d));
	return parse(&req, readonly);
}

static int parse_indirect(uint8_t op, uint64_t sector, uint16_t segments, bool readonly)
{
	struct blkif_request_indirect d = { .operation = BLKIF_OP_INDIRECT,
					    .indirect_op = op,
					    .nr_segments = segments,
					    .id = ID,
					    .sector_number = sector,
					    .indirect_grefs = { 77, 78 } };
	struct blkif_request req;

	memset(&req, 0x5a, sizeof(req));
	memcpy(&req, &d, sizeof(d));
	return parse(&req, readonly);
}

static int pieces(unsigned int n, uint8_t first, uint8_t last)
{
	struct blkif_request_segment seg[BLKIF_INDIRECTS];

	for (unsigned int i = 0; i < ARRAY_SIZE(seg); i++)
		seg[i] = (struct blkif_request_segment){ 1000 + i, 0, 7 };
	seg[n - 1].first_sect = first;
	seg[n - 1].last_sect = last;
	return blkif_pieces(seg, DISK, &w);
}

static void assert_answers(uint8_t op)
{
	assert_int_equal(w.id, ID);
	assert_int_equal(w.op, op);
}

/* ---- reads and writes ---- */

static void test_a_transfer_becomes_pieces(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 40, 3);

	(void)state;
	req.seg[0].first_sect = 5;
	req.seg[1].last_sect = 0;
	assert_int_equal(parse(&req, false), 0);
	assert_answers(BLKIF_OP_WRITE);
	assert_int_equal(w.offset, 40 * BLKIF_SECTOR);
	assert_int_equal(w.bytes, (3 + 1 + 8) * BLKIF_SECTOR);
	assert_int_equal(w.pieces, 3);
	assert_false(w.indirect);
	assert_int_equal(w.piece[0].gref, 100);
	assert_int_equal(w.piece[0].offset, 5 * BLKIF_SECTOR);
	assert_int_equal(w.piece[0].bytes, 3 * BLKIF_SECTOR);
	assert_int_equal(w.piece[1].offset, 0);
	assert_int_equal(w.piece[1].bytes, BLKIF_SECTOR);
	assert_int_equal(w.piece[2].gref, 102);
	assert_int_equal(w.piece[2].bytes, 8 * BLKIF_SECTOR);
}

static void test_a_transfer_has_one_to_eleven_segments(void **state)
{
	static const uint8_t ops[] = { BLKIF_OP_READ, BLKIF_OP_WRITE };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++) {
		assert_int_equal(parse_rw(ops[i], 0, 1), 0);
		assert_int_equal(parse_rw(ops[i], 0, 11), 0);
		assert_int_equal(parse_rw(ops[i], 0, 0), BLKIF_RSP_ERROR);
		assert_answers(ops[i]);
		assert_int_equal(parse_rw(ops[i], 0, 12), BLKIF_RSP_ERROR);
		assert_int_equal(parse_rw(ops[i], 0, 255), BLKIF_RSP_ERROR);
		assert_answers(ops[i]);
	}
}

static void test_a_segment_is_inside_of_its_page(void **state)
{
	(void)state;
	assert_int_equal(parse_segment(7, 7), 0);
	assert_int_equal(w.bytes, 9 * BLKIF_SECTOR);
	assert_int_equal(parse_segment(0, 8), BLKIF_RSP_ERROR);
	assert_int_equal(parse_segment(8, 8), BLKIF_RSP_ERROR);
	assert_int_equal(parse_segment(0, 255), BLKIF_RSP_ERROR);
	assert_int_equal(parse_segment(255, 255), BLKIF_RSP_ERROR);
	assert_int_equal(parse_segment(4, 3), BLKIF_RSP_ERROR);
	assert_int_equal(parse_segment(255, 0), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_READ);
}

static void test_a_transfer_ends_with_the_disk(void **state)
{
	(void)state;
	assert_int_equal(parse_rw(BLKIF_OP_READ, SECTORS - 8, 1), 0);
	assert_int_equal(w.offset + w.bytes, DISK);
	assert_int_equal(parse_rw(BLKIF_OP_READ, SECTORS - 7, 1), BLKIF_RSP_ERROR);
	assert_int_equal(parse_rw(BLKIF_OP_READ, SECTORS - 8, 2), BLKIF_RSP_ERROR);
	assert_int_equal(parse_rw(BLKIF_OP_READ, SECTORS, 1), BLKIF_RSP_ERROR);
	assert_int_equal(parse_rw(BLKIF_OP_WRITE, SECTORS + 1, 1), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_WRITE);
}

static void test_sectors_do_not_wrap(void **state)
{
	static const uint64_t far[] = { UINT64_MAX,	   UINT64_MAX - 7,	    UINT64_MAX - 8,
					UINT64_C(1) << 55, (UINT64_C(1) << 55) - 1, UINT64_C(1) << 63 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(far); i++) {
		assert_int_equal(parse_rw(BLKIF_OP_READ, far[i], 1), BLKIF_RSP_ERROR);
		assert_int_equal(parse_rw(BLKIF_OP_WRITE, far[i], 11), BLKIF_RSP_ERROR);
		assert_int_equal(parse_discard(far[i], 8, 0, false), BLKIF_RSP_ERROR);
		assert_int_equal(parse_discard(8, far[i], 0, false), BLKIF_RSP_ERROR);
		assert_int_equal(parse_indirect(BLKIF_OP_READ, far[i], 1, false) ?: pieces(1, 0, 7), BLKIF_RSP_ERROR);
	}
}

/* ---- the rest ---- */

/* Linux makes its flushes out of nothing, and their sector is -1. */
static void test_a_flush_without_data_is_nowhere(void **state)
{
	(void)state;
	assert_int_equal(parse_rw(BLKIF_OP_FLUSH_DISKCACHE, 0, 0), 0);
	assert_int_equal(parse_rw(BLKIF_OP_FLUSH_DISKCACHE, UINT64_MAX, 0), 0);
	assert_answers(BLKIF_OP_FLUSH_DISKCACHE);
	assert_int_equal(w.pieces, 0);
	assert_int_equal(w.bytes, 0);
}

static void test_a_flush_may_carry_data(void **state)
{
	(void)state;
	assert_int_equal(parse_rw(BLKIF_OP_FLUSH_DISKCACHE, 8, 11), 0);
	assert_answers(BLKIF_OP_FLUSH_DISKCACHE);
	assert_int_equal(w.bytes, 88 * BLKIF_SECTOR);
	assert_int_equal(parse_rw(BLKIF_OP_FLUSH_DISKCACHE, SECTORS, 1), BLKIF_RSP_ERROR);
	assert_int_equal(parse_rw(BLKIF_OP_FLUSH_DISKCACHE, UINT64_MAX, 1), BLKIF_RSP_ERROR);
	assert_int_equal(parse_rw(BLKIF_OP_FLUSH_DISKCACHE, 0, 12), BLKIF_RSP_ERROR);
}

static void test_a_discard_has_a_range(void **state)
{
	(void)state;
	assert_int_equal(parse_discard(16, 32, 0, false), 0);
	assert_answers(BLKIF_OP_DISCARD);
	assert_int_equal(w.offset, 16 * BLKIF_SECTOR);
	assert_int_equal(w.bytes, 32 * BLKIF_SECTOR);
	assert_int_equal(w.pieces, 0);
	assert_int_equal(parse_discard(0, SECTORS, 0, false), 0);
	assert_int_equal(parse_discard(0, SECTORS + 1, 0, false), BLKIF_RSP_ERROR);
	assert_int_equal(parse_discard(1, SECTORS, 0, false), BLKIF_RSP_ERROR);
	assert_int_equal(parse_discard(SECTORS, 1, 0, false), BLKIF_RSP_ERROR);
	assert_int_equal(parse_discard(0, 0, 0, false), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_DISCARD);
}

static void test_a_discard_is_not_secure(void **state)
{
	(void)state;
	assert_int_equal(parse_discard(0, 8, BLKIF_DISCARD_SECURE, false), BLKIF_RSP_EOPNOTSUPP);
	assert_answers(BLKIF_OP_DISCARD);
	assert_int_equal(parse_discard(0, 8, 0xff, false), BLKIF_RSP_EOPNOTSUPP);
}

static void test_other_operations_are_not_supported(void **state)
{
	(void)state;
	for (unsigned int op = 0; op < 256; op++) {
		if (op == BLKIF_OP_READ || op == BLKIF_OP_WRITE || op == BLKIF_OP_FLUSH_DISKCACHE ||
		    op == BLKIF_OP_DISCARD || op == BLKIF_OP_INDIRECT)
			continue;
		assert_int_equal(parse_rw((uint8_t)op, 0, 1), BLKIF_RSP_EOPNOTSUPP);
		assert_answers((uint8_t)op);
	}
}

static void test_a_readonly_disk_is_read(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_READ, 0, 1);

	(void)state;
	assert_int_equal(parse(&req, true), 0);
	req = rw(BLKIF_OP_WRITE, 0, 1);
	assert_int_equal(parse(&req, true), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_WRITE);
	req = rw(BLKIF_OP_FLUSH_DISKCACHE, 0, 0);
	assert_int_equal(parse(&req, true), 0);
	req = rw(BLKIF_OP_FLUSH_DISKCACHE, 0, 1);
	assert_int_equal(parse(&req, true), BLKIF_RSP_ERROR);
	assert_int_equal(parse_discard(0, 8, 0, true), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_DISCARD);
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, 1, true), 0);
	assert_int_equal(parse_indirect(BLKIF_OP_WRITE, 0, 1, true), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_WRITE);
}

/* ---- indirect ---- */

static void test_an_indirect_request_comes_in_two_halves(void **state)
{
	(void)state;
	assert_int_equal(parse_indirect(BLKIF_OP_WRITE, 24, 5, false), 0);
	assert_answers(BLKIF_OP_WRITE);
	assert_true(w.indirect);
	assert_int_equal(w.pieces, 5);
	assert_int_equal(w.indirect_gref, 77);
	assert_int_equal(pieces(5, 2, 3), 0);
	assert_int_equal(w.offset, 24 * BLKIF_SECTOR);
	assert_int_equal(w.bytes, (4 * 8 + 2) * BLKIF_SECTOR);
	assert_int_equal(w.pieces, 5);
	assert_int_equal(w.piece[4].gref, 1004);
	assert_int_equal(w.piece[4].offset, 2 * BLKIF_SECTOR);
	assert_int_equal(w.piece[4].bytes, 2 * BLKIF_SECTOR);
}

static void test_an_indirect_request_has_1_to_256_segments(void **state)
{
	(void)state;
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, 256, false), 0);
	assert_int_equal(pieces(256, 0, 7), 0);
	assert_int_equal(w.bytes, DISK);
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, 0, false), BLKIF_RSP_ERROR);
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, 257, false), BLKIF_RSP_ERROR);
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, UINT16_MAX, false), BLKIF_RSP_ERROR);
	assert_answers(BLKIF_OP_READ);
}

static void test_only_transfers_are_indirect(void **state)
{
	(void)state;
	for (unsigned int op = 0; op < 256; op++) {
		bool good = op == BLKIF_OP_READ || op == BLKIF_OP_WRITE;

		assert_int_equal(parse_indirect((uint8_t)op, 0, 1, false), good ? 0 : BLKIF_RSP_ERROR);
		assert_answers((uint8_t)op);
	}
}

static void test_indirect_segments_are_checked_as_others(void **state)
{
	(void)state;
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, 12, false), 0);
	assert_int_equal(pieces(12, 3, 2), BLKIF_RSP_ERROR);
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 0, 12, false), 0);
	assert_int_equal(pieces(12, 0, 8), BLKIF_RSP_ERROR);
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 1, 256, false), 0);
	assert_int_equal(pieces(256, 0, 7), BLKIF_RSP_ERROR); /* one sector too far */
	assert_int_equal(parse_indirect(BLKIF_OP_READ, 1, 256, false), 0);
	assert_int_equal(pieces(256, 0, 6), 0);
	assert_answers(BLKIF_OP_READ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_transfer_becomes_pieces),
		cmocka_unit_test(test_a_transfer_has_one_to_eleven_segments),
		cmocka_unit_test(test_a_segment_is_inside_of_its_page),
		cmocka_unit_test(test_a_transfer_ends_with_the_disk),
		cmocka_unit_test(test_sectors_do_not_wrap),
		cmocka_unit_test(test_a_flush_without_data_is_nowhere),
		cmocka_unit_test(test_a_flush_may_carry_data),
		cmocka_unit_test(test_a_discard_has_a_range),
		cmocka_unit_test(test_a_discard_is_not_secure),
		cmocka_unit_test(test_other_operations_are_not_supported),
		cmocka_unit_test(test_a_readonly_disk_is_read),
		cmocka_unit_test(test_an_indirect_request_comes_in_two_halves),
		cmocka_unit_test(test_an_indirect_request_has_1_to_256_segments),
		cmocka_unit_test(test_only_transfers_are_indirect),
		cmocka_unit_test(test_indirect_segments_are_checked_as_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
