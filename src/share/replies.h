/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server has to know of its past: the key of its file handles, and its last answers to requests that must not be
 * done twice. A client that wakes sends again what it had no answer to; what was done already is not done anew, but
 * answered as before.
 *
 * It lives in a memfd that nidra-monitor made: so it outlives this process, and goes into images as it is.
 */
#ifndef NIDRA_SHARE_REPLIES_H
#define NIDRA_SHARE_REPLIES_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define REPLIES_HASH	16
#define REPLIES_KEY	32
#define REPLIES_ANSWERS 256
#define REPLIES_ANSWER	456 /* bytes of the longest that is kept; all of those requests have shorter ones */

struct replies;

/* Maps @fd, and makes it a new one if it is empty. -EBADMSG: it is something else. */
int replies_new(int fd, struct replies **ret);
void replies_free(struct replies *r);
DEFINE_CLEANUP(struct replies *, replies_free)

const uint8_t *replies_key(const struct replies *r);

void replies_hash(const void *request, size_t len, uint8_t ret[REPLIES_HASH]);
/* NULL: this request is new. */
const uint8_t *replies_find(const struct replies *r, const uint8_t hash[REPLIES_HASH], size_t *ret_len);
/* In place of the oldest. */
void replies_add(struct replies *r, const uint8_t hash[REPLIES_HASH], const void *answer, size_t len);

#endif
