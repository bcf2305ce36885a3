/*
 * First process of a lab host, and the one that runs commands for lab/exec.
 *
 * Each virtio-serial port serves one command at a time; a process per port.
 * What travels is frames: a type byte, a little-endian 32-bit length, that
 * many bytes.  A zero byte where a type is due is skipped: a client starts
 * with as many of them as the largest frame has bytes, so whatever its
 * predecessor left unfinished is completed and it is heard from the start.
 *
 *   client:  'H' nonce                      begin; ends a command still running
 *            'R' u32 argc, u32 envc, then cwd, arguments, environment, each
 *                ended by a zero byte
 *            'I' bytes (empty: end of file)  input of the command
 *            'S' u32 signal                  to the command's process group
 *   agent:   'H' nonce                      answer to 'H'
 *            'O' / 'E' bytes                 its output and error output
 *            'X' u32 status                  it ended; status as a shell sees it
 *
 * Usage: agent PORT...    runs as process 1, with everything mounted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 65536
#define HEADER	  5
#define INPUT_MAX (4 * FRAME_MAX) /* more waits in the port */

struct session {
	int port;	  /* virtio-serial */
	pid_t child;	  /* leader of the command's group, 0: none */
	int in, out, err; /* our ends of its pipes, -1: closed */
	int status;	  /* wait status, valid once reaped */
	int reaped;
	/* input that the command has not taken yet */
	char *input;
	size_t input_len;
	int input_eof;
};

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	_exit(1);
}

/* A port whose client has gone swallows nothing and reports no error we care
 * about: the loss shows up as POLLHUP. */
static void write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		p += n;
		len -= (size_t)n;
	}
}

static void send_frame(int port, char type, const void *data, uint32_t len)
{
	static char frame[HEADER + FRAME_MAX];

	frame[0] = type;
	memcpy(frame + 1, &len, sizeof(len));
	memcpy(frame + HEADER, data, len);
	write_all(port, frame, HEADER + len);
}

/* ---- the command ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void drop_input(struct session *s)
{
	free(s->input);
	s->input = NULL;
	s->input_len = 0;
	s->input_eof = 0;
}

/* End the command, if any, with all of its group; forget its pipes. */
static void end_command(struct session *s)
{
	if (s->child > 0) {
		kill(-s->child, SIGTERM);
		for (int i = 0; i < 50 && !s->reaped; i++) {
			s->reaped = waitpid(s->child, &s->status, WNOHANG) == s->child;
			if (!s->reaped)
				usleep(10000);
		}
		kill(-s->child, SIGKILL);
		if (!s->reaped)
			waitpid(s->child, &s->status, 0);
	}
	s->child = 0;
	s->reaped = 0;
	close_fd(&s->in);
	close_fd(&s->out);
	close_fd(&s->err);
	drop_input(s);
}

static void run_child(char *cwd, char **argv, char **envp, int in, int out, int err)
{
	sigset_t none;

	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	environ = envp;
	if (chdir(cwd) < 0) {
		fprintf(stderr, "lab: %s: %s\n", cwd, strerror(errno));
		_exit(126);
	}
	execvp(argv[0], argv);
	fprintf(stderr, "lab: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Split `count` zero-ended strings off *at; NULL-ended array, or NULL if the
 * frame is too short for them. */
static char **take_strings(char **at, char *end, uint32_t count)
{
	char **list = calloc(count + 1UL, sizeof(*list));

	for (uint32_t i = 0; list && i < count; i++) {
		char *zero = memchr(*at, 0, (size_t)(end - *at));

		if (!zero) {
			free(list);
			return NULL;
		}
		list[i] = *at;
		*at = zero + 1;
	}
	return list;
}

static void start_command(struct session *s, char *data, uint32_t len)
{
	char *at = data + 8, *end = data + len;
	char **cwd, **argv, **envp;
	uint32_t argc, envc;
	int in[2], out[2], err[2];

	if (len < 8)
		return;
	memcpy(&argc, data, 4);
	memcpy(&envc, data + 4, 4);
	if (argc == 0 || argc > FRAME_MAX || envc > FRAME_MAX)
		return;
	cwd = take_strings(&at, end, 1);
	argv = take_strings(&at, end, argc);
	envp = take_strings(&at, end, envc);
	if (!cwd || !argv || !envp)
		return;
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe");
	s->child = fork();
	if (s->child == 0)
		run_child(cwd[0], argv, envp, in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	s->in = in[1];
	fcntl(s->in, F_SETFL, O_NONBLOCK);
	s->out = out[0];
	s->err = err[0];
	free(cwd);
	free(argv);
	free(envp);
}

static void queue_input(struct session *s, const char *data, uint32_t len)
{
	if (s->in < 0)
		return;
	if (len == 0) {
		s->input_eof = 1;
	} else {
		char *grown = realloc(s->input, s->input_len + len);

		if (!grown)
			die("input");
		s->input = grown;
		memcpy(s->input + s->input_len, data, len);
		s->input_len += len;
	}
}

static void feed_input(struct session *s)
{
	ssize_t n;

	if (s->in >= 0 && s->input_len > 0) {
		n = write(s->in, s->input, s->input_len);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			close_fd(&s->in);
			drop_input(s);
		} else if (n > 0) {
			s->input_len -= (size_t)n;
			memmove(s->input, s->input + n, s->input_len);
		}
	}
	if (s->input_len == 0 && s->input_eof)
		close_fd(&s->in);
}

/* Pass output on; a pipe at its end is closed. */
static void drain(struct session *s, int *fd, char type)
{
	char data[FRAME_MAX];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n > 0)
		send_frame(s->port, type, data, (uint32_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		close_fd(fd);
}

/* What the pipes still hold after the command ended.  A background process
 * may keep them open: it is not waited for. */
static void drain_rest(struct session *s)
{
	for (int i = 0; i < 64; i++) {
		struct pollfd p[2] = {
			{ .fd = s->out, .events = POLLIN },
			{ .fd = s->err, .events = POLLIN },
		};

		if (poll(p, 2, 0) <= 0)
			return;
		if (p[0].revents)
			drain(s, &s->out, 'O');
		if (p[1].revents)
			drain(s, &s->err, 'E');
	}
}

static void finish_command(struct session *s)
{
	uint32_t status;

	drain_rest(s);
	status = WIFSIGNALED(s->status) ? 128U + (uint32_t)WTERMSIG(s->status) : (uint32_t)WEXITSTATUS(s->status);
	s->child = 0;
	s->reaped = 0;
	close_fd(&s->in);
	close_fd(&s->out);
	close_fd(&s->err);
	drop_input(s);
	send_frame(s->port, 'X', &status, sizeof(status));
}

/* ---- frames from the client ---- */

static void handle_frame(struct session *s, char type, char *data, uint32_t len)
{
	uint32_t number;

	switch (type) {
	case 'H':
		end_command(s);
		send_frame(s->port, 'H', data, len);
		break;
	case 'R':
		end_command(s);
		start_command(s, data, len);
		break;
	case 'I':
		queue_input(s, data, len);
		break;
	case 'S':
		if (len == 4 && s->child > 0) {
			memcpy(&number, data, 4);
			kill(-s->child, (int)number);
		}
		break;
	}
}

/* Read what is there and handle every complete frame.  Nothing to read: the
 * client left, which the next poll tells. */
static void receive(struct session *s, char *buf, size_t *have)
{
	ssize_t n = read(s->port, buf + *have, HEADER + FRAME_MAX - *have);
	size_t at = 0;

	if (n < 0 && errno != EINTR)
		die("port");
	if (n <= 0)
		return;
	*have += (size_t)n;
	while (at < *have) {
		uint32_t len;

		if (buf[at] == 0) {
			at++;
			continue;
		}
		if (*have - at < HEADER)
			break;
		memcpy(&len, buf + at + 1, sizeof(len));
		if (len > FRAME_MAX) { /* not a frame: find the next zeros */
			at++;
			continue;
		}
		if (*have - at < HEADER + len)
			break;
		handle_frame(s, buf[at], buf + at + HEADER, len);
		at += HEADER + len;
	}
	memmove(buf, buf + at, *have - at);
	*have -= at;
}

/* ---- a port ---- */

static int client_present(int port)
{
	struct pollfd p = { .fd = port };

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

/* While the host wakes from S3 its ports look forsaken for a moment. */
static int client_left(int port)
{
	for (int i = 0; i < 20; i++) {
		if (client_present(port))
			return 0;
		usleep(20000);
	}
	return 1;
}

/* One client, from its coming to its going. */
static void serve_client(struct session *s, int child_fd)
{
	static char buf[HEADER + FRAME_MAX];
	struct signalfd_siginfo info;
	size_t have = 0;

	for (;;) {
		struct pollfd p[5] = {
			{ .fd = s->port, .events = s->input_len < INPUT_MAX ? POLLIN : 0 },
			{ .fd = child_fd, .events = POLLIN },
			{ .fd = s->out, .events = POLLIN },
			{ .fd = s->err, .events = POLLIN },
			{ .fd = s->input_len || s->input_eof ? s->in : -1, .events = POLLOUT },
		};

		if (poll(p, 5, -1) < 0 && errno != EINTR)
			die("poll");
		if ((p[0].revents & POLLHUP) && client_left(s->port))
			return;
		if (p[0].revents & POLLIN)
			receive(s, buf, &have);
		if (p[1].revents && read(child_fd, &info, sizeof(info)) > 0 && s->child > 0)
			s->reaped = waitpid(s->child, &s->status, WNOHANG) == s->child;
		if (p[2].revents && s->out >= 0)
			drain(s, &s->out, 'O');
		if (p[3].revents && s->err >= 0)
			drain(s, &s->err, 'E');
		if (s->input_len || s->input_eof)
			feed_input(s);
		if (s->child > 0 && s->reaped)
			finish_command(s);
	}
}

/* Serve one client after the other.  A client that comes or goes raises
 * SIGIO; the second is a belt for one that went unnoticed. */
static void serve_port(const char *path)
{
	struct session s = { .in = -1, .out = -1, .err = -1 };
	struct timespec second = { .tv_sec = 1 };
	sigset_t io, child;
	int child_fd;

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	sigprocmask(SIG_BLOCK, &io, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	child_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	s.port = open(path, O_RDWR | O_CLOEXEC);
	if (s.port < 0 || child_fd < 0)
		die(path);
	fcntl(s.port, F_SETOWN, getpid());
	fcntl(s.port, F_SETFL, O_ASYNC);
	for (;;) {
		while (!client_present(s.port))
			sigtimedwait(&io, NULL, &second);
		serve_client(&s, child_fd);
		end_command(&s);
	}
}

/* The limits that a service manager would set. */
static void set_limits(void)
{
	const struct rlimit files = { 1024, 524288 };
	const struct rlimit locked = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_MEMLOCK, &locked);
}

int main(int argc, char **argv)
{
	set_limits();
	for (int i = 1; i < argc; i++) {
		if (fork() == 0)
			serve_port(argv[i]);
	}
	for (;;) { /* process 1 buries all orphans */
		if (wait(NULL) < 0)
			pause();
	}
}
