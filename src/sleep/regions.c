/* SPDX-License-Identifier: Apache-2.0 */
#include "sleep/regions.h"

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
