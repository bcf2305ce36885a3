/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of encrypted images: out of a file, a keyring, or a person. A monitor gets a file in memory to read
 * its key from; on a command line or in a request there is only that file's name.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>

#include "cli/key.h"

#define SECRET_MAX 4096

/* Unlike image_key_read() this waits: "<(pass show web)" is a pipe. */
static int from_file(enum image_key_kind kind, const char *path, struct image_key **ret, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_errno(err, -errno, "open the key %s", path) : image_key_read_fd(kind, fd, path, ret, err);
}

/* @name of a key of type "user", or its number. */
static int from_keyring(const char *name, struct image_key **ret, struct err *err)
{
	char secret[SECRET_MAX + 1], *end;
	long id = strtol(name, &end, 0), n;
	int r;

	if (!*name || *end)
		id = syscall(SYS_request_key, "user", name, NULL, 0);
	if (id < 0)
		return err_errno(err, -errno, "key \"%s\" of the keyring", name);
	n = syscall(SYS_keyctl, KEYCTL_READ, id, secret, sizeof(secret));
	if (n < 0)
		return err_errno(err, -errno, "read key \"%s\" of the keyring", name);
	r = image_key_new(IMAGE_KEY_FILE, secret, (size_t)n, ret, err); /* n may be more than there was room for */
	explicit_bzero(secret, sizeof(secret));
	return r;
}

/* ---- a person ---- */

/* A line as it is typed. -ECANCELED: Ctrl-C, whose signal is off so that the terminal is put back. */
static ssize_t read_line(int tty, char *line, size_t max)
{
	size_t len = 0;
	char c;

	while (read(tty, &c, 1) == 1) {
		if (c == '\r' || c == '\n' || c == 4)
			return (ssize_t)len;
		if (c == 3)
			return -ECANCELED;
		if (c == 8 || c == 127)
			len -= len > 0;
		else if (len < max)
			line[len++] = c;
	}
	return -EIO;
}

static ssize_t ask(const char *prompt, char *line, size_t max, struct err *err)
{
	_cleanup_close_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct termios old, quiet;
	ssize_t n;

	if (tty < 0 || tcgetattr(tty, &old) < 0)
		return err_set(err, -ENOTTY, "there is no terminal to ask for the passphrase (--passphrase-file F)");
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG | ICANON);
	quiet.c_cc[VMIN] = 1;
	quiet.c_cc[VTIME] = 0;
	tcsetattr(tty, TCSAFLUSH, &quiet);
	dprintf(tty, "%s: ", prompt);
	n = read_line(tty, line, max);
	tcsetattr(tty, TCSAFLUSH, &old);
	dprintf(tty, "\n");
	return n < 0 ? err_errno(err, (int)n, "passphrase") : n;
}

/* One that nobody can check yet is asked for twice. */
static int from_person(bool is_new, struct image_key **ret, struct err *err)
{
	char line[SECRET_MAX] = "", again[SECRET_MAX] = "";
	ssize_t n = ask("Passphrase", line, sizeof(line), err), m = n;
	int r = n < 0 ? (int)n : 0;

	if (r == 0 && is_new)
		m = ask("Once more", again, sizeof(again), err);
	if (r == 0 && m < 0)
		r = (int)m;
	else if (r == 0 && is_new && (m != n || memcmp(line, again, (size_t)n)))
		r = err_set(err, -EINVAL, "the two are not the same");
	r = r ?: image_key_new(IMAGE_KEY_PASSPHRASE, line, (size_t)n, ret, err);
	explicit_bzero(line, sizeof(line));
	explicit_bzero(again, sizeof(again));
	return r;
}

/* ---- for the verbs ---- */

int key_take(const struct key_flags *f, bool is_new, struct image_key **ret)
{
	struct err err = { 0 };
	int r = 0;

	*ret = NULL;
	if (!!f->file + !!f->keyring + !!f->passphrase_file + f->passphrase > 1)
		return usage("one of --key-file, --key-keyring, --passphrase-file and --passphrase is enough");
	if (f->file)
		r = from_file(IMAGE_KEY_FILE, f->file, ret, &err);
	else if (f->passphrase_file)
		r = from_file(IMAGE_KEY_PASSPHRASE, f->passphrase_file, ret, &err);
	else if (f->keyring)
		r = from_keyring(f->keyring, ret, &err);
	else if (f->passphrase)
		r = from_person(is_new, ret, &err);
	return r < 0 ? fail("%s", err.msg) : EXIT_OK;
}

int key_lend(const struct image_key *key, struct key_loan *ret)
{
	struct err err = { 0 };
	int fd;

	*ret = (struct key_loan){ 0 };
	if (!key)
		return EXIT_OK;
	fd = image_key_lend(key, &err); /* open until we end: the monitor has read it long before */
	if (fd < 0)
		return fail("%s", err.msg);
	snprintf(ret->path, sizeof(ret->path), "/proc/%d/fd/%d", getpid(), fd);
	ret->is_passphrase = image_key_kind(key) == IMAGE_KEY_PASSPHRASE;
	return EXIT_OK;
}

int fail_of(const struct err *err)
{
	fail("%s", err->msg);
	return err->code == -ENOKEY || err->code == -EKEYREJECTED ? EXIT_KEY : EXIT_FAILED;
}
