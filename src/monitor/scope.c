/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a host shuts down, systemd ends sessions and services in parallel: a monitor that was started in root's
 * session would be told to end with that session, before it was saved. "Before" orders starts; stops are the other
 * way round.
 */
#include "monitor/scope.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"

#define WAIT_USEC UINT64_C(5000000)

static int make_request(sd_bus *bus, const char *name, sd_bus_message **ret)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	char unit[200], what[200];
	int r;

	/* With the process, for a machine that comes back before systemd has forgotten the last one's. */
	snprintf(unit, sizeof(unit), "nidra-%s-%d.scope", name, (int)getpid());
	snprintf(what, sizeof(what), "nidra: machine %s", name);
	r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
					   "org.freedesktop.systemd1.Manager", "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(m, "ssa(sv)a(sa(sv))", unit, "fail", 5, "Description", "s", what, "Slice",
					  "s", "machine.slice", "CollectMode", "s", "inactive-or-failed", "Before",
					  "as", 1, "nidra-guests.service", "PIDs", "au", 1, (uint32_t)getpid(), 0);
	if (r >= 0)
		*ret = take_ptr(m);
	return r;
}

int scope_enter(const char *name, struct err *err)
{
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *request = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error why = SD_BUS_ERROR_NULL;
	int r;

	if (geteuid() != 0 || sd_booted() <= 0)
		return 0;
	r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = make_request(bus, name, &request);
	if (r >= 0)
		r = sd_bus_call(bus, request, WAIT_USEC, &why, NULL);
	if (r >= 0)
		return 0;
	return err_set(err, r, "a scope of systemd: %s", why.message ?: strerror(-r));
}
