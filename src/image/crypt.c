/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every image has keys of its own, made of the operator's and a salt, so a number that no two parts of
 * one image share is nonce enough: an extent's offset, a record's place in the list. Both also say
 * where a part belongs. The tag of an extent stands in the index, which is a record.
 *
 * A fuzzer forges no tags (NIDRA_FUZZING): all are right, and nothing is encrypted.
 */
#include "image/crypt.h"

#include <sodium.h>
#include <string.h>

struct image_crypt {
	uint8_t data[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
	uint8_t mac[crypto_generichash_KEYBYTES];
};

enum { SUBKEY_DATA = 1, SUBKEY_MAC, SUBKEY_CHECK };
enum { NONCE_EXTENT = 1, NONCE_RECORD };

#define KDF_CONTEXT "nidraimg"

struct nonce {
	uint32_t what;
	uint32_t number[2]; /* low, high: no bytes between */
};
_Static_assert(sizeof(struct nonce) == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "nonce");

#ifdef NIDRA_FUZZING
#define FUZZING true
#else
#define FUZZING false
#endif

void image_crypt_free(struct image_crypt *c)
{
	sodium_free(c);
}

/* @entry without its check, which it gets. */
static int derive(struct image_key *key, struct image_crypt_entry *entry, struct image_crypt **ret, struct err *err)
{
	_cleanup_(image_crypt_freep) struct image_crypt *c = NULL;
	uint8_t image_key[crypto_kdf_KEYBYTES];
	const uint8_t *master;
	int r = image_key_master(key, entry, &master, err);

	if (r < 0)
		return r;
	c = sodium_malloc(sizeof(*c));
	if (!c)
		return err_errno(err, -ENOMEM, "keys of an image");
	crypto_generichash(image_key, sizeof(image_key), entry->salt, sizeof(entry->salt), master,
			   crypto_generichash_KEYBYTES);
	crypto_kdf_derive_from_key(c->data, sizeof(c->data), SUBKEY_DATA, KDF_CONTEXT, image_key);
	crypto_kdf_derive_from_key(c->mac, sizeof(c->mac), SUBKEY_MAC, KDF_CONTEXT, image_key);
	crypto_kdf_derive_from_key(entry->check, sizeof(entry->check), SUBKEY_CHECK, KDF_CONTEXT, image_key);
	sodium_memzero(image_key, sizeof(image_key));
	sodium_mprotect_readonly(c);
	*ret = take_ptr(c);
	return 0;
}

/* One derivation serves a chain: children have their parent's parameters. */
int image_crypt_make(struct image_key *key, const struct image_crypt_entry *parent, struct image_crypt_entry *ret_entry,
		     struct image_crypt **ret, struct err *err)
{
	struct image_crypt_entry e = { 0 };

	if (parent)
		e = *parent;
	else if (image_key_kdf(key) == IMAGE_KDF_ARGON2ID) {
		/* RFC 9106's second choice, but for libsodium's one lane; a lab has 64 MiB to spare, too. */
		e.kdf_ops = 3;
		e.kdf_bytes = 64 << 20;
		randombytes_buf(e.kdf_salt, sizeof(e.kdf_salt));
	}
	e.cipher = IMAGE_CIPHER_CHACHA20_POLY1305;
	e.kdf = image_key_kdf(key);
	randombytes_buf(e.salt, sizeof(e.salt));
	*ret_entry = e;
	return derive(key, ret_entry, ret, err);
}

int image_crypt_open(struct image_key *key, const struct image_crypt_entry *entry, const char *name,
		     struct image_crypt **ret, struct err *err)
{
	_cleanup_(image_crypt_freep) struct image_crypt *c = NULL;
	struct image_crypt_entry mine = *entry;
	int r;

	if (entry->cipher != IMAGE_CIPHER_CHACHA20_POLY1305 || entry->kdf > IMAGE_KDF_ARGON2ID)
		return err_set(err, -EOPNOTSUPP, "%s is encrypted in a way that this nidra does not know", name);
	if (image_key_kdf(key) != entry->kdf)
		return err_set(err, -EKEYREJECTED, "%s has another key: a %s", name,
			       entry->kdf == IMAGE_KDF_ARGON2ID ? "passphrase" : "key file");
	r = derive(key, &mine, &c, err);
	if (r < 0)
		return err_prefix(err, "%s", name);
	if (!FUZZING && sodium_memcmp(mine.check, entry->check, sizeof(mine.check)))
		return err_set(err, -EKEYREJECTED, "%s has another %s", name,
			       entry->kdf == IMAGE_KDF_ARGON2ID ? "passphrase" : "key");
	*ret = take_ptr(c);
	return 0;
}

/* ---- parts ---- */

static void seal(const struct image_crypt *c, uint32_t what, uint64_t number, const void *known, size_t known_len,
		 const void *src, size_t len, void *dst, uint8_t *tag)
{
	struct nonce nonce = { what, { (uint32_t)number, (uint32_t)(number >> 32) } };

	crypto_aead_chacha20poly1305_ietf_encrypt_detached(dst, tag, NULL, src, len, known, known_len, NULL,
							   (const uint8_t *)&nonce, c->data);
}

static int open_sealed(const struct image_crypt *c, uint32_t what, uint64_t number, const void *known, size_t known_len,
		       void *data, size_t len, const uint8_t *tag)
{
	struct nonce nonce = { what, { (uint32_t)number, (uint32_t)(number >> 32) } };

	if (FUZZING)
		return 0;
	return crypto_aead_chacha20poly1305_ietf_decrypt_detached(data, NULL, data, len, tag, known, known_len,
								  (const uint8_t *)&nonce, c->data) < 0
		       ? -EBADMSG
		       : 0;
}

void image_crypt_extent(const struct image_crypt *c, struct image_extent *e, void *data)
{
	seal(c, NONCE_EXTENT, e->offset, e, offsetof(struct image_extent, digest), data, e->bytes, data, e->digest.b);
}

int image_decrypt_extent(const struct image_crypt *c, const struct image_extent *e, void *data)
{
	return open_sealed(c, NONCE_EXTENT, e->offset, e, offsetof(struct image_extent, digest), data, e->bytes,
			   e->digest.b);
}

void image_crypt_record(const struct image_crypt *c, uint64_t number, const struct image_record *head, const void *body,
			size_t len, void *dst)
{
	seal(c, NONCE_RECORD, number, head, offsetof(struct image_record, digest), body, len, dst,
	     (uint8_t *)dst + len);
}

int image_decrypt_record(const struct image_crypt *c, uint64_t number, struct image_record *rec)
{
	uint8_t *body = (uint8_t *)(rec + 1);

	if (rec->len < IMAGE_TAG_LEN)
		return -EBADMSG;
	return open_sealed(c, NONCE_RECORD, number, rec, offsetof(struct image_record, digest), body,
			   rec->len - IMAGE_TAG_LEN, body + rec->len - IMAGE_TAG_LEN);
}

/* ---- the whole ---- */

void image_crypt_mac(const struct image_crypt *c, const struct image_header *h, const void *records, size_t len,
		     uint8_t ret[IMAGE_MAC_LEN])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, c->mac, sizeof(c->mac), IMAGE_MAC_LEN);
	crypto_generichash_update(&state, (const uint8_t *)h, offsetof(struct image_header, digest));
	crypto_generichash_update(&state, records, len);
	crypto_generichash_final(&state, ret, IMAGE_MAC_LEN);
	sodium_memzero(&state, sizeof(state));
}

bool image_crypt_mac_is(const struct image_crypt *c, const struct image_header *h, const void *records, size_t len,
			const uint8_t want[IMAGE_MAC_LEN])
{
	uint8_t mac[IMAGE_MAC_LEN];

	image_crypt_mac(c, h, records, len, mac);
	return FUZZING || !sodium_memcmp(mac, want, sizeof(mac));
}
