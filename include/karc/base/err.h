/* SPDX-License-Identifier: MIT */
/*
 * Error pointers: the last MAX_ERRNO addresses stand for errno values.
 *
 * Under the analyzer IS_ERR lets its pointer escape on the error branch: there is no reference
 * in an error pointer, so none is lost when the branch returns.
 */
#ifndef KARC_BASE_ERR_H
#define KARC_BASE_ERR_H

#include <errno.h>

#include <karc/base/contract.h>
#include <karc/base/types.h>

#define MAX_ERRNO 4095

/* Kernel-internal numbers that libc does not have; they never reach a user. */
#ifndef ERESTARTSYS
#define ERESTARTSYS 512
#endif
#ifndef ERESTARTNOINTR
#define ERESTARTNOINTR 513
#endif
#ifndef ERESTARTNOHAND
#define ERESTARTNOHAND 514
#endif
#ifndef ENOIOCTLCMD
#define ENOIOCTLCMD 515
#endif
#ifndef ERESTART_RESTARTBLOCK
#define ERESTART_RESTARTBLOCK 516
#endif
#ifndef EPROBE_DEFER
#define EPROBE_DEFER 517
#endif
#ifndef ENOTSUPP
#define ENOTSUPP 524
#endif

#define IS_ERR_VALUE(x) unlikely((unsigned long)(void *)(x) >= (unsigned long)-MAX_ERRNO)

static inline void *__must_check ERR_PTR(long error)
{
	return (void *)error;
}

static inline long __must_check PTR_ERR(const void *ptr)
{
	return (long)ptr;
}

#ifdef __clang_analyzer__
/* Defined nowhere: a store to it makes the analyzer forget the pointer. */
extern void *karc_analyzer_sink;

static inline bool IS_ERR(const void *ptr)
{
	if (IS_ERR_VALUE((unsigned long)ptr)) {
		karc_analyzer_sink = (void *)ptr;
		karc_analyzer_sink = NULL;
		return true;
	}
	return false;
}

static inline bool IS_ERR_OR_NULL(const void *ptr)
{
	return !ptr || IS_ERR(ptr);
}
#else
static inline bool __must_check IS_ERR(const void *ptr)
{
	return IS_ERR_VALUE((unsigned long)ptr);
}

static inline bool __must_check IS_ERR_OR_NULL(const void *ptr)
{
	return unlikely(!ptr) || IS_ERR_VALUE((unsigned long)ptr);
}
#endif

static inline void *__must_check ERR_CAST(const void *ptr)
{
	return (void *)ptr;
}

static inline int __must_check PTR_ERR_OR_ZERO(const void *ptr)
{
	return IS_ERR(ptr) ? (int)PTR_ERR(ptr) : 0;
}

#endif
