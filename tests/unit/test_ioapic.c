/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC as a guest sees it: through two registers in memory, and by the messages that it sends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "device/ioapic.h"

#define IOREGSEL 0x00
#define IOWIN	 0x10
#define MASKED	 0x10000u
#define LOGICAL	 0x800u

static struct {
	int answer; /* of the local APICs */
	unsigned int messages;
	uint32_t address, data;
} apics;

static struct ioapic *io;

static int on_send(void *arg, uint32_t address, uint32_t data)
{
	assert_ptr_equal(arg, &apics);
	apics.messages++;
	apics.address = address;
	apics.data = data;
	return apics.answer;
}

static int setup(void **state)
{
	(void)state;
	memset(&apics, 0, sizeof(apics));
	apics.answer = 1;
	return ioapic_new(on_send, &apics, &io, NULL);
}

static int teardown(void **state)
{
	(void)state;
	ioapic_free(io);
	return 0;
}

static uint32_t get(uint32_t reg)
{
	uint32_t v;

	ioapic_write(io, IOREGSEL, &reg, 4);
	ioapic_read(io, IOWIN, &v, 4);
	return v;
}

static void set(uint32_t reg, uint32_t v)
{
	ioapic_write(io, IOREGSEL, &reg, 4);
	ioapic_write(io, IOWIN, &v, 4);
}

/* As Linux writes an entry: destination first. */
static void set_entry(unsigned int pin, uint32_t low, uint8_t dest)
{
	set(0x11 + 2 * pin, (uint32_t)dest << 24);
	set(0x10 + 2 * pin, low);
}

static void test_it_says_what_it_is(void **state)
{
	(void)state;
	assert_int_equal(get(0), 1u << 24);
	assert_int_equal(get(1), (IOAPIC_PINS - 1) << 16 | 0x11);
	for (unsigned int pin = 0; pin < IOAPIC_PINS; pin++) {
		assert_int_equal(get(0x10 + 2 * pin), MASKED);
		assert_int_equal(get(0x11 + 2 * pin), 0);
	}
	set(0, UINT32_MAX);
	set(1, UINT32_MAX);
	assert_int_equal(get(0), 0x0f000000);
	assert_int_equal(get(1), (IOAPIC_PINS - 1) << 16 | 0x11);
}

static void test_entries_keep_what_may_be_written(void **state)
{
	(void)state;
	set(0x10 + 2 * 3, UINT32_MAX);
	set(0x11 + 2 * 3, UINT32_MAX);
	assert_int_equal(get(0x10 + 2 * 3), 0x1afff); /* neither delivery status nor remote IRR */
	assert_int_equal(get(0x11 + 2 * 3), 0xff000000);
	set(0x10 + 2 * 3, MASKED);
	assert_int_equal(get(0x11 + 2 * 3), 0xff000000); /* the other half stays */
	assert_int_equal(get(0x10 + 2 * 2), MASKED);
	assert_int_equal(get(0x10 + 2 * 4), MASKED);
}

static void test_an_edge_becomes_a_message(void **state)
{
	(void)state;
	set_entry(16, 0x31, 6);
	assert_int_equal(apics.messages, 0);
	ioapic_raise(io, 16);
	assert_int_equal(apics.messages, 1);
	assert_int_equal(apics.address, 0xfee06000);
	assert_int_equal(apics.data, 0x4031);
	set_entry(16, 0x31, 6);
	assert_int_equal(apics.messages, 1); /* once */
	set_entry(5, LOGICAL | 0x100 | 0xfe, 0xff);
	ioapic_raise(io, 5);
	assert_int_equal(apics.address, 0xfeeff004);
	assert_int_equal(apics.data, 0x41fe);
}

static void test_a_masked_edge_comes_with_the_unmasking(void **state)
{
	(void)state;
	ioapic_raise(io, 16);
	ioapic_raise(io, 16);
	set_entry(16, MASKED | 0x31, 2);
	set_entry(15, 0x44, 2); /* another pin's */
	assert_int_equal(apics.messages, 0);
	set_entry(16, 0x31, 2);
	assert_int_equal(apics.messages, 1);
	assert_int_equal(apics.data, 0x4031);
	set_entry(16, MASKED | 0x31, 2);
	set_entry(16, 0x31, 2);
	assert_int_equal(apics.messages, 1);
}

/* A local APIC that is off (early in every resume), or that does not exist. */
static void test_an_edge_that_nobody_took_is_sent_again(void **state)
{
	static const int refusals[] = { 0, -EPERM };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		set_entry(16, 0x31, 2);
		apics.answer = refusals[i];
		apics.messages = 0;
		ioapic_raise(io, 16);
		assert_int_equal(apics.messages, 1);
		apics.answer = 1;
		set(0x10 + 2 * 16, 0x31);
		assert_int_equal(apics.messages, 2);
		set(0x10 + 2 * 16, 0x31);
		assert_int_equal(apics.messages, 2);
	}
}

static void test_only_interrupts_are_sent(void **state)
{
	(void)state;
	for (uint32_t mode = 2; mode < 8; mode++) {
		set_entry(16, mode << 8 | 0x31, 0);
		ioapic_raise(io, 16);
		set_entry(16, 0x31, 0);
		assert_int_equal(apics.messages, 0); /* nor later */
	}
}

static void test_strange_accesses_change_nothing(void **state)
{
	uint8_t ones[8], got[8];
	uint64_t v = 0;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (uint64_t offset = 0; offset < IOAPIC_BYTES; offset++)
		for (size_t len = 1; len <= 8; len++) {
			if (len == 4 && (offset == IOREGSEL || offset == IOWIN))
				continue;
			set(0x12, 0x12345 & 0x1afff);
			ioapic_write(io, offset, ones, len);
			memset(got, 0x55, sizeof(got));
			ioapic_read(io, offset, got, len);
			assert_memory_equal(got, &v, len);
			assert_true(len == 8 || got[len] == 0x55);
			ioapic_read(io, IOWIN, got, 4);
			assert_int_equal(got[0], 0x45);
		}
	ioapic_raise(io, IOAPIC_PINS);
	ioapic_raise(io, UINT32_MAX);
	for (uint32_t reg = 0; reg < 0x200; reg++) { /* the index has 8 bits */
		uint32_t r = reg & 0xff;
		bool exists = r == 0 || r == 1 || (r >= 0x10 && r < 0x10 + 2 * IOAPIC_PINS);

		set(reg, MASKED);
		if (!exists)
			assert_int_equal(get(reg), 0);
	}
	assert_int_equal(apics.messages, 0);
}

static void test_state_goes_over(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 }, again = { 0 };
	struct bytes_reader r;

	(void)state;
	set_entry(16, 0x31, 4);
	set_entry(23, MASKED | 0xa0fe, 0xff);
	apics.answer = 0;
	ioapic_raise(io, 16);
	ioapic_raise(io, 23);
	set(0, 9u << 24);
	ioapic_save(io, &w);
	assert_int_equal(w.len, 8 + 8 * IOAPIC_PINS);
	teardown(state);
	setup(state);
	r = bytes_reader(w.buf, w.len);
	assert_int_equal(ioapic_load(io, &r), 0);
	assert_int_equal(bytes_done(&r), 0);
	assert_int_equal(apics.messages, 0); /* vCPUs are not there yet */
	ioapic_save(io, &again);
	assert_int_equal(again.len, w.len);
	assert_memory_equal(again.buf, w.buf, w.len);
	set(0x10 + 2 * 16, 0x31);
	assert_int_equal(apics.messages, 1);
	assert_int_equal(apics.address, 0xfee04000);
}

static void refused(const uint8_t *buf, size_t len)
{
	struct bytes_reader r = bytes_reader(buf, len);

	assert_int_equal(ioapic_load(io, &r), -EBADMSG);
	assert_int_equal(get(0), 1u << 24);
	assert_int_equal(get(0x10), MASKED);
}

static void test_state_that_cannot_be_is_refused(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	(void)state;
	set(0, 2u << 24);
	set(0x10, 0);
	ioapic_save(io, &w);
	set(0, 1u << 24);
	set(0x10, MASKED);
	for (size_t len = 0; len < w.len; len++)
		refused(w.buf, len);
	for (size_t i = 0; i < 4; i++) {
		static const struct {
			size_t at;
			uint8_t bits;
		} bad[] = { { 0, 0x10 }, { 2, 1 }, { 7, 1 }, { 9, 0x10 } }; /* id, pins, latched, delivery status */

		w.buf[bad[i].at] ^= bad[i].bits;
		refused(w.buf, w.len);
		w.buf[bad[i].at] ^= bad[i].bits;
	}
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(it_says_what_it_is),
		t(entries_keep_what_may_be_written),
		t(an_edge_becomes_a_message),
		t(a_masked_edge_comes_with_the_unmasking),
		t(an_edge_that_nobody_took_is_sent_again),
		t(only_interrupts_are_sent),
		t(strange_accesses_change_nothing),
		t(state_goes_over),
		t(state_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
