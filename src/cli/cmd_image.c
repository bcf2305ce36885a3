/* SPDX-License-Identifier: Apache-2.0 */
/* image info, verify, compact, export, rm. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/key.h"
#include "image/image.h"

static const char *const record_names[] = { "?",	  "METADATA",	 "MACHINE", "VCPU",    "XEN",  "XENSTORE",
					    "REGIONS",	  "EXTENTS (1)", "END",	    "EXTENTS", "MAP",  "PARENT",
					    "STANDS_FOR", "CRYPT",	 "MAC",	    "IOAPIC",  "SHARE" };
_Static_assert(ARRAY_SIZE(record_names) == IMAGE_REC_LAST + 1, "a name for each record");

static json_t *metadata(struct image_reader *r)
{
	const void *body;
	size_t len;

	if (image_reader_record(r, IMAGE_REC_METADATA, 0, &body, &len) < 0)
		return json_object();
	return json_loadb(body, len, 0, NULL) ?: json_object();
}

static json_t *records(struct image_reader *r)
{
	json_t *a = json_array();

	for (const struct image_record *rec = image_reader_next(r, NULL); rec; rec = image_reader_next(r, rec))
		json_array_append_new(a, json_pack("{s:s, s:i, s:I}", "type",
						   record_names[rec->type < ARRAY_SIZE(record_names) ? rec->type : 0],
						   "instance", (int)rec->instance, "bytes", (json_int_t)rec->len));
	return a;
}

static void print_metadata(json_t *meta)
{
	json_t *config = json_object_get(meta, "config"), *guest = json_object_get(meta, "guest");
	time_t when = (time_t)(json_integer_value(json_object_get(meta, "time_ns")) / 1000000000);
	char text[64];
	struct tm tm;

	localtime_r(&when, &tm);
	strftime(text, sizeof(text), "%F %T", &tm);
	printf("machine      %s (%s)\n", json_string_value(json_object_get(config, "name")),
	       json_string_value(json_object_get(config, "uuid")));
	printf("made         %s by %s, nidra %s\n", text, json_string_value(json_object_get(meta, "made_by")),
	       json_string_value(json_object_get(meta, "nidra")));
	printf("guest        %" PRId64 " vCPUs, %" PRId64 " MiB, ran for %.1f s, woke %" PRId64 " times before\n",
	       (int64_t)json_integer_value(json_object_get(config, "vcpus")),
	       (int64_t)json_integer_value(json_object_get(config, "memory_mib")),
	       (double)json_integer_value(json_object_get(guest, "system_time_ns")) / 1e9,
	       (int64_t)json_integer_value(json_object_get(guest, "wakes")));
}

static void print_disks(json_t *disks)
{
	const char *title = "disks";
	json_t *d;
	size_t i;

	json_array_foreach (disks, i, d) {
		const char *snapshot = json_string_value(json_object_get(d, "snapshot"));

		if (!snapshot && !json_object_get(d, "bytes"))
			continue;
		printf("%-12s %s: %s %s\n", title, json_string_value(json_object_get(d, "vdev")),
		       snapshot ? "snapshot of this moment in" : "as it was left in",
		       snapshot ?: json_string_value(json_object_get(d, "path")));
		title = "";
	}
}

static void print_info(const char *path, struct image_reader *r, json_t *meta, const struct image_stats *s)
{
	printf("image        %s, format %u\n", path, s->version);
	if (s->encrypted)
		printf("encrypted    with a %s\n", s->passphrase ? "passphrase" : "key");
	if (json_object_get(meta, "config"))
		print_metadata(meta);
	print_disks(json_object_get(meta, "disks"));
	if (s->locked) {
		printf("file         %.1f MiB; nothing of this was checked without the key\n",
		       (double)s->file_bytes / (1 << 20));
		return;
	}
	printf("file         %.1f MiB: %.1f MiB of memory in %" PRIu64 " extents; %.1f MiB are zero\n",
	       (double)s->file_bytes / (1 << 20), (double)s->memory_bytes / (1 << 20), s->extents,
	       (double)s->zero_bytes / (1 << 20));
	printf("equal        %.1f MiB are stored once with others\n", (double)image_reader_equal_bytes(r) / (1 << 20));
	for (size_t i = 1; i < s->files; i++)
		printf("%-12s %s\n", i == 1 ? "parents" : "", image_reader_file(r, i));
}

static json_t *parents(const struct image_reader *r)
{
	json_t *a = json_array();

	for (size_t i = 1; image_reader_file(r, i); i++)
		json_array_append_new(a, json_string(image_reader_file(r, i)));
	return a;
}

static json_t *json_of_file(const struct image_reader *r, const struct image_stats *s)
{
	json_t *o = json_pack("{s:i, s:I, s:b}", "format", (int)s->version, "bytes", (json_int_t)s->file_bytes,
			      "encrypted", s->encrypted);

	if (!s->locked)
		json_object_update_new(o,
				       json_pack("{s:I, s:I, s:I, s:I, s:o}", "memory_bytes",
						 (json_int_t)s->memory_bytes, "zero_bytes", (json_int_t)s->zero_bytes,
						 "equal_bytes", (json_int_t)image_reader_equal_bytes(r), "extents",
						 (json_int_t)s->extents, "parents", parents(r)));
	return o;
}

static int info(const char *path, struct image_reader *r, bool json)
{
	json_auto_t *meta = metadata(r);
	struct image_stats s;

	image_reader_stats(r, &s);
	if (!json) {
		print_info(path, r, meta, &s);
		return EXIT_OK;
	}
	json_object_set_new(meta, "file", json_of_file(r, &s));
	json_object_set_new(meta, "records", records(r));
	json_dumpf(meta, stdout, JSON_INDENT(2));
	puts("");
	return EXIT_OK;
}

static int show(void *arg, uint64_t done, uint64_t total, struct err *err)
{
	(void)err;
	if (total)
		fprintf(stderr, "\r\033[K%s: %3" PRIu64 "%% of %" PRIu64 " MiB", (const char *)arg, done * 100 / total,
			total >> 20);
	return 0;
}

/* A bar for a person; nothing for a script. */
static struct image_progress bar(const char *what)
{
	return (struct image_progress){ .step = isatty(2) ? show : NULL, .arg = (void *)(uintptr_t)what };
}

static void end_bar(void)
{
	if (isatty(2))
		fputs("\r\033[K", stderr);
}

struct image_args {
	bool json, cascade, elf_core;
	const char *out;
	struct image_key *key;
};

static int do_info(const char *path, const struct image_args *a)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct err err = { 0 };

	int e = image_reader_open_key(path, a->key, &r, &err);

	if (e == -ENOKEY) /* something can be seen without */
		e = image_reader_look(path, &r, &err);
	return e < 0 ? fail_of(&err) : info(path, r, a->json);
}

static int do_verify(const char *path, const struct image_args *a)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct image_progress progress = bar("verify");
	struct err err = { 0 };
	int e = image_reader_open_key(path, a->key, &r, &err);

	e = e ?: image_reader_verify(r, &progress, &err);
	end_bar();
	if (e < 0)
		return fail_of(&err);
	printf("%s: whole\n", path);
	return EXIT_OK;
}

static int do_compact(const char *path, const struct image_args *a)
{
	const struct image_options options = { .codec = IMAGE_CODEC_ZSTD, .level = 1, .key = a->key };
	struct image_progress progress = bar("compact");
	struct image_stats stats;
	struct err err = { 0 };
	int e = image_fold(path, a->out, &options, &progress, &stats, &err);

	end_bar();
	if (e < 0)
		return fail_of(&err);
	printf("%s: one file of %.1f MiB\n", a->out ?: path, (double)stats.file_bytes / (1 << 20));
	return EXIT_OK;
}

static int do_export(const char *path, const struct image_args *a)
{
	struct image_progress progress = bar("export");
	struct err err = { 0 };
	int e;

	if (!a->elf_core || !a->out)
		return usage("image export: --elf-core and -o FILE are wanted");
	e = image_export_core(path, a->key, a->out, &progress, &err);
	end_bar();
	return e < 0 ? fail_of(&err) : EXIT_OK;
}

static int do_rm(const char *path, const struct image_args *a)
{
	struct err err = { 0 };

	return image_remove(path, a->cascade, &err) < 0 ? fail("%s", err.msg) : EXIT_OK;
}

static const struct {
	const char *name;
	int (*run)(const char *path, const struct image_args *a);
} actions[] = { { "info", do_info },
		{ "verify", do_verify },
		{ "compact", do_compact },
		{ "export", do_export },
		{ "rm", do_rm } };

int cmd_image(int argc, char **argv)
{
	_cleanup_(image_key_freep) struct image_key *key = NULL;
	struct key_flags key_flags = { 0 };
	struct image_args a = { 0 };
	const struct flag flags[] = { { "json", 0, FLAG_BOOL, &a.json },
				      { "cascade", 0, FLAG_BOOL, &a.cascade },
				      { "elf-core", 0, FLAG_BOOL, &a.elf_core },
				      { "output", 'o', FLAG_STRING, &a.out },
				      KEY_FLAGS(&key_flags) };
	int n, r = EXIT_OK;

	if (parse_flags(argc, argv, flags, ARRAY_SIZE(flags), &n) < 0)
		return EXIT_USAGE;
	r = key_take(&key_flags, false, &key);
	if (r != EXIT_OK)
		return r;
	a.key = key;
	for (size_t i = 0; i < ARRAY_SIZE(actions) && n >= 2; i++) {
		if (strcmp(argv[1], actions[i].name))
			continue;
		for (int k = 2; k <= n && r == EXIT_OK; k++)
			r = actions[i].run(argv[k], &a);
		return r;
	}
	return usage("image: info, verify, compact, export or rm, and FILE are wanted");
}
