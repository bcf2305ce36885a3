/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* Runs @call until @len bytes are moved; an end of file is -ENODATA. */
#define IO_LOOP(call)                                                                                                  \
	do {                                                                                                           \
		size_t done = 0;                                                                                       \
		while (done < len) {                                                                                   \
			ssize_t n = (call);                                                                            \
			if (n < 0 && errno == EINTR)                                                                   \
				continue;                                                                              \
			if (n < 0)                                                                                     \
				return -errno;                                                                         \
			if (!n)                                                                                        \
				return -ENODATA;                                                                       \
			done += (size_t)n;                                                                             \
		}                                                                                                      \
		return 0;                                                                                              \
	} while (0)

int io_read_full(int fd, void *buf, size_t len)
{
	IO_LOOP(read(fd, (char *)buf + done, len - done));
}

int io_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	IO_LOOP(pread(fd, (char *)buf + done, len - done, (off_t)(offset + done)));
}

int io_write_full(int fd, const void *buf, size_t len)
{
	IO_LOOP(write(fd, (const char *)buf + done, len - done));
}

int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	IO_LOOP(pwrite(fd, (const char *)buf + done, len - done, (off_t)(offset + done)));
}

int io_read_file(const char *path, size_t max, uint8_t **ret_buf, size_t *ret_len, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *buf = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return err_errno(err, -errno, "open %s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(err, -errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s is not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return err_set(err, -EFBIG, "%s is larger than %zu bytes", path, max);
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return err_errno(err, -ENOMEM, "read %s", path);
	r = io_read_full(fd, buf, (size_t)st.st_size);
	if (r < 0)
		return err_errno(err, r, "read %s", path);
	buf[st.st_size] = 0;
	*ret_len = (size_t)st.st_size;
	*ret_buf = take_ptr(buf);
	return 0;
}

int io_clone_unnamed(int fd, const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int to = copy ? open(dirname(copy), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode) : -1;

	if (!copy)
		return -ENOMEM;
	return to < 0 || ioctl(to, FICLONE, fd) < 0 ? -errno : take_fd(to);
}

int io_give_name(int fd, const char *path)
{
	char proc[64];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int io_sync_folder(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (!copy)
		return -ENOMEM;
	return fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? -errno : 0;
}

int io_clone_file(int fd, const char *path, mode_t mode)
{
	_cleanup_close_ int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int r;

	if (to < 0)
		return -errno;
	if (ioctl(to, FICLONE, fd) == 0)
		return 0;
	r = -errno;
	unlink(path);
	return r;
}
