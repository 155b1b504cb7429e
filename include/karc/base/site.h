/* SPDX-License-Identifier: MIT */
/*
 * A place in the source, as a static record.  Allocations, gets and assertions pass a pointer
 * to one, which costs one instruction, never a string copy, and stays valid for ever.
 */
#ifndef KARC_BASE_SITE_H
#define KARC_BASE_SITE_H

struct site {
	const char *file;
	const char *func;
	unsigned int line;
};

/**
 * SITE - the place where this macro is expanded
 *
 * Gives a `const struct site *`; usable in any expression inside a function.  A function that
 * wants its caller's place is a macro around a function that takes the site:
 * #define kmalloc(size, gfp) kmalloc_site(size, gfp, SITE())
 *
 * Aligned, so that bits of its address tell it from its neighbours.
 */
#define SITE() (__extension__ ({						\
	static const struct site karc_site_ __attribute__((__aligned__(32))) =	\
		{ __FILE__, __func__, __LINE__ };				\
	&karc_site_; }))

#endif
