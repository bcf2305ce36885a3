/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: a sleeping guest as bytes in one file. No KVM, no Xen: state records are opaque here,
 * memory is regions of bytes. The format is docs/image-format.md.
 *
 * Either a file under its final name is whole, or it is not there: the writer works on a file
 * without a name (or, where the file system has no such thing, with a temporary one) and
 * publishes it as the last step of image_writer_seal().
 *
 * A writer or reader belongs to one thread at a time. Memory is moved by worker threads of its
 * own, which have ended when the call returns.
 */
#ifndef NIDRA_IMAGE_IMAGE_H
#define NIDRA_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "image/format.h"

/* Guest memory as this layer sees it. Addresses and sizes are multiples of 4096. */
struct image_region {
	uint32_t kind;	    /* the caller's; stored, and compared when read back */
	uint64_t gpa, bytes;
	int fd;		    /* memfd behind hva. -1: none, or hva is not a plain shared view of it */
	uint64_t fd_offset; /* of the region in fd */
	uint8_t *hva;
};

/*
 * Called now and then (at least once per few MiB, and at the end) from the thread that called
 * the function, with bytes. Nonzero, a negative errno with its sentence, cancels. A NULL
 * progress or step: nobody is interested.
 */
struct image_progress {
	int (*step)(void *arg, uint64_t done, uint64_t total, struct err *err);
	void *arg;
};

struct image_stats {
	uint64_t file_bytes;
	uint64_t memory_bytes; /* of all regions */
	uint64_t stored_bytes; /* of them, stored; the rest is zero */
	uint64_t extents;
	uint64_t records;
};

/* ---- Writing ---- */

struct image_writer;

/*
 * Starts an image that will be called @path. -EEXIST: there is something already and not
 * @replace. @size_hint: bytes that the image will have at most, as far as is known (0: unknown);
 * -ENOSPC if they are not to be had.
 */
int image_writer_new(const char *path, bool replace, uint64_t size_hint, struct image_writer **ret,
		     struct err *err);
/* How many threads move memory, the caller's included; 0: as many CPUs as there are, up to 4. */
void image_writer_set_threads(struct image_writer *w, unsigned int n);

/*
 * Adds a record; @body is copied. Every image needs an IMAGE_REC_METADATA. -EEXIST: there is one
 * of that type and instance. MEMORY_REGIONS and EXTENT_INDEX are made by the writer itself.
 */
int image_writer_record(struct image_writer *w, uint32_t type, uint32_t instance, uint32_t flags,
			const void *body, size_t len, struct err *err);

/* Stores memory, once per image. The bytes must not change meanwhile. Regions in any order. */
int image_writer_memory(struct image_writer *w, const struct image_region *regions, size_t n,
			const struct image_progress *progress, struct err *err);

/* Completes the file, makes it durable and gives it its name. @ret may be NULL. After a failure
 * only image_writer_free() is left. */
int image_writer_seal(struct image_writer *w, struct image_stats *ret, struct err *err);

/* Not sealed: nothing is left of it. */
void image_writer_free(struct image_writer *w);
DEFINE_CLEANUP(struct image_writer *, image_writer_free)

/* ---- Reading ---- */

struct image_reader;

struct image_record {
	uint32_t type, instance, flags;
	const void *body; /* borrowed from the reader */
	size_t len;
};

/*
 * Opens an image and checks all of it but the page data. -EBADMSG: altered or truncated or not
 * an image; -EPROTONOSUPPORT: of a newer nidra.
 */
int image_reader_open(const char *path, struct image_reader **ret, struct err *err);
/* The same by a descriptor, which is the reader's from now on, also on failure. @name for
 * messages. */
int image_reader_open_fd(int fd, const char *name, struct image_reader **ret, struct err *err);
void image_reader_free(struct image_reader *r);
DEFINE_CLEANUP(struct image_reader *, image_reader_free)
/* As image_writer_set_threads(). */
void image_reader_set_threads(struct image_reader *r, unsigned int n);

/* -ENOENT: no such record. */
int image_reader_record(const struct image_reader *r, uint32_t type, uint32_t instance,
			const void **ret_body, size_t *ret_len);
/* All records in the order of the file, optional ones of unknown type included. */
const struct image_record *image_reader_records(const struct image_reader *r, size_t *ret_n);
/* The JSON text (no NUL behind it). Every image has it. */
const char *image_reader_metadata(const struct image_reader *r, size_t *ret_len);
/* Regions by ascending gpa; fd is -1 and hva NULL. */
const struct image_region *image_reader_regions(const struct image_reader *r, size_t *ret_n);
void image_reader_stats(const struct image_reader *r, struct image_stats *ret);

/*
 * Reads memory into @dst, which is all zero now and has exactly the image's regions, in any
 * order (-EINVAL otherwise). An altered extent is -EBADMSG; @dst is then in an unknown state.
 */
int image_reader_memory(struct image_reader *r, const struct image_region *dst, size_t n,
			const struct image_progress *progress, struct err *err);

/* Reads and checks every byte of an image. @ret may be NULL. */
int image_verify(const char *path, const struct image_progress *progress, struct image_stats *ret,
		 struct err *err);

#endif
