/* SPDX-License-Identifier: Apache-2.0 */
#include "xen/domain.h"

#include <errno.h>
#include <string.h>
#include <stdint.h>
#include <xen/hvm/params.h>

#include "base/addr.h"
#include "base/log.h"
#include "base/thread.h"
#include "xen/control.h"
#include "xen/internal.h"
#include "xen/store/ring.h"

static void init_locks(struct xen_domain *d)
{
	pthread_mutex_init(&d->lock, NULL);
	thread_cond_init(&d->changed);
	for (unsigned int i = 0; i < MACHINE_VCPUS_MAX; i++)
		thread_cond_init(&d->vcpu[i].poll);
}

void xen_domain_free(struct xen_domain *d)
{
	if (!d)
		return;
	timer_stop(d);
	xs_free(d->store);
	free(d->ballooned);
	free(d->name);
	free(d->uuid);
	for (unsigned int i = 0; i < MACHINE_VCPUS_MAX; i++)
		pthread_cond_destroy(&d->vcpu[i].poll);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* What a new life starts with: nothing is registered, the two rings' ports are there. */
static void forget(struct xen_domain *d)
{
	d->shared_info_gpa = NOWHERE;
	evtchn_reset(d);
	for (unsigned int i = 0; i < d->vcpus; i++) {
		struct xen_vcpu *v = &d->vcpu[i];

		v->info_gpa = NOWHERE;
		v->runstate_gva = v->time_gva = 0;
		v->vector = 0;
		v->retry = false;
		timer_arm(d, i, 0);
	}
	watchdog_forget(d);
	memset(d->param, 0, sizeof(d->param));
	d->param[HVM_PARAM_STORE_PFN] = gpa_to_gfn(GMEM_XENSTORE_GPA);
	d->param[HVM_PARAM_STORE_EVTCHN] = XEN_PORT_XENSTORE;
	d->param[HVM_PARAM_CONSOLE_PFN] = gpa_to_gfn(GMEM_CONSOLE_GPA);
	d->param[HVM_PARAM_CONSOLE_EVTCHN] = XEN_PORT_CONSOLE;
}

static void exchange_store(struct xen_domain *d, struct xs *store)
{
	SCOPED_LOCK(&d->lock);

	xs_free(d->store);
	d->store = store;
	xs_observe(store, d->store_changed, d->store_changed_arg);
}

static int new_store(struct xen_domain *d, struct err *err)
{
	struct xs *store;
	int r = xs_new(d->config.domid, &store, err);

	if (r < 0)
		return r;
	exchange_store(d, store);
	xen_backend_bind(d, XEN_PORT_XENSTORE, store_ring_event, d);
	return xen_control_build(d, err);
}

int xen_domain_new(struct machine *m, const struct xen_domain_config *config, const struct xen_domain_ops *ops,
		   struct xen_domain **ret_domain, struct err *err)
{
	_cleanup_(xen_domain_freep) struct xen_domain *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_errno(err, -ENOMEM, "Xen domain");
	init_locks(d);
	d->epoll_fd = d->stop_fd = d->retry_fd = d->halt_fd = d->tick_fd = -1;
	for (unsigned int i = 0; i < MACHINE_VCPUS_MAX; i++)
		d->vcpu[i].timer_fd = -1;
	d->machine = m;
	d->mem = machine_mem(m);
	d->config = *config;
	d->name = strdup(config->name);
	d->uuid = strdup(config->uuid);
	d->vcpus = config->vcpus;
	d->ops = *ops;
	d->transport.page_gpa = NOWHERE;
	if (!d->name || !d->uuid)
		return err_errno(err, -ENOMEM, "Xen domain");
	r = balloon_init(d, err);
	r = r ?: timer_start(d, err);
	if (r < 0)
		return r;
	evtchn_init(d);
	forget(d);
	r = new_store(d, err);
	if (r < 0)
		return r;
	*ret_domain = take_ptr(d);
	return 0;
}

struct xen_transport_state *xen_transport(struct xen_domain *d)
{
	return &d->transport;
}

bool xen_hypercall_page(struct xen_domain *d, uint64_t msr)
{
	SCOPED_LOCK(&d->lock);

	/* The low bits are the page's index; there is one page. */
	if (page_offset(msr) || !gmem_ram_hva(d->mem, msr, NIDRA_PAGE_SIZE))
		return false;
	d->transport.page_gpa = msr;
	return true;
}

int xen_domain_reset(struct xen_domain *d, struct err *err)
{
	int r = new_store(d, err);

	/* Linux announces this only once, when it boots; a guest that slept can sleep again. */
	r = r ?: xen_control_set_can_suspend(d, err);
	if (r < 0)
		return r;
	SCOPED_LOCK(&d->lock);
	forget(d);
	for (unsigned int i = 0; i < d->vcpus; i++)
		vcpu_set_pvclock(machine_vcpu(d->machine, i), 0);
	gnttab_reset(d);
	/* The guest skips to the end of the ring: half a message there would confuse it. */
	xs_ring_reset(gmem_hva(d->mem, GMEM_XENSTORE_GPA, NIDRA_PAGE_SIZE));
	return 0;
}

void xen_domain_cancelled(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);

	/* The guest's kernel answers for transactions that were open: they never end (xen-abi.md 5.2). */
	xs_transactions_stale(d->store);
}

void xen_domain_update_wallclock(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);

	shinfo_write_wallclock(d);
}

void xen_domain_wake(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);

	for (unsigned int i = 0; i < d->vcpus; i++) {
		vcpu_info_t *info = xen_vcpu_info(d, i);

		if (info && __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST))
			upcall_send(d, i);
		if (d->vcpu[i].deadline)
			timer_arm(d, i, d->vcpu[i].deadline);
	}
	if (watchdog_runs(d))
		timer_tick(d, true);
	store_ring_push(d);
}

void xen_domain_memory_loaded(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);

	balloon_drop_again(d);
}

void xen_domain_get_info(struct xen_domain *d, struct xen_domain_info *ret)
{
	*ret = (struct xen_domain_info){ .sleeps = xen_control_can_suspend(d) };
	SCOPED_LOCK(&d->lock);

	ret->system_time_ns = xen_now(d);
	ret->memory_bytes = gmem_ram_bytes(d->mem) - d->ballooned_pages * NIDRA_PAGE_SIZE;
	ret->vcpus_online = d->config.vcpus_online;
	ret->fifo = d->fifo;
	ret->callback_irq = (uint32_t)d->param[HVM_PARAM_CALLBACK_IRQ];
}
