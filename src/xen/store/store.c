/* SPDX-License-Identifier: Apache-2.0 */
#include "xen/store/store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "xen/store/internal.h"

int xs_new(uint16_t guest_domid, struct xs **ret, struct err *err)
{
	struct xs *xs = calloc(1, sizeof(*xs));

	if (!xs || xs_tree_init(&xs->tree)) {
		free(xs);
		return err_errno(err, -ENOMEM, "xenstore");
	}
	xs->guest = guest_domid;
	*ret = xs;
	return 0;
}

void xs_free(struct xs *xs)
{
	if (!xs)
		return;
	xs_txn_free_all(xs);
	xs_watch_free_all(xs);
	xs_tree_fini(&xs->tree);
	bytes_writer_fini(&xs->out);
	free(xs);
}

/* ---- toolstack ---- */

static int change(struct xs *xs, const char *path, struct xs_step *s)
{
	if (*path != '/' || !xs_path_valid(path))
		return EINVAL;
	s->path = (char *)(uintptr_t)path;
	return xs_do(xs, NULL, 0, s);
}

int xs_write(struct xs *xs, const char *path, const char *fmt, ...)
{
	char value[XENSTORE_PAYLOAD_MAX];
	struct xs_step s = { .op = XS_OP_WRITE, .value = (uint8_t *)value };
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (len < 0 || len >= (int)sizeof(value))
		return E2BIG;
	s.len = (uint32_t)len;
	return change(xs, path, &s);
}

char *xs_read(struct xs *xs, const char *path, size_t *ret_len)
{
	const struct xs_node *n = xs_tree_find(&xs->tree, path);
	char *copy = n ? malloc(n->len + 1u) : NULL;

	if (!copy)
		return NULL;
	if (n->len)
		memcpy(copy, n->value, n->len);
	copy[n->len] = 0;
	if (ret_len)
		*ret_len = n->len;
	return copy;
}

int xs_rm(struct xs *xs, const char *path)
{
	struct xs_step s = { .op = XS_OP_RM };

	return change(xs, path, &s);
}

int xs_set_perms(struct xs *xs, const char *path, const char *perms)
{
	struct xs_step s = { .op = XS_OP_SET_PERMS };
	_cleanup_free_ char *copy = strdup(perms);
	int r;

	if (!copy)
		return ENOMEM;
	for (char *p = copy; *p; p++)
		if (*p == ',')
			*p = 0;
	r = xs_parse_perms(copy, strlen(perms) + 1, s.perm, &s.perms);
	return r ?: change(xs, path, &s);
}

/* ---- connection ---- */

/* How many bytes the request that is coming in still needs. */
static size_t wanted(struct xs *xs)
{
	struct xsd_sockmsg head;

	if (xs->in_len < sizeof(head))
		return sizeof(head) - xs->in_len;
	memcpy(&head, xs->in, sizeof(head));
	if (head.len > XENSTORE_PAYLOAD_MAX) {
		xs->broken = true; /* there is no telling where the next request begins */
		return 0;
	}
	return sizeof(head) + head.len - xs->in_len;
}

static void handle(struct xs *xs)
{
	char payload[XENSTORE_PAYLOAD_MAX + 1];
	struct xsd_sockmsg head;

	memcpy(&head, xs->in, sizeof(head));
	memcpy(payload, xs->in + sizeof(head), head.len);
	payload[head.len] = 0;
	xs->in_len = 0;
	xs_handle(xs, &head, payload);
}

size_t xs_input(struct xs *xs, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t taken = 0;

	while (taken < len && !xs->broken && xs_output_pending(xs) < XS_OUTPUT_HIGH) {
		size_t n = MIN(wanted(xs), len - taken);

		memcpy(xs->in + xs->in_len, p + taken, n);
		xs->in_len += n;
		taken += n;
		if (xs->in_len >= sizeof(struct xsd_sockmsg) && !wanted(xs) && !xs->broken)
			handle(xs);
	}
	return taken;
}

size_t xs_output_pending(const struct xs *xs)
{
	return xs->out.len - xs->out_taken;
}

size_t xs_output(struct xs *xs, void *buf, size_t max)
{
	size_t n = MIN(max, xs_output_pending(xs));

	if (xs->broken)
		return 0;
	if (n)
		memcpy(buf, xs->out.buf + xs->out_taken, n);
	xs->out_taken += n;
	/* A queue that is never quite empty must not grow for ever. */
	if (xs->out_taken > XS_OUTPUT_HIGH) {
		memmove(xs->out.buf, xs->out.buf + xs->out_taken, xs_output_pending(xs));
		xs->out.len -= xs->out_taken;
		xs->out_taken = 0;
	}
	return n;
}

bool xs_broken(const struct xs *xs)
{
	return xs->broken;
}
