/* SPDX-License-Identifier: MIT */
/*
 * What the compiler is told: branch hints, attributes, single accesses, container_of.
 *
 * Names are Linux's.  Where libc has the same name (__always_inline), libc's definition stands.
 * Not here although Linux has it: __used, which is a field name in libc's <spawn.h>.
 */
#ifndef KARC_BASE_COMPILER_H
#define KARC_BASE_COMPILER_H

#include <stddef.h>
#include <sys/types.h>	/* through <features.h>, libc's own __always_inline comes first */

/* The build variant; part of the layout hash, so that variants are not mixed by accident. */
#define KARC_VARIANT_RELEASE 0
#define KARC_VARIANT_DEBUG 1
#define KARC_VARIANT_ASAN 2
#define KARC_VARIANT_TSAN 3
#ifndef KARC_VARIANT
#define KARC_VARIANT KARC_VARIANT_RELEASE
#endif

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#ifndef __always_inline
#define __always_inline __inline __attribute__((__always_inline__))
#endif
#ifndef noinline
#define noinline __attribute__((__noinline__))
#endif
#ifndef __must_check
#define __must_check __attribute__((__warn_unused_result__))
#endif
#ifndef __maybe_unused
#define __maybe_unused __attribute__((__unused__))
#endif
#ifndef __noreturn
#define __noreturn __attribute__((__noreturn__))
#endif
#ifndef __packed
#define __packed __attribute__((__packed__))
#endif
#ifndef __aligned
#define __aligned(x) __attribute__((__aligned__(x)))
#endif
#ifndef __printf
#define __printf(fmt, first) __attribute__((__format__(__printf__, fmt, first)))
#endif
#ifndef __section
#define __section(name) __attribute__((__section__(name)))
#endif
#ifndef __weak
#define __weak __attribute__((__weak__))
#endif
#ifndef __cold
#define __cold __attribute__((__cold__))
#endif
#ifndef __pure
#define __pure __attribute__((__pure__))
#endif
#ifndef fallthrough
#define fallthrough __attribute__((__fallthrough__))
#endif

/* Address spaces: words for the reader, and for sparse when it reads these headers. */
#ifdef __CHECKER__
#define __user __attribute__((noderef, address_space(1)))
#define __iomem __attribute__((noderef, address_space(2)))
#define __percpu __attribute__((noderef, address_space(3)))
#define __rcu __attribute__((noderef, address_space(4)))
#define __force __attribute__((force))
#else
#ifndef __user
#define __user
#endif
#ifndef __iomem
#define __iomem
#endif
#ifndef __percpu
#define __percpu
#endif
#ifndef __rcu
#define __rcu
#endif
#ifndef __force
#define __force
#endif
#endif

#ifndef static_assert
#define static_assert _Static_assert
#endif

/* The compiler keeps no value of memory in a register across this line. */
#ifndef barrier
#define barrier() __asm__ __volatile__("" : : : "memory")
#endif

/*
 * One access, neither split, repeated nor invented.  They are relaxed atomic accesses and not
 * volatile ones, so that the thread sanitizer knows them.  Scalars only, as in Linux.
 */
#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val) __atomic_store_n(&(x), (val), __ATOMIC_RELAXED)

/* For code that looks at what others are changing and can live with any answer. */
#define __no_sanitize_thread __attribute__((no_sanitize("thread")))

#define __same_type(a, b) __builtin_types_compatible_p(__typeof__(a), __typeof__(b))

/* 0, or a compile error when @e is true; usable inside expressions. */
#define BUILD_BUG_ON_ZERO(e) ((int)sizeof(struct { int : (-!!(e)); }))
#define BUILD_BUG_ON_MSG(cond, msg) static_assert(!(cond), msg)
#define BUILD_BUG_ON(cond) static_assert(!(cond), "BUILD_BUG_ON failed: " #cond)

/* Does not compile unless the compiler sees that nobody gets here. */
#ifdef __OPTIMIZE__
#define BUILD_BUG() do {							\
	extern void karc_build_bug(void) __attribute__((error("BUILD_BUG")));	\
	karc_build_bug();							\
} while (0)
#else
#define BUILD_BUG() ((void)0)
#endif

/* The compiler forgets what it knows of the variable, or where the pointer came from. */
#define OPTIMIZER_HIDE_VAR(var) __asm__("" : "=r"(var) : "0"(var))
#define RELOC_HIDE(ptr, offset) (__extension__ ({				\
	unsigned long karc_hidden_;						\
	__asm__("" : "=r"(karc_hidden_) : "0"(ptr));				\
	(__typeof__((ptr) + 0))(karc_hidden_ + (offset)); }))

#define L1_CACHE_SHIFT	6
#define L1_CACHE_BYTES	(1 << L1_CACHE_SHIFT)
#define SMP_CACHE_BYTES	L1_CACHE_BYTES
#define ____cacheline_aligned	__attribute__((__aligned__(SMP_CACHE_BYTES)))
#define ____cacheline_aligned_in_smp	____cacheline_aligned
#define __cacheline_aligned	____cacheline_aligned
#define __read_mostly
#define __ro_after_init

#define prefetch(p)	__builtin_prefetch(p)
#define prefetchw(p)	__builtin_prefetch((p), 1)

/* For sparse; the analyzers read contract.h instead. */
#define __must_hold(lock)
#define __acquires(lock)
#define __releases(lock)

/* The enclosing object of a member; refuses a pointer of the wrong type. */
#ifndef container_of
#define container_of(ptr, type, member) ({					\
	const void *karc_member_ = (ptr);					\
	static_assert(__same_type(*(ptr), ((type *)0)->member) ||		\
		      __same_type(*(ptr), void),				\
		      "pointer type mismatch in container_of()");		\
	(type *)((char *)karc_member_ - offsetof(type, member)); })
#endif

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a) \
	(sizeof(a) / sizeof((a)[0]) + BUILD_BUG_ON_ZERO(__same_type((a), &(a)[0])))
#endif

#define sizeof_field(type, member) sizeof(((type *)0)->member)
#define offsetofend(type, member) (offsetof(type, member) + sizeof_field(type, member))
#define typeof_member(type, member) __typeof__(((type *)0)->member)

#define __stringify_1(...) #__VA_ARGS__
#define __stringify(...) __stringify_1(__VA_ARGS__)

#endif
