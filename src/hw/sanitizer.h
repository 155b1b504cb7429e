/* SPDX-License-Identifier: MIT */
/*
 * sanitizer.h - tell ASan and TSan about stacks, if one of them is in the process
 *
 * All references are weak: a plain libkarc inside a sanitized program informs the sanitizer too.
 */
#ifndef KARC_SRC_HW_SANITIZER_H
#define KARC_SRC_HW_SANITIZER_H

#include <karc/base/types.h>
#include <karc/hw/fiber.h>

#pragma GCC visibility push(default)
extern void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom,
					   size_t size) __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom_old,
					    size_t *size_old) __attribute__((weak));
extern void __asan_unpoison_memory_region(void const volatile *addr, size_t size)
	__attribute__((weak));
extern void *__tsan_get_current_fiber(void) __attribute__((weak));
extern void *__tsan_create_fiber(unsigned int flags) __attribute__((weak));
extern void __tsan_destroy_fiber(void *fiber) __attribute__((weak));
extern void __tsan_switch_to_fiber(void *fiber, unsigned int flags) __attribute__((weak));
#pragma GCC visibility pop

static inline void *sanitizer_new_fiber(void)
{
	return __tsan_create_fiber ? __tsan_create_fiber(0) : NULL;
}

static inline void *sanitizer_current_fiber(void)
{
	return __tsan_get_current_fiber ? __tsan_get_current_fiber() : NULL;
}

static inline void sanitizer_end_fiber(void *tsan_fiber)
{
	if (tsan_fiber && __tsan_destroy_fiber)
		__tsan_destroy_fiber(tsan_fiber);
}

/* Frames that were never returned from leave poison behind. */
static inline void sanitizer_forget_stack(char *stack, size_t bytes)
{
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(stack, bytes);
}

/* Right before the switch. @fake is NULL when the running fiber will not come back. */
static inline __attribute__((always_inline)) void sanitizer_leave(void **fake,
								  struct fiber *next)
{
	if (__sanitizer_start_switch_fiber)
		__sanitizer_start_switch_fiber(fake, next->sanitizer_stack, next->sanitizer_bytes);
	if (next->sanitizer_fiber && __tsan_switch_to_fiber)
		__tsan_switch_to_fiber(next->sanitizer_fiber, 0);
}

/* Right after it. The bounds of the host thread's stack are learnt when it is left. */
static inline void sanitizer_arrived(void *fake, struct fiber *left_host)
{
	const void *bottom;
	size_t bytes;

	if (!__sanitizer_finish_switch_fiber)
		return;
	__sanitizer_finish_switch_fiber(fake, &bottom, &bytes);
	if (left_host) {
		left_host->sanitizer_stack = bottom;
		left_host->sanitizer_bytes = bytes;
	}
}

#endif
