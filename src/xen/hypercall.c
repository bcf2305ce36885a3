/* SPDX-License-Identifier: Apache-2.0 */
/* From a hypercall's number to its handler; the small ones live here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdint.h>
#include <xen/features.h>
#include <xen/version.h>

#include "base/log.h"
#include "xen/internal.h"

#define XEN_MAJOR     4
#define XEN_MINOR     19
#define CONSOLE_CHUNK 256
#define CONSOLE_MAX   4096

static const struct {
	const char *name;
	int64_t (*handle)(struct hcall *h);
	bool unlocked; /* takes the lock itself */
} table[] = {
	[__HYPERVISOR_set_timer_op] = { "set_timer_op", hcall_set_timer },
	[__HYPERVISOR_memory_op] = { "memory_op", hcall_memory },
	[__HYPERVISOR_xen_version] = { "xen_version", hcall_version },
	[__HYPERVISOR_console_io] = { "console_io", hcall_console_io },
	[__HYPERVISOR_grant_table_op] = { "grant_table_op", hcall_grant },
	[__HYPERVISOR_vcpu_op] = { "vcpu_op", hcall_vcpu },
	[__HYPERVISOR_sched_op] = { "sched_op", hcall_sched, .unlocked = true },
	[__HYPERVISOR_event_channel_op] = { "event_channel_op", hcall_evtchn },
	[__HYPERVISOR_hvm_op] = { "hvm_op", hcall_hvm },
};

int64_t xen_hypercall(struct xen_domain *d, struct vcpu *v, const struct hypercall *call)
{
	struct hcall h = { .d = d, .v = v, .vcpu = vcpu_id(v) };
	int64_t r;

	memcpy(h.arg, call->arg, sizeof(h.arg));
	/* 32-bit callers have other structures; the guests we know are 64-bit by then. */
	if (!call->long_mode || call->nr >= ARRAY_SIZE(table) || !table[call->nr].handle) {
		trace(hcall, "vcpu=%u nr=%llu refused", h.vcpu, (unsigned long long)call->nr);
		return -ENOSYS;
	}
	if (!table[call->nr].unlocked)
		pthread_mutex_lock(&d->lock);
	r = table[call->nr].handle(&h);
	if (!table[call->nr].unlocked)
		pthread_mutex_unlock(&d->lock);
	trace(hcall, "vcpu=%u op=%s.%llu r=%lld", h.vcpu, table[call->nr].name, (unsigned long long)call->arg[0],
	      (long long)r);
	return r;
}

/* Output before there is a console ring. Reading gives nothing. */
int64_t hcall_console_io(struct hcall *h)
{
	uint64_t done = 0, len = MIN(h->arg[1], (uint64_t)CONSOLE_MAX);
	char buf[CONSOLE_CHUNK];

	if (h->arg[0] == 1) /* CONSOLEIO_read */
		return 0;
	if (h->arg[0] != 0)
		return -ENOSYS;
	while (done < len) {
		size_t n = MIN(sizeof(buf), (size_t)(len - done));

		if (xen_copy_from(h, buf, h->arg[2] + done, n))
			return -EFAULT;
		h->d->ops.console_io(h->d->ops.arg, buf, n);
		done += n;
	}
	return 0;
}

static int64_t get_features(struct hcall *h)
{
	/* No hvm_pirqs (no physical interrupts), no dom0: see docs/xen-abi.md. */
	static const uint32_t features = 1u << XENFEAT_writable_page_tables | 1u << XENFEAT_writable_descriptor_tables |
					 1u << XENFEAT_auto_translated_physmap | 1u << XENFEAT_supervisor_mode_kernel |
					 1u << XENFEAT_hvm_callback_vector | 1u << XENFEAT_hvm_safe_pvclock;
	xen_feature_info_t op;

	if (GET_ARG(h, h->arg[1], &op))
		return -EFAULT;
	op.submap = op.submap_idx == 0 ? features : 0;
	return PUT_ARG(h, h->arg[1], &op);
}

static int64_t put_string(struct hcall *h, const char *s, size_t size)
{
	char buf[XEN_CAPABILITIES_INFO_LEN] = { 0 };

	snprintf(buf, MIN(size, sizeof(buf)), "%s", s);
	return xen_copy_to(h, h->arg[1], buf, MIN(size, sizeof(buf)));
}

static int64_t put_uuid(struct hcall *h)
{
	uint8_t raw[16] = { 0 };
	unsigned int n = 0;

	for (const char *p = h->d->uuid; *p && n < 32; p++) {
		const char *hex = "0123456789abcdef", *q = strchr(hex, *p | 0x20);

		if (*p == '-' || !q)
			continue;
		raw[n / 2] = (uint8_t)(raw[n / 2] << 4 | (q - hex));
		n++;
	}
	return xen_copy_to(h, h->arg[1], raw, sizeof(raw));
}

static int64_t put_platform(struct hcall *h)
{
	xen_platform_parameters_t op = { 0 };

	return PUT_ARG(h, h->arg[1], &op);
}

int64_t hcall_version(struct hcall *h)
{
	switch (h->arg[0]) {
	case XENVER_version:
		return XEN_MAJOR << 16 | XEN_MINOR;
	case XENVER_extraversion:
		return put_string(h, ".0-nidra", XEN_EXTRAVERSION_LEN);
	case XENVER_capabilities:
		return put_string(h, "hvm-3.0-x86_64", XEN_CAPABILITIES_INFO_LEN);
	case XENVER_changeset:
		return put_string(h, "nidra", XEN_CHANGESET_INFO_LEN);
	case XENVER_platform_parameters:
		return put_platform(h);
	case XENVER_get_features:
		return get_features(h);
	case XENVER_pagesize:
		return 4096;
	case XENVER_guest_handle:
		return put_uuid(h);
	default:
		return -ENOSYS;
	}
}

/* Source: Xen public/arch-x86/cpuid.h. */
unsigned int xen_cpuid(const void *arg, unsigned int id, struct machine_cpuid_leaf *leaf, unsigned int max)
{
	const uint16_t *domid = arg;
	const struct machine_cpuid_leaf all[] = {
		{ 0x40000000, 0, 0x40000004, 0x566e6558, 0x65584d4d, 0x4d4d566e },
		{ 0x40000001, 0, XEN_MAJOR << 16 | XEN_MINOR, 0, 0, 0 },
		{ 0x40000002, 0, 1, MACHINE_HYPERCALL_MSR, 0, 0 },
		/* TSC mode 0: Xen's clock stays the guest's clock, also across a restore elsewhere. */
		{ 0x40000003, 0, 0, 0, 0, 0 },
		{ 0x40000003, 1, 0, 0, 0, 0 },
		{ 0x40000003, 2, 0, 0, 0, 0 },
		/* vCPU id, domid and per-vCPU upcall vectors are there. */
		{ 0x40000004, 0, 0x08 | 0x10 | 0x40, id, *domid, 0 },
	};
	unsigned int n = MIN(max, (unsigned int)ARRAY_SIZE(all));

	memcpy(leaf, all, n * sizeof(all[0]));
	return n;
}
