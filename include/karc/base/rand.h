/* SPDX-License-Identifier: MIT */
/*
 * A small seeded generator (xoshiro256**, seeded through splitmix64): the same seed gives the
 * same numbers on every host.  Tests and the deterministic scheduler draw from it; it guards no
 * secret.
 */
#ifndef KARC_BASE_RAND_H
#define KARC_BASE_RAND_H

#include <karc/base/types.h>

struct rnd {
	u64 s[4];
};

static inline u64 rnd_splitmix(u64 *state)
{
	u64 z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline void rnd_seed(struct rnd *rnd, u64 seed)
{
	int i;

	for (i = 0; i < 4; i++)
		rnd->s[i] = rnd_splitmix(&seed);
}

static inline u64 karc_rotate_left(u64 x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static inline u64 rnd_u64(struct rnd *rnd)
{
	u64 *s = rnd->s;
	u64 result = karc_rotate_left(s[1] * 5, 7) * 9;
	u64 t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = karc_rotate_left(s[3], 45);
	return result;
}

static inline u32 rnd_u32(struct rnd *rnd)
{
	return (u32)(rnd_u64(rnd) >> 32);
}

/* 0 .. @bound - 1; @bound is not 0.  The bias of the high multiply is below 2^-32 here. */
static inline u32 rnd_below(struct rnd *rnd, u32 bound)
{
	return (u32)(((rnd_u64(rnd) >> 32) * bound) >> 32);
}

/* @low .. @high, both included. */
static inline u64 rnd_between(struct rnd *rnd, u64 low, u64 high)
{
	u64 span = high - low + 1;

	return span ? low + rnd_u64(rnd) % span : rnd_u64(rnd);
}

/* True with a chance of @numerator in @denominator. */
static inline bool rnd_chance(struct rnd *rnd, u32 numerator, u32 denominator)
{
	return rnd_below(rnd, denominator) < numerator;
}

#endif
