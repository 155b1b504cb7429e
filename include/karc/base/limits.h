/* SPDX-License-Identifier: MIT */
/*
 * The ranges of u8, s8 and so on, under their Linux names.
 *
 * Constants of the very type, as in Linux, and therefore not for #if.  No header is included: under
 * the compat headers libc's <limits.h> includes this file halfway through.
 */
#ifndef KARC_BASE_LIMITS_H
#define KARC_BASE_LIMITS_H

#define U8_MAX ((unsigned char)~0U)
#define S8_MAX ((signed char)(U8_MAX >> 1))
#define S8_MIN ((signed char)(-S8_MAX - 1))
#define U16_MAX ((unsigned short)~0U)
#define S16_MAX ((signed short)(U16_MAX >> 1))
#define S16_MIN ((signed short)(-S16_MAX - 1))
#define U32_MAX (~0U)
#define S32_MAX ((signed int)(U32_MAX >> 1))
#define S32_MIN (-S32_MAX - 1)
#define U64_MAX (~0ULL)
#define S64_MAX ((signed long long)(U64_MAX >> 1))
#define S64_MIN (-S64_MAX - 1)
#define SIZE_MAX (18446744073709551615UL)	/* in the words of <stdint.h> */

#endif
