/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/config_device.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <uuid/uuid.h>

#include "base/str.h"

static const char *const actions[] = { "destroy", "restart", "preserve" };
static const char *const transports[] = { "auto", "intercept", "thunks" };

const char *guest_action_name(enum guest_action a)
{
	return actions[a];
}

const char *guest_transport_name(enum guest_transport t)
{
	return transports[t];
}

int guest_action_parse(const char *s, enum guest_action *ret)
{
	int i = str_index(actions, ARRAY_SIZE(actions), s);

	if (i < 0)
		return i;
	*ret = (enum guest_action)i;
	return 0;
}

int guest_transport_parse(const char *s, enum guest_transport *ret)
{
	int i = str_index(transports, ARRAY_SIZE(transports), s);

	if (i < 0)
		return i;
	*ret = (enum guest_transport)i;
	return 0;
}

void guest_config_fini(struct guest_config *c)
{
	free(c->name);
	free(c->uuid);
	free(c->kernel);
	free(c->initrd);
	free(c->cmdline);
	guest_disks_fini(&c->disks);
	guest_nics_fini(&c->nics);
	guest_shares_fini(&c->shares);
	*c = (struct guest_config){ 0 };
}

static char *copy_string(const char *s, bool *failed)
{
	char *copy = s ? strdup(s) : NULL;

	*failed |= s && !copy;
	return copy;
}

int guest_config_copy(const struct guest_config *c, struct guest_config *ret, struct err *err)
{
	struct guest_config copy = *c;
	bool failed = false;

	copy.name = copy_string(c->name, &failed);
	copy.uuid = copy_string(c->uuid, &failed);
	copy.kernel = copy_string(c->kernel, &failed);
	copy.initrd = copy_string(c->initrd, &failed);
	copy.cmdline = copy_string(c->cmdline, &failed);
	copy.disks = (struct guest_disks){ 0 };
	failed |= guest_disks_copy(&c->disks, &copy.disks) < 0;
	copy.nics = (struct guest_nics){ 0 };
	failed |= guest_nics_copy(&c->nics, &copy.nics) < 0;
	copy.shares = (struct guest_shares){ 0 };
	failed |= guest_shares_copy(&c->shares, &copy.shares) < 0;
	if (failed) {
		guest_config_fini(&copy);
		return err_errno(err, -ENOMEM, "configuration");
	}
	*ret = copy;
	return 0;
}

bool guest_name_is_valid(const char *name)
{
	bool good = isalnum((unsigned char)name[0]) && strlen(name) <= GUEST_NAME_MAX;

	for (const char *p = name; good && *p; p++)
		good = isalnum((unsigned char)*p) || strchr("-_.", *p);
	return good;
}

static int check_name(const char *name, struct err *err)
{
	if (name && guest_name_is_valid(name))
		return 0;
	return err_set(err, -EINVAL,
		       "name \"%.80s\": up to %d letters, digits, - _ . are possible, the first one a letter or digit",
		       name ?: "", GUEST_NAME_MAX);
}

static int check_uuid(struct guest_config *c, struct err *err)
{
	char text[37];
	uuid_t u;

	if (c->uuid && strcmp(c->uuid, "new"))
		return uuid_parse(c->uuid, u) ? err_set(err, -EINVAL, "uuid \"%.80s\" is not a UUID", c->uuid) : 0;
	free(c->uuid);
	uuid_generate(u);
	uuid_unparse_lower(u, text);
	c->uuid = strdup(text);
	return c->uuid ? 0 : err_errno(err, -ENOMEM, "uuid");
}

/* Its own, or that of a disk, with which an initrd from elsewhere has nothing to do. */
static int check_kernel(const struct guest_config *c, struct err *err)
{
	if (c->kernel && *c->kernel)
		return 0;
	if (c->kernel || !c->disks.n)
		return err_set(err, -EINVAL, "kernel: which file is the guest's kernel, or which disk has it?");
	if (c->initrd)
		return err_set(err, -EINVAL, "initrd %s: there is no kernel that it belongs to", c->initrd);
	return 0;
}

/* They need a network of type user to go through. */
static int check_shares(struct guest_config *c, struct err *err)
{
	int r = guest_shares_check(&c->shares, err);

	if (r < 0 || !c->shares.n)
		return r;
	for (size_t i = 0; i < c->nics.n; i++)
		if (c->nics.nic[i].type == LINK_USER)
			return 0;
	return guest_nics_add_restricted(&c->nics) < 0 ? err_errno(err, -ENOMEM, "nics") : 0;
}

int guest_config_check(struct guest_config *c, struct err *err)
{
	int r = check_name(c->name, err);

	if (r < 0)
		return r;
	if (!c->maxvcpus)
		c->maxvcpus = c->vcpus;
	if (!c->domid)
		c->domid = 1;
	r = check_kernel(c, err);
	if (r < 0)
		return r;
	if (c->memory_mib < GUEST_MEMORY_MIN_MIB || c->memory_mib > GUEST_MEMORY_MAX_MIB)
		return err_set(err, -EINVAL, "memory %u MiB: %u to %u MiB are possible", c->memory_mib,
			       GUEST_MEMORY_MIN_MIB, GUEST_MEMORY_MAX_MIB);
	if (!c->vcpus || c->maxvcpus > GUEST_VCPUS_MAX)
		return err_set(err, -EINVAL, "vcpus %u: 1 to %u are possible", c->vcpus ? c->maxvcpus : c->vcpus,
			       GUEST_VCPUS_MAX);
	if (c->vcpus > c->maxvcpus)
		return err_set(err, -EINVAL, "vcpus %u is more than maxvcpus %u", c->vcpus, c->maxvcpus);
	if (c->domid >= 0x7ff0)
		return err_set(err, -EINVAL, "domid %u: 1 to 32751 are possible", c->domid);
	r = guest_disks_check(&c->disks, err);
	r = r ?: check_shares(c, err);
	r = r ?: guest_nics_check(&c->nics, err);
	return r ?: check_uuid(c, err);
}

char *guest_config_to_json(const struct guest_config *c)
{
	json_t *o = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:s}", "name",
			      c->name, "uuid", c->uuid, "kernel", c->kernel, "initrd", c->initrd, "cmdline", c->cmdline,
			      "memory_mib", (int)c->memory_mib, "vcpus", (int)c->vcpus, "maxvcpus", (int)c->maxvcpus,
			      "domid", (int)c->domid, "on_poweroff", actions[c->on_poweroff], "on_reboot",
			      actions[c->on_reboot], "on_crash", actions[c->on_crash], "on_watchdog",
			      actions[c->on_watchdog], "transport", transports[c->transport]);
	char *s;

	if (o && c->disks.n)
		json_object_set_new(o, "disks", guest_disks_to_json(&c->disks));
	if (o && c->nics.n)
		json_object_set_new(o, "nics", guest_nics_to_json(&c->nics));
	if (o && c->shares.n)
		json_object_set_new(o, "shares", guest_shares_to_json(&c->shares));
	s = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return s;
}

static int get_string(const char *key, json_t *v, char **ret, struct err *err)
{
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
		return err_set(err, -EINVAL, "%s: a string is wanted", key);
	free(*ret);
	*ret = strdup(json_string_value(v));
	return *ret ? 0 : err_errno(err, -ENOMEM, "%s", key);
}

static int get_number(const char *key, json_t *v, uint32_t *ret, struct err *err)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || n > UINT32_MAX)
		return err_set(err, -EINVAL, "%s: a number is wanted", key);
	*ret = (uint32_t)n;
	return 0;
}

static int get_action(const char *key, json_t *v, enum guest_action *ret, struct err *err)
{
	const char *s = json_string_value(v);

	return s && guest_action_parse(s, ret) == 0
		       ? 0
		       : err_set(err, -EINVAL, "%s: destroy, restart or preserve is wanted", key);
}

static int get_transport(const char *key, json_t *v, enum guest_transport *ret, struct err *err)
{
	const char *s = json_string_value(v);

	return s && guest_transport_parse(s, ret) == 0
		       ? 0
		       : err_set(err, -EINVAL, "%s: auto, intercept or thunks is wanted", key);
}

static int get_domid(const char *key, json_t *v, uint16_t *ret, struct err *err)
{
	uint32_t n = 0;
	int r = get_number(key, v, &n, err);

	if (r == 0 && n > UINT16_MAX)
		return err_set(err, -EINVAL, "domid %u is too large", n);
	*ret = (uint16_t)n;
	return r;
}

static int get_key(struct guest_config *c, const char *key, json_t *v, struct err *err)
{
	if (!strcmp(key, "name"))
		return get_string(key, v, &c->name, err);
	if (!strcmp(key, "uuid"))
		return get_string(key, v, &c->uuid, err);
	if (!strcmp(key, "kernel"))
		return get_string(key, v, &c->kernel, err);
	if (!strcmp(key, "initrd"))
		return get_string(key, v, &c->initrd, err);
	if (!strcmp(key, "cmdline"))
		return get_string(key, v, &c->cmdline, err);
	if (!strcmp(key, "memory_mib"))
		return get_number(key, v, &c->memory_mib, err);
	if (!strcmp(key, "vcpus"))
		return get_number(key, v, &c->vcpus, err);
	if (!strcmp(key, "maxvcpus"))
		return get_number(key, v, &c->maxvcpus, err);
	if (!strcmp(key, "domid"))
		return get_domid(key, v, &c->domid, err);
	if (!strcmp(key, "on_poweroff"))
		return get_action(key, v, &c->on_poweroff, err);
	if (!strcmp(key, "on_reboot"))
		return get_action(key, v, &c->on_reboot, err);
	if (!strcmp(key, "on_crash"))
		return get_action(key, v, &c->on_crash, err);
	if (!strcmp(key, "on_watchdog"))
		return get_action(key, v, &c->on_watchdog, err);
	if (!strcmp(key, "transport"))
		return get_transport(key, v, &c->transport, err);
	if (!strcmp(key, "disks"))
		return guest_disks_from_json(v, &c->disks, err);
	if (!strcmp(key, "nics"))
		return guest_nics_from_json(v, &c->nics, err);
	if (!strcmp(key, "shares"))
		return guest_shares_from_json(v, &c->shares, err);
	return err_set(err, -EINVAL, "unknown key \"%.80s\"", key);
}

int guest_config_from_json(const char *json, size_t len, struct guest_config *ret, struct err *err)
{
	_cleanup_(guest_config_fini) struct guest_config c = { .memory_mib = 512, .vcpus = 1 };
	json_error_t at;
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &at), *v;
	const char *key;
	int r = 0;

	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(err, -EINVAL, "the configuration is not a JSON object: %.100s", at.text);
	}
	json_object_foreach (o, key, v) {
		r = get_key(&c, key, v, err);
		if (r < 0)
			break;
	}
	json_decref(o);
	if (r < 0)
		return r;
	*ret = c;
	c = (struct guest_config){ 0 };
	return 0;
}
