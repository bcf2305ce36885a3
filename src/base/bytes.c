/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"

static bool reserve(struct bytes_writer *w, size_t len)
{
	size_t need, cap;
	uint8_t *buf;

	if (w->failed || add_overflow(w->len, len, &need))
		return false;
	if (need <= w->cap)
		return true;
	cap = MAX(need, w->cap * 2 + 256);
	buf = realloc(w->buf, cap);
	if (!buf) {
		w->failed = true;
		return false;
	}
	w->buf = buf;
	w->cap = cap;
	return true;
}

void bytes_put(struct bytes_writer *w, const void *src, size_t len)
{
	if (!len || !reserve(w, len))
		return;
	memcpy(w->buf + w->len, src, len);
	w->len += len;
}

void bytes_put_u8(struct bytes_writer *w, uint8_t v)
{
	bytes_put(w, &v, sizeof(v));
}

void bytes_put_u16(struct bytes_writer *w, uint16_t v)
{
	v = htole16(v);
	bytes_put(w, &v, sizeof(v));
}

void bytes_put_u32(struct bytes_writer *w, uint32_t v)
{
	v = htole32(v);
	bytes_put(w, &v, sizeof(v));
}

void bytes_put_u64(struct bytes_writer *w, uint64_t v)
{
	v = htole64(v);
	bytes_put(w, &v, sizeof(v));
}

void bytes_put_blob(struct bytes_writer *w, const void *src, size_t len)
{
	if (len > UINT32_MAX) {
		w->failed = true;
		return;
	}
	bytes_put_u32(w, (uint32_t)len);
	bytes_put(w, src, len);
}

void bytes_put_str(struct bytes_writer *w, const char *s)
{
	bytes_put_blob(w, s, strlen(s));
}

void bytes_writer_fini(struct bytes_writer *w)
{
	free(w->buf);
	*w = (struct bytes_writer){ 0 };
}

struct bytes_reader bytes_reader(const void *buf, size_t len)
{
	return (struct bytes_reader){ .p = buf, .left = len };
}

const void *bytes_get(struct bytes_reader *r, size_t len)
{
	const void *p = r->p;

	if (r->failed || len > r->left) {
		bytes_fail(r);
		return NULL;
	}
	r->p += len;
	r->left -= len;
	return p;
}

void bytes_get_into(struct bytes_reader *r, void *dst, size_t len)
{
	const void *src = bytes_get(r, len);

	if (src && len)
		memcpy(dst, src, len);
	else
		memset(dst, 0, len);
}

uint8_t bytes_get_u8(struct bytes_reader *r)
{
	uint8_t v;

	bytes_get_into(r, &v, sizeof(v));
	return v;
}

uint16_t bytes_get_u16(struct bytes_reader *r)
{
	uint16_t v;

	bytes_get_into(r, &v, sizeof(v));
	return le16toh(v);
}

uint32_t bytes_get_u32(struct bytes_reader *r)
{
	uint32_t v;

	bytes_get_into(r, &v, sizeof(v));
	return le32toh(v);
}

uint64_t bytes_get_u64(struct bytes_reader *r)
{
	uint64_t v;

	bytes_get_into(r, &v, sizeof(v));
	return le64toh(v);
}

const void *bytes_get_blob(struct bytes_reader *r, size_t max, size_t *ret_len)
{
	uint32_t len = bytes_get_u32(r);

	if (len > max)
		bytes_fail(r);
	if (r->failed) {
		*ret_len = 0;
		return NULL;
	}
	*ret_len = len;
	return bytes_get(r, len);
}

char *bytes_get_str(struct bytes_reader *r, size_t max)
{
	size_t len;
	const char *p = bytes_get_blob(r, max, &len);
	char *s;

	if (!p || memchr(p, 0, len)) {
		bytes_fail(r);
		return NULL;
	}
	s = strndup(p, len);
	if (!s)
		bytes_fail(r);
	return s;
}

void bytes_fail(struct bytes_reader *r)
{
	r->failed = true;
	r->left = 0;
}

int bytes_done(const struct bytes_reader *r)
{
	return r->failed || r->left ? -EBADMSG : 0;
}
