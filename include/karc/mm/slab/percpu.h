/* SPDX-License-Identifier: MIT */
/*
 * percpu.h - per-CPU memory by pointer: every CPU has a copy
 *
 * The pointer is a cookie, not an address: per_cpu_ptr() and this_cpu_ptr() of karc/hw/percpu.h
 * make an address of it.
 */
#ifndef KARC_MM_SLAB_PERCPU_H
#define KARC_MM_SLAB_PERCPU_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/hw/percpu.h>
#include <karc/mm/gfp.h>

/* Largest object and largest alignment. */
#define PCPU_MIN_ALLOC_SIZE	8UL
#define PCPU_MIN_UNIT_SIZE	(32UL << 10)
#define PCPU_MAX_ALIGN		4096UL

/**
 * free_percpu - give an object back
 *
 * Takes:   the object; NULL is ignored.
 * Context: any.
 * Errors:  what is no object's start (free already, one CPU's copy, other memory): reported with
 *          the places that are known, and left alone.
 */
void free_percpu_site(void __percpu *p, const struct site *site);
#define free_percpu(p) free_percpu_site((void __percpu *)(p), SITE())

/**
 * __alloc_percpu_gfp - @size bytes for each CPU, zeroed
 *
 * Gives:   the cookie; end it with free_percpu(). Every CPU's copy has the alignment.
 * Context: any if @gfp lacks __GFP_DIRECT_RECLAIM; otherwise may sleep.
 * Errors:  NULL: no room, or a size or alignment beyond the limits.
 * Model:   Linux 6.1.
 */
KARC_MUST_CHECK void __percpu *__alloc_percpu_site(size_t size, size_t align, gfp_t gfp,
						   const struct site *site);
#define __alloc_percpu_gfp(size, align, gfp) __alloc_percpu_site(size, align, gfp, SITE())
#define __alloc_percpu(size, align) __alloc_percpu_gfp(size, align, GFP_KERNEL)
#define alloc_percpu_gfp(type, gfp) \
	((__typeof__(type) __percpu *)__alloc_percpu_gfp(sizeof(type), __alignof__(type), gfp))
#define alloc_percpu(type) alloc_percpu_gfp(type, GFP_KERNEL)

/* Does @p point into some CPU's copy of a live object? Context: any. */
bool is_dynamic_percpu_address(const void *p);

/* Objects now, and bytes of RAM that serve them (meminfo's "Percpu:"). */
unsigned long percpu_nr_objects(struct machine *m);
unsigned long percpu_bytes(struct machine *m);

/* On a variable: __free(free_percpu); see base/cleanup.h. */
DEFINE_FREE(free_percpu, void __percpu *, free_percpu(_T))

#endif
