/* SPDX-License-Identifier: Apache-2.0 */
#include "kit.h"

void *memcpy(void *dst, const void *src, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n)::"memory");
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)*a - (uint8_t)*b;
}

bool starts_with(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

uint64_t to_number(const char *s)
{
	uint64_t n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (uint64_t)(*s++ - '0');
	return n;
}

struct out {
	char *p, *end;
};

static void put(struct out *o, char c)
{
	if (o->p < o->end)
		*o->p++ = c;
}

static void put_number(struct out *o, uint64_t n, unsigned int base)
{
	char digits[24];
	int i = 0;

	do
		digits[i++] = "0123456789abcdef"[n % base];
	while (n /= base);
	while (i)
		put(o, digits[--i]);
}

static void put_string(struct out *o, const char *s)
{
	while (*s)
		put(o, *s++);
}

int format(char *buf, size_t size, const char *fmt, __builtin_va_list ap)
{
	struct out o = { buf, buf + size - 1 };

	for (; *fmt; fmt++) {
		int64_t d;

		if (*fmt != '%') {
			put(&o, *fmt);
			continue;
		}
		switch (*++fmt) {
		case 's':
			put_string(&o, __builtin_va_arg(ap, const char *));
			break;
		case 'c':
			put(&o, (char)__builtin_va_arg(ap, uint64_t));
			break;
		case 'x':
			put_number(&o, __builtin_va_arg(ap, uint64_t), 16);
			break;
		case 'd':
			d = __builtin_va_arg(ap, int64_t);
			if (d < 0)
				put(&o, '-');
			put_number(&o, (uint64_t)(d < 0 ? -d : d), 10);
			break;
		case 'u':
			put_number(&o, __builtin_va_arg(ap, uint64_t), 10);
			break;
		default:
			put(&o, '%');
		}
	}
	*o.p = 0;
	return (int)(o.p - buf);
}

int text(char *buf, size_t size, const char *fmt, ...)
{
	__builtin_va_list ap;
	int n;

	__builtin_va_start(ap, fmt);
	n = format(buf, size, fmt, ap);
	__builtin_va_end(ap);
	return n;
}
