/* SPDX-License-Identifier: Apache-2.0 */
#include "api/routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "base/str.h"

/* A request on its way to a route's handler. */
struct call {
	struct api_context *c;
	uint64_t number;    /* of {n} in the path */
	const json_t *body; /* object; empty if there was none */
	struct api_reply *reply;
	struct err err;
};

static int status_of(int r)
{
	switch (r) {
	case -EINVAL:
	case -E2BIG:
		return 400;
	case -ENOENT:
		return 404;
	case -EBUSY:
	case -EALREADY:
	case -EEXIST:
		return 409;
	default:
		return 500;
	}
}

/* ---- arguments ---- */

enum arg_type { ARG_STRING, ARG_BOOL, ARG_NUMBER, ARG_ARRAY };

struct arg {
	const char *key;
	enum arg_type type;
	void *ret; /* const char **, bool *, uint32_t *, const json_t ** */
};

static int take_arg(const struct arg *a, const json_t *v, struct err *err)
{
	if (a->type == ARG_STRING && json_is_string(v))
		*(const char **)a->ret = json_string_value(v);
	else if (a->type == ARG_BOOL && json_is_boolean(v))
		*(bool *)a->ret = json_is_true(v);
	else if (a->type == ARG_NUMBER && json_is_integer(v) && json_integer_value(v) >= 0 &&
		 json_integer_value(v) <= INT32_MAX)
		*(uint32_t *)a->ret = (uint32_t)json_integer_value(v);
	else if (a->type == ARG_ARRAY && json_is_array(v))
		*(const json_t **)a->ret = v;
	else
		return err_set(err, -EINVAL, "%s: a %s is wanted", a->key,
			       a->type == ARG_STRING  ? "string"
			       : a->type == ARG_ARRAY ? "list"
			       : a->type == ARG_BOOL  ? "boolean"
						      : "number");
	return 0;
}

static int take_args(struct call *call, const struct arg *arg, size_t n)
{
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)call->body, key, v) {
		size_t i = 0;
		int r;

		while (i < n && strcmp(arg[i].key, key))
			i++;
		if (i == n)
			return err_set(&call->err, -EINVAL, "unknown key \"%.80s\"", key);
		r = take_arg(&arg[i], v, &call->err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- handlers: 0, or a negative errno with call->err set ---- */

static int done(struct call *call, json_t *body)
{
	call->reply->status = body ? 200 : 204;
	call->reply->body = body;
	return 0;
}

static int get_guest(struct call *call, struct guest **ret)
{
	*ret = sleeper_guest(call->c->sleeper);
	return *ret ? 0 : err_set(&call->err, -EBUSY, "the machine is not built yet");
}

/* For what must not get between the phases of an operation. */
static int get_idle_guest(struct call *call, struct guest **ret)
{
	struct sleep_job job;

	if (sleep_get_job(call->c->sleeper, 0, &job) == 0 && job.running)
		return err_set(&call->err, -EBUSY, "%s is running", sleep_verb_name(job.verb));
	return get_guest(call, ret);
}

static int do_machine(struct call *call)
{
	return done(call, json_of_machine(call->c->sleeper, call->c->name));
}

static int do_version(struct call *call)
{
	return done(call, json_pack("{s:s, s:i}", "nidra", NIDRA_VERSION, "api", 1));
}

static int do_jobs(struct call *call)
{
	return done(call, json_of_jobs(call->c->sleeper));
}

static int do_job(struct call *call)
{
	struct sleep_job job;

	if (!call->number || sleep_get_job(call->c->sleeper, call->number, &job) < 0)
		return err_set(&call->err, -ENOENT, "there is no job %llu", (unsigned long long)call->number);
	return done(call, json_of_job(&job));
}

static int do_job_cancel(struct call *call)
{
	struct sleep_job job;

	if (!call->number || sleep_get_job(call->c->sleeper, call->number, &job) < 0)
		return err_set(&call->err, -ENOENT, "there is no job %llu", (unsigned long long)call->number);
	if (!sleep_cancel(call->c->sleeper, call->number))
		return err_set(&call->err, -EALREADY, "job %llu has ended", (unsigned long long)call->number);
	call->reply->status = 202;
	return 0;
}

static int do_job_events(struct call *call)
{
	struct sleep_job job;

	if (!call->number || sleep_get_job(call->c->sleeper, call->number, &job) < 0)
		return err_set(&call->err, -ENOENT, "there is no job %llu", (unsigned long long)call->number);
	call->reply->stream = true;
	call->reply->stream_job = call->number;
	return done(call, NULL);
}

static int do_events(struct call *call)
{
	call->reply->stream = true;
	return done(call, NULL);
}

static int start(struct call *call, enum sleep_verb verb, const struct sleep_args *args)
{
	uint64_t job;
	int r = sleep_start(call->c->sleeper, verb, args, &job, &call->err);

	if (r < 0) /* what is wrong is the machine's state, not the request */
		return r == -EINVAL ? (call->err.code = -EBUSY) : r;
	call->reply->status = 202;
	call->reply->body = json_pack("{s:I}", "job", (json_int_t)job);
	return 0;
}

static int do_suspend(struct call *call)
{
	struct sleep_args a = { 0 };
	const struct arg arg[] = { { "timeout_s", ARG_NUMBER, &a.timeout_s }, { "fail_at", ARG_STRING, &a.fail_at } };

	return take_args(call, arg, ARRAY_SIZE(arg)) ?: start(call, SLEEP_SUSPEND, &a);
}

static int do_resume(struct call *call)
{
	struct sleep_args a = { 0 };
	const struct arg arg[] = { { "uncooperative", ARG_BOOL, &a.uncooperative },
				   { "fail_at", ARG_STRING, &a.fail_at } };

	return take_args(call, arg, ARRAY_SIZE(arg)) ?: start(call, SLEEP_RESUME, &a);
}

static int parse_codec(struct call *call, const char *name, enum image_codec *ret)
{
	static const char *const names[IMAGE_CODECS] = { "none", "zstd", "lz4" };

	int i = name ? str_index(names, IMAGE_CODECS, name) : 0;

	if (i < 0)
		return err_set(&call->err, -EINVAL, "compress: \"%.20s\" is not zstd, lz4 or none", name);
	if (name)
		*ret = (enum image_codec)i;
	return 0;
}

/* What checkpoint and save take. */
struct image_request {
	struct sleep_args a;
	const char *codec, *key_file, *passphrase_file;
	uint32_t level;
	const json_t *leave_out;
};

/* [{gpa, bytes}, ...] */
static int take_ranges(struct call *call, const json_t *list, struct sleep_args *a)
{
	size_t i;
	json_t *v;

	if (json_array_size(list) > SLEEP_RANGES_MAX)
		return err_set(&call->err, -EINVAL, "leave_out: at most %u ranges", SLEEP_RANGES_MAX);
	json_array_foreach ((json_t *)(uintptr_t)list, i, v) {
		json_int_t gpa, bytes;

		if (json_unpack(v, "{s:I, s:I!}", "gpa", &gpa, "bytes", &bytes) < 0 || gpa < 0 || bytes <= 0)
			return err_set(&call->err, -EINVAL, "leave_out: {gpa, bytes} are wanted");
		a->leave_out[i] = (struct sleep_range){ (uint64_t)gpa, (uint64_t)bytes };
	}
	a->leave_outs = json_array_size(list);
	return 0;
}

static int take_image_args(struct call *call, struct image_request *q)
{
	const struct arg arg[] = {
		{ "image", ARG_STRING, &q->a.image },
		{ "replace", ARG_BOOL, &q->a.replace },
		{ "timeout_s", ARG_NUMBER, &q->a.timeout_s },
		{ "fail_at", ARG_STRING, &q->a.fail_at },
		{ "stay", ARG_BOOL, &q->a.paused },
		{ "incremental", ARG_BOOL, &q->a.incremental },
		{ "compress", ARG_STRING, &q->codec },
		{ "level", ARG_NUMBER, &q->level },
		{ "uncooperative", ARG_BOOL, &q->a.uncooperative },
		{ "full", ARG_BOOL, &q->a.full },
		{ "no_disks", ARG_BOOL, &q->a.no_disks },
		{ "key_file", ARG_STRING, &q->key_file },
		{ "passphrase_file", ARG_STRING, &q->passphrase_file },
		{ "encrypt_metadata", ARG_BOOL, &q->a.hide_metadata },
		{ "leave_out", ARG_ARRAY, &q->leave_out },
	};
	int r = take_args(call, arg, ARRAY_SIZE(arg));

	r = r ?: parse_codec(call, q->codec, &q->a.codec);
	return r ?: take_ranges(call, q->leave_out, &q->a);
}

static int check_image_args(struct call *call, enum sleep_verb verb, const struct image_request *q)
{
	if (!q->a.image || *q->a.image != '/')
		return err_set(&call->err, -EINVAL, "image: an absolute path is wanted");
	if (q->a.paused && verb != SLEEP_SAVE)
		return err_set(&call->err, -EINVAL, "unknown key \"stay\"");
	if ((q->a.incremental || q->a.uncooperative || q->a.full) && verb != SLEEP_CHECKPOINT)
		return err_set(&call->err, -EINVAL, "only a checkpoint can be incremental or uncooperative");
	if (q->a.hide_metadata && !q->key_file && !q->passphrase_file)
		return err_set(&call->err, -EINVAL, "encrypt_metadata: with which key?");
	return 0;
}

/* Only its path comes by the socket: no buffer of a library ever has the key. */
static int read_key(struct call *call, const struct image_request *q, struct image_key **ret)
{
	const char *path = q->key_file ?: q->passphrase_file;

	if (q->key_file && q->passphrase_file)
		return err_set(&call->err, -EINVAL, "key_file or passphrase_file, not both");
	if (path && *path != '/')
		return err_set(&call->err, -EINVAL, "key_file, passphrase_file: an absolute path is wanted");
	return path ? image_key_read(q->key_file ? IMAGE_KEY_FILE : IMAGE_KEY_PASSPHRASE, path, ret, &call->err) : 0;
}

static int to_image(struct call *call, enum sleep_verb verb)
{
	_cleanup_(image_key_freep) struct image_key *key = NULL;
	struct image_request q = { .a = { .codec = IMAGE_CODEC_ZSTD } };
	int r = take_image_args(call, &q);

	r = r ?: check_image_args(call, verb, &q);
	r = r ?: read_key(call, &q, &key);
	q.a.level = (int)MIN(q.level, 19u) ?: 1;
	q.a.key = key;
	return r ?: start(call, verb, &q.a);
}

static int do_checkpoint(struct call *call)
{
	return to_image(call, SLEEP_CHECKPOINT);
}

static int do_save(struct call *call)
{
	return to_image(call, SLEEP_SAVE);
}

static int do_fork(struct call *call)
{
	struct sleep_args a = { 0 };
	const json_t *names = NULL;
	const struct arg arg[] = { { "names", ARG_ARRAY, &names },
				   { "timeout_s", ARG_NUMBER, &a.timeout_s },
				   { "fail_at", ARG_STRING, &a.fail_at } };
	int r = take_args(call, arg, ARRAY_SIZE(arg));

	if (r == 0 && !json_array_size(names))
		r = err_set(&call->err, -EINVAL, "names: at least one is wanted");
	if (r == 0 && !call->c->clones)
		r = err_set(&call->err, -EBUSY, "there is nobody who could start a machine");
	r = r ?: call->c->clones(names, &a.clones, &call->err);
	return r ?: start(call, SLEEP_FORK, &a);
}

static int do_pause(struct call *call)
{
	struct guest *g;

	return take_args(call, NULL, 0) ?: get_idle_guest(call, &g) ?: guest_pause(g, &call->err) ?: done(call, NULL);
}

static int do_unpause(struct call *call)
{
	struct guest *g;

	return take_args(call, NULL, 0) ?: get_idle_guest(call, &g) ?: guest_run(g, &call->err) ?: done(call, NULL);
}

static int ask(struct call *call, const char *what)
{
	struct guest *g;

	return take_args(call, NULL, 0) ?: get_idle_guest(call, &g) ?: guest_ask(g, what, &call->err) ?:
		       done(call, NULL);
}

static int do_shutdown(struct call *call)
{
	return ask(call, "poweroff");
}

static int do_reboot(struct call *call)
{
	return ask(call, "reboot");
}

/* At any time, also in the middle of an operation, which then fails. */
static int do_destroy(struct call *call)
{
	struct guest *g;
	int r = take_args(call, NULL, 0) ?: get_guest(call, &g);

	if (r)
		return r;
	guest_destroy(g);
	sleep_cancel(call->c->sleeper, 0);
	return done(call, NULL);
}

static int do_memory(struct call *call)
{
	uint32_t mib = 0;
	const struct arg arg[] = { { "target_mib", ARG_NUMBER, &mib } };
	struct guest *g;

	return take_args(call, arg, 1) ?: get_guest(call, &g) ?: guest_set_memory(g, mib, &call->err) ?: done(call, NULL);
}

static int do_vcpus(struct call *call)
{
	uint32_t n = 0;
	const struct arg arg[] = { { "online", ARG_NUMBER, &n } };
	struct guest *g;

	return take_args(call, arg, 1) ?: get_guest(call, &g) ?: guest_set_vcpus(g, n, &call->err) ?: done(call, NULL);
}

static int do_resize(struct call *call)
{
	const char *vdev = NULL;
	uint32_t mib = 0;
	const struct arg arg[] = { { "vdev", ARG_STRING, &vdev }, { "mib", ARG_NUMBER, &mib } };
	struct guest *g;
	int r = take_args(call, arg, ARRAY_SIZE(arg));

	if (r == 0 && !vdev)
		r = err_set(&call->err, -EINVAL, "vdev: which disk?");
	return r ?: get_idle_guest(call, &g) ?: guest_resize_disk(g, vdev, (uint64_t)mib << 20, &call->err) ?: done(call, NULL);
}

/* {n} stands for a number. */
static const struct route {
	const char *method, *path;
	int (*handle)(struct call *call);
} routes[] = {
	{ "GET", "/v1/version", do_version },
	{ "GET", "/v1/machine", do_machine },
	{ "GET", "/v1/events", do_events },
	{ "GET", "/v1/jobs", do_jobs },
	{ "GET", "/v1/jobs/{n}", do_job },
	{ "DELETE", "/v1/jobs/{n}", do_job_cancel },
	{ "GET", "/v1/jobs/{n}/events", do_job_events },
	{ "POST", "/v1/pause", do_pause },
	{ "POST", "/v1/unpause", do_unpause },
	{ "POST", "/v1/suspend", do_suspend },
	{ "POST", "/v1/resume", do_resume },
	{ "POST", "/v1/checkpoint", do_checkpoint },
	{ "POST", "/v1/save", do_save },
	{ "POST", "/v1/fork", do_fork },
	{ "POST", "/v1/shutdown", do_shutdown },
	{ "POST", "/v1/reboot", do_reboot },
	{ "POST", "/v1/destroy", do_destroy },
	{ "POST", "/v1/memory", do_memory },
	{ "POST", "/v1/vcpus", do_vcpus },
	{ "POST", "/v1/disk-resize", do_resize },
};

const char *api_route_name(size_t index)
{
	static _Thread_local char name[128];

	if (index >= ARRAY_SIZE(routes))
		return NULL;
	snprintf(name, sizeof(name), "%s %s", routes[index].method, routes[index].path);
	return name;
}

static bool path_matches(const char *pattern, const char *path, uint64_t *number)
{
	while (*pattern && *path) {
		if (!strncmp(pattern, "{n}", 3)) {
			char *end;

			if (*path < '0' || *path > '9')
				return false;
			*number = strtoull(path, &end, 10);
			path = end;
			pattern += 3;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *pattern == *path;
}

static const struct route *find_route(struct call *call, const char *method, const char *path)
{
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!path_matches(routes[i].path, path, &call->number))
			continue;
		known = true;
		if (!strcmp(routes[i].method, method))
			return &routes[i];
	}
	call->reply->status = known ? 405 : 404;
	err_set(&call->err, -ENOENT, known ? "%.20s is not possible with %.80s" : "nothing is at %.0s%.80s", method,
		path);
	return NULL;
}

void api_handle(struct api_context *c, const char *method, const char *path, const char *body, size_t len,
		struct api_reply *ret)
{
	struct call call = { .c = c, .reply = ret };
	const struct route *route;
	json_t *json = NULL;
	int r;

	*ret = (struct api_reply){ 0 };
	route = find_route(&call, method, path);
	if (route) {
		json_error_t at;

		json = len ? json_loadb(body, len, JSON_REJECT_DUPLICATES, &at) : json_object();
		call.body = json;
		r = json_is_object(json) ? route->handle(&call)
					 : err_set(&call.err, -EINVAL, "the body is not a JSON object");
		if (r < 0 && !ret->status)
			ret->status = status_of(r);
	}
	if (ret->status >= 400)
		ret->body = json_of_problem(ret->status, call.err.msg);
	json_decref(json);
}
