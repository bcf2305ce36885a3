/* SPDX-License-Identifier: Apache-2.0 */
#include "sleep/regions.h"

#include "base/pageset.h"

size_t sleep_regions(struct machine *m, struct image_region region[SLEEP_REGIONS_MAX])
{
	const struct gmem_region *g;
	size_t n, used = 0;

	g = gmem_regions(machine_mem(m), &n);
	for (size_t i = 0; i < n && used < SLEEP_REGIONS_MAX; i++) {
		if (g[i].kind == GMEM_GRANT)
			continue;
		region[used++] = (struct image_region){ .kind = g[i].kind,
							.gpa = g[i].gpa,
							.bytes = g[i].bytes,
							.fd = gmem_fd(machine_mem(m)),
							.fd_offset = g[i].fd_offset,
							.hva = g[i].hva };
	}
	return used;
}

struct pageset *sleep_pages_in_use(struct machine *m, const struct image_region *region, size_t n)
{
	struct pageset *set = image_pages_in_use(region, n);

	if (set && gmem_private_pages(machine_mem(m), set) < 0)
		free(take_ptr(set));
	return set;
}
