/* SPDX-License-Identifier: MIT */
/*
 * uaccess.h - the kernel's way to user memory
 *
 * A __user pointer is a simulated address, never dereferenced. The copies go through the MMU and
 * the fault path of the space that is loaded on this CPU, as a store of the program would.
 */
#ifndef KARC_MM_SPACE_UACCESS_H
#define KARC_MM_SPACE_UACCESS_H

#include <karc/base/compiler.h>
#include <karc/base/err.h>
#include <karc/base/types.h>

/**
 * access_ok - may [@addr, @addr + @size) be user memory at all?
 * False beyond the user's part of the range, on wrap-around, and for a pointer into this machine's
 * own memory, whose host number may look like a user address.
 */
bool access_ok(const void __user *addr, unsigned long size);

/*
 * Copies. Returned is the number of bytes that could NOT be copied, 0 = all; copy_from_user()
 * zeroes the rest of @to. Context: may sleep.
 */
unsigned long __must_check copy_to_user(void __user *to, const void *from, unsigned long n);
unsigned long __must_check copy_from_user(void *to, const void __user *from, unsigned long n);
unsigned long __must_check clear_user(void __user *to, unsigned long n);

/*
 * strncpy_from_user: up to @count bytes with the final NUL; length without it, @count when there
 * was none, -EFAULT. strnlen_user: length with the NUL, @count + 1 when longer, 0 on a fault.
 */
long __must_check strncpy_from_user(char *dst, const char __user *src, long count);
long __must_check strnlen_user(const char __user *s, long count);

/* 1 when all bytes are zero, 0 when one is not, -EFAULT. */
int __must_check check_zeroed_user(const void __user *from, size_t size);

/**
 * copy_struct_from_user - a struct of @usize bytes from a caller with other headers
 * Returns: 0; -E2BIG when the caller's is longer and its tail is not zero; -EFAULT.
 */
int __must_check copy_struct_from_user(void *dst, size_t ksize, const void __user *src,
				       size_t usize);

/* One scalar. 0 or -EFAULT; get_user() then sets @x to 0. */
#define get_user(x, ptr) (__extension__ ({					\
	__typeof__(*(ptr)) karc_gu_val_;					\
	int karc_gu_err_ = 0;							\
	static_assert(sizeof(*(ptr)) <= 8, "get_user() moves one scalar");	\
	if (copy_from_user(&karc_gu_val_, (const void __user *)(ptr),		\
			   sizeof(karc_gu_val_)))				\
		karc_gu_err_ = -EFAULT;						\
	(x) = (__typeof__(x))karc_gu_val_;					\
	karc_gu_err_; }))

#define put_user(x, ptr) (__extension__ ({					\
	__typeof__(*(ptr)) karc_pu_val_ = (__typeof__(*(ptr)))(x);		\
	static_assert(sizeof(*(ptr)) <= 8, "put_user() moves one scalar");	\
	copy_to_user((void __user *)(ptr), &karc_pu_val_, sizeof(karc_pu_val_)) \
		? -EFAULT : 0; }))

#define __get_user(x, ptr) get_user(x, ptr)
#define __put_user(x, ptr) put_user(x, ptr)
#define __copy_to_user(to, from, n) copy_to_user(to, from, n)
#define __copy_from_user(to, from, n) copy_from_user(to, from, n)
#define __clear_user(to, n) clear_user(to, n)

#endif
