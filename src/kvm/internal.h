/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: machine.c, vcpu.c, vcpu_state.c, cpuid.c. */
#ifndef NIDRA_KVM_INTERNAL_H
#define NIDRA_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kvm/machine.h"

struct vcpu {
	struct machine *machine;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	struct kvm_cpuid2 *cpuid; /* as given to KVM; owned */
	pthread_t thread;
	bool started;

	/* Requests to the thread; see vcpu.c. */
	atomic_bool check_halt;
	atomic_bool pvclock_changed;
	_Atomic uint64_t pvclock_gpa;

	bool parked;	    /* under machine.lock */
	atomic_bool halted; /* as of the last check: HLT with interrupts off, or waiting for SIPI */
	bool started_up;    /* scratch of the halt check: not waiting for SIPI */
};

struct machine {
	int kvm_fd, vm_fd;
	size_t run_size;
	struct gmem *mem;
	struct machine_ops ops;
	struct vcpu vcpu[MACHINE_VCPUS_MAX];
	unsigned int vcpus;
	bool intercepts, amd;
	bool manual_log; /* KVM protects pages when it is told to, not when it is asked for its log */
	bool logging;
	uint64_t *log_bitmap; /* of the largest region, while logging */
	uint32_t tsc_khz;

	pthread_mutex_t lock; /* park state */
	pthread_cond_t changed;
	_Atomic unsigned int park_reasons;
	atomic_bool stopping;
	unsigned int parked;
	unsigned int running; /* vCPU threads in their loop */
	uint64_t halt_seen;   /* vCPUs found halted in this round of checks */
};

/* vcpu.c */
int vcpu_create(struct machine *m, unsigned int id, struct err *err);
int vcpu_start(struct vcpu *v, struct err *err);
void vcpu_join(struct vcpu *v);
void vcpu_destroy(struct vcpu *v);

/* log.c */
void machine_log_setup(struct machine *m);

/* cpuid.c */
int vcpu_make_cpuid(struct vcpu *v, const struct machine_config *config, bool hide_xsave, struct err *err);

/* probe.c: whether KVM sees the guest's XSETBV on this host (not so under some emulators). */
bool kvm_tracks_xcr0(int kvm_fd);

#define HALT_CHECK_NS		UINT64_C(2000000000)
#define APIC_ID(vcpu_id)	((vcpu_id)*2) /* as Xen's toolstack numbers them */
#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01u

/* features.c: names of what the @n entries of @want have and @here lacks. */
bool cpuid_lacks(const struct kvm_cpuid2 *here, const struct kvm_cpuid_entry2 *want, size_t n, char *buf, size_t size);

#endif
