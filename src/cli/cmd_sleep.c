/* SPDX-License-Identifier: Apache-2.0 */
/* suspend, resume, checkpoint, save: operations that take their time. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/key.h"

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

/* The monitor reads it before it answers. Exit code. */
static int put_key(json_t *body, const struct key_flags *f, bool hide_metadata)
{
	_cleanup_(image_key_freep) struct image_key *key = NULL;
	struct key_loan loan;
	int r = key_take(f, true, &key) ?: key_lend(key, &loan);

	if (r == EXIT_OK && key)
		json_object_set_new(body, loan.is_passphrase ? "passphrase_file" : "key_file", json_string(loan.path));
	if (r == EXIT_OK && hide_metadata)
		json_object_set_new(body, "encrypt_metadata", json_true());
	return r;
}

/* A number with K, M or G, decimal or 0x...; *@text goes behind it. */
static bool take_size(const char **text, uint64_t *ret)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*ret = strtoull(*text, &end, 0);
	unit = *end ? strchr(units, *end) : NULL;
	*text = end + !!unit;
	return !errno && (!unit || !mul_overflow(*ret, UINT64_C(1024) << 10 * (unit - units), ret));
}

/* "GPA+BYTES" each. Exit code. */
static int put_leave_out(json_t *body, json_t *list)
{
	json_t *ranges = json_array(), *v;
	size_t i;

	json_array_foreach (list, i, v) {
		const char *text = json_string_value(v);
		uint64_t gpa = 0, bytes = 0;

		if (!take_size(&text, &gpa) || *text++ != '+' || !take_size(&text, &bytes) || *text ||
		    gpa > INT64_MAX || bytes > INT64_MAX) {
			json_decref(ranges);
			return usage("--leave-out %s: GPA+BYTES is wanted", json_string_value(v));
		}
		json_array_append_new(ranges,
				      json_pack("{s:I, s:I}", "gpa", (json_int_t)gpa, "bytes", (json_int_t)bytes));
	}
	json_object_set_new(body, "leave_out", ranges);
	return EXIT_OK;
}

struct save_flags {
	bool copy, stay, force, incremental, uncooperative, full, no_disks, hide_metadata;
	const char *fail_at, *compress, *every;
	uint32_t keep, timeout;
	struct key_flags key;
	json_t *leave_out;
	struct job_options job;
};

static int parse_save(int argc, char **argv, struct save_flags *f, int *ret_n)
{
	const struct flag flags[] = {
		{ "checkpoint", 'c', FLAG_BOOL, &f->copy },
		{ "paused", 'p', FLAG_BOOL, &f->stay },
		{ "force", 'f', FLAG_BOOL, &f->force },
		{ "timeout", 't', FLAG_NUMBER, &f->timeout },
		{ "fail-at", 0, FLAG_STRING, &f->fail_at },
		{ "json", 0, FLAG_BOOL, &f->job.json },
		{ "print-stats", 0, FLAG_BOOL, &f->job.print_stats },
		{ "incremental", 'i', FLAG_BOOL, &f->incremental },
		{ "uncooperative", 'u', FLAG_BOOL, &f->uncooperative },
		{ "compress", 'z', FLAG_STRING, &f->compress },
		{ "full", 0, FLAG_BOOL, &f->full },
		{ "no-disks", 0, FLAG_BOOL, &f->no_disks },
		{ "every", 0, FLAG_STRING, &f->every },
		{ "keep", 0, FLAG_NUMBER, &f->keep },
		{ "encrypt-metadata", 0, FLAG_BOOL, &f->hide_metadata },
		{ "leave-out", 0, FLAG_LIST, &f->leave_out },
		KEY_FLAGS(&f->key),
	};

	return parse_flags(argc, argv, flags, ARRAY_SIZE(flags), ret_n);
}

/* Exit code. */
static int make_save_body(const struct save_flags *f, bool save, const char *image, json_t *body)
{
	int r;

	json_object_set_new(body, "image", json_string(image));
	json_object_set_new(body, "replace", json_boolean(f->force));
	if (f->full)
		json_object_set_new(body, "full", json_true());
	if (f->no_disks)
		json_object_set_new(body, "no_disks", json_true());
	if (f->stay && save)
		json_object_set_new(body, "stay", json_true());
	if (f->incremental)
		json_object_set_new(body, "incremental", json_true());
	if (f->uncooperative)
		json_object_set_new(body, "uncooperative", json_true());
	if (f->compress)
		put_codec(body, f->compress);
	put_common(body, f->timeout, f->fail_at);
	r = f->leave_out ? put_leave_out(body, f->leave_out) : EXIT_OK;
	return r ?: put_key(body, &f->key, f->hide_metadata);
}

static int save(const char *name, const char *image, bool checkpoint, const struct save_flags *f)
{
	json_auto_t *body = json_object();
	int r = make_save_body(f, !checkpoint, image, body);

	if (r != EXIT_OK)
		return r;
	if (f->every || f->keep)
		return checkpoint_periodically(name, image, f->every, f->keep, json_incref(body), &f->job);
	r = run_job(name, checkpoint ? "checkpoint" : "save", json_incref(body), &f->job);
	if (r == EXIT_OK && !f->stay && !checkpoint)
		monitor_wait_gone(name);
	return r;
}

int cmd_save(int argc, char **argv)
{
	struct save_flags f = { 0 };
	_cleanup_free_ char *image = NULL;
	bool checkpoint;
	int n, r;

	if (parse_save(argc, argv, &f, &n) < 0)
		return EXIT_USAGE;
	if (n != 2)
		return usage("%s: NAME and IMAGE are wanted", argv[0]);
	checkpoint = f.copy || !strcmp(argv[0], "checkpoint");
	image = absolute(argv[2]);
	if (!image)
		return fail("%s: %s", argv[2], strerror(errno));
	if ((f.every || f.keep) && !checkpoint)
		return usage("%s: --every and --keep are a checkpoint's", argv[0]);
	r = save(argv[1], image, checkpoint, &f);
	json_decref(f.leave_out);
	return r;
}
