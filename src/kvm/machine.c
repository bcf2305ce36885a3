/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/machine.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "kvm/internal.h"

void machine_stop(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->stopping = true;
	pthread_cond_broadcast(&m->changed);
	for (unsigned int i = 0; i < m->vcpus; i++)
		vcpu_kick(&m->vcpu[i]);
	/* vCPUs kick each other, so none is joined before the last has left its loop. */
	while (m->running)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
	for (unsigned int i = 0; i < m->vcpus; i++)
		vcpu_join(&m->vcpu[i]);
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_stop(m);
	for (unsigned int i = 0; i < m->vcpus; i++)
		vcpu_destroy(&m->vcpu[i]);
	close_fdp(&m->vm_fd);
	close_fdp(&m->kvm_fd);
	gmem_free(m->mem);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m->log_bitmap);
	free(m);
}

static int need_cap(struct machine *m, int cap, const char *name, struct err *err)
{
	if (ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, cap) > 0)
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "this host's KVM lacks %s; nidra needs Linux 5.10 or newer (nidra check tells)", name);
}

static int check_caps(struct machine *m, struct err *err)
{
	static const struct {
		int cap;
		const char *name;
	} need[] = {
		{ KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP" },
		{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
		{ KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS" },
		{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },
		{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK" },
		{ KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR" },
		{ KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(need); i++) {
		int r = need_cap(m, need[i].cap, need[i].name, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int open_kvm(struct machine *m, struct err *err)
{
	m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm_fd < 0)
		return err_errno(err, -errno, "open /dev/kvm (nidra check tells what to do)");
	if (ioctl(m->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return err_set(err, -EOPNOTSUPP, "/dev/kvm speaks an unknown API version");
	m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
	if (m->vm_fd < 0)
		return err_errno(err, -errno, "create a virtual machine with KVM");
	return check_caps(m, err);
}

static int enable_cap(struct machine *m, uint32_t cap, uint64_t arg, const char *name, struct err *err)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	if (ioctl(m->vm_fd, KVM_ENABLE_CAP, &c) < 0)
		return err_errno(err, -errno, "enable %s", name);
	return 0;
}

/*
 * Writes of the hypercall page MSR come to us, before KVM's Hyper-V or Xen code sees them: our page
 * does OUT on every host, so an image with one can be restored on any.
 */
static int filter_hypercall_msr(struct machine *m, struct err *err)
{
	uint8_t deny_all[2] = { 0, 0 };
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			       .nmsrs = 16,
			       .base = MACHINE_HYPERCALL_MSR,
			       .bitmap = deny_all },
	};
	int r = enable_cap(m, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER, "user space MSRs", err);

	if (r < 0)
		return r;
	if (ioctl(m->vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return err_errno(err, -errno, "set the MSR filter");
	return 0;
}

static int setup_hypercalls(struct machine *m, bool want_intercept, struct err *err)
{
	int caps = ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XEN_HVM);
	struct kvm_xen_hvm_config xen = { .flags = KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL, .msr = MACHINE_HYPERCALL_MSR };
	int r = filter_hypercall_msr(m, err);

	if (r < 0 || !want_intercept || caps <= 0 || !(caps & KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL))
		return r;
	if (ioctl(m->vm_fd, KVM_XEN_HVM_CONFIG, &xen) < 0)
		return err_errno(err, -errno, "let KVM intercept hypercalls");
	m->intercepts = true;
	return 0;
}

static int set_slot(struct machine *m, const struct gmem_region *g, uint64_t bytes)
{
	struct kvm_userspace_memory_region slot = { .slot = (uint32_t)g->slot,
						    .guest_phys_addr = g->gpa,
						    .memory_size = bytes,
						    .userspace_addr = (uintptr_t)g->hva };

	return ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? -errno : 0;
}

static int add_memory(struct machine *m, const struct machine_config *config, struct err *err)
{
	const struct gmem_region *g;
	size_t n;
	int r = gmem_new_over(config->base_fd ? *config->base_fd : -1, config->ram_bytes, &m->mem, err);

	if (r < 0)
		return r;
	g = gmem_regions(m->mem, &n);
	for (size_t i = 0; i < n; i++) {
		r = set_slot(m, &g[i], g[i].bytes);
		if (r < 0)
			return err_errno(err, r, "give KVM the guest memory at 0x%llx", (unsigned long long)g[i].gpa);
	}
	return 0;
}

static bool host_is_amd(void)
{
	unsigned int eax, ebx, ecx, edx;

	if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx))
		return false;
	/* "AuthenticAMD", "HygonGenuine" */
	return (ebx == 0x68747541 && ecx == 0x444d4163) || (ebx == 0x6f677948 && ecx == 0x656e6975);
}

static int setup_vm(struct machine *m, const struct machine_config *config, struct err *err)
{
	uint64_t identity_map = 0xfeffc000 - 4 * NIDRA_PAGE_SIZE - 0x100000;
	int r;

	/* Intel without unrestricted guest wants four pages outside RAM and ours. */
	ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	ioctl(m->vm_fd, KVM_SET_TSS_ADDR, identity_map + NIDRA_PAGE_SIZE);
	r = enable_cap(m, KVM_CAP_SPLIT_IRQCHIP, 0, "in-kernel local APICs", err);
	if (r < 0)
		return r;
	r = setup_hypercalls(m, config->want_intercept, err);
	if (r < 0)
		return r;
	machine_log_setup(m);
	return add_memory(m, config, err);
}

static int add_vcpus(struct machine *m, const struct machine_config *config, struct err *err)
{
	bool hide_xsave = !kvm_tracks_xcr0(m->kvm_fd);
	int r, khz;

	if (hide_xsave)
		log_info("this host's KVM does not see guests' XSETBV: XSAVE and AVX are hidden");
	m->run_size = (size_t)ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	for (unsigned int i = 0; i < config->vcpus; i++) {
		m->vcpus = i + 1;
		r = vcpu_create(m, i, err);
		if (r == 0)
			r = vcpu_make_cpuid(&m->vcpu[i], config, hide_xsave, err);
		if (r < 0)
			return err_prefix(err, "vCPU %u", i);
	}
	khz = ioctl(m->vcpu[0].fd, KVM_GET_TSC_KHZ, 0);
	m->tsc_khz = khz > 0 ? (uint32_t)khz : 1000000;
	for (unsigned int i = 0; i < config->vcpus; i++) {
		r = vcpu_start(&m->vcpu[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void init_lock(struct machine *m)
{
	pthread_mutex_init(&m->lock, NULL);
	thread_cond_init(&m->changed);
}

int machine_new(const struct machine_config *config, const struct machine_ops *ops, struct machine **ret_machine,
		struct err *err)
{
	_cleanup_(machine_freep) struct machine *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_errno(err, -ENOMEM, "machine");
	m->kvm_fd = m->vm_fd = -1;
	init_lock(m);
	m->ops = *ops;
	m->park_reasons = PARK_BUILD;
	m->amd = host_is_amd();
	if (!config->vcpus || config->vcpus > MACHINE_VCPUS_MAX)
		return err_set(err, -EINVAL, "%u vCPUs are not possible (1 to %u)", config->vcpus, MACHINE_VCPUS_MAX);
	r = open_kvm(m, err);
	if (r < 0)
		return r;
	r = setup_vm(m, config, err);
	if (r < 0)
		return r;
	r = add_vcpus(m, config, err);
	if (r < 0)
		return r;
	*ret_machine = take_ptr(m);
	return 0;
}

struct gmem *machine_mem(struct machine *m)
{
	return m->mem;
}

unsigned int machine_vcpus(const struct machine *m)
{
	return m->vcpus;
}

struct vcpu *machine_vcpu(struct machine *m, unsigned int id)
{
	return id < m->vcpus ? &m->vcpu[id] : NULL;
}

bool machine_intercepts(const struct machine *m)
{
	return m->intercepts;
}

uint32_t machine_tsc_khz(const struct machine *m)
{
	return m->tsc_khz;
}

bool machine_is_amd(const struct machine *m)
{
	return m->amd;
}

void machine_park(struct machine *m, unsigned int reason)
{
	atomic_fetch_or(&m->park_reasons, reason);
	for (unsigned int i = 0; i < m->vcpus; i++)
		vcpu_kick(&m->vcpu[i]);
}

bool machine_is_parked(struct machine *m)
{
	SCOPED_LOCK(&m->lock);

	return m->park_reasons && m->parked == m->vcpus;
}

bool machine_wait_parked(struct machine *m, uint64_t timeout_ns)
{
	struct timespec until = clock_timespec(clock_monotonic_ns() + timeout_ns);
	SCOPED_LOCK(&m->lock);

	while (m->parked != m->vcpus)
		if (pthread_cond_timedwait(&m->changed, &m->lock, &until) == ETIMEDOUT)
			return m->parked == m->vcpus;
	return true;
}

void machine_unpark(struct machine *m, unsigned int reason)
{
	SCOPED_LOCK(&m->lock);

	atomic_fetch_and(&m->park_reasons, ~reason);
	pthread_cond_broadcast(&m->changed);
}

unsigned int machine_park_reasons(struct machine *m)
{
	return m->park_reasons;
}

uint64_t machine_cpu_time_ns(struct machine *m)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < m->vcpus; i++) {
		struct timespec ts;
		clockid_t id;

		if (m->vcpu[i].started && !pthread_getcpuclockid(m->vcpu[i].thread, &id) && !clock_gettime(id, &ts))
			sum += (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	}
	return sum;
}

int machine_map_grant(struct machine *m, unsigned int idx, uint64_t gfn)
{
	struct gmem_region now, old;
	int r;

	if (idx < GMEM_GRANT_FRAMES && gmem_grant_gfn(m->mem, idx) == gfn)
		return 0;
	r = gmem_map_grant(m->mem, idx, gfn, &now, &old);
	if (r < 0)
		return r;
	/* KVM does not move a slot that has an owner elsewhere in one go on all hosts: drop, add. */
	if (old.kind)
		set_slot(m, &old, 0);
	return set_slot(m, &now, now.bytes);
}

int machine_signal(struct machine *m, unsigned int id, uint8_t vector)
{
	return machine_msi(m, 0xfee00000u | APIC_ID(id) << 12, vector | 0x4000u);
}

int machine_msi(struct machine *m, uint32_t address, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = address, .data = data };
	int r = ioctl(m->vm_fd, KVM_SIGNAL_MSI, &msi);

	return r < 0 ? -errno : r;
}

uint64_t machine_clock_ns(struct machine *m)
{
	struct kvm_clock_data c = { 0 };

	ioctl(m->vm_fd, KVM_GET_CLOCK, &c);
	return c.clock;
}

void machine_set_clock(struct machine *m, uint64_t ns)
{
	struct kvm_clock_data c = { .clock = ns };

	ioctl(m->vm_fd, KVM_SET_CLOCK, &c);
}
