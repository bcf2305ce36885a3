/* SPDX-License-Identifier: Apache-2.0 */
#include "bootdisk/source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/served.h"
#include "base/util.h"

#define WINDOWS 8u

/* libext2fs reads block by block, and each question costs a way through three processes: so more is asked for. */
struct window {
	uint64_t at;
	size_t len; /* 0: it is empty */
	uint8_t buf[SERVED_MAX];
};

static bool served;
static uint64_t bytes;
static struct window window[WINDOWS];
static unsigned int oldest;

int source_open(int fd, uint64_t *ret_bytes)
{
	struct stat st;
	off_t end;

	if (fstat(fd, &st) < 0)
		return -errno;
	served = S_ISSOCK(st.st_mode);
	memset(window, 0, sizeof(window));
	if (served) {
		int r = served_size(fd, &bytes);

		*ret_bytes = bytes;
		return r;
	}
	end = lseek(fd, 0, SEEK_END);
	*ret_bytes = (uint64_t)end;
	return end < 0 ? -errno : 0;
}

bool source_is_served(void)
{
	return served;
}

/* The one that has the byte at @offset, which there is; NULL: it cannot be read. */
static const struct window *find_window(int fd, uint64_t offset)
{
	struct window *w = &window[oldest];

	for (unsigned int i = 0; i < WINDOWS; i++)
		if (window[i].len && offset - window[i].at < window[i].len)
			return &window[i];
	oldest = (oldest + 1) % WINDOWS;
	w->at = offset / SERVED_MAX * SERVED_MAX;
	w->len = 0;
	if (served_read(fd, w->buf, MIN(bytes - w->at, (uint64_t)SERVED_MAX), w->at) < 0)
		return NULL;
	w->len = MIN(bytes - w->at, (uint64_t)SERVED_MAX);
	return w;
}

static int read_served(int fd, void *buf, size_t len, uint64_t offset)
{
	if (offset > bytes || len > bytes - offset)
		return -ENODATA;
	for (size_t done = 0; done < len;) {
		const struct window *w = find_window(fd, offset + done);
		size_t from = w ? (size_t)(offset + done - w->at) : 0, n = w ? MIN(w->len - from, len - done) : 0;

		if (!w)
			return -ENODATA;
		memcpy((char *)buf + done, w->buf + from, n);
		done += n;
	}
	return 0;
}

int source_read(int fd, void *buf, size_t len, uint64_t offset)
{
	return served ? read_served(fd, buf, len, offset) : io_pread_full(fd, buf, len, offset);
}
