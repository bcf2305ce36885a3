/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qemu-nbd of a disk's own: it reads one file in one of its formats and serves it on a socket that nobody else can
 * reach. It ends with the thread that started it, also when this process is killed, and when its last client goes.
 */
#ifndef NIDRA_DEVICE_NBD_SERVER_H
#define NIDRA_DEVICE_NBD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "device/disk.h"

struct nbd_server {
	int pidfd;  /* -1: there is none */
	int err_fd; /* what it says */
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* Its socket is there a moment later. The thread of the caller has to stay for as long as the server. */
int nbd_server_start(const struct disk_options *o, struct nbd_server *ret, struct err *err);
bool nbd_server_has_ended(const struct nbd_server *s);
/* The last line that it said, or "". */
void nbd_server_last_words(const struct nbd_server *s, char *buf, size_t size);
/* It writes what it still has, and ends; one that does not is killed after a few seconds. */
void nbd_server_stop(struct nbd_server *s);

#endif
