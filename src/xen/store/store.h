/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xenstore of one machine: a tree with permissions, and one connection, the guest's. Pure: no
 * ring, no event channel, no lock (the domain's is held). Source of the protocol: Xen
 * docs/misc/xenstore.txt and public/io/xs_wire.h.
 *
 * Functions of the toolstack return 0 or a positive errno out of xenstore's short list, because that
 * is what the wire has.
 */
#ifndef NIDRA_XEN_STORE_STORE_H
#define NIDRA_XEN_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* What one guest may have; as xenstored's defaults where it has them. */
#define XS_NODES_MAX	    1000
#define XS_VALUE_MAX	    2048
#define XS_PERMS_MAX	    16
#define XS_WATCHES_MAX	    128
#define XS_TRANSACTIONS_MAX 10
#define XS_OUTPUT_HIGH	    (64 * 1024)	  /* no more requests are read while so much waits */
#define XS_OUTPUT_MAX	    (1024 * 1024) /* no more watch events are queued */

struct xs;

/* Something at @path or below it changed. No calls back into the store. */
typedef void (*xs_changed_fn)(void *arg, const char *path);

int xs_new(uint16_t guest_domid, struct xs **ret, struct err *err);
void xs_free(struct xs *xs);
DEFINE_CLEANUP(struct xs *, xs_free)

/* ---- the toolstack (domain 0, may do everything); absolute paths ---- */

int xs_write(struct xs *xs, const char *path, const char *fmt, ...) _printf_(3, 4);
/* Allocated, NUL-terminated; NULL: no such node. @ret_len may be NULL. */
char *xs_read(struct xs *xs, const char *path, size_t *ret_len);
int xs_rm(struct xs *xs, const char *path);
/* "n0,r3": owner 0, others nothing, domain 3 may read. */
int xs_set_perms(struct xs *xs, const char *path, const char *perms);

/* One observer of all changes, the guest's and ours. NULL: none. */
void xs_observe(struct xs *xs, xs_changed_fn fn, void *arg);

/* ---- the guest's connection ---- */

/* Takes up to @len bytes of requests; returns how many. Less: output waits to be fetched first. */
size_t xs_input(struct xs *xs, const void *buf, size_t len);
/* Moves up to @max bytes of replies and watch events to @buf. */
size_t xs_output(struct xs *xs, void *buf, size_t max);
size_t xs_output_pending(const struct xs *xs);
/* The guest broke the protocol; the connection takes and gives nothing any more. */
bool xs_broken(const struct xs *xs);

/* Transactions that are open now will not be ended: the guest slept over them (xen-abi.md 5.2). */
void xs_transactions_stale(struct xs *xs);

void xs_save(struct xs *xs, struct bytes_writer *w);
int xs_load(struct bytes_reader *r, struct xs **ret, struct err *err);

#endif
