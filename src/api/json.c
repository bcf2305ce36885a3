/* SPDX-License-Identifier: Apache-2.0 */
#include "api/json.h"

#include <string.h>

#include "guest/nics.h"
#include "guest/shares.h"

/* A sentence may name what somebody sent, and be cut inside a letter: JSON has only UTF-8. */
static json_t *json_of_text(const char *text)
{
	json_t *v = json_string(text);
	_cleanup_free_ char *ascii = v ? NULL : strdup(text);

	if (!ascii)
		return v;
	for (char *p = ascii; *p; p++)
		if (*p & 0x80)
			*p = '?';
	return json_string(ascii);
}

static json_t *json_of_span(const struct pm_span *p, uint64_t zero)
{
	json_t *o = json_pack("{s:s, s:s}", "name", p->name, "result", pm_result_name(p->result));

	if (p->start_ns)
		json_object_set_new(o, "start_ns", json_integer((json_int_t)(p->start_ns - zero)));
	if (p->end_ns)
		json_object_set_new(o, "end_ns", json_integer((json_int_t)(p->end_ns - zero)));
	if (p->undo_start_ns) {
		json_object_set_new(o, "undo_start_ns", json_integer((json_int_t)(p->undo_start_ns - zero)));
		json_object_set_new(o, "undo_end_ns", json_integer((json_int_t)(p->undo_end_ns - zero)));
	}
	return o;
}

static json_t *json_of_timeline(const struct pm_timeline *t)
{
	json_t *phases = json_array();

	for (size_t i = 0; i < t->n; i++)
		json_array_append_new(phases, json_of_span(&t->span[i], t->start_ns));
	return json_pack("{s:s?, s:s, s:I, s:o}", "operation", t->op, "result", pm_result_name(t->result),
			 "duration_ns", (json_int_t)(t->end_ns > t->start_ns ? t->end_ns - t->start_ns : 0), "phases",
			 phases);
}

json_t *json_of_job(const struct sleep_job *job)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:I}", "id", (json_int_t)job->id, "operation",
			      sleep_verb_name(job->verb), "state",
			      job->running		  ? "running"
			      : job->result == 0	  ? "done"
			      : job->result == -ECANCELED ? "cancelled"
							  : "failed",
			      "started_ns", (json_int_t)job->start_realtime_ns);

	if (job->running)
		json_object_set_new(o, "progress",
				    json_pack("{s:s, s:I, s:I}", "phase", job->phase, "done", (json_int_t)job->done,
					      "total", (json_int_t)job->total));
	else if (job->result < 0)
		json_object_set_new(
			o, "error",
			json_pack("{s:i, s:o}", "code", -job->result, "message", json_of_text(job->message)));
	json_object_set_new(o, "stats",
			    json_pack("{s:I, s:I, s:I, s:I, s:I}", "file_bytes", (json_int_t)job->stats.file_bytes,
				      "memory_bytes", (json_int_t)job->stats.memory_bytes, "zero_bytes",
				      (json_int_t)job->stats.zero_bytes, "pause_ns", (json_int_t)job->stats.pause_ns,
				      "moment_bytes", (json_int_t)job->stats.moment_bytes));
	json_object_set_new(o, "timeline", json_of_timeline(&job->timeline));
	return o;
}

json_t *json_of_jobs(struct sleeper *s)
{
	json_t *a = json_array();
	struct sleep_job job;

	if (sleep_get_job(s, 0, &job) < 0)
		return a;
	for (uint64_t id = job.id > SLEEP_HISTORY ? job.id - SLEEP_HISTORY + 1 : 1, last = job.id; id <= last; id++)
		if (sleep_get_job(s, id, &job) == 0)
			json_array_append_new(a, json_of_job(&job));
	return a;
}

static json_t *json_of_guest(struct guest *g)
{
	_cleanup_free_ char *config = guest_config_to_json(guest_config(g));
	struct guest_info i;

	guest_get_info(g, &i);
	return json_pack("{s:s, s:s*, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:b, s:s, s:i, s:o?}", "state",
			 guest_state_name(i.state), "end", i.end ? guest_end_name(i.end) : NULL, "reason",
			 *guest_end_reason(g) ? guest_end_reason(g) : NULL, "cpu_time_ns", (json_int_t)i.cpu_time_ns,
			 "system_time_ns", (json_int_t)i.running_ns, "memory_bytes", (json_int_t)i.memory_bytes,
			 "resident_bytes", (json_int_t)i.resident_bytes, "shared_bytes", (json_int_t)i.shared_bytes,
			 "image_bytes", (json_int_t)i.image_bytes, "vcpus_online", (int)i.vcpus_online, "sleeps",
			 i.sleeps, "transport", i.transport, "wakes", (int)i.wakes, "config",
			 json_loads(config ?: "{}", 0, NULL));
}

static json_t *json_of_disks(struct guest *g)
{
	const struct guest_disks *d = &guest_config(g)->disks;
	json_t *list = json_array();

	for (size_t i = 0; i < d->n; i++) {
		struct disk_stats s;

		guest_get_disk_stats(g, i, &s);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s*, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o*}", "vdev",
				  d->disk[i].vdev, "path", d->disk[i].path, "format", d->disk[i].format, "readonly",
				  d->disk[i].readonly, "connected", s.connected, "bytes", (json_int_t)s.bytes, "reads",
				  (json_int_t)s.reads, "writes", (json_int_t)s.writes, "flushes", (json_int_t)s.flushes,
				  "discards", (json_int_t)s.discards, "errors", (json_int_t)s.errors, "read_bytes",
				  (json_int_t)s.read_bytes, "written_bytes", (json_int_t)s.written_bytes, "stalled",
				  s.stalled_ns ? json_of_text(s.trouble) : NULL));
	}
	return list;
}

static json_t *json_of_nics(struct guest *g)
{
	const struct guest_config *c = guest_config(g);
	json_t *list = json_array();

	for (unsigned int i = 0; i < c->nics.n; i++) {
		const struct guest_nic *n = &c->nics.nic[i];
		char mac[GUEST_MAC_TEXT] = "";
		struct vif_stats s;

		guest_nic_address(c, i, mac);
		guest_get_nic_stats(g, i, &s);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:b, s:I, s:I, s:I, s:I, s:I}", "type",
					link_type_name(n->type), "mac", mac, "tap", n->tap, "bridge", n->bridge, "path",
					n->path, "connected", s.connected, "rx_packets", (json_int_t)s.rx_packets,
					"rx_bytes", (json_int_t)s.rx_bytes, "rx_dropped", (json_int_t)s.rx_dropped,
					"tx_packets", (json_int_t)s.tx_packets, "tx_bytes", (json_int_t)s.tx_bytes));
	}
	return list;
}

static json_t *json_of_shares(struct guest *g)
{
	const struct guest_config *c = guest_config(g);
	json_t *list = json_array();

	for (size_t i = 0; i < c->shares.n; i++) {
		const struct guest_share *s = &c->shares.share[i];
		_cleanup_free_ char *mount = shares_mount_command(c, i);

		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s*}", "tag", s->tag, "path", s->path,
						      "readonly", s->readonly, "mount", mount));
	}
	return list;
}

json_t *json_of_machine(struct sleeper *s, const char *name)
{
	struct guest *g = sleeper_guest(s);
	struct sleep_job job;
	json_t *o = g ? json_of_guest(g) : json_pack("{s:s}", "state", "building");

	if (g && guest_config(g)->disks.n)
		json_object_set_new(o, "disks", json_of_disks(g));
	if (g && guest_config(g)->nics.n)
		json_object_set_new(o, "nics", json_of_nics(g));
	if (g && guest_config(g)->shares.n)
		json_object_set_new(o, "shares", json_of_shares(g));
	json_object_set_new(o, "name", json_string(name));
	json_object_set_new(o, "pid", json_integer(getpid()));
	if (sleep_get_job(s, 0, &job) == 0 && job.running)
		json_object_set_new(o, "operation", json_string(sleep_verb_name(job.verb)));
	return o;
}

json_t *json_of_problem(int status, const char *detail)
{
	const char *title = status == 400   ? "Bad request"
			    : status == 404 ? "Not found"
			    : status == 405 ? "Method not allowed"
			    : status == 409 ? "Not possible now"
			    : status == 413 ? "Too large"
					    : "Failed";

	return json_pack("{s:s, s:s, s:i, s:o}", "type", "about:blank", "title", title, "status", status, "detail",
			 json_of_text(detail));
}
