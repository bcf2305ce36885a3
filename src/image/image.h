/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image: a sleeping guest as bytes in a file. This layer knows no KVM and no Xen; what a state
 * record means is its writer's business.
 *
 * A writer works on a file without a name (or, where the filesystem cannot do that, with a name that
 * ends in .partial) and gives it its name only when everything is on the disk. A reader checks header
 * and all records when it opens; memory is checked extent by extent before a byte of it is used.
 */
#ifndef NIDRA_IMAGE_IMAGE_H
#define NIDRA_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "image/format.h"

struct pageset;

/* A piece of guest memory. All are in one memfd; a page's number is its offset there / 4096. */
struct image_region {
	uint32_t kind; /* the caller's; compared on reading */
	uint64_t gpa, bytes;
	int fd;
	uint64_t fd_offset;
	uint8_t *hva; /* and where it is mapped */
};

/* Called now and then with bytes done; a negative return stops the work with that code. */
struct image_progress {
	int (*step)(void *arg, uint64_t done, uint64_t total, struct err *err);
	void *arg;
};

struct image_stats {
	uint64_t file_bytes;
	uint64_t memory_bytes; /* of guest memory: stored (writing: in this file; reading: in it and its parents) */
	uint64_t zero_bytes;   /* of guest memory: zero (not known while writing a child) */
	uint64_t extents;      /* in this file */
	uint64_t files;	       /* with its parents */
	uint32_t version;
	bool encrypted, passphrase; /* the latter: its key is one */
	bool locked;		    /* encrypted, and looked at without the key: memory is not known */
	struct image_digest id;
};

/* ---- keys ---- */

/*
 * The operator's key, for images that are encrypted. All images of a chain have the same one. One
 * thread at a time.
 */
struct image_key;
enum image_key_kind {
	IMAGE_KEY_FILE,	      /* the bytes of a file, 32 or more, as random as the key is to be */
	IMAGE_KEY_PASSPHRASE, /* what a person knows; a line feed at its end is not of it */
};

int image_key_new(enum image_key_kind kind, const void *secret, size_t len, struct image_key **ret, struct err *err);
/* Of a regular file: never blocks. */
int image_key_read(enum image_key_kind kind, const char *path, struct image_key **ret, struct err *err);
/* Up to the end of @fd; @name is for messages. */
int image_key_read_fd(enum image_key_kind kind, int fd, const char *name, struct image_key **ret, struct err *err);
/* NULL: no memory. */
struct image_key *image_key_copy(const struct image_key *key);
void image_key_free(struct image_key *key);
DEFINE_CLEANUP(struct image_key *, image_key_free)
enum image_key_kind image_key_kind(const struct image_key *key);
/* A file in memory that somebody else can image_key_read() as long as it is open; descriptor or -errno. */
int image_key_lend(const struct image_key *key, struct err *err);

/* ---- writing ---- */

struct image_writer;

struct image_options {
	bool replace; /* an existing file; else -EEXIST */
	enum image_codec codec;
	int level;			      /* 0: the codec's default */
	const char *parent;		      /* what is not written is as in this image; NULL: is zero */
	const struct image_digest *parent_id; /* NULL: whatever it is */
	struct image_key *key;		      /* borrowed; NULL: not encrypted */
	bool hide_metadata;		      /* with a key: METADATA cannot be read without it either */
};

/* @options NULL: all zero. */
int image_writer_new(const char *path, const struct image_options *options, struct image_writer **ret, struct err *err);
/* An image in memory, which never gets a name: image_writer_fd() has it once it is sealed. @name is for messages. */
int image_writer_new_unnamed(const char *name, struct image_writer **ret, struct err *err);
int image_writer_fd(const struct image_writer *w); /* borrowed */
/* Takes back everything that is not sealed. */
void image_writer_free(struct image_writer *w);
DEFINE_CLEANUP(struct image_writer *, image_writer_free)

int image_writer_record(struct image_writer *w, uint32_t type, uint32_t instance, uint32_t flags, const void *body,
			size_t len, struct err *err);
/* Which memory there is. Once, and first. */
int image_writer_regions(struct image_writer *w, const struct image_region *region, size_t n, struct err *err);

/*
 * These pages of one region are not written, and are zero in the image, whatever its parent has; also those that
 * were written before. After the regions, any number of times.
 */
int image_writer_leave_out(struct image_writer *w, uint64_t gpa, uint64_t bytes, struct err *err);

/* Where pages are read from; NULL: the regions. */
struct image_source {
	void (*read)(void *arg, uint64_t page, void *dst); /* any thread */
	void *arg;
};
/*
 * The pages of @set as they are now; what was written of them before does not count any more. The
 * guest may run: then a page is as it was at some moment of this, or torn.
 */
int image_writer_pages(struct image_writer *w, const struct pageset *set, const struct image_source *source,
		       const struct image_progress *progress, struct err *err);
/* Pages that are not holes in their memfd, allocated: free(). NULL: no memory. */
struct pageset *image_pages_in_use(const struct image_region *region, size_t n);
/* All of these at once, for memory that stands still. */
int image_writer_memory(struct image_writer *w, const struct image_region *region, size_t n,
			const struct image_progress *progress, struct err *err);
/* On the disk, complete, under its name: in that order. */
int image_writer_seal(struct image_writer *w, struct image_stats *ret, struct err *err);

/* ---- reading ---- */

struct image_reader;

/* With its parents. -ENOKEY: it is encrypted. */
int image_reader_open(const char *path, struct image_reader **ret, struct err *err);
/*
 * The same with a key, which is not needed any more afterwards. -EKEYREJECTED: it has another one.
 * With a key (not NULL) an image that is not encrypted is refused: anybody could have made it.
 */
int image_reader_open_key(const char *path, struct image_key *key, struct image_reader **ret, struct err *err);
/* What can be seen of a single file without a key: records, no memory. Nothing of it is authenticated. */
int image_reader_look(const char *path, struct image_reader **ret, struct err *err);
/* The same of an open file; the reader owns @fd. @name is for messages. */
int image_reader_open_fd(int fd, const char *name, struct image_reader **ret, struct err *err);
void image_reader_free(struct image_reader *r);
DEFINE_CLEANUP(struct image_reader *, image_reader_free)

/* Body of a record, borrowed. -ENOENT; -ENOKEY: it is encrypted. */
int image_reader_record(struct image_reader *r, uint32_t type, uint32_t instance, const void **ret_body,
			size_t *ret_len);
/* All records in file order, for tools; NULL behind the last. */
const struct image_record *image_reader_next(struct image_reader *r, const struct image_record *prev);
/* Name of the image (0), its parent (1), and so on; NULL behind the last. */
const char *image_reader_file(const struct image_reader *r, size_t i);
void image_reader_stats(const struct image_reader *r, struct image_stats *ret);
/* Of memory_bytes, what is not stored because it equals something that is. */
uint64_t image_reader_equal_bytes(const struct image_reader *r);

/*
 * Memory into @region, which must be the same regions, all zero. Every extent is checked before it is
 * written there.
 */
int image_reader_memory(struct image_reader *r, const struct image_region *region, size_t n,
			const struct image_progress *progress, struct image_stats *ret, struct err *err);
/*
 * The same while the guest runs already: memory comes when it is touched, and the rest in the
 * background. A touch of what cannot be read, or was altered, is never answered: @failed must
 * make all that runs on this memory stop before it returns. Callbacks: on the pager's thread.
 */
struct image_pager;
struct image_pager_events {
	void (*loaded)(void *arg); /* all is there; nothing depends on the file any more */
	void (*failed)(void *arg, const struct err *err);
	void *arg;
};

/* Whether this host lets us (userfaultfd). */
bool image_pager_possible(void);
/*
 * Takes @r over, unless it fails. -EOPNOTSUPP: see image_pager_possible(). @folder (may be NULL) remembers what was
 * touched first, and the next restore of the same image loads that first.
 */
int image_pager_new(struct image_reader *r, const struct image_region *region, size_t n, const char *folder,
		    const struct image_pager_events *events, struct image_pager **ret, struct err *err);
/* Calls nobody any more; memory still comes. */
void image_pager_silence(struct image_pager *p);
/* Not before everything that touches the memory has stopped, or all is loaded. */
void image_pager_free(struct image_pager *p);
DEFINE_CLEANUP(struct image_pager *, image_pager_free)
/* Bytes still to be loaded. Any thread; NULL: 0. */
uint64_t image_pager_left(const struct image_pager *p);
/* Loads all that is left, now. */
int image_pager_finish(struct image_pager *p, const struct image_progress *progress, struct err *err);

/* Checks every extent, of its parents too. */
int image_reader_verify(struct image_reader *r, const struct image_progress *progress, struct err *err);

/*
 * One file with all that @path and its parents have, in place of @path (or as @out, if not NULL). It
 * stands for @path: children of that are children of it, too. It is encrypted if @path is.
 */
int image_fold(const char *path, const char *out, const struct image_options *options,
	       const struct image_progress *progress, struct image_stats *ret, struct err *err);
/* An ELF core with its memory and registers, in a new file @out. It is not encrypted. */
int image_export_core(const char *path, struct image_key *key, const char *out, const struct image_progress *progress,
		      struct err *err);
/*
 * Removes an image. -EBUSY names the images in its folder that need it; @cascade removes those too,
 * children before parents.
 */
int image_remove(const char *path, bool cascade, struct err *err);

/* How @child calls its parent: by its name if they share a folder, else by its path. Allocated; NULL: errno. */
char *image_parent_name(const char *parent, const char *child);

/* Digest of @len bytes, as the format has them. */
struct image_digest image_digest(const void *buf, size_t len);

#endif
