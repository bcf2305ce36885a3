/* SPDX-License-Identifier: Apache-2.0 */
/* What no confined program of ours may do, whatever it is for: the filter of system calls ends it. After cmocka.h. */
#ifndef NIDRA_TESTS_FORBIDDEN_H
#define NIDRA_TESTS_FORBIDDEN_H

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"

struct act {
	const char *what;
	long (*act)(void);
};

static long open_a_file(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static long make_a_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long make_a_process(void)
{
	return fork();
}

static long run_a_program(void)
{
	return execl("/bin/true", "true", NULL);
}

static long map_memory_to_execute(void)
{
	return (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long send_a_signal(void)
{
	return kill(1, 0); /* getppid() is not allowed, either, and would end it first */
}

static const struct act forbidden[] = {
	{ "open", open_a_file },
	{ "socket", make_a_socket },
	{ "fork", make_a_process },
	{ "exec", run_a_program },
	{ "mmap exec", map_memory_to_execute },
	{ "kill", send_a_signal },
};

/* @status_of: the wait status of a confined child that does it. */
static void assert_all_end(const struct act *act, size_t n, int (*status_of)(long (*act)(void)))
{
	for (size_t i = 0; i < n; i++) {
		int status = status_of(act[i].act);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: status %#x", act[i].what, (unsigned int)status);
	}
}

#endif
