/* SPDX-License-Identifier: Apache-2.0 */
/* Where tests have their files: in memory if there is enough of it, since they sync a lot, else on the disk. */
#ifndef NIDRA_TESTS_SCRATCH_H
#define NIDRA_TESTS_SCRATCH_H

#include <sys/statvfs.h>
#include <unistd.h>

static inline const char *scratch(void)
{
	struct statvfs s;

	return !access("/dev/shm", W_OK) && !statvfs("/dev/shm", &s) && s.f_bavail * s.f_frsize > 1ul << 30 ? "/dev/shm"
													    : "/tmp";
}

#endif
