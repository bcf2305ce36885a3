/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/shares.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/child.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "share/control.h"

#define PROGRAM	    "nidra-share"
#define FIRST_PORT  2049  /* and one more for each */
#define BACKLOG	    4096  /* more than the monitor can have sockets, so connecting never waits */
#define START_MS    30000 /* emulated hosts are slow */
#define AGAIN_MS    1000
#define STATE_MAX   (1u << 20)
#define RESTARTS    5 /* within a minute; then it has to wait */
#define RESTARTS_NS (60 * NSEC_PER_SEC)

struct share_process {
	const struct guest_share *config;
	int folder_fd; /* for syncfs(), and the process' root */
	int listen_fd, path_fd, state_fd;
	char path[32];
	int control_fd; /* -1: it does not run */
	int pidfd;
	bool quiet;    /* it said so, */
	uint8_t asked; /* at this one of several times */
	unsigned int restarts;
	uint64_t since_ns;
	struct log_limit log;
};

struct shares {
	struct share_process process[GUEST_SHARES_MAX];
	size_t n;
	int event_fd;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* what follows, and the processes */
	bool stop, quiet;
};

/* ---- making ---- */

/* A socket that has no name once it is made: only this process can connect, through the descriptor. */
static int make_socket(struct share_process *p, struct err *err)
{
	char folder[] = "/tmp/nidra-share-XXXXXX";
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int r = 0;

	p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listen_fd < 0 || !mkdtemp(folder))
		return err_errno(err, -errno, "share %s: a folder in /tmp for its socket", p->config->tag);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", folder);
	if (bind(p->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(p->listen_fd, BACKLOG) < 0)
		r = err_errno(err, -errno, "share %s: socket", p->config->tag);
	p->path_fd = open(a.sun_path, O_PATH | O_CLOEXEC);
	if (r == 0 && p->path_fd < 0)
		r = err_errno(err, -errno, "share %s: socket", p->config->tag);
	unlink(a.sun_path);
	rmdir(folder);
	snprintf(p->path, sizeof(p->path), "/proc/self/fd/%d", p->path_fd);
	return r;
}

static int make_process(struct share_process *p, const struct guest_share *config, struct err *err)
{
	p->config = config;
	p->folder_fd = open(config->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->folder_fd < 0)
		return err_errno(err, -errno, "share %s: folder %s", config->tag, config->path);
	p->state_fd = memfd_create("nidra-share", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->state_fd < 0)
		return err_errno(err, -errno, "share %s: memory", config->tag);
	return make_socket(p, err);
}

int shares_new(const struct guest_config *config, struct shares **ret, struct err *err)
{
	_cleanup_(shares_freep) struct shares *s = NULL;
	int r = 0;

	if (!config->shares.n)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(err, -ENOMEM, "shares");
	pthread_mutex_init(&s->lock, NULL);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (size_t i = 0; i < GUEST_SHARES_MAX; i++)
		s->process[i] = (struct share_process){
			.folder_fd = -1, .listen_fd = -1, .path_fd = -1, .state_fd = -1, .control_fd = -1, .pidfd = -1
		};
	s->n = config->shares.n;
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = make_process(&s->process[i], &config->shares.share[i], err);
	if (r < 0)
		return r;
	*ret = take_ptr(s);
	return 0;
}

static void process_fini(struct share_process *p)
{
	close_fdp(&p->control_fd);
	child_end(&p->pidfd, true);
	close_fdp(&p->folder_fd);
	close_fdp(&p->listen_fd);
	close_fdp(&p->path_fd);
	close_fdp(&p->state_fd);
}

void shares_free(struct shares *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_mutex_unlock(&s->lock);
	if (s->started) {
		eventfd_write(s->event_fd, 1);
		pthread_join(s->thread, NULL);
	}
	for (size_t i = 0; i < s->n; i++)
		process_fini(&s->process[i]);
	close_fdp(&s->event_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

const char *shares_socket(const struct shares *s, size_t i)
{
	return s->process[i].path;
}

uint16_t shares_port(size_t i)
{
	return (uint16_t)(FIRST_PORT + i);
}

char *shares_mount_command(const struct guest_config *config, size_t i)
{
	unsigned int port = shares_port(i);

	return str_printf("mount -i -t nfs -o vers=3,proto=tcp,nolock,hard,timeo=50,retrans=2,port=%u,mountproto=tcp,"
			  "mountport=%u,addr=" LINK_SERVICE_ADDRESS "%s " LINK_SERVICE_ADDRESS ":/%s /mnt",
			  port, port, config->shares.share[i].readonly ? ",ro" : "", config->shares.share[i].tag);
}

/* ---- what it knows ---- */

int shares_save(const struct shares *s, size_t i, struct bytes_writer *w, struct err *err)
{
	const struct share_process *p = &s->process[i];
	_cleanup_free_ void *copy = NULL;
	struct stat st;
	int r;

	if (fstat(p->state_fd, &st) < 0 || st.st_size > STATE_MAX)
		return err_set(err, -EFBIG, "share %s: its state is too large", p->config->tag);
	copy = malloc((size_t)st.st_size + 1);
	r = copy ? io_pread_full(p->state_fd, copy, (size_t)st.st_size, 0) : -ENOMEM;
	if (r < 0)
		return err_errno(err, r, "share %s: its state", p->config->tag);
	bytes_put(w, copy, (size_t)st.st_size);
	return 0;
}

int shares_load(struct shares *s, size_t i, const void *state, size_t len, struct err *err)
{
	int r = len > STATE_MAX ? -EFBIG : io_pwrite_full(s->process[i].state_fd, state, len, 0);

	return r < 0 ? err_errno(err, r, "share %s: its state", s->process[i].config->tag) : 0;
}

/* ---- running ---- */

static void end_process(struct share_process *p)
{
	close_fdp(&p->control_fd);
	child_end(&p->pidfd, true);
}

/* "ok", or "no WHY", or nothing. */
static int hear_start(struct share_process *p, struct err *err)
{
	struct pollfd wait = { .fd = p->control_fd, .events = POLLIN };
	char line[sizeof(err->msg)] = "";
	ssize_t n = -1;

	if (poll(&wait, 1, START_MS) > 0)
		n = read(p->control_fd, line, sizeof(line) - 1);
	if (n >= 2 && !strncmp(line, "ok", 2))
		return 0;
	return err_set(err, -EIO, "share %s (%s): %s", p->config->tag, p->config->path,
		       n > 3 ? line + 3 : PROGRAM " does not start");
}

/* In the order of share/confine.h. */
static int run_program(struct share_process *p, int root_fd, int control_fd, struct err *err)
{
	const char *const argv[] = { PROGRAM, p->config->tag, p->config->readonly ? "ro" : "rw", NULL };
	const int fd[] = { -1, -1, -1, p->listen_fd, root_fd, control_fd, p->state_fd };

	return child_start(argv, fd, ARRAY_SIZE(fd), &p->pidfd, err);
}

static int start_process(struct share_process *p, struct err *err)
{
	_cleanup_close_ int theirs = -1, root = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(err, -errno, "share %s", p->config->tag);
	p->control_fd = pair[0];
	theirs = pair[1];
	root = openat(p->folder_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, -errno, "share %s: folder %s", p->config->tag, p->config->path);
	r = run_program(p, root, theirs, err);
	close_fdp(&theirs); /* so that its end shows at ours */
	r = r ?: hear_start(p, err);
	if (r < 0)
		end_process(p);
	return r;
}

static bool may_restart(struct share_process *p)
{
	uint64_t now = clock_monotonic_ns();

	if (now - p->since_ns > RESTARTS_NS) {
		p->since_ns = now;
		p->restarts = 0;
	}
	return p->restarts++ < RESTARTS;
}

/* It ended, and nobody wanted that; or it did not start then. */
static void restart(struct share_process *p)
{
	struct err err = { 0 };

	end_process(p);
	if (!may_restart(p))
		return;
	if (log_allowed(&p->log))
		log_warn("share %s: " PROGRAM " ended, and is started again", p->config->tag);
	if (start_process(p, &err) < 0 && log_allowed(&p->log))
		log_error("%s", err.msg);
}

static bool has_ended(const struct share_process *p)
{
	struct pollfd at = { .fd = p->control_fd };

	return at.fd < 0 || (poll(&at, 1, 0) > 0 && at.revents & (POLLHUP | POLLERR));
}

/* True: one could not be, and is to be tried again. */
static bool restart_ended(struct shares *s)
{
	bool again = false;

	for (size_t i = 0; i < s->n; i++) {
		if (has_ended(&s->process[i]))
			restart(&s->process[i]);
		again |= s->process[i].control_fd < 0;
	}
	return again;
}

/* What is waited for; @p[0] is the event. */
static void fill_poll(struct shares *s, struct pollfd *p)
{
	p[0] = (struct pollfd){ .fd = s->event_fd, .events = POLLIN };
	for (size_t i = 0; i < s->n; i++)
		p[1 + i] = (struct pollfd){ .fd = s->quiet ? -1 : s->process[i].control_fd };
}

static void *watch(void *arg)
{
	struct shares *s = arg;
	struct pollfd p[1 + GUEST_SHARES_MAX];
	eventfd_t count;
	bool again;

	pthread_setname_np(pthread_self(), "shares");
	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		again = !s->quiet && restart_ended(s);
		fill_poll(s, p);
		pthread_mutex_unlock(&s->lock);
		poll(p, 1 + s->n, again ? AGAIN_MS : -1);
		eventfd_read(s->event_fd, &count);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int shares_start(struct shares *s, struct err *err)
{
	int r = 0;

	if (!s || s->started)
		return 0;
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = start_process(&s->process[i], err);
	if (r < 0)
		return r;
	r = thread_start(&s->thread, watch, s);
	s->started = r == 0;
	return r < 0 ? err_errno(err, r, "thread for shares") : 0;
}

/* ---- sleep ---- */

static void tell(struct share_process *p, char what)
{
	const uint8_t message[SHARE_MESSAGE] = { (uint8_t)what, p->asked };

	if (p->control_fd >= 0)
		send(p->control_fd, message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* One that has ended changes nothing, either. Answers to earlier questions come first. */
static int wait_quiet(struct share_process *p, uint64_t deadline_ns, struct err *err)
{
	struct pollfd wait = { .fd = p->control_fd, .events = POLLIN };
	uint8_t answer[SHARE_MESSAGE];

	while (!p->quiet && p->control_fd >= 0) {
		uint64_t now = clock_monotonic_ns();

		if (poll(&wait, 1, now < deadline_ns ? (int)((deadline_ns - now) / NSEC_PER_MSEC + 1) : 0) <= 0)
			return err_set(err, -ETIMEDOUT, "share %s: folder %s does not answer", p->config->tag,
				       p->config->path);
		p->quiet = recv(p->control_fd, answer, sizeof(answer), 0) != sizeof(answer) || answer[1] == p->asked;
	}
	return 0;
}

/* Asked once, however often it is waited for. */
int shares_quiet(struct shares *s, uint64_t deadline_ns, struct err *err)
{
	int r = 0;

	if (!s)
		return 0;
	/* One may be starting. */
	if (!thread_lock_until(&s->lock, deadline_ns))
		return err_set(err, -ETIMEDOUT, "a server of shared folders does not start");
	for (size_t i = 0; !s->quiet && i < s->n; i++) {
		s->process[i].asked++;
		tell(&s->process[i], SHARE_QUIET);
	}
	s->quiet = true;
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = wait_quiet(&s->process[i], deadline_ns, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void shares_go(struct shares *s)
{
	if (!s)
		return;
	SCOPED_LOCK(&s->lock);
	for (size_t i = 0; s->quiet && i < s->n; i++) {
		s->process[i].quiet = false;
		tell(&s->process[i], SHARE_GO);
	}
	s->quiet = false;
	eventfd_write(s->event_fd, 1);
}

int shares_sync(const struct shares *s, struct err *err)
{
	for (size_t i = 0; s && i < s->n; i++) {
		const struct share_process *p = &s->process[i];

		if (!p->config->readonly && syncfs(p->folder_fd) < 0)
			return err_errno(err, -errno, "share %s: write folder %s", p->config->tag, p->config->path);
	}
	return 0;
}
