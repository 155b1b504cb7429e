/* SPDX-License-Identifier: MIT */
/*
 * string.h - what Linux has for strings and libc does not
 *
 * Model: Linux 6.1 <linux/string.h>, <linux/kernel.h>, <linux/kstrtox.h>.
 */
#ifndef KARC_BASE_STRING_H
#define KARC_BASE_STRING_H

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/compiler.h>
#include <karc/base/limits.h>
#include <karc/base/types.h>

/* Copy at most @size bytes with the NUL that is always there; the length, or -E2BIG if cut. */
static inline ssize_t strscpy(char *to, const char *from, size_t size)
{
	for (size_t len = 0; len < size; len++) {
		to[len] = from[len];
		if (!to[len])
			return (ssize_t)len;
	}
	if (size)
		to[size - 1] = '\0';
	return -E2BIG;
}

/* The same, and zeros up to @size. */
static inline ssize_t strscpy_pad(char *to, const char *from, size_t size)
{
	ssize_t len = strscpy(to, from, size);

	if (len >= 0)
		memset(to + len, 0, size - (size_t)len);
	return len;
}

/* The first byte that is not @byte, or NULL. */
static inline void *memchr_inv(const void *start, int byte, size_t size_bytes)
{
	const unsigned char *p = start;

	for (; size_bytes; size_bytes--, p++)
		if (*p != (unsigned char)byte)
			return (void *)p;
	return NULL;
}

/* As snprintf(), but what it wrote: never more than @size - 1. */
static inline __printf(3, 0) int vscnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
	int len = vsnprintf(buf, size, fmt, args);

	if (len < (int)size)
		return len;
	return size ? (int)size - 1 : 0;
}

static inline __printf(3, 4) int scnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vscnprintf(buf, size, fmt, args);
	va_end(args);
	return len;
}

/*
 * Text to numbers: the whole text, one newline at its end allowed. @base 0 tells by "0x" and "0".
 * Errors: -EINVAL for what is no number, -ERANGE for one that does not fit; *result stays.
 */
static inline int kstrtoull(const char *s, unsigned int base, unsigned long long *result)
{
	int had = errno, err;
	unsigned long long value;
	char *end;

	if (*s == '+')
		s++;
	if (!isxdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	value = strtoull(s, &end, (int)base);
	err = errno;
	errno = had;
	if (end == s || end[*end == '\n'] != '\0')
		return -EINVAL;
	if (err)
		return -ERANGE;
	*result = value;
	return 0;
}

static inline int kstrtoll(const char *s, unsigned int base, long long *result)
{
	bool negative = *s == '-';
	unsigned long long value;
	int err = negative && s[1] == '+' ? -EINVAL : kstrtoull(s + negative, base, &value);

	if (err)
		return err;
	if (value > (unsigned long long)S64_MAX + negative)
		return -ERANGE;
	*result = negative ? (long long)-value : (long long)value;
	return 0;
}

#define KARC_KSTRTO(name, type, wide_name, wide)				\
static inline int name(const char *s, unsigned int base, type *result)		\
{										\
	wide value;								\
	int err = wide_name(s, base, &value);					\
										\
	if (err)								\
		return err;							\
	if (value != (wide)(type)value)						\
		return -ERANGE;							\
	*result = (type)value;							\
	return 0;								\
}

KARC_KSTRTO(kstrtoul, unsigned long, kstrtoull, unsigned long long)
KARC_KSTRTO(kstrtol, long, kstrtoll, long long)
KARC_KSTRTO(kstrtouint, unsigned int, kstrtoull, unsigned long long)
KARC_KSTRTO(kstrtoint, int, kstrtoll, long long)
KARC_KSTRTO(kstrtou64, u64, kstrtoull, unsigned long long)
KARC_KSTRTO(kstrtos64, s64, kstrtoll, long long)
KARC_KSTRTO(kstrtou32, u32, kstrtoull, unsigned long long)
KARC_KSTRTO(kstrtos32, s32, kstrtoll, long long)
KARC_KSTRTO(kstrtou16, u16, kstrtoull, unsigned long long)
KARC_KSTRTO(kstrtos16, s16, kstrtoll, long long)
KARC_KSTRTO(kstrtou8, u8, kstrtoull, unsigned long long)
KARC_KSTRTO(kstrtos8, s8, kstrtoll, long long)

/* y, Y, 1, on: true. n, N, 0, off: false. What follows the first letters does not count. */
static inline int kstrtobool(const char *s, bool *result)
{
	bool o = s && (*s == 'o' || *s == 'O');
	char c = !s || !*s ? '\0' : o ? s[1] : *s;

	if (o ? c == 'n' || c == 'N' : c == 'y' || c == 'Y' || c == '1')
		*result = true;
	else if (o ? c == 'f' || c == 'F' : c == 'n' || c == 'N' || c == '0')
		*result = false;
	else
		return -EINVAL;
	return 0;
}

#endif
