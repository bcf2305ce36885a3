/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PV console: the guest's ring on one side, a byte stream of which the last MiB is kept on the
 * other. Output is always taken at once, so nobody who does not read can stop the guest.
 *
 * All functions: any thread. Lock order: the domain's lock before the console's.
 */
#ifndef NIDRA_DEVICE_CONSOLE_H
#define NIDRA_DEVICE_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct console;
struct gmem;
struct xen_domain;

int console_new(struct console **ret, struct err *err);
void console_free(struct console *c);
DEFINE_CLEANUP(struct console *, console_free)

/* Connects to the guest's ring; before vCPUs run. */
int console_attach(struct console *c, struct xen_domain *d, struct gmem *mem, struct err *err);

/* Bytes from elsewhere (early output of the guest). */
void console_put(struct console *c, const void *buf, size_t len);
/* Takes what is in the ring now, without an event. Not with the domain's lock held. */
void console_drain(struct console *c);

/* See guest.h: guest_console_read() and friends. */
size_t console_read(struct console *c, uint64_t *pos, void *buf, size_t len);
int console_fd(const struct console *c);
size_t console_write(struct console *c, const void *buf, size_t len);

#endif
