/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking an extent; one struct codec per thread. */
#ifndef NIDRA_IMAGE_CODEC_H
#define NIDRA_IMAGE_CODEC_H

#include "image/internal.h"

struct codec;

/* NULL: no memory. */
struct codec *codec_new(void);
void codec_free(struct codec *c);
DEFINE_CLEANUP(struct codec *, codec_free)

/* Packs @len bytes into @dst, which has room for as many. 0: that does not make it smaller. */
size_t codec_pack(struct codec *c, enum image_codec how, int level, const void *src, size_t len, void *dst);
/* -EBADMSG unless @src unpacks to exactly @want bytes. */
int codec_unpack(struct codec *c, enum image_codec how, const void *src, size_t len, void *dst, size_t want);

#endif
