/* SPDX-License-Identifier: MIT */
/*
 * The door to the host's memory.
 *
 * What it is: each block carries a small header with its size and its account, so that a free
 * can undo the charge, and so that a free with another account or of a freed block is a BUG
 * here and not a riddle later.  Mappings have no header, since they must be page-aligned; the
 * caller repeats the size.
 *
 * Invariants:
 *   I1  account->bytes is the sum of the sizes of its live blocks and maps.
 *   I2  a call that fails leaves the account as it was, but for fail_nth.
 *
 * Locking: none; counters are relaxed atomics.  With several host threads the limit holds, since
 * the charge is taken before the memory.
 */
#include <karc/base/hostmem.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <karc/base/atomic.h>
#include <karc/base/bug.h>
#include <karc/base/math.h>
#include <karc/base/overflow.h>

#define HEADER_MAGIC 0x6b617263686f7374ULL	/* "karchost" */
#define HEADER_FREED 0x66726565686f7374ULL	/* "freehost" */

/* Two 16-byte lines, so that what follows keeps malloc's alignment. */
struct header {
	u64 magic;
	size_t size;
	struct hostmem_account *account;
	u64 unused;
};

static_assert(sizeof(struct header) % 16 == 0, "blocks would lose their alignment");

/* True when fail_nth has just run out. */
static bool fail_now(struct hostmem_account *account)
{
	unsigned long left = READ_ONCE(account->fail_nth);

	do {
		if (left == 0)
			return false;
	} while (!try_cmpxchg_relaxed(&account->fail_nth, &left, left - 1));
	return left == 1;
}

static bool charge(struct hostmem_account *account, size_t size)
{
	size_t bytes, peak;

	if (!account)
		return true;
	if (fail_now(account))
		return false;
	bytes = __atomic_add_fetch(&account->bytes, size, __ATOMIC_RELAXED);
	if (bytes < size || (account->limit_bytes && bytes > account->limit_bytes)) {
		__atomic_fetch_sub(&account->bytes, size, __ATOMIC_RELAXED);
		return false;
	}
	peak = READ_ONCE(account->peak_bytes);
	while (bytes > peak && !try_cmpxchg_relaxed(&account->peak_bytes, &peak, bytes))
		;
	return true;
}

static void uncharge(struct hostmem_account *account, size_t size)
{
	if (account)
		__atomic_fetch_sub(&account->bytes, size, __ATOMIC_RELAXED);
}

static void count_blocks(struct hostmem_account *account, long change)
{
	if (account)
		__atomic_fetch_add(&account->nr_blocks, change, __ATOMIC_RELAXED);
}

static void count_maps(struct hostmem_account *account, long change)
{
	if (account)
		__atomic_fetch_add(&account->nr_maps, change, __ATOMIC_RELAXED);
}

static void *alloc_block(struct hostmem_account *account, size_t size, bool zero)
{
	struct header *header;
	size_t total;

	if (check_add_overflow(size, sizeof(*header), &total) || total > PTRDIFF_MAX)
		return NULL;
	if (!charge(account, size))
		return NULL;
	header = zero ? calloc(1, total) : malloc(total);
	if (!header) {
		uncharge(account, size);
		return NULL;
	}
	header->magic = HEADER_MAGIC;
	header->size = size;
	header->account = account;
	count_blocks(account, 1);
	return header + 1;
}

void *hostmem_alloc(struct hostmem_account *account, size_t size)
{
	return alloc_block(account, size, false);
}

void *hostmem_zalloc(struct hostmem_account *account, size_t size)
{
	return alloc_block(account, size, true);
}

void hostmem_free(struct hostmem_account *account, void *block)
{
	struct header *header;

	if (!block)
		return;
	header = (struct header *)block - 1;
	BUG_ON(header->magic != HEADER_MAGIC);
	BUG_ON(header->account != account);
	header->magic = HEADER_FREED;
	count_blocks(account, -1);
	uncharge(account, header->size);
	free(header);
}

static size_t round_to_pages(size_t size)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return size_add(size, page - 1) & ~(page - 1);
}

void *hostmem_map(struct hostmem_account *account, size_t size)
{
	size_t length = round_to_pages(size);
	void *map;

	if (size == 0 || length < size || !charge(account, size))
		return NULL;
	map = mmap(NULL, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		uncharge(account, size);
		return NULL;
	}
	count_maps(account, 1);
	return map;
}

void hostmem_unmap(struct hostmem_account *account, void *map, size_t size)
{
	if (!map)
		return;
	BUG_ON(munmap(map, round_to_pages(size)) != 0);
	count_maps(account, -1);
	uncharge(account, size);
}
