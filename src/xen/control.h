/* SPDX-License-Identifier: Apache-2.0 */
/* The toolstack's half of the xenstore protocol: asking a guest for things. Any thread. */
#ifndef NIDRA_XEN_CONTROL_H
#define NIDRA_XEN_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "xen/domain.h"

/* Writes control/shutdown. -EBUSY: an earlier request was not taken yet. */
int xen_control_ask(struct xen_domain *d, const char *what, struct err *err);

enum xen_ask_state {
	XEN_ASK_PENDING, /* control/shutdown still has the request */
	XEN_ASK_TAKEN,	 /* the guest has cleared it */
};
enum xen_ask_state xen_control_state(struct xen_domain *d, const char *what);

/*
 * Takes the request back in one transaction. True: it is gone and the guest has not seen it. False:
 * the guest took it meanwhile and may act on it.
 */
bool xen_control_withdraw(struct xen_domain *d, const char *what);

/* control/feature-suspend is "1": the kernel's watcher is up. */
bool xen_control_can_suspend(struct xen_domain *d);

/* data/leave-out: memory that images need not have, as the guest says. Allocated; NULL: it says nothing. */
char *xen_control_leave_out(struct xen_domain *d);

/* What a guest that woke from a sleep does not announce again. */
int xen_control_set_can_suspend(struct xen_domain *d, struct err *err);

int xen_control_set_memory(struct xen_domain *d, uint64_t bytes, struct err *err);
int xen_control_set_vcpus(struct xen_domain *d, unsigned int n, struct err *err);

/* Fills a new tree for the domain (xen-abi.md 5.3). */
int xen_control_build(struct xen_domain *d, struct err *err);

#endif
