/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of one image, and what is done with them. docs/image-format.md, "Encryption", has it to the
 * byte. A struct image_crypt never changes: any thread.
 */
#ifndef NIDRA_IMAGE_CRYPT_H
#define NIDRA_IMAGE_CRYPT_H

#include "image/internal.h"

struct image_crypt;

/* Keys of a new image, and what its CRYPT record says. @parent: of its parent, or NULL. */
int image_crypt_make(struct image_key *key, const struct image_crypt_entry *parent, struct image_crypt_entry *ret_entry,
		     struct image_crypt **ret, struct err *err);
/* Keys of image @name. -EKEYREJECTED: it has another one. */
int image_crypt_open(struct image_key *key, const struct image_crypt_entry *entry, const char *name,
		     struct image_crypt **ret, struct err *err);
void image_crypt_free(struct image_crypt *c);
DEFINE_CLEANUP(struct image_crypt *, image_crypt_free)

/* In place; the tag goes into @e->digest, all else of @e is given. */
void image_crypt_extent(const struct image_crypt *c, struct image_extent *e, void *data);
/* -EBADMSG: it was altered, or is not this extent of this image. */
int image_decrypt_extent(const struct image_crypt *c, const struct image_extent *e, void *data);

/* @dst has room for @len bytes and the tag; @head says what is written before it, len with the tag. */
void image_crypt_record(const struct image_crypt *c, uint64_t number, const struct image_record *head, const void *body,
			size_t len, void *dst);
/* The body behind @rec, in place. */
int image_decrypt_record(const struct image_crypt *c, uint64_t number, struct image_record *rec);

/* Of the header without its digest, and @len bytes of records. */
void image_crypt_mac(const struct image_crypt *c, const struct image_header *h, const void *records, size_t len,
		     uint8_t ret[IMAGE_MAC_LEN]);
bool image_crypt_mac_is(const struct image_crypt *c, const struct image_header *h, const void *records, size_t len,
			const uint8_t want[IMAGE_MAC_LEN]);

/* key.c: the 32 bytes that all keys of an image come from. Remembers those of a passphrase. */
int image_key_master(struct image_key *key, const struct image_crypt_entry *entry, const uint8_t **ret,
		     struct err *err);
enum image_kdf image_key_kdf(const struct image_key *key);

#endif
