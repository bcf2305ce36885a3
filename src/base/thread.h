/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, and what they wait for, as all of nidra wants them. */
#ifndef NIDRA_BASE_THREAD_H
#define NIDRA_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* As pthread_create(), but 0 or a negative errno; all signals are blocked in it: those of the program are its main
 * thread's. */
int thread_start(pthread_t *ret, void *(*run)(void *arg), void *arg);

/* Its timed waits go by the monotonic clock. */
void thread_cond_init(pthread_cond_t *cond);

/* False: somebody else still had @lock at @deadline_ns (monotonic). */
bool thread_lock_until(pthread_mutex_t *lock, uint64_t deadline_ns);

#endif
