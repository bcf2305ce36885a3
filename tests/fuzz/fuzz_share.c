/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a shared folder. The input is calls, one behind the other: the number of a procedure (or RAW), a length,
 * and so many bytes of arguments, in which HANDLE and a digit become a file handle that the server gave out; nobody
 * finds one by trying. Whatever is asked for: what lies beside the folder stays what it is.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "share/internal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define RAW	0xff /* the whole message */
#define MOUNT	0x80 /* + a procedure of the other program */
#define HANDLE	0xf5
#define HANDLES 6

static char top[64], folder[80], secret[80];
static const char *const names[HANDLES] = { ".", "file", "dir", "link", "pipe", "dir/below" };
static struct share_options options = { .tag = "data" };

static int drop(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	if (fd < 0 || write(fd, "content", 7) != 7)
		__builtin_trap();
	close(fd);
}

static void make_folder(void)
{
	char path[128];

	nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
	if (mkdir(folder, 0755) < 0)
		__builtin_trap();
	options.root_fd = open(folder, O_PATH | O_DIRECTORY);
	snprintf(path, sizeof(path), "%s/file", folder);
	make_file(path);
	mkdirat(options.root_fd, "dir", 0755);
	snprintf(path, sizeof(path), "%s/dir/below", folder);
	make_file(path);
	symlinkat(secret, options.root_fd, "link");
	mkfifoat(options.root_fd, "pipe", 0644);
}

static void clean_up(void)
{
	nftw(top, drop, 16, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	umask(0);
	snprintf(top, sizeof(top), "%s/fuzz-share-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(top))
		__builtin_trap();
	snprintf(folder, sizeof(folder), "%s/folder", top);
	snprintf(secret, sizeof(secret), "%s/secret", top);
	make_file(secret);
	options.proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY);
	atexit(clean_up);
	return 0;
}

/* Nothing beside the folder was made, or changed. */
static void check_outside(void)
{
	struct stat st, up;
	char text[16];
	int fd = open(secret, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text)) != 7 || memcmp(text, "content", 7) || fstat(fd, &st) < 0)
		__builtin_trap();
	close(fd);
	if (st.st_nlink != 1 || (st.st_mode & 07777) != 0644 || stat(top, &up) < 0 || up.st_nlink != 3)
		__builtin_trap();
}

static void put_args(struct bytes_writer *w, const uint8_t *p, size_t len, uint8_t handle[HANDLES][HANDLE_BYTES])
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] == HANDLE && i + 1 < len)
			xdr_put_opaque(w, handle[p[++i] % HANDLES], HANDLE_BYTES);
		else
			bytes_put_u8(w, p[i]);
	}
}

static void put_header(struct bytes_writer *w, uint8_t proc)
{
	bool mount = proc & MOUNT;

	xdr_put_u32(w, 1);
	xdr_put_u32(w, 0);
	xdr_put_u32(w, 2);
	xdr_put_u32(w, mount ? 100005 : 100003);
	xdr_put_u32(w, 3);
	xdr_put_u32(w, proc & 0x1f);
	xdr_put_u64(w, 0);
	xdr_put_u64(w, 0);
}

static void run(struct share *s, struct bytes_reader *in)
{
	uint8_t handle[HANDLES][HANDLE_BYTES];

	for (size_t i = 0; i < HANDLES; i++) {
		_cleanup_(file_fini) struct file f = FILE_NONE;

		f.fd = tree_openat(options.root_fd, names[i], O_PATH | O_NOFOLLOW, 0);
		if (f.fd < 0 || file_stat_fd(f.fd, &f) < 0)
			__builtin_trap();
		if (!i)
			f.id = (struct file_id){ 0 };
		handle_make(s, &f.id, handle[i]);
	}
	for (int calls = 0; in->left > 2 && calls < 32; calls++) {
		_cleanup_bytes_ struct bytes_writer w = { 0 }, out = { 0 };
		uint8_t proc = bytes_get_u8(in);
		size_t len = MIN(bytes_get_u16(in), in->left);
		int r;

		if (proc != RAW)
			put_header(&w, proc);
		put_args(&w, bytes_get(in, len), len, handle);
		r = share_answer(s, w.buf, w.len, &out);
		if (r == 0 && (out.len < 24 || out.len > SHARE_REQUEST_MAX))
			__builtin_trap();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes_reader in = bytes_reader(data, len);
	struct share *s = NULL;

	make_folder();
	options.state_fd = memfd_create("state", MFD_CLOEXEC);
	if (share_new(&options, &s) < 0)
		__builtin_trap();
	run(s, &in);
	share_free(s);
	close(options.state_fd);
	close(options.root_fd);
	check_outside();
	return 0;
}
