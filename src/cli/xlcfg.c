/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/xlcfg.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/diskspec.h"
#include "cli/nicspec.h"
#include "cli/sharespec.h"

struct parser {
	const char *p, *file;
	unsigned int line;
	struct err *err;
};

static int bad(struct parser *s, const char *what)
{
	return err_set(s->err, -EINVAL, "%s:%u: %s", s->file, s->line, what);
}

/* Blanks and comments; with @lines also line ends. */
static void skip(struct parser *s, bool lines)
{
	for (;; s->p++) {
		if (*s->p == '#')
			s->p += strcspn(s->p, "\n");
		if (*s->p == '\n' && lines)
			s->line++;
		else if (*s->p != ' ' && *s->p != '\t' && *s->p != '\r' && *s->p != ';')
			return;
		if (!*s->p)
			return;
	}
}

static int parse_string(struct parser *s, json_t **ret)
{
	char quote = *s->p++;
	size_t n = strcspn(s->p, quote == '"' ? "\"\n" : "'\n");

	if (s->p[n] != quote)
		return bad(s, "a string without its closing quote");
	*ret = json_stringn(s->p, n);
	s->p += n + 1;
	return *ret ? 0 : bad(s, "a string that is not UTF-8");
}

static int parse_number(struct parser *s, json_t **ret)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(s->p, &end, 0);
	if (end == s->p || errno || isalnum((unsigned char)*end))
		return bad(s, "a value that is neither a number, a string nor a list");
	s->p = end;
	*ret = json_integer(n);
	return 0;
}

static int parse_value(struct parser *s, json_t **ret, int depth);

static int parse_list(struct parser *s, json_t **ret, int depth)
{
	json_t *a = json_array(), *v = NULL;
	int r = 0;

	s->p++;
	for (;;) {
		skip(s, true);
		if (*s->p == ']')
			break;
		r = parse_value(s, &v, depth + 1);
		if (r < 0)
			break;
		json_array_append_new(a, v);
		skip(s, true);
		if (*s->p == ',')
			s->p++;
		else if (*s->p != ']') {
			r = bad(s, "a list without its closing bracket");
			break;
		}
	}
	if (r < 0) {
		json_decref(a);
		return r;
	}
	s->p++;
	*ret = a;
	return 0;
}

static int parse_value(struct parser *s, json_t **ret, int depth)
{
	if (depth > 8)
		return bad(s, "lists too deep");
	if (*s->p == '"' || *s->p == '\'')
		return parse_string(s, ret);
	return *s->p == '[' ? parse_list(s, ret, depth) : parse_number(s, ret);
}

static int parse_all(struct parser *s, json_t *o)
{
	for (;;) {
		char key[64];
		json_t *v;
		size_t n;
		int r;

		skip(s, true);
		if (!*s->p)
			return 0;
		n = strspn(s->p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
		if (!n || n >= sizeof(key))
			return bad(s, "a line that is not KEY = VALUE");
		snprintf(key, sizeof(key), "%.*s", (int)n, s->p);
		s->p += n;
		skip(s, false);
		if (*s->p++ != '=')
			return bad(s, "a line that is not KEY = VALUE");
		skip(s, false);
		r = parse_value(s, &v, 0);
		if (r < 0)
			return r;
		json_object_set_new(o, key, v);
		skip(s, false);
		if (*s->p && *s->p != '\n')
			return bad(s, "something behind the value");
	}
}

/* ---- from xl's keys to ours ---- */

enum kind { KEY_STRING, KEY_PATH, KEY_NUMBER, KEY_ACTION };

static const struct {
	const char *xl, *ours;
	enum kind kind;
} keys[] = {
	{ "name", "name", KEY_STRING },
	{ "uuid", "uuid", KEY_STRING },
	{ "kernel", "kernel", KEY_PATH },
	{ "ramdisk", "initrd", KEY_PATH },
	{ "cmdline", "cmdline", KEY_STRING },
	{ "memory", "memory_mib", KEY_NUMBER },
	{ "vcpus", "vcpus", KEY_NUMBER },
	{ "maxvcpus", "maxvcpus", KEY_NUMBER },
	{ "on_poweroff", "on_poweroff", KEY_ACTION },
	{ "on_reboot", "on_reboot", KEY_ACTION },
	{ "on_crash", "on_crash", KEY_ACTION },
	{ "on_watchdog", "on_watchdog", KEY_ACTION },
};

static int put_path(json_t *out, const char *key, const char *value)
{
	char real[PATH_MAX];

	/* A path that cannot be resolved is refused later, with its name. */
	return json_object_set_new(out, key, json_string(realpath(value, real) ? real : value));
}

static int convert(json_t *out, size_t i, json_t *v, struct parser *s)
{
	const char *text = json_string_value(v);

	if ((keys[i].kind == KEY_NUMBER) != json_is_integer(v) || (keys[i].kind != KEY_NUMBER && !text))
		return err_set(s->err, -EINVAL, "%s: %s: a %s is wanted", s->file, keys[i].xl,
			       keys[i].kind == KEY_NUMBER ? "number" : "string");
	if (keys[i].kind == KEY_PATH)
		return put_path(out, keys[i].ours, text);
	if (keys[i].kind == KEY_ACTION && strcmp(text, "destroy") && strcmp(text, "restart") &&
	    strcmp(text, "preserve"))
		return err_set(s->err, -EINVAL, "%s: %s: destroy, restart or preserve is wanted", s->file, keys[i].xl);
	return json_object_set(out, keys[i].ours, v);
}

/* disk = [ "...", ... ], and vif and share */
static int convert_list(json_t *in, json_t *out, const char *xl, const char *ours,
			int (*parse)(const char *text, json_t **ret, struct err *err), struct parser *s)
{
	json_t *specs = json_object_get(in, xl), *list, *spec, *device;
	size_t i;

	if (!specs)
		return 0;
	if (!json_is_array(specs))
		return err_set(s->err, -EINVAL, "%s: %s: a list is wanted", s->file, xl);
	list = json_array();
	json_object_set_new(out, ours, list);
	json_array_foreach (specs, i, spec) {
		if (!json_is_string(spec))
			return err_set(s->err, -EINVAL, "%s: %s: a list of strings is wanted", s->file, xl);
		if (parse(json_string_value(spec), &device, s->err) < 0)
			return err_prefix(s->err, "%s", s->file);
		json_array_append_new(list, device);
	}
	return 0;
}

static int check_type(json_t *in, struct parser *s)
{
	const char *type = json_string_value(json_object_get(in, "type"));

	if (type && strcmp(type, "pvh"))
		return err_set(s->err, -EOPNOTSUPP, "%s: type \"%s\": only pvh is possible so far", s->file, type);
	return 0;
}

/* root and extra make a command line where cmdline is not given, as in xl. */
static void make_cmdline(json_t *in, json_t *out)
{
	const char *root = json_string_value(json_object_get(in, "root"));
	const char *extra = json_string_value(json_object_get(in, "extra"));
	_cleanup_free_ char *line =
		str_printf("%s%s%s%s", root ? "root=" : "", root ?: "", root && extra ? " " : "", extra ?: "");

	if (!json_object_get(out, "cmdline") && line && *line)
		json_object_set_new(out, "cmdline", json_string(line));
}

static char *append(char *list, const char *key)
{
	char *longer = list ? str_printf("%s, %s", list, key) : strdup(key);

	free(list);
	return longer;
}

int xlcfg_parse(const char *text, const char *file, json_t **ret, char **ret_ignored, struct err *err)
{
	static const char *const handled[] = { "type", "root", "extra", "disk", "vif", "share" };
	struct parser s = { .p = text, .file = file, .line = 1, .err = err };
	json_t *in = json_object(), *out = json_object(), *v;
	char *ignored = NULL;
	const char *key;
	int r = parse_all(&s, in);

	r = r ?: check_type(in, &s);
	r = r ?: convert_list(in, out, "disk", "disks", diskspec_parse, &s);
	r = r ?: convert_list(in, out, "vif", "nics", nicspec_parse, &s);
	r = r ?: convert_list(in, out, "share", "shares", sharespec_parse, &s);
	json_object_foreach (in, key, v) {
		size_t i = 0, h = 0;

		while (i < ARRAY_SIZE(keys) && strcmp(keys[i].xl, key))
			i++;
		while (h < ARRAY_SIZE(handled) && strcmp(handled[h], key))
			h++;
		if (r == 0 && i < ARRAY_SIZE(keys))
			r = convert(out, i, v, &s);
		else if (h == ARRAY_SIZE(handled) && i == ARRAY_SIZE(keys))
			ignored = append(ignored, key);
	}
	make_cmdline(in, out);
	json_decref(in);
	if (r < 0) {
		json_decref(out);
		free(ignored);
		return r;
	}
	*ret = out;
	*ret_ignored = ignored;
	return 0;
}
