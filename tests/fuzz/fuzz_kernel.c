/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel file from anywhere: unpacked if it is a bzImage, parsed, searched and placed into memory
 * that is kept between runs, because making 64 MiB of it each time would be all that is measured.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "boot/kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct gmem *mem;
	_cleanup_free_ uint8_t *unpacked = NULL;
	struct boot_thunks thunks;
	struct kernel_elf elf;
	struct err err;
	uint64_t end;
	int r;

	if (!mem && gmem_new(UINT64_C(64) << 20, &mem, NULL))
		return 0;
	/* libFuzzer counts memory: an image may say that it unpacks to 512 MiB of nothing. */
	r = kernel_unpack(data, len, &unpacked, &len, &err);
	if (r < 0 && r != -ENOEXEC)
		return 0;
	if (kernel_parse(r == 0 ? unpacked : data, len, &elf, &err))
		return 0;
	kernel_find_thunks(&elf, &thunks);
	if (kernel_place(&elf, mem, &end, &err) == 0 && thunks.found)
		boot_thunks_patch(mem, &thunks, 0xe9, &err);
	return 0;
}
