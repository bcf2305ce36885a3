/* SPDX-License-Identifier: Apache-2.0 */
/* The API's socket: what clients send in pieces, too much, wrong or not at all; none of it holds up the others. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "api/server.h"
#include "scratch.h"

static struct api_context context = { .name = "web" };
static struct api_server *server;
static sd_event *loop;
static char path[64];
static pthread_t thread;

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	(void)info;
	(void)arg;
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void *serve(void *arg)
{
	sd_event_loop(loop);
	api_server_free(server);
	sd_event_unref(loop);
	return arg;
}

static int setup(void **state)
{
	struct err err = { 0 };
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	snprintf(path, sizeof(path), "%s/nidra-api.%d", scratch(), getpid());
	sd_event_new(&loop);
	sd_event_add_signal(loop, NULL, SIGUSR1, on_stop, NULL);
	if (sleeper_new(NULL, &context.sleeper, &err) < 0 || api_server_new(loop, path, &context, &server, &err) < 0)
		return -1;
	return pthread_create(&thread, NULL, serve, NULL);
}

static int teardown(void **state)
{
	(void)state;
	kill(getpid(), SIGUSR1);
	pthread_join(thread, NULL);
	sleeper_free(context.sleeper);
	return unlink(path);
}

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* All that comes, until the server hangs up. */
static char *hear(int fd)
{
	static char text[65536];
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
		len += (size_t)n;
	text[len] = 0;
	close(fd);
	return text;
}

static void say(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0)
			return; /* it has hung up: what it said is there to be read */
		text += n;
		len -= (size_t)n;
	}
}

static void assert_answer(const char *request, const char *start)
{
	int fd = dial();
	char *answer;

	say(fd, request, strlen(request));
	answer = hear(fd);
	if (strncmp(answer, start, strlen(start)))
		fail_msg("\"%s\" was answered with \"%s\"", request, answer);
}

static void test_requests_are_answered(void **state)
{
	(void)state;
	assert_answer("GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n");
	assert_answer("GET /v1/version HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n");
	assert_answer("GET /v1/nothing HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n");
	assert_answer("PUT /v1/version HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ");
	assert_answer("POST /v1/pause HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
		      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 Conflict\r\n");
	assert_answer("POST /v1/pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
		      "HTTP/1.1 409 Conflict\r\n");
}

static void test_nonsense_is_refused(void **state)
{
	(void)state;
	assert_answer("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
	assert_answer("GET /v1/version\r\n\r\n", "HTTP/1.1 ");
	assert_answer("POST /v1/pause HTTP/1.1\r\nContent-Length: 999999999999999999999999\r\n\r\n", "HTTP/1.1 400 ");
	assert_answer("POST /v1/pause HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400 ");
}

static void test_one_request_is_all(void **state)
{
	int fd = dial();
	const char *two = "GET /v1/version HTTP/1.1\r\n\r\nGET /v1/machine HTTP/1.1\r\n\r\n", *answer;

	(void)state;
	say(fd, two, strlen(two));
	answer = hear(fd);
	assert_ptr_equal(strstr(answer, "HTTP/1.1"), answer);
	assert_null(strstr(answer + 1, "HTTP/1.1"));
}

static void test_pieces_are_put_together(void **state)
{
	const char *request = "POST /v1/pause HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
	int fd = dial();

	(void)state;
	for (const char *p = request; *p; p++) {
		say(fd, p, 1);
		usleep(200);
	}
	assert_non_null(strstr(hear(fd), "409 Conflict"));
}

static void test_too_much_is_refused(void **state)
{
	size_t len = API_BODY_MAX + 1;
	char *body = malloc(len), head[128];
	int fd = dial();

	(void)state;
	memset(body, 'a', len);
	snprintf(head, sizeof(head), "POST /v1/pause HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", len);
	say(fd, head, strlen(head));
	say(fd, body, len);
	assert_non_null(strstr(hear(fd), "413 "));

	fd = dial();
	say(fd, "GET /", 5);
	say(fd, body, 4000);
	say(fd, " HTTP/1.1\r\n\r\n", 13);
	assert_non_null(strstr(hear(fd), "413 "));

	fd = dial();
	say(fd, "GET / HTTP/1.1\r\n", 16);
	for (int i = 0; i < 4; i++)
		say(fd, body, len); /* one endless header */
	assert_non_null(strstr(hear(fd), "400 "));
	free(body);
}

static void test_silent_clients_hold_up_nobody(void **state)
{
	int silent[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++) {
		silent[i] = dial();
		if (i < 60)
			say(silent[i], "GET /v1/ver", 11);
		if (i == 60)
			assert_answer("GET /v1/version HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n");
	}
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		close(silent[i]);
	usleep(50000);
	assert_answer("GET /v1/version HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n");
}

static void test_streams_tell_the_first_and_end_with_their_reader(void **state)
{
	char text[512] = "";
	size_t len = 0;
	ssize_t n;

	(void)state;
	for (int i = 0; i < 100; i++) { /* more than there may be at once */
		int fd = dial();

		say(fd, "GET /v1/events HTTP/1.1\r\n\r\n", 27);
		for (len = 0; !strchr(text, '{') && (n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0;)
			text[len += (size_t)n] = 0;
		assert_non_null(strstr(text, "\"state\":\"building\""));
		*text = 0;
		close(fd);
	}
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(requests_are_answered),
		t(nonsense_is_refused),
		t(one_request_is_all),
		t(pieces_are_put_together),
		t(too_much_is_refused),
		t(silent_clients_hold_up_nobody),
		t(streams_tell_the_first_and_end_with_their_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
