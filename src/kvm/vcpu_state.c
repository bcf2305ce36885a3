/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All state of a vCPU as bytes: items {u32 kind, u32 length, body}, each at most once. Bodies are
 * structs of Linux' KVM API (x86, little endian), which are frozen. docs/image-format.md lists them.
 *
 * Only parked vCPUs: see machine.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "kvm/internal.h"

enum item {
	ITEM_CPUID = 1, /* kvm_cpuid_entry2[] */
	ITEM_SREGS,	/* kvm_sregs */
	ITEM_REGS,	/* kvm_regs */
	ITEM_XSAVE,	/* standard-format XSAVE area, at least 4096 bytes */
	ITEM_XCRS,	/* kvm_xcrs */
	ITEM_MSRS,	/* {u32 index, u32 zero, u64 value}[] */
	ITEM_LAPIC,	/* kvm_lapic_state */
	ITEM_EVENTS,	/* kvm_vcpu_events */
	ITEM_MP_STATE,	/* kvm_mp_state */
	ITEM_DEBUGREGS, /* kvm_debugregs */
	ITEM_TSC_KHZ,	/* u32 */
	ITEM_MAX
};

#define MSRS_MAX  1024
#define XSAVE_MAX (64 * 1024)
#define MSR_TSC	  0x10u

struct body {
	const void *p;
	size_t len;
};

int vcpu_set_rax(struct vcpu *v, uint64_t rax, struct err *err)
{
	struct kvm_regs regs;

	if (ioctl(v->fd, KVM_GET_REGS, &regs) < 0)
		return err_errno(err, -errno, "read registers of vCPU %u", v->id);
	regs.rax = rax;
	if (ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return err_errno(err, -errno, "set registers of vCPU %u", v->id);
	return 0;
}

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.selector = selector, .limit = 0xffffffff, .type = type, .present = 1, .db = 1, .s = 1, .g = 1
	};
}

static int set_msr(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return ioctl(v->fd, KVM_SET_MSRS, &m) == 1 ? 0 : -EINVAL;
}

int vcpu_set_pvh_entry(struct vcpu *v, uint32_t entry, uint32_t start_info, struct err *err)
{
	struct kvm_regs regs = { .rip = entry, .rbx = start_info, .rflags = 2 };
	struct kvm_mp_state mp = { .mp_state = v->id ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs s;

	/* Xen's toolstack gives every vCPU write-back memory by default (xen-abi.md 1.2). */
	set_msr(v, 0x2ff, 0x806);
	if (ioctl(v->fd, KVM_SET_MP_STATE, &mp) < 0)
		return err_errno(err, -errno, "set the run state of vCPU %u", v->id);
	if (v->id)
		return 0;
	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return err_errno(err, -errno, "read segments of vCPU 0");
	s.cs = flat(0x8, 0xb);
	s.ds = s.es = s.ss = s.fs = s.gs = flat(0x10, 0x3);
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	s.cr0 = 0x11; /* PE | ET */
	s.cr4 = 0;
	s.efer = 0;
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0 || ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return err_errno(err, -errno, "set the entry state of vCPU 0");
	return 0;
}

/* ---- save ---- */

static void put_item(struct bytes_writer *w, enum item kind, const void *body, size_t len)
{
	bytes_put_u32(w, kind);
	bytes_put_blob(w, body, len);
}

#define SAVE(kind, type, request, what)                                                                                \
	do {                                                                                                           \
		type x_ = { 0 };                                                                                       \
		if (ioctl(v->fd, request, &x_) < 0)                                                                    \
			return err_errno(err, -errno, "read %s of vCPU %u", what, v->id);                              \
		put_item(w, kind, &x_, sizeof(x_));                                                                    \
	} while (0)

static struct kvm_msr_list *msr_list(struct vcpu *v, struct err *err)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSRS_MAX * sizeof(uint32_t));

	if (!list) {
		err_errno(err, -ENOMEM, "MSR list");
		return NULL;
	}
	list->nmsrs = MSRS_MAX;
	if (ioctl(v->machine->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		err_errno(err, -errno, "ask KVM for its MSR list");
		free(list);
		return NULL;
	}
	return list;
}

/* One by one where KVM refuses: some hosts list MSRs that a guest without the feature cannot have. */
static int save_msrs(struct vcpu *v, struct bytes_writer *w, struct err *err)
{
	_cleanup_free_ struct kvm_msr_list *list = msr_list(v, err);
	_cleanup_free_ struct kvm_msrs *m = NULL;
	_cleanup_bytes_ struct bytes_writer body = { 0 };
	unsigned int done = 0;

	if (!list)
		return -EIO;
	m = calloc(1, sizeof(*m) + list->nmsrs * sizeof(m->entries[0]));
	if (!m)
		return err_errno(err, -ENOMEM, "MSRs");
	while (done < list->nmsrs) {
		int n;

		m->nmsrs = list->nmsrs - done;
		for (unsigned int i = 0; i < m->nmsrs; i++)
			m->entries[i].index = list->indices[done + i];
		n = ioctl(v->fd, KVM_GET_MSRS, m);
		if (n < 0)
			return err_errno(err, -errno, "read MSRs of vCPU %u", v->id);
		for (int i = 0; i < n; i++) {
			bytes_put_u32(&body, m->entries[i].index);
			bytes_put_u32(&body, 0);
			bytes_put_u64(&body, m->entries[i].data);
		}
		done += (unsigned int)n + 1; /* the one behind the last good one was refused */
	}
	put_item(w, ITEM_MSRS, body.buf, body.len);
	return body.failed ? err_errno(err, -ENOMEM, "MSRs") : 0;
}

static size_t xsave_size(struct vcpu *v)
{
	int n = ioctl(v->machine->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return n > (int)sizeof(struct kvm_xsave) ? (size_t)n : sizeof(struct kvm_xsave);
}

static int save_xsave(struct vcpu *v, struct bytes_writer *w, struct err *err)
{
	size_t len = xsave_size(v);
	_cleanup_free_ void *area = calloc(1, len);

	if (!area)
		return err_errno(err, -ENOMEM, "XSAVE area");
	if (ioctl(v->fd, len > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, area) < 0)
		return err_errno(err, -errno, "read the FPU of vCPU %u", v->id);
	put_item(w, ITEM_XSAVE, area, len);
	return 0;
}

int vcpu_save(struct vcpu *v, struct bytes_writer *w, struct err *err)
{
	uint32_t khz = v->machine->tsc_khz;
	int r;

	put_item(w, ITEM_CPUID, v->cpuid->entries, v->cpuid->nent * sizeof(v->cpuid->entries[0]));
	/* MP state first: reading it makes KVM accept a pending INIT or SIPI. */
	SAVE(ITEM_MP_STATE, struct kvm_mp_state, KVM_GET_MP_STATE, "run state");
	SAVE(ITEM_SREGS, struct kvm_sregs, KVM_GET_SREGS, "segments");
	SAVE(ITEM_REGS, struct kvm_regs, KVM_GET_REGS, "registers");
	SAVE(ITEM_XCRS, struct kvm_xcrs, KVM_GET_XCRS, "XCR0");
	SAVE(ITEM_LAPIC, struct kvm_lapic_state, KVM_GET_LAPIC, "local APIC");
	SAVE(ITEM_EVENTS, struct kvm_vcpu_events, KVM_GET_VCPU_EVENTS, "pending events");
	SAVE(ITEM_DEBUGREGS, struct kvm_debugregs, KVM_GET_DEBUGREGS, "debug registers");
	r = save_xsave(v, w, err);
	if (r < 0)
		return r;
	r = save_msrs(v, w, err);
	if (r < 0)
		return r;
	put_item(w, ITEM_TSC_KHZ, &khz, sizeof(khz));
	return w->failed ? err_errno(err, -ENOMEM, "state of vCPU %u", v->id) : 0;
}

/* ---- load ---- */

static int parse(struct bytes_reader *r, struct body item[ITEM_MAX], struct err *err)
{
	while (r->left && !r->failed) {
		uint32_t kind = bytes_get_u32(r);
		struct body b;

		b.p = bytes_get_blob(r, 1024 * 1024, &b.len);
		if (r->failed)
			break;
		if (!kind || kind >= ITEM_MAX || item[kind].p)
			return err_set(err, -EBADMSG, "vCPU state has an unknown or double item %u", kind);
		item[kind] = b;
	}
	if (r->failed)
		return err_set(err, -EBADMSG, "vCPU state is cut off");
	for (int i = 1; i < ITEM_MAX; i++)
		if (!item[i].p)
			return err_set(err, -EBADMSG, "vCPU state lacks item %d", i);
	return 0;
}

static int check_sizes(const struct body item[ITEM_MAX], struct err *err)
{
	static const size_t exact[ITEM_MAX] = {
		[ITEM_SREGS] = sizeof(struct kvm_sregs),	 [ITEM_REGS] = sizeof(struct kvm_regs),
		[ITEM_XCRS] = sizeof(struct kvm_xcrs),		 [ITEM_LAPIC] = sizeof(struct kvm_lapic_state),
		[ITEM_EVENTS] = sizeof(struct kvm_vcpu_events),	 [ITEM_MP_STATE] = sizeof(struct kvm_mp_state),
		[ITEM_DEBUGREGS] = sizeof(struct kvm_debugregs), [ITEM_TSC_KHZ] = sizeof(uint32_t),
	};

	for (int i = 1; i < ITEM_MAX; i++)
		if (exact[i] && item[i].len != exact[i])
			return err_set(err, -EBADMSG, "vCPU state item %d has %zu bytes, not %zu", i, item[i].len,
				       exact[i]);
	if (item[ITEM_CPUID].len % sizeof(struct kvm_cpuid_entry2) || item[ITEM_MSRS].len % 16 ||
	    item[ITEM_MSRS].len / 16 > MSRS_MAX || item[ITEM_CPUID].len / sizeof(struct kvm_cpuid_entry2) > 256 ||
	    item[ITEM_XSAVE].len < sizeof(struct kvm_xsave) || item[ITEM_XSAVE].len > XSAVE_MAX)
		return err_set(err, -EBADMSG, "vCPU state has an item of an impossible size");
	return 0;
}

static int load_cpuid(struct vcpu *v, const struct body *b, struct err *err)
{
	size_t n = b->len / sizeof(struct kvm_cpuid_entry2);
	_cleanup_free_ struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + b->len);
	char lacks[400];

	if (!c)
		return err_errno(err, -ENOMEM, "CPUID table");
	c->nent = (uint32_t)n;
	memcpy(c->entries, b->p, b->len);
	if (cpuid_lacks(v->cpuid, c->entries, n, lacks, sizeof(lacks)))
		return err_set(err, -EOPNOTSUPP, "this host's CPU lacks what the guest uses: %s", lacks);
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return err_errno(err, -errno, "set CPUID of vCPU %u", v->id);
	free(v->cpuid);
	v->cpuid = take_ptr(c);
	return 0;
}

static int load_msrs(struct vcpu *v, const struct body *b)
{
	struct bytes_reader r = bytes_reader(b->p, b->len);

	while (r.left) {
		uint32_t index = bytes_get_u32(&r);
		uint64_t value = (bytes_get_u32(&r), bytes_get_u64(&r));

		/* Refused ones are of features that the guest does not see; zero is the reset value. */
		if (set_msr(v, index, value) < 0 && value)
			log_debug("vCPU %u: KVM refuses MSR 0x%x = 0x%llx", v->id, index, (unsigned long long)value);
	}
	return 0;
}

static int load_xsave(struct vcpu *v, const struct body *b, struct err *err)
{
	size_t len = MAX(xsave_size(v), b->len);
	_cleanup_free_ void *area = calloc(1, len);

	if (!area)
		return err_errno(err, -ENOMEM, "XSAVE area");
	memcpy(area, b->p, b->len);
	if (ioctl(v->fd, KVM_SET_XSAVE, area) < 0)
		return err_errno(err, -errno, "set the FPU of vCPU %u", v->id);
	return 0;
}

#define LOAD(kind, request, what)                                                                                      \
	do {                                                                                                           \
		if (ioctl(v->fd, request, item[kind].p) < 0)                                                           \
			return err_errno(err, -errno, "set %s of vCPU %u", what, v->id);                               \
	} while (0)

bool vcpu_lacks(struct vcpu *v, struct bytes_reader *reader, char *buf, size_t size)
{
	struct body item[ITEM_MAX] = { 0 };
	struct err err;

	if (parse(reader, item, &err) < 0 || check_sizes(item, &err) < 0) {
		snprintf(buf, size, "%s", err.msg);
		return true;
	}
	return cpuid_lacks(v->cpuid, item[ITEM_CPUID].p, item[ITEM_CPUID].len / sizeof(struct kvm_cpuid_entry2), buf,
			   size);
}

int vcpu_load(struct vcpu *v, struct bytes_reader *reader, struct err *err)
{
	struct body item[ITEM_MAX] = { 0 };
	int r = parse(reader, item, err);

	if (r < 0)
		return r;
	r = check_sizes(item, err);
	if (r < 0)
		return r;
	r = load_cpuid(v, &item[ITEM_CPUID], err);
	if (r < 0)
		return r;
	ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)*(const uint32_t *)item[ITEM_TSC_KHZ].p);
	LOAD(ITEM_SREGS, KVM_SET_SREGS, "segments");
	LOAD(ITEM_REGS, KVM_SET_REGS, "registers");
	r = load_xsave(v, &item[ITEM_XSAVE], err);
	if (r < 0)
		return r;
	if (ioctl(v->machine->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0)
		LOAD(ITEM_XCRS, KVM_SET_XCRS, "XCR0");
	load_msrs(v, &item[ITEM_MSRS]);
	LOAD(ITEM_LAPIC, KVM_SET_LAPIC, "local APIC");
	LOAD(ITEM_EVENTS, KVM_SET_VCPU_EVENTS, "pending events");
	LOAD(ITEM_MP_STATE, KVM_SET_MP_STATE, "run state");
	LOAD(ITEM_DEBUGREGS, KVM_SET_DEBUGREGS, "debug registers");
	return 0;
}
