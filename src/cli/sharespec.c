/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/sharespec.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

static int parse(char *copy, json_t **ret, struct err *err)
{
	char *colon = strrchr(copy, ':'), *comma = colon ? strchr(colon, ',') : NULL,
	     *access = comma ? comma + 1 : NULL;
	char real[PATH_MAX];
	bool ro;

	if (!colon || colon == copy)
		return err_set(err, -EINVAL, "share \"%s\": FOLDER:TAG is wanted, perhaps with ,ro", copy);
	*colon = 0;
	if (comma)
		*comma = 0;
	ro = access && !strcmp(str_trim(access), "ro");
	if (access && !ro && strcmp(str_trim(access), "rw"))
		return err_set(err, -EINVAL, "share %s: \"%s\": ro or rw is wanted", colon + 1, access);
	copy = str_trim(copy);
	*ret = json_pack("{s:s, s:s, s:b}", "tag", str_trim(colon + 1), "path", realpath(copy, real) ? real : copy,
			 "readonly", ro);
	return *ret ? 0 : err_set(err, -EINVAL, "share: what it says is not UTF-8");
}

int sharespec_parse(const char *text, json_t **ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);

	return copy ? parse(copy, ret, err) : err_errno(err, -ENOMEM, "share");
}
