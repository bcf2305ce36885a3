/* SPDX-License-Identifier: Apache-2.0 */
#include "base/served.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/util.h"

struct question {
	uint64_t offset, len;
};

static int answer(int fd, const void *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EMSGSIZE;
}

int served_answer(int fd, uint64_t bytes, int (*read_bytes)(void *arg, void *buf, size_t len, uint64_t offset),
		  void *arg)
{
	_cleanup_free_ uint8_t *buf = malloc(SERVED_MAX);
	int r = buf ? answer(fd, &bytes, sizeof(bytes)) : -ENOMEM;

	while (r == 0) {
		struct question q;
		ssize_t n = recv(fd, &q, sizeof(q), 0);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (n != sizeof(q) || !q.len || q.len > SERVED_MAX || q.offset > bytes || q.len > bytes - q.offset)
			return -EBADMSG;
		r = read_bytes(arg, buf, q.len, q.offset);
		r = r ?: answer(fd, buf, q.len);
	}
	return r;
}

/* By read() and write(): a confined program has no others. */
int served_size(int fd, uint64_t *ret_bytes)
{
	return read(fd, ret_bytes, sizeof(*ret_bytes)) == sizeof(*ret_bytes) ? 0 : -ENODATA;
}

int served_read(int fd, void *buf, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		struct question q = { .offset = offset + done, .len = len - done };

		q.len = MIN(q.len, SERVED_MAX);
		if (write(fd, &q, sizeof(q)) != sizeof(q) || read(fd, (char *)buf + done, q.len) != (ssize_t)q.len)
			return -ENODATA;
		done += q.len;
	}
	return 0;
}
