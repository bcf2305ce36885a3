/* SPDX-License-Identifier: Apache-2.0 */
#include "image/working_set.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/log.h"
#include "base/str.h"

#define FILES_MAX 256
#define SUFFIX	  ".touched"

/* The file: this, then {u32 extent}[]. Its name is the image's id. */
struct header {
	char magic[8];
	uint64_t extents; /* of the image and its parents: a folded chain is another one */
};
static const char magic[8] = "NIDRAWS1";

static char *path_of(const char *folder, const struct image_reader *r)
{
	struct image_stats stats;
	uint64_t half[2];

	image_reader_stats(r, &stats);
	_Static_assert(sizeof(half) == sizeof(stats.id), "an id has 16 bytes");
	memcpy(half, &stats.id, sizeof(half));
	return str_printf("%s/%016" PRIx64 "%016" PRIx64 SUFFIX, folder, half[0], half[1]);
}

struct working_set *working_set_read(const char *folder, const struct image_reader *r)
{
	struct working_set *set = calloc(1, sizeof(*set));
	_cleanup_free_ char *path = set ? path_of(folder, r) : NULL;
	_cleanup_free_ uint8_t *file = NULL;
	struct header h;
	size_t len;

	if (!path || io_read_file(path, sizeof(h) + sizeof(set->extent), &file, &len, NULL) < 0 || len < sizeof(h))
		return set;
	memcpy(&h, file, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)) || h.extents != r->extents)
		return set;
	for (size_t at = sizeof(h); at + sizeof(uint32_t) <= len; at += sizeof(uint32_t)) {
		memcpy(&set->extent[set->n], file + at, sizeof(uint32_t));
		if (set->extent[set->n] < r->extents)
			set->n++;
	}
	return set;
}

static int is_ours(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > strlen(SUFFIX) && !strcmp(d->d_name + len - strlen(SUFFIX), SUFFIX);
}

/* One goes for each that comes when there are many: the oldest. */
static void make_room(const char *folder)
{
	_cleanup_free_ char *oldest = NULL;
	struct dirent **entry = NULL;
	int n = scandir(folder, &entry, is_ours, NULL);
	time_t when = 0;

	for (int i = 0; i < n; i++) {
		_cleanup_free_ struct dirent *d = entry[i];
		_cleanup_free_ char *path = str_printf("%s/%s", folder, d->d_name);
		struct stat st;

		if (path && !stat(path, &st) && (!oldest || st.st_mtime < when)) {
			when = st.st_mtime;
			free(oldest);
			oldest = take_ptr(path);
		}
	}
	free(entry);
	if (n >= FILES_MAX && oldest)
		unlink(oldest);
}

void working_set_write(const char *folder, const struct image_reader *r, const struct working_set *set)
{
	_cleanup_free_ char *path = path_of(folder, r), *temp = path ? str_printf("%s.new", path) : NULL;
	struct header h = { .extents = r->extents };
	_cleanup_close_ int fd = -1;
	int e = 0;

	if (!temp)
		return;
	memcpy(h.magic, magic, sizeof(magic));
	mkdir(folder, 0700);
	make_room(folder);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		e = -errno;
	e = e ?: io_write_full(fd, &h, sizeof(h));
	e = e ?: io_write_full(fd, set->extent, set->n * sizeof(set->extent[0]));
	if (e == 0 && rename(temp, path) < 0)
		e = -errno;
	if (e < 0) {
		log_warn("what was touched first is not remembered in %s: %s", folder, strerror(-e));
		unlink(temp);
	}
}
