/* SPDX-License-Identifier: Apache-2.0 */
#include "image/codec.h"

#include <lz4.h>
#include <string.h>
#include <zstd.h>

struct codec {
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

void codec_free(struct codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->pack);
	ZSTD_freeDCtx(c->unpack);
	free(c);
}

struct codec *codec_new(void)
{
	return calloc(1, sizeof(struct codec));
}

static size_t pack_zstd(struct codec *c, int level, const void *src, size_t len, void *dst)
{
	size_t n;

	if (!c->pack)
		c->pack = ZSTD_createCCtx();
	if (!c->pack)
		return 0;
	n = ZSTD_compressCCtx(c->pack, dst, len - 1, src, len, level);
	return ZSTD_isError(n) ? 0 : n;
}

size_t codec_pack(struct codec *c, enum image_codec how, int level, const void *src, size_t len, void *dst)
{
	int n;

	switch (how) {
	case IMAGE_CODEC_ZSTD:
		return pack_zstd(c, level, src, len, dst);
	case IMAGE_CODEC_LZ4:
		n = LZ4_compress_default(src, dst, (int)len, (int)len - 1);
		return n > 0 ? (size_t)n : 0;
	default:
		return 0;
	}
}

static int unpack_zstd(struct codec *c, const void *src, size_t len, void *dst, size_t want)
{
	if (!c->unpack)
		c->unpack = ZSTD_createDCtx();
	if (!c->unpack)
		return -ENOMEM;
	return ZSTD_decompressDCtx(c->unpack, dst, want, src, len) == want ? 0 : -EBADMSG;
}

int codec_unpack(struct codec *c, enum image_codec how, const void *src, size_t len, void *dst, size_t want)
{
	switch (how) {
	case IMAGE_CODEC_NONE:
		if (len != want)
			return -EBADMSG;
		memcpy(dst, src, want);
		return 0;
	case IMAGE_CODEC_ZSTD:
		return unpack_zstd(c, src, len, dst, want);
	case IMAGE_CODEC_LZ4:
		return LZ4_decompress_safe(src, dst, (int)len, (int)want) == (int)want ? 0 : -EBADMSG;
	default:
		return -EBADMSG;
	}
}
