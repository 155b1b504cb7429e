/* SPDX-License-Identifier: MIT */
/*
 * random.h - random numbers of the machine: its seed gives the same ones again
 *
 * Context: any. Model: the names of Linux 6.1 <linux/random.h> and <linux/prandom.h>; unlike there
 * none of it is a secret.
 */
#ifndef KARC_HW_RANDOM_H
#define KARC_HW_RANDOM_H

#include <string.h>

#include <karc/hw/machine.h>

static inline u64 get_random_u64(void)
{
	return machine_random(this_machine());
}

static inline u32 get_random_u32(void)
{
	return (u32)(get_random_u64() >> 32);
}

static inline u16 get_random_u16(void)
{
	return (u16)(get_random_u64() >> 48);
}

static inline u8 get_random_u8(void)
{
	return (u8)(get_random_u64() >> 56);
}

#define get_random_int()	get_random_u32()
#define get_random_long()	((unsigned long)get_random_u64())
#define prandom_u32()		get_random_u32()

/* 0 .. @ceil - 1; 0 for 0. */
static inline u32 prandom_u32_max(u32 ceil)
{
	return (u32)(((u64)get_random_u32() * ceil) >> 32);
}

static inline void get_random_bytes(void *buf, size_t size_bytes)
{
	u8 *byte = buf;

	while (size_bytes) {
		u64 word = get_random_u64();
		size_t nr = size_bytes < sizeof(word) ? size_bytes : sizeof(word);

		memcpy(byte, &word, nr);
		byte += nr;
		size_bytes -= nr;
	}
}

#define prandom_bytes(buf, size_bytes)	get_random_bytes(buf, size_bytes)

#endif
