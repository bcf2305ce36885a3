/* SPDX-License-Identifier: Apache-2.0 */
/* Packets' checksums, and the links that need neither privilege nor a network. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "device/link.h"

/* ---- checksums ---- */

static const uint8_t udp4[] = {
	2,    0,    0, 0,  0, 1,  2,	0,    0,   0,	0,   2,	  8,   0,		      /* Ethernet */
	0x45, 0,    0, 33, 0, 0,  0,	0,    64,  17,	0,   0,	  10,  0, 2, 15, 10, 0, 2, 2, /* IPv4 */
	0x30, 0x39, 0, 53, 0, 13, 0xaa, 0xbb, 'a', 'b', 'c', 'd', 'e',			      /* UDP, odd */
};

static const uint8_t tcp6[] = {
	2,    0,    0,	  0,	0, 1,  2, 0,  0, 0, 0, 2, 0x81, 0,    0,    5,	  0x86, 0xdd, /* Ethernet, VLAN 5 */
	0x60, 0,    0,	  0,	0, 30, 0, 64, /* IPv6: 8 bytes of options, 22 of TCP */
	0xfe, 0xc0, 0,	  0,	0, 0,  0, 0,  0, 0, 0, 0, 0,	0,    0,    1,	  0xfe, 0xc0, 0, 0, 0,	 0,
	0,    0,    0,	  0,	0, 0,  0, 0,  0, 2, 6, 0, 1,	4,    0,    0,	  0,	0, /* hop by hop */
	0,    80,   0x30, 0x39, 1, 2,  3, 4,  5, 6, 7, 8, 0x50, 0x10, 0xff, 0xff, 0xaa, 0xbb, 0, 0, 'x', 'y', /* TCP */
};

/* As RFC 1071 has it: everything together is all ones. */
static uint16_t sum_of(const uint8_t *p, size_t ip, size_t l4, size_t end, uint8_t protocol)
{
	size_t len = end - l4, addresses = p[ip] >> 4 == 6 ? 8 : 12, n = p[ip] >> 4 == 6 ? 32 : 8;
	uint32_t sum = (uint32_t)len + protocol;

	for (size_t i = 0; i < n; i++)
		sum += (uint32_t)p[ip + addresses + i] << (i % 2 ? 0 : 8);
	for (size_t i = 0; i < len; i++)
		sum += (uint32_t)p[l4 + i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void test_missing_checksums_are_computed(void **state)
{
	uint8_t u[sizeof(udp4)], t[sizeof(tcp6)];
	struct packet pu = { .data = u, .len = sizeof(u), .csum_blank = true };
	struct packet pt = { .data = t, .len = sizeof(t), .csum_blank = true };

	(void)state;
	memcpy(u, udp4, sizeof(u));
	memcpy(t, tcp6, sizeof(t));
	assert_true(packet_prepare(&pu) && packet_prepare(&pt));
	assert_int_equal(pu.csum_start, 34);
	assert_int_equal(pu.csum_offset, 6);
	assert_int_equal(pt.csum_start, 66);
	assert_int_equal(pt.csum_offset, 16);
	packet_complete(&pu);
	packet_complete(&pt);
	assert_int_equal(sum_of(u, 14, 34, sizeof(u), 17), 0xffff);
	assert_int_equal(sum_of(t, 18, 66, sizeof(t), 6), 0xffff);
	assert_false(pu.csum_blank);
	assert_true(pu.csum_good);
}

/* With the sanitizers: no length that a header says is believed. */
static void test_cut_and_bent_packets_are_survived(void **state)
{
	(void)state;
	for (size_t len = 0; len <= sizeof(tcp6); len++) {
		for (size_t at = 0; at < len; at++) {
			uint8_t *copy = malloc(len);
			struct packet p = { .data = copy, .len = len, .csum_blank = true };

			memcpy(copy, tcp6, len);
			copy[at] ^= 0xff;
			if (packet_prepare(&p))
				packet_complete(&p);
			free(copy);
		}
	}
}

static void test_cut_packets_are_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(udp4); len++) {
		uint8_t copy[sizeof(udp4)];
		struct packet p = { .data = copy, .len = len, .csum_blank = true };

		memcpy(copy, udp4, sizeof(copy));
		assert_false(packet_prepare(&p));
	}
}

/* ---- links ---- */

struct heard {
	uint8_t data[2000];
	size_t len;
	unsigned int n;
	bool blank;
};

static bool hear(void *arg, struct packet *p)
{
	struct heard *h = arg;

	h->n++;
	h->len = p->len;
	h->blank = p->csum_blank;
	memcpy(h->data, p->data, p->len < sizeof(h->data) ? p->len : sizeof(h->data));
	return true;
}

static struct link *make(const struct link_config *c, struct heard *h, int lacks_code)
{
	struct link *l = NULL;
	struct err err = { 0 }, lacks = { 0 };

	if (link_new(c, "test", hear, h, &lacks, &l, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(lacks.code, lacks_code);
	return l;
}

static void turn(struct link *l)
{
	static struct link_poll p;

	p.n = 0;
	p.timeout_ms = 0;
	l->ops->prepare(l, &p, true);
	poll(p.fd, p.n, 0);
	l->ops->dispatch(l, &p, true);
}

static void test_two_ends_of_a_cable(void **state)
{
	char folder[] = "/tmp/nidra-test-XXXXXX", path[64], end[80];
	struct heard h[3] = { 0 };
	struct link_config c = { .type = LINK_PAIR, .path = path };
	struct link *a, *b, *third;
	uint8_t u[sizeof(udp4)];
	struct packet p = { .data = u, .len = sizeof(u), .csum_blank = true };

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/cable", folder);
	memcpy(u, udp4, sizeof(u));
	a = make(&c, &h[0], 0);
	a->ops->send(a, &p); /* to nobody */
	b = make(&c, &h[1], 0);
	third = make(&c, &h[2], -EBUSY);
	a->ops->send(a, &p);
	third->ops->send(third, &p);
	turn(b);
	assert_int_equal(h[1].n, 1);
	assert_int_equal(h[1].len, sizeof(u));
	assert_true(h[1].blank);
	for (int i = 0; i < 300; i++) /* more than a socket holds */
		a->ops->send(a, &p);
	for (int i = 0; i < 300; i++) {
		turn(b);
		turn(a);
	}
	assert_int_equal(h[1].n, 301);
	link_free(a);
	a = make(&c, &h[0], 0); /* it comes back, and has its end again */
	b->ops->send(b, &p);
	turn(a);
	assert_int_equal(h[0].n, 1);
	link_free(a);
	link_free(b);
	link_free(third);
	snprintf(end, sizeof(end), "%s.0", path);
	assert_int_equal(access(end, F_OK), -1);
	rmdir(folder);
}

static void test_an_end_that_a_dead_process_left_is_taken(void **state)
{
	char folder[] = "/tmp/nidra-test-XXXXXX", path[64];
	struct sockaddr_un left = { .sun_family = AF_UNIX };
	struct heard h = { 0 };
	struct link_config c = { .type = LINK_PAIR, .path = path };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/cable", folder);
	snprintf(left.sun_path, sizeof(left.sun_path), "%s.0", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&left, sizeof(left)), 0);
	close(fd);
	link_free(make(&c, &h, 0));
	assert_int_equal(access(left.sun_path, F_OK), -1);
	rmdir(folder);
}

/* 10.0.2.15 asks who has 10.0.2.2. */
static void ask_who_it_is(struct link *l)
{
	uint8_t arp[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,  0, 0, 0,	 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
			    1,	  2,	0,    0,    0,	  0,	1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2 };
	struct packet p = { .data = arp, .len = sizeof(arp) };

	l->ops->send(l, &p);
	turn(l);
}

static void test_the_user_network_answers(void **state)
{
	struct heard h = { 0 };
	struct link_config c = { .type = LINK_USER };
	struct link *l = make(&c, &h, 0);

	(void)state;
	l->ops->freeze(l, true);
	l->ops->freeze(l, false);
	ask_who_it_is(l);
	assert_true(h.n >= 1);
	assert_int_equal(h.data[21], 2); /* a reply */
	assert_memory_equal(h.data + 28, ((uint8_t[]){ 10, 0, 2, 2 }), 4);
	link_free(l);
}

static const uint8_t tcp4[] = {
	0x52, 0x55, 10,	  0,	2, 2, 2, 0, 0,	0, 0, 1, 8,  0,			    /* Ethernet */
	0x45, 0,    0,	  40,	0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 0, /* IPv4 */
	0x30, 0x39, 0,	  0,	0, 0, 0, 1, 0,	0, 0, 0,			    /* TCP */
	0x50, 0,    0xff, 0xff, 0, 0, 0, 0,
};

/* From 10.0.2.15 to @port of 10.0.2.@host. @answers: what it has heard. */
static void send_tcp(struct link *l, uint8_t host, uint16_t port, uint8_t flags, const struct heard *answers)
{
	uint16_t sum = (uint16_t) ~(0x9d3d + host);
	uint8_t b[sizeof(tcp4)];
	struct packet p = { .data = b, .len = sizeof(b), .csum_blank = true };

	memcpy(b, tcp4, sizeof(b));
	b[24] = (uint8_t)(sum >> 8);
	b[25] = (uint8_t)sum;
	b[33] = host;
	b[36] = (uint8_t)(port >> 8);
	b[37] = (uint8_t)port;
	b[47] = flags;
	if (flags == 0x10) { /* one more than the number in the answer */
		uint32_t number;

		b[41] = 2;
		memcpy(&number, answers->data + 38, 4);
		number = htonl(ntohl(number) + 1);
		memcpy(b + 42, &number, 4);
	}
	assert_true(packet_prepare(&p));
	l->ops->send(l, &p);
	turn(l);
}

static void try_to_connect(struct link *l, struct heard *h, uint8_t host, uint16_t port)
{
	send_tcp(l, host, port, 0x02, NULL);
	turn(l);
	if (h->data[47] == 0x12)
		send_tcp(l, host, port, 0x10, h);
	memset(h->data, 0, sizeof(h->data));
}

static int listen_at(struct sockaddr *a, socklen_t len)
{
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, a, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static bool somebody_came(int fd)
{
	int c = accept(fd, NULL, NULL);

	if (c >= 0)
		close(c);
	return c >= 0;
}

static void test_a_restricted_network_leads_to_its_services_alone(void **state)
{
	struct sockaddr_in host = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un service = { .sun_family = AF_UNIX };
	char folder[] = "/tmp/nidra-test-XXXXXX";
	struct heard h = { 0 };
	struct link_config c = { .type = LINK_USER, .n_services = 1, .service = { { .port = 2049 } } };
	socklen_t len = sizeof(host);
	int host_fd, service_fd;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(service.sun_path, sizeof(service.sun_path), "%s/socket", folder);
	c.service[0].path = service.sun_path;
	service_fd = listen_at((struct sockaddr *)&service, sizeof(service));
	host_fd = listen_at((struct sockaddr *)&host, sizeof(host));
	assert_int_equal(getsockname(host_fd, (struct sockaddr *)&host, &len), 0);
	for (int restricted = 0; restricted < 2; restricted++) {
		struct link *l;

		c.restricted = restricted;
		l = make(&c, &h, 0);
		ask_who_it_is(l);
		try_to_connect(l, &h, 4, 2049);
		assert_true(somebody_came(service_fd));
		try_to_connect(l, &h, 4, 2050);
		assert_false(somebody_came(service_fd));
		try_to_connect(l, &h, 2, ntohs(host.sin_port));
		assert_int_equal(somebody_came(host_fd), !restricted);
		link_free(l);
	}
	close(service_fd);
	close(host_fd);
	unlink(service.sun_path);
	rmdir(folder);
}

static void test_a_port_in_use_is_gone_without(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char text[40];
	const char *forward[] = { text };
	struct heard h = { 0 };
	struct link_config c = { .type = LINK_USER, .forward = forward, .n_forwards = 1 };

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u:22", ntohs(a.sin_port));
	link_free(make(&c, &h, -EADDRINUSE));
	close(fd);
	link_free(make(&c, &h, 0));
}

static void test_forwards(void **state)
{
	static const struct {
		const char *text;
		bool udp;
		const char *address;
		uint16_t host, guest;
	} good[] = {
		{ "2222:22", false, "0.0.0.0", 2222, 22 },
		{ "tcp:1:65535", false, "0.0.0.0", 1, 65535 },
		{ "udp:53:5353", true, "0.0.0.0", 53, 5353 },
		{ "udp:127.0.0.1:53:5353", true, "127.0.0.1", 53, 5353 },
	};
	static const char *const bad[] = {
		"",    "22",	   ":",	    "1:",   ":1",   "0:1",   "1:0",	 "65536:1",   "1:x",
		"x:1", "sctp:1:1", "1:2:3", "-1:1", "1: 2", "tcp:1", "host:1:1", "1.2.3:1:1", "1.2.3.4.5.6.7.8.9:1:1"
	};
	struct link_forward f;
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(link_forward_parse(good[i].text, &f, &err), 0);
		assert_int_equal(f.udp, good[i].udp);
		assert_int_equal(f.address, inet_addr(good[i].address));
		assert_int_equal(f.host_port, good[i].host);
		assert_int_equal(f.guest_port, good[i].guest);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (link_forward_parse(bad[i], &f, &err) != -EINVAL)
			fail_msg("'%s' is a forward", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missing_checksums_are_computed),
		cmocka_unit_test(test_cut_and_bent_packets_are_survived),
		cmocka_unit_test(test_cut_packets_are_refused),
		cmocka_unit_test(test_two_ends_of_a_cable),
		cmocka_unit_test(test_an_end_that_a_dead_process_left_is_taken),
		cmocka_unit_test(test_the_user_network_answers),
		cmocka_unit_test(test_a_restricted_network_leads_to_its_services_alone),
		cmocka_unit_test(test_a_port_in_use_is_gone_without),
		cmocka_unit_test(test_forwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
