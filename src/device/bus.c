/* SPDX-License-Identifier: Apache-2.0 */
#include "device/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <xen/xen.h>
#include <xen/io/xenbus.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "xen/backend.h"

#define PATH_BYTES    128
#define CLOSE_STEP_US 500
#define CLOSE_WAIT_NS (2 * NSEC_PER_SEC) /* for a disk that hangs, where somebody waits */

struct bus_device {
	struct bus *bus;
	const struct bus_class *class;
	void *arg;
	unsigned int id;
	char name[32];
	enum xenbus_state state; /* ours */
	bool connected;
	bool closing;  /* it is to be disconnected, and still has something to do */
	bool offered;  /* then it is offered anew */
	bool expected; /* its driver was there before the guest slept */
	struct log_limit log;
	struct bus_device *next;
};

struct bus {
	struct xen_domain *domain;
	struct bus_device *devices;
	pthread_mutex_t lock; /* held while the machine is drained, too */
	pthread_t thread;
	bool started, stop, drained;
	int event_fd;
};

/* ---- nodes ---- */

static void path_of(char buf[PATH_BYTES], const struct bus_device *dev, bool front, const char *key)
{
	unsigned int domid = xen_backend_domid(dev->bus->domain);

	if (front)
		snprintf(buf, PATH_BYTES, "device/%s/%u%s%s", dev->class->name, dev->id, *key ? "/" : "", key);
	else
		snprintf(buf, PATH_BYTES, "/local/domain/0/backend/%s/%u/%u%s%s", dev->class->name, domid, dev->id,
			 *key ? "/" : "", key);
}

static void put(struct bus_device *dev, bool front, const char *key, const char *value)
{
	char path[PATH_BYTES], perms[32];
	unsigned int domid = xen_backend_domid(dev->bus->domain);
	int r;

	/* Each side's folder is its own, and the other one may read it. */
	if (front)
		snprintf(perms, sizeof(perms), "n%u,r0", domid);
	else
		snprintf(perms, sizeof(perms), "n0,r%u", domid);
	path_of(path, dev, front, key);
	r = xen_backend_write(dev->bus->domain, path, perms, value);
	if (r < 0)
		log_error("%s: cannot write %s: %s", dev->name, path, strerror(-r));
}

static void _printf_(4, 0) vput(struct bus_device *dev, bool front, const char *key, const char *fmt, va_list ap)
{
	char value[1024];

	vsnprintf(value, sizeof(value), fmt, ap);
	put(dev, front, key, value);
}

void bus_put(struct bus_device *dev, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vput(dev, false, key, fmt, ap);
	va_end(ap);
}

void bus_put_front(struct bus_device *dev, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vput(dev, true, key, fmt, ap);
	va_end(ap);
}

static char *get(struct bus_device *dev, bool front, const char *key)
{
	char path[PATH_BYTES];

	path_of(path, dev, front, key);
	return xen_backend_read(dev->bus->domain, path);
}

char *bus_front(struct bus_device *dev, const char *key)
{
	return get(dev, true, key);
}

static int number(const char *text, uint32_t max, uint32_t *ret)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n > max)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

int bus_front_number(struct bus_device *dev, const char *key, uint32_t max, uint32_t *ret)
{
	_cleanup_free_ char *text = bus_front(dev, key);

	return text ? number(text, max, ret) : -ENOENT;
}

struct xen_domain *bus_domain(struct bus_device *dev)
{
	return dev->bus->domain;
}

static enum xenbus_state read_state(struct bus_device *dev, bool front)
{
	_cleanup_free_ char *text = get(dev, front, "state");
	uint32_t n = XenbusStateUnknown;

	if (text)
		number(text, XenbusStateReconfigured, &n);
	return (enum xenbus_state)n;
}

static void set_state(struct bus_device *dev, enum xenbus_state state)
{
	trace(bus, "device=%s state=%d", dev->name, state);
	dev->state = state;
	bus_put(dev, "state", "%d", state);
}

void bus_locked(struct bus_device *dev, void (*fn)(void *arg), void *arg)
{
	SCOPED_LOCK(&dev->bus->lock);

	fn(arg);
}

void bus_wake(struct bus_device *dev)
{
	eventfd_write(dev->bus->event_fd, 1);
}

void bus_poke(struct bus_device *dev)
{
	set_state(dev, dev->state);
}

/* ---- the handshake ---- */

static void offer(struct bus_device *dev)
{
	char path[PATH_BYTES];

	path_of(path, dev, true, "");
	xen_backend_rm(dev->bus->domain, path);
	put(dev, false, "", "");
	put(dev, true, "", "");
	bus_put(dev, "frontend-id", "%u", xen_backend_domid(dev->bus->domain));
	bus_put(dev, "frontend", "/local/domain/%u/%s", xen_backend_domid(dev->bus->domain), path);
	bus_put(dev, "online", "1");
	dev->class->offer(dev->arg, dev);
	path_of(path, dev, false, "");
	bus_put_front(dev, "backend-id", "0");
	bus_put_front(dev, "backend", "%s", path);
	set_state(dev, XenbusStateInitWait);
	/* Last: the frontend's driver looks when this appears. */
	bus_put_front(dev, "state", "%d", XenbusStateInitialising);
}

static bool disconnect(struct bus_device *dev)
{
	dev->closing = dev->connected && !dev->class->disconnect(dev->arg);
	dev->connected = dev->closing;
	return !dev->closing;
}

static bool disconnect_until(struct bus_device *dev, uint64_t deadline_ns)
{
	while (!disconnect(dev)) {
		if (clock_monotonic_ns() >= deadline_ns)
			return false;
		usleep(CLOSE_STEP_US);
	}
	return true;
}

/* What began earlier comes first. False: not yet. */
static bool finish_closing(struct bus_device *dev)
{
	if (!dev->closing)
		return true;
	if (!disconnect(dev))
		return false;
	if (dev->offered)
		offer(dev);
	else
		set_state(dev, XenbusStateClosing);
	dev->offered = false;
	return true;
}

static int connect(struct bus_device *dev, struct err *err)
{
	char path[PATH_BYTES];
	struct err why = { 0 };
	int r;

	path_of(path, dev, false, "error");
	xen_backend_rm(dev->bus->domain, path); /* of an earlier try */
	r = dev->class->connect(dev->arg, dev, &why);
	if (r < 0) {
		bus_put(dev, "error", "%s", why.msg);
		return err_set(err, r, "%s: %s", dev->name, why.msg);
	}
	dev->connected = true;
	return 0;
}

static void give_up(struct bus_device *dev, const struct err *err)
{
	if (log_allowed(&dev->log))
		log_warn("the guest's frontend makes no sense: %s", err->msg);
	set_state(dev, XenbusStateClosing);
}

static void try_connect(struct bus_device *dev)
{
	struct err err = { 0 };

	if (connect(dev, &err) < 0) {
		give_up(dev, &err);
		return;
	}
	set_state(dev, XenbusStateConnected);
	dev->class->go(dev->arg);
}

/* One step of what the frontend's state asks of ours. */
static void advance(struct bus_device *dev)
{
	enum xenbus_state front = read_state(dev, true);

	if (!finish_closing(dev))
		return;
	switch (front) {
	case XenbusStateInitialising:
		if (dev->state == XenbusStateClosed)
			set_state(dev, XenbusStateInitWait); /* its driver is back */
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		if (dev->state == XenbusStateInitWait)
			try_connect(dev);
		break;
	case XenbusStateClosing:
		if (disconnect(dev) && dev->state != XenbusStateClosing)
			set_state(dev, XenbusStateClosing);
		break;
	case XenbusStateClosed:
		if (disconnect(dev) && dev->state != XenbusStateClosed)
			set_state(dev, XenbusStateClosed);
		break;
	default:
		break;
	}
}

static void *bus_main(void *arg)
{
	struct bus *b = arg;
	eventfd_t count;

	pthread_setname_np(pthread_self(), "xenbus");
	while (eventfd_read(b->event_fd, &count) == 0) {
		SCOPED_LOCK(&b->lock);

		if (b->stop)
			break;
		for (struct bus_device *dev = b->devices; dev && !b->drained; dev = dev->next)
			advance(dev);
	}
	return NULL;
}

/* Under the domain's lock: only wakes the thread. Its own writes wake it once more, for nothing. */
static void on_store_change(void *arg, const char *path)
{
	struct bus *b = arg;

	if (strstr(path, "/device/"))
		eventfd_write(b->event_fd, 1);
}

/* ---- life ---- */

int bus_new(struct xen_domain *d, struct bus **ret, struct err *err)
{
	_cleanup_(bus_freep) struct bus *b = calloc(1, sizeof(*b));

	if (!b)
		return err_errno(err, -ENOMEM, "devices");
	pthread_mutex_init(&b->lock, NULL);
	b->domain = d;
	b->event_fd = eventfd(0, EFD_CLOEXEC);
	if (b->event_fd < 0)
		return err_errno(err, -errno, "devices");
	*ret = take_ptr(b);
	return 0;
}

bool bus_free(struct bus *b)
{
	uint64_t deadline_ns = clock_monotonic_ns() + CLOSE_WAIT_NS;
	bool ended = true;

	if (!b)
		return true;
	xen_backend_watch(b->domain, NULL, NULL);
	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_mutex_unlock(&b->lock);
	eventfd_write(b->event_fd, 1);
	if (b->started)
		pthread_join(b->thread, NULL);
	while (b->devices) {
		struct bus_device *dev = b->devices;

		b->devices = dev->next;
		disconnect_until(dev, deadline_ns);
		ended &= dev->class->free(dev->arg);
		free(dev);
	}
	close_fdp(&b->event_fd);
	pthread_mutex_destroy(&b->lock);
	free(b);
	return ended;
}

static int start_thread(struct bus *b, struct err *err)
{
	int r;

	if (b->started)
		return 0;
	r = thread_start(&b->thread, bus_main, b);
	if (r < 0)
		return err_errno(err, r, "thread for devices");
	b->started = true;
	xen_backend_watch(b->domain, on_store_change, b);
	return 0;
}

int bus_add(struct bus *b, const struct bus_class *class, void *arg, unsigned int id, const char *name, struct err *err)
{
	struct bus_device *dev = calloc(1, sizeof(*dev)), **at = &b->devices;
	int r = dev ? start_thread(b, err) : err_errno(err, -ENOMEM, "device");

	if (r < 0) {
		class->free(arg);
		free(dev);
		return r;
	}
	*dev = (struct bus_device){ .bus = b, .class = class, .arg = arg, .id = id };
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	SCOPED_LOCK(&b->lock);
	while (*at)
		at = &(*at)->next;
	*at = dev;
	return 0;
}

void bus_expect(struct bus *b)
{
	SCOPED_LOCK(&b->lock);

	for (struct bus_device *dev = b->devices; dev; dev = dev->next)
		dev->expected = true;
}

/* Its own word counts: a disk's driver says so after it has heard that we are, and has all its requests going again. */
static bool is_back(struct bus_device *dev)
{
	return dev->connected ? read_state(dev, true) == XenbusStateConnected : dev->state != XenbusStateInitWait;
}

bool bus_settled(struct bus *b, bool give_up)
{
	bool settled = true;
	SCOPED_LOCK(&b->lock);

	for (struct bus_device *dev = b->devices; dev; dev = dev->next) {
		dev->expected &= !give_up && !is_back(dev);
		settled &= !dev->expected;
	}
	return settled;
}

void bus_offer(struct bus *b)
{
	uint64_t deadline_ns = clock_monotonic_ns() + CLOSE_WAIT_NS;
	SCOPED_LOCK(&b->lock);

	for (struct bus_device *dev = b->devices; dev; dev = dev->next) {
		if (disconnect_until(dev, deadline_ns)) {
			offer(dev);
			continue;
		}
		log_warn("%s does not finish what it was asked to do; the guest finds it when it has", dev->name);
		dev->offered = true;
	}
	b->drained = false;
}

int bus_adopt(struct bus *b, struct err *err)
{
	int r = 0;
	SCOPED_LOCK(&b->lock);

	for (struct bus_device *dev = b->devices; r == 0 && dev; dev = dev->next) {
		enum xenbus_state front = read_state(dev, true);
		struct err why = { 0 };

		dev->state = read_state(dev, false);
		/* One that closes may have taken its rings back; bus_go() goes on with that. */
		if (dev->state == XenbusStateConnected && front != XenbusStateClosing && front != XenbusStateClosed)
			r = connect(dev, &why);
		/* What the guest did to its device is no reason to refuse the whole image. */
		if (r == -EINVAL || r == -EOPNOTSUPP) {
			give_up(dev, &why);
			r = 0;
		} else if (r < 0 && err) {
			*err = why;
		}
	}
	return r;
}

int bus_drain(struct bus *b, uint64_t deadline_ns, struct err *err)
{
	int r = 0;

	SCOPED_LOCK(&b->lock);

	b->drained = true;
	for (struct bus_device *dev = b->devices; r == 0 && dev; dev = dev->next)
		if (dev->connected)
			r = dev->class->drain(dev->arg, deadline_ns, err);
	return r;
}

void bus_go(struct bus *b)
{
	SCOPED_LOCK(&b->lock);

	b->drained = false;
	for (struct bus_device *dev = b->devices; dev; dev = dev->next)
		if (dev->connected && !dev->closing)
			dev->class->go(dev->arg);
	eventfd_write(b->event_fd, 1);
}
