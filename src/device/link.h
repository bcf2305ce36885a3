/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a guest's packets go, and come from: a kind of network behind one small interface. A link belongs to one
 * network device and is used by that device's thread alone, under the device's lock.
 */
#ifndef NIDRA_DEVICE_LINK_H
#define NIDRA_DEVICE_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "device/packet.h"

#define LINK_FDS_MAX 1024

struct link;

/* A packet for the guest; p->data is good until the return. False: no more now, please. */
typedef bool (*link_deliver_fn)(void *arg, struct packet *p);

/* What the device waits for. fd[0] is its own. */
struct link_poll {
	struct pollfd fd[LINK_FDS_MAX];
	unsigned int n;
	int timeout_ms; /* -1: for ever */
};

/* What the guest's side takes in packets, besides whole ones. */
struct link_offloads {
	bool csum, gso4, gso6;
};

struct link_ops {
	/* Adds what is to be waited for. @receive: packets for the guest may come. */
	void (*prepare)(struct link *l, struct link_poll *poll, bool receive);
	/* After the waiting; delivers. */
	void (*dispatch)(struct link *l, const struct link_poll *poll, bool receive);
	/* A packet from the guest, prepared; may be changed. What cannot be sent is lost, as networks do. */
	void (*send)(struct link *l, struct packet *p);
	/* What follows may be NULL. */
	void (*set_offloads)(struct link *l, const struct link_offloads *o);
	/* The guest stands still, or goes on: time does, too. */
	void (*freeze)(struct link *l, bool frozen);
	/* The guest with this address is here now. */
	void (*announce)(struct link *l, const uint8_t mac[PACKET_MAC_BYTES]);
	void (*free)(struct link *l);
};

struct link {
	const struct link_ops *ops;
	bool takes_gso4, takes_gso6; /* from the guest */
	link_deliver_fn deliver;
	void *arg;
};

enum link_type { LINK_USER, LINK_TAP, LINK_PAIR };

/* What the guest finds at SERVICE_ADDRESS of its user network; each connection is one to a socket of this host. */
#define LINK_SERVICE_ADDRESS "10.0.2.4"
#define LINK_SERVICES_MAX    8

struct link_service {
	uint16_t port;
	const char *path; /* of a Unix socket */
};

struct link_config {
	enum link_type type;
	const char *tap, *bridge;   /* LINK_TAP: one of them; the name of an interface */
	const char *path;	    /* LINK_PAIR: of sockets, less a digit */
	const char *const *forward; /* LINK_USER: "[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT" */
	size_t n_forwards;
	bool restricted; /* LINK_USER: no way out but forwards and services */
	struct link_service service[LINK_SERVICES_MAX];
	size_t n_services;
};

/* "user", "tap" and "link". */
const char *link_type_name(enum link_type t);
int link_type_parse(const char *s, enum link_type *ret);

struct link_forward {
	bool udp;
	uint32_t address; /* of the host, in network order; 0: all of its */
	uint16_t host_port, guest_port;
};
/* -EINVAL with a sentence. */
int link_forward_parse(const char *s, struct link_forward *ret, struct err *err);

/*
 * @name is the machine's. A port or an interface that is another one's already is no error: the guest goes without it,
 * and *lacks says so. Who wakes beside the machine that it was should wake.
 */
int link_new(const struct link_config *config, const char *name, link_deliver_fn deliver, void *arg, struct err *lacks,
	     struct link **ret, struct err *err);
void link_free(struct link *l);
DEFINE_CLEANUP(struct link *, link_free)

/* Logs what a machine goes without; *lacks keeps the first. For links. */
void link_lacks(struct err *lacks, const struct err *why);
/* Adds @fd; its index, or -1: too many. For links. */
int link_poll_add(struct link_poll *poll, int fd, short events);

/* The kinds. */
int link_user_new(const struct link_config *config, const char *name, struct err *lacks, struct link **ret,
		  struct err *err);
int link_tap_new(const struct link_config *config, struct link **ret, struct err *err);
int link_pair_new(const struct link_config *config, struct link **ret, struct err *err);

#endif
