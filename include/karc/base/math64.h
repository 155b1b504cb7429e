/* SPDX-License-Identifier: MIT */
/*
 * math64.h - division of 64-bit numbers, as sources that must run on 32-bit machines spell it
 *
 * Model: Linux 6.1 <linux/math64.h>. Dividing by 0 is a fault, as there.
 */
#ifndef KARC_BASE_MATH64_H
#define KARC_BASE_MATH64_H

#include <karc/base/types.h>

static inline u64 div_u64_rem(u64 dividend, u32 divisor, u32 *remainder)
{
	*remainder = (u32)(dividend % divisor);
	return dividend / divisor;
}

static inline s64 div_s64_rem(s64 dividend, s32 divisor, s32 *remainder)
{
	*remainder = (s32)(dividend % divisor);
	return dividend / divisor;
}

static inline u64 div64_u64_rem(u64 dividend, u64 divisor, u64 *remainder)
{
	*remainder = dividend % divisor;
	return dividend / divisor;
}

static inline u64 div64_u64(u64 dividend, u64 divisor)
{
	return dividend / divisor;
}

static inline s64 div64_s64(s64 dividend, s64 divisor)
{
	return dividend / divisor;
}

static inline u64 div_u64(u64 dividend, u32 divisor)
{
	return dividend / divisor;
}

static inline s64 div_s64(s64 dividend, s32 divisor)
{
	return dividend / divisor;
}

static inline u64 mul_u32_u32(u32 a, u32 b)
{
	return (u64)a * b;
}

#define div64_long(x, y)	div64_s64((x), (y))
#define div64_ul(x, y)		div64_u64((x), (y))

/* The quotient goes to @n, an unsigned 64-bit variable; the remainder is the value. */
#define do_div(n, base) (__extension__ ({					\
	u32 karc_base_ = (base);						\
	u32 karc_rem_ = (u32)((u64)(n) % karc_base_);				\
	(n) = (u64)(n) / karc_base_;						\
	karc_rem_; }))

#endif
