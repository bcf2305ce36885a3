/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes, errors, whole reads and writes, traces: what all layers stand on. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/beside.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/pageset.h"
#include "base/served.h"
#include "base/str.h"
#include "base/thread.h"

#include "scratch.h"

/* One of each kind, so that every boundary between kinds lies somewhere inside. */
static void put_all(struct bytes_writer *w)
{
	bytes_put_u8(w, 0x12);
	bytes_put_u16(w, 0x3456);
	bytes_put_u32(w, 0x789abcde);
	bytes_put_u64(w, UINT64_C(0x1122334455667788));
	bytes_put_blob(w, "\0\1\2", 3);
	bytes_put_str(w, "nidra");
	bytes_put_blob(w, NULL, 0);
	bytes_put(w, "tail", 4);
}

static void test_bytes_are_little_endian(void **state)
{
	static const uint8_t want[] = "\x12\x56\x34\xde\xbc\x9a\x78"
				      "\x88\x77\x66\x55\x44\x33\x22\x11"
				      "\3\0\0\0\0\1\2"
				      "\5\0\0\0nidra"
				      "\0\0\0\0tail";
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	(void)state;
	put_all(&w);
	assert_false(w.failed);
	assert_int_equal(w.len, sizeof(want) - 1);
	assert_memory_equal(w.buf, want, w.len);
}

static void test_bytes_come_back(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	_cleanup_free_ char *s = NULL;
	struct bytes_reader r;
	const void *blob;
	size_t len;

	(void)state;
	put_all(&w);
	r = bytes_reader(w.buf, w.len);
	assert_int_equal(bytes_get_u8(&r), 0x12);
	assert_int_equal(bytes_get_u16(&r), 0x3456);
	assert_int_equal(bytes_get_u32(&r), 0x789abcde);
	assert_int_equal(bytes_get_u64(&r), UINT64_C(0x1122334455667788));
	blob = bytes_get_blob(&r, 3, &len);
	assert_int_equal(len, 3);
	assert_memory_equal(blob, "\0\1\2", 3);
	s = bytes_get_str(&r, 5);
	assert_string_equal(s, "nidra");
	assert_non_null(bytes_get_blob(&r, 0, &len));
	assert_int_equal(len, 0);
	assert_int_equal(bytes_done(&r), -EBADMSG); /* "tail" is left over */
	assert_memory_equal(bytes_get(&r, 4), "tail", 4);
	assert_int_equal(bytes_done(&r), 0);
}

/* Reads what put_all() wrote; whatever is missing must come as zeros, not from beyond the end. */
static int get_all(struct bytes_reader *r)
{
	_cleanup_free_ char *s = NULL;
	uint64_t after;
	char tail[4];
	size_t len;
	bool was;

	bytes_get_u8(r);
	bytes_get_u16(r);
	bytes_get_u32(r);
	bytes_get_u64(r);
	bytes_get_blob(r, 16, &len);
	s = bytes_get_str(r, 16);
	bytes_get_blob(r, 16, &len);
	was = r->failed;
	bytes_get_into(r, tail, sizeof(tail));
	assert_memory_equal(tail, r->failed ? "\0\0\0\0" : "tail", 4);
	assert_false(was && !r->failed);
	if (r->failed) {
		assert_null(bytes_get_blob(r, 16, &len));
		assert_int_equal(len, 0);
		bytes_get_into(r, &after, sizeof(after));
		assert_int_equal(after, 0);
	}
	return bytes_done(r);
}

static void test_every_truncation_is_noticed(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };

	(void)state;
	put_all(&w);
	for (size_t len = 0; len <= w.len; len++) {
		/* Of exactly this size, so that a sanitizer sees a read beyond it. */
		_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);
		struct bytes_reader r = bytes_reader(copy, len);

		assert_non_null(copy);
		memcpy(copy, w.buf, len);
		assert_int_equal(get_all(&r), len == w.len ? 0 : -EBADMSG);
	}
}

static void test_a_reader_that_failed_stays_so(void **state)
{
	static const uint8_t buf[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	struct bytes_reader r = bytes_reader(buf, sizeof(buf));

	(void)state;
	assert_int_equal(bytes_get_u8(&r), 1);
	bytes_fail(&r);
	assert_int_equal(bytes_get_u8(&r), 0);
	assert_null(bytes_get(&r, 0));
	assert_null(bytes_get(&r, 1));
	assert_int_equal(bytes_done(&r), -EBADMSG);
}

static void test_lengths_are_capped(void **state)
{
	static const uint8_t huge[] = "\xff\xff\xff\xff----";
	static const uint8_t five[] = "\5\0\0\0nidra";
	struct bytes_reader r = bytes_reader(huge, sizeof(huge) - 1);
	size_t len;

	(void)state;
	assert_null(bytes_get_blob(&r, SIZE_MAX, &len)); /* allowed, but not there */
	assert_true(r.failed);
	r = bytes_reader(five, sizeof(five) - 1);
	assert_null(bytes_get_blob(&r, 4, &len));
	assert_int_equal(len, 0);
	assert_true(r.failed);
	r = bytes_reader(five, sizeof(five) - 1);
	assert_null(bytes_get_str(&r, 4));
	assert_true(r.failed);
}

static void test_a_string_has_no_nul_inside(void **state)
{
	static const uint8_t buf[] = "\3\0\0\0a\0b";
	struct bytes_reader r = bytes_reader(buf, sizeof(buf) - 1);

	(void)state;
	assert_null(bytes_get_str(&r, 16));
	assert_int_equal(bytes_done(&r), -EBADMSG);
}

static void test_an_empty_reader(void **state)
{
	struct bytes_reader r = bytes_reader(NULL, 0);

	(void)state;
	assert_int_equal(bytes_done(&r), 0);
	assert_int_equal(bytes_get_u64(&r), 0);
	assert_int_equal(bytes_done(&r), -EBADMSG);
}

static void test_a_writer_grows(void **state)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct bytes_reader r;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++)
		bytes_put_u32(&w, i);
	assert_false(w.failed);
	r = bytes_reader(w.buf, w.len);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(bytes_get_u32(&r), i);
	assert_int_equal(bytes_done(&r), 0);
	bytes_writer_fini(&w);
	assert_null(w.buf);
	assert_int_equal(w.len, 0);
}

static void test_err_tells_what_and_why(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(err_set(&err, -EIO, "page %d", 7), -EIO);
	assert_string_equal(err.msg, "page 7");
	assert_int_equal(err.code, -EIO);
	assert_int_equal(err_prefix(&err, "save %s", "web"), -EIO);
	assert_string_equal(err.msg, "save web: page 7");
	assert_int_equal(err_errno(&err, -ENOSPC, "write"), -ENOSPC);
	assert_string_equal(err.msg, "write: No space left on device");
	assert_int_equal(err.code, -ENOSPC);
}

static void test_err_may_be_null(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_errno(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_prefix(NULL, "x"), -EIO); /* a failure stays one */
}

static void test_err_keeps_its_head_when_too_long(void **state)
{
	struct err err = { 0 };
	char text[1024];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	err_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	err_errno(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	err_prefix(&err, "save");
	assert_memory_equal(err.msg, "save: xxx", 9);
	err_prefix(&err, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

/* A file that is gone when it is closed. */
static int temporary(void)
{
	char path[] = "/tmp/nidra-test-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

static void test_io_reads_and_writes_whole(void **state)
{
	_cleanup_close_ int fd = temporary();
	char buf[8] = { 0 };

	(void)state;
	assert_int_equal(io_write_full(fd, "abcdefgh", 8), 0);
	assert_int_equal(io_pwrite_full(fd, "XY", 2, 3), 0);
	assert_int_equal(io_pread_full(fd, buf, 4, 2), 0);
	assert_memory_equal(buf, "cXYf", 4);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(io_read_full(fd, buf, 8), 0);
	assert_memory_equal(buf, "abcXYfgh", 8);
	assert_int_equal(io_read_full(fd, buf, 0), 0);
	assert_int_equal(io_read_full(fd, buf, 1), -ENODATA);
	assert_int_equal(io_pread_full(fd, buf, 4, 5), -ENODATA);
}

/* A stream socket with a small buffer moves little at a time. */
static void test_io_goes_on_after_a_part(void **state)
{
	enum { SIZE = 1 << 20 };
	_cleanup_free_ uint8_t *out = malloc(SIZE), *in = malloc(SIZE);
	int fd[2], small = 4096, status;
	pid_t child;

	(void)state;
	assert_non_null(out);
	assert_non_null(in);
	for (size_t i = 0; i < SIZE; i++)
		out[i] = (uint8_t)(i * 7 + (i >> 8));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(io_write_full(fd[0], out, SIZE) ? 1 : 0);
	close(fd[0]);
	assert_int_equal(io_read_full(fd[1], in, SIZE), 0);
	assert_int_equal(io_read_full(fd[1], in, 1), -ENODATA);
	close(fd[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_memory_equal(in, out, SIZE);
}

static void test_io_tells_the_errno(void **state)
{
	_cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	char c;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, "x", 1), -ENOSPC);
	assert_int_equal(io_read_full(fd, &c, 1), -EBADF);
	assert_int_equal(io_pread_full(-1, &c, 1, 0), -EBADF);
	assert_int_equal(io_pwrite_full(-1, "x", 1, 0), -EBADF);
}

static void test_io_read_file(void **state)
{
	char path[] = "/tmp/nidra-test-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);
	_cleanup_free_ uint8_t *buf = NULL;
	struct err err = { 0 };
	size_t len = 99;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, "hello", 5), 0);
	assert_int_equal(io_read_file(path, 4, &buf, &len, &err), -EFBIG);
	assert_non_null(strstr(err.msg, path));
	assert_null(buf);
	assert_int_equal(io_read_file(path, 5, &buf, &len, &err), 0);
	assert_int_equal(len, 5);
	assert_string_equal((char *)buf, "hello");
	unlink(path);
	assert_int_equal(io_read_file(path, 5, &buf, &len, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "No such file or directory"));
	assert_int_equal(io_read_file("/tmp", 5, &buf, &len, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a regular file"));
}

/* What is written to stderr while @fn runs, in a child of its own: traces are asked for once. */
static char *stderr_of(void (*fn)(void), const char *globs)
{
	static char text[2048];
	int fd = temporary(), status;
	pid_t child;
	ssize_t n;

	child = fork();
	assert_true(child >= 0);
	if (!child) {
		dup2(fd, STDERR_FILENO);
		setenv("NIDRA_TRACE", globs, 1);
		fn();
		fflush(stderr);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = 0;
	close(fd);
	return text;
}

static void emit_traces(void)
{
	for (int i = 0; i < 2; i++) {
		trace(test_one, "n=%d", i);
		trace(test_two, "n=%d", i);
		trace(other, "n=%d", i);
	}
}

static void test_traces_are_chosen_by_globs(void **state)
{
	static const struct {
		const char *globs;
		bool one, two, other;
	} row[] = {
		{ "", false, false, false },	    { "test_*", true, true, false },
		{ "test_two", false, true, false }, { "other,test_one", true, false, true },
		{ "*", true, true, true },	    { "nothing,", false, false, false },
		{ ",other", false, false, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		const char *text = stderr_of(emit_traces, row[i].globs);

		assert_int_equal(strstr(text, "trace: test_one n=0\n") != NULL, row[i].one);
		assert_int_equal(strstr(text, "trace: test_one n=1\n") != NULL, row[i].one);
		assert_int_equal(strstr(text, "trace: test_two n=1\n") != NULL, row[i].two);
		assert_int_equal(strstr(text, "trace: other n=1\n") != NULL, row[i].other);
	}
}

static void emit_logs(void)
{
	log_debug("dropped");
	log_info("kept %d", 1);
	log_set_level(LOG_ERROR_);
	log_warn("dropped, too");
	log_error("kept %d", 2);
	log_error("%01500d", 3);
}

static void test_log_levels(void **state)
{
	const char *text = stderr_of(emit_logs, "");

	(void)state;
	assert_null(strstr(text, "dropped"));
	assert_non_null(strstr(text, "] kept 1\n"));
	assert_non_null(strstr(text, "] error: kept 2\n"));
	assert_non_null(strstr(text, "] error: 000000"));
	assert_int_equal(text[strlen(text) - 1], '\n'); /* a long line is cut, not run on */
}

static void test_what_a_guest_brings_about_is_told_ten_times(void **state)
{
	struct log_limit l = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(log_allowed(&l));
	assert_false(log_allowed(&l));
	l.since_ns -= 120 * NSEC_PER_SEC; /* two minutes later */
	assert_true(log_allowed(&l));
	assert_true(log_allowed(&l));
	assert_false(log_allowed(&l));
}

static void test_addresses(void **state)
{
	(void)state;
	assert_int_equal(gfn_to_gpa(gpa_to_gfn(0x12345678)), 0x12345000);
	assert_int_equal(page_offset(0x12345678), 0x678);
	assert_int_equal(page_down(0x1fff), 0x1000);
	assert_int_equal(page_down(0x1000), 0x1000);
	assert_int_equal(page_up(0x1000), 0x1000);
	assert_int_equal(page_up(0x1001), 0x2000);
	assert_int_equal(page_up(0), 0);
	assert_int_equal(gfn_to_gpa(UINT64_C(1) << 40), UINT64_C(1) << 52);
}

static void test_clock_and_str(void **state)
{
	uint64_t before = clock_monotonic_ns();
	struct timespec ts = clock_timespec(3 * NSEC_PER_SEC + 7);
	_cleanup_free_ char *s = str_printf("%s-%d", "vm", 3);

	(void)state;
	assert_int_equal(ts.tv_sec, 3);
	assert_int_equal(ts.tv_nsec, 7);
	assert_true(clock_monotonic_ns() >= before);
	assert_true(clock_realtime_ns() > UINT64_C(1700000000) * NSEC_PER_SEC);
	assert_string_equal(s, "vm-3");
}

/* Gives a pipe's end away; the other one closes with the scope. */
static int give_one_away(int *closed)
{
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	{
		_cleanup_close_ int kept = fd[0], other = fd[1];

		*closed = other;
		return take_fd(kept);
	}
}

static void *note_signals(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
	return NULL;
}

static void test_threads_leave_signals_to_the_main_one(void **state)
{
	sigset_t theirs, before, after;
	pthread_t thread;

	(void)state;
	sigemptyset(&theirs);
	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(thread_start(&thread, note_signals, &theirs), 0);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	assert_true(sigismember(&theirs, SIGTERM) && sigismember(&theirs, SIGINT));
	assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}

static void test_a_lock_is_waited_for_until_then(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	(void)state;
	assert_true(thread_lock_until(&lock, 0)); /* free: whatever the time */
	assert_false(thread_lock_until(&lock, clock_monotonic_ns() + NSEC_PER_MSEC));
	pthread_mutex_unlock(&lock);
}

static void test_a_name_has_a_number(void **state)
{
	static const char *const names[] = { "one", "two" };

	(void)state;
	assert_int_equal(str_index(names, 2, "one"), 0);
	assert_int_equal(str_index(names, 2, "two"), 1);
	assert_int_equal(str_index(names, 1, "two"), -EINVAL);
	assert_int_equal(str_index(names, 2, "tw"), -EINVAL);
	assert_int_equal(str_index(names, 2, ""), -EINVAL);
}

static void test_spaces_around_are_trimmed(void **state)
{
	char both[] = " \t a b\t ", none[] = "a b", all[] = "  \t";

	(void)state;
	assert_string_equal(str_trim(both), "a b");
	assert_string_equal(str_trim(none), "a b");
	assert_string_equal(str_trim(all), "");
}

static void test_cleanup_closes_what_was_not_taken(void **state)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	int closed, fd = give_one_away(&closed);

	(void)state;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	assert_int_equal(fcntl(closed, F_GETFD), -1);
	close(fd);
	{
		SCOPED_LOCK(&mutex);
		assert_int_equal(pthread_mutex_trylock(&mutex), EBUSY);
	}
	assert_int_equal(pthread_mutex_trylock(&mutex), 0);
	pthread_mutex_unlock(&mutex);
}

static void test_nbd_uris_are_told_by_their_scheme(void **state)
{
	(void)state;
	assert_true(str_is_nbd_uri("nbd://host/export"));
	assert_true(str_is_nbd_uri("nbds+unix:///?socket=/s"));
	assert_false(str_is_nbd_uri("nbd.raw"));
	assert_false(str_is_nbd_uri("/srv/nbd://x"));
	assert_false(str_is_nbd_uri("nbd:/x"));
	assert_false(str_is_nbd_uri(""));
}

/* ---- bytes over a socket ---- */

#define SERVED (SERVED_MAX * 3u + 100)

static struct {
	int fd[2], result;
	unsigned int reads, fails_at; /* 0: never */
	pthread_t thread;
} service;

static int read_pattern(void *arg, void *buf, size_t len, uint64_t offset)
{
	(void)arg;
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)((offset + i) * 13 + (offset + i) / 251);
	return ++service.reads == service.fails_at ? -EIO : 0;
}

static void *service_main(void *arg)
{
	service.result = served_answer(service.fd[0], SERVED, read_pattern, arg);
	close(service.fd[0]);
	return NULL;
}

static void service_begin(void)
{
	uint64_t bytes;

	service.reads = service.fails_at = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, service.fd), 0);
	assert_int_equal(thread_start(&service.thread, service_main, NULL), 0);
	assert_int_equal(served_size(service.fd[1], &bytes), 0);
	assert_int_equal(bytes, SERVED);
}

static int service_end(void)
{
	close(service.fd[1]);
	pthread_join(service.thread, NULL);
	return service.result;
}

static void test_sets_of_pages(void **state)
{
	_cleanup_free_ struct pageset *a = pageset_new(200), *b = pageset_new(100);

	(void)state;
	pageset_add(a, 60, 80); /* 60 to 139 */
	pageset_add(b, 0, 64);
	pageset_subtract(a, b); /* what lies behind the end of the smaller one stays */
	assert_int_equal(pageset_next(a, 0, 200), 64);
	assert_int_equal(pageset_count(a), 76);
	pageset_or(a, b);
	assert_int_equal(pageset_count(a), 140);
	pageset_and(a, b);
	assert_int_equal(pageset_count(a), 64);
	assert_false(pageset_has(a, 64));
}

static void test_a_file_gets_its_name_late(void **state)
{
	char path[64];
	int fd = open(scratch(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct stat st;

	(void)state;
	if (fd < 0)
		skip(); /* a filesystem that has no such files */
	snprintf(path, sizeof(path), "%s/nidra-name.%d", scratch(), getpid());
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(io_give_name(fd, path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_int_equal(io_give_name(fd, path), -EEXIST);
	assert_int_equal(io_sync_folder(path), 0);
	assert_int_equal(io_sync_folder("/no/such/file"), -ENOENT);
	assert_true(io_clone_unnamed(-1, path, 0600) < 0);
	unlink(path);
	close(fd);
}

static void test_modules(void **state)
{
	size_t (*length)(const char *s) = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(beside_function("none.so", "strlen", &length, &err), 0); /* it is here already */
	assert_int_equal(length("four"), 4);
	assert_int_equal(beside_function("none.so", "no_such_function", &length, &err), -ENOPKG);
	assert_non_null(strstr(err.msg, "none.so"));
}

static void test_bytes_are_served(void **state)
{
	static uint8_t got[SERVED], want[SERVED];

	(void)state;
	service_begin();
	read_pattern(NULL, want, SERVED, 0);
	assert_int_equal(served_read(service.fd[1], got, SERVED, 0), 0);
	assert_memory_equal(got, want, SERVED);
	assert_int_equal(served_read(service.fd[1], got, 10, SERVED - 10), 0);
	assert_memory_equal(got, want + SERVED - 10, 10);
	assert_int_equal(service_end(), 0);
	service_begin();
	service.fails_at = 2;
	assert_int_equal(served_read(service.fd[1], got, SERVED, 0), -ENODATA);
	assert_int_equal(service_end(), -EIO);
}

static void test_questions_that_make_no_sense_end_the_service(void **state)
{
	static const struct {
		uint64_t offset, len;
	} bad[] = { { 0, 0 },	       { 0, SERVED_MAX + 1 }, { SERVED, 1 },
		    { SERVED - 1, 2 }, { UINT64_MAX, 2 },     { 0, UINT64_MAX } };

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		service_begin();
		assert_int_equal(write(service.fd[1], &bad[i], sizeof(bad[i])), sizeof(bad[i]));
		pthread_join(service.thread, NULL);
		assert_int_equal(service.result, -EBADMSG);
		assert_int_equal(service.reads, 0);
		close(service.fd[1]);
	}
	service_begin();
	assert_int_equal(write(service.fd[1], "short", 5), 5);
	assert_int_equal(service_end(), -EBADMSG);
	/* Who asks and does not listen keeps nobody. */
	service_begin();
	for (unsigned int i = 0; i < 100; i++)
		if (write(service.fd[1], &(uint64_t[2]){ 0, SERVED_MAX }, 16) != 16)
			break;
	pthread_join(service.thread, NULL);
	assert_int_equal(service.result, -EAGAIN);
	close(service.fd[1]);
	signal(SIGPIPE, SIG_DFL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_are_little_endian),
		cmocka_unit_test(test_bytes_come_back),
		cmocka_unit_test(test_sets_of_pages),
		cmocka_unit_test(test_modules),
		cmocka_unit_test(test_a_file_gets_its_name_late),
		cmocka_unit_test(test_every_truncation_is_noticed),
		cmocka_unit_test(test_a_reader_that_failed_stays_so),
		cmocka_unit_test(test_lengths_are_capped),
		cmocka_unit_test(test_a_string_has_no_nul_inside),
		cmocka_unit_test(test_an_empty_reader),
		cmocka_unit_test(test_a_writer_grows),
		cmocka_unit_test(test_err_tells_what_and_why),
		cmocka_unit_test(test_err_may_be_null),
		cmocka_unit_test(test_err_keeps_its_head_when_too_long),
		cmocka_unit_test(test_io_reads_and_writes_whole),
		cmocka_unit_test(test_io_goes_on_after_a_part),
		cmocka_unit_test(test_io_tells_the_errno),
		cmocka_unit_test(test_io_read_file),
		cmocka_unit_test(test_traces_are_chosen_by_globs),
		cmocka_unit_test(test_log_levels),
		cmocka_unit_test(test_what_a_guest_brings_about_is_told_ten_times),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_clock_and_str),
		cmocka_unit_test(test_threads_leave_signals_to_the_main_one),
		cmocka_unit_test(test_a_lock_is_waited_for_until_then),
		cmocka_unit_test(test_nbd_uris_are_told_by_their_scheme),
		cmocka_unit_test(test_bytes_are_served),
		cmocka_unit_test(test_questions_that_make_no_sense_end_the_service),
		cmocka_unit_test(test_a_name_has_a_number),
		cmocka_unit_test(test_spaces_around_are_trimmed),
		cmocka_unit_test(test_cleanup_closes_what_was_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
