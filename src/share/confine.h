/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NIDRA_SHARE_CONFINE_H
#define NIDRA_SHARE_CONFINE_H

#include <stdbool.h>

#include "base/err.h"

/* The descriptors that the program is given. */
#define FD_LISTEN  3 /* a socket: connections of the guest */
#define FD_ROOT	   4 /* the folder, O_PATH */
#define FD_CONTROL 5 /* nidra-monitor */
#define FD_STATE   6 /* replies.h */
#define FDS	   7

/* Becomes the folder's owner, if it may; then without any capability. */
int confine_user(int root_fd, struct err *err);
/*
 * From here on: the folder's files, connections, some memory. Nothing else, for good: no program, no network, no file
 * opened but by a walk from a descriptor, and, where the host has Landlock, none outside of the folder at all.
 */
int confine(int root_fd, int proc_fd, bool readonly, struct err *err);

#endif
