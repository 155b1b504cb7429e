/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_PLAY_ALLOC_H
#define KARC_TOOLS_PLAY_ALLOC_H

/*
 * play_alloc.h - what the files of `karc run alloc` share
 *
 * play_alloc.c tells who may be called where; play_alloc_memory.c what sort of memory each
 * gives; play_alloc_pieces.c who needs neighbouring frames; play_alloc_walk.c what the MMU has to
 * do.
 */
#include "scenario.h"
#include <karc/mm/phys/page_alloc.h>

#define ALLOC_QUIETLY		(__GFP_NOWARN | __GFP_NORETRY)
#define ALLOC_BLOCK_ORDER	4u
#define ALLOC_BLOCK_BYTES	(PAGE_SIZE << ALLOC_BLOCK_ORDER)	/* 64 KiB */

/* play_alloc_memory.c: the table of properties. */
void alloc_tell_memory(struct stage *s);

/* play_alloc_pieces.c: who gives memory when no two free frames are neighbours. */
void alloc_tell_fragments(struct stage *s);
/* In how many places of RAM vmalloc() memory lies then; 0: there was none. */
unsigned long alloc_vmalloc_places(struct machine *m);
/* Runs of neighbouring frames behind [p, p + bytes). */
unsigned long alloc_runs_of(const char *p, unsigned long bytes);
/* Can each byte of [p, p + bytes) be written and read? */
bool alloc_is_contiguous(char *p, unsigned long bytes);

/* play_alloc_walk.c: TLB misses of walks over kmalloc() and vmalloc() memory. */
void alloc_tell_walks(struct stage *s);

#endif
