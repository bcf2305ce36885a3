/* SPDX-License-Identifier: Apache-2.0 */
/* The server of shared folders, by its requests: no socket, no process. Requests are made here, byte by byte. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scratch.h"
#include "share/share.h"
#include "share/xdr.h"

enum {
	GETATTR = 1,
	SETATTR,
	LOOKUP,
	ACCESS,
	READLINK,
	READ,
	WRITE,
	CREATE,
	MKDIR,
	SYMLINK,
	MKNOD,
	REMOVE,
	RMDIR,
	RENAME,
	LINK,
	READDIR,
	READDIRPLUS,
	FSSTAT,
	FSINFO,
	PATHCONF,
	COMMIT
};
enum {
	OK = 0,
	PERM = 1,
	NOENT = 2,
	ACCES = 13,
	EXIST = 17,
	XDEV = 18,
	NOTDIR = 20,
	ISDIR = 21,
	INVAL = 22,
	FBIG = 27,
	ROFS = 30,
	TOOLONG = 63,
	NOTEMPTY = 66,
	STALE = 70,
	BADHANDLE = 10001,
	NOT_SYNC = 10002
};

struct handle {
	size_t len;
	uint8_t b[64];
};

/* A folder to share, beside what must never be seen. */
struct fixture {
	char top[64], folder[80], secret[96];
	int root_fd, proc_fd, state_fd;
	bool readonly;
	struct share *share;
	uint32_t xid;
	struct bytes_writer request, answer;
	struct bytes_reader reply;
	struct handle root;
};

/* ---- requests ---- */

static void begin(struct fixture *f, uint32_t program, uint32_t proc)
{
	f->request.len = 0;
	xdr_put_u32(&f->request, ++f->xid);
	xdr_put_u32(&f->request, 0);
	xdr_put_u32(&f->request, 2);
	xdr_put_u32(&f->request, program);
	xdr_put_u32(&f->request, 3);
	xdr_put_u32(&f->request, proc);
	xdr_put_u64(&f->request, 0);
	xdr_put_u64(&f->request, 0);
}

static void nfs(struct fixture *f, uint32_t proc, const struct handle *h)
{
	begin(f, 100003, proc);
	xdr_put_opaque(&f->request, h->b, h->len);
}

static void put_name(struct fixture *f, const char *name)
{
	xdr_put_opaque(&f->request, name, strlen(name));
}

/* How the call was accepted; f->reply stands behind that. */
static uint32_t send_request(struct fixture *f)
{
	f->answer.len = 0;
	assert_int_equal(share_answer(f->share, f->request.buf, f->request.len, &f->answer), 0);
	f->reply = bytes_reader(f->answer.buf, f->answer.len);
	assert_int_equal(xdr_get_u32(&f->reply), f->xid);
	assert_int_equal(xdr_get_u32(&f->reply), 1);
	assert_int_equal(xdr_get_u32(&f->reply), 0);
	xdr_get_u64(&f->reply);
	return xdr_get_u32(&f->reply);
}

static uint32_t status(struct fixture *f)
{
	assert_int_equal(send_request(f), 0);
	return xdr_get_u32(&f->reply);
}

/* Mode, owner, group, size; times are left. */
static void put_sattr(struct fixture *f, int mode, int64_t size)
{
	xdr_put_u32(&f->request, mode >= 0);
	if (mode >= 0)
		xdr_put_u32(&f->request, (uint32_t)mode);
	xdr_put_u64(&f->request, 0);
	xdr_put_u32(&f->request, size >= 0);
	if (size >= 0)
		xdr_put_u64(&f->request, (uint64_t)size);
	xdr_put_u64(&f->request, 0);
}

static struct handle take_handle(struct fixture *f)
{
	struct handle h = { 0 };
	const void *p = xdr_get_opaque(&f->reply, sizeof(h.b), &h.len);

	assert_non_null(p);
	memcpy(h.b, p, h.len);
	return h;
}

static uint32_t lookup(struct fixture *f, const struct handle *dir, const char *name, struct handle *ret)
{
	uint32_t s;

	nfs(f, LOOKUP, dir);
	put_name(f, name);
	s = status(f);
	if (ret)
		*ret = s == OK ? take_handle(f) : (struct handle){ 0 };
	return s;
}

static struct handle must_find(struct fixture *f, const char *name)
{
	struct handle h = { 0 };

	assert_int_equal(lookup(f, &f->root, name, &h), OK);
	return h;
}

static uint32_t create(struct fixture *f, const char *name, uint32_t how, uint64_t verifier, struct handle *ret)
{
	uint32_t s;

	nfs(f, CREATE, &f->root);
	put_name(f, name);
	xdr_put_u32(&f->request, how);
	if (how == 2)
		xdr_put_u64(&f->request, verifier);
	else
		put_sattr(f, 0644, 0);
	s = status(f);
	if (ret)
		*ret = (struct handle){ 0 };
	if (s == OK && ret) {
		assert_int_equal(xdr_get_u32(&f->reply), 1);
		*ret = take_handle(f);
	}
	return s;
}

static uint32_t write_at(struct fixture *f, const struct handle *h, uint64_t offset, const char *text)
{
	nfs(f, WRITE, h);
	xdr_put_u64(&f->request, offset);
	xdr_put_u32(&f->request, (uint32_t)strlen(text));
	xdr_put_u32(&f->request, 2);
	put_name(f, text);
	return status(f);
}

static uint32_t read_at(struct fixture *f, const struct handle *h, uint64_t offset, uint32_t count)
{
	nfs(f, READ, h);
	xdr_put_u64(&f->request, offset);
	xdr_put_u32(&f->request, count);
	return status(f);
}

static uint32_t one_name(struct fixture *f, uint32_t proc, const char *name)
{
	nfs(f, proc, &f->root);
	put_name(f, name);
	if (proc == MKDIR)
		put_sattr(f, 0755, -1);
	return status(f);
}

static uint32_t rename_to(struct fixture *f, const struct handle *dir, const char *from, const char *to)
{
	nfs(f, RENAME, &f->root);
	put_name(f, from);
	xdr_put_opaque(&f->request, dir->b, dir->len);
	put_name(f, to);
	return status(f);
}

/* ---- the folder ---- */

static const char *in(struct fixture *f, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	return path;
}

static void write_file(const char *path, const char *text)
{
	FILE *o = fopen(path, "w");

	assert_non_null(o);
	fputs(text, o);
	fclose(o);
}

static bool says(const char *path, const char *text)
{
	char buf[256] = "";
	FILE *i = fopen(path, "r");
	size_t n = i ? fread(buf, 1, sizeof(buf) - 1, i) : 0;

	if (i)
		fclose(i);
	return i && n == strlen(text) && !strcmp(buf, text);
}

static void start_server(struct fixture *f)
{
	struct share_options o = { .tag = "data",
				   .root_fd = f->root_fd,
				   .proc_fd = f->proc_fd,
				   .state_fd = f->state_fd,
				   .readonly = f->readonly };

	assert_int_equal(share_new(&o, &f->share), 0);
}

/* As after a wake in another process: of the first one there is what is in its memfd. */
static void restart(struct fixture *f)
{
	share_free(f->share);
	start_server(f);
}

static void mount_it(struct fixture *f)
{
	begin(f, 100005, 1);
	put_name(f, "/data");
	assert_int_equal(status(f), OK);
	f->root = take_handle(f);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->top, sizeof(f->top), "%s/test-share-XXXXXX", scratch());
	assert_non_null(mkdtemp(f->top));
	snprintf(f->folder, sizeof(f->folder), "%s/folder", f->top);
	snprintf(f->secret, sizeof(f->secret), "%s/secret", f->top);
	assert_int_equal(mkdir(f->folder, 0755), 0);
	write_file(f->secret, "secret");
	f->root_fd = open(f->folder, O_PATH | O_DIRECTORY);
	f->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	f->state_fd = memfd_create("state", 0);
	start_server(f);
	mount_it(f);
	*state = f;
	return 0;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	share_free(f->share);
	close(f->root_fd);
	close(f->proc_fd);
	close(f->state_fd);
	bytes_writer_fini(&f->request);
	bytes_writer_fini(&f->answer);
	nftw(f->top, drop, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* ---- what a client expects ---- */

static void test_only_its_own_tag_can_be_mounted(void **state)
{
	static const char *const wrong[] = { "", "/", "/data/..", "/dat", "/data2", "../data", "/tmp" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		begin(f, 100005, 1);
		put_name(f, wrong[i]);
		assert_int_equal(status(f), NOENT);
	}
}

static void test_what_is_written_is_read_and_is_in_the_file(void **state)
{
	struct fixture *f = *state;
	struct handle h;
	size_t len;
	const uint8_t *p;

	assert_int_equal(create(f, "a", 1, 0, &h), OK);
	assert_int_equal(write_at(f, &h, 0, "hello"), OK);
	assert_int_equal(write_at(f, &h, 5, " world"), OK);
	assert_true(says(in(f, "a"), "hello world"));
	assert_int_equal(read_at(f, &h, 6, 100), OK);
	bytes_get(&f->reply, 4 + 84); /* attributes */
	assert_int_equal(xdr_get_u32(&f->reply), 5);
	assert_int_equal(xdr_get_u32(&f->reply), 1); /* the end */
	p = xdr_get_opaque(&f->reply, 100, &len);
	assert_int_equal(len, 5);
	assert_memory_equal(p, "world", 5);
	assert_int_equal(bytes_done(&f->reply), 0);
}

static void test_size_and_mode_are_set(void **state)
{
	struct fixture *f = *state;
	struct handle h;
	struct stat st;

	write_file(in(f, "a"), "0123456789");
	h = must_find(f, "a");
	nfs(f, SETATTR, &h);
	put_sattr(f, 06750, 4);
	xdr_put_u32(&f->request, 0);
	assert_int_equal(status(f), OK);
	assert_int_equal(stat(in(f, "a"), &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_mode & 07777, 0750); /* nobody on the host is to become its owner by it */
	nfs(f, SETATTR, &h);
	put_sattr(f, 0600, -1);
	xdr_put_u32(&f->request, 1);
	xdr_put_u64(&f->request, 12345); /* a time that it was not changed at */
	assert_int_equal(status(f), NOT_SYNC);
}

/* git makes its objects so. */
static void test_who_took_his_own_right_away_writes_on(void **state)
{
	struct fixture *f = *state;
	struct handle h;
	struct stat st;

	write_file(in(f, "a"), "");
	h = must_find(f, "a");
	chmod(in(f, "a"), 0444);
	assert_int_equal(write_at(f, &h, 0, "x"), OK);
	assert_int_equal(stat(in(f, "a"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0444);
}

static size_t list(struct fixture *f, uint32_t proc, uint32_t max, char names[][32], size_t most)
{
	uint64_t cookie = 0;
	bool end = false;
	size_t n = 0;

	while (!end) {
		nfs(f, proc, &f->root);
		xdr_put_u64(&f->request, cookie);
		xdr_put_u64(&f->request, 0);
		xdr_put_u32(&f->request, max);
		if (proc == READDIRPLUS)
			xdr_put_u32(&f->request, max);
		assert_int_equal(status(f), OK);
		assert_true(f->answer.len <= max + 32);
		bytes_get(&f->reply, 4 + 84 + 8);
		while (xdr_get_u32(&f->reply)) {
			size_t len;
			const uint8_t *p;

			xdr_get_u64(&f->reply);
			p = xdr_get_opaque(&f->reply, 31, &len);
			assert_true(p && n < most);
			memcpy(names[n], p, len);
			names[n++][len] = 0;
			cookie = xdr_get_u64(&f->reply);
			if (proc == READDIRPLUS) {
				if (xdr_get_u32(&f->reply))
					bytes_get(&f->reply, 84);
				if (xdr_get_u32(&f->reply))
					take_handle(f);
			}
		}
		end = xdr_get_u32(&f->reply);
		assert_int_equal(bytes_done(&f->reply), 0);
		restart(f); /* cookies hold */
	}
	return n;
}

static void test_a_folder_is_listed_in_parts_each_name_once(void **state)
{
	static char names[300][32];
	struct fixture *f = *state;
	bool seen[200] = { false };
	char name[32];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		write_file(in(f, name), "");
	}
	for (uint32_t proc = READDIR; proc <= READDIRPLUS; proc++) {
		size_t n = list(f, proc, 1024, names, 300), dots = 0;

		memset(seen, 0, sizeof(seen));
		for (size_t i = 0; i < n; i++) {
			int number = -1;

			if (sscanf(names[i], "file%d", &number) != 1) {
				dots++;
				continue;
			}
			assert_false(seen[number]);
			seen[number] = true;
		}
		assert_int_equal(dots, 2);
		assert_int_equal(n, 202);
	}
}

static void test_exclusive_creation_is_known_again_by_its_verifier(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(create(f, "a", 2, 0x1122334455667788, NULL), OK);
	assert_int_equal(create(f, "a", 2, 0x1122334455667788, NULL), OK); /* another number: not by the kept answer */
	assert_int_equal(create(f, "a", 2, 0x1122334455667789, NULL), EXIST);
	assert_int_equal(create(f, "a", 1, 0, NULL), EXIST);
	assert_int_equal(create(f, "a", 0, 0, NULL), OK);
}

/* ---- the end of the server, and wakes ---- */

static void test_handles_hold_through_a_restart_and_renames(void **state)
{
	struct fixture *f = *state;
	struct handle h, dir;

	mkdir(in(f, "d"), 0755);
	write_file(in(f, "d/a"), "old");
	dir = must_find(f, "d");
	assert_int_equal(lookup(f, &dir, "a", &h), OK);
	restart(f);
	assert_int_equal(write_at(f, &h, 0, "new"), OK);
	assert_true(says(in(f, "d/a"), "new"));
	/* by the client */
	assert_int_equal(rename_to(f, &f->root, "d", "e"), OK);
	assert_int_equal(write_at(f, &h, 0, "two"), OK);
	restart(f);
	assert_int_equal(write_at(f, &h, 0, "few"), OK);
	/* by the host, unseen */
	assert_int_equal(mkdir(in(f, "x"), 0755), 0);
	assert_int_equal(renameat(f->root_fd, "e/a", f->root_fd, "x/b"), 0);
	assert_int_equal(write_at(f, &h, 0, "far"), OK);
	assert_true(says(in(f, "x/b"), "far"));
	unlink(in(f, "x/b"));
	assert_int_equal(write_at(f, &h, 0, "no"), STALE);
}

/* What is sent again after a wake is done once, and answered alike, by this process or the next. */
static void test_what_was_done_is_not_done_again(void **state)
{
	static const uint32_t procs[] = { MKDIR, RMDIR, CREATE, REMOVE, RENAME, SYMLINK };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(procs) / sizeof(*procs); i++) {
		_cleanup_bytes_ struct bytes_writer first = { 0 };

		if (procs[i] == CREATE) {
			create(f, "a", 1, 0, NULL);
		} else if (procs[i] == RENAME) {
			write_file(in(f, "from"), "");
			rename_to(f, &f->root, "from", "to");
		} else if (procs[i] == SYMLINK) {
			nfs(f, SYMLINK, &f->root);
			put_name(f, "link");
			put_sattr(f, -1, -1);
			put_name(f, "target");
			status(f);
		} else {
			one_name(f, procs[i], "a");
		}
		bytes_put(&first, f->answer.buf, f->answer.len);
		restart(f);
		assert_int_equal(status(f), OK);
		assert_int_equal(f->answer.len, first.len);
		assert_memory_equal(f->answer.buf, first.buf, first.len);
	}
}

static uint64_t verifier_of_commit(struct fixture *f, const struct handle *h)
{
	nfs(f, COMMIT, h);
	xdr_put_u64(&f->request, 0);
	xdr_put_u32(&f->request, 0);
	assert_int_equal(status(f), OK);
	bytes_get(&f->reply, 4 + 24 + 4 + 84);
	return xdr_get_u64(&f->reply);
}

/* So that the client sends again what it had not committed. */
static void test_each_process_has_another_verifier(void **state)
{
	struct fixture *f = *state;
	struct handle h;
	uint64_t v;

	create(f, "a", 1, 0, &h);
	v = verifier_of_commit(f, &h);
	assert_int_equal(verifier_of_commit(f, &h), v);
	restart(f);
	assert_int_not_equal(verifier_of_commit(f, &h), v);
}

static void test_state_that_makes_no_sense_is_refused(void **state)
{
	struct fixture *f = *state;
	struct share_options o = { .tag = "data", .root_fd = f->root_fd, .proc_fd = f->proc_fd };
	_cleanup_close_ int fd = memfd_create("state", 0);
	struct share *s = NULL;
	struct stat st;

	o.state_fd = fd;
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(share_new(&o, &s), -EBADMSG);
	assert_int_equal(fstat(f->state_fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size), 0);
	assert_int_equal(share_new(&o, &s), -EBADMSG);
	assert_null(s);
}

/* ---- what a hostile one tries ---- */

static void test_no_name_leads_elsewhere(void **state)
{
	static const char *const names[] = { "..", ".", "", "../secret", "d/../../secret", "/etc/passwd", "d/a" };
	struct fixture *f = *state;
	struct handle d, h;

	mkdir(in(f, "d"), 0755);
	write_file(in(f, "d/a"), "a");
	d = must_find(f, "d");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(lookup(f, &f->root, names[i], NULL), INVAL);
		assert_int_equal(lookup(f, &d, names[i], NULL), INVAL);
		assert_int_equal(one_name(f, MKDIR, names[i]), INVAL);
		assert_int_equal(one_name(f, REMOVE, names[i]), INVAL);
		assert_int_equal(one_name(f, RMDIR, names[i]), INVAL);
		assert_int_equal(create(f, names[i], 0, 0, &h), INVAL);
		assert_int_equal(rename_to(f, &f->root, "d", names[i]), INVAL);
		assert_int_equal(rename_to(f, &f->root, names[i], "e"), INVAL);
	}
	nfs(f, LOOKUP, &f->root);
	xdr_put_opaque(&f->request, "d\0x", 3);
	assert_int_equal(status(f), INVAL);
	assert_true(says(f->secret, "secret"));
}

static void test_links_are_told_and_not_followed(void **state)
{
	struct fixture *f = *state;
	struct handle link, out;
	struct stat st;

	assert_int_equal(symlinkat(f->secret, f->root_fd, "link"), 0);
	assert_int_equal(symlinkat("..", f->root_fd, "out"), 0);
	link = must_find(f, "link");
	out = must_find(f, "out");
	assert_int_equal(read_at(f, &link, 0, 10), INVAL);
	assert_int_equal(write_at(f, &link, 0, "x"), INVAL);
	assert_int_equal(lookup(f, &out, "secret", NULL), NOTDIR);
	assert_int_equal(create(f, "link", 0, 0, NULL), EXIST);
	nfs(f, SETATTR, &link);
	put_sattr(f, 0777, 0);
	xdr_put_u32(&f->request, 0);
	assert_int_equal(status(f), INVAL);
	/* A hard link to where it leads would be a way in. */
	nfs(f, LINK, &link);
	xdr_put_opaque(&f->request, f->root.b, f->root.len);
	put_name(f, "hard");
	assert_int_equal(status(f), INVAL);
	assert_true(says(f->secret, "secret"));
	assert_int_equal(stat(f->secret, &st), 0);
	assert_int_equal(st.st_nlink, 1);
	assert_int_not_equal(st.st_mode & 07777, 0777);
}

/* A folder becomes a link while a handle of what is in it is out. */
static void test_a_swapped_link_leads_nowhere(void **state)
{
	struct fixture *f = *state;
	struct handle d, a;

	mkdir(in(f, "d"), 0755);
	write_file(in(f, "d/secret"), "mine");
	d = must_find(f, "d");
	assert_int_equal(lookup(f, &d, "secret", &a), OK);
	assert_int_equal(renameat(f->root_fd, "d", f->root_fd, "e"), 0);
	assert_int_equal(symlinkat("..", f->root_fd, "d"), 0);
	assert_int_equal(write_at(f, &a, 0, "ours"), OK);
	assert_true(says(in(f, "e/secret"), "ours"));
	assert_true(says(f->secret, "secret"));
	assert_int_equal(lookup(f, &d, "secret", NULL), OK);
	unlink(in(f, "e/secret"));
	assert_int_equal(lookup(f, &d, "secret", NULL), NOENT);
}

static void test_what_is_moved_out_is_out_of_reach(void **state)
{
	struct fixture *f = *state;
	struct handle d, a;
	char away[96];

	mkdir(in(f, "d"), 0755);
	write_file(in(f, "d/a"), "a");
	d = must_find(f, "d");
	assert_int_equal(lookup(f, &d, "a", &a), OK);
	snprintf(away, sizeof(away), "%s/away", f->top);
	assert_int_equal(rename(in(f, "d"), away), 0);
	assert_int_equal(write_at(f, &a, 0, "x"), STALE);
	assert_int_equal(read_at(f, &a, 0, 1), STALE);
	assert_int_equal(lookup(f, &d, "a", NULL), STALE);
	nfs(f, CREATE, &d);
	put_name(f, "new");
	xdr_put_u32(&f->request, 0);
	put_sattr(f, 0644, -1);
	assert_int_equal(status(f), STALE);
	assert_int_equal(rename_to(f, &d, "none", "none"), STALE);
	/* Nor by a link to where it is now: the same file at the same path. */
	assert_int_equal(symlinkat("../away", f->root_fd, "d"), 0);
	assert_int_equal(write_at(f, &a, 0, "x"), STALE);
	assert_int_equal(read_at(f, &a, 0, 1), STALE);
}

static void test_handles_cannot_be_made_up(void **state)
{
	struct fixture *f = *state;
	struct handle a, forged;

	write_file(in(f, "a"), "a");
	a = must_find(f, "a");
	for (size_t bit = 0; bit < a.len * 8; bit++) {
		forged = a;
		forged.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(read_at(f, &forged, 0, 1), BADHANDLE);
	}
	for (size_t len = 0; len < a.len; len++) {
		forged = a;
		forged.len = len;
		assert_int_equal(read_at(f, &forged, 0, 1), BADHANDLE);
	}
}

/* The same number for another file, as filesystems do. */
static void test_a_number_used_again_is_another_file(void **state)
{
	struct fixture *f = *state;
	struct handle a;

	write_file(in(f, "a"), "a");
	a = must_find(f, "a");
	for (int i = 0; i < 50; i++) {
		unlink(in(f, "a"));
		write_file(in(f, "a"), "b");
	}
	assert_int_equal(read_at(f, &a, 0, 1), STALE);
}

static void test_pipes_are_not_opened_and_devices_not_made(void **state)
{
	struct fixture *f = *state;
	struct handle h;

	assert_int_equal(mkfifoat(f->root_fd, "pipe", 0644), 0);
	h = must_find(f, "pipe");
	assert_int_equal(read_at(f, &h, 0, 1), INVAL); /* and it does not wait for a writer */
	assert_int_equal(write_at(f, &h, 0, "x"), INVAL);
	assert_int_equal(create(f, "pipe", 0, 0, NULL), EXIST);
	for (uint32_t type = 3; type <= 4; type++) {
		nfs(f, MKNOD, &f->root);
		put_name(f, "device");
		xdr_put_u32(&f->request, type);
		put_sattr(f, 0666, -1);
		xdr_put_u32(&f->request, 1);
		xdr_put_u32(&f->request, 3);
		assert_int_equal(status(f), PERM);
	}
	assert_int_equal(lookup(f, &f->root, "device", NULL), NOENT);
}

static void test_counts_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct handle h;

	write_file(in(f, "a"), "a");
	h = must_find(f, "a");
	assert_int_equal(read_at(f, &h, 0, UINT32_MAX), OK);
	assert_true(f->answer.len < 300);
	assert_int_equal(read_at(f, &h, UINT64_MAX, UINT32_MAX), OK);
	assert_int_equal(write_at(f, &h, UINT64_MAX - 2, "xyz"), FBIG);
	assert_int_equal(write_at(f, &h, INT64_MAX - 2, "xyz"), FBIG);
	nfs(f, WRITE, &h);
	xdr_put_u64(&f->request, 0);
	xdr_put_u32(&f->request, 1 << 30); /* more than there is */
	xdr_put_u32(&f->request, 2);
	put_name(f, "abc");
	assert_int_equal(send_request(f), 4);
	nfs(f, SETATTR, &h);
	put_sattr(f, -1, 0);
	f->request.buf[f->request.len - 16] = 0x80; /* a size that is negative on the host */
	xdr_put_u32(&f->request, 0);
	assert_int_equal(status(f), FBIG);
	nfs(f, READDIR, &f->root);
	xdr_put_u64(&f->request, UINT64_MAX);
	xdr_put_u64(&f->request, 0);
	xdr_put_u32(&f->request, UINT32_MAX);
	status(f);
}

static void test_what_is_cut_off_is_refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_bytes_ struct bytes_writer whole = { 0 };
	struct bytes_writer out = { 0 };

	nfs(f, RENAME, &f->root);
	put_name(f, "a");
	xdr_put_opaque(&f->request, f->root.b, f->root.len);
	put_name(f, "b");
	bytes_put(&whole, f->request.buf, f->request.len);
	write_file(in(f, "a"), "a");
	for (size_t len = 0; len < whole.len; len++) {
		out.len = 0;
		if (share_answer(f->share, whole.buf, len, &out) == 0)
			assert_int_equal(out.buf[23], 4); /* arguments that make no sense */
	}
	bytes_writer_fini(&out);
	assert_true(says(in(f, "a"), "a"));
}

static void test_a_read_only_share_changes_nothing(void **state)
{
	static const uint32_t procs[] = { MKDIR, REMOVE, RMDIR };
	struct fixture *f = *state;
	struct handle h;

	write_file(in(f, "a"), "a");
	h = must_find(f, "a");
	f->readonly = true;
	restart(f);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(one_name(f, procs[i], "a"), ROFS);
	assert_int_equal(create(f, "b", 0, 0, NULL), ROFS);
	assert_int_equal(rename_to(f, &f->root, "a", "b"), ROFS);
	assert_int_equal(write_at(f, &h, 0, "x"), ROFS);
	nfs(f, SETATTR, &h);
	put_sattr(f, 0777, 0);
	xdr_put_u32(&f->request, 0);
	assert_int_equal(status(f), ROFS);
	nfs(f, ACCESS, &h);
	xdr_put_u32(&f->request, 0x3f);
	assert_int_equal(status(f), OK);
	bytes_get(&f->reply, 4 + 84);
	assert_int_equal(xdr_get_u32(&f->reply) & 0x1c, 0);
	assert_true(says(in(f, "a"), "a"));
}

static void test_other_programs_and_versions_are_refused(void **state)
{
	struct fixture *f = *state;

	begin(f, 100227, 0); /* access control lists: Linux asks for them */
	assert_int_equal(send_request(f), 1);
	begin(f, 100003, 22);
	assert_int_equal(send_request(f), 3);
	begin(f, 100003, 0);
	xdr_set_u32(&f->request, 16, 4);
	assert_int_equal(send_request(f), 2);
	assert_int_equal(xdr_get_u32(&f->reply), 3);
	begin(f, 100003, 0);
	xdr_set_u32(&f->request, 4, 1); /* an answer */
	assert_int_equal(share_answer(f->share, f->request.buf, f->request.len, &f->answer), -EBADMSG);
}

#define SHARE_TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARE_TEST(test_only_its_own_tag_can_be_mounted),
		SHARE_TEST(test_what_is_written_is_read_and_is_in_the_file),
		SHARE_TEST(test_size_and_mode_are_set),
		SHARE_TEST(test_who_took_his_own_right_away_writes_on),
		SHARE_TEST(test_a_folder_is_listed_in_parts_each_name_once),
		SHARE_TEST(test_exclusive_creation_is_known_again_by_its_verifier),
		SHARE_TEST(test_handles_hold_through_a_restart_and_renames),
		SHARE_TEST(test_what_was_done_is_not_done_again),
		SHARE_TEST(test_each_process_has_another_verifier),
		SHARE_TEST(test_state_that_makes_no_sense_is_refused),
		SHARE_TEST(test_no_name_leads_elsewhere),
		SHARE_TEST(test_links_are_told_and_not_followed),
		SHARE_TEST(test_a_swapped_link_leads_nowhere),
		SHARE_TEST(test_what_is_moved_out_is_out_of_reach),
		SHARE_TEST(test_handles_cannot_be_made_up),
		SHARE_TEST(test_a_number_used_again_is_another_file),
		SHARE_TEST(test_pipes_are_not_opened_and_devices_not_made),
		SHARE_TEST(test_counts_are_bounded),
		SHARE_TEST(test_what_is_cut_off_is_refused),
		SHARE_TEST(test_a_read_only_share_changes_nothing),
		SHARE_TEST(test_other_programs_and_versions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
