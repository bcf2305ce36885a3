/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that an image does not have: ranges of the operator's, and of the guest's, which writes them to
 * data/leave-out in its xenstore directory. The guest's are those of the moment, when it stands still;
 * it may have taken one back a little before, and used the memory for something else.
 *
 * The guest harms only itself: what it names is its own RAM, or the whole list is not there.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/addr.h"
#include "base/log.h"
#include "base/pageset.h"
#include "kvm/machine.h"
#include "sleep/internal.h"
#include "sleep/regions.h"
#include "xen/control.h"

#define SPACE " \t\n"

/* A number from 0 to @max at *@text, which goes behind it. */
static bool take_number(const char **text, uint64_t max, uint64_t *ret)
{
	char *end;

	*text += strspn(*text, SPACE);
	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*ret = strtoull(*text, &end, 0);
	*text = end;
	return !errno && *ret <= max;
}

int sleep_ranges_parse(const char *text, struct sleep_range *ret, size_t max)
{
	const uint64_t pages_max = UINT64_MAX / NIDRA_PAGE_SIZE;
	size_t n = 0;

	for (text += strspn(text, SPACE); *text; text += strspn(text, SPACE)) {
		uint64_t gfn, count;

		if (n == max || !take_number(&text, pages_max, &gfn) || !take_number(&text, pages_max, &count))
			return -EINVAL;
		ret[n++] = (struct sleep_range){ gfn * NIDRA_PAGE_SIZE, count * NIDRA_PAGE_SIZE };
	}
	return (int)n;
}

/* The region of RAM that has all of @r, or NULL. */
static const struct image_region *ram_of(const struct image_region *region, size_t n, const struct sleep_range *r)
{
	for (size_t i = 0; i < n; i++) {
		const struct image_region *g = &region[i];

		if (g->kind == GMEM_RAM && r->gpa >= g->gpa && r->gpa - g->gpa < g->bytes &&
		    r->bytes <= g->bytes - (r->gpa - g->gpa) && !(r->gpa % NIDRA_PAGE_SIZE) &&
		    !(r->bytes % NIDRA_PAGE_SIZE))
			return g;
	}
	return NULL;
}

int sleep_leave_out_check(const struct sleep_op *op, struct err *err)
{
	struct image_region region[SLEEP_REGIONS_MAX];
	size_t n = sleep_regions(guest_machine(op->guest), region);

	for (size_t i = 0; i < op->args.leave_outs; i++) {
		const struct sleep_range *r = &op->args.leave_out[i];

		if (!ram_of(region, n, r))
			return err_set(err, -EINVAL,
				       "leave-out 0x%" PRIx64 "+0x%" PRIx64 ": these are not whole pages of RAM",
				       r->gpa, r->bytes);
	}
	return 0;
}

void sleep_leave_out_ask(struct sleep_op *op)
{
	_cleanup_free_ char *text = xen_control_leave_out(guest_domain(op->guest));
	struct image_region region[SLEEP_REGIONS_MAX];
	size_t regions = sleep_regions(guest_machine(op->guest), region);
	int n = text ? sleep_ranges_parse(text, op->guests_range, SLEEP_RANGES_MAX) : 0;

	for (int i = 0; i < n; i++)
		if (!ram_of(region, regions, &op->guests_range[i]))
			n = -EINVAL;
	if (n < 0)
		trace(sleep_leave_out, "refused=1");
	op->guests_ranges = (size_t)MAX(n, 0);
}

static int for_ranges(const struct sleep_op *op,
		      int (*call)(const struct sleep_op *op, const struct sleep_range *r, void *arg, struct err *err),
		      void *arg, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < op->args.leave_outs; i++)
		r = call(op, &op->args.leave_out[i], arg, err);
	for (size_t i = 0; r == 0 && i < op->guests_ranges; i++)
		r = call(op, &op->guests_range[i], arg, err);
	return r;
}

static int tell_writer(const struct sleep_op *op, const struct sleep_range *r, void *arg, struct err *err)
{
	(void)arg;
	return image_writer_leave_out(op->writer, r->gpa, r->bytes, err);
}

int sleep_leave_out(struct sleep_op *op, struct err *err)
{
	return for_ranges(op, tell_writer, NULL, err);
}

static int owe(const struct sleep_op *op, const struct sleep_range *r, void *since, struct err *err)
{
	struct image_region region[SLEEP_REGIONS_MAX];
	const struct image_region *g = ram_of(region, sleep_regions(guest_machine(op->guest), region), r);

	(void)err;
	if (g)
		pageset_add(since, (g->fd_offset + (r->gpa - g->gpa)) / NIDRA_PAGE_SIZE, r->bytes / NIDRA_PAGE_SIZE);
	return 0;
}

void sleep_leave_out_owe(const struct sleep_op *op, struct pageset *since)
{
	for_ranges(op, owe, since, NULL);
}
