/* SPDX-License-Identifier: MIT */
/*
 * poison.h - tell AddressSanitizer which simulated memory nobody may touch
 *
 * Weak references: a library that was built without the sanitizer serves a harness built with
 * it, and without it these are a test of an address.
 */
#ifndef KARC_MM_PHYS_POISON_H
#define KARC_MM_PHYS_POISON_H

#include <karc/base/types.h>

void __asan_poison_memory_region(void const volatile *addr, size_t size_bytes) __weak;
void __asan_unpoison_memory_region(void const volatile *addr, size_t size_bytes) __weak;

static inline bool mem_poison_active(void)
{
	return __asan_poison_memory_region != NULL;
}

static inline void mem_poison(const volatile void *p, size_t size_bytes)
{
	if (unlikely(mem_poison_active()))
		__asan_poison_memory_region(p, size_bytes);
}

static inline void mem_unpoison(const volatile void *p, size_t size_bytes)
{
	if (unlikely(mem_poison_active()))
		__asan_unpoison_memory_region(p, size_bytes);
}

#endif
