/* SPDX-License-Identifier: Apache-2.0 */
/* What lists of disks, networks and shares have in common. */
#include "guest/config_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int guest_device_text(const char *list, const char *key, json_t *v, char **ret, struct err *err)
{
	const char *s = json_string_value(v);

	if (!s || !*s || strlen(s) != json_string_length(v))
		return err_set(err, -EINVAL, "%s: %s: a string is wanted", list, key);
	free(*ret);
	*ret = strdup(s);
	return *ret ? 0 : err_errno(err, -ENOMEM, "%s", list);
}

int guest_device_bool(const char *list, const char *key, json_t *v, bool *ret, struct err *err)
{
	*ret = json_is_true(v);
	return json_is_boolean(v) ? 0 : err_set(err, -EINVAL, "%s: %s: true or false is wanted", list, key);
}
