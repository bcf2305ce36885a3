/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as bytes (record XENSTORE of docs/image-format.md). Open transactions are kept by number
 * only: the guest slept over them, so they are stale, and a read in one sees the store itself.
 */
#include <errno.h>
#include <string.h>

#include "xen/store/internal.h"

#define STATE_VERSION 1

void xs_save(struct xs *xs, struct bytes_writer *w)
{
	uint32_t txns = 0;

	bytes_put_u32(w, STATE_VERSION);
	bytes_put_u16(w, xs->guest);
	bytes_put_u64(w, xs->generation);
	xs_tree_save(&xs->tree, w);
	bytes_put_u32(w, xs->watch_count);
	for (struct xs_watch *x = xs->watches; x; x = x->next) {
		bytes_put_str(w, x->path);
		bytes_put_str(w, x->token);
		bytes_put_u8(w, x->relative);
	}
	for (struct xs_txn *t = xs->txns; t; t = t->next)
		txns++;
	bytes_put_u32(w, txns);
	for (struct xs_txn *t = xs->txns; t; t = t->next)
		bytes_put_u32(w, t->id);
	bytes_put_u32(w, xs->last_txn);
	bytes_put_blob(w, xs->in, xs->in_len);
	bytes_put_blob(w, xs->out.buf ? xs->out.buf + xs->out_taken : NULL, xs_output_pending(xs));
	bytes_put_u8(w, xs->broken);
}

static void load_watches(struct xs *xs, struct bytes_reader *r)
{
	for (uint32_t n = bytes_get_u32(r); n && !r->failed; n--) {
		_cleanup_free_ char *path = bytes_get_str(r, XENSTORE_ABS_PATH_MAX);
		_cleanup_free_ char *token = bytes_get_str(r, XENSTORE_PAYLOAD_MAX);
		bool relative = bytes_get_u8(r);

		if (!path || !token || xs_watch_add(xs, path, token, relative))
			bytes_fail(r);
	}
}

static void load_txns(struct xs *xs, struct bytes_reader *r)
{
	uint32_t id[XS_TRANSACTIONS_MAX + XS_STALE_MAX], n = bytes_get_u32(r);

	if (n > ARRAY_SIZE(id)) {
		bytes_fail(r);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		id[i] = bytes_get_u32(r);
	/* The newest come first, as they were saved, and each start puts one in front. */
	while (n && !r->failed) {
		xs->last_txn = id[--n] - 1;
		if (xs_txn_start(xs, &id[n]))
			bytes_fail(r);
		else
			xs->txns->stale = true;
	}
	xs->last_txn = bytes_get_u32(r);
}

static void load_buffers(struct xs *xs, struct bytes_reader *r)
{
	struct xsd_sockmsg head;
	const void *p;
	size_t len;

	p = bytes_get_blob(r, sizeof(xs->in) - 1, &len);
	if (p)
		memcpy(xs->in, p, len);
	xs->in_len = len;
	if (len >= sizeof(head)) { /* a whole request would have been handled, not kept */
		memcpy(&head, xs->in, sizeof(head));
		if (len >= sizeof(head) + (size_t)head.len)
			bytes_fail(r);
	}
	p = bytes_get_blob(r, 2 * XS_OUTPUT_MAX, &len);
	if (p)
		bytes_put(&xs->out, p, len);
	xs->broken = bytes_get_u8(r);
}

int xs_load(struct bytes_reader *r, struct xs **ret, struct err *err)
{
	_cleanup_(xs_freep) struct xs *xs = calloc(1, sizeof(*xs));

	if (!xs)
		return err_errno(err, -ENOMEM, "xenstore");
	if (bytes_get_u32(r) != STATE_VERSION)
		return err_set(err, -EBADMSG, "the image's xenstore is of another version");
	xs->guest = bytes_get_u16(r);
	xs->generation = bytes_get_u64(r);
	if (!xs->guest) /* domain 0 may do everything, without a quota */
		return err_set(err, -EBADMSG, "the image's xenstore makes no sense");
	if (xs_tree_load(&xs->tree, xs->guest, r))
		return err_set(err, -EBADMSG, "the image's xenstore makes no sense");
	load_watches(xs, r);
	load_txns(xs, r);
	load_buffers(xs, r);
	if (bytes_done(r) || xs->out.failed)
		return err_set(err, -EBADMSG, "the image's xenstore makes no sense");
	*ret = take_ptr(xs);
	return 0;
}
