/* SPDX-License-Identifier: Apache-2.0 */
/* extlinux.conf and its kin: a line is a keyword and its value. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "bootdisk/entry.h"

#define LABEL_MAX 256

struct extlinux {
	char wanted[LABEL_MAX], label[LABEL_MAX];
	struct boot_entry entry, best; /* of the label that is read; the first, or the wanted one */
	bool is_default, has_best;
};

/* A label ends: is it the one? */
static void end_label(struct extlinux *x)
{
	bool wanted = x->is_default || (*x->wanted && !strcmp(x->label, x->wanted));

	if (*x->entry.kernel && (wanted || !x->has_best)) {
		x->best = x->entry;
		x->has_best = true;
	}
	x->entry = (struct boot_entry){ 0 };
	x->is_default = false;
	*x->label = 0;
}

static int set_initrds(struct boot_entry *e, char *value, struct err *err)
{
	char *one;
	int r = 0;

	e->initrds = 0;
	while (r == 0 && (one = strsep(&value, ","))) {
		if (e->initrds == ENTRY_INITRDS_MAX)
			return err_set(err, -E2BIG, "its boot entry has more than %d initrds", ENTRY_INITRDS_MAX);
		r = entry_set_path(e->initrd[e->initrds++], one, err);
	}
	return r;
}

static int append(struct boot_entry *e, char *value, struct err *err)
{
	char *word;
	int r = 0;

	*e->cmdline = 0;
	while (r == 0 && (word = strsep(&value, " \t")))
		r = strncmp(word, "initrd=", 7) ? entry_add_word(e, word, err) : set_initrds(e, word + 7, err);
	return r;
}

static int do_line(struct extlinux *x, char *line, struct err *err)
{
	char *key = line + strspn(line, " \t"), *value = key + strcspn(key, " \t=");

	if (*value)
		*value++ = 0;
	value += strspn(value, " \t");
	if (!strcasecmp(key, "default") && strlen(value) < LABEL_MAX) {
		strcpy(x->wanted, value);
	} else if (!strcasecmp(key, "label")) {
		end_label(x);
		strcpy(x->label, strlen(value) < LABEL_MAX ? value : "");
	} else if (!strcasecmp(key, "menu") && !strcasecmp(value, "default")) {
		x->is_default = true;
	} else if (!strcasecmp(key, "linux") || !strcasecmp(key, "kernel")) {
		return entry_set_path(x->entry.kernel, value, err);
	} else if (!strcasecmp(key, "initrd")) {
		return set_initrds(&x->entry, value, err);
	} else if (!strcasecmp(key, "append")) {
		return append(&x->entry, value, err);
	}
	return 0;
}

static void clean(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\n' && !isprint((unsigned char)text[i]))
			text[i] = ' ';
	for (size_t i = len; i && (text[i - 1] == ' ' || text[i - 1] == '\n'); i--)
		text[i - 1] = 0;
}

static int pass(struct extlinux *x, const char *text, size_t len, struct err *err)
{
	_cleanup_free_ char *copy = strndup(text, len);
	char *rest = copy, *line;
	int r = copy ? 0 : err_errno(err, -ENOMEM, "extlinux.conf");

	if (copy)
		clean(copy, strlen(copy));
	while (r == 0 && (line = strsep(&rest, "\n"))) {
		for (size_t n = strlen(line); n && line[n - 1] == ' '; n--)
			line[n - 1] = 0;
		r = do_line(x, line, err);
	}
	end_label(x);
	return r;
}

int extlinux_parse(const char *text, size_t len, struct boot_entry *ret, struct err *err)
{
	_cleanup_free_ struct extlinux *x = calloc(1, sizeof(*x));
	int r = x ? pass(x, text, len, err) : err_errno(err, -ENOMEM, "extlinux.conf");

	if (r < 0)
		return r;
	/* Once more, now that `default` is known: it may stand behind its label. */
	r = pass(x, text, len, err);
	if (r < 0)
		return r;
	if (!x->has_best)
		return err_set(err, -ENOENT, "no label of extlinux.conf has a kernel");
	*ret = x->best;
	return 0;
}
