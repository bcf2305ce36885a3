/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory as the image layer wants it: RAM, special pages, ACPI. Grant frames are Xen state. */
#ifndef NIDRA_SLEEP_REGIONS_H
#define NIDRA_SLEEP_REGIONS_H

#include "image/image.h"
#include "kvm/machine.h"
#include "pm/pm.h"

#define SLEEP_REGIONS_MAX 8

size_t sleep_regions(struct machine *m, struct image_region region[SLEEP_REGIONS_MAX]);
/* Pages of these that are not known to be zero, allocated. NULL: no memory. */
struct pageset *sleep_pages_in_use(struct machine *m, const struct image_region *region, size_t n);

/* image_progress.step over a struct pm_run: progress out, cancellation in. */
int sleep_progress_step(void *run, uint64_t done, uint64_t total, struct err *err);

#endif
