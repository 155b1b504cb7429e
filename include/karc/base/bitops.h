/* SPDX-License-Identifier: MIT */
/*
 * Single bits in arrays of unsigned long, and searches over them.
 *
 * set_bit, clear_bit and change_bit are atomic and order nothing; test_and_* are atomic and
 * fully ordered; the __ forms are for words that nobody else touches.
 */
#ifndef KARC_BASE_BITOPS_H
#define KARC_BASE_BITOPS_H

#include <karc/base/math.h>
#include <karc/base/types.h>

#define BIT_MASK(nr) (1UL << ((nr) % BITS_PER_LONG))
#define BIT_WORD(nr) ((nr) / BITS_PER_LONG)
#define BITS_TO_LONGS(nr) DIV_ROUND_UP(nr, BITS_PER_LONG)

static inline void set_bit(unsigned long nr, volatile unsigned long *addr)
{
	__atomic_fetch_or(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_RELAXED);
}

static inline void clear_bit(unsigned long nr, volatile unsigned long *addr)
{
	__atomic_fetch_and(addr + BIT_WORD(nr), ~BIT_MASK(nr), __ATOMIC_RELAXED);
}

static inline void change_bit(unsigned long nr, volatile unsigned long *addr)
{
	__atomic_fetch_xor(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_RELAXED);
}

static inline bool test_bit(unsigned long nr, const volatile unsigned long *addr)
{
	return __atomic_load_n(addr + BIT_WORD(nr), __ATOMIC_RELAXED) & BIT_MASK(nr);
}

static inline bool test_bit_acquire(unsigned long nr, const volatile unsigned long *addr)
{
	return __atomic_load_n(addr + BIT_WORD(nr), __ATOMIC_ACQUIRE) & BIT_MASK(nr);
}

static inline bool test_and_set_bit(unsigned long nr, volatile unsigned long *addr)
{
	return __atomic_fetch_or(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_SEQ_CST) &
	       BIT_MASK(nr);
}

static inline bool test_and_clear_bit(unsigned long nr, volatile unsigned long *addr)
{
	return __atomic_fetch_and(addr + BIT_WORD(nr), ~BIT_MASK(nr), __ATOMIC_SEQ_CST) &
	       BIT_MASK(nr);
}

static inline bool test_and_change_bit(unsigned long nr, volatile unsigned long *addr)
{
	return __atomic_fetch_xor(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_SEQ_CST) &
	       BIT_MASK(nr);
}

/* A lock of one bit: acquire when it was clear, release when it is cleared. */
static inline bool test_and_set_bit_lock(unsigned long nr, volatile unsigned long *addr)
{
	return __atomic_fetch_or(addr + BIT_WORD(nr), BIT_MASK(nr), __ATOMIC_ACQUIRE) &
	       BIT_MASK(nr);
}

static inline void clear_bit_unlock(unsigned long nr, volatile unsigned long *addr)
{
	__atomic_fetch_and(addr + BIT_WORD(nr), ~BIT_MASK(nr), __ATOMIC_RELEASE);
}

static inline void __set_bit(unsigned long nr, volatile unsigned long *addr)
{
	addr[BIT_WORD(nr)] |= BIT_MASK(nr);
}

static inline void __clear_bit(unsigned long nr, volatile unsigned long *addr)
{
	addr[BIT_WORD(nr)] &= ~BIT_MASK(nr);
}

static inline void __change_bit(unsigned long nr, volatile unsigned long *addr)
{
	addr[BIT_WORD(nr)] ^= BIT_MASK(nr);
}

static inline bool __test_and_set_bit(unsigned long nr, volatile unsigned long *addr)
{
	bool old = addr[BIT_WORD(nr)] & BIT_MASK(nr);

	__set_bit(nr, addr);
	return old;
}

static inline bool __test_and_clear_bit(unsigned long nr, volatile unsigned long *addr)
{
	bool old = addr[BIT_WORD(nr)] & BIT_MASK(nr);

	__clear_bit(nr, addr);
	return old;
}

static inline bool __test_and_change_bit(unsigned long nr, volatile unsigned long *addr)
{
	bool old = addr[BIT_WORD(nr)] & BIT_MASK(nr);

	__change_bit(nr, addr);
	return old;
}

static inline void assign_bit(unsigned long nr, volatile unsigned long *addr, bool value)
{
	if (value)
		set_bit(nr, addr);
	else
		clear_bit(nr, addr);
}

static inline void __assign_bit(unsigned long nr, volatile unsigned long *addr, bool value)
{
	if (value)
		__set_bit(nr, addr);
	else
		__clear_bit(nr, addr);
}

/*
 * The first position at or after @start whose bit in (@addr ^ @flip) is set, or @nbits when
 * there is none: @flip is 0 to look for ones and ~0 for zeroes.
 */
static inline unsigned long karc_find_bit(const unsigned long *addr, unsigned long nbits,
					  unsigned long start, unsigned long flip)
{
	unsigned long word, i;

	if (start >= nbits)
		return nbits;
	word = (addr[BIT_WORD(start)] ^ flip) & (~0UL << (start % BITS_PER_LONG));
	for (i = BIT_WORD(start); !word;) {
		if (++i >= BITS_TO_LONGS(nbits))
			return nbits;
		word = addr[i] ^ flip;
	}
	i = i * BITS_PER_LONG + __ffs(word);
	return i < nbits ? i : nbits;
}

static inline unsigned long find_next_bit(const unsigned long *addr, unsigned long nbits,
					  unsigned long start)
{
	return karc_find_bit(addr, nbits, start, 0UL);
}

static inline unsigned long find_next_zero_bit(const unsigned long *addr, unsigned long nbits,
					       unsigned long start)
{
	return karc_find_bit(addr, nbits, start, ~0UL);
}

static inline unsigned long find_first_bit(const unsigned long *addr, unsigned long nbits)
{
	return karc_find_bit(addr, nbits, 0, 0UL);
}

static inline unsigned long find_first_zero_bit(const unsigned long *addr, unsigned long nbits)
{
	return karc_find_bit(addr, nbits, 0, ~0UL);
}

/* The last set bit below @nbits, or @nbits. */
static inline unsigned long find_last_bit(const unsigned long *addr, unsigned long nbits)
{
	unsigned long i, word;

	for (i = BITS_TO_LONGS(nbits); i > 0; i--) {
		word = addr[i - 1];
		if (i == BITS_TO_LONGS(nbits) && nbits % BITS_PER_LONG)
			word &= ~0UL >> (BITS_PER_LONG - nbits % BITS_PER_LONG);
		if (word)
			return (i - 1) * BITS_PER_LONG + __fls(word);
	}
	return nbits;
}

#define for_each_set_bit(bit, addr, size) \
	for ((bit) = find_first_bit((addr), (size)); (bit) < (size); \
	     (bit) = find_next_bit((addr), (size), (bit) + 1))
#define for_each_clear_bit(bit, addr, size) \
	for ((bit) = find_first_zero_bit((addr), (size)); (bit) < (size); \
	     (bit) = find_next_zero_bit((addr), (size), (bit) + 1))

#endif
