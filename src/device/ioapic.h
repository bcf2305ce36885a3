/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O APIC (82093AA) for the few interrupts of ours that are no event channels. Local APICs are in
 * KVM; this one is here, and sends them messages.
 *
 * Edges only: an entry that is level-triggered is treated as edge-triggered. An edge is latched until
 * a local APIC takes it: while the pin is masked, and while its target is switched off, as CPU 0's is while
 * Linux sleeps. The next write to the pin's entry tries again; Linux writes all of them when it resumes,
 * after it has switched its local APIC on.
 *
 * All functions: any thread.
 */
#ifndef NIDRA_DEVICE_IOAPIC_H
#define NIDRA_DEVICE_IOAPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

#define IOAPIC_PINS  24
#define IOAPIC_BYTES 4096 /* of address space */

struct ioapic;

/* Sends a message to the local APICs: > 0: taken. As machine_msi(); called under the I/O APIC's lock. */
typedef int (*ioapic_send_fn)(void *arg, uint32_t address, uint32_t data);

int ioapic_new(ioapic_send_fn send, void *arg, struct ioapic **ret, struct err *err);
void ioapic_free(struct ioapic *io);
DEFINE_CLEANUP(struct ioapic *, ioapic_free)

/* The guest reads or writes at @offset. Registers are of 4 bytes; any other access reads zeros and writes nothing. */
void ioapic_read(struct ioapic *io, uint64_t offset, void *data, size_t len);
void ioapic_write(struct ioapic *io, uint64_t offset, const void *data, size_t len);

/* An edge. Pins that do not exist are not connected. */
void ioapic_raise(struct ioapic *io, unsigned int pin);

/* As in docs/image-format.md. Loading changes nothing when it fails (-EBADMSG), and sends nothing. */
void ioapic_save(struct ioapic *io, struct bytes_writer *w);
int ioapic_load(struct ioapic *io, struct bytes_reader *r);

#endif
