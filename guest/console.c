/* SPDX-License-Identifier: Apache-2.0 */
/* The console ring. Before it is there, and in exceptions, HYPERVISOR_console_io or port 0xe9. */
#include "kit.h"

#include <xen/hvm/params.h>
#include <xen/io/console.h>
#include <xen/sched.h>

static struct xencons_interface *ring;
static evtchn_port_t port;
static bool have_xen;

void console_init(void)
{
	have_xen = true;
	ring = (struct xencons_interface *)((uint64_t)event_param(HVM_PARAM_CONSOLE_PFN) << 12);
	port = event_param(HVM_PARAM_CONSOLE_EVTCHN);
}

void console_reconnect(void)
{
	port = event_param(HVM_PARAM_CONSOLE_EVTCHN);
}

static void put(const char *s, size_t n)
{
	while (n) {
		uint32_t prod = ring->out_prod, used = prod - ring->out_cons;

		if (used >= sizeof(ring->out)) {
			event_send(port);
			HCALL(__HYPERVISOR_sched_op, SCHEDOP_yield, 0);
			continue;
		}
		ring->out[prod & (sizeof(ring->out) - 1)] = *s++;
		n--;
		barrier();
		ring->out_prod = prod + 1;
	}
	event_send(port);
}

void print(const char *fmt, ...)
{
	char buf[512];
	__builtin_va_list ap;
	size_t n;

	__builtin_va_start(ap, fmt);
	n = (size_t)format(buf, sizeof(buf), fmt, ap);
	__builtin_va_end(ap);
	if (ring)
		put(buf, n);
	else if (have_xen)
		hypercall(__HYPERVISOR_console_io, 0, n, (uint64_t)buf);
	else
		for (size_t i = 0; i < n; i++)
			outb(0xe9, (uint8_t)buf[i]);
}

bool console_line(char *buf, size_t size)
{
	static char line[256];
	static size_t len;

	while (ring->in_cons != ring->in_prod) {
		char c = ring->in[ring->in_cons & (sizeof(ring->in) - 1)];

		barrier();
		ring->in_cons++;
		if (c != '\n' && c != '\r') {
			if (len < sizeof(line) - 1)
				line[len++] = c;
			continue;
		}
		event_send(port); /* there is room again */
		line[len] = 0;
		memcpy(buf, line, len + 1 < size ? len + 1 : size);
		buf[size - 1] = 0;
		len = 0;
		if (*buf)
			return true;
	}
	return false;
}
