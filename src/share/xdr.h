/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XDR (RFC 4506) over base/bytes.h: big-endian words, and bytes filled up to a multiple of four. Nothing is allocated
 * for what is read, and no length is believed before it was compared with what is there.
 */
#ifndef NIDRA_SHARE_XDR_H
#define NIDRA_SHARE_XDR_H

#include "base/bytes.h"

uint32_t xdr_get_u32(struct bytes_reader *r);
uint64_t xdr_get_u64(struct bytes_reader *r);
/* Bytes whose length stands before them, in place; NULL (and failed) above @max. */
const uint8_t *xdr_get_opaque(struct bytes_reader *r, size_t max, size_t *ret_len);

void xdr_put_u32(struct bytes_writer *w, uint32_t v);
void xdr_put_u64(struct bytes_writer *w, uint64_t v);
void xdr_put_opaque(struct bytes_writer *w, const void *src, size_t len);
/* What is missing after @len bytes. */
void xdr_pad(struct bytes_writer *w, size_t len);
/* A word that was put before, at @at bytes from the start. */
void xdr_set_u32(struct bytes_writer *w, size_t at, uint32_t v);

#endif
