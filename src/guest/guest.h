/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest: machine + Xen domain + devices, put together in one order (guest.c) and taken
 * apart in the reverse one.
 *
 * Threads: one per vCPU, one for timers, both inside; everything here is called from outside by
 * one thread at a time (the monitor's operation thread or its loop, never both: the sleep lock),
 * except what is marked "any thread".
 */
#ifndef NIDRA_GUEST_GUEST_H
#define NIDRA_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "guest/config.h"

struct guest;
struct machine;
struct xen_domain;
struct console;
struct image_pager;
struct image_reader;
struct image_region;
struct vif_stats;

enum guest_state {
	GUEST_BUILT, /* exists, no instruction executed yet */
	GUEST_RUNNING,
	GUEST_PAUSED,	 /* vCPUs stopped, the guest was not told */
	GUEST_SUSPENDED, /* the guest sleeps in its suspend hypercall */
	GUEST_ENDED,	 /* it will not run again; guest_end() says why */
};

enum guest_end {
	GUEST_END_NONE,
	GUEST_END_POWEROFF,
	GUEST_END_REBOOT,
	GUEST_END_CRASH,
	GUEST_END_FAILED, /* KVM cannot run it (triple fault, emulation failure) */
	GUEST_END_SAVED,  /* it lives on in an image */
	GUEST_END_DESTROYED,
	GUEST_END_WATCHDOG, /* the guest did not poke its watchdog */
};

const char *guest_state_name(enum guest_state s);
const char *guest_end_name(enum guest_end e);

struct guest_observer {
	void (*changed)(void *arg); /* the state did; from any thread; must not block */
	void *arg;
	const char *folder; /* for sockets of its own; lives longer */
};

/* Builds the machine without content, or (@base_fd not NULL) with memory over that base: gmem_new_over(). */
int guest_new(const struct guest_config *config, const struct guest_observer *observer, const int *base_fd,
	      struct guest **ret_guest, struct err *err);
/* If the configuration has no kernel: that of a disk, read anew each time. @wait says whether to wait on. */
int guest_find_kernel(struct guest *g, int (*wait)(void *arg, struct err *err), void *arg, struct err *err);
/* Loads the kernel and makes the machine ready to execute its first instruction. */
int guest_load_kernel(struct guest *g, struct err *err);
/* Ends the vCPU threads and frees all. */
void guest_free(struct guest *g);
DEFINE_CLEANUP(struct guest *, guest_free)

/* BUILT or PAUSED -> RUNNING. A suspended guest needs the sleep layer's resume. */
int guest_run(struct guest *g, struct err *err);
/* RUNNING -> PAUSED: all vCPUs have stopped when it returns. */
int guest_pause(struct guest *g, struct err *err);
/* Asks by xenstore control/shutdown: "poweroff" or "reboot"; returns at once. */
int guest_ask(struct guest *g, const char *what, struct err *err);
/* RUNNING/PAUSED/SUSPENDED -> ENDED (DESTROYED). */
void guest_destroy(struct guest *g);
/* New target for the guest's balloon. */
int guest_set_memory(struct guest *g, uint32_t target_mib, struct err *err);
/* vCPUs 0..n-1 on, the others off, by xenstore cpu/N/availability. */
int guest_set_vcpus(struct guest *g, uint32_t n, struct err *err);

enum guest_state guest_state(const struct guest *g); /* any thread */
enum guest_end guest_end(const struct guest *g);     /* any thread */
const struct guest_config *guest_config(const struct guest *g);

struct guest_info {
	enum guest_state state;
	enum guest_end end;
	uint64_t cpu_time_ns;	 /* of all vCPU threads */
	uint64_t running_ns;	 /* guest system time (Xen time) */
	uint64_t memory_bytes;	 /* RAM the guest owns now (less what it ballooned out) */
	uint64_t resident_bytes; /* of that, backed by host memory of its own */
	uint64_t shared_bytes;	 /* host memory that it shares with its forks */
	uint64_t image_bytes;	 /* of that, still in the image that it was restored from */
	uint32_t vcpus_online;
	bool sleeps;	       /* the guest's kernel has announced control/feature-suspend */
	const char *transport; /* "intercept", "thunks", "page" */
	uint32_t wakes;	       /* how often it was restored from an image */
};
void guest_get_info(struct guest *g, struct guest_info *ret); /* any thread */

/*
 * Console output since the guest's start is a byte stream; the last MiB of it is kept. Copies
 * up to @len bytes from position *pos on (moved forward if that is not kept any more) and
 * advances *pos. Any thread. guest_console_fd() becomes readable (eventfd) on new output.
 */
size_t guest_console_read(struct guest *g, uint64_t *pos, void *buf, size_t len);
int guest_console_fd(const struct guest *g);
/* Keys typed; returns how many fit now (the rest later). Any thread. */
size_t guest_console_write(struct guest *g, const void *buf, size_t len);

/*
 * A guest whose state comes from elsewhere instead of guest_load_kernel(): after all of machine and
 * domain were loaded. Makes hypercalls work on this host, whichever it was saved on.
 */
int guest_adopt(struct guest *g, struct err *err);
/*
 * Its I/O APIC, and where the bytes of its generation are: see docs/image-format.md. A guest that was saved without
 * has none, and then none of this does anything. Machine parked.
 */
bool guest_save_ioapic(struct guest *g, struct bytes_writer *w); /* false: none */
int guest_load_ioapic(struct guest *g, struct bytes_reader *r, struct err *err);
/*
 * It wakes and is told so: other machines may be what it is. Its generation (VMGenID) gets other random
 * bytes, and an interrupt says so. Before its vCPUs run.
 */
int guest_new_generation(struct guest *g, struct err *err);
/*
 * Its disks and what else the bus has. @anew: the guest looks for them by itself (it boots, or was told that it woke).
 * Else its drivers go on with the rings they have. They stay at rest until guest_run() or guest_devices_go().
 */
int guest_connect_devices(struct guest *g, bool anew, struct err *err);
/*
 * What share @i of its configuration knows of its past, for an image; while its devices are at rest. And back, before
 * guest_connect_devices().
 */
int guest_save_share(struct guest *g, size_t i, struct bytes_writer *w, struct err *err);
int guest_load_share(struct guest *g, size_t i, const void *state, size_t len, struct err *err);
/* What the guest changed in its shares is on the host's disk. */
int guest_sync_shares(struct guest *g, struct err *err);
/* False: it woke, and not all of its drivers are back. @give_up: nobody waits for them any more. */
bool guest_devices_settled(struct guest *g, bool give_up);
/* Machine parked. All that the guest asked of its devices is done, and its memory has the answers. -ETIMEDOUT: not yet.
 */
int guest_drain_devices(struct guest *g, uint64_t deadline_ns, struct err *err);
void guest_devices_go(struct guest *g);
/* Number @i of its configuration. The bus's. */
struct disk *guest_disk(struct guest *g, size_t i);
/* -EBUSY: one of its disks stalls, and why. */
int guest_check_disks(struct guest *g, struct err *err);
/* See vbd_sync(). */
int guest_sync_disk(struct guest *g, size_t i, int (*go_on)(void *arg, struct err *err), void *arg, struct err *err);
void guest_get_nic_stats(const struct guest *g, size_t i, struct vif_stats *ret); /* any thread */
void guest_get_disk_stats(struct guest *g, size_t i, struct disk_stats *ret);	  /* any thread */
/* See vbd_resize(). */
int guest_resize_disk(struct guest *g, const char *vdev, uint64_t bytes, struct err *err);
/*
 * Memory from an image, as it is touched. Takes @r over unless it fails (image_pager_new()). If the
 * image turns out unreadable later, the guest ends as FAILED before it sees a wrong byte.
 */
int guest_load_lazily(struct guest *g, struct image_reader *r, const struct image_region *region, size_t n,
		      const char *folder, struct err *err);
/* NULL: its memory never came from an image lazily. */
struct image_pager *guest_pager(struct guest *g);
/* How often it woke from an image before; and whether it still stands in the suspend hypercall of then. */
void guest_set_wakes(struct guest *g, uint32_t wakes, bool in_call);
/* It sleeps, or was restored and has not run yet: it can be woken by that hypercall's return. */
bool guest_in_suspend_call(const struct guest *g);

/*
 * What the guest asks of its hypervisor goes along a chain; commands are enum xen_shutdown, data is
 * the guest. A sleep operation that waits for the guest adds itself; behind it is the guest's own
 * handler, which ends the guest and tells an unexpected suspend that it is cancelled. Handlers run
 * on a vCPU thread under the guest's lock: no calls back into the guest but guest_changed().
 */
struct pm_handler;
void guest_add_handler(struct guest *g, struct pm_handler *h);
void guest_remove_handler(struct guest *g, struct pm_handler *h);
/* Wakes guest_wait() and the observer. */
void guest_changed(struct guest *g);
/* Waits until something changed, at most @ns. Not under the guest's lock. */
void guest_wait(struct guest *g, uint64_t ns);
/* Ends it. The first reason counts. */
void guest_end_as(struct guest *g, enum guest_end end);
/* A sentence on why it failed or crashed; "" otherwise. */
const char *guest_end_reason(struct guest *g);

/* For the layers above: the parts. */
struct machine *guest_machine(struct guest *g);
struct xen_domain *guest_domain(struct guest *g);
struct console *guest_console(struct guest *g);

#endif
