/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain of handlers. A command goes along the chain in order of priority (highest first, then
 * order of registration); the first handler that knows it takes it and stops the chain, the
 * others pass it on. Not thread-safe: the owner locks.
 */
#ifndef NIDRA_PM_CHAIN_H
#define NIDRA_PM_CHAIN_H

#include "base/err.h"

#define PM_PASS	 0 /* not mine */
#define PM_TAKEN 1 /* mine, and done; a negative errno: mine, and it failed */

struct pm_handler {
	const char *name;
	int priority;
	int (*handle)(struct pm_handler *self, int command, void *data, struct err *err);
	struct pm_handler *next; /* the chain's own */
};

struct pm_chain {
	struct pm_handler *first;
};

void pm_chain_add(struct pm_chain *chain, struct pm_handler *handler);
void pm_chain_remove(struct pm_chain *chain, struct pm_handler *handler);
/*
 * PM_TAKEN, the taker's failure (named in the sentence), or PM_PASS if nobody knew @command. A
 * handler may remove itself, but no other one.
 */
int pm_chain_call(struct pm_chain *chain, int command, void *data, struct err *err);

#endif
