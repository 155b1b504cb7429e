/* SPDX-License-Identifier: MIT */
/*
 * kasan.h - what sources ask of Linux's address sanitizer
 *
 * As in a Linux that is configured without it. Builds with the host's sanitizer mark free memory
 * themselves (mm/phys/poison.h).
 */
#ifndef KARC_MM_KASAN_H
#define KARC_MM_KASAN_H

#include <karc/base/types.h>

#define KASAN_TAG_KERNEL	0xff	/* an address without a tag */
#define KASAN_TAG_INVALID	0xfe
#define KASAN_TAG_MAX		0xfd
#define KASAN_TAG_MIN		KASAN_TAG_KERNEL	/* there are no others */

static inline bool kasan_enabled(void)
{
	return false;
}

static inline bool kasan_hw_tags_enabled(void)
{
	return false;
}

static inline bool kasan_check_byte(const void *address)
{
	(void)address;
	return true;
}

#define kasan_reset_tag(address)		(address)
#define kasan_disable_current()			((void)0)
#define kasan_enable_current()			((void)0)
#define kasan_unpoison_range(address, size)	((void)(address), (void)(size))
#define kasan_unpoison_task_stack(task)		((void)(task))
#define kasan_poison_pages(page, order, init)	((void)(page), (void)(order), (void)(init))
#define kasan_unpoison_pages(page, order, init)	((void)(page), (void)(order), (void)(init))

#endif
