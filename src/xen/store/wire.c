/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's requests: one function each, from a table. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "xen/store/internal.h"

/* One request being handled. The payload has a NUL behind it. */
struct request {
	struct xs *xs;
	const struct xsd_sockmsg *head;
	char *payload;
	size_t len;
	struct xs_txn *txn;		      /* NULL: outside of transactions */
	char path[XENSTORE_ABS_PATH_MAX + 1]; /* absolute, once get_path() succeeded */
	bool relative;
};

void xs_queue(struct xs *xs, const struct xsd_sockmsg *to, uint32_t type, const void *payload, size_t len)
{
	struct xsd_sockmsg head = {
		.type = type, .req_id = to ? to->req_id : 0, .tx_id = to ? to->tx_id : 0, .len = (uint32_t)len
	};

	if (xs->out_taken == xs->out.len)
		xs->out.len = xs->out_taken = 0;
	bytes_put(&xs->out, &head, sizeof(head));
	bytes_put(&xs->out, payload, len);
	xs->broken |= xs->out.failed;
}

static int reply(struct request *q, const void *payload, size_t len)
{
	if (len > XENSTORE_PAYLOAD_MAX)
		return E2BIG;
	xs_queue(q->xs, q->head, q->head->type, payload, len);
	return 0;
}

static int reply_ok(struct request *q)
{
	return reply(q, "OK", 3);
}

static void reply_error(struct request *q, int error)
{
	const char *name = "EINVAL";

	for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
		if (xsd_errors[i].errnum == error)
			name = xsd_errors[i].errstring;
	xs_queue(q->xs, q->head, XS_ERROR, name, strlen(name) + 1);
}

static struct xs_tree *tree_of(struct request *q)
{
	return q->txn ? &q->txn->tree : &q->xs->tree;
}

/* The first string of the payload as an absolute path; what is behind its NUL goes to *ret_rest. */
static int get_path(struct request *q, char **ret_rest, size_t *ret_len)
{
	size_t n = strnlen(q->payload, q->len);
	int len;

	if (n == q->len || !xs_path_valid(q->payload))
		return EINVAL;
	q->relative = *q->payload != '/';
	if (q->relative)
		len = snprintf(q->path, sizeof(q->path), "/local/domain/%u/%s", q->xs->guest, q->payload);
	else
		len = snprintf(q->path, sizeof(q->path), "%s", q->payload);
	if (len >= (int)sizeof(q->path))
		return EINVAL;
	*ret_rest = q->payload + n + 1;
	*ret_len = q->len - n - 1;
	return 0;
}

/* get_path() for requests that have nothing else. */
static int get_only_path(struct request *q)
{
	size_t len;
	char *rest;
	int r = get_path(q, &rest, &len);

	return r ?: (len ? EINVAL : 0);
}

/* A node that the guest may read. */
static int look(struct request *q, const struct xs_node **ret)
{
	const struct xs_node *n = xs_tree_find(tree_of(q), q->path);
	int r = q->txn ? xs_txn_look(q->txn, q->path) : 0;

	if (r)
		return r;
	if (!n) /* who may not read above does not learn what is missing */
		return xs_node_allows(xs_tree_nearest(tree_of(q), q->path), q->xs->guest, XS_READ_PERM) ? ENOENT
													: EACCES;
	if (!xs_node_allows(n, q->xs->guest, XS_READ_PERM))
		return EACCES;
	*ret = n;
	return 0;
}

static int do_read(struct request *q)
{
	const struct xs_node *n;
	int r = get_only_path(q) ?: look(q, &n);

	return r ?: reply(q, n->value, n->len);
}

static int do_directory(struct request *q)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	const struct xs_node *n;
	int r = get_only_path(q) ?: look(q, &n);

	if (r)
		return r;
	for (uint32_t i = 0; i < n->children; i++)
		bytes_put(&w, n->child[i]->name, strlen(n->child[i]->name) + 1);
	return w.failed ? ENOMEM : reply(q, w.buf, w.len);
}

/* For lists longer than a payload: "<generation>" and names from an offset on; an empty name ends. */
static int do_directory_part(struct request *q)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	const struct xs_node *n;
	char *rest, generation[32];
	size_t len, at = 0, offset;
	int r = get_path(q, &rest, &len) ?: look(q, &n);

	if (r || !len || rest[len - 1])
		return r ?: EINVAL;
	offset = strtoul(rest, NULL, 10);
	snprintf(generation, sizeof(generation), "%llu", (unsigned long long)n->generation);
	bytes_put(&w, generation, strlen(generation) + 1);
	for (uint32_t i = 0; i < n->children; i++) {
		size_t size = strlen(n->child[i]->name) + 1;

		at += size;
		if (at <= offset)
			continue;
		if (w.len + size + 1 > XENSTORE_PAYLOAD_MAX)
			return w.failed ? ENOMEM : reply(q, w.buf, w.len);
		bytes_put(&w, n->child[i]->name, size);
	}
	bytes_put_u8(&w, 0);
	return w.failed ? ENOMEM : reply(q, w.buf, w.len);
}

static int do_get_perms(struct request *q)
{
	static const char letter[] = { 'n', 'r', 'w', 'b' };
	char text[XS_PERMS_MAX * 8];
	const struct xs_node *n;
	size_t len = 0;
	int r = get_only_path(q) ?: look(q, &n);

	if (r)
		return r;
	for (unsigned int i = 0; i < n->perms; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%c%u", letter[n->perm[i].bits],
					n->perm[i].domid) +
		       1;
	return reply(q, text, len);
}

static int do_step(struct request *q, struct xs_step *s)
{
	int r;

	s->path = q->path;
	r = xs_do(q->xs, q->txn, q->xs->guest, s);
	return r ?: reply_ok(q);
}

static int do_write(struct request *q)
{
	struct xs_step s = { .op = XS_OP_WRITE };
	size_t len = 0;
	char *rest = NULL;
	int r = get_path(q, &rest, &len);

	s.value = (uint8_t *)rest;
	s.len = (uint32_t)len;
	return r ?: do_step(q, &s);
}

static int do_mkdir(struct request *q)
{
	struct xs_step s = { .op = XS_OP_MKDIR };

	return get_only_path(q) ?: do_step(q, &s);
}

static int do_rm(struct request *q)
{
	struct xs_step s = { .op = XS_OP_RM };

	return get_only_path(q) ?: do_step(q, &s);
}

int xs_parse_perms(const char *text, size_t len, struct xs_perm *ret, unsigned int *ret_n)
{
	unsigned int n = 0;

	while (len) {
		static const char letter[] = "nrwb";
		const char *l = strchr(letter, *text);
		char *end;
		unsigned long domid;

		if (n == XS_PERMS_MAX || !*text || !l || text[1] < '0' || text[1] > '9')
			return EINVAL;
		domid = strtoul(text + 1, &end, 10);
		if (domid > UINT16_MAX || *end || end >= text + len)
			return EINVAL;
		ret[n++] = (struct xs_perm){ .domid = (uint16_t)domid, .bits = (uint8_t)(l - letter) };
		len -= (size_t)(end + 1 - text);
		text = end + 1;
	}
	*ret_n = n;
	return n ? 0 : EINVAL;
}

static int do_set_perms(struct request *q)
{
	struct xs_step s = { .op = XS_OP_SET_PERMS };
	size_t len;
	char *rest;
	int r = get_path(q, &rest, &len) ?: xs_parse_perms(rest, len, s.perm, &s.perms);

	return r ?: do_step(q, &s);
}

/* Path (or @event) and token. */
static int get_watch(struct request *q, char **ret_token)
{
	size_t len;
	char *rest;
	int r;

	if (*q->payload == '@') {
		size_t n = strnlen(q->payload, q->len);

		if (n == q->len || n >= sizeof(q->path) ||
		    (strcmp(q->payload, "@introduceDomain") && strcmp(q->payload, "@releaseDomain")))
			return EINVAL;
		strcpy(q->path, q->payload);
		rest = q->payload + n + 1;
		len = q->len - n - 1;
	} else {
		r = get_path(q, &rest, &len);
		if (r)
			return r;
	}
	if (!len || rest[len - 1] || strlen(rest) + 1 != len)
		return EINVAL;
	*ret_token = rest;
	return 0;
}

static int do_watch(struct request *q)
{
	char *token;
	int r = get_watch(q, &token) ?: xs_watch_add(q->xs, q->path, token, q->relative);
	char event[XENSTORE_PAYLOAD_MAX];
	int len;

	if (r)
		return r;
	reply_ok(q);
	/* Once right away: what was there before counts as a change. */
	len = snprintf(event, sizeof(event), "%s%c%s", q->payload, 0, token);
	if (len < (int)sizeof(event))
		xs_queue(q->xs, NULL, XS_WATCH_EVENT, event, (size_t)len + 1);
	return 0;
}

static int do_unwatch(struct request *q)
{
	char *token;
	int r = get_watch(q, &token) ?: xs_watch_remove(q->xs, q->path, token);

	return r ?: reply_ok(q);
}

static int do_reset_watches(struct request *q)
{
	xs_watch_free_all(q->xs);
	xs_txn_free_all(q->xs);
	q->txn = NULL;
	return reply_ok(q);
}

static int do_transaction_start(struct request *q)
{
	char text[16];
	uint32_t id;
	int r = q->txn ? EBUSY : xs_txn_start(q->xs, &id);

	if (r)
		return r;
	snprintf(text, sizeof(text), "%u", id);
	return reply(q, text, strlen(text) + 1);
}

static int do_transaction_end(struct request *q)
{
	int r;

	if (!q->txn)
		return ENOENT;
	if (q->len != 2 || q->payload[1] || (*q->payload != 'T' && *q->payload != 'F'))
		return EINVAL;
	r = xs_txn_end(q->xs, q->txn->id, *q->payload == 'T');
	q->txn = NULL;
	return r ?: reply_ok(q);
}

static int get_domid(struct request *q, unsigned long *ret)
{
	char *end;

	if (!q->len || q->payload[q->len - 1])
		return EINVAL;
	*ret = strtoul(q->payload, &end, 10);
	return *end || end == q->payload || *ret > UINT16_MAX ? EINVAL : 0;
}

static int do_get_domain_path(struct request *q)
{
	unsigned long domid;
	char text[64];
	int r = get_domid(q, &domid);

	if (r)
		return r;
	snprintf(text, sizeof(text), "/local/domain/%lu", domid);
	return reply(q, text, strlen(text) + 1);
}

static int do_is_domain_introduced(struct request *q)
{
	unsigned long domid;
	int r = get_domid(q, &domid);

	return r ?: reply(q, domid == q->xs->guest || !domid ? "T" : "F", 2);
}

/* For the toolstack only. */
static int do_privileged(struct request *q)
{
	(void)q;
	return EACCES;
}

static int (*const handlers[])(struct request *q) = {
	[XS_CONTROL] = do_privileged,
	[XS_DIRECTORY] = do_directory,
	[XS_READ] = do_read,
	[XS_GET_PERMS] = do_get_perms,
	[XS_WATCH] = do_watch,
	[XS_UNWATCH] = do_unwatch,
	[XS_TRANSACTION_START] = do_transaction_start,
	[XS_TRANSACTION_END] = do_transaction_end,
	[XS_INTRODUCE] = do_privileged,
	[XS_RELEASE] = do_privileged,
	[XS_GET_DOMAIN_PATH] = do_get_domain_path,
	[XS_WRITE] = do_write,
	[XS_MKDIR] = do_mkdir,
	[XS_RM] = do_rm,
	[XS_SET_PERMS] = do_set_perms,
	[XS_IS_DOMAIN_INTRODUCED] = do_is_domain_introduced,
	[XS_RESUME] = do_privileged,
	[XS_SET_TARGET] = do_privileged,
	[XS_RESET_WATCHES] = do_reset_watches,
	[XS_DIRECTORY_PART] = do_directory_part,
};

/* Requests that have nothing to do with a transaction are not looked at for one. */
static bool ignores_txn(uint32_t type)
{
	return type == XS_WATCH || type == XS_UNWATCH ||
	       (type < ARRAY_SIZE(handlers) && handlers[type] == do_privileged);
}

void xs_handle(struct xs *xs, const struct xsd_sockmsg *head, char *payload)
{
	struct request q = { .xs = xs, .head = head, .payload = payload, .len = head->len };
	uint32_t tx = ignores_txn(head->type) ? 0 : head->tx_id;
	int r = ENOSYS;

	q.txn = tx ? xs_txn_find(xs, tx) : NULL;
	if (tx && !q.txn)
		r = ENOENT;
	else if (head->type < ARRAY_SIZE(handlers) && handlers[head->type])
		r = handlers[head->type](&q);
	if (r)
		reply_error(&q, r);
}
