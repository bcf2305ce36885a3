/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who starts nidra-bootdisk and waits, with scripts in its place. It is looked for beside the program that asks, so
 * this test runs as a copy of itself in a folder of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/fromdisk.h"

static char folder[] = "/tmp/nidra-fromdisk-XXXXXX";

static void put_script(const char *text)
{
	char path[64];
	_cleanup_file_ FILE *f = NULL;

	snprintf(path, sizeof(path), "%s/nidra-bootdisk", folder);
	unlink(path);
	f = fopen(path, "we");
	fprintf(f, "#!/bin/sh\n%s\n", text);
	fchmod(fileno(f), 0700);
}

/* Waits for ever, or (patience) that many times. */
static int wait_on(void *arg, struct err *err)
{
	int *patience = arg;

	return patience && --*patience <= 0 ? err_set(err, -ECANCELED, "cancelled") : 0;
}

static int ask(const char *script, int *patience, struct boot_found *ret, struct err *err)
{
	_cleanup_close_ int disk = memfd_create("disk", MFD_CLOEXEC);

	*ret = BOOT_FOUND_NONE;
	*err = (struct err){ 0 };
	put_script(script);
	assert_int_equal(write(disk, "the disk", 8), 8);
	lseek(disk, 0, SEEK_SET);
	return boot_from_disk(disk, wait_on, patience, ret, err);
}

static void holds(int fd, const char *want)
{
	char got[64] = "";

	assert_true(pread(fd, got, sizeof(got) - 1, 0) >= 0);
	assert_string_equal(got, want);
}

static void test_files_and_a_line_come_back(void **state)
{
	struct boot_found f;
	struct err err;

	(void)state;
	assert_int_equal(ask("cat <&3 >&4; echo initrd >&5; echo ok root=x console=hvc0", NULL, &f, &err), 0);
	holds(f.kernel_fd, "the disk");
	holds(f.initrd_fd, "initrd\n");
	assert_string_equal(f.cmdline, "root=x console=hvc0");
	boot_found_fini(&f);
	assert_int_equal(ask("echo kernel >&4; echo 'ok '", NULL, &f, &err), 0);
	assert_int_equal(f.initrd_fd, -1);
	assert_string_equal(f.cmdline, "");
	boot_found_fini(&f);
}

static void test_it_has_no_other_descriptor_and_no_environment(void **state)
{
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC), secret = fcntl(null, F_DUPFD, 200);
	struct boot_found f;
	struct err err;

	(void)state;
	assert_int_equal(secret, 200); /* and goes to children that are started without care */
	setenv("SECRET", "x", 1);
	assert_int_equal(ask("[ -e /proc/$$/fd/200 ] && SECRET=fd; echo \"ok $SECRET\"", NULL, &f, &err), 0);
	assert_string_equal(f.cmdline, "");
	boot_found_fini(&f);
}

static void test_what_it_refuses_is_told(void **state)
{
	static const struct {
		const char *script, *why;
		int code;
	} rows[] = {
		{ "echo no kernel at all", "kernel at all", -ENOEXEC },
		{ "exit 1", "had to be ended", -EBADMSG },
		{ "kill -SYS $$", "had to be ended", -EBADMSG },
		{ "printf 'ok cut'", "had to be ended", -EBADMSG },
		{ "echo what", "had to be ended", -EBADMSG },
		{ "yes", "had to be ended", -EBADMSG },
		{ "printf 'ok '; head -c 5000 /dev/zero | tr '\\0' a; echo", "had to be ended", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct boot_found f;
		struct err err;

		assert_int_equal(ask(rows[i].script, NULL, &f, &err), rows[i].code);
		if (!strstr(err.msg, rows[i].why))
			fail_msg("%s: '%s'", rows[i].script, err.msg);
		assert_int_equal(f.kernel_fd, -1);
	}
}

/* Also where the monitor's children leave nothing, as its own does. */
static void test_who_waits_can_give_up_and_it_is_ended(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		int patience = 2, pid = 0;
		_cleanup_close_ int note = -1;
		char path[64], script[128], text[16] = "";
		struct boot_found f;
		struct err err;

		signal(SIGCHLD, i ? SIG_IGN : SIG_DFL);
		snprintf(path, sizeof(path), "%s/pid", folder);
		snprintf(script, sizeof(script), "echo $$ >%s; exec sleep 1000", path);
		unlink(path);
		while (!pid) { /* until it came so far before we gave up */
			patience = 4;
			assert_int_equal(ask(script, &patience, &f, &err), -ECANCELED);
			note = open(path, O_RDONLY | O_CLOEXEC);
			if (note >= 0 && read(note, text, sizeof(text) - 1) > 0)
				pid = atoi(text);
			close_fdp(&note);
		}
		assert_int_equal(kill(pid, 0), -1);
		assert_int_equal(errno, ESRCH);
	}
	signal(SIGCHLD, SIG_DFL);
}

static void test_a_program_that_is_not_there_is_named(void **state)
{
	struct boot_found f;
	struct err err;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/nidra-bootdisk", folder);
	unlink(path);
	f = BOOT_FOUND_NONE;
	err = (struct err){ 0 };
	assert_int_equal(boot_from_disk(0, wait_on, NULL, &f, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
}

/* Returns only if it cannot. */
static void run_as_copy(void)
{
	char command[PATH_MAX], copy[64], *argv[] = { copy, folder, NULL };

	if (!mkdtemp(folder))
		return;
	snprintf(copy, sizeof(copy), "%s/test", folder);
	snprintf(command, sizeof(command), "cp /proc/%d/exe %s", getpid(), copy);
	if (!system(command))
		execv(copy, argv);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_and_a_line_come_back),
		cmocka_unit_test(test_it_has_no_other_descriptor_and_no_environment),
		cmocka_unit_test(test_what_it_refuses_is_told),
		cmocka_unit_test(test_who_waits_can_give_up_and_it_is_ended),
		cmocka_unit_test(test_a_program_that_is_not_there_is_named),
	};
	char command[64];
	int r;

	if (argc < 2) {
		run_as_copy();
		return 1;
	}
	strcpy(folder, argv[1]);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command) ? 1 : r;
}
