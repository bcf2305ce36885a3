/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/find_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/served.h"
#include "base/thread.h"

/* The very file that is locked for us, but only to be read, and without O_DIRECT. */
static int look_on(const struct disk *d, boot_wait_fn *wait, void *arg, struct boot_found *ret, struct err *err)
{
	char path[32];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk_fd(d));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "open it to look for a kernel");
	return boot_from_disk(fd, wait, arg, ret, err);
}

/* ---- a disk that is no file: a thread reads for who is confined ---- */

struct serving {
	struct vbd *vbd;
	uint64_t bytes;
	int fd;
	atomic_bool stop;
	struct err err; /* why it could not be read; once the thread has ended */
};

static int go_on(void *arg, struct err *err)
{
	struct serving *s = arg;

	return s->stop ? err_set(err, -ECANCELED, "nobody reads it any more") : 0;
}

static int read_for(void *arg, void *buf, size_t len, uint64_t offset)
{
	struct serving *s = arg;

	return vbd_read(s->vbd, buf, len, offset, go_on, s, &s->err);
}

static void *serving_main(void *arg)
{
	struct serving *s = arg;

	pthread_setname_np(pthread_self(), "bootdisk");
	served_answer(s->fd, s->bytes, read_for, s);
	close_fdp(&s->fd); /* it is told by this that there is no more */
	return NULL;
}

static int look_through(struct vbd *v, uint64_t bytes, boot_wait_fn *wait, void *arg, struct boot_found *ret,
			struct err *err)
{
	struct serving s = { .vbd = v, .bytes = bytes };
	pthread_t thread;
	int fd[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return err_errno(err, -errno, "look for a kernel");
	s.fd = fd[0];
	r = thread_start(&thread, serving_main, &s);
	if (r < 0) {
		close_fdp(&fd[0]);
		close_fdp(&fd[1]);
		return err_errno(err, r, "look for a kernel");
	}
	r = boot_from_disk(fd[1], wait, arg, ret, err);
	s.stop = true;
	close_fdp(&fd[1]);
	pthread_join(thread, NULL);
	return r < 0 && s.err.code && s.err.code != -ECANCELED ? err_set(err, s.err.code, "%s", s.err.msg) : r;
}

int find_kernel(const struct guest_config *c, struct disk *const *disk, struct vbd *const *vbd, boot_wait_fn *wait,
		void *arg, struct boot_found *ret, struct err *err)
{
	struct err first = { 0 };

	for (size_t i = 0; i < c->disks.n; i++) {
		struct err why = { 0 };
		int r = disk_fd(disk[i]) < 0 ? look_through(vbd[i], disk[i]->bytes, wait, arg, ret, &why)
					     : look_on(disk[i], wait, arg, ret, &why);

		if (r == 0) {
			ret->disk = c->disks.disk[i].path;
			return 0;
		}
		err_prefix(&why, "disk %s", c->disks.disk[i].path);
		if (!first.code || r == -ECANCELED || r == -ETIMEDOUT)
			first = why;
		if (r == -ECANCELED || r == -ETIMEDOUT)
			break;
	}
	return err_set(err, first.code, "%s", first.msg);
}

struct boot_source kernel_source(const struct guest_config *c, const struct boot_found *f, struct kernel_paths *paths)
{
	struct boot_source s = { .kernel = c->kernel,
				 .initrd = c->initrd,
				 .cmdline = c->cmdline ?: f->cmdline ?: "",
				 .vcpus = c->maxvcpus };

	if (f->kernel_fd < 0)
		return s;
	snprintf(paths->kernel, sizeof(paths->kernel), "/proc/self/fd/%d", f->kernel_fd);
	snprintf(paths->initrd, sizeof(paths->initrd), "/proc/self/fd/%d", f->initrd_fd);
	s.kernel = paths->kernel;
	s.initrd = f->initrd_fd < 0 ? NULL : paths->initrd;
	snprintf(paths->name, sizeof(paths->name), "of %s", f->disk);
	s.name = paths->name;
	return s;
}
