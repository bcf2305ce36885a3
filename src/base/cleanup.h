/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleanup by scope. `_cleanup_(x_freep) struct x *x = NULL;` frees at the end of
 * the scope; `take_ptr(x)` / `take_fd(fd)` give ownership away on the line that
 * does so.
 */
#ifndef NIDRA_BASE_CLEANUP_H
#define NIDRA_BASE_CLEANUP_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* Makes `free_fn##p`, the form that _cleanup_ wants, out of a destructor that takes NULL. */
#define DEFINE_CLEANUP(type, free_fn)                                                                                  \
	static inline void free_fn##p(type *p)                                                                         \
	{                                                                                                              \
		free_fn(*p);                                                                                           \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void close_fdp(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void unlockp(pthread_mutex_t **m)
{
	if (*m)
		pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *lock_mutex_(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

#define _cleanup_free_	_cleanup_(freep)
#define _cleanup_close_ _cleanup_(close_fdp)
#define _cleanup_file_	_cleanup_(fclosep)

#define CLEANUP_CAT2(a, b) a##b
#define CLEANUP_CAT(a, b)  CLEANUP_CAT2(a, b)
/* Holds mutex @m until the end of the scope. */
#define SCOPED_LOCK(m)                                                                                                 \
	_cleanup_(unlockp) __attribute__((unused)) pthread_mutex_t *CLEANUP_CAT(lock_, __LINE__) = lock_mutex_(m)

#define take_ptr(p)                                                                                                    \
	({                                                                                                             \
		__typeof__(p) t_ = (p);                                                                                \
		(p) = NULL;                                                                                            \
		t_;                                                                                                    \
	})

#define take_fd(fd)                                                                                                    \
	({                                                                                                             \
		int t_ = (fd);                                                                                         \
		(fd) = -1;                                                                                             \
		t_;                                                                                                    \
	})

#endif
