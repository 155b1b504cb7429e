/* SPDX-License-Identifier: MIT */
/*
 * The only door to the host's malloc and mmap.  Everything that is bookkeeping of the simulator
 * and not simulated memory comes from here, so that it can be counted, limited, made to fail, and
 * (in the leak build) routed to a collector.
 */
#ifndef KARC_BASE_HOSTMEM_H
#define KARC_BASE_HOSTMEM_H

#include <karc/base/contract.h>
#include <karc/base/types.h>

/*
 * What somebody got through this door; zero-filled is valid and means no limit.  Counters are
 * relaxed atomics: exact when nobody is inside.
 */
struct hostmem_account {
	unsigned long nr_blocks;	/* from hostmem_alloc(), now live */
	unsigned long nr_maps;		/* from hostmem_map(), now live */
	size_t bytes;			/* in both, as asked for */
	size_t peak_bytes;
	size_t limit_bytes;		/* when not 0, more than this fails */
	unsigned long fail_nth;		/* when not 0, counts down; the call at 1 fails */
};

/**
 * hostmem_free - give a block back
 * @account: the one it was allocated with, or NULL if that was NULL
 * @block:   from hostmem_alloc() or hostmem_zalloc(); NULL does nothing
 *
 * Takes:    @block.
 */
void hostmem_free(struct hostmem_account *account, void *block);

/**
 * hostmem_alloc - memory of the host
 * @account: who is charged; NULL: nobody
 * @size:    in bytes; 0 gives a block that may be freed and not read
 *
 * Gives:    memory aligned to 16 bytes, of undefined content.
 * Errors:   NULL when the host has none, a limit is reached, or fail_nth says so.
 */
KARC_MUST_CHECK void *hostmem_alloc(struct hostmem_account *account, size_t size)
	KARC_MALLOC(hostmem_free, 2);

/* As hostmem_alloc(), filled with zero. */
KARC_MUST_CHECK void *hostmem_zalloc(struct hostmem_account *account, size_t size)
	KARC_MALLOC(hostmem_free, 2);

/**
 * hostmem_map - pages of the host, zero-filled, used only when touched
 * @account: who is charged; NULL: nobody
 * @size:    in bytes, rounded up to host pages
 *
 * Gives:    page-aligned memory; end it with hostmem_unmap() with the same @size.
 * Errors:   NULL, as hostmem_alloc().
 */
KARC_MUST_CHECK void *hostmem_map(struct hostmem_account *account, size_t size);

/* Takes @map; NULL does nothing. */
void hostmem_unmap(struct hostmem_account *account, void *map, size_t size);

#endif
