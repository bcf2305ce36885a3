/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's side of PV devices, without a guest: a domain on a fake machine, whose memory, hypercalls and
 * xenstore connection a test or a fuzzer uses as a driver would.
 */
#ifndef NIDRA_TESTS_FAKE_FRONTEND_H
#define NIDRA_TESTS_FAKE_FRONTEND_H

#include <stdint.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#include "base/addr.h"
#include "base/util.h"
#include "fake_machine.h"
#include "xen/backend.h"
#include "xen/domain.h"

#define FRONT_RAM    (4 * MIB)
#define FRONT_DOMID  7
#define FRONT_SHARED UINT64_C(0x10000) /* gpa of its shared_info */

struct frontend {
	struct machine m;
	struct xen_domain *d;
};

int frontend_init(struct frontend *f);
void frontend_fini(struct frontend *f);

/* A hypercall with a structure that goes in and comes back. */
int64_t frontend_call(struct frontend *f, uint64_t nr, uint64_t cmd, void *op, size_t len);
/* An event channel for domain 0; 0: there is none left. */
uint32_t frontend_port(struct frontend *f);
void frontend_send(struct frontend *f, uint32_t port);
void frontend_close(struct frontend *f, uint32_t port);
void frontend_balloon_out(struct frontend *f, uint64_t gfn);
void frontend_balloon_in(struct frontend *f, uint64_t gfn);
/* Grants @gfn to domain 0; @flags: GTF_*. */
void frontend_grant(struct frontend *f, uint32_t ref, uint64_t gfn, uint16_t flags);
void *frontend_page(struct frontend *f, uint64_t gfn);

/* By the guest's ring; @path absolute, or below its home. False: it was refused. */
bool frontend_write(struct frontend *f, const char *path, const char *fmt, ...) _printf_(3, 4);
bool frontend_rm(struct frontend *f, const char *path);

#endif
