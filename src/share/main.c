/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nidra-share: serves one folder to one machine. nidra-monitor starts it, and it ends when the monitor does.
 *
 *     nidra-share TAG rw|ro 3<SOCKET 4<FOLDER 5<>CONTROL 6<>STATE
 *
 * One thread, one request at a time: so between two turns of its loop nothing is half done, and when the monitor says
 * "quiet" (a machine is copied) the answer means that no file changes any more until it says "go".
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/util.h"
#include "share/confine.h"
#include "share/control.h"
#include "share/share.h"
#include "share/xdr.h"

#define CONNS_MAX   32
#define LAST_PIECE  0x80000000u /* of a record */
#define MARK_BYTES  4
#define BUFFER_SIZE (2 * MARK_BYTES + SHARE_REQUEST_MAX)

struct conn {
	int fd; /* -1: free */
	uint8_t *in;
	size_t have; /* bytes of it */
	struct bytes_writer out;
	size_t sent; /* bytes of that */
};

struct server {
	struct share *share;
	struct conn conn[CONNS_MAX];
	bool quiet, end;
};

static void close_conn(struct conn *c)
{
	close_fdp(&c->fd);
	free(c->in);
	bytes_writer_fini(&c->out);
	*c = (struct conn){ .fd = -1 };
}

/* ---- records (RFC 5531, 11): pieces, each behind its length ---- */

static uint32_t mark_at(const struct conn *c, size_t at)
{
	struct bytes_reader r = bytes_reader(c->in + at, MARK_BYTES);

	return xdr_get_u32(&r);
}

/* Where the first record ends; 0: not yet; -EBADMSG: it is too large. */
static ssize_t record_end(const struct conn *c)
{
	size_t at = 0, len = 0;

	while (c->have - at >= MARK_BYTES) {
		uint32_t mark = mark_at(c, at), piece = mark & ~LAST_PIECE;

		if (piece > SHARE_REQUEST_MAX - len)
			return -EBADMSG;
		len += piece;
		if (piece > c->have - at - MARK_BYTES)
			break;
		at += MARK_BYTES + piece;
		if (mark & LAST_PIECE)
			return (ssize_t)at;
	}
	return c->have == BUFFER_SIZE ? -EBADMSG : 0;
}

/* The pieces of a record that is all there, behind each other at the front. Its bytes. */
static size_t join_record(struct conn *c, size_t end)
{
	size_t len = 0;

	for (size_t at = 0; at < end;) {
		uint32_t piece = mark_at(c, at) & ~LAST_PIECE;

		memmove(c->in + len, c->in + at + MARK_BYTES, piece);
		len += piece;
		at += MARK_BYTES + piece;
	}
	return len;
}

/* 1: a request was answered. 0: there is none yet. */
static int answer_one(struct server *s, struct conn *c)
{
	ssize_t end = record_end(c);
	size_t len;
	int r;

	if (end <= 0)
		return (int)end;
	len = join_record(c, (size_t)end);
	xdr_put_u32(&c->out, 0);
	r = share_answer(s->share, c->in, len, &c->out);
	if (r < 0 || c->out.failed)
		return r ?: -ENOMEM;
	xdr_set_u32(&c->out, 0, LAST_PIECE | (uint32_t)(c->out.len - MARK_BYTES));
	c->have -= (size_t)end;
	memmove(c->in, c->in + end, c->have);
	return 1;
}

/* ---- connections: a client that does not take its answer gets no other ---- */

static int send_some(struct conn *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.buf + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		c->sent += (size_t)n;
	}
	c->out.len = c->sent = 0;
	return 0;
}

static int receive_some(struct conn *c)
{
	ssize_t n = read(c->fd, c->in + c->have, BUFFER_SIZE - c->have);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->have += (size_t)n;
	return n ? 0 : -ECONNRESET;
}

static int serve(struct server *s, struct conn *c, short events)
{
	int r = c->out.len ? send_some(c) : 0;

	if (r == 0 && !c->out.len && events & (POLLIN | POLLHUP | POLLERR))
		r = receive_some(c);
	while (r == 0 && !c->out.len) {
		r = answer_one(s, c);
		if (r <= 0)
			break;
		r = send_some(c);
	}
	return r;
}

/* More than a guest's kernel ever has are its own fault: the one without an answer under way goes, or the new one. */
static void take_conn(struct server *s)
{
	_cleanup_close_ int fd = accept4(FD_LISTEN, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *c = NULL;

	for (size_t i = 0; fd >= 0 && i < CONNS_MAX && !c; i++)
		c = s->conn[i].fd < 0 ? &s->conn[i] : NULL;
	if (!c)
		return;
	c->in = malloc(BUFFER_SIZE);
	if (c->in)
		c->fd = take_fd(fd);
}

/* ---- nidra-monitor ---- */

static void obey(struct server *s)
{
	uint8_t m[SHARE_MESSAGE];

	if (read(FD_CONTROL, m, sizeof(m)) != sizeof(m) || (m[0] != SHARE_QUIET && m[0] != SHARE_GO)) {
		s->end = true;
		return;
	}
	s->quiet = m[0] == SHARE_QUIET;
	if (s->quiet && write(FD_CONTROL, m, sizeof(m)) != sizeof(m))
		s->end = true;
}

static void turn(struct server *s)
{
	struct pollfd p[2 + CONNS_MAX] = { { .fd = FD_CONTROL, .events = POLLIN },
					   { .fd = s->quiet ? -1 : FD_LISTEN, .events = POLLIN } };

	for (size_t i = 0; i < CONNS_MAX; i++)
		p[2 + i] = (struct pollfd){ .fd = s->quiet ? -1 : s->conn[i].fd,
					    .events = s->conn[i].out.len ? POLLOUT : POLLIN };
	if (poll(p, ARRAY_SIZE(p), -1) < 0)
		return;
	if (p[0].revents) {
		obey(s);
		return;
	}
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (p[2 + i].revents && serve(s, &s->conn[i], p[2 + i].revents) < 0)
			close_conn(&s->conn[i]);
	if (p[1].revents)
		take_conn(s);
}

/* ---- start ---- */

static int start(const char *tag, bool readonly, struct share **ret, struct err *err)
{
	struct share_options o = { .tag = tag, .root_fd = FD_ROOT, .state_fd = FD_STATE, .readonly = readonly };
	int r = confine_user(FD_ROOT, err);

	if (r < 0)
		return r;
	umask(0);
	o.proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (o.proc_fd < 0)
		return err_errno(err, -errno, "/proc/self/fd");
	r = share_new(&o, ret);
	if (r < 0)
		return err_errno(err, r, "what it knew before it was saved");
	return confine(FD_ROOT, o.proc_fd, readonly, err);
}

/* "ok", or "no WHY". */
static void tell(int r, const struct err *err)
{
	char line[sizeof(err->msg) + 4];
	int n = snprintf(line, sizeof(line), "%s", "ok");

	if (r < 0)
		n = snprintf(line, sizeof(line), "no %s", err->msg);
	if (write(FD_CONTROL, line, (size_t)n) < 0)
		return;
}

int main(int argc, char **argv)
{
	struct server s = { 0 };
	struct err err = { 0 };
	int r;

	if (argc != 3 || strlen(argv[1]) > SHARE_TAG_MAX || fcntl(FD_STATE, F_GETFD) < 0) {
		fprintf(stderr, "nidra-share: it is started by nidra-monitor, with descriptors\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < CONNS_MAX; i++)
		s.conn[i].fd = -1;
	r = start(argv[1], !strcmp(argv[2], "ro"), &s.share, &err);
	tell(r, &err);
	while (r == 0 && !s.end)
		turn(&s);
	for (size_t i = 0; i < CONNS_MAX; i++)
		close_conn(&s.conn[i]);
	share_free(s.share);
	return r < 0;
}
