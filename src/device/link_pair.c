/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cable between two guests: datagrams between the sockets PATH.0 and PATH.1. Who comes first has the one, who comes
 * next the other; each belongs to whom it is connected as long as that process lives. What is sent while nobody is
 * at the other end is lost.
 *
 * A datagram is a frame behind four bytes: flags (CSUM_*), 0, 0, 0. The other process is no more trusted than the
 * network is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/log.h"
#include "device/link.h"

#define CSUM_BLANK 1
#define CSUM_GOOD  2
#define HEADER	   4
#define BATCH	   64
/* A socket holds ten datagrams on most hosts. What follows them waits here, and is tried again so often. */
#define QUEUE	 512
#define RETRY_MS 1

struct waiting {
	size_t len; /* with its header */
	uint8_t data[];
};

struct link_pair {
	struct link link;
	int fd, at;
	struct sockaddr_un own, other;
	struct waiting *queue[QUEUE];
	unsigned int head, n;
	uint8_t buf[PACKET_BYTES_MAX + 1];
};

static void drop_first(struct link_pair *u)
{
	free(take_ptr(u->queue[u->head]));
	u->head = (u->head + 1) % QUEUE;
	u->n--;
}

static void pair_free(struct link *l)
{
	struct link_pair *u = container_of(l, struct link_pair, link);

	while (u->n)
		drop_first(u);
	if (u->own.sun_path[0])
		unlink(u->own.sun_path);
	close_fdp(&u->fd);
	free(u);
}

static void pair_prepare(struct link *l, struct link_poll *poll, bool receive)
{
	struct link_pair *u = container_of(l, struct link_pair, link);

	u->at = receive ? link_poll_add(poll, u->fd, POLLIN) : -1;
	if (u->n && (poll->timeout_ms < 0 || poll->timeout_ms > RETRY_MS))
		poll->timeout_ms = RETRY_MS;
}

static bool take_one(struct link_pair *u)
{
	uint8_t h[HEADER];
	struct iovec iov[] = { { h, sizeof(h) }, { u->buf, sizeof(u->buf) } };
	struct packet p = { .data = u->buf };
	ssize_t n = readv(u->fd, iov, 2);

	if (n < 0)
		return errno == EINTR;
	if (n < HEADER)
		return true;
	p.len = (size_t)n - HEADER;
	p.csum_blank = h[0] & CSUM_BLANK;
	p.csum_good = h[0] & CSUM_GOOD;
	return packet_prepare(&p) ? u->link.deliver(u->link.arg, &p) : true;
}

/* False: the other end is full. Nobody there, or anything else: it is lost. */
static bool transmit(struct link_pair *u, struct iovec *iov, size_t n)
{
	struct msghdr m = { .msg_name = &u->other, .msg_namelen = sizeof(u->other), .msg_iov = iov, .msg_iovlen = n };

	if (sendmsg(u->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	trace(link_pair, "not_sent=%zu errno=%d", iov[n - 1].iov_len, errno);
	return errno != EAGAIN && errno != ENOBUFS;
}

static void send_waiting(struct link_pair *u)
{
	while (u->n) {
		struct waiting *w = u->queue[u->head];
		struct iovec iov = { w->data, w->len };

		if (!transmit(u, &iov, 1))
			return;
		drop_first(u);
	}
}

static void pair_dispatch(struct link *l, const struct link_poll *poll, bool receive)
{
	struct link_pair *u = container_of(l, struct link_pair, link);

	send_waiting(u);
	if (u->at < 0 || !receive || !poll->fd[u->at].revents)
		return;
	for (int i = 0; i < BATCH && take_one(u); i++)
		;
}

static void keep(struct link_pair *u, const uint8_t h[HEADER], const struct packet *p)
{
	struct waiting *w = u->n < QUEUE ? malloc(sizeof(*w) + HEADER + p->len) : NULL;

	if (!w)
		return;
	w->len = HEADER + p->len;
	memcpy(w->data, h, HEADER);
	memcpy(w->data + HEADER, p->data, p->len);
	u->queue[(u->head + u->n++) % QUEUE] = w;
}

static void pair_send(struct link *l, struct packet *p)
{
	struct link_pair *u = container_of(l, struct link_pair, link);
	uint8_t h[HEADER] = { (uint8_t)((p->csum_blank ? CSUM_BLANK : 0) | (p->csum_good ? CSUM_GOOD : 0)) };
	struct iovec iov[] = { { h, sizeof(h) }, { p->data, p->len } };

	send_waiting(u);
	if (u->n || !transmit(u, iov, 2))
		keep(u, h, p);
}

static const struct link_ops pair_ops = {
	.prepare = pair_prepare, .dispatch = pair_dispatch, .send = pair_send, .free = pair_free
};

/* Is somebody at the end of that path? A socket that is left over from a process that died refuses. */
static bool in_use(const struct sockaddr_un *a)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno != ECONNREFUSED;
}

/* -EADDRINUSE: it is another one's. */
static int take_end(struct link_pair *u, const struct sockaddr_un *own)
{
	if (bind(u->fd, (const struct sockaddr *)own, sizeof(*own)) < 0) {
		if (errno != EADDRINUSE || in_use(own))
			return -errno;
		unlink(own->sun_path);
		if (bind(u->fd, (const struct sockaddr *)own, sizeof(*own)) < 0)
			return -errno;
	}
	u->own = *own;
	return 0;
}

static int connect_pair(struct link_pair *u, const char *path, struct err *err)
{
	struct sockaddr_un end[2] = { { .sun_family = AF_UNIX }, { .sun_family = AF_UNIX } };
	int r = -EINVAL;

	if (strlen(path) + 3 > sizeof(end[0].sun_path))
		return err_set(err, -ENAMETOOLONG, "%s is too long for the path of a socket", path);
	u->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (u->fd < 0)
		return err_errno(err, -errno, "socket");
	for (int i = 0; i < 2; i++)
		snprintf(end[i].sun_path, sizeof(end[i].sun_path), "%s.%d", path, i);
	for (int i = 0; r < 0 && i < 2; i++) {
		r = take_end(u, &end[i]);
		u->other = end[1 - i];
		if (r < 0 && r != -EADDRINUSE)
			return err_errno(err, r, "%s", end[i].sun_path);
	}
	return r < 0 ? err_set(err, -EBUSY, "both ends of %s are in use", path) : 0;
}

int link_pair_new(const struct link_config *config, struct link **ret, struct err *err)
{
	struct link_pair *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return err_errno(err, -ENOMEM, "link");
	*u = (struct link_pair){ .link = { .ops = &pair_ops }, .fd = -1, .at = -1 };
	r = connect_pair(u, config->path, err);
	if (r < 0) {
		pair_free(&u->link);
		return r;
	}
	*ret = &u->link;
	return 0;
}
