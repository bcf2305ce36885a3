/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define STEP_US 100

int thread_start(pthread_t *ret, void *(*run)(void *arg), void *arg)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(ret, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

void thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* In steps, because TSan does not know pthread_mutex_clocklock(). */
bool thread_lock_until(pthread_mutex_t *lock, uint64_t deadline_ns)
{
	while (pthread_mutex_trylock(lock)) {
		if (clock_monotonic_ns() >= deadline_ns)
			return false;
		usleep(STEP_US);
	}
	return true;
}
