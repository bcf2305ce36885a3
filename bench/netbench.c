/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netbench serve ADDRESS [PORT]             in the host: takes, gives or echoes, as its client asks
 * netbench OWN-ADDRESS HOST SECONDS         in a guest: gives eth0 its address, and measures, each line for SECONDS:
 *
 *   netbench: NAME PER-SECOND
 *
 * "send" and "receive" are MiB of TCP, "request" and "request-16" answers to a byte, one connection and 16.
 * Static, for an initramfs. Its last line is "netbench: done".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT	    7100
#define BUF	    65536
#define CLIENTS_MAX 16
#define PATIENCE_S  60

struct kind {
	const char *name;
	char ask;	      /* the first byte of a connection */
	unsigned int clients; /* at once */
	double unit;	      /* of what is counted */
};

static const struct kind kinds[] = {
	{ "send", 's', 1, 1 << 20 },
	{ "receive", 'r', 1, 1 << 20 },
	{ "request", 'e', 1, 1 },
	{ "request-16", 'e', CLIENTS_MAX, 1 },
};

static struct sockaddr_in host;
static volatile bool stop;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *text, unsigned int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		die(text);
	return a;
}

static void no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		die("TCP_NODELAY");
}

/* ---- the host's side ---- */

static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char *buf = calloc(1, BUF), ask = 0;
	ssize_t n = read(fd, &ask, 1);

	no_delay(fd);
	while (buf && n > 0) {
		if (ask != 'r')
			n = read(fd, buf, BUF);
		if (n > 0 && ask != 's')
			n = send(fd, buf, ask == 'r' ? BUF : (size_t)n, MSG_NOSIGNAL);
	}
	free(buf);
	close(fd);
	return NULL;
}

static _Noreturn void serve(const char *where, unsigned int port)
{
	struct sockaddr_in a = address(where, port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0)
		die(where);
	puts("netbench: serving");
	fflush(stdout);
	for (;;) {
		pthread_t thread;
		int c = accept(fd, NULL, NULL);

		if (c < 0 || pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)c))
			die("accept");
		pthread_detach(thread);
	}
}

/* ---- the guest's side ---- */

static void set_address(const char *own)
{
	struct ifreq r = { .ifr_name = "eth0" };
	struct sockaddr_in a = address(own, 0), mask = address("255.255.255.0", 0);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	memcpy(&r.ifr_addr, &a, sizeof(a));
	if (ioctl(fd, SIOCSIFADDR, &r) < 0)
		die("address of eth0");
	memcpy(&r.ifr_netmask, &mask, sizeof(mask));
	ioctl(fd, SIOCSIFNETMASK, &r);
	ioctl(fd, SIOCGIFFLAGS, &r);
	r.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		die("eth0 up");
	close(fd);
}

/* The device may need its time. */
static int connect_to_host(char ask)
{
	for (int i = 0; i < PATIENCE_S; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&host, sizeof(host)) == 0 && write(fd, &ask, 1) == 1) {
			no_delay(fd);
			return fd;
		}
		close(fd);
		sleep(1);
	}
	die("connect to the host");
	return -1;
}

struct client {
	pthread_t thread;
	int fd;
	char ask;
	uint64_t count;
};

static void *run_client(void *arg)
{
	struct client *c = arg;
	char *buf = calloc(1, BUF);
	ssize_t n = 1;

	while (buf && n > 0 && !stop) {
		if (c->ask != 'r')
			n = write(c->fd, buf, c->ask == 's' ? BUF : 1);
		if (n > 0 && c->ask != 's')
			n = read(c->fd, buf, BUF);
		if (n > 0)
			c->count += (uint64_t)n;
	}
	if (n <= 0 && !stop)
		die("the connection");
	free(buf);
	return NULL;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(const struct kind *k, unsigned int length)
{
	struct client c[CLIENTS_MAX] = { 0 };
	double begin, took, all = 0;

	for (unsigned int i = 0; i < k->clients; i++)
		c[i] = (struct client){ .fd = connect_to_host(k->ask), .ask = k->ask };
	stop = false;
	begin = seconds();
	for (unsigned int i = 0; i < k->clients; i++)
		if (pthread_create(&c[i].thread, NULL, run_client, &c[i]))
			die("thread");
	sleep(length);
	stop = true;
	took = seconds() - begin;
	for (unsigned int i = 0; i < k->clients; i++)
		all += (double)c[i].count;
	for (unsigned int i = 0; i < k->clients; i++) {
		shutdown(c[i].fd, SHUT_RDWR); /* who waits wakes */
		pthread_join(c[i].thread, NULL);
		close(c[i].fd);
	}
	printf("netbench: %s %.2f\n", k->name, all / k->unit / took);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "serve"))
		serve(argv[2], argc > 3 ? (unsigned int)atoi(argv[3]) : PORT);
	if (argc != 4) {
		fputs("usage: netbench serve ADDRESS [PORT] | OWN-ADDRESS HOST SECONDS\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	set_address(argv[1]);
	host = address(argv[2], PORT);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure(&kinds[i], (unsigned int)atoi(argv[3]));
	puts("netbench: done");
	return 0;
}
