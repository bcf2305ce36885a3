/* SPDX-License-Identifier: Apache-2.0 */
#include "device/packet.h"

#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"

#define VLAN_TAGS   2
#define EXTENSIONS  8 /* IPv6 headers between the first and TCP's */
#define TCP_MIN	    20
#define UDP_BYTES   8
#define IPV4_MIN    20
#define IPV6_BYTES  40
#define PROTOCOL_AT 9 /* in IPv4's header */

/* Where things are in a frame. */
struct layout {
	size_t ip, l4, end; /* end: of what the IP header says, which may be before the frame's */
	uint8_t protocol;
	bool v6;
};

static uint16_t get_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ---- sums: in host order, which is right on both kinds as long as both sides of it are ---- */

uint64_t packet_sum(const void *buf, size_t len, uint64_t sum)
{
	const uint8_t *p = buf;
	uint16_t half = 0;
	uint32_t word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	if (len >= sizeof(half)) {
		memcpy(&half, p, sizeof(half));
		sum += half;
		p += sizeof(half);
		len -= sizeof(half);
	}
	if (len) {
		half = 0;
		memcpy(&half, p, 1);
		sum += half;
	}
	return sum;
}

uint16_t packet_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* ---- headers ---- */

static bool find_ipv4(const struct packet *p, struct layout *l)
{
	const uint8_t *ip = p->data + l->ip;
	size_t header, total;

	if (p->len - l->ip < IPV4_MIN || ip[0] >> 4 != 4)
		return false;
	header = (size_t)(ip[0] & 15) * 4;
	total = get_be16(ip + 2);
	/* A fragment has no checksum of its own. */
	if (header < IPV4_MIN || total < header || total > p->len - l->ip || get_be16(ip + 6) & 0x3fff)
		return false;
	l->l4 = l->ip + header;
	l->end = l->ip + total;
	l->protocol = ip[PROTOCOL_AT];
	return true;
}

static bool find_ipv6(const struct packet *p, struct layout *l)
{
	const uint8_t *ip = p->data + l->ip;

	if (p->len - l->ip < IPV6_BYTES || ip[0] >> 4 != 6 || get_be16(ip + 4) > p->len - l->ip - IPV6_BYTES)
		return false;
	l->end = l->ip + IPV6_BYTES + get_be16(ip + 4);
	l->l4 = l->ip + IPV6_BYTES;
	l->protocol = ip[6];
	l->v6 = true;
	for (int i = 0; i < EXTENSIONS; i++) {
		const uint8_t *next = p->data + l->l4;

		if (l->protocol != IPPROTO_HOPOPTS && l->protocol != IPPROTO_ROUTING && l->protocol != IPPROTO_DSTOPTS)
			return true;
		if (l->end - l->l4 < 8 || l->end - l->l4 < ((size_t)next[1] + 1) * 8)
			return false;
		l->protocol = next[0];
		l->l4 += ((size_t)next[1] + 1) * 8;
	}
	return false;
}

static bool find_headers(const struct packet *p, struct layout *l)
{
	size_t at = 2 * PACKET_MAC_BYTES;
	uint16_t type;

	*l = (struct layout){ 0 };
	if (p->len < PACKET_BYTES_MIN)
		return false;
	type = get_be16(p->data + at);
	for (int i = 0; i < VLAN_TAGS && (type == ETHERTYPE_VLAN || type == 0x88a8); i++) {
		at += 4;
		if (p->len < at + 2)
			return false;
		type = get_be16(p->data + at);
	}
	l->ip = at + 2;
	if (type == ETHERTYPE_IP)
		return find_ipv4(p, l);
	return type == ETHERTYPE_IPV6 && find_ipv6(p, l);
}

static uint64_t pseudo_header(const struct packet *p, const struct layout *l)
{
	const uint8_t *ip = p->data + l->ip;
	size_t len = l->end - l->l4;
	uint8_t tail[8] = { 0, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, l->protocol };
	uint64_t sum = packet_sum(tail, sizeof(tail), 0);

	return l->v6 ? packet_sum(ip + 8, 32, sum) : packet_sum(ip + 12, 8, sum);
}

static bool prepare_gso(struct packet *p, const struct layout *l)
{
	size_t header = (size_t)(p->data[l->l4 + 12] >> 4) * 4;

	if (l->protocol != IPPROTO_TCP || l->v6 != (p->gso == PACKET_GSO_TCPV6) || !p->gso_size || header < TCP_MIN ||
	    header > l->end - l->l4)
		return false;
	p->header_len = (uint16_t)(l->l4 + header);
	p->csum_blank = true;
	return true;
}

bool packet_prepare(struct packet *p)
{
	struct layout l;
	uint16_t sum;

	if (p->len < PACKET_BYTES_MIN || p->len > PACKET_BYTES_MAX)
		return false;
	if (!p->csum_blank && p->gso == PACKET_GSO_NONE)
		return true;
	if (!find_headers(p, &l))
		return false;
	if (l.protocol == IPPROTO_TCP && l.end - l.l4 >= TCP_MIN)
		p->csum_offset = 16;
	else if (l.protocol == IPPROTO_UDP && l.end - l.l4 >= UDP_BYTES)
		p->csum_offset = 6;
	else
		return false;
	if (p->gso != PACKET_GSO_NONE && !prepare_gso(p, &l))
		return false;
	p->csum_start = (uint16_t)l.l4;
	sum = packet_fold(pseudo_header(p, &l));
	memcpy(p->data + l.l4 + p->csum_offset, &sum, sizeof(sum));
	return true;
}

void packet_complete(struct packet *p)
{
	struct layout l;
	uint16_t sum;

	if (!p->csum_blank || !find_headers(p, &l))
		return;
	sum = (uint16_t)~packet_fold(packet_sum(p->data + p->csum_start, l.end - p->csum_start, 0));
	/* To UDP zero means that there is none. */
	if (!sum && l.protocol == IPPROTO_UDP)
		sum = 0xffff;
	memcpy(p->data + p->csum_start + p->csum_offset, &sum, sizeof(sum));
	p->csum_blank = false;
	p->csum_good = true;
}

size_t packet_announcement(uint8_t buf[64], const uint8_t mac[PACKET_MAC_BYTES])
{
	uint8_t *arp = buf + PACKET_BYTES_MIN;

	memset(buf, 0, 64);
	memset(buf, 0xff, PACKET_MAC_BYTES);
	memcpy(buf + PACKET_MAC_BYTES, mac, PACKET_MAC_BYTES);
	put_be16(buf + 12, ETHERTYPE_REVARP);
	put_be16(arp, 1); /* Ethernet */
	put_be16(arp + 2, ETHERTYPE_IP);
	arp[4] = PACKET_MAC_BYTES;
	arp[5] = 4;
	put_be16(arp + 6, 3); /* who am I? */
	memcpy(arp + 8, mac, PACKET_MAC_BYTES);
	memcpy(arp + 18, mac, PACKET_MAC_BYTES);
	return 60;
}
