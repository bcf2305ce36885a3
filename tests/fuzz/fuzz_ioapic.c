/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest at its I/O APIC. The input is a list of accesses, each: u8 what (0 read, 1 write, 2 raise, 3 save and
 * load, 4 load the rest), u8 offset or pin, u8 length, u8 whether the local APICs take a message, u32 value.
 */
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "device/ioapic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int on_send(void *arg, uint32_t address, uint32_t message)
{
	const int *answer = arg;

	/* Nothing but a fixed or lowest-priority interrupt, edge-triggered. */
	if ((address & 0xfff00ffb) != 0xfee00000 || (message & ~UINT32_C(0x41ff)))
		__builtin_trap();
	return *answer;
}

static void over(struct ioapic *io)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct bytes_reader r;

	ioapic_save(io, &w);
	r = bytes_reader(w.buf, w.len);
	/* What it wrote itself, it reads. */
	if (ioapic_load(io, &r) < 0 || bytes_done(&r) < 0)
		__builtin_trap();
}

static void access_once(struct ioapic *io, uint8_t what, uint8_t where, uint8_t len, uint32_t value)
{
	uint8_t buf[8] = { 0 };

	memcpy(buf, &value, sizeof(value));
	if (what == 0)
		ioapic_read(io, where, buf, len % 9);
	else if (what == 1)
		ioapic_write(io, where, buf, len % 9);
	else if (what == 2)
		ioapic_raise(io, where);
	else
		over(io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes_reader r = bytes_reader(data, len);
	struct ioapic *io = NULL;
	int answer = 0;

	if (ioapic_new(on_send, &answer, &io, NULL) < 0)
		return 0;
	while (r.left && !r.failed) {
		uint8_t what = bytes_get_u8(&r), where = bytes_get_u8(&r), size = bytes_get_u8(&r);

		answer = bytes_get_u8(&r) % 3 - 1;
		if (what % 5 == 4)
			ioapic_load(io, &r);
		else
			access_once(io, what % 5, where, size, bytes_get_u32(&r));
	}
	over(io);
	ioapic_free(io);
	return 0;
}
