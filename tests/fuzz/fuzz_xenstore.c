/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The xenstore's guest side. The first byte chooses: a guest's bytes straight in, the same through
 * the ring with indices of the guest's choice, or a saved state that somebody altered, which a
 * guest then goes on with.
 */
#include <stdint.h>
#include <string.h>
#include <xen/io/xs_wire.h>

#include "xen/store/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void drain(struct xs *xs)
{
	uint8_t out[1024];

	while (xs_output(xs, out, sizeof(out)))
		;
}

static void input(struct xs *xs, const uint8_t *data, size_t len)
{
	while (len) {
		size_t taken = xs_input(xs, data, len);

		if (xs_broken(xs))
			return;
		drain(xs);
		data += taken;
		len -= taken;
	}
}

/* Pieces of up to 255 bytes; a piece of no bytes is eight that overwrite the indices. */
static void ring(struct xs *xs, const uint8_t *data, size_t len)
{
	static struct xenstore_domain_interface page;

	xs_ring_reset(&page);
	while (len > 1) {
		size_t n = *data++;

		len--;
		if (!n) {
			n = len < 16 ? len : 16;
			memcpy(&page.req_cons, data, n);
		} else {
			n = n < len ? n : len;
			for (size_t i = 0; i < n; i++)
				page.req[(page.req_prod + i) % XENSTORE_RING_SIZE] = (char)data[i];
			page.req_prod += (uint32_t)n;
		}
		data += n;
		len -= n;
		xs_ring_process(xs, &page);
		if (page.rsp_prod - page.rsp_cons <= XENSTORE_RING_SIZE)
			page.rsp_cons = page.rsp_prod;
	}
}

/* What was saved must load, whatever happened before. */
static struct xs *again(struct xs *xs)
{
	_cleanup_bytes_ struct bytes_writer w = { 0 };
	struct xs *woken = NULL;
	struct bytes_reader r;

	xs_transactions_stale(xs);
	xs_save(xs, &w);
	xs_free(xs);
	r = bytes_reader(w.buf, w.len);
	if (xs_load(&r, &woken, NULL))
		__builtin_trap();
	return woken;
}

static struct xs *fresh(void)
{
	struct xs *xs = NULL;

	if (xs_new(7, &xs, NULL))
		__builtin_trap();
	xs_write(xs, "/local/domain/7", "%s", "");
	xs_set_perms(xs, "/local/domain/7", "n7");
	xs_write(xs, "/local/domain/7/name", "fuzz");
	xs_set_perms(xs, "/local/domain/7/name", "r0");
	return xs;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t zeros[64];
	struct xs *xs = NULL;
	struct bytes_reader r;

	if (!len)
		return 0;
	switch (*data % 3) {
	case 0:
		xs = fresh();
		input(xs, data + 1, len - 1);
		break;
	case 1:
		xs = fresh();
		ring(xs, data + 1, len - 1);
		break;
	default:
		r = bytes_reader(data + 1, len - 1);
		if (xs_load(&r, &xs, NULL))
			return 0;
		xs_write(xs, "/local/domain/7/control/shutdown", "suspend");
	}
	xs = again(xs);
	input(xs, zeros, sizeof(zeros));
	drain(xs);
	xs_free(xs);
	return 0;
}
