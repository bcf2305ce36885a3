/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are asked for over a socket (AF_UNIX, SOCK_SEQPACKET): how a confined program reads what is no file. First
 * comes how many there are (8 bytes); then each question is an offset and a length (8 bytes each), and its answer
 * that many bytes. Neither side trusts the other one; who breaks the rules is left alone.
 */
#ifndef NIDRA_BASE_SERVED_H
#define NIDRA_BASE_SERVED_H

#include <stddef.h>
#include <stdint.h>

#define SERVED_MAX 65536u /* bytes of one answer */

/* Answers until the other side closes (0), or something is wrong. Never waits for a reader. */
int served_answer(int fd, uint64_t bytes, int (*read)(void *arg, void *buf, size_t len, uint64_t offset), void *arg);

/* The other side: the size, before anything else; and as io_pread_full(). */
int served_size(int fd, uint64_t *ret_bytes);
int served_read(int fd, void *buf, size_t len, uint64_t offset);

#endif
