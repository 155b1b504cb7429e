/* SPDX-License-Identifier: MIT */
/*
 * switch_generic.c - leave one stack, continue on another, where no assembler is written for it
 *
 * A saved stack pointer is a ucontext_t on the stack that was left. Slower by two system calls a
 * switch (swapcontext keeps the signal mask), otherwise the same.
 */
#if !defined(__x86_64__)

#include <ucontext.h>

#include "internal.h"

void *switch_new_stack(char *low, u64 bytes, void (*entry)(void))
{
	ucontext_t *context = (ucontext_t *)low;
	u64 used = (sizeof(*context) + 63) & ~63ULL;

	getcontext(context);
	context->uc_stack.ss_sp = low + used;
	context->uc_stack.ss_size = bytes - used;
	context->uc_link = NULL;
	makecontext(context, entry, 0);
	return context;
}

void switch_stacks(void **save_sp, void *load_sp)
{
	ucontext_t here;

	*save_sp = &here;
	swapcontext(&here, load_sp);
}

u64 switch_saved_fp(const void *sp)
{
	(void)sp;
	return 0;
}

#else
/* Standard C wants a declaration in each file. */
struct machine;
#endif
