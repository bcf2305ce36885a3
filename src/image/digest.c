/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests are XXH3-128: they find damage, at memory speed. They are no defence against somebody who
 * forges an image; an image from a stranger is as hostile as a guest, and is treated so.
 */
#include <string.h>

#include <xxh_x86dispatch.h> /* XXH3_128bits() by the widest vectors that this CPU has */

#include "image/internal.h"

struct image_digest image_digest(const void *buf, size_t len)
{
	XXH128_canonical_t c;
	struct image_digest d;

	XXH128_canonicalFromHash(&c, XXH3_128bits(buf, len));
	memcpy(d.b, c.digest, sizeof(d.b));
	return d;
}

struct image_digest image_record_digest(const struct image_record *head, const void *body)
{
	XXH3_state_t *state = XXH3_createState();
	struct image_digest d = { { 0 } };
	XXH128_canonical_t c;

	if (!state)
		return d; /* matches nothing: the record is refused */
	XXH3_128bits_reset(state);
	XXH3_128bits_update(state, head, offsetof(struct image_record, digest));
	XXH3_128bits_update(state, body, head->len);
	XXH128_canonicalFromHash(&c, XXH3_128bits_digest(state));
	memcpy(d.b, c.digest, sizeof(d.b));
	XXH3_freeState(state);
	return d;
}

bool image_digest_equal(const struct image_digest *a, const struct image_digest *b)
{
#ifdef NIDRA_FUZZING /* a fuzzer cannot guess digests; let it behind them */
	(void)a;
	(void)b;
	return true;
#else
	return !memcmp(a, b, sizeof(*a));
#endif
}
