/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/fromdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/child.h"
#include "boot/boot.h"

#define PROGRAM	   "nidra-bootdisk"
#define ANSWER_MAX (BOOT_CMDLINE_MAX + 16)
#define SLICE_MS   50

void boot_found_fini(struct boot_found *f)
{
	close_fdp(&f->kernel_fd);
	close_fdp(&f->initrd_fd);
	free(f->cmdline);
	f->cmdline = NULL;
}

static int start(int disk_fd, const struct boot_found *f, int answer_fd, int *ret_pidfd, struct err *err)
{
	const int fd[] = { -1, answer_fd, -1, disk_fd, f->kernel_fd, f->initrd_fd };
	static const char *const argv[] = { PROGRAM, NULL };

	return child_start(argv, fd, ARRAY_SIZE(fd), ret_pidfd, err);
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
	child_end(&pidfd, r < 0);
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
