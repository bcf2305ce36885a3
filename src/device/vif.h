/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network devices: Xen's "vif" on the bus (device/bus.h), its rings (netif.h) served by a thread of its own, and a
 * link (link.h) behind it. One queue each: a link has one file or one libslirp, so more would wait for each other.
 */
#ifndef NIDRA_DEVICE_VIF_H
#define NIDRA_DEVICE_VIF_H

#include "device/bus.h"
#include "device/link.h"

/*
 * Makes a link and puts the device on the bus as number @id; @machine is the machine's name. *lacks: see link_new().
 * The link is there as long as the device, however often the guest connects to it.
 */
int vif_add(struct bus *b, unsigned int id, const uint8_t mac[PACKET_MAC_BYTES], const struct link_config *config,
	    const char *machine, struct err *lacks, struct err *err);

#endif
