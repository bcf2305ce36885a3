/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Xen domain: what the guest sees of Xen, and what its toolstack sees of the guest.
 *
 * Everything is guarded by one lock, taken inside; callbacks are called without it unless they
 * say otherwise. Hypercalls come on vCPU threads, timers on the domain's own thread.
 */
#ifndef NIDRA_XEN_DOMAIN_H
#define NIDRA_XEN_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "kvm/machine.h"

struct xen_domain;

enum xen_shutdown { /* SCHEDOP_shutdown's reasons; Xen public/sched.h */
		    XEN_POWEROFF = 0,
		    XEN_REBOOT = 1,
		    XEN_SUSPEND = 2,
		    XEN_CRASH = 3,
		    XEN_WATCHDOG = 4,
		    XEN_SOFT_RESET = 5,
};

struct xen_domain_ops {
	/*
	 * The guest asked for @reason, on a vCPU thread, without the domain's lock. For XEN_SUSPEND,
	 * from vCPU 0 only: true: the hypercall will not return before somebody sets its result
	 * (1 is set so far) and unparks; the callee has asked the machine to park. False: not now,
	 * the guest is told "cancelled" at once. Other reasons: the vCPU never returns.
	 */
	bool (*shutdown)(void *arg, enum xen_shutdown reason);
	/*
	 * A watchdog of the guest's has expired: it ends. On the domain's thread, without its lock, maybe just when
	 * somebody parks the machine. False: not now, ask again when it runs.
	 */
	bool (*watchdog)(void *arg);
	/* Bytes from HYPERVISOR_console_io (before the console ring is there). With the lock held. */
	void (*console_io)(void *arg, const char *buf, size_t len);
	void *arg;
};

struct xen_domain_config {
	uint16_t domid;
	unsigned int vcpus;	   /* possible */
	unsigned int vcpus_online; /* at start */
	const char *name, *uuid;
	uint64_t memory_bytes, memory_max_bytes; /* target and static-max */
};

/* Port numbers of the two rings that the toolstack sets up; the same in every life of a guest,
 * because a guest still sends on the old ones early in a resume (xen-abi-machine.md 6). */
#define XEN_PORT_XENSTORE 1
#define XEN_PORT_CONSOLE  2

/* Hypervisor CPUID leaves of vCPU @id, for machine_config.cpuid; @arg is a const uint16_t *domid. */
unsigned int xen_cpuid(const void *arg, unsigned int id, struct machine_cpuid_leaf *leaf, unsigned int max);

int xen_domain_new(struct machine *m, const struct xen_domain_config *config, const struct xen_domain_ops *ops,
		   struct xen_domain **ret_domain, struct err *err);
void xen_domain_free(struct xen_domain *d);
DEFINE_CLEANUP(struct xen_domain *, xen_domain_free)

/* For machine_ops: the guest called. Takes the lock. */
int64_t xen_hypercall(struct xen_domain *d, struct vcpu *v, const struct hypercall *h);
/* The guest wrote the hypercall page MSR. */
bool xen_hypercall_page(struct xen_domain *d, uint64_t msr);

/* ---- what the domain runs on: recorded in images ---- */

struct xen_transport_state {
	bool thunks_found;     /* in the kernel that was loaded */
	bool thunks_patched;   /* they write to MACHINE_HYPERCALL_PORT */
	uint64_t thunk_gpa[2]; /* VMMCALL's, VMCALL's */
	uint64_t page_gpa;     /* hypercall page that the guest asked for; UINT64_MAX: none */
};
struct xen_transport_state *xen_transport(struct xen_domain *d);

/* ---- life cycle ---- */

/*
 * A new life (the suspend hypercall returns 0): forget what the guest registers anew, and give it a
 * new xenstore. -ENOMEM leaves the old one.
 */
int xen_domain_reset(struct xen_domain *d, struct err *err);
/* The suspend hypercall is going to return 1: what the guest does not do again goes on. */
void xen_domain_cancelled(struct xen_domain *d);
/* Time went by without the guest: writes the wall clock anew. */
void xen_domain_update_wallclock(struct xen_domain *d);
/* All memory came from an image by now, also what the guest has ballooned out meanwhile: that goes again. */
void xen_domain_memory_loaded(struct xen_domain *d);
/* vCPUs go on: upcalls that the APICs did not take are sent again, timers armed. */
void xen_domain_wake(struct xen_domain *d);

/* All of the domain's state but guest memory and xenstore, and xenstore. Machine parked. */
int xen_domain_save(struct xen_domain *d, struct bytes_writer *w, struct err *err);
int xen_domain_load(struct xen_domain *d, struct bytes_reader *r, struct err *err);
int xen_domain_save_store(struct xen_domain *d, struct bytes_writer *w, struct err *err);
/* The guest's whole tree, connection and ring go on where they were (transparent wake). */
int xen_domain_load_store(struct xen_domain *d, struct bytes_reader *r, struct err *err);

struct xen_domain_info {
	uint64_t system_time_ns;
	uint64_t memory_bytes; /* RAM less what is ballooned out */
	unsigned int vcpus_online;
	bool sleeps;	       /* control/feature-suspend is 1 */
	bool fifo;	       /* event channels are FIFO, not 2-level */
	uint32_t callback_irq; /* non-zero: PV drivers are there */
};
void xen_domain_get_info(struct xen_domain *d, struct xen_domain_info *ret);

#endif
