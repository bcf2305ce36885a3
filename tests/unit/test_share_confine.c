/* SPDX-License-Identifier: Apache-2.0 */
/* What the server of a shared folder can still do, if a guest takes it over: each in a child of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sandbox.h"
#include "base/util.h"
#include "forbidden.h"
#include "scratch.h"
#include "share/confine.h"

static char top[64];
static int proc_fd;

/* ---- what ends it ---- */

static long change_a_mode(void)
{
	return chmod(top, 0700);
}

static long change_a_mode_elsewhere(void)
{
	return fchmodat(AT_FDCWD, top, 0700, 0);
}

static long link_elsewhere(void)
{
	return linkat(AT_FDCWD, "/etc/passwd", FD_ROOT, "passwd", 0);
}

static long change_folder(void)
{
	return chdir("/");
}

/* ---- what it needs ---- */

static int open_in(int dir, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(unsigned int)flags, .mode = flags & O_CREAT ? 0644 : 0 };

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static long work_in_the_folder(void)
{
	int fd = open_in(FD_ROOT, "file", O_CREAT | O_RDWR);

	if (fd < 0 || pwrite(fd, "hello", 5, 0) != 5 || ftruncate(fd, 3) < 0 || fsync(fd) < 0)
		return 1;
	if (mkdirat(FD_ROOT, "dir", 0755) < 0 || renameat(FD_ROOT, "file", FD_ROOT, "dir/file") < 0)
		return 2;
	return open_in(FD_ROOT, "dir/file", O_RDONLY) < 0 ? 3 : 0;
}

static long reopen_by_descriptor(void)
{
	char name[16];
	int fd = open_in(FD_ROOT, ".", O_PATH);

	snprintf(name, sizeof(name), "%d", fd);
	return openat(proc_fd, name, O_RDONLY | O_DIRECTORY) < 0;
}

/* ---- what Landlock refuses: 0 if it did ---- */

static long read_elsewhere(void)
{
	return open_in(AT_FDCWD, "/etc/passwd", O_RDONLY) >= 0 || errno != EACCES;
}

static long read_above(void)
{
	return open_in(FD_ROOT, "../secret", O_RDONLY) >= 0 || errno != EACCES;
}

static long make_above(void)
{
	return mkdirat(FD_ROOT, "../new", 0755) == 0 || errno != EACCES;
}

static long move_out(void)
{
	if (open_in(FD_ROOT, "mine", O_CREAT | O_RDWR) < 0)
		return 1;
	return renameat(FD_ROOT, "mine", FD_ROOT, "../mine") == 0 || (errno != EACCES && errno != EXDEV);
}

static long remove_above(void)
{
	return unlinkat(FD_ROOT, "../secret", 0) == 0 || errno != EACCES;
}

/* ---- */

static int set_up(void **state)
{
	char path[96];

	(void)state;
	snprintf(top, sizeof(top), "%s/test-confine-XXXXXX", scratch());
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/secret", top);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	snprintf(path, sizeof(path), "%s/folder", top);
	return mkdir(path, 0755);
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", top);
	return system(command);
}

/* The wait status of a confined child that does it, and exits with 0 if it returns 0. */
static int status_of(long (*act)(void))
{
	char path[96];
	pid_t pid = fork();
	int status;

	if (!pid) {
		snprintf(path, sizeof(path), "%s/folder", top);
		dup2(open(path, O_PATH | O_DIRECTORY), FD_ROOT);
		proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY);
		if (confine_user(FD_ROOT, NULL) < 0 || confine(FD_ROOT, proc_fd, false, NULL) < 0)
			_exit(99);
		_exit((int)act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_what_it_needs_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(status_of(work_in_the_folder), 0);
	assert_int_equal(status_of(reopen_by_descriptor), 0);
}

static void test_what_has_nothing_to_do_with_files_ends_it(void **state)
{
	static const struct act acts[] = {
		{ "chmod", change_a_mode },
		{ "fchmodat", change_a_mode_elsewhere },
		{ "linkat", link_elsewhere },
		{ "chdir", change_folder },
	};

	(void)state;
	assert_all_end(forbidden, ARRAY_SIZE(forbidden), status_of);
	assert_all_end(acts, ARRAY_SIZE(acts), status_of);
}

static void test_no_path_outside_of_the_folder_is_of_use(void **state)
{
	static long (*const acts[])(void) = { read_elsewhere, read_above, make_above, move_out, remove_above };

	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
		if (status_of(acts[i]))
			fail_msg("act %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_it_needs_is_allowed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_has_nothing_to_do_with_files_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_path_outside_of_the_folder_is_of_use, set_up, tear_down),
	};

	if (!sandbox_is_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
