/* SPDX-License-Identifier: MIT */
/*
 * Rounding, minima, powers of two, pages.
 *
 * PAGE_SHIFT, PAGE_SIZE and PAGE_MASK are spelled exactly as <sys/user.h> spells them, so that
 * both may be included in either order.  Linux's roundup() is absent: <sys/param.h> owns it.
 */
#ifndef KARC_BASE_MATH_H
#define KARC_BASE_MATH_H

#include <karc/base/types.h>

#ifndef PAGE_SHIFT
#define PAGE_SHIFT		12
#endif
#ifndef PAGE_SIZE
#define PAGE_SIZE		(1UL << PAGE_SHIFT)
#endif
#ifndef PAGE_MASK
#define PAGE_MASK		(~(PAGE_SIZE-1))
#endif

#ifndef BITS_PER_BYTE
#define BITS_PER_BYTE 8
#endif
#ifndef BITS_PER_LONG
#define BITS_PER_LONG 64
#endif
#ifndef BITS_PER_LONG_LONG
#define BITS_PER_LONG_LONG 64
#endif
#define SZ_1	0x00000001
#define SZ_512	0x00000200
#define SZ_1K	0x00000400
#define SZ_2K	0x00000800
#define SZ_4K	0x00001000
#define SZ_8K	0x00002000
#define SZ_16K	0x00004000
#define SZ_32K	0x00008000
#define SZ_64K	0x00010000
#define SZ_128K	0x00020000
#define SZ_256K	0x00040000
#define SZ_512K	0x00080000
#define SZ_1M	0x00100000
#define SZ_2M	0x00200000
#define SZ_4M	0x00400000
#define SZ_8M	0x00800000
#define SZ_16M	0x01000000
#define SZ_32M	0x02000000
#define SZ_64M	0x04000000
#define SZ_128M	0x08000000
#define SZ_256M	0x10000000
#define SZ_512M	0x20000000
#define SZ_1G	0x40000000
#define SZ_4G	0x100000000ULL

#define BITS_PER_TYPE(type) (sizeof(type) * BITS_PER_BYTE)

#define BIT(nr) (1UL << (nr))
#define BIT_ULL(nr) (1ULL << (nr))
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (BITS_PER_LONG - 1 - (high))))
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (BITS_PER_LONG_LONG - 1 - (high))))

/* Powers of two only. */
#define karc_align_mask(x, mask) (((x) + (mask)) & ~(mask))
#ifndef ALIGN
#define ALIGN(x, a) karc_align_mask((x), (__typeof__(x))(a) - 1)
#endif
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define PTR_ALIGN(p, a) ((__typeof__(p))ALIGN((unsigned long)(p), (a)))
#define PTR_ALIGN_DOWN(p, a) ((__typeof__(p))ALIGN_DOWN((unsigned long)(p), (a)))
#define round_up(x, y) ((((x) - 1) | ((__typeof__(x))((y) - 1))) + 1)
#define round_down(x, y) ((x) & ~((__typeof__(x))((y) - 1)))

#define PAGE_ALIGN(addr) ALIGN(addr, PAGE_SIZE)
#define PAGE_ALIGN_DOWN(addr) ALIGN_DOWN(addr, PAGE_SIZE)
#define PAGE_ALIGNED(addr) IS_ALIGNED((unsigned long)(addr), PAGE_SIZE)
#define offset_in_page(p) ((unsigned long)(p) & ~PAGE_MASK)

/* Any divisor. */
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define DIV_ROUND_DOWN_ULL(n, d) ((unsigned long long)(n) / (d))
#define DIV_ROUND_UP_ULL(n, d) DIV_ROUND_DOWN_ULL((unsigned long long)(n) + (d) - 1, (d))
#define DIV_ROUND_CLOSEST(x, d) ({						\
	__typeof__(x) karc_x_ = (x);						\
	__typeof__(d) karc_d_ = (d);						\
	(((__typeof__(x))-1) > 0 || ((__typeof__(d))-1) > 0 ||			\
	 ((karc_x_ > 0) == (karc_d_ > 0))) ?					\
		((karc_x_ + karc_d_ / 2) / karc_d_) :				\
		((karc_x_ - karc_d_ / 2) / karc_d_); })

/*
 * Both sides must have the same type; comparing the addresses makes the compiler say so.  The
 * names of the temporaries carry __COUNTER__, so that nested uses do not shadow each other.
 */
#define karc_paste_(a, b) a##b
#define karc_paste(a, b) karc_paste_(a, b)
#define karc_cmp_once(x, op, y, ux, uy) ({					\
	__typeof__(x) ux = (x);							\
	__typeof__(y) uy = (y);							\
	(void)(&ux == &uy);							\
	ux op uy ? ux : uy; })
#define karc_cmp(x, op, y) karc_cmp_once(x, op, y,				\
	karc_paste(karc_x_, __COUNTER__), karc_paste(karc_y_, __COUNTER__))
#define karc_cmp_t_once(type, x, op, y, ux, uy) ({				\
	type ux = (x);								\
	type uy = (y);								\
	ux op uy ? ux : uy; })
#define karc_cmp_t(type, x, op, y) karc_cmp_t_once(type, x, op, y,		\
	karc_paste(karc_x_, __COUNTER__), karc_paste(karc_y_, __COUNTER__))

#ifndef min
#define min(x, y) karc_cmp(x, <, y)
#endif
#ifndef max
#define max(x, y) karc_cmp(x, >, y)
#endif
#define min_t(type, x, y) karc_cmp_t(type, x, <, y)
#define max_t(type, x, y) karc_cmp_t(type, x, >, y)
#define min3(x, y, z) min((__typeof__(x))min(x, y), z)
#define max3(x, y, z) max((__typeof__(x))max(x, y), z)
#define min_not_zero(x, y) ({							\
	__typeof__(x) karc_mx_ = (x);						\
	__typeof__(y) karc_my_ = (y);						\
	karc_mx_ == 0 ? karc_my_ : (karc_my_ == 0 ? karc_mx_ : min(karc_mx_, karc_my_)); })
#define clamp(val, lo, hi) min((__typeof__(val))max(val, lo), hi)
#define clamp_t(type, val, lo, hi) min_t(type, max_t(type, val, lo), hi)
#define clamp_val(val, lo, hi) clamp_t(__typeof__(val), val, lo, hi)

#define swap(a, b) do {								\
	__typeof__(a) karc_swap_ = (a);						\
	(a) = (b);								\
	(b) = karc_swap_;							\
} while (0)

/* Position of the highest bit, 1-based; 0 for 0. */
static inline int fls(unsigned int x)
{
	return x ? 32 - __builtin_clz(x) : 0;
}

static inline int fls64(u64 x)
{
	return x ? 64 - __builtin_clzll(x) : 0;
}

static inline unsigned int fls_long(unsigned long x)
{
	return fls64(x);
}

/* Position of the lowest and highest bit, 0-based; undefined for 0 (ffs() is libc's). */
static inline unsigned long __ffs(unsigned long x)
{
	return __builtin_ctzl(x);
}

static inline unsigned long __fls(unsigned long x)
{
	return BITS_PER_LONG - 1 - __builtin_clzl(x);
}

/* Position of the lowest clear bit, 0-based; undefined for all ones. */
#define ffz(x) __ffs(~(unsigned long)(x))

/* Floor of the base-2 logarithm; a constant for a constant.  Undefined for 0. */
#define ilog2(n) (63 - __builtin_clzll((unsigned long long)(n)))

static inline bool is_power_of_2(unsigned long n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* Undefined for 0, and for more than half of the range. */
static inline unsigned long roundup_pow_of_two(unsigned long n)
{
	return n > 1 ? 1UL << (BITS_PER_LONG - __builtin_clzl(n - 1)) : 1UL;
}

static inline unsigned long rounddown_pow_of_two(unsigned long n)
{
	return 1UL << __fls(n);
}

/* Ceiling of the base-2 logarithm; 0 for 0 and 1. */
static inline int order_base_2(unsigned long n)
{
	return n > 1 ? fls64(n - 1) : 0;
}

/* The smallest order whose 2^order pages hold @size bytes; undefined for 0. */
static inline int get_order(unsigned long size)
{
	return order_base_2((size - 1) / PAGE_SIZE + 1);
}

static inline unsigned int hweight64(u64 w)
{
	return __builtin_popcountll(w);
}

static inline unsigned int hweight32(u32 w)
{
	return __builtin_popcount(w);
}

static inline unsigned int hweight16(u16 w)
{
	return __builtin_popcount(w);
}

static inline unsigned int hweight8(u8 w)
{
	return __builtin_popcount(w);
}

static inline unsigned int hweight_long(unsigned long w)
{
	return __builtin_popcountl(w);
}

#endif
