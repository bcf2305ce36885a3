/* SPDX-License-Identifier: Apache-2.0 */
#include "image/snapshots.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "image/image.h"

#define TAG_LEN 8 /* hex digits behind the disk's own name */

struct image_snapshots {
	json_t *disks;
};

struct image_snapshots *image_snapshots_of(const char *path)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_snapshots *s;
	json_t *meta, *disks;
	const void *body;
	size_t len;

	if (image_reader_look(path, &r, NULL) < 0 || image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len) < 0)
		return NULL;
	meta = json_loadb(body, len, 0, NULL);
	disks = json_incref(json_object_get(meta, "disks"));
	json_decref(meta);
	s = json_is_array(disks) ? calloc(1, sizeof(*s)) : NULL;
	if (s)
		s->disks = json_incref(disks);
	json_decref(disks);
	return s;
}

/* "DISK.1234abcd", a file that nobody may write: what it was when it was made. */
static bool is_ours(const char *disk, const char *snapshot)
{
	size_t n = disk ? strlen(disk) : 0;
	struct stat st;

	return disk && snapshot && !strncmp(disk, snapshot, n) && snapshot[n] == '.' &&
	       strlen(snapshot) == n + 1 + TAG_LEN && strspn(snapshot + n + 1, "0123456789abcdef") == TAG_LEN &&
	       lstat(snapshot, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & 0222);
}

static bool has(const struct image_snapshots *s, const char *snapshot)
{
	json_t *disk;
	size_t i;

	json_array_foreach (s ? s->disks : NULL, i, disk) {
		const char *other = json_string_value(json_object_get(disk, "snapshot"));

		if (other && !strcmp(other, snapshot))
			return true;
	}
	return false;
}

void image_snapshots_remove(const struct image_snapshots *s, const struct image_snapshots *other)
{
	json_t *disk;
	size_t i;

	json_array_foreach (s ? s->disks : NULL, i, disk) {
		const char *path = json_string_value(json_object_get(disk, "path"));
		const char *snapshot = json_string_value(json_object_get(disk, "snapshot"));

		if (!is_ours(path, snapshot) || has(other, snapshot))
			continue;
		if (unlink(snapshot) < 0)
			log_warn("cannot remove %s, of an image that is gone: %s", snapshot, strerror(errno));
	}
}

void image_snapshots_free(struct image_snapshots *s)
{
	if (!s)
		return;
	json_decref(s->disks);
	free(s);
}
