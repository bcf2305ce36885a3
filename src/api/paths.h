/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a machine's files are.
 *
 *   runtime  $NIDRA_RUNTIME_DIR, or $XDG_RUNTIME_DIR/nidra, or /run/nidra (root), or /tmp/nidra-UID
 *            NAME/{lock,api.sock,console.sock}: gone when the monitor is
 *            .domids/N: locked by the machine that has that domain number
 *   state    $NIDRA_STATE_DIR, or $XDG_STATE_HOME/nidra, or /var/log/nidra (root), or
 *            ~/.local/state/nidra
 *            NAME/{console.log,monitor.log,timeline.json,last.json}: stays
 */
#ifndef NIDRA_API_PATHS_H
#define NIDRA_API_PATHS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Allocated paths; NULL without memory. @file may be NULL: the folder itself. @name NULL: all. */
char *path_runtime(const char *name, const char *file);
char *path_state(const char *name, const char *file);

/* Makes a machine's two folders. Refuses a runtime folder that somebody else owns. */
int paths_make(const char *name, struct err *err);

/*
 * A live monitor holds an exclusive lock on NAME/lock. Takes it: the descriptor, or -EBUSY if
 * somebody has it.
 */
int path_lock(const char *name, struct err *err);
/* Domain number *domid, or (0) the lowest that no machine has. Taken as long as the descriptor is open. */
int path_take_domid(uint16_t *domid, struct err *err);
bool path_is_live(const char *name);
/* Removes a machine's runtime folder; the caller holds its lock, or its monitor is dead. */
void path_remove(const char *name);

#endif
