/* SPDX-License-Identifier: Apache-2.0 */
#include "xen/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/addr.h"
#include "xen/internal.h"

/* Paths below /local/domain/<domid>. */
static void full_path(struct xen_domain *d, char *buf, size_t len, const char *path)
{
	snprintf(buf, len, "/local/domain/%u%s%s", d->config.domid, *path ? "/" : "", path);
}

static int put(struct xen_domain *d, const char *path, const char *perms, const char *fmt, ...) _printf_(4, 5);

static int put(struct xen_domain *d, const char *path, const char *perms, const char *fmt, ...)
{
	char full[256], value[256];
	va_list ap;
	int r;

	if (*path == '/')
		snprintf(full, sizeof(full), "%s", path);
	else
		full_path(d, full, sizeof(full), path);
	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	r = xs_write(d->store, full, "%s", value);
	return r ? r : xs_set_perms(d->store, full, perms);
}

static int put_cpus(struct xen_domain *d, const char *ro)
{
	int r = put(d, "cpu", ro, "%s", "");

	for (unsigned int i = 0; i < d->vcpus && !r; i++) {
		char path[64];

		snprintf(path, sizeof(path), "cpu/%u", i);
		r = put(d, path, ro, "%s", "");
		snprintf(path, sizeof(path), "cpu/%u/availability", i);
		r = r ?: put(d, path, ro, "%s", i < d->config.vcpus_online ? "online" : "offline");
	}
	return r;
}

/* What the guest may only read. */
static int put_facts(struct xen_domain *d, const char *ro)
{
	const struct xen_domain_config *c = &d->config;
	char vm[64];
	int r;

	snprintf(vm, sizeof(vm), "/vm/%s", d->uuid);
	r = put(d, vm, ro, "%s", "");
	r = r ?: put(d, "", ro, "%s", "");
	r = r ?: put(d, "vm", ro, "%s", vm);
	r = r ?: put(d, "name", ro, "%s", d->name);
	r = r ?: put(d, "domid", ro, "%u", c->domid);
	r = r ?: put(d, "memory", ro, "%s", "");
	r = r ?: put(d, "memory/static-max", ro, "%" PRIu64, c->memory_max_bytes / KIB);
	r = r ?: put(d, "memory/target", ro, "%" PRIu64, c->memory_bytes / KIB);
	r = r ?: put(d, "memory/videoram", ro, "%d", -1);
	r = r ?: put(d, "device", ro, "%s", "");
	r = r ?: put(d, "control", ro, "%s", "");
	r = r ?: put(d, "control/platform-feature-multiprocessor-suspend", ro, "%d", 1);
	r = r ?: put(d, "control/platform-feature-xs_reset_watches", ro, "%d", 1);
	r = r ?: put(d, "store", ro, "%s", "");
	r = r ?: put(d, "store/port", ro, "%d", XEN_PORT_XENSTORE);
	r = r ?: put(d, "store/ring-ref", ro, "%" PRIu64, gpa_to_gfn(GMEM_XENSTORE_GPA));
	r = r ?: put(d, "console", ro, "%s", "");
	r = r ?: put(d, "console/backend-id", ro, "%d", 0);
	r = r ?: put(d, "console/type", ro, "%s", "nidra");
	r = r ?: put(d, "console/port", ro, "%d", XEN_PORT_CONSOLE);
	return r ?: put(d, "console/ring-ref", ro, "%" PRIu64, gpa_to_gfn(GMEM_CONSOLE_GPA));
}

/*
 * For a guest that was told that it woke: it may be one of several that were one. Random bytes of its own (the
 * kernel's generator was in the image), and what it might call itself. Xen has no words for this; vm-data is
 * where its toolstacks put what is theirs.
 */
static int put_identity(struct xen_domain *d, const char *ro)
{
	uint8_t seed[32];
	char hex[2 * sizeof(seed) + 1];
	int r = getrandom(seed, sizeof(seed), 0) == sizeof(seed) ? 0 : EIO;

	for (size_t i = 0; i < sizeof(seed); i++)
		snprintf(hex + 2 * i, 3, "%02x", seed[i]);
	r = r ?: put(d, "vm-data", ro, "%s", "");
	r = r ?: put(d, "vm-data/seed", ro, "%s", hex);
	r = r ?: put(d, "vm-data/hostname", ro, "%s", d->name);
	explicit_bzero(hex, sizeof(hex));
	return r;
}

int xen_control_build(struct xen_domain *d, struct err *err)
{
	static const char *const guests[] = {
		"control/shutdown",
		"control/feature-poweroff",
		"control/feature-reboot",
		"control/feature-suspend",
		"control/sysrq",
		"data",
		"drivers",
		"feature",
		"attr",
		"error",
		"device/suspend",
		"device/suspend/event-channel",
	};
	char ro[32], rw[32], uuid_name[96];
	int r;
	SCOPED_LOCK(&d->lock);

	snprintf(ro, sizeof(ro), "n0,r%u", d->config.domid);
	snprintf(rw, sizeof(rw), "n%u", d->config.domid);
	r = put_facts(d, ro);
	r = r ?: put_cpus(d, ro);
	r = r ?: put_identity(d, ro);
	snprintf(uuid_name, sizeof(uuid_name), "/vm/%s/uuid", d->uuid);
	r = r ?: put(d, uuid_name, ro, "%s", d->uuid);
	snprintf(uuid_name, sizeof(uuid_name), "/vm/%s/name", d->uuid);
	r = r ?: put(d, uuid_name, ro, "%s", d->name);
	for (size_t i = 0; i < ARRAY_SIZE(guests) && !r; i++)
		r = put(d, guests[i], rw, "%s", "");
	return r ? err_set(err, -ENOMEM, "cannot fill the guest's xenstore") : 0;
}

static char *read_node(struct xen_domain *d, const char *path)
{
	char full[256];

	full_path(d, full, sizeof(full), path);
	return xs_read(d->store, full, NULL);
}

static int write_node(struct xen_domain *d, const char *path, const char *value)
{
	char full[256];
	int r;

	full_path(d, full, sizeof(full), path);
	r = xs_write(d->store, full, "%s", value);
	store_ring_push(d); /* the watch event is in the connection's output now */
	return r;
}

int xen_control_ask(struct xen_domain *d, const char *what, struct err *err)
{
	SCOPED_LOCK(&d->lock);
	_cleanup_free_ char *now = read_node(d, "control/shutdown");

	if (now && *now)
		return err_set(err, -EBUSY, "the guest has not yet taken the request \"%s\"", now);
	if (write_node(d, "control/shutdown", what))
		return err_set(err, -EIO, "cannot write control/shutdown");
	return 0;
}

enum xen_ask_state xen_control_state(struct xen_domain *d, const char *what)
{
	SCOPED_LOCK(&d->lock);
	_cleanup_free_ char *now = read_node(d, "control/shutdown");

	/* A node that is gone counts as taken, as in Xen's toolstack. */
	return now && !strcmp(now, what) ? XEN_ASK_PENDING : XEN_ASK_TAKEN;
}

/*
 * Everything that touches the store holds the domain's lock, so a plain read and write would be as
 * atomic; the transaction says what is meant and stays right if that ever changes.
 */
bool xen_control_withdraw(struct xen_domain *d, const char *what)
{
	SCOPED_LOCK(&d->lock);
	_cleanup_free_ char *now = read_node(d, "control/shutdown");

	if (!now || strcmp(now, what))
		return false;
	return write_node(d, "control/shutdown", "") == 0;
}

bool xen_control_can_suspend(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);
	_cleanup_free_ char *value = read_node(d, "control/feature-suspend");

	return value && !strcmp(value, "1");
}

char *xen_control_leave_out(struct xen_domain *d)
{
	SCOPED_LOCK(&d->lock);

	return read_node(d, "data/leave-out");
}

int xen_control_set_can_suspend(struct xen_domain *d, struct err *err)
{
	SCOPED_LOCK(&d->lock);

	return write_node(d, "control/feature-suspend", "1")
		       ? err_set(err, -EIO, "cannot write control/feature-suspend")
		       : 0;
}

int xen_control_set_memory(struct xen_domain *d, uint64_t bytes, struct err *err)
{
	char value[32];
	SCOPED_LOCK(&d->lock);

	snprintf(value, sizeof(value), "%" PRIu64, bytes / KIB);
	if (write_node(d, "memory/target", value))
		return err_set(err, -EIO, "cannot write memory/target");
	d->config.memory_bytes = bytes;
	return 0;
}

int xen_control_set_vcpus(struct xen_domain *d, unsigned int n, struct err *err)
{
	SCOPED_LOCK(&d->lock);

	for (unsigned int i = 0; i < d->vcpus; i++) {
		char path[64];

		snprintf(path, sizeof(path), "cpu/%u/availability", i);
		if (write_node(d, path, i < n ? "online" : "offline"))
			return err_set(err, -EIO, "cannot write %s", path);
	}
	d->config.vcpus_online = n;
	return 0;
}
