/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a configuration. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "device/vbd.h"
#include "guest/config_device.h"

static void disk_fini(struct guest_disk *d)
{
	free(d->vdev);
	free(d->path);
	free(d->format);
}

void guest_disks_fini(struct guest_disks *d)
{
	for (size_t i = 0; i < d->n; i++)
		disk_fini(&d->disk[i]);
	free(d->disk);
	*d = (struct guest_disks){ 0 };
}

/* One more, all zero; NULL: no memory. */
static struct guest_disk *add(struct guest_disks *d)
{
	struct guest_disk *more = realloc(d->disk, (d->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	d->disk = more;
	more[d->n] = (struct guest_disk){ 0 };
	return &more[d->n++];
}

int guest_disks_copy(const struct guest_disks *from, struct guest_disks *ret)
{
	struct guest_disks copy = { 0 };

	for (size_t i = 0; i < from->n; i++) {
		struct guest_disk *d = add(&copy);

		if (d) {
			*d = from->disk[i];
			d->vdev = strdup(d->vdev);
			d->path = strdup(d->path);
			d->format = d->format ? strdup(d->format) : NULL;
		}
		if (!d || !d->vdev || !d->path || !d->format != !from->disk[i].format) {
			guest_disks_fini(&copy);
			return -ENOMEM;
		}
	}
	*ret = copy;
	return 0;
}

/* Formats are never guessed from what is in a file: a guest writes that, and a header can name files of the host. */
static int check_format(const struct guest_disk *d, struct err *err)
{
	if (disk_format_is_raw(d->format))
		return 0;
	if (!disk_format(d->format))
		return err_set(err, -EINVAL,
			       "disk %s: format \"%.40s\": raw, qcow2, qcow, vmdk, vdi, vhd and vhdx are "
			       "possible",
			       d->path, d->format);
	if (str_is_nbd_uri(d->path))
		return err_set(err, -EINVAL, "disk %s: its format is its server's business: give none", d->path);
	return *d->path == '/' ? 0 : err_set(err, -EINVAL, "disk %s: an absolute path is wanted", d->path);
}

int guest_disks_check(const struct guest_disks *d, struct err *err)
{
	if (d->n > GUEST_DISKS_MAX)
		return err_set(err, -EINVAL, "disks: %zu are too many, %d are possible", d->n, GUEST_DISKS_MAX);
	for (size_t i = 0; i < d->n; i++) {
		if (!vbd_number(d->disk[i].vdev))
			return err_set(err, -EINVAL, "disk %s: vdev \"%.20s\": xvda to xvdz are possible",
				       d->disk[i].path, d->disk[i].vdev);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(d->disk[i].vdev, d->disk[k].vdev))
				return err_set(err, -EINVAL, "disk %s: %s is there twice", d->disk[i].path,
					       d->disk[i].vdev);
		if (check_format(&d->disk[i], err) < 0)
			return -EINVAL;
	}
	return 0;
}

json_t *guest_disks_to_json(const struct guest_disks *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++) {
		const struct guest_disk *disk = &d->disk[i];
		json_t *o = json_pack("{s:s, s:s, s:b, s:s, s:s*}", "vdev", disk->vdev, "path", disk->path, "readonly",
				      disk->readonly, "cache", disk_cache_name(disk->cache), "format", disk->format);

		if (disk->on_error) /* images without it are read by who knows nothing of it */
			json_object_set_new(o, "on_error", json_string(disk_on_error_name(disk->on_error)));
		json_array_append_new(list, o);
	}
	return list;
}

static int get_key(struct guest_disk *d, const char *key, json_t *v, struct err *err)
{
	if (!strcmp(key, "vdev"))
		return guest_device_text("disks", key, v, &d->vdev, err);
	if (!strcmp(key, "path"))
		return guest_device_text("disks", key, v, &d->path, err);
	if (!strcmp(key, "format")) {
		int r = guest_device_text("disks", key, v, &d->format, err);

		if (r == 0 && disk_format_is_raw(d->format))
			free(take_ptr(d->format));
		return r;
	}
	if (!strcmp(key, "on_error"))
		return json_is_string(v) && disk_on_error_parse(json_string_value(v), &d->on_error) == 0
			       ? 0
			       : err_set(err, -EINVAL, "disks: on_error: report, stall or auto is wanted");
	if (!strcmp(key, "readonly"))
		return guest_device_bool("disks", key, v, &d->readonly, err);
	if (!strcmp(key, "cache"))
		return json_is_string(v) && disk_cache_parse(json_string_value(v), &d->cache) == 0
			       ? 0
			       : err_set(err, -EINVAL,
					 "disks: cache: writeback, none, writethrough, directsync or unsafe is wanted");
	return err_set(err, -EINVAL, "disks: unknown key \"%.80s\"", key);
}

/* The first name that no other one has. */
static int name_it(struct guest_disks *all, struct guest_disk *d)
{
	char vdev[] = "xvda";
	bool taken = true;

	for (; taken && vdev[3] <= 'z'; vdev[3]++) {
		taken = false;
		for (size_t i = 0; i < all->n; i++)
			taken |= all->disk[i].vdev && !strcmp(all->disk[i].vdev, vdev);
		if (!taken)
			d->vdev = strdup(vdev);
	}
	return d->vdev ? 0 : -ENOMEM;
}

int guest_disks_from_json(json_t *list, struct guest_disks *ret, struct err *err)
{
	const char *key;
	json_t *o, *v;
	size_t i;
	int r = 0;

	if (!json_is_array(list))
		return err_set(err, -EINVAL, "disks: a list is wanted");
	json_array_foreach (list, i, o) {
		struct guest_disk *d = add(ret);

		if (!d)
			return err_errno(err, -ENOMEM, "disks");
		if (!json_is_object(o))
			return err_set(err, -EINVAL, "disks: a list of objects is wanted");
		json_object_foreach (o, key, v) {
			r = get_key(d, key, v, err);
			if (r < 0)
				return r;
		}
		if (!d->path)
			return err_set(err, -EINVAL, "disks: path is missing");
	}
	for (i = 0; i < ret->n; i++)
		if (!ret->disk[i].vdev && name_it(ret, &ret->disk[i]) < 0)
			return err_set(err, -EINVAL, "disks: there are too many");
	return 0;
}
