/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that operators have: in locked memory between guard pages, wiped when they go (libsodium), and
 * never part of a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/io.h"
#include "image/crypt.h"

#define SECRET_MAX 4096u
#define KEY_MIN	   32u
/* What an image may ask for before its MAC can be checked. */
#define KDF_OPS_MAX   10
#define KDF_BYTES_MAX (UINT64_C(1) << 30)
#define MASTER_LEN    32

struct image_key {
	enum image_key_kind kind;
	size_t len;
	uint8_t secret[SECRET_MAX];
	/* What came out last: of a chain all have the same parameters. */
	bool derived;
	struct image_crypt_entry of;
	uint8_t master[MASTER_LEN];
};
_Static_assert(MASTER_LEN == crypto_generichash_KEYBYTES, "master key");

void image_key_free(struct image_key *key)
{
	sodium_free(key); /* wipes it */
}

static struct image_key *alloc_key(enum image_key_kind kind)
{
	struct image_key *key = sodium_init() < 0 ? NULL : sodium_malloc(sizeof(*key));

	if (key)
		*key = (struct image_key){ .kind = kind };
	return key;
}

/* What can be said about it without saying it. A file with a line in it is the line. */
static int check(struct image_key *key, struct err *err)
{
	if (key->kind == IMAGE_KEY_PASSPHRASE && key->len && key->secret[key->len - 1] == '\n')
		key->len--;
	if (key->kind == IMAGE_KEY_FILE && key->len < KEY_MIN)
		return err_set(err, -EINVAL, "a key has %u random bytes or more; a shorter secret is a passphrase",
			       KEY_MIN);
	return key->len ? 0 : err_set(err, -EINVAL, "the passphrase is empty");
}

int image_key_new(enum image_key_kind kind, const void *secret, size_t len, struct image_key **ret, struct err *err)
{
	_cleanup_(image_key_freep) struct image_key *key = alloc_key(kind);
	int r;

	if (!key)
		return err_errno(err, -ENOMEM, "key");
	if (len > SECRET_MAX)
		return err_set(err, -E2BIG, "a key has at most %u bytes", SECRET_MAX);
	memcpy(key->secret, secret, len);
	key->len = len;
	r = check(key, err);
	if (r == 0)
		*ret = take_ptr(key);
	return r;
}

int image_key_read_fd(enum image_key_kind kind, int fd, const char *name, struct image_key **ret, struct err *err)
{
	_cleanup_(image_key_freep) struct image_key *key = alloc_key(kind);
	ssize_t n = 1;
	uint8_t more;
	int r;

	if (!key)
		return err_errno(err, -ENOMEM, "key");
	while (n > 0 && key->len < SECRET_MAX) {
		n = read(fd, key->secret + key->len, SECRET_MAX - key->len);
		key->len += (size_t)MAX(n, (ssize_t)0);
	}
	if (n < 0)
		return err_errno(err, -errno, "read the key %s", name);
	if (n > 0 && read(fd, &more, 1) != 0)
		return err_set(err, -E2BIG, "%s: a key has at most %u bytes", name, SECRET_MAX);
	r = check(key, err);
	if (r < 0)
		return err_prefix(err, "%s", name);
	*ret = take_ptr(key);
	return 0;
}

int image_key_read(enum image_key_kind kind, const char *path, struct image_key **ret, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "open the key %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "the key %s is not a regular file", path);
	return image_key_read_fd(kind, fd, path, ret, err);
}

struct image_key *image_key_copy(const struct image_key *key)
{
	struct image_key *copy = alloc_key(key->kind);

	if (copy)
		memcpy(copy, key, sizeof(*key));
	return copy;
}

enum image_key_kind image_key_kind(const struct image_key *key)
{
	return key->kind;
}

/* Never swapped out as long as we live, and gone with the last who has it open. */
int image_key_lend(const struct image_key *key, struct err *err)
{
	_cleanup_close_ int fd = memfd_create("key", MFD_CLOEXEC);
	void *p;

	if (fd < 0 || ftruncate(fd, SECRET_MAX) < 0)
		return err_errno(err, -errno, "memory for a key");
	p = mmap(NULL, SECRET_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(err, -errno, "memory for a key");
	mlock(p, SECRET_MAX); /* stays mapped: that is what keeps it locked */
	madvise(p, SECRET_MAX, MADV_DONTDUMP);
	memcpy(p, key->secret, key->len);
	if (ftruncate(fd, (off_t)key->len) < 0)
		return err_errno(err, -errno, "memory for a key");
	return take_fd(fd);
}

/* ---- what images use ---- */

enum image_kdf image_key_kdf(const struct image_key *key)
{
	return key->kind == IMAGE_KEY_PASSPHRASE ? IMAGE_KDF_ARGON2ID : IMAGE_KDF_NONE;
}

static bool same_parameters(const struct image_crypt_entry *a, const struct image_crypt_entry *b)
{
	return a->kdf_ops == b->kdf_ops && a->kdf_bytes == b->kdf_bytes &&
	       !memcmp(a->kdf_salt, b->kdf_salt, sizeof(a->kdf_salt));
}

static int stretch(struct image_key *key, const struct image_crypt_entry *e, struct err *err)
{
	if (!e->kdf_ops || e->kdf_ops > KDF_OPS_MAX || e->kdf_bytes < crypto_pwhash_MEMLIMIT_MIN ||
	    e->kdf_bytes > KDF_BYTES_MAX)
		return err_set(err, -EBADMSG, "it asks for more work to get its key than is reasonable");
	if (crypto_pwhash(key->master, sizeof(key->master), (const char *)key->secret, key->len, e->kdf_salt,
			  e->kdf_ops, (size_t)e->kdf_bytes, crypto_pwhash_ALG_ARGON2ID13) < 0)
		return err_errno(err, -ENOMEM, "key of a passphrase");
	return 0;
}

int image_key_master(struct image_key *key, const struct image_crypt_entry *entry, const uint8_t **ret, struct err *err)
{
	int r = 0;

	if (!key->derived || !same_parameters(&key->of, entry)) {
		key->derived = false;
		if (key->kind == IMAGE_KEY_PASSPHRASE)
			r = stretch(key, entry, err);
		else
			crypto_generichash(key->master, sizeof(key->master), key->secret, key->len, NULL, 0);
		if (r < 0)
			return r;
		key->of = *entry;
		key->derived = true;
	}
	*ret = key->master;
	return 0;
}
