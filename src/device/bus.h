/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PV devices of one guest, as xenbus has them: each is two folders in xenstore whose `state` nodes
 * are a handshake between frontend and backend. A class of devices (disks, network) offers what it
 * can do, connects when the frontend has granted its rings, and disconnects when that goes away.
 *
 * Frontends come and go as they like: a module is unloaded, a guest reboots by itself, one that woke
 * connects anew. A frontend that makes no sense is left alone, with the reason in its backend's
 * `error` node and in the monitor's log.
 *
 * Sources: Xen docs/misc/xenstore-paths.pandoc, public/io/xenbus.h; Linux drivers/xen/xenbus.
 *
 * Locks: the bus's, then a device's own, then the domain's. Classes are called under the bus's lock.
 */
#ifndef NIDRA_DEVICE_BUS_H
#define NIDRA_DEVICE_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct bus;
struct bus_device;
struct xen_domain;

struct bus_class {
	const char *name; /* "vbd" */
	/* Puts the nodes that the frontend has to find: bus_put(), bus_put_front(). */
	void (*offer)(void *arg, struct bus_device *dev);
	/* The frontend has written its nodes: bus_front(). An error leaves it unconnected, @err says why. At rest until
	 * go(). */
	int (*connect)(void *arg, struct bus_device *dev, struct err *err);
	/*
	 * The rings are gone. True: nothing that came by them has an effect any more. False: it may still, and this is
	 * asked again: when the class calls bus_wake(), or earlier. Does not wait.
	 */
	bool (*disconnect)(void *arg);
	/*
	 * The machine stands still, and is going to be copied: finish what was taken from the rings, tell the
	 * guest's memory so, and take no more. An error that says who does not: not before @deadline_ns (monotonic);
	 * ask again or go on.
	 */
	int (*drain)(void *arg, uint64_t deadline_ns, struct err *err);
	/* Goes on; looks into its rings without being told. */
	void (*go)(void *arg);
	/* False: the kernel still has a part of the guest's memory, and may write to it. */
	bool (*free)(void *arg);
};

int bus_new(struct xen_domain *d, struct bus **ret, struct err *err);
/* Disconnects and frees all devices; those that do not finish get a few seconds. False: see bus_class.free. */
bool bus_free(struct bus *b);
DEFINE_CLEANUP(struct bus *, bus_free)

/* @arg becomes the bus's, also when it fails. @id as the frontend's folder has it; @name for messages. */
int bus_add(struct bus *b, const struct bus_class *class, void *arg, unsigned int id, const char *name,
	    struct err *err);
/*
 * A new life of the guest, or its first: all devices are disconnected and offered in the store that there
 * is now. Before its vCPUs run.
 */
void bus_offer(struct bus *b);
/*
 * After bus_offer() to a guest that was told that it woke: its drivers are coming back. False: some are not there yet.
 * @give_up: they are not expected any more.
 */
void bus_expect(struct bus *b);
bool bus_settled(struct bus *b, bool give_up);
/* The store came out of an image, and the guest goes on where it was: connects what was connected. Before its vCPUs
 * run. */
int bus_adopt(struct bus *b, struct err *err);

/* All devices; see bus_class. -ETIMEDOUT: which one does not come to rest. Until bus_go() no handshake goes on either.
 */
int bus_drain(struct bus *b, uint64_t deadline_ns, struct err *err);
void bus_go(struct bus *b);

/* ---- for classes ---- */

struct xen_domain *bus_domain(struct bus_device *dev);
void bus_put(struct bus_device *dev, const char *key, const char *fmt, ...) _printf_(3, 4);
void bus_put_front(struct bus_device *dev, const char *key, const char *fmt, ...) _printf_(3, 4);
/* What the frontend wrote; allocated, or NULL. */
char *bus_front(struct bus_device *dev, const char *key);
/* A number out of it. -ENOENT: there is none, *ret is as it was. -EINVAL: it is none, or above @max. */
int bus_front_number(struct bus_device *dev, const char *key, uint32_t max, uint32_t *ret);
/* Calls @fn under the bus's lock: no handshake goes on. For who is not called by the bus. */
void bus_locked(struct bus_device *dev, void (*fn)(void *arg), void *arg);
/* A disconnect that was not possible yet may be now. Takes no lock. */
void bus_wake(struct bus_device *dev);
/* Writes the backend's state once more: frontends look at what else there is (a disk's size). */
void bus_poke(struct bus_device *dev);

#endif
