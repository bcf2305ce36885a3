/* SPDX-License-Identifier: Apache-2.0 */
/* suspend, resume, checkpoint, save: operations that take their time. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

/* Starts @verb on machine @name with @body (taken) and follows it. */
int run_job(const char *name, const char *verb, json_t *body, const struct job_options *o)
{
	json_auto_t *request = body, *reply = NULL;
	struct err err = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/v1/%s", verb);
	if (api_call(name, "POST", path, request, &reply, &err) < 0)
		return fail("%s: %s", name, err.msg);
	return job_follow(name, (uint64_t)json_integer_value(json_object_get(reply, "job")), o, NULL);
}

static void put_common(json_t *body, uint32_t timeout, const char *fail_at)
{
	if (timeout)
		json_object_set_new(body, "timeout_s", json_integer(timeout));
	if (fail_at)
		json_object_set_new(body, "fail_at", json_string(fail_at));
}

int cmd_suspend(int argc, char **argv)
{
	struct job_options o = { 0 };
	const char *fail_at = NULL;
	uint32_t timeout = 0;
	const struct flag flags[] = { { "timeout", 't', FLAG_NUMBER, &timeout },
				      { "fail-at", 0, FLAG_STRING, &fail_at },
				      { "json", 0, FLAG_BOOL, &o.json },
				      { "print-stats", 0, FLAG_BOOL, &o.print_stats } };
	json_t *body = json_object();
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("suspend: which machine?");
	put_common(body, timeout, fail_at);
	return run_job(argv[1], "suspend", body, &o);
}

int cmd_resume(int argc, char **argv)
{
	struct job_options o = { 0 };
	bool uncooperative = false;
	const struct flag flags[] = { { "uncooperative", 'u', FLAG_BOOL, &uncooperative },
				      { "json", 0, FLAG_BOOL, &o.json },
				      { "print-stats", 0, FLAG_BOOL, &o.print_stats } };
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("resume: which machine?");
	return run_job(argv[1], "resume", json_pack("{s:b}", "uncooperative", uncooperative), &o);
}

/* The monitor has another working folder. The file itself need not exist yet. */
char *absolute(const char *path)
{
	char cwd[PATH_MAX];

	if (*path == '/')
		return strdup(path);
	return getcwd(cwd, sizeof(cwd)) ? str_printf("%s/%s", cwd, path) : NULL;
}

/* "zstd", or "zstd:9" */
static void put_codec(json_t *body, const char *text)
{
	size_t name = strcspn(text, ":");

	json_object_set_new(body, "compress", json_stringn(text, name));
	if (text[name])
		json_object_set_new(body, "level", json_integer(atoi(text + name + 1)));
}

int cmd_save(int argc, char **argv)
{
	struct job_options o = { 0 };
	bool copy = false, stay = false, force = false, incremental = false, uncooperative = false, full = false;
	const char *fail_at = NULL, *compress = NULL, *every = NULL, *verb;
	uint32_t keep = 0;
	uint32_t timeout = 0;
	const struct flag flags[] = {
		{ "checkpoint", 'c', FLAG_BOOL, &copy },
		{ "paused", 'p', FLAG_BOOL, &stay },
		{ "force", 'f', FLAG_BOOL, &force },
		{ "timeout", 't', FLAG_NUMBER, &timeout },
		{ "fail-at", 0, FLAG_STRING, &fail_at },
		{ "json", 0, FLAG_BOOL, &o.json },
		{ "print-stats", 0, FLAG_BOOL, &o.print_stats },
		{ "incremental", 'i', FLAG_BOOL, &incremental },
		{ "uncooperative", 'u', FLAG_BOOL, &uncooperative },
		{ "compress", 'z', FLAG_STRING, &compress },
		{ "full", 0, FLAG_BOOL, &full },
		{ "every", 0, FLAG_STRING, &every },
		{ "keep", 0, FLAG_NUMBER, &keep },
	};
	_cleanup_free_ char *image = NULL;
	json_t *body;
	int n, r;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 2)
		return usage("%s: NAME and IMAGE are wanted", argv[0]);
	verb = copy || !strcmp(argv[0], "checkpoint") ? "checkpoint" : "save";
	image = absolute(argv[2]);
	if (!image)
		return fail("%s: %s", argv[2], strerror(errno));
	if ((every || keep) && strcmp(verb, "checkpoint"))
		return usage("%s: --every and --keep are a checkpoint's", argv[0]);
	body = json_pack("{s:s, s:b}", "image", image, "replace", force);
	if (full)
		json_object_set_new(body, "full", json_true());
	if (stay && !strcmp(verb, "save"))
		json_object_set_new(body, "stay", json_true());
	if (incremental)
		json_object_set_new(body, "incremental", json_true());
	if (uncooperative)
		json_object_set_new(body, "uncooperative", json_true());
	if (compress)
		put_codec(body, compress);
	put_common(body, timeout, fail_at);
	if (every || keep)
		return checkpoint_periodically(argv[1], image, every, keep, body, &o);
	r = run_job(argv[1], verb, body, &o);
	if (r == EXIT_OK && !stay && !strcmp(verb, "save"))
		monitor_wait_gone(argv[1]);
	return r;
}
