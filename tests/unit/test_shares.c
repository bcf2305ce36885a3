/* SPDX-License-Identifier: Apache-2.0 */
/* Servers of shared folders as a guest has them: started, quiet, ended by somebody else, and again after a wake. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "guest/shares.h"
#include "scratch.h"
#include "share_client.h"

#define SOON (clock_monotonic_ns() + CLIENT_WAIT_S * NSEC_PER_SEC)

struct fixture {
	char folder[64];
	struct guest_share share;
	struct guest_config config;
	struct shares *shares;
};

/* The program is looked for beside the one that starts it. */
static int group_set_up(void **state)
{
	char self[PATH_MAX] = "", path[PATH_MAX + 32];

	(void)state;
	signal(SIGCHLD, SIG_IGN); /* as nidra-monitor has it */
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/nidra-share", dirname(self));
	return symlink(NIDRA_SHARE, path) < 0 && errno != EEXIST ? -1 : 0;
}

static int set_up(void **state)
{
	static char tag[] = "data";
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->folder, sizeof(f->folder), "%s/test-shares-XXXXXX", scratch());
	assert_non_null(mkdtemp(f->folder));
	f->share = (struct guest_share){ .tag = tag, .path = f->folder };
	f->config.shares = (struct guest_shares){ .share = &f->share, .n = 1 };
	assert_int_equal(shares_new(&f->config, &f->shares, NULL), 0);
	assert_int_equal(shares_start(f->shares, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	shares_free(f->shares);
	rmdir(f->folder);
	free(f);
	return 0;
}

static bool is_answered(int fd, uint32_t xid)
{
	client_send_null(fd, xid);
	return client_is_answered(fd, xid);
}

static pid_t child_of(const char *task)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", task);
	fd = open(path, O_RDONLY);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		assert_null(strchr(strchr(text, ' ') + 1, ' ')); /* one alone */
	close_fdp(&fd);
	return (pid_t)atoi(text);
}

/* The one child of this process' threads. */
static pid_t server(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *e;
	pid_t found = 0;

	while ((e = readdir(tasks))) {
		pid_t pid = child_of(e->d_name);

		assert_true(!found || !pid);
		found = found ?: pid;
	}
	closedir(tasks);
	assert_true(found > 0);
	return found;
}

static void test_quiet_until_it_may_go(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(shares_socket(f->shares, 0));
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_true(is_answered(fd, 1));
	for (uint32_t i = 2; i < 5; i++) {
		assert_int_equal(shares_quiet(f->shares, SOON, NULL), 0);
		assert_int_equal(shares_quiet(f->shares, SOON, NULL), 0);
		client_send_null(fd, i);
		assert_int_equal(poll(&p, 1, 50), 0);
		shares_go(f->shares);
		assert_true(client_is_answered(fd, i));
	}
	close(fd);
}

/* `resume -u` connects devices of a machine whose servers run. */
static void test_who_runs_is_not_started_again(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(shares_socket(f->shares, 0));
	pid_t before = server();

	assert_true(is_answered(fd, 1));
	assert_int_equal(shares_quiet(f->shares, SOON, NULL), 0);
	assert_int_equal(shares_start(f->shares, NULL), 0);
	shares_go(f->shares);
	assert_true(is_answered(fd, 2));
	assert_int_equal(server(), before);
	close(fd);
}

static void test_one_that_is_killed_comes_back(void **state)
{
	struct fixture *f = *state;
	int fd = client_connect(shares_socket(f->shares, 0));

	assert_true(is_answered(fd, 1));
	kill(server(), SIGKILL);
	assert_false(client_is_answered(fd, 2)); /* the connection is gone */
	close(fd);
	fd = client_connect(shares_socket(f->shares, 0)); /* and a new one waits for the server */
	assert_true(is_answered(fd, 3));
	/* While all is quiet, it comes back with the rest. */
	assert_int_equal(shares_quiet(f->shares, SOON, NULL), 0);
	kill(server(), SIGKILL);
	assert_false(client_is_answered(fd, 4));
	close(fd);
	assert_int_equal(shares_quiet(f->shares, SOON, NULL), 0);
	shares_go(f->shares);
	fd = client_connect(shares_socket(f->shares, 0));
	assert_true(is_answered(fd, 5));
	close(fd);
}

static void test_what_it_knows_goes_along(void **state)
{
	struct fixture *f = *state;
	_cleanup_bytes_ struct bytes_writer one = { 0 }, two = { 0 };

	assert_int_equal(shares_quiet(f->shares, SOON, NULL), 0);
	assert_int_equal(shares_save(f->shares, 0, &one, NULL), 0);
	shares_free(take_ptr(f->shares));
	assert_int_equal(shares_new(&f->config, &f->shares, NULL), 0);
	assert_int_equal(shares_load(f->shares, 0, one.buf, one.len, NULL), 0);
	assert_int_equal(shares_start(f->shares, NULL), 0);
	assert_int_equal(shares_save(f->shares, 0, &two, NULL), 0);
	assert_int_equal(one.len, two.len);
	assert_memory_equal(one.buf, two.buf, one.len);
}

static void test_nonsense_of_an_image_is_refused(void **state)
{
	struct fixture *f = *state;
	struct err err = { 0 };

	shares_free(take_ptr(f->shares));
	assert_int_equal(shares_new(&f->config, &f->shares, NULL), 0);
	assert_int_equal(shares_load(f->shares, 0, "nonsense", 8, NULL), 0);
	assert_true(shares_start(f->shares, &err) < 0);
	assert_non_null(strstr(err.msg, "what it knew before"));
}

static void test_a_folder_that_is_none_is_refused(void **state)
{
	static char tag[] = "a", path[] = "/proc/self/exe";
	struct guest_share share = { .tag = tag, .path = path };
	struct guest_config config = { .shares = { .share = &share, .n = 1 } };
	struct shares *s = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(shares_new(&config, &s, &err), -ENOTDIR);
	assert_non_null(strstr(err.msg, "share a"));
	assert_null(s);
}

#define SHARES_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARES_TEST(test_quiet_until_it_may_go),
		SHARES_TEST(test_who_runs_is_not_started_again),
		SHARES_TEST(test_one_that_is_killed_comes_back),
		SHARES_TEST(test_what_it_knows_goes_along),
		SHARES_TEST(test_nonsense_of_an_image_is_refused),
		cmocka_unit_test(test_a_folder_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
