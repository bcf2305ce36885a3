/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of state: a growing little-endian writer and a bounds-checked reader.
 *
 * Both remember failure, so that a sequence of calls needs one check at its end:
 * a writer that ran out of memory drops what follows, a reader that ran past its end
 * or was told bytes_fail() gives zeros. Every parser of saved state is built on the reader.
 */
#ifndef NIDRA_BASE_BYTES_H
#define NIDRA_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct bytes_writer {
	uint8_t *buf; /* owned */
	size_t len, cap;
	bool failed; /* out of memory */
};

void bytes_put(struct bytes_writer *w, const void *src, size_t len);
void bytes_put_u8(struct bytes_writer *w, uint8_t v);
void bytes_put_u16(struct bytes_writer *w, uint16_t v);
void bytes_put_u32(struct bytes_writer *w, uint32_t v);
void bytes_put_u64(struct bytes_writer *w, uint64_t v);
/* u32 length, then the bytes. */
void bytes_put_blob(struct bytes_writer *w, const void *src, size_t len);
void bytes_put_str(struct bytes_writer *w, const char *s);
void bytes_writer_fini(struct bytes_writer *w);

#define _cleanup_bytes_ _cleanup_(bytes_writer_fini)

struct bytes_reader {
	const uint8_t *p; /* borrowed */
	size_t left;
	bool failed;
};

struct bytes_reader bytes_reader(const void *buf, size_t len);
/* The next @len bytes in place, or NULL. */
const void *bytes_get(struct bytes_reader *r, size_t len);
/* Copies the next @len bytes; zeros if there are not so many. */
void bytes_get_into(struct bytes_reader *r, void *dst, size_t len);
uint8_t bytes_get_u8(struct bytes_reader *r);
uint16_t bytes_get_u16(struct bytes_reader *r);
uint32_t bytes_get_u32(struct bytes_reader *r);
uint64_t bytes_get_u64(struct bytes_reader *r);
/* A blob of at most @max bytes, in place; NULL (and failed) if longer. */
const void *bytes_get_blob(struct bytes_reader *r, size_t max, size_t *ret_len);
/* A string of at most @max bytes without NUL inside, allocated; NULL on failure. */
char *bytes_get_str(struct bytes_reader *r, size_t max);
/* The value was read but makes no sense. */
void bytes_fail(struct bytes_reader *r);
/* 0 if nothing failed and nothing is left over, else -EBADMSG. */
int bytes_done(const struct bytes_reader *r);

#endif
