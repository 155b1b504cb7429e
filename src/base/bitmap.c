/* SPDX-License-Identifier: MIT */
/*
 * Arrays of bits.  Whole-map operations work word by word and mask the last word only when
 * they answer a question; what they leave in bits beyond @nbits has no meaning.
 */
#include <karc/base/bitmap.h>

#include <string.h>

void bitmap_zero(unsigned long *dst, unsigned int nbits)
{
	memset(dst, 0, BITS_TO_LONGS((size_t)nbits) * sizeof(*dst));
}

void bitmap_fill(unsigned long *dst, unsigned int nbits)
{
	memset(dst, 0xff, BITS_TO_LONGS((size_t)nbits) * sizeof(*dst));
}

void bitmap_copy(unsigned long *dst, const unsigned long *src, unsigned int nbits)
{
	memmove(dst, src, BITS_TO_LONGS((size_t)nbits) * sizeof(*dst));
}

/* The bits of word @i that lie in [@start, @end). */
static unsigned long range_mask(size_t i, size_t start, size_t end)
{
	unsigned long mask = ~0UL;

	if (i == BIT_WORD(start))
		mask &= BITMAP_FIRST_WORD_MASK(start);
	if (i == BIT_WORD(end - 1))
		mask &= BITMAP_LAST_WORD_MASK(end);
	return mask;
}

void bitmap_set(unsigned long *map, unsigned int start, unsigned int nbits)
{
	size_t end = (size_t)start + nbits, i;

	if (!nbits)
		return;
	for (i = BIT_WORD(start); i <= BIT_WORD(end - 1); i++)
		map[i] |= range_mask(i, start, end);
}

void bitmap_clear(unsigned long *map, unsigned int start, unsigned int nbits)
{
	size_t end = (size_t)start + nbits, i;

	if (!nbits)
		return;
	for (i = BIT_WORD(start); i <= BIT_WORD(end - 1); i++)
		map[i] &= ~range_mask(i, start, end);
}

/* All bits of word @i, or those below @nbits in the last word. */
static unsigned long used_mask(size_t i, unsigned int nbits)
{
	return range_mask(i, 0, nbits);
}

bool bitmap_and(unsigned long *dst, const unsigned long *a, const unsigned long *b,
		unsigned int nbits)
{
	unsigned long any = 0;
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++) {
		dst[i] = a[i] & b[i];
		any |= dst[i] & used_mask(i, nbits);
	}
	return any != 0;
}

void bitmap_or(unsigned long *dst, const unsigned long *a, const unsigned long *b,
	       unsigned int nbits)
{
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		dst[i] = a[i] | b[i];
}

void bitmap_xor(unsigned long *dst, const unsigned long *a, const unsigned long *b,
		unsigned int nbits)
{
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		dst[i] = a[i] ^ b[i];
}

bool bitmap_andnot(unsigned long *dst, const unsigned long *a, const unsigned long *b,
		   unsigned int nbits)
{
	unsigned long any = 0;
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++) {
		dst[i] = a[i] & ~b[i];
		any |= dst[i] & used_mask(i, nbits);
	}
	return any != 0;
}

void bitmap_complement(unsigned long *dst, const unsigned long *src, unsigned int nbits)
{
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		dst[i] = ~src[i];
}

bool bitmap_equal(const unsigned long *a, const unsigned long *b, unsigned int nbits)
{
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		if ((a[i] ^ b[i]) & used_mask(i, nbits))
			return false;
	return true;
}

bool bitmap_intersects(const unsigned long *a, const unsigned long *b, unsigned int nbits)
{
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		if (a[i] & b[i] & used_mask(i, nbits))
			return true;
	return false;
}

bool bitmap_subset(const unsigned long *a, const unsigned long *b, unsigned int nbits)
{
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		if (a[i] & ~b[i] & used_mask(i, nbits))
			return false;
	return true;
}

unsigned int bitmap_weight(const unsigned long *src, unsigned int nbits)
{
	unsigned int weight = 0;
	size_t i;

	for (i = 0; i < BITS_TO_LONGS((size_t)nbits); i++)
		weight += hweight_long(src[i] & used_mask(i, nbits));
	return weight;
}

unsigned long bitmap_find_next_zero_area_off(unsigned long *map, unsigned long size,
					     unsigned long start, unsigned int nr,
					     unsigned long align_mask,
					     unsigned long align_offset)
{
	unsigned long index, end, i;

	/* Each round begins after a set bit that the last one found, so it ends. */
	for (;;) {
		index = find_next_zero_bit(map, size, start);
		index = karc_align_mask(index + align_offset, align_mask) - align_offset;
		end = index + nr;
		if (end > size)
			return end;
		i = find_next_bit(map, end, index);
		if (i >= end)
			return index;
		start = i + 1;
	}
}
