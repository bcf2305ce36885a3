/* SPDX-License-Identifier: Apache-2.0 */
#include "device/console.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <xen/xen.h>
#include <xen/io/console.h>

#include "base/addr.h"
#include "kvm/gmem.h"
#include "xen/backend.h"
#include "xen/domain.h"

#define LOG_BYTES   ((size_t)1 << 20)
#define INPUT_BYTES ((size_t)1 << 14)

struct console {
	struct xen_domain *domain;
	struct xencons_interface *ring; /* guest memory */
	int fd;

	pthread_mutex_t lock;
	char *log;		 /* circular */
	uint64_t log_end;	 /* stream position behind the newest byte */
	char input[INPUT_BYTES]; /* typed, not yet in the ring */
	size_t input_len;
};

void console_free(struct console *c)
{
	if (!c)
		return;
	close_fdp(&c->fd);
	free(c->log);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int console_new(struct console **ret, struct err *err)
{
	_cleanup_(console_freep) struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return err_errno(err, -ENOMEM, "console");
	pthread_mutex_init(&c->lock, NULL);
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->log = malloc(LOG_BYTES);
	if (c->fd < 0 || !c->log)
		return err_errno(err, -ENOMEM, "console");
	*ret = take_ptr(c);
	return 0;
}

void console_put(struct console *c, const void *buf, size_t len)
{
	const char *p = buf;
	SCOPED_LOCK(&c->lock);

	while (len) {
		size_t at = c->log_end % LOG_BYTES, n = MIN(len, LOG_BYTES - at);

		memcpy(c->log + at, p, n);
		c->log_end += n;
		p += n;
		len -= n;
	}
	eventfd_write(c->fd, 1);
}

/* Guest output from the ring into the log. The indices are the guest's: read once, bounded. */
static bool take_output(struct console *c)
{
	struct xencons_interface *ring = c->ring;
	char buf[sizeof(ring->out)];
	XENCONS_RING_IDX cons = ring->out_cons;
	XENCONS_RING_IDX prod = __atomic_load_n(&ring->out_prod, __ATOMIC_ACQUIRE);
	uint32_t len = prod - cons;

	if (!len)
		return false;
	if (len > sizeof(buf)) { /* nonsense: start over where the guest says it is */
		cons = prod - (uint32_t)sizeof(buf);
		len = sizeof(buf);
	}
	for (uint32_t i = 0; i < len; i++)
		buf[i] = ring->out[MASK_XENCONS_IDX(cons + i, ring->out)];
	__atomic_store_n(&ring->out_cons, prod, __ATOMIC_RELEASE);
	console_put(c, buf, len);
	return true;
}

static bool give_input(struct console *c)
{
	struct xencons_interface *ring = c->ring;
	XENCONS_RING_IDX prod = ring->in_prod;
	XENCONS_RING_IDX used = prod - __atomic_load_n(&ring->in_cons, __ATOMIC_ACQUIRE);
	size_t n;
	SCOPED_LOCK(&c->lock);

	if (used > sizeof(ring->in))
		return false;
	n = MIN(c->input_len, sizeof(ring->in) - used);
	for (size_t i = 0; i < n; i++)
		ring->in[MASK_XENCONS_IDX(prod + i, ring->in)] = c->input[i];
	__atomic_store_n(&ring->in_prod, prod + (uint32_t)n, __ATOMIC_RELEASE);
	memmove(c->input, c->input + n, c->input_len - n);
	c->input_len -= n;
	return n > 0;
}

/* Runs with the domain's lock held. Events only if the ring changed: see xen-abi.md, pitfall 16. */
static bool guest_sent(void *arg)
{
	struct console *c = arg;
	bool took = take_output(c), gave = give_input(c);

	return took || gave;
}

int console_attach(struct console *c, struct xen_domain *d, struct gmem *mem, struct err *err)
{
	int r;

	c->domain = d;
	c->ring = gmem_hva(mem, GMEM_CONSOLE_GPA, NIDRA_PAGE_SIZE);
	r = xen_backend_bind(d, XEN_PORT_CONSOLE, guest_sent, c);
	return r < 0 ? err_errno(err, r, "connect the console") : 0;
}

static void drain_locked(void *arg)
{
	take_output(arg);
}

void console_drain(struct console *c)
{
	if (c->domain)
		xen_backend_locked(c->domain, drain_locked, c);
}

size_t console_read(struct console *c, uint64_t *pos, void *buf, size_t len)
{
	SCOPED_LOCK(&c->lock);
	uint64_t oldest = c->log_end > LOG_BYTES ? c->log_end - LOG_BYTES : 0;
	size_t n = 0;

	if (*pos < oldest)
		*pos = oldest;
	while (n < len && *pos < c->log_end) {
		size_t at = *pos % LOG_BYTES;
		size_t part = MIN(len - n, LOG_BYTES - at);

		part = MIN(part, (size_t)(c->log_end - *pos));

		memcpy((char *)buf + n, c->log + at, part);
		n += part;
		*pos += part;
	}
	return n;
}

int console_fd(const struct console *c)
{
	return c->fd;
}

struct give {
	struct console *c;
	bool notify;
};

static void give_locked(void *arg)
{
	struct give *g = arg;

	g->notify = give_input(g->c);
}

size_t console_write(struct console *c, const void *buf, size_t len)
{
	struct give g = { .c = c };
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = MIN(len, sizeof(c->input) - c->input_len);
	memcpy(c->input + c->input_len, buf, n);
	c->input_len += n;
	pthread_mutex_unlock(&c->lock);
	if (c->domain) {
		xen_backend_locked(c->domain, give_locked, &g);
		if (g.notify)
			xen_backend_notify(c->domain, XEN_PORT_CONSOLE);
	}
	return n;
}
