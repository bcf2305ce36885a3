/* SPDX-License-Identifier: Apache-2.0 */
#include "device/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/beside.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"

static const char *const type_names[] = { "user", "tap", "link" };

const char *link_type_name(enum link_type t)
{
	return type_names[t];
}

int link_type_parse(const char *s, enum link_type *ret)
{
	int i = str_index(type_names, ARRAY_SIZE(type_names), s);

	if (i < 0)
		return i;
	*ret = (enum link_type)i;
	return 0;
}

/* A port, up to @end. */
static bool parse_port(const char *s, const char *end, uint16_t *ret)
{
	uint32_t n = 0;

	if (s == end || end - s > 5)
		return false;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return false;
		n = n * 10 + (uint32_t)(*s - '0');
	}
	*ret = (uint16_t)n;
	return n && n <= UINT16_MAX;
}

static bool parse_address(const char *s, const char *end, uint32_t *ret)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr a;

	if (end - s >= (ptrdiff_t)sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)(end - s), s);
	if (inet_pton(AF_INET, text, &a) != 1)
		return false;
	*ret = a.s_addr;
	return true;
}

int link_forward_parse(const char *s, struct link_forward *ret, struct err *err)
{
	struct link_forward f = { .udp = !strncmp(s, "udp:", 4) };
	const char *p = f.udp || !strncmp(s, "tcp:", 4) ? s + 4 : s;
	const char *last = strrchr(p, ':'), *first = strchr(p, ':');
	bool good = last && parse_port(last + 1, p + strlen(p), &f.guest_port);

	if (good && first != last) {
		good = parse_address(p, first, &f.address);
		p = first + 1;
	}
	if (!good || !parse_port(p, last, &f.host_port))
		return err_set(err, -EINVAL, "forward \"%.80s\": [tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT is wanted", s);
	*ret = f;
	return 0;
}

void link_lacks(struct err *lacks, const struct err *why)
{
	log_warn("network: %s", why->msg);
	if (!lacks->code)
		*lacks = *why;
}

int link_poll_add(struct link_poll *poll, int fd, short events)
{
	if (poll->n == LINK_FDS_MAX)
		return -1;
	poll->fd[poll->n] = (struct pollfd){ .fd = fd, .events = events };
	return (int)poll->n++;
}

/* ---- a cable that is in nothing ---- */

static void no_prepare(struct link *l, struct link_poll *poll, bool receive)
{
	(void)l;
	(void)poll;
	(void)receive;
}

static void no_dispatch(struct link *l, const struct link_poll *poll, bool receive)
{
	(void)l;
	(void)poll;
	(void)receive;
}

static void no_send(struct link *l, struct packet *p)
{
	(void)l;
	(void)p;
}

static void no_free(struct link *l)
{
	free(l);
}

static int unplugged_new(struct link **ret, struct err *err)
{
	static const struct link_ops ops = {
		.prepare = no_prepare, .dispatch = no_dispatch, .send = no_send, .free = no_free
	};

	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return err_errno(err, -ENOMEM, "network");
	(*ret)->ops = &ops;
	return 0;
}

static int new_user(const struct link_config *config, const char *name, struct err *lacks, struct link **ret,
		    struct err *err)
{
	__typeof__(link_user_new) *new_it;

	return beside_function("nidra-user-net.so", "link_user_new", &new_it, err)
		       ?: new_it(config, name, lacks, ret, err);
}

static int make(const struct link_config *config, const char *name, struct err *lacks, struct link **ret,
		struct err *err)
{
	switch (config->type) {
	case LINK_USER:
		return new_user(config, name, lacks, ret, err);
	case LINK_TAP:
		return link_tap_new(config, ret, err);
	default:
		return link_pair_new(config, ret, err);
	}
}

int link_new(const struct link_config *config, const char *name, link_deliver_fn deliver, void *arg, struct err *lacks,
	     struct link **ret, struct err *err)
{
	struct err why = { 0 };
	int r = make(config, name, lacks, ret, &why);

	if (r == -EBUSY) {
		link_lacks(lacks, &why);
		r = unplugged_new(ret, &why);
	}
	if (r < 0)
		return err_set(err, r, "%s", why.msg);
	(*ret)->deliver = deliver;
	(*ret)->arg = arg;
	return 0;
}

void link_free(struct link *l)
{
	if (l)
		l->ops->free(l);
}
