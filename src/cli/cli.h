/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the command `nidra` share: its verbs, exit codes, and the client of the API. */
#ifndef NIDRA_CLI_CLI_H
#define NIDRA_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

enum exit_code { /* documented in nidra(1) */
		 EXIT_OK = 0,
		 EXIT_FAILED = 1,
		 EXIT_USAGE = 2,
		 EXIT_KEY = 3,		 /* an image is encrypted, and its key is missing or another one */
		 EXIT_GUEST_REBOOT = 10, /* `run`: how the guest ended */
		 EXIT_GUEST_CRASH = 11,
		 EXIT_GUEST_FAILED = 12,
		 EXIT_GUEST_DESTROYED = 13,
		 EXIT_GUEST_SAVED = 14,
		 EXIT_GUEST_WATCHDOG = 15,
		 EXIT_CANCELLED = 130,
};

/* "nidra: ..." on stderr; returns EXIT_FAILED or EXIT_USAGE. */
int fail(const char *fmt, ...) _printf_(1, 2);
int usage(const char *fmt, ...) _printf_(1, 2);

/* ---- options.c: flags as the verbs take them ---- */

enum flag_type { FLAG_BOOL, FLAG_STRING, FLAG_NUMBER, FLAG_LIST };

struct flag {
	const char *name; /* "memory" for --memory */
	char letter;	  /* 'm' for -m; 0: none */
	enum flag_type type;
	void *ret; /* bool *, const char **, uint32_t *, json_t ** (an array of strings; NULL without any) */
};

/* main.c: what a verb's help begins with. */
void print_verb(const char *name);
/*
 * Takes the flags out of argv[1..]; what is left are the operands, in argv[1..*ret_n]. -1: a line
 * about what is wrong was printed. --help prints the flags and ends the program.
 */
int parse_flags(int argc, char **argv, const struct flag *flag, size_t n, int *ret_n);

/* ---- client.c ---- */

/*
 * A request to machine @name. 0 and the body (NULL if there is none), or a negative errno with a
 * sentence. @body is borrowed, may be NULL.
 */
int api_call(const char *name, const char *method, const char *path, json_t *body, json_t **ret, struct err *err);
/* A stream: @line for every line, until it returns false or the stream ends. */
int api_stream(const char *name, const char *path, bool (*line)(void *arg, json_t *o), void *arg, struct err *err);

/* ---- job.c ---- */

struct job_options {
	bool json, print_stats, quiet;
};

/*
 * Follows a job to its end with a progress bar (if stderr is a terminal). Ctrl-C cancels it. Returns an
 * exit code; *ret_job is how it ended (may be NULL).
 */
int job_follow(const char *name, uint64_t job, const struct job_options *o, json_t **ret_job);
/* Whether Ctrl-C came while a job was followed: too late to cancel it, perhaps, but not to stop what comes next. */
bool job_was_interrupted(void);
/* cmd_sleep.c: starts @verb on a machine with @body (taken), and follows it. */
int run_job(const char *name, const char *verb, json_t *body, const struct job_options *o);
/* Of a file that need not exist; allocated. The monitor has another working folder. */
char *absolute(const char *path);

/* cmd_every.c: checkpoints into @folder until interrupted. @every: "30s", "5m", "1h". Takes @body. */
int checkpoint_periodically(const char *name, const char *folder, const char *every, uint32_t keep, json_t *body,
			    const struct job_options *o);

/* cmd_run.c: starts a monitor and follows its first operation. A machine that cannot come to be leaves no trace. */
int spawn_and_follow(const char *name, const char *const *args, const struct job_options *o);
/* For a monitor's --config beside --restore: this name and a new uuid. Allocated. */
char *new_identity(const char *name);

/* ---- spawn.c ---- */

/* Starts a monitor with @args (NULL-terminated, behind --name and --ready-fd). */
int monitor_spawn(const char *name, const char *const *args, struct err *err);
/* The machine has ended: waits (a little) until its monitor is gone and its name free. */
void monitor_wait_gone(const char *name);
/* Path of nidra-monitor, beside this program or installed. */
const char *monitor_path(void);

/* ---- console.c ---- */

/* Connects the terminal until the console closes (0), Ctrl-] is typed (1), or an error (< 0). */
int console_attach(const char *name, bool from_start, struct err *err);
int console_connect(const char *name, bool from_start, struct err *err);
int console_run(int fd);

/* ---- verbs: argv[0] is the verb; return an exit code ---- */

int cmd_run(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_simple(int argc, char **argv); /* pause, unpause, shutdown, reboot, destroy */
int cmd_suspend(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_save(int argc, char **argv); /* and checkpoint */
int cmd_fork(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_top(int argc, char **argv);
/* What /v1/machine says of each; removes what killed monitors left. */
json_t *all_machines(void);
int cmd_disk_resize(int argc, char **argv); /* mem-set, vcpu-set */
int cmd_timeline(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_image(int argc, char **argv);

#endif
