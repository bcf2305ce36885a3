/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pageset.h"

#include <stdatomic.h>

#include "base/util.h"

static uint64_t words(const struct pageset *s)
{
	return (s->pages + 63) / 64;
}

struct pageset *pageset_new(uint64_t pages)
{
	struct pageset *s = calloc(1, sizeof(*s) + (pages + 63) / 64 * sizeof(s->word[0]));

	if (s)
		s->pages = pages;
	return s;
}

void pageset_add_word(struct pageset *s, uint64_t first, uint64_t bits)
{
	if (first < s->pages && (s->word[first / 64] & bits) != bits)
		s->word[first / 64] |= bits;
}

void pageset_add(struct pageset *s, uint64_t first, uint64_t n)
{
	uint64_t end = MIN(first + n, s->pages);

	for (uint64_t at = first; at < end;) {
		uint64_t bit = at % 64, here = MIN(64 - bit, end - at);

		pageset_add_word(s, at - bit, (here == 64 ? ~UINT64_C(0) : (UINT64_C(1) << here) - 1) << bit);
		at += here;
	}
}

bool pageset_has(const struct pageset *s, uint64_t page)
{
	return page < s->pages && s->word[page / 64] >> page % 64 & 1;
}

uint64_t pageset_next(const struct pageset *s, uint64_t from, uint64_t end)
{
	uint64_t last = MIN(end, s->pages);

	while (from < last) {
		uint64_t bits = s->word[from / 64] >> from % 64;

		if (bits && from + (uint64_t)__builtin_ctzll(bits) < last)
			return from + (uint64_t)__builtin_ctzll(bits);
		from = (from / 64 + 1) * 64;
	}
	return end;
}

uint64_t pageset_count(const struct pageset *s)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < words(s); i++)
		n += (uint64_t)__builtin_popcountll(s->word[i]);
	return n;
}

void pageset_clear(struct pageset *s)
{
	for (uint64_t i = 0; i < words(s); i++)
		if (s->word[i])
			s->word[i] = 0;
}

void pageset_or(struct pageset *s, const struct pageset *other)
{
	for (uint64_t i = 0; i < MIN(words(s), words(other)); i++)
		if (other->word[i])
			pageset_add_word(s, i * 64, other->word[i]);
}

void pageset_and(struct pageset *s, const struct pageset *other)
{
	for (uint64_t i = 0; i < words(s); i++)
		s->word[i] &= i < words(other) ? other->word[i] : 0;
}

void pageset_subtract(struct pageset *s, const struct pageset *other)
{
	for (uint64_t i = 0; i < MIN(words(s), words(other)); i++)
		s->word[i] &= ~other->word[i];
}

void pageset_move(struct pageset *s, struct pageset *from)
{
	for (uint64_t i = 0; i < words(s); i++)
		if (from->word[i])
			pageset_add_word(s, i * 64, atomic_exchange(&from->word[i], 0));
}
