/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree: nodes are shared and never change while shared, so a snapshot is a reference to the root
 * and a change copies the path to it. Paths here are absolute and valid (see path_valid()).
 */
#ifndef NIDRA_XEN_STORE_TREE_H
#define NIDRA_XEN_STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "xen/store/store.h"

#define XS_READ_PERM  1
#define XS_WRITE_PERM 2

struct xs_perm {
	uint16_t domid;
	uint8_t bits;
};

struct xs_node {
	uint32_t refs;
	uint32_t len; /* of value */
	char *name;
	uint8_t *value;
	uint64_t generation;		   /* of the last change of value, perms or list of children */
	struct xs_perm perm[XS_PERMS_MAX]; /* [0] is the owner, its bits are everybody else's */
	uint8_t perms;
	struct xs_node **child; /* by name */
	uint32_t children;
};

struct xs_tree {
	struct xs_node *root;
	uint32_t guest_nodes; /* owned by the guest */
};

/* Length, characters, no empty parts. Absolute, or relative to the guest's home. */
bool xs_path_valid(const char *path);

struct xs_node *xs_node_ref(struct xs_node *n);
void xs_node_unref(struct xs_node *n);

int xs_tree_init(struct xs_tree *t);
void xs_tree_fini(struct xs_tree *t);
/* Borrowed; NULL: not there. */
const struct xs_node *xs_tree_find(const struct xs_tree *t, const char *path);
/* The deepest node of the path that is there. */
const struct xs_node *xs_tree_nearest(const struct xs_tree *t, const char *path);

bool xs_node_allows(const struct xs_node *n, uint16_t domid, uint8_t bits);

/*
 * What a change is done with: who, and the number it gets. Missing parents are made, with the
 * permissions of the nearest node above; a guest owns what it makes.
 */
struct xs_change {
	uint16_t domid, guest;
	uint64_t generation;
};

int xs_tree_write(struct xs_tree *t, const struct xs_change *c, const char *path, const void *value, size_t len);
int xs_tree_mkdir(struct xs_tree *t, const struct xs_change *c, const char *path);
int xs_tree_rm(struct xs_tree *t, const struct xs_change *c, const char *path);
int xs_tree_set_perms(struct xs_tree *t, const struct xs_change *c, const char *path, const struct xs_perm *perm,
		      unsigned int n);

void xs_tree_save(const struct xs_tree *t, struct bytes_writer *w);
int xs_tree_load(struct xs_tree *t, uint16_t guest, struct bytes_reader *r);

#endif
