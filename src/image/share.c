/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages are told apart by 128 bits, and what is equal is not compared again: the first one is packed in
 * a file by then, or was a guest's that runs. So the guest must not find two pages that only look equal.
 *
 * A fast digest (XXH3, seeded or not) has such pairs, and they can be computed. A fingerprint is a value of
 * universal hashes, under keys that are drawn for each image and leave this process as little as the
 * fingerprints do. First NH (Black, Halevi, Krawczyk, Krovetz, Rogaway: UMAC, CRYPTO 1999) with words of 64 bits,
 * twice, the second time with the key shifted by two words: two different pages that were chosen without knowing
 * the key have equal values with a probability of at most 2^-128. Then Poly1305 of these 32 bytes: 2^-102.
 * Whoever chose them, and with whatever computer. 16 GiB have 2^43 pairs of pages: at most 2^-58 that any of them
 * meets. NH is a multiplication for every 16 bytes, so it costs little more than reading the page.
 *
 * The table forgets: it has a fixed size, and in a full bucket somebody has to go. A page that was
 * forgotten is stored again.
 */
#include "image/share.h"

#include <sodium.h>
#include <string.h>

#define ENTRIES_MIN (UINT64_C(1) << 10)
#define ENTRIES_MAX (UINT64_C(1) << 20) /* of 24 bytes */
#define WAYS	    8u			/* entries of a bucket */
#define LOCKS	    64u

struct entry {
	struct image_fingerprint print;
	image_place place; /* PLACE_NONE: free */
	uint32_t uses;
};

#define WORDS	 (IMAGE_ALIGN / sizeof(uint64_t))
#define NH_SHIFT 2u

struct image_share {
	uint8_t key[crypto_onetimeauth_KEYBYTES]; /* of Poly1305 */
	uint64_t nh_key[WORDS + NH_SHIFT];
	uint64_t buckets; /* a power of two */
	pthread_mutex_t lock[LOCKS];
	struct entry *entry;
};

struct image_share *image_share_new(uint64_t pages)
{
	struct image_share *s = sodium_init() < 0 ? NULL : calloc(1, sizeof(*s));
	uint64_t entries = ENTRIES_MIN;

	if (!s)
		return NULL;
	while (entries < pages && entries < ENTRIES_MAX)
		entries *= 2;
	s->buckets = entries / WAYS;
	s->entry = calloc(entries, sizeof(*s->entry));
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&s->lock[i], NULL);
	randombytes_buf(s->key, sizeof(s->key));
	randombytes_buf(s->nh_key, sizeof(s->nh_key));
	if (!s->entry) {
		image_share_free(s);
		return NULL;
	}
	return s;
}

void image_share_free(struct image_share *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&s->lock[i]);
	free(s->entry);
	sodium_memzero(s->key, sizeof(s->key));
	sodium_memzero(s->nh_key, sizeof(s->nh_key));
	free(s);
}

__extension__ typedef unsigned __int128 u128;

/* Sums of products modulo 2^128; sums of words and keys are modulo 2^64. */
static void nh(const uint64_t *key, const uint8_t *page, u128 ret[2])
{
	u128 sum[2] = { 0 };
	uint64_t w[2];

	for (size_t i = 0; i < WORDS; i += 2) {
		memcpy(w, page + i * sizeof(w[0]), sizeof(w));
		sum[0] += (u128)(w[0] + key[i]) * (w[1] + key[i + 1]);
		sum[1] += (u128)(w[0] + key[i + NH_SHIFT]) * (w[1] + key[i + NH_SHIFT + 1]);
	}
	memcpy(ret, sum, sizeof(sum));
}

struct image_fingerprint image_share_fingerprint(const struct image_share *s, const void *page)
{
	struct image_fingerprint f;
	uint8_t value[crypto_onetimeauth_BYTES];
	u128 sums[2];

	_Static_assert(sizeof(f) == sizeof(value), "fingerprint");
	nh(s->nh_key, page, sums);
	crypto_onetimeauth(value, (const uint8_t *)sums, sizeof(sums), s->key);
	memcpy(&f, value, sizeof(f));
	return f;
}

bool image_fingerprint_equal(const struct image_fingerprint *a, const struct image_fingerprint *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1];
}

static struct entry *bucket_of(struct image_share *s, const struct image_fingerprint *f, pthread_mutex_t **ret_lock)
{
	uint64_t number = f->w[0] & (s->buckets - 1);

	*ret_lock = &s->lock[number % LOCKS];
	return &s->entry[number * WAYS];
}

image_place image_share_find(struct image_share *s, const struct image_fingerprint *f)
{
	pthread_mutex_t *lock;
	struct entry *e = bucket_of(s, f, &lock);
	SCOPED_LOCK(lock);

	for (unsigned int i = 0; i < WAYS; i++)
		if (e[i].place != PLACE_NONE && image_fingerprint_equal(&e[i].print, f))
			return e[i].uses < SHARE_MAX ? e[i].uses++, e[i].place : PLACE_NONE;
	return PLACE_NONE;
}

/* The one that it replaces, a free one, or the one that was least wanted. */
void image_share_add(struct image_share *s, const struct image_fingerprint *f, image_place place, uint32_t uses)
{
	pthread_mutex_t *lock;
	struct entry *e = bucket_of(s, f, &lock), *victim = e;
	SCOPED_LOCK(lock);

	for (unsigned int i = 0; i < WAYS; i++) {
		if (e[i].place != PLACE_NONE && image_fingerprint_equal(&e[i].print, f)) {
			victim = &e[i];
			break;
		}
		if (e[i].uses < victim->uses)
			victim = &e[i];
	}
	*victim = (struct entry){ .print = *f, .place = place, .uses = uses };
}
