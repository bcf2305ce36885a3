/* SPDX-License-Identifier: Apache-2.0 */
/* Monitors for the machines of a fork. */
#ifndef NIDRA_MONITOR_CLONES_H
#define NIDRA_MONITOR_CLONES_H

#include <jansson.h>

#include "sleep/sleep.h"

/* For machines with these names (array of strings). */
int clones_new(const json_t *names, struct sleep_clones *ret, struct err *err);

#endif
