/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's state. reader.c has a file's header and records, index.c its memory tables, chain.c
 * puts a file and its parents together, load.c reads extents.
 */
#ifndef NIDRA_IMAGE_READER_H
#define NIDRA_IMAGE_READER_H

#include "base/bytes.h"
#include "image/codec.h"
#include "image/crypt.h"
#include "image/internal.h"

#define IMAGE_FILES_MAX 4096 /* in a chain */

struct image_file {
	int fd;
	char *name;
	uint32_t version;
	uint64_t features, data_end, file_len;
	struct image_digest id;
	uint8_t *records; /* owned */
	size_t records_len;
	struct image_header header;
	struct image_crypt *crypt; /* NULL: not encrypted, or opened without a key; owned */

	/* Inside records, or (version 1) made of what is there, owned. */
	const struct image_region_entry *region;
	size_t regions;
	const struct image_extent *extent; /* by rising offset */
	size_t extents;
	const struct image_run *run; /* by rising gpa */
	size_t runs;
	void *made[2];
	uint64_t memory_bytes; /* of all regions */

	const struct image_parent *parent; /* inside records, or NULL */
	size_t parent_name_len;
};

/* Part of an extent that is needed. */
struct image_piece {
	uint64_t gpa;
	uint32_t extent; /* in the numbering below */
	uint16_t pages, first;
};

struct image_reader {
	struct image_file *file[IMAGE_FILES_MAX]; /* the image, its parent, the parent's ... */
	size_t files;
	/* Extents of all files in one numbering, the image's own first. */
	uint32_t first_extent[IMAGE_FILES_MAX + 1]; /* of each file */
	uint32_t extents;
	struct image_piece *piece; /* by rising extent; owned */
	size_t pieces;
	uint32_t *first_piece; /* of each extent, and one more; owned */
	uint32_t *by_gpa;      /* numbers of pieces by rising gpa; owned */
	uint64_t bytes;	       /* of all pieces */
};

/* reader.c */
/* Owns @fd. Without @key, what is encrypted is opened as far as it can be seen. */
int image_file_open(int fd, const char *name, struct image_key *key, struct image_file **ret, struct err *err);
/* Encrypted, and opened without a key. */
bool image_file_locked(const struct image_file *f);
/* 0, or -ENOKEY with a sentence. */
int image_file_need_key(const struct image_file *f, struct err *err);
const struct image_crypt_entry *image_file_crypt_entry(const struct image_file *f); /* NULL: not encrypted */
void image_file_free(struct image_file *f);
DEFINE_CLEANUP(struct image_file *, image_file_free)
/* Body of a record, borrowed. -ENOENT; -ENOKEY: encrypted. */
int image_file_body(const struct image_file *f, const struct image_record *rec, const void **ret_body, size_t *ret_len);
int image_file_record(const struct image_file *f, uint32_t type, uint32_t instance, const void **ret_body,
		      size_t *ret_len);
const struct image_record *image_file_next(const struct image_file *f, const struct image_record *prev);
/* At most a page of them. */
int image_file_check_zeros(struct image_file *f, uint64_t offset, size_t len, struct err *err);
/* Whether it is the image @id, or stands for it. */
bool image_file_is(const struct image_file *f, const struct image_digest *id);
/* "<file> is damaged: <what>" */
int image_bad(const struct image_file *f, struct err *err, const char *what);

/* index.c: regions, extents and runs: sizes, order, bounds, no overlap in guest or file, no byte left out */
int image_file_check_index(struct image_file *f, struct err *err);

/* load.c */
struct image_scratch { /* one per thread */
	struct codec *codec;
	uint8_t stored[IMAGE_EXTENT_MAX], memory[IMAGE_EXTENT_MAX];
};
void *image_scratch_new(void);
void image_scratch_free(void *scratch);
/* -EBADMSG unless @region are the image's regions. */
int image_same_regions(const struct image_reader *r, const struct image_region *region, size_t n, struct err *err);
/* The region that has @gpa, or NULL. */
const struct image_region *image_region_at(const struct image_region *region, size_t n, uint64_t gpa);
/* Reads an extent, checks it, and writes what is needed of it into memory. */
int image_extent_load(const struct image_reader *r, uint32_t extent, const struct image_region *region, size_t n,
		      struct image_scratch *scratch, struct err *err);
/* Memory that it fills. */
uint64_t image_extent_bytes(const struct image_reader *r, uint32_t extent);

#endif
