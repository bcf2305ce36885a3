/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwraps a bzImage. Its payload is a compressed ELF file with the uncompressed size in its last four
 * bytes. Source: Linux Documentation/arch/x86/boot.rst; field offsets are of the boot sector.
 */
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "boot/kernel.h"

#define SETUP_SECTS	0x1f1
#define MAGIC_OFFSET	0x202
#define VERSION_OFFSET	0x206
#define PAYLOAD_OFFSET	0x248
#define PAYLOAD_LENGTH	0x24c
#define VERSION_PAYLOAD 0x208 /* the first one with the payload fields */

struct span {
	const uint8_t *p;
	size_t len;
};

static uint32_t get_u32(const uint8_t *p)
{
	struct bytes_reader r = bytes_reader(p, 4);

	return bytes_get_u32(&r);
}

/* Each returns whether exactly @out_len bytes came out. */

static bool unpack_gzip(struct span in, uint8_t *out, size_t out_len)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p,
		       .avail_in = (uInt)in.len,
		       .next_out = out,
		       .avail_out = (uInt)out_len };
	bool ok;

	if (inflateInit2(&z, 15 + 32) != Z_OK)
		return false;
	/* The stream's end, not only so many bytes: there inflate() has compared the checksum. */
	ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == out_len;
	inflateEnd(&z);
	return ok;
}

static bool unpack_xz(struct span in, uint8_t *out, size_t out_len)
{
	uint64_t memory = UINT64_C(1) << 30;
	size_t at = 0, done = 0;

	/* The size at the payload's end is behind the stream: what follows the stream is ignored. */
	return lzma_stream_buffer_decode(&memory, 0, NULL, in.p, &at, in.len, out, &done, out_len) == LZMA_OK &&
	       done == out_len;
}

static bool unpack_lzma(struct span in, uint8_t *out, size_t out_len)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret r;

	if (lzma_alone_decoder(&s, UINT64_C(1) << 30) != LZMA_OK)
		return false;
	s.next_in = in.p;
	s.avail_in = in.len;
	s.next_out = out;
	s.avail_out = out_len;
	do
		r = lzma_code(&s, LZMA_RUN);
	while (r == LZMA_OK && s.avail_out);
	lzma_end(&s);
	return (r == LZMA_OK || r == LZMA_STREAM_END) && s.total_out == out_len;
}

static bool unpack_zstd(struct span in, uint8_t *out, size_t out_len)
{
	size_t frame = ZSTD_findFrameCompressedSize(in.p, in.len);

	return !ZSTD_isError(frame) && ZSTD_decompress(out, out_len, in.p, frame) == out_len;
}

/* The legacy frame, which liblz4's frame API does not read: magic, then {u32 size, block}. */
static bool unpack_lz4(struct span in, uint8_t *out, size_t out_len)
{
	size_t at = 4, done = 0;

	while (done < out_len && in.len - at >= 4) {
		uint32_t size = get_u32(in.p + at);
		int n;

		at += 4;
		if (size > in.len - at || size > INT32_MAX || out_len - done > INT32_MAX)
			return false;
		n = LZ4_decompress_safe((const char *)in.p + at, (char *)out + done, (int)size, (int)(out_len - done));
		if (n <= 0)
			return false;
		done += (size_t)n;
		at += size;
	}
	return done == out_len;
}

static const struct {
	const char *name;
	uint8_t magic[6];
	size_t magic_len;
	bool (*unpack)(struct span in, uint8_t *out, size_t out_len);
} formats[] = {
	{ "gzip", { 0x1f, 0x8b }, 2, unpack_gzip },	      { "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, unpack_xz },
	{ "lzma", { 0x5d, 0, 0 }, 3, unpack_lzma },	      { "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, unpack_zstd },
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, unpack_lz4 },
};

/* Where the payload is; its last four bytes are the size it unpacks to. */
static int find_payload(const uint8_t *file, size_t len, struct span *ret, struct err *err)
{
	size_t start, end;

	if (len < PAYLOAD_LENGTH + 4 || memcmp(file + MAGIC_OFFSET, "HdrS", 4))
		return err_set(err, -ENOEXEC, "not a bzImage");
	if ((file[VERSION_OFFSET] | file[VERSION_OFFSET + 1] << 8) < VERSION_PAYLOAD)
		return err_set(err, -EINVAL, "a bzImage of a kernel too old to be unpacked");
	start = ((size_t)file[SETUP_SECTS] + 1) * 512 + get_u32(file + PAYLOAD_OFFSET);
	end = start + get_u32(file + PAYLOAD_LENGTH);
	if (end > len || end - start < 16)
		return err_set(err, -EINVAL, "a bzImage that is cut off");
	*ret = (struct span){ file + start, end - start };
	return 0;
}

int kernel_unpack(const uint8_t *file, size_t len, uint8_t **ret, size_t *ret_len, struct err *err)
{
	_cleanup_free_ uint8_t *out = NULL;
	struct span payload;
	size_t out_len;
	int r = find_payload(file, len, &payload, err);

	if (r < 0)
		return r;
	out_len = get_u32(payload.p + payload.len - 4);
	if (!out_len || out_len > KERNEL_IMAGE_MAX)
		return err_set(err, -EINVAL, "a bzImage that says it unpacks to %zu bytes", out_len);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (memcmp(payload.p, formats[i].magic, formats[i].magic_len))
			continue;
		out = malloc(out_len);
		if (!out)
			return err_errno(err, -ENOMEM, "unpack the kernel");
		if (!formats[i].unpack(payload, out, out_len))
			return err_set(err, -EINVAL, "a bzImage whose %s payload does not unpack", formats[i].name);
		*ret_len = out_len;
		*ret = take_ptr(out);
		return 0;
	}
	return err_set(err, -EINVAL, "a bzImage packed in a way that nidra does not know");
}
