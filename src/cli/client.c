/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP over a monitor's Unix socket, by libcurl. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/paths.h"
#include "cli/cli.h"

#define REPLY_MAX ((size_t)4 << 20)

struct buffer {
	char *p;
	size_t len;
};

static size_t collect(char *data, size_t one, size_t n, void *arg)
{
	struct buffer *b = arg;
	char *grown = b->len + n < REPLY_MAX ? realloc(b->p, b->len + n + 1) : NULL;

	(void)one;
	if (!grown)
		return 0;
	b->p = grown;
	memcpy(b->p + b->len, data, n);
	b->len += n;
	b->p[b->len] = 0;
	return n;
}

static void curl_freep(CURL **c)
{
	curl_easy_cleanup(*c);
}

/* A handle for @path of machine @name, or NULL with a sentence. */
static CURL *open_request(const char *name, const char *path, char **ret_socket, struct err *err)
{
	char url[256];
	CURL *c;

	if (strchr(name, '/') || !path_is_live(name)) {
		err_set(err, -ENOENT, "there is no machine named %s", name);
		return NULL;
	}
	*ret_socket = path_runtime(name, "api.sock");
	c = curl_easy_init();
	if (!c || !*ret_socket) {
		curl_easy_cleanup(c);
		err_errno(err, -ENOMEM, "request");
		return NULL;
	}
	snprintf(url, sizeof(url), "http://nidra%s", path);
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, *ret_socket);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	return c;
}

static int negative_errno(long status)
{
	return status == 409 ? -EBUSY : status == 404 ? -ENOENT : status == 400 ? -EINVAL : -EIO;
}

static int check_reply(CURL *c, const struct buffer *b, json_t **ret, struct err *err)
{
	json_auto_t *o = b->len ? json_loadb(b->p, b->len, 0, NULL) : NULL;
	long status = 0;

	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (status >= 400) {
		const char *detail = json_string_value(json_object_get(o, "detail"));

		return err_set(err, negative_errno(status), "%s", detail ?: "the monitor refused");
	}
	if (ret)
		*ret = json_incref(o);
	return 0;
}

int api_call(const char *name, const char *method, const char *path, json_t *body, json_t **ret,
	     struct err *err)
{
	_cleanup_free_ char *socket = NULL, *text = NULL;
	_cleanup_(curl_freep) CURL *c = open_request(name, path, &socket, err);
	struct buffer b = { 0 };
	CURLcode code;
	int r;

	if (!c)
		return err->code;
	text = body ? json_dumps(body, JSON_COMPACT) : strdup("");
	if (!strcmp(method, "POST"))
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, text);
	else
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &b);
	code = curl_easy_perform(c);
	r = code == CURLE_OK ? check_reply(c, &b, ret, err) :
			       err_set(err, -ECONNREFUSED, "the monitor of %s does not answer: %s", name,
				       curl_easy_strerror(code));
	free(b.p);
	return r;
}

struct lines {
	struct buffer b;
	bool (*line)(void *arg, json_t *o);
	void *arg;
	bool stopped;
};

static size_t split(char *data, size_t one, size_t n, void *arg)
{
	struct lines *l = arg;
	char *end;

	if (collect(data, one, n, &l->b) != n)
		return 0;
	while (!l->stopped && (end = memchr(l->b.p, '\n', l->b.len))) {
		size_t len = (size_t)(end - l->b.p);
		json_auto_t *o = json_loadb(l->b.p, len, 0, NULL);

		l->stopped = o && !l->line(l->arg, o);
		memmove(l->b.p, end + 1, l->b.len - len - 1);
		l->b.len -= len + 1;
	}
	return l->stopped ? 0 : n;
}

int api_stream(const char *name, const char *path, bool (*line)(void *arg, json_t *o), void *arg,
	       struct err *err)
{
	_cleanup_free_ char *socket = NULL;
	_cleanup_(curl_freep) CURL *c = open_request(name, path, &socket, err);
	struct lines l = { .line = line, .arg = arg };
	CURLcode code;

	if (!c)
		return err->code;
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, split);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &l);
	code = curl_easy_perform(c);
	free(l.b.p);
	if (code != CURLE_OK && !l.stopped)
		return err_set(err, -ECONNREFUSED, "the monitor of %s does not answer: %s", name,
			       curl_easy_strerror(code));
	return 0;
}
