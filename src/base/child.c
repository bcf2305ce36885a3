/* SPDX-License-Identifier: Apache-2.0 */
#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/beside.h"
#include "base/cleanup.h"

/* Above those that it is to have in the child, so that no dup2() there closes the next one's source. */
static int add_fd(posix_spawn_file_actions_t *a, int fd, int as, int *ret_high)
{
	*ret_high = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FDS_MAX);
	return *ret_high < 0 ? -errno : -posix_spawn_file_actions_adddup2(a, *ret_high, as);
}

static int spawn_with(const posix_spawn_file_actions_t *a, const char *const *argv, int *ret_pidfd, struct err *err)
{
	char path[BESIDE_PATH_MAX], *envp[] = { NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int r = beside_path(argv[0], path, err);

	if (r < 0)
		return r;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = -posix_spawn(&pid, path, a, &attr, (char *const *)(uintptr_t)argv, envp);
	posix_spawnattr_destroy(&attr);
	if (r < 0)
		return err_errno(err, r, "start %s", path);
	*ret_pidfd = pidfd_open(pid, 0); /* -1: it has ended already, and the monitor's children leave nothing */
	return 0;
}

int child_start(const char *const *argv, const int *fd, int fds, int *ret_pidfd, struct err *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	posix_spawn_file_actions_t a;
	int high[CHILD_FDS_MAX], r = 0, n = 0;

	posix_spawn_file_actions_init(&a);
	for (; r == 0 && n < fds; n++)
		r = add_fd(&a, fd[n] < 0 ? null : fd[n], n, &high[n]);
	r = r ?: -posix_spawn_file_actions_addclosefrom_np(&a, fds);
	if (r < 0)
		err_errno(err, r, "descriptors for %s", argv[0]);
	else
		r = spawn_with(&a, argv, ret_pidfd, err);
	posix_spawn_file_actions_destroy(&a);
	while (n--)
		close_fdp(&high[n]);
	return r;
}

void child_end(int *pidfd, bool kill_it)
{
	siginfo_t info;

	if (*pidfd < 0)
		return;
	if (kill_it)
		pidfd_send_signal(*pidfd, SIGKILL, NULL, 0);
	waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED);
	close_fdp(pidfd);
}
