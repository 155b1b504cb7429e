/* SPDX-License-Identifier: MIT */
/*
 * alloc_peer.h - the paths of one allocator, and pages and areas from it
 *
 * Included after ALLOC(size) and FREE(p). Pages: page_lifo (one of 4 KiB, used and freed) and
 * page_batch (1024 of them, each used, then freed in the order of allocation; n counts pages). Areas:
 * area_4m (4 MiB from the allocator, first byte used, and freed).
 */
#ifndef KARC_BENCH_ALLOC_PEER_H
#define KARC_BENCH_ALLOC_PEER_H

#ifdef __cplusplus
#define ALLOC_EXPORT	extern "C"
#else
#define ALLOC_EXPORT
#endif
#define ALLOC_PATH(type, name)	ALLOC_EXPORT type name
#define ALLOC_CALL(name)	name
#define ALLOC_64()		ALLOC(64)
#define FREE_64(p)		FREE(p)

#define PAGE_BYTES	4096u
#define PAGE_BATCH	1024u
#define AREA_BYTES	(4u << 20)

#include "alloc.h"

ALLOC_PATH(void, page_lifo_run)(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		void *p = alloc_used(ALLOC(PAGE_BYTES));

		ALLOC_SEEN(p);
		FREE(p);
	}
}

ALLOC_PATH(void, page_batch_run)(void *state, unsigned long n)
{
	void *slot[PAGE_BATCH];

	(void)state;
	for (; n >= PAGE_BATCH; n -= PAGE_BATCH) {
		for (unsigned int i = 0; i < PAGE_BATCH; i++)
			slot[i] = alloc_used(ALLOC(PAGE_BYTES));
		for (unsigned int i = 0; i < PAGE_BATCH; i++)
			FREE(slot[i]);
	}
}

ALLOC_PATH(void, area_4m_run)(void *state, unsigned long n)
{
	(void)state;
	while (n--) {
		void *p = alloc_used(ALLOC(AREA_BYTES));

		ALLOC_SEEN(p);
		FREE(p);
	}
}

#endif
