/* SPDX-License-Identifier: Apache-2.0 */
/* nidra: a table of verbs. It knows nothing of guests; it talks to their monitors. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct verb {
	const char *name, *args, *help;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "run", "CONFIG | DISK | --kernel F ...", "start a machine with this terminal as its console", cmd_run },
	{ "create", "CONFIG | DISK | --kernel F ...", "start a machine in the background", cmd_create },
	{ "list", "", "machines and their states", cmd_list },
	{ "top", "", "what machines use, again and again", cmd_top },
	{ "info", "NAME", "all about one machine", cmd_info },
	{ "console", "NAME", "connect to a console (Ctrl-] leaves)", cmd_console },
	{ "logs", "NAME", "what was on the console", cmd_logs },
	{ "pause", "NAME", "stop the vCPUs; the guest is not told", cmd_simple },
	{ "unpause", "NAME", "let them go on", cmd_simple },
	{ "suspend", "NAME", "the guest puts itself to sleep, in RAM", cmd_suspend },
	{ "resume", "NAME", "it goes on (--uncooperative: told that it is new)", cmd_resume },
	{ "checkpoint", "NAME IMAGE", "an image of it; it runs on", cmd_save },
	{ "save", "NAME IMAGE", "an image of it; it ends here", cmd_save },
	{ "restore", "IMAGE", "an image goes on (--transparent: not told)", cmd_restore },
	{ "fork", "NAME | IMAGE", "more machines of this one (-n how many), which share its memory", cmd_fork },
	{ "shutdown", "NAME", "ask the guest to power off", cmd_simple },
	{ "reboot", "NAME", "ask the guest to reboot", cmd_simple },
	{ "destroy", "NAME", "end it at once", cmd_simple },
	{ "mem-set", "NAME MIB", "new target for its balloon", cmd_set },
	{ "vcpu-set", "NAME N", "how many vCPUs are on", cmd_set },
	{ "disk-resize", "NAME VDEV [MIB]", "a disk has become larger, or is to", cmd_disk_resize },
	{ "timeline", "NAME | FILE", "phases of the last operations (--svg FILE)", cmd_timeline },
	{ "image", "info|verify|compact|export|rm FILE...", "look at images, fold chains, remove", cmd_image },
	{ "check", "", "what this host can do, and what it lacks", cmd_check },
};

static int _printf_(1, 0) vsay(const char *fmt, va_list ap)
{
	fputs("nidra: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	return EXIT_FAILED;
}

int usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

static void print_line(const struct verb *v)
{
	char left[64];

	snprintf(left, sizeof(left), "%s %s", v->name, v->args);
	printf("  nidra %-40s %s\n", left, v->help);
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(name, verbs[i].name))
			return &verbs[i];
	return NULL;
}

void print_verb(const char *name)
{
	const struct verb *v = find_verb(name);

	if (v)
		print_line(v);
}

static void print_help(void)
{
	puts("nidra: virtual machines that sleep, and know it\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		print_line(&verbs[i]);
	puts("\nEverywhere: --json. nidra help VERB has its flags, nidra(1) the rest.");
}

/* nidra help VERB is nidra VERB --help. */
static int help_of(char *name)
{
	char flag[] = "--help", *argv[] = { name, flag, NULL };
	const struct verb *v = find_verb(name);

	return v ? v->run(2, argv) : usage("unknown verb \"%s\"; nidra help lists them", name);
}

int main(int argc, char **argv)
{
	const struct verb *v;

	if (argc == 3 && !strcmp(argv[1], "help"))
		return help_of(argv[2]);
	if (argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help();
		return argc < 2 ? EXIT_USAGE : EXIT_OK;
	}
	if (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version")) {
		puts("nidra " NIDRA_VERSION);
		return EXIT_OK;
	}
	v = find_verb(argv[1]);
	return v ? v->run(argc - 1, argv + 1) : usage("unknown verb \"%s\"; nidra help lists them", argv[1]);
}
