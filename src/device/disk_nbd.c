/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that an NBD server has. Data go through a copy of ours: libnbd wants one piece of memory, and the copy of
 * what was written is kept until the server has flushed it. A server that comes back may have forgotten what it had
 * acknowledged, as a disk does whose power fails; so that is written again, in the order in which it was acknowledged,
 * before anything else goes there. NFS clients do the same with what is not committed.
 *
 * All of it belongs to the disk's thread, but the keeper (nbd_keeper.h), which makes connections.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/util.h"
#include "device/nbd_keeper.h"

#define SECTOR	     512u
#define BLOCK_MAX    4096u /* what a guest's driver can have as a sector */
#define DISCARD_UNIT 4096u
#define DISCARD_MAX  (UINT64_C(1) << 30)  /* in one command, whose length has 32 bits */
#define KEPT_MAX     (UINT64_C(32) << 20) /* written and not flushed: above it, a write is flushed before its answer */
#define TURNS	     16

enum state { DOWN, WRITING_AGAIN, UP };

struct disk_nbd;

/* One command, or a kept copy. */
struct op {
	struct disk_nbd *n;
	struct disk_io *io; /* NULL: it is of our own */
	enum disk_op op;    /* the command's; the io's may be another one */
	uint64_t offset, bytes;
	uint64_t number; /* of a kept one; of a flush: the last one that it covers */
	uint8_t *buf;
	bool own_buf, completed;
	unsigned int conn;
	int result;
	TAILQ_ENTRY(op) at;
};
TAILQ_HEAD(ops, op);

struct disk_nbd {
	struct disk disk;
	struct nbd_keeper *keeper;
	char *path;
	int epoll_fd;
	enum state state;
	struct nbd_handle *conn[NBD_CONNS];
	uint32_t events[NBD_CONNS]; /* that epoll has */
	unsigned int busy[NBD_CONNS], conns;
	bool no_flush, keeps, fua; /* keeps: copies of what is written, until it is flushed */
	uint64_t bytes;		   /* now; disk.bytes is what the guest knows */
	struct ops under_way, ended, kept;
	uint64_t kept_bytes, last_kept;
	struct op again;    /* the one that is written again */
	struct op *current; /* in `kept` */
};

static void op_free(struct op *o)
{
	if (o->own_buf)
		free(o->buf);
	free(o);
}

/* ---- commands ---- */

/* Under libnbd's lock of that connection: only notes. */
static int on_completed(void *arg, int *error)
{
	struct op *o = arg;

	o->completed = true;
	o->result = -*error;
	o->n->busy[o->conn]--;
	TAILQ_REMOVE(&o->n->under_way, o, at);
	TAILQ_INSERT_TAIL(&o->n->ended, o, at);
	return 1; /* libnbd may forget it */
}

static int64_t command(struct op *o, struct nbd_handle *h)
{
	nbd_completion_callback done = { .callback = on_completed, .user_data = o };

	switch (o->op) {
	case DISK_READ:
		return nbd_aio_pread(h, o->buf, o->bytes, o->offset, done, 0);
	case DISK_WRITE:
		return nbd_aio_pwrite(h, o->buf, o->bytes, o->offset, done, o->n->fua ? LIBNBD_CMD_FLAG_FUA : 0);
	case DISK_DISCARD:
		return nbd_aio_trim(h, MIN(o->bytes, DISCARD_MAX), o->offset, done, 0);
	case DISK_FLUSH:
	case DISK_SYNC:
		break;
	}
	return nbd_aio_flush(h, done, 0);
}

static bool is_over(struct nbd_handle *h)
{
	return nbd_aio_is_dead(h) || nbd_aio_is_closed(h);
}

/*
 * 0: it was completed, or will be. A command that finds its connection dead is completed before libnbd returns; as it
 * is forgotten then, what libnbd (1.14) returns is read from memory that was freed, and may look like a refusal.
 */
static int refusal(struct op *o, struct nbd_handle *h)
{
	int error;

	if (command(o, h) >= 0 || o->completed)
		return 0;
	error = nbd_get_errno();
	return is_over(h) ? ENOTCONN : error ? error : EIO;
}

static void post(struct op *o)
{
	struct disk_nbd *n = o->n;
	int error;

	o->completed = false;
	o->conn = 0;
	for (unsigned int i = 1; i < n->conns; i++)
		if (n->busy[i] < n->busy[o->conn])
			o->conn = i;
	TAILQ_INSERT_TAIL(&n->under_way, o, at);
	n->busy[o->conn]++;
	error = n->conns ? refusal(o, n->conn[o->conn]) : ENOTCONN;
	if (error)
		on_completed(o, &error);
}

static void copy(uint8_t *buf, const struct disk_io *io, bool out)
{
	for (unsigned int i = 0; i < io->iovs; i++) {
		if (out)
			memcpy(io->iov[i].iov_base, buf, io->iov[i].iov_len);
		else
			memcpy(buf, io->iov[i].iov_base, io->iov[i].iov_len);
		buf += io->iov[i].iov_len;
	}
}

static struct op *new_op(struct disk_nbd *n, struct disk_io *io)
{
	struct op *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	*o = (struct op){ .n = n, .io = io, .op = io->op, .offset = io->offset, .bytes = io->bytes };
	if (io->op == DISK_READ && io->iovs == 1) {
		o->buf = io->iov[0].iov_base;
		return o;
	}
	o->own_buf = io->op == DISK_READ || io->op == DISK_WRITE;
	o->buf = o->own_buf ? malloc(io->bytes) : NULL;
	if (o->own_buf && !o->buf) {
		free(o);
		return NULL;
	}
	if (io->op == DISK_WRITE)
		copy(o->buf, io, false);
	return o;
}

static void submit(struct disk *d, struct disk_io *io)
{
	struct disk_nbd *n = container_of(d, struct disk_nbd, disk);
	bool flush = io->op == DISK_FLUSH || io->op == DISK_SYNC;
	struct op *o;

	if (io->op == DISK_FLUSH && n->no_flush) {
		io->done(io, 0);
		return;
	}
	if (n->state != UP) {
		io->done(io, -ENOTCONN);
		return;
	}
	/* What such a server acknowledges is where it stays, or nobody can help it. */
	if (flush && nbd_can_flush(n->conn[0]) <= 0) {
		io->done(io, 0);
		return;
	}
	o = new_op(n, io);
	if (!o) {
		io->done(io, -ENOMEM);
		return;
	}
	o->number = n->last_kept;
	post(o);
}

/* ---- what was written and not flushed ---- */

static void keep(struct disk_nbd *n, struct op *o)
{
	o->io = NULL;
	o->number = ++n->last_kept;
	n->kept_bytes += o->bytes;
	TAILQ_INSERT_TAIL(&n->kept, o, at);
}

static void forget(struct disk_nbd *n, uint64_t up_to)
{
	struct op *o;

	while ((o = TAILQ_FIRST(&n->kept)) && o->number <= up_to) {
		TAILQ_REMOVE(&n->kept, o, at);
		n->kept_bytes -= o->bytes;
		op_free(o);
	}
}

/* Too much is kept: the answer to @io waits for a flush. */
static bool flush_first(struct disk_nbd *n, struct disk_io *io)
{
	struct op *o = n->kept_bytes > KEPT_MAX ? calloc(1, sizeof(*o)) : NULL;

	if (!o)
		return false;
	*o = (struct op){ .n = n, .io = io, .op = DISK_FLUSH, .number = n->last_kept };
	post(o);
	return true;
}

/* ---- connections ---- */

static void watch(struct disk_nbd *n, unsigned int i)
{
	unsigned int dir = nbd_aio_get_direction(n->conn[i]);
	uint32_t events =
		(dir & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0u) | (dir & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0u);
	struct epoll_event e = { .events = events };

	if (events != n->events[i])
		epoll_ctl(n->epoll_fd, n->events[i] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, nbd_aio_get_fd(n->conn[i]), &e);
	n->events[i] = events;
}

/* All commands that were under way have failed. */
static void close_conns(struct disk_nbd *n)
{
	struct op *o;

	for (unsigned int i = 0; i < n->conns; i++) {
		epoll_ctl(n->epoll_fd, EPOLL_CTL_DEL, nbd_aio_get_fd(n->conn[i]), NULL);
		nbd_close(n->conn[i]);
	}
	while ((o = TAILQ_FIRST(&n->under_way)))
		on_completed(o, &(int){ ENOTCONN });
	memset(n->busy, 0, sizeof(n->busy));
	n->conns = 0;
}

static void lose(struct disk_nbd *n, const char *why)
{
	if (n->state == DOWN)
		return;
	close_conns(n);
	n->state = DOWN;
	snprintf(n->disk.trouble, sizeof(n->disk.trouble), "%s", why);
	trace(nbd_lost, "disk=%s kept_bytes=%llu", n->path, (unsigned long long)n->kept_bytes);
	nbd_keeper_lost(n->keeper);
}

static void up(struct disk_nbd *n)
{
	n->state = UP;
	n->disk.comebacks++;
	*n->disk.trouble = 0;
	if (n->kept_bytes)
		log_info("disk %s: %llu KiB that its server may have forgotten were written again", n->path,
			 (unsigned long long)(n->kept_bytes >> 10));
	trace(nbd_up, "disk=%s conns=%u", n->path, n->conns);
}

/* One at a time: some may be of the same place. */
static void write_next_again(struct disk_nbd *n)
{
	n->current = n->current ? TAILQ_NEXT(n->current, at) : TAILQ_FIRST(&n->kept);
	if (!n->current) {
		up(n);
		return;
	}
	n->again = (struct op){ .n = n,
				.op = DISK_WRITE,
				.offset = n->current->offset,
				.bytes = n->current->bytes,
				.buf = n->current->buf };
	post(&n->again);
}

static bool take_conns(struct disk_nbd *n)
{
	n->conns = nbd_keeper_take(n->keeper, n->conn, n->disk.trouble, sizeof(n->disk.trouble));
	if (!n->conns)
		return false;
	memset(n->events, 0, sizeof(n->events));
	n->bytes = (uint64_t)nbd_get_size(n->conn[0]) / SECTOR * SECTOR;
	n->state = WRITING_AGAIN;
	n->current = NULL;
	write_next_again(n);
	return true;
}

/* ---- what has ended ---- */

static int error_of(int result)
{
	switch (result) {
	case -ESHUTDOWN: /* the server's word for it */
	case -EPIPE:
	case -ECONNRESET:
		return -ENOTCONN;
	default:
		return result;
	}
}

static void end_again(struct disk_nbd *n, int result)
{
	if (result == 0)
		write_next_again(n);
	else
		lose(n, strerror(-result));
}

static void end_write(struct disk_nbd *n, struct op *o, int result)
{
	struct disk_io *io = o->io;

	assert(io); /* those of our own end in end_again() */
	if (result == 0 && n->keeps)
		keep(n, o);
	else
		op_free(o);
	if (result || !flush_first(n, io))
		io->done(io, result);
}

static void end_discard(struct op *o, int result)
{
	uint64_t done = MIN(o->bytes, DISCARD_MAX);
	struct disk_io *io = o->io;

	o->offset += done;
	o->bytes -= done;
	if (result == 0 && o->bytes && o->n->state == UP) {
		post(o);
		return;
	}
	result = result == 0 && o->bytes ? -ENOTCONN : result;
	op_free(o);
	io->done(io, result);
}

static void end_other(struct disk_nbd *n, struct op *o, int result)
{
	struct disk_io *io = o->io;

	if (result == 0 && (o->op == DISK_FLUSH || o->op == DISK_SYNC))
		forget(n, o->number);
	if (result == 0 && o->own_buf)
		copy(o->buf, io, true);
	op_free(o);
	io->done(io, result);
}

static void end_all(struct disk_nbd *n)
{
	struct op *o;

	while ((o = TAILQ_FIRST(&n->ended))) {
		int result = error_of(o->result);

		TAILQ_REMOVE(&n->ended, o, at);
		if (o == &n->again)
			end_again(n, result);
		else if (o->op == DISK_WRITE)
			end_write(n, o, result);
		else if (o->op == DISK_DISCARD)
			end_discard(o, result);
		else
			end_other(n, o, result);
	}
}

/* ---- the disk's thread ---- */

/* True: something went on. */
static bool turn(struct disk_nbd *n)
{
	struct pollfd p[NBD_CONNS];
	bool any = false;

	for (unsigned int i = 0; i < n->conns; i++) {
		unsigned int dir = nbd_aio_get_direction(n->conn[i]);

		p[i] = (struct pollfd){ .fd = nbd_aio_get_fd(n->conn[i]) };
		p[i].events = (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
				      (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	}
	if (!n->conns || ppoll(p, n->conns, &(struct timespec){ 0 }, NULL) <= 0)
		return false;
	for (unsigned int i = 0; i < n->conns; i++) {
		if (p[i].revents & POLLOUT)
			nbd_aio_notify_write(n->conn[i]);
		else if (p[i].revents)
			nbd_aio_notify_read(n->conn[i]);
		any |= p[i].revents;
	}
	return any;
}

static bool has_died(struct disk_nbd *n)
{
	for (unsigned int i = 0; i < n->conns; i++)
		if (is_over(n->conn[i]))
			return true;
	return false;
}

static void reap(struct disk *d)
{
	struct disk_nbd *n = container_of(d, struct disk_nbd, disk);

	if (n->state == DOWN)
		take_conns(n);
	for (unsigned int i = 0; i < TURNS && turn(n); i++)
		end_all(n);
	if (has_died(n))
		lose(n, "the server is gone");
	end_all(n);
	for (unsigned int i = 0; i < n->conns; i++)
		watch(n, i);
}

static int epoll_of(struct disk *d)
{
	return container_of(d, struct disk_nbd, disk)->epoll_fd;
}

static int resized(struct disk *d, uint64_t *ret_bytes)
{
	*ret_bytes = container_of(d, struct disk_nbd, disk)->bytes;
	return 0;
}

static void close_nbd(struct disk *d)
{
	struct disk_nbd *n = container_of(d, struct disk_nbd, disk);
	struct op *o;

	if (n->state == UP)
		for (unsigned int i = 0; i < n->conns; i++)
			nbd_aio_disconnect(n->conn[i], 0); /* a word of farewell, if it fits into the socket */
	close_conns(n);
	n->state = DOWN;
	while ((o = TAILQ_FIRST(&n->ended))) {
		TAILQ_REMOVE(&n->ended, o, at);
		if (o->io)
			o->io->done(o->io, -ECANCELED);
		if (o != &n->again)
			op_free(o);
	}
	forget(n, UINT64_MAX);
	nbd_keeper_free(n->keeper);
	close_fdp(&n->epoll_fd);
	free(n->path);
	free(n);
}

static const struct disk_ops ops = {
	.submit = submit, .reap = reap, .fd = epoll_of, .resized = resized, .close = close_nbd
};

/* ---- open ---- */

static int take_geometry(struct disk_nbd *n, const struct disk_options *o, struct err *err)
{
	struct nbd_handle *h = n->conn[0];
	int64_t block = nbd_get_block_size(h, LIBNBD_SIZE_MINIMUM);
	bool through = o->cache == DISK_WRITETHROUGH || o->cache == DISK_DIRECTSYNC;

	if (block > BLOCK_MAX)
		return err_set(err, -EOPNOTSUPP, "disk %s: its server takes nothing smaller than %lld bytes", o->path,
			       (long long)block);
	n->disk.block_bytes = block > SECTOR ? (uint32_t)block : SECTOR;
	n->disk.bytes = n->bytes;
	if (o->readonly)
		return 0;
	n->disk.discard_unit = nbd_can_trim(h) > 0 ? DISCARD_UNIT : 0;
	/* A server of our own does as it was told when it was started. */
	n->fua = through && disk_format_is_raw(o->format);
	if (n->fua && nbd_can_fua(h) <= 0)
		return err_set(err, -EOPNOTSUPP, "disk %s: cache %s: its server cannot write through (FUA)", o->path,
			       disk_cache_name(o->cache));
	n->keeps = nbd_can_flush(h) > 0 && !n->fua && !n->no_flush;
	return 0;
}

int disk_nbd_open(const struct disk_options *o, struct disk **ret, struct err *err)
{
	struct disk_nbd *n = calloc(1, sizeof(*n));
	_cleanup_(disk_closep) struct disk *d = n ? &n->disk : NULL;
	int r;

	if (!n)
		return err_errno(err, -ENOMEM, "disk %s", o->path);
	TAILQ_INIT(&n->under_way);
	TAILQ_INIT(&n->ended);
	TAILQ_INIT(&n->kept);
	n->disk = (struct disk){ .fd = -1, .readonly = o->readonly, .ops = &ops };
	n->no_flush = o->cache == DISK_UNSAFE || o->readonly;
	n->path = strdup(o->path);
	n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (n->epoll_fd < 0 || !n->path)
		return err_errno(err, -ENOMEM, "disk %s", o->path);
	r = nbd_keeper_new(o, &n->keeper, err);
	if (r < 0)
		return err_prefix(err, "disk");
	epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, nbd_keeper_fd(n->keeper), &(struct epoll_event){ .events = EPOLLIN });
	take_conns(n);
	r = take_geometry(n, o, err);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < n->conns; i++)
		watch(n, i);
	*ret = take_ptr(d);
	return 0;
}
