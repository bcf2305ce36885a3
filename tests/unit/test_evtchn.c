/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event channels, grants and the domain's state, on a machine without KVM: addresses are physical,
 * and the machine counts the interrupts that vCPUs would get.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/hvm/hvm_op.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#include "../fuzz/fake_machine.h"
#include "base/addr.h"
#include "xen/backend.h"
#include "xen/domain.h"

#define RAM	(4 * MIB)
#define VCPUS	4
#define VECTOR	0xf3
#define ARGS	UINT64_C(0x8000)
#define SHARED	UINT64_C(0x10000)
#define CONTROL UINT64_C(0x20000) /* a page per vCPU */
#define ARRAY	UINT64_C(0x30000)

static struct machine m;
static struct xen_domain *d;
static unsigned int backend_calls;

static bool on_event(void *arg)
{
	backend_calls++;
	return arg != NULL;
}

static int domain_new(struct machine *machine, struct xen_domain **ret)
{
	static const struct xen_domain_config config = { .domid = 7,
							 .vcpus = VCPUS,
							 .vcpus_online = VCPUS,
							 .name = "test",
							 .uuid = "6f0d8a3a-0000-4000-8000-0123456789ab",
							 .memory_bytes = RAM,
							 .memory_max_bytes = RAM };

	return xen_domain_new(machine, &config, &fake_domain_ops, ret, NULL);
}

/* A hypercall with a structure that goes in and comes back. */
static int64_t call(unsigned int vcpu, uint64_t nr, uint64_t cmd, void *op, size_t len)
{
	struct hypercall h = { .nr = nr, .arg = { cmd, ARGS, 1 }, .long_mode = true };
	int64_t r;

	if (nr == __HYPERVISOR_vcpu_op) {
		h.arg[1] = vcpu;
		h.arg[2] = ARGS;
		vcpu = cmd == VCPUOP_register_vcpu_info ? 0 : vcpu;
	}
	gmem_write(m.mem, ARGS, op, len);
	r = xen_hypercall(d, &m.vcpu[vcpu], &h);
	gmem_read(m.mem, ARGS, op, len);
	return r;
}

#define EVTCHN(cmd, op) call(0, __HYPERVISOR_event_channel_op, cmd, op, sizeof(*(op)))

static shared_info_t *shared(void)
{
	return gmem_hva(m.mem, SHARED, sizeof(shared_info_t));
}

static int setup(void **state)
{
	xen_add_to_physmap_t map = { .domid = DOMID_SELF, .gpfn = gpa_to_gfn(SHARED) };
	(void)state;

	backend_calls = 0;
	if (fake_machine_init(&m, RAM, VCPUS) || domain_new(&m, &d))
		return -1;
	if (call(0, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map, sizeof(map)))
		return -1;
	for (unsigned int i = 0; i < VCPUS; i++) {
		xen_hvm_evtchn_upcall_vector_t vector = { .vcpu = i, .vector = VECTOR };

		if (call(i, __HYPERVISOR_hvm_op, HVMOP_set_evtchn_upcall_vector, &vector, sizeof(vector)))
			return -1;
		m.vcpu[i].signals = 0; /* the one that comes with a new vector */
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xen_domain_free(d);
	fake_machine_fini(&m);
	return 0;
}

static evtchn_port_t ipi(unsigned int vcpu)
{
	evtchn_bind_ipi_t op = { .vcpu = vcpu };

	assert_int_equal(EVTCHN(EVTCHNOP_bind_ipi, &op), 0);
	return op.port;
}

static int64_t bind_virq(unsigned int virq, unsigned int vcpu, evtchn_port_t *ret)
{
	evtchn_bind_virq_t op = { .virq = virq, .vcpu = vcpu };
	int64_t r = EVTCHN(EVTCHNOP_bind_virq, &op);

	if (ret)
		*ret = op.port;
	return r;
}

static int64_t on_port(unsigned int cmd, evtchn_port_t port)
{
	return EVTCHN(cmd, &port);
}

static int64_t do_send(evtchn_port_t port)
{
	return on_port(EVTCHNOP_send, port);
}

static int64_t do_unmask(evtchn_port_t port)
{
	return on_port(EVTCHNOP_unmask, port);
}

static int64_t do_close(evtchn_port_t port)
{
	return on_port(EVTCHNOP_close, port);
}

static evtchn_port_t unbound(domid_t remote)
{
	evtchn_alloc_unbound_t op = { .dom = DOMID_SELF, .remote_dom = remote };

	assert_int_equal(EVTCHN(EVTCHNOP_alloc_unbound, &op), 0);
	return op.port;
}

static evtchn_status_t status(evtchn_port_t port)
{
	evtchn_status_t op = { .dom = DOMID_SELF, .port = port };

	assert_int_equal(EVTCHN(EVTCHNOP_status, &op), 0);
	return op;
}

static bool bit(const xen_ulong_t *bits, unsigned int n)
{
	return bits[n / 64] >> n % 64 & 1;
}

/* As the guest's upcall: takes what is pending for vCPU @v. */
static void upcall(unsigned int v)
{
	shared()->vcpu_info[v].evtchn_upcall_pending = 0;
	shared()->vcpu_info[v].evtchn_pending_sel = 0;
}

/* ---- two levels ---- */

static void test_an_event_sets_bit_selector_flag_and_vector(void **state)
{
	evtchn_port_t port = ipi(2);

	(void)state;
	assert_int_equal(do_unmask(port), 0);
	assert_int_equal(m.vcpu[2].signals, 0);
	assert_int_equal(do_send(port), 0);
	assert_true(bit(shared()->evtchn_pending, port));
	assert_int_equal(shared()->vcpu_info[2].evtchn_pending_sel, 1u << port / 64);
	assert_int_equal(shared()->vcpu_info[2].evtchn_upcall_pending, 1);
	assert_int_equal(m.vcpu[2].signals, 1);
	assert_int_equal(m.vcpu[2].vector, VECTOR);
	assert_int_equal(do_send(port), 0); /* pending still: nobody is interrupted twice */
	assert_int_equal(m.vcpu[2].signals, 1);
	assert_int_equal(m.vcpu[0].signals, 0);
}

static void test_a_new_page_has_every_port_masked(void **state)
{
	evtchn_port_t port = ipi(1);

	(void)state;
	for (unsigned int i = 0; i < 4096; i++)
		assert_true(bit(shared()->evtchn_mask, i));
	assert_int_equal(do_send(port), 0);
	assert_true(bit(shared()->evtchn_pending, port));
	assert_int_equal(shared()->vcpu_info[1].evtchn_upcall_pending, 0);
	assert_int_equal(m.vcpu[1].signals, 0);
	assert_int_equal(do_unmask(port), 0); /* now it comes */
	assert_int_equal(m.vcpu[1].signals, 1);
	assert_false(bit(shared()->evtchn_mask, port));
	assert_int_equal(do_unmask(port), 0); /* not masked: nothing new */
	assert_int_equal(m.vcpu[1].signals, 1);
}

static void test_a_second_port_needs_no_second_interrupt(void **state)
{
	evtchn_port_t a = ipi(0), b = ipi(0);

	(void)state;
	do_unmask(a);
	do_unmask(b);
	do_send(a);
	do_send(b);
	assert_int_equal(m.vcpu[0].signals, 1);
	upcall(0);
	do_send(a); /* its bit was not taken */
	assert_int_equal(m.vcpu[0].signals, 1);
	shared()->evtchn_pending[0] = 0;
	do_send(a);
	assert_int_equal(m.vcpu[0].signals, 2);
}

static void test_a_vcpu_info_elsewhere_gets_the_events(void **state)
{
	vcpu_register_vcpu_info_t op = { .mfn = 0x50, .offset = 64 };
	const vcpu_info_t *info = gmem_hva(m.mem, 0x50040, sizeof(*info));
	evtchn_port_t port = ipi(3);

	(void)state;
	do_unmask(port);
	do_send(port);
	assert_int_equal(call(3, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, &op, sizeof(op)), 0);
	assert_int_equal(info->evtchn_upcall_pending, 1); /* nothing that was pending is lost */
	assert_int_equal(info->evtchn_pending_sel, ~(xen_ulong_t)0);
	assert_int_equal(call(3, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, &op, sizeof(op)), -EBUSY);
	assert_int_equal(m.vcpu[3].pvclock_gpa, 0x50040 + offsetof(vcpu_info_t, time));
	op.offset = 4096 - 8;
	assert_int_equal(call(2, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, &op, sizeof(op)), -EINVAL);
	op.offset = 4;
	assert_int_equal(call(2, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, &op, sizeof(op)), -EINVAL);
	op = (vcpu_register_vcpu_info_t){ .mfn = gpa_to_gfn(RAM) };
	assert_int_equal(call(2, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, &op, sizeof(op)), -EINVAL);
}

/* ---- binding ---- */

static void test_a_virq_is_bound_once_per_vcpu(void **state)
{
	evtchn_port_t one, two;

	(void)state;
	assert_int_equal(bind_virq(VIRQ_TIMER, 0, &one), 0);
	assert_int_equal(bind_virq(VIRQ_TIMER, 1, &two), 0);
	assert_int_not_equal(one, two);
	assert_int_equal(bind_virq(VIRQ_TIMER, 1, NULL), -EEXIST);
	assert_int_equal(bind_virq(VIRQ_TIMER, VCPUS, NULL), -ENOENT);
	assert_int_equal(bind_virq(24, 0, NULL), -EINVAL);
	assert_int_equal(status(two).status, EVTCHNSTAT_virq);
	assert_int_equal(status(two).vcpu, 1);
	assert_int_equal(do_close(two), 0);
	assert_int_equal(bind_virq(VIRQ_TIMER, 1, &two), 0);
	assert_int_equal(do_send(two), -EINVAL); /* Xen sends these */
}

static void test_global_virqs_stay_bound_where_they_are(void **state)
{
	evtchn_port_t port, other;
	evtchn_bind_vcpu_t move;

	(void)state;
	assert_int_equal(bind_virq(VIRQ_DOM_EXC, 1, NULL), -EINVAL); /* as Xen: they begin on vCPU 0 */
	assert_int_equal(bind_virq(VIRQ_DOM_EXC, 0, &port), 0);
	move = (evtchn_bind_vcpu_t){ .port = port, .vcpu = 2 };
	assert_int_equal(EVTCHN(EVTCHNOP_bind_vcpu, &move), 0);
	assert_int_equal(status(port).vcpu, 2);
	assert_int_equal(bind_virq(VIRQ_DOM_EXC, 0, NULL), -EEXIST); /* moved, but bound */
	assert_int_equal(do_close(port), 0);
	assert_int_equal(bind_virq(VIRQ_DOM_EXC, 0, &other), 0);
}

static void test_only_what_may_move_moves(void **state)
{
	evtchn_port_t timer, port = unbound(0);
	evtchn_bind_vcpu_t move = { .port = ipi(1), .vcpu = 2 };

	(void)state;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_vcpu, &move), -EINVAL);
	bind_virq(VIRQ_TIMER, 0, &timer);
	move.port = timer;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_vcpu, &move), -EINVAL);
	move.port = 4000;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_vcpu, &move), -EINVAL);
	move.port = port;
	move.vcpu = VCPUS;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_vcpu, &move), -ENOENT);
	move.vcpu = 3;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_vcpu, &move), 0);
	assert_int_equal(xen_backend_bind(d, port, on_event, NULL), 0);
	do_unmask(port);
	xen_backend_notify(d, port);
	assert_int_equal(m.vcpu[3].signals, 1);
}

static void test_ports_of_ones_own_are_connected_both_ways(void **state)
{
	evtchn_bind_interdomain_t op = { .remote_dom = DOMID_SELF, .remote_port = unbound(DOMID_SELF) };

	(void)state;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_interdomain, &op), 0);
	assert_true(bit(shared()->evtchn_pending, op.local_port)); /* what was sent meanwhile */
	assert_int_equal(status(op.remote_port).status, EVTCHNSTAT_interdomain);
	assert_int_equal(status(op.remote_port).u.interdomain.port, op.local_port);
	assert_int_equal(do_send(op.local_port), 0);
	assert_true(bit(shared()->evtchn_pending, op.remote_port));
	assert_int_equal(do_close(op.local_port), 0);
	assert_int_equal(status(op.remote_port).status, EVTCHNSTAT_unbound);
	assert_false(bit(shared()->evtchn_pending, op.local_port)); /* nothing left for the next one */
}

static void test_connections_that_cannot_be_are_refused(void **state)
{
	evtchn_bind_interdomain_t op = { .remote_dom = 0, .remote_port = unbound(DOMID_SELF) };
	evtchn_alloc_unbound_t alloc = { .dom = 3, .remote_dom = 0 };

	(void)state;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_interdomain, &op), -ESRCH);
	op = (evtchn_bind_interdomain_t){ .remote_dom = DOMID_SELF, .remote_port = unbound(0) };
	assert_int_equal(EVTCHN(EVTCHNOP_bind_interdomain, &op), -EINVAL);
	op.remote_port = 4096;
	assert_int_equal(EVTCHN(EVTCHNOP_bind_interdomain, &op), -EINVAL);
	assert_int_equal(EVTCHN(EVTCHNOP_alloc_unbound, &alloc), -EPERM);
}

static void test_the_rings_ports_stay(void **state)
{
	(void)state;
	assert_int_equal(do_close(XEN_PORT_XENSTORE), -EINVAL);
	assert_int_equal(do_close(XEN_PORT_CONSOLE), -EINVAL);
	assert_int_equal(do_close(0), -EINVAL);
	assert_int_equal(do_close(4095), -EINVAL);
	assert_int_equal(do_close(4096), -EINVAL);
	assert_int_equal(do_send(4096), -EINVAL);
	assert_int_equal(do_unmask(4096), -EINVAL);
	assert_int_equal(status(XEN_PORT_XENSTORE).status, EVTCHNSTAT_interdomain);
	assert_int_equal(status(4000).status, EVTCHNSTAT_closed);
}

static void test_ports_run_out(void **state)
{
	evtchn_bind_ipi_t op = { 0 };
	int64_t r;
	int n = 0;

	(void)state;
	while (!(r = EVTCHN(EVTCHNOP_bind_ipi, &op)))
		n++;
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(n, 4096 - 3);
	assert_int_equal(do_close(100), 0);
	assert_int_equal(ipi(0), 100);
}

static void test_a_backend_gets_events_and_answers(void **state)
{
	evtchn_port_t port = unbound(0), stranger = unbound(5);

	(void)state;
	assert_int_equal(do_send(port), 0); /* nobody there: dropped */
	assert_int_equal(xen_backend_bind(d, port, on_event, NULL), 0);
	do_send(port);
	assert_int_equal(backend_calls, 1);
	assert_false(bit(shared()->evtchn_pending, port));
	assert_int_equal(xen_backend_bind(d, port, on_event, NULL), 0); /* once more */
	assert_int_equal(xen_backend_bind(d, port, on_event, &m), -EINVAL);
	xen_backend_unbind(d, port);
	assert_int_equal(xen_backend_bind(d, port, on_event, &m), 0);
	do_send(port);
	assert_true(bit(shared()->evtchn_pending, port));
	xen_backend_unbind(d, port);
	do_send(port);
	assert_int_equal(backend_calls, 2);
	assert_int_equal(xen_backend_bind(d, stranger, on_event, NULL), -EINVAL);
	assert_int_equal(xen_backend_bind(d, ipi(0), on_event, NULL), -EINVAL);
	assert_int_equal(xen_backend_bind(d, 4000, on_event, NULL), -EINVAL);
	assert_int_equal(xen_backend_bind(d, 99999, on_event, NULL), -EINVAL);
	xen_backend_notify(d, 99999);
	xen_backend_notify(d, stranger);
	assert_false(bit(shared()->evtchn_pending, stranger));
}

static void test_a_dropped_upcall_comes_with_the_wake(void **state)
{
	evtchn_port_t port = ipi(1);

	(void)state;
	do_unmask(port);
	m.apic_off = true;
	do_send(port);
	assert_int_equal(m.vcpu[1].signals, 0);
	m.apic_off = false;
	xen_domain_wake(d);
	assert_int_equal(m.vcpu[1].signals, 1);
	assert_int_equal(m.vcpu[0].signals, 0);
}

/* ---- FIFO ---- */

#define LINK(w)	     ((w)&EVTCHN_FIFO_LINK_MASK)
#define HAS(w, name) ((w) >> EVTCHN_FIFO_##name & 1)

static event_word_t *word(evtchn_port_t port)
{
	return (event_word_t *)gmem_hva(m.mem, ARRAY, 4096) + port;
}

static struct evtchn_fifo_control_block *control(unsigned int vcpu)
{
	return gmem_hva(m.mem, CONTROL + vcpu * 4096, sizeof(struct evtchn_fifo_control_block));
}

static void init_control(unsigned int vcpu)
{
	evtchn_init_control_t op = { .control_gfn = gpa_to_gfn(CONTROL) + vcpu, .vcpu = vcpu };

	assert_int_equal(EVTCHN(EVTCHNOP_init_control, &op), 0);
	assert_int_equal(op.link_bits, EVTCHN_FIFO_LINK_BITS);
}

static void go_fifo(void)
{
	evtchn_expand_array_t op = { .array_gfn = gpa_to_gfn(ARRAY) };

	for (unsigned int i = 0; i < VCPUS; i++)
		init_control(i);
	assert_int_equal(EVTCHN(EVTCHNOP_expand_array, &op), 0);
}

/* As Linux: the next port of a queue, or 0. */
static evtchn_port_t fifo_take(unsigned int vcpu, unsigned int queue)
{
	static uint32_t head[VCPUS][16];
	uint32_t *h = &head[vcpu][queue], port;

	if (!*h)
		*h = control(vcpu)->head[queue];
	port = *h;
	if (!port)
		return 0;
	*h = LINK(*word(port));
	*word(port) &= ~(1u << EVTCHN_FIFO_LINKED | EVTCHN_FIFO_LINK_MASK);
	if (!*h)
		control(vcpu)->ready &= ~(1u << queue);
	*word(port) &= ~(1u << EVTCHN_FIFO_PENDING);
	if (!*h)
		control(vcpu)->head[queue] = 0;
	return port;
}

static void test_fifo_delivers_in_order(void **state)
{
	evtchn_port_t port[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		port[i] = ipi(1);
	go_fifo();
	for (int round = 0; round < 3; round++) {
		static const int order[] = { 2, 0, 3, 1 };

		for (int i = 0; i < 4; i++)
			do_send(port[order[i]]);
		do_send(port[0]); /* again: it is in the queue already */
		assert_int_equal(control(1)->ready, 1u << EVTCHN_FIFO_PRIORITY_DEFAULT);
		assert_int_equal(m.vcpu[1].signals, round + 1);
		for (int i = 0; i < 4; i++)
			assert_int_equal(fifo_take(1, EVTCHN_FIFO_PRIORITY_DEFAULT), port[order[i]]);
		assert_int_equal(control(1)->ready, 0);
		upcall(1);
	}
}

/* Its own old self is the tail of the queue: it must not be linked to that. */
static void test_fifo_delivers_one_port_again_and_again(void **state)
{
	evtchn_port_t port = ipi(1);

	(void)state;
	go_fifo();
	for (unsigned int round = 1; round < 5; round++) {
		do_send(port);
		assert_int_equal(m.vcpu[1].signals, round);
		assert_int_equal(fifo_take(1, EVTCHN_FIFO_PRIORITY_DEFAULT), port);
		upcall(1);
	}
}

static void test_fifo_priorities_have_queues_of_their_own(void **state)
{
	evtchn_port_t low = ipi(0), high = ipi(0);
	evtchn_set_priority_t op = { .port = high, .priority = EVTCHN_FIFO_PRIORITY_MAX };

	(void)state;
	assert_int_equal(EVTCHN(EVTCHNOP_set_priority, &op), -ENOSYS); /* 2-level has none */
	go_fifo();
	assert_int_equal(EVTCHN(EVTCHNOP_set_priority, &op), 0);
	do_send(low);
	do_send(high);
	assert_int_equal(control(0)->ready, 1u << EVTCHN_FIFO_PRIORITY_DEFAULT | 1u << EVTCHN_FIFO_PRIORITY_MAX);
	assert_int_equal(control(0)->head[EVTCHN_FIFO_PRIORITY_MAX], high);
	assert_int_equal(control(0)->head[EVTCHN_FIFO_PRIORITY_DEFAULT], low);
	op.priority = EVTCHN_FIFO_PRIORITY_MIN + 1;
	assert_int_equal(EVTCHN(EVTCHNOP_set_priority, &op), -EINVAL);
	op = (evtchn_set_priority_t){ .port = 4000 };
	assert_int_equal(EVTCHN(EVTCHNOP_set_priority, &op), -EINVAL);
}

static void test_fifo_masked_events_wait(void **state)
{
	evtchn_port_t port = ipi(2);

	(void)state;
	go_fifo();
	*word(port) = 1u << EVTCHN_FIFO_MASKED;
	do_send(port);
	assert_true(HAS(*word(port), PENDING) && !HAS(*word(port), LINKED));
	assert_int_equal(m.vcpu[2].signals, 0);
	do_unmask(port);
	assert_true(HAS(*word(port), LINKED));
	assert_int_equal(m.vcpu[2].signals, 1);
}

static void test_fifo_events_before_a_control_block_are_not_lost(void **state)
{
	evtchn_expand_array_t op = { .array_gfn = gpa_to_gfn(ARRAY) };
	evtchn_port_t port = ipi(1);

	(void)state;
	init_control(0);
	assert_int_equal(EVTCHN(EVTCHNOP_expand_array, &op), 0);
	do_send(port);
	assert_true(HAS(*word(port), PENDING) && !HAS(*word(port), LINKED));
	init_control(1);
	do_send(port);
	assert_int_equal(control(1)->head[EVTCHN_FIFO_PRIORITY_DEFAULT], port);
	assert_int_equal(m.vcpu[1].signals, 1);
}

static void test_a_closed_port_leaves_nothing_pending(void **state)
{
	evtchn_port_t port = ipi(0);

	(void)state;
	go_fifo();
	*word(port) = 1u << EVTCHN_FIFO_MASKED;
	do_send(port);
	assert_int_equal(do_close(port), 0);
	assert_false(HAS(*word(port), PENDING));
	assert_int_equal(ipi(3), port); /* the next one with this number */
	do_unmask(port);
	assert_int_equal(m.vcpu[3].signals, 0);
}

static void test_events_of_two_levels_go_over_to_fifo(void **state)
{
	evtchn_port_t port = ipi(0);

	(void)state;
	do_send(port);
	go_fifo();
	assert_true(HAS(*word(port), PENDING));
	assert_int_equal(fifo_take(0, EVTCHN_FIFO_PRIORITY_DEFAULT), port);
}

static void test_bad_fifo_pages_are_refused(void **state)
{
	evtchn_init_control_t op = { .control_gfn = gpa_to_gfn(RAM) };
	evtchn_expand_array_t array = { .array_gfn = gpa_to_gfn(ARRAY) };

	(void)state;
	assert_int_equal(EVTCHN(EVTCHNOP_expand_array, &array), -EOPNOTSUPP);
	assert_int_equal(EVTCHN(EVTCHNOP_init_control, &op), -EINVAL);
	op = (evtchn_init_control_t){ .control_gfn = UINT64_MAX };
	assert_int_equal(EVTCHN(EVTCHNOP_init_control, &op), -EINVAL);
	op = (evtchn_init_control_t){ .control_gfn = 1, .offset = 4 };
	assert_int_equal(EVTCHN(EVTCHNOP_init_control, &op), -EINVAL);
	op = (evtchn_init_control_t){ .control_gfn = 1, .offset = 4096 };
	assert_int_equal(EVTCHN(EVTCHNOP_init_control, &op), -EINVAL);
	op = (evtchn_init_control_t){ .control_gfn = 1, .vcpu = VCPUS };
	assert_int_equal(EVTCHN(EVTCHNOP_init_control, &op), -ENOENT);
	go_fifo();
	array.array_gfn = gpa_to_gfn(GMEM_XENSTORE_GPA); /* not RAM */
	assert_int_equal(EVTCHN(EVTCHNOP_expand_array, &array), -EINVAL);
	for (int i = 0; i < 3; i++) {
		array.array_gfn = 0x40 + (uint64_t)i;
		assert_int_equal(EVTCHN(EVTCHNOP_expand_array, &array), 0);
	}
	assert_int_equal(EVTCHN(EVTCHNOP_expand_array, &array), -ENOSPC);
}

static void test_corrupt_links_hurt_only_the_guest(void **state)
{
	evtchn_port_t a = ipi(0), b = ipi(0);

	(void)state;
	go_fifo();
	do_send(a);
	*word(a) = UINT32_MAX & ~(1u << EVTCHN_FIFO_MASKED); /* a link to nowhere */
	do_send(b);
	*word(a) = 0;
	control(0)->ready = UINT32_MAX;
	memset(control(0)->head, 0xff, sizeof(control(0)->head));
	do_send(a);
	do_send(b);
	xen_domain_wake(d);
}

/* ---- grants ---- */

static int64_t map_grant(uint64_t idx, uint64_t gfn)
{
	xen_add_to_physmap_t op = { .domid = DOMID_SELF, .space = XENMAPSPACE_grant_table, .idx = idx, .gpfn = gfn };

	return call(0, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &op, sizeof(op));
}

static void test_only_what_is_granted_is_reached(void **state)
{
	grant_entry_v1_t *entry;
	uint8_t *page;

	(void)state;
	assert_null(xen_backend_grant(d, 0, false)); /* an empty table */
	assert_int_equal(map_grant(0, 0x2000), 0);
	entry = gmem_hva(m.mem, gfn_to_gpa(0x2000), 4096);
	page = gmem_hva(m.mem, 0x60000, 4096);
	entry[9] = (grant_entry_v1_t){ .flags = GTF_permit_access, .domid = 0, .frame = 0x60 };
	assert_ptr_equal(xen_backend_grant(d, 9, true), page);
	entry[9].flags |= GTF_readonly;
	assert_null(xen_backend_grant(d, 9, true));
	assert_ptr_equal(xen_backend_grant(d, 9, false), page);
	entry[9].domid = 3; /* somebody else's */
	assert_null(xen_backend_grant(d, 9, false));
	entry[9].domid = 0;
	entry[9].flags = GTF_accept_transfer;
	assert_null(xen_backend_grant(d, 9, false));
	entry[9].flags = GTF_permit_access | GTF_sub_page;
	assert_null(xen_backend_grant(d, 9, false));
	entry[9].flags = GTF_permit_access;
	entry[9].frame = (uint32_t)gpa_to_gfn(RAM); /* behind the RAM */
	assert_null(xen_backend_grant(d, 9, false));
	entry[9].frame = (uint32_t)gpa_to_gfn(GMEM_XENSTORE_GPA);
	assert_null(xen_backend_grant(d, 9, false));
	entry[9].frame = 0x2000; /* the table itself */
	assert_null(xen_backend_grant(d, 9, false));
	assert_null(xen_backend_grant(d, GMEM_GRANT_FRAMES * 512, false));
	assert_null(xen_backend_grant(d, UINT32_MAX, false));
}

static void test_grant_frames_go_only_where_nothing_is(void **state)
{
	(void)state;
	assert_int_equal(map_grant(0, 0x10), -EINVAL); /* RAM */
	assert_int_equal(map_grant(0, gpa_to_gfn(GMEM_XENSTORE_GPA)), -EINVAL);
	assert_int_equal(map_grant(0, gpa_to_gfn(0xfee00000)), -EINVAL); /* the APIC */
	assert_int_equal(map_grant(0, UINT64_C(1) << 40), -EINVAL);
	assert_int_equal(map_grant(0, UINT64_MAX), -EINVAL);
	assert_int_equal(map_grant(GMEM_GRANT_FRAMES, 0x2000), -EINVAL);
	assert_int_equal(map_grant(UINT64_MAX, 0x2000), -EINVAL);
	assert_int_equal(map_grant(0, 0x2000), 0);
	assert_int_equal(map_grant(0, 0x2000), 0); /* again, as in every resume */
	assert_int_equal(map_grant(1, 0x2000), -EINVAL);
	assert_int_equal(map_grant(0, 0x2001), 0);
	assert_int_equal(map_grant(1, 0x2000), 0);
}

/* ---- state ---- */

static void save(struct bytes_writer *w)
{
	assert_int_equal(xen_domain_save(d, w, NULL), 0);
}

static void make_busy(bool fifo)
{
	evtchn_port_t port;
	evtchn_bind_interdomain_t op;
	grant_entry_v1_t *entry;

	if (fifo)
		go_fifo();
	op = (evtchn_bind_interdomain_t){ .remote_dom = DOMID_SELF, .remote_port = unbound(DOMID_SELF) };
	EVTCHN(EVTCHNOP_bind_interdomain, &op);
	for (unsigned int i = 0; i < VCPUS; i++) {
		bind_virq(VIRQ_TIMER, i, &port);
		do_unmask(ipi(i));
	}
	bind_virq(VIRQ_DOM_EXC, 0, &port);
	EVTCHN(EVTCHNOP_bind_vcpu, (&(evtchn_bind_vcpu_t){ .port = port, .vcpu = 3 }));
	xen_backend_bind(d, unbound(0), on_event, NULL);
	map_grant(0, 0x2000);
	map_grant(2, 0x2002);
	entry = gmem_hva(m.mem, gfn_to_gpa(0x2002), 4096);
	entry[5] = (grant_entry_v1_t){ .flags = GTF_permit_access, .frame = 0x60 };
	for (evtchn_port_t p = 3; p < 16; p++)
		do_send(p);
}

static void test_state_goes_to_another_machine(void **state)
{
	(void)state;
	for (int fifo = 0; fifo < 2; fifo++) {
		_cleanup_bytes_ struct bytes_writer w = { 0 }, again = { 0 };
		struct machine here;
		struct bytes_reader r;
		evtchn_port_t port;

		make_busy(fifo);
		save(&w);
		xen_domain_free(d);
		assert_int_equal(fake_machine_init(&here, RAM, VCPUS), 0);
		memcpy(gmem_hva(here.mem, 0, RAM), gmem_hva(m.mem, 0, RAM), RAM);
		fake_machine_fini(&m);
		m = here;
		assert_int_equal(domain_new(&m, &d), 0);
		r = bytes_reader(w.buf, w.len);
		assert_int_equal(xen_domain_load(d, &r, NULL), 0);
		save(&again);
		assert_int_equal(w.len, again.len);
		assert_memory_equal(w.buf, again.buf, w.len);
		/* And it goes on: what was bound is, what was granted is. */
		assert_int_equal(bind_virq(VIRQ_TIMER, 3, NULL), -EEXIST);
		assert_int_equal(bind_virq(VIRQ_DOM_EXC, 0, NULL), -EEXIST);
		assert_non_null(xen_backend_grant(d, 2 * 512 + 5, false));
		xen_domain_wake(d);
		assert_true(m.vcpu[1].signals > 0);
		port = ipi(0);
		assert_int_equal(do_close(port), 0);
		teardown(NULL);
		assert_int_equal(setup(NULL), 0);
	}
}

static void test_every_truncated_state_is_refused(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	(void)state;
	make_busy(true);
	save(&w);
	for (size_t len = 0; len < w.len; len += len < 1500 || len + 64 > w.len ? 1 : 97) {
		struct bytes_reader r = bytes_reader(w.buf, len);

		assert_int_equal(xen_domain_reset(d, NULL), 0);
		assert_int_equal(xen_domain_load(d, &r, NULL), -EBADMSG);
	}
}

static void test_targets_that_cannot_be_are_refused(void **state)
{
	enum { ONLINE = 8, MEMORY = 12 }; /* where they are: docs/image-format.md */
	static const struct {
		size_t at;
		uint8_t byte;
	} bad[] = { { ONLINE, 0 }, { ONLINE, VCPUS + 1 }, { MEMORY + 7, 1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_bytes_ struct bytes_writer w = { 0 };
		struct bytes_reader r;

		save(&w);
		((uint8_t *)w.buf)[bad[i].at] = bad[i].byte;
		r = bytes_reader(w.buf, w.len);
		assert_int_equal(xen_domain_reset(d, NULL), 0);
		assert_int_equal(xen_domain_load(d, &r, NULL), -EBADMSG);
	}
}

static void test_a_new_life_forgets_and_keeps_the_rings(void **state)
{
	evtchn_port_t port;

	(void)state;
	make_busy(true);
	assert_int_equal(xen_domain_reset(d, NULL), 0);
	for (evtchn_port_t p = 3; p < 16; p++)
		assert_int_equal(status(p).status, EVTCHNSTAT_closed);
	assert_int_equal(status(XEN_PORT_XENSTORE).status, EVTCHNSTAT_interdomain);
	assert_int_equal(status(XEN_PORT_CONSOLE).status, EVTCHNSTAT_interdomain);
	assert_int_equal(bind_virq(VIRQ_TIMER, 1, &port), 0);
	assert_int_equal(port, 3);
	assert_null(xen_backend_grant(d, 2 * 512 + 5, false));
}

/* ---- anything else ---- */

static void test_unknown_calls_are_refused(void **state)
{
	struct hypercall h = { .long_mode = true };
	uint64_t zero = 0;

	(void)state;
	for (h.nr = 0; h.nr < 200; h.nr++) {
		h.arg[0] = 0xdead;
		h.arg[1] = UINT64_MAX;
		h.arg[2] = UINT64_MAX;
		if (h.nr != __HYPERVISOR_set_timer_op)
			assert_true(xen_hypercall(d, &m.vcpu[0], &h) < 0);
	}
	h.nr = UINT64_MAX;
	assert_int_equal(xen_hypercall(d, &m.vcpu[0], &h), -ENOSYS);
	h.nr = __HYPERVISOR_event_channel_op;
	h.long_mode = false;
	assert_int_equal(xen_hypercall(d, &m.vcpu[0], &h), -ENOSYS);
	h.long_mode = true;
	h.nr = __HYPERVISOR_vcpu_op;
	h.arg[0] = VCPUOP_register_vcpu_time_memory_area; /* with good arguments: Linux does without */
	h.arg[1] = 0;
	h.arg[2] = ARGS;
	assert_int_equal(xen_hypercall(d, &m.vcpu[0], &h), -ENOSYS);
	h.nr = __HYPERVISOR_event_channel_op;
	for (h.arg[0] = 0; h.arg[0] < 14; h.arg[0]++) {
		h.arg[1] = UINT64_C(1) << 46; /* no memory there */
		if (h.arg[0] != EVTCHNOP_bind_pirq && h.arg[0] != 2)
			assert_int_equal(xen_hypercall(d, &m.vcpu[0], &h),
					 h.arg[0] == EVTCHNOP_set_priority ? -ENOSYS : -EFAULT);
	}
	assert_int_equal(call(0, __HYPERVISOR_event_channel_op, 99, &zero, sizeof(zero)), -ENOSYS);
}

static void test_suspend_is_for_the_first_vcpu(void **state)
{
	struct sched_shutdown op = { .reason = SHUTDOWN_suspend };

	(void)state;
	assert_int_equal(call(1, __HYPERVISOR_sched_op, SCHEDOP_shutdown, &op, sizeof(op)), -EINVAL);
	assert_int_equal(call(0, __HYPERVISOR_sched_op, SCHEDOP_shutdown, &op, sizeof(op)), 1);
	op.reason = 99;
	assert_int_equal(call(0, __HYPERVISOR_sched_op, SCHEDOP_shutdown, &op, sizeof(op)), -EINVAL);
}

static void test_a_timer_that_passed_fires_at_once(void **state)
{
	struct hypercall h = { .nr = __HYPERVISOR_set_timer_op, .arg = { 1 }, .long_mode = true };
	evtchn_port_t port;

	(void)state;
	bind_virq(VIRQ_TIMER, 0, &port);
	do_unmask(port);
	assert_int_equal(xen_hypercall(d, &m.vcpu[0], &h), 0);
	assert_int_equal(m.vcpu[0].signals, 1);
	assert_true(bit(shared()->evtchn_pending, port));
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(an_event_sets_bit_selector_flag_and_vector),
		t(a_new_page_has_every_port_masked),
		t(a_second_port_needs_no_second_interrupt),
		t(a_vcpu_info_elsewhere_gets_the_events),
		t(a_virq_is_bound_once_per_vcpu),
		t(global_virqs_stay_bound_where_they_are),
		t(only_what_may_move_moves),
		t(ports_of_ones_own_are_connected_both_ways),
		t(connections_that_cannot_be_are_refused),
		t(the_rings_ports_stay),
		t(ports_run_out),
		t(a_backend_gets_events_and_answers),
		t(a_dropped_upcall_comes_with_the_wake),
		t(fifo_delivers_in_order),
		t(fifo_delivers_one_port_again_and_again),
		t(fifo_priorities_have_queues_of_their_own),
		t(fifo_masked_events_wait),
		t(fifo_events_before_a_control_block_are_not_lost),
		t(a_closed_port_leaves_nothing_pending),
		t(events_of_two_levels_go_over_to_fifo),
		t(bad_fifo_pages_are_refused),
		t(corrupt_links_hurt_only_the_guest),
		t(only_what_is_granted_is_reached),
		t(grant_frames_go_only_where_nothing_is),
		t(state_goes_to_another_machine),
		t(every_truncated_state_is_refused),
		t(targets_that_cannot_be_are_refused),
		t(a_new_life_forgets_and_keeps_the_rings),
		t(unknown_calls_are_refused),
		t(suspend_is_for_the_first_vcpu),
		t(a_timer_that_passed_fires_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
