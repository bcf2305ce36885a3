/* SPDX-License-Identifier: Apache-2.0 */
#include "image/aio.h"

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/io.h"
#include "base/util.h"

#define DEPTH 4 /* buffers; one is being filled */

struct slot {
	uint8_t *buf;
	bool busy;
	int fd;
	size_t len;
	uint64_t offset;
};

struct image_aio {
	struct io_uring ring;
	bool works;  /* else every write is done at once */
	bool looked; /* at whether it is worth it */
	struct slot slot[DEPTH];
	struct slot *next; /* whose buffer was given out */
	unsigned int busy;
	int result; /* first failure */
};

static int first(struct image_aio *a, int r)
{
	if (r < 0 && !a->result)
		a->result = r;
	return a->result;
}

static void finish_slot(struct image_aio *a, struct slot *s, int res)
{
	s->busy = false;
	a->busy--;
	if (res == -EAGAIN || res == -EINTR)
		res = 0;
	/* A disk that is full takes a part; what it says to the rest is what a person has to hear. */
	if (res >= 0 && (size_t)res < s->len)
		res = io_pwrite_full(s->fd, s->buf + res, s->len - (size_t)res, s->offset + (size_t)res);
	first(a, res);
}

/* Waits for one write to end. */
static void reap(struct image_aio *a)
{
	struct io_uring_cqe *cqe;
	int r;

	do
		r = io_uring_wait_cqe(&a->ring, &cqe);
	while (r == -EINTR);
	if (r < 0) { /* cannot be: the ring is ours, and something is under way */
		first(a, r);
		a->busy = 0;
		return;
	}
	finish_slot(a, io_uring_cqe_get_data(cqe), cqe->res);
	io_uring_cqe_seen(&a->ring, cqe);
}

struct image_aio *image_aio_new(size_t size)
{
	struct image_aio *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	for (size_t i = 0; i < DEPTH; i++) {
		a->slot[i].buf = malloc(size);
		if (!a->slot[i].buf) {
			image_aio_free(a);
			return NULL;
		}
	}
	a->works = io_uring_queue_init(DEPTH, &a->ring, 0) == 0;
	return a;
}

void image_aio_free(struct image_aio *a)
{
	if (!a)
		return;
	image_aio_finish(a);
	if (a->works)
		io_uring_queue_exit(&a->ring);
	for (size_t i = 0; i < DEPTH; i++)
		free(a->slot[i].buf);
	free(a);
}

int image_aio_buffer(struct image_aio *a, uint8_t **ret)
{
	if (a->busy == DEPTH)
		reap(a);
	for (size_t i = 0; i < DEPTH; i++)
		if (!a->slot[i].busy)
			a->next = &a->slot[i];
	*ret = a->next->buf;
	return a->result;
}

static void without_ring(struct image_aio *a)
{
	image_aio_finish(a);
	io_uring_queue_exit(&a->ring);
	a->works = false;
}

/*
 * A file system that takes no buffered write without waiting (ext4, tmpfs) has each of them done by a thread of the
 * kernel's, and those fight for the file's lock with each other: on tmpfs 9 times slower than plain writes.
 */
static void look(struct image_aio *a, int fd, const struct slot *s, uint64_t offset)
{
	struct iovec piece = { .iov_base = s->buf, .iov_len = 1 };

	a->looked = true;
	if (pwritev2(fd, &piece, 1, (off_t)offset, RWF_NOWAIT) < 0 && errno != EAGAIN)
		without_ring(a);
}

int image_aio_write(struct image_aio *a, int fd, size_t len, uint64_t offset)
{
	struct slot *s = a->next;
	struct io_uring_sqe *sqe;

	if (a->works && !a->looked)
		look(a, fd, s, offset);
	sqe = a->works ? io_uring_get_sqe(&a->ring) : NULL;
	*s = (struct slot){ .buf = s->buf, .fd = fd, .len = len, .offset = offset };
	if (!sqe)
		return first(a, io_pwrite_full(fd, s->buf, len, offset));
	io_uring_prep_write(sqe, fd, s->buf, (unsigned int)len, offset);
	io_uring_sqe_set_data(sqe, s);
	s->busy = true;
	a->busy++;
	if (io_uring_submit(&a->ring) < 1) { /* it was not taken: without the ring, then */
		a->busy--;
		s->busy = false;
		without_ring(a);
		return first(a, io_pwrite_full(fd, s->buf, len, offset));
	}
	return a->result;
}

int image_aio_finish(struct image_aio *a)
{
	while (a->busy)
		reap(a);
	return a->result;
}
