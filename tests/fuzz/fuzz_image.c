/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image from anywhere. Digests count as right (NIDRA_FUZZING), because a forger can make them
 * so; so do MACs, and encrypted data is as it is. What is accepted is walked, verified, and read into
 * memory of the size that it says.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "image/image.h"

#define MEMORY	(UINT64_C(8) << 20)
#define REGIONS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Memory as the image has it, if it is small: whoever restores compares the regions before. */
static void read_memory(struct image_reader *r)
{
	const struct image_region_entry *entry;
	struct image_region region[REGIONS];
	_cleanup_close_ int fd = -1;
	struct image_stats stats;
	const void *body;
	uint64_t at = 0;
	size_t size, n;

	if (image_reader_record(r, IMAGE_REC_REGIONS, 0, &body, &size))
		__builtin_trap();
	entry = body;
	n = size / sizeof(*entry);
	if (n > REGIONS)
		return;
	for (size_t i = 0; i < n; i++) {
		if (entry[i].bytes > MEMORY - at)
			return;
		region[i] = (struct image_region){
			.kind = entry[i].kind, .gpa = entry[i].gpa, .bytes = entry[i].bytes, .fd_offset = at
		};
		at += entry[i].bytes;
	}
	fd = memfd_create("memory", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)at))
		return;
	for (size_t i = 0; i < n; i++)
		region[i].fd = fd;
	image_reader_memory(r, region, n, NULL, &stats, NULL);
	if (lseek(fd, 0, SEEK_END) > (off_t)at)
		__builtin_trap(); /* written behind its end */
}

/* An image that says that it is encrypted gets a key. */
static int open_image(int fd, const uint8_t *data, size_t len, struct image_reader **ret)
{
	static struct image_key *key;
	struct image_header h = { 0 };
	char name[64];
	int r;

	memcpy(&h, data, MIN(len, sizeof(h)));
	if (!(h.required & IMAGE_FEATURE_ENCRYPTED))
		return image_reader_open_fd(fd, "image", ret, NULL);
	if (!key && image_key_new(IMAGE_KEY_FILE, "0123456789abcdef0123456789abcdef", 32, &key, NULL))
		__builtin_trap();
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	r = image_reader_look(name, ret, NULL);
	if (r == 0)
		image_reader_free(*ret);
	*ret = NULL;
	r = image_reader_open_key(name, key, ret, NULL);
	close(fd);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	const struct image_record *rec = NULL;
	struct image_stats stats;
	volatile uint8_t last;
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || io_write_full(fd, data, len)) {
		close(fd);
		return 0;
	}
	if (open_image(fd, data, len, &r))
		return 0;
	while ((rec = image_reader_next(r, rec)))
		if (rec->len)
			last = ((const uint8_t *)(rec + 1))[rec->len - 1];
	(void)last;
	image_reader_stats(r, &stats);
	image_reader_verify(r, NULL, NULL);
	read_memory(r);
	return 0;
}
