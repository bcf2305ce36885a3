/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore: from an image to a guest that goes on.
 *
 * Told (the default): its suspend hypercall returns 0. Xen's state is that of a new domain, and the
 * guest registers everything anew. Transparent: it returns 1, as if nothing but a checkpoint had
 * happened, and nidra brings all of Xen's state back. The image holds enough for both, unless it was
 * made without the guest's knowledge: then there is no hypercall that could return 0.
 *
 * Memory is not waited for: it comes from the image as it is touched, and the rest in the background
 * (image/pager.c). --eager reads it all first; so does a host that does not allow userfaultfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/addr.h"
#include "base/log.h"
#include "device/console.h"
#include "kvm/machine.h"
#include "sleep/internal.h"
#include "sleep/regions.h"
#include "xen/domain.h"

#define PARK_WAIT_NS UINT64_C(30000000000)

static int record(struct sleep_op *op, uint32_t type, uint32_t instance, struct bytes_reader *ret, struct err *err)
{
	const void *body;
	size_t len;
	int r = image_reader_record(op->reader, type, instance, &body, &len);

	if (r < 0)
		return err_set(err, -EBADMSG, "%s lacks record %u.%u", op->args.image, type, instance);
	*ret = bytes_reader(body, len);
	return 0;
}

static void image_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	if (!op->reader_lent)
		image_reader_free(op->reader);
	op->reader = NULL;
}

/* A parent is missing, or it is no image. What else is wrong shows only while this one can be read; which it is
 * not where there has to be a key. */
static int open_alone(struct sleep_op *op, struct err *err)
{
	struct image_stats stats;
	int r = image_reader_look(op->args.image, &op->reader, err);

	if (r < 0)
		return r;
	image_reader_stats(op->reader, &stats);
	if (!op->args.key && !stats.encrypted)
		return 0;
	image_reader_free(take_ptr(op->reader));
	*err = op->trouble;
	return op->trouble.code;
}

static int open_reader(struct sleep_op *op, struct err *err)
{
	int fd;

	if (!op->args.fork)
		return image_reader_open_key(op->args.image, op->args.key, &op->reader, &op->trouble) < 0
			       ? open_alone(op, err)
			       : 0;
	fd = fcntl(op->args.fork->state_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_errno(err, -errno, "state of the fork");
	return image_reader_open_fd(fd, op->args.image, &op->reader, err);
}

static int replace(char **s, const char *by)
{
	char *copy = by ? strdup(by) : NULL;

	if (!by)
		return 0;
	if (!copy)
		return -ENOMEM;
	free(*s);
	*s = copy;
	return 0;
}

static bool is_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* As many as there were: the guest has a device for each. */
static int take_nics(struct sleep_op *op, struct guest_nics *want, bool knows, struct err *err)
{
	struct guest_nics *nics = &op->config.nics, old;

	if (!want->n)
		return 0;
	if (want->n != nics->n)
		return err_set(err, -EINVAL, "%s: its machine has %zu networks, not %zu", op->args.image, nics->n,
			       want->n);
	for (size_t i = 0; i < want->n && !knows; i++)
		if (!is_text(want->nic[i].mac, nics->nic[i].mac))
			return err_set(err, -EINVAL, "%s: a guest that is not told of its wake keeps its MACs",
				       op->args.image);
	old = *nics;
	*nics = *want;
	*want = old; /* the caller frees it */
	return 0;
}

/* A new identity, as far as one was asked for. Who is not told of his wake cannot take another. */
static int take_identity(struct sleep_op *op, struct guest_config *want, struct err *err)
{
	bool knows = !op->args.transparent && !op->not_asked;
	int r = take_nics(op, &want->nics, knows, err);

	if (r < 0)
		return r;
	if ((want->uuid || want->domid) && !knows)
		return err_set(err, -EINVAL, "%s: a guest that is not told of its wake keeps its uuid and domid",
			       op->args.image);
	if (replace(&op->config.name, want->name) < 0 || replace(&op->config.uuid, want->uuid
											   ?: op->args.fork ? "new"
													    : NULL) < 0)
		return err_errno(err, -ENOMEM, "identity");
	op->config.domid = want->domid ?: op->config.domid;
	return guest_config_check(&op->config, err);
}

/* Header, digests of all records, metadata: what can be refused is refused before anything is built. */
static int image_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	_cleanup_(guest_config_fini) struct guest_config want = op->config;
	struct bytes_reader meta;
	int r;

	op->config = (struct guest_config){ 0 };
	op->other_disks = want.disks;
	want.disks = (struct guest_disks){ 0 };
	op->other_shares = want.shares;
	want.shares = (struct guest_shares){ 0 };
	r = open_reader(op, err);
	r = r ?: record(op, IMAGE_REC_METADATA, 0, &meta, err);
	r = r ?: sleep_metadata_config((const char *)meta.p, meta.left, &op->config, op, err);
	r = r ?: take_identity(op, &want, err);
	if (r < 0)
		image_undo(run, op);
	return r;
}

static int build_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	const int *base_fd = op->args.fork ? &op->args.fork->memory_fd : NULL;
	int r = guest_new(&op->config, sleeper_guest_observer(op->sleeper), base_fd, &op->guest, err);

	(void)run;
	if (r == 0)
		guest_set_wakes(op->guest, op->wakes + 1, !op->not_asked);
	return r;
}

static void build_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	guest_free(op->guest);
	op->guest = NULL;
}

/* All that stands in the way is told at once, before anything of the guest is there. */
static int check_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct machine *m = guest_machine(op->guest);
	bool parents = op->trouble.code < 0;
	struct bytes_reader r;
	char lacks[400];
	int ret = record(op, IMAGE_REC_VCPU, 0, &r, err);

	(void)run;
	if (ret < 0)
		return ret;
	if (!machine_wait_parked(m, PARK_WAIT_NS))
		return err_set(err, -ETIMEDOUT, "the vCPU threads do not come up");
	if (vcpu_lacks(machine_vcpu(m, 0), &r, lacks, sizeof(lacks)))
		return err_set(err, -EOPNOTSUPP, "%s%sthis host's CPU lacks what the guest uses: %s",
			       parents ? op->trouble.msg : "", parents ? "; and " : "", lacks);
	if (parents)
		*err = op->trouble;
	return op->trouble.code ?: sleep_check_disks(op, err);
}

/* The guest's memory comes from the image while it runs. False: this host cannot, or failed to. */
static bool memory_lazily(struct sleep_op *op, const struct image_region *region, size_t n)
{
	struct image_stats stats;
	struct err err = { 0 };

	if (op->args.eager || !image_pager_possible())
		return false;
	image_reader_stats(op->reader, &stats);
	if (guest_load_lazily(op->guest, op->reader, region, n, op->args.working_sets, &err) < 0) {
		log_warn("%s; all of it is read at once", err.msg);
		return false;
	}
	op->reader_lent = true;
	op->stats.file_bytes = stats.file_bytes;
	op->stats.zero_bytes = stats.zero_bytes;
	return true;
}

static int memory_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct image_progress progress = { .step = sleep_progress_step, .arg = run };
	struct image_region region[SLEEP_REGIONS_MAX];
	size_t n = sleep_regions(guest_machine(op->guest), region);
	struct image_stats stats = { 0 };
	int r;

	if (op->args.fork || memory_lazily(op, region, n))
		return 0;
	r = image_reader_memory(op->reader, region, n, &progress, &stats, err);

	op->stats.file_bytes = stats.file_bytes;
	op->stats.memory_bytes = stats.memory_bytes;
	op->stats.zero_bytes = stats.zero_bytes;
	return r;
}

static int load_machine(struct sleep_op *op, struct err *err)
{
	struct machine *m = guest_machine(op->guest);
	struct bytes_reader r;
	uint32_t vcpus;
	uint64_t clock;
	int ret = record(op, IMAGE_REC_MACHINE, 0, &r, err);

	if (ret < 0)
		return ret;
	vcpus = bytes_get_u32(&r);
	bytes_get_u32(&r); /* TSC frequency: each vCPU's state has it, too */
	clock = bytes_get_u64(&r);
	if (bytes_done(&r) || vcpus != machine_vcpus(m))
		return err_set(err, -EBADMSG, "%s: its machine record makes no sense", op->args.image);
	for (unsigned int i = 0; i < vcpus; i++) {
		ret = record(op, IMAGE_REC_VCPU, i, &r, err);
		ret = ret ?: vcpu_load(machine_vcpu(m, i), &r, err);
		if (ret < 0)
			return err_prefix(err, "vCPU %u", i);
	}
	machine_set_clock(m, clock);
	return 0;
}

/* Absent: an image of a nidra whose guests had none, and whose ACPI tables (in its memory) name none. */
static int load_ioapic(struct sleep_op *op, struct err *err)
{
	struct bytes_reader r;
	const void *body;
	size_t len;

	if (image_reader_record(op->reader, IMAGE_REC_IOAPIC, 0, &body, &len) < 0)
		return 0;
	r = bytes_reader(body, len);
	return guest_load_ioapic(op->guest, &r, err) < 0 ? err_prefix(err, "%s", op->args.image) : 0;
}

static int load_shares(struct sleep_op *op, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < op->config.shares.n; i++) {
		struct bytes_reader r;

		ret = record(op, IMAGE_REC_SHARE, (uint32_t)i, &r, err);
		ret = ret ?: guest_load_share(op->guest, i, r.p, r.left, err);
	}
	return ret;
}

static int state_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct bytes_reader r;
	int ret = pm_check(run, err);

	ret = ret ?: load_machine(op, err);
	ret = ret ?: load_ioapic(op, err);
	ret = ret ?: load_shares(op, err);
	ret = ret ?: record(op, IMAGE_REC_XEN, 0, &r, err);
	ret = ret ?: xen_domain_load(guest_domain(op->guest), &r, err);
	return ret ?: guest_adopt(op->guest, err);
}

/* The one register that decides, and what each way needs. */
static int wake_up(struct sleep_op *op, struct err *err)
{
	struct xen_domain *d = guest_domain(op->guest);
	struct vcpu *boot_cpu = machine_vcpu(guest_machine(op->guest), 0);
	struct bytes_reader r;
	int ret;

	console_drain(guest_console(op->guest));
	/* Who was not asked waits for no answer: it goes on in the middle of whatever it did. */
	ret = op->not_asked ? 0 : vcpu_set_rax(boot_cpu, op->args.transparent, err);
	if (ret < 0)
		return ret;
	if (!op->args.transparent && !op->not_asked)
		return xen_domain_reset(d, err)
			       ?: guest_connect_devices(op->guest, true, err)
			       ?: guest_new_generation(op->guest, err);
	ret = record(op, IMAGE_REC_XENSTORE, 0, &r, err);
	ret = ret ?: xen_domain_load_store(d, &r, err);
	if (ret == 0 && !op->not_asked)
		xen_domain_cancelled(d);
	return ret ?: guest_connect_devices(op->guest, false, err);
}

static int connect_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r = wake_up(op, err);

	(void)run;
	if (r == 0 && op->args.memory_mib)
		r = guest_set_memory(op->guest, op->args.memory_mib, err);
	return r;
}

static int start_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	image_undo(run, op);
	sleeper_set_guest(op->sleeper, op->guest);
	return op->args.paused ? guest_pause(op->guest, err) : guest_run(op->guest, err);
}

static const struct pm_phase restore_phases[] = {
	{ "image", image_enter, image_undo },
	{ "disks", sleep_disks_prepare_enter, sleep_disks_undo },
	{ "shares", sleep_shares_enter, NULL },
	{ "build", build_enter, build_undo },
	{ "check", check_enter, NULL },
	{ "memory", memory_enter, NULL },
	{ "state", state_enter, NULL },
	{ "connect", connect_enter, NULL },
	{ "start", start_enter, NULL, .no_return = true },
};

const struct pm_table sleep_restore_table = { "restore", restore_phases, ARRAY_SIZE(restore_phases) };
