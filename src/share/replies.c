/* SPDX-License-Identifier: Apache-2.0 */
#include "share/replies.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC	0x6572616873726964 /* "nidshare" */
#define VERSION 1

struct answer {
	uint8_t hash[REPLIES_HASH];
	uint32_t len; /* 0: none; set last, so that an end in the middle leaves none */
	uint8_t bytes[REPLIES_ANSWER];
};

/* Little-endian, as hosts are. The hashes have the requests' numbers in them. */
struct stored {
	uint64_t magic;
	uint32_t version, next;
	uint8_t key[REPLIES_KEY];
	struct answer answer[REPLIES_ANSWERS];
};

_Static_assert(sizeof(struct stored) == 48 + REPLIES_ANSWERS * 476, "docs/image-format.md");

struct replies {
	struct stored *stored;
};

static int make(struct stored *s)
{
	randombytes_buf(s->key, sizeof(s->key));
	s->version = VERSION;
	s->magic = MAGIC;
	return 0;
}

/* It came with an image, perhaps. */
static int check(const struct stored *s)
{
	if (s->magic != MAGIC || s->version != VERSION || s->next >= REPLIES_ANSWERS)
		return -EBADMSG;
	for (int i = 0; i < REPLIES_ANSWERS; i++)
		if (s->answer[i].len > REPLIES_ANSWER)
			return -EBADMSG;
	return 0;
}

static int map(int fd, struct stored **ret)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size && st.st_size != sizeof(**ret))
		return -EBADMSG;
	if (!st.st_size && ftruncate(fd, sizeof(**ret)) < 0)
		return -errno;
	p = mmap(NULL, sizeof(**ret), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return st.st_size ? check(p) : make(p);
}

int replies_new(int fd, struct replies **ret)
{
	_cleanup_(replies_freep) struct replies *r = calloc(1, sizeof(*r));
	int ret_code;

	if (!r || sodium_init() < 0)
		return -ENOMEM;
	ret_code = map(fd, &r->stored);
	if (ret_code < 0)
		return ret_code;
	*ret = take_ptr(r);
	return 0;
}

void replies_free(struct replies *r)
{
	if (r && r->stored)
		munmap(r->stored, sizeof(*r->stored));
	free(r);
}

const uint8_t *replies_key(const struct replies *r)
{
	return r->stored->key;
}

void replies_hash(const void *request, size_t len, uint8_t ret[REPLIES_HASH])
{
	crypto_generichash(ret, REPLIES_HASH, request, len, NULL, 0);
}

const uint8_t *replies_find(const struct replies *r, const uint8_t hash[REPLIES_HASH], size_t *ret_len)
{
	for (int i = 0; i < REPLIES_ANSWERS; i++) {
		const struct answer *a = &r->stored->answer[i];

		if (!a->len || memcmp(a->hash, hash, REPLIES_HASH))
			continue;
		*ret_len = a->len;
		return a->bytes;
	}
	return NULL;
}

void replies_add(struct replies *r, const uint8_t hash[REPLIES_HASH], const void *answer, size_t len)
{
	struct answer *a = &r->stored->answer[r->stored->next];

	if (len > REPLIES_ANSWER)
		return;
	a->len = 0;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(a->hash, hash, REPLIES_HASH);
	memcpy(a->bytes, answer, len);
	atomic_signal_fence(memory_order_seq_cst);
	a->len = (uint32_t)len;
	r->stored->next = (r->stored->next + 1) % REPLIES_ANSWERS;
}
