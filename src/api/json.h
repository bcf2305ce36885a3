/* SPDX-License-Identifier: Apache-2.0 */
/* What the API says, as JSON. docs/api/openapi.yaml describes every field. */
#ifndef NIDRA_API_JSON_H
#define NIDRA_API_JSON_H

#include <jansson.h>

#include "sleep/sleep.h"

json_t *json_of_job(const struct sleep_job *job);
json_t *json_of_machine(struct sleeper *s, const char *name);
/* RFC 9457: {"type", "title", "status", "detail"}. */
json_t *json_of_problem(int status, const char *detail);
/* All jobs that are remembered, oldest first. */
json_t *json_of_jobs(struct sleeper *s);

#endif
