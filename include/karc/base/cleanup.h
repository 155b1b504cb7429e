/* SPDX-License-Identifier: MIT */
/*
 * Ownership that ends with a scope, under the names of Linux's cleanup.h.
 *
 *	struct thing *make(void)
 *	{
 *		struct thing *t __free(kfree) = kzalloc(sizeof(*t), GFP_KERNEL);
 *
 *		if (!t)
 *			return NULL;
 *		guard(mutex)(&things_lock);
 *		if (full())
 *			return NULL;		(t is freed, after the mutex is released)
 *		add(t);
 *		return_ptr(t);			(t is the caller's)
 *	}
 *
 * However the scope is left - its end, return, break, goto - its variables are cleaned up, the
 * latest declared first. A goto must not jump over such a declaration into its scope, and a label
 * to jump to must not stand inside it; mixing goto unwinding and cleanups in one function invites
 * both.
 *
 * A variable is declared where it gets its value: NULL first and assigned later may put cleanups
 * in the wrong order.
 */
#ifndef KARC_BASE_CLEANUP_H
#define KARC_BASE_CLEANUP_H

#include <karc/base/compiler.h>
#include <karc/base/contract.h>
#include <karc/base/types.h>

#ifndef __cleanup
#ifdef __clang__	/* where a cleanup is no use of a variable */
#define __cleanup(function) __maybe_unused __attribute__((__cleanup__(function)))
#else
#define __cleanup(function) __attribute__((__cleanup__(function)))
#endif
#endif
#ifndef __PASTE
#define ___PASTE(a, b) a##b
#define __PASTE(a, b) ___PASTE(a, b)
#endif
#ifndef __UNIQUE_ID
#define __UNIQUE_ID(prefix) __PASTE(__PASTE(__UNIQUE_ID_, prefix), __COUNTER__)
#endif

/* ---- pointers ---- */

/**
 * DEFINE_FREE - say how __free(@_name) ends what a variable holds
 * @_type: of the variable, a pointer
 * @_free: statement; sees the value as _T. It should do nothing for NULL, so that the compiler can
 *         leave it out after no_free_ptr()
 */
#define DEFINE_FREE(_name, _type, _free)					\
	static inline __maybe_unused void __free_##_name(void *p) KARC_LOCK_BODY \
	{									\
		_type _T = *(_type *)p;						\
										\
		_free;								\
	}

/* On the declaration of a variable: its value is given up when its scope ends. */
#define __free(_name) __cleanup(__free_##_name)

#define __get_and_null(p, nullvalue) (__extension__ ({				\
	__auto_type karc_at_ = &(p);						\
	__auto_type karc_was_ = *karc_at_;					\
	*karc_at_ = (nullvalue);						\
	karc_was_; }))

static inline __must_check const volatile void *__must_check_fn(const volatile void *p)
{
	return p;
}

/* Takes the value out of a __free() variable: it is the caller's now, and must be used. */
#define no_free_ptr(p) \
	((__typeof__(p))__must_check_fn((__force const volatile void *)__get_and_null(p, NULL)))

#define return_ptr(p) return no_free_ptr(p)

/* For a value that somebody else has taken over already, on success: the variable forgets it. */
#define retain_and_null_ptr(p) ((void)__get_and_null(p, NULL))

/* ---- classes: a constructor and a destructor around any type ---- */

/**
 * DEFINE_CLASS - a type whose variables have a constructor and a destructor
 * @_exit: destructor's statement; sees the value as _T
 * @_init: constructor's expression; sees @_init_args, the declarations of its parameters
 *
 * CLASS(name, var)(args) then declares a variable of it.
 */
#define DEFINE_CLASS(_name, _type, _exit, _init, _init_args...)			\
	typedef _type class_##_name##_t;					\
	static inline __maybe_unused void class_##_name##_destructor(_type *p)	\
		KARC_LOCK_BODY							\
	{									\
		_type _T = *p;							\
										\
		_exit;								\
	}									\
	static inline __maybe_unused _type class_##_name##_constructor(_init_args) \
		KARC_LOCK_BODY							\
	{									\
		_type t = _init;						\
										\
		return t;							\
	}

/* Another constructor for class @_name: class @_name@ext has the same type and destructor. */
#define EXTEND_CLASS(_name, ext, _init, _init_args...)				\
	typedef class_##_name##_t class_##_name##ext##_t;			\
	static inline __maybe_unused void class_##_name##ext##_destructor(class_##_name##_t *p) \
	{									\
		class_##_name##_destructor(p);					\
	}									\
	static inline __maybe_unused class_##_name##_t				\
	class_##_name##ext##_constructor(_init_args) KARC_LOCK_BODY		\
	{									\
		class_##_name##_t t = _init;					\
										\
		return t;							\
	}

#define CLASS(_name, var)							\
	class_##_name##_t var __cleanup(class_##_name##_destructor) =		\
		class_##_name##_constructor

/* ---- guards: classes whose value is a lock that is held ---- */

#define __guard_ptr(_name) class_##_name##_lock_ptr
#define __is_cond_ptr(_name) class_##_name##_is_conditional

/*
 * What the macros below need of a guard besides: which lock a variable of it holds (NULL: none),
 * and whether it may come out without (a constant, also without optimisation).
 */
#define __DEFINE_GUARD_LOCK_PTR(_name, _conditional, _expression)		\
	enum { class_##_name##_is_conditional = (_conditional) };		\
	static inline __maybe_unused void *class_##_name##_lock_ptr(class_##_name##_t *_T) \
	{									\
		return (void *)(__force unsigned long)(_expression);		\
	}

/**
 * DEFINE_GUARD - a guard whose value is the pointer to the lock itself
 * @_type:   pointer to the lock
 * @_lock:   takes _T
 * @_unlock: releases _T
 */
#define DEFINE_GUARD(_name, _type, _lock, _unlock)				\
	DEFINE_CLASS(_name, _type, if (_T) { _unlock; },			\
		     (__extension__ ({ _lock; _T; })), _type _T)		\
	__DEFINE_GUARD_LOCK_PTR(_name, 0, *_T)

/* Class @_name@_ext: the same lock, and @_condlock says whether it was taken. */
#define DEFINE_GUARD_COND(_name, _ext, _condlock)				\
	EXTEND_CLASS(_name, _ext, (__extension__ ({				\
			     class_##_name##_t karc_held_ = _T;			\
			     if (karc_held_ && !(_condlock))			\
				     karc_held_ = NULL;				\
			     karc_held_; })), class_##_name##_t _T)		\
	__DEFINE_GUARD_LOCK_PTR(_name##_ext, 1, *_T)

/*
 * DEFINE_LOCK_GUARD_1: a guard that needs more than the pointer: _T is a pointer to
 * { @_type *lock; the members given after @_unlock }.  DEFINE_LOCK_GUARD_0: one without any lock to
 * point at, as rcu_read_lock().
 */
#define __DEFINE_UNLOCK_GUARD(_name, _type, _unlock, ...)			\
	typedef struct {							\
		_type *lock;							\
		__VA_ARGS__;							\
	} class_##_name##_t;							\
	static inline __maybe_unused void class_##_name##_destructor(class_##_name##_t *_T) \
		KARC_LOCK_BODY							\
	{									\
		if (_T->lock) {							\
			_unlock;						\
		}								\
	}									\
	__DEFINE_GUARD_LOCK_PTR(_name, 0, _T->lock)

#define DEFINE_LOCK_GUARD_1(_name, _type, _lock, _unlock, ...)			\
	__DEFINE_UNLOCK_GUARD(_name, _type, _unlock, __VA_ARGS__)		\
	static inline __maybe_unused class_##_name##_t				\
	class_##_name##_constructor(_type *l) KARC_LOCK_BODY			\
	{									\
		class_##_name##_t karc_guard_ = { .lock = l }, *_T = &karc_guard_; \
										\
		_lock;								\
		return karc_guard_;						\
	}

#define DEFINE_LOCK_GUARD_0(_name, _lock, _unlock, ...)				\
	__DEFINE_UNLOCK_GUARD(_name, void, _unlock, __VA_ARGS__)		\
	static inline __maybe_unused class_##_name##_t				\
	class_##_name##_constructor(void) KARC_LOCK_BODY			\
	{									\
		class_##_name##_t karc_guard_ = { .lock = (void *)1 };		\
		class_##_name##_t *_T __maybe_unused = &karc_guard_;		\
										\
		_lock;								\
		return karc_guard_;						\
	}

#define DEFINE_LOCK_GUARD_1_COND(_name, _ext, _condlock)			\
	EXTEND_CLASS(_name, _ext, (__extension__ ({				\
			     class_##_name##_t karc_guard_ = { .lock = l };	\
			     class_##_name##_t *_T = &karc_guard_;		\
			     if (_T->lock && !(_condlock))			\
				     _T->lock = NULL;				\
			     karc_guard_; })),					\
		     typeof_member(class_##_name##_t, lock) l)			\
	__DEFINE_GUARD_LOCK_PTR(_name##_ext, 1, _T->lock)

/* guard(mutex)(&lock): held from here to the end of the scope. */
#define guard(_name) CLASS(_name, __UNIQUE_ID(guard))

/**
 * scoped_guard - the statement or block that follows runs with the lock held
 *
 * scoped_guard(mutex, &lock) { ... }. A conditional guard that was not taken skips it; break and
 * continue leave it.
 */
#define scoped_guard(_name, args...) \
	__scoped_guard(_name, __UNIQUE_ID(scope), __UNIQUE_ID(label), args)

/*
 * One turn of a loop, written so that the compiler sees the body run: the loop has no other end
 * than the jump to its break. (gcc sees it from -O1 on; below, a function that returns only inside
 * gets a warning about its end.)
 */
#define __scoped_guard(_name, _scope, _label, args...)				\
	for (CLASS(_name, _scope)(args);					\
	     !__is_cond_ptr(_name) || __guard_ptr(_name)(&_scope);		\
	     (__extension__ ({ goto _label; })))				\
		if (0) {							\
_label:										\
			break;							\
		} else

/**
 * scoped_cond_guard - the same for a conditional guard, and @_fail when it was not taken
 *
 * scoped_cond_guard(mutex_intr, return -EINTR, &lock) { ... }
 */
#define scoped_cond_guard(_name, _fail, args...) \
	__scoped_cond_guard(_name, _fail, __UNIQUE_ID(scope), __UNIQUE_ID(label), args)

#define __scoped_cond_guard(_name, _fail, _scope, _label, args...)		\
	for (CLASS(_name, _scope)(args); 1; (__extension__ ({ goto _label; })))	\
		if (0) {							\
_label:										\
			break;							\
		} else if (!__guard_ptr(_name)(&_scope)) {			\
			BUILD_BUG_ON(!__is_cond_ptr(_name));			\
			_fail;							\
			break;							\
		} else

#endif
