/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nidra-monitor: one process per machine. Reads like a table of contents: options, lock, sockets,
 * first operation, loop. `nidra` starts it; see nidra-monitor(8).
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "api/json.h"
#include "api/paths.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "image/image.h"
#include "kvm/probe.h"
#include "monitor/clones.h"
#include "monitor/console_server.h"
#include "monitor/scope.h"
#include "sleep/sleep.h"

#define LINGER_USEC UINT64_C(50000) /* between looks whether streams were read to their end */
#define LINGERS_MAX 40

struct monitor {
	const char *name;
	struct sleep_args first; /* of the first operation */
	enum sleep_verb first_verb;
	struct guest_config config;
	bool has_config;

	sd_event *loop;
	int lock_fd, domid_fd, wake_fd, ready_fd;
	const char *key_path; /* of the image that is restored */
	enum image_key_kind key_kind;
	struct sleep_fork fork; /* of which this machine is one */
	bool is_fork;
	char *working_sets, *folder; /* the second: of this machine's sockets */
	struct sleeper *sleeper;
	struct api_context context;
	struct api_server *api;
	struct console_server *console;
	struct guest *seen; /* whose console is served */
	uint64_t first_job;
	bool leaving, small;
	int lingers;
};

/* ---- the end ---- */

static void write_json(struct monitor *m, const char *file, json_t *o)
{
	_cleanup_free_ char *path = path_state(m->name, file);

	if (path && o && json_dump_file(o, path, JSON_INDENT(2)) < 0)
		log_warn("cannot write %s", path);
	json_decref(o);
}

static int on_linger(sd_event_source *source, uint64_t usec, void *arg)
{
	struct monitor *m = arg;
	/* Who asked for a machine that never came to be is told why, also when he looks a little late. */
	bool unheard = !sleeper_guest(m->sleeper) && !api_server_followed(m->api);

	if ((!unheard && !api_server_busy(m->api)) || ++m->lingers > LINGERS_MAX)
		return sd_event_exit(m->loop, 0);
	sd_event_source_set_time(source, usec + LINGER_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Streams get their last line; then we go. */
static void leave(struct monitor *m)
{
	uint64_t now;

	if (m->leaving)
		return;
	m->leaving = true;
	write_json(m, "last.json", json_of_machine(m->sleeper, m->name));
	write_json(m, "timeline.json", json_of_jobs(m->sleeper));
	api_server_changed(m->api);
	sd_event_now(m->loop, CLOCK_MONOTONIC, &now);
	sd_event_add_time(m->loop, NULL, CLOCK_MONOTONIC, now + LINGER_USEC, 0, on_linger, m);
}

static enum guest_action action_of(const struct guest_config *c, enum guest_end end)
{
	switch (end) {
	case GUEST_END_POWEROFF:
		return c->on_poweroff;
	case GUEST_END_REBOOT:
		return c->on_reboot;
	case GUEST_END_CRASH:
	case GUEST_END_FAILED:
		return c->on_crash;
	case GUEST_END_WATCHDOG:
		return c->on_watchdog;
	default:
		return GUEST_ACTION_DESTROY;
	}
}

static void restart(struct monitor *m, const struct guest_config *c)
{
	struct guest_config copy = { 0 };
	struct sleep_args a = { .config = &copy };
	struct err err = { 0 };
	uint64_t job;
	int r = guest_config_copy(c, &copy, &err);

	m->seen = NULL;
	r = r ?: sleep_start(m->sleeper, SLEEP_BOOT, &a, &job, &err);
	if (r < 0) {
		log_error("cannot start it again: %s", err.msg);
		leave(m);
	}
	guest_config_fini(&copy);
}

/* Nothing runs and the guest has ended (or never came to be): what now? */
static void decide(struct monitor *m)
{
	struct guest *g = sleeper_guest(m->sleeper);
	struct sleep_job job;

	if (m->leaving || sleep_get_job(m->sleeper, 0, &job) < 0 || job.running)
		return;
	if (!g) {
		if (job.result < 0)
			leave(m);
		return;
	}
	if (guest_state(g) != GUEST_ENDED)
		return;
	switch (action_of(guest_config(g), guest_end(g))) {
	case GUEST_ACTION_RESTART:
		restart(m, guest_config(g));
		break;
	case GUEST_ACTION_DESTROY:
		leave(m);
		break;
	case GUEST_ACTION_PRESERVE:
		break;
	}
}

/* ---- the loop ---- */

/* The parent waits for one line: "ok", or what is wrong. */
static void tell_parent(struct monitor *m, const char *line)
{
	if (m->ready_fd < 0)
		return;
	dprintf(m->ready_fd, "%s\n", line);
	close_fdp(&m->ready_fd);
}

/* What the first operation needed is not needed any more: an idle machine is as small as it can be. */
static void shrink(struct monitor *m)
{
	struct sleep_job job;

	if (m->small || sleep_get_job(m->sleeper, m->first_job, &job) < 0 || job.running)
		return;
	m->small = true;
	malloc_trim(0);
}

/* One of a fork: its parent waits until it runs. */
static void tell_when_done(struct monitor *m)
{
	struct sleep_job job;

	if (m->ready_fd >= 0 && sleep_get_job(m->sleeper, m->first_job, &job) == 0 && !job.running)
		tell_parent(m, job.result < 0 ? job.message : "ok");
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct monitor *m = arg;
	struct guest *g;
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return 0;
	/* Looked at after the read: what changes from here on makes the descriptor readable again. */
	g = sleeper_guest(m->sleeper);
	if (g != m->seen) {
		m->seen = g;
		console_server_new_guest(m->console);
	}
	api_server_changed(m->api);
	tell_when_done(m);
	shrink(m);
	decide(m);
	return 0;
}

static void on_change(void *arg)
{
	eventfd_write(((struct monitor *)arg)->wake_fd, 1);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct monitor *m = arg;
	struct guest *g = sleeper_guest(m->sleeper);

	(void)source;
	log_info("signal %u: destroying the machine", info->ssi_signo);
	sleep_cancel(m->sleeper, 0);
	if (g)
		guest_destroy(g);
	leave(m);
	return 0;
}

static int setup_loop(struct monitor *m, struct err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t set;
	int r = sd_event_default(&m->loop);

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* forks are on their own */
	signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write(), not our death */
	for (size_t i = 0; i < ARRAY_SIZE(signals) && r >= 0; i++)
		r = sd_event_add_signal(m->loop, NULL, signals[i], on_signal, m);
	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r >= 0)
		r = sd_event_add_io(m->loop, NULL, m->wake_fd, EPOLLIN, on_wake, m);
	return r < 0 ? err_errno(err, r, "event loop") : 0;
}

static int setup_sockets(struct monitor *m, struct err *err)
{
	_cleanup_free_ char *api = path_runtime(m->name, "api.sock"), *console = path_runtime(m->name, "console.sock"),
			    *log = path_state(m->name, "console.log");
	int r;

	if (!api || !console || !log)
		return err_errno(err, -ENOMEM, "sockets");
	m->context = (struct api_context){ .sleeper = m->sleeper, .name = m->name, .clones = clones_new };
	r = api_server_new(m->loop, api, &m->context, &m->api, err);
	return r ?: console_server_new(m->loop, console, log, m->sleeper, &m->console, err);
}

static void detach(struct monitor *m)
{
	_cleanup_free_ char *log = path_state(m->name, "monitor.log");
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600) : -1;

	dup2(null, 0);
	dup2(null, 1);
	dup2(fd >= 0 ? fd : null, 2);
	close_fdp(&fd);
}

/* Its own, where nobody said which: a new machine's, and that of one of a fork. */
static int setup_domid(struct monitor *m, struct err *err)
{
	uint16_t domid = m->config.domid;

	if (m->first_verb == SLEEP_RESTORE && !m->is_fork && !domid)
		return 0; /* the image says which */
	m->domid_fd = path_take_domid(&domid, err);
	if (m->domid_fd < 0)
		return m->config.domid ? 0 : m->domid_fd; /* wanted twice: people do that */
	m->config.domid = domid;
	return 0;
}

static int setup(struct monitor *m, struct err *err)
{
	struct err why = { 0 };
	struct sleep_observer observer = { .changed = on_change, .arg = m };
	int r = paths_make(m->name, err);

	if (r < 0)
		return r;
	observer.folder = m->folder = path_runtime(m->name, NULL);
	m->lock_fd = path_lock(m->name, err);
	if (m->lock_fd < 0)
		return m->lock_fd;
	r = setup_domid(m, err);
	r = r ?: setup_loop(m, err);
	r = r ?: sleeper_new(&observer, &m->sleeper, err);
	r = r ?: setup_sockets(m, err);
	if (r < 0)
		return r;
	m->working_sets = path_state(NULL, ".working-sets");
	m->first.working_sets = m->working_sets;
	if (m->key_path)
		r = image_key_read(m->key_kind, m->key_path, &m->first.key, err);
	if (r < 0)
		return r;
	detach(m); /* before the first operation: it may log as soon as it has started */
	if (scope_enter(m->name, &why) < 0)
		log_warn("%s; when this host shuts down, the machine may be ended before it is saved", why.msg);
	r = sleep_start(m->sleeper, m->first_verb, &m->first, &m->first_job, err);
	image_key_free(take_ptr(m->first.key));
	return r;
}

/* ---- start ---- */

static int print_probe(void)
{
	struct kvm_probe p;

	kvm_probe(&p);
	json_dumpf(json_pack("{s:b, s:b, s:i, s:b, s:s, s:b, s:s, s:b, s:b, s:b, s:b, s:b}", "present", p.present,
			     "permitted", p.permitted, "api_version", p.api_version, "runs", p.runs, "why_not",
			     p.why_not, "caps", p.caps, "missing", p.missing, "intercepts", p.intercepts, "tracks_xcr0",
			     p.tracks_xcr0, "amd", p.amd, "hardware", p.hardware, "lazy", image_pager_possible()),
		   stdout, JSON_INDENT(2));
	puts("");
	return 0;
}

static int usage(const char *what)
{
	fprintf(stderr, "nidra-monitor: %s; it is started by nidra, see nidra-monitor(8)\n", what);
	return 2;
}

static const struct option options[] = {
	{ "name", required_argument, NULL, 'n' },
	{ "config", required_argument, NULL, 'c' },
	{ "restore", required_argument, NULL, 'r' },
	{ "transparent", no_argument, NULL, 't' },
	{ "eager", no_argument, NULL, 'e' },
	{ "paused", no_argument, NULL, 'p' },
	{ "ready-fd", required_argument, NULL, 'f' },
	{ "probe", no_argument, NULL, 'P' },
	{ "fail-at", required_argument, NULL, 'x' },
	{ "key-file", required_argument, NULL, 'k' },
	{ "passphrase-file", required_argument, NULL, 'K' },
	{ "fork", required_argument, NULL, 'F' },
	{ "memory", required_argument, NULL, 'm' },
	{ "keep-disks", no_argument, NULL, 'd' },
	{ NULL, 0, NULL, 0 },
};

/* -1: go on; else the exit status of a monitor that has nothing to do, or cannot. */
static int read_options(struct monitor *m, int argc, char **argv)
{
	struct err err = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'n':
			m->name = optarg;
			break;
		case 'c':
			if (guest_config_from_json(optarg, strlen(optarg), &m->config, &err) < 0)
				return usage(err.msg);
			m->first.config = &m->config;
			break;
		case 'r':
			m->first_verb = SLEEP_RESTORE;
			m->first.image = optarg;
			break;
		case 't':
			m->first.transparent = true;
			break;
		case 'e':
			m->first.eager = true;
			break;
		case 'p':
			m->first.paused = true;
			break;
		case 'f':
			m->ready_fd = atoi(optarg);
			break;
		case 'F':
			if (sscanf(optarg, "%d,%d", &m->fork.state_fd, &m->fork.memory_fd) != 2)
				return usage("--fork STATE,MEMORY");
			m->is_fork = true;
			m->first_verb = SLEEP_RESTORE;
			m->first.image = "the fork's state";
			m->first.fork = &m->fork;
			break;
		case 'm':
			m->first.memory_mib = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			m->first.keep_disks = true;
			break;
		case 'x':
			m->first.fail_at = optarg;
			break;
		case 'k':
		case 'K':
			m->key_path = optarg;
			m->key_kind = c == 'k' ? IMAGE_KEY_FILE : IMAGE_KEY_PASSPHRASE;
			break;
		case 'P':
			return print_probe();
		default:
			return usage("unknown option");
		}
	}
	if (!m->name || m->ready_fd < 0 || (!m->first.config && !m->first.image))
		return usage("--name, --ready-fd and --config or --restore are needed");
	return -1;
}

int main(int argc, char **argv)
{
	struct monitor m = { .lock_fd = -1, .domid_fd = -1, .wake_fd = -1, .ready_fd = -1, .first_verb = SLEEP_BOOT };
	struct err err = { 0 };
	int status = read_options(&m, argc, argv);

	if (status >= 0)
		return status;
	if (m.first.image) { /* --config says what is to be different from the image */
		m.first.config = &m.config;
		if (!m.config.name)
			m.config.name = strdup(m.name);
	}
	mallopt(M_ARENA_MAX, 1); /* a heap per thread would cost more than waiting for each other */
	fcntl(m.ready_fd, F_SETFD, FD_CLOEXEC);
	setsid();
	if (setup(&m, &err) < 0) {
		tell_parent(&m, err.msg);
		return 1;
	}
	if (m.is_fork) { /* the operation has its own now */
		close_fdp(&m.fork.state_fd);
		close_fdp(&m.fork.memory_fd);
	} else {
		tell_parent(&m, "ok");
	}
	sd_event_loop(m.loop);

	/* No new client, then no new output, then no guest; the name is free last. */
	console_server_free(m.console);
	api_server_free(m.api);
	sleeper_free(m.sleeper);
	path_remove(m.name);
	close_fdp(&m.domid_fd);
	close_fdp(&m.lock_fd);
	guest_config_fini(&m.config);
	free(m.working_sets);
	free(m.folder);
	sd_event_unref(m.loop);
	return 0;
}
