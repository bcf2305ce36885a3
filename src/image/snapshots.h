/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones of disks that belong to an image (METADATA's "disks", docs/image-format.md): they go when the image goes. An
 * image comes from anywhere, so only a file that is named as clones are named is ever removed.
 */
#ifndef NIDRA_IMAGE_SNAPSHOTS_H
#define NIDRA_IMAGE_SNAPSHOTS_H

#include "base/cleanup.h"

struct image_snapshots;

/* Those of the image at @path; NULL: none, or it cannot be read (without its key). */
struct image_snapshots *image_snapshots_of(const char *path);
/* Removes the files, but those that @other has, too. */
void image_snapshots_remove(const struct image_snapshots *s, const struct image_snapshots *other);
void image_snapshots_free(struct image_snapshots *s);
DEFINE_CLEANUP(struct image_snapshots *, image_snapshots_free)

#endif
