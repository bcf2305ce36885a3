/* SPDX-License-Identifier: Apache-2.0 */
/* The shared folders of a configuration. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "guest/config_device.h"

void guest_shares_fini(struct guest_shares *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->share[i].tag);
		free(s->share[i].path);
	}
	free(s->share);
	*s = (struct guest_shares){ 0 };
}

/* One more, all zero; NULL: no memory. */
static struct guest_share *add(struct guest_shares *s)
{
	struct guest_share *more = realloc(s->share, (s->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	s->share = more;
	more[s->n] = (struct guest_share){ 0 };
	return &more[s->n++];
}

int guest_shares_copy(const struct guest_shares *from, struct guest_shares *ret)
{
	struct guest_shares copy = { 0 };

	for (size_t i = 0; i < from->n; i++) {
		struct guest_share *s = add(&copy);

		if (s) {
			s->tag = strdup(from->share[i].tag);
			s->path = strdup(from->share[i].path);
			s->readonly = from->share[i].readonly;
		}
		if (!s || !s->tag || !s->path) {
			guest_shares_fini(&copy);
			return -ENOMEM;
		}
	}
	*ret = copy;
	return 0;
}

static int check_share(const struct guest_shares *all, size_t i, struct err *err)
{
	const char *tag = all->share[i].tag, *path = all->share[i].path;

	if (!guest_name_is_valid(tag) || strlen(tag) > GUEST_TAG_MAX)
		return err_set(err, -EINVAL,
			       "shares: tag \"%.80s\": up to %d letters, digits, - _ . are possible, the first one a "
			       "letter or digit",
			       tag, GUEST_TAG_MAX);
	if (*path != '/')
		return err_set(err, -EINVAL, "shares: path \"%.200s\": it has to begin with /", path);
	for (size_t k = 0; k < i; k++)
		if (!strcmp(all->share[k].tag, tag))
			return err_set(err, -EINVAL, "shares: there are two with tag %s", tag);
	return 0;
}

int guest_shares_check(const struct guest_shares *s, struct err *err)
{
	int r = 0;

	if (s->n > GUEST_SHARES_MAX)
		return err_set(err, -EINVAL, "shares: %zu are too many, %d are possible", s->n, GUEST_SHARES_MAX);
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = check_share(s, i, err);
	return r;
}

json_t *guest_shares_to_json(const struct guest_shares *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "tag", s->share[i].tag, "path",
						      s->share[i].path, "readonly", s->share[i].readonly));
	return list;
}

static int get_key(struct guest_share *s, const char *key, json_t *v, struct err *err)
{
	if (!strcmp(key, "tag"))
		return guest_device_text("shares", key, v, &s->tag, err);
	if (!strcmp(key, "path"))
		return guest_device_text("shares", key, v, &s->path, err);
	if (!strcmp(key, "readonly"))
		return guest_device_bool("shares", key, v, &s->readonly, err);
	return err_set(err, -EINVAL, "shares: unknown key \"%.80s\"", key);
}

int guest_shares_from_json(json_t *list, struct guest_shares *ret, struct err *err)
{
	const char *key;
	json_t *o, *v;
	size_t i;

	if (!json_is_array(list))
		return err_set(err, -EINVAL, "shares: a list is wanted");
	json_array_foreach (list, i, o) {
		struct guest_share *s = add(ret);

		if (!s)
			return err_errno(err, -ENOMEM, "shares");
		json_object_foreach (o, key, v) {
			int r = get_key(s, key, v, err);

			if (r < 0)
				return r;
		}
		if (!s->tag || !s->path)
			return err_set(err, -EINVAL, "shares: a list of objects is wanted, each with a tag and a path");
	}
	return 0;
}
