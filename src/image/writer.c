/* SPDX-License-Identifier: Apache-2.0 */
/* The file's life cycle, and its records: they stay in memory until the seal writes them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/str.h"
#include "image/internal.h"
#include "image/writer.h"

void image_writer_free(struct image_writer *w)
{
	if (!w)
		return;
	if (w->temp_name && !w->sealed)
		unlink(w->temp_name);
	close_fdp(&w->fd);
	close_fdp(&w->dir_fd);
	bytes_writer_fini(&w->records);
	bytes_writer_fini(&w->digests);
	free(w->extent);
	free(w->path);
	free(w->temp_name);
	free(w);
}

/* A file without a name is gone with its last descriptor, even if we are killed. */
static int open_temporary(struct image_writer *w, const char *dir, const char *base, struct err *err)
{
	w->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (w->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
		return err_errno(err, -errno, "create an image in %s", dir);
	w->temp_name = str_printf("%s/.%s.XXXXXX.partial", dir, base);
	if (!w->temp_name)
		return err_errno(err, -ENOMEM, "image");
	w->fd = mkostemps(w->temp_name, strlen(".partial"), O_CLOEXEC);
	if (w->fd >= 0)
		return 0;
	free(take_ptr(w->temp_name));
	return err_errno(err, -errno, "create an image in %s", dir);
}

int image_writer_new(const char *path, bool replace, struct image_writer **ret, struct err *err)
{
	_cleanup_(image_writer_freep) struct image_writer *w = calloc(1, sizeof(*w));
	_cleanup_free_ char *copy1 = strdup(path), *copy2 = strdup(path);
	struct stat st;
	const char *dir;
	int r;

	if (!w || !copy1 || !copy2)
		return err_errno(err, -ENOMEM, "image");
	w->fd = w->dir_fd = -1;
	w->replace = replace;
	w->data_end = IMAGE_DATA_OFFSET;
	w->path = strdup(path);
	if (!w->path)
		return err_errno(err, -ENOMEM, "image");
	if (!lstat(path, &st)) {
		if (!replace)
			return err_set(err, -EEXIST, "%s exists already (--force replaces it)", path);
		if (!S_ISREG(st.st_mode))
			return err_set(err, -EINVAL, "%s exists and is not a regular file", path);
	}
	dir = dirname(copy1);
	w->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir_fd < 0)
		return err_errno(err, -errno, "open the folder %s", dir);
	r = open_temporary(w, dir, basename(copy2), err);
	if (r < 0)
		return r;
	*ret = take_ptr(w);
	return 0;
}

int image_writer_record(struct image_writer *w, uint32_t type, uint32_t instance, uint32_t flags,
			const void *body, size_t len, struct err *err)
{
	static const uint8_t zeros[8];
	struct image_record head = { .type = type, .instance = instance, .flags = flags, .len = len };

	head.digest = image_record_digest(&head, body);
	bytes_put(&w->records, &head, sizeof(head));
	bytes_put(&w->records, body, len);
	bytes_put(&w->records, zeros, -len & 7);
	bytes_put(&w->digests, &head.digest, sizeof(head.digest));
	if (w->records.failed || w->digests.failed || w->records.len > IMAGE_RECORDS_MAX)
		return err_errno(err, -ENOMEM, "record %u of %s", type, w->path);
	return 0;
}

static int add_last_records(struct image_writer *w, struct err *err)
{
	struct image_digest all;
	int r = image_writer_record(w, IMAGE_REC_REGIONS, 0, 0, w->region, w->regions * sizeof(w->region[0]),
				    err);

	r = r ?: image_writer_record(w, IMAGE_REC_EXTENTS, 0, 0, w->extent,
				     w->extents * sizeof(w->extent[0]), err);
	all = image_digest(w->digests.buf, w->digests.len);
	return r ?: image_writer_record(w, IMAGE_REC_END, 0, 0, &all, sizeof(all), err);
}

static int write_all(struct image_writer *w, struct err *err)
{
	struct image_header h = { .magic = IMAGE_MAGIC,
				  .version = IMAGE_VERSION,
				  .header_len = IMAGE_HEADER_LEN,
				  .records_offset = w->data_end,
				  .file_len = w->data_end + w->records.len };
	int r;

	h.digest = image_digest(&h, offsetof(struct image_header, digest));
	r = io_pwrite_full(w->fd, w->records.buf, w->records.len, w->data_end);
	r = r ?: io_pwrite_full(w->fd, &h, sizeof(h), 0);
	if (r < 0)
		return err_errno(err, r, "write %s (%" PRIu64 " MiB)", w->path, h.file_len >> 20);
	if (fsync(w->fd) < 0)
		return err_errno(err, -errno, "write %s to the disk", w->path);
	w->file_len = h.file_len;
	return 0;
}

/* A file without a name gets one; to replace another it needs a name to be renamed from. */
static int link_unnamed(struct image_writer *w)
{
	char proc[64];
	_cleanup_free_ char *temp = NULL;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", w->fd);
	if (!w->replace)
		return linkat(AT_FDCWD, proc, AT_FDCWD, w->path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	temp = str_printf("%s.%d.partial", w->path, getpid());
	if (!temp)
		return -ENOMEM;
	unlink(temp);
	if (linkat(AT_FDCWD, proc, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	if (rename(temp, w->path) < 0) {
		int r = -errno;

		unlink(temp);
		return r;
	}
	return 0;
}

static int give_name(struct image_writer *w)
{
	if (!w->temp_name)
		return link_unnamed(w);
	return renameat2(AT_FDCWD, w->temp_name, AT_FDCWD, w->path, w->replace ? 0 : RENAME_NOREPLACE) < 0 ?
		       -errno :
		       0;
}

int image_writer_seal(struct image_writer *w, struct image_stats *ret, struct err *err)
{
	int r = add_last_records(w, err);

	r = r ?: write_all(w, err);
	if (r < 0)
		return r;
	r = give_name(w);
	if (r < 0)
		return err_errno(err, r, "give the image its name %s", w->path);
	w->sealed = true;
	/* From here the image is there, whatever the folder's fsync says; without it a power cut might
	 * take its name away, so say so. */
	if (fsync(w->dir_fd) < 0 && errno != EINVAL) {
		r = -errno;
		unlink(w->path);
		return err_errno(err, r, "write the folder of %s to the disk", w->path);
	}
	*ret = (struct image_stats){ .file_bytes = w->file_len,
				     .memory_bytes = w->data_end - IMAGE_DATA_OFFSET,
				     .zero_bytes = w->memory_bytes - (w->data_end - IMAGE_DATA_OFFSET),
				     .extents = w->extents };
	return 0;
}
