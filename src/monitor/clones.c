/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process per machine of a fork. It inherits the descriptors of state and memory, and says "ok" on a pipe
 * once its guest runs, or why it will not.
 */
#include "monitor/clones.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "guest/config.h"

#define CLONES_MAX 1000
#define WAIT_MS	   100
#define STOP_MS	   10000

struct clone {
	char *name;
	int pidfd;    /* -1: not started */
	int ready_fd; /* -1: it has spoken */
};

struct clones {
	uint32_t n;
	struct clone clone[];
};

static void clones_free(void *arg)
{
	struct clones *c = arg;

	for (uint32_t i = 0; i < c->n; i++) {
		free(c->clone[i].name);
		close_fdp(&c->clone[i].pidfd);
		close_fdp(&c->clone[i].ready_fd);
	}
	free(c);
}

static int spawn(char **argv, const int *keep, size_t n, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, dfl;
	int r;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGCHLD);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	for (size_t i = 0; i < n; i++) /* onto itself: it stays open in the child */
		posix_spawn_file_actions_adddup2(&files, keep[i], keep[i]);
	r = posix_spawn(ret, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

static int start(void *arg, uint32_t i, const struct sleep_fork *from, struct err *err)
{
	struct clone *c = &((struct clones *)arg)->clone[i];
	char self[PATH_MAX] = "", fork[32], ready[16];
	char *argv[] = { self, (char *)"--name", c->name, (char *)"--fork", fork, (char *)"--ready-fd", ready, NULL };
	_cleanup_close_ int theirs = -1;
	int pipe[2], keep[3], r;
	pid_t pid;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return err_errno(err, -errno, "path of this program");
	if (pipe2(pipe, O_CLOEXEC) < 0)
		return err_errno(err, -errno, "pipe");
	c->ready_fd = pipe[0];
	theirs = pipe[1];
	snprintf(fork, sizeof(fork), "%d,%d", from->state_fd, from->memory_fd);
	snprintf(ready, sizeof(ready), "%d", theirs);
	keep[0] = from->state_fd;
	keep[1] = from->memory_fd;
	keep[2] = theirs;
	r = spawn(argv, keep, ARRAY_SIZE(keep), &pid);
	if (r < 0)
		return err_errno(err, r, "start %s", self);
	c->pidfd = pidfd_open(pid, 0);
	return 0; /* without a pidfd it cannot be stopped, but it is there */
}

static int wait_for(void *arg, uint32_t i, struct err *err)
{
	struct clone *c = &((struct clones *)arg)->clone[i];
	struct pollfd p = { .fd = c->ready_fd, .events = POLLIN };
	char line[512] = "";
	ssize_t n;

	if (c->ready_fd < 0)
		return 0;
	if (poll(&p, 1, WAIT_MS) <= 0)
		return -EAGAIN;
	n = read(c->ready_fd, line, sizeof(line) - 1);
	close_fdp(&c->ready_fd);
	line[strcspn(line, "\n")] = 0;
	if (n > 0 && !strcmp(line, "ok"))
		return 0;
	return err_set(err, -EIO, "%s: %s", c->name, *line ? line : "its monitor died when it started");
}

static void stop(void *arg, uint32_t i)
{
	struct clone *c = &((struct clones *)arg)->clone[i];
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };

	if (c->pidfd < 0 || pidfd_send_signal(c->pidfd, SIGTERM, NULL, 0) < 0)
		return;
	if (poll(&p, 1, STOP_MS) <= 0)
		pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
}

int clones_new(const json_t *names, struct sleep_clones *ret, struct err *err)
{
	uint32_t n = (uint32_t)json_array_size(names);
	struct clones *c;

	if (n > CLONES_MAX)
		return err_set(err, -EINVAL, "names: %u machines at once are too many (%u)", n, CLONES_MAX);
	c = calloc(1, sizeof(*c) + n * sizeof(c->clone[0]));
	if (!c)
		return err_errno(err, -ENOMEM, "fork");
	for (; c->n < n; c->n++) {
		const char *name = json_string_value(json_array_get(names, c->n));
		struct clone *clone = &c->clone[c->n];

		clone->pidfd = clone->ready_fd = -1;
		clone->name = name && guest_name_is_valid(name) ? strdup(name) : NULL;
		if (!clone->name) {
			clones_free(c);
			return err_set(err, -EINVAL, "names: number %u is no name of a machine", c->n + 1);
		}
	}
	*ret = (struct sleep_clones){
		.n = n, .start = start, .wait = wait_for, .stop = stop, .free = clones_free, .arg = c
	};
	return 0;
}
