/* SPDX-License-Identifier: Apache-2.0 */
#include "xen/store/tree.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <xen/io/xs_wire.h>

#define DEPTH_MAX 256 /* more parts than a path of XENSTORE_ABS_PATH_MAX is worth */

static bool chars_valid(const char *path)
{
	for (const char *p = path; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-/_@", *p))
			return false;
	return true;
}

bool xs_path_valid(const char *path)
{
	size_t len = strlen(path);

	if (!len || len > (*path == '/' ? XENSTORE_ABS_PATH_MAX : XENSTORE_REL_PATH_MAX))
		return false;
	if (!strcmp(path, "/"))
		return true;
	if (path[len - 1] == '/' || strstr(path, "//"))
		return false;
	return chars_valid(path);
}

/* ---- nodes ---- */

struct xs_node *xs_node_ref(struct xs_node *n)
{
	n->refs++;
	return n;
}

void xs_node_unref(struct xs_node *n)
{
	if (!n || --n->refs)
		return;
	for (uint32_t i = 0; i < n->children; i++)
		xs_node_unref(n->child[i]);
	free(n->child);
	free(n->value);
	free(n->name);
	free(n);
}
DEFINE_CLEANUP(struct xs_node *, xs_node_unref)

static struct xs_node *node_new(const char *name, size_t len)
{
	struct xs_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->refs = 1;
	n->name = strndup(name, len);
	if (!n->name) {
		free(n);
		return NULL;
	}
	return n;
}

/* @n itself if nobody else has it, else a copy that shares its children. Takes the reference. */
static struct xs_node *node_own(struct xs_node *n)
{
	struct xs_node *copy;

	if (n->refs == 1)
		return n;
	copy = node_new(n->name, strlen(n->name));
	if (!copy)
		return NULL;
	copy->generation = n->generation;
	copy->perms = n->perms;
	memcpy(copy->perm, n->perm, sizeof(n->perm));
	copy->value = malloc(n->len + 1u);
	copy->child = malloc((n->children + 1u) * sizeof(copy->child[0]));
	if (!copy->value || !copy->child) {
		xs_node_unref(copy);
		return NULL;
	}
	if (n->len)
		memcpy(copy->value, n->value, n->len);
	copy->len = n->len;
	for (uint32_t i = 0; i < n->children; i++)
		copy->child[i] = xs_node_ref(n->child[i]);
	copy->children = n->children;
	xs_node_unref(n);
	return copy;
}

static int compare(const struct xs_node *n, const char *name, size_t len)
{
	int r = strncmp(n->name, name, len);

	return r ? r : n->name[len] != 0;
}

/* Where @name is among the children, or would go. */
static bool find_child(const struct xs_node *n, const char *name, size_t len, uint32_t *ret)
{
	uint32_t lo = 0, hi;

	assert(n); /* a child is never NULL, which an analyzer cannot know */
	hi = n->children;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		int r = compare(n->child[mid], name, len);

		if (!r) {
			*ret = mid;
			return true;
		}
		if (r < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret = lo;
	return false;
}

static int insert_child(struct xs_node *n, uint32_t at, struct xs_node *child)
{
	struct xs_node **grown = realloc(n->child, (n->children + 1u) * sizeof(*grown));

	if (!grown)
		return ENOMEM;
	n->child = grown;
	memmove(&grown[at + 1], &grown[at], (n->children - at) * sizeof(*grown));
	grown[at] = child;
	n->children++;
	return 0;
}

bool xs_node_allows(const struct xs_node *n, uint16_t domid, uint8_t bits)
{
	if (!domid || n->perm[0].domid == domid)
		return true;
	for (unsigned int i = 1; i < n->perms; i++)
		if (n->perm[i].domid == domid)
			return (n->perm[i].bits & bits) == bits;
	return (n->perm[0].bits & bits) == bits;
}

/* ---- walking ---- */

int xs_tree_init(struct xs_tree *t)
{
	*t = (struct xs_tree){ .root = node_new("", 0) };
	if (!t->root)
		return ENOMEM;
	t->root->perms = 1;
	return 0;
}

void xs_tree_fini(struct xs_tree *t)
{
	xs_node_unref(t->root);
	*t = (struct xs_tree){ 0 };
}

/* The next part of a path; NULL behind the last. */
static const char *next_part(const char *p, size_t *len)
{
	while (*p == '/')
		p++;
	*len = strcspn(p, "/");
	return *len ? p : NULL;
}

static const struct xs_node *walk(const struct xs_tree *t, const char *path, bool nearest)
{
	const struct xs_node *n = t->root;
	size_t len;
	uint32_t at;

	for (const char *p = next_part(path, &len); p; p = next_part(p + len, &len)) {
		assert(n); /* nor is the root, ever */
		if (!find_child(n, p, len, &at))
			return nearest ? n : NULL;
		n = n->child[at];
	}
	return n;
}

const struct xs_node *xs_tree_find(const struct xs_tree *t, const char *path)
{
	return walk(t, path, false);
}

const struct xs_node *xs_tree_nearest(const struct xs_tree *t, const char *path)
{
	return walk(t, path, true);
}

/* ---- changing ---- */

static int may(const struct xs_tree *t, const struct xs_change *c, const char *path, uint8_t bits)
{
	return xs_node_allows(xs_tree_nearest(t, path), c->domid, bits) ? 0 : EACCES;
}

/* Who may not read above does not learn what is missing. */
static int absent(const struct xs_tree *t, const struct xs_change *c, const char *path)
{
	return may(t, c, path, XS_READ_PERM) ?: ENOENT;
}

static struct xs_node *make_child(struct xs_tree *t, const struct xs_change *c, const struct xs_node *parent,
				  const char *name, size_t len)
{
	struct xs_node *n = node_new(name, len);

	if (!n)
		return NULL;
	n->perms = parent->perms;
	memcpy(n->perm, parent->perm, sizeof(n->perm));
	if (c->domid)
		n->perm[0].domid = c->domid;
	n->generation = c->generation;
	t->guest_nodes += n->perm[0].domid == c->guest;
	return n;
}

/* How many nodes of the path are missing. */
static uint32_t missing(const struct xs_tree *t, const char *path)
{
	const struct xs_node *n = t->root;
	uint32_t count = 0, at;
	size_t len;

	for (const char *p = next_part(path, &len); p; p = next_part(p + len, &len)) {
		if (n && find_child(n, p, len, &at))
			n = n->child[at];
		else
			n = NULL;
		count += !n;
	}
	return count;
}

static unsigned int parts(const char *path)
{
	unsigned int count = 0;
	size_t len;

	for (const char *p = next_part(path, &len); p; p = next_part(p + len, &len))
		count++;
	return count;
}

/* The node at @path, owned by this tree alone and so changeable; made if it is not there. */
static int own_path(struct xs_tree *t, const struct xs_change *c, const char *path, struct xs_node **ret)
{
	struct xs_node **slot = &t->root, *n;
	size_t len;

	if (parts(path) > DEPTH_MAX)
		return EINVAL;
	for (const char *p = path;; p += len) {
		uint32_t at;

		n = node_own(*slot);
		if (!n)
			return ENOMEM;
		*slot = n;
		p = next_part(p, &len);
		if (!p)
			break;
		if (!find_child(n, p, len, &at)) {
			struct xs_node *child = make_child(t, c, n, p, len);

			if (!child || insert_child(n, at, child)) {
				xs_node_unref(child);
				return ENOMEM;
			}
			n->generation = c->generation;
		}
		assert(n->child); /* at least the one that was found or made */
		slot = &n->child[at];
	}
	*ret = n;
	return 0;
}

static int check_room(const struct xs_tree *t, const struct xs_change *c, const char *path)
{
	uint32_t more = missing(t, path);

	return c->domid && more && t->guest_nodes + more > XS_NODES_MAX ? ENOSPC : 0;
}

int xs_tree_write(struct xs_tree *t, const struct xs_change *c, const char *path, const void *value, size_t len)
{
	struct xs_node *n;
	uint8_t *copy;
	int r = may(t, c, path, XS_WRITE_PERM);

	if (r || (r = check_room(t, c, path)))
		return r;
	if (c->domid && len > XS_VALUE_MAX)
		return ENOSPC;
	copy = malloc(len + 1);
	if (!copy)
		return ENOMEM;
	if (len)
		memcpy(copy, value, len);
	r = own_path(t, c, path, &n);
	if (r) {
		free(copy);
		return r;
	}
	free(n->value);
	n->value = copy;
	n->len = (uint32_t)len;
	n->generation = c->generation;
	return 0;
}

int xs_tree_mkdir(struct xs_tree *t, const struct xs_change *c, const char *path)
{
	struct xs_node *n;
	int r;

	if (xs_tree_find(t, path)) /* as xenstored: fine, if it may be written */
		return may(t, c, path, XS_WRITE_PERM);
	r = may(t, c, path, XS_WRITE_PERM) ?: check_room(t, c, path);
	return r ?: own_path(t, c, path, &n);
}

static uint32_t count_owned(const struct xs_node *n, uint16_t guest)
{
	uint32_t count = n->perm[0].domid == guest;

	for (uint32_t i = 0; i < n->children; i++)
		count += count_owned(n->child[i], guest);
	return count;
}

int xs_tree_rm(struct xs_tree *t, const struct xs_change *c, const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent_path = strndup(path, (size_t)(slash - path));
	struct xs_node *parent;
	uint32_t at;
	int r;

	if (!parent_path)
		return ENOMEM;
	if (!slash[1])
		return EINVAL; /* the root stays */
	if (!xs_tree_find(t, path)) {
		r = absent(t, c, path);
		return r == ENOENT && xs_tree_find(t, parent_path) ? 0 : r;
	}
	r = may(t, c, path, XS_WRITE_PERM) ?: own_path(t, c, parent_path, &parent);
	if (r || !find_child(parent, slash + 1, strlen(slash + 1), &at))
		return r;
	t->guest_nodes -= MIN(t->guest_nodes, count_owned(parent->child[at], c->guest));
	xs_node_unref(parent->child[at]);
	memmove(&parent->child[at], &parent->child[at + 1], (parent->children - at - 1) * sizeof(parent->child[0]));
	parent->children--;
	parent->generation = c->generation;
	return 0;
}

int xs_tree_set_perms(struct xs_tree *t, const struct xs_change *c, const char *path, const struct xs_perm *perm,
		      unsigned int count)
{
	const struct xs_node *old = xs_tree_find(t, path);
	struct xs_node *n;
	int r;

	if (!old)
		return absent(t, c, path);
	/* Only the owner may, and it may not give the node away. */
	if (c->domid && (old->perm[0].domid != c->domid || perm[0].domid != c->domid))
		return old->perm[0].domid != c->domid ? EACCES : EPERM;
	r = own_path(t, c, path, &n);
	if (r)
		return r;
	t->guest_nodes -= n->perm[0].domid == c->guest;
	memcpy(n->perm, perm, count * sizeof(perm[0]));
	n->perms = (uint8_t)count;
	t->guest_nodes += n->perm[0].domid == c->guest;
	n->generation = c->generation;
	return 0;
}

/* ---- state ---- */

static void save_node(const struct xs_node *n, struct bytes_writer *w)
{
	bytes_put_str(w, n->name);
	bytes_put_blob(w, n->value, n->len);
	bytes_put_u64(w, n->generation);
	bytes_put_u8(w, n->perms);
	for (unsigned int i = 0; i < n->perms; i++) {
		bytes_put_u16(w, n->perm[i].domid);
		bytes_put_u8(w, n->perm[i].bits);
	}
	bytes_put_u32(w, n->children);
	for (uint32_t i = 0; i < n->children; i++)
		save_node(n->child[i], w);
}

void xs_tree_save(const struct xs_tree *t, struct bytes_writer *w)
{
	save_node(t->root, w);
}

static struct xs_node *load_node(struct bytes_reader *r, unsigned int depth);

static void load_children(struct xs_node *n, struct bytes_reader *r, unsigned int depth)
{
	uint32_t count = bytes_get_u32(r);

	for (uint32_t i = 0; i < count && !r->failed; i++) {
		_cleanup_(xs_node_unrefp) struct xs_node *child = load_node(r, depth + 1);
		uint32_t at;

		/* A name may be longer than a relative path: it came in an absolute one. */
		if (!child || !*child->name || !chars_valid(child->name) || strchr(child->name, '/') ||
		    find_child(n, child->name, strlen(child->name), &at) ||
		    at != n->children || /* in order, as saved: sorting many would take for ever */
		    insert_child(n, at, child)) {
			bytes_fail(r);
			return;
		}
		child = NULL;
	}
}

static struct xs_node *load_node(struct bytes_reader *r, unsigned int depth)
{
	_cleanup_(xs_node_unrefp) struct xs_node *n = NULL;
	_cleanup_free_ char *name = bytes_get_str(r, XENSTORE_ABS_PATH_MAX);
	const void *value;
	size_t len;

	if (!name || depth > DEPTH_MAX || !(n = node_new(name, strlen(name)))) {
		bytes_fail(r);
		return NULL;
	}
	value = bytes_get_blob(r, XENSTORE_PAYLOAD_MAX, &len);
	n->value = malloc(len + 1);
	if (value && n->value)
		memcpy(n->value, value, len);
	n->len = n->value ? (uint32_t)len : 0;
	n->generation = bytes_get_u64(r);
	n->perms = bytes_get_u8(r);
	if (!n->perms || n->perms > XS_PERMS_MAX) {
		bytes_fail(r);
		return NULL;
	}
	for (unsigned int i = 0; i < n->perms; i++) {
		n->perm[i].domid = bytes_get_u16(r);
		n->perm[i].bits = bytes_get_u8(r);
		if (n->perm[i].bits & ~(XS_READ_PERM | XS_WRITE_PERM))
			bytes_fail(r);
	}
	load_children(n, r, depth);
	return r->failed ? NULL : take_ptr(n);
}

int xs_tree_load(struct xs_tree *t, uint16_t guest, struct bytes_reader *r)
{
	t->root = load_node(r, 0);
	if (!t->root || *t->root->name)
		return EINVAL;
	t->guest_nodes = count_owned(t->root, guest);
	return 0;
}
