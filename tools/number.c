/* SPDX-License-Identifier: MIT */
#include "number.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static bool parse(const char *who, const char *text, bool suffix, uint64_t min, uint64_t max,
		  uint64_t *value)
{
	unsigned int shift = 0;
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (end == text || text[0] == '-' || text[0] == '+' || errno)
		goto bad;
	if (suffix && *end) {
		switch (*end) {
		case 'k': case 'K': shift = 10; break;
		case 'm': case 'M': shift = 20; break;
		case 'g': case 'G': shift = 30; break;
		case 't': case 'T': shift = 40; break;
		default: goto bad;
		}
		end++;
	}
	if (*end || n > UINT64_MAX >> shift)
		goto bad;
	n <<= shift;
	if (n < min || n > max) {
		unsigned int unit = suffix ? 20 : 0;

		fprintf(stderr, "%s: %s is not between %" PRIu64 "%s and %" PRIu64 "%s\n", who, text,
			min >> unit, suffix ? "M" : "", max >> unit, suffix ? "M" : "");
		return false;
	}
	*value = n;
	return true;
bad:
	fprintf(stderr, "%s: '%s' is no %s\n", who, text,
		suffix ? "size (a number with K, M, G or T)" : "number");
	return false;
}

bool number_parse(const char *who, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	return parse(who, text, false, min, max, value);
}

bool size_parse(const char *who, const char *text, uint64_t min, uint64_t max, uint64_t *bytes)
{
	return parse(who, text, true, min, max, bytes);
}
