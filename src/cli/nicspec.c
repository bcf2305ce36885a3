/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nicspec.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"

static int set_type(json_t *o, const char *type, struct err *err)
{
	const char *old = json_string_value(json_object_get(o, "type"));

	if (old && strcmp(old, type))
		return err_set(err, -EINVAL, "nic: it cannot be both %s and %s", old, type);
	json_object_set_new(o, "type", json_string(type));
	return 0;
}

/* The file need not be there yet; its folder has to. */
static int put_path(json_t *o, const char *path)
{
	_cleanup_free_ char *copy = strdup(path), *copy2 = strdup(path), *whole = NULL;
	char real[PATH_MAX];

	if (copy && copy2 && realpath(dirname(copy), real))
		whole = str_printf("%s/%s", real, basename(copy2));
	return json_object_set_new(o, "path", json_string(whole ?: path));
}

static int put_type(json_t *o, const char *type, struct err *err)
{
	if (!strcmp(type, "vif") || !strcmp(type, "ioemu")) /* xl's; which says nothing here */
		return 0;
	return set_type(o, type, err);
}

static int put_key(json_t *o, const char *key, const char *value, struct err *err)
{
	if (!strcmp(key, "type"))
		return put_type(o, value, err);
	if (!strcmp(key, "tap") || !strcmp(key, "bridge")) {
		json_object_set_new(o, key, json_string(value));
		return set_type(o, "tap", err);
	}
	if (!strcmp(key, "link")) {
		put_path(o, value);
		return set_type(o, "link", err);
	}
	if (!strcmp(key, "mac")) {
		json_object_set_new(o, key, json_string(value));
		return 0;
	}
	if (!strcmp(key, "forward")) {
		if (!json_object_get(o, "forwards"))
			json_object_set_new(o, "forwards", json_array());
		json_array_append_new(json_object_get(o, "forwards"), json_string(value));
		return 0;
	}
	return err_set(err, -EINVAL, "nic: unknown key \"%s\"", key);
}

static int put_word(json_t *o, const char *word, struct err *err)
{
	if (!strcmp(word, "restricted")) {
		json_object_set_new(o, word, json_true());
		return 0;
	}
	return strcmp(word, "user") ? err_set(err, -EINVAL, "nic: unknown word \"%s\"", word)
				    : set_type(o, "user", err);
}

static int parse_parts(char *rest, json_t *o, struct err *err)
{
	int r = 0;

	while (r == 0 && rest) {
		char *part = str_trim(strsep(&rest, ",")), *equals = strchr(part, '=');

		if (equals) {
			*equals = 0;
			r = put_key(o, str_trim(part), str_trim(equals + 1), err);
		} else if (*part) {
			r = put_word(o, part, err);
		}
	}
	return r;
}

static int parse(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	json_t *o = json_object();
	int r = copy && o ? parse_parts(copy, o, err) : err_errno(err, -ENOMEM, "nic");

	if (r < 0) {
		json_decref(o);
		return r;
	}
	*ret = o;
	return 0;
}

int nicspec_parse(const char *text, json_t **ret, struct err *err)
{
	int r = parse(text, ret, err);

	if (r == 0 && !json_object_get(*ret, "type")) {
		json_object_set_new(*ret, "type", json_string("tap"));
		json_object_set_new(*ret, "bridge", json_string("xenbr0"));
	}
	return r;
}

int nicspec_change(const char *text, json_t *nic, struct err *err)
{
	json_auto_t *o = NULL, *mac = json_incref(json_object_get(nic, "mac"));
	int r = parse(text, &o, err);

	if (r < 0)
		return r;
	if (json_object_get(o, "type")) {
		json_object_clear(nic);
		if (mac)
			json_object_set(nic, "mac", mac);
	}
	return json_object_update(nic, o) < 0 ? err_errno(err, -ENOMEM, "nic") : 0;
}

int nicspec_publish(json_t *nics, json_t *forwards, struct err *err)
{
	json_t *nic, *user = NULL, *v;
	size_t i;

	if (!json_array_size(nics))
		json_array_append_new(nics, json_pack("{s:s}", "type", "user"));
	json_array_foreach (nics, i, nic) {
		const char *type = json_string_value(json_object_get(nic, "type"));

		if (!user && type && !strcmp(type, "user"))
			user = nic;
	}
	if (!user)
		return err_set(err, -EINVAL, "--publish wants a network of type user (--nic user)");
	if (!json_object_get(user, "forwards"))
		json_object_set_new(user, "forwards", json_array());
	json_array_foreach (forwards, i, v)
		json_array_append(json_object_get(user, "forwards"), v);
	return 0;
}
