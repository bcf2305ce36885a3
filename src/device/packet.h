/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Ethernet frame on its way between a guest and the rest of the world, with what is still to be done to it:
 * a checksum that nobody has computed, a TCP segment that somebody will have to cut. Pure.
 *
 * Frames are a guest's or the network's: every length in them is checked against the frame's.
 */
#ifndef NIDRA_DEVICE_PACKET_H
#define NIDRA_DEVICE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_BYTES_MIN 14	/* an Ethernet header */
#define PACKET_BYTES_MAX 0xffff /* that a netif request can say */
#define PACKET_MAC_BYTES 6

enum packet_gso { PACKET_GSO_NONE, PACKET_GSO_TCPV4, PACKET_GSO_TCPV6 };

struct packet {
	uint8_t *data; /* borrowed; from the Ethernet header on */
	size_t len;
	bool csum_blank; /* the TCP or UDP checksum is not there: csum_start and csum_offset say where it belongs */
	bool csum_good;	 /* what it is a checksum of needs not be looked at again */
	uint16_t csum_start, csum_offset; /* if csum_blank: of the TCP or UDP header, and of the field in it */
	enum packet_gso gso;		  /* not NONE: csum_blank too */
	uint16_t gso_size;		  /* payload bytes of each TCP segment to be made of it; > 0 */
	uint16_t header_len;		  /* with gso: up to the end of the TCP header */
};

/*
 * Of a packet whose csum_blank and gso are as its sender says: looks whether it is what it says (IPv4 or IPv6, TCP
 * or UDP, headers whole), sets csum_start, csum_offset and header_len, and puts the pseudo-header's sum into the
 * field, as who completes it expects. False: it is not.
 */
bool packet_prepare(struct packet *p);

/* Computes the checksum that is missing, if one is. @p was prepared. */
void packet_complete(struct packet *p);

/* The Internet checksum's sum of @len bytes, onto @sum; not folded, not inverted. */
uint64_t packet_sum(const void *buf, size_t len, uint64_t sum);
uint16_t packet_fold(uint64_t sum);

/* A RARP request of @mac about itself: switches learn from it where that is now. Returns its length. */
size_t packet_announcement(uint8_t buf[64], const uint8_t mac[PACKET_MAC_BYTES]);

#endif
