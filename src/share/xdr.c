/* SPDX-License-Identifier: Apache-2.0 */
#include "share/xdr.h"

#include <endian.h>
#include <string.h>

static size_t padding(size_t len)
{
	return -len & 3;
}

uint32_t xdr_get_u32(struct bytes_reader *r)
{
	uint32_t v;

	bytes_get_into(r, &v, sizeof(v));
	return be32toh(v);
}

uint64_t xdr_get_u64(struct bytes_reader *r)
{
	uint64_t v;

	bytes_get_into(r, &v, sizeof(v));
	return be64toh(v);
}

const uint8_t *xdr_get_opaque(struct bytes_reader *r, size_t max, size_t *ret_len)
{
	size_t len = xdr_get_u32(r);
	const uint8_t *p;

	*ret_len = 0;
	if (len > max) {
		bytes_fail(r);
		return NULL;
	}
	p = bytes_get(r, len);
	bytes_get(r, padding(len));
	if (r->failed)
		return NULL;
	*ret_len = len;
	return p;
}

void xdr_put_u32(struct bytes_writer *w, uint32_t v)
{
	v = htobe32(v);
	bytes_put(w, &v, sizeof(v));
}

void xdr_put_u64(struct bytes_writer *w, uint64_t v)
{
	v = htobe64(v);
	bytes_put(w, &v, sizeof(v));
}

void xdr_pad(struct bytes_writer *w, size_t len)
{
	static const uint8_t zero[3];

	bytes_put(w, zero, padding(len));
}

void xdr_put_opaque(struct bytes_writer *w, const void *src, size_t len)
{
	xdr_put_u32(w, (uint32_t)len);
	bytes_put(w, src, len);
	xdr_pad(w, len);
}

void xdr_set_u32(struct bytes_writer *w, size_t at, uint32_t v)
{
	v = htobe32(v);
	if (!w->failed)
		memcpy(w->buf + at, &v, sizeof(v));
}
