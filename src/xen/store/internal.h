/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the store, its connection, transactions and watches. */
#ifndef NIDRA_XEN_STORE_INTERNAL_H
#define NIDRA_XEN_STORE_INTERNAL_H

#include <stdint.h>
#include <xen/io/xs_wire.h>

#include "xen/store/tree.h"

#define XS_STALE_MAX   XS_TRANSACTIONS_MAX /* kept readable after a sleep */
#define XS_TXN_LOG_MAX 1024		   /* paths looked at or changed in one transaction */

struct xs_watch {
	char *path;    /* absolute, or @... */
	char *token;   /* the guest's, verbatim */
	bool relative; /* events give the path relative to the guest's home */
	struct xs_watch *next;
};

enum xs_op { XS_OP_LOOK, XS_OP_WRITE, XS_OP_MKDIR, XS_OP_RM, XS_OP_SET_PERMS };

/* One step of a transaction, to be checked and done again at its end. */
struct xs_step {
	enum xs_op op;
	char *path;
	uint8_t *value;
	uint32_t len;
	struct xs_perm perm[XS_PERMS_MAX];
	unsigned int perms;
};

struct xs_txn {
	uint32_t id;
	bool stale;	     /* it will not be ended */
	struct xs_tree base; /* as the store was at its start */
	struct xs_tree tree; /* as the transaction sees it */
	struct xs_step *step;
	uint32_t steps;
	struct xs_txn *next;
};

struct xs {
	uint16_t guest;
	struct xs_tree tree;
	uint64_t generation;

	/* the guest's connection */
	struct xs_watch *watches; /* in order of registration */
	uint32_t watch_count;
	struct xs_txn *txns;
	uint32_t last_txn;
	uint8_t in[sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX]; /* a request, not whole yet */
	size_t in_len;
	struct bytes_writer out;
	size_t out_taken; /* of out */
	bool broken;
	bool dropped;	      /* an event, for want of room: it was logged */
	bool ring_unfinished; /* see xs_ring_unfinished() */

	xs_changed_fn changed; /* the toolstack's; not saved */
	void *changed_arg;
};

/* txn.c */
struct xs_txn *xs_txn_find(struct xs *xs, uint32_t id);
int xs_txn_start(struct xs *xs, uint32_t *ret_id);
int xs_txn_end(struct xs *xs, uint32_t id, bool commit);
void xs_txn_free_all(struct xs *xs);
/* Records that @path was looked at. */
int xs_txn_look(struct xs_txn *t, const char *path);

/* A change, in @txn or (NULL) in the store itself, where it fires watches. @domid asks for it. */
int xs_do(struct xs *xs, struct xs_txn *txn, uint16_t domid, const struct xs_step *step);

/* watch.c */
int xs_watch_add(struct xs *xs, const char *path, const char *token, bool relative);
int xs_watch_remove(struct xs *xs, const char *path, const char *token);
void xs_watch_free_all(struct xs *xs);
/* @path changed; @deep: it is gone with all below it. @tree tells what the guest may see. */
void xs_watch_fire(struct xs *xs, const struct xs_tree *tree, const char *path, bool deep);

/* wire.c */
void xs_handle(struct xs *xs, const struct xsd_sockmsg *head, char *payload);
void xs_queue(struct xs *xs, const struct xsd_sockmsg *to, uint32_t type, const void *payload, size_t len);
int xs_parse_perms(const char *text, size_t len, struct xs_perm *ret, unsigned int *ret_n);

#endif
