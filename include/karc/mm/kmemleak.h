/* SPDX-License-Identifier: MIT */
/*
 * kmemleak.h - the hints that sources give to Linux's leak detector
 *
 * As in a Linux that is configured without it: nothing. karc counts what is left by itself, at
 * machine_shutdown() and in the leak reports of refcount/leaks.h, and needs no hints.
 */
#ifndef KARC_MM_KMEMLEAK_H
#define KARC_MM_KMEMLEAK_H

#include <karc/base/types.h>
#include <karc/mm/gfp.h>

#define kmemleak_init()				((void)0)
#define kmemleak_alloc(p, size, count, gfp) \
	((void)(p), (void)(size), (void)(count), (void)(gfp))
#define kmemleak_alloc_recursive(p, size, count, flags, gfp) \
	((void)(flags), kmemleak_alloc(p, size, count, gfp))
#define kmemleak_alloc_percpu(p, size, gfp)	((void)(p), (void)(size), (void)(gfp))
#define kmemleak_vmalloc(area, size, gfp)	((void)(area), (void)(size), (void)(gfp))
#define kmemleak_alloc_phys(pa, size, gfp)	((void)(pa), (void)(size), (void)(gfp))
#define kmemleak_free(p)			((void)(p))
#define kmemleak_free_recursive(p, flags)	((void)(p), (void)(flags))
#define kmemleak_free_part(p, size)		((void)(p), (void)(size))
#define kmemleak_free_part_phys(pa, size)	((void)(pa), (void)(size))
#define kmemleak_free_percpu(p)			((void)(p))
#define kmemleak_update_trace(p)		((void)(p))
#define kmemleak_not_leak(p)			((void)(p))
#define kmemleak_ignore(p)			((void)(p))
#define kmemleak_ignore_phys(pa)		((void)(pa))
#define kmemleak_scan_area(p, size, gfp)	((void)(p), (void)(size), (void)(gfp))
#define kmemleak_no_scan(p)			((void)(p))
#define kmemleak_erase(p)			((void)(p))

#endif
