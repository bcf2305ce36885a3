/* SPDX-License-Identifier: Apache-2.0 */
/* The network devices of a configuration. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/config_device.h"

static void nic_fini(struct guest_nic *n)
{
	for (size_t i = 0; i < n->n_forwards; i++)
		free(n->forward[i]);
	free(n->forward);
	free(n->mac);
	free(n->tap);
	free(n->bridge);
	free(n->path);
	*n = (struct guest_nic){ 0 };
}

void guest_nics_fini(struct guest_nics *n)
{
	for (size_t i = 0; i < n->n; i++)
		nic_fini(&n->nic[i]);
	free(n->nic);
	*n = (struct guest_nics){ 0 };
}

/* One more, all zero; NULL: no memory. */
static struct guest_nic *add(struct guest_nics *n)
{
	struct guest_nic *more = realloc(n->nic, (n->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	n->nic = more;
	more[n->n] = (struct guest_nic){ 0 };
	return &more[n->n++];
}

static int add_forward(struct guest_nic *n, const char *text)
{
	char **more = realloc(n->forward, (n->n_forwards + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	n->forward = more;
	more[n->n_forwards] = strdup(text);
	if (!more[n->n_forwards])
		return -ENOMEM;
	n->n_forwards++;
	return 0;
}

static int copy_text(const char *s, char **ret)
{
	*ret = s ? strdup(s) : NULL;
	return s && !*ret ? -ENOMEM : 0;
}

static int copy_nic(const struct guest_nic *from, struct guest_nic *ret)
{
	int r = copy_text(from->mac, &ret->mac);

	ret->type = from->type;
	ret->restricted = from->restricted;
	r = r ?: copy_text(from->tap, &ret->tap);
	r = r ?: copy_text(from->bridge, &ret->bridge);
	r = r ?: copy_text(from->path, &ret->path);
	for (size_t i = 0; r == 0 && i < from->n_forwards; i++)
		r = add_forward(ret, from->forward[i]);
	return r;
}

int guest_nics_copy(const struct guest_nics *from, struct guest_nics *ret)
{
	struct guest_nics copy = { 0 };

	for (size_t i = 0; i < from->n; i++) {
		struct guest_nic *n = add(&copy);

		if (!n || copy_nic(&from->nic[i], n) < 0) {
			guest_nics_fini(&copy);
			return -ENOMEM;
		}
	}
	*ret = copy;
	return 0;
}

int guest_nics_add_restricted(struct guest_nics *n)
{
	struct guest_nic *nic = add(n);

	if (!nic)
		return -ENOMEM;
	nic->type = LINK_USER;
	nic->restricted = true;
	return 0;
}

/* ---- what can be ---- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool guest_nic_mac(const char *text, uint8_t ret[6])
{
	static const uint8_t zero[6];

	if (strlen(text) != 17)
		return false;
	for (int i = 0; i < 6; i++, text += 3) {
		int high = hex(text[0]), low = hex(text[1]);

		if (high < 0 || low < 0 || (text[2] && text[2] != ':'))
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return !(ret[0] & 1) && memcmp(ret, zero, sizeof(zero));
}

static int check_forwards(const struct guest_nic *n, struct err *err)
{
	struct link_forward f;
	int r = 0;

	if (n->n_forwards && n->type != LINK_USER)
		return err_set(err, -EINVAL, "nics: forwards are possible with type user only");
	for (size_t i = 0; r == 0 && i < n->n_forwards; i++)
		r = link_forward_parse(n->forward[i], &f, err);
	return r < 0 ? err_prefix(err, "nics") : 0;
}

static int check_nic(const struct guest_nic *n, struct err *err)
{
	const char *type = link_type_name(n->type);
	uint8_t mac[6];

	if (n->mac && !guest_nic_mac(n->mac, mac))
		return err_set(err, -EINVAL, "nics: mac \"%.40s\": six bytes like 00:16:3e:12:34:56 are wanted",
			       n->mac);
	if ((n->type == LINK_TAP) != !!(n->tap ?: n->bridge) || (n->tap && n->bridge))
		return err_set(err, -EINVAL, "nics: type %s: %s", type,
			       n->type == LINK_TAP ? "one of tap and bridge is wanted"
						   : "tap and bridge are of type tap");
	if ((n->type == LINK_PAIR) != !!n->path)
		return err_set(err, -EINVAL, "nics: type %s: %s", type,
			       n->type == LINK_PAIR ? "path is missing" : "path is of type link");
	if (n->restricted && n->type != LINK_USER)
		return err_set(err, -EINVAL, "nics: restricted is possible with type user only");
	return check_forwards(n, err);
}

int guest_nics_check(const struct guest_nics *n, struct err *err)
{
	int r = 0;

	if (n->n > GUEST_NICS_MAX)
		return err_set(err, -EINVAL, "nics: %zu are too many, %d are possible", n->n, GUEST_NICS_MAX);
	for (size_t i = 0; r == 0 && i < n->n; i++)
		r = check_nic(&n->nic[i], err);
	return r;
}

/* ---- JSON ---- */

json_t *guest_nics_to_json(const struct guest_nics *n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n->n; i++) {
		const struct guest_nic *nic = &n->nic[i];
		json_t *o = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "type", link_type_name(nic->type), "mac",
				      nic->mac, "tap", nic->tap, "bridge", nic->bridge, "path", nic->path);
		json_t *forwards = json_array();

		for (size_t k = 0; k < nic->n_forwards; k++)
			json_array_append_new(forwards, json_string(nic->forward[k]));
		if (nic->restricted)
			json_object_set_new(o, "restricted", json_true());
		if (nic->n_forwards)
			json_object_set(o, "forwards", forwards);
		json_decref(forwards);
		json_array_append_new(list, o);
	}
	return list;
}

static int get_forwards(json_t *list, struct guest_nic *n, struct err *err)
{
	json_t *v;
	size_t i;

	if (!json_is_array(list))
		return err_set(err, -EINVAL, "nics: forwards: a list is wanted");
	json_array_foreach (list, i, v) {
		if (!json_is_string(v))
			return err_set(err, -EINVAL, "nics: forwards: a list of strings is wanted");
		if (add_forward(n, json_string_value(v)) < 0)
			return err_errno(err, -ENOMEM, "nics");
	}
	return 0;
}

static int get_key(struct guest_nic *n, const char *key, json_t *v, struct err *err)
{
	if (!strcmp(key, "type"))
		return json_is_string(v) && link_type_parse(json_string_value(v), &n->type) == 0
			       ? 0
			       : err_set(err, -EINVAL, "nics: type: user, tap or link is wanted");
	if (!strcmp(key, "mac"))
		return guest_device_text("nics", key, v, &n->mac, err);
	if (!strcmp(key, "tap"))
		return guest_device_text("nics", key, v, &n->tap, err);
	if (!strcmp(key, "bridge"))
		return guest_device_text("nics", key, v, &n->bridge, err);
	if (!strcmp(key, "path"))
		return guest_device_text("nics", key, v, &n->path, err);
	if (!strcmp(key, "restricted"))
		return guest_device_bool("nics", key, v, &n->restricted, err);
	if (!strcmp(key, "forwards"))
		return get_forwards(v, n, err);
	return err_set(err, -EINVAL, "nics: unknown key \"%.80s\"", key);
}

int guest_nics_from_json(json_t *list, struct guest_nics *ret, struct err *err)
{
	const char *key;
	json_t *o, *v;
	size_t i;

	if (!json_is_array(list))
		return err_set(err, -EINVAL, "nics: a list is wanted");
	json_array_foreach (list, i, o) {
		struct guest_nic *n = add(ret);

		if (!n)
			return err_errno(err, -ENOMEM, "nics");
		if (!json_object_get(o, "type"))
			return err_set(err, -EINVAL, "nics: a list of objects is wanted, each with a type");
		json_object_foreach (o, key, v) {
			int r = get_key(n, key, v, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}
