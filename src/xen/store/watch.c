/* SPDX-License-Identifier: Apache-2.0 */
/* Watches of the guest, and the events they make. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "xen/store/internal.h"

static void watch_free(struct xs_watch *w)
{
	free(w->path);
	free(w->token);
	free(w);
}

void xs_watch_free_all(struct xs *xs)
{
	while (xs->watches) {
		struct xs_watch *w = xs->watches;

		xs->watches = w->next;
		watch_free(w);
	}
	xs->watch_count = 0;
}

/* The event gives the path as the watch was asked for. */
static void send_event(struct xs *xs, const struct xs_watch *w, const char *path)
{
	char home[64], payload[XENSTORE_PAYLOAD_MAX];
	size_t n = (size_t)snprintf(home, sizeof(home), "/local/domain/%u/", xs->guest);
	int len;

	if (w->relative && !strncmp(path, home, n))
		path += n;
	len = snprintf(payload, sizeof(payload), "%s%c%s", path, 0, w->token);
	if (len < (int)sizeof(payload) && xs_output_pending(xs) < XS_OUTPUT_MAX) {
		xs_queue(xs, NULL, XS_WATCH_EVENT, payload, (size_t)len + 1);
		return;
	}
	if (!xs->dropped)
		log_warn("the guest does not read its xenstore ring: watch events are dropped, the first of %s", path);
	xs->dropped = true;
}

int xs_watch_add(struct xs *xs, const char *path, const char *token, bool relative)
{
	struct xs_watch **at = &xs->watches, *w;

	if (xs->watch_count == XS_WATCHES_MAX)
		return ENOSPC;
	for (; *at; at = &(*at)->next)
		if (!strcmp((*at)->path, path) && !strcmp((*at)->token, token))
			return EEXIST;
	w = calloc(1, sizeof(*w));
	if (!w)
		return ENOMEM;
	w->path = strdup(path);
	w->token = strdup(token);
	w->relative = relative;
	if (!w->path || !w->token) {
		watch_free(w);
		return ENOMEM;
	}
	*at = w;
	xs->watch_count++;
	return 0;
}

int xs_watch_remove(struct xs *xs, const char *path, const char *token)
{
	for (struct xs_watch **at = &xs->watches; *at; at = &(*at)->next) {
		struct xs_watch *w = *at;

		if (strcmp(w->path, path) || strcmp(w->token, token))
			continue;
		*at = w->next;
		xs->watch_count--;
		watch_free(w);
		return 0;
	}
	return ENOENT;
}

/* @below is @path or lies below it. */
static bool is_below(const char *path, const char *below)
{
	size_t n = strlen(path);

	if (!strcmp(path, "/"))
		return *below == '/';
	return !strncmp(path, below, n) && (!below[n] || below[n] == '/');
}

static bool may_see(struct xs *xs, const struct xs_tree *tree, const char *path)
{
	return xs_node_allows(xs_tree_nearest(tree, path), xs->guest, XS_READ_PERM);
}

void xs_observe(struct xs *xs, xs_changed_fn fn, void *arg)
{
	xs->changed = fn;
	xs->changed_arg = arg;
}

void xs_watch_fire(struct xs *xs, const struct xs_tree *tree, const char *path, bool deep)
{
	if (xs->changed)
		xs->changed(xs->changed_arg, path);
	for (struct xs_watch *w = xs->watches; w; w = w->next) {
		if (is_below(w->path, path) && may_see(xs, tree, path))
			send_event(xs, w, path);
		else if (deep && is_below(path, w->path) && xs_tree_find(tree, w->path) && may_see(xs, tree, w->path))
			send_event(xs, w, w->path); /* what it watches goes with its parent */
	}
}
