/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that has two disks and no manners: rings, grants, event channels, xenstore and the states of a handshake in
 * any order, and sleeps in between. The input is a program of small steps, and each ends when the backend's threads
 * have nothing left to do, so that the same input does the same again: poll() and eventfd_read() of bus.c and vbd.c
 * are this file's (see meson.build).
 *
 * What the disk is asked to do has to be inside of it and of the guest's memory; at rest it is asked for nothing; and
 * a frontend that behaves in the end gets its disk.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define xen_mb()  atomic_thread_fence(memory_order_seq_cst)
#define xen_wmb() atomic_thread_fence(memory_order_release)
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/blkif.h"
#include "device/vbd.h"
#include "fake_frontend.h"

#define DISKS	  2
#define SECTORS	  64u
#define DISK	  (SECTORS * BLKIF_SECTOR)
#define PAGES	  16u /* that steps play with; all granted at first, by refs from 8 on */
#define FIRST_GFN 0x100u
#define FIRST_REF 8u
#define LAST_GFN  0x200u /* of the frontend that behaves: ring and data */
#define LAST_REF  200u
#define SLEEPS	  2 /* of one input: they cost most */
#define PENDING	  256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct frontend f;
static struct bus *bus;
static bool drained, was_drained;
static uint32_t port[4];

static void check(bool good)
{
	if (!good)
		__builtin_trap();
}

/* ---- threads ---- */

#undef poll
#undef eventfd_read
int fuzz_poll(struct pollfd *p, nfds_t n, int timeout);
int fuzz_eventfd_read(int fd, eventfd_t *value);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* what follows */
static pthread_cond_t waits = PTHREAD_COND_INITIALIZER;
static int idle, fds, fd_of[16];

static void know(int fd)
{
	for (int i = 0; i < fds; i++)
		if (fd_of[i] == fd)
			return;
	check(fds < (int)ARRAY_SIZE(fd_of));
	fd_of[fds++] = fd;
}

/* Busy again before what woke it is read. */
static void wait_readable(struct pollfd *p, nfds_t n)
{
	pthread_mutex_lock(&lock);
	for (nfds_t i = 0; i < n; i++)
		know(p[i].fd);
	idle++;
	pthread_cond_signal(&waits);
	pthread_mutex_unlock(&lock);
	ppoll(p, n, NULL, NULL);
	pthread_mutex_lock(&lock);
	idle--;
	pthread_mutex_unlock(&lock);
}

int fuzz_poll(struct pollfd *p, nfds_t n, int timeout)
{
	struct timespec now = { 0 };

	if (timeout)
		wait_readable(p, n);
	return ppoll(p, n, &now, NULL);
}

int fuzz_eventfd_read(int fd, eventfd_t *value)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	wait_readable(&p, 1);
	return read(fd, value, sizeof(*value)) == sizeof(*value) ? 0 : -1;
}

static bool nothing_to_read(void)
{
	struct timespec now = { 0 };
	struct pollfd p[ARRAY_SIZE(fd_of)];

	for (int i = 0; i < fds; i++)
		p[i] = (struct pollfd){ .fd = fd_of[i], .events = POLLIN };
	return ppoll(p, (nfds_t)fds, &now, NULL) == 0;
}

static void settle(void)
{
	SCOPED_LOCK(&lock);

	while (idle < DISKS + 1 || !nothing_to_read())
		pthread_cond_wait(&waits, &lock);
}

/* ---- disks ---- */

struct memory_disk {
	struct disk disk;
	uint8_t bytes[DISK];
	int fd;
	struct disk_io *pending[PENDING];
	unsigned int n;
};

static void check_memory(const struct disk_io *io)
{
	const uint8_t *ram = gmem_page(f.m.mem, 0);
	uint64_t sum = 0;

	for (unsigned int i = 0; i < io->iovs; i++) {
		const uint8_t *p = io->iov[i].iov_base;

		check(p >= ram && p < ram + FRONT_RAM && io->iov[i].iov_len <= (size_t)(ram + FRONT_RAM - p));
		sum += io->iov[i].iov_len;
	}
	check(sum == io->bytes);
}

static void submit(struct disk *d, struct disk_io *io)
{
	struct memory_disk *m = container_of(d, struct memory_disk, disk);

	check(!drained);
	check(io->op == DISK_FLUSH || (io->offset <= DISK && io->bytes && io->bytes <= DISK - io->offset));
	check(!d->readonly || io->op == DISK_READ || io->op == DISK_FLUSH);
	check(m->n < PENDING);
	if (io->op == DISK_READ || io->op == DISK_WRITE)
		check_memory(io);
	m->pending[m->n++] = io;
	eventfd_write(m->fd, 1);
}

static void carry_out(struct memory_disk *m, struct disk_io *io)
{
	uint8_t *at = m->bytes + io->offset;

	if (io->op == DISK_DISCARD)
		memset(at, 0, io->bytes);
	for (unsigned int i = 0; io->op != DISK_FLUSH && i < io->iovs; i++) {
		if (io->op == DISK_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	io->done(io, 0);
}

/* The last one first: disks do as they like. */
static void reap(struct disk *d)
{
	struct memory_disk *m = container_of(d, struct memory_disk, disk);
	struct pollfd p = { .fd = m->fd, .events = POLLIN };
	struct timespec now = { 0 };
	unsigned int n = m->n;
	uint64_t count;

	if (ppoll(&p, 1, &now, NULL) == 1)
		check(read(m->fd, &count, sizeof(count)) == sizeof(count));
	while (n) {
		struct disk_io *io = m->pending[--n];

		m->pending[n] = m->pending[--m->n];
		carry_out(m, io);
	}
}

static int resized(struct disk *d, uint64_t *ret_bytes)
{
	(void)d;
	*ret_bytes = DISK;
	return 0;
}

static int event_fd(struct disk *d)
{
	return container_of(d, struct memory_disk, disk)->fd;
}

static void close_disk(struct disk *d)
{
	struct memory_disk *m = container_of(d, struct memory_disk, disk);

	check(!m->n);
	close(m->fd);
	free(m);
}

static const struct disk_ops disk_ops = {
	.submit = submit, .reap = reap, .fd = event_fd, .resized = resized, .close = close_disk
};
static struct memory_disk *disk[DISKS];
static struct vbd *vbd[DISKS];
static const char *const vdev[DISKS] = { "xvda", "xvdb" };

static void new_bus(void)
{
	idle = fds = 0; /* of threads that have ended */
	check(bus_new(f.d, &bus, NULL) == 0);
	for (int i = 0; i < DISKS; i++) {
		struct memory_disk *m = calloc(1, sizeof(*m));

		m->disk = (struct disk){ .bytes = DISK, .block_bytes = 512, .readonly = i == 1, .ops = &disk_ops };
		m->disk.discard_unit = i ? 0 : 4096;
		m->fd = eventfd(0, EFD_CLOEXEC);
		check(vbd_add(bus, vdev[i], &m->disk, "fuzz", &vbd[i], NULL) == 0);
		disk[i] = m;
	}
	settle();
}

/* ---- steps ---- */

static void put(int which, const char *key, const char *value)
{
	char path[96];

	snprintf(path, sizeof(path), "device/vbd/%u/%s", vbd_number(vdev[which]), key);
	frontend_write(&f, path, "%s", value);
}

static void put_number(int which, const char *key, uint32_t n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	put(which, key, text);
}

static uint8_t *any_page(struct bytes_reader *r)
{
	return frontend_page(&f, FIRST_GFN + bytes_get_u8(r) % PAGES);
}

static void write_memory(struct bytes_reader *r)
{
	uint8_t *page = any_page(r);
	size_t at = bytes_get_u16(r) % NIDRA_PAGE_SIZE, n = bytes_get_u8(r);

	bytes_get_into(r, page + at, n < NIDRA_PAGE_SIZE - at ? n : NIDRA_PAGE_SIZE - at);
}

static blkif_sring_t *any_ring(struct bytes_reader *r)
{
	return frontend_page(&f, FIRST_GFN + bytes_get_u8(r) % 4);
}

static void write_indirect(struct bytes_reader *r, struct blkif_request *req)
{
	struct blkif_request_indirect in = { .operation = BLKIF_OP_INDIRECT, .id = req->id };

	in.indirect_op = req->nr_segments % 2;
	in.sector_number = req->sector_number;
	in.nr_segments = bytes_get_u8(r);
	in.indirect_grefs[0] = bytes_get_u8(r);
	memcpy(req, &in, sizeof(in));
}

static void write_segments(struct bytes_reader *r, struct blkif_request *req)
{
	for (unsigned int i = 0; i < MIN(req->nr_segments, ARRAY_SIZE(req->seg)); i++) {
		req->seg[i].gref = bytes_get_u8(r);
		req->seg[i].first_sect = bytes_get_u8(r) % 9;
		req->seg[i].last_sect = bytes_get_u8(r) % 9;
	}
}

/* A request with a grain of sense, and the index behind it. */
static void write_request(struct bytes_reader *r)
{
	blkif_sring_t *s = any_ring(r);
	struct blkif_request *req = &s->ring[s->req_prod % 32].req;

	memset(req, 0, sizeof(*req));
	req->operation = bytes_get_u8(r) % 8;
	req->nr_segments = bytes_get_u8(r) % 13;
	req->id = s->req_prod;
	req->sector_number = bytes_get_u8(r) % (SECTORS + 1);
	if (req->operation == BLKIF_OP_INDIRECT)
		write_indirect(r, req);
	else
		write_segments(r, req);
	__atomic_store_n(&s->req_prod, s->req_prod + 1, __ATOMIC_RELEASE);
}

static void bump(struct bytes_reader *r)
{
	blkif_sring_t *s = any_ring(r);
	int8_t by = (int8_t)bytes_get_u8(r);

	__atomic_store_n(&s->req_prod, s->req_prod + (RING_IDX)by, __ATOMIC_RELEASE);
}

static void write_node(struct bytes_reader *r)
{
	static const char *const keys[] = {
		"ring-ref",	    "event-channel",	     "protocol",	   "multi-queue-num-queues",
		"queue-0/ring-ref", "queue-0/event-channel", "queue-1/ring-ref",   "queue-1/event-channel",
		"queue-2/ring-ref", "queue-2/event-channel", "feature-persistent", "ring-page-order"
	};
	uint8_t which = bytes_get_u8(r), value = bytes_get_u8(r);
	char text[9] = { 0 };

	if (value < 250) {
		put_number(which & 1, keys[which / 2 % ARRAY_SIZE(keys)], value);
		return;
	}
	bytes_get_into(r, text, sizeof(text) - 1);
	put(which & 1, keys[which / 2 % ARRAY_SIZE(keys)], text);
}

static void write_state(struct bytes_reader *r)
{
	uint8_t which = bytes_get_u8(r);

	put_number(which & 1, "state", which / 2 % 10);
}

/* All of it as it should be: disk, place. */
static void write_frontend(int which, unsigned int place)
{
	put_number(which, "ring-ref", FIRST_REF + place);
	put_number(which, "event-channel", port[place]);
	put_number(which, "state", XenbusStateInitialised);
}

static void regrant(struct bytes_reader *r)
{
	uint32_t ref = bytes_get_u8(r);
	uint16_t gfn = bytes_get_u8(r);

	frontend_grant(&f, ref, gfn & 0x80 ? gfn * 77u : FIRST_GFN + gfn % PAGES, bytes_get_u16(r));
}

static void reopen_port(struct bytes_reader *r)
{
	uint32_t *p = &port[bytes_get_u8(r) % ARRAY_SIZE(port)];

	frontend_close(&f, *p);
	*p = frontend_port(&f);
}

static void drain(void)
{
	check(bus_drain(bus, clock_monotonic_ns() + 20 * NSEC_PER_SEC, NULL) == 0);
	drained = true;
}

static void go(void)
{
	drained = false;
	bus_go(bus);
}

static void begin(void)
{
	for (unsigned int i = 0; i < PAGES; i++)
		frontend_grant(&f, FIRST_REF + i, FIRST_GFN + i, GTF_permit_access);
	for (unsigned int i = 0; i < ARRAY_SIZE(port); i++)
		port[i] = frontend_port(&f);
}

static void new_life(void)
{
	drain();
	check(xen_domain_reset(f.d, NULL) == 0);
	drained = false;
	bus_offer(bus);
	begin();
}

/* Another monitor takes up what this one left; a ring that it cannot have is its end. */
static bool move(void)
{
	_cleanup_bytes_ struct bytes_writer state = { 0 }, store = { 0 };
	struct bytes_reader in;

	drain();
	check(xen_domain_save(f.d, &state, NULL) == 0 && xen_domain_save_store(f.d, &store, NULL) == 0);
	bus_free(bus);
	check(xen_domain_reset(f.d, NULL) == 0);
	new_bus();
	in = bytes_reader(state.buf, state.len);
	check(xen_domain_load(f.d, &in, NULL) == 0);
	in = bytes_reader(store.buf, store.len);
	check(xen_domain_load_store(f.d, &in, NULL) == 0);
	if (bus_adopt(bus, NULL) < 0)
		return false;
	settle();
	go();
	return true;
}

/* To as large as it is: the guest is told. And the numbers add up. */
static void resize(int which)
{
	struct disk_stats s;

	if (!drained)
		check(vbd_resize(vbd[which], 0, NULL) == 0);
	vbd_get_stats(vbd[which], &s);
	check(s.bytes == DISK && !s.errors && s.read_bytes >= s.reads * BLKIF_SECTOR);
}

static bool step(struct bytes_reader *r, unsigned int *sleeps)
{
	uint8_t what = bytes_get_u8(r), which;

	switch (what % 14) {
	case 0:
		write_memory(r);
		break;
	case 1:
		write_request(r);
		break;
	case 2:
		bump(r);
		break;
	case 3:
		frontend_send(&f, port[bytes_get_u8(r) % ARRAY_SIZE(port)]);
		break;
	case 4:
		write_node(r);
		break;
	case 5:
		write_state(r);
		break;
	case 6:
		which = bytes_get_u8(r);
		write_frontend(which & 1, which / 2 % ARRAY_SIZE(port));
		break;
	case 7:
		regrant(r);
		break;
	case 8:
		reopen_port(r);
		break;
	case 9:
		drain();
		break;
	case 10:
		go();
		break;
	case 11:
		frontend_balloon_out(&f, FIRST_GFN + bytes_get_u8(r) % PAGES);
		break;
	case 12:
		if ((*sleeps)++ >= SLEEPS)
			return false;
		if (!(what & 0x80))
			return move();
		new_life();
		break;
	case 13:
		resize(bytes_get_u8(r) & 1);
	}
	return true;
}

/* ---- the end ---- */

static char back_state(int which)
{
	_cleanup_free_ char *text = NULL;
	char path[96];

	snprintf(path, sizeof(path), "/local/domain/0/backend/vbd/%u/%u/state", FRONT_DOMID, vbd_number(vdev[which]));
	text = xen_backend_read(f.d, path);
	check(text && text[0] && !text[1]);
	return text[0];
}

/* No handshake goes on either; see submit() for the rest. */
static void check_rest(void)
{
	static char before[DISKS];

	for (int i = 0; i < DISKS; i++) {
		char now = back_state(i);

		check(now >= '2' && now <= '6' && now != '3');
		check(!drained || !was_drained || now == before[i]);
		before[i] = now;
	}
	was_drained = drained;
}

static void expect_state(int which, char state)
{
	settle();
	check(back_state(which) == state);
}

static void change_state(int which, char front, char back)
{
	put(which, "state", (char[]){ front, '\0' });
	expect_state(which, back);
}

/* Whatever was before. */
static void behave(int which)
{
	blkif_sring_t *s = frontend_page(&f, LAST_GFN + 2 * (unsigned int)which);
	struct blkif_request req = { .operation = BLKIF_OP_READ, .nr_segments = 1, .id = 0x1234 };
	uint32_t p = frontend_port(&f), ref = LAST_REF + 2 * (uint32_t)which;

	change_state(which, '5', '5');
	change_state(which, '6', '6');
	change_state(which, '1', '2');
	SHARED_RING_INIT(s);
	frontend_grant(&f, ref, LAST_GFN + 2 * (unsigned int)which, GTF_permit_access);
	frontend_grant(&f, ref + 1, LAST_GFN + 2 * (unsigned int)which + 1, GTF_permit_access);
	put_number(which, "ring-ref", ref);
	put_number(which, "event-channel", p);
	put(which, "protocol", "x86_64-abi");
	put_number(which, "multi-queue-num-queues", 1);
	change_state(which, '3', '4');
	req.seg[0] = (struct blkif_request_segment){ ref + 1, 0, 7 };
	s->ring[0].req = req;
	__atomic_store_n(&s->req_prod, 1, __ATOMIC_RELEASE);
	frontend_send(&f, p);
	settle();
	check(s->rsp_prod == 1 && s->ring[0].rsp.id == 0x1234 && s->ring[0].rsp.status == BLKIF_RSP_OKAY);
}

/* Domain, bus and threads stay from input to input: they take most of the time. A new life forgets the rest. */
static void clean(void)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		frontend_balloon_in(&f, FIRST_GFN + i);
		memset(frontend_page(&f, FIRST_GFN + i), 0, NIDRA_PAGE_SIZE);
	}
	for (int i = 0; i < DISKS; i++)
		memset(disk[i]->bytes, i + 1, DISK);
	was_drained = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes_reader r = bytes_reader(data, len);
	unsigned int sleeps = 0;
	bool whole = true;

	if (!bus) {
		log_set_level(LOG_ERROR_);
		check(frontend_init(&f) == 0);
		new_bus();
	}
	clean();
	new_life();
	while (whole && r.left && !r.failed) {
		whole = step(&r, &sleeps);
		settle();
		check_rest();
	}
	if (whole && r.left == 0) {
		go();
		behave(0);
		behave(1);
	}
	return 0;
}
