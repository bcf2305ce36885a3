/* SPDX-License-Identifier: Apache-2.0 */
/* What programs that read somebody else's bytes have in common in giving up what they do not need. */
#ifndef NIDRA_BASE_SANDBOX_H
#define NIDRA_BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sandbox_limit {
	int what; /* RLIMIT_* */
	uint64_t most;
};

/* Limits, and no way to new privileges or to being looked into. */
int sandbox_limits(const struct sandbox_limit *limits, size_t n, struct err *err);
/* Memory, that is never both written and executed. @filter is a scmp_filter_ctx; a negative errno. */
int sandbox_allow_memory(void *filter);
/* False in a build with sanitizers, which need more than any of these allow: what is tested there is the parsers. */
bool sandbox_is_possible(void);

#endif
