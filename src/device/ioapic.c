/* SPDX-License-Identifier: Apache-2.0 */
/* Source: Intel 82093AA data sheet (290566), chapter 3. */
#include "device/ioapic.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/util.h"

/* What the guest sees in memory. */
#define IOREGSEL 0x00
#define IOWIN	 0x10

/* Registers behind it. */
#define REG_ID	    0x00
#define REG_VERSION 0x01
#define REG_ENTRY   0x10 /* two for each pin */

#define VERSION	 0x11 /* 82093AA: no EOI register, which only level-triggered ones need */
#define ID_SHIFT 24
#define ID_MASK	 0x0fu
#define FIRST_ID 1 /* local APICs have even ones */

/* Redirection entry. The other bits are reserved, or say what is never so here: always zero. */
#define ENTRY_VECTOR	 UINT64_C(0xff)
#define ENTRY_MODE_SHIFT 8
#define ENTRY_MODE	 7u
#define ENTRY_LOGICAL	 (UINT64_C(1) << 11)
#define ENTRY_MASKED	 (UINT64_C(1) << 16)
#define ENTRY_DEST_SHIFT 56
#define ENTRY_LOW_BITS	 UINT32_C(0x0001afff) /* vector, mode, logical, polarity, trigger, mask */
#define ENTRY_HIGH_BITS	 UINT32_C(0xff000000) /* destination */
#define ENTRY_BITS	 ((uint64_t)ENTRY_HIGH_BITS << 32 | ENTRY_LOW_BITS)
#define MODE_FIXED	 0
#define MODE_LOWEST	 1

#define MSI_ADDRESS	    0xfee00000u
#define MSI_DEST_SHIFT	    12
#define MSI_ADDRESS_LOGICAL (1u << 2)
#define MSI_DATA_ASSERT	    (1u << 14)

struct ioapic {
	ioapic_send_fn send;
	void *arg;

	pthread_mutex_t lock;
	uint8_t index; /* IOREGSEL */
	uint8_t id;
	uint64_t entry[IOAPIC_PINS];
	uint32_t latched; /* edges that no local APIC has taken; a bit for each pin */
};
_Static_assert(IOAPIC_PINS <= 32, "bits of latched");

int ioapic_new(ioapic_send_fn send, void *arg, struct ioapic **ret, struct err *err)
{
	struct ioapic *io = calloc(1, sizeof(*io));

	if (!io)
		return err_errno(err, -ENOMEM, "I/O APIC");
	io->send = send;
	io->arg = arg;
	io->id = FIRST_ID;
	for (unsigned int i = 0; i < IOAPIC_PINS; i++)
		io->entry[i] = ENTRY_MASKED;
	pthread_mutex_init(&io->lock, NULL);
	*ret = io;
	return 0;
}

void ioapic_free(struct ioapic *io)
{
	if (!io)
		return;
	pthread_mutex_destroy(&io->lock);
	free(io);
}

/* Sends a latched edge, if it may go. What no local APIC can do with an edge from outside is dropped. */
static void deliver(struct ioapic *io, unsigned int pin)
{
	uint64_t e = io->entry[pin];
	uint32_t mode = (uint32_t)(e >> ENTRY_MODE_SHIFT) & ENTRY_MODE, address, data;
	int r = 0;

	if (!(io->latched & UINT32_C(1) << pin) || e & ENTRY_MASKED)
		return;
	address = MSI_ADDRESS | (uint32_t)(e >> ENTRY_DEST_SHIFT) << MSI_DEST_SHIFT;
	if (e & ENTRY_LOGICAL)
		address |= MSI_ADDRESS_LOGICAL;
	data = (uint32_t)(e & ENTRY_VECTOR) | mode << ENTRY_MODE_SHIFT | MSI_DATA_ASSERT;
	if (mode == MODE_FIXED || mode == MODE_LOWEST)
		r = io->send(io->arg, address, data);
	if (r > 0 || mode > MODE_LOWEST)
		io->latched &= ~(UINT32_C(1) << pin);
	trace(ioapic, "pin=%u address=0x%x data=0x%x delivered=%d", pin, address, data, r);
}

static uint32_t get(const struct ioapic *io)
{
	unsigned int n = io->index - REG_ENTRY;

	if (io->index == REG_ID)
		return (uint32_t)io->id << ID_SHIFT;
	if (io->index == REG_VERSION)
		return (IOAPIC_PINS - 1) << 16 | VERSION;
	if (io->index < REG_ENTRY || n / 2 >= IOAPIC_PINS)
		return 0; /* the arbitration register, and what does not exist */
	return (uint32_t)(io->entry[n / 2] >> (n % 2 ? 32 : 0));
}

static void set(struct ioapic *io, uint32_t value)
{
	unsigned int n = io->index - REG_ENTRY;
	uint64_t *e;

	if (io->index == REG_ID)
		io->id = value >> ID_SHIFT & ID_MASK;
	if (io->index < REG_ENTRY || n / 2 >= IOAPIC_PINS)
		return;
	e = &io->entry[n / 2];
	if (n % 2)
		*e = (uint32_t)*e | (uint64_t)(value & ENTRY_HIGH_BITS) << 32;
	else
		*e = (*e >> 32) << 32 | (value & ENTRY_LOW_BITS);
	deliver(io, n / 2);
}

void ioapic_read(struct ioapic *io, uint64_t offset, void *data, size_t len)
{
	uint32_t value = 0;

	memset(data, 0, len);
	if (len != sizeof(value))
		return;
	SCOPED_LOCK(&io->lock);
	if (offset == IOREGSEL)
		value = io->index;
	else if (offset == IOWIN)
		value = get(io);
	memcpy(data, &value, sizeof(value));
}

void ioapic_write(struct ioapic *io, uint64_t offset, const void *data, size_t len)
{
	uint32_t value;

	if (len != sizeof(value))
		return;
	memcpy(&value, data, sizeof(value));
	SCOPED_LOCK(&io->lock);
	if (offset == IOREGSEL)
		io->index = (uint8_t)value;
	else if (offset == IOWIN)
		set(io, value);
}

void ioapic_raise(struct ioapic *io, unsigned int pin)
{
	SCOPED_LOCK(&io->lock);

	if (pin >= IOAPIC_PINS)
		return;
	io->latched |= UINT32_C(1) << pin;
	deliver(io, pin);
}

void ioapic_save(struct ioapic *io, struct bytes_writer *w)
{
	SCOPED_LOCK(&io->lock);

	bytes_put_u8(w, io->id);
	bytes_put_u8(w, io->index);
	bytes_put_u16(w, IOAPIC_PINS);
	bytes_put_u32(w, io->latched);
	for (unsigned int i = 0; i < IOAPIC_PINS; i++)
		bytes_put_u64(w, io->entry[i]);
}

int ioapic_load(struct ioapic *io, struct bytes_reader *r)
{
	uint64_t entry[IOAPIC_PINS];
	uint8_t id = bytes_get_u8(r), index = bytes_get_u8(r);
	uint16_t pins = bytes_get_u16(r);
	uint32_t latched = bytes_get_u32(r);

	if (id & ~ID_MASK || pins != IOAPIC_PINS || (uint64_t)latched >> IOAPIC_PINS)
		bytes_fail(r);
	for (unsigned int i = 0; i < IOAPIC_PINS; i++) {
		entry[i] = bytes_get_u64(r);
		if (entry[i] & ~ENTRY_BITS)
			bytes_fail(r);
	}
	if (r->failed)
		return -EBADMSG;
	SCOPED_LOCK(&io->lock);
	io->id = id;
	io->index = index;
	io->latched = latched;
	memcpy(io->entry, entry, sizeof(entry));
	return 0;
}
