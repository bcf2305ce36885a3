/* SPDX-License-Identifier: Apache-2.0 */
/* The file's life cycle, and its records: they stay in memory until the seal writes them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/str.h"
#include "image/reader.h"
#include "image/snapshots.h"
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
	free(w->left_out);
	free(w->place);
	image_share_free(w->share);
	image_crypt_free(w->crypt);
	free(w->parent);
	pthread_mutex_destroy(&w->lock);
	free(w->path);
	free(w->temp_name);
	free(w);
}

/* .BASE.XXXXXX.partial, or BASE.PID.partial: see open_temporary() and link_unnamed(). */
static bool is_temporary(const char *base, const char *name)
{
	const char *middle = name + (*name == '.') + strlen(base) + 1;
	size_t n;

	if (strncmp(name + (*name == '.'), base, strlen(base)) || middle[-1] != '.')
		return false;
	n = *name == '.' ? strcspn(middle, ".") : strspn(middle, "0123456789");
	return n && !strcmp(middle + n, ".partial");
}

/* What a killed writer left has nobody who holds its lock. */
static bool is_left_over(int dir_fd, const char *base, const char *name)
{
	_cleanup_close_ int fd = -1;

	if (!is_temporary(base, name))
		return false;
	fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB);
}

static void remove_left_over(int dir_fd, const char *base)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (e = readdir(dir)))
		if (is_left_over(dir_fd, base, e->d_name))
			unlinkat(dir_fd, e->d_name, 0);
	if (dir)
		closedir(dir);
}

/* A file without a name is gone with its last descriptor, even if we are killed. Where there is none (and for a
 * moment in link_unnamed()), what is left is known by its name and its lock. */
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

/* A child of itself could never be read. */
static int set_parent(struct image_writer *w, const struct image_file *f, const struct image_digest *want,
		      struct err *err)
{
	const char *parent = f->name;
	struct stat a, b;

	w->parent_id = f->id;
	if (want && !image_file_is(f, want))
		return err_set(err, -ESTALE, "the parent: %s was replaced by another image", parent);
	if (!stat(parent, &a) && !stat(w->path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return err_set(err, -EINVAL, "%s cannot replace its own parent; take another name", w->path);
	w->parent = image_parent_name(parent, w->path);
	return w->parent ? 0 : err_errno(err, -ENOMEM, "image");
}

/* The whole chain has one key, or none. */
static int open_parent(const char *parent, struct image_key *key, struct image_file **ret, struct err *err)
{
	int fd = open(parent, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r = fd < 0 ? err_errno(err, -errno, "open %s", parent) : image_file_open(fd, parent, key, ret, err);

	r = r ?: image_file_need_key(*ret, err);
	return r < 0 ? err_prefix(err, "the parent") : 0;
}

static int set_key(struct image_writer *w, struct image_key *key, const struct image_file *parent, struct err *err)
{
	struct image_crypt_entry entry;
	int r = image_crypt_make(key, parent ? image_file_crypt_entry(parent) : NULL, &entry, &w->crypt, err);

	return r ?: image_writer_record(w, IMAGE_REC_CRYPT, 0, 0, &entry, sizeof(entry), err);
}

static int set_family(struct image_writer *w, const struct image_options *options, struct err *err)
{
	_cleanup_(image_file_freep) struct image_file *parent = NULL;
	int r = 0;

	if (options->parent) {
		r = open_parent(options->parent, options->key, &parent, err);
		r = r ?: set_parent(w, parent, options->parent_id, err);
	}
	return r ?: options->key ? set_key(w, options->key, parent, err) : 0;
}

static int new_writer(const char *path, const struct image_options *options, struct image_writer **ret, struct err *err)
{
	struct image_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return err_errno(err, -ENOMEM, "image");
	*ret = w;
	w->fd = w->dir_fd = -1;
	pthread_mutex_init(&w->lock, NULL);
	w->replace = options->replace;
	w->codec = options->codec;
	w->level = options->level;
	w->hide_metadata = options->hide_metadata;
	w->data_end = IMAGE_DATA_OFFSET;
	w->path = strdup(path);
	return w->path ? 0 : err_errno(err, -ENOMEM, "image");
}

int image_writer_new_unnamed(const char *name, struct image_writer **ret, struct err *err)
{
	static const struct image_options none;
	_cleanup_(image_writer_freep) struct image_writer *w = NULL;
	int r = new_writer(name, &none, &w, err);

	if (r < 0)
		return r;
	w->fd = memfd_create("nidra-image", MFD_CLOEXEC);
	if (w->fd < 0)
		return err_errno(err, -errno, "memfd for %s", name);
	*ret = take_ptr(w);
	return 0;
}

int image_writer_fd(const struct image_writer *w)
{
	return w->fd;
}

int image_writer_new(const char *path, const struct image_options *options, struct image_writer **ret, struct err *err)
{
	static const struct image_options none;
	_cleanup_(image_writer_freep) struct image_writer *w = NULL;
	_cleanup_free_ char *copy1 = strdup(path), *copy2 = strdup(path);
	int r = new_writer(path, options ?: &none, &w, err);
	const char *dir, *base;
	struct stat st;

	if (r < 0)
		return r;
	if (!copy1 || !copy2)
		return err_errno(err, -ENOMEM, "image");
	options = options ?: &none;
	if (!lstat(path, &st)) {
		if (!w->replace)
			return err_set(err, -EEXIST, "%s exists already (--force replaces it)", path);
		if (!S_ISREG(st.st_mode))
			return err_set(err, -EINVAL, "%s exists and is not a regular file", path);
	}
	r = set_family(w, options, err);
	if (r < 0)
		return r;
	dir = dirname(copy1);
	w->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir_fd < 0)
		return err_errno(err, -errno, "open the folder %s", dir);
	base = basename(copy2);
	remove_left_over(w->dir_fd, base);
	r = open_temporary(w, dir, base, err);
	if (r < 0)
		return r;
	flock(w->fd, LOCK_EX | LOCK_NB); /* a filesystem without locks keeps what is left */
	*ret = take_ptr(w);
	return 0;
}

/* What has to be known before there is a key, or without one. */
static bool is_visible(const struct image_writer *w, uint32_t type)
{
	switch (type) {
	case IMAGE_REC_METADATA:
		return !w->hide_metadata;
	case IMAGE_REC_REGIONS:
	case IMAGE_REC_PARENT:
	case IMAGE_REC_STANDS_FOR:
	case IMAGE_REC_CRYPT:
	case IMAGE_REC_MAC:
	case IMAGE_REC_END:
		return true;
	default:
		return false;
	}
}

static int add_record(struct image_writer *w, struct image_record *head, const void *body, struct err *err)
{
	static const uint8_t zeros[8];

	head->digest = image_record_digest(head, body);
	bytes_put(&w->records, head, sizeof(*head));
	bytes_put(&w->records, body, head->len);
	bytes_put(&w->records, zeros, -head->len & 7);
	bytes_put(&w->digests, &head->digest, sizeof(head->digest));
	w->records_n++;
	if (w->records.failed || w->digests.failed || w->records.len > IMAGE_RECORDS_MAX)
		return err_errno(err, -ENOMEM, "record %u of %s", head->type, w->path);
	return 0;
}

int image_writer_record(struct image_writer *w, uint32_t type, uint32_t instance, uint32_t flags, const void *body,
			size_t len, struct err *err)
{
	struct image_record head = { .type = type, .instance = instance, .flags = flags, .len = len };
	_cleanup_free_ uint8_t *secret = NULL;

	if (!w->crypt || is_visible(w, type))
		return add_record(w, &head, body, err);
	secret = malloc(len + IMAGE_TAG_LEN);
	if (!secret)
		return err_errno(err, -ENOMEM, "record %u of %s", type, w->path);
	head.flags |= IMAGE_RECORD_FLAG_SECRET;
	head.len += IMAGE_TAG_LEN;
	image_crypt_record(w->crypt, w->records_n, &head, body, len, secret);
	return add_record(w, &head, secret, err);
}

static int add_regions(struct image_writer *w, struct err *err)
{
	struct image_region_entry entry[IMAGE_REGIONS_MAX] = { 0 };

	for (size_t i = 0; i < w->regions; i++) {
		entry[i].kind = w->region[i].kind;
		entry[i].gpa = w->region[i].gpa;
		entry[i].bytes = w->region[i].bytes;
	}
	return image_writer_record(w, IMAGE_REC_REGIONS, 0, 0, entry, w->regions * sizeof(entry[0]), err);
}

static int add_parent(struct image_writer *w, struct err *err)
{
	_cleanup_bytes_ struct bytes_writer body = { 0 };

	if (!w->parent)
		return 0;
	bytes_put(&body, &w->parent_id, sizeof(w->parent_id));
	bytes_put(&body, w->parent, strlen(w->parent));
	return image_writer_record(w, IMAGE_REC_PARENT, 0, 0, body.buf, body.len, err);
}

static uint64_t features(const struct image_writer *w)
{
	uint64_t f = (w->parent ? IMAGE_FEATURE_PARENT : 0) | (w->crypt ? IMAGE_FEATURE_ENCRYPTED : 0);

	for (size_t i = 0; i < w->extents; i++)
		f |= w->extent[i].codec == IMAGE_CODEC_ZSTD  ? IMAGE_FEATURE_ZSTD
		     : w->extent[i].codec == IMAGE_CODEC_LZ4 ? IMAGE_FEATURE_LZ4
							     : 0;
	return f;
}

static struct image_header make_header(const struct image_writer *w, uint64_t records_len)
{
	uint64_t records_offset = (w->data_end + IMAGE_ALIGN - 1) / IMAGE_ALIGN * IMAGE_ALIGN;
	struct image_header h = { .magic = IMAGE_MAGIC,
				  .version = IMAGE_VERSION,
				  .header_len = IMAGE_HEADER_LEN,
				  .required = features(w),
				  .records_offset = records_offset,
				  .file_len = records_offset + records_len };

	h.digest = image_digest(&h, offsetof(struct image_header, digest));
	return h;
}

/* Over the header as it will be, with this record and END behind all others. */
static int add_mac(struct image_writer *w, struct err *err)
{
	const uint64_t last_records = 2 * sizeof(struct image_record) + IMAGE_MAC_LEN + sizeof(struct image_digest);
	struct image_header h = make_header(w, w->records.len + last_records);
	uint8_t mac[IMAGE_MAC_LEN];

	if (!w->crypt)
		return 0;
	image_crypt_mac(w->crypt, &h, w->records.buf, w->records.len, mac);
	return image_writer_record(w, IMAGE_REC_MAC, 0, 0, mac, sizeof(mac), err);
}

static int add_last_records(struct image_writer *w, struct err *err)
{
	_cleanup_bytes_ struct bytes_writer map = { 0 };
	int r = image_writer_map(w, &map, err);

	r = r ?: add_regions(w, err);
	r = r ?: add_parent(w, err);
	r = r ?: image_writer_record(w, IMAGE_REC_EXTENTS, 0, 0, w->extent, w->extents * sizeof(w->extent[0]), err);
	r = r ?: image_writer_record(w, IMAGE_REC_MAP, 0, 0, map.buf, map.len, err);
	r = r ?: add_mac(w, err);
	if (r < 0)
		return r;
	w->id = image_digest(w->digests.buf, w->digests.len);
	return image_writer_record(w, IMAGE_REC_END, 0, 0, &w->id, sizeof(w->id), err);
}

/* Records begin on a page of their own. */
static int pad_extents(struct image_writer *w)
{
	static const uint8_t zeros[IMAGE_ALIGN];
	uint64_t pad = -w->data_end % IMAGE_ALIGN, at = w->data_end;

	w->data_end += pad;
	return pad ? io_pwrite_full(w->fd, zeros, pad, at) : 0;
}

static int write_all(struct image_writer *w, struct err *err)
{
	int r = pad_extents(w);
	struct image_header h = make_header(w, w->records.len);

	r = r ?: io_pwrite_full(w->fd, w->records.buf, w->records.len, w->data_end);
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
	_cleanup_free_ char *temp = NULL;
	int r;

	if (!w->replace)
		return io_give_name(w->fd, w->path);
	temp = str_printf("%s.%d.partial", w->path, getpid());
	if (!temp)
		return -ENOMEM;
	unlink(temp);
	r = io_give_name(w->fd, temp);
	if (r == 0 && rename(temp, w->path) < 0) {
		r = -errno;
		unlink(temp);
	}
	return r;
}

static int give_name(struct image_writer *w)
{
	w->replaced = w->replace && !access(w->path, F_OK);
	if (!w->temp_name)
		return link_unnamed(w);
	return renameat2(AT_FDCWD, w->temp_name, AT_FDCWD, w->path, w->replace ? 0 : RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int image_writer_seal(struct image_writer *w, struct image_stats *ret, struct err *err)
{
	_cleanup_(image_snapshots_freep) struct image_snapshots *old = NULL, *new = NULL;
	int r = add_last_records(w, err);

	r = r ?: write_all(w, err);
	if (r < 0)
		return r;
	if (w->dir_fd >= 0 && w->replace)
		old = image_snapshots_of(w->path);
	r = w->dir_fd < 0 ? 0 : give_name(w);
	if (r < 0)
		return err_errno(err, r, "give the image its name %s", w->path);
	w->sealed = true;
	/* From here the image is there, whatever the folder's fsync says; without it a power cut might take its
	 * name away, so say so. If it took another one's place, that one is gone, and it has to stay. */
	if (w->dir_fd >= 0 && fsync(w->dir_fd) < 0 && errno != EINVAL) {
		r = -errno;
		if (!w->replaced)
			unlink(w->path);
		return err_errno(err, r, "write the folder of %s to the disk", w->path);
	}
	if (old) {
		new = image_snapshots_of(w->path);
		image_snapshots_remove(old, new);
	}
	*ret = (struct image_stats){ .file_bytes = w->file_len,
				     .memory_bytes = w->stored_bytes,
				     .zero_bytes = w->parent ? 0 : w->memory_bytes - w->stored_bytes,
				     .extents = w->extents,
				     .files = 1,
				     .version = IMAGE_VERSION,
				     .encrypted = w->crypt,
				     .id = w->id };
	return 0;
}
