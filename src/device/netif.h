/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of Xen's network devices, as a backend sees them: requests become packets, packets become responses.
 * Pure: knows no domain, no thread and no network; what it needs of grants are callbacks.
 *
 * The other side is a guest that may write anything at any time. Each index and each request is read once into a
 * copy, and the copy is checked. A request that makes no sense is answered with NETIF_RSP_ERROR; a ring whose
 * indices make none, or a chain that its end is missing from, is -EPROTO, after which the ring is not to be used.
 *
 * Source: Xen public/io/netif.h, ring.h.
 */
#ifndef NIDRA_DEVICE_NETIF_H
#define NIDRA_DEVICE_NETIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/packet.h"
#include "xen/backend.h"

#define NETIF_RING_BYTES   4096
#define NETIF_RING_SLOTS   256
#define NETIF_PACKET_SLOTS 18 /* that a packet may be in; what netback takes, too */
#define NETIF_PIECES	   (NETIF_RING_SLOTS + 1)

struct netif_tx_sring;
struct netif_rx_sring;

/* Host address of a granted page, or NULL. */
struct netif_grants {
	void *(*get)(void *arg, uint32_t ref, bool write);
	void *arg;
};

struct netif_tx {
	struct netif_tx_sring *shared; /* guest memory */
	uint32_t cons;		       /* all before it is answered: no request outlives a call */
	uint32_t told;		       /* responses before it are pushed */
	uint8_t *buf;		       /* PACKET_BYTES_MAX: where packets are put together */
};

struct netif_rx {
	struct netif_rx_sring *shared;
	uint32_t cons, told;
	bool sg, gso4, gso6;			      /* what the frontend takes */
	bool csum4, csum6;			      /* it takes packets without their checksum */
	struct xen_backend_piece wrote[NETIF_PIECES]; /* guest memory, since the last netif_rx_push() */
	size_t n_wrote;
};

/*
 * Takes a ring up where its responses end: a new one at its beginning, one that was in use at the first request that
 * has no answer. -EPROTO: its indices make no sense. @buf: PACKET_BYTES_MAX, borrowed.
 */
int netif_tx_init(struct netif_tx *tx, void *page, uint8_t *buf);
int netif_rx_init(struct netif_rx *rx, void *page);

/*
 * The next packet, already answered: its bytes are in tx->buf until the next call. 1; 0: there is none, and the
 * guest was asked for an event when there is; -EPROTO.
 */
int netif_tx_next(struct netif_tx *tx, const struct netif_grants *grants, struct packet *ret);
/* Shows the guest the answers. True: it wants an event. The ring page was written if there were any. */
bool netif_tx_push(struct netif_tx *tx);
bool netif_tx_has_answers(const struct netif_tx *tx);

/*
 * Puts a packet into the guest's buffers; it may lose offloads that the frontend does not take. 0: done, or dropped
 * because this frontend can have it in no form. -EAGAIN: not enough buffers, and an event was asked for. -EPROTO.
 */
int netif_rx_put(struct netif_rx *rx, const struct netif_grants *grants, struct packet *p);
/* Shows the guest what was put, as netif_tx_push(); the pieces in rx->wrote are then to be told, and n_wrote zeroed. */
bool netif_rx_push(struct netif_rx *rx);

#endif
