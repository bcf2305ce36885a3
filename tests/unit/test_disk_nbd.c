/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks of real NBD servers: nbdkit, and qemu-nbd of our own. Servers are killed and come back, forget what they had
 * acknowledged, have no space, do not answer. What a server's file holds is looked at behind its back. Without nbdkit
 * or qemu-nbd the tests that need them are skipped.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/util.h"
#include "device/disk.h"
#include "scratch.h"
#include "wait.h"

#define MIB	 (1u << 20)
#define DISK	 (64u * MIB)
#define PAGE	 4096u
#define ARGS_MAX 16

static char dir[64], file[96], sock[96], uri[160], flag[96];
static pid_t server;
static struct disk *disk;

/* ---- servers ---- */

static bool there_is(const char *program)
{
	char command[96];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
	return system(command) == 0;
}

#define NEEDS(program)                                                                                                 \
	do {                                                                                                           \
		if (!there_is(program)) {                                                                              \
			print_message("%s is not installed\n", program);                                               \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

/* Its socket has a name before somebody listens there. */
static bool listens(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", sock);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* nbdkit with @args behind its own, up to NULL. */
static void serve(const char *const *args)
{
	const char *argv[ARGS_MAX] = { "nbdkit", "--foreground", "--exit-with-parent", "--unix", sock };
	int n = 5;

	while (*args)
		argv[n++] = *args++;
	unlink(sock);
	server = fork();
	if (!server) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 2);
		execvp(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	WAIT(listens());
}

#define SERVE(...) serve((const char *const[]){ __VA_ARGS__, NULL })

/* Without a chance to write anything. */
static void kill_server(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
}

/* What it has is in memory until it is flushed. */
static void serve_forgetful(void)
{
	SERVE("--filter=cache", "file", file);
}

/* ---- the disk ---- */

struct request {
	struct disk_io io;
	struct iovec iov[4];
	bool ended;
	int result;
};

static void on_done(struct disk_io *io, int result)
{
	struct request *r = container_of(io, struct request, io);

	r->ended = true;
	r->result = result;
}

static void drive(void)
{
	struct pollfd p = { .fd = disk->ops->fd(disk), .events = POLLIN };

	poll(&p, 1, 10);
	disk->ops->reap(disk);
}

#define DRIVE_UNTIL(cond) WAIT_DOING(cond, drive())

static void submit(struct request *r, enum disk_op op, uint64_t offset, void *buf, size_t bytes)
{
	*r = (struct request){ .io = { .op = op, .offset = offset, .bytes = bytes, .done = on_done } };
	r->iov[0] = (struct iovec){ buf, bytes };
	r->io.iov = r->iov;
	r->io.iovs = buf ? 1 : 0;
	disk->ops->submit(disk, &r->io);
}

static int transfer(enum disk_op op, uint64_t offset, void *buf, size_t bytes)
{
	struct request r;

	submit(&r, op, offset, buf, bytes);
	DRIVE_UNTIL(r.ended);
	return r.result;
}

static int write_page(uint64_t offset, uint8_t value)
{
	uint8_t buf[PAGE];

	memset(buf, value, sizeof(buf));
	return transfer(DISK_WRITE, offset, buf, sizeof(buf));
}

static void assert_page(uint64_t offset, uint8_t value)
{
	uint8_t buf[PAGE] = { 0 };

	assert_int_equal(transfer(DISK_READ, offset, buf, sizeof(buf)), 0);
	for (unsigned int i = 0; i < PAGE; i++)
		assert_int_equal(buf[i], value);
}

static int in_file(uint64_t offset)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	uint8_t value = 0;
	ssize_t n = pread(fd, &value, 1, (off_t)offset);

	close(fd);
	return n == 1 ? value : -1;
}

static int open_as(const char *path, const char *format, bool readonly, enum disk_cache cache, struct err *err)
{
	struct disk_options o = {
		.path = path, .format = format, .name = "xvda", .folder = dir, .readonly = readonly, .cache = cache
	};

	return disk_open(&o, &disk, err);
}

static void open_uri(void)
{
	assert_int_equal(open_as(uri, NULL, false, DISK_WRITEBACK, NULL), 0);
}

static void wait_back(uint32_t comebacks)
{
	DRIVE_UNTIL(disk->comebacks > comebacks);
}

static int setup(void **state)
{
	int fd;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/nidra-nbd-XXXXXX", scratch());
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/disk", dir);
	snprintf(sock, sizeof(sock), "%s/sock", dir);
	snprintf(flag, sizeof(flag), "%s/flag", dir);
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", sock);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, DISK) < 0)
		return -1;
	close(fd);
	server = 0;
	disk = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	disk_close(disk);
	if (server)
		kill_server();
	unlink(file);
	unlink(sock);
	unlink(flag);
	return rmdir(dir); /* nothing else was left in it */
}

/* ---- what a disk does ---- */

static void test_what_is_written_is_with_the_server(void **state)
{
	static uint8_t out[4][PAGE], in[4][PAGE];
	struct request r = { .io = { .op = DISK_WRITE, .offset = 512, .bytes = sizeof(out), .done = on_done } };

	(void)state;
	NEEDS("nbdkit");
	SERVE("file", file);
	open_uri();
	assert_int_equal(disk->bytes, DISK);
	assert_int_equal(disk->block_bytes, 512);
	assert_int_equal(disk_fd(disk), -1);
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int k = 0; k < PAGE; k++)
			out[i][k] = (uint8_t)(i * 31 + k * 7 + k / 512);
		r.iov[i] = (struct iovec){ out[i], PAGE };
	}
	r.io.iov = r.iov;
	r.io.iovs = 4;
	disk->ops->submit(disk, &r.io);
	DRIVE_UNTIL(r.ended);
	assert_int_equal(r.result, 0);
	assert_int_equal(in_file(512 + PAGE + 1), out[1][1]);
	r.io.op = DISK_READ;
	r.ended = false;
	for (unsigned int i = 0; i < 4; i++)
		r.iov[i] = (struct iovec){ in[i], PAGE };
	disk->ops->submit(disk, &r.io);
	DRIVE_UNTIL(r.ended);
	assert_int_equal(r.result, 0);
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(transfer(DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(transfer(DISK_DISCARD, 0, NULL, DISK), 0);
	assert_page(512, 0);
	assert_int_equal(transfer(DISK_READ, DISK, in, PAGE), -EINVAL);
	assert_page(0, 0); /* and goes on */
}

static void test_many_requests_are_under_way_at_once(void **state)
{
	static uint8_t buf[64][PAGE];
	static struct request r[64];
	uint64_t begin;

	(void)state;
	NEEDS("nbdkit");
	SERVE("--filter=delay", "file", file, "wdelay=200ms");
	open_uri();
	begin = clock_monotonic_ns();
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++) {
		memset(buf[i], (int)i + 1, PAGE);
		submit(&r[i], DISK_WRITE, i * PAGE, buf[i], PAGE);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++)
		DRIVE_UNTIL(r[i].ended);
	assert_true(clock_monotonic_ns() - begin < 64 * 100 * NSEC_PER_MSEC);
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++) {
		assert_int_equal(r[i].result, 0);
		assert_int_equal(in_file(i * PAGE), i + 1);
	}
}

static void test_errors_of_the_server_are_the_requests(void **state)
{
	char arg[128];
	int fd;

	(void)state;
	NEEDS("nbdkit");
	snprintf(arg, sizeof(arg), "error-file=%s", flag);
	SERVE("--filter=error", "file", file, "error-pwrite=ENOSPC", "error-pwrite-rate=100%", "error-pread=EIO",
	      "error-pread-rate=100%", arg);
	open_uri();
	fd = open(flag, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(write_page(0, 1), -ENOSPC);
	assert_int_equal(transfer(DISK_READ, 0, (uint8_t[PAGE]){ 0 }, PAGE), -EIO);
	unlink(flag);
	assert_int_equal(write_page(0, 2), 0);
	assert_page(0, 2);
	assert_int_equal(disk->comebacks, 1); /* the connection was never in doubt */
}

static void test_what_nobody_may_write_is_only_read(void **state)
{
	struct err err = { 0 };

	(void)state;
	NEEDS("nbdkit");
	SERVE("-r", "file", file);
	assert_int_equal(open_as(uri, NULL, false, DISK_WRITEBACK, &err), -EROFS);
	assert_non_null(strstr(err.msg, "access=ro"));
	assert_int_equal(open_as(uri, NULL, true, DISK_WRITEBACK, NULL), 0);
	assert_int_equal(disk->discard_unit, 0);
	assert_page(0, 0);
}

static void test_who_is_not_there_is_named(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_true(open_as(uri, NULL, false, DISK_WRITEBACK, &err) < 0);
	assert_non_null(strstr(err.msg, uri));
	assert_non_null(strstr(err.msg, "No such file"));
}

static void test_writing_through_is_said_with_each_write(void **state)
{
	struct err err = { 0 };

	(void)state;
	NEEDS("nbdkit");
	serve_forgetful();
	assert_int_equal(open_as(uri, NULL, false, DISK_WRITETHROUGH, NULL), 0);
	assert_int_equal(write_page(0, 3), 0);
	assert_int_equal(in_file(0), 3);
	disk_close(take_ptr(disk));
	kill_server();
	SERVE("--filter=fua", "--filter=cache", "file", file);
	assert_int_equal(open_as(uri, NULL, false, DISK_WRITETHROUGH, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.msg, "FUA"));
}

/* ---- servers that go ---- */

static void test_a_server_that_is_back_is_used_again(void **state)
{
	struct request r;
	uint8_t buf[PAGE];
	uint32_t comebacks;

	(void)state;
	NEEDS("nbdkit");
	SERVE("--filter=delay", "file", file, "rdelay=30");
	open_uri();
	submit(&r, DISK_READ, 0, buf, PAGE);
	drive();
	assert_false(r.ended);
	comebacks = disk->comebacks;
	kill_server();
	DRIVE_UNTIL(r.ended);
	assert_int_equal(r.result, -ENOTCONN);
	assert_true(*disk->trouble);
	assert_int_equal(write_page(0, 1), -ENOTCONN);
	assert_int_equal(transfer(DISK_FLUSH, 0, NULL, 0), -ENOTCONN);
	assert_true(*disk->trouble);
	SERVE("file", file);
	wait_back(comebacks);
	assert_string_equal(disk->trouble, "");
	assert_int_equal(write_page(0, 4), 0);
	assert_page(0, 4);
}

static void test_what_was_not_flushed_is_written_again(void **state)
{
	uint32_t comebacks;

	(void)state;
	NEEDS("nbdkit");
	serve_forgetful();
	open_uri();
	comebacks = disk->comebacks;
	assert_int_equal(write_page(0, 1), 0);
	assert_int_equal(write_page(MIB, 2), 0);
	assert_int_equal(write_page(0, 3), 0); /* over the first one */
	assert_int_equal(in_file(0), 0);       /* or the server forgets nothing */
	kill_server();
	DRIVE_UNTIL(write_page(8 * PAGE, 9) == -ENOTCONN);
	serve_forgetful();
	wait_back(comebacks);
	assert_page(0, 3);
	assert_page(MIB, 2);
	assert_int_equal(in_file(0), 0);
	assert_int_equal(transfer(DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(in_file(0), 3);
	assert_int_equal(in_file(MIB), 2);
	assert_int_equal(in_file(8 * PAGE), 0); /* nobody was told that it is there */
}

static void test_a_server_may_go_again_before_all_is_written_again(void **state)
{
	uint32_t comebacks;

	(void)state;
	NEEDS("nbdkit");
	serve_forgetful();
	open_uri();
	comebacks = disk->comebacks;
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(write_page(i * PAGE, (uint8_t)(i + 1)), 0);
	kill_server();
	DRIVE_UNTIL(write_page(MIB, 9) == -ENOTCONN);
	SERVE("--filter=delay", "--filter=cache", "file", file, "wdelay=50ms");
	for (uint64_t until = clock_monotonic_ns() + 700 * NSEC_PER_MSEC; clock_monotonic_ns() < until;)
		drive();
	assert_int_equal(disk->comebacks, comebacks);
	assert_int_equal(write_page(MIB, 9), -ENOTCONN); /* nobody gets ahead */
	kill_server();
	serve_forgetful();
	wait_back(comebacks);
	for (unsigned int i = 0; i < 20; i++)
		assert_page(i * PAGE, (uint8_t)(i + 1));
}

static void test_what_was_flushed_is_left_alone(void **state)
{
	uint32_t comebacks;
	int fd;

	(void)state;
	NEEDS("nbdkit");
	serve_forgetful();
	open_uri();
	comebacks = disk->comebacks;
	assert_int_equal(write_page(0, 1), 0);
	assert_int_equal(transfer(DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(write_page(MIB, 2), 0);
	kill_server();
	fd = open(file, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "\x55", 1, 0), 1);
	close(fd);
	DRIVE_UNTIL(write_page(2 * MIB, 9) == -ENOTCONN);
	serve_forgetful();
	wait_back(comebacks);
	assert_int_equal(transfer(DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(in_file(0), 0x55);
	assert_int_equal(in_file(MIB), 2);
}

/* Who never flushes does not fill our memory. */
static void test_what_is_kept_is_bounded(void **state)
{
	static uint8_t buf[MIB];

	(void)state;
	NEEDS("nbdkit");
	serve_forgetful();
	open_uri();
	memset(buf, 6, sizeof(buf));
	assert_int_equal(transfer(DISK_WRITE, 0, buf, MIB), 0);
	assert_int_equal(in_file(0), 0);
	for (unsigned int i = 1; i < 48; i++)
		assert_int_equal(transfer(DISK_WRITE, i * MIB, buf, MIB), 0);
	assert_int_equal(in_file(0), 6);
}

static void test_a_disk_that_came_back_as_less_is_not_it(void **state)
{
	uint32_t comebacks;

	(void)state;
	NEEDS("nbdkit");
	SERVE("file", file);
	open_uri();
	comebacks = disk->comebacks;
	kill_server();
	assert_int_equal(truncate(file, DISK / 2), 0);
	SERVE("file", file);
	DRIVE_UNTIL(strstr(disk->trouble, "33554432"));
	assert_int_equal(disk->comebacks, comebacks);
	assert_int_equal(write_page(0, 1), -ENOTCONN);
	assert_int_equal(truncate(file, DISK + MIB), 0);
	kill_server();
	SERVE("-r", "file", file);
	DRIVE_UNTIL(strstr(disk->trouble, "lets nobody write"));
	kill_server();
	SERVE("--filter=fua", "file", file); /* has none */
	DRIVE_UNTIL(strstr(disk->trouble, "can do less"));
	assert_int_equal(disk->comebacks, comebacks);
	kill_server();
	SERVE("file", file);
	wait_back(comebacks);
	{
		uint64_t bytes;

		assert_int_equal(disk->ops->resized(disk, &bytes), 0);
		assert_int_equal(bytes, DISK + MIB);
	}
}

static void test_a_disk_whose_server_hangs_can_be_closed(void **state)
{
	uint8_t buf[PAGE];
	struct request r[2];
	uint64_t begin;

	(void)state;
	NEEDS("nbdkit");
	SERVE("file", file);
	open_uri();
	kill(server, SIGSTOP);
	waitpid(server, NULL, WUNTRACED); /* all of its threads */
	memset(buf, 0, sizeof(buf));
	submit(&r[0], DISK_READ, 0, buf, PAGE);
	submit(&r[1], DISK_WRITE, 0, buf, PAGE);
	drive();
	assert_false(r[0].ended || r[1].ended);
	begin = clock_monotonic_ns();
	disk_close(take_ptr(disk));
	assert_true(clock_monotonic_ns() - begin < 5 * NSEC_PER_SEC);
	assert_int_equal(r[0].result, -ECANCELED);
	assert_int_equal(r[1].result, -ECANCELED);
}

/* ---- formats ---- */

static void make_qcow2(void)
{
	char command[256];

	snprintf(command, sizeof(command), "qemu-img create -q -f qcow2 %s 64M", file);
	assert_int_equal(system(command), 0);
}

/* The process that serves our file; 0: none does. */
static pid_t own_server(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (!found && (e = readdir(d))) {
		char name[300], text[1024] = "";
		pid_t pid = atoi(e->d_name);
		int fd;

		snprintf(name, sizeof(name), "/proc/%d/cmdline", pid);
		fd = pid > 0 ? open(name, O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			continue;
		for (ssize_t i = 0, n = read(fd, text, sizeof(text) - 1); i < n; i++)
			text[i] = text[i] ?: ' ';
		close(fd);
		if (strstr(text, "qemu-nbd") && strstr(text, dir))
			found = pid;
	}
	closedir(d);
	return found;
}

static void test_a_format_has_a_server_of_its_own(void **state)
{
	struct err err = { 0 };

	(void)state;
	NEEDS("qemu-nbd");
	make_qcow2();
	assert_int_equal(open_as(file, "qcow2", false, DISK_WRITEBACK, NULL), 0);
	assert_int_equal(disk->bytes, DISK);
	assert_true(disk->discard_unit);
	assert_true(own_server());
	assert_int_equal(write_page(MIB, 5), 0);
	assert_int_equal(transfer(DISK_FLUSH, 0, NULL, 0), 0);
	disk_close(take_ptr(disk));
	assert_false(own_server());
	assert_int_equal(open_as(file, "qcow2", true, DISK_WRITEBACK, NULL), 0);
	assert_page(MIB, 5);
	disk_close(take_ptr(disk));
	assert_true(open_as(file, "vmdk", false, DISK_WRITEBACK, &err) < 0);
	assert_non_null(strstr(err.msg, file));
	assert_non_null(strstr(err.msg, "VMDK")); /* its own words */
	assert_false(own_server());
}

/* What it had in its caches, of its own tables, too, is lost with it, and written again. */
static void test_a_server_of_our_own_that_dies_is_started_again(void **state)
{
	uint32_t comebacks;

	(void)state;
	NEEDS("qemu-nbd");
	make_qcow2();
	assert_int_equal(open_as(file, "qcow2", false, DISK_WRITEBACK, NULL), 0);
	for (unsigned int round = 0; round < 3; round++) {
		pid_t pid = own_server();

		comebacks = disk->comebacks;
		for (unsigned int i = 0; i < 20; i++)
			assert_int_equal(write_page((i * 3 + round) * MIB, (uint8_t)(i + round + 1)), 0);
		assert_true(pid);
		kill(pid, SIGKILL);
		wait_back(comebacks);
		for (unsigned int k = 0; k <= round; k++)
			for (unsigned int i = 0; i < 20; i++)
				assert_page((i * 3 + k) * MIB, (uint8_t)(i + k + 1));
	}
	disk_close(take_ptr(disk));
	{
		char command[256];

		snprintf(command, sizeof(command), "qemu-img check -q %s >/dev/null", file);
		assert_int_equal(system(command), 0);
	}
}

static void test_its_server_ends_with_a_killed_process(void **state)
{
	struct err err = { 0 };
	int ready[2];
	pid_t child;
	char c;

	(void)state;
	NEEDS("qemu-nbd");
	make_qcow2();
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (open_as(file, "qcow2", false, DISK_WRITEBACK, NULL) == 0)
			write(ready[1], "", 1);
		pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	assert_true(own_server());
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	/* Whoever starts the machine again at once need not know of it. */
	if (open_as(file, "qcow2", false, DISK_WRITEBACK, &err) < 0)
		fail_msg("%s", err.msg);
	disk_close(take_ptr(disk));
	WAIT(!own_server());
}

static void test_a_file_has_one_server_that_writes(void **state)
{
	struct disk *first;
	struct err err = { 0 };

	(void)state;
	NEEDS("qemu-nbd");
	make_qcow2();
	assert_int_equal(open_as(file, "qcow2", false, DISK_WRITEBACK, NULL), 0);
	first = take_ptr(disk);
	assert_int_equal(open_as(file, "qcow2", false, DISK_WRITEBACK, &err), -EBUSY);
	assert_non_null(strstr(err.msg, file));
	assert_non_null(strstr(err.msg, "in use"));
	disk = first;
	assert_int_equal(write_page(0, 1), 0);
}

static void test_a_server_that_is_not_installed_is_named(void **state)
{
	struct err err = { 0 };
	char *path = strdup(getenv("PATH") ?: "");

	(void)state;
	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(open_as(file, "qcow2", false, DISK_WRITEBACK, &err), -ENOENT);
	setenv("PATH", path, 1);
	free(path);
	assert_non_null(strstr(err.msg, "qemu-utils"));
	assert_non_null(strstr(err.msg, file));
}

static void test_formats_have_names(void **state)
{
	(void)state;
	assert_string_equal(disk_format("qcow2"), "qcow2");
	assert_string_equal(disk_format("vhd"), "vpc"); /* as xl has it */
	assert_null(disk_format("host_device"));
	assert_null(disk_format("qed"));
	assert_null(disk_format("nbd"));
	assert_true(disk_format_is_raw(NULL));
	assert_true(disk_format_is_raw("raw"));
	assert_false(disk_format_is_raw("qcow2"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_written_is_with_the_server),
		TEST(test_many_requests_are_under_way_at_once),
		TEST(test_errors_of_the_server_are_the_requests),
		TEST(test_what_nobody_may_write_is_only_read),
		TEST(test_who_is_not_there_is_named),
		TEST(test_writing_through_is_said_with_each_write),
		TEST(test_a_server_that_is_back_is_used_again),
		TEST(test_what_was_not_flushed_is_written_again),
		TEST(test_a_server_may_go_again_before_all_is_written_again),
		TEST(test_what_was_flushed_is_left_alone),
		TEST(test_what_is_kept_is_bounded),
		TEST(test_a_disk_that_came_back_as_less_is_not_it),
		TEST(test_a_disk_whose_server_hangs_can_be_closed),
		TEST(test_a_format_has_a_server_of_its_own),
		TEST(test_a_server_of_our_own_that_dies_is_started_again),
		TEST(test_its_server_ends_with_a_killed_process),
		TEST(test_a_file_has_one_server_that_writes),
		TEST(test_a_server_that_is_not_installed_is_named),
		cmocka_unit_test(test_formats_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
