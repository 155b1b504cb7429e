/* SPDX-License-Identifier: MIT */
/*
 * Atomic counters, exchanges and barriers, with Linux's names and ordering rules:
 *
 * - atomic_read, atomic_set and operations without a result order nothing (relaxed);
 * - operations with a result are fully ordered, unless the name ends in _relaxed, _acquire or
 *   _release; a conditional operation that fails orders nothing.
 *
 * Full order is __ATOMIC_SEQ_CST on the operation itself.  That is what x86 needs; the
 * difference to Linux's "a full barrier on both sides" can be seen on other machines only by code
 * that pairs such an operation with plain accesses around it, and smp_mb__before_atomic() and
 * smp_mb__after_atomic() cover that.
 *
 * A handful of names (atomic_fetch_add ...) are macros in <stdatomic.h>.  Including that header
 * hides these functions, never breaks them: libc wins, and karc's headers do not use those names.
 */
#ifndef KARC_BASE_ATOMIC_H
#define KARC_BASE_ATOMIC_H

#include <karc/base/site.h>
#include <karc/base/types.h>

/*
 * Steps: the places where interleavings of tasks can differ, for hw/explore.h. One stands before
 * each atomic access of a protocol, and before a plain access that may race when the protocol is
 * wrong. Code compiled with -DKARC_EXPLORE calls the hook there; elsewhere a step is nothing.
 *
 *	KARC_STEP()		may touch anything
 *	KARC_STEP_READ(p)	is about to read *@p
 *	KARC_STEP_WRITE(p)	is about to change *@p, reading it or not
 *	KARC_STEP_BYTES(p, n, how)	the same for @n bytes from @p on, with KARC_READS or KARC_WRITES
 *	KARC_STEP_EVENT(p, how)	stands for something that @p names and that is no word in memory
 *	KARC_STEPPED(p, how)	the pointer @p, for use in the access itself
 */
#define KARC_READS	0u
#define KARC_WRITES	1u

/* Of the explorer, if there is one in the process. */
void karc_step_hook(const struct site *site, const volatile void *p, unsigned long bytes,
		    unsigned int how) __attribute__((weak));

#ifdef KARC_EXPLORE
#define KARC_STEP_BYTES(p, n, how) \
	(karc_step_hook ? karc_step_hook(SITE(), (p), (n), (how)) : (void)0)
#define KARC_STEPPED(p, how) (__extension__ ({					\
	__typeof__(p) karc_stepped_ = (p);					\
	KARC_STEP_BYTES(karc_stepped_, sizeof(*karc_stepped_), how);		\
	karc_stepped_; }))
/* A value first: its own steps come before this one's. */
#define KARC_VALUE_FIRST(p, v, then) (__extension__ ({				\
	__typeof__(*(p)) karc_value_ = (v);					\
	then; }))
#else
#define KARC_STEP_BYTES(p, n, how)	((void)0)
#define KARC_STEPPED(p, how)		(p)
#endif
#define KARC_STEP()			KARC_STEP_BYTES((void *)0, 0, KARC_WRITES)
#define KARC_STEP_READ(p)		KARC_STEP_BYTES((p), sizeof(*(p)), KARC_READS)
#define KARC_STEP_WRITE(p)		KARC_STEP_BYTES((p), sizeof(*(p)), KARC_WRITES)
#define KARC_STEP_EVENT(p, how)		KARC_STEP_BYTES((p), 0, how)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

typedef struct {
	long counter;
} atomic_long_t;

#define ATOMIC_INIT(i) { (i) }
#define ATOMIC64_INIT(i) { (i) }
#define ATOMIC_LONG_INIT(i) { (i) }

/*
 * Barriers.  The thread sanitizer does not model fences and gcc says so at each one; under it
 * they are functions in which that warning is off.
 */
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
static inline void smp_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void smp_rmb(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void smp_wmb(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}
#pragma GCC diagnostic pop
#else
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif
#define mb() smp_mb()
#define rmb() smp_rmb()
#define wmb() smp_wmb()
#define smp_mb__before_atomic() smp_mb()
#define smp_mb__after_atomic() smp_mb()
#define smp_load_acquire(p) __atomic_load_n(KARC_STEPPED(p, KARC_READS), __ATOMIC_ACQUIRE)
#ifdef KARC_EXPLORE
#define karc_store(p, v, order) KARC_VALUE_FIRST(p, v,				\
	__atomic_store_n(KARC_STEPPED(p, KARC_WRITES), karc_value_, order))
#define karc_xchg(p, v, order) KARC_VALUE_FIRST(p, v,				\
	__atomic_exchange_n(KARC_STEPPED(p, KARC_WRITES), karc_value_, order))
#else
#define karc_store(p, v, order) __atomic_store_n((p), (v), order)
#define karc_xchg(p, v, order) __atomic_exchange_n((p), (v), order)
#endif
#define smp_store_release(p, v) karc_store(p, v, __ATOMIC_RELEASE)
#define smp_store_mb(var, value) karc_store(&(var), value, __ATOMIC_SEQ_CST)

/* Exchanges on any scalar; the result is the old value. */
#define xchg(ptr, v) karc_xchg(ptr, v, __ATOMIC_SEQ_CST)
#define xchg_relaxed(ptr, v) karc_xchg(ptr, v, __ATOMIC_RELAXED)
#define xchg_acquire(ptr, v) karc_xchg(ptr, v, __ATOMIC_ACQUIRE)
#define xchg_release(ptr, v) karc_xchg(ptr, v, __ATOMIC_RELEASE)

#define karc_cmpxchg(ptr, old, new, order) (__extension__ ({			\
	__typeof__(*(ptr)) karc_old_ = (old);					\
	karc_try_cmpxchg(ptr, &karc_old_, new, order);				\
	karc_old_; }))
#define cmpxchg(ptr, old, new) karc_cmpxchg(ptr, old, new, __ATOMIC_SEQ_CST)
#define cmpxchg_relaxed(ptr, old, new) karc_cmpxchg(ptr, old, new, __ATOMIC_RELAXED)
#define cmpxchg_acquire(ptr, old, new) karc_cmpxchg(ptr, old, new, __ATOMIC_ACQUIRE)
#define cmpxchg_release(ptr, old, new) karc_cmpxchg(ptr, old, new, __ATOMIC_RELEASE)

/* True when exchanged; otherwise *@oldp is what was found. */
#ifdef KARC_EXPLORE
#define karc_try_cmpxchg(ptr, oldp, new, order) KARC_VALUE_FIRST(ptr, new,	\
	__atomic_compare_exchange_n(KARC_STEPPED(ptr, KARC_WRITES), (oldp), karc_value_, 0, \
				    order, __ATOMIC_RELAXED))
#else
#define karc_try_cmpxchg(ptr, oldp, new, order) \
	__atomic_compare_exchange_n((ptr), (oldp), (new), 0, order, __ATOMIC_RELAXED)
#endif
#define try_cmpxchg(ptr, oldp, new) karc_try_cmpxchg(ptr, oldp, new, __ATOMIC_SEQ_CST)
#define try_cmpxchg_relaxed(ptr, oldp, new) karc_try_cmpxchg(ptr, oldp, new, __ATOMIC_RELAXED)
#define try_cmpxchg_acquire(ptr, oldp, new) karc_try_cmpxchg(ptr, oldp, new, __ATOMIC_ACQUIRE)
#define try_cmpxchg_release(ptr, oldp, new) karc_try_cmpxchg(ptr, oldp, new, __ATOMIC_RELEASE)

/*
 * The families below are the same code for three types: P is the prefix (atomic, atomic64,
 * atomic_long), T the integer.  Names in parentheses, because <stdatomic.h> may have made macros
 * of them.
 */

#define KARC_COUNTER(v) KARC_STEPPED(&(v)->counter, KARC_WRITES)
#define KARC_COUNTER_READ(v) KARC_STEPPED(&(v)->counter, KARC_READS)

/* One ordering of the operations that return something; S is "", _relaxed, _acquire, _release. */
#define KARC_ATOMIC_ORDERED(P, T, S, order)					\
static inline T P##_add_return##S(T i, P##_t *v)				\
{										\
	return __atomic_add_fetch(KARC_COUNTER(v), i, order);			\
}										\
static inline T P##_sub_return##S(T i, P##_t *v)				\
{										\
	return __atomic_sub_fetch(KARC_COUNTER(v), i, order);			\
}										\
static inline T P##_inc_return##S(P##_t *v)					\
{										\
	return __atomic_add_fetch(KARC_COUNTER(v), 1, order);			\
}										\
static inline T P##_dec_return##S(P##_t *v)					\
{										\
	return __atomic_sub_fetch(KARC_COUNTER(v), 1, order);			\
}										\
static inline T (P##_fetch_add##S)(T i, P##_t *v)				\
{										\
	return __atomic_fetch_add(KARC_COUNTER(v), i, order);			\
}										\
static inline T (P##_fetch_sub##S)(T i, P##_t *v)				\
{										\
	return __atomic_fetch_sub(KARC_COUNTER(v), i, order);			\
}										\
static inline T P##_fetch_inc##S(P##_t *v)					\
{										\
	return __atomic_fetch_add(KARC_COUNTER(v), 1, order);			\
}										\
static inline T P##_fetch_dec##S(P##_t *v)					\
{										\
	return __atomic_fetch_sub(KARC_COUNTER(v), 1, order);			\
}										\
static inline T (P##_fetch_and##S)(T i, P##_t *v)				\
{										\
	return __atomic_fetch_and(KARC_COUNTER(v), i, order);			\
}										\
static inline T P##_fetch_andnot##S(T i, P##_t *v)				\
{										\
	return __atomic_fetch_and(KARC_COUNTER(v), ~i, order);			\
}										\
static inline T (P##_fetch_or##S)(T i, P##_t *v)				\
{										\
	return __atomic_fetch_or(KARC_COUNTER(v), i, order);			\
}										\
static inline T (P##_fetch_xor##S)(T i, P##_t *v)				\
{										\
	return __atomic_fetch_xor(KARC_COUNTER(v), i, order);			\
}										\
static inline T P##_xchg##S(P##_t *v, T new_value)				\
{										\
	return __atomic_exchange_n(KARC_COUNTER(v), new_value, order);		\
}										\
static inline T P##_cmpxchg##S(P##_t *v, T old, T new_value)			\
{										\
	__atomic_compare_exchange_n(KARC_COUNTER(v), &old, new_value, 0, order, \
				    __ATOMIC_RELAXED);				\
	return old;								\
}										\
static inline bool P##_try_cmpxchg##S(P##_t *v, T *old, T new_value)		\
{										\
	return __atomic_compare_exchange_n(KARC_COUNTER(v), old, new_value, 0, order, \
					   __ATOMIC_RELAXED);			\
}

/* Loads, stores and operations without a result. */
#define KARC_ATOMIC_PLAIN(P, T)							\
static inline T P##_read(const P##_t *v)					\
{										\
	return __atomic_load_n(KARC_COUNTER_READ(v), __ATOMIC_RELAXED);		\
}										\
static inline T P##_read_acquire(const P##_t *v)				\
{										\
	return __atomic_load_n(KARC_COUNTER_READ(v), __ATOMIC_ACQUIRE);		\
}										\
static inline void P##_set(P##_t *v, T i)					\
{										\
	__atomic_store_n(KARC_COUNTER(v), i, __ATOMIC_RELAXED);			\
}										\
static inline void P##_set_release(P##_t *v, T i)				\
{										\
	__atomic_store_n(KARC_COUNTER(v), i, __ATOMIC_RELEASE);			\
}										\
static inline void P##_add(T i, P##_t *v)					\
{										\
	__atomic_fetch_add(KARC_COUNTER(v), i, __ATOMIC_RELAXED);			\
}										\
static inline void P##_sub(T i, P##_t *v)					\
{										\
	__atomic_fetch_sub(KARC_COUNTER(v), i, __ATOMIC_RELAXED);			\
}										\
static inline void P##_inc(P##_t *v)						\
{										\
	__atomic_fetch_add(KARC_COUNTER(v), 1, __ATOMIC_RELAXED);			\
}										\
static inline void P##_dec(P##_t *v)						\
{										\
	__atomic_fetch_sub(KARC_COUNTER(v), 1, __ATOMIC_RELAXED);			\
}										\
static inline void P##_and(T i, P##_t *v)					\
{										\
	__atomic_fetch_and(KARC_COUNTER(v), i, __ATOMIC_RELAXED);			\
}										\
static inline void P##_andnot(T i, P##_t *v)					\
{										\
	__atomic_fetch_and(KARC_COUNTER(v), ~i, __ATOMIC_RELAXED);			\
}										\
static inline void P##_or(T i, P##_t *v)					\
{										\
	__atomic_fetch_or(KARC_COUNTER(v), i, __ATOMIC_RELAXED);			\
}										\
static inline void P##_xor(T i, P##_t *v)					\
{										\
	__atomic_fetch_xor(KARC_COUNTER(v), i, __ATOMIC_RELAXED);			\
}

/* Tests and conditional operations; the fetch_ forms return what was there before. */
#define KARC_ATOMIC_CONDITIONAL(P, T)						\
static inline bool P##_sub_and_test(T i, P##_t *v)				\
{										\
	return P##_sub_return(i, v) == 0;					\
}										\
static inline bool P##_dec_and_test(P##_t *v)					\
{										\
	return P##_dec_return(v) == 0;						\
}										\
static inline bool P##_inc_and_test(P##_t *v)					\
{										\
	return P##_inc_return(v) == 0;						\
}										\
static inline bool P##_add_negative(T i, P##_t *v)				\
{										\
	return P##_add_return(i, v) < 0;					\
}										\
static inline T P##_fetch_add_unless(P##_t *v, T a, T u)			\
{										\
	T old = P##_read(v), sum;						\
										\
	do {									\
		if (old == u)							\
			break;							\
		(void)__builtin_add_overflow(old, a, &sum);			\
	} while (!P##_try_cmpxchg(v, &old, sum));				\
	return old;								\
}										\
static inline bool P##_add_unless(P##_t *v, T a, T u)				\
{										\
	return P##_fetch_add_unless(v, a, u) != u;				\
}										\
static inline bool P##_inc_not_zero(P##_t *v)					\
{										\
	return P##_add_unless(v, 1, 0);						\
}										\
static inline bool P##_inc_unless_negative(P##_t *v)				\
{										\
	T old = P##_read(v), sum;						\
										\
	do {									\
		if (old < 0)							\
			return false;						\
		(void)__builtin_add_overflow(old, 1, &sum);			\
	} while (!P##_try_cmpxchg(v, &old, sum));				\
	return true;								\
}										\
static inline bool P##_dec_unless_positive(P##_t *v)				\
{										\
	T old = P##_read(v), rest;						\
										\
	do {									\
		if (old > 0)							\
			return false;						\
		(void)__builtin_sub_overflow(old, 1, &rest);			\
	} while (!P##_try_cmpxchg(v, &old, rest));				\
	return true;								\
}										\
/* The value less one; stored only when that is not negative. */		\
static inline T P##_dec_if_positive(P##_t *v)					\
{										\
	T old = P##_read(v), rest;						\
										\
	do {									\
		(void)__builtin_sub_overflow(old, 1, &rest);			\
		if (rest < 0)							\
			break;							\
	} while (!P##_try_cmpxchg(v, &old, rest));				\
	return rest;								\
}

#define KARC_ATOMIC_FAMILY(P, T)						\
	KARC_ATOMIC_PLAIN(P, T)							\
	KARC_ATOMIC_ORDERED(P, T, , __ATOMIC_SEQ_CST)				\
	KARC_ATOMIC_ORDERED(P, T, _relaxed, __ATOMIC_RELAXED)			\
	KARC_ATOMIC_ORDERED(P, T, _acquire, __ATOMIC_ACQUIRE)			\
	KARC_ATOMIC_ORDERED(P, T, _release, __ATOMIC_RELEASE)			\
	KARC_ATOMIC_CONDITIONAL(P, T)

KARC_ATOMIC_FAMILY(atomic, int)
KARC_ATOMIC_FAMILY(atomic64, s64)
KARC_ATOMIC_FAMILY(atomic_long, long)

#undef KARC_ATOMIC_FAMILY
#undef KARC_ATOMIC_CONDITIONAL
#undef KARC_ATOMIC_PLAIN
#undef KARC_ATOMIC_ORDERED

#endif
