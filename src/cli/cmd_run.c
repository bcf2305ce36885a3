/* SPDX-License-Identifier: Apache-2.0 */
/* run, create, restore: machines come to be. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api/paths.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/diskspec.h"
#include "cli/filekind.h"
#include "cli/key.h"
#include "cli/nicspec.h"
#include "cli/sharespec.h"
#include "cli/xlcfg.h"
#include "image/image.h"

#define FIRST_JOB 1

struct create_flags {
	const char *name, *kernel, *initrd, *cmdline, *transport, *on_reboot, *on_crash, *on_watchdog, *on_poweroff;
	uint32_t memory, vcpus, maxvcpus, domid;
	bool paused, json, print_stats;
	bool console; /* create -c */
	json_t *disks, *nics, *publish, *shares;
};

static int parse_create(int argc, char **argv, struct create_flags *f, int *ret_n)
{
	const struct flag flags[] = {
		{ "name", 'n', FLAG_STRING, &f->name },
		{ "kernel", 'k', FLAG_STRING, &f->kernel },
		{ "initrd", 'i', FLAG_STRING, &f->initrd },
		{ "cmdline", 'a', FLAG_STRING, &f->cmdline },
		{ "memory", 'm', FLAG_NUMBER, &f->memory },
		{ "vcpus", 0, FLAG_NUMBER, &f->vcpus },
		{ "maxvcpus", 0, FLAG_NUMBER, &f->maxvcpus },
		{ "domid", 0, FLAG_NUMBER, &f->domid },
		{ "transport", 0, FLAG_STRING, &f->transport },
		{ "on-poweroff", 0, FLAG_STRING, &f->on_poweroff },
		{ "on-reboot", 0, FLAG_STRING, &f->on_reboot },
		{ "on-crash", 0, FLAG_STRING, &f->on_crash },
		{ "on-watchdog", 0, FLAG_STRING, &f->on_watchdog },
		{ "disk", 'd', FLAG_LIST, &f->disks },
		{ "nic", 0, FLAG_LIST, &f->nics },
		{ "publish", 0, FLAG_LIST, &f->publish },
		{ "share", 0, FLAG_LIST, &f->shares },
		{ "paused", 'p', FLAG_BOOL, &f->paused },
		{ "console", 'c', FLAG_BOOL, &f->console },
		{ "json", 0, FLAG_BOOL, &f->json },
		{ "print-stats", 0, FLAG_BOOL, &f->print_stats },
	};

	return parse_flags(argc, argv, flags, ARRAY_SIZE(flags), ret_n);
}

/* A disk instead of a configuration is its first one. */
static json_t *disk_config(const char *file, json_t *disks)
{
	_cleanup_free_ char *spec = str_printf("target=%s", file);

	if (!spec || json_array_insert_new(disks, 0, json_string(spec)) < 0)
		return NULL;
	return json_object();
}

static json_t *read_config(const char *file, json_t *disks)
{
	_cleanup_free_ uint8_t *text = NULL;
	_cleanup_free_ char *ignored = NULL;
	struct err err = { 0 };
	json_t *o = NULL;
	size_t len;
	int kind = diskspec_format_of(file) ? FILEKIND_DISK : filekind_of(file, &err);

	if (kind < 0) {
		usage("%s", err.msg);
		return NULL;
	}
	if (kind == FILEKIND_DISK)
		return disk_config(file, disks);
	if (io_read_file(file, 1 << 20, &text, &len, &err) < 0 ||
	    xlcfg_parse((char *)text, file, &o, &ignored, &err) < 0) {
		usage("%s", err.msg);
		return NULL;
	}
	if (ignored)
		fprintf(stderr, "nidra: %s: not used: %s\n", file, ignored);
	return o;
}

static void put_string(json_t *o, const char *key, const char *value)
{
	if (value)
		json_object_set_new(o, key, json_string(value));
}

static void put_file(json_t *o, const char *key, const char *value)
{
	char real[PATH_MAX];

	put_string(o, key, value && realpath(value, real) ? real : value);
}

static void put_number(json_t *o, const char *key, uint32_t value)
{
	if (value)
		json_object_set_new(o, key, json_integer(value));
}

/* "vmlinuz-6.1.0" -> vmlinuz-6.1.0-1234: some name, if the person gave none. */
static void put_default_name(json_t *o)
{
	const char *kernel = json_string_value(json_object_get(o, "kernel"));
	json_t *disk = json_array_get(json_object_get(o, "disks"), 0);
	const char *file = kernel ?: json_string_value(json_object_get(disk, "path"));
	_cleanup_free_ char *copy = strdup(file ?: "machine"), *name = NULL;

	if (json_object_get(o, "name"))
		return;
	name = copy ? str_printf("%.40s-%d", basename(copy), getpid()) : NULL;
	put_string(o, "name", name);
}

static json_t *list_of(json_t *o, const char *key)
{
	if (!json_object_get(o, key))
		json_object_set_new(o, key, json_array());
	return json_object_get(o, key);
}

/* What @parse makes of each, behind those of the file. */
static int put_list(json_t *o, const char *key, json_t *specs,
		    int (*parse)(const char *text, json_t **ret, struct err *err))
{
	struct err err = { 0 };
	json_t *spec, *device;
	size_t i;

	json_array_foreach (specs, i, spec) {
		if (parse(json_string_value(spec), &device, &err) < 0) {
			usage("%s", err.msg);
			return -1;
		}
		json_array_append_new(list_of(o, key), device);
	}
	return 0;
}

static int put_nics(json_t *o, json_t *specs, json_t *publish)
{
	struct err err = { 0 };
	int r = put_list(o, "nics", specs, nicspec_parse);

	if (r < 0 || !json_array_size(publish))
		return r;
	r = nicspec_publish(list_of(o, "nics"), publish, &err);
	if (r < 0)
		usage("%s", err.msg);
	return r;
}

static json_t *make_config(int n, char **argv, struct create_flags *f)
{
	json_t *o;

	if (!f->disks)
		f->disks = json_array();
	o = n ? read_config(argv[1], f->disks) : json_object();

	if (!o)
		return NULL;
	put_string(o, "name", f->name);
	put_file(o, "kernel", f->kernel);
	put_file(o, "initrd", f->initrd);
	put_string(o, "cmdline", f->cmdline);
	put_string(o, "transport", f->transport);
	put_string(o, "on_poweroff", f->on_poweroff);
	put_string(o, "on_reboot", f->on_reboot);
	put_string(o, "on_crash", f->on_crash);
	put_string(o, "on_watchdog", f->on_watchdog);
	put_number(o, "memory_mib", f->memory);
	put_number(o, "vcpus", f->vcpus);
	put_number(o, "maxvcpus", f->maxvcpus);
	put_number(o, "domid", f->domid);
	if (put_list(o, "disks", f->disks, diskspec_parse) < 0 || put_nics(o, f->nics, f->publish) < 0 ||
	    put_list(o, "shares", f->shares, sharespec_parse) < 0) {
		json_decref(o);
		o = NULL;
	}
	if (o)
		put_default_name(o);
	json_decref(f->disks);
	json_decref(f->nics);
	json_decref(f->publish);
	json_decref(f->shares);
	return o;
}

/* ---- how it ended ---- */

static int exit_code_of_end(const char *end)
{
	static const struct {
		const char *end;
		int code;
	} map[] = {
		{ "poweroff", EXIT_OK },
		{ "reboot", EXIT_GUEST_REBOOT },
		{ "crash", EXIT_GUEST_CRASH },
		{ "failed", EXIT_GUEST_FAILED },
		{ "destroyed", EXIT_GUEST_DESTROYED },
		{ "saved", EXIT_GUEST_SAVED },
		{ "watchdog", EXIT_GUEST_WATCHDOG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (!strcmp(map[i].end, end))
			return map[i].code;
	return EXIT_FAILED;
}

/* The monitor leaves a note in the state folder before it closes the console. */
static int report_end(const char *name)
{
	_cleanup_free_ char *path = path_state(name, "last.json");
	json_auto_t *o = path ? json_load_file(path, 0, NULL) : NULL;
	const char *end = json_string_value(json_object_get(o, "end"));
	const char *reason = json_string_value(json_object_get(o, "reason"));
	int code;

	if (!end)
		return fail("%s: its monitor went away; nidra logs and monitor.log in %s tell more", name,
			    path ? dirname(path) : "");
	code = exit_code_of_end(end);
	if (code != EXIT_OK)
		fprintf(stderr, "nidra: %s ended: %s%s%s%s\n", name, end, reason ? " (" : "", reason ?: "",
			reason ? ")" : "");
	return code;
}

/* Console first, then the first instruction, so that nothing of it is missed. */
static int attach_and_go(const char *name, bool start, bool from_start)
{
	struct err err = { 0 };
	_cleanup_close_ int fd = console_connect(name, from_start, &err);
	int r;

	if (fd < 0)
		return fail("%s", err.msg);
	if (start && api_call(name, "POST", "/v1/unpause", NULL, NULL, &err) < 0)
		return fail("%s", err.msg);
	r = console_run(fd);
	if (r == 1) {
		fprintf(stderr, "\nnidra: left %s running; nidra console %s comes back\n", name, name);
		return EXIT_OK;
	}
	monitor_wait_gone(name);
	return report_end(name);
}

int spawn_and_follow(const char *name, const char *const *args, const struct job_options *o)
{
	struct err err = { 0 };
	int r;

	if (monitor_spawn(name, args, &err) < 0)
		return fail("%s", err.msg);
	r = job_follow(name, FIRST_JOB, o, NULL);
	if (r != EXIT_OK)
		monitor_wait_gone(name);
	return r;
}

static int create(int argc, char **argv, bool attach)
{
	struct create_flags f = { 0 };
	struct job_options o = { 0 };
	_cleanup_free_ char *text = NULL;
	json_auto_t *config = NULL;
	const char *args[8], *name;
	int n, r, a = 0;

	if (parse_create(argc, argv, &f, &n) < 0)
		return EXIT_USAGE;
	if (n > 1 || (!n && !f.kernel && !f.disks))
		return usage("%s: a CONFIG, a DISK or --kernel is wanted", argv[0]);
	config = make_config(n, argv, &f);
	if (!config)
		return EXIT_USAGE;
	attach |= f.console;
	text = json_dumps(config, JSON_COMPACT);
	name = json_string_value(json_object_get(config, "name"));
	o.json = f.json && !attach;
	o.print_stats = f.print_stats;
	args[a++] = "--config";
	args[a++] = text;
	if (f.paused || attach)
		args[a++] = "--paused";
	args[a] = NULL;
	r = spawn_and_follow(name, args, &o);
	if (r != EXIT_OK)
		return r;
	if (attach)
		return attach_and_go(name, !f.paused, true);
	if (!f.json)
		puts(name);
	return EXIT_OK;
}

int cmd_run(int argc, char **argv)
{
	return create(argc, argv, true);
}

int cmd_create(int argc, char **argv)
{
	return create(argc, argv, false);
}

/* ---- restore ---- */

/* As much as is needed: the monitor checks it all. */
static int open_for_name(const char *image, struct image_key *key, struct image_reader **ret, struct err *err)
{
	int r = image_reader_look(image, ret, err);
	const void *body;
	size_t len;

	if (r < 0)
		return r;
	if (image_reader_record(*ret, IMAGE_REC_METADATA, 0, &body, &len) == 0)
		return 0;
	image_reader_free(take_ptr(*ret));
	return image_reader_open_key(image, key, ret, err);
}

/* The configuration of its machine; NULL: it was told why not. */
static json_t *image_config(const char *image, struct image_key *key, int *ret_code)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	json_auto_t *o = NULL;
	const void *body;
	struct err err = { 0 };
	size_t len;

	*ret_code = EXIT_FAILED;
	if (open_for_name(image, key, &r, &err) < 0) {
		*ret_code = fail_of(&err);
		return NULL;
	}
	if (image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len) == 0)
		o = json_loadb(body, len, 0, NULL);
	if (!json_is_object(json_object_get(o, "config")))
		fail("%s does not say what its machine is like", image);
	return json_incref(json_object_get(o, "config"));
}

static const char *config_name(const char *image, json_t *config)
{
	const char *name = json_string_value(json_object_get(config, "name"));

	if (!name)
		fail("%s does not say the name of its machine", image);
	return name;
}

char *image_name(const char *image, struct image_key *key, int *ret_code)
{
	json_auto_t *config = image_config(image, key, ret_code);
	const char *name = config ? config_name(image, config) : NULL;

	return name ? strdup(name) : NULL;
}

struct restore_flags {
	bool paused, transparent, console, eager;
	const char *name, *fail_at, *uuid, *how_disks;
	json_t *disks, *shares, *nics;
	uint32_t domid, memory;
	struct key_flags key;
	struct job_options job;
};

static int parse_restore(int argc, char **argv, struct restore_flags *f, int *ret_n)
{
	const struct flag flags[] = {
		{ "name", 'n', FLAG_STRING, &f->name },	    { "uuid", 0, FLAG_STRING, &f->uuid },
		{ "domid", 0, FLAG_NUMBER, &f->domid },	    { "memory", 'm', FLAG_NUMBER, &f->memory },
		{ "paused", 'p', FLAG_BOOL, &f->paused },   { "transparent", 't', FLAG_BOOL, &f->transparent },
		{ "console", 'c', FLAG_BOOL, &f->console }, { "eager", 'e', FLAG_BOOL, &f->eager },
		{ "json", 0, FLAG_BOOL, &f->job.json },	    { "print-stats", 0, FLAG_BOOL, &f->job.print_stats },
		{ "fail-at", 0, FLAG_STRING, &f->fail_at }, { "disk", 'd', FLAG_LIST, &f->disks },
		{ "disks", 0, FLAG_STRING, &f->how_disks }, { "share", 0, FLAG_LIST, &f->shares },
		{ "nic", 0, FLAG_LIST, &f->nics },	    KEY_FLAGS(&f->key),
	};

	return parse_flags(argc, argv, flags, ARRAY_SIZE(flags), ret_n);
}

/* All networks of the image, in its order; the first --nic is what changes in the first, and so on. */
static int put_changed_nics(json_t *o, json_t *config, const struct restore_flags *f)
{
	json_t *nics = json_object_get(config, "nics"), *spec;
	size_t i;

	if (json_array_size(f->nics) > json_array_size(nics)) {
		usage("restore: the machine has %zu networks, --nic is there %zu times", json_array_size(nics),
		      json_array_size(f->nics));
		return -1;
	}
	json_array_foreach (f->nics, i, spec) {
		struct err err = { 0 };

		if (nicspec_change(json_string_value(spec), json_array_get(nics, i), &err) < 0) {
			usage("%s", err.msg);
			return -1;
		}
	}
	return json_array_size(f->nics) ? json_object_set(o, "nics", nics) : 0;
}

/* What is to be different from the image's @config. Allocated. */
static char *identity_json(const char *name, const struct restore_flags *f, json_t *config)
{
	json_auto_t *o = json_object();

	put_string(o, "name", name);
	put_string(o, "uuid", f->uuid);
	put_number(o, "domid", f->domid);
	if (put_list(o, "disks", f->disks, diskspec_parse) < 0 ||
	    put_list(o, "shares", f->shares, sharespec_parse) < 0 || put_changed_nics(o, config, f) < 0)
		return NULL;
	return json_dumps(o, JSON_COMPACT);
}

char *new_identity(const char *name)
{
	const struct restore_flags f = { .uuid = "new" };

	return identity_json(name, &f, NULL);
}

static int restore(const char *image, const char *name, const char *identity, const struct restore_flags *f,
		   const struct key_loan *key)
{
	char memory[16];
	const char *args[16] = { "--restore", image, "--config", identity };
	int r, a = 4;

	if (f->how_disks && strcmp(f->how_disks, "keep"))
		return usage("restore: --disks %s: keep is possible", f->how_disks);
	if (f->how_disks)
		args[a++] = "--keep-disks";
	if (f->eager)
		args[a++] = "--eager";
	if (f->transparent)
		args[a++] = "--transparent";
	if (f->paused)
		args[a++] = "--paused";
	if (f->memory) {
		snprintf(memory, sizeof(memory), "%u", f->memory);
		args[a++] = "--memory";
		args[a++] = memory;
	}
	if (f->fail_at) {
		args[a++] = "--fail-at";
		args[a++] = f->fail_at;
	}
	if (*key->path) {
		args[a++] = key->is_passphrase ? "--passphrase-file" : "--key-file";
		args[a++] = key->path;
	}
	args[a] = NULL;
	r = spawn_and_follow(name, args, &f->job);
	if (r != EXIT_OK)
		return r;
	if (f->console)
		return attach_and_go(name, false, true);
	if (!f->job.json)
		puts(name);
	return EXIT_OK;
}

int cmd_restore(int argc, char **argv)
{
	_cleanup_(image_key_freep) struct image_key *key = NULL;
	_cleanup_free_ char *identity = NULL;
	json_auto_t *config = NULL;
	struct restore_flags f = { 0 };
	struct key_loan loan;
	char real[PATH_MAX];
	const char *name;
	int n, r;

	if (parse_restore(argc, argv, &f, &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("restore: which IMAGE?");
	if (!realpath(argv[1], real))
		return fail("%s: %s", argv[1], strerror(errno));
	r = key_take(&f.key, false, &key) ?: key_lend(key, &loan);
	if (r != EXIT_OK)
		return r;
	if (!f.name || f.nics) {
		config = image_config(real, key, &r);
		if (!config)
			return r;
	}
	name = f.name ?: config_name(real, config);
	identity = name ? identity_json(name, &f, config) : NULL;
	r = identity ? restore(real, name, identity, &f, &loan) : name ? EXIT_USAGE : EXIT_FAILED;
	json_decref(f.disks);
	json_decref(f.shares);
	json_decref(f.nics);
	return r;
}
