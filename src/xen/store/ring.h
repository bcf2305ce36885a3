/* SPDX-License-Identifier: Apache-2.0 */
/* Between the guest's shared ring page (struct xenstore_domain_interface) and its connection. */
#ifndef NIDRA_XEN_STORE_RING_H
#define NIDRA_XEN_STORE_RING_H

#include "xen/store/store.h"

/* Moves what can be moved, both ways. True: the guest is to be sent an event. */
bool xs_ring_process(struct xs *xs, void *page);
/* The last call stopped at its bound: call again soon, no event of the guest's will say so. */
bool xs_ring_unfinished(const struct xs *xs);
/* Empty, as for a new domain. */
void xs_ring_reset(void *page);

#endif
