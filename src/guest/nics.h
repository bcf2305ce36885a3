/* SPDX-License-Identifier: Apache-2.0 */
/* The network devices of a guest. */
#ifndef NIDRA_GUEST_NICS_H
#define NIDRA_GUEST_NICS_H

#include "device/vif.h"
#include "guest/config.h"

struct bus;
struct shares;

/* @config was checked. *lacks: what they go without, see link_new(). @ret: one for each, the bus's. */
int guest_add_nics(const struct guest_config *config, const struct shares *shares, struct bus *b, struct err *lacks,
		   struct vif *ret[GUEST_NICS_MAX], struct err *err);

/*
 * Where no address was given: Xen's prefix, and bytes that are the same for device @index of the same uuid. Who
 * gets another uuid (a fork) is somebody else on the network, too.
 */
int guest_make_mac(const char *uuid, unsigned int index, uint8_t ret[6]);

/* The address that device @index has, as text. */
#define GUEST_MAC_TEXT 18
int guest_nic_address(const struct guest_config *config, unsigned int index, char ret[GUEST_MAC_TEXT]);

#endif
