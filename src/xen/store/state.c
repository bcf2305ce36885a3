/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as bytes (record XENSTORE of docs/image-format.md). Open transactions are kept by number
 * only: the guest slept over them, so they are stale, and a read in one sees the store itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xen/store/internal.h"

#define STATE_VERSION 1
/* Events stop at XS_OUTPUT_MAX; the last of them and an answer may go past it. */
#define OUTPUT_LOAD_MAX (XS_OUTPUT_MAX + 2 * (sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX))

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

/* Anything but 0 and 1 was not saved by us. */
static bool get_bool(struct bytes_reader *r)
{
	uint8_t v = bytes_get_u8(r);

	if (v > 1)
		bytes_fail(r);
	return v == 1;
}

/* What the guest could have asked for; a relative one was made absolute by its home. */
static bool watch_valid(const struct xs *xs, const char *path, bool relative)
{
	char home[64];
	int n = snprintf(home, sizeof(home), "/local/domain/%u/", xs->guest);

	if (*path == '@')
		return !relative;
	return *path == '/' && xs_path_valid(path) && (!relative || !strncmp(path, home, (size_t)n));
}

static void load_watches(struct xs *xs, struct bytes_reader *r)
{
	for (uint32_t n = bytes_get_u32(r); n && !r->failed; n--) {
		_cleanup_free_ char *path = bytes_get_str(r, XENSTORE_ABS_PATH_MAX);
		_cleanup_free_ char *token = bytes_get_str(r, XENSTORE_PAYLOAD_MAX);
		bool relative = get_bool(r);

		if (!path || !token || !watch_valid(xs, path, relative) || xs_watch_add(xs, path, token, relative))
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
		uint32_t got;

		xs->last_txn = id[--n] - 1;
		/* A start passes over 0 and numbers that are taken: no save has those. */
		if (xs_txn_start(xs, &got) || got != id[n])
			bytes_fail(r);
		else
			xs->txns->stale = true;
	}
	xs->last_txn = bytes_get_u32(r);
}

/* A whole request would have been handled, not kept; one that is too long breaks the connection. */
static bool partial(const struct xs *xs)
{
	struct xsd_sockmsg head;

	if (xs->in_len < sizeof(head))
		return true;
	memcpy(&head, xs->in, sizeof(head));
	if (head.len > XENSTORE_PAYLOAD_MAX)
		return xs->broken && xs->in_len == sizeof(head);
	return xs->in_len < sizeof(head) + head.len;
}

static void load_buffers(struct xs *xs, struct bytes_reader *r)
{
	const void *p;
	size_t len;

	p = bytes_get_blob(r, sizeof(xs->in) - 1, &len);
	if (p) {
		memcpy(xs->in, p, len);
		xs->in_len = len;
	}
	p = bytes_get_blob(r, OUTPUT_LOAD_MAX, &len);
	if (p)
		bytes_put(&xs->out, p, len);
	xs->broken = get_bool(r);
	if (!partial(xs))
		bytes_fail(r);
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
