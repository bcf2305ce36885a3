/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that reads somebody's disk can still do, if the disk takes it over: each in a child of its own. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sandbox.h"
#include "base/util.h"
#include "bootdisk/confine.h"
#include "forbidden.h"

static char byte;

static long read_another_descriptor(void)
{
	return read(0, &byte, 1);
}

static long write_to_the_disk(void)
{
	return write(FD_DISK, &byte, 1);
}

static long write_to_stderr(void)
{
	return write(2, &byte, 1);
}

static long map_the_disk(void)
{
	return (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, FD_DISK, 0);
}

static long use_memory(void)
{
	char *volatile p = malloc(1 << 20);

	if (p)
		memset(p, 1, 1 << 20);
	free(p);
	return p ? 0 : -1;
}

static long use_too_much_memory(void)
{
	char *volatile p = malloc((size_t)1 << 30); /* or a compiler knows that nobody uses it */

	free(p);
	return p ? -1 : 0;
}

static long read_the_disk(void)
{
	return pread(FD_DISK, &byte, 1, 0) == 1 ? 0 : -1;
}

/* One that is a socket. */
static long ask_for_the_disk(void)
{
	return write(FD_DISK, &byte, 1) == 1 && read(FD_DISK, &byte, 1) == 1 ? 0 : -1;
}

static long write_the_kernel(void)
{
	return write(FD_KERNEL, &byte, 1) == 1 ? 0 : -1;
}

/* The wait status of a confined child that does it, and exits with 0 if it returns 0. */
static int status_of(bool served, long (*act)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		dup2(open("/dev/zero", O_RDWR), FD_DISK);
		dup2(memfd_create("kernel", 0), FD_KERNEL);
		if (confine(served, NULL) < 0)
			_exit(99);
		_exit(act() ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void test_what_it_needs_is_allowed(void **state)
{
	(void)state;
	assert_int_equal(status_of(false, read_the_disk), 0);
	assert_int_equal(status_of(true, ask_for_the_disk), 0);
	for (int served = 0; served < 2; served++) {
		assert_int_equal(status_of(served, write_the_kernel), 0);
		assert_int_equal(status_of(served, use_memory), 0);
		assert_int_equal(status_of(served, use_too_much_memory), 0);
	}
}

static int status_of_reader(long (*act)(void))
{
	return status_of(false, act);
}

static int status_of_asker(long (*act)(void))
{
	return status_of(true, act);
}

static void test_all_else_ends_it(void **state)
{
	static const struct act acts[] = {
		{ "read", read_another_descriptor },
		{ "write stderr", write_to_stderr },
		{ "mmap disk", map_the_disk },
	};
	static const struct act readers[] = { { "write disk", write_to_the_disk } }; /* askers ask by it */

	(void)state;
	assert_all_end(forbidden, ARRAY_SIZE(forbidden), status_of_reader);
	assert_all_end(acts, ARRAY_SIZE(acts), status_of_reader);
	assert_all_end(readers, ARRAY_SIZE(readers), status_of_reader);
	assert_all_end(forbidden, ARRAY_SIZE(forbidden), status_of_asker);
	assert_all_end(acts, ARRAY_SIZE(acts), status_of_asker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_needs_is_allowed),
		cmocka_unit_test(test_all_else_ends_it),
	};

	if (!sandbox_is_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
