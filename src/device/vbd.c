/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk's thread takes requests from the rings, looks up the granted pages, hands them to the disk, and
 * answers when that is done. Pages are read and written where they are: the guest can change them
 * meanwhile, and spoils nothing but its own data by it.
 *
 * At rest nothing is under way, and all that was taken is answered: then the rings' own indices say where to go on,
 * in this process or another one, so no state of ours is in an image.
 */
#include "device/vbd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"
#include "device/blkif.h"
#include "device/disk_stall.h"
#include "xen/backend.h"

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

#define QUEUES_MAX    4u
#define RETRY_MS      1000
#define SYNC_SLICE_NS (20 * NSEC_PER_MSEC)
#define TURN	      64 /* requests of one queue before the others get theirs */

struct vbd;

struct queue {
	struct vbd *vbd;
	blkif_back_ring_t ring;
	unsigned int port;
	bool broken;   /* its indices make no sense */
	bool answered; /* there are responses that the guest does not see yet */
};

struct request {
	struct queue *queue;
	uint64_t id;
	uint8_t op;
	bool write_next; /* a flush with data: the data comes now */
	struct disk_io io;
	struct iovec *iov; /* [pieces]; io.iov moves on */
	unsigned int pieces;
	uint64_t bytes;
	struct xen_backend_piece piece[];
};

struct vbd {
	struct disk *disk;
	char name[16], path[512];
	unsigned int number;
	struct xen_domain *domain;
	struct bus_device *dev; /* once it was offered or adopted */

	pthread_t thread;
	bool started;
	int kick_fd;

	void (*changed)(void *arg); /* something that people are shown */
	void *changed_arg;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t idle;
	bool stop, connected, resting;
	bool closing; /* the bus wants to know when nothing is under way */
	struct queue queue[QUEUES_MAX];
	unsigned int queues, under_way;
	struct disk_stats stats;
	struct disk_stall stall;
	bool told; /* that it stalls */
	struct disk_io sync;
	uint64_t syncs_wanted, sync_runs, syncs_done; /* numbers; runs 0: none does */
	int sync_result;
	struct {
		enum { READ_NONE, READ_WANTED, READ_RUNS, READ_DONE } state;
		struct disk_io io;
		struct iovec iov;
		int result;
		uint8_t buf[VBD_READ_MAX];
	} read; /* of our own */
	struct log_limit log;
};

/* ---- answers ---- */

static void answer(struct queue *q, uint64_t id, uint8_t op, int status)
{
	blkif_response_t *r = RING_GET_RESPONSE(&q->ring, q->ring.rsp_prod_pvt);

	r->id = id;
	r->operation = op;
	r->status = (int16_t)status;
	q->ring.rsp_prod_pvt++;
	q->answered = true;
}

static void count(struct disk_stats *s, enum disk_op op, uint64_t bytes, int status)
{
	s->errors += status == BLKIF_RSP_ERROR;
	s->reads += op == DISK_READ;
	s->writes += op == DISK_WRITE;
	s->flushes += op == DISK_FLUSH;
	s->discards += op == DISK_DISCARD;
	if (status == BLKIF_RSP_OKAY)
		s->read_bytes += op == DISK_READ ? bytes : 0;
	if (status == BLKIF_RSP_OKAY)
		s->written_bytes += op == DISK_WRITE ? bytes : 0;
}

/* In words. */
static const char *why(const struct vbd *v, int error)
{
	return error == -ENOTCONN && *v->disk->trouble ? v->disk->trouble : strerror(-error);
}

static void finish(struct request *r, int result)
{
	struct vbd *v = r->queue->vbd;
	int status = result == 0 ? BLKIF_RSP_OKAY : result == -EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;

	if (status == BLKIF_RSP_ERROR && result != -ECANCELED && log_allowed(&v->log))
		log_warn("disk %s (%s): the guest is told of an error: %s", v->name, v->path, why(v, result));
	count(&v->stats, r->io.op, r->bytes, status);
	if (r->io.op == DISK_READ)
		xen_backend_wrote(v->domain, r->piece, r->pieces);
	answer(r->queue, r->id, r->op, status);
	v->under_way--;
	free(r->iov);
	free(r);
}

static void on_done(struct disk_io *io, int result)
{
	struct request *r = container_of(io, struct request, io);

	if (disk_stall_takes(&r->queue->vbd->stall, io, result, clock_monotonic_ns()))
		return;
	if (result == 0 && r->write_next) {
		r->write_next = false;
		r->io.op = DISK_WRITE;
		r->io.bytes = r->bytes;
		r->queue->vbd->disk->ops->submit(r->queue->vbd->disk, &r->io);
		return;
	}
	finish(r, result);
}

/* The guest sees what was answered. */
static void publish(struct queue *q)
{
	struct xen_backend_piece ring = { q->ring.sring, NIDRA_PAGE_SIZE };
	bool notify;

	if (!q->answered)
		return;
	q->answered = false;
	RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&q->ring, notify);
	/* Behind the last write: else a copy of the page is made in between, and lacks the index for good. */
	xen_backend_wrote(q->vbd->domain, &ring, 1);
	if (notify)
		xen_backend_notify(q->vbd->domain, q->port);
}

/* ---- requests ---- */

static int map_pieces(struct vbd *v, const struct blkif_work *w, struct request *r)
{
	bool write = w->op == BLKIF_OP_READ; /* to the guest's memory */

	for (unsigned int i = 0; i < w->pieces; i++) {
		uint8_t *page = xen_backend_grant(v->domain, w->piece[i].gref, write);

		if (!page)
			return BLKIF_RSP_ERROR;
		r->piece[i] = (struct xen_backend_piece){ page + w->piece[i].offset, w->piece[i].bytes };
		r->iov[i] = (struct iovec){ r->piece[i].hva, r->piece[i].len };
	}
	return 0;
}

static enum disk_op op_of(const struct blkif_work *w)
{
	return w->op == BLKIF_OP_READ	   ? DISK_READ
	       : w->op == BLKIF_OP_WRITE   ? DISK_WRITE
	       : w->op == BLKIF_OP_DISCARD ? DISK_DISCARD
					   : DISK_FLUSH;
}

/* 0: it is under way. Else the status to answer. */
static int start(struct queue *q, const struct blkif_work *w)
{
	struct vbd *v = q->vbd;
	struct request *r = malloc(sizeof(*r) + w->pieces * sizeof(r->piece[0]));
	struct iovec *iov = calloc(w->pieces + 1, sizeof(*iov));

	if (!r || !iov) {
		free(r);
		free(iov);
		return BLKIF_RSP_ERROR;
	}
	*r = (struct request){ .queue = q,
			       .id = w->id,
			       .op = w->op,
			       .iov = iov,
			       .pieces = w->pieces,
			       .bytes = w->bytes,
			       .io = { .op = op_of(w),
				       .offset = w->offset,
				       .bytes = w->bytes,
				       .iov = iov,
				       .iovs = w->pieces,
				       .done = on_done } };
	r->write_next = r->io.op == DISK_FLUSH && w->pieces;
	if (map_pieces(v, w, r)) {
		free(iov);
		free(r);
		return BLKIF_RSP_ERROR;
	}
	v->under_way++;
	v->disk->ops->submit(v->disk, &r->io);
	return 0;
}

static int fetch_indirect(struct vbd *v, struct blkif_work *w)
{
	struct blkif_request_segment seg[BLKIF_INDIRECTS];
	const void *page = xen_backend_grant(v->domain, w->indirect_gref, false);

	if (!page)
		return BLKIF_RSP_ERROR;
	memcpy(seg, page, w->pieces * sizeof(seg[0]));
	__asm__ volatile("" ::: "memory"); /* this copy is what is checked and used */
	return blkif_pieces(seg, v->disk->bytes, w);
}

static void take_one(struct queue *q)
{
	struct vbd *v = q->vbd;
	struct blkif_work w;
	blkif_request_t req;
	int status;

	RING_COPY_REQUEST(&q->ring, q->ring.req_cons, &req);
	q->ring.req_cons++;
	status = blkif_parse(&req, v->disk->bytes, v->disk->readonly, &w);
	if (!status && w.indirect)
		status = fetch_indirect(v, &w);
	if (!status && w.op == BLKIF_OP_DISCARD && !v->disk->discard_unit)
		status = BLKIF_RSP_EOPNOTSUPP;
	if (!status)
		status = start(q, &w);
	if (status)
		answer(q, w.id, w.op, status);
}

/* True: there is more to do at once. */
static bool take(struct queue *q)
{
	int more = 0;

	for (int n = 0; n < TURN; n++) {
		RING_IDX prod = __atomic_load_n(&q->ring.sring->req_prod, __ATOMIC_ACQUIRE);

		if (RING_REQUEST_PROD_OVERFLOW(&q->ring, prod)) {
			if (log_allowed(&q->vbd->log))
				log_warn("disk %s: the guest's ring makes no sense; it is not served any more",
					 q->vbd->name);
			q->broken = true;
			return false;
		}
		if (q->ring.req_cons == prod || RING_REQUEST_CONS_OVERFLOW(&q->ring, q->ring.req_cons)) {
			RING_FINAL_CHECK_FOR_REQUESTS(&q->ring, more);
			if (!more)
				return false;
			continue;
		}
		take_one(q);
	}
	return true;
}

static void kick(struct vbd *v)
{
	eventfd_write(v->kick_fd, 1);
}

static int refuse_stalled(const struct vbd *v, struct err *err)
{
	return disk_stall_is_on(&v->stall)
		       ? err_set(err, -EBUSY, "disk %s (%s) stalls: %s", v->name, v->path, why(v, v->stall.error))
		       : 0;
}

/* A moment, in which the disk's thread may end what was asked of it; then whether to go on. */
static int wait_a_moment(struct vbd *v, int (*go_on)(void *arg, struct err *err), void *arg, struct err *err)
{
	struct timespec t = clock_timespec(clock_monotonic_ns() + SYNC_SLICE_NS);

	pthread_cond_timedwait(&v->idle, &v->lock, &t);
	return go_on(arg, err);
}

/* ---- all that was written, to be where it stays ---- */

static void on_synced(struct disk_io *io, int result)
{
	struct vbd *v = container_of(io, struct vbd, sync);

	v->syncs_done = v->sync_runs;
	v->sync_runs = 0;
	v->sync_result = result;
	v->under_way--;
	pthread_cond_broadcast(&v->idle);
}

static void start_sync(struct vbd *v)
{
	if (v->sync_runs || v->syncs_done == v->syncs_wanted)
		return;
	v->sync_runs = v->syncs_wanted;
	v->under_way++;
	v->sync = (struct disk_io){ .op = DISK_SYNC, .done = on_synced };
	v->disk->ops->submit(v->disk, &v->sync);
}

int vbd_check(struct vbd *v, struct err *err)
{
	SCOPED_LOCK(&v->lock);

	return refuse_stalled(v, err);
}

int vbd_sync(struct vbd *v, int (*go_on)(void *arg, struct err *err), void *arg, struct err *err)
{
	uint64_t number;
	int r;
	SCOPED_LOCK(&v->lock);

	r = refuse_stalled(v, err);
	if (r < 0)
		return r;
	number = ++v->syncs_wanted;
	kick(v);
	while (r == 0 && v->syncs_done < number)
		r = wait_a_moment(v, go_on, arg, err);
	if (v->syncs_done < number)
		return err_prefix(err, "disk %s (%s) does not finish what it was asked to write", v->name, v->path);
	return v->sync_result < 0 ? err_set(err, v->sync_result, "write disk %s (%s): %s", v->name, v->path,
					    why(v, v->sync_result))
				  : 0;
}

/* ---- what we want to know ourselves ---- */

static void on_read(struct disk_io *io, int result)
{
	struct vbd *v = container_of(io, struct vbd, read.io);

	v->read.state = READ_DONE;
	v->read.result = result;
	v->under_way--;
	pthread_cond_broadcast(&v->idle);
}

static void start_read(struct vbd *v)
{
	if (v->read.state != READ_WANTED)
		return;
	v->read.state = READ_RUNS;
	v->under_way++;
	v->disk->ops->submit(v->disk, &v->read.io);
}

static int wait_read(struct vbd *v, int (*go_on)(void *arg, struct err *err), void *arg, struct err *err)
{
	int r = 0;

	while (r == 0 && (v->read.state == READ_WANTED || v->read.state == READ_RUNS))
		r = wait_a_moment(v, go_on, arg, err);
	return r;
}

int vbd_read(struct vbd *v, void *buf, size_t len, uint64_t offset, int (*go_on)(void *arg, struct err *err), void *arg,
	     struct err *err)
{
	int r;
	SCOPED_LOCK(&v->lock);

	r = wait_read(v, go_on, arg, err); /* for one that was given up */
	if (r < 0)
		return r;
	v->read.iov = (struct iovec){ v->read.buf, len };
	v->read.io = (struct disk_io){
		.op = DISK_READ, .offset = offset, .bytes = len, .iov = &v->read.iov, .iovs = 1, .done = on_read
	};
	v->read.state = READ_WANTED;
	kick(v);
	r = wait_read(v, go_on, arg, err);
	if (r == 0 && v->read.result < 0)
		r = err_set(err, v->read.result, "read disk %s (%s): %s", v->name, v->path, why(v, v->read.result));
	if (r == 0)
		memcpy(buf, v->read.buf, len);
	return r;
}

/* ---- the thread ---- */

/* Once when it begins, once when it is over. */
static void tell_stall(struct vbd *v)
{
	bool on = disk_stall_is_on(&v->stall);
	uint64_t now_ns;

	if (on == v->told)
		return;
	now_ns = clock_monotonic_ns();
	v->told = on;
	if (on && log_allowed(&v->log))
		log_warn("disk %s (%s) stalls: %s; what the guest asked of it waits and is tried again", v->name,
			 v->path, why(v, v->stall.error));
	if (on)
		v->stats.stalled_ns = now_ns;
	else if (log_allowed(&v->log))
		log_info("disk %s (%s) works again after %.1f s", v->name, v->path,
			 (double)(now_ns - v->stats.stalled_ns) / (double)NSEC_PER_SEC);
	if (v->changed)
		v->changed(v->changed_arg);
}

static bool serve(struct vbd *v)
{
	bool more = false;

	v->disk->ops->reap(v->disk);
	if (v->stall.first)
		disk_stall_retry(&v->stall, v->disk, clock_monotonic_ns());
	start_sync(v);
	start_read(v);
	for (unsigned int i = 0; i < v->queues; i++)
		if (v->connected && !v->resting && !v->queue[i].broken)
			more |= take(&v->queue[i]);
	/* All of them at once; those that the page cache has are answered in this turn. */
	v->disk->ops->reap(v->disk);
	for (unsigned int i = 0; i < v->queues; i++)
		publish(&v->queue[i]);
	tell_stall(v);
	if (!v->under_way)
		pthread_cond_broadcast(&v->idle);
	if (!v->under_way && v->closing)
		bus_wake(v->dev);
	return more;
}

static int wait_ms(const struct vbd *v)
{
	uint64_t now_ns, next_ns = v->stall.next_ns;

	if (!v->under_way)
		return -1;
	if (!v->stall.first)
		return RETRY_MS;
	now_ns = clock_monotonic_ns();
	if (next_ns > now_ns + RETRY_MS * NSEC_PER_MSEC)
		return RETRY_MS;
	return next_ns > now_ns ? (int)((next_ns - now_ns) / NSEC_PER_MSEC) + 1 : 0;
}

static void *vbd_main(void *arg)
{
	struct vbd *v = arg;
	struct pollfd p[] = { { .fd = v->kick_fd, .events = POLLIN },
			      { .fd = v->disk->ops->fd(v->disk), .events = POLLIN } };
	bool stop = false;
	int timeout = -1;
	eventfd_t count;

	pthread_setname_np(pthread_self(), v->name);
	while (!stop) {
		poll(p, ARRAY_SIZE(p), timeout);
		if (p[0].revents)
			eventfd_read(v->kick_fd, &count);
		SCOPED_LOCK(&v->lock);

		/* What the kernel would not take is tried again in a while. */
		timeout = serve(v) ? 0 : wait_ms(v);
		stop = v->stop;
	}
	return NULL;
}

/* On a vCPU's thread, under the domain's lock. */
static bool on_event(void *arg)
{
	kick(arg);
	return false;
}

/* ---- the class ---- */

static void offer(void *arg, struct bus_device *dev)
{
	struct vbd *v = arg;

	v->domain = bus_domain(dev);
	v->dev = dev;
	bus_put_front(dev, "virtual-device", "%u", v->number);
	bus_put_front(dev, "device-type", "disk"); /* Linux refuses a PVH guest's disk without it, and any "cdrom" */
	bus_put(dev, "dev", "%s", v->name);
	bus_put(dev, "type", "nidra");
	bus_put(dev, "mode", "%s", v->disk->readonly ? "r" : "w");
	bus_put(dev, "device-type", "disk");
	bus_put(dev, "removable", "0");
	bus_put(dev, "bootable", "1");
	bus_put(dev, "feature-flush-cache", "%d", !v->disk->readonly);
	bus_put(dev, "feature-persistent", "0"); /* all of the guest's memory is mapped: it would copy for nothing */
	bus_put(dev, "feature-max-indirect-segments", "%u", BLKIF_INDIRECTS);
	bus_put(dev, "multi-queue-max-queues", "%u", QUEUES_MAX);
	bus_put(dev, "max-ring-page-order", "0");
	bus_put(dev, "feature-discard", "%d", v->disk->discard_unit > 0);
	if (v->disk->discard_unit) {
		bus_put(dev, "discard-granularity", "%u", v->disk->discard_unit);
		bus_put(dev, "discard-alignment", "0");
		bus_put(dev, "discard-secure", "0");
	}
}

static void put_geometry(struct vbd *v, struct bus_device *dev)
{
	bus_put(dev, "sectors", "%llu", (unsigned long long)(v->disk->bytes / BLKIF_SECTOR));
	bus_put(dev, "sector-size", "%u", v->disk->block_bytes);
	bus_put(dev, "physical-sector-size", "%u", MAX(v->disk->block_bytes, 4096u));
	bus_put(dev, "info", "%u", v->disk->readonly ? 4u : 0u); /* VDISK_READONLY */
}

static int connect_queue(struct vbd *v, struct bus_device *dev, unsigned int i, bool many, struct err *err)
{
	struct queue *q = &v->queue[i];
	char ref_key[40] = "ring-ref", port_key[40] = "event-channel";
	blkif_sring_t *sring;
	uint32_t ref, port;

	if (many) {
		snprintf(ref_key, sizeof(ref_key), "queue-%u/ring-ref", i);
		snprintf(port_key, sizeof(port_key), "queue-%u/event-channel", i);
	}
	if (bus_front_number(dev, ref_key, UINT32_MAX, &ref) < 0 ||
	    bus_front_number(dev, port_key, UINT16_MAX, &port) < 0)
		return err_set(err, -EINVAL, "%s or %s is missing, or not a number", ref_key, port_key);
	sring = xen_backend_grant(v->domain, ref, true);
	if (!sring)
		return err_set(err, -EINVAL, "%s %u is not granted", ref_key, ref);
	*q = (struct queue){ .vbd = v, .port = port };
	BACK_RING_ATTACH(&q->ring, sring, __atomic_load_n(&sring->rsp_prod, __ATOMIC_ACQUIRE), NIDRA_PAGE_SIZE);
	if (xen_backend_bind(v->domain, port, on_event, v) < 0)
		return err_set(err, -EINVAL, "%s %u is no event channel for domain 0", port_key, port);
	return 0;
}

static int check_protocol(struct bus_device *dev, struct err *err)
{
	_cleanup_free_ char *protocol = bus_front(dev, "protocol");

	/* The native layout of a 64-bit guest, with or without its name. */
	if (!protocol || !strcmp(protocol, "x86_64-abi"))
		return 0;
	for (char *c = protocol; *c; c++) /* the guest's own text goes to the log */
		if (*c < ' ' || *c > '~')
			*c = '?';
	return err_set(err, -EOPNOTSUPP, "protocol \"%.40s\": x86_64-abi is possible", protocol);
}

static void unbind(struct vbd *v)
{
	for (unsigned int i = 0; i < v->queues; i++)
		xen_backend_unbind(v->domain, v->queue[i].port);
	v->queues = 0;
}

static int vbd_connect(void *arg, struct bus_device *dev, struct err *err)
{
	struct vbd *v = arg;
	uint32_t n = 1;
	int r = check_protocol(dev, err), many;
	SCOPED_LOCK(&v->lock);

	v->domain = bus_domain(dev);
	v->dev = dev;
	many = bus_front_number(dev, "multi-queue-num-queues", QUEUES_MAX, &n);
	if (r == 0 && (many == -EINVAL || !n))
		r = err_set(err, -EINVAL, "multi-queue-num-queues: 1 to %u are possible", QUEUES_MAX);
	for (; r == 0 && v->queues < n; v->queues++)
		r = connect_queue(v, dev, v->queues, many == 0 && n > 1, err);
	if (r < 0) {
		v->queues -= v->queues > 0; /* the one that failed is not bound */
		unbind(v);
		return r;
	}
	v->connected = v->resting = true;
	put_geometry(v, dev);
	return 0;
}

static bool vbd_disconnect(void *arg)
{
	struct vbd *v = arg;
	SCOPED_LOCK(&v->lock);

	v->connected = false;
	/* Nobody waits for the answers any more: as if they had not been taken. */
	disk_stall_cancel(&v->stall);
	v->closing = v->under_way;
	if (!v->closing)
		unbind(v);
	kick(v);
	return !v->closing;
}

static int vbd_drain(void *arg, uint64_t deadline_ns, struct err *err)
{
	struct vbd *v = arg;
	struct timespec t = clock_timespec(deadline_ns);
	SCOPED_LOCK(&v->lock);

	v->resting = true;
	kick(v);
	while (v->under_way)
		if (pthread_cond_timedwait(&v->idle, &v->lock, &t) == ETIMEDOUT)
			break;
	if (!v->under_way)
		return 0;
	return refuse_stalled(v, err)
		       ?: err_set(err, -ETIMEDOUT, "disk %s (%s) does not finish what it was asked to do", v->name,
				  v->path);
}

static void vbd_go(void *arg)
{
	struct vbd *v = arg;
	SCOPED_LOCK(&v->lock);

	v->resting = false;
	kick(v);
}

static bool vbd_free(void *arg)
{
	struct vbd *v = arg;
	bool ended;

	pthread_mutex_lock(&v->lock);
	v->stop = true;
	pthread_mutex_unlock(&v->lock);
	if (v->started) {
		kick(v);
		pthread_join(v->thread, NULL);
	}
	disk_stall_cancel(&v->stall);
	disk_close(v->disk);
	ended = !v->under_way;
	close_fdp(&v->kick_fd);
	pthread_cond_destroy(&v->idle);
	pthread_mutex_destroy(&v->lock);
	if (ended) /* else what is under way names it for ever */
		free(v);
	return ended;
}

static const struct bus_class class = {
	.name = "vbd",
	.offer = offer,
	.connect = vbd_connect,
	.disconnect = vbd_disconnect,
	.drain = vbd_drain,
	.go = vbd_go,
	.free = vbd_free,
};

/* ---- life ---- */

unsigned int vbd_number(const char *vdev)
{
	unsigned int disk, part = 0;
	char *end;

	if (strncmp(vdev, "xvd", 3) || vdev[3] < 'a' || vdev[3] > 'z')
		return 0;
	disk = (unsigned int)(vdev[3] - 'a');
	if (vdev[4]) {
		part = vdev[4] >= '1' && vdev[4] <= '9' ? (unsigned int)strtoul(vdev + 4, &end, 10) : 0;
		if (!part || part > 15 || *end)
			return 0;
	}
	return disk < 16 ? 202u << 8 | disk << 4 | part : 1u << 28 | disk << 8 | part;
}

static void init(struct vbd *v)
{
	pthread_mutex_init(&v->lock, NULL);
	thread_cond_init(&v->idle);
	disk_stall_init(&v->stall);
	v->kick_fd = eventfd(0, EFD_CLOEXEC);
}

static int start_thread(struct vbd *v, struct err *err)
{
	int r;

	r = v->kick_fd < 0 ? -EMFILE : thread_start(&v->thread, vbd_main, v);
	v->started = !r;
	return r < 0 ? err_errno(err, r, "thread of disk %s", v->name) : 0;
}

void vbd_get_stats(struct vbd *v, struct disk_stats *ret)
{
	SCOPED_LOCK(&v->lock);

	*ret = v->stats;
	ret->connected = v->connected;
	ret->bytes = v->disk->bytes;
	if (!v->told)
		ret->stalled_ns = 0;
	else
		snprintf(ret->trouble, sizeof(ret->trouble), "%s", why(v, v->stall.error));
}

void vbd_on_error(struct vbd *v, enum disk_on_error on_error, void (*changed)(void *arg), void *arg)
{
	SCOPED_LOCK(&v->lock);

	v->stall.on_error = on_error;
	v->changed = changed;
	v->changed_arg = arg;
}

static int grow(struct vbd *v, uint64_t bytes, struct err *err)
{
	uint64_t now;
	int r = v->disk->ops->resized(v->disk, &now);

	if (r == 0 && disk_fd(v->disk) < 0 && bytes != now)
		return err_set(err, -EOPNOTSUPP,
			       "%s is served by NBD: make it larger there (qemu-img resize while the machine is off)",
			       v->path);
	if (r == 0 && bytes < now)
		return err_set(err, -EINVAL, "%s has %llu bytes; disks do not shrink, the guest may have data there",
			       v->path, (unsigned long long)now);
	if (r == 0 && bytes > now && ftruncate(disk_fd(v->disk), (off_t)bytes) < 0)
		r = -errno;
	return r < 0 ? err_errno(err, r, "resize disk %s", v->path) : 0;
}

static void tell_size(void *arg)
{
	struct vbd *v = arg;
	SCOPED_LOCK(&v->lock);

	if (!v->connected)
		return; /* it is told when it connects */
	put_geometry(v, v->dev);
	bus_poke(v->dev);
}

int vbd_resize(struct vbd *v, uint64_t bytes, struct err *err)
{
	uint64_t now = 0;
	int r = bytes ? grow(v, bytes, err) : 0;

	if (r < 0)
		return r;
	r = v->disk->ops->resized(v->disk, &now);
	if (r < 0)
		return err_errno(err, r, "resize disk %s", v->path);
	pthread_mutex_lock(&v->lock);
	v->disk->bytes = now;
	pthread_mutex_unlock(&v->lock);
	if (v->dev)
		bus_locked(v->dev, tell_size, v);
	return 0;
}

int vbd_add(struct bus *b, const char *vdev, struct disk *disk, const char *path, struct vbd **ret, struct err *err)
{
	struct vbd *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		disk_close(disk);
		return err_errno(err, -ENOMEM, "disk %s", vdev);
	}
	init(v);
	v->disk = disk;
	v->number = vbd_number(vdev);
	snprintf(v->name, sizeof(v->name), "%s", vdev);
	snprintf(v->path, sizeof(v->path), "%s", path);
	r = start_thread(v, err);
	if (r < 0) {
		vbd_free(v);
		return r;
	}
	r = bus_add(b, &class, v, v->number, vdev, err);
	if (r == 0 && ret)
		*ret = v;
	return r;
}
