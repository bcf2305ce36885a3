/* SPDX-License-Identifier: Apache-2.0 */
/* list, info, console, logs, and what needs no operation. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/paths.h"
#include "base/io.h"
#include "cli/cli.h"

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_machine(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static bool stalls(json_t *o)
{
	json_t *d;
	size_t i;

	json_array_foreach (json_object_get(o, "disks"), i, d)
		if (json_object_get(d, "stalled"))
			return true;
	return false;
}

static void print_row(json_t *o)
{
	json_t *config = json_object_get(o, "config");
	const char *operation =
		json_string_value(json_object_get(o, "operation")) ?: (stalls(o) ? "disk stalls" : NULL);
	const char *state = json_string_value(json_object_get(o, "state"));
	char text[64];

	/* As a person thinks of it: what it does comes before what it is. */
	snprintf(text, sizeof(text), "%s%s%s%s", state ?: "?", operation ? " (" : "", operation ?: "",
		 operation ? ")" : "");
	printf("%-24s %-22s %5" PRId64 " %9" PRId64 " %10.1f\n", json_string_value(json_object_get(o, "name")), text,
	       (int64_t)json_integer_value(json_object_get(o, "vcpus_online")),
	       (int64_t)json_integer_value(json_object_get(config, "memory_mib")),
	       (double)json_integer_value(json_object_get(o, "cpu_time_ns")) / 1e9);
}

json_t *all_machines(void)
{
	_cleanup_free_ char *base = path_runtime(NULL, NULL);
	struct dirent **entry = NULL;
	json_t *all = json_array();
	int count = base ? scandir(base, &entry, is_machine, compare_names) : 0;
	for (int i = 0; i < count; i++) {
		_cleanup_free_ struct dirent *d = entry[i];
		struct err err = { 0 };
		json_t *o = NULL;

		if (!path_is_live(d->d_name))
			path_remove(d->d_name); /* what a killed monitor left */
		else if (api_call(d->d_name, "GET", "/v1/machine", NULL, &o, &err) == 0)
			json_array_append_new(all, o);
	}
	free(entry);
	return all;
}

int cmd_list(int argc, char **argv)
{
	json_auto_t *all = NULL;
	bool json = false;
	const struct flag flags[] = { { "json", 0, FLAG_BOOL, &json } };
	int n;

	if (parse_flags(argc, argv, flags, 1, &n) < 0)
		return EXIT_USAGE;
	all = all_machines();
	if (json) {
		json_dumpf(all, stdout, JSON_INDENT(2));
		puts("");
		return EXIT_OK;
	}
	printf("%-24s %-22s %5s %9s %10s\n", "NAME", "STATE", "VCPUS", "MEM(MiB)", "TIME(s)");
	for (size_t i = 0; i < json_array_size(all); i++)
		print_row(json_array_get(all, i));
	return EXIT_OK;
}

static void print_value(const char *key, json_t *v, const char *indent)
{
	const char *k;
	json_t *inner;

	if (json_is_object(v)) {
		printf("%s%s:\n", indent, key);
		json_object_foreach (v, k, inner)
			if (!json_is_array(inner)) /* it has an entry of its own */
				print_value(k, inner, "  ");
	} else if (json_is_string(v)) {
		printf("%s%-16s %s\n", indent, key, json_string_value(v));
	} else if (json_is_integer(v) && strlen(key) > 3 && !strcmp(key + strlen(key) - 3, "_ns")) {
		printf("%s%-16.*s %.3f s\n", indent, (int)strlen(key) - 3, key, (double)json_integer_value(v) / 1e9);
	} else if (json_is_integer(v) && strlen(key) > 6 && !strcmp(key + strlen(key) - 6, "_bytes")) {
		printf("%s%-16.*s %.1f MiB\n", indent, (int)strlen(key) - 6, key,
		       (double)json_integer_value(v) / (1 << 20));
	} else if (json_is_integer(v)) {
		printf("%s%-16s %" PRId64 "\n", indent, key, (int64_t)json_integer_value(v));
	} else {
		printf("%s%-16s %s\n", indent, key, json_is_true(v) ? "yes" : "no");
	}
}

static void print_disks(json_t *list)
{
	json_t *d;
	size_t i;

	json_array_foreach (list, i, d) {
		const char *trouble = json_string_value(json_object_get(d, "stalled"));

		printf("disk %-11s %s, %" PRId64 " MiB%s%s; %.1f MiB read, %.1f MiB written, %" PRId64 " errors%s%s\n",
		       json_string_value(json_object_get(d, "vdev")), json_string_value(json_object_get(d, "path")),
		       (int64_t)json_integer_value(json_object_get(d, "bytes")) >> 20,
		       json_is_true(json_object_get(d, "readonly")) ? ", read-only" : "",
		       json_is_true(json_object_get(d, "connected")) ? "" : ", no driver yet",
		       (double)json_integer_value(json_object_get(d, "read_bytes")) / (1 << 20),
		       (double)json_integer_value(json_object_get(d, "written_bytes")) / (1 << 20),
		       (int64_t)json_integer_value(json_object_get(d, "errors")), trouble ? "; stalls: " : "",
		       trouble ?: "");
	}
}

static void print_nics(json_t *list)
{
	json_t *n;
	size_t i;

	json_array_foreach (list, i, n) {
		const char *type = json_string_value(json_object_get(n, "type"));
		const char *where = json_string_value(
			json_object_get(n, "bridge") ?: json_object_get(n, "tap") ?: json_object_get(n, "path"));

		printf("nic %-12zu %s%s%s, %s%s; %.1f MiB in, %.1f MiB out, %" PRId64 " dropped\n", i, type ?: "?",
		       where ? " " : "", where ?: "", json_string_value(json_object_get(n, "mac")) ?: "?",
		       json_is_true(json_object_get(n, "connected")) ? "" : ", no driver yet",
		       (double)json_integer_value(json_object_get(n, "rx_bytes")) / (1 << 20),
		       (double)json_integer_value(json_object_get(n, "tx_bytes")) / (1 << 20),
		       (int64_t)json_integer_value(json_object_get(n, "rx_dropped")));
	}
}

static void print_shares(json_t *list)
{
	json_t *s;
	size_t i;

	json_array_foreach (list, i, s)
		printf("share %-10s %s%s\n%-16s %s\n", json_string_value(json_object_get(s, "tag")),
		       json_string_value(json_object_get(s, "path")),
		       json_is_true(json_object_get(s, "readonly")) ? ", read-only" : "",
		       "  in the guest:", json_string_value(json_object_get(s, "mount")));
}

static void print_entry(const char *key, json_t *v)
{
	if (!strcmp(key, "nics")) {
		print_nics(v);
		return;
	}
	if (!strcmp(key, "shares")) {
		print_shares(v);
		return;
	}
	if (!strcmp(key, "disks")) {
		print_disks(v);
		return;
	}
	if (strcmp(key, "image_bytes"))
		print_value(key, v, "");
	else if (json_integer_value(v))
		printf("%-16s %.1f MiB still in the image\n", "loading", (double)json_integer_value(v) / (1 << 20));
}

int cmd_info(int argc, char **argv)
{
	json_auto_t *o = NULL;
	struct err err = { 0 };
	bool json = false;
	const struct flag flags[] = { { "json", 0, FLAG_BOOL, &json } };
	const char *key;
	json_t *v;
	int n;

	if (parse_flags(argc, argv, flags, 1, &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("info: which machine?");
	if (api_call(argv[1], "GET", "/v1/machine", NULL, &o, &err) < 0)
		return fail("%s", err.msg);
	if (json) {
		json_dumpf(o, stdout, JSON_INDENT(2));
		puts("");
		return EXIT_OK;
	}
	json_object_foreach (o, key, v)
		print_entry(key, v);
	return EXIT_OK;
}

/* A line as if typed, for scripts. */
static int send_line(const char *name, const char *line)
{
	struct err err = { 0 };
	_cleanup_close_ int fd = console_connect(name, false, &err);
	int r = fd < 0 ? fd : io_write_full(fd, line, strlen(line));

	r = r ?: io_write_full(fd, "\n", 1);
	if (r < 0)
		return fail("%s: %s", name, fd < 0 ? err.msg : strerror(-r));
	return EXIT_OK;
}

int cmd_console(int argc, char **argv)
{
	struct err err = { 0 };
	const char *line = NULL;
	bool start = false;
	const struct flag flags[] = { { "from-start", 0, FLAG_BOOL, &start }, { "send", 's', FLAG_STRING, &line } };
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("console: which machine?");
	if (line)
		return send_line(argv[1], line);
	return console_attach(argv[1], start, &err) < 0 ? fail("%s", err.msg) : EXIT_OK;
}

int cmd_logs(int argc, char **argv)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ uint8_t *text = NULL;
	struct err err = { 0 };
	bool follow = false, monitor = false;
	const struct flag flags[] = { { "follow", 'f', FLAG_BOOL, &follow }, { "monitor", 0, FLAG_BOOL, &monitor } };
	size_t len;
	int n;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	if (n != 1 || strchr(argv[1], '/'))
		return usage("logs: which machine?");
	if (follow)
		return console_attach(argv[1], true, &err) < 0 ? fail("%s", err.msg) : EXIT_OK;
	path = path_state(argv[1], monitor ? "monitor.log" : "console.log");
	if (!path || access(path, R_OK) < 0)
		return fail("there is no log of a machine named %s", argv[1]);
	if (io_read_file(path, 64 << 20, &text, &len, &err) < 0)
		return fail("%s", err.msg);
	return io_write_full(1, text, len) < 0 ? EXIT_FAILED : EXIT_OK;
}

int cmd_simple(int argc, char **argv)
{
	struct err err = { 0 };
	char path[64];
	int n;

	if (parse_flags(argc, argv, NULL, 0, &n) < 0)
		return EXIT_USAGE;
	if (n != 1)
		return usage("%s: which machine?", argv[0]);
	snprintf(path, sizeof(path), "/v1/%s", argv[0]);
	if (api_call(argv[1], "POST", path, NULL, NULL, &err) < 0)
		return fail("%s: %s", argv[1], err.msg);
	if (!strcmp(argv[0], "destroy"))
		monitor_wait_gone(argv[1]);
	return EXIT_OK;
}

int cmd_set(int argc, char **argv)
{
	bool memory = !strcmp(argv[0], "mem-set");
	json_auto_t *body = NULL;
	struct err err = { 0 };
	char *end;
	unsigned long value;
	int n;

	if (parse_flags(argc, argv, NULL, 0, &n) < 0)
		return EXIT_USAGE;
	if (n != 2)
		return usage("%s: NAME and a number are wanted", argv[0]);
	value = strtoul(argv[2], &end, 10);
	if (*end || end == argv[2] || value > INT32_MAX)
		return usage("%s: \"%s\" is not a number", argv[0], argv[2]);
	body = json_pack("{s:I}", memory ? "target_mib" : "online", (json_int_t)value);
	if (api_call(argv[1], "POST", memory ? "/v1/memory" : "/v1/vcpus", body, NULL, &err) < 0)
		return fail("%s: %s", argv[1], err.msg);
	return EXIT_OK;
}

int cmd_disk_resize(int argc, char **argv)
{
	json_auto_t *body = NULL;
	struct err err = { 0 };
	char *end = NULL;
	unsigned long mib = 0;
	int n;

	if (parse_flags(argc, argv, NULL, 0, &n) < 0)
		return EXIT_USAGE;
	if (n != 2 && n != 3)
		return usage("disk-resize: NAME, a disk such as xvda, and perhaps its size in MiB are wanted");
	if (n == 3)
		mib = strtoul(argv[3], &end, 10);
	if (n == 3 && (*end || end == argv[3] || !mib || mib > INT32_MAX))
		return usage("disk-resize: \"%s\" is not a size in MiB", argv[3]);
	body = json_pack("{s:s}", "vdev", argv[2]);
	if (mib)
		json_object_set_new(body, "mib", json_integer((json_int_t)mib));
	if (api_call(argv[1], "POST", "/v1/disk-resize", body, NULL, &err) < 0)
		return fail("%s: %s", argv[1], err.msg);
	return EXIT_OK;
}
