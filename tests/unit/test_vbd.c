/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks without a guest: the frontend is a fake one (fake_frontend.h), all else is real: xenstore, event channels,
 * grants, the bus, the disk's thread, and a file. Between the disk's thread and the file is a gate, which counts
 * what the thread does and can keep requests from being done.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "wait.h"

#define xen_mb()  atomic_thread_fence(memory_order_seq_cst)
#define xen_wmb() atomic_thread_fence(memory_order_release)
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

#include "../fuzz/fake_frontend.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/pageset.h"
#include "device/blkif.h"
#include "device/vbd.h"
#include "scratch.h"

#define SECTORS	  2048u
#define DISK	  (SECTORS * BLKIF_SECTOR)
#define RING_GFN  0x100u
#define TABLE_GFN 0x180u /* of indirect segments */
#define DATA_GFN  0x200u /* [256] */
#define RING_REF  8u
#define TABLE_REF 15u
#define DATA_REF  16u
#define PAGES	  256u
#define HELD	  64

/* ---- the gate ---- */

struct gate {
	struct disk disk, *inner;
	struct vbd *vbd;
	atomic_uint passes; /* of the disk's thread: each begins with a look at what is done */
	atomic_uint count[DISK_OPS];
	atomic_int last;
	atomic_int fails; /* with this errno */
	atomic_bool shut;
	struct disk_io *held[HELD];
	unsigned int helds;
	int wake_fd, epoll_fd; /* the second: of the first, and of the disk behind the gate */
};

static void open_gate(struct gate *g)
{
	g->shut = false;
	eventfd_write(g->wake_fd, 1);
}

static void gate_submit(struct disk *d, struct disk_io *io)
{
	struct gate *g = container_of(d, struct gate, disk);

	g->count[io->op]++;
	g->last = io->op;
	if (g->fails)
		io->done(io, -g->fails);
	else if (g->shut && g->helds < HELD)
		g->held[g->helds++] = io;
	else
		g->inner->ops->submit(g->inner, io);
}

static void gate_reap(struct disk *d)
{
	struct gate *g = container_of(d, struct gate, disk);
	eventfd_t n;

	g->passes++;
	eventfd_read(g->wake_fd, &n);
	while (!g->shut && g->helds)
		g->inner->ops->submit(g->inner, g->held[--g->helds]);
	g->inner->ops->reap(g->inner);
}

static int gate_fd(struct disk *d)
{
	return container_of(d, struct gate, disk)->epoll_fd;
}

static int gate_resized(struct disk *d, uint64_t *ret_bytes)
{
	struct gate *g = container_of(d, struct gate, disk);

	return g->inner->ops->resized(g->inner, ret_bytes);
}

static struct disk_io *forgotten; /* what it held when it was closed, so that leaks are told apart */

static void gate_close(struct disk *d)
{
	struct gate *g = container_of(d, struct gate, disk);

	forgotten = g->helds ? g->held[0] : NULL;

	disk_close(g->inner);
	close(g->wake_fd);
	close(g->epoll_fd);
	free(g);
}

static const struct disk_ops gate_ops = {
	.submit = gate_submit, .reap = gate_reap, .fd = gate_fd, .resized = gate_resized, .close = gate_close
};

/* ---- the machine ---- */

struct ring {
	const char *vdev;
	uint64_t gfn;
	uint32_t ref, port;
	blkif_front_ring_t front;
};

static struct frontend f;
static struct bus *bus;
static struct gate *gate; /* of the last disk that was added */
static char path[64], other_path[64];
static int file_fd, old_stderr = -1;
static FILE *log_file;
static struct ring ring;

static struct gate *add_disk(const char *vdev, const char *file, bool readonly)
{
	struct disk_options o = { .path = file, .readonly = readonly };
	struct gate *g = calloc(1, sizeof(*g));

	assert_int_equal(disk_file_open(&o, &g->inner, NULL), 0);
	g->disk = *g->inner;
	g->disk.ops = &gate_ops;
	g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->wake_fd, &(struct epoll_event){ .events = EPOLLIN });
	epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->inner->ops->fd(g->inner), &(struct epoll_event){ .events = EPOLLIN });
	assert_int_equal(vbd_add(bus, vdev, &g->disk, file, &g->vbd, NULL), 0);
	return g;
}

static uint8_t byte_of(uint64_t at)
{
	return (uint8_t)(at * 7 + at / BLKIF_SECTOR * 13);
}

static int make_file(char *name)
{
	static uint8_t buf[DISK];
	int fd;

	snprintf(name, sizeof(path), "%s/nidra-vbd-XXXXXX", scratch());
	fd = mkstemp(name);
	for (uint64_t i = 0; i < DISK; i++)
		buf[i] = byte_of(i);
	return fd >= 0 && io_pwrite_full(fd, buf, DISK, 0) == 0 ? fd : -1;
}

static int set_up(bool readonly)
{
	*other_path = '\0';
	file_fd = make_file(path);
	if (file_fd < 0 || frontend_init(&f) || bus_new(f.d, &bus, NULL))
		return -1;
	gate = add_disk("xvda", path, readonly);
	for (unsigned int i = 0; i < PAGES; i++)
		frontend_grant(&f, DATA_REF + i, DATA_GFN + i, GTF_permit_access);
	frontend_grant(&f, TABLE_REF, TABLE_GFN, GTF_permit_access | GTF_readonly);
	bus_offer(bus);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return set_up(false);
}

static int setup_readonly(void **state)
{
	(void)state;
	return set_up(true);
}

static void give_log_back(void)
{
	if (old_stderr < 0)
		return;
	fflush(stderr);
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	old_stderr = -1;
}

static void free_bus(void)
{
	bus_free(bus);
	bus = NULL;
	gate = NULL;
}

static int teardown(void **state)
{
	(void)state;
	give_log_back();
	if (gate)
		open_gate(gate); /* of a test that failed */
	free_bus();
	frontend_fini(&f);
	close(file_fd);
	unlink(path);
	if (*other_path)
		unlink(other_path);
	return 0;
}

/* ---- waiting ---- */

static uint64_t soon(void)
{
	return clock_monotonic_ns() + LIMIT_NS;
}

static char *node(bool front, const char *vdev, const char *key)
{
	char full[128];

	if (front)
		snprintf(full, sizeof(full), "device/vbd/%u/%s", vbd_number(vdev), key);
	else
		snprintf(full, sizeof(full), "/local/domain/0/backend/vbd/%u/%u/%s", FRONT_DOMID, vbd_number(vdev),
			 key);
	return xen_backend_read(f.d, full);
}

static bool is(const char *vdev, const char *key, const char *value)
{
	_cleanup_free_ char *text = node(false, vdev, key);

	return text && !strcmp(text, value);
}

static void assert_node(const char *key, const char *value)
{
	_cleanup_free_ char *text = node(false, "xvda", key);

	assert_non_null(text);
	assert_string_equal(text, value);
}

static bool has_node(const char *key)
{
	_cleanup_free_ char *text = node(false, "xvda", key);

	return text;
}

static void wait_state(const char *vdev, enum xenbus_state s)
{
	char text[4];

	snprintf(text, sizeof(text), "%d", s);
	WAIT(is(vdev, "state", text));
}

/* The disk's thread has looked at all that was there before. */
static void looked(const struct ring *r)
{
	for (int i = 0; i < 2; i++) {
		unsigned int n = gate->passes;

		frontend_send(&f, r->port);
		WAIT(gate->passes != n);
	}
}

/* ---- the frontend ---- */

static void put(const char *vdev, const char *key, const char *value)
{
	char full[64];

	snprintf(full, sizeof(full), "device/vbd/%u/%s", vbd_number(vdev), key);
	assert_true(frontend_write(&f, full, "%s", value));
}

static void put_number(const char *vdev, const char *key, uint32_t n)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", n);
	put(vdev, key, text);
}

static void put_state(const char *vdev, enum xenbus_state s)
{
	put_number(vdev, "state", s);
}

/* A new ring, at the @i-th place. */
static void make_ring(struct ring *r, const char *vdev, unsigned int i)
{
	blkif_sring_t *s = frontend_page(&f, RING_GFN + i);

	*r = (struct ring){ .vdev = vdev, .gfn = RING_GFN + i, .ref = RING_REF + i, .port = frontend_port(&f) };
	SHARED_RING_INIT(s);
	FRONT_RING_INIT(&r->front, s, NIDRA_PAGE_SIZE);
	frontend_grant(&f, r->ref, r->gfn, GTF_permit_access);
}

static void put_ring(const struct ring *r)
{
	put_number(r->vdev, "ring-ref", r->ref);
	put_number(r->vdev, "event-channel", r->port);
	put(r->vdev, "protocol", "x86_64-abi");
	put_state(r->vdev, XenbusStateInitialised);
}

static void connect_ring(struct ring *r, const char *vdev, unsigned int i)
{
	make_ring(r, vdev, i);
	put_ring(r);
	wait_state(vdev, XenbusStateConnected);
	put_state(vdev, XenbusStateConnected);
}

static void close_front(const char *vdev)
{
	put_state(vdev, XenbusStateClosing);
	wait_state(vdev, XenbusStateClosing);
	put_state(vdev, XenbusStateClosed);
	wait_state(vdev, XenbusStateClosed);
	put_state(vdev, XenbusStateInitialising);
	wait_state(vdev, XenbusStateInitWait);
}

static struct blkif_request rw(uint8_t op, uint64_t sector, unsigned int pages)
{
	static uint64_t id = UINT64_C(0x1122334455667700);
	struct blkif_request req = { .operation = op, .nr_segments = (uint8_t)pages, .sector_number = sector };

	req.id = id++;
	for (unsigned int i = 0; i < pages; i++)
		req.seg[i] = (struct blkif_request_segment){ DATA_REF + i, 0, 7 };
	return req;
}

static void ask(struct ring *r, const void *req)
{
	memcpy(RING_GET_REQUEST(&r->front, r->front.req_prod_pvt), req, sizeof(struct blkif_request));
	r->front.req_prod_pvt++;
}

static void push(struct ring *r)
{
	__atomic_store_n(&r->front.sring->req_prod, r->front.req_prod_pvt, __ATOMIC_RELEASE);
	frontend_send(&f, r->port);
}

/* As drivers do it, who are told when an event is wanted. */
static void push_quietly(struct ring *r)
{
	RING_IDX old = r->front.sring->req_prod, now = r->front.req_prod_pvt;

	__atomic_store_n(&r->front.sring->req_prod, now, __ATOMIC_SEQ_CST);
	if (now - __atomic_load_n(&r->front.sring->req_event, __ATOMIC_SEQ_CST) < now - old)
		frontend_send(&f, r->port);
}

static bool answered(struct ring *r)
{
	return __atomic_load_n(&r->front.sring->rsp_prod, __ATOMIC_ACQUIRE) != r->front.rsp_cons;
}

static blkif_response_t response(struct ring *r)
{
	blkif_response_t rsp;

	WAIT(answered(r));
	memcpy(&rsp, RING_GET_RESPONSE(&r->front, r->front.rsp_cons), sizeof(rsp));
	r->front.rsp_cons++;
	return rsp;
}

/* Asks, and waits for the answer to just that. */
static int transfer(struct ring *r, const struct blkif_request *req)
{
	blkif_response_t rsp;

	ask(r, req);
	push(r);
	rsp = response(r);
	assert_int_equal(rsp.id, req->id);
	return rsp.status;
}

static int transfer_rw(struct ring *r, uint8_t op, uint64_t sector, unsigned int pages)
{
	struct blkif_request req = rw(op, sector, pages);

	return transfer(r, &req);
}

static int transfer_indirect(struct ring *r, uint8_t op, uint64_t sector, unsigned int pages)
{
	struct blkif_request_segment *seg = frontend_page(&f, TABLE_GFN);
	struct blkif_request_indirect in = { .operation = BLKIF_OP_INDIRECT,
					     .indirect_op = op,
					     .nr_segments = (uint16_t)pages,
					     .id = 99,
					     .sector_number = sector,
					     .indirect_grefs = { TABLE_REF } };
	struct blkif_request req = { 0 };

	for (unsigned int i = 0; i < pages; i++)
		seg[i] = (struct blkif_request_segment){ DATA_REF + i, 0, 7 };
	memcpy(&req, &in, sizeof(in));
	return transfer(r, &req);
}

static int transfer_discard(struct ring *r, uint64_t sector, uint64_t sectors)
{
	struct blkif_request_discard in = {
		.operation = BLKIF_OP_DISCARD, .id = 98, .sector_number = sector, .nr_sectors = sectors
	};
	struct blkif_request req = { 0 };

	memcpy(&req, &in, sizeof(in));
	return transfer(r, &req);
}

static uint8_t *data(unsigned int page)
{
	return frontend_page(&f, DATA_GFN + page);
}

static void fill(unsigned int page, uint8_t value)
{
	memset(data(page), value, NIDRA_PAGE_SIZE);
}

/* @page has what was in the file at first, from @sector on. */
static void assert_original(unsigned int page, uint64_t sector)
{
	for (unsigned int i = 0; i < NIDRA_PAGE_SIZE; i++)
		assert_int_equal(data(page)[i], byte_of(sector * BLKIF_SECTOR + i));
}

static void assert_file(uint64_t sector, uint64_t sectors, uint8_t value)
{
	uint8_t buf[BLKIF_SECTOR];

	for (uint64_t s = sector; s < sector + sectors; s++) {
		assert_int_equal(io_pread_full(file_fd, buf, sizeof(buf), s * BLKIF_SECTOR), 0);
		for (unsigned int i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], value);
	}
}

/* It does what a disk does. */
static void assert_works(struct ring *r)
{
	fill(0, 0);
	assert_int_equal(transfer_rw(r, BLKIF_OP_READ, SECTORS - 8, 1), BLKIF_RSP_OKAY);
	assert_original(0, SECTORS - 8);
}

/* ---- the log ---- */

static void log_begin(void)
{
	fflush(stderr);
	old_stderr = dup(STDERR_FILENO);
	log_file = tmpfile();
	dup2(fileno(log_file), STDERR_FILENO);
}

static unsigned int log_end(char *buf, size_t size)
{
	unsigned int lines = 0;
	ssize_t n;

	give_log_back();
	n = pread(fileno(log_file), buf, size - 1, 0);
	buf[n > 0 ? n : 0] = '\0';
	fclose(log_file);
	for (const char *p = buf; *p; p++)
		lines += *p == '\n';
	return lines;
}

/* ---- the handshake ---- */

static bool has_event(const struct ring *r)
{
	const shared_info_t *s = gmem_hva(f.m.mem, FRONT_SHARED, sizeof(*s));

	return __atomic_load_n(&s->evtchn_pending[r->port / 64], __ATOMIC_ACQUIRE) >> r->port % 64 & 1;
}

static void test_a_disk_is_offered_and_connected(void **state)
{
	char text[64];

	(void)state;
	assert_node("state", "2");
	assert_node("dev", "xvda");
	assert_node("mode", "w");
	assert_node("feature-flush-cache", "1");
	assert_node("feature-discard", "1");
	assert_node("feature-max-indirect-segments", "256");
	assert_false(has_node("sectors"));
	snprintf(text, sizeof(text), "/local/domain/%u/device/vbd/51712", FRONT_DOMID);
	assert_node("frontend", text);
	connect_ring(&ring, "xvda", 0);
	assert_false(has_event(&ring));
	assert_works(&ring);
	WAIT(has_event(&ring)); /* behind the answer */
	assert_node("sectors", "2048");
	assert_node("sector-size", "512");
	assert_node("info", "0");
	assert_false(has_node("error"));
}

static void test_the_backends_nodes_are_not_the_guests(void **state)
{
	char path_of[128];

	(void)state;
	snprintf(path_of, sizeof(path_of), "/local/domain/0/backend/vbd/%u/51712/state", FRONT_DOMID);
	assert_false(frontend_write(&f, path_of, "4"));
	assert_false(frontend_rm(&f, path_of));
	assert_node("state", "2");
}

static void test_a_frontend_comes_back(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		connect_ring(&ring, "xvda", i);
		assert_works(&ring);
		close_front("xvda");
		frontend_grant(&f, ring.ref, 0, 0);
		frontend_close(&f, ring.port);
	}
}

/* As a driver may that keeps its event channel. */
static void test_a_port_is_used_again(void **state)
{
	uint32_t port;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	port = ring.port;
	close_front("xvda");
	make_ring(&ring, "xvda", 1);
	ring.port = port;
	put_ring(&ring);
	wait_state("xvda", XenbusStateConnected);
	assert_works(&ring);
}

/* The backend takes no notice, says why, and a frontend that comes back with better nodes gets its disk. */
static void assert_refused(const char *why)
{
	_cleanup_free_ char *error = NULL;
	static char text[4096];

	log_begin();
	put_state("xvda", XenbusStateInitialised);
	wait_state("xvda", XenbusStateClosing);
	assert_int_equal(log_end(text, sizeof(text)), 1);
	error = node(false, "xvda", "error");
	assert_non_null(error);
	assert_non_null(strstr(error, why));
	assert_non_null(strstr(text, error));
	assert_non_null(strstr(text, "xvda"));
	close_front("xvda");
}

static void test_rings_that_cannot_be_are_refused(void **state)
{
	(void)state;
	make_ring(&ring, "xvda", 0);
	assert_refused("missing");
	put_number("xvda", "event-channel", ring.port);
	put("xvda", "ring-ref", "eight");
	assert_refused("not a number");
	put("xvda", "ring-ref", "4294967296");
	assert_refused("not a number");
	put("xvda", "ring-ref", "-1");
	assert_refused("not a number");
	put_number("xvda", "ring-ref", UINT32_MAX);
	assert_refused("not granted");
	put_number("xvda", "ring-ref", 7);
	assert_refused("not granted");
	put_number("xvda", "ring-ref", TABLE_REF); /* read-only */
	assert_refused("not granted");
	put_number("xvda", "ring-ref", ring.ref);
	frontend_grant(&f, ring.ref, 0xfeffc, GTF_permit_access); /* no RAM */
	assert_refused("not granted");
	frontend_grant(&f, ring.ref, ring.gfn, GTF_permit_access);
	put("xvda", "ring-ref", "");
	assert_refused("not a number");
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
}

static void test_ports_that_cannot_be_are_refused(void **state)
{
	static const char *const bad[] = { "0", "3999", "4096", "65535" };

	(void)state;
	make_ring(&ring, "xvda", 0);
	put_number("xvda", "ring-ref", ring.ref);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		put("xvda", "event-channel", bad[i]);
		assert_refused("no event channel");
	}
	put("xvda", "event-channel", "65536");
	assert_refused("not a number");
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
}

static bool on_console_event(void *arg)
{
	return arg;
}

/* Or a guest takes its own xenstore and console away for good. */
static void test_the_rings_of_the_toolstack_keep_their_ports(void **state)
{
	(void)state;
	make_ring(&ring, "xvda", 0);
	put_number("xvda", "ring-ref", ring.ref);
	put_number("xvda", "event-channel", XEN_PORT_XENSTORE);
	assert_refused("no event channel");
	assert_int_equal(xen_backend_bind(f.d, XEN_PORT_CONSOLE, on_console_event, NULL), 0);
	put_number("xvda", "event-channel", XEN_PORT_CONSOLE);
	assert_refused("no event channel");
}

static void test_a_protocol_of_others_is_refused(void **state)
{
	static char text[4096];

	(void)state;
	make_ring(&ring, "xvda", 0);
	put_number("xvda", "ring-ref", ring.ref);
	put_number("xvda", "event-channel", ring.port);
	put("xvda", "protocol", "x86_32-abi");
	assert_refused("x86_32-abi");
	put("xvda", "protocol", "\033[2J\nerror: all is lost\n");
	log_begin();
	put_state("xvda", XenbusStateInitialised);
	wait_state("xvda", XenbusStateClosing);
	assert_int_equal(log_end(text, sizeof(text)), 1); /* one line, and of ours */
	assert_null(strchr(text, '\033'));
	close_front("xvda");
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
	assert_false(has_node("error")); /* that was before */
}

static void test_the_number_of_queues_has_limits(void **state)
{
	(void)state;
	put("xvda", "multi-queue-num-queues", "0");
	assert_refused("1 to 4");
	put("xvda", "multi-queue-num-queues", "5");
	assert_refused("1 to 4");
	put("xvda", "multi-queue-num-queues", "many");
	assert_refused("1 to 4");
	put("xvda", "multi-queue-num-queues", "1");
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
}

static void put_queue(const struct ring *r, unsigned int i)
{
	char key[40];

	snprintf(key, sizeof(key), "queue-%u/ring-ref", i);
	put_number(r->vdev, key, r->ref);
	snprintf(key, sizeof(key), "queue-%u/event-channel", i);
	put_number(r->vdev, key, r->port);
}

static void test_four_queues_serve_one_disk(void **state)
{
	struct ring r[4];

	(void)state;
	put("xvda", "multi-queue-num-queues", "4");
	for (unsigned int i = 0; i < 4; i++) {
		make_ring(&r[i], "xvda", i);
		if (i < 3)
			put_queue(&r[i], i);
	}
	put("xvda", "queue-3/ring-ref", "7");
	put("xvda", "queue-3/event-channel", "7");
	assert_refused("queue-3/ring-ref 7");
	put_queue(&r[3], 3); /* the other three are free again */
	put_state("xvda", XenbusStateInitialised);
	wait_state("xvda", XenbusStateConnected);
	for (unsigned int i = 0; i < 4; i++)
		assert_works(&r[i]);
}

static void test_a_frontend_that_changes_its_mind_is_not_logged_for_ever(void **state)
{
	static char text[65536];

	(void)state;
	log_begin();
	for (unsigned int i = 0; i < 50; i++) {
		put_state("xvda", XenbusStateInitialised);
		wait_state("xvda", XenbusStateClosing);
		close_front("xvda");
	}
	assert_in_range(log_end(text, sizeof(text)), 1, 20);
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
}

static void test_states_may_flap(void **state)
{
	static const char *const states[] = {
		"5", "4", "3", "6", "1", "2", "0", "9", "x", "", "5", "6", "3", "1", "4"
	};

	(void)state;
	connect_ring(&ring, "xvda", 0);
	for (unsigned int i = 0; i < 300; i++)
		put("xvda", "state", states[i % ARRAY_SIZE(states)]);
	put_state("xvda", XenbusStateClosing);
	wait_state("xvda", XenbusStateClosing);
	close_front("xvda");
	connect_ring(&ring, "xvda", 1);
	assert_works(&ring);
}

/* ---- requests ---- */

static void test_what_is_written_is_in_the_file(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 100, 3);

	(void)state;
	connect_ring(&ring, "xvda", 0);
	fill(0, 0x11);
	fill(1, 0x22);
	fill(2, 0x33);
	req.seg[1].first_sect = 2;
	req.seg[1].last_sect = 4;
	assert_int_equal(transfer(&ring, &req), BLKIF_RSP_OKAY);
	assert_file(100, 8, 0x11);
	assert_file(108, 3, 0x22);
	assert_file(111, 8, 0x33);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 96, 4), BLKIF_RSP_OKAY);
	assert_int_equal(data(0)[4 * BLKIF_SECTOR - 1], byte_of(100 * BLKIF_SECTOR - 1));
	assert_int_equal(data(0)[4 * BLKIF_SECTOR], 0x11);
	assert_int_equal(data(2)[7 * BLKIF_SECTOR - 1], 0x33);
	assert_int_equal(data(2)[7 * BLKIF_SECTOR], byte_of(119 * BLKIF_SECTOR));
	assert_original(3, 120);
}

static void test_a_read_writes_only_its_sectors(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_READ, 0, 1);

	(void)state;
	connect_ring(&ring, "xvda", 0);
	fill(0, 0xee);
	req.seg[0].first_sect = 3;
	req.seg[0].last_sect = 3;
	assert_int_equal(transfer(&ring, &req), BLKIF_RSP_OKAY);
	assert_int_equal(data(0)[3 * BLKIF_SECTOR - 1], 0xee);
	assert_int_equal(data(0)[4 * BLKIF_SECTOR], 0xee);
	for (unsigned int i = 0; i < BLKIF_SECTOR; i++)
		assert_int_equal(data(0)[3 * BLKIF_SECTOR + i], byte_of(i));
}

static void test_a_flush_reaches_the_disk(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_FLUSH_DISKCACHE, UINT64_MAX, 0), BLKIF_RSP_OKAY);
	assert_int_equal(gate->count[DISK_FLUSH], 1);
	assert_int_equal(gate->count[DISK_WRITE], 0);
	fill(0, 0x44);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_FLUSH_DISKCACHE, 8, 1), BLKIF_RSP_OKAY);
	assert_int_equal(gate->count[DISK_FLUSH], 2);
	assert_int_equal(gate->count[DISK_WRITE], 1);
	assert_int_equal(gate->last, DISK_WRITE); /* the data comes behind */
	assert_file(8, 8, 0x44);
}

static void test_a_discard_leaves_zeros(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(transfer_discard(&ring, 16, 32), BLKIF_RSP_OKAY);
	assert_file(16, 32, 0);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 8, 1), BLKIF_RSP_OKAY);
	assert_original(0, 8);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 48, 1), BLKIF_RSP_OKAY);
	assert_original(0, 48);
	assert_int_equal(transfer_discard(&ring, SECTORS - 1, 2), BLKIF_RSP_ERROR);
}

static void test_indirect_requests_go_through(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(transfer_indirect(&ring, BLKIF_OP_READ, 0, 256), BLKIF_RSP_OKAY);
	for (unsigned int i = 0; i < 256; i += 17)
		assert_original(i, i * 8);
	fill(0, 0x55);
	fill(20, 0x66);
	assert_int_equal(transfer_indirect(&ring, BLKIF_OP_WRITE, 512, 21), BLKIF_RSP_OKAY);
	assert_file(512, 8, 0x55);
	assert_file(512 + 160, 8, 0x66);
	assert_int_equal(transfer_indirect(&ring, BLKIF_OP_READ, 1, 256), BLKIF_RSP_ERROR);
	frontend_grant(&f, TABLE_REF, 0, 0);
	assert_int_equal(transfer_indirect(&ring, BLKIF_OP_READ, 0, 12), BLKIF_RSP_ERROR);
	assert_works(&ring);
}

static void test_nonsense_is_answered(void **state)
{
	struct blkif_request req;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(transfer_rw(&ring, 200, 0, 1), BLKIF_RSP_EOPNOTSUPP);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 0), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, SECTORS, 1), BLKIF_RSP_ERROR);
	req = rw(BLKIF_OP_READ, 0, 1);
	req.seg[0].last_sect = 8;
	assert_int_equal(transfer(&ring, &req), BLKIF_RSP_ERROR);
	for (unsigned int i = 0; i < ARRAY_SIZE(gate->count); i++)
		assert_int_equal(gate->count[i], 0);
	assert_works(&ring);
}

static void test_a_readonly_disk_stays_as_it_is(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_node("mode", "r");
	assert_node("info", "4");
	assert_node("feature-discard", "0");
	assert_node("feature-flush-cache", "0");
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_discard(&ring, 0, 8), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_indirect(&ring, BLKIF_OP_WRITE, 0, 12), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_FLUSH_DISKCACHE, 0, 0), BLKIF_RSP_OKAY);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 1), BLKIF_RSP_OKAY);
	assert_original(0, 0);
}

static void test_full_rings_are_served(void **state)
{
	unsigned int n = RING_SIZE(&ring.front);

	(void)state;
	connect_ring(&ring, "xvda", 0);
	n = RING_SIZE(&ring.front);
	for (unsigned int turn = 0; turn < 8; turn++) {
		for (unsigned int i = 0; i < n; i++) {
			struct blkif_request req = rw(BLKIF_OP_READ, i * 8, 1);

			req.seg[0].gref = DATA_REF + i;
			req.id = turn << 8 | i;
			ask(&ring, &req);
			push_quietly(&ring);
		}
		for (unsigned int i = 0; i < n; i++) {
			blkif_response_t rsp = response(&ring);

			assert_int_equal(rsp.id >> 8, turn);
			assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
		}
	}
	for (unsigned int i = 0; i < n; i++)
		assert_original(i, i * 8);
}

/* ---- pages ---- */

static void test_only_granted_pages_take_part(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	frontend_grant(&f, DATA_REF, DATA_GFN, GTF_permit_access | GTF_readonly);
	fill(0, 0x77);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_OKAY); /* the disk reads it */
	assert_file(0, 8, 0x77);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 8, 1), BLKIF_RSP_ERROR);
	assert_int_equal(data(0)[0], 0x77);
	frontend_grant(&f, DATA_REF, 0, 0);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 1), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 8, 2), BLKIF_RSP_ERROR);
	frontend_grant(&f, DATA_REF, GMEM_XENSTORE_GPA >> 12, GTF_permit_access);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 1), BLKIF_RSP_ERROR);
	frontend_grant(&f, DATA_REF, DATA_GFN, GTF_permit_access);
	assert_int_equal(gate->count[DISK_READ], 0);
	assert_int_equal(gate->count[DISK_WRITE], 1);
	assert_works(&ring);
}

static void test_a_page_that_is_ballooned_out_is_none(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	frontend_balloon_out(&f, DATA_GFN + 1);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 2), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 2), BLKIF_RSP_ERROR);
	assert_int_equal(data(1)[0], 0);
	assert_works(&ring);
}

static void test_wild_indices_end_the_service(void **state)
{
	static char text[4096];

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
	log_begin();
	ring.front.req_prod_pvt += RING_SIZE(&ring.front) + 1;
	push(&ring);
	looked(&ring);
	ring.front.req_prod_pvt -= RING_SIZE(&ring.front) + 1;
	ask(&ring, &(struct blkif_request){ .operation = BLKIF_OP_READ, .nr_segments = 1 });
	push(&ring); /* it makes sense again: too late */
	looked(&ring);
	assert_int_equal(log_end(text, sizeof(text)), 1);
	assert_non_null(strstr(text, "makes no sense"));
	assert_false(answered(&ring));
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	bus_go(bus);
	looked(&ring);
	assert_false(answered(&ring));
	close_front("xvda");
	connect_ring(&ring, "xvda", 1);
	assert_works(&ring);
}

/* Old slots are taken for new requests, and as many as the ring has are under way: no more. */
static void test_indices_that_go_back_do_no_harm(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 1), BLKIF_RSP_OKAY);
	gate->shut = true;
	for (unsigned int i = 0; i < 5; i++) {
		struct blkif_request req = rw(BLKIF_OP_READ, 0, 1);

		ask(&ring, &req);
	}
	push(&ring);
	WAIT(gate->count[DISK_READ] == 10);
	for (unsigned int i = 0; i < RING_SIZE(&ring.front); i++)
		*RING_GET_REQUEST(&ring.front, i) = rw(BLKIF_OP_READ, 0, 1);
	ring.front.req_prod_pvt -= 2;
	push(&ring);
	looked(&ring);
	assert_int_equal(gate->count[DISK_READ], 5 + RING_SIZE(&ring.front));
	open_gate(gate);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	bus_go(bus);
	close_front("xvda");
	connect_ring(&ring, "xvda", 1);
	assert_works(&ring);
}

/* ---- at rest ---- */

static void test_at_rest_nothing_is_taken(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);

	(void)state;
	connect_ring(&ring, "xvda", 0);
	fill(0, 0x88);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	ask(&ring, &req);
	push(&ring);
	looked(&ring);
	assert_int_equal(gate->count[DISK_WRITE], 0);
	assert_false(answered(&ring));
	bus_go(bus); /* looks without an event */
	assert_int_equal(response(&ring).id, req.id);
	assert_file(0, 8, 0x88);
	assert_int_equal(gate->count[DISK_WRITE], 1);
}

static void test_drain_waits_for_what_is_under_way(void **state)
{
	struct err err = { 0 };
	struct blkif_request req = rw(BLKIF_OP_READ, 16, 1);

	(void)state;
	connect_ring(&ring, "xvda", 0);
	gate->shut = true;
	ask(&ring, &req);
	push(&ring);
	WAIT(gate->count[DISK_READ] == 1);
	assert_int_equal(bus_drain(bus, clock_monotonic_ns() + NSEC_PER_MSEC, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "xvda"));
	assert_false(answered(&ring));
	open_gate(gate);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	assert_true(answered(&ring)); /* already */
	assert_int_equal(response(&ring).id, req.id);
	assert_original(0, 16);
}

static void test_at_rest_no_handshake_goes_on(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	put_state("xvda", XenbusStateClosing);
	/* Nobody tells that the bus's thread has looked: this is time enough for one that does not care. */
	for (uint64_t until = clock_monotonic_ns() + 20 * NSEC_PER_MSEC; clock_monotonic_ns() < until; sched_yield())
		assert_node("state", "4");
	bus_go(bus);
	wait_state("xvda", XenbusStateClosing);
}

/* A frontend that closes while its requests take long: the bus waits for them, who drains has a deadline. */
static void test_drain_has_a_deadline_also_while_a_frontend_closes(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_READ, 16, 1);
	unsigned int n;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	gate->shut = true;
	ask(&ring, &req);
	push(&ring);
	WAIT(gate->count[DISK_READ] == 1);
	looked(&ring);
	n = gate->passes;
	put_state("xvda", XenbusStateClosing);
	WAIT(gate->passes != n); /* it is told to finish */
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(bus_drain(bus, clock_monotonic_ns() + NSEC_PER_MSEC, NULL), -ETIMEDOUT);
	open_gate(gate);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	bus_go(bus);
	wait_state("xvda", XenbusStateClosing);
	assert_true(answered(&ring));
}

/* ---- sleeps ---- */

struct image {
	struct bytes_writer state, store;
};

static void save(struct image *i)
{
	memset(i, 0, sizeof(*i));
	assert_int_equal(xen_domain_save(f.d, &i->state, NULL), 0);
	assert_int_equal(xen_domain_save_store(f.d, &i->store, NULL), 0);
}

/* Another monitor: what is in guest memory is all that is left of the rings. */
static void load(struct image *i)
{
	struct bytes_reader in = bytes_reader(i->state.buf, i->state.len);

	free_bus();
	assert_int_equal(xen_domain_reset(f.d, NULL), 0);
	assert_int_equal(bus_new(f.d, &bus, NULL), 0);
	gate = add_disk("xvda", path, false);
	assert_int_equal(xen_domain_load(f.d, &in, NULL), 0);
	in = bytes_reader(i->store.buf, i->store.len);
	assert_int_equal(xen_domain_load_store(f.d, &in, NULL), 0);
	bytes_writer_fini(&i->state);
	bytes_writer_fini(&i->store);
}

static void test_another_monitor_takes_up_what_waited(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);
	struct image i;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	for (unsigned int n = 0; n < 40; n++) /* around the ring */
		assert_works(&ring);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	fill(0, 0x99);
	ask(&ring, &req);
	push(&ring);
	save(&i);
	load(&i);
	assert_int_equal(bus_adopt(bus, NULL), 0);
	looked(&ring);
	assert_int_equal(gate->count[DISK_WRITE], 0); /* the machine stands still */
	bus_go(bus);
	assert_int_equal(response(&ring).id, req.id);
	assert_int_equal(ring.front.rsp_cons, 41);
	assert_file(0, 8, 0x99);
	assert_works(&ring);
	assert_node("state", "4");
}

static void test_another_monitor_goes_on_with_a_handshake(void **state)
{
	struct image i;

	(void)state;
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	make_ring(&ring, "xvda", 0);
	put_ring(&ring);
	save(&i);
	load(&i);
	assert_int_equal(bus_adopt(bus, NULL), 0);
	bus_go(bus);
	wait_state("xvda", XenbusStateConnected);
	assert_works(&ring);
}

/* It has taken its grants back already, and that is no reason not to wake. */
static void test_another_monitor_lets_a_frontend_close(void **state)
{
	struct image i;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	put_state("xvda", XenbusStateClosing);
	frontend_grant(&f, ring.ref, 0, 0);
	save(&i);
	load(&i);
	assert_int_equal(bus_adopt(bus, NULL), 0);
	bus_go(bus);
	wait_state("xvda", XenbusStateClosing);
	close_front("xvda");
	connect_ring(&ring, "xvda", 1);
	assert_works(&ring);
}

static void test_what_cannot_be_adopted_is_closed(void **state)
{
	struct image i;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	frontend_grant(&f, ring.ref, 0, 0);
	save(&i);
	load(&i);
	assert_int_equal(bus_adopt(bus, NULL), 0);
	wait_state("xvda", XenbusStateClosing);
}

static void test_a_new_life_leaves_the_old_ring_alone(void **state)
{
	static uint8_t before[4096];
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);
	struct ring old;

	(void)state;
	connect_ring(&old, "xvda", 0);
	assert_works(&old);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	ask(&old, &req);
	push(&old);
	memcpy(before, old.front.sring, sizeof(before));
	assert_int_equal(xen_domain_reset(f.d, NULL), 0);
	bus_offer(bus);
	assert_node("state", "2");
	for (unsigned int i = 0; i < 2; i++)
		frontend_grant(&f, DATA_REF + i, DATA_GFN + i, GTF_permit_access);
	/* Linux does not wait for state 2. */
	connect_ring(&ring, "xvda", 1);
	assert_int_equal(ring.port, old.port);
	assert_works(&ring);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	bus_go(bus);
	assert_works(&ring);
	assert_memory_equal(old.front.sring, before, sizeof(before));
	assert_int_equal(gate->count[DISK_WRITE], 0);
}

static void test_an_offer_waits_for_what_is_under_way(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);

	(void)state;
	connect_ring(&ring, "xvda", 0);
	gate->shut = true;
	fill(0, 0xaa);
	ask(&ring, &req);
	push(&ring);
	WAIT(gate->count[DISK_WRITE] == 1);
	gate->shut = false; /* the thread is not told, but by the end of its ring */
	bus_offer(bus);
	assert_file(0, 8, 0xaa); /* it is done, and not later */
	connect_ring(&ring, "xvda", 1);
	assert_works(&ring);
}

/* ---- what the next image has to have ---- */

static struct pageset *touched;

static void take_touched(void *arg)
{
	(void)arg;
	gmem_take_touched(f.m.mem, touched);
}

static void collect(void)
{
	xen_backend_locked(f.d, take_touched, NULL);
}

static bool is_touched(uint64_t gfn)
{
	return pageset_has(touched, gfn); /* RAM is at the beginning of it */
}

static void test_pages_that_were_read_into_are_noted(void **state)
{
	(void)state;
	touched = pageset_new(gmem_pages(f.m.mem));
	connect_ring(&ring, "xvda", 0);
	fill(0, 0);
	collect();
	pageset_clear(touched);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 3), BLKIF_RSP_OKAY);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	collect();
	for (unsigned int i = 0; i < 3; i++)
		assert_true(is_touched(DATA_GFN + i));
	assert_false(is_touched(DATA_GFN + 3));
	assert_true(is_touched(ring.gfn));
	bus_go(bus);
	pageset_clear(touched);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 3), BLKIF_RSP_OKAY);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	collect();
	assert_false(is_touched(DATA_GFN));
	assert_true(is_touched(ring.gfn));
	free(touched);
}

static void wait_for_answer(void *arg)
{
	open_gate(gate);
	for (uint64_t until = soon(); !answered(&ring) && clock_monotonic_ns() < until;)
		sched_yield();
	*(bool *)arg = answered(&ring);
}

/*
 * Who copies memory while it runs takes the notes, then copies. So a page is noted behind the last write to it: the
 * answer is in the ring while nobody can make a note.
 */
static void test_the_ring_is_noted_behind_the_last_write(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);
	bool there = false;

	(void)state;
	touched = pageset_new(gmem_pages(f.m.mem));
	connect_ring(&ring, "xvda", 0);
	gate->shut = true;
	ask(&ring, &req);
	push(&ring);
	WAIT(gate->count[DISK_WRITE] == 1);
	looked(&ring);
	collect();
	pageset_clear(touched);
	xen_backend_locked(f.d, wait_for_answer, &there);
	assert_true(there);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	collect();
	assert_true(is_touched(ring.gfn));
	free(touched);
}

/* ---- several disks, and their files ---- */

static void test_two_disks_have_their_own_files(void **state)
{
	struct ring second;
	struct gate *first = gate;
	int fd = make_file(other_path);

	(void)state;
	gate = add_disk("xvdb", other_path, true);
	bus_offer(bus);
	connect_ring(&ring, "xvda", 0);
	connect_ring(&second, "xvdb", 1);
	fill(0, 0xbb);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_OKAY);
	assert_int_equal(transfer_rw(&second, BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_ERROR);
	assert_int_equal(transfer_rw(&second, BLKIF_OP_READ, 0, 1), BLKIF_RSP_OKAY);
	assert_original(0, 0);
	assert_file(0, 8, 0xbb);
	assert_int_equal(first->count[DISK_READ], 0);
	close_front("xvda");
	assert_works(&second);
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
	close(fd);
}

static void test_two_disks_do_not_share_a_port(void **state)
{
	struct ring second;
	int fd = make_file(other_path);

	(void)state;
	add_disk("xvdb", other_path, true);
	bus_offer(bus);
	connect_ring(&ring, "xvda", 0);
	make_ring(&second, "xvdb", 1);
	frontend_close(&f, second.port);
	second.port = ring.port;
	log_begin();
	put_ring(&second);
	wait_state("xvdb", XenbusStateClosing);
	log_end((char[4096]){ 0 }, 4096);
	assert_works(&ring);
	close_front("xvda");
	close_front("xvdb");
	put_ring(&second); /* the first one has let it go */
	wait_state("xvdb", XenbusStateConnected);
	assert_works(&second);
	close(fd);
}

static void test_a_file_has_one_writer_or_readers(void **state)
{
	struct disk_options write = { .path = path }, read = { .path = path, .readonly = true };
	struct disk *a, *b;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(disk_file_open(&write, &a, &err), -EBUSY);
	assert_non_null(strstr(err.msg, path));
	assert_int_equal(disk_file_open(&read, &a, &err), -EBUSY);
	free_bus();
	assert_int_equal(disk_file_open(&read, &a, NULL), 0);
	assert_int_equal(disk_file_open(&read, &b, NULL), 0);
	disk_close(a);
	assert_int_equal(disk_file_open(&write, &a, NULL), -EBUSY);
	disk_close(b);
	assert_int_equal(disk_file_open(&write, &a, NULL), 0);
	disk_close(a);
}

static void test_what_is_no_file_is_no_disk(void **state)
{
	struct disk_options o = { .path = "/dev/null", .readonly = true };
	struct err err = { 0 };
	struct disk *d;

	(void)state;
	assert_int_equal(disk_file_open(&o, &d, &err), -EINVAL);
	o.path = scratch();
	assert_int_equal(disk_file_open(&o, &d, &err), -EINVAL);
	o.path = "/nonexistent/disk";
	assert_int_equal(disk_file_open(&o, &d, &err), -ENOENT);
}

static void test_a_file_that_got_shorter_gives_errors(void **state)
{
	static char text[4096];

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(ftruncate(file_fd, 8192 + 100), 0);
	log_begin();
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 8, 1), BLKIF_RSP_OKAY);
	assert_original(0, 8);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 8, 2), BLKIF_RSP_ERROR); /* half of it is there */
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 1024, 11), BLKIF_RSP_ERROR);
	assert_int_equal(log_end(text, sizeof(text)), 2);
	assert_non_null(strstr(text, path));
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
}

static void test_errors_are_not_logged_for_ever(void **state)
{
	static char text[65536];

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(ftruncate(file_fd, 0), 0);
	log_begin();
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 8, 1), BLKIF_RSP_ERROR);
	assert_in_range(log_end(text, sizeof(text)), 1, 20);
}

static void test_a_file_that_grew_has_a_new_size(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(ftruncate(file_fd, DISK + 1000), 0);
	assert_int_equal(gate->inner->ops->resized(gate->inner, &bytes), 0);
	assert_int_equal(bytes, DISK + BLKIF_SECTOR); /* whole ones */
}

static void test_a_guest_is_told_that_its_disk_grew(void **state)
{
	struct err err = { 0 };

	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, SECTORS, 1), BLKIF_RSP_ERROR);
	assert_int_equal(vbd_resize(gate->vbd, 2 * DISK, NULL), 0);
	assert_node("sectors", "4096");
	assert_node("state", "4");
	assert_int_equal(lseek(file_fd, 0, SEEK_END), 2 * DISK);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 2 * SECTORS - 8, 1), BLKIF_RSP_OKAY);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 2 * SECTORS - 7, 1), BLKIF_RSP_ERROR);
	assert_int_equal(vbd_resize(gate->vbd, DISK, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "shrink"));
	assert_node("sectors", "4096");
	assert_int_equal(ftruncate(file_fd, 3 * DISK), 0); /* somebody else did it */
	assert_int_equal(vbd_resize(gate->vbd, 0, NULL), 0);
	assert_node("sectors", "6144");
	close_front("xvda");
	assert_int_equal(vbd_resize(gate->vbd, 4 * DISK, NULL), 0);
	connect_ring(&ring, "xvda", 1); /* hears of it now */
	assert_node("sectors", "8192");
	assert_works(&ring);
}

static void test_what_a_disk_did_is_counted(void **state)
{
	struct disk_stats s;

	(void)state;
	vbd_get_stats(gate->vbd, &s);
	assert_false(s.connected);
	assert_int_equal(s.bytes, DISK);
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 3), BLKIF_RSP_OKAY);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 2), BLKIF_RSP_OKAY);
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_FLUSH_DISKCACHE, 0, 0), BLKIF_RSP_OKAY);
	assert_int_equal(transfer_discard(&ring, 16, 8), BLKIF_RSP_OKAY);
	vbd_get_stats(gate->vbd, &s);
	assert_true(s.connected);
	assert_int_equal(s.reads, 1);
	assert_int_equal(s.writes, 1);
	assert_int_equal(s.flushes, 1);
	assert_int_equal(s.discards, 1);
	assert_int_equal(s.errors, 0);
	assert_int_equal(s.read_bytes, 3 * NIDRA_PAGE_SIZE);
	assert_int_equal(s.written_bytes, 2 * NIDRA_PAGE_SIZE);
	assert_int_equal(ftruncate(file_fd, 0), 0);
	log_begin();
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_READ, 0, 1), BLKIF_RSP_ERROR);
	log_end((char[4096]){ 0 }, 4096);
	vbd_get_stats(gate->vbd, &s);
	assert_int_equal(s.errors, 1);
	assert_int_equal(s.read_bytes, 3 * NIDRA_PAGE_SIZE);
}

static void test_names_have_linux_numbers(void **state)
{
	static const char *const bad[] = { "",
					   "x",
					   "xvd",
					   "xvd1",
					   "xvdA",
					   "xvdaa",
					   "xvda0",
					   "xvda16",
					   "xvda1x",
					   "xvda-1",
					   "sda",
					   "xvda 1",
					   "xvda99999999999999999999" };

	(void)state;
	assert_int_equal(vbd_number("xvda"), 51712);
	assert_int_equal(vbd_number("xvdb"), 51728);
	assert_int_equal(vbd_number("xvda15"), 51727);
	assert_int_equal(vbd_number("xvdp"), 51712 + 15 * 16);
	assert_int_equal(vbd_number("xvdq"), 268439552);
	assert_int_equal(vbd_number("xvdz1"), (1 << 28) + 25 * 256 + 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vbd_number(bad[i]), 0);
}

/* ---- what fails ---- */

static atomic_uint changes;

static void on_changed(void *arg)
{
	(void)arg;
	changes++;
}

static bool stalls(void)
{
	struct disk_stats s;

	vbd_get_stats(gate->vbd, &s);
	return s.stalled_ns;
}

static int go_on(void *arg, struct err *err)
{
	return arg && clock_monotonic_ns() > *(uint64_t *)arg ? err_set(err, -ETIMEDOUT, "too late") : 0;
}

static void test_what_stalls_is_tried_again_until_it_works(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);
	static char text[4096];
	struct disk_stats s;

	(void)state;
	vbd_on_error(gate->vbd, DISK_ON_ERROR_STALL, on_changed, NULL);
	changes = 0;
	connect_ring(&ring, "xvda", 0);
	log_begin();
	fill(0, 0x77);
	gate->fails = EIO;
	ask(&ring, &req);
	push(&ring);
	WAIT(stalls());
	vbd_get_stats(gate->vbd, &s);
	assert_string_equal(s.trouble, strerror(EIO));
	WAIT(gate->count[DISK_WRITE] >= 3);
	assert_false(answered(&ring));
	gate->fails = 0;
	assert_int_equal(response(&ring).status, BLKIF_RSP_OKAY);
	assert_file(0, 8, 0x77);
	WAIT(!stalls());
	assert_int_equal(changes, 2);
	vbd_get_stats(gate->vbd, &s);
	assert_int_equal(s.errors, 0);
	assert_int_equal(log_end(text, sizeof(text)), 2);
	assert_non_null(strstr(text, "xvda"));
	assert_non_null(strstr(text, "stalls: Input/output error"));
	assert_non_null(strstr(text, "works again"));
}

static void assert_told(int error, enum disk_on_error on_error)
{
	vbd_on_error(gate->vbd, on_error, NULL, NULL);
	gate->fails = error;
	log_begin();
	assert_int_equal(transfer_rw(&ring, BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_ERROR);
	log_end((char[4096]){ 0 }, 4096);
	assert_false(stalls());
	gate->fails = 0;
}

static void assert_kept(int error, enum disk_on_error on_error)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);

	vbd_on_error(gate->vbd, on_error, NULL, NULL);
	gate->fails = error;
	log_begin();
	ask(&ring, &req);
	push(&ring);
	WAIT(stalls());
	assert_false(answered(&ring));
	gate->fails = 0;
	assert_int_equal(response(&ring).status, BLKIF_RSP_OKAY);
	WAIT(!stalls());
	log_end((char[4096]){ 0 }, 4096);
}

static void test_what_is_done_with_an_error_is_said_by_who_configures(void **state)
{
	(void)state;
	connect_ring(&ring, "xvda", 0);
	assert_told(ENOSPC, DISK_ON_ERROR_REPORT);
	assert_told(ENOTCONN, DISK_ON_ERROR_REPORT);
	assert_told(EIO, DISK_ON_ERROR_AUTO);
	assert_told(EINVAL, DISK_ON_ERROR_STALL); /* the guest's own fault: it would be so for ever */
	assert_kept(ENOSPC, DISK_ON_ERROR_AUTO);
	assert_kept(EDQUOT, DISK_ON_ERROR_AUTO);
	assert_kept(ENOTCONN, DISK_ON_ERROR_AUTO);
	assert_kept(EIO, DISK_ON_ERROR_STALL);
}

static void test_drain_names_the_disk_that_stalls(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);
	struct err err = { 0 };

	(void)state;
	connect_ring(&ring, "xvda", 0);
	log_begin();
	gate->fails = ENOSPC;
	ask(&ring, &req);
	push(&ring);
	WAIT(stalls());
	assert_int_equal(bus_drain(bus, clock_monotonic_ns() + NSEC_PER_MSEC, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "xvda"));
	assert_non_null(strstr(err.msg, "No space left"));
	assert_int_equal(vbd_sync(gate->vbd, go_on, NULL, &err), -EBUSY);
	assert_int_equal(vbd_check(gate->vbd, NULL), -EBUSY);
	bus_go(bus); /* it runs on, */
	gate->fails = 0;
	assert_int_equal(response(&ring).status, BLKIF_RSP_OKAY); /* and so does its disk */
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	assert_int_equal(vbd_check(gate->vbd, NULL), 0);
	log_end((char[4096]){ 0 }, 4096);
}

static void test_what_stalls_does_not_outlive_its_ring(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_WRITE, 0, 1);
	unsigned int n;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	log_begin();
	fill(0, 0x78);
	gate->fails = ENOSPC;
	ask(&ring, &req);
	push(&ring);
	WAIT(stalls());
	close_front("xvda");
	WAIT(!stalls());
	gate->fails = 0;
	n = gate->count[DISK_WRITE];
	connect_ring(&ring, "xvda", 1);
	assert_works(&ring);
	assert_int_equal(gate->count[DISK_WRITE], n);
	log_end((char[4096]){ 0 }, 4096);
}

/* The bus's lock is had by nobody who waits for a disk. */
static void test_a_disk_that_hangs_holds_nobody_up(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_READ, 16, 1);
	struct ring second;
	int fd = make_file(other_path);
	struct gate *hung = gate;

	(void)state;
	gate = add_disk("xvdb", other_path, false);
	bus_offer(bus);
	connect_ring(&ring, "xvda", 0);
	hung->shut = true;
	ask(&ring, &req);
	push(&ring);
	WAIT(hung->count[DISK_READ] == 1);
	put_state("xvda", XenbusStateClosing);
	for (unsigned int i = 0; i < 100; i++)
		bus_go(bus);
	assert_int_equal(vbd_resize(hung->vbd, 0, NULL), 0);
	connect_ring(&second, "xvdb", 1);
	assert_works(&second);
	assert_node("state", "4"); /* the frontend waits, as it should */
	gate = hung;
	open_gate(hung);
	wait_state("xvda", XenbusStateClosing);
	close_front("xvda");
	connect_ring(&ring, "xvda", 0);
	assert_works(&ring);
	close(fd);
}

/* Also one that did not wait for us: what it closed is closed first. */
static bool has_frontend(void)
{
	struct disk_stats s;

	vbd_get_stats(gate->vbd, &s);
	return s.connected;
}

static void test_a_frontend_that_closes_and_connects_gets_a_new_ring(void **state)
{
	struct blkif_request req = rw(BLKIF_OP_READ, 16, 1);
	struct ring next;

	(void)state;
	connect_ring(&ring, "xvda", 0);
	gate->shut = true;
	ask(&ring, &req);
	push(&ring);
	WAIT(gate->count[DISK_READ] == 1);
	put_state("xvda", XenbusStateClosing);
	WAIT(!has_frontend());
	bus_go(bus); /* which is not for who closes */
	looked(&ring);
	put_state("xvda", XenbusStateInitialising);
	make_ring(&next, "xvda", 1);
	open_gate(gate);
	wait_state("xvda", XenbusStateClosing);
	put_state("xvda", XenbusStateClosed);
	wait_state("xvda", XenbusStateClosed);
	put_state("xvda", XenbusStateInitialising);
	wait_state("xvda", XenbusStateInitWait);
	put_ring(&next);
	wait_state("xvda", XenbusStateConnected);
	assert_works(&next);
}

static void test_a_machine_ends_though_its_disk_hangs(void **state)
{
	static struct vbd *left; /* what hangs refers to it for ever, and that is no leak */
	struct blkif_request req = rw(BLKIF_OP_READ, 16, 1);
	uint64_t begin = clock_monotonic_ns();

	(void)state;
	left = gate->vbd;
	connect_ring(&ring, "xvda", 0);
	gate->shut = true;
	ask(&ring, &req);
	push(&ring);
	WAIT(gate->count[DISK_READ] == 1);
	assert_false(bus_free(bus)); /* somebody may still write to its memory */
	bus = NULL;
	gate = NULL;
	assert_true(clock_monotonic_ns() - begin < 10 * NSEC_PER_SEC);
	assert_non_null(left);
	forgotten->done(forgotten, 0); /* so late that nobody cares */
}

static void test_sync_is_a_flush_that_somebody_waits_for(void **state)
{
	uint64_t past = 0;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(vbd_sync(gate->vbd, go_on, NULL, NULL), 0); /* without a frontend */
	assert_int_equal(gate->count[DISK_SYNC], 1);
	connect_ring(&ring, "xvda", 0);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
	assert_int_equal(vbd_sync(gate->vbd, go_on, NULL, NULL), 0); /* at rest */
	assert_int_equal(gate->count[DISK_SYNC], 2);
	gate->fails = EIO;
	assert_int_equal(vbd_sync(gate->vbd, go_on, NULL, &err), -EIO);
	assert_non_null(strstr(err.msg, path));
	gate->fails = 0;
	gate->shut = true;
	assert_int_equal(vbd_sync(gate->vbd, go_on, &past, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.msg, "xvda"));
	open_gate(gate);
	assert_int_equal(vbd_sync(gate->vbd, go_on, NULL, NULL), 0);
	assert_int_equal(bus_drain(bus, soon(), NULL), 0);
}

static void test_what_we_read_ourselves_is_waited_for(void **state)
{
	static uint8_t buf[NIDRA_PAGE_SIZE];
	uint64_t past = 0;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(vbd_read(gate->vbd, buf, sizeof(buf), 512, go_on, NULL, NULL), 0);
	for (unsigned int i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], byte_of(512 + i));
	gate->fails = EIO;
	assert_int_equal(vbd_read(gate->vbd, buf, sizeof(buf), 0, go_on, NULL, &err), -EIO);
	assert_non_null(strstr(err.msg, path));
	gate->fails = 0;
	gate->shut = true;
	assert_int_equal(vbd_read(gate->vbd, buf, sizeof(buf), 0, go_on, &past, NULL), -ETIMEDOUT);
	open_gate(gate);
	assert_int_equal(vbd_read(gate->vbd, buf, 512, DISK - 512, go_on, NULL, NULL), 0);
	assert_int_equal(buf[511], byte_of(DISK - 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_disk_is_offered_and_connected),
		TEST(test_the_backends_nodes_are_not_the_guests),
		TEST(test_a_frontend_comes_back),
		TEST(test_a_port_is_used_again),
		TEST(test_rings_that_cannot_be_are_refused),
		TEST(test_ports_that_cannot_be_are_refused),
		TEST(test_the_rings_of_the_toolstack_keep_their_ports),
		TEST(test_a_protocol_of_others_is_refused),
		TEST(test_the_number_of_queues_has_limits),
		TEST(test_four_queues_serve_one_disk),
		TEST(test_a_frontend_that_changes_its_mind_is_not_logged_for_ever),
		TEST(test_states_may_flap),
		TEST(test_what_is_written_is_in_the_file),
		TEST(test_a_read_writes_only_its_sectors),
		TEST(test_a_flush_reaches_the_disk),
		TEST(test_a_discard_leaves_zeros),
		TEST(test_indirect_requests_go_through),
		TEST(test_nonsense_is_answered),
		cmocka_unit_test_setup_teardown(test_a_readonly_disk_stays_as_it_is, setup_readonly, teardown),
		TEST(test_full_rings_are_served),
		TEST(test_only_granted_pages_take_part),
		TEST(test_a_page_that_is_ballooned_out_is_none),
		TEST(test_wild_indices_end_the_service),
		TEST(test_indices_that_go_back_do_no_harm),
		TEST(test_at_rest_nothing_is_taken),
		TEST(test_drain_waits_for_what_is_under_way),
		TEST(test_at_rest_no_handshake_goes_on),
		TEST(test_drain_has_a_deadline_also_while_a_frontend_closes),
		TEST(test_another_monitor_takes_up_what_waited),
		TEST(test_another_monitor_goes_on_with_a_handshake),
		TEST(test_another_monitor_lets_a_frontend_close),
		TEST(test_what_cannot_be_adopted_is_closed),
		TEST(test_a_new_life_leaves_the_old_ring_alone),
		TEST(test_an_offer_waits_for_what_is_under_way),
		TEST(test_pages_that_were_read_into_are_noted),
		TEST(test_the_ring_is_noted_behind_the_last_write),
		TEST(test_two_disks_have_their_own_files),
		TEST(test_two_disks_do_not_share_a_port),
		TEST(test_a_file_has_one_writer_or_readers),
		TEST(test_what_is_no_file_is_no_disk),
		TEST(test_a_file_that_got_shorter_gives_errors),
		TEST(test_errors_are_not_logged_for_ever),
		TEST(test_a_file_that_grew_has_a_new_size),
		TEST(test_a_guest_is_told_that_its_disk_grew),
		TEST(test_what_a_disk_did_is_counted),
		TEST(test_what_stalls_is_tried_again_until_it_works),
		TEST(test_what_is_done_with_an_error_is_said_by_who_configures),
		TEST(test_drain_names_the_disk_that_stalls),
		TEST(test_what_stalls_does_not_outlive_its_ring),
		TEST(test_a_disk_that_hangs_holds_nobody_up),
		TEST(test_a_frontend_that_closes_and_connects_gets_a_new_ring),
		TEST(test_a_machine_ends_though_its_disk_hangs),
		TEST(test_sync_is_a_flush_that_somebody_waits_for),
		TEST(test_what_we_read_ourselves_is_waited_for),
		cmocka_unit_test(test_names_have_linux_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
