/* SPDX-License-Identifier: Apache-2.0 */
#include "device/nbd_keeper.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/util.h"
#include "device/nbd_server.h"

#define CONNECT_NS     (10 * NSEC_PER_SEC) /* one attempt */
#define SLICE_MS       20
#define BUSY_NS	       (5 * NSEC_PER_SEC)
#define AGAIN_PAUSE_NS (100 * NSEC_PER_MSEC)
#define FIRST_PAUSE_NS (250 * NSEC_PER_MSEC)
#define LAST_PAUSE_NS  (5 * NSEC_PER_SEC)
#define LEAVE_NS       (8 * NSEC_PER_SEC) /* longer than a server may take to end */
#define SILENCE_MS     30000		  /* of a peer, until TCP gives it up */

struct nbd_keeper {
	struct disk_options o;
	char *path, *format, *name, *folder;
	struct nbd_server server; /* the thread's */
	uint64_t bytes;		  /* the thread's: of the first connection, as */
	unsigned int abilities;	  /* what it can */
	int event_fd;
	pthread_t thread;
	bool had_some; /* the thread's: these are not the first */
	atomic_bool stop;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t cond;
	bool wanted, ended, abandoned;
	struct nbd_handle *conn[NBD_CONNS];
	unsigned int conns, failures;
	struct err why;
};

static void close_all(struct nbd_handle *conn[NBD_CONNS], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		nbd_close(conn[i]);
}

/* ---- one connection ---- */

/* What libnbd says begins with its function's name. */
static const char *reason(void)
{
	const char *text = nbd_get_error(), *colon = text ? strstr(text, ": ") : NULL;

	return colon ? colon + 2 : text ?: "the server ends the connection";
}

static int begin(struct nbd_keeper *k, struct nbd_handle *h)
{
	if (k->format)
		return nbd_aio_connect_unix(h, k->server.socket);
	nbd_set_uri_allow_local_file(h, true); /* of keys, which a URI may name */
	return nbd_aio_connect_uri(h, k->path);
}

static int wait_ready(struct nbd_keeper *k, struct nbd_handle *h, uint64_t deadline_ns, struct err *err)
{
	while (nbd_aio_is_connecting(h)) {
		if (nbd_poll(h, SLICE_MS) < 0)
			break;
		if (k->stop || clock_monotonic_ns() > deadline_ns)
			return err_set(err, -ENOTCONN, "the server does not answer");
	}
	return nbd_aio_is_ready(h) ? 0 : err_set(err, -ENOTCONN, "%s", reason());
}

static int attempt(struct nbd_keeper *k, uint64_t deadline_ns, struct nbd_handle **ret, struct err *err)
{
	struct nbd_handle *h = nbd_create();
	int r;

	if (!h)
		return err_errno(err, -ENOMEM, "connection");
	r = begin(k, h) < 0 ? err_set(err, -ENOTCONN, "%s", reason()) : wait_ready(k, h, deadline_ns, err);
	if (r < 0)
		nbd_close(h);
	else
		*ret = h;
	return r;
}

/* A peer that is gone without a word is found out, also while nothing is asked of it. */
static void watch_peer(struct nbd_handle *h)
{
	int fd = nbd_aio_get_fd(h), on = 1, silence = SILENCE_MS, idle = 10, interval = 5, count = 4;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof(silence));
}

/* A server that was just started needs a moment. */
static int connect_one(struct nbd_keeper *k, struct nbd_handle **ret, struct err *err)
{
	uint64_t deadline_ns = clock_monotonic_ns() + CONNECT_NS;
	char words[200];
	int r;

	while ((r = attempt(k, deadline_ns, ret, err)) < 0 && k->format && !nbd_server_has_ended(&k->server) &&
	       !k->stop && clock_monotonic_ns() < deadline_ns)
		usleep(SLICE_MS * 1000);
	if (r == 0)
		watch_peer(*ret);
	if (r == 0 || !k->format || !nbd_server_has_ended(&k->server))
		return r;
	nbd_server_last_words(&k->server, words, sizeof(words));
	if (strstr(words, "Is another process using"))
		return err_set(err, -EBUSY, "it is in use by another process");
	return err_set(err, r, "qemu-nbd: %s", *words ? words : "it ended");
}

/* ---- all of them ---- */

/* What comes back under an old name has to be what it was, as far as that shows. */
static int check_same(struct nbd_keeper *k, struct nbd_handle *h, struct err *err)
{
	int64_t bytes = nbd_get_size(h);
	unsigned int can;

	if (bytes < 0)
		return err_set(err, -ENOTCONN, "its size: %s", reason());
	if (!k->o.readonly && nbd_is_read_only(h) != 0)
		return err_set(err, -EROFS, "the server lets nobody write to it; access=ro takes it as it is");
	if ((uint64_t)bytes < k->bytes)
		return err_set(err, -ENOTCONN, "the server has it with %lld bytes, it had %llu", (long long)bytes,
			       (unsigned long long)k->bytes);
	can = (nbd_can_flush(h) > 0) | (nbd_can_fua(h) > 0) << 1 | (nbd_can_trim(h) > 0) << 2;
	if (k->abilities & ~can) /* the guest was told of them, and the disk counts on them */
		return err_set(err, -ENOTCONN, "the server can do less than it could before (flush, FUA or trim)");
	k->abilities = k->bytes ? k->abilities : can;
	k->bytes = k->bytes ?: (uint64_t)bytes;
	return 0;
}

static int connect_all(struct nbd_keeper *k, struct nbd_handle *conn[NBD_CONNS], unsigned int *ret_n, struct err *err)
{
	unsigned int n = 0, wanted = 1;
	int r = 0;

	for (; r == 0 && n < wanted; n += r == 0) {
		r = connect_one(k, &conn[n], err);
		if (r < 0)
			break;
		r = check_same(k, conn[n], err);
		if (r < 0)
			nbd_close(conn[n]);
		else if (!n && nbd_can_multi_conn(conn[0]) > 0)
			wanted = NBD_CONNS;
	}
	if (r < 0)
		close_all(conn, n);
	else
		*ret_n = n;
	return r;
}

static int make(struct nbd_keeper *k, struct nbd_handle *conn[NBD_CONNS], unsigned int *ret_n, struct err *err)
{
	struct disk_options o = k->o;
	int r = 0;

	if (k->format) { /* what was lost may be its fault */
		nbd_server_stop(&k->server);
		r = nbd_server_start(&o, &k->server, err);
	}
	r = r ?: connect_all(k, conn, ret_n, err);
	if (k->format)
		unlink(k->server.socket); /* nobody else is to come */
	return r;
}

/* The server of a machine that was killed just now needs a moment to end, and has the file until then. */
static int make_patiently(struct nbd_keeper *k, struct nbd_handle *conn[NBD_CONNS], unsigned int *ret_n,
			  struct err *err)
{
	uint64_t deadline_ns = clock_monotonic_ns() + BUSY_NS;
	int r;

	while ((r = make(k, conn, ret_n, err)) == -EBUSY && !k->stop && clock_monotonic_ns() < deadline_ns)
		usleep(SLICE_MS * 1000);
	return r < 0 ? err_prefix(err, "%s", k->path) : 0;
}

/* ---- the thread ---- */

static void pause_for(struct nbd_keeper *k, uint64_t ns)
{
	struct timespec t = clock_timespec(clock_monotonic_ns() + ns);

	while (!k->stop && pthread_cond_timedwait(&k->cond, &k->lock, &t) != ETIMEDOUT)
		;
}

/* Under the lock, but not while it tries. */
static void try_once(struct nbd_keeper *k, uint64_t *pause_ns)
{
	struct nbd_handle *conn[NBD_CONNS];
	unsigned int n = 0;
	struct err err = { 0 };
	int r;

	if (k->had_some) /* a server that ends whatever it is asked is not asked all the time */
		pause_for(k, AGAIN_PAUSE_NS);
	pthread_mutex_unlock(&k->lock);
	r = make_patiently(k, conn, &n, &err);
	pthread_mutex_lock(&k->lock);
	k->why = err;
	if (r == 0) {
		memcpy(k->conn, conn, sizeof(conn));
		k->conns = n;
		k->wanted = false;
		k->had_some = true;
		*pause_ns = FIRST_PAUSE_NS;
	} else {
		k->failures++;
	}
	pthread_cond_broadcast(&k->cond);
	eventfd_write(k->event_fd, 1);
	if (r < 0) {
		pause_for(k, *pause_ns);
		*pause_ns = MIN(*pause_ns * 2, LAST_PAUSE_NS);
	}
}

static void release(struct nbd_keeper *k)
{
	close_all(k->conn, k->conns);
	close_fdp(&k->event_fd);
	pthread_cond_destroy(&k->cond);
	pthread_mutex_destroy(&k->lock);
	free(k->path);
	free(k->format);
	free(k->name);
	free(k->folder);
	free(k);
}

static void *keeper_main(void *arg)
{
	struct nbd_keeper *k = arg;
	uint64_t pause_ns = FIRST_PAUSE_NS;
	bool abandoned;

	pthread_setname_np(pthread_self(), "nbd");
	pthread_mutex_lock(&k->lock);
	while (!k->stop)
		if (k->wanted)
			try_once(k, &pause_ns);
		else
			pthread_cond_wait(&k->cond, &k->lock);
	pthread_mutex_unlock(&k->lock);
	nbd_server_stop(&k->server);
	pthread_mutex_lock(&k->lock);
	k->ended = true;
	abandoned = k->abandoned;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
	if (abandoned)
		release(k);
	return NULL;
}

/* ---- life ---- */

static char *copy(const char *s, bool *failed)
{
	char *c = s ? strdup(s) : NULL;

	*failed |= s && !c;
	return c;
}

static struct nbd_keeper *allocate(const struct disk_options *o)
{
	struct nbd_keeper *k = calloc(1, sizeof(*k));
	bool failed = false;

	if (!k)
		return NULL;
	pthread_mutex_init(&k->lock, NULL);
	thread_cond_init(&k->cond);
	k->server = (struct nbd_server){ .pidfd = -1, .err_fd = -1 };
	k->path = copy(o->path, &failed);
	k->format = copy(disk_format_is_raw(o->format) ? NULL : o->format, &failed);
	k->name = copy(o->name ?: "disk", &failed);
	k->folder = copy(o->folder, &failed);
	k->o = (struct disk_options){ .path = k->path,
				      .format = k->format,
				      .name = k->name,
				      .folder = k->folder,
				      .readonly = o->readonly,
				      .cache = o->cache };
	k->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->wanted = true;
	if (failed || k->event_fd < 0) {
		release(k);
		return NULL;
	}
	return k;
}

int nbd_keeper_new(const struct disk_options *o, struct nbd_keeper **ret, struct err *err)
{
	struct nbd_keeper *k = allocate(o);
	int r = k ? thread_start(&k->thread, keeper_main, k) : -ENOMEM;

	if (r < 0) {
		if (k)
			release(k);
		return err_errno(err, r, "disk %s", o->path);
	}
	pthread_mutex_lock(&k->lock);
	while (!k->conns && !k->failures)
		pthread_cond_wait(&k->cond, &k->lock);
	r = k->conns ? 0 : err_set(err, k->why.code, "%s", k->why.msg);
	pthread_mutex_unlock(&k->lock);
	if (r < 0)
		nbd_keeper_free(k);
	else
		*ret = k;
	return r;
}

int nbd_keeper_fd(const struct nbd_keeper *k)
{
	return k->event_fd;
}

unsigned int nbd_keeper_take(struct nbd_keeper *k, struct nbd_handle *ret[NBD_CONNS], char *why, size_t size)
{
	unsigned int n;
	eventfd_t count;
	SCOPED_LOCK(&k->lock);

	eventfd_read(k->event_fd, &count);
	n = k->conns;
	memcpy(ret, k->conn, sizeof(k->conn));
	k->conns = 0;
	if (*k->why.msg)
		snprintf(why, size, "%s", k->why.msg);
	return n;
}

void nbd_keeper_lost(struct nbd_keeper *k)
{
	SCOPED_LOCK(&k->lock);

	k->wanted = true;
	pthread_cond_broadcast(&k->cond);
}

void nbd_keeper_free(struct nbd_keeper *k)
{
	struct timespec t = clock_timespec(clock_monotonic_ns() + LEAVE_NS);
	bool ended;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_broadcast(&k->cond);
	while (!k->ended && pthread_cond_timedwait(&k->cond, &k->lock, &t) != ETIMEDOUT)
		;
	ended = k->ended;
	k->abandoned = !ended;
	pthread_mutex_unlock(&k->lock);
	if (!ended) { /* it waits for a name to be resolved, which nothing interrupts, and cleans up behind itself */
		pthread_detach(k->thread);
		return;
	}
	pthread_join(k->thread, NULL);
	release(k);
}
