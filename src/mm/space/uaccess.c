/* SPDX-License-Identifier: MIT */
/*
 * uaccess.c - the kernel's way to user memory
 *
 * What it is
 *	Copies between kernel memory and the space that is loaded on this CPU, page by page through
 *	the MMU. A page that cannot be reached ends the copy; how much was done is exact, because
 *	permission changes only at page boundaries.
 *
 * Invariants
 *	I1 no fault of a copy is left pending: it is reported by the return value
 *	I2 no pointer into this machine's memory is taken for a user address
 *	I3 a copy touches one kernel object, and of that what is meant for users
 *
 * Worst case
 *	One TLB miss and one fault for each page.
 *
 * Unlike Linux
 *	A kernel pointer is a host address and may have the number of a user mapping; it is refused
 *	by range, which makes the few user addresses in that range unreachable for the kernel.
 */
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/slab/slab.h>
#include <karc/mm/space/uaccess.h>
#include "fault_internal.h"

#define CLEAR_CHUNK	256

/* Does [addr, addr + size) touch the arena: the direct map or a window above it? */
static bool in_own_memory(unsigned long addr, unsigned long size)
{
	unsigned long arena = (unsigned long)this_cpu()->arena;

	return addr < arena + physmem_arena_bytes(this_machine()) && addr + size > arena;
}

bool access_ok(const void __user *ptr, unsigned long size)
{
	unsigned long addr = (unsigned long)ptr;

	if (size > TASK_SIZE_MAX || addr > TASK_SIZE_MAX - size)
		return false;
	return !in_own_memory(addr, max(size, 1UL));
}

/* Move @n bytes; returns how many were not. @buf NULL: only touch. */
static unsigned long user_copy(unsigned long addr, void *buf, unsigned long n,
			       enum mmu_access access)
{
	char *p = buf;

	might_sleep();
	while (n) {
		unsigned long part = min(PAGE_SIZE - offset_in_page(addr), n);

		if (mmu_access_user(addr, p, part, access)) {
			fault_take_pending(NULL);
			break;
		}
		addr += part;
		p += part;
		n -= part;
	}
	return n;
}

/* I3. A kernel buffer of the length that a caller believes it has: a BUG when it has not. */
static void check_object_size(const void *ptr, unsigned long n, bool to_user)
{
	const struct fiber *f = fiber_self();

	if (!n)
		return;
	if (ZERO_OR_NULL_PTR(ptr) || (unsigned long)ptr + (n - 1) < (unsigned long)ptr)
		karc_bug_msg(KARC_BUG_SITE(""), "usercopy: Kernel memory %s attempt detected %s %s "
			     "address (size %lu)!", to_user ? "exposure" : "overwrite",
			     to_user ? "from" : "to", ZERO_OR_NULL_PTR(ptr) ? "null" : "wrapped", n);
	if (f->stack && (u64)((const char *)ptr - f->stack) < f->stack_bytes &&
	    n > f->stack_bytes - (u64)((const char *)ptr - f->stack))
		karc_bug_msg(KARC_BUG_SITE(""), "usercopy: Kernel memory %s attempt detected %s "
			     "process stack (size %lu)!", to_user ? "exposure" : "overwrite",
			     to_user ? "from" : "to", n);
	check_heap_object(ptr, n, to_user);
}

unsigned long copy_to_user(void __user *to, const void *from, unsigned long n)
{
	check_object_size(from, n, true);
	if (!access_ok(to, n))
		return n;
	/* The MMU only reads the buffer of a store. */
	return user_copy((unsigned long)to, (void *)(unsigned long)from, n, MMU_WRITE);
}

unsigned long copy_from_user(void *to, const void __user *from, unsigned long n)
{
	unsigned long left = n;

	check_object_size(to, n, false);
	if (access_ok(from, n))
		left = user_copy((unsigned long)from, to, n, MMU_READ);
	if (unlikely(left))
		memset((char *)to + (n - left), 0, left);
	return left;
}

unsigned long clear_user(void __user *to, unsigned long n)
{
	static const char zeroes[CLEAR_CHUNK];
	unsigned long addr = (unsigned long)to;

	if (!access_ok(to, n))
		return n;
	while (n) {
		unsigned long part = min((unsigned long)CLEAR_CHUNK, n);
		unsigned long left = user_copy(addr, (void *)(unsigned long)zeroes, part,
					       MMU_WRITE);

		n -= part - left;
		addr += part - left;
		if (left)
			break;
	}
	return n;
}

/* Bytes up to the end of the page, of the count, and of the user's range. */
static unsigned long string_part(unsigned long addr, unsigned long count)
{
	return min(PAGE_SIZE - offset_in_page(addr), count);
}

long strncpy_from_user(char *dst, const char __user *src, long count)
{
	unsigned long addr = (unsigned long)src;
	long done = 0;

	if (count <= 0)
		return 0;
	check_object_size(dst, (unsigned long)count, false);
	while (done < count) {
		unsigned long part = string_part(addr, (unsigned long)(count - done));
		char *end;

		if (!access_ok((const void __user *)addr, part) ||
		    user_copy(addr, dst + done, part, MMU_READ))
			return -EFAULT;
		end = memchr(dst + done, '\0', part);
		if (end)
			return end - dst;
		done += (long)part;
		addr += part;
	}
	return done;
}

long strnlen_user(const char __user *s, long count)
{
	unsigned long addr = (unsigned long)s;
	char chunk[CLEAR_CHUNK];
	long done = 0;

	if (count <= 0)
		return 0;
	while (done < count) {
		unsigned long part = min(string_part(addr, (unsigned long)(count - done)),
					 (unsigned long)sizeof(chunk));
		char *end;

		if (!access_ok((const void __user *)addr, part) ||
		    user_copy(addr, chunk, part, MMU_READ))
			return 0;
		end = memchr(chunk, '\0', part);
		if (end)
			return done + (end - chunk) + 1;
		done += (long)part;
		addr += part;
	}
	return count + 1;
}

int check_zeroed_user(const void __user *from, size_t size)
{
	unsigned long addr = (unsigned long)from;
	char chunk[CLEAR_CHUNK];
	size_t i;

	if (!size)
		return 1;
	if (!access_ok(from, size))
		return -EFAULT;
	while (size) {
		unsigned long part = min((unsigned long)sizeof(chunk), (unsigned long)size);
		unsigned long left = user_copy(addr, chunk, part, MMU_READ);

		/* A byte that is not zero decides, also before one that cannot be read. */
		for (i = 0; i < part - left; i++)
			if (chunk[i])
				return 0;
		if (left)
			return -EFAULT;
		addr += part;
		size -= part;
	}
	return 1;
}

int copy_struct_from_user(void *dst, size_t ksize, const void __user *src, size_t usize)
{
	size_t size = min(ksize, usize);
	int ret;

	if (usize < ksize) {
		memset((char *)dst + size, 0, ksize - size);
	} else if (usize > ksize) {
		ret = check_zeroed_user((const char __user *)src + size, usize - size);
		if (ret <= 0)
			return ret ? ret : -E2BIG;
	}
	return copy_from_user(dst, src, size) ? -EFAULT : 0;
}
