/* SPDX-License-Identifier: Apache-2.0 */
/* The METADATA record: what an image says about itself, in JSON. docs/image-format.md lists it. */
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/str.h"
#include "kvm/machine.h"
#include "sleep/internal.h"

#ifndef NIDRA_VERSION
#define NIDRA_VERSION "0"
#endif

static void put_ranges(json_t *list, const struct sleep_range *r, size_t n, const char *by)
{
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:I, s:I, s:s}", "gpa", (json_int_t)r[i].gpa, "bytes",
						      (json_int_t)r[i].bytes, "by", by));
}

static json_t *left_out(const struct sleep_op *op)
{
	json_t *list = json_array();

	put_ranges(list, op->args.leave_out, op->args.leave_outs, "operator");
	put_ranges(list, op->guests_range, op->guests_ranges, "guest");
	return list;
}

char *sleep_metadata(const struct sleep_op *op)
{
	struct guest *g = op->guest;
	bool asked = guest_in_suspend_call(g);
	_cleanup_free_ char *config = guest_config_to_json(guest_config(g));
	struct guest_info info;
	struct utsname u = { 0 };
	json_t *o;
	char *s;

	uname(&u);
	guest_get_info(g, &info);
	o = json_pack("{s:s, s:s, s:I, s:o?, s:{s:s, s:b, s:i}, s:{s:I, s:I, s:i, s:i, s:s, s:b}}", "nidra",
		      NIDRA_VERSION, "made_by", sleep_verb_name(op->verb), "time_ns", (json_int_t)clock_realtime_ns(),
		      "config", json_loads(config ?: "", 0, NULL), "host", "kernel", u.release, "intercepts",
		      machine_intercepts(guest_machine(g)), "tsc_khz", (int)machine_tsc_khz(guest_machine(g)), "guest",
		      "system_time_ns", (json_int_t)info.running_ns, "memory_bytes", (json_int_t)info.memory_bytes,
		      "vcpus_online", (int)info.vcpus_online, "wakes", (int)info.wakes, "transport", info.transport,
		      "took_part", asked);
	if (op->args.leave_outs || op->guests_ranges)
		json_object_set_new(o, "left_out", left_out(op));
	if (op->disks)
		json_object_set_new(o, "disks", sleep_disks_json(op));
	s = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	return s;
}

int sleep_metadata_config(const char *json, size_t len, struct guest_config *ret, struct sleep_op *op, struct err *err)
{
	json_t *o = json_loadb(json, len, 0, NULL);
	json_t *config = json_object_get(o, "config");
	json_t *wakes = json_object_get(json_object_get(o, "guest"), "wakes");
	_cleanup_free_ char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;
	struct guest_config c = { 0 };
	int r;

	op->wakes = (uint32_t)json_integer_value(wakes);
	op->not_asked = json_is_false(json_object_get(json_object_get(o, "guest"), "took_part"));
	op->disk_notes = json_incref(json_object_get(o, "disks"));
	json_decref(o);
	if (!text)
		return err_set(err, -EBADMSG, "the image's metadata has no configuration");
	r = guest_config_from_json(text, strlen(text), &c, err);
	r = r ?: guest_config_check(&c, err);
	if (r < 0) {
		guest_config_fini(&c);
		return err_prefix(err, "the image's configuration");
	}
	*ret = c;
	return 0;
}
