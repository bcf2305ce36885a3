/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's thread: run, handle the exit, look for requests, park.
 *
 * A request is a flag followed by a kick (immediate_exit and a signal). The thread clears
 * immediate_exit before it looks at the flags, so a request is never lost: either the flag is
 * seen, or immediate_exit is set again and KVM_RUN returns at once.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/thread.h"
#include "kvm/internal.h"

#define KICK_SIGNAL SIGUSR1
#define EFER_LMA    (1u << 10) /* long mode is active */

static void kicked(int sig)
{
	(void)sig;
}

/* Installed once; all threads but the vCPUs' keep the signal blocked. */
static void install_handler(void)
{
	struct sigaction sa = { .sa_handler = kicked };

	sigaction(KICK_SIGNAL, &sa, NULL);
}

int vcpu_create(struct machine *m, unsigned int id, struct err *err)
{
	struct vcpu *v = &m->vcpu[id];

	v->machine = m;
	v->id = id;
	v->fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, (unsigned long)APIC_ID(id));
	if (v->fd < 0)
		return err_errno(err, -errno, "create");
	v->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return err_errno(err, -errno, "map its run structure");
	}
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	return 0;
}

void vcpu_join(struct vcpu *v)
{
	if (v->started)
		pthread_join(v->thread, NULL);
	v->started = false;
}

void vcpu_destroy(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->machine->run_size);
	close_fdp(&v->fd);
	free(v->cpuid);
}

unsigned int vcpu_id(const struct vcpu *v)
{
	return v->id;
}

void vcpu_kick(struct vcpu *v)
{
	if (!v->started || (v->machine->stopping && !v->machine->running))
		return;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, KICK_SIGNAL);
}

bool vcpu_wanted(struct vcpu *v)
{
	return v->machine->stopping || v->machine->park_reasons;
}

void vcpu_set_pvclock(struct vcpu *v, uint64_t gpa)
{
	v->pvclock_gpa = gpa;
	v->pvclock_changed = true;
	vcpu_kick(v);
}

/*
 * KVM keeps the record that MSR_KVM_SYSTEM_TIME_NEW points to, and Xen's vcpu_time_info has the
 * same 32 bytes. The ioctl needs the vCPU's mutex, so only its own thread does it.
 */
static void apply_pvclock(struct vcpu *v)
{
	uint64_t gpa;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { .head.nmsrs = 1 };

	if (!atomic_exchange(&v->pvclock_changed, false))
		return;
	gpa = v->pvclock_gpa;
	msr.entry.index = MSR_KVM_SYSTEM_TIME_NEW;
	msr.entry.data = gpa ? gpa | 1 : 0;
	if (ioctl(v->fd, KVM_SET_MSRS, &msr) != 1)
		log_error("vCPU %u: KVM refuses to keep its clock at 0x%llx", v->id, (unsigned long long)gpa);
}

int vcpu_translate(struct vcpu *v, uint64_t gva, uint64_t *ret_gpa)
{
	struct kvm_translation t = { .linear_address = gva };

	if (ioctl(v->fd, KVM_TRANSLATE, &t) < 0 || !t.valid)
		return -EFAULT;
	*ret_gpa = t.physical_address;
	return 0;
}

struct caller {
	bool kernel, long_mode;
};

/*
 * User code with I/O rights could reach the hypercall port, and so could 32-bit code, whose arguments
 * are in other registers. Neither runs in the upper half of addresses, where kernels are; for the rest
 * (a kernel that runs identity-mapped) the segments say it.
 */
static struct caller caller_of(struct vcpu *v)
{
	struct kvm_sregs s;

	if (v->run->s.regs.regs.rip >> 63)
		return (struct caller){ true, true };
	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return (struct caller){ false, false };
	return (struct caller){ .kernel = s.ss.dpl == 0, .long_mode = s.efer & EFER_LMA && s.cs.l };
}

static void hypercall_by_port(struct vcpu *v)
{
	struct kvm_regs *regs = &v->run->s.regs.regs;
	struct machine_ops *ops = &v->machine->ops;
	struct caller caller = caller_of(v);
	struct hypercall h = { .nr = (uint32_t)regs->rax,
			       .arg = { regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9 },
			       .long_mode = caller.long_mode };
	int64_t r = -EPERM;

	if (caller.kernel)
		r = ops->hypercall(ops->arg, v, &h);
	regs->rax = (uint64_t)r;
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

static void hypercall_by_kvm(struct vcpu *v)
{
	struct machine_ops *ops = &v->machine->ops;
	struct kvm_xen_exit *x = &v->run->xen;
	struct hypercall h = { .nr = x->u.hcall.input, .long_mode = x->u.hcall.longmode };
	int64_t r = -EPERM;

	if (x->type != KVM_EXIT_XEN_HCALL)
		return;
	for (int i = 0; i < 6; i++)
		h.arg[i] = x->u.hcall.params[i];
	if (x->u.hcall.cpl == 0)
		r = ops->hypercall(ops->arg, v, &h);
	x->u.hcall.result = (uint64_t)r;
}

static void handle_io(struct vcpu *v)
{
	struct machine_ops *ops = &v->machine->ops;
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int size = run->io.size;

	if (run->io.port == MACHINE_HYPERCALL_PORT && run->io.direction == KVM_EXIT_IO_OUT && size == 4 &&
	    run->io.count == 1) {
		hypercall_by_port(v);
		return;
	}
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint32_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			ops->pio_out(ops->arg, v, run->io.port, size, value);
		} else {
			value = ops->pio_in(ops->arg, v, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
}

static void handle_mmio(struct vcpu *v)
{
	struct machine_ops *ops = &v->machine->ops;
	struct kvm_run *run = v->run;
	unsigned int len = MIN(run->mmio.len, (uint32_t)sizeof(run->mmio.data));

	if (run->mmio.is_write) {
		ops->mmio_out(ops->arg, v, run->mmio.phys_addr, run->mmio.data, len);
		return;
	}
	memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
	ops->mmio_in(ops->arg, v, run->mmio.phys_addr, run->mmio.data, len);
}

static void handle_wrmsr(struct vcpu *v)
{
	struct machine_ops *ops = &v->machine->ops;

	v->run->msr.error =
		v->run->msr.index != MACHINE_HYPERCALL_MSR || !ops->hypercall_page(ops->arg, v, v->run->msr.data);
}

static void fail(struct vcpu *v, enum machine_failure failure, const char *why)
{
	struct machine_ops *ops = &v->machine->ops;

	machine_park(v->machine, PARK_ENDED);
	ops->failed(ops->arg, failure, why);
}

static void fail_exit(struct vcpu *v, const char *what, uint64_t detail)
{
	char why[160];
	struct kvm_regs regs = { 0 };

	ioctl(v->fd, KVM_GET_REGS, &regs);
	snprintf(why, sizeof(why), "vCPU %u at rip 0x%llx: %s (0x%llx)", v->id, (unsigned long long)regs.rip, what,
		 (unsigned long long)detail);
	fail(v, MACHINE_CANNOT_RUN, why);
}

static void fail_shutdown(struct vcpu *v)
{
	char why[160];
	struct kvm_regs regs = { 0 };
	struct kvm_sregs sregs = { 0 };

	ioctl(v->fd, KVM_GET_REGS, &regs);
	ioctl(v->fd, KVM_GET_SREGS, &sregs);
	snprintf(why, sizeof(why), "triple fault on vCPU %u at rip 0x%llx, cr2 0x%llx, cr3 0x%llx", v->id,
		 (unsigned long long)regs.rip, (unsigned long long)sregs.cr2, (unsigned long long)sregs.cr3);
	fail(v, MACHINE_SHUTDOWN, why);
}

static void handle_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(v);
		break;
	case KVM_EXIT_XEN:
		hypercall_by_kvm(v);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(v);
		break;
	case KVM_EXIT_X86_WRMSR:
		handle_wrmsr(v);
		break;
	case KVM_EXIT_X86_RDMSR:
		run->msr.error = 1;
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_IOAPIC_EOI:
		break;
	case KVM_EXIT_SHUTDOWN:
		fail_shutdown(v);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		fail_exit(v, "the CPU refuses to enter the guest", run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		fail_exit(v, "KVM internal error", run->internal.suberror);
		break;
	default:
		fail_exit(v, "unexpected exit from KVM", run->exit_reason);
	}
}

/* One KVM_RUN. False: it was interrupted and nothing is to be handled. */
static bool run_once(struct vcpu *v)
{
	if (ioctl(v->fd, KVM_RUN, 0) == 0)
		return true;
	if (errno != EINTR && errno != EAGAIN)
		fail_exit(v, strerror(errno), (uint64_t)errno);
	return false;
}

/* Completes the last exit: only then is the state in KVM the guest's whole state. */
static void retire(struct vcpu *v)
{
	do
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	while (run_once(v) && (handle_exit(v), true) && !(v->machine->park_reasons & PARK_ENDED));
}

static void park(struct vcpu *v)
{
	struct machine *m = v->machine;
	bool all;

	retire(v);
	pthread_mutex_lock(&m->lock);
	v->parked = true;
	all = ++m->parked == m->vcpus;
	pthread_cond_broadcast(&m->changed);
	if (all && m->ops.parked && !m->stopping) {
		/* The callback may take the locks of the layer above. */
		pthread_mutex_unlock(&m->lock);
		m->ops.parked(m->ops.arg);
		pthread_mutex_lock(&m->lock);
	}
	while (m->park_reasons && !m->stopping)
		pthread_cond_wait(&m->changed, &m->lock);
	v->parked = false;
	m->parked--;
	pthread_mutex_unlock(&m->lock);
}

/* Halted for ever: HLT with interrupts off. vCPUs that wait for SIPI cannot wake by themselves. */
static void check_halt(struct vcpu *v)
{
	struct machine *m = v->machine;
	struct kvm_mp_state mp = { 0 };
	uint64_t all = m->vcpus == 64 ? ~UINT64_C(0) : (UINT64_C(1) << m->vcpus) - 1;
	bool halted, last;

	if (!atomic_exchange(&v->check_halt, false))
		return;
	ioctl(v->fd, KVM_GET_MP_STATE, &mp);
	halted = mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
		 (mp.mp_state == KVM_MP_STATE_HALTED && !(v->run->s.regs.regs.rflags & 0x200));
	pthread_mutex_lock(&m->lock);
	if (halted)
		m->halt_seen |= UINT64_C(1) << v->id;
	last = m->halt_seen == all;
	if (last)
		m->halt_seen = 0;
	pthread_mutex_unlock(&m->lock);
	if (last)
		fail(v, MACHINE_HALTED, "all vCPUs are halted with interrupts off");
}

void machine_check_halted(struct machine *m)
{
	if (m->park_reasons || m->stopping)
		return;
	pthread_mutex_lock(&m->lock);
	m->halt_seen = 0;
	pthread_mutex_unlock(&m->lock);
	for (unsigned int i = 0; i < m->vcpus; i++) {
		m->vcpu[i].check_halt = true;
		vcpu_kick(&m->vcpu[i]);
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct machine *m = v->machine;
	char name[16];
	sigset_t set;

	snprintf(name, sizeof(name), "vcpu%u", v->id);
	pthread_setname_np(pthread_self(), name);
	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!m->stopping) {
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		if (m->park_reasons) {
			park(v);
			continue;
		}
		apply_pvclock(v);
		check_halt(v);
		if (run_once(v))
			handle_exit(v);
	}
	pthread_mutex_lock(&m->lock);
	m->running--;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

int vcpu_start(struct vcpu *v, struct err *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int r;

	pthread_once(&once, install_handler);
	pthread_mutex_lock(&v->machine->lock);
	v->machine->running++;
	pthread_mutex_unlock(&v->machine->lock);
	r = thread_start(&v->thread, vcpu_main, v);
	if (r < 0) {
		v->machine->running--;
		return err_errno(err, r, "start the thread of vCPU %u", v->id);
	}
	v->started = true;
	return 0;
}
