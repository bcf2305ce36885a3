/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_machine.h"

#include <errno.h>

static bool on_shutdown(void *arg, enum xen_shutdown reason)
{
	(void)arg;
	(void)reason;
	return false;
}

static void on_console(void *arg, const char *buf, size_t len)
{
	(void)arg;
	(void)buf;
	(void)len;
}

const struct xen_domain_ops fake_domain_ops = { .shutdown = on_shutdown, .console_io = on_console };

int fake_machine_init(struct machine *m, uint64_t ram_bytes, unsigned int vcpus)
{
	*m = (struct machine){ .vcpus = vcpus, .clock_ns = 1000000000 };
	for (unsigned int i = 0; i < vcpus; i++)
		m->vcpu[i].id = i;
	return gmem_new(ram_bytes, &m->mem, NULL);
}

void fake_machine_fini(struct machine *m)
{
	gmem_free(m->mem);
}

struct gmem *machine_mem(struct machine *m)
{
	return m->mem;
}

struct vcpu *machine_vcpu(struct machine *m, unsigned int id)
{
	return &m->vcpu[id];
}

uint32_t machine_tsc_khz(const struct machine *m)
{
	(void)m;
	return 2500000;
}

/* Parked, unless a test wants otherwise: the domain's own thread leaves timers alone, and a test knows all that
 * happens. */
unsigned int machine_park_reasons(struct machine *m)
{
	return __atomic_load_n(&m->runs, __ATOMIC_SEQ_CST) ? 0 : PARK_OPERATION;
}

void machine_check_halted(struct machine *m)
{
	(void)m;
}

int machine_map_grant(struct machine *m, unsigned int idx, uint64_t gfn)
{
	struct gmem_region region, old;

	return gmem_map_grant(m->mem, idx, gfn, &region, &old);
}

int machine_signal(struct machine *m, unsigned int id, uint8_t vector)
{
	if (m->apic_off)
		return 0;
	m->vcpu[id].signals++;
	m->vcpu[id].vector = vector;
	return 1;
}

uint64_t machine_clock_ns(struct machine *m)
{
	return m->clock_ns;
}

unsigned int vcpu_id(const struct vcpu *v)
{
	return v->id;
}

int vcpu_translate(struct vcpu *v, uint64_t gva, uint64_t *ret_gpa)
{
	(void)v;
	*ret_gpa = gva;
	return gva >> 47 ? -EFAULT : 0;
}

void vcpu_set_pvclock(struct vcpu *v, uint64_t gpa)
{
	v->pvclock_gpa = gpa;
}

/* Nobody else would ever end a poll. */
bool vcpu_wanted(struct vcpu *v)
{
	(void)v;
	return true;
}
