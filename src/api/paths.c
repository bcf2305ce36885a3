/* SPDX-License-Identifier: Apache-2.0 */
#include "api/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"

#define DOMID_LAST 0x7fef /* DOMID_FIRST_RESERVED is 0x7ff0 */

static char *join(char *base, const char *name, const char *file)
{
	char *path =
		base ? str_printf("%s%s%s%s%s", base, name ? "/" : "", name ?: "", file ? "/" : "", file ?: "") : NULL;

	free(base);
	return path;
}

static char *runtime_base(void)
{
	const char *own = getenv("NIDRA_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");

	if (own && *own)
		return strdup(own);
	if (!geteuid())
		return strdup("/run/nidra");
	if (xdg && *xdg)
		return str_printf("%s/nidra", xdg);
	return str_printf("/tmp/nidra-%u", geteuid());
}

static char *state_base(void)
{
	const char *own = getenv("NIDRA_STATE_DIR"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (own && *own)
		return strdup(own);
	if (!geteuid())
		return strdup("/var/log/nidra");
	if (xdg && *xdg)
		return str_printf("%s/nidra", xdg);
	return str_printf("%s/.local/state/nidra", home && *home ? home : "/tmp");
}

char *path_runtime(const char *name, const char *file)
{
	return join(runtime_base(), name, file);
}

char *path_state(const char *name, const char *file)
{
	return join(state_base(), name, file);
}

static int make_folder(const char *path, struct err *err)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return err_errno(err, -ENOMEM, "%s", path);
	for (char *p = copy + 1; *p; p++)
		if (*p == '/') {
			*p = 0;
			mkdir(copy, 0755);
			*p = '/';
		}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(err, -errno, "make the folder %s", path);
	return 0;
}

/* In /tmp anybody could have made it first. */
static int check_owner(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_errno(err, -errno, "%s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return err_set(err, -EPERM, "%s is not a folder that only you can write to", path);
	return 0;
}

int paths_make(const char *name, struct err *err)
{
	_cleanup_free_ char *all = path_runtime(NULL, NULL), *runtime = path_runtime(name, NULL),
			    *state = path_state(name, NULL);
	int r;

	if (!all || !runtime || !state)
		return err_errno(err, -ENOMEM, "folders");
	r = make_folder(all, err);
	r = r ?: check_owner(all, err);
	r = r ?: make_folder(runtime, err);
	return r ?: make_folder(state, err);
}

int path_lock(const char *name, struct err *err)
{
	_cleanup_free_ char *path = path_runtime(name, "lock");
	_cleanup_close_ int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return err_errno(err, -errno, "lock of machine %s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(err, -EBUSY, "there is a machine named %s already", name);
	return take_fd(fd);
}

int path_take_domid(uint16_t *domid, struct err *err)
{
	_cleanup_free_ char *dir = path_runtime(NULL, ".domids");
	uint16_t first = *domid ?: 1, last = *domid ?: DOMID_LAST;
	int r = dir ? make_folder(dir, err) : err_errno(err, -ENOMEM, "domids");

	for (uint32_t id = first; r == 0 && id <= last; id++) {
		_cleanup_free_ char *path = str_printf("%s/%u", dir, id);
		_cleanup_close_ int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

		if (fd < 0)
			return err_errno(err, -errno, "domid %u", id);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			continue;
		*domid = (uint16_t)id;
		return take_fd(fd);
	}
	return r ?: err_set(err, -EBUSY, "domid %u is another machine's", first);
}

bool path_is_live(const char *name)
{
	_cleanup_free_ char *path = path_runtime(name, "lock");
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

void path_remove(const char *name)
{
	static const char *const files[] = { "api.sock", "console.sock", "lock" };
	_cleanup_free_ char *dir = path_runtime(name, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = path_runtime(name, files[i]);

		if (path)
			unlink(path);
	}
	if (dir)
		rmdir(dir);
}
