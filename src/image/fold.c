/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain into one file. Its memory passes through a sparse memfd, a window at a time, in guest order:
 * what is needed of a window is loaded, written, and dropped. An extent may fill pages of later windows;
 * those stay until their window comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/pageset.h"
#include "image/reader.h"

#define PAGE	     ((uint64_t)IMAGE_ALIGN)
#define WINDOW_BYTES (UINT64_C(64) << 20)

struct fold {
	struct image_reader *reader;
	struct image_writer *writer;
	struct image_region region[IMAGE_REGIONS_MAX];
	size_t regions;
	int fd;
	uint8_t *hva;
	uint64_t bytes;
	uint8_t *loaded; /* of each extent */
	struct pageset *window;
	const struct image_progress *progress;
	uint64_t done;
};

static void fold_fini(struct fold *f)
{
	if (f->hva)
		munmap(f->hva, f->bytes);
	close_fdp(&f->fd);
	free(f->loaded);
	free(f->window);
	image_writer_free(f->writer);
	image_reader_free(f->reader);
}

static int make_memory(struct fold *f, struct err *err)
{
	const struct image_file *image = f->reader->file[0];

	f->fd = memfd_create("fold", MFD_CLOEXEC);
	for (size_t i = 0; i < image->regions; i++) {
		f->region[i] = (struct image_region){ .kind = image->region[i].kind,
						      .gpa = image->region[i].gpa,
						      .bytes = image->region[i].bytes,
						      .fd = f->fd,
						      .fd_offset = f->bytes };
		f->bytes += image->region[i].bytes;
	}
	f->regions = image->regions;
	if (f->fd < 0 || ftruncate(f->fd, (off_t)f->bytes) < 0)
		return err_errno(err, -errno, "memory to fold %s", image->name);
	f->hva = mmap(NULL, f->bytes + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, f->fd, 0);
	if (f->hva == MAP_FAILED) {
		f->hva = NULL;
		return err_errno(err, -errno, "memory to fold %s", image->name);
	}
	for (size_t i = 0; i < f->regions; i++)
		f->region[i].hva = f->hva + f->region[i].fd_offset;
	f->loaded = calloc(1, (size_t)f->reader->extents + 1);
	f->window = pageset_new(f->bytes / PAGE);
	return f->loaded && f->window ? 0 : err_errno(err, -ENOMEM, "memory to fold %s", image->name);
}

/* All but where memory is, who the parent was, and how it was encrypted. */
static bool is_kept(uint32_t type)
{
	return type != IMAGE_REC_REGIONS && type != IMAGE_REC_EXTENTS_V1 && type != IMAGE_REC_EXTENTS &&
	       type != IMAGE_REC_MAP && type != IMAGE_REC_PARENT && type != IMAGE_REC_STANDS_FOR &&
	       type != IMAGE_REC_CRYPT && type != IMAGE_REC_MAC && type != IMAGE_REC_END;
}

static int copy_records(struct fold *f, struct err *err)
{
	const struct image_file *image = f->reader->file[0];
	_cleanup_bytes_ struct bytes_writer ids = { 0 };
	const struct image_record *rec = NULL;
	const void *body;
	size_t len;
	int r = 0;

	bytes_put(&ids, &image->id, sizeof(image->id));
	while (r == 0 && (rec = image_file_next(image, rec))) {
		if (rec->type == IMAGE_REC_STANDS_FOR)
			bytes_put(&ids, rec + 1, rec->len);
		if (is_kept(rec->type) && image_file_body(image, rec, &body, &len) == 0)
			r = image_writer_record(f->writer, rec->type, rec->instance,
						rec->flags & ~IMAGE_RECORD_FLAG_SECRET, body, len, err);
	}
	if (r == 0 && ids.failed)
		r = err_errno(err, -ENOMEM, "fold");
	return r
		       ?: image_writer_record(f->writer, IMAGE_REC_STANDS_FOR, 0, IMAGE_RECORD_FLAG_OPTIONAL, ids.buf,
					      ids.len, err);
}

static int write_window(struct fold *f, uint64_t first_page, struct err *err)
{
	uint64_t bytes = pageset_count(f->window) * PAGE;
	int r = image_writer_pages(f->writer, f->window, NULL, NULL, err);

	pageset_clear(f->window);
	fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(first_page * PAGE), WINDOW_BYTES);
	f->done += bytes;
	if (r == 0 && f->progress && f->progress->step)
		r = f->progress->step(f->progress->arg, f->done, f->reader->bytes, err);
	return r;
}

/* In guest order, so a window is whole when the next one begins. */
static int copy_memory(struct fold *f, struct image_scratch *scratch, struct err *err)
{
	const struct image_reader *reader = f->reader;
	uint64_t window = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < reader->pieces; i++) {
		const struct image_piece *p = &reader->piece[reader->by_gpa[i]];
		const struct image_region *g = image_region_at(f->region, f->regions, p->gpa);
		uint64_t page = (g->fd_offset + (p->gpa - g->gpa)) / PAGE;

		if (page / (WINDOW_BYTES / PAGE) != window) {
			r = write_window(f, window * (WINDOW_BYTES / PAGE), err);
			window = page / (WINDOW_BYTES / PAGE);
		}
		if (r == 0 && !f->loaded[p->extent])
			r = image_extent_load(reader, p->extent, f->region, f->regions, scratch, err);
		f->loaded[p->extent] = 1;
		pageset_add(f->window, page, p->pages);
	}
	return r ?: write_window(f, window * (WINDOW_BYTES / PAGE), err);
}

static bool metadata_hidden(const struct image_file *image)
{
	const struct image_record *rec = NULL;

	while ((rec = image_file_next(image, rec)))
		if (rec->type == IMAGE_REC_METADATA && rec->flags & IMAGE_RECORD_FLAG_SECRET)
			return true;
	return false;
}

int image_fold(const char *path, const char *out, const struct image_options *options,
	       const struct image_progress *progress, struct image_stats *ret, struct err *err)
{
	_cleanup_(fold_fini) struct fold f = { .fd = -1, .progress = progress };
	struct image_options o = *options;
	struct image_scratch *scratch = image_scratch_new();
	int r = scratch ? image_reader_open_key(path, o.key, &f.reader, err) : err_errno(err, -ENOMEM, "fold");

	o.parent = NULL;
	o.replace = o.replace || !out;
	r = r ?: make_memory(&f, err);
	o.hide_metadata = r == 0 && metadata_hidden(f.reader->file[0]);
	r = r ?: image_writer_new(out ?: path, &o, &f.writer, err);
	r = r ?: image_writer_regions(f.writer, f.region, f.regions, err);
	r = r ?: copy_records(&f, err);
	r = r ?: copy_memory(&f, scratch, err);
	r = r ?: image_writer_seal(f.writer, ret, err);
	image_scratch_free(scratch);
	return r;
}
