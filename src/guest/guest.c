/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "boot/boot.h"
#include "boot/acpi.h"
#include "device/bus.h"
#include "device/console.h"
#include "device/ioapic.h"
#include "guest/find_kernel.h"
#include "image/image.h"
#include "kvm/machine.h"
#include "pm/chain.h"
#include "device/vbd.h"
#include "device/vif.h"
#include "guest/nics.h"
#include "guest/shares.h"
#include "xen/backend.h"
#include "xen/control.h"
#include "xen/domain.h"

#define DEBUG_PORT	0xe9
#define PARK_TIMEOUT_NS (30 * NSEC_PER_SEC)

struct guest {
	struct guest_config config;
	struct guest_observer observer;
	struct machine *machine;
	struct xen_domain *domain;
	struct console *console;
	struct bus *bus;
	struct disk *disk[GUEST_DISKS_MAX]; /* the bus's, as */
	struct vbd *vbd[GUEST_DISKS_MAX];
	struct vif *vif[GUEST_NICS_MAX];
	struct shares *shares; /* NULL: none */
	struct ioapic *ioapic; /* NULL: its ACPI tables have none (it is older than that) */
	uint64_t generation;   /* gpa of its bytes, and the pin that says that they are new; with the I/O APIC */
	uint32_t generation_pin;
	struct image_pager *pager;
	uint32_t wakes;
	bool in_call;		 /* restored; means something until it runs */
	struct err lacks;	 /* what another machine has, and its network goes without */
	struct boot_found found; /* on a disk; until the kernel is loaded */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t cond;
	uint64_t changes;
	enum guest_end end;
	char end_reason[200];
	struct pm_chain chain;
	struct pm_handler own;
};

static const char *const state_names[] = { "built", "running", "paused", "suspended", "ended" };
static const char *const end_names[] = {
	"", "poweroff", "reboot", "crash", "failed", "saved", "destroyed", "watchdog"
};

const char *guest_state_name(enum guest_state s)
{
	return state_names[s];
}

const char *guest_end_name(enum guest_end e)
{
	return end_names[e];
}

/* ---- changes ---- */

static void changed_locked(struct guest *g)
{
	g->changes++;
	pthread_cond_broadcast(&g->cond);
	if (g->observer.changed)
		g->observer.changed(g->observer.arg);
}

void guest_changed(struct guest *g)
{
	/* Handlers hold the lock already; a broadcast without it at worst costs a slice of waiting. */
	__atomic_fetch_add(&g->changes, 1, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&g->cond);
	if (g->observer.changed)
		g->observer.changed(g->observer.arg);
}

void guest_wait(struct guest *g, uint64_t ns)
{
	struct timespec until = clock_timespec(clock_monotonic_ns() + ns);
	SCOPED_LOCK(&g->lock);
	uint64_t seen = g->changes;

	while (g->changes == seen)
		if (pthread_cond_timedwait(&g->cond, &g->lock, &until) == ETIMEDOUT)
			break;
}

static void end_locked(struct guest *g, enum guest_end end, const char *reason)
{
	if (g->end == GUEST_END_NONE) {
		g->end = end;
		snprintf(g->end_reason, sizeof(g->end_reason), "%s", reason);
		log_info("guest ended: %s%s%s", guest_end_name(end), *reason ? ": " : "", reason);
	}
	machine_park(g->machine, PARK_ENDED);
	changed_locked(g);
}

void guest_end_as(struct guest *g, enum guest_end end)
{
	SCOPED_LOCK(&g->lock);

	end_locked(g, end, "");
}

const char *guest_end_reason(struct guest *g)
{
	return g->end_reason;
}

void guest_add_handler(struct guest *g, struct pm_handler *h)
{
	SCOPED_LOCK(&g->lock);

	pm_chain_add(&g->chain, h);
}

void guest_remove_handler(struct guest *g, struct pm_handler *h)
{
	SCOPED_LOCK(&g->lock);

	pm_chain_remove(&g->chain, h);
}

/* The end of the chain: nobody waits for this, so the guest means it. */
static int own_handler(struct pm_handler *self, int command, void *data, struct err *err)
{
	struct guest *g = data;

	(void)self;
	(void)err;
	switch (command) {
	case XEN_POWEROFF:
		end_locked(g, GUEST_END_POWEROFF, "");
		break;
	case XEN_REBOOT:
	case XEN_SOFT_RESET: /* kexec: the new kernel would need its hypercalls patched; start it fresh */
		end_locked(g, GUEST_END_REBOOT, "");
		break;
	case XEN_WATCHDOG:
		end_locked(g, GUEST_END_WATCHDOG, "the guest did not poke its watchdog in time");
		break;
	case XEN_SUSPEND: /* nobody asked, or too late: "cancelled" */
		return PM_PASS;
	default:
		end_locked(g, GUEST_END_CRASH, "the guest's kernel said that it crashed");
	}
	return PM_TAKEN;
}

/* ---- what the machine and the domain call ---- */

static bool on_shutdown(void *arg, enum xen_shutdown reason)
{
	struct guest *g = arg;
	SCOPED_LOCK(&g->lock);

	return pm_chain_call(&g->chain, (int)reason, g, NULL) == PM_TAKEN;
}

/* Who is about to sleep, or does, may be in an image soon: it must not be started anew beside that. */
static bool on_watchdog(void *arg)
{
	struct guest *g = arg;
	SCOPED_LOCK(&g->lock);

	if (machine_park_reasons(g->machine))
		return false;
	return pm_chain_call(&g->chain, XEN_WATCHDOG, g, NULL) == PM_TAKEN;
}

static void on_console_io(void *arg, const char *buf, size_t len)
{
	struct guest *g = arg;

	console_put(g->console, buf, len);
}

static int64_t on_hypercall(void *arg, struct vcpu *v, const struct hypercall *h)
{
	return xen_hypercall(((struct guest *)arg)->domain, v, h);
}

static uint32_t on_pio_in(void *arg, struct vcpu *v, uint16_t port, unsigned int size)
{
	(void)arg;
	(void)v;
	/* Linux calibrates its TSC against an absent PIT: zeros make it give up at once. */
	if (port == 0x42 || port == 0x61)
		return 0;
	if (port == ACPI_SLEEP_STATUS_PORT)
		return 0;
	return size == 4 ? 0xffffffff : (1u << size * 8) - 1;
}

static void on_pio_out(void *arg, struct vcpu *v, uint16_t port, unsigned int size, uint32_t value)
{
	struct guest *g = arg;
	char c = (char)value;

	(void)v;
	(void)size;
	if (port == DEBUG_PORT)
		console_put(g->console, &c, 1);
	/* SLP_EN with the sleep type that our DSDT gives to S5. */
	if (port == ACPI_SLEEP_CONTROL_PORT && (value & 0x3c) == (0x20 | ACPI_SLEEP_TYPE_S5 << 2))
		on_shutdown(g, XEN_POWEROFF);
}

static bool is_ioapic(const struct guest *g, uint64_t gpa)
{
	return g->ioapic && gpa >= GMEM_IOAPIC_GPA && gpa - GMEM_IOAPIC_GPA < IOAPIC_BYTES;
}

static void on_mmio_in(void *arg, struct vcpu *v, uint64_t gpa, void *data, unsigned int len)
{
	struct guest *g = arg;

	(void)v;
	if (is_ioapic(g, gpa))
		ioapic_read(g->ioapic, gpa - GMEM_IOAPIC_GPA, data, len);
}

static void on_mmio_out(void *arg, struct vcpu *v, uint64_t gpa, const void *data, unsigned int len)
{
	struct guest *g = arg;

	(void)v;
	if (is_ioapic(g, gpa))
		ioapic_write(g->ioapic, gpa - GMEM_IOAPIC_GPA, data, len);
}

static int send_msi(void *arg, uint32_t address, uint32_t data)
{
	struct guest *g = arg;

	return machine_msi(g->machine, address, data);
}

static bool on_hypercall_page(void *arg, struct vcpu *v, uint64_t msr)
{
	struct guest *g = arg;
	uint8_t page[NIDRA_PAGE_SIZE];

	(void)v;
	if (!xen_hypercall_page(g->domain, msr))
		return false;
	boot_hypercall_page(page, MACHINE_HYPERCALL_PORT);
	return gmem_write(machine_mem(g->machine), msr, page, sizeof(page)) == 0;
}

static void on_failed(void *arg, enum machine_failure failure, const char *why)
{
	struct guest *g = arg;
	SCOPED_LOCK(&g->lock);

	/* Xen's rule: the last CPU that halts with interrupts off means power off. */
	if (failure == MACHINE_HALTED)
		end_locked(g, GUEST_END_POWEROFF, "");
	else
		end_locked(g, GUEST_END_FAILED, why);
}

static void on_parked(void *arg)
{
	guest_changed(arg);
}

/* ---- building ---- */

void guest_free(struct guest *g)
{
	bool ended;

	if (!g)
		return;
	/* vCPU threads first: they call everything else. */
	if (g->machine)
		machine_stop(g->machine);
	image_pager_silence(g->pager);
	ended = bus_free(g->bus);
	shares_free(g->shares);
	if (!ended) {
		/* Memory that the kernel may write to later must not become anything else. */
		log_error("%s: a disk does not end what it was asked to do; the memory of the machine stays until this "
			  "process ends",
			  g->config.name);
		return;
	}
	xen_domain_free(g->domain);
	console_free(g->console);
	ioapic_free(g->ioapic);
	image_pager_free(g->pager); /* the others may have waited for memory */
	machine_free(g->machine);
	boot_found_fini(&g->found);
	guest_config_fini(&g->config);
	pthread_cond_destroy(&g->cond);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static void init_lock(struct guest *g)
{
	pthread_mutex_init(&g->lock, NULL);
	thread_cond_init(&g->cond);
	g->own = (struct pm_handler){ .name = "lifecycle", .handle = own_handler };
	pm_chain_add(&g->chain, &g->own);
}

static int build_machine(struct guest *g, const int *base_fd, struct err *err)
{
	struct machine_config config = { .ram_bytes = g->config.memory_mib * MIB,
					 .base_fd = base_fd,
					 .vcpus = g->config.maxvcpus,
					 .want_intercept = g->config.transport != GUEST_TRANSPORT_THUNKS,
					 .cpuid = xen_cpuid,
					 .cpuid_arg = &g->config.domid };
	struct machine_ops ops = { .hypercall = on_hypercall,
				   .pio_in = on_pio_in,
				   .pio_out = on_pio_out,
				   .mmio_in = on_mmio_in,
				   .mmio_out = on_mmio_out,
				   .hypercall_page = on_hypercall_page,
				   .failed = on_failed,
				   .parked = on_parked,
				   .arg = g };
	int r = machine_new(&config, &ops, &g->machine, err);

	if (r == 0 && g->config.transport == GUEST_TRANSPORT_INTERCEPT && !machine_intercepts(g->machine))
		return err_set(err, -EOPNOTSUPP, "transport intercept: this host's KVM has no CONFIG_KVM_XEN");
	return r;
}

static int build_domain(struct guest *g, struct err *err)
{
	struct xen_domain_config config = { .domid = g->config.domid,
					    .vcpus = g->config.maxvcpus,
					    .vcpus_online = g->config.vcpus,
					    .name = g->config.name,
					    .uuid = g->config.uuid,
					    .memory_bytes = g->config.memory_mib * MIB,
					    .memory_max_bytes = g->config.memory_mib * MIB };
	struct xen_domain_ops ops = {
		.shutdown = on_shutdown, .watchdog = on_watchdog, .console_io = on_console_io, .arg = g
	};

	return xen_domain_new(g->machine, &config, &ops, &g->domain, err);
}

static void on_disk_changed(void *arg)
{
	guest_changed(arg);
}

static int add_disk(struct guest *g, size_t i, struct err *err)
{
	const struct guest_disk *d = &g->config.disks.disk[i];
	struct disk_options o = { .path = d->path,
				  .format = d->format ? disk_format(d->format) : NULL,
				  .name = d->vdev,
				  .folder = g->observer.folder,
				  .readonly = d->readonly,
				  .cache = d->cache };
	int r = disk_open(&o, &g->disk[i], err);

	r = r ?: vbd_add(g->bus, d->vdev, g->disk[i], d->path, &g->vbd[i], err);
	if (r == 0)
		vbd_on_error(g->vbd[i], d->on_error, on_disk_changed, g);
	return r;
}

/* They are there for the guest once guest_connect_devices() was called. */
static int add_devices(struct guest *g, struct err *err)
{
	int r = bus_new(g->domain, &g->bus, err);

	for (size_t i = 0; r == 0 && i < g->config.disks.n; i++)
		r = add_disk(g, i, err);
	r = r ?: shares_new(&g->config, &g->shares, err);
	return r ?: guest_add_nics(&g->config, g->shares, g->bus, &g->lacks, g->vif, err);
}

int guest_new(const struct guest_config *config, const struct guest_observer *observer, const int *base_fd,
	      struct guest **ret_guest, struct err *err)
{
	_cleanup_(guest_freep) struct guest *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_errno(err, -ENOMEM, "guest");
	init_lock(g);
	g->found = BOOT_FOUND_NONE;
	if (observer)
		g->observer = *observer;
	r = guest_config_copy(config, &g->config, err);
	r = r ?: guest_config_check(&g->config, err);
	r = r ?: build_machine(g, base_fd, err);
	r = r ?: build_domain(g, err);
	r = r ?: console_new(&g->console, err);
	r = r ?: console_attach(g->console, g->domain, machine_mem(g->machine), err);
	r = r ?: add_devices(g, err);
	if (r < 0)
		return r;
	*ret_guest = take_ptr(g);
	return 0;
}

/*
 * Hypercalls of the kernel's own VMCALL or VMMCALL reach us where KVM intercepts them. Elsewhere its
 * two thunks are patched; a guest that has none must use the hypercall page.
 */
static int patch_thunks(struct guest *g, struct err *err)
{
	struct xen_transport_state *t = xen_transport(g->domain);
	struct boot_thunks thunks = { .found = t->thunks_found, .gpa = { t->thunk_gpa[0], t->thunk_gpa[1] } };
	int r;

	if (machine_intercepts(g->machine) || !t->thunks_found || t->thunks_patched)
		return 0;
	r = boot_thunks_patch(machine_mem(g->machine), &thunks, MACHINE_HYPERCALL_PORT, err);
	if (r < 0)
		return r;
	t->thunks_patched = true;
	return 0;
}

/* ---- the machine's generation: what a guest has that may be one of several that were one ---- */

struct generation {
	struct gmem *mem;
	uint64_t gpa;
	uint8_t b[ACPI_GENERATION_BYTES];
	int result;
};

static void write_generation_locked(void *arg)
{
	struct generation *n = arg;

	n->result = gmem_write(n->mem, n->gpa, n->b, sizeof(n->b));
}

static int write_generation(struct guest *g, struct err *err)
{
	struct generation n = { .mem = machine_mem(g->machine), .gpa = g->generation };

	if (getrandom(n.b, sizeof(n.b), 0) != sizeof(n.b))
		return err_errno(err, -errno, "random bytes");
	xen_backend_locked(g->domain, write_generation_locked, &n);
	return n.result < 0 ? err_errno(err, n.result, "the machine's generation") : 0;
}

int guest_new_generation(struct guest *g, struct err *err)
{
	int r = g->ioapic ? write_generation(g, err) : 0;

	if (r == 0 && g->ioapic)
		ioapic_raise(g->ioapic, g->generation_pin);
	return r;
}

static int add_ioapic(struct guest *g, struct err *err)
{
	g->generation = ACPI_GENERATION_GPA;
	g->generation_pin = ACPI_GENERATION_GSI;
	return ioapic_new(send_msi, g, &g->ioapic, err);
}

bool guest_save_ioapic(struct guest *g, struct bytes_writer *w)
{
	if (!g->ioapic)
		return false;
	bytes_put_u64(w, g->generation);
	bytes_put_u32(w, g->generation_pin);
	ioapic_save(g->ioapic, w);
	return true;
}

int guest_load_ioapic(struct guest *g, struct bytes_reader *r, struct err *err)
{
	uint64_t gpa = bytes_get_u64(r);
	uint32_t pin = bytes_get_u32(r);
	int ret = add_ioapic(g, err);

	if (ret < 0)
		return ret;
	g->generation = gpa;
	g->generation_pin = pin;
	if (gpa % 8 || !gmem_hva(machine_mem(g->machine), gpa, ACPI_GENERATION_BYTES) || pin >= IOAPIC_PINS ||
	    ioapic_load(g->ioapic, r) < 0 || bytes_done(r) < 0)
		return err_set(err, -EBADMSG, "its I/O APIC record makes no sense");
	return 0;
}

/* ---- what is in it ---- */

int guest_find_kernel(struct guest *g, int (*wait)(void *arg, struct err *err), void *arg, struct err *err)
{
	return g->config.kernel ? 0 : find_kernel(&g->config, g->disk, g->vbd, wait, arg, &g->found, err);
}

int guest_load_kernel(struct guest *g, struct err *err)
{
	struct kernel_paths paths;
	struct boot_source source = kernel_source(&g->config, &g->found, &paths);
	struct xen_transport_state *t = xen_transport(g->domain);
	struct boot_info info;
	/* Who wakes goes without rather than not at all. Who starts a new machine can be asked. */
	int r = g->lacks.code ? err_set(err, g->lacks.code, "%s", g->lacks.msg) : 0;

	r = r ?: boot_load(machine_mem(g->machine), &source, &info, err);

	boot_found_fini(&g->found);
	if (r < 0)
		return r;
	t->thunks_found = info.thunks.found;
	t->thunk_gpa[0] = info.thunks.gpa[0];
	t->thunk_gpa[1] = info.thunks.gpa[1];
	bus_offer(g->bus);
	r = patch_thunks(g, err);
	r = r ?: shares_start(g->shares, err);
	r = r ?: add_ioapic(g, err);
	r = r ?: write_generation(g, err);
	if (r == 0 && !machine_wait_parked(g->machine, PARK_TIMEOUT_NS))
		r = err_set(err, -ETIMEDOUT, "the vCPU threads do not come up");
	for (unsigned int i = 0; r == 0 && i < g->config.maxvcpus; i++)
		r = vcpu_set_pvh_entry(machine_vcpu(g->machine, i), info.entry, info.start_info, err);
	return r;
}

int guest_adopt(struct guest *g, struct err *err)
{
	struct xen_transport_state *t = xen_transport(g->domain);

	if (!machine_intercepts(g->machine) && !t->thunks_found && t->page_gpa == UINT64_MAX)
		return err_set(err, -EOPNOTSUPP,
			       "the guest makes hypercalls by VMCALL, which this host's KVM does not hand "
			       "over (no CONFIG_KVM_XEN), and its kernel's thunks are not known");
	return patch_thunks(g, err);
}

static void on_memory_loaded(void *arg)
{
	struct guest *g = arg;

	xen_domain_memory_loaded(g->domain);
	guest_changed(g);
}

static void on_memory_failed(void *arg, const struct err *err)
{
	struct guest *g = arg;
	SCOPED_LOCK(&g->lock);

	end_locked(g, GUEST_END_FAILED, err->msg);
}

int guest_load_lazily(struct guest *g, struct image_reader *r, const struct image_region *region, size_t n,
		      const char *folder, struct err *err)
{
	struct image_pager_events events = { .loaded = on_memory_loaded, .failed = on_memory_failed, .arg = g };

	return image_pager_new(r, region, n, folder, &events, &g->pager, err);
}

struct image_pager *guest_pager(struct guest *g)
{
	return g->pager;
}

void guest_set_wakes(struct guest *g, uint32_t wakes, bool in_call)
{
	g->wakes = wakes;
	g->in_call = in_call;
}

bool guest_in_suspend_call(const struct guest *g)
{
	unsigned int reasons = machine_park_reasons(g->machine);

	return reasons & PARK_SUSPEND || (g->in_call && reasons & PARK_BUILD);
}

/* ---- devices ---- */

int guest_save_share(struct guest *g, size_t i, struct bytes_writer *w, struct err *err)
{
	return shares_save(g->shares, i, w, err);
}

int guest_load_share(struct guest *g, size_t i, const void *state, size_t len, struct err *err)
{
	return shares_load(g->shares, i, state, len, err);
}

int guest_sync_shares(struct guest *g, struct err *err)
{
	return shares_sync(g->shares, err);
}

int guest_connect_devices(struct guest *g, bool anew, struct err *err)
{
	int r = shares_start(g->shares, err);

	if (r < 0)
		return r;
	if (!anew)
		return bus_adopt(g->bus, err);
	bus_offer(g->bus);
	bus_expect(g->bus);
	return 0;
}

bool guest_devices_settled(struct guest *g, bool give_up)
{
	return bus_settled(g->bus, give_up);
}

int guest_drain_devices(struct guest *g, uint64_t deadline_ns, struct err *err)
{
	/* The network first: then nothing more comes to those that it leads to. */
	return bus_drain(g->bus, deadline_ns, err) ?: shares_quiet(g->shares, deadline_ns, err);
}

void guest_devices_go(struct guest *g)
{
	shares_go(g->shares);
	bus_go(g->bus);
}

struct disk *guest_disk(struct guest *g, size_t i)
{
	return g->disk[i];
}

int guest_check_disks(struct guest *g, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->config.disks.n; i++)
		r = vbd_check(g->vbd[i], err);
	return r;
}

int guest_sync_disk(struct guest *g, size_t i, int (*go_on)(void *arg, struct err *err), void *arg, struct err *err)
{
	return vbd_sync(g->vbd[i], go_on, arg, err);
}

void guest_get_disk_stats(struct guest *g, size_t i, struct disk_stats *ret)
{
	vbd_get_stats(g->vbd[i], ret);
}

void guest_get_nic_stats(const struct guest *g, size_t i, struct vif_stats *ret)
{
	vif_get_stats(g->vif[i], ret);
}

int guest_resize_disk(struct guest *g, const char *vdev, uint64_t bytes, struct err *err)
{
	for (size_t i = 0; i < g->config.disks.n; i++)
		if (!strcmp(g->config.disks.disk[i].vdev, vdev))
			return vbd_resize(g->vbd[i], bytes, err);
	return err_set(err, -ENODEV, "%s has no disk %.20s", g->config.name, vdev);
}

/* ---- what people ask for ---- */

enum guest_state guest_state(const struct guest *g)
{
	unsigned int reasons = machine_park_reasons(g->machine);

	if (g->end != GUEST_END_NONE)
		return GUEST_ENDED;
	if (reasons & PARK_SUSPEND)
		return GUEST_SUSPENDED;
	if (reasons & PARK_PAUSE)
		return GUEST_PAUSED;
	return reasons & PARK_BUILD ? GUEST_BUILT : GUEST_RUNNING;
}

enum guest_end guest_end(const struct guest *g)
{
	return g->end;
}

const struct guest_config *guest_config(const struct guest *g)
{
	return &g->config;
}

static int refuse_state(struct guest *g, const char *what, struct err *err)
{
	return err_set(err, -EINVAL, "%s is %s and cannot be %s", g->config.name, guest_state_name(guest_state(g)),
		       what);
}

int guest_run(struct guest *g, struct err *err)
{
	enum guest_state s = guest_state(g);

	if (s == GUEST_RUNNING)
		return 0;
	if (s != GUEST_BUILT && s != GUEST_PAUSED)
		return refuse_state(g, "unpaused", err);
	xen_domain_update_wallclock(g->domain);
	guest_devices_go(g);
	machine_unpark(g->machine, PARK_BUILD | PARK_PAUSE);
	xen_domain_wake(g->domain);
	guest_changed(g);
	return 0;
}

int guest_pause(struct guest *g, struct err *err)
{
	enum guest_state s = guest_state(g);

	if (s == GUEST_PAUSED)
		return 0;
	if (s != GUEST_RUNNING && s != GUEST_BUILT)
		return refuse_state(g, "paused", err);
	machine_park(g->machine, PARK_PAUSE);
	if (!machine_wait_parked(g->machine, PARK_TIMEOUT_NS)) {
		machine_unpark(g->machine, PARK_PAUSE);
		return err_set(err, -ETIMEDOUT, "a vCPU of %s did not stop", g->config.name);
	}
	guest_changed(g);
	return 0;
}

int guest_ask(struct guest *g, const char *what, struct err *err)
{
	if (guest_state(g) != GUEST_RUNNING)
		return refuse_state(g, "asked for anything", err);
	return xen_control_ask(g->domain, what, err);
}

void guest_destroy(struct guest *g)
{
	guest_end_as(g, GUEST_END_DESTROYED);
}

int guest_set_memory(struct guest *g, uint32_t target_mib, struct err *err)
{
	if (target_mib < GUEST_MEMORY_MIN_MIB || target_mib > g->config.memory_mib)
		return err_set(err, -EINVAL, "memory %u MiB: %s can have %u to %u", target_mib, g->config.name,
			       GUEST_MEMORY_MIN_MIB, g->config.memory_mib);
	return xen_control_set_memory(g->domain, target_mib * MIB, err);
}

int guest_set_vcpus(struct guest *g, uint32_t n, struct err *err)
{
	if (!n || n > g->config.maxvcpus)
		return err_set(err, -EINVAL, "vcpus %u: %s can have 1 to %u", n, g->config.name, g->config.maxvcpus);
	return xen_control_set_vcpus(g->domain, n, err);
}

static const char *transport_in_use(struct guest *g)
{
	struct xen_transport_state *t = xen_transport(g->domain);

	if (t->page_gpa != UINT64_MAX)
		return "page";
	return t->thunks_patched ? "thunks" : "intercept";
}

static uint64_t own_bytes(const struct gmem *mem)
{
	int64_t pages = gmem_private_pages(mem, NULL);

	return pages < 0 ? 0 : (uint64_t)pages * NIDRA_PAGE_SIZE;
}

void guest_get_info(struct guest *g, struct guest_info *ret)
{
	struct xen_domain_info x;
	struct gmem *mem = machine_mem(g->machine);
	struct stat st = { 0 };
	uint64_t bytes;

	xen_domain_get_info(g->domain, &x);
	fstat(gmem_fd(mem), &st);
	bytes = (uint64_t)st.st_blocks * 512;
	*ret = (struct guest_info){ .state = guest_state(g),
				    .end = g->end,
				    .cpu_time_ns = machine_cpu_time_ns(g->machine),
				    .running_ns = x.system_time_ns,
				    .memory_bytes = x.memory_bytes,
				    .resident_bytes = gmem_is_private(mem) ? own_bytes(mem) : bytes,
				    .shared_bytes = gmem_is_private(mem) ? bytes : 0,
				    .image_bytes = image_pager_left(g->pager),
				    .vcpus_online = x.vcpus_online,
				    .sleeps = x.sleeps,
				    .transport = transport_in_use(g),
				    .wakes = g->wakes };
}

size_t guest_console_read(struct guest *g, uint64_t *pos, void *buf, size_t len)
{
	return console_read(g->console, pos, buf, len);
}

int guest_console_fd(const struct guest *g)
{
	return console_fd(g->console);
}

size_t guest_console_write(struct guest *g, const void *buf, size_t len)
{
	return console_write(g->console, buf, len);
}

struct machine *guest_machine(struct guest *g)
{
	return g->machine;
}

struct xen_domain *guest_domain(struct guest *g)
{
	return g->domain;
}

struct console *guest_console(struct guest *g)
{
	return g->console;
}
