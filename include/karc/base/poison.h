/* SPDX-License-Identifier: MIT */
/*
 * poison.h - the bytes that mark memory which nobody may use
 *
 * Linux 6.1's values, so that a dump of either reads the same.
 */
#ifndef KARC_BASE_POISON_H
#define KARC_BASE_POISON_H

#include <karc/base/list.h>	/* LIST_POISON1, LIST_POISON2 */

#define POISON_INUSE		0x5a	/* a slab's object that was never given out */
#define POISON_FREE		0x6b	/* a free object */
#define POISON_END		0xa5	/* its last byte */
#define PAGE_POISON		0xaa	/* a free frame, with page_poison */
#define POOL_POISON_FREED	0xa7	/* an element in a DMA pool */
#define POOL_POISON_ALLOCATED	0xa9	/* one just taken from it */
#define MUTEX_DEBUG_INIT	0x11
#define MUTEX_DEBUG_FREE	0x22

#endif
