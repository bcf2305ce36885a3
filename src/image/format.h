/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image format versions 1 and 2: structs and constants as they are in the file, nothing else.
 * docs/image-format.md is normative. All numbers are little endian.
 */
#ifndef NIDRA_IMAGE_FORMAT_H
#define NIDRA_IMAGE_FORMAT_H

#include <stdint.h>

#define IMAGE_MAGIC		   "NIDRAIMG"
#define IMAGE_VERSION		   2
#define IMAGE_HEADER_LEN	   64
#define IMAGE_DATA_OFFSET	   4096 /* extents begin here; zeros between it and the header */
#define IMAGE_ALIGN		   4096
#define IMAGE_EXTENT_MAX	   (1u << 20)	/* of memory in one extent */
#define IMAGE_RECORDS_MAX	   (256u << 20) /* bytes of all records together */
#define IMAGE_RECORD_FLAG_OPTIONAL 1u		/* a reader that does not know the type skips it */
#define IMAGE_RECORD_FLAG_SECRET   2u		/* its body is encrypted, and longer by IMAGE_TAG_LEN */
#define IMAGE_TAG_LEN		   16

struct image_digest {
	uint8_t b[16]; /* XXH3-128 in its canonical (big endian) form; of an encrypted extent, its tag */
};

/* What a reader must be able to do. */
enum image_feature {
	IMAGE_FEATURE_ZSTD = 1,
	IMAGE_FEATURE_LZ4 = 2,
	IMAGE_FEATURE_PARENT = 4, /* what is not in its map is in its parent */
	IMAGE_FEATURE_ENCRYPTED = 8,
	IMAGE_FEATURES = 15,
};

struct image_header {
	char magic[8];
	uint32_t version;
	uint32_t header_len;
	uint64_t required;	    /* enum image_feature */
	uint64_t optional;	    /* features that may be ignored; none so far */
	uint64_t records_offset;    /* behind the extents */
	uint64_t file_len;	    /* of the whole file */
	struct image_digest digest; /* of the bytes before it */
};
_Static_assert(sizeof(struct image_header) == IMAGE_HEADER_LEN, "header");

enum image_record_type {
	IMAGE_REC_METADATA = 1, /* JSON */
	IMAGE_REC_MACHINE = 2,
	IMAGE_REC_VCPU = 3, /* one per vCPU: instance */
	IMAGE_REC_XEN = 4,
	IMAGE_REC_XENSTORE = 5,
	IMAGE_REC_REGIONS = 6,	   /* struct image_region_entry[] */
	IMAGE_REC_EXTENTS_V1 = 7,  /* version 1: struct image_extent_v1[], by rising gpa */
	IMAGE_REC_END = 8,	   /* struct image_digest of the digests of all records before it: the image's id */
	IMAGE_REC_EXTENTS = 9,	   /* struct image_extent[], by rising offset */
	IMAGE_REC_MAP = 10,	   /* struct image_run[], by rising gpa */
	IMAGE_REC_PARENT = 11,	   /* struct image_parent, then its name */
	IMAGE_REC_STANDS_FOR = 12, /* struct image_digest[]: ids of images that this one has the memory and state of */
	IMAGE_REC_CRYPT = 13,	   /* struct image_crypt_entry; the first record */
	IMAGE_REC_MAC = 14,	   /* of the header and all records before it; the last but END */
	IMAGE_REC_IOAPIC = 15,	   /* there if the guest has one */
	IMAGE_REC_SHARE = 16,	   /* one per shared folder: instance */
	IMAGE_REC_LAST = IMAGE_REC_SHARE,
};

struct image_record {
	uint32_t type;
	uint32_t instance;
	uint32_t flags;
	uint32_t zero;
	uint64_t len;		    /* of the body; padded with zeros to 8 */
	struct image_digest digest; /* of the 24 bytes before it, and the body */
};
_Static_assert(sizeof(struct image_record) == 40, "record");

struct image_region_entry {
	uint32_t kind;
	uint32_t zero;
	uint64_t gpa, bytes;
};
_Static_assert(sizeof(struct image_region_entry) == 24, "region");

struct image_extent_v1 {
	uint64_t gpa;	 /* page aligned, inside one region */
	uint64_t offset; /* in the file, page aligned */
	uint64_t bytes;	 /* pages, at most IMAGE_EXTENT_MAX */
	struct image_digest digest;
};
_Static_assert(sizeof(struct image_extent_v1) == 40, "extent of version 1");

enum image_codec { IMAGE_CODEC_NONE = 0, IMAGE_CODEC_ZSTD = 1, IMAGE_CODEC_LZ4 = 2, IMAGE_CODECS };

/* Some pages, stored together. */
struct image_extent {
	uint64_t offset;
	uint32_t bytes; /* in the file */
	uint16_t pages; /* when unpacked */
	uint8_t codec;
	uint8_t zero;
	struct image_digest digest; /* of the bytes in the file */
};
_Static_assert(sizeof(struct image_extent) == 32, "extent");

#define IMAGE_RUN_ZERO UINT32_MAX /* instead of an extent's number: zeros, where the parent has something */

/* Where guest memory is: @pages from @gpa are those from page @first of an extent. */
struct image_run {
	uint64_t gpa;
	uint32_t pages;
	uint32_t extent;
	uint32_t first;
	uint32_t zero;
};
_Static_assert(sizeof(struct image_run) == 24, "run");

#define IMAGE_PARENT_NAME_MAX 4096

struct image_parent {
	struct image_digest id;
	/* then the file's name, without NUL: of a file beside this one, or an absolute path */
};
_Static_assert(sizeof(struct image_parent) == 16, "parent");

enum image_cipher { IMAGE_CIPHER_CHACHA20_POLY1305 = 1 }; /* as RFC 8439 has it */
enum image_kdf { IMAGE_KDF_NONE = 0, IMAGE_KDF_ARGON2ID = 1 };

#define IMAGE_MAC_LEN 32

/* How the keys of an image come from the operator's. docs/image-format.md, "Encryption". */
struct image_crypt_entry {
	uint32_t cipher, kdf;
	uint64_t kdf_ops, kdf_bytes; /* of Argon2id; all three are zero without */
	uint8_t kdf_salt[16];
	uint8_t salt[32];  /* of this image: no other has its keys */
	uint8_t check[16]; /* tells a wrong key from an altered image */
};
_Static_assert(sizeof(struct image_crypt_entry) == 88, "crypt");

#endif
