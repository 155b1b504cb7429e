/* SPDX-License-Identifier: MIT */
/*
 * What remap.trace records: one address space that is worked over with every call that changes
 * mappings: mremap in place, moved, to a fixed place and keeping the old one; madvise; mlock;
 * mprotect that cuts mappings in pieces; growth of the heap; limits that refuse.
 *
 *     cc -O2 -o remap remap.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE	4096UL
#define RW	(PROT_READ | PROT_WRITE)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static unsigned char *take(size_t pages, int prot)
{
	unsigned char *map = mmap(NULL, pages * PAGE, prot, ANON, -1, 0);

	if (map == MAP_FAILED)
		abort();
	return map;
}

/* A table that doubles as realloc() does it for large blocks. */
static unsigned long grow_table(void)
{
	unsigned long *table = NULL, sum = 0;
	size_t room = 0;

	for (size_t i = 0; i < 400000; i++) {
		if (i == room) {
			room = room ? room * 2 : 1024;
			table = realloc(table, room * sizeof(*table));
			if (!table)
				abort();
		}
		table[i] = i;
	}
	for (size_t i = 0; i < room / 2; i++)
		sum += table[i];
	free(table);
	return sum;
}

static void move_about(void)
{
	unsigned char *map = take(16, RW), *hole, *moved;

	map[0] = 1;
	map = mremap(map, 16 * PAGE, 8 * PAGE, 0);			/* shorter */
	mremap(map, 8 * PAGE, 12 * PAGE, 0);				/* longer, in place */
	map = mremap(map, 12 * PAGE, 300 * PAGE, MREMAP_MAYMOVE);	/* longer, elsewhere */
	hole = take(64, PROT_NONE);
	moved = mremap(map, 32 * PAGE, 32 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole);
	moved = mremap(moved, 32 * PAGE, 32 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	printf("moved %d\n", moved[0]);
	mremap(hole + PAGE / 2, PAGE, 2 * PAGE, MREMAP_MAYMOVE);	/* no page address */
	munmap(map + 32 * PAGE, 268 * PAGE);
	mremap(map, PAGE, 2 * PAGE, MREMAP_MAYMOVE);			/* nothing there */
	munmap(hole, 64 * PAGE);
	munmap(moved, 32 * PAGE);
}

static void cut_in_pieces(void)
{
	unsigned char *map = take(40, RW);

	memset(map, 1, 40 * PAGE);
	for (size_t i = 0; i < 40; i += 4)
		mprotect(map + i * PAGE, 2 * PAGE, PROT_READ);
	for (size_t i = 0; i < 40; i += 8)
		munmap(map + i * PAGE, PAGE);
	for (size_t i = 0; i < 40; i++)
		mprotect(map + i * PAGE, PAGE, RW);	/* the holes refuse */
	munmap(map, 40 * PAGE);
}

static void give_advice(void)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE,
		MADV_DONTFORK, MADV_DOFORK, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK,
		MADV_KEEPONFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE, 4711,
	};
	unsigned char *map = take(1024, RW);

	memset(map, 1, 1024 * PAGE);
	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++)
		madvise(map + i * PAGE, 64 * PAGE, advice[i]);
	madvise(map + 1, PAGE, MADV_NORMAL);
	munmap(map + 100 * PAGE, PAGE);
	madvise(map + 96 * PAGE, 8 * PAGE, MADV_DONTNEED);	/* over a hole */
	munmap(map, 1024 * PAGE);
}

static void lock_and_sync(void)
{
	unsigned char *map = take(32, RW), present[32];

	mlock(map, 8 * PAGE);
	mlock2(map + 16 * PAGE, 4 * PAGE, MLOCK_ONFAULT);
	mincore(map, 32 * PAGE, present);
	munlock(map, 4 * PAGE);
	msync(map, 32 * PAGE, MS_ASYNC);
	msync(map, 32 * PAGE, MS_SYNC | MS_ASYNC);
	mlockall(MCL_CURRENT);
	munlockall();
	munmap(map, 32 * PAGE);
	mlock(map, PAGE);					/* nothing there */
}

static void meet_limits(void)
{
	struct rlimit limit;
	void *map;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = 64UL << 20;
	setrlimit(RLIMIT_AS, &limit);
	map = mmap(NULL, 128UL << 20, RW, ANON, -1, 0);
	printf("beyond the limit: %s\n", map == MAP_FAILED ? strerror(errno) : "mapped");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_AS, &limit);
	map = mmap(NULL, 128UL << 20, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	munmap(map, 128UL << 20);
	map = mmap((void *)(1UL << 40), 4 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	mmap(map, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);		/* taken */
	mmap(NULL, 0, RW, ANON, -1, 0);					/* nothing */
	mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0);
	munmap(map, 4 * PAGE);
	personality(0xffffffff);
}

int main(void)
{
	printf("sum %lu\n", grow_table());
	move_about();
	cut_in_pieces();
	give_advice();
	lock_and_sync();
	meet_limits();
	sbrk(3 << 20);
	sbrk(-(1 << 20));
	sbrk(-(2 << 20));
	return 0;
}
