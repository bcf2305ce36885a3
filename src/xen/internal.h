/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share. Functions here want the domain's lock held unless they say
 * otherwise.
 */
#ifndef NIDRA_XEN_INTERNAL_H
#define NIDRA_XEN_INTERNAL_H

#include <pthread.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/event_channel.h>

#include "base/clock.h"
#include "kvm/gmem.h"
#include "xen/backend.h"
#include "xen/domain.h"
#include "xen/store/store.h"

#define XEN_PORTS	 4096 /* as many as the 2-level ABI has; enough for FIFO, too */
#define XEN_VIRQS	 24
#define XEN_PARAMS	 64
#define XEN_WATCHDOGS	 2 /* as in Xen */
#define FIFO_PAGES	 (XEN_PORTS / 1024)
#define FIFO_QUEUES	 (EVTCHN_FIFO_PRIORITY_MIN + 1)
#define WATCHDOG_TICK_NS (100 * NSEC_PER_MSEC)
#define NOWHERE		 UINT64_MAX /* a guest address that is not set */

enum port_kind {
	PORT_FREE,
	PORT_UNBOUND,	  /* the guest offers it to a backend in remote_domid */
	PORT_BACKEND,	  /* connected to a backend of ours */
	PORT_INTERDOMAIN, /* connected to another port of the same guest */
	PORT_VIRQ,
	PORT_IPI,
};

struct port {
	enum port_kind kind;
	uint8_t vcpu;	  /* that gets its events */
	uint8_t virq;	  /* PORT_VIRQ */
	uint8_t priority; /* FIFO */
	uint16_t remote_domid, remote_port;
	xen_backend_fn send; /* PORT_BACKEND: the guest sent an event; not saved */
	void *arg;
	uint8_t last_vcpu, last_priority; /* FIFO: the queue it was linked to last */
};

struct xen_vcpu {
	uint64_t info_gpa;		 /* registered vcpu_info, or NOWHERE: the one in shared_info */
	uint64_t runstate_gva, time_gva; /* only remembered */
	uint8_t vector;			 /* upcall vector; 0: none */
	bool retry;			 /* an upcall was dropped by a disabled APIC */
	uint64_t deadline;		 /* single-shot timer in system time; 0: off */
	uint16_t virq_port[XEN_VIRQS];	 /* 0: not bound */
	int timer_fd;
	pthread_cond_t poll; /* SCHEDOP_poll waits here */
	/* FIFO */
	uint64_t control_gpa; /* control block, or NOWHERE */
	uint16_t tail[FIFO_QUEUES];
};

struct xen_domain {
	struct machine *machine;
	struct gmem *mem;
	struct xen_domain_config config;
	char *name, *uuid;
	struct xen_domain_ops ops;
	struct xen_transport_state transport;

	pthread_mutex_t lock;
	pthread_cond_t changed;

	uint64_t param[XEN_PARAMS];
	uint64_t shared_info_gpa; /* or NOWHERE */
	uint32_t wallclock_version;
	struct xen_vcpu vcpu[MACHINE_VCPUS_MAX];
	unsigned int vcpus;

	struct port port[XEN_PORTS];
	bool fifo;
	uint64_t fifo_array[FIFO_PAGES]; /* gpa of event array pages, or NOWHERE */
	unsigned int fifo_pages;

	uint32_t grant_frames; /* frames the guest has asked for: 0..grant_frames-1 */

	uint8_t *ballooned; /* a bit per page of RAM: given back */
	uint64_t ballooned_pages;

	struct xs *store;
	xs_changed_fn store_changed; /* the backends' watch */
	void *store_changed_arg;

	uint64_t watchdog_ns[XEN_WATCHDOGS]; /* that are left; 0: not set */

	/* timer.c */
	pthread_t timer_thread;
	bool timer_started;
	int epoll_fd, stop_fd, retry_fd, halt_fd, tick_fd;
};

/* One hypercall being handled. */
struct hcall {
	struct xen_domain *d;
	struct vcpu *v;
	unsigned int vcpu;
	uint64_t arg[6];
};

/* copy.c: guest virtual memory; -EFAULT. On the calling vCPU's thread. */
int xen_copy_from(const struct hcall *h, void *dst, uint64_t gva, size_t len);
int xen_copy_to(const struct hcall *h, uint64_t gva, const void *src, size_t len);
#define GET_ARG(h, gva, dst) xen_copy_from(h, dst, gva, sizeof(*(dst)))
#define PUT_ARG(h, gva, src) xen_copy_to(h, gva, src, sizeof(*(src)))
/* DOMID_SELF or the domain's own id. */
bool xen_is_self(const struct xen_domain *d, domid_t domid);

/* hypercalls, one file per facility */
int64_t hcall_console_io(struct hcall *h);
int64_t hcall_version(struct hcall *h);
int64_t hcall_memory(struct hcall *h);
int64_t hcall_hvm(struct hcall *h);
int64_t hcall_vcpu(struct hcall *h);
int64_t hcall_sched(struct hcall *h); /* without the lock */
int64_t hcall_evtchn(struct hcall *h);
int64_t hcall_grant(struct hcall *h);
int64_t hcall_set_timer(struct hcall *h);

/* evtchn.c: ports */
void evtchn_init(struct xen_domain *d);
/* A free port of at least @from; 0: none left. */
unsigned int evtchn_find_free(struct xen_domain *d, unsigned int from);
struct port *evtchn_get(struct xen_domain *d, uint64_t port);
void evtchn_close(struct xen_domain *d, unsigned int port);
/* One of its kind in the domain: bound on vCPU 0, its events may go to any. */
bool evtchn_virq_is_global(unsigned int virq);
/* The vCPU whose virq_port[] has a PORT_VIRQ. */
unsigned int evtchn_virq_owner(const struct port *p);
/* Forgets every port but the two rings' (which stay connected to their backends). */
void evtchn_reset(struct xen_domain *d);
void evtchn_raise(struct xen_domain *d, unsigned int port);
void evtchn_raise_virq(struct xen_domain *d, unsigned int vcpu, unsigned int virq);
void evtchn_unmask(struct xen_domain *d, unsigned int port);
bool evtchn_pending(struct xen_domain *d, unsigned int port);

/* evtchn_fifo.c */
int fifo_init_control(struct xen_domain *d, const evtchn_init_control_t *op);
int fifo_expand_array(struct xen_domain *d, uint64_t gfn);
void fifo_reset(struct xen_domain *d);
void fifo_raise(struct xen_domain *d, unsigned int port);
void fifo_unmask(struct xen_domain *d, unsigned int port);
bool fifo_pending(struct xen_domain *d, unsigned int port);
void fifo_clear_pending(struct xen_domain *d, unsigned int port);

/* upcall.c */
vcpu_info_t *xen_vcpu_info(struct xen_domain *d, unsigned int vcpu); /* NULL: none yet */
void upcall_mark(struct xen_domain *d, unsigned int vcpu);	     /* events are pending: raise if needed */
void upcall_send(struct xen_domain *d, unsigned int vcpu);	     /* raise in any case */
void upcall_retry(struct xen_domain *d);

/* timer.c */
int timer_start(struct xen_domain *d, struct err *err);
void timer_stop(struct xen_domain *d);
void timer_arm(struct xen_domain *d, unsigned int vcpu, uint64_t deadline); /* 0: off */
void timer_arm_retry(struct xen_domain *d);
void timer_tick(struct xen_domain *d, bool on); /* for watchdogs */
uint64_t xen_now(struct xen_domain *d);

/* watchdog.c */
int64_t watchdog_set(struct xen_domain *d, uint32_t id, uint32_t seconds); /* what the hypercall returns */
bool watchdog_runs(const struct xen_domain *d);
/* WATCHDOG_TICK_NS of the guest's time went by. True: a watchdog has expired. */
bool watchdog_tick(struct xen_domain *d);
void watchdog_forget(struct xen_domain *d);
void watchdog_save(const struct xen_domain *d, struct bytes_writer *w);
void watchdog_load(struct xen_domain *d, struct bytes_reader *r);

/* shinfo.c */
shared_info_t *xen_shared_info(struct xen_domain *d); /* NULL: not mapped */
int shinfo_map(struct xen_domain *d, uint64_t gfn);
void shinfo_write_wallclock(struct xen_domain *d);

/* gnttab.c */
void gnttab_reset(struct xen_domain *d);

/* balloon.c */
int balloon_init(struct xen_domain *d, struct err *err);
/* Takes @gfn out of (in: into) the guest's RAM. False: not RAM, or was so already. */
bool balloon_out(struct xen_domain *d, uint64_t gfn);
/* Gives back once more what is out. */
void balloon_drop_again(struct xen_domain *d);
bool balloon_in(struct xen_domain *d, uint64_t gfn);
bool balloon_has(struct xen_domain *d, uint64_t gfn); /* RAM that the guest owns */
void balloon_save(struct xen_domain *d, struct bytes_writer *w);
int balloon_load(struct xen_domain *d, struct bytes_reader *r);

/* store_ring.c: the guest's xenstore ring */
bool store_ring_event(void *arg);
void store_ring_push(struct xen_domain *d); /* output for the guest may wait */

#endif
