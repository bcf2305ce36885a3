/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/diskspec.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"

/* What a guest wrote into a raw disk is never looked at: it could name files of the host. */
const char *diskspec_format_of(const char *path)
{
	static const char *const known[] = { "qcow2", "qcow", "qed", "vmdk", "vdi", "vhd", "vhdx" };
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(known); i++)
		if (!strcasecmp(dot + 1, known[i]))
			return known[i];
	return NULL;
}

static int put_target(json_t *o, const char *path, struct err *err)
{
	const char *format = str_is_nbd_uri(path) ? NULL : diskspec_format_of(path);
	char real[PATH_MAX];

	if (!*path)
		return err_set(err, -EINVAL, "disk: which file is it?");
	json_object_set_new(o, "path", json_string(!str_is_nbd_uri(path) && realpath(path, real) ? real : path));
	if (format && !json_object_get(o, "format"))
		json_object_set_new(o, "format", json_string(format));
	return 0;
}

static int put_access(json_t *o, const char *access, struct err *err)
{
	bool ro = !strcmp(access, "ro") || !strcmp(access, "r");

	if (!ro && strcmp(access, "rw") && strcmp(access, "w"))
		return err_set(err, -EINVAL, "disk: access \"%s\": ro or rw is wanted", access);
	json_object_set_new(o, "readonly", json_boolean(ro));
	return 0;
}

/* Which there are is checked where they are known (guest/config_disk.c). "raw" says that the name means nothing. */
static int put_format(json_t *o, const char *format, struct err *err)
{
	if (!*format)
		return err_set(err, -EINVAL, "disk: which format is it?");
	json_object_set_new(o, "format", json_string(format));
	return 0;
}

static int put_key(json_t *o, const char *key, const char *value, struct err *err)
{
	if (!strcmp(key, "format"))
		return put_format(o, value, err);
	if (!strcmp(key, "access"))
		return put_access(o, value, err);
	if (!strcmp(key, "on-error")) {
		json_object_set_new(o, "on_error", json_string(value));
		return 0;
	}
	if (!strcmp(key, "vdev") || !strcmp(key, "cache")) {
		json_object_set_new(o, key, json_string(value));
		return 0;
	}
	return err_set(err, -EINVAL, "disk: unknown key \"%s\"", key);
}

/* The 1st, 2nd, ... part without a key. Empty ones keep what is usual. */
static int put_position(json_t *o, int position, const char *value, struct err *err)
{
	if (!*value && position)
		return 0;
	switch (position) {
	case 0:
		return put_target(o, value, err);
	case 1:
		return put_format(o, value, err);
	case 2:
		return put_key(o, "vdev", value, err);
	case 3:
		return put_access(o, value, err);
	default:
		return err_set(err, -EINVAL, "disk: \"%s\" is one part too many", value);
	}
}

static int parse_parts(char *rest, json_t *o, struct err *err)
{
	int position = 0, r = 0;

	while (r == 0 && rest) {
		char *part, *equals;

		rest += strspn(rest, " \t");
		if (!strncmp(rest, "target=", 7)) /* last, and with all its commas */
			return put_target(o, str_trim(rest + 7), err);
		part = str_trim(strsep(&rest, ","));
		equals = strchr(part, '=');
		if (equals && *part != '/' && !str_is_nbd_uri(part)) {
			*equals = 0;
			r = put_key(o, str_trim(part), str_trim(equals + 1), err);
		} else if (!strcmp(part, "ro") || !strcmp(part, "rw")) {
			r = put_access(o, part, err);
			position = 4; /* wherever it stands, it is the last one */
		} else {
			r = put_position(o, position++, part, err);
		}
	}
	return r;
}

int diskspec_parse(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	json_t *o = json_object();
	int r = copy && o ? parse_parts(copy, o, err) : err_errno(err, -ENOMEM, "disk");

	if (r == 0 && !strcmp(json_string_value(json_object_get(o, "format")) ?: "", "raw"))
		json_object_del(o, "format"); /* it was only to say that the name means nothing */
	if (r == 0 && !json_object_get(o, "path"))
		r = err_set(err, -EINVAL, "disk \"%s\": which file is it?", text);
	if (r < 0) {
		json_decref(o);
		return r;
	}
	*ret = o;
	return 0;
}
