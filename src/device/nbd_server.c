/* SPDX-License-Identifier: Apache-2.0 */
#include "device/nbd_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/util.h"

#define PROGRAM	    "qemu-nbd"
#define USUAL_PATH  "/usr/local/bin:/usr/bin:/bin"
#define STOP_MS	    3000
#define CLIENTS	    "8"
#define ARGUMENTS   16
#define TEXT_BYTES  64
#define WORDS_BYTES 4096

static int find_program(char *ret, size_t size, const struct disk_options *o, struct err *err)
{
	const char *path = getenv("PATH");

	for (const char *p = path && *path ? path : USUAL_PATH; *p; p += strspn(p, ":")) {
		int len = (int)strcspn(p, ":");

		snprintf(ret, size, "%.*s/" PROGRAM, len, p);
		if (access(ret, X_OK) == 0)
			return 0;
		p += len;
	}
	return err_set(err, -ENOENT, PROGRAM ", which serves %s, is not here: install Debian's package qemu-utils",
		       o->format);
}

/*
 * What happens between vfork() and exec() happens in our memory: nothing here but system calls. The kernel's signal
 * goes out when the starting thread ends, which is not before the disk is closed, or all is over.
 */
static _Noreturn void become_server(const char *program, char **argv, int null_fd, int err_fd, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (getppid() == parent && dup2(null_fd, 0) >= 0 && dup2(null_fd, 1) >= 0 && dup2(err_fd, 2) >= 0 &&
	    close_range(3, ~0u, 0) == 0) {
		signal(SIGCHLD, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		signal(SIGXFSZ, SIG_DFL);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execv(program, argv);
	}
	_exit(127);
}

static int spawn(char **argv, int err_fd, int *ret_pidfd, struct err *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t parent = getpid(), pid;

	if (null < 0)
		return err_errno(err, -errno, "/dev/null");
	/* posix_spawn() has no way to ask for a signal when we die; fork() would copy the page tables of a guest. */
	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
	if (!pid)
		become_server(argv[0], argv, null, err_fd, parent); /* NOLINT(clang-analyzer-unix.Vfork) */
	if (pid < 0)
		return err_errno(err, -errno, "start %s", argv[0]);
	*ret_pidfd = pidfd_open(pid, 0);
	/* Nobody waits for a monitor's children, so it may be gone already. */
	return *ret_pidfd < 0 ? err_set(err, -ECHILD, "%s ended at once", argv[0]) : 0;
}

static int set_socket(struct nbd_server *s, const struct disk_options *o, struct err *err)
{
	int n = o->folder ? snprintf(s->socket, sizeof(s->socket), "%s/%s.nbd", o->folder, o->name) : -1;

	if (!o->folder) /* one that anybody can write to would not do */
		return err_set(err, -EINVAL, "disk %s: there is no folder for the socket of its server", o->path);
	if (n < 0 || (size_t)n >= sizeof(s->socket))
		return err_set(err, -ENAMETOOLONG, "disk %s: %s/%s.nbd is too long for a socket", o->path, o->folder,
			       o->name);
	unlink(s->socket);
	return 0;
}

int nbd_server_start(const struct disk_options *o, struct nbd_server *ret, struct err *err)
{
	char program[4096], socket[sizeof(ret->socket) + TEXT_BYTES], format[TEXT_BYTES], cache[TEXT_BYTES];
	char *argv[ARGUMENTS] = {
		program, socket, format, cache, (char *)"--discard=unmap", (char *)"--shared=" CLIENTS
	};
	struct nbd_server s = { .pidfd = -1, .err_fd = -1 };
	_cleanup_close_ int theirs = -1;
	int fd[2], n = 6, r = find_program(program, sizeof(program), o, err);

	r = r ?: set_socket(&s, o, err);
	if (r < 0)
		return r;
	snprintf(socket, sizeof(socket), "--socket=%s", s.socket);
	snprintf(format, sizeof(format), "--format=%s", o->format);
	snprintf(cache, sizeof(cache), "--cache=%s", disk_cache_name(o->cache));
	if (o->readonly)
		argv[n++] = (char *)"--read-only";
	argv[n++] = (char *)"--";
	argv[n++] = (char *)o->path;
	/* What it says is lost if nobody reads it, instead of holding it up. */
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(err, -errno, "pipe");
	s.err_fd = fd[0];
	theirs = fd[1];
	r = spawn(argv, theirs, &s.pidfd, err);
	if (r < 0) {
		close_fdp(&s.err_fd);
		return r;
	}
	*ret = s;
	return 0;
}

bool nbd_server_has_ended(const struct nbd_server *s)
{
	struct pollfd p = { .fd = s->pidfd, .events = POLLIN };

	return s->pidfd < 0 || poll(&p, 1, 0) > 0;
}

void nbd_server_last_words(const struct nbd_server *s, char *buf, size_t size)
{
	char text[WORDS_BYTES + 1];
	ssize_t n = s->err_fd < 0 ? 0 : read(s->err_fd, text, WORDS_BYTES);
	char *line;

	text[n > 0 ? n : 0] = 0;
	while ((line = strrchr(text, '\n')) && !line[1])
		*line = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	if (!strncmp(line, PROGRAM ": ", sizeof(PROGRAM ": ") - 1))
		line += sizeof(PROGRAM ": ") - 1;
	snprintf(buf, size, "%s", line);
}

void nbd_server_stop(struct nbd_server *s)
{
	struct pollfd p = { .fd = s->pidfd, .events = POLLIN };
	siginfo_t info;

	if (s->pidfd < 0)
		return;
	pidfd_send_signal(s->pidfd, SIGTERM, NULL, 0);
	if (poll(&p, 1, STOP_MS) == 0) {
		pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
		poll(&p, 1, STOP_MS);
	}
	waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG);
	close_fdp(&s->pidfd);
	close_fdp(&s->err_fd);
	unlink(s->socket);
}
