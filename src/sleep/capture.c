/* SPDX-License-Identifier: Apache-2.0 */
/* A sleeping guest into an image: state records first, then memory, then the seal. */
#include <errno.h>
#include <string.h>

#include "base/pageset.h"
#include "device/console.h"
#include "kvm/machine.h"
#include "sleep/internal.h"
#include "sleep/regions.h"
#include "xen/domain.h"

/* What a lazy restore left in its image: all of it is needed now. */
int sleep_load_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct image_progress progress = { .step = sleep_progress_step, .arg = run };
	struct image_pager *pager = guest_pager(op->guest);

	return image_pager_left(pager) ? image_pager_finish(pager, &progress, err) : 0;
}

int sleep_image_open_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct sleep_base *base = sleeper_base(op->sleeper);
	struct image_options options = { .replace = op->args.replace,
					 .key = op->args.key,
					 .hide_metadata = op->args.hide_metadata,
					 .codec = op->args.codec,
					 .level = op->args.level };

	(void)run;
	if (sleep_check_own_disks(op, err) < 0 || sleep_leave_out_check(op, err) < 0)
		return err->code;
	op->child = op->args.incremental && !op->args.full && base->image;
	if (op->child) {
		options.parent = base->image;
		options.parent_id = &base->id;
	}
	return image_writer_new(op->args.image, &options, &op->writer, err);
}

void sleep_image_open_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	image_writer_free(op->writer); /* removes what was written, unless sealed */
	op->writer = NULL;
}

static int put_record(struct sleep_op *op, uint32_t type, uint32_t instance, const void *body, size_t len,
		      struct err *err)
{
	return image_writer_record(op->writer, type, instance, 0, body, len, err);
}

static int capture_metadata(struct sleep_op *op, struct err *err)
{
	_cleanup_free_ char *json = sleep_metadata(op);

	if (!json)
		return err_errno(err, -ENOMEM, "metadata");
	return put_record(op, IMAGE_REC_METADATA, 0, json, strlen(json), err);
}

static int capture_machine(struct sleep_op *op, struct err *err)
{
	struct machine *m = guest_machine(op->guest);
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	bytes_put_u32(&w, machine_vcpus(m));
	bytes_put_u32(&w, machine_tsc_khz(m));
	bytes_put_u64(&w, machine_clock_ns(m));
	return put_record(op, IMAGE_REC_MACHINE, 0, w.buf, w.len, err);
}

static int capture_vcpus(struct sleep_op *op, struct err *err)
{
	struct machine *m = guest_machine(op->guest);
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < machine_vcpus(m); i++) {
		_cleanup_bytes_ struct bytes_writer w = { 0 };

		r = vcpu_save(machine_vcpu(m, i), &w, err);
		r = r ?: put_record(op, IMAGE_REC_VCPU, i, w.buf, w.len, err);
	}
	return r;
}

/* Old images of guests without one have to stay what they are: there is no record then. */
static int capture_ioapic(struct sleep_op *op, struct err *err)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	if (!guest_save_ioapic(op->guest, &w))
		return 0;
	if (w.failed)
		return err_errno(err, -ENOMEM, "I/O APIC");
	return put_record(op, IMAGE_REC_IOAPIC, 0, w.buf, w.len, err);
}

static int capture_xen(struct sleep_op *op, struct err *err)
{
	struct xen_domain *d = guest_domain(op->guest);
	_cleanup_bytes_ struct bytes_writer xen = { 0 }, store = { 0 };
	int r = xen_domain_save(d, &xen, err);

	r = r ?: put_record(op, IMAGE_REC_XEN, 0, xen.buf, xen.len, err);
	r = r ?: xen_domain_save_store(d, &store, err);
	return r ?: put_record(op, IMAGE_REC_XENSTORE, 0, store.buf, store.len, err);
}

static int capture_shares(struct sleep_op *op, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < guest_config(op->guest)->shares.n; i++) {
		_cleanup_bytes_ struct bytes_writer w = { 0 };

		r = guest_save_share(op->guest, i, &w, err);
		r = r ?: put_record(op, IMAGE_REC_SHARE, (uint32_t)i, w.buf, w.len, err);
	}
	return r;
}

int sleep_capture_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	int r = pm_check(run, err);

	/* Output that the guest has written must not get lost with its ring. */
	console_drain(guest_console(op->guest));
	if (op->verb != SLEEP_FORK)
		sleep_leave_out_ask(op);
	r = r ?: capture_metadata(op, err);
	r = r ?: capture_machine(op, err);
	r = r ?: capture_vcpus(op, err);
	r = r ?: capture_ioapic(op, err);
	r = r ?: capture_shares(op, err);
	return r ?: capture_xen(op, err);
}

int sleep_progress_step(void *arg, uint64_t done, uint64_t total, struct err *err)
{
	struct pm_run *run = arg;

	pm_progress(run, done, total);
	return pm_check(run, err);
}

/*
 * What a guest touches on its way into sleep, it touches on its way out. So it comes first in the file: a lazy restore
 * reads that before it is asked for, and from one place.
 */
int sleep_watch_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;

	(void)run;
	(void)err;
	op->watched = gmem_watch(machine_mem(guest_machine(op->guest)));
	return 0;
}

/* So few pages that they are no progress. */
static int only_check(void *arg, uint64_t done, uint64_t total, struct err *err)
{
	(void)done;
	(void)total;
	return pm_check(arg, err);
}

/* Takes those pages out of @in_use, and writes them. */
static int write_watched(struct pm_run *run, struct sleep_op *op, struct pageset *in_use, struct err *err)
{
	const struct image_progress progress = { .step = only_check, .arg = run };
	const struct gmem *mem = machine_mem(guest_machine(op->guest));
	_cleanup_free_ struct pageset *watched = pageset_new(gmem_pages(mem));

	if (!watched || gmem_watched(mem, watched) < 0)
		return 0; /* it is a hint */
	pageset_and(watched, in_use);
	pageset_subtract(in_use, watched);
	return image_writer_pages(op->writer, watched, NULL, &progress, err);
}

int sleep_memory_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct image_progress progress = { .step = sleep_progress_step, .arg = run };
	struct image_region region[SLEEP_REGIONS_MAX];
	size_t n = sleep_regions(guest_machine(op->guest), region);

	_cleanup_free_ struct pageset *in_use = sleep_pages_in_use(guest_machine(op->guest), region, n);
	int r = in_use ? 0 : err_errno(err, -ENOMEM, "memory");

	r = r ?: image_writer_regions(op->writer, region, n, err);
	r = r ?: sleep_leave_out(op, err);
	if (r == 0 && op->watched)
		r = write_watched(run, op, in_use, err);
	return r ?: image_writer_pages(op->writer, in_use, NULL, &progress, err);
}

int sleep_seal_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	struct image_stats stats = { 0 };
	int r = pm_check(run, err);

	r = r ?: sleep_disks_name(op, err);
	r = r ?: image_writer_seal(op->writer, &stats, err);
	if (r < 0)
		return r;
	op->image_id = stats.id;
	op->stats.file_bytes = stats.file_bytes;
	op->stats.memory_bytes = stats.memory_bytes;
	op->stats.zero_bytes = stats.zero_bytes;
	image_writer_free(op->writer);
	op->writer = NULL;
	return 0;
}
