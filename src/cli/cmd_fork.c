/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork: more machines of one that runs or sleeps, or of an image. Of an image: the first one is restored but
 * not started, the others are forks of it, and then it is started.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "api/paths.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/key.h"

#define NUMBERS_MAX 100000 /* of names that are tried */

struct fork_flags {
	uint32_t n, timeout;
	const char *prefix, *fail_at;
	bool json;
	struct key_flags key;
	struct job_options job;
};

/* PREFIX-1, PREFIX-2, ... as far as nobody is called so. */
static json_t *free_names(const char *prefix, uint32_t n)
{
	json_t *names = json_array();

	for (uint32_t i = 1; json_array_size(names) < n && i < NUMBERS_MAX; i++) {
		_cleanup_free_ char *name = str_printf("%s-%u", prefix, i);

		if (name && !path_is_live(name))
			json_array_append_new(names, json_string(name));
	}
	return names;
}

static int print_names(json_t *names, const struct fork_flags *f)
{
	size_t i;
	json_t *name;

	if (f->json) {
		json_dumpf(names, stdout, JSON_COMPACT);
		puts("");
		return EXIT_OK;
	}
	json_array_foreach (names, i, name)
		puts(json_string_value(name));
	return EXIT_OK;
}

static int fork_machine(const char *name, json_t *names, const struct fork_flags *f)
{
	json_t *body = json_pack("{s:O}", "names", names);

	if (f->timeout)
		json_object_set_new(body, "timeout_s", json_integer(f->timeout));
	if (f->fail_at)
		json_object_set_new(body, "fail_at", json_string(f->fail_at));
	return run_job(name, "fork", body, &f->job);
}

/* Every machine of an image is a new one, the first as the others. */
static int fork_image(const char *image, struct image_key *key, json_t *names, const struct fork_flags *f)
{
	const char *first = json_string_value(json_array_get(names, 0));
	_cleanup_free_ char *identity = new_identity(first);
	const char *args[] = {
		"--restore", image, "--config", identity, "--paused", "--eager", NULL, NULL, NULL
	}; /* and the key */
	struct key_loan loan;
	json_auto_t *others = json_copy(names);
	struct err err = { 0 };
	int r;

	if (!identity)
		return fail("fork: %s", strerror(ENOMEM));
	r = key_lend(key, &loan);
	if (r != EXIT_OK)
		return r;
	if (key) {
		args[6] = loan.is_passphrase ? "--passphrase-file" : "--key-file";
		args[7] = loan.path;
	}
	r = spawn_and_follow(first, args, &f->job);
	json_array_remove(others, 0);
	if (r == EXIT_OK && json_array_size(others)) {
		r = fork_machine(first, others, f);
		if (r != EXIT_OK)
			api_call(first, "POST", "/v1/destroy", NULL, NULL, &err);
	}
	if (r == EXIT_OK && api_call(first, "POST", "/v1/unpause", NULL, NULL, &err) < 0)
		return fail("%s: %s", first, err.msg);
	return r;
}

static int fork_either(const char *what, const struct fork_flags *f)
{
	_cleanup_(image_key_freep) struct image_key *key = NULL;
	_cleanup_free_ char *of_image = NULL;
	json_auto_t *names = NULL;
	const char *prefix = f->prefix;
	bool live = path_is_live(what);
	char real[PATH_MAX];
	int r;

	if (!live && !realpath(what, real))
		return fail("there is no machine and no image named %s", what);
	r = live ? EXIT_OK : key_take(&f->key, false, &key);
	if (r != EXIT_OK)
		return r;
	if (!live && !prefix) {
		of_image = image_name(real, key, &r);
		if (!of_image)
			return r;
	}
	names = free_names(prefix ?: of_image ?: what, f->n);
	r = live ? fork_machine(what, names, f) : fork_image(real, key, names, f);
	return r == EXIT_OK ? print_names(names, f) : r;
}

int cmd_fork(int argc, char **argv)
{
	struct fork_flags f = { .n = 1 };
	const struct flag flags[] = {
		{ "number", 'n', FLAG_NUMBER, &f.n },
		{ "name", 0, FLAG_STRING, &f.prefix },
		{ "timeout", 't', FLAG_NUMBER, &f.timeout },
		{ "fail-at", 0, FLAG_STRING, &f.fail_at },
		{ "json", 0, FLAG_BOOL, &f.json },
		{ "print-stats", 0, FLAG_BOOL, &f.job.print_stats },
		KEY_FLAGS(&f.key),
	};
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("fork: which machine or image?");
	if (!f.n || f.n > 1000)
		return usage("fork: --number 1 to 1000");
	return fork_either(argv[1], &f);
}
