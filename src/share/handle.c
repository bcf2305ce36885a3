/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File handles: what a client names files by. They say which file, not where, so they hold through renames; and
 * nothing that the server would have to remember, so they hold through its end. A code over it by the share's key
 * keeps a client from naming what it was never given.
 *
 *     u32 version, u64 number, u64 birth, 16 bytes of code
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "share/internal.h"

#define VERSION 0x6e646831 /* "ndh1" */
#define SIGNED	20
#define CODE	16

static void make_code(const struct share *s, const uint8_t *handle, uint8_t ret[CODE])
{
	crypto_generichash(ret, CODE, handle, SIGNED, replies_key(s->replies), REPLIES_KEY);
}

void handle_make(const struct share *s, const struct file_id *id, uint8_t ret[HANDLE_BYTES])
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	xdr_put_u32(&w, VERSION);
	xdr_put_u64(&w, id->ino);
	xdr_put_u64(&w, id->born_ns);
	memset(ret, 0, HANDLE_BYTES);
	if (w.failed)
		return;
	memcpy(ret, w.buf, SIGNED);
	make_code(s, ret, ret + SIGNED);
}

int handle_check(const struct share *s, const uint8_t *handle, size_t len, struct file_id *ret)
{
	struct bytes_reader r = bytes_reader(handle, len);
	uint8_t code[CODE];

	if (len != HANDLE_BYTES || xdr_get_u32(&r) != VERSION)
		return -EBADF;
	make_code(s, handle, code);
	if (sodium_memcmp(code, handle + SIGNED, CODE))
		return -EBADF;
	ret->ino = xdr_get_u64(&r);
	ret->born_ns = xdr_get_u64(&r);
	return 0;
}

void get_handle(struct call *c, struct handle *ret)
{
	ret->p = xdr_get_opaque(&c->in, HANDLE_MAX, &ret->len);
}

int open_handle(struct call *c, const struct handle *h, struct file *ret)
{
	struct file_id id;
	int r = handle_check(c->share, h->p, h->len, &id);

	return r ?: tree_open(c->share->tree, &id, ret);
}

void put_handle(struct call *c, const struct file_id *id)
{
	uint8_t b[HANDLE_BYTES];

	handle_make(c->share, id, b);
	xdr_put_opaque(c->out, b, sizeof(b));
}

void put_post_handle(struct call *c, const struct file_id *id)
{
	xdr_put_u32(c->out, 1);
	put_handle(c, id);
}

void get_name(struct call *c, struct name *ret)
{
	size_t len;
	const uint8_t *p = xdr_get_opaque(&c->in, SHARE_REQUEST_MAX, &len);

	*ret = (struct name){ .too_long = len > TREE_NAME_MAX };
	if (!p || ret->too_long)
		return;
	ret->good = tree_name_is_good(p, len);
	memcpy(ret->text, p, len);
}

int check_name(const struct name *n)
{
	if (n->too_long)
		return -ENAMETOOLONG;
	return n->good ? 0 : -EINVAL;
}
