/* SPDX-License-Identifier: MIT */
/*
 * kstring.c - copies of strings and bytes in kmalloc() memory
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/kstring.h>

void *kmemdup_site(const void *src, size_t len, gfp_t gfp, const struct site *site)
{
	void *p = kmalloc_site(len, gfp, site);

	if (p && len)
		memcpy(p, src, len);
	return p;
}

char *kmemdup_nul_site(const char *s, size_t len, gfp_t gfp, const struct site *site)
{
	char *p;

	if (!s)
		return NULL;
	p = kmalloc_site(size_add(len, 1), gfp, site);
	if (p) {
		memcpy(p, s, len);
		p[len] = '\0';
	}
	return p;
}

char *kstrdup_site(const char *s, gfp_t gfp, const struct site *site)
{
	return s ? kmemdup_nul_site(s, strlen(s), gfp, site) : NULL;
}

char *kstrndup_site(const char *s, size_t max, gfp_t gfp, const struct site *site)
{
	return s ? kmemdup_nul_site(s, strnlen(s, max), gfp, site) : NULL;
}

char *kvasprintf_site(gfp_t gfp, const struct site *site, const char *fmt, va_list args)
{
	va_list again;
	char *p;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0)
		return NULL;
	p = kmalloc_site((size_t)len + 1, gfp, site);
	if (p)
		vsnprintf(p, (size_t)len + 1, fmt, args);
	return p;
}

char *kasprintf_site(gfp_t gfp, const struct site *site, const char *fmt, ...)
{
	va_list args;
	char *p;

	va_start(args, fmt);
	p = kvasprintf_site(gfp, site, fmt, args);
	va_end(args);
	return p;
}
