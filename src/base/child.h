/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of our own, beside the one that runs: they get the descriptors that they are to have, and nothing else. */
#ifndef NIDRA_BASE_CHILD_H
#define NIDRA_BASE_CHILD_H

#include <stdbool.h>

#include "base/err.h"

#define CHILD_FDS_MAX 16

/* @argv[0] is the program, NULL the last. @fd[i] is descriptor i there; -1: /dev/null. All signals are let through. */
int child_start(const char *const *argv, const int *fd, int fds, int *ret_pidfd, struct err *err);
/* Waits for its end, after killing it if that is wanted. -1 is none. */
void child_end(int *pidfd, bool kill_it);

#endif
