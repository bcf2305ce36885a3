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

/*
 * Connects @port (one the guest allocated for domain 0, or a ring's) to @send. -EINVAL otherwise, and if another
 * backend has it: it is the guest that says which port, and it would take the xenstore ring's.
 */
int xen_backend_bind(struct xen_domain *d, unsigned int port, xen_backend_fn send, void *arg);
void xen_backend_unbind(struct xen_domain *d, unsigned int port);
/* Sends the guest an event. Takes the lock. */
void xen_backend_notify(struct xen_domain *d, unsigned int port);
/* Runs @fn with the domain's lock held. */
void xen_backend_locked(struct xen_domain *d, void (*fn)(void *arg), void *arg);

/*
 * Host address of the page behind grant ref @ref, or NULL: not granted to domain 0, read-only but
 * @write wanted, or not RAM. The guest may change or revoke it at any time: copy, then check. Takes the lock.
 */
void *xen_backend_grant(struct xen_domain *d, uint32_t ref, bool write);

/*
 * @len bytes at @hva, which is where a grant led to, were written, all of them: the next image has to have them.
 * For data that came in by way of the host's kernel. Takes the lock.
 */
struct xen_backend_piece {
	void *hva;
	size_t len;
};
void xen_backend_wrote(struct xen_domain *d, const struct xen_backend_piece *piece, size_t n);

/* ---- xenstore, for who keeps devices: paths absolute, or below the guest's home. All take the lock. ---- */

/* Allocated; NULL: no such node, or no memory. */
char *xen_backend_read(struct xen_domain *d, const char *path);
/* @perms: "n0,r1" and the like; NULL: as it was. Watches fire. 0 or -errno. */
int xen_backend_write(struct xen_domain *d, const char *path, const char *perms, const char *value);
int xen_backend_rm(struct xen_domain *d, const char *path);
uint16_t xen_backend_domid(const struct xen_domain *d);
/* @fn is called with the lock held whenever anything in the store changes, also after the store became another. */
void xen_backend_watch(struct xen_domain *d, void (*fn)(void *arg, const char *path), void *arg);

#endif
