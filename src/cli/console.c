/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal and a guest's console. Raw mode; Ctrl-] leaves. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

#include "api/paths.h"
#include "base/io.h"
#include "cli/cli.h"

#define LEAVE 0x1d /* Ctrl-] */

static struct termios saved_terminal;
static bool terminal_is_raw;

static void restore_terminal(void)
{
	if (terminal_is_raw)
		tcsetattr(0, TCSADRAIN, &saved_terminal);
	terminal_is_raw = false;
}

static void make_raw(void)
{
	struct termios t;

	if (!isatty(0) || tcgetattr(0, &saved_terminal) < 0)
		return;
	t = saved_terminal;
	cfmakeraw(&t);
	t.c_oflag |= OPOST | ONLCR; /* guests' kernels send bare newlines early on */
	tcsetattr(0, TCSADRAIN, &t);
	if (!terminal_is_raw)
		atexit(restore_terminal);
	terminal_is_raw = true;
}

int console_connect(const char *name, bool from_start, struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_free_ char *path = path_runtime(name, "console.sock");
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *hello = from_start ? "from=start\n" : "from=now\n";
	int r;

	if (strchr(name, '/') || !path_is_live(name))
		return err_set(err, -ENOENT, "there is no machine named %s", name);
	if (!path || fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		return err_set(err, -EIO, "console of %s", name);
	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_errno(err, -errno, "connect to the console of %s", name);
	r = io_write_full(fd, hello, strlen(hello));
	return r < 0 ? err_errno(err, r, "console of %s", name) : take_fd(fd);
}

/* False: stop. */
static bool from_guest(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n > 0 && io_write_full(1, buf, (size_t)n) == 0;
}

/* 1: leave; -1: no more input. */
static int to_guest(int fd)
{
	char buf[1024], *leave;
	ssize_t n = read(0, buf, sizeof(buf));

	if (n <= 0)
		return -1;
	leave = isatty(0) ? memchr(buf, LEAVE, (size_t)n) : NULL;
	if (leave)
		n = leave - buf;
	if (n && send(fd, buf, (size_t)n, MSG_NOSIGNAL) < 0)
		return -1;
	return leave ? 1 : 0;
}

int console_run(int fd)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
	int r = 0;

	make_raw();
	while (!r) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (p[0].revents && !from_guest(fd))
			break;
		if (p[1].revents) {
			int in = to_guest(fd);

			if (in < 0)
				p[1].fd = -1; /* the end of our input is not the end of the guest */
			r = in > 0;
		}
	}
	restore_terminal();
	return r;
}

int console_attach(const char *name, bool from_start, struct err *err)
{
	_cleanup_close_ int fd = console_connect(name, from_start, err);

	return fd < 0 ? fd : console_run(fd);
}
