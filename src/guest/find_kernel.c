/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/find_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/* The very file that is locked for us, but only to be read, and without O_DIRECT. */
static int look_on(const struct disk *d, boot_wait_fn *wait, void *arg, struct boot_found *ret, struct err *err)
{
	char path[32];
	_cleanup_close_ int fd = -1;

	if (disk_fd(d) < 0)
		return err_set(err, -EOPNOTSUPP,
			       "kernels are looked for on raw disks only so far: give --kernel, or make it raw "
			       "(qemu-img convert)");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk_fd(d));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "open it to look for a kernel");
	return boot_from_disk(fd, wait, arg, ret, err);
}

int find_kernel(const struct guest_config *c, struct disk *const *disk, boot_wait_fn *wait, void *arg,
		struct boot_found *ret, struct err *err)
{
	struct err first = { 0 };

	for (size_t i = 0; i < c->disks.n; i++) {
		struct err why = { 0 };
		int r = look_on(disk[i], wait, arg, ret, &why);

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
