/* SPDX-License-Identifier: Apache-2.0 */
/* Flags that name the key of an encrypted image, and how a monitor gets it. */
#ifndef NIDRA_CLI_KEY_H
#define NIDRA_CLI_KEY_H

#include "cli/cli.h"
#include "image/image.h"

struct key_flags {
	const char *file, *keyring, *passphrase_file;
	bool passphrase; /* asked for */
};

/* For a table of flags. */
#define KEY_FLAGS(k)                                                                                                   \
	{ "key-file", 0, FLAG_STRING, &(k)->file }, { "key-keyring", 0, FLAG_STRING, &(k)->keyring },                  \
		{ "passphrase-file", 0, FLAG_STRING, &(k)->passphrase_file },                                          \
	{                                                                                                              \
		"passphrase", 0, FLAG_BOOL, &(k)->passphrase                                                           \
	}

/* Exit code; *ret is NULL if no key was named. @is_new: a passphrase is asked for twice. */
int key_take(const struct key_flags *f, bool is_new, struct image_key **ret);

/* Where another process finds it as long as we live. Empty without a key. */
struct key_loan {
	char path[40];
	bool is_passphrase;
};
/* Exit code. */
int key_lend(const struct image_key *key, struct key_loan *ret);

/* The name of the machine in an image, allocated; NULL: it was said why, and *ret_code is the exit code. */
char *image_name(const char *image, struct image_key *key, int *ret_code);

/* As fail(); EXIT_KEY if that is what is wrong. */
int fail_of(const struct err *err);

#endif
