/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface of the host: one that there is (`ip tuntap add NAME mode tap user YOU`, then no privilege is
 * needed), or a new one in a bridge (which needs CAP_NET_ADMIN, and is gone with the machine). Checksums and TCP
 * segments travel as they are, in the header of <linux/virtio_net.h>.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/log.h"
#include "device/link.h"

/* Packets taken before the guest gets them, and its own are looked for. */
#define BATCH 64

struct link_tap {
	struct link link;
	int fd, at; /* at: in what was waited for; -1: not */
	char name[IFNAMSIZ];
	uint8_t buf[PACKET_BYTES_MAX + 1];
};

static void tap_free(struct link *l)
{
	struct link_tap *t = container_of(l, struct link_tap, link);

	close_fdp(&t->fd);
	free(t);
}

static void tap_prepare(struct link *l, struct link_poll *poll, bool receive)
{
	struct link_tap *t = container_of(l, struct link_tap, link);

	t->at = receive ? link_poll_add(poll, t->fd, POLLIN) : -1;
}

/* What the host's kernel says of a packet. False: what cannot be. */
static bool from_header(const struct virtio_net_hdr *h, struct packet *p)
{
	p->csum_blank = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	p->csum_good = h->flags & VIRTIO_NET_HDR_F_DATA_VALID;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		p->gso = PACKET_GSO_NONE;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		p->gso = PACKET_GSO_TCPV4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		p->gso = PACKET_GSO_TCPV6;
		break;
	default:
		return false;
	}
	p->gso_size = h->gso_size;
	return packet_prepare(p);
}

/* False: nothing there, or no more wanted. */
static bool take_one(struct link_tap *t)
{
	struct virtio_net_hdr h;
	struct iovec iov[] = { { &h, sizeof(h) }, { t->buf, sizeof(t->buf) } };
	struct packet p = { .data = t->buf };
	ssize_t n = readv(t->fd, iov, 2);

	if (n < 0)
		return errno == EINTR;
	if ((size_t)n < sizeof(h))
		return false;
	p.len = (size_t)n - sizeof(h);
	return from_header(&h, &p) ? t->link.deliver(t->link.arg, &p) : true;
}

static void tap_dispatch(struct link *l, const struct link_poll *poll, bool receive)
{
	struct link_tap *t = container_of(l, struct link_tap, link);

	if (t->at < 0 || !receive || !poll->fd[t->at].revents)
		return;
	for (int i = 0; i < BATCH && take_one(t); i++)
		;
}

static void tap_send(struct link *l, struct packet *p)
{
	struct link_tap *t = container_of(l, struct link_tap, link);
	struct virtio_net_hdr h = { 0 };
	struct iovec iov[] = { { &h, sizeof(h) }, { p->data, p->len } };

	if (p->csum_blank) {
		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = p->csum_start;
		h.csum_offset = p->csum_offset;
	} else if (p->csum_good) {
		h.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (p->gso != PACKET_GSO_NONE) {
		h.gso_type = p->gso == PACKET_GSO_TCPV4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		h.gso_size = p->gso_size;
		h.hdr_len = p->header_len;
	}
	if (writev(t->fd, iov, 2) < 0)
		trace(link_tap, "tap=%s lost=%zu errno=%d", t->name, p->len, errno);
}

static void tap_set_offloads(struct link *l, const struct link_offloads *o)
{
	struct link_tap *t = container_of(l, struct link_tap, link);
	unsigned long flags = 0;

	if (o->csum)
		flags = TUN_F_CSUM | (o->gso4 ? TUN_F_TSO4 : 0) | (o->gso6 ? TUN_F_TSO6 : 0);
	if (ioctl(t->fd, TUNSETOFFLOAD, flags) < 0)
		log_warn("tap %s: offloads: %s", t->name, strerror(errno));
}

static void tap_announce(struct link *l, const uint8_t mac[PACKET_MAC_BYTES])
{
	uint8_t frame[64];
	struct packet p = { .data = frame, .len = packet_announcement(frame, mac) };

	tap_send(l, &p);
}

static const struct link_ops tap_ops = { .prepare = tap_prepare,
					 .dispatch = tap_dispatch,
					 .send = tap_send,
					 .set_offloads = tap_set_offloads,
					 .announce = tap_announce,
					 .free = tap_free };

/* ---- making one ---- */

static int put_name(struct ifreq *ifr, const char *name, struct err *err)
{
	if (!*name || strlen(name) >= sizeof(ifr->ifr_name))
		return err_set(err, -EINVAL, "\"%.40s\" is not the name of an interface", name);
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	return 0;
}

/* Attaches to tap @name, or makes one ("nidra%d": the kernel picks a number). */
static int attach(struct link_tap *t, const char *name, struct err *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = sizeof(struct virtio_net_hdr), r = put_name(&ifr, name, err);

	if (r < 0)
		return r;
	t->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (t->fd < 0)
		return err_errno(err, -errno, "/dev/net/tun");
	if (ioctl(t->fd, TUNSETIFF, &ifr) < 0)
		return err_errno(err, -errno, "tap %s", name);
	snprintf(t->name, sizeof(t->name), "%s", ifr.ifr_name);
	/* Without the first, it is what an earlier user of the same tap wanted. */
	if (ioctl(t->fd, TUNSETVNETHDRSZ, &header) < 0 || ioctl(t->fd, TUNSETOFFLOAD, 0UL) < 0)
		return err_errno(err, -errno, "tap %s: offloads", name);
	return 0;
}

/*
 * A bridge has the lowest address of its ports, unless it was given one. So that it does not become another one with
 * each machine that comes and goes, ours have the highest, as Xen's do.
 */
static int give_address(int s, const char *name, struct err *err)
{
	static const uint8_t highest[] = { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, highest, sizeof(highest));
	return ioctl(s, SIOCSIFHWADDR, &ifr) < 0 ? err_errno(err, -errno, "address of %s", name) : 0;
}

static int join_bridge(struct link_tap *t, const char *bridge, struct err *err)
{
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq br = { 0 }, tap = { 0 };
	int r = put_name(&br, bridge, err);

	if (r < 0 || s < 0)
		return r < 0 ? r : err_errno(err, -errno, "socket");
	r = give_address(s, t->name, err);
	if (r < 0)
		return r;
	snprintf(tap.ifr_name, sizeof(tap.ifr_name), "%s", t->name);
	/* As large packets as the bridge has; one that has no opinion keeps the default. */
	if (ioctl(s, SIOCGIFMTU, &br) == 0) {
		tap.ifr_mtu = br.ifr_mtu;
		if (ioctl(s, SIOCSIFMTU, &tap) < 0)
			log_warn("tap %s: MTU %d: %s", t->name, br.ifr_mtu, strerror(errno));
	}
	br.ifr_ifindex = (int)if_nametoindex(t->name);
	if (ioctl(s, SIOCBRADDIF, &br) < 0)
		return err_errno(err, -errno, "put %s into bridge %s", t->name, bridge);
	tap.ifr_flags = IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &tap) < 0)
		return err_errno(err, -errno, "switch %s on", t->name);
	return 0;
}

int link_tap_new(const struct link_config *config, struct link **ret, struct err *err)
{
	struct link_tap *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_errno(err, -ENOMEM, "tap");
	*t = (struct link_tap){ .link = { .ops = &tap_ops, .takes_gso4 = true, .takes_gso6 = true },
				.fd = -1,
				.at = -1 };
	if (config->bridge)
		r = if_nametoindex(config->bridge) ? attach(t, "nidra%d", err) ?: join_bridge(t, config->bridge, err)
						   : err_set(err, -ENODEV, "there is no bridge %s", config->bridge);
	else if (!if_nametoindex(config->tap))
		r = err_set(err, -ENODEV, "there is no tap %s; `ip tuntap add %s mode tap user %d` makes one",
			    config->tap, config->tap, (int)getuid());
	else
		r = attach(t, config->tap, err);
	if (r < 0) {
		tap_free(&t->link);
		return r;
	}
	*ret = &t->link;
	return 0;
}
