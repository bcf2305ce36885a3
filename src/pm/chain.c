/* SPDX-License-Identifier: Apache-2.0 */
#include "pm/chain.h"

#include "base/log.h"

void pm_chain_add(struct pm_chain *chain, struct pm_handler *handler)
{
	struct pm_handler **at = &chain->first;

	while (*at && (*at)->priority >= handler->priority)
		at = &(*at)->next;
	handler->next = *at;
	*at = handler;
}

void pm_chain_remove(struct pm_chain *chain, struct pm_handler *handler)
{
	for (struct pm_handler **at = &chain->first; *at; at = &(*at)->next) {
		if (*at != handler)
			continue;
		*at = handler->next;
		handler->next = NULL;
		return;
	}
}

int pm_chain_call(struct pm_chain *chain, int command, void *data, struct err *err)
{
	struct pm_handler *next;

	for (struct pm_handler *h = chain->first; h; h = next) {
		/* A handler may be gone from the chain, or freed, when it returns. */
		const char *name = h->name;
		int r;

		next = h->next;
		r = h->handle(h, command, data, err);
		trace(pm_chain, "command=%d handler=%s r=%d", command, name, r);
		if (r < 0)
			err_prefix(err, "%s", name);
		if (r != PM_PASS)
			return r;
	}
	return PM_PASS;
}
