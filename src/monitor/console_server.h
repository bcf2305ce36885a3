/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's console on a Unix socket. A client's first line says where to start, "from=start\n" or
 * "from=now\n"; then bytes go both ways. A client that does not read loses what scrolled out of the
 * kept MiB; it never stops the guest or others. All output also goes to a file.
 */
#ifndef NIDRA_MONITOR_CONSOLE_SERVER_H
#define NIDRA_MONITOR_CONSOLE_SERVER_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "sleep/sleep.h"

struct console_server;

int console_server_new(sd_event *loop, const char *socket_path, const char *log_path, struct sleeper *sleeper,
		       struct console_server **ret, struct err *err);
/* Gives clients what is left for them, if they take it at once, and closes. */
void console_server_free(struct console_server *s);
/* There is another guest (or a first one): begin with its output. */
void console_server_new_guest(struct console_server *s);

#endif
