/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic that notices overflow, and sizes that saturate.
 *
 * The check_* family stores the wrapped result and returns true when it does not fit the type
 * of *@d.  The size family returns SIZE_MAX instead of a sum or product that does not fit, and
 * no allocator grants SIZE_MAX bytes; so an overflowing size becomes an ordinary failure.
 */
#ifndef KARC_BASE_OVERFLOW_H
#define KARC_BASE_OVERFLOW_H

#include <limits.h>

#include <karc/base/types.h>

static inline bool __must_check karc_must_check_overflow(bool overflow)
{
	return unlikely(overflow);
}

#define check_add_overflow(a, b, d) karc_must_check_overflow(__builtin_add_overflow(a, b, d))
#define check_sub_overflow(a, b, d) karc_must_check_overflow(__builtin_sub_overflow(a, b, d))
#define check_mul_overflow(a, b, d) karc_must_check_overflow(__builtin_mul_overflow(a, b, d))

/* x >= 0, without the compiler's remark that an unsigned number always is. */
#define karc_is_non_negative(x) ((x) > 0 || (x) == 0)

/*
 * *@d = @a << @s.  True when bits are lost or change the sign, when @a is negative, or when @s
 * is no shift count for the type of *@d; *@d is then of no use.
 */
#define check_shl_overflow(a, s, d) karc_must_check_overflow(({			\
	__typeof__(a) karc_a_ = (a);						\
	__typeof__(s) karc_s_ = (s);						\
	__typeof__(d) karc_d_ = (d);						\
	unsigned long long karc_wide_ = (unsigned long long)karc_a_;		\
	bool karc_bad_ = !karc_is_non_negative(karc_s_) ||			\
		(unsigned long long)karc_s_ >= 8 * sizeof(*karc_d_);		\
	unsigned int karc_to_ = karc_bad_ ? 0 : (unsigned int)karc_s_;		\
	*karc_d_ = (__typeof__(*karc_d_))(karc_wide_ << karc_to_);		\
	karc_bad_ || !karc_is_non_negative(karc_a_) ||				\
		!karc_is_non_negative(*karc_d_) ||				\
		((unsigned long long)*karc_d_ >> karc_to_) != karc_wide_; }))

static inline size_t __must_check size_add(size_t a, size_t b)
{
	size_t sum;

	return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

static inline size_t __must_check size_mul(size_t a, size_t b)
{
	size_t product;

	return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

/* SIZE_MAX on underflow, and when either side is SIZE_MAX: saturation is contagious. */
static inline size_t __must_check size_sub(size_t a, size_t b)
{
	size_t rest;

	if (a == SIZE_MAX || b == SIZE_MAX || __builtin_sub_overflow(a, b, &rest))
		return SIZE_MAX;
	return rest;
}

#define array_size(a, b) size_mul(a, b)
#define array3_size(a, b, c) size_mul(size_mul(a, b), c)
#define flex_array_size(p, member, count) \
	size_mul(count, sizeof(*(p)->member) + BUILD_BUG_ON_ZERO( \
		__same_type((p)->member, &(p)->member[0])))
#define struct_size(p, member, count) \
	size_add(sizeof(*(p)), flex_array_size(p, member, count))

#endif
