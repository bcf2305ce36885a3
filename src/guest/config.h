/* SPDX-License-Identifier: Apache-2.0 */
/* What a person asked for: one guest, as plain values. Strings are owned by the struct. */
#ifndef NIDRA_GUEST_CONFIG_H
#define NIDRA_GUEST_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "device/disk.h"
#include "device/link.h"

#define GUEST_VCPUS_MAX	     32
#define GUEST_MEMORY_MIN_MIB 64
#define GUEST_MEMORY_MAX_MIB (16 * 1024)
#define GUEST_NAME_MAX	     63 /* letters, digits, - _ . ; the first one a letter or digit */

enum guest_action { GUEST_ACTION_DESTROY, GUEST_ACTION_RESTART, GUEST_ACTION_PRESERVE };

enum guest_transport {
	GUEST_TRANSPORT_AUTO,	   /* KVM's interception where it works, else thunks */
	GUEST_TRANSPORT_INTERCEPT, /* KVM_XEN hands VMCALL/VMMCALL to us */
	GUEST_TRANSPORT_THUNKS,	   /* the kernel's two hypercall thunks are patched to OUT */
};

#define GUEST_DISKS_MAX 26

struct guest_disk {
	char *vdev;   /* "xvda" */
	char *path;   /* or a URI of NBD */
	char *format; /* disk_format(); NULL: raw */
	bool readonly;
	enum disk_cache cache;
	enum disk_on_error on_error;
};

struct guest_disks {
	struct guest_disk *disk;
	size_t n;
};

#define GUEST_NICS_MAX 8

struct guest_nic {
	enum link_type type;
	char *mac;	    /* NULL: made of the machine's uuid */
	char *tap, *bridge; /* LINK_TAP: one of them */
	char *path;	    /* LINK_PAIR */
	char **forward;	    /* LINK_USER; link_forward_parse() */
	size_t n_forwards;
	bool restricted; /* LINK_USER: no way out */
};

struct guest_nics {
	struct guest_nic *nic;
	size_t n;
};

#define GUEST_SHARES_MAX 8
#define GUEST_TAG_MAX	 31 /* as of a name */

struct guest_share {
	char *tag;  /* by which the guest knows it */
	char *path; /* of a folder */
	bool readonly;
};

struct guest_shares {
	struct guest_share *share;
	size_t n;
};

struct guest_config {
	char *name;
	char *uuid; /* 36 characters; NULL or "new": made up by guest_config_check() */
	/* initrd and cmdline may be NULL. So may kernel: then all comes from a disk, cmdline unless it is here. */
	char *kernel, *initrd, *cmdline;
	uint32_t memory_mib;
	uint32_t vcpus;	   /* that the guest starts with */
	uint32_t maxvcpus; /* that it can have plugged in; 0: as vcpus */
	uint16_t domid;	   /* as the guest sees it; 0: 1 */
	enum guest_action on_poweroff, on_reboot, on_crash, on_watchdog;
	enum guest_transport transport;
	struct guest_disks disks;
	struct guest_nics nics;
	struct guest_shares shares; /* they go through the first network of type user; one is added if there is none */
};

void guest_config_fini(struct guest_config *c);
int guest_config_copy(const struct guest_config *c, struct guest_config *ret, struct err *err);
/* Fills in defaults and refuses what cannot be, in one sentence that names the key. */
int guest_config_check(struct guest_config *c, struct err *err);

bool guest_name_is_valid(const char *name);
const char *guest_action_name(enum guest_action a);
int guest_action_parse(const char *s, enum guest_action *ret);
const char *guest_transport_name(enum guest_transport t);
int guest_transport_parse(const char *s, enum guest_transport *ret);

/* {"name": ..., "uuid": ..., "kernel": ..., ...}: in images, on the API, to the monitor. */
char *guest_config_to_json(const struct guest_config *c);
/* Unknown keys are refused by name. */
int guest_config_from_json(const char *json, size_t len, struct guest_config *ret, struct err *err);

#endif
