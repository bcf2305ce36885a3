/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/fromdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "boot/boot.h"

#define PROGRAM	   "nidra-bootdisk"
#define ANSWER_MAX (BOOT_CMDLINE_MAX + 16)
#define SLICE_MS   50
#define CHILD_FDS  6 /* 3 to 5 are the disk, the kernel and the initrd */

void boot_found_fini(struct boot_found *f)
{
	close_fdp(&f->kernel_fd);
	close_fdp(&f->initrd_fd);
	free(f->cmdline);
	f->cmdline = NULL;
}

static int program_path(char path[PATH_MAX + 32], struct err *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_errno(err, -errno, "/proc/self/exe");
	self[n] = 0;
	snprintf(path, PATH_MAX + 32, "%s/" PROGRAM, dirname(self));
	return 0;
}

/* Above those that it is to have in the child, so that no dup2() there closes the next one's source. */
static int add_fd(posix_spawn_file_actions_t *a, int fd, int as, int *ret_high)
{
	*ret_high = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FDS + 4);
	return *ret_high < 0 ? -errno : -posix_spawn_file_actions_adddup2(a, *ret_high, as);
}

static int spawn_with(const posix_spawn_file_actions_t *a, int *ret_pidfd, struct err *err)
{
	char path[PATH_MAX + 32], name[] = PROGRAM, *argv[] = { name, NULL }, *envp[] = { NULL };
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int r = program_path(path, err);

	if (r < 0)
		return r;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = -posix_spawn(&pid, path, a, &attr, argv, envp);
	posix_spawnattr_destroy(&attr);
	if (r < 0)
		return err_errno(err, r, "start %s", path);
	*ret_pidfd = pidfd_open(pid, 0); /* -1: it has ended already, and the monitor's children leave nothing */
	return 0;
}

static int start(int disk_fd, const struct boot_found *f, int answer_fd, int *ret_pidfd, struct err *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fd[CHILD_FDS] = { null, answer_fd, null, disk_fd, f->kernel_fd, f->initrd_fd };
	int high[CHILD_FDS] = { -1, -1, -1, -1, -1, -1 };
	posix_spawn_file_actions_t a;
	int r = 0;

	posix_spawn_file_actions_init(&a);
	for (int i = 0; r == 0 && i < CHILD_FDS; i++)
		r = add_fd(&a, fd[i], i, &high[i]);
	r = r ?: -posix_spawn_file_actions_addclosefrom_np(&a, CHILD_FDS);
	if (r < 0)
		err_errno(err, r, "descriptors for " PROGRAM);
	else
		r = spawn_with(&a, ret_pidfd, err);
	posix_spawn_file_actions_destroy(&a);
	for (int i = 0; i < CHILD_FDS; i++)
		close_fdp(&high[i]);
	return r;
}

/* Until it closes its end, which it does at the latest when it has used up its time. */
static int read_answer(int fd, char line[ANSWER_MAX], boot_wait_fn *wait, void *arg, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n = 1;
	int r = 0;

	while (r == 0 && n > 0 && len < ANSWER_MAX - 1) {
		r = poll(&p, 1, SLICE_MS);
		if (r > 0) {
			n = read(fd, line + len, ANSWER_MAX - 1 - len);
			len += n > 0 ? (size_t)n : 0;
		}
		r = wait(arg, err);
	}
	line[len] = 0;
	return r;
}

static void end_child(int *pidfd, bool kill_it)
{
	siginfo_t info;

	if (*pidfd < 0)
		return;
	if (kill_it)
		pidfd_send_signal(*pidfd, SIGKILL, NULL, 0);
	waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED);
	close_fdp(pidfd);
}

static int run(int disk_fd, const struct boot_found *f, char line[ANSWER_MAX], boot_wait_fn *wait, void *arg,
	       struct err *err)
{
	int fd[2], pidfd = -1, r;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "pipe");
	r = start(disk_fd, f, fd[1], &pidfd, err);
	close_fdp(&fd[1]);
	r = r ?: read_answer(fd[0], line, wait, arg, err);
	close_fdp(&fd[0]);
	end_child(&pidfd, r < 0);
	return r;
}

/* "ok COMMAND-LINE" or "no WHY", with a line break as the proof that it is whole. */
static int take_answer(char *line, char **ret_cmdline, struct err *err)
{
	char *end = strchr(line, '\n');

	if (end)
		*end = 0;
	if (end && !strncmp(line, "no ", 3))
		return err_set(err, -ENOEXEC, "%s", line + 3);
	if (!end || strncmp(line, "ok ", 3))
		return err_set(err, -EBADMSG, "it is so damaged, or so made, that " PROGRAM " had to be ended");
	*ret_cmdline = strdup(line + 3);
	return *ret_cmdline ? 0 : err_errno(err, -ENOMEM, "command line");
}

int boot_from_disk(int disk_fd, boot_wait_fn *wait, void *arg, struct boot_found *ret, struct err *err)
{
	_cleanup_(boot_found_fini) struct boot_found f = BOOT_FOUND_NONE;
	char line[ANSWER_MAX] = "";
	struct stat st;
	int r;

	f.kernel_fd = memfd_create("nidra-kernel", MFD_CLOEXEC);
	f.initrd_fd = memfd_create("nidra-initrd", MFD_CLOEXEC);
	if (f.kernel_fd < 0 || f.initrd_fd < 0)
		return err_errno(err, -errno, "memory for kernel and initrd");
	r = run(disk_fd, &f, line, wait, arg, err);
	r = r ?: take_answer(line, &f.cmdline, err);
	if (r < 0)
		return r;
	if (fstat(f.initrd_fd, &st) == 0 && !st.st_size)
		close_fdp(&f.initrd_fd);
	*ret = f;
	f = BOOT_FOUND_NONE;
	return 0;
}
