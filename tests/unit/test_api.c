/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API of a machine that has no guest: every route answers, and whatever is sent, there is a
 * reply that can be put into bytes. A problem always comes with its sentence.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/routes.h"
#include "base/io.h"

static struct api_context context = { .name = "web" };

static int setup(void **state)
{
	(void)state;
	return sleeper_new(NULL, &context.sleeper, NULL);
}

static int teardown(void **state)
{
	(void)state;
	sleeper_free(context.sleeper);
	return 0;
}

/* The reply's body as text, or "". */
static const char *ask_bytes(const char *method, const char *path, const char *body, size_t len, int *status)
{
	static char text[65536];
	struct api_reply reply;
	char *dump = NULL;

	api_handle(&context, method, path, body, len, &reply);
	*status = reply.status;
	if (reply.body) {
		dump = json_dumps(reply.body, JSON_SORT_KEYS);
		assert_non_null(dump);
	}
	snprintf(text, sizeof(text), "%s", dump ? dump : "");
	if (reply.status >= 400) {
		const json_t *problem = json_object_get(reply.body, "detail");

		if (!json_string_length(problem))
			fail_msg("%s %s: %d without a sentence", method, path, reply.status);
		assert_int_equal(json_integer_value(json_object_get(reply.body, "status")), reply.status);
	}
	assert_true(reply.status >= 200 && reply.status < 500); /* nothing here is our own fault */
	free(dump);
	json_decref(reply.body);
	return text;
}

static const char *ask(const char *method, const char *path, const char *body, int want)
{
	int status;
	const char *text = ask_bytes(method, path, body, strlen(body), &status);

	if (status != want)
		fail_msg("%s %s %s: %d, not %d: %s", method, path, body, status, want, text);
	return text;
}

static void says(const char *method, const char *path, const char *body, int status, const char *what)
{
	const char *text = ask(method, path, body, status);

	if (!strstr(text, what))
		fail_msg("%s %s %s: %s has no '%s'", method, path, body, text, what);
}

/* Route @i with a number in it. False: there are no more. */
static bool route(size_t i, char *method, char *path)
{
	const char *name = api_route_name(i);
	char *n;

	if (!name)
		return false;
	assert_int_equal(sscanf(name, "%15s %127s", method, path), 2);
	n = strstr(path, "{n}");
	if (n) {
		*n = '7';
		memmove(n + 1, n + 3, strlen(n + 3) + 1);
	}
	return true;
}

static void test_every_route_answers_without_a_guest(void **state)
{
	char method[16], path[128];

	(void)state;
	for (size_t i = 0; route(i, method, path); i++) {
		int status;

		ask_bytes(method, path, "", 0, &status);
		assert_int_not_equal(status, 405);
		if (!strcmp(method, "POST"))
			assert_true(status == 409 || status == 400);
	}
}

static void test_keys_and_ranges_are_checked(void **state)
{
	(void)state;
	says("POST", "/v1/save", "{\"image\": \"/x\", \"key_file\": \"key\"}", 400, "an absolute path");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"key_file\": \"/k\", \"passphrase_file\": \"/p\"}", 400,
	     "not both");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"key_file\": \"/nonexistent\"}", 404, "open the key");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"key_file\": \"/dev/zero\"}", 400, "not a regular file");
	says("POST", "/v1/checkpoint", "{\"image\": \"/x\", \"encrypt_metadata\": true}", 400, "which key");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"leave_out\": 1}", 400, "leave_out");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"leave_out\": [1]}", 400, "leave_out");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"leave_out\": [{\"gpa\": -1, \"bytes\": 1}]}", 400, "leave_out");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"leave_out\": [{\"gpa\": 0}]}", 400, "leave_out");
}

static void test_what_is_there_is_told(void **state)
{
	(void)state;
	says("GET", "/v1/version", "", 200, "\"nidra\"");
	says("GET", "/v1/machine", "", 200, "\"web\"");
	ask("GET", "/v1/jobs", "", 200);
	says("GET", "/v1/jobs/1", "", 404, "no job 1");
	says("GET", "/v1/jobs/0", "", 404, "no job 0");
	says("DELETE", "/v1/jobs/18446744073709551615", "", 404, "no job");
	says("GET", "/v1/jobs/1/events", "", 404, "no job 1");
}

static void test_events_are_streams(void **state)
{
	struct api_reply reply;

	(void)state;
	api_handle(&context, "GET", "/v1/events", NULL, 0, &reply);
	assert_true(reply.stream);
	assert_int_equal(reply.stream_job, 0);
	assert_null(reply.body);
}

static void test_nothing_is_done_without_a_guest(void **state)
{
	static const char *const verbs[] = { "pause", "unpause", "shutdown", "reboot", "destroy", "suspend", "resume" };
	char path[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		snprintf(path, sizeof(path), "/v1/%s", verbs[i]);
		ask("POST", path, "", 409);
		ask("POST", path, "{}", 409);
		says("POST", path, "{\"nonsense\": 1}", 400, "unknown key \\\"nonsense\\\"");
	}
	ask("POST", "/v1/save", "{\"image\": \"/nonexistent/x\"}", 409);
	ask("POST", "/v1/checkpoint", "{\"image\": \"/nonexistent/x\"}", 409);
	ask("POST", "/v1/memory", "{\"target_mib\": 64}", 409);
	ask("POST", "/v1/vcpus", "{\"online\": 1}", 409);
}

static void test_unknown_paths_and_methods_are_told_apart(void **state)
{
	static const char *const nowhere[] = { "",
					       "/",
					       "/v1",
					       "/v1/",
					       "/v2/machine",
					       "/v1/machine/",
					       "/v1/machines",
					       "/v1/jobs/",
					       "/v1/jobs/x",
					       "/v1/jobs/1x",
					       "/v1/jobs/1/",
					       "/v1/jobs/-1",
					       "/v1/jobs/ 1",
					       "/v1/jobs/{n}",
					       "//v1/machine",
					       "/v1/machine?x",
					       "/v1/../machine" };
	char method[16], path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++)
		ask("GET", nowhere[i], "", 404);
	for (size_t i = 0; route(i, method, path); i++) {
		ask("PUT", path, "", 405);
		ask("", path, "", 405);
		ask("get", path, "", 405);
	}
}

static void test_values_of_the_wrong_type_are_refused_by_key(void **state)
{
	(void)state;
	says("POST", "/v1/suspend", "{\"timeout_s\": \"1\"}", 400, "timeout_s: a number");
	says("POST", "/v1/suspend", "{\"timeout_s\": -1}", 400, "timeout_s: a number");
	says("POST", "/v1/suspend", "{\"timeout_s\": 1.5}", 400, "timeout_s: a number");
	says("POST", "/v1/suspend", "{\"timeout_s\": 99999999999}", 400, "timeout_s: a number");
	says("POST", "/v1/suspend", "{\"fail_at\": 1}", 400, "fail_at: a string");
	says("POST", "/v1/resume", "{\"uncooperative\": 1}", 400, "uncooperative: a boolean");
	says("POST", "/v1/save", "{\"image\": null}", 400, "image: a string");
	says("POST", "/v1/save", "{\"image\": \"relative\"}", 400, "absolute path");
	says("POST", "/v1/save", "{\"image\": \"\"}", 400, "absolute path");
	says("POST", "/v1/save", "{}", 400, "absolute path");
	says("POST", "/v1/save", "{\"image\": \"/x\", \"replace\": \"yes\"}", 400, "replace: a boolean");
	says("POST", "/v1/checkpoint", "{\"image\": \"/x\", \"stay\": true}", 400, "stay");
}

static void test_bodies_that_are_no_object_are_refused(void **state)
{
	static const char *const garbage[] = { "[]",
					       "null",
					       "1",
					       "\"x\"",
					       "{",
					       "}",
					       "{\"a\"}",
					       "{}{}",
					       "\xff\xfe",
					       "{\"a\": 1, \"a\": 2}",
					       "{\"\\ud800\": 1}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
		says("POST", "/v1/suspend", garbage[i], 400, "not a JSON object");
}

/* A sentence that is cut must not be cut inside a letter. */
static void test_names_that_are_not_ascii_come_back_or_do_not(void **state)
{
	char key[400], path[400];

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		size_t n = (size_t)snprintf(key, sizeof(key), "{\"%.*s", (int)shift, "aaaa");

		for (int i = 0; i < 60; i++)
			n += (size_t)snprintf(key + n, sizeof(key) - n, "\xe2\x82\xac");
		snprintf(key + n, sizeof(key) - n, "\": 1}");
		ask("POST", "/v1/suspend", key, 400);
		n = (size_t)snprintf(path, sizeof(path), "/%.*s", (int)shift, "aaaa");
		for (int i = 0; i < 60; i++)
			n += (size_t)snprintf(path + n, sizeof(path) - n, "\xe2\x82\xac");
		ask("GET", path, "", 404);
	}
	ask("GET", "/\xff\xfe", "", 404);
	ask("GET", "/v1/jobs/\x80", "", 404);
	ask("\xff", "/v1/machine", "", 405);
}

static void test_large_bodies_are_answered(void **state)
{
	static char body[API_BODY_MAX];
	int status;

	(void)state;
	memset(body, '[', sizeof(body));
	ask_bytes("POST", "/v1/suspend", body, sizeof(body), &status);
	assert_int_equal(status, 400);
	memset(body, 0, sizeof(body));
	ask_bytes("POST", "/v1/suspend", body, sizeof(body), &status);
	assert_int_equal(status, 400);
	memset(body, 'a', sizeof(body));
	memcpy(body, "{\"", 2);
	memcpy(body + sizeof(body) - 5, "\": 1}", 5);
	ask_bytes("POST", "/v1/suspend", body, sizeof(body), &status);
	assert_int_equal(status, 400);
	memcpy(body, "{\"image\": \"/", 12);
	memcpy(body + sizeof(body) - 2, "\"}", 2);
	ask_bytes("POST", "/v1/save", body, sizeof(body), &status);
	assert_true(status == 409 || status == 400);
}

/* "METHOD /path" is in the document as a path and, behind it, its method. */
static void test_every_route_is_documented(void **state)
{
	_cleanup_free_ uint8_t *text = NULL;
	size_t len;

	(void)state;
	if (io_read_file(OPENAPI, 1 << 20, &text, &len, NULL))
		skip();
	for (size_t i = 0; api_route_name(i); i++) {
		char method[16], path[128], line[160], *at, *next;

		assert_int_equal(sscanf(api_route_name(i), "%15s %127s", method, path), 2);
		snprintf(line, sizeof(line), "\n  %s:\n", path);
		at = strstr((char *)text, line);
		if (!at) {
			fail_msg("%s is not in openapi.yaml", path);
			return;
		}
		next = strstr(at + 3, "\n  /");
		for (char *c = method; *c; c++)
			*c = (char)(*c | 0x20);
		snprintf(line, sizeof(line), "\n    %s:", method);
		at = strstr(at, line);
		if (!at || (next && at > next))
			fail_msg("%s of %s is not in openapi.yaml", method, path);
	}
}

#define t(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(every_route_answers_without_a_guest),
		t(keys_and_ranges_are_checked),
		t(what_is_there_is_told),
		t(events_are_streams),
		t(nothing_is_done_without_a_guest),
		t(unknown_paths_and_methods_are_told_apart),
		t(values_of_the_wrong_type_are_refused_by_key),
		t(bodies_that_are_no_object_are_refused),
		t(names_that_are_not_ascii_come_back_or_do_not),
		t(large_bodies_are_answered),
		t(every_route_is_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
