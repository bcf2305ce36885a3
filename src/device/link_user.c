/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User networking by libslirp: the guest's connections become sockets of this process, so no privilege is needed.
 * To the guest it looks as in QEMU: 10.0.2.0/24 with the host at .2, DNS at .3, its own address .15 by DHCP.
 *
 * While the guest stands still, so does libslirp's clock, and nothing is asked of its sockets: connections are as old
 * when it goes on as they were before. They live in this process, and do not go along to another one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/link.h"

#define TIMERS_MAX 8

struct timer {
	SlirpTimerCb fn; /* NULL: free */
	void *arg;
	int64_t at_ms; /* on the guest's clock; -1: not running */
};

struct link_user {
	struct link link;
	Slirp *slirp;
	struct timer timer[TIMERS_MAX];
	bool frozen;
	uint64_t frozen_at_ns, slept_ns;
	struct link_poll *poll;		/* during prepare, */
	const struct link_poll *polled; /* and dispatch */
};

/* ---- what libslirp calls ---- */

static ssize_t on_send_packet(const void *buf, size_t len, void *arg)
{
	struct link_user *u = arg;
	/* Borrowed, and only read, because nothing of it is left to be completed. */
	struct packet p = { .data = (uint8_t *)(uintptr_t)buf, .len = len, .csum_good = true };

	u->link.deliver(u->link.arg, &p);
	return (ssize_t)len;
}

static void on_guest_error(const char *msg, void *arg)
{
	(void)arg;
	trace(link_user, "guest_error=%s", msg);
}

static int64_t on_clock(void *arg)
{
	struct link_user *u = arg;

	return (int64_t)((u->frozen ? u->frozen_at_ns : clock_monotonic_ns()) - u->slept_ns);
}

static void *on_timer_new(SlirpTimerCb fn, void *fn_arg, void *arg)
{
	struct link_user *u = arg;

	for (size_t i = 0; i < TIMERS_MAX; i++) {
		if (u->timer[i].fn)
			continue;
		u->timer[i] = (struct timer){ .fn = fn, .arg = fn_arg, .at_ms = -1 };
		return &u->timer[i];
	}
	return NULL;
}

static void on_timer_free(void *timer, void *arg)
{
	(void)arg;
	if (timer)
		*(struct timer *)timer = (struct timer){ 0 };
}

static void on_timer_mod(void *timer, int64_t at_ms, void *arg)
{
	(void)arg;
	if (timer)
		((struct timer *)timer)->at_ms = at_ms;
}

static void on_poll_fd(int fd, void *arg)
{
	(void)fd;
	(void)arg;
}

static void on_notify(void *arg)
{
	(void)arg;
}

static const SlirpCb callbacks = { .send_packet = on_send_packet,
				   .guest_error = on_guest_error,
				   .clock_get_ns = on_clock,
				   .timer_new = on_timer_new,
				   .timer_free = on_timer_free,
				   .timer_mod = on_timer_mod,
				   .register_poll_fd = on_poll_fd,
				   .unregister_poll_fd = on_poll_fd,
				   .notify = on_notify };

/* ---- waiting ---- */

static const struct {
	int slirp;
	short host;
} events[] = { { SLIRP_POLL_IN, POLLIN },
	       { SLIRP_POLL_OUT, POLLOUT },
	       { SLIRP_POLL_PRI, POLLPRI },
	       { SLIRP_POLL_ERR, POLLERR },
	       { SLIRP_POLL_HUP, POLLHUP } };

static int on_add_poll(int fd, int wanted, void *arg)
{
	struct link_user *u = arg;
	short host = 0;

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		host |= wanted & events[i].slirp ? events[i].host : 0;
	return link_poll_add(u->poll, fd, host);
}

static int on_get_revents(int at, void *arg)
{
	struct link_user *u = arg;
	int got = 0;

	for (size_t i = 0; at >= 0 && i < ARRAY_SIZE(events); i++)
		got |= u->polled->fd[at].revents & events[i].host ? events[i].slirp : 0;
	return got;
}

static uint32_t time_left(const struct timer *t, int64_t now_ms)
{
	return t->at_ms > now_ms ? (uint32_t)MIN(t->at_ms - now_ms, INT32_MAX) : 0;
}

static void user_prepare(struct link *l, struct link_poll *poll, bool receive)
{
	struct link_user *u = container_of(l, struct link_user, link);
	uint32_t timeout = poll->timeout_ms < 0 ? UINT32_MAX : (uint32_t)poll->timeout_ms;
	int64_t now_ms = on_clock(u) / (int64_t)NSEC_PER_MSEC;

	if (!receive)
		return;
	u->poll = poll;
	slirp_pollfds_fill(u->slirp, &timeout, on_add_poll, u);
	for (size_t i = 0; i < TIMERS_MAX; i++)
		if (u->timer[i].fn && u->timer[i].at_ms >= 0)
			timeout = MIN(timeout, time_left(&u->timer[i], now_ms));
	poll->timeout_ms = timeout > INT32_MAX ? -1 : (int)timeout;
}

static void run_timers(struct link_user *u)
{
	int64_t now_ms = on_clock(u) / (int64_t)NSEC_PER_MSEC;

	for (size_t i = 0; i < TIMERS_MAX; i++) {
		struct timer *t = &u->timer[i];

		if (!t->fn || t->at_ms < 0 || t->at_ms > now_ms)
			continue;
		t->at_ms = -1;
		t->fn(t->arg);
	}
}

static void user_dispatch(struct link *l, const struct link_poll *poll, bool receive)
{
	struct link_user *u = container_of(l, struct link_user, link);

	if (!receive)
		return;
	u->polled = poll;
	slirp_pollfds_poll(u->slirp, 0, on_get_revents, u);
	run_timers(u);
}

/* libslirp checks sums, and takes TCP segments of any size. */
static void user_send(struct link *l, struct packet *p)
{
	struct link_user *u = container_of(l, struct link_user, link);

	packet_complete(p);
	slirp_input(u->slirp, p->data, (int)p->len);
}

static void user_freeze(struct link *l, bool frozen)
{
	struct link_user *u = container_of(l, struct link_user, link);
	uint64_t now = clock_monotonic_ns();

	if (frozen == u->frozen)
		return;
	if (frozen)
		u->frozen_at_ns = now;
	else
		u->slept_ns += now - u->frozen_at_ns;
	u->frozen = frozen;
}

static void user_free(struct link *l)
{
	struct link_user *u = container_of(l, struct link_user, link);

	if (u->slirp)
		slirp_cleanup(u->slirp);
	free(u);
}

/* ---- making one ---- */

static const struct link_ops user_ops = {
	.prepare = user_prepare, .dispatch = user_dispatch, .send = user_send, .freeze = user_freeze, .free = user_free
};

static struct in_addr ipv4(const char *s)
{
	struct in_addr a = { 0 };

	inet_pton(AF_INET, s, &a);
	return a;
}

static struct in6_addr ipv6(const char *s)
{
	struct in6_addr a = { 0 };

	inet_pton(AF_INET6, s, &a);
	return a;
}

static Slirp *make_slirp(struct link_user *u, const char *name, bool restricted)
{
	SlirpConfig config = { .version = SLIRP_CONFIG_VERSION_MAX,
			       .restricted = restricted,
			       .in_enabled = true,
			       .vnetwork = ipv4("10.0.2.0"),
			       .vnetmask = ipv4("255.255.255.0"),
			       .vhost = ipv4("10.0.2.2"),
			       .vnameserver = ipv4("10.0.2.3"),
			       .vdhcp_start = ipv4("10.0.2.15"),
			       .in6_enabled = true,
			       .vprefix_addr6 = ipv6("fec0::"),
			       .vprefix_len = 64,
			       .vhost6 = ipv6("fec0::2"),
			       .vnameserver6 = ipv6("fec0::3"),
			       .vhostname = name };

	return slirp_new(&config, &callbacks, u);
}

static int add_forward(struct link_user *u, const char *text, struct err *lacks, struct err *err)
{
	struct link_forward f;
	struct in_addr host = { 0 }, guest = { 0 };
	struct err why = { 0 };
	int r = link_forward_parse(text, &f, err);

	if (r < 0)
		return r;
	host.s_addr = f.address;
	if (slirp_add_hostfwd(u->slirp, f.udp, host, f.host_port, guest, f.guest_port) == 0)
		return 0;
	err_errno(&why, errno ? -errno : -EIO, "forward %s: port %u of the host", text, f.host_port);
	if (why.code != -EADDRINUSE)
		return err_set(err, why.code, "%s", why.msg);
	link_lacks(lacks, &why);
	return 0;
}

static int add_service(struct link_user *u, const struct link_service *s, struct err *err)
{
	struct in_addr guest = ipv4(LINK_SERVICE_ADDRESS);

	if (slirp_add_unix(u->slirp, s->path, &guest, s->port) < 0)
		return err_set(err, -EINVAL, "libslirp refuses port %u of " LINK_SERVICE_ADDRESS, s->port);
	return 0;
}

int link_user_new(const struct link_config *config, const char *name, struct err *lacks, struct link **ret,
		  struct err *err)
{
	struct link_user *u = calloc(1, sizeof(*u));
	int r = 0;

	if (!u)
		return err_errno(err, -ENOMEM, "user network");
	u->link = (struct link){ .ops = &user_ops, .takes_gso4 = true };
	u->slirp = make_slirp(u, name, config->restricted);
	if (!u->slirp)
		r = err_set(err, -EINVAL, "libslirp refuses to start");
	for (size_t i = 0; r == 0 && i < config->n_forwards; i++)
		r = add_forward(u, config->forward[i], lacks, err);
	for (size_t i = 0; r == 0 && i < config->n_services; i++)
		r = add_service(u, &config->service[i], err);
	if (r < 0) {
		user_free(&u->link);
		return r;
	}
	*ret = &u->link;
	return 0;
}
