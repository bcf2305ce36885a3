/* SPDX-License-Identifier: Apache-2.0 */
#include "device/disk_stall.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/util.h"

#define FIRST_PAUSE_NS (250 * NSEC_PER_MSEC)
#define LAST_PAUSE_NS  (5 * NSEC_PER_SEC)

static const char *const names[] = { "auto", "report", "stall" };

int disk_on_error_parse(const char *name, enum disk_on_error *ret)
{
	int i = str_index(names, ARRAY_SIZE(names), name);

	if (i < 0)
		return i;
	*ret = (enum disk_on_error)i;
	return 0;
}

const char *disk_on_error_name(enum disk_on_error e)
{
	return names[e];
}

void disk_stall_init(struct disk_stall *s)
{
	*s = (struct disk_stall){ .last = &s->first };
}

/* What the guest did wrong itself does not get better, and what was given up is not to come back. */
static bool is_worth_it(const struct disk_stall *s, int error)
{
	switch (error) {
	case 0:
	case -EINVAL:
	case -EOPNOTSUPP:
	case -ECANCELED:
		return false;
	case -ENOSPC:
	case -EDQUOT:
	case -ENOTCONN:
		return s->on_error != DISK_ON_ERROR_REPORT;
	default:
		return s->on_error == DISK_ON_ERROR_STALL;
	}
}

static void keep(struct disk_stall *s, struct disk_io *io, int error, uint64_t now_ns)
{
	if (!s->since_ns) {
		s->since_ns = now_ns;
		s->pause_ns = FIRST_PAUSE_NS;
	} else if (!s->first) { /* the first of a turn that failed, too */
		s->pause_ns = MIN(s->pause_ns * 2, LAST_PAUSE_NS);
	}
	if (!s->first)
		s->next_ns = now_ns + s->pause_ns;
	s->error = error;
	io->again = true;
	io->next = NULL;
	*s->last = io;
	s->last = &io->next;
}

bool disk_stall_takes(struct disk_stall *s, struct disk_io *io, int result, uint64_t now_ns)
{
	bool keeps = is_worth_it(s, result);

	s->trying -= io->again;
	io->again = false;
	if (keeps)
		keep(s, io, result, now_ns);
	else if (!s->first && !s->trying)
		s->since_ns = 0;
	return keeps;
}

static struct disk_io *take_all(struct disk_stall *s)
{
	struct disk_io *io = s->first;

	s->first = NULL;
	s->last = &s->first;
	return io;
}

void disk_stall_retry(struct disk_stall *s, struct disk *d, uint64_t now_ns)
{
	bool back = s->comebacks != d->comebacks;

	if (!s->first || (now_ns < s->next_ns && !back))
		return;
	s->comebacks = d->comebacks;
	/* Those that fail at once are kept again while this goes on. */
	for (struct disk_io *io = take_all(s), *next; io; io = next) {
		next = io->next;
		s->trying++;
		d->ops->submit(d, io);
	}
}

void disk_stall_cancel(struct disk_stall *s)
{
	for (struct disk_io *io = take_all(s), *next; io; io = next) {
		next = io->next;
		s->trying++;
		io->done(io, -ECANCELED);
	}
}
