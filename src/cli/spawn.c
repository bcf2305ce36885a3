/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a monitor. It says "ok" on a pipe when its sockets are there, or what is wrong. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "api/paths.h"
#include "base/beside.h"
#include "cli/cli.h"

#define ARGS_MAX 16

const char *monitor_path(void)
{
	static char path[BESIDE_PATH_MAX];

	if (beside_path("nidra-monitor", path, NULL) == 0 && !access(path, X_OK))
		return path;
	return NIDRA_LIBEXEC "/nidra-monitor";
}

static _noreturn_ void child(const char *name, const char *const *args, int ready_fd)
{
	const char *argv[ARGS_MAX + 8];
	char number[16];
	int n = 0;

	snprintf(number, sizeof(number), "%d", ready_fd);
	argv[n++] = monitor_path();
	argv[n++] = "--name";
	argv[n++] = name;
	argv[n++] = "--ready-fd";
	argv[n++] = number;
	while (*args && n < ARGS_MAX + 7)
		argv[n++] = *args++;
	argv[n] = NULL;
	execv(argv[0], (char **)(uintptr_t)argv);
	dprintf(ready_fd, "cannot start %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

void monitor_wait_gone(const char *name)
{
	for (int i = 0; i < 500 && path_is_live(name); i++)
		usleep(10000);
}

int monitor_spawn(const char *name, const char *const *args, struct err *err)
{
	char line[512] = "";
	size_t len = 0;
	int fd[2];
	pid_t pid;

	if (pipe(fd) < 0)
		return err_errno(err, -errno, "pipe");
	fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return err_errno(err, -errno, "fork");
	if (!pid) /* twice, so that the monitor is nobody's child */
		fork() ? _exit(0) : child(name, args, fd[1]);
	close(fd[1]);
	waitpid(pid, NULL, 0);
	while (len < sizeof(line) - 1) {
		ssize_t n = read(fd[0], line + len, sizeof(line) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(fd[0]);
	line[strcspn(line, "\n")] = 0;
	if (!strcmp(line, "ok"))
		return 0;
	return err_set(err, -EIO, "%s", *line ? line : "the monitor died when it started");
}
