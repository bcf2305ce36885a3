/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of pages, one bit each, by number. Setting, taking and testing bits is atomic, so threads may
 * share a set; what goes over all of it sees each bit at some moment of its time.
 */
#ifndef NIDRA_BASE_PAGESET_H
#define NIDRA_BASE_PAGESET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct pageset {
	uint64_t pages;
	_Atomic uint64_t word[];
};

/* An empty set of @pages numbers; NULL: no memory. free() frees it. */
struct pageset *pageset_new(uint64_t pages);

void pageset_add(struct pageset *s, uint64_t first, uint64_t n);
bool pageset_has(const struct pageset *s, uint64_t page);
/* 64 bits from @first, which is a multiple of 64. */
void pageset_add_word(struct pageset *s, uint64_t first, uint64_t bits);
/* The first member in [from, end), or @end. */
uint64_t pageset_next(const struct pageset *s, uint64_t from, uint64_t end);
uint64_t pageset_count(const struct pageset *s);
void pageset_clear(struct pageset *s);
/* A smaller @other has nothing behind its end. */
void pageset_or(struct pageset *s, const struct pageset *other);
void pageset_and(struct pageset *s, const struct pageset *other);
void pageset_subtract(struct pageset *s, const struct pageset *other);
/* Moves all of @from into @s; bit by bit, so what is added to @from meanwhile is in one of them. */
void pageset_move(struct pageset *s, struct pageset *from);

#endif
