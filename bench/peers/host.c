/* SPDX-License-Identifier: MIT */
/*
 * host.c - the kernel below us: memory mapped, each page of it used, and unmapped
 *
 * Paths map_touch_N: N pages of 4 KiB at once.
 */
#define _GNU_SOURCE	/* MAP_ANONYMOUS */
#include "peer.h"
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE_BYTES	4096ul

static inline void map_touch(unsigned long nr_pages, unsigned long n)
{
	while (n--) {
		char *p = mmap(NULL, nr_pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			abort();
		for (unsigned long i = 0; i < nr_pages; i++)
			*(volatile char *)(p + i * PAGE_BYTES) = 1;
		PEER_SEEN(p);
		munmap(p, nr_pages * PAGE_BYTES);
	}
}

#define MAP_TOUCH(pages)							\
void map_touch_##pages##_run(void *state, unsigned long n);			\
void map_touch_##pages##_run(void *state, unsigned long n)			\
{										\
	(void)state;								\
	map_touch(pages, n);							\
}

MAP_TOUCH(1)
MAP_TOUCH(16)
MAP_TOUCH(64)
MAP_TOUCH(256)
MAP_TOUCH(1024)
