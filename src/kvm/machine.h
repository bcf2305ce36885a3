/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: a KVM virtual machine with its memory, in-kernel local APICs and vCPU threads.
 *
 * It knows no Xen: hypercalls, port I/O and the rest go to the machine_ops of the layer above,
 * called on the vCPU's own thread.
 *
 * Parking. A parked vCPU has left KVM_RUN with its last exit completed, so all its state can be
 * read and set through KVM, and it stays parked as long as any reason is set. machine_park() only
 * asks (any thread, a vCPU's own included); machine_wait_parked() waits until all are. A machine
 * is created with PARK_BUILD set.
 */
#ifndef NIDRA_KVM_MACHINE_H
#define NIDRA_KVM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "kvm/gmem.h"

#define MACHINE_VCPUS_MAX 32

struct machine;
struct vcpu;

/* One hypercall, from whichever transport: arguments in Xen's order. */
struct hypercall {
	uint64_t nr;
	uint64_t arg[6];
	bool long_mode; /* 64-bit caller */
};

enum machine_failure {
	MACHINE_SHUTDOWN,   /* triple fault */
	MACHINE_CANNOT_RUN, /* KVM could not enter or emulate */
	MACHINE_HALTED,	    /* all vCPUs halted with interrupts off: nothing can wake them */
};

struct machine_ops {
	/* Result for the guest's RAX. Only from CPL 0. */
	int64_t (*hypercall)(void *arg, struct vcpu *v, const struct hypercall *h);
	/* @size is 1, 2 or 4. */
	uint32_t (*pio_in)(void *arg, struct vcpu *v, uint16_t port, unsigned int size);
	void (*pio_out)(void *arg, struct vcpu *v, uint16_t port, unsigned int size, uint32_t value);
	/* Where no memory is; @len is 1 to 8. What is read is all ones unless @data is set. */
	void (*mmio_in)(void *arg, struct vcpu *v, uint64_t gpa, void *data, unsigned int len);
	void (*mmio_out)(void *arg, struct vcpu *v, uint64_t gpa, const void *data, unsigned int len);
	/* The guest wrote the Xen hypercall page MSR. False: #GP. */
	bool (*hypercall_page)(void *arg, struct vcpu *v, uint64_t value);
	/* The machine cannot go on. @why is a sentence. */
	void (*failed)(void *arg, enum machine_failure failure, const char *why);
	/* All vCPUs have parked (each time a request to park came true). */
	void (*parked)(void *arg);
	void *arg;
};

/* The port that patched thunks and hypercall pages write to (xen-abi: transports). */
#define MACHINE_HYPERCALL_PORT 0xf5
#define MACHINE_HYPERCALL_MSR  0x40000000u

/* Leaves that the layer above adds to each vCPU's CPUID. */
struct machine_cpuid_leaf {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

struct machine_config {
	uint64_t ram_bytes;
	const int *base_fd; /* memory over this base (gmem_new_over()); NULL: empty memory */
	unsigned int vcpus;
	bool want_intercept; /* let KVM hand VMCALL/VMMCALL over, if it can */
	/* Hypervisor leaves of vCPU @id; returns how many (at most @max). */
	unsigned int (*cpuid)(const void *arg, unsigned int id, struct machine_cpuid_leaf *leaf, unsigned int max);
	const void *cpuid_arg;
};

int machine_new(const struct machine_config *config, const struct machine_ops *ops, struct machine **ret_machine,
		struct err *err);
/* Ends and joins the vCPU threads: after it no machine_ops is called any more. */
void machine_stop(struct machine *m);
/* machine_stop(), and all is gone. NULL is fine. */
void machine_free(struct machine *m);
DEFINE_CLEANUP(struct machine *, machine_free)

struct gmem *machine_mem(struct machine *m);
unsigned int machine_vcpus(const struct machine *m);
struct vcpu *machine_vcpu(struct machine *m, unsigned int id);
/* Whether KVM hands VMCALL/VMMCALL to us on this host. */
bool machine_intercepts(const struct machine *m);
/* Guest TSC frequency in kHz. */
uint32_t machine_tsc_khz(const struct machine *m);
/* True: VMMCALL is this CPU's instruction (AMD, Hygon), else VMCALL. */
bool machine_is_amd(const struct machine *m);

enum machine_park_reason {
	PARK_BUILD = 1,	    /* nothing loaded yet, or not started */
	PARK_PAUSE = 2,	    /* a person said pause */
	PARK_SUSPEND = 4,   /* the guest sleeps in its suspend hypercall */
	PARK_OPERATION = 8, /* a sleep operation needs the vCPUs still */
	PARK_ENDED = 16,    /* never to run again */
};
void machine_park(struct machine *m, unsigned int reason);
/* True: all parked. False: @timeout_ns passed. Not from a vCPU thread. */
bool machine_wait_parked(struct machine *m, uint64_t timeout_ns);
bool machine_is_parked(struct machine *m);
void machine_unpark(struct machine *m, unsigned int reason);
unsigned int machine_park_reasons(struct machine *m);

/* CPU time of all vCPU threads so far. */
uint64_t machine_cpu_time_ns(struct machine *m);
/* Looks for a machine whose vCPUs are all halted for ever; reports MACHINE_HALTED. Any thread. */
void machine_check_halted(struct machine *m);

/* Puts a grant frame at @gfn, in KVM too. Same rules as gmem_map_grant(). */
int machine_map_grant(struct machine *m, unsigned int idx, uint64_t gfn);

/* ---- which pages are written (docs/architecture.md, "Live checkpoints") ---- */

struct pageset;
/* From now on it is noted; 0 if it was already. Slows the guest's first write to each page. */
int machine_log_start(struct machine *m, struct err *err);
void machine_log_stop(struct machine *m);
/*
 * Adds to @set (gmem_pages() numbers) at least the pages that were written, by the guest or by us,
 * since the log was started or this was called last. The first call may add all. Hold the Xen
 * domain's lock, so that none of our own writes is halfway.
 */
int machine_log_collect(struct machine *m, struct pageset *set, struct err *err);

/* Edge interrupt @vector to vCPU @id: > 0 delivered, 0 dropped (its APIC is off), < 0 error. */
int machine_signal(struct machine *m, unsigned int id, uint8_t vector);
/* A message to the local APICs, as a PCI device would write it. The same results. */
int machine_msi(struct machine *m, uint32_t address, uint32_t data);

/* KVM's clock of this machine in ns: the guest's system time (pvclock). */
uint64_t machine_clock_ns(struct machine *m);
void machine_set_clock(struct machine *m, uint64_t ns);

/* ---- one vCPU ---- */

unsigned int vcpu_id(const struct vcpu *v);
/* On the vCPU's own thread or while parked. -EFAULT: not mapped. */
int vcpu_translate(struct vcpu *v, uint64_t gva, uint64_t *ret_gpa);
/* Where KVM keeps this vCPU's pvclock record; 0: nowhere. Any thread; done before it runs again. */
void vcpu_set_pvclock(struct vcpu *v, uint64_t gpa);
/* Whether this vCPU thread was asked to leave what it does (to park, or to end). */
bool vcpu_wanted(struct vcpu *v);
/* Makes the vCPU's thread leave KVM_RUN once. */
void vcpu_kick(struct vcpu *v);

/* 32-bit protected mode without paging at @entry, EBX = @start_info (PVH). While parked. */
int vcpu_set_pvh_entry(struct vcpu *v, uint32_t entry, uint32_t start_info, struct err *err);
/* RAX: what the suspend hypercall returns. While parked. */
int vcpu_set_rax(struct vcpu *v, uint64_t rax, struct err *err);

/* All state of a vCPU, as in docs/image-format.md. While parked. */
int vcpu_save(struct vcpu *v, struct bytes_writer *w, struct err *err);
int vcpu_load(struct vcpu *v, struct bytes_reader *r, struct err *err);
/* Whether this host's CPU cannot be what that state's was; @buf gets the features' names. */
bool vcpu_lacks(struct vcpu *v, struct bytes_reader *r, char *buf, size_t size);

#endif
