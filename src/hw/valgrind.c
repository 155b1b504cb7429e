/* SPDX-License-Identifier: MIT */
/*
 * valgrind.c - client requests to Valgrind's memcheck, if its headers were there at build time
 *
 * A request is a few instructions that do nothing on a real CPU; none of them is on a fast path.
 * Unlike Linux    The kernel has KASAN and KMSAN for this.
 */
#include <karc/hw/valgrind.h>

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define HAVE_VALGRIND
#endif
#endif

#ifdef HAVE_VALGRIND

bool valgrind_is_here(void)
{
	return RUNNING_ON_VALGRIND != 0;
}

void valgrind_noaccess(const void *p, size_t bytes)
{
	(void)VALGRIND_MAKE_MEM_NOACCESS(p, bytes);
}

void valgrind_undefined(const void *p, size_t bytes)
{
	(void)VALGRIND_MAKE_MEM_UNDEFINED(p, bytes);
}

void valgrind_defined(const void *p, size_t bytes)
{
	(void)VALGRIND_MAKE_MEM_DEFINED(p, bytes);
}

unsigned int valgrind_name_block(const void *p, size_t bytes, const char *text)
{
	return (unsigned int)VALGRIND_CREATE_BLOCK(p, bytes, text);
}

void valgrind_forget_block(unsigned int block)
{
	(void)VALGRIND_DISCARD(block);
}

void valgrind_bad_free(const void *p)
{
	VALGRIND_FREELIKE_BLOCK(p, 0);
}

unsigned int valgrind_add_stack(const void *low, const void *high)
{
	return (unsigned int)VALGRIND_STACK_REGISTER(low, high);
}

void valgrind_drop_stack(unsigned int stack)
{
	VALGRIND_STACK_DEREGISTER(stack);
}

#else

bool valgrind_is_here(void)
{
	return false;
}

void valgrind_noaccess(const void *p, size_t bytes)
{
	(void)p, (void)bytes;
}

void valgrind_undefined(const void *p, size_t bytes)
{
	(void)p, (void)bytes;
}

void valgrind_defined(const void *p, size_t bytes)
{
	(void)p, (void)bytes;
}

unsigned int valgrind_name_block(const void *p, size_t bytes, const char *text)
{
	(void)p, (void)bytes, (void)text;
	return 0;
}

void valgrind_forget_block(unsigned int block)
{
	(void)block;
}

void valgrind_bad_free(const void *p)
{
	(void)p;
}

unsigned int valgrind_add_stack(const void *low, const void *high)
{
	(void)low, (void)high;
	return 0;
}

void valgrind_drop_stack(unsigned int stack)
{
	(void)stack;
}

#endif
