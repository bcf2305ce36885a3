/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections inside the monitor's event loop: one request each, then the reply, and the end. http_parser reads
 * the requests. (A larger library would bring TLS, which a Unix socket does not need, and with it more private
 * memory per machine than an idle fork has of its own.)
 *
 * A stream is a reply without an end: a JSON line whenever what it tells about has changed.
 */
#include "api/server.h"

#include <errno.h>
#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/json.h"
#include "base/bytes.h"
#include "base/clock.h"

#define STREAM_INTERVAL_NS (20 * NSEC_PER_MSEC) /* not more often than a person can read */
#define CONNECTIONS_MAX	   64
#define URL_MAX		   1024

struct connection {
	struct api_server *server;
	struct connection *next;
	int fd;
	sd_event_source *io;

	http_parser parser;
	struct bytes_writer url, body;
	bool too_large, expects; /* a body that is too large; "100 Continue" before it sends one */
	bool answered;

	struct bytes_writer out;
	size_t sent;
	bool stream, ended; /* a stream of job (0: of all); its last line is in out */
	uint64_t job;
	char *last; /* what was told last */
};

struct api_server {
	struct api_context *context;
	sd_event *loop;
	int fd;
	sd_event_source *io, *timer;
	struct connection *connections;
	unsigned int n;
	bool followed; /* there was a stream */
};

static void connection_free(struct connection *c)
{
	for (struct connection **at = &c->server->connections; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	c->server->n--;
	sd_event_source_disable_unref(c->io);
	close(c->fd);
	bytes_writer_fini(&c->url);
	bytes_writer_fini(&c->body);
	bytes_writer_fini(&c->out);
	free(c->last);
	free(c);
}

/* ---- streams ---- */

static char *stream_text(struct connection *c, bool *ret_end)
{
	struct api_context *context = c->server->context;
	struct sleep_job job;
	json_t *o;
	char *text;

	*ret_end = false;
	if (c->job) {
		if (sleep_get_job(context->sleeper, c->job, &job) < 0) {
			*ret_end = true;
			return NULL;
		}
		o = json_of_job(&job);
		*ret_end = !job.running;
	} else {
		o = json_of_machine(context->sleeper, context->name);
		/* Times change always: no event by themselves. */
		json_object_del(o, "cpu_time_ns");
		json_object_del(o, "system_time_ns");
		json_object_del(o, "resident_bytes");
		if (sleep_get_job(context->sleeper, 0, &job) == 0)
			json_object_set_new(o, "job", json_of_job(&job));
	}
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

/* The next line, if there is news. A slow reader misses what was between. */
static void stream_refill(struct connection *c)
{
	bool end;
	_cleanup_free_ char *text = stream_text(c, &end);

	c->ended |= end;
	if (!text || (c->last && !strcmp(c->last, text)))
		return;
	bytes_put(&c->out, text, strlen(text));
	bytes_put(&c->out, "\n", 1);
	free(c->last);
	c->last = take_ptr(text);
}

/* ---- replies ---- */

static const char *reason(int status)
{
	switch (status) {
#define CASE(number, name, text)                                                                                       \
	case number:                                                                                                   \
		return #text;
		HTTP_STATUS_MAP(CASE)
#undef CASE
	default:
		return "";
	}
}

static void put_head(struct connection *c, int status, const char *type, const char *length)
{
	char head[256];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s%s%sConnection: close\r\n\r\n",
			 status, reason(status), type, *length ? "Content-Length: " : "", length,
			 *length ? "\r\n" : "");

	bytes_put(&c->out, head, (size_t)n);
}

static void put_reply(struct connection *c, int status, json_t *body)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_INDENT(2)) : strdup("");
	char length[32];

	snprintf(length, sizeof(length), "%zu", text ? strlen(text) : 0);
	put_head(c, status, status >= 400 ? "application/problem+json" : "application/json", length);
	if (text)
		bytes_put(&c->out, text, strlen(text));
	json_decref(body);
}

static void put_problem(struct connection *c, int status, const char *detail)
{
	c->answered = true;
	put_reply(c, status, json_of_problem(status, detail));
}

static int on_message_complete(http_parser *p)
{
	struct connection *c = p->data;
	struct api_reply reply;

	http_parser_pause(p, 1); /* whatever follows is not read */
	bytes_put(&c->url, "", 1);
	if (c->too_large || c->url.failed || c->body.failed) {
		put_problem(c, 413, "the request is too large");
		return 0;
	}
	c->answered = true;
	api_handle(c->server->context, http_method_str((enum http_method)p->method), (const char *)c->url.buf,
		   (const char *)c->body.buf, c->body.len, &reply);
	if (!reply.stream) {
		put_reply(c, reply.status, reply.body);
		return 0;
	}
	json_decref(reply.body);
	c->stream = c->server->followed = true;
	c->job = reply.stream_job;
	put_head(c, 200, "application/x-ndjson", "");
	stream_refill(c);
	return 0;
}

/* ---- requests ---- */

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct connection *c = p->data;

	c->too_large |= len > URL_MAX - MIN(c->url.len, (size_t)URL_MAX);
	if (!c->too_large)
		bytes_put(&c->url, at, len);
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct connection *c = p->data;

	c->too_large |= len > API_BODY_MAX - MIN(c->body.len, API_BODY_MAX);
	if (!c->too_large)
		bytes_put(&c->body, at, len);
	return 0;
}

/* The only header that matters here has a name of this length and begins like this. */
static int on_header_field(http_parser *p, const char *at, size_t len)
{
	struct connection *c = p->data;

	c->expects |= len == strlen("Expect") && !strncasecmp(at, "Expect", len);
	return 0;
}

static int on_headers_complete(http_parser *p)
{
	struct connection *c = p->data;
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (c->expects)
		bytes_put(&c->out, go_on, strlen(go_on));
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* False: nothing more will come, and nothing is owed. */
static bool take_input(struct connection *c)
{
	char buf[4096];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (c->answered) /* one request is all; who hangs up does not wait for a stream */
		return n > 0 || !c->stream;
	if (http_parser_execute(&c->parser, &settings, buf, (size_t)n) != (size_t)n && !c->answered)
		put_problem(c, 400, http_errno_description(HTTP_PARSER_ERRNO(&c->parser)));
	return n > 0 || c->answered;
}

/* False: all is said, or nobody listens. */
static bool give_output(struct connection *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, (const char *)c->out.buf + c->sent, c->out.len - c->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
		if (c->sent < c->out.len)
			continue;
		c->sent = c->out.len = 0;
		if (c->stream && !c->ended)
			stream_refill(c);
	}
	return !c->out.failed && (!c->answered || (c->stream && !c->ended));
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct connection *c = arg;

	(void)source;
	(void)fd;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !take_input(c)) || !give_output(c)) {
		connection_free(c);
		return 0;
	}
	return sd_event_source_set_io_events(c->io, EPOLLIN | (c->sent < c->out.len ? EPOLLOUT : 0u));
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct api_server *s = arg;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c = peer >= 0 && s->n < CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;

	(void)source;
	(void)events;
	if (!c) {
		close_fdp(&peer);
		return 0;
	}
	*c = (struct connection){ .server = s, .fd = peer, .next = s->connections };
	s->connections = c;
	s->n++;
	http_parser_init(&c->parser, HTTP_REQUEST);
	c->parser.data = c;
	if (sd_event_add_io(s->loop, &c->io, peer, EPOLLIN, on_connection, c) < 0)
		connection_free(c);
	return 0;
}

/* ---- news ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct api_server *s = arg;

	(void)source;
	(void)usec;
	for (struct connection *c = s->connections, *next; c; c = next) {
		next = c->next;
		if (!c->stream || c->sent < c->out.len)
			continue;
		stream_refill(c);
		on_connection(c->io, c->fd, EPOLLOUT, c);
	}
	return 0;
}

void api_server_changed(struct api_server *s)
{
	uint64_t now;
	int on;

	if (!s->connections || (sd_event_source_get_enabled(s->timer, &on) >= 0 && on != SD_EVENT_OFF))
		return;
	sd_event_now(s->loop, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(s->timer, now + STREAM_INTERVAL_NS / NSEC_PER_USEC);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

bool api_server_busy(struct api_server *s)
{
	return s->connections;
}

bool api_server_followed(struct api_server *s)
{
	return s->followed;
}

/* ---- life ---- */

static int listen_on(const char *path, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -ENAMETOOLONG, "the path %s is too long for a socket", path);
	strcpy(addr.sun_path, path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, 16) < 0)
		return err_errno(err, -errno, "listen on %s", path);
	return take_fd(fd);
}

void api_server_free(struct api_server *s)
{
	if (!s)
		return;
	while (s->connections)
		connection_free(s->connections);
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->timer);
	close_fdp(&s->fd);
	free(s);
}

int api_server_new(sd_event *loop, const char *path, struct api_context *context, struct api_server **ret,
		   struct err *err)
{
	struct api_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_errno(err, -ENOMEM, "API");
	s->context = context;
	s->loop = loop;
	s->fd = listen_on(path, err);
	if (s->fd < 0) {
		r = s->fd;
		api_server_free(s);
		return r;
	}
	r = sd_event_add_io(loop, &s->io, s->fd, EPOLLIN, on_accept, s);
	if (r >= 0)
		r = sd_event_add_time(loop, &s->timer, CLOCK_MONOTONIC, 0, 0, on_timer, s);
	if (r < 0) {
		api_server_free(s);
		return err_errno(err, r, "API");
	}
	sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	*ret = s;
	return 0;
}
