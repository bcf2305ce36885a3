/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shared folder, served by NFS version 3 (RFC 1813): a request's bytes in, an answer's bytes out. It knows neither
 * sockets nor processes. All is done as the user that the process is; nothing of what a request says about its
 * sender is believed.
 */
#ifndef NIDRA_SHARE_SHARE_H
#define NIDRA_SHARE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define SHARE_DATA_MAX	  (256u << 10)		  /* of one READ or WRITE */
#define SHARE_REQUEST_MAX (SHARE_DATA_MAX + 4096) /* with its header and names */
#define SHARE_TAG_MAX	  31

struct share;

struct share_options {
	const char *tag;
	int root_fd;  /* the folder; the caller's, as */
	int proc_fd;  /* /proc/self/fd */
	int state_fd; /* replies.h */
	bool readonly;
};

int share_new(const struct share_options *o, struct share **ret);
void share_free(struct share *s);
DEFINE_CLEANUP(struct share *, share_free)

/* One RPC message. The answer is put behind what @out has. -EBADMSG: it is none; nothing can be said to its sender. */
int share_answer(struct share *s, const void *msg, size_t len, struct bytes_writer *out);

#endif
