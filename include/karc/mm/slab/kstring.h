/* SPDX-License-Identifier: MIT */
/*
 * kstring.h - copies of strings and bytes in kmalloc() memory
 *
 * Each gives memory that kfree() ends, or NULL when there is none.
 */
#ifndef KARC_MM_SLAB_KSTRING_H
#define KARC_MM_SLAB_KSTRING_H

#include <stdarg.h>

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/base/types.h>

/* Copies; NULL for NULL. */
KARC_MUST_CHECK char *kstrdup_site(const char *s, gfp_t gfp, const struct site *site);
KARC_MUST_CHECK char *kstrndup_site(const char *s, size_t max, gfp_t gfp,
				    const struct site *site);
KARC_MUST_CHECK void *kmemdup_site(const void *src, size_t len, gfp_t gfp,
				   const struct site *site);
KARC_MUST_CHECK char *kmemdup_nul_site(const char *s, size_t len, gfp_t gfp,
				       const struct site *site);
KARC_MUST_CHECK char *kvasprintf_site(gfp_t gfp, const struct site *site, const char *fmt,
				      va_list args) __printf(3, 0);
KARC_MUST_CHECK char *kasprintf_site(gfp_t gfp, const struct site *site, const char *fmt, ...)
	__printf(3, 4);
#define kstrdup(s, gfp) kstrdup_site(s, gfp, SITE())
#define kstrndup(s, max, gfp) kstrndup_site(s, max, gfp, SITE())
#define kmemdup(src, len, gfp) kmemdup_site(src, len, gfp, SITE())
#define kmemdup_nul(s, len, gfp) kmemdup_nul_site(s, len, gfp, SITE())
#define kvasprintf(gfp, fmt, args) kvasprintf_site(gfp, SITE(), fmt, args)
#define kasprintf(gfp, ...) kasprintf_site(gfp, SITE(), __VA_ARGS__)
#define kstrdup_const(s, gfp) ((const char *)kstrdup(s, gfp))

#endif
