/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A monitor of root under systemd leaves the session or service that it was started from for a scope of its own,
 * which ends with the host, and only after nidra-guests.service has had its turn.
 */
#ifndef NIDRA_MONITOR_SCOPE_H
#define NIDRA_MONITOR_SCOPE_H

#include "base/err.h"

/* 0 also where there is nothing to do: no systemd, or not root. Waits for systemd for some seconds at most. */
int scope_enter(const char *name, struct err *err);

#endif
