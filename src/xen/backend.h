/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device backend needs of its guest's domain: event channels and granted pages. Backends
 * live in this process and are domain 0 to the guest.
 */
#ifndef NIDRA_XEN_BACKEND_H
#define NIDRA_XEN_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xen_domain;

/*
 * The guest sent an event. Called on a vCPU thread with the domain's lock held: short, bounded, no
 * calls back into the domain. True: send one back.
 */
typedef bool (*xen_backend_fn)(void *arg);

/* Connects @port (one the guest allocated for domain 0, or a ring's) to @send. -EINVAL otherwise. */
int xen_backend_bind(struct xen_domain *d, unsigned int port, xen_backend_fn send, void *arg);
void xen_backend_unbind(struct xen_domain *d, unsigned int port);
/* Sends the guest an event. Takes the lock. */
void xen_backend_notify(struct xen_domain *d, unsigned int port);
/* Runs @fn with the domain's lock held. */
void xen_backend_locked(struct xen_domain *d, void (*fn)(void *arg), void *arg);

/*
 * Host address of the page behind grant ref @ref, or NULL: not granted to domain 0, read-only but
 * @write wanted, or not RAM. The guest may change or revoke it at any time: copy, then check.
 */
void *xen_backend_grant(struct xen_domain *d, uint32_t ref, bool write);

#endif
