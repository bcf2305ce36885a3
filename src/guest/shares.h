/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared folders of a guest: a process nidra-share for each, and what the monitor keeps of it: its folder, the
 * socket that the guest's connections go to, its state (share/replies.h). A process that dies is started again, and the
 * guest's kernel goes on where it was.
 *
 * Called by who may call the guest; a thread of its own watches the processes.
 */
#ifndef NIDRA_GUEST_SHARES_H
#define NIDRA_GUEST_SHARES_H

#include "base/bytes.h"
#include "guest/config.h"

struct shares;

/* Opens the folders and makes the sockets. The configuration has to live as long. NULL: it has no shares. */
int shares_new(const struct guest_config *config, struct shares **ret, struct err *err);
void shares_free(struct shares *s);
DEFINE_CLEANUP(struct shares *, shares_free)

/* A path at which number @i takes connections, for this process only. */
const char *shares_socket(const struct shares *s, size_t i);
/* ... from this port of LINK_SERVICE_ADDRESS. */
uint16_t shares_port(size_t i);
/* What a guest types, as root, to have share @i of @config at /mnt. Allocated. */
char *shares_mount_command(const struct guest_config *config, size_t i);

/* What number @i knows of its past, for an image; and back, before it is started. */
int shares_save(const struct shares *s, size_t i, struct bytes_writer *w, struct err *err);
int shares_load(struct shares *s, size_t i, const void *state, size_t len, struct err *err);

/* They run from now on, or did already. */
int shares_start(struct shares *s, struct err *err);
/* No file changes any more through them. -ETIMEDOUT: not yet. */
int shares_quiet(struct shares *s, uint64_t deadline_ns, struct err *err);
void shares_go(struct shares *s);
/* What was changed is on the host's disk. May take long. */
int shares_sync(const struct shares *s, struct err *err);

#endif
