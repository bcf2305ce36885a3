/* SPDX-License-Identifier: Apache-2.0 */
/* image info, image verify. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "image/image.h"

static const char *const record_names[] = { "?",	      "METADATA", "MACHINE", "VCPU", "XEN",	"XENSTORE", "REGIONS",
					    "EXTENTS (1)", "END",	  "EXTENTS", "MAP",  "PARENT" };

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

static void print_info(const char *path, json_t *meta, const struct image_stats *s)
{
	json_t *config = json_object_get(meta, "config"), *guest = json_object_get(meta, "guest");
	time_t when = (time_t)(json_integer_value(json_object_get(meta, "time_ns")) / 1000000000);
	char text[64];
	struct tm tm;

	localtime_r(&when, &tm);
	strftime(text, sizeof(text), "%F %T", &tm);
	printf("image        %s, format %d\n", path, IMAGE_VERSION);
	printf("machine      %s (%s)\n", json_string_value(json_object_get(config, "name")),
	       json_string_value(json_object_get(config, "uuid")));
	printf("made         %s by %s, nidra %s\n", text, json_string_value(json_object_get(meta, "made_by")),
	       json_string_value(json_object_get(meta, "nidra")));
	printf("guest        %" PRId64 " vCPUs, %" PRId64 " MiB, ran for %.1f s, woke %" PRId64 " times before\n",
	       (int64_t)json_integer_value(json_object_get(config, "vcpus")),
	       (int64_t)json_integer_value(json_object_get(config, "memory_mib")),
	       (double)json_integer_value(json_object_get(guest, "system_time_ns")) / 1e9,
	       (int64_t)json_integer_value(json_object_get(guest, "wakes")));
	printf("file         %.1f MiB: %.1f MiB of memory in %" PRIu64 " extents; %.1f MiB are zero\n",
	       (double)s->file_bytes / (1 << 20), (double)s->memory_bytes / (1 << 20), s->extents,
	       (double)s->zero_bytes / (1 << 20));
}

static int info(const char *path, struct image_reader *r, bool json)
{
	json_auto_t *meta = metadata(r);
	struct image_stats s;

	image_reader_stats(r, &s);
	if (!json) {
		print_info(path, meta, &s);
		return EXIT_OK;
	}
	json_object_set_new(meta, "file",
			    json_pack("{s:i, s:I, s:I, s:I, s:I}", "format", IMAGE_VERSION, "bytes",
				      (json_int_t)s.file_bytes, "memory_bytes", (json_int_t)s.memory_bytes, "zero_bytes",
				      (json_int_t)s.zero_bytes, "extents", (json_int_t)s.extents));
	json_object_set_new(meta, "records", records(r));
	json_dumpf(meta, stdout, JSON_INDENT(2));
	puts("");
	return EXIT_OK;
}

static int show(void *arg, uint64_t done, uint64_t total, struct err *err)
{
	(void)arg;
	(void)err;
	if (total)
		fprintf(stderr, "\r\033[Kverify: %3" PRIu64 "%% of %" PRIu64 " MiB", done * 100 / total, total >> 20);
	return 0;
}

static int verify(const char *path, struct image_reader *r)
{
	struct image_progress progress = { .step = isatty(2) ? show : NULL };
	struct err err = { 0 };
	int e = image_reader_verify(r, &progress, &err);

	if (isatty(2))
		fputs("\r\033[K", stderr);
	if (e < 0)
		return fail("%s", err.msg);
	printf("%s: whole\n", path);
	return EXIT_OK;
}

int cmd_image(int argc, char **argv)
{
	_cleanup_(image_reader_freep) struct image_reader *r = NULL;
	struct err err = { 0 };
	bool json = false;
	const struct flag flags[] = { { "json", 0, FLAG_BOOL, &json } };
	bool is_info;
	int n;

	if (parse_flags(argc, argv, flags, 1, &n) < 0)
		return EXIT_USAGE;
	if (n != 2 || (strcmp(argv[1], "info") && strcmp(argv[1], "verify")))
		return usage("image: info FILE or verify FILE is wanted");
	is_info = !strcmp(argv[1], "info");
	if (image_reader_open(argv[2], &r, &err) < 0)
		return fail("%s", err.msg);
	return is_info ? info(argv[2], r, json) : verify(argv[2], r);
}
