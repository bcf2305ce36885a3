/* SPDX-License-Identifier: Apache-2.0 */
/* nidra-share as a process: its connections, and what it is told. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch.h"
#include "share/control.h"
#include "share_client.h"

struct fixture {
	char top[64];
	struct sockaddr_un address;
	int control_fd;
	pid_t pid;
	struct bytes_writer message;
};

/* Descriptors 3 to 6, as nidra-monitor gives them. */
static void become_server(int listen_fd, int root_fd, int control_fd, int state_fd)
{
	const int fd[] = { listen_fd, root_fd, control_fd, state_fd };
	int high[4];

	for (int i = 0; i < 4; i++)
		high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 64);
	for (int i = 0; i < 4; i++)
		dup2(high[i], 3 + i);
	execl(NIDRA_SHARE, "nidra-share", "data", "rw", NULL);
	_exit(127);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), pair[2], root_fd;
	char line[64] = "";

	snprintf(f->top, sizeof(f->top), "%s/test-share-XXXXXX", scratch());
	assert_non_null(mkdtemp(f->top));
	f->address.sun_family = AF_UNIX;
	snprintf(f->address.sun_path, sizeof(f->address.sun_path), "%s/socket", f->top);
	assert_int_equal(bind(listen_fd, (struct sockaddr *)&f->address, sizeof(f->address)), 0);
	assert_int_equal(listen(listen_fd, 64), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	root_fd = open(f->top, O_PATH | O_DIRECTORY);
	f->pid = fork();
	if (!f->pid)
		become_server(listen_fd, root_fd, pair[1], memfd_create("state", 0));
	close(listen_fd);
	close(root_fd);
	close(pair[1]);
	f->control_fd = pair[0];
	assert_int_equal(read(f->control_fd, line, sizeof(line) - 1), 2);
	assert_string_equal(line, "ok");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	int status;

	close(f->control_fd);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid); /* it ends with the monitor */
	assert_int_equal(status, 0);
	unlink(f->address.sun_path);
	rmdir(f->top);
	bytes_writer_fini(&f->message);
	free(f);
	return 0;
}

static int connect_to(struct fixture *f)
{
	return client_connect(f->address.sun_path);
}

/* In pieces of @piece bytes. */
static void send_call(struct fixture *f, int fd, uint32_t xid, size_t piece)
{
	client_make_null(&f->message, xid);
	for (size_t at = CLIENT_MARK; at < f->message.len; at += piece) {
		size_t n = f->message.len - at < piece ? f->message.len - at : piece;
		struct bytes_writer w = { 0 };

		xdr_put_u32(&w, (uint32_t)n | (at + n == f->message.len ? CLIENT_LAST : 0));
		bytes_put(&w, f->message.buf + at, n);
		assert_int_equal(send(fd, w.buf, w.len, MSG_NOSIGNAL), w.len);
		bytes_writer_fini(&w);
	}
}

static void get_answer(int fd, uint32_t xid)
{
	assert_true(client_is_answered(fd, xid));
}

static bool is_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void test_requests_come_whole_and_in_pieces(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);

	for (uint32_t piece = 1; piece < 50; piece++) {
		send_call(f, fd, piece, piece);
		get_answer(fd, piece);
	}
	for (uint32_t i = 0; i < 100; i++)
		send_call(f, fd, i, 1000);
	for (uint32_t i = 0; i < 100; i++)
		get_answer(fd, i);
	close(fd);
}

static void test_nonsense_ends_its_connection_alone(void **state)
{
	static const uint8_t too_long[] = { 0xff, 0xff, 0xff, 0xff }, empty[] = { 0x80, 0, 0, 0 };
	struct fixture *f = *state;
	int good = connect_to(f), bad = connect_to(f);

	assert_int_equal(send(bad, too_long, 4, 0), 4);
	assert_true(is_closed(bad));
	close(bad);
	bad = connect_to(f);
	assert_int_equal(send(bad, empty, 4, 0), 4);
	assert_true(is_closed(bad));
	close(bad);
	/* Pieces without an end: more marks than a request has bytes. */
	bad = connect_to(f);
	for (int i = 0; i < 1 << 20; i++)
		if (send(bad, "\0\0\0\0", 4, MSG_NOSIGNAL) < 0)
			break;
	assert_true(is_closed(bad));
	close(bad);
	send_call(f, good, 7, 1000);
	get_answer(good, 7);
	close(good);
}

static void test_too_many_connections_are_closed(void **state)
{
	struct fixture *f = *state;
	int fd[48], answered = 0;

	for (size_t i = 0; i < 48; i++) {
		fd[i] = connect_to(f);
		client_make_null(&f->message, 1);
		send(fd[i], f->message.buf, f->message.len, MSG_NOSIGNAL);
	}
	for (size_t i = 0; i < 48; i++) {
		answered += client_is_answered(fd[i], 1);
	}
	for (size_t i = 0; i < 48; i++)
		close(fd[i]);
	assert_int_equal(answered, 32);
}

static void tell(struct fixture *f, char what, uint8_t number)
{
	const uint8_t m[SHARE_MESSAGE] = { (uint8_t)what, number };

	assert_int_equal(send(f->control_fd, m, sizeof(m), 0), sizeof(m));
}

static void test_quiet_means_that_nothing_is_done(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(f);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t m[SHARE_MESSAGE];

	send_call(f, fd, 1, 1000);
	get_answer(fd, 1);
	tell(f, SHARE_QUIET, 42);
	assert_int_equal(read(f->control_fd, m, sizeof(m)), sizeof(m));
	assert_int_equal(m[0], SHARE_QUIET);
	assert_int_equal(m[1], 42);
	send_call(f, fd, 2, 1000);
	assert_int_equal(poll(&p, 1, 100), 0);
	tell(f, SHARE_GO, 42);
	get_answer(fd, 2);
	close(fd);
}

#define SHARE_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARE_TEST(test_requests_come_whole_and_in_pieces),
		SHARE_TEST(test_nonsense_ends_its_connection_alone),
		SHARE_TEST(test_too_many_connections_are_closed),
		SHARE_TEST(test_quiet_means_that_nothing_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
