/* SPDX-License-Identifier: Apache-2.0 */
#include "base/beside.h"

#include <dlfcn.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int beside_path(const char *name, char ret[BESIDE_PATH_MAX], struct err *err)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_errno(err, -errno, "/proc/self/exe");
	self[n] = 0;
	snprintf(ret, BESIDE_PATH_MAX, "%s/%s", dirname(self), name);
	return 0;
}

int beside_function(const char *module, const char *function, void *ret, struct err *err)
{
	void *found = dlsym(RTLD_DEFAULT, function), *loaded;
	char path[BESIDE_PATH_MAX];

	if (!found) {
		int r = beside_path(module, path, err);

		if (r < 0)
			return r;
		loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		found = loaded ? dlsym(loaded, function) : NULL;
	}
	if (!found)
		return err_set(err, -ENOPKG, "%s cannot be loaded: %s", module, dlerror());
	memcpy(ret, &found, sizeof(found));
	return 0;
}
