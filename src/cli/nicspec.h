/* SPDX-License-Identifier: Apache-2.0 */
/* Network devices as people write them: xl-network-configuration(5), in a file or behind --nic. */
#ifndef NIDRA_CLI_NICSPEC_H
#define NIDRA_CLI_NICSPEC_H

#include <jansson.h>

#include "base/err.h"

/*
 * "user", "tap=NAME", "bridge=NAME", "link=PATH", with "mac=..." and (user) "forward=..." and "restricted" behind a
 * comma, as the configuration wants it (guest/config.h). Without any of the first it is bridge=xenbr0, as in xl. The
 * path is made absolute.
 */
int nicspec_parse(const char *text, json_t **ret, struct err *err);

/* The same, without a default, for a network that an image has: what is said replaces what @nic had; if the kind is,
 * all but the MAC. */
int nicspec_change(const char *text, json_t *nic, struct err *err);

/* Adds forwards to the first "user" of @nics, or adds one of those if there are none at all. */
int nicspec_publish(json_t *nics, json_t *forwards, struct err *err);

#endif
