/* SPDX-License-Identifier: Apache-2.0 */
/* Between the guest's shared ring page (struct xenstore_domain_interface) and its connection. */
#ifndef NIDRA_XEN_STORE_RING_H
#define NIDRA_XEN_STORE_RING_H

#include "xen/store/store.h"

/* Moves what can be moved, both ways. True: the guest is to be sent an event. */
bool xs_ring_process(struct xs *xs, void *page);
/* Empty, as for a new domain. */
void xs_ring_reset(void *page);

#endif
