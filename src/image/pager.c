/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lazy reading. Memory is registered with userfaultfd where the image has something for it; a touch
 * of a page that is not there wakes the pager's thread, which loads the extent around it. Other
 * threads load the rest meanwhile: first what earlier restores of this image touched (working_set.h), then in the
 * file's order, which for a saved guest begins with what it touched when it fell asleep. Then everything is
 * unregistered.
 *
 * An extent is loaded once: whoever moves it from ABSENT to LOADING writes it to the memfd (a page
 * appears there whole, or not at all), then wakes those who wait for it. Nothing else is ever
 * written to a page that a guest may have changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "image/reader.h"
#include "image/working_set.h"

/* Extents closer than this are registered as one range: a range costs a VMA. What lies between is
 * filled with zeros on demand. */
#define GAP_MIN		(UINT64_C(2) << 20)
#define PREFETCHERS_MAX 4

enum { ABSENT, LOADING, LOADED };

struct image_pager {
	struct image_reader *reader; /* owned */
	struct image_region region[IMAGE_REGIONS_MAX];
	size_t regions;
	struct image_pager_events events;
	pthread_mutex_t events_lock; /* held while one is called */
	int uffd, stop_fd;
	_Atomic uint8_t *state;	     /* of each extent */
	_Atomic uint64_t left;	     /* bytes */
	char *folder;		     /* of working sets; NULL: none */
	struct working_set *known;   /* from earlier restores */
	size_t known_n;		     /* that were in it: the pager adds to them at its end */
	struct working_set *touched; /* in this one; the pager's */
	atomic_bool stop, failed;
	_Atomic uint64_t next; /* in the prefetchers' order */
	pthread_t demand, prefetcher[PREFETCHERS_MAX];
	size_t prefetchers;
	bool demanding;
	pthread_mutex_t lock;
	pthread_cond_t cond; /* an extent was loaded, or the pager failed */
	struct err err;	     /* why it failed */
};

/* ---- userfaultfd ---- */

/* The device asks for a file permission only, the call for a capability or a sysctl. */
static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM };
	_cleanup_close_ int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd = -1;

	if (dev >= 0)
		fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	return take_fd(fd);
}

bool image_pager_possible(void)
{
	_cleanup_close_ int fd = open_uffd();

	return fd >= 0;
}

/* The @i-th piece by rising gpa. */
static const struct image_piece *piece_at(const struct image_reader *r, size_t i)
{
	return &r->piece[r->by_gpa[i]];
}

static uint64_t piece_bytes(const struct image_piece *p)
{
	return p->pages * (uint64_t)IMAGE_ALIGN;
}

static void wake(struct image_pager *p, const uint8_t *hva, uint64_t bytes)
{
	struct uffdio_range range = { .start = (uintptr_t)hva, .len = bytes };

	ioctl(p->uffd, UFFDIO_WAKE, &range);
}

static int for_ranges(struct image_pager *p, int (*call)(struct image_pager *p, uint8_t *hva, uint64_t bytes))
{
	const struct image_reader *r = p->reader;
	size_t i = 0;

	while (i < r->pieces) {
		const struct image_piece *e = piece_at(r, i);
		const struct image_region *g = image_region_at(p->region, p->regions, e->gpa);
		uint64_t start = e->gpa, end = start + piece_bytes(e);
		int ret;

		for (i++; i < r->pieces; i++) {
			e = piece_at(r, i);
			if (e->gpa >= g->gpa + g->bytes || e->gpa >= end + GAP_MIN)
				break;
			end = e->gpa + piece_bytes(e);
		}
		ret = call(p, g->hva + (start - g->gpa), end - start);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int add_range(struct image_pager *p, uint8_t *hva, uint64_t bytes)
{
	struct uffdio_register reg = { .range = { .start = (uintptr_t)hva, .len = bytes },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	return ioctl(p->uffd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

/*
 * Wakes all who wait there, too. Linux does that before it takes the mapping's own lock, under which faults are handled
 * since 6.7: who came in between would wait for ever, so they are woken once more.
 */
static int remove_range(struct image_pager *p, uint8_t *hva, uint64_t bytes)
{
	struct uffdio_range range = { .start = (uintptr_t)hva, .len = bytes };

	ioctl(p->uffd, UFFDIO_UNREGISTER, &range);
	wake(p, hva, bytes);
	return 0;
}

/* ---- loading ---- */

static void scratch_freep(struct image_scratch **s)
{
	image_scratch_free(*s);
}

static int fail(struct image_pager *p, int r, const struct err *err)
{
	pthread_mutex_lock(&p->lock);
	if (!p->failed)
		p->err = *err;
	p->failed = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void wake_extent(struct image_pager *p, uint32_t extent)
{
	const struct image_reader *r = p->reader;

	for (uint32_t i = r->first_piece[extent]; i < r->first_piece[extent + 1]; i++) {
		const struct image_piece *e = &r->piece[i];
		const struct image_region *g = image_region_at(p->region, p->regions, e->gpa);

		wake(p, g->hva + (e->gpa - g->gpa), piece_bytes(e));
	}
}

/* @extent is ours. */
static int load(struct image_pager *p, uint32_t extent, struct image_scratch *scratch)
{
	struct err err = { 0 };
	int r = image_extent_load(p->reader, extent, p->region, p->regions, scratch, &err);

	if (r < 0)
		return fail(p, r, &err); /* it stays LOADING: nobody may have it */
	pthread_mutex_lock(&p->lock);
	p->state[extent] = LOADED;
	p->left -= image_extent_bytes(p->reader, extent);
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	wake_extent(p, extent);
	return 0;
}

static bool claim(struct image_pager *p, uint32_t i)
{
	uint8_t absent = ABSENT;

	return atomic_compare_exchange_strong(&p->state[i], &absent, LOADING);
}

/* ---- what is touched ---- */

/* Extent that has @gpa, or UINT32_MAX. */
static uint32_t extent_at(const struct image_reader *r, uint64_t gpa)
{
	size_t low = 0, high = r->pieces;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (piece_at(r, mid)->gpa + piece_bytes(piece_at(r, mid)) <= gpa)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->pieces && piece_at(r, low)->gpa <= gpa ? piece_at(r, low)->extent : UINT32_MAX;
}

/* A page that the image has not, or one that was given back since (ballooning). */
static void zero_page(struct image_pager *p, uint64_t address)
{
	struct uffdio_zeropage zero = { .range = { .start = address, .len = IMAGE_ALIGN } };

	if (ioctl(p->uffd, UFFDIO_ZEROPAGE, &zero) < 0) /* it came meanwhile */
		wake(p, (const uint8_t *)(uintptr_t)address, IMAGE_ALIGN);
}

static void note(struct image_pager *p, uint32_t extent)
{
	if (p->touched && p->touched->n < WORKING_SET_MAX)
		p->touched->extent[p->touched->n++] = extent;
}

/* What was known comes first: it was there before anybody could touch it. */
static void remember(struct image_pager *p)
{
	struct working_set *set = p->known;

	if (!p->touched || !p->touched->n)
		return;
	for (size_t i = 0; i < p->touched->n && set->n < WORKING_SET_MAX; i++)
		set->extent[set->n++] = p->touched->extent[i];
	working_set_write(p->folder, p->reader, set);
}

static int touched(struct image_pager *p, uint64_t address, struct image_scratch *scratch)
{
	uint64_t page = address & ~(uint64_t)(IMAGE_ALIGN - 1);
	uint32_t i = UINT32_MAX;

	for (size_t k = 0; k < p->regions; k++) {
		uint64_t at = page - (uintptr_t)p->region[k].hva;

		if (page >= (uintptr_t)p->region[k].hva && at < p->region[k].bytes)
			i = extent_at(p->reader, p->region[k].gpa + at);
	}
	if (i == UINT32_MAX || p->state[i] == LOADED)
		zero_page(p, page);
	else if (claim(p, i)) {
		note(p, i);
		return load(p, i, scratch);
	}
	return 0; /* who loads it will wake us all */
}

/* The guest is told to stop first: then nothing runs on what those who wait will find. */
static void give_up(struct image_pager *p)
{
	log_error("%s", p->err.msg);
	pthread_mutex_lock(&p->events_lock);
	if (p->events.failed)
		p->events.failed(p->events.arg, &p->err);
	pthread_mutex_unlock(&p->events_lock);
	for_ranges(p, remove_range);
}

static void serve(struct image_pager *p, struct image_scratch *scratch)
{
	struct pollfd fds[] = { { .fd = p->uffd, .events = POLLIN }, { .fd = p->stop_fd, .events = POLLIN } };
	struct uffd_msg msg;
	uint64_t rung;

	while (!p->failed && !p->stop && p->left) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (read(p->stop_fd, &rung, sizeof(rung)) > 0)
			continue;
		while (!p->failed && read(p->uffd, &msg, sizeof(msg)) == sizeof(msg))
			if (msg.event == UFFD_EVENT_PAGEFAULT)
				touched(p, msg.arg.pagefault.address, scratch);
	}
}

static void *demand_main(void *arg)
{
	struct image_pager *p = arg;
	_cleanup_(scratch_freep) struct image_scratch *scratch = image_scratch_new();
	struct err err = { 0 };

	pthread_setname_np(pthread_self(), "pager");
	if (scratch)
		serve(p, scratch);
	else
		fail(p, err_errno(&err, -ENOMEM, "pager"), &err);
	if (p->failed) {
		give_up(p);
		return NULL;
	}
	for_ranges(p, remove_range);
	if (!p->left)
		remember(p);
	pthread_mutex_lock(&p->events_lock);
	if (!p->left && p->events.loaded)
		p->events.loaded(p->events.arg);
	pthread_mutex_unlock(&p->events_lock);
	return NULL;
}

/* ---- what is not ---- */

static void ring(struct image_pager *p)
{
	uint64_t one = 1;

	if (write(p->stop_fd, &one, sizeof(one)) < 0)
		log_error("pager: %s", strerror(errno));
}

/* The @i-th extent to be loaded; some come twice. UINT32_MAX: that was all. */
static uint32_t in_order(const struct image_pager *p, uint64_t i)
{
	if (i < p->known_n)
		return p->known->extent[i];
	i -= p->known_n;
	return i < p->reader->extents ? (uint32_t)i : UINT32_MAX;
}

static void prefetch(struct image_pager *p, struct image_scratch *scratch)
{
	uint32_t e;

	while (!p->stop && !p->failed && (e = in_order(p, atomic_fetch_add(&p->next, 1))) != UINT32_MAX)
		if (claim(p, e) && load(p, e, scratch) < 0)
			return;
}

static void *prefetch_main(void *arg)
{
	struct image_pager *p = arg;
	_cleanup_(scratch_freep) struct image_scratch *scratch = image_scratch_new();

	pthread_setname_np(pthread_self(), "prefetch");
	if (scratch)
		prefetch(p, scratch);
	ring(p); /* all may be loaded, or nothing goes on */
	return NULL;
}

/* ---- for the others ---- */

uint64_t image_pager_left(const struct image_pager *p)
{
	return p ? p->left : 0;
}

static int await(struct image_pager *p, uint32_t i)
{
	SCOPED_LOCK(&p->lock);

	while (p->state[i] == LOADING && !p->failed)
		pthread_cond_wait(&p->cond, &p->lock);
	return p->failed ? -EIO : 0;
}

int image_pager_finish(struct image_pager *p, const struct image_progress *progress, struct err *err)
{
	const struct image_reader *r = p->reader;
	_cleanup_(scratch_freep) struct image_scratch *scratch = image_scratch_new();
	uint64_t total = p->left;
	int ret = scratch ? 0 : err_errno(err, -ENOMEM, "pager");

	for (uint32_t e = 0; e < r->extents && ret == 0; e++) {
		if (p->state[e] == LOADED)
			continue;
		if (progress && progress->step)
			ret = progress->step(progress->arg, total - MIN(p->left, total), total, err);
		if (ret < 0)
			return ret;
		ret = claim(p, e) ? load(p, e, scratch) : await(p, e);
	}
	if (ret < 0 && p->failed)
		*err = p->err;
	ring(p);
	return ret;
}

/* ---- life ---- */

static void stop_threads(struct image_pager *p)
{
	p->stop = true;
	if (p->demanding) {
		ring(p);
		pthread_join(p->demand, NULL);
	}
	while (p->prefetchers)
		pthread_join(p->prefetcher[--p->prefetchers], NULL);
}

/* One has to be; one CPU is left to the guest. */
static size_t prefetchers(void)
{
	long cpus = image_usable_cpus() - 1;

	return cpus < 1 ? 1 : MIN((size_t)cpus, (size_t)PREFETCHERS_MAX);
}

static int start_threads(struct image_pager *p, struct err *err)
{
	size_t want = prefetchers();
	int r = thread_start(&p->demand, demand_main, p);

	p->demanding = r == 0;
	while (r == 0 && p->prefetchers < want) {
		r = thread_start(&p->prefetcher[p->prefetchers], prefetch_main, p);
		p->prefetchers += r == 0;
	}
	if (p->prefetchers)
		return 0;
	stop_threads(p);
	return err_errno(err, r, "start the pager");
}

void image_pager_silence(struct image_pager *p)
{
	if (!p)
		return;
	SCOPED_LOCK(&p->events_lock);

	p->events = (struct image_pager_events){ 0 };
}

void image_pager_free(struct image_pager *p)
{
	if (!p)
		return;
	stop_threads(p);
	close_fdp(&p->uffd);
	close_fdp(&p->stop_fd);
	image_reader_free(p->reader);
	free((void *)p->state);
	free(p->folder);
	free(p->known);
	free(p->touched);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->events_lock);
	pthread_cond_destroy(&p->cond);
	free(p);
}

static struct image_pager *alloc_pager(struct image_reader *r, const struct image_region *region, size_t n,
				       const struct image_pager_events *events)
{
	struct image_pager *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->uffd = p->stop_fd = -1;
	p->regions = n;
	memcpy(p->region, region, n * sizeof(*region));
	if (events)
		p->events = *events;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->events_lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->state = calloc((size_t)r->extents + 1, sizeof(*p->state));
	p->left = r->bytes;
	return p;
}

/* Without memory for it, nothing is remembered. */
static void recall(struct image_pager *p, const struct image_reader *r, const char *folder)
{
	p->folder = folder ? strdup(folder) : NULL;
	p->known = p->folder ? working_set_read(folder, r) : NULL;
	p->known_n = p->known ? p->known->n : 0;
	p->touched = p->known ? calloc(1, sizeof(*p->touched)) : NULL;
}

int image_pager_new(struct image_reader *r, const struct image_region *region, size_t n, const char *folder,
		    const struct image_pager_events *events, struct image_pager **ret, struct err *err)
{
	_cleanup_(image_pager_freep) struct image_pager *p = NULL;
	int e = image_same_regions(r, region, n, err);

	if (e < 0)
		return e;
	p = alloc_pager(r, region, n, events);
	if (!p || !p->state)
		return err_errno(err, -ENOMEM, "pager");
	recall(p, r, folder);
	p->uffd = open_uffd();
	if (p->uffd < 0)
		return err_errno(err, -EOPNOTSUPP, "lazy restore: userfaultfd");
	p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->stop_fd < 0)
		return err_errno(err, -errno, "pager");
	p->reader = r;
	e = for_ranges(p, add_range);
	e = e < 0 ? err_errno(err, e, "register memory with userfaultfd") : start_threads(p, err);
	if (e < 0) {
		p->reader = NULL; /* still the caller's */
		return e;
	}
	*ret = take_ptr(p);
	return 0;
}
