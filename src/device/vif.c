/* SPDX-License-Identifier: Apache-2.0 */
#include "device/vif.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "device/netif.h"
#include "xen/backend.h"

/* Packets for the guest that it has no buffers for yet. Above the first the link is told to wait; some still come. */
#define QUEUE_SOFT 64
#define QUEUE_MAX  512
/* Taken from the guest before the link is looked at again. */
#define BATCH 256
/* Switches have not forgotten who slept for less. */
#define ANNOUNCE_NS NSEC_PER_SEC

struct queued {
	struct packet packet;
	uint8_t data[];
};

struct counters {
	_Atomic uint64_t rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes;
};

struct vif {
	char name[32];
	uint8_t mac[PACKET_MAC_BYTES];
	struct link *link;
	int event_fd;
	pthread_t thread;
	bool started;
	atomic_uint callers; /* who wants the lock */
	atomic_bool connected;
	struct counters counters;

	pthread_mutex_t lock; /* what follows; the thread holds it unless it waits */
	bool stop, frozen, broken;
	bool woke; /* and its network may not know where it is now */
	uint64_t frozen_at_ns;
	struct log_limit log;
	struct xen_domain *domain;
	struct bus_device *dev;
	unsigned int tx_port, rx_port; /* may be one */
	struct netif_tx tx;
	struct netif_rx rx;
	struct netif_grants grants;
	uint8_t *tx_buf;
	struct queued *queue[QUEUE_MAX];
	unsigned int queue_head, n_queued;
	struct link_poll poll; /* the thread's */
};

static void count_rx(struct vif *v, const struct packet *p)
{
	v->counters.rx_packets++;
	v->counters.rx_bytes += p->len;
}

static void wake(struct vif *v)
{
	eventfd_write(v->event_fd, 1);
}

/*
 * For all but the thread, which lets go of the lock only to wait, and would have it again at once: who wants it says
 * so.
 */
static bool lock_until(struct vif *v, uint64_t deadline_ns)
{
	bool got;

	atomic_fetch_add(&v->callers, 1);
	wake(v);
	got = thread_lock_until(&v->lock, deadline_ns);
	atomic_fetch_sub(&v->callers, 1);
	return got;
}

static pthread_mutex_t *hold(struct vif *v)
{
	lock_until(v, UINT64_MAX);
	return &v->lock;
}

#define SCOPED_HOLD(v) _cleanup_(unlockp) _unused_ pthread_mutex_t *held_ = hold(v)

static bool is_active(const struct vif *v)
{
	return v->connected && !v->frozen && !v->broken;
}

static void *get_grant(void *arg, uint32_t ref, bool write)
{
	return xen_backend_grant(((struct vif *)arg)->domain, ref, write);
}

/* ---- packets ---- */

static void complain(struct vif *v, const char *what)
{
	v->broken = true;
	bus_put(v->dev, "error", "%s", what);
	if (log_allowed(&v->log))
		log_warn("%s: the guest's %s: no packets until it connects again", v->name, what);
}

static void drop_queue(struct vif *v)
{
	while (v->n_queued) {
		free(take_ptr(v->queue[v->queue_head]));
		v->queue_head = (v->queue_head + 1) % QUEUE_MAX;
		v->n_queued--;
	}
}

static void enqueue(struct vif *v, const struct packet *p)
{
	struct queued *q = v->n_queued < QUEUE_MAX ? malloc(sizeof(*q) + p->len) : NULL;

	if (!q) {
		v->counters.rx_dropped++;
		trace(vif, "device=%s lost=%zu", v->name, p->len);
		return;
	}
	q->packet = *p;
	q->packet.data = q->data;
	memcpy(q->data, p->data, p->len);
	v->queue[(v->queue_head + v->n_queued++) % QUEUE_MAX] = q;
}

/* From the link, in the thread. */
static bool on_deliver(void *arg, struct packet *p)
{
	struct vif *v = arg;
	int r = v->n_queued ? -EAGAIN : netif_rx_put(&v->rx, &v->grants, p);

	if (r == 0)
		count_rx(v, p);
	else if (r == -EAGAIN)
		enqueue(v, p);
	else if (!v->broken)
		complain(v, "ring of packets to receive makes no sense");
	return !v->broken && v->n_queued < QUEUE_SOFT;
}

static void flush_queue(struct vif *v)
{
	while (v->n_queued) {
		int r = netif_rx_put(&v->rx, &v->grants, &v->queue[v->queue_head]->packet);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			complain(v, "ring of packets to receive makes no sense");
			return;
		}
		count_rx(v, &v->queue[v->queue_head]->packet);
		free(take_ptr(v->queue[v->queue_head]));
		v->queue_head = (v->queue_head + 1) % QUEUE_MAX;
		v->n_queued--;
	}
}

/* Shows the guest all that was done. Its next image has to have it, so that is told before the guest is. */
static void settle(struct vif *v)
{
	bool tell_rx = netif_rx_push(&v->rx), tell_tx = false;

	if (netif_tx_has_answers(&v->tx)) {
		struct xen_backend_piece page = { v->tx.shared, NETIF_RING_BYTES };

		tell_tx = netif_tx_push(&v->tx);
		xen_backend_wrote(v->domain, &page, 1);
	}
	if (v->rx.n_wrote)
		xen_backend_wrote(v->domain, v->rx.wrote, v->rx.n_wrote);
	v->rx.n_wrote = 0;
	if (tell_tx || (tell_rx && v->rx_port == v->tx_port))
		xen_backend_notify(v->domain, v->tx_port);
	if (tell_rx && v->rx_port != v->tx_port)
		xen_backend_notify(v->domain, v->rx_port);
}

/* True: there may be more to do at once. */
static bool serve_rings(struct vif *v)
{
	struct packet p;
	int r = 0;

	flush_queue(v);
	for (int i = 0; i < BATCH; i++) {
		r = v->broken ? 0 : netif_tx_next(&v->tx, &v->grants, &p);
		if (r <= 0)
			break;
		v->counters.tx_packets++;
		v->counters.tx_bytes += p.len;
		v->link->ops->send(v->link, &p);
	}
	if (r < 0)
		complain(v, "ring of packets to send makes no sense");
	settle(v);
	return r > 0;
}

/* Waits without the lock, for the guest, the link or whoever changes this device's state. */
static void wait_for_something(struct vif *v, bool more)
{
	bool active = is_active(v), receive = active && v->n_queued < QUEUE_SOFT;
	eventfd_t count;
	int r;

	v->poll.n = 0;
	v->poll.timeout_ms = more ? 0 : -1;
	link_poll_add(&v->poll, v->event_fd, POLLIN);
	if (active)
		v->link->ops->prepare(v->link, &v->poll, receive);
	pthread_mutex_unlock(&v->lock);
	r = poll(v->poll.fd, v->poll.n, v->poll.timeout_ms);
	if (r > 0 && v->poll.fd[0].revents)
		eventfd_read(v->event_fd, &count);
	while (atomic_load(&v->callers))
		sched_yield();
	pthread_mutex_lock(&v->lock);
	if (r < 0 || !active || !is_active(v))
		return;
	v->link->ops->dispatch(v->link, &v->poll, receive);
	settle(v);
}

static void *vif_main(void *arg)
{
	struct vif *v = arg;
	SCOPED_LOCK(&v->lock);

	pthread_setname_np(pthread_self(), v->name);
	while (!v->stop) {
		bool more = is_active(v) && serve_rings(v);

		wait_for_something(v, more);
	}
	return NULL;
}

/* On a vCPU thread, under the domain's lock. */
static bool on_event(void *arg)
{
	wake(arg);
	return false;
}

/* ---- the class ---- */

static void vif_offer(void *arg, struct bus_device *dev)
{
	struct vif *v = arg;
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", v->mac[0], v->mac[1], v->mac[2], v->mac[3],
		 v->mac[4], v->mac[5]);
	bus_put(dev, "mac", "%s", mac);
	bus_put(dev, "handle", "0");
	bus_put(dev, "feature-rx-copy", "1");
	bus_put(dev, "feature-rx-flip", "0");
	bus_put(dev, "feature-sg", "1");
	bus_put(dev, "feature-gso-tcpv4", "%d", v->link->takes_gso4);
	bus_put(dev, "feature-gso-tcpv6", "%d", v->link->takes_gso6);
	bus_put(dev, "feature-ipv6-csum-offload", "1");
	bus_put(dev, "feature-split-event-channels", "1");
	bus_put(dev, "multi-queue-max-queues", "1");
	bus_put_front(dev, "mac", "%s", mac);
	bus_put_front(dev, "handle", "0");
}

static int need_number(struct bus_device *dev, const char *key, uint32_t *ret, struct err *err)
{
	int r = bus_front_number(dev, key, UINT32_MAX, ret);

	return r < 0 ? err_errno(err, r, "its node %s", key) : 0;
}

static bool front_flag(struct bus_device *dev, const char *key)
{
	uint32_t n = 0;

	return bus_front_number(dev, key, 1, &n) == 0 && n;
}

static int find_ring(struct vif *v, const char *key, void **ret, struct err *err)
{
	uint32_t ref = 0;
	int r = need_number(v->dev, key, &ref, err);

	if (r < 0)
		return r;
	*ret = get_grant(v, ref, true);
	return *ret ? 0 : err_set(err, -EINVAL, "%s %u is not a page that it granted", key, ref);
}

static int connect_rings(struct vif *v, struct err *err)
{
	void *tx = NULL, *rx = NULL;
	int r = find_ring(v, "tx-ring-ref", &tx, err) ?: find_ring(v, "rx-ring-ref", &rx, err);

	if (r < 0)
		return r;
	if (netif_tx_init(&v->tx, tx, v->tx_buf) < 0 || netif_rx_init(&v->rx, rx) < 0)
		return err_set(err, -EPROTO, "the indices of its rings make no sense");
	v->rx.sg = front_flag(v->dev, "feature-sg");
	v->rx.gso4 = front_flag(v->dev, "feature-gso-tcpv4");
	v->rx.gso6 = front_flag(v->dev, "feature-gso-tcpv6");
	v->rx.csum4 = !front_flag(v->dev, "feature-no-csum-offload");
	v->rx.csum6 = front_flag(v->dev, "feature-ipv6-csum-offload");
	return 0;
}

static int find_ports(struct vif *v, struct err *err)
{
	uint32_t tx = 0, rx = 0;
	int r;

	if (bus_front_number(v->dev, "event-channel-tx", UINT32_MAX, &tx) == 0) {
		r = need_number(v->dev, "event-channel-rx", &rx, err);
	} else {
		r = need_number(v->dev, "event-channel", &tx, err);
		rx = tx;
	}
	v->tx_port = tx;
	v->rx_port = rx;
	return r;
}

static void unbind_ports(struct vif *v)
{
	xen_backend_unbind(v->domain, v->tx_port);
	if (v->rx_port != v->tx_port)
		xen_backend_unbind(v->domain, v->rx_port);
}

static int bind_ports(struct vif *v, struct err *err)
{
	int r = find_ports(v, err);

	if (r < 0)
		return r;
	r = xen_backend_bind(v->domain, v->tx_port, on_event, v);
	if (r < 0)
		return err_set(err, r, "event channel %u is not one for this", v->tx_port);
	r = v->rx_port == v->tx_port ? 0 : xen_backend_bind(v->domain, v->rx_port, on_event, v);
	if (r == 0)
		return 0;
	xen_backend_unbind(v->domain, v->tx_port);
	return err_set(err, r, "event channel %u is not one for this", v->rx_port);
}

static int check_front(struct vif *v, struct err *err)
{
	uint32_t queues = 1;
	int r = bus_front_number(v->dev, "multi-queue-num-queues", UINT32_MAX, &queues);

	if (r == -EINVAL || queues != 1)
		return err_set(err, -EINVAL, "it wants %u queues, not 1", queues);
	if (!front_flag(v->dev, "request-rx-copy"))
		return err_set(err, -EOPNOTSUPP, "it does not want packets copied (request-rx-copy)");
	return 0;
}

static void announce(struct vif *v)
{
	if (v->link->ops->announce)
		v->link->ops->announce(v->link, v->mac);
}

static void freeze_link(struct vif *v, bool frozen)
{
	if (frozen && !v->frozen)
		v->frozen_at_ns = clock_monotonic_ns();
	v->frozen = frozen;
	if (v->link->ops->freeze)
		v->link->ops->freeze(v->link, frozen);
}

static int vif_connect(void *arg, struct bus_device *dev, struct err *err)
{
	struct vif *v = arg;
	struct link_offloads o;
	bool was_in_use;
	int r;
	SCOPED_HOLD(v);

	v->dev = dev;
	v->domain = bus_domain(dev);
	r = check_front(v, err);
	r = r ?: connect_rings(v, err);
	r = r ?: bind_ports(v, err);
	if (r < 0)
		return r;
	o = (struct link_offloads){ .csum = v->rx.csum4 && v->rx.csum6, .gso4 = v->rx.gso4, .gso6 = v->rx.gso6 };
	if (v->link->ops->set_offloads)
		v->link->ops->set_offloads(v->link, &o);
	was_in_use = v->tx.cons || v->rx.cons;
	v->connected = true;
	v->broken = false;
	v->woke = was_in_use;
	freeze_link(v, true);
	return 0;
}

static bool vif_disconnect(void *arg)
{
	struct vif *v = arg;
	SCOPED_HOLD(v);

	v->connected = false;
	unbind_ports(v);
	drop_queue(v);
	return true;
}

/* Between two holds of the lock nothing is half done: what was taken is answered. */
static int vif_drain(void *arg, uint64_t deadline_ns, struct err *err)
{
	struct vif *v = arg;

	/* The thread may have to wait for a page of the guest that still comes from an image. */
	if (!lock_until(v, deadline_ns))
		return err_set(err, -ETIMEDOUT, "a network does not finish what it was asked to do");
	freeze_link(v, true);
	pthread_mutex_unlock(&v->lock);
	return 0;
}

static void vif_go(void *arg)
{
	struct vif *v = arg;
	SCOPED_HOLD(v);

	if (v->woke || (v->frozen && clock_monotonic_ns() - v->frozen_at_ns >= ANNOUNCE_NS))
		announce(v);
	v->woke = false;
	freeze_link(v, false);
	wake(v);
}

static bool vif_free(void *arg)
{
	struct vif *v = arg;

	if (!v)
		return true;
	hold(v);
	v->stop = true;
	pthread_mutex_unlock(&v->lock);
	if (v->started) {
		wake(v);
		pthread_join(v->thread, NULL);
	}
	drop_queue(v);
	link_free(v->link);
	close_fdp(&v->event_fd);
	free(v->tx_buf);
	pthread_mutex_destroy(&v->lock);
	free(v);
	return true;
}

static void vif_freep(struct vif **v)
{
	vif_free(*v);
}

static const struct bus_class vif_class = { .name = "vif",
					    .offer = vif_offer,
					    .connect = vif_connect,
					    .disconnect = vif_disconnect,
					    .drain = vif_drain,
					    .go = vif_go,
					    .free = vif_free };

static int start_thread(struct vif *v, struct err *err)
{
	int r;

	r = thread_start(&v->thread, vif_main, v);
	v->started = r == 0;
	return r < 0 ? err_errno(err, r, "thread for %s", v->name) : 0;
}

int vif_add(struct bus *b, unsigned int id, const uint8_t mac[PACKET_MAC_BYTES], const struct link_config *config,
	    const char *machine, struct err *lacks, struct vif **ret, struct err *err)
{
	_cleanup_(vif_freep) struct vif *v = calloc(1, sizeof(*v));
	char name[32];
	int r;

	if (!v)
		return err_errno(err, -ENOMEM, "network");
	pthread_mutex_init(&v->lock, NULL);
	snprintf(v->name, sizeof(v->name), "vif%u", id);
	memcpy(v->mac, mac, sizeof(v->mac));
	v->grants = (struct netif_grants){ .get = get_grant, .arg = v };
	v->tx_buf = malloc(PACKET_BYTES_MAX);
	v->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!v->tx_buf || v->event_fd < 0)
		return err_errno(err, -ENOMEM, "network");
	r = link_new(config, machine, on_deliver, v, lacks, &v->link, err);
	if (r == 0)
		r = start_thread(v, err);
	if (r < 0)
		return err_prefix(err, "network %u", id);
	snprintf(name, sizeof(name), "%s", v->name);
	*ret = v;
	return bus_add(b, &vif_class, take_ptr(v), id, name, err);
}

void vif_get_stats(const struct vif *v, struct vif_stats *ret)
{
	*ret = (struct vif_stats){ .connected = v->connected,
				   .rx_packets = v->counters.rx_packets,
				   .rx_bytes = v->counters.rx_bytes,
				   .rx_dropped = v->counters.rx_dropped,
				   .tx_packets = v->counters.tx_packets,
				   .tx_bytes = v->counters.tx_bytes };
}
