/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of a shared folder's server, as far as tests of processes need one. */
#ifndef NIDRA_TESTS_SHARE_CLIENT_H
#define NIDRA_TESTS_SHARE_CLIENT_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "share/xdr.h"

#define CLIENT_WAIT_S	   10
#define CLIENT_LAST	   0x80000000u
#define CLIENT_MARK	   4
#define CLIENT_EMPTY_REPLY 28 /* with its mark */

static inline int client_connect(const char *path)
{
	struct timeval limit = { .tv_sec = CLIENT_WAIT_S };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* "Nothing", of the NFS program; behind a mark of a whole record. */
static inline void client_make_null(struct bytes_writer *w, uint32_t xid)
{
	w->len = 0;
	xdr_put_u32(w, CLIENT_LAST | 40);
	xdr_put_u32(w, xid);
	xdr_put_u32(w, 0);
	xdr_put_u32(w, 2);
	xdr_put_u32(w, 100003);
	xdr_put_u32(w, 3);
	xdr_put_u32(w, 0);
	xdr_put_u64(w, 0);
	xdr_put_u64(w, 0);
}

static inline void client_send_null(int fd, uint32_t xid)
{
	struct bytes_writer w = { 0 };

	client_make_null(&w, xid);
	assert_int_equal(send(fd, w.buf, w.len, MSG_NOSIGNAL), w.len);
	bytes_writer_fini(&w);
}

static inline bool client_is_answered(int fd, uint32_t xid)
{
	uint8_t b[CLIENT_EMPTY_REPLY] = { 0 };
	struct bytes_reader r = bytes_reader(b, sizeof(b));

	return recv(fd, b, sizeof(b), MSG_WAITALL) == sizeof(b) && xdr_get_u32(&r) == (CLIENT_LAST | 24) &&
	       xdr_get_u32(&r) == xid;
}

#endif
