/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/console_server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/io.h"
#include "base/log.h"

#define CLIENTS_MAX 16
#define CHUNK	    4096
#define HELLO_MAX   32
#define LOG_MAX	    (UINT64_C(8) << 20)

struct client {
	struct console_server *server;
	int fd;
	sd_event_source *io;
	bool greeted;
	char hello[HELLO_MAX];
	size_t hello_len;
	uint64_t pos; /* in the guest's output */
};

struct console_server {
	struct sleeper *sleeper;
	sd_event *loop;
	int listen_fd, log_fd;
	char *log_path;
	uint64_t log_len, log_pos;
	sd_event_source *listen, *output;
	struct client *client[CLIENTS_MAX];
};

static void client_free(struct client *c)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (c->server->client[i] == c)
			c->server->client[i] = NULL;
	sd_event_source_disable_unref(c->io);
	close_fdp(&c->fd);
	free(c);
}

/* As much as the client takes now; then wait until it can take more, if there is more. */
static void client_send(struct client *c)
{
	struct guest *g = sleeper_guest(c->server->sleeper);
	char buf[CHUNK];
	bool more = false;

	while (g && c->greeted) {
		uint64_t pos = c->pos;
		size_t n = guest_console_read(g, &pos, buf, sizeof(buf));
		ssize_t sent = n ? send(c->fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

		if (!n)
			break;
		if (sent > 0)
			c->pos = pos - n + (size_t)sent;
		if (sent < (ssize_t)n) {
			more = sent >= 0 || errno == EAGAIN;
			break;
		}
	}
	sd_event_source_set_io_events(c->io, EPOLLIN | (more ? EPOLLOUT : 0));
}

static bool greet(struct client *c, const char *buf, size_t len, size_t *ret_used)
{
	struct guest *g = sleeper_guest(c->server->sleeper);
	char skip[CHUNK];

	for (size_t i = 0; i < len; i++) {
		if (buf[i] != '\n') {
			if (c->hello_len == HELLO_MAX - 1)
				return false;
			c->hello[c->hello_len++] = buf[i];
			continue;
		}
		*ret_used = i + 1;
		c->greeted = true;
		if (!strcmp(c->hello, "from=now"))
			while (g && guest_console_read(g, &c->pos, skip, sizeof(skip)))
				;
		return c->greeted;
	}
	*ret_used = len;
	return true;
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct client *c = arg;
	struct guest *g = sleeper_guest(c->server->sleeper);
	char buf[CHUNK];
	size_t used = 0;
	ssize_t n;

	(void)source;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN) ||
		    (n > 0 && !c->greeted && !greet(c, buf, (size_t)n, &used))) {
			client_free(c);
			return 0;
		}
		/* What the guest's ring and our buffer cannot take is lost, as on a serial line. */
		if (n > (ssize_t)used && g)
			guest_console_write(g, buf + used, (size_t)n - used);
	}
	client_send(c);
	return 0;
}

static int on_connect(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct console_server *s = arg;
	struct client *c;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)events;
	if (conn < 0)
		return 0;
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (s->client[i])
			continue;
		c = calloc(1, sizeof(*c));
		if (!c)
			break;
		c->server = s;
		c->fd = conn;
		if (sd_event_add_io(s->loop, &c->io, conn, EPOLLIN, on_client, c) < 0) {
			free(c);
			break;
		}
		s->client[i] = c;
		return 0;
	}
	close(conn);
	return 0;
}

/* The log is bounded: when it is full, the older half of what there was becomes NAME.1. */
static void write_log(struct console_server *s)
{
	struct guest *g = sleeper_guest(s->sleeper);
	char buf[CHUNK], old[PATH_MAX];
	size_t n;

	while (g && s->log_fd >= 0 && (n = guest_console_read(g, &s->log_pos, buf, sizeof(buf)))) {
		if (io_write_full(s->log_fd, buf, n) < 0)
			return; /* a full disk must not stop the guest */
		s->log_len += n;
		if (s->log_len < LOG_MAX)
			continue;
		snprintf(old, sizeof(old), "%s.1", s->log_path);
		rename(s->log_path, old);
		close_fdp(&s->log_fd);
		s->log_fd = open(s->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
		s->log_len = 0;
	}
}

static void pump(struct console_server *s)
{
	write_log(s);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (s->client[i])
			client_send(s->client[i]);
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return 0;
	pump(arg);
	return 0;
}

void console_server_new_guest(struct console_server *s)
{
	struct guest *g = sleeper_guest(s->sleeper);

	s->output = sd_event_source_disable_unref(s->output);
	s->log_pos = 0;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (s->client[i])
			s->client[i]->pos = 0;
	if (g)
		sd_event_add_io(s->loop, &s->output, guest_console_fd(g), EPOLLIN, on_output, s);
	pump(s);
}

void console_server_free(struct console_server *s)
{
	if (!s)
		return;
	pump(s);
	sd_event_source_disable_unref(s->output);
	sd_event_source_disable_unref(s->listen);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (s->client[i])
			client_free(s->client[i]);
	close_fdp(&s->listen_fd);
	close_fdp(&s->log_fd);
	free(s->log_path);
	free(s);
}

static int listen_on(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, 16) < 0)
		return -errno;
	return take_fd(fd);
}

int console_server_new(sd_event *loop, const char *socket_path, const char *log_path, struct sleeper *sleeper,
		       struct console_server **ret, struct err *err)
{
	struct console_server *s = calloc(1, sizeof(*s));

	if (!s)
		return err_errno(err, -ENOMEM, "console");
	s->loop = loop;
	s->sleeper = sleeper;
	s->log_path = strdup(log_path);
	s->log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	s->listen_fd = listen_on(socket_path);
	if (s->listen_fd < 0 || !s->log_path ||
	    sd_event_add_io(loop, &s->listen, s->listen_fd, EPOLLIN, on_connect, s) < 0) {
		err_errno(err, s->listen_fd < 0 ? s->listen_fd : -ENOMEM, "listen on %s", socket_path);
		s->listen_fd = s->listen_fd < 0 ? -1 : s->listen_fd;
		console_server_free(s);
		return err ? err->code : -EIO;
	}
	*ret = s;
	return 0;
}
