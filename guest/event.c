/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared info, event channels (2-level), timers and the clock: what a guest registers with Xen, and
 * in a new life registers again.
 */
#include "kit.h"

#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/memory.h>
#include <xen/vcpu.h>

#define UPCALL_VECTOR 0xf3

static char shared_page[4096] __attribute__((aligned(4096)));
static vcpu_info_t infos[CPUS_MAX] __attribute__((aligned(64)));
static struct vcpu_runstate_info runstate[CPUS_MAX];
shared_info_t *shared_info = (shared_info_t *)shared_page;
volatile bool event_console, event_store;
static evtchn_port_t console_port, store_port;

void upcall(void);

static void must(const char *what, int64_t r)
{
	if (r < 0) {
		print("xen: %s: %d\n", what, r);
		power(3);
	}
}

static void map_shared_info(void)
{
	xen_add_to_physmap_t op = { .domid = DOMID_SELF,
				    .space = XENMAPSPACE_shared_info,
				    .gpfn = (uint64_t)shared_page >> 12 };

	must("map shared info", HCALL(__HYPERVISOR_memory_op, XENMEM_add_to_physmap, &op));
}

static void register_cpu(unsigned int cpu)
{
	vcpu_register_vcpu_info_t op = { .mfn = (uint64_t)&infos[cpu] >> 12, .offset = (uint64_t)&infos[cpu] & 4095 };
	uint64_t area = (uint64_t)&runstate[cpu];

	cpus[cpu].info = &infos[cpu];
	must("register vcpu_info", hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, cpu, (uint64_t)&op));
	must("register runstate",
	     hypercall(__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, cpu, (uint64_t)&area));
}

static void set_vector(unsigned int cpu)
{
	struct xen_hvm_evtchn_upcall_vector op = { .vcpu = cpu, .vector = UPCALL_VECTOR };

	must("upcall vector", HCALL(__HYPERVISOR_hvm_op, HVMOP_set_evtchn_upcall_vector, &op));
}

void event_set_vectors(void)
{
	struct xen_hvm_param p = { .domid = DOMID_SELF, .index = HVM_PARAM_CALLBACK_IRQ, .value = 1 };

	for (unsigned int i = 0; i < cpu_count; i++)
		set_vector(i);
	/* Tells toolstacks that there are PV drivers here; nothing is delivered that way. */
	must("callback", HCALL(__HYPERVISOR_hvm_op, HVMOP_set_param, &p));
}

static void own_port(unsigned int cpu, evtchn_port_t port)
{
	if (port < PORT_WORDS * 64)
		cpus[cpu].ports[port / 64] |= 1ull << port % 64;
}

static void bind_cpu(unsigned int cpu)
{
	evtchn_bind_virq_t virq = { .virq = VIRQ_TIMER, .vcpu = cpu };
	evtchn_bind_ipi_t ipi = { .vcpu = cpu };

	must("bind timer", HCALL(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, &virq));
	must("bind IPI", HCALL(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, &ipi));
	cpus[cpu].timer_port = virq.port;
	cpus[cpu].ipi_port = ipi.port;
	memset(cpus[cpu].ports, 0, sizeof(cpus[cpu].ports));
	own_port(cpu, virq.port);
	own_port(cpu, ipi.port);
	event_unmask(virq.port);
	event_unmask(ipi.port);
}

evtchn_port_t event_param(unsigned int index)
{
	struct xen_hvm_param p = { .domid = DOMID_SELF, .index = index };

	must("parameter", HCALL(__HYPERVISOR_hvm_op, HVMOP_get_param, &p));
	return (evtchn_port_t)p.value;
}

static void bind_rings(void)
{
	console_port = event_param(HVM_PARAM_CONSOLE_EVTCHN);
	store_port = event_param(HVM_PARAM_STORE_EVTCHN);
	own_port(0, console_port);
	own_port(0, store_port);
	event_unmask(console_port);
	event_unmask(store_port);
}

void event_init(void)
{
	map_shared_info();
	memset(shared_info->evtchn_mask, 0xff, sizeof(shared_info->evtchn_mask));
	register_cpu(0);
	event_set_vectors();
	bind_cpu(0);
	bind_rings();
}

void event_init_cpu(unsigned int cpu)
{
	register_cpu(cpu);
	set_vector(cpu);
	bind_cpu(cpu);
}

/*
 * INIT made the hypervisor forget where this CPU's clock record is; any of the calls of a bring-up
 * reminds it. What was sent while the CPU was away is taken now: it raises no interrupt any more.
 */
void event_cpu_here(void)
{
	timers_stop();
	upcall();
}

/* In Linux' order: shared info, each vCPU down, registered, up; vectors; then the bindings. */
void event_rebind(void)
{
	map_shared_info();
	for (unsigned int i = 0; i < cpu_count; i++) {
		bool up = hypercall(__HYPERVISOR_vcpu_op, VCPUOP_is_up, i, 0) > 0;

		if (i && up)
			must("vcpu down", hypercall(__HYPERVISOR_vcpu_op, VCPUOP_down, i, 0));
		register_cpu(i);
		if (i && up)
			must("vcpu up", hypercall(__HYPERVISOR_vcpu_op, VCPUOP_up, i, 0));
	}
	event_set_vectors();
	for (unsigned int i = 0; i < cpu_count; i++)
		bind_cpu(i);
	bind_rings();
}

void event_send(evtchn_port_t port)
{
	evtchn_send_t op = { .port = port };

	HCALL(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &op);
}

void event_unmask(evtchn_port_t port)
{
	evtchn_unmask_t op = { .port = port };

	HCALL(__HYPERVISOR_event_channel_op, EVTCHNOP_unmask, &op);
}

/* ---- upcalls: on the CPU that got one ---- */

void pm_stop_here(void); /* pm.c: an IPI may ask this CPU to stand still */

static void handle_port(struct cpu *c, evtchn_port_t port)
{
	if (port == c->timer_port)
		c->timer_ticks++;
	else if (port == console_port)
		event_console = true;
	else if (port == store_port)
		event_store = true;
	else if (port == c->ipi_port)
		c->ipis++;
}

void upcall(void)
{
	struct cpu *c = this_cpu();
	uint64_t ipis = c->ipis;

	c->upcalls++;
	do {
		uint64_t sel;

		c->info->evtchn_upcall_pending = 0;
		barrier();
		sel = __atomic_exchange_n(&c->info->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
		while (sel) {
			unsigned int word = (unsigned int)__builtin_ctzll(sel);
			uint64_t bits = shared_info->evtchn_pending[word] & ~shared_info->evtchn_mask[word];

			/* The selector says "somewhere in this word", and words are shared by all CPUs. */
			bits &= word < PORT_WORDS ? c->ports[word] : 0;
			sel &= sel - 1;
			while (bits) {
				unsigned int bit = (unsigned int)__builtin_ctzll(bits);

				bits &= bits - 1;
				/* Cleared before it is handled: what comes meanwhile is not lost. */
				__atomic_fetch_and(&shared_info->evtchn_pending[word], ~(1ull << bit),
						   __ATOMIC_SEQ_CST);
				handle_port(c, word * 64 + bit);
			}
		}
	} while (c->info->evtchn_upcall_pending);
	cpu_eoi();
	if (c->ipis != ipis)
		pm_stop_here();
}

/* ---- time ---- */

static uint64_t read_clock(const volatile vcpu_time_info_t *t)
{
	uint32_t version;
	uint64_t now, delta;

	do {
		version = t->version;
		barrier();
		delta = rdtsc() - t->tsc_timestamp;
		delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
		now = t->system_time + (uint64_t)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
		barrier();
	} while (version & 1 || version != t->version);
	return now;
}

uint64_t clock_now(void)
{
	return read_clock(&this_cpu()->info->time);
}

uint64_t clock_wall(void)
{
	uint32_t version;
	uint64_t ns;

	do {
		version = shared_info->wc_version;
		barrier();
		ns = ((uint64_t)shared_info->wc_sec_hi << 32 | shared_info->wc_sec) * NSEC + shared_info->wc_nsec;
		barrier();
	} while (version & 1 || version != shared_info->wc_version);
	return ns + clock_now();
}

void timer_set(uint64_t deadline)
{
	vcpu_set_singleshot_timer_t op = { .timeout_abs_ns = deadline };

	must("set timer", hypercall(__HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, this_cpu()->id, (uint64_t)&op));
}

void timers_stop(void)
{
	uint32_t id = this_cpu()->id;

	hypercall(__HYPERVISOR_vcpu_op, VCPUOP_stop_singleshot_timer, id, 0);
	hypercall(__HYPERVISOR_vcpu_op, VCPUOP_stop_periodic_timer, id, 0);
}
