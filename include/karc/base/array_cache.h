/* SPDX-License-Identifier: MIT */
/*
 * array_cache.h - a stack of free memory that belongs to one CPU
 *
 * The slab room fills and empties them; code below it that knows where one lies may push and pop,
 * on its own CPU and without a safe point between the first access and the last.
 */
#ifndef KARC_BASE_ARRAY_CACHE_H
#define KARC_BASE_ARRAY_CACHE_H

/* Free objects that nobody has to lock for; the last one in is the first one out. */
struct array_cache {
	unsigned int avail;
	unsigned int limit;
	unsigned int batchcount;
	unsigned int touched;		/* used since somebody last looked */
	void *entry[];
};

#endif
