/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest and its backends do to a domain: hypercalls with structures in guest memory, event
 * channels, grants, and sleeps in between. The input is a program of small steps. A state that was
 * saved must load and be the same again; one that was altered must be refused or harmless.
 */
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>

#include "fake_machine.h"
#include "xen/backend.h"
#include "xen/domain.h"

#define RAM    (UINT64_C(2) << 20)
#define VCPUS  4
#define ARGS   UINT64_C(0x8000) /* gpa where a step's structure goes */
#define SLEEPS 3		/* of one input: each costs more than all else that it does */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool on_shutdown(void *arg, enum xen_shutdown reason)
{
	(void)arg;
	(void)reason;
	return false;
}

static void on_console(void *arg, const char *buf, size_t len)
{
	(void)arg;
	for (volatile size_t i = 0; i < len; i++)
		(void)buf[i];
}

static bool on_event(void *arg)
{
	return *(const bool *)arg;
}

static void write_memory(struct machine *m, struct bytes_reader *r)
{
	uint64_t gpa = bytes_get_u16(r) * UINT64_C(16);
	size_t n = bytes_get_u8(r);
	const void *p = bytes_get(r, n);

	if (p)
		gmem_write(m->mem, gpa, p, n);
}

/* A number or, with the high bit of the first byte, an address of memory that the guest has. */
static uint64_t get_value(struct bytes_reader *r)
{
	uint8_t how = bytes_get_u8(r);

	if (how == 0x7f)
		return bytes_get_u64(r);
	return how & 0x80 ? ARGS + (how & 0x7f) * UINT64_C(64) : how;
}

static void call(struct xen_domain *d, struct machine *m, struct bytes_reader *r)
{
	static const uint8_t nr[] = {
		__HYPERVISOR_memory_op,	     __HYPERVISOR_xen_version,	    __HYPERVISOR_console_io,
		__HYPERVISOR_grant_table_op, __HYPERVISOR_vcpu_op,	    __HYPERVISOR_sched_op,
		__HYPERVISOR_hvm_op,	     __HYPERVISOR_event_channel_op, __HYPERVISOR_set_timer_op,
	};
	uint8_t who = bytes_get_u8(r), which = bytes_get_u8(r);
	struct hypercall h = { .nr = which < 0xf0 ? nr[which % sizeof(nr)] : which, .long_mode = !(who & 0x80) };
	size_t n;
	const void *p;

	h.arg[0] = bytes_get_u8(r);
	h.arg[1] = get_value(r);
	h.arg[2] = get_value(r);
	n = bytes_get_u8(r) % 65;
	p = bytes_get(r, n);
	if (p)
		gmem_write(m->mem, ARGS, p, n);
	if (!r->failed)
		xen_hypercall(d, &m->vcpu[who % VCPUS], &h);
}

/* False: the domain is in pieces, as after a restore that failed. */
static bool sleep_over(struct xen_domain *d, bool altered, struct bytes_reader *r)
{
	_cleanup_bytes_ struct bytes_writer state = { 0 }, store = { 0 }, again = { 0 };
	struct bytes_reader in, in_store;

	if (xen_domain_save(d, &state, NULL) || xen_domain_save_store(d, &store, NULL) || xen_domain_reset(d, NULL))
		__builtin_trap();
	if (altered) {
		size_t at = bytes_get_u16(r);

		state.buf[at % state.len] ^= bytes_get_u8(r);
	}
	in = bytes_reader(state.buf, state.len);
	in_store = bytes_reader(store.buf, store.len);
	if (xen_domain_load(d, &in, NULL) || xen_domain_load_store(d, &in_store, NULL)) {
		if (!altered)
			__builtin_trap();
		return false;
	}
	if (xen_domain_save(d, &again, NULL))
		__builtin_trap();
	if (!altered && (again.len != state.len || memcmp(again.buf, state.buf, state.len)))
		__builtin_trap();
	xen_domain_wake(d);
	return true;
}

static void touch_grant(struct xen_domain *d, struct bytes_reader *r)
{
	uint32_t ref = bytes_get_u32(r);
	uint8_t *p = xen_backend_grant(d, ref, ref & 1);

	if (p)
		p[4095] = p[0];
}

static bool step(struct xen_domain *d, struct machine *m, unsigned int *sleeps, struct bytes_reader *r)
{
	static bool answers[2] = { false, true };
	struct xen_domain_info info;
	uint16_t port;

	switch (bytes_get_u8(r) % 12) {
	case 0:
		write_memory(m, r);
		return true;
	case 1:
		port = bytes_get_u16(r);
		xen_backend_bind(d, port, on_event, &answers[port & 1]);
		return true;
	case 2:
		xen_backend_notify(d, bytes_get_u16(r));
		return true;
	case 3:
		port = bytes_get_u16(r);
		if (port > XEN_PORT_CONSOLE)
			xen_backend_unbind(d, port);
		return true;
	case 4:
		touch_grant(d, r);
		return true;
	case 5:
		return (*sleeps)++ < SLEEPS && sleep_over(d, false, r);
	case 6:
		return (*sleeps)++ < SLEEPS && sleep_over(d, true, r);
	case 7:
		xen_domain_cancelled(d);
		xen_domain_update_wallclock(d);
		xen_domain_wake(d);
		xen_domain_get_info(d, &info);
		return true;
	case 8:
		xen_hypercall_page(d, bytes_get_u16(r) * UINT64_C(256));
		m->clock_ns += bytes_get_u16(r) * UINT64_C(1000000);
		m->apic_off = !m->apic_off;
		return true;
	default:
		call(d, m, r);
		return true;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct xen_domain_ops ops = { .shutdown = on_shutdown, .console_io = on_console };
	static const struct xen_domain_config config = { .domid = 7,
							 .vcpus = VCPUS,
							 .vcpus_online = VCPUS,
							 .name = "fuzz",
							 .uuid = "6f0d8a3a-0000-4000-8000-0123456789ab",
							 .memory_bytes = RAM,
							 .memory_max_bytes = RAM };
	struct bytes_reader r = bytes_reader(data, len);
	struct xen_domain *d = NULL;
	unsigned int sleeps = 0;
	struct machine m;

	if (fake_machine_init(&m, RAM, VCPUS) || xen_domain_new(&m, &config, &ops, &d, NULL))
		__builtin_trap();
	while (r.left && !r.failed && step(d, &m, &sleeps, &r))
		;
	xen_domain_free(d);
	fake_machine_fini(&m);
	return 0;
}
