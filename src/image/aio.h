/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes of one thread that go on behind its back (io_uring), so that it packs while the disk works. Where the
 * kernel does not let us, or the file system would only hand them to threads, they are done at once. A write that fails
 * is told by one of the next calls.
 */
#ifndef NIDRA_IMAGE_AIO_H
#define NIDRA_IMAGE_AIO_H

#include <stddef.h>
#include <stdint.h>

struct image_aio;

/* With buffers of @size bytes. NULL: no memory. */
struct image_aio *image_aio_new(size_t size);
/* Waits for what is under way. */
void image_aio_free(struct image_aio *a);
/* A buffer that nothing is written from, for the next image_aio_write(). */
int image_aio_buffer(struct image_aio *a, uint8_t **ret);
/* Writes @len bytes of that buffer. Negative errno: of this write or one before it. */
int image_aio_write(struct image_aio *a, int fd, size_t len, uint64_t offset);
/* All is written, or a negative errno. */
int image_aio_finish(struct image_aio *a);

#endif
