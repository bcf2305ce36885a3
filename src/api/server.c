/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd in its external mode: its epoll descriptor is a source of our loop. A stream is a
 * response whose reader gives a JSON line whenever what it tells about has changed, and otherwise
 * suspends its connection.
 */
#include "api/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/json.h"
#include "base/clock.h"

#define STREAM_INTERVAL_NS (100 * NSEC_PER_MSEC)

struct stream {
	struct api_server *server;
	struct MHD_Connection *connection;
	uint64_t job; /* 0: everything */
	bool suspended, ended;
	char *last;    /* what was told last */
	char *pending; /* what is being sent */
	size_t sent;
	struct stream *next;
};

struct api_server {
	struct api_context *context;
	struct MHD_Daemon *daemon;
	sd_event *loop;
	sd_event_source *io, *timer;
	struct stream *streams;
	bool followed; /* there was a stream */
};

struct upload {
	char *body;
	size_t len;
	bool too_large;
};

/* ---- streams ---- */

static char *stream_text(struct stream *st, bool *ret_end)
{
	struct api_context *c = st->server->context;
	struct sleep_job job;
	json_t *o;
	char *text;

	*ret_end = false;
	if (st->job) {
		if (sleep_get_job(c->sleeper, st->job, &job) < 0) {
			*ret_end = true;
			return NULL;
		}
		o = json_of_job(&job);
		*ret_end = !job.running;
	} else {
		o = json_of_machine(c->sleeper, c->name);
		/* Times change always: no event by themselves. */
		json_object_del(o, "cpu_time_ns");
		json_object_del(o, "system_time_ns");
		json_object_del(o, "resident_bytes");
		if (sleep_get_job(c->sleeper, 0, &job) == 0)
			json_object_set_new(o, "job", json_of_job(&job));
	}
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

/* The next line, if there is news. */
static bool stream_refill(struct stream *st)
{
	bool end;
	_cleanup_free_ char *text = stream_text(st, &end);

	st->ended |= end;
	if (!text || (st->last && !strcmp(st->last, text)))
		return false;
	free(st->pending);
	st->sent = 0;
	if (asprintf(&st->pending, "%s\n", text) < 0)
		st->pending = NULL;
	free(st->last);
	st->last = take_ptr(text);
	return st->pending;
}

static ssize_t stream_read(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct stream *st = arg;
	size_t left = st->pending ? strlen(st->pending) - st->sent : 0, n;

	(void)pos;
	if (!left && stream_refill(st))
		left = strlen(st->pending);
	if (!left && st->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!left) {
		st->suspended = true;
		MHD_suspend_connection(st->connection);
		return 0;
	}
	n = MIN(left, max);
	memcpy(buf, st->pending + st->sent, n);
	st->sent += n;
	return (ssize_t)n;
}

static void stream_free(void *arg)
{
	struct stream *st = arg;

	for (struct stream **at = &st->server->streams; *at; at = &(*at)->next)
		if (*at == st) {
			*at = st->next;
			break;
		}
	free(st->last);
	free(st->pending);
	free(st);
}

static enum MHD_Result start_stream(struct api_server *s, struct MHD_Connection *connection, uint64_t job)
{
	struct stream *st = calloc(1, sizeof(*st));
	struct MHD_Response *response;
	enum MHD_Result r;

	if (!st)
		return MHD_NO;
	*st = (struct stream){ .server = s, .connection = connection, .job = job, .next = s->streams };
	s->streams = st;
	s->followed = true;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, st, stream_free);
	MHD_add_response_header(response, "Content-Type", "application/x-ndjson");
	r = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return r;
}

static void resume_streams(struct api_server *s)
{
	for (struct stream *st = s->streams; st; st = st->next)
		if (st->suspended) {
			st->suspended = false;
			MHD_resume_connection(st->connection);
		}
}

bool api_server_busy(struct api_server *s)
{
	return s->streams;
}

bool api_server_followed(struct api_server *s)
{
	return s->followed;
}

/* ---- requests ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, const struct api_reply *reply)
{
	char *text = reply->body ? json_dumps(reply->body, JSON_INDENT(2)) : strdup("");
	struct MHD_Response *response;
	enum MHD_Result r;

	if (!text)
		return MHD_NO;
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(response, "Content-Type",
				reply->status >= 400 ? "application/problem+json" : "application/json");
	r = MHD_queue_response(connection, (unsigned int)reply->status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer(struct api_server *s, struct MHD_Connection *connection, const char *url,
			      const char *method, struct upload *up)
{
	struct api_reply reply;
	enum MHD_Result r;

	if (up->too_large)
		reply = (struct api_reply){ .status = 413, .body = json_of_problem(413, "the body is too large") };
	else
		api_handle(s->context, method, url, up->body, up->len, &reply);
	r = reply.stream ? start_stream(s, connection, reply.stream_job) : send_reply(connection, &reply);
	json_decref(reply.body);
	return r;
}

static void take_upload(struct upload *up, const char *data, size_t len)
{
	char *grown;

	if (up->too_large || len > API_BODY_MAX - up->len) {
		up->too_large = true;
		return;
	}
	grown = realloc(up->body, up->len + len);
	if (!grown) {
		up->too_large = true;
		return;
	}
	up->body = grown;
	memcpy(up->body + up->len, data, len);
	up->len += len;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *len, void **state)
{
	struct upload *up = *state;

	(void)version;
	if (!up) { /* first call: headers only */
		*state = calloc(1, sizeof(*up));
		return *state ? MHD_YES : MHD_NO;
	}
	if (*len) {
		take_upload(up, data, *len);
		*len = 0;
		return MHD_YES;
	}
	return answer(arg, connection, url, method, up);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct upload *up = *state;

	(void)arg;
	(void)connection;
	(void)code;
	if (up)
		free(up->body);
	free(up);
	*state = NULL;
}

/* ---- the loop ---- */

/*
 * One MHD_run() need not finish what is ready: its epoll is edge-triggered, and what it has left it
 * only tells by a timeout of zero. Bounded, so that one client cannot hold the loop.
 */
static void run(struct api_server *s)
{
	MHD_UNSIGNED_LONG_LONG ms = 1;
	uint64_t now;
	int turns = 0;

	do
		MHD_run(s->daemon);
	while (MHD_get_timeout(s->daemon, &ms) == MHD_YES && !ms && ++turns < 64);
	if (turns < 64)
		return;
	sd_event_now(s->loop, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(s->timer, now);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct api_server *s = arg;

	(void)source;
	(void)fd;
	(void)events;
	run(s);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct api_server *s = arg;

	(void)source;
	(void)usec;
	resume_streams(s);
	run(s);
	return 0;
}

/* Not more often than a person can read. */
void api_server_changed(struct api_server *s)
{
	uint64_t now;
	int on;

	if (!s->streams || (sd_event_source_get_enabled(s->timer, &on) >= 0 && on != SD_EVENT_OFF))
		return;
	sd_event_now(s->loop, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(s->timer, now + STREAM_INTERVAL_NS / NSEC_PER_USEC / 5);
	sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

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
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->timer);
	resume_streams(s);
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	free(s);
}

int api_server_new(sd_event *loop, const char *path, struct api_context *context, struct api_server **ret,
		   struct err *err)
{
	struct api_server *s = calloc(1, sizeof(*s));
	const union MHD_DaemonInfo *info;
	int fd, r;

	if (!s)
		return err_errno(err, -ENOMEM, "API");
	s->context = context;
	s->loop = loop;
	fd = listen_on(path, err);
	if (fd < 0) {
		free(s);
		return fd;
	}
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16 * 1024, MHD_OPTION_CONNECTION_LIMIT,
				     64, MHD_OPTION_END);
	info = s->daemon ? MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		api_server_free(s);
		return err_set(err, -EIO, "cannot start the API on %s", path);
	}
	r = sd_event_add_io(loop, &s->io, info->listen_fd, EPOLLIN, on_io, s);
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
