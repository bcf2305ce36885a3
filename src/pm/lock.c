/* SPDX-License-Identifier: Apache-2.0 */
#include "pm/lock.h"

#include <assert.h>
#include <errno.h>

#include "base/log.h"

int pm_lock_take(struct pm_lock *lock, const char *op, struct err *err)
{
	const char *holder = NULL;

	/* One step for test and take: the refusal names who held it at that very moment. */
	if (!__atomic_compare_exchange_n(&lock->holder, &holder, op, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
		trace(pm_lock, "op=%s refused_for=%s", op, holder);
		return err_set(err, -EBUSY, "%s: refused while %s runs", op, holder);
	}
	trace(pm_lock, "op=%s taken", op);
	return 0;
}

void pm_lock_release(struct pm_lock *lock)
{
	const char *holder = __atomic_exchange_n(&lock->holder, NULL, __ATOMIC_RELEASE);

	assert(holder);
	trace(pm_unlock, "op=%s", holder);
}

const char *pm_lock_holder(const struct pm_lock *lock)
{
	return __atomic_load_n(&lock->holder, __ATOMIC_ACQUIRE);
}
