/* SPDX-License-Identifier: Apache-2.0 */
/* xenstore: one request at a time; watch events that come in between are kept. */
#include "kit.h"

#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>

#define EVENTS 64 /* all that one change of 32 CPUs makes */
#define RING   XENSTORE_RING_SIZE

static struct xenstore_domain_interface *ring;
static evtchn_port_t port;
static char events[EVENTS][128];
static unsigned int event_in, event_out;
static char reply[XENSTORE_PAYLOAD_MAX + 1];

void xenbus_init(void)
{
	ring = (struct xenstore_domain_interface *)((uint64_t)event_param(HVM_PARAM_STORE_PFN) << 12);
	port = event_param(HVM_PARAM_STORE_EVTCHN);
}

void xenbus_reconnect(void)
{
	port = event_param(HVM_PARAM_STORE_EVTCHN);
	event_in = event_out = 0;
}

static void put(const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		if (ring->req_prod - ring->req_cons == RING) {
			event_send(port);
			continue;
		}
		ring->req[ring->req_prod & (RING - 1)] = *p++;
		barrier();
		ring->req_prod++;
		n--;
	}
}

static void get(void *data, size_t n)
{
	char *p = data;

	while (n) {
		if (ring->rsp_prod == ring->rsp_cons) {
			wait_for_interrupt();
			continue;
		}
		*p++ = ring->rsp[ring->rsp_cons & (RING - 1)];
		barrier();
		ring->rsp_cons++;
		n--;
	}
}

static void keep_event(const char *path)
{
	char *to = events[event_in % EVENTS];
	size_t n = strlen(path);

	if (event_in - event_out == EVENTS)
		return;
	memcpy(to, path, n < 127 ? n + 1 : 127);
	to[127] = 0;
	event_in++;
}

/* One message from the ring; its payload is in reply[]. */
static struct xsd_sockmsg receive(void)
{
	struct xsd_sockmsg head;

	get(&head, sizeof(head));
	get(reply, head.len <= XENSTORE_PAYLOAD_MAX ? head.len : 0);
	reply[head.len <= XENSTORE_PAYLOAD_MAX ? head.len : 0] = 0;
	event_send(port);
	return head;
}

/* Length of the reply, or negative: an error, whose name is the reply. */
static int request(uint32_t type, uint32_t tx, const char *a, size_t an, const char *b, size_t bn)
{
	static uint32_t id;
	struct xsd_sockmsg head = { .type = type, .req_id = ++id, .tx_id = tx, .len = (uint32_t)(an + bn) };

	put(&head, sizeof(head));
	put(a, an);
	put(b, bn);
	event_send(port);
	for (;;) {
		struct xsd_sockmsg r = receive();

		if (r.type == XS_WATCH_EVENT)
			keep_event(reply);
		else if (r.req_id == id)
			return r.type == XS_ERROR ? -(int)r.len : (int)r.len;
	}
}

int xenbus_read(const char *path, char *value, size_t size, uint32_t tx)
{
	int n = request(XS_READ, tx, path, strlen(path) + 1, NULL, 0);
	size_t len = (size_t)(n < 0 ? -n : n);

	memcpy(value, reply, len < size ? len : size - 1);
	value[len < size ? len : size - 1] = 0;
	return n < 0 ? n : 0;
}

int xenbus_write(const char *path, const char *value, uint32_t tx)
{
	return request(XS_WRITE, tx, path, strlen(path) + 1, value, strlen(value));
}

int xenbus_watch(const char *path, const char *token)
{
	return request(XS_WATCH, 0, path, strlen(path) + 1, token, strlen(token) + 1);
}

uint32_t xenbus_begin(void)
{
	return request(XS_TRANSACTION_START, 0, "", 1, NULL, 0) > 0 ? (uint32_t)to_number(reply) : 0;
}

bool xenbus_end(uint32_t tx, bool commit)
{
	return request(XS_TRANSACTION_END, tx, commit ? "T" : "F", 2, NULL, 0) >= 0;
}

bool xenbus_event(char *path, size_t size)
{
	while (ring->rsp_prod != ring->rsp_cons)
		if (receive().type == XS_WATCH_EVENT)
			keep_event(reply);
	if (event_in == event_out)
		return false;
	memcpy(path, events[event_out++ % EVENTS], size < 128 ? size : 128);
	return true;
}

/* For misbehave.c: indices and messages that make no sense. */
void xenbus_garbage(void)
{
	struct xsd_sockmsg head = { .type = 0xdead, .len = 0xffffffff };
	uint32_t prod = ring->req_prod, cons = ring->req_cons;

	ring->req_prod = cons + 0x12345678;
	event_send(port);
	ring->req_prod = prod;
	ring->rsp_cons += 0x80000000;
	event_send(port);
	ring->rsp_cons -= 0x80000000;
	put(&head, sizeof(head));
	event_send(port);
}
