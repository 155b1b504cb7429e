/* SPDX-License-Identifier: MIT */
/*
 * Ownership and locking contracts that a compiler or an analyzer can read.
 *
 * Prose says: a function *gives* a reference (the caller owns it now), *takes* one (the callee
 * consumes the caller's, on failure too) or *borrows* (valid for the call).  The words below say
 * the same to the static analyzer (`ninja analyze`) and mean nothing to any other compiler.
 *
 *	KARC_COUNTED(file);
 *	KARC_GIVES struct file *get_file(KARC_LENT(file) *file);
 *	void fput(KARC_TAKES struct file *file) KARC_PUTS(1);
 *
 * What makes this work without false reports (each point was measured):
 *
 * - What acquires returns the pointer it acquired and the caller goes on with the result.  No
 *   boolean get, no owned reference through an out-parameter.
 * - Failure is NULL.  A put takes the pointer, accepts NULL and returns void.
 * - A function that takes a reference takes it on every path.
 * - No function pointer is a direct member of a counted struct: the analyzer then takes every
 *   reference for escaped.  Callbacks sit one struct deeper or behind `const struct x_ops *`.
 * - Bodies of get, put and new are hidden with KARC_BODY(): a body in view cancels the promise.
 * - Where a Linux name counts on the pointer it was given and its result is ignored
 *   (`get_page(p);`), see KARC_RETAINS().
 */
#ifndef KARC_BASE_CONTRACT_H
#define KARC_BASE_CONTRACT_H

#ifdef __clang_analyzer__

/* The result carries a reference that the caller owns and must put or give on. */
#define KARC_GIVES __attribute__((annotate("rc_ownership_returns_retained")))

/* The result is borrowed: the caller must not put it. */
#define KARC_LENDS __attribute__((annotate("rc_ownership_returns_not_retained")))

/* On a parameter: the callee consumes the caller's reference, whatever it returns. */
#define KARC_TAKES __attribute__((annotate("rc_ownership_consumed")))

/*
 * On a function, beside KARC_TAKES: parameter @n (1 is the first) is dead after the call, so
 * that reading its fields is a finding.  KARC_PUTS is for the one put of a type, and not for types
 * that use KARC_RETAINS(): there a put need not be the end of the pointer.
 */
#define KARC_PUTS(n) __attribute__((ownership_takes(malloc, n)))

/* On a function: a container now holds parameter @n; the caller may read but not put it. */
#define KARC_HOLDS(n) __attribute__((ownership_holds(malloc, n)))

/*
 * KARC_COUNTED(x), once per counted type, then KARC_LENT(x) for the type of borrowed parameters:
 * the analyzer tracks a parameter only when its type is spelled isl_*.
 */
#define KARC_COUNTED(name) typedef struct name isl_##name
#define KARC_LENT(name) isl_##name

/*
 * For types whose Linux names count on the pointer they are given and whose result nobody uses
 * (get_page, kref_get, kobject_get, mmget): a model of `get` that adds one to that very pointer.
 * In the header, after the real declaration:
 *
 *	#ifdef __clang_analyzer__
 *	KARC_RETAINS(page);
 *	#define get_page(page) KARC_RETAIN(page, page)
 *	#endif
 *
 * The analyzer knows such functions by their name: CF...Retain.  The result is the argument.
 */
#define KARC_RETAINS(name) void *CF_karc_##name##_Retain(struct name *ptr)
#define KARC_RETAIN(name, ptr) CF_karc_##name##_Retain(ptr)

/* On a pointer type (`struct x *KARC_NULLABLE try_get(...)`): the result must be tested. */
#define KARC_NULLABLE _Nullable

/* Around the name in the definition of a get, put or new: hides that body from the analyzer. */
#define KARC_BODY(name) karc_hidden_body_of_##name

#else

#define KARC_GIVES
#define KARC_LENDS
#define KARC_TAKES
#define KARC_PUTS(n)
#define KARC_HOLDS(n)
#define KARC_COUNTED(name) struct name
#define KARC_LENT(name) struct name
#define KARC_NULLABLE
#define KARC_BODY(name) name

#endif

/* The result tells about failure (or is an owned reference) and may not be dropped. */
#define KARC_MUST_CHECK __attribute__((__warn_unused_result__))

/*
 * On an allocator of plain, uncounted memory: only @freefn, given the pointer as argument @n, may
 * free it.  gcc reports mix-ups at compile time; @freefn must have been declared already.
 */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define KARC_MALLOC(freefn, n) __attribute__((__malloc__, __malloc__(freefn, n)))
#else
#define KARC_MALLOC(freefn, n) __attribute__((__malloc__))
#endif

/*
 * Locks, for clang's -Wthread-safety; the arguments name a lock through an accessor function,
 * as in KARC_REQUIRES(mm_lock_of(mm)): a member path fails on a struct that is only declared.
 *
 *	KARC_CAPABILITY("spinlock")	on a lock type
 *	KARC_REQUIRES(lock)		the caller holds it
 *	KARC_ACQUIRES(lock)		held on return
 *	KARC_TRY_ACQUIRES(ok, lock)	held on return when the result is @ok
 *	KARC_RELEASES(lock)		held on entry, not on return
 *	KARC_EXCLUDES(lock)		the caller does not hold it
 *	KARC_LOCK_BODY			on the functions that implement a lock: not checked
 */
#ifdef __clang__
#define KARC_CAPABILITY(name) __attribute__((capability(name)))
#define KARC_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define KARC_ACQUIRES(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define KARC_TRY_ACQUIRES(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define KARC_RELEASES(...) __attribute__((release_capability(__VA_ARGS__)))
#define KARC_EXCLUDES(...) __attribute__((locks_excluded(__VA_ARGS__)))
#define KARC_LOCK_BODY __attribute__((no_thread_safety_analysis))
#else
#define KARC_CAPABILITY(name)
#define KARC_REQUIRES(...)
#define KARC_ACQUIRES(...)
#define KARC_TRY_ACQUIRES(...)
#define KARC_RELEASES(...)
#define KARC_EXCLUDES(...)
#define KARC_LOCK_BODY
#endif

#endif
