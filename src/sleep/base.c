/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/pageset.h"
#include "sleep/internal.h"

void sleep_base_fini(struct sleep_base *b)
{
	free(b->image);
	free(b->since);
	*b = (struct sleep_base){ 0 };
}

bool sleep_base_set(struct sleep_base *b, char *image, const struct image_digest *id, uint64_t pages)
{
	sleep_base_fini(b);
	b->image = image;
	b->id = *id;
	b->since = pageset_new(pages);
	if (!b->image || !b->since)
		sleep_base_fini(b);
	return b->image;
}
