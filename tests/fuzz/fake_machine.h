/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without KVM: memory is real, addresses are physical, nothing runs. It takes the place
 * of kvm/machine.c and vcpu.c at link time, so that a domain can be tried where no KVM is.
 */
#ifndef NIDRA_TESTS_FAKE_MACHINE_H
#define NIDRA_TESTS_FAKE_MACHINE_H

#include "kvm/machine.h"
#include "xen/domain.h"

struct vcpu {
	unsigned int id;
	uint64_t pvclock_gpa;
	unsigned int signals; /* interrupts that it got */
	uint8_t vector;	      /* of the last one */
};

struct machine {
	struct gmem *mem;
	struct vcpu vcpu[MACHINE_VCPUS_MAX];
	unsigned int vcpus;
	uint64_t clock_ns;
	bool runs;     /* is not parked */
	bool apic_off; /* interrupts are dropped */
};

int fake_machine_init(struct machine *m, uint64_t ram_bytes, unsigned int vcpus);
void fake_machine_fini(struct machine *m);

/* Of a domain whose guest may ask and say what it wants. */
extern const struct xen_domain_ops fake_domain_ops;

#endif
