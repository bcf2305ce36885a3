/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of flags over getopt_long. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define FLAGS_MAX 32

static int take(const struct flag *f, const char *verb)
{
	char *end;
	unsigned long n;

	switch (f->type) {
	case FLAG_BOOL:
		*(bool *)f->ret = true;
		return 0;
	case FLAG_STRING:
		*(const char **)f->ret = optarg;
		return 0;
	case FLAG_LIST:
		if (!*(json_t **)f->ret)
			*(json_t **)f->ret = json_array();
		json_array_append_new(*(json_t **)f->ret, json_string(optarg));
		return 0;
	default:
		n = strtoul(optarg, &end, 10);
		if (*optarg < '0' || *optarg > '9' || *end || n > INT_MAX) {
			usage("%s: --%s \"%s\" is not a number", verb, f->name, optarg);
			return -1;
		}
		*(uint32_t *)f->ret = (uint32_t)n;
		return 0;
	}
}

static _noreturn_ void print_flags(const char *verb, const struct flag *flag, size_t n)
{
	static const char *const values[] = {
		[FLAG_BOOL] = "", [FLAG_STRING] = " TEXT", [FLAG_LIST] = " TEXT, more than once", [FLAG_NUMBER] = " N"
	};

	print_verb(verb);
	for (size_t i = 0; i < n; i++) {
		if (flag[i].letter)
			printf("  -%c, ", flag[i].letter);
		printf("%s--%s%s\n", flag[i].letter ? "" : "      ", flag[i].name, values[flag[i].type]);
	}
	puts("nidra(1) says what they do.");
	exit(EXIT_OK);
}

int parse_flags(int argc, char **argv, const struct flag *flag, size_t n, int *ret_n)
{
	struct option option[FLAGS_MAX + 1] = { 0 };
	char letters[2 * FLAGS_MAX + 2] = ":", *l = letters + 1;
	int c;

	for (size_t i = 0; i < n && i < FLAGS_MAX; i++) {
		option[i] = (struct option){ flag[i].name, flag[i].type != FLAG_BOOL, NULL, (int)(1000 + i) };
		if (!flag[i].letter)
			continue;
		*l++ = flag[i].letter;
		if (flag[i].type != FLAG_BOOL)
			*l++ = ':';
	}
	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, letters, option, NULL)) >= 0) {
		size_t i = 0;

		if (c == '?' && (!strcmp(argv[optind - 1], "--help") || !strcmp(argv[optind - 1], "-h")))
			print_flags(argv[0], flag, n);
		if (c == '?' || c == ':') {
			usage(c == '?' ? "%s: unknown flag %s" : "%s: %s wants a value", argv[0], argv[optind - 1]);
			return -1;
		}
		while (i < n && c != (int)(1000 + i) && c != flag[i].letter)
			i++;
		if (take(&flag[i], argv[0]) < 0)
			return -1;
	}
	*ret_n = 0;
	while (optind < argc)
		argv[1 + (*ret_n)++] = argv[optind++];
	return 0;
}
