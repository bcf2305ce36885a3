/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network devices: Xen's "vif" on the bus (device/bus.h), its rings (netif.h) served by a thread of its own, and a
 * link (link.h) behind it. One queue each: a link has one file or one libslirp, so more would wait for each other.
 */
#ifndef NIDRA_DEVICE_VIF_H
#define NIDRA_DEVICE_VIF_H

#include "device/bus.h"
#include "device/link.h"

struct vif;

/*
 * Makes a link and puts the device on the bus as number @id; @machine is the machine's name. *lacks: see link_new().
 * The link is there as long as the device, however often the guest connects to it. *ret is the bus's.
 */
int vif_add(struct bus *b, unsigned int id, const uint8_t mac[PACKET_MAC_BYTES], const struct link_config *config,
	    const char *machine, struct err *lacks, struct vif **ret, struct err *err);

struct vif_stats { /* since the machine was made or woke; "rx" came to the guest */
	bool connected;
	uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes;
};

void vif_get_stats(const struct vif *v, struct vif_stats *ret); /* any thread */

#endif
