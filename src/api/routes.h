/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API without a socket: a request in, a reply out. The server and the fuzzer call it; streams
 * (GET .../events) are the server's, and only named here.
 */
#ifndef NIDRA_API_ROUTES_H
#define NIDRA_API_ROUTES_H

#include <jansson.h>

#include "sleep/sleep.h"

#define API_BODY_MAX ((size_t)64 * 1024)

struct api_context {
	struct sleeper *sleeper;
	const char *name; /* of the machine */
	/* How machines with these names (array of strings) would be made of this one; NULL: not at all. */
	int (*clones)(const json_t *names, struct sleep_clones *ret, struct err *err);
};

struct api_reply {
	int status;
	json_t *body; /* owned by the receiver; NULL: none */
	bool stream;  /* the server streams events of job @stream_job (0: of all) instead */
	uint64_t stream_job;
};

void api_handle(struct api_context *c, const char *method, const char *path, const char *body, size_t len,
		struct api_reply *ret);

/* Every route as "METHOD /path" with {n} for numbers, for the test against openapi.yaml. */
const char *api_route_name(size_t index);

#endif
