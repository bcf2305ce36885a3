/* SPDX-License-Identifier: Apache-2.0 */
/* Removing images without orphaning others. Children are looked for in the image's own folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "image/reader.h"
#include "image/snapshots.h"

#define DEPTH_MAX IMAGE_FILES_MAX

/* @path as an image; NULL if it is none, a damaged one, or one that is not finished. */
static struct image_file *try_open(const char *path)
{
	const char *end = strrchr(path, '.');
	struct image_file *f = NULL;
	int fd = end && !strcmp(end, ".partial") ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd >= 0 && image_file_open(fd, path, NULL, &f, NULL) == 0 ? f : NULL;
}

/* Calls @fn with each child of @f in its folder. */
static int for_children(const struct image_file *f, int (*fn)(void *arg, const char *path, struct err *err), void *arg,
			struct err *err)
{
	_cleanup_free_ char *copy = strdup(f->name);
	const char *folder = copy ? dirname(copy) : ".";
	DIR *dir = opendir(folder);
	struct dirent *e;
	int r = dir ? 0 : err_errno(err, -errno, "open the folder %s", folder);

	while (r == 0 && (e = readdir(dir))) {
		_cleanup_free_ char *path = str_printf("%s/%s", folder, e->d_name);
		_cleanup_(image_file_freep) struct image_file *other = path ? try_open(path) : NULL;

		if (other && other->parent && image_file_is(f, &other->parent->id))
			r = fn(arg, path, err);
	}
	if (dir)
		closedir(dir);
	return r;
}

struct names {
	char text[400];
	size_t n;
};

static int add_name(void *arg, const char *path, struct err *err)
{
	struct names *names = arg;
	size_t len = strlen(names->text);

	(void)err;
	if (names->n++ < 5)
		snprintf(names->text + len, sizeof(names->text) - len, "%s%s", len ? ", " : "", strrchr(path, '/') + 1);
	return 0;
}

/* First the image, then what is worth nothing without it. */
static int remove_one(const char *path, struct err *err)
{
	_cleanup_(image_snapshots_freep) struct image_snapshots *s = image_snapshots_of(path);

	if (unlink(path) < 0)
		return err_errno(err, -errno, "remove %s", path);
	image_snapshots_remove(s, NULL);
	return 0;
}

static int remove_with_children(void *arg, const char *path, struct err *err)
{
	_cleanup_(image_file_freep) struct image_file *f = try_open(path);
	unsigned int *depth = arg;
	int r;

	if (++*depth > DEPTH_MAX)
		return err_set(err, -ELOOP, "%s has too many generations", path);
	r = f ? for_children(f, remove_with_children, depth, err) : 0;
	--*depth;
	return r ?: remove_one(path, err);
}

int image_remove(const char *path, bool cascade, struct err *err)
{
	_cleanup_(image_file_freep) struct image_file *f = NULL;
	struct names names = { 0 };
	unsigned int depth = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r = fd < 0 ? err_errno(err, -errno, "open %s", path) : image_file_open(fd, path, NULL, &f, err);

	if (r < 0) /* what is no image is not ours to remove */
		return r;
	if (cascade)
		return remove_with_children(&depth, path, err);
	r = for_children(f, add_name, &names, err);
	if (r == 0 && names.n)
		return err_set(err, -EBUSY, "%s is needed by %s%s (--cascade removes them, too)", path, names.text,
			       names.n > 5 ? " and others" : "");
	return r ?: remove_one(path, err);
}
