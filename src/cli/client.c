/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests over a monitor's Unix socket. HTTP 1.0 is all that is needed: one request, and a reply that
 * ends with the connection. A library would load two dozen others (TLS, Kerberos, LDAP) into a
 * command that a person waits for; each start took four times as long with one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/paths.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/cli.h"

#define REPLY_MAX ((size_t)4 << 20)

/* What came and was not taken yet. */
struct buffer {
	char *p; /* a string */
	size_t len;
};

static void buffer_fini(struct buffer *b)
{
	free(b->p);
}

/* Bytes read; 0: the end; negative: an error. */
static ssize_t receive(int fd, struct buffer *b)
{
	char data[16384];
	ssize_t n = read(fd, data, sizeof(data));
	char *grown;

	if (n <= 0)
		return n < 0 ? -errno : 0;
	grown = b->len + (size_t)n < REPLY_MAX ? realloc(b->p, b->len + (size_t)n + 1) : NULL;
	if (!grown)
		return -EMSGSIZE;
	b->p = grown;
	memcpy(b->p + b->len, data, (size_t)n);
	b->len += (size_t)n;
	b->p[b->len] = 0;
	return n;
}

static void drop(struct buffer *b, size_t n)
{
	b->len -= n;
	memmove(b->p, b->p + n, b->len + 1);
}

static int no_answer(const char *name, int r, struct err *err)
{
	return err_set(err, -ECONNREFUSED, "the monitor of %s does not answer: %s", name, strerror(-r));
}

static int connect_to(const char *name, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_free_ char *path = path_runtime(name, "api.sock");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strchr(name, '/') || !path_is_live(name))
		return err_set(err, -ENOENT, "there is no machine named %s", name);
	if (!path || fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -EIO, "the socket of %s", name);
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return no_answer(name, -errno, err);
	return take_fd(fd);
}

static int send_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		text += MAX(n, (ssize_t)0);
		len -= (size_t)MAX(n, (ssize_t)0);
	}
	return 0;
}

/* Reads the head of the reply and takes it off @b; its status. */
static int read_head(int fd, struct buffer *b, long *status)
{
	char *end = NULL;

	while (!end) {
		ssize_t n = receive(fd, b);

		if (n <= 0)
			return n < 0 ? (int)n : -ECONNRESET;
		end = b->p ? strstr(b->p, "\r\n\r\n") : NULL;
	}
	if (sscanf(b->p, "HTTP/%*d.%*d %ld", status) != 1)
		return -EBADMSG;
	drop(b, (size_t)(end - b->p) + 4);
	return 0;
}

/* The connection, its reply's head read; what came behind that is in @b. */
static int request(const char *name, const char *method, const char *path, const char *body, struct buffer *b,
		   long *status, struct err *err)
{
	_cleanup_close_ int fd = connect_to(name, err);
	_cleanup_free_ char *text = NULL;
	int r;

	if (fd < 0)
		return fd;
	text = str_printf(
		"%s %s HTTP/1.0\r\nHost: nidra\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		method, path, strlen(body), body);
	r = text ? send_all(fd, text) : -ENOMEM;
	r = r ?: read_head(fd, b, status);
	return r < 0 ? no_answer(name, r, err) : take_fd(fd);
}

static int negative_errno(long status)
{
	return status == 409 ? -EBUSY : status == 404 ? -ENOENT : status == 400 ? -EINVAL : -EIO;
}

static int check_reply(long status, const struct buffer *b, json_t **ret, struct err *err)
{
	json_auto_t *o = b->len ? json_loadb(b->p, b->len, 0, NULL) : NULL;

	if (status >= 400) {
		const char *detail = json_string_value(json_object_get(o, "detail"));

		return err_set(err, negative_errno(status), "%s", detail ?: "the monitor refused");
	}
	if (ret)
		*ret = json_incref(o);
	return 0;
}

int api_call(const char *name, const char *method, const char *path, json_t *body, json_t **ret, struct err *err)
{
	_cleanup_(buffer_fini) struct buffer b = { 0 };
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : strdup("");
	_cleanup_close_ int fd = -1;
	long status = 0;
	ssize_t n;

	if (!text)
		return err_errno(err, -ENOMEM, "request");
	fd = request(name, method, path, text, &b, &status, err);
	if (fd < 0)
		return fd;
	do
		n = receive(fd, &b);
	while (n > 0);
	return n < 0 ? no_answer(name, (int)n, err) : check_reply(status, &b, ret, err);
}

/* Hands the lines in @b over. False: enough. */
static bool take_lines(struct buffer *b, bool (*line)(void *arg, json_t *o), void *arg)
{
	char *end;

	while (b->len && (end = memchr(b->p, '\n', b->len))) {
		size_t len = (size_t)(end - b->p);
		json_auto_t *o = json_loadb(b->p, len, 0, NULL);

		if (o && !line(arg, o))
			return false;
		drop(b, len + 1);
	}
	return true;
}

int api_stream(const char *name, const char *path, bool (*line)(void *arg, json_t *o), void *arg, struct err *err)
{
	_cleanup_(buffer_fini) struct buffer b = { 0 };
	long status = 0;
	_cleanup_close_ int fd = request(name, "GET", path, "", &b, &status, err);
	ssize_t n = 1;

	if (fd < 0)
		return fd;
	while (take_lines(&b, line, arg) && n > 0)
		n = receive(fd, &b);
	return n < 0 ? no_answer(name, (int)n, err) : 0;
}
