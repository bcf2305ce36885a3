/* SPDX-License-Identifier: Apache-2.0 */
/* The API on a socket: HTTP/1.1 on a Unix socket, inside an event loop. */
#ifndef NIDRA_API_SERVER_H
#define NIDRA_API_SERVER_H

#include <systemd/sd-event.h>

#include "api/routes.h"

struct api_server;

/* Listens on @path. @context is borrowed. */
int api_server_new(sd_event *loop, const char *path, struct api_context *context, struct api_server **ret,
		   struct err *err);
void api_server_free(struct api_server *s);
/* Something changed: streams look. */
void api_server_changed(struct api_server *s);
/* Whether a client still reads a stream; a monitor that leaves lets it finish. */
bool api_server_busy(struct api_server *s);
/* Whether a client ever read a stream. */
bool api_server_followed(struct api_server *s);

#endif
