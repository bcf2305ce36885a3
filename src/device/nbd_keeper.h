/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who sees to it that a disk has connections to its NBD server: a thread that makes them, starts the server if it is
 * the disk's own, and does so again when they are lost, as often as it takes. Names that resolve slowly and servers
 * that do not answer keep nobody else waiting.
 */
#ifndef NIDRA_DEVICE_NBD_KEEPER_H
#define NIDRA_DEVICE_NBD_KEEPER_H

#include <libnbd.h>

#include "device/disk.h"

#define NBD_CONNS 2 /* where the server says that they may be several */

struct nbd_keeper;

/* Waits until there are connections, or one attempt has failed. Strings of @o are copied. */
int nbd_keeper_new(const struct disk_options *o, struct nbd_keeper **ret, struct err *err);
/* Readable: nbd_keeper_take() may have something. */
int nbd_keeper_fd(const struct nbd_keeper *k);
/*
 * The connections, which are the caller's then, and how many; 0: none yet, @why has what the last attempt met with
 * (as it was, if there was none). All have the size and the rights of the first ones, at least.
 */
unsigned int nbd_keeper_take(struct nbd_keeper *k, struct nbd_handle *ret[NBD_CONNS], char *why, size_t size);
/* They are closed, or of no use: make others. */
void nbd_keeper_lost(struct nbd_keeper *k);
/* Connections first: a server of one's own ends here. Does not wait for a thread that hangs. */
void nbd_keeper_free(struct nbd_keeper *k);

#endif
