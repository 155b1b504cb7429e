/* SPDX-License-Identifier: MIT */
/*
 * array_cache.h - free memory that belongs to one CPU
 *
 * The slab room fills and empties them; code below it that knows where one lies may push and pop,
 * on its own CPU and without a safe point between the first access and the last.
 */
#ifndef KARC_BASE_ARRAY_CACHE_H
#define KARC_BASE_ARRAY_CACHE_H

#define ARRAY_READY	128u

/*
 * Free objects that nobody has to lock for, in two stacks: frees are pushed on @entry, allocations
 * popped off @ready, which is filled from @entry when it is empty: with one object, so that the last
 * one freed is the next one handed out, or, in an array that is busy, with many. Were it one stack,
 * each allocation would wait until it is known where the free before it wrote, and that is a long
 * way: from the object to its frame's class to the array. The owner writes. Counts are of batches; how
 * many allocations and frees there were is derived from them: see array.c in the slab room.
 */
struct array_cache {
	unsigned int nr_ready;
	unsigned int avail;		/* in @entry */
	unsigned int limit;		/* of @avail */
	unsigned int batchcount;
	unsigned int touched;		/* used since somebody last looked */
	unsigned int nr_few;		/* times in a row that there were few, and no more to be had */
	unsigned int nr_slow;		/* times that nothing was ready, in the tick ... */
	unsigned long slow_since;	/* ... of this number */
	unsigned long readied;		/* objects that were put into @ready, or went past it */
	unsigned long allocmiss;	/* allocations that found nothing here */
	unsigned long freemiss;		/* frees that found it full */
	unsigned long came;		/* objects that came from the node, ... */
	unsigned long went;		/* ... and that went back there */
	unsigned long seen;		/* allocations when somebody last looked */
	struct array_cache *spare;	/* second level: what does not fit here; NULL until needed */
	void *ready[ARRAY_READY];
	void *below;			/* NULL; what lies below the first entry */
	void *entry[];
};

_Static_assert(__builtin_offsetof(struct array_cache, entry) ==
	       __builtin_offsetof(struct array_cache, below) + sizeof(void *),
	       "the entry below the first one is ->below");

#endif
