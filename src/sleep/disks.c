/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks and memory of an image are of one moment.
 *
 * save: the guest ends, so its disks stay what they are; what they were like is noted, and who restores later is
 * told if somebody has written to them since. checkpoint and fork: the guest runs on and writes, so each disk
 * it can write is cloned at the moment, by the filesystem (a copy that shares all blocks until one side writes).
 * The clone lies beside its disk, for filesystems clone only within themselves. docs/disks.md has it for people.
 *
 * A file in a format that a qemu-nbd of ours serves is noted as a raw one, after a flush, and not cloned. A disk of
 * somebody else's server can only be flushed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "device/disk.h"
#include "sleep/internal.h"

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * (int64_t)NSEC_PER_SEC + st->st_mtim.tv_nsec;
}

static bool is_copied(const struct sleep_op *op)
{
	return op->verb == SLEEP_CHECKPOINT || op->verb == SLEEP_FORK;
}

static int go_on(void *arg, struct err *err)
{
	return pm_check(arg, err);
}

/* A copy has its own disk: only what we have as a file ourselves can be cloned. */
static int check_copy(const struct sleep_op *op, const struct guest_disk *d, struct err *err)
{
	if (!is_copied(op) || (!str_is_nbd_uri(d->path) && disk_format_is_raw(d->format)))
		return 0;
	return err_set(err, -EOPNOTSUPP, "disk %s (%s): its NBD server cannot be asked for a copy of this moment; %s",
		       d->vdev, d->path,
		       op->verb == SLEEP_FORK ? "machines of a fork can share it only if none writes to it (access=ro)"
					      : "--no-disks leaves that to you");
}

int sleep_check_own_disks(struct sleep_op *op, struct err *err)
{
	const struct guest_disks *d = &guest_config(op->guest)->disks;
	int r = guest_check_disks(op->guest, err);

	for (size_t i = 0; r == 0 && i < d->n && !op->args.no_disks; i++)
		r = d->disk[i].readonly ? 0 : check_copy(op, &d->disk[i], err);
	return r;
}

/* What is still only in the host's memory, before the guest has to wait for it. */
int sleep_sync_disks_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	const struct guest_disks *d = &guest_config(op->guest)->disks;
	int r = sleep_check_own_disks(op, err);

	for (size_t i = 0; r == 0 && i < d->n; i++)
		if (!op->args.no_disks && !d->disk[i].readonly)
			r = guest_sync_disk(op->guest, i, go_on, run, err);
	return r ?: guest_sync_shares(op->guest, err);
}

/* A checkpoint's takes its name with the image; a fork's is for other processes, at once. */
static int make_clone(const struct sleep_op *op, int fd, struct sleep_disk *note)
{
	int r = op->verb == SLEEP_FORK ? -EOPNOTSUPP : io_clone_unnamed(fd, note->snapshot, 0400);

	if (r < 0)
		return io_clone_file(fd, note->snapshot, 0400);
	note->snapshot_fd = r;
	return 0;
}

static int clone_disk(const struct sleep_op *op, const struct guest_disk *d, int fd, uint32_t tag,
		      struct sleep_disk *note, struct err *err)
{
	int r;

	note->snapshot = str_printf("%s.%08" PRIx32, d->path, tag);
	if (!note->snapshot)
		return err_errno(err, -ENOMEM, "disk %s", d->path);
	r = make_clone(op, fd, note);
	if (r == 0)
		return 0;
	if (r != -EOPNOTSUPP && r != -EXDEV && r != -EINVAL && r != -ENOTTY)
		err_errno(err, r, "clone disk %s", d->path);
	else
		r = err_set(err, -EOPNOTSUPP,
			    "%s: its filesystem cannot clone files (Btrfs, XFS and others can; see nidra check), so "
			    "the disk cannot be kept as it is at this moment; --no-disks leaves that to you",
			    d->path);
	free(take_ptr(note->snapshot));
	return r;
}

/* What the machine's file is like. */
static int note_file(const struct guest_disk *d, int fd, struct sleep_disk *note, struct err *err)
{
	struct stat st;

	if (fdatasync(fd) < 0 || fstat(fd, &st) < 0)
		return err_errno(err, -errno, "write disk %s", d->path);
	note->noted = S_ISREG(st.st_mode);
	note->bytes = (uint64_t)st.st_size;
	note->mtime_ns = mtime_ns(&st);
	return 0;
}

static int note_disk(struct sleep_op *op, size_t i, uint32_t tag, struct pm_run *run, struct err *err)
{
	const struct guest_disk *d = &guest_config(op->guest)->disks.disk[i];
	struct disk *disk = guest_disk(op->guest, i);
	struct sleep_disk *note = &op->disk[i];
	_cleanup_close_ int served = -1;
	int fd = disk_fd(disk), r;

	if (d->readonly)
		return 0;
	/* Once more: the last that the guest wrote has to be there for as long as the image. */
	r = guest_sync_disk(op->guest, i, go_on, run, err);
	if (r < 0)
		return r;
	if (str_is_nbd_uri(d->path)) {
		note->noted = note->remote = true;
		note->bytes = disk->bytes;
		return 0;
	}
	if (fd < 0)
		fd = served = open(d->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, -errno, "disk %s", d->path);
	return is_copied(op) ? clone_disk(op, d, fd, tag, note, err) : note_file(d, fd, note, err);
}

static int alloc_disks(struct sleep_op *op, size_t n, struct err *err)
{
	op->disk = calloc(n, sizeof(*op->disk));
	if (!op->disk)
		return err_errno(err, -ENOMEM, "disks");
	op->disks = n;
	for (size_t i = 0; i < n; i++)
		op->disk[i].snapshot_fd = -1;
	return 0;
}

int sleep_disks_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	size_t n = guest_config(op->guest)->disks.n;
	uint32_t tag = 0;
	/* The last of it, too, where the image is all that is left of the guest. */
	int r = is_copied(op) ? 0 : guest_sync_shares(op->guest, err);

	if (r < 0 || op->args.no_disks || !n)
		return r;
	r = sleep_check_own_disks(op, err); /* of a guest that sleeps already, nobody has asked yet */
	if (r < 0)
		return r;
	r = alloc_disks(op, n, err);
	if (r < 0)
		return r;
	if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
		return err_errno(err, -EIO, "getrandom");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = note_disk(op, i, tag, run, err);
	if (r < 0)
		sleep_disks_undo(run, op);
	return r;
}

static int name_clone(struct sleep_disk *note)
{
	int r = fsync(note->snapshot_fd) < 0 ? -errno : io_give_name(note->snapshot_fd, note->snapshot);

	if (r < 0)
		return r;
	close_fdp(&note->snapshot_fd);
	return io_sync_folder(note->snapshot);
}

int sleep_disks_name(struct sleep_op *op, struct err *err)
{
	for (size_t i = 0; i < op->disks; i++) {
		int r = op->disk[i].snapshot_fd < 0 ? 0 : name_clone(&op->disk[i]);

		if (r < 0)
			return err_errno(err, r, "the disk's copy %s", op->disk[i].snapshot);
	}
	return 0;
}

void sleep_disks_fini(struct sleep_op *op)
{
	for (size_t i = 0; i < op->disks; i++) {
		close_fdp(&op->disk[i].snapshot_fd);
		free(op->disk[i].snapshot);
	}
	free(op->disk);
	op->disk = NULL;
	op->disks = 0;
}

void sleep_disks_undo(struct pm_run *run, void *arg)
{
	struct sleep_op *op = arg;

	(void)run;
	for (size_t i = 0; i < op->disks; i++)
		if (op->disk[i].snapshot && op->disk[i].snapshot_fd < 0)
			unlink(op->disk[i].snapshot);
	sleep_disks_fini(op);
}

json_t *sleep_disks_json(const struct sleep_op *op)
{
	const struct guest_disks *d = &guest_config(op->guest)->disks;
	json_t *list = json_array();

	for (size_t i = 0; i < op->disks; i++) {
		json_t *o = json_pack("{s:s, s:s}", "vdev", d->disk[i].vdev, "path", d->disk[i].path);

		if (op->disk[i].snapshot)
			json_object_set_new(o, "snapshot", json_string(op->disk[i].snapshot));
		if (op->disk[i].noted) {
			json_object_set_new(o, "bytes", json_integer((json_int_t)op->disk[i].bytes));
			if (!op->disk[i].remote)
				json_object_set_new(o, "mtime_ns", json_integer(op->disk[i].mtime_ns));
		}
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- restore ---- */

/* Paths that the caller gave replace those of disks with the same name. */
static int override(struct sleep_op *op, bool *overridden, struct err *err)
{
	struct guest_disks *disks = &op->config.disks, *other = &op->other_disks;

	for (size_t o = 0; o < other->n; o++) {
		size_t i = 0;

		while (i < disks->n && strcmp(disks->disk[i].vdev, other->disk[o].vdev))
			i++;
		if (i == disks->n)
			return err_set(err, -EINVAL, "the machine has no disk %s", other->disk[o].vdev);
		free(disks->disk[i].path);
		free(disks->disk[i].format);
		disks->disk[i].path = take_ptr(other->disk[o].path);
		disks->disk[i].format = take_ptr(other->disk[o].format);
		overridden[i] = true;
	}
	return 0;
}

static int check_unchanged(const struct guest_disk *d, json_t *note, struct err *err)
{
	json_t *bytes = json_object_get(note, "bytes"), *mtime = json_object_get(note, "mtime_ns");
	struct stat st;

	if (!bytes || str_is_nbd_uri(d->path)) /* sleep_check_disks() */
		return 0;
	if (stat(d->path, &st) < 0)
		return err_errno(err, -errno, "disk %s", d->path);
	if (st.st_size == json_integer_value(bytes) && mtime_ns(&st) == json_integer_value(mtime))
		return 0;
	return err_set(err, -ESTALE,
		       "disk %s (%s) was written to since the image was made, so the guest would find it wrong; --disk "
		       "vdev=%s,target=FILE names a copy of that moment, --disks keep takes it as it is",
		       d->vdev, d->path, d->vdev);
}

#define CLONES_MAX 1000 /* of one snapshot for one name; earlier ones may still be wanted */

/* The machine's own: the snapshot stays what it is. */
static int own_clone(struct sleep_op *op, struct guest_disk *d, size_t i, const char *snapshot, struct err *err)
{
	_cleanup_close_ int fd = open(snapshot, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *path = NULL;
	int r = fd < 0 ? -errno : -EEXIST;

	for (unsigned int n = 1; r == -EEXIST && n < CLONES_MAX; n++) {
		free(path);
		path = n == 1 ? str_printf("%s.%s", snapshot, op->config.name)
			      : str_printf("%s.%s.%u", snapshot, op->config.name, n);
		r = path ? io_clone_file(fd, path, 0600) : -ENOMEM;
	}
	if (r < 0)
		return err_errno(err, r, "clone %s, which is what disk %s was like", snapshot, d->vdev);
	free(d->path);
	d->path = take_ptr(path);
	op->disk[i].snapshot = strdup(d->path); /* what an undo removes */
	return 0;
}

static int prepare_disk(struct sleep_op *op, json_t *note, const bool *overridden, struct err *err)
{
	const char *vdev = json_string_value(json_object_get(note, "vdev"));
	const char *snapshot = json_string_value(json_object_get(note, "snapshot"));
	json_t *bytes = json_object_get(note, "bytes"), *mtime = json_object_get(note, "mtime_ns");
	struct guest_disks *d = &op->config.disks;

	for (size_t i = 0; vdev && i < d->n; i++) {
		if (strcmp(d->disk[i].vdev, vdev) || overridden[i] || op->args.keep_disks)
			continue;
		op->disk[i].wanted_bytes = mtime || snapshot ? 0 : (uint64_t)json_integer_value(bytes);
		return snapshot ? own_clone(op, &d->disk[i], i, snapshot, err)
				: check_unchanged(&d->disk[i], note, err);
	}
	return 0;
}

int sleep_disks_prepare_enter(struct pm_run *run, void *arg, struct err *err)
{
	struct sleep_op *op = arg;
	bool overridden[GUEST_DISKS_MAX] = { false };
	json_t *note;
	size_t i;
	int r = override(op, overridden, err);

	if (r < 0 || !op->config.disks.n)
		return r;
	r = alloc_disks(op, op->config.disks.n, err);
	json_array_foreach (op->disk_notes, i, note)
		if (r == 0)
			r = prepare_disk(op, note, overridden, err);
	if (r < 0)
		sleep_disks_undo(run, op);
	return r;
}

/* A server does not say when somebody wrote there; what it serves has at least to have the size that it had. */
int sleep_check_disks(struct sleep_op *op, struct err *err)
{
	const struct guest_disks *d = &guest_config(op->guest)->disks;

	for (size_t i = 0; i < MIN(op->disks, d->n); i++) {
		uint64_t now = guest_disk(op->guest, i)->bytes, then = op->disk[i].wanted_bytes;

		if (then && now != then)
			return err_set(
				err, -ESTALE,
				"disk %s (%s) has %" PRIu64 " bytes and had %" PRIu64
				" when the image was made, so it is another one; --disk vdev=%s,target=... names "
				"the right one, --disks keep takes it as it is",
				d->disk[i].vdev, d->disk[i].path, now, then, d->disk[i].vdev);
	}
	return 0;
}
