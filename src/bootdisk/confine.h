/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NIDRA_BOOTDISK_CONFINE_H
#define NIDRA_BOOTDISK_CONFINE_H

#include <stdbool.h>

#include "base/err.h"

/* The descriptors that the program is given, and all that it will ever have. */
#define FD_RESULT 1
#define FD_DISK	  3
#define FD_KERNEL 4
#define FD_INITRD 5

/*
 * From here on: read the disk, write the rest, have some memory and time, end. Nothing else, for good. @served: the
 * disk is a socket (source.h). Does nothing in a build with sanitizers (base/sandbox.h).
 */
int confine(bool served, struct err *err);

#endif
