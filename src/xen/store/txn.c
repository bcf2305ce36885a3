/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions. One sees the store as it was at its start, plus its own changes. At its end every
 * node that it looked at or changed must be as it was then; if so its changes are done again, for
 * real.
 */
#include <errno.h>
#include <string.h>

#include "xen/store/internal.h"

static void step_fini(struct xs_step *s)
{
	free(s->path);
	free(s->value);
}

static void txn_free(struct xs_txn *t)
{
	for (uint32_t i = 0; i < t->steps; i++)
		step_fini(&t->step[i]);
	free(t->step);
	xs_tree_fini(&t->base);
	xs_tree_fini(&t->tree);
	free(t);
}

void xs_txn_free_all(struct xs *xs)
{
	while (xs->txns) {
		struct xs_txn *t = xs->txns;

		xs->txns = t->next;
		txn_free(t);
	}
}

struct xs_txn *xs_txn_find(struct xs *xs, uint32_t id)
{
	struct xs_txn *t = xs->txns;

	while (t && t->id != id)
		t = t->next;
	return t;
}

static struct xs_tree snapshot(const struct xs_tree *t)
{
	return (struct xs_tree){ .root = xs_node_ref(t->root), .guest_nodes = t->guest_nodes };
}

int xs_txn_start(struct xs *xs, uint32_t *ret_id)
{
	struct xs_txn *t;
	uint32_t open = 0;

	for (t = xs->txns; t; t = t->next)
		open += !t->stale;
	if (open >= XS_TRANSACTIONS_MAX)
		return ENOSPC;
	t = calloc(1, sizeof(*t));
	if (!t)
		return ENOMEM;
	do
		t->id = ++xs->last_txn;
	while (!t->id || xs_txn_find(xs, t->id));
	t->base = snapshot(&xs->tree);
	t->tree = snapshot(&xs->tree);
	t->next = xs->txns;
	xs->txns = t;
	*ret_id = t->id;
	return 0;
}

static int record(struct xs_txn *t, const struct xs_step *s)
{
	struct xs_step copy = *s, *grown;

	if (t->steps == XS_TXN_LOG_MAX)
		return ENOSPC;
	grown = realloc(t->step, (t->steps + 1) * sizeof(*grown));
	if (!grown)
		return ENOMEM;
	t->step = grown;
	copy.path = strdup(s->path);
	copy.value = malloc(s->len + 1u);
	if (!copy.path || !copy.value) {
		step_fini(&copy);
		return ENOMEM;
	}
	if (s->len)
		memcpy(copy.value, s->value, s->len);
	t->step[t->steps++] = copy;
	return 0;
}

int xs_txn_look(struct xs_txn *t, const char *path)
{
	struct xs_step s = { .op = XS_OP_LOOK, .path = (char *)(uintptr_t)path };

	for (uint32_t i = 0; i < t->steps; i++)
		if (!strcmp(t->step[i].path, path))
			return 0;
	return record(t, &s);
}

static int change(struct xs_tree *tree, const struct xs_change *c, const struct xs_step *s)
{
	switch (s->op) {
	case XS_OP_WRITE:
		return xs_tree_write(tree, c, s->path, s->value, s->len);
	case XS_OP_MKDIR:
		return xs_tree_mkdir(tree, c, s->path);
	case XS_OP_RM:
		return xs_tree_rm(tree, c, s->path);
	case XS_OP_SET_PERMS:
		return xs_tree_set_perms(tree, c, s->path, s->perm, s->perms);
	default:
		return 0;
	}
}

/* Changes @tree and, if @fire, tells the watchers. The caller drops the tree if this fails. */
static int apply(struct xs *xs, struct xs_tree *tree, const struct xs_change *c, const struct xs_step *s, bool fire)
{
	struct xs_tree before = snapshot(tree);
	bool there = xs_tree_find(tree, s->path);
	int r = change(tree, c, s);

	if (r || !fire || s->op == XS_OP_LOOK)
		;
	else if (s->op != XS_OP_RM && !(s->op == XS_OP_MKDIR && there))
		xs_watch_fire(xs, tree, s->path, false);
	else if (s->op == XS_OP_RM && there) /* whoever might see a node may see that it went */
		xs_watch_fire(xs, &before, s->path, true);
	xs_tree_fini(&before);
	return r;
}

static void replace(struct xs_tree *tree, struct xs_tree *by)
{
	xs_tree_fini(tree);
	*tree = *by;
}

/* On a snapshot: what fails leaves no trace. */
int xs_do(struct xs *xs, struct xs_txn *txn, uint16_t domid, const struct xs_step *step)
{
	struct xs_change c = { .domid = domid, .guest = xs->guest, .generation = ++xs->generation };
	struct xs_tree *tree = txn ? &txn->tree : &xs->tree, work = snapshot(tree);
	int r = apply(xs, &work, &c, step, !txn);

	if (!r && txn)
		r = record(txn, step);
	if (r)
		xs_tree_fini(&work);
	else
		replace(tree, &work);
	return r;
}

static uint64_t generation_of(const struct xs_tree *t, const char *path)
{
	const struct xs_node *n = xs_tree_find(t, path);

	return n ? n->generation + 1 : 0;
}

/* A removal takes all that is below: nothing of it may have changed. Unchanged nodes are shared. */
static bool step_conflicts(struct xs *xs, const struct xs_txn *t, const struct xs_step *s)
{
	if (s->op == XS_OP_RM)
		return xs_tree_find(&xs->tree, s->path) != xs_tree_find(&t->base, s->path);
	return generation_of(&xs->tree, s->path) != generation_of(&t->base, s->path);
}

static bool conflicts(struct xs *xs, struct xs_txn *t)
{
	if (xs->tree.root == t->base.root)
		return false;
	for (uint32_t i = 0; i < t->steps; i++)
		if (step_conflicts(xs, t, &t->step[i]))
			return true;
	return false;
}

/*
 * All or nothing: a quota or the host may be in the way of a step that was fine when it was asked.
 * The events are queued on the way, when it is known who may see what, and taken back if it fails.
 */
static int replay(struct xs *xs, const struct xs_txn *t)
{
	struct xs_change c = { .domid = xs->guest, .guest = xs->guest, .generation = ++xs->generation };
	struct xs_tree work = snapshot(&xs->tree);
	size_t pending = xs_output_pending(xs);
	int r = 0;

	for (uint32_t i = 0; !r && i < t->steps; i++)
		r = apply(xs, &work, &c, &t->step[i], true);
	if (!r) {
		replace(&xs->tree, &work);
		return 0;
	}
	xs->out.len = xs->out_taken + pending;
	xs_tree_fini(&work);
	return r == ENOSPC || r == ENOMEM ? r : EAGAIN;
}

int xs_txn_end(struct xs *xs, uint32_t id, bool commit)
{
	struct xs_txn **at = &xs->txns, *t;
	int r = 0;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	t = *at;
	if (!t)
		return ENOENT;
	*at = t->next;
	if (commit && (t->stale || conflicts(xs, t)))
		r = EAGAIN;
	if (commit && !r)
		r = replay(xs, t);
	txn_free(t);
	return r;
}

void xs_transactions_stale(struct xs *xs)
{
	struct xs_txn **at = &xs->txns;
	uint32_t kept = 0;

	while (*at) {
		struct xs_txn *t = *at;

		t->stale = true;
		if (++kept <= XS_STALE_MAX) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		txn_free(t);
	}
}
