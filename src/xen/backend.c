/* SPDX-License-Identifier: Apache-2.0 */
/* The domain as a device backend sees it. */
#include "xen/backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xen/internal.h"

int xen_backend_bind(struct xen_domain *d, unsigned int port, xen_backend_fn send, void *arg)
{
	SCOPED_LOCK(&d->lock);
	struct port *p = evtchn_get(d, port);

	if (!p || !(p->kind == PORT_BACKEND || (p->kind == PORT_UNBOUND && p->remote_domid == 0)))
		return -EINVAL;
	if (p->kind == PORT_BACKEND && p->send && (p->send != send || p->arg != arg))
		return -EINVAL;
	p->kind = PORT_BACKEND;
	p->send = send;
	p->arg = arg;
	return 0;
}

void xen_backend_unbind(struct xen_domain *d, unsigned int port)
{
	SCOPED_LOCK(&d->lock);
	struct port *p = evtchn_get(d, port);

	if (!p || p->kind != PORT_BACKEND)
		return;
	p->send = NULL;
	if (port > XEN_PORT_CONSOLE)
		p->kind = PORT_UNBOUND;
}

void xen_backend_notify(struct xen_domain *d, unsigned int port)
{
	SCOPED_LOCK(&d->lock);
	struct port *p = evtchn_get(d, port);

	if (p && p->kind == PORT_BACKEND)
		evtchn_raise(d, port);
}

void xen_backend_locked(struct xen_domain *d, void (*fn)(void *arg), void *arg)
{
	SCOPED_LOCK(&d->lock);

	fn(arg);
}

void xen_backend_wrote(struct xen_domain *d, const struct xen_backend_piece *piece, size_t n)
{
	SCOPED_LOCK(&d->lock);

	for (size_t i = 0; i < n; i++)
		gmem_touch(d->mem, piece[i].hva, piece[i].len);
}

/* ---- xenstore ---- */

static bool full_path(const struct xen_domain *d, char *buf, size_t size, const char *path)
{
	int n = *path == '/' ? snprintf(buf, size, "%s", path)
			     : snprintf(buf, size, "/local/domain/%u/%s", d->config.domid, path);

	return n > 0 && (size_t)n < size;
}

char *xen_backend_read(struct xen_domain *d, const char *path)
{
	char full[256];
	SCOPED_LOCK(&d->lock);

	return full_path(d, full, sizeof(full), path) ? xs_read(d->store, full, NULL) : NULL;
}

int xen_backend_write(struct xen_domain *d, const char *path, const char *perms, const char *value)
{
	char full[256];
	int r;
	SCOPED_LOCK(&d->lock);

	if (!full_path(d, full, sizeof(full), path))
		return -ENAMETOOLONG;
	r = xs_write(d->store, full, "%s", value);
	if (r == 0 && perms)
		r = xs_set_perms(d->store, full, perms);
	store_ring_push(d);
	return -r;
}

int xen_backend_rm(struct xen_domain *d, const char *path)
{
	char full[256];
	int r;
	SCOPED_LOCK(&d->lock);

	if (!full_path(d, full, sizeof(full), path))
		return -ENAMETOOLONG;
	r = xs_rm(d->store, full);
	store_ring_push(d);
	return -r;
}

uint16_t xen_backend_domid(const struct xen_domain *d)
{
	return d->config.domid;
}

void xen_backend_watch(struct xen_domain *d, void (*fn)(void *arg, const char *path), void *arg)
{
	SCOPED_LOCK(&d->lock);

	d->store_changed = fn;
	d->store_changed_arg = arg;
	xs_observe(d->store, fn, arg);
}
