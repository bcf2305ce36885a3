/* SPDX-License-Identifier: Apache-2.0 */
/* The sleep lock: one operation per machine at a time. Any thread. */
#ifndef NIDRA_PM_LOCK_H
#define NIDRA_PM_LOCK_H

#include "base/err.h"

struct pm_lock {
	const char *holder; /* name of the operation that runs; atomic; NULL: free */
};

/* @op stays valid while the lock is held. -EBUSY with a sentence that names the operation that
 * runs. */
int pm_lock_take(struct pm_lock *lock, const char *op, struct err *err);
/* By whoever took it. */
void pm_lock_release(struct pm_lock *lock);
/* NULL: free. */
const char *pm_lock_holder(const struct pm_lock *lock);

#endif
