/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of the API, to a machine that has no guest: method, path and body are lines, the body
 * goes on to the end. Paths in bodies lead nowhere, or a fuzzer would read the host's files.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static size_t line(const char **at, const char *end, char *ret, size_t max)
{
	const char *nl = memchr(*at, '\n', (size_t)(end - *at));
	size_t n = (size_t)((nl ? nl : end) - *at);

	n = n < max ? n : max - 1;
	memcpy(ret, *at, n);
	ret[n] = 0;
	*at = nl ? nl + 1 : end;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct api_context context = { .name = "fuzz" };
	const char *at = (const char *)data, *end = at + len;
	struct api_reply reply = { 0 };
	char method[16], path[256];

	if (!len || len > API_BODY_MAX || memchr(data, '/', len) == NULL)
		return 0;
	if (!context.sleeper && sleeper_new(NULL, &context.sleeper, NULL))
		return 0;
	line(&at, end, method, sizeof(method));
	line(&at, end, path, sizeof(path));
	if (memchr(at, '/', (size_t)(end - at)))
		return 0;
	api_handle(&context, method, path, at, (size_t)(end - at), &reply);
	if (reply.body) {
		char *text = json_dumps(reply.body, 0);

		if (!text) /* a reply that cannot be said */
			__builtin_trap();
		free(text);
	}
	if (reply.status < 200 || reply.status > 599 || (reply.status >= 400 && !reply.body))
		__builtin_trap();
	json_decref(reply.body);
	return 0;
}
