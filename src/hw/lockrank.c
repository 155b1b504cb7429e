/* SPDX-License-Identifier: MIT */
/*
 * lockrank.c - the lock order and its checker
 *
 * What it is
 *	Each fiber keeps a stack of the locks it holds (struct fiber, held[]). Taking a lock
 *	compares its rank with those held; that finds a possible deadlock on the first run through
 *	the code, whatever the interleaving. Debug builds only.
 *
 * Rules
 *	R1 a lock that the fiber holds is not taken again (rwlock readers aside)
 *	R2 ranks ascend; rank 0 stands outside the order
 *	R3 within a rank, addresses inside the arena ascend, or the caller says LOCK_NESTED
 *	R4 what was got by trylock is recorded, but not compared when taken
 *	R5 interrupt handlers run on top of a fiber: a lock is compared only with locks taken in
 *	   the same context (task, softirq, hardirq)
 *
 * Invariants
 *	I1 nr_held counts the locks; its first FIBER_MAX_LOCKS have a slot, the rest are only
 *	   counted. A slot whose lock is NULL stands for one that found no slot when it was taken
 *
 * Locking
 *	The stack belongs to its fiber. Reports read those of others, as they find them.
 *
 * Unlike Linux
 *	Ranks instead of a graph of observed orders: the order is written down once in lockrank.h.
 *	Locks of rank 0 are not ordered against each other, and a lock that is taken both in
 *	interrupt handlers and with interrupts on is noticed only when it does deadlock.
 */
#include <stdio.h>
#include <string.h>

#include <karc/base/compiler.h>
#include <karc/base/log.h>
#include <karc/hw/context.h>
#include <karc/hw/cpu.h>
#include <karc/hw/fiber.h>
#include <karc/hw/lockrank.h>
#include <karc/hw/physmem.h>
#include "bugmsg.h"
#include "internal.h"

static const char *const rank_names[LR_NR] = {
	[LR_NONE] = "unranked",
	[LR_KOBJECT] = "kobject",
	[LR_EXEC] = "exec",
	[LR_MMAP] = "mmap",
	[LR_VMA] = "vma",
	[LR_SLAB_MUTEX] = "slab_mutex",
	[LR_INODE] = "inode",
	[LR_PAGE] = "page",
	[LR_RMAP] = "rmap",
	[LR_SLEEP_LAST] = "sleep_last",
	[LR_TASKLIST] = "tasklist",
	[LR_SIGHAND] = "sighand",
	[LR_PIDS] = "pids",
	[LR_TASK] = "task",
	[LR_FILES] = "files",
	[LR_PGTABLE] = "pgtable",
	[LR_PAGECACHE] = "pagecache",
	[LR_SWAP] = "swap",
	[LR_LRU] = "lru",
	[LR_KSET] = "kset",
	[LR_SLAB_LIST] = "slab_list",
	[LR_SLAB_ALIEN] = "slab_alien",
	[LR_SLAB_NODE] = "slab_node",
	[LR_VMAP] = "vmap",
	[LR_ZONE] = "zone",
	[LR_PCP] = "pcp",
	[LR_WAITQUEUE] = "waitqueue",
	[LR_WAKE] = "wake",
	[LR_RCU] = "rcu",
	[LR_LEDGER] = "ledger",
	[LR_HW] = "hw",
};

const char *lock_rank_name(unsigned int rank)
{
	return rank < LR_NR ? rank_names[rank] : "bad rank";
}

/* held_lock.rank carries the context that the lock was taken in above the rank itself. */
#define RANK_BITS		8
#define RANK_MASK		((1u << RANK_BITS) - 1)

static_assert(LR_NR <= RANK_MASK, "ranks fit their bits");

#define DESCRIBE_BYTES		128

/* "zone lock at arena + 0x1234 (x.c:10 func)"; places are offsets, so that runs compare. */
static const char *describe(char text[DESCRIBE_BYTES], const struct machine *m, const void *lock,
			    unsigned int rank, const struct site *site)
{
	u64 offset = (u64)((const char *)lock - physmem_arena(m));
	const char *file = site ? strrchr(site->file, '/') : NULL;
	char place[40] = "outside the arena";

	if (offset < physmem_arena_bytes(m))
		snprintf(place, sizeof(place), "at arena + 0x%llx", offset);
	if (site)
		file = file ? file + 1 : site->file;
	snprintf(text, DESCRIBE_BYTES, "%s lock %s (%s:%u %s)", lock_rank_name(rank & RANK_MASK),
		 place, file ? file : "?", site ? site->line : 0, site ? site->func : "?");
	return text;
}

/* @f may be running on another CPU: then this is what it held a moment ago, more or less. */
__no_sanitize_thread void lockrank_print_held(struct machine *m, struct fiber *f)
{
	char text[DESCRIBE_BYTES], line[DESCRIBE_BYTES + 16];
	unsigned int nr = f->nr_held;

	for (unsigned int i = nr < FIBER_MAX_LOCKS ? nr : FIBER_MAX_LOCKS; i-- > 0; ) {
		const struct held_lock *h = &f->held[i];

		if (!h->lock)
			continue;
		snprintf(line, sizeof(line), "  holds %s",
			 describe(text, m, h->lock, h->rank, h->site));
		karc_log_write(machine_log(m), LOGLEVEL_ERR, line);
	}
	if (nr > FIBER_MAX_LOCKS) {
		snprintf(line, sizeof(line), "  holds %u locks more", nr - FIBER_MAX_LOCKS);
		karc_log_write(machine_log(m), LOGLEVEL_ERR, line);
	}
}

#ifdef KARC_DEBUG

static unsigned int nr_recorded(const struct fiber *f)
{
	return f->nr_held < FIBER_MAX_LOCKS ? f->nr_held : FIBER_MAX_LOCKS;
}

unsigned int lockrank_held(void)
{
	return fiber_self()->nr_held;
}

static unsigned int context_bits(void)
{
	unsigned int level = in_hardirq() ? 2 : in_serving_softirq() ? 1 : 0;

	return level << RANK_BITS;
}

/* R3: may a lock nest inside another of its rank by address? */
static bool ascends(const struct machine *m, const void *outer, const void *inner)
{
	u64 a = (u64)((const char *)outer - physmem_arena(m));
	u64 b = (u64)((const char *)inner - physmem_arena(m));

	return a < b && b < physmem_arena_bytes(m);
}

static bool order_allows(const struct machine *m, const struct held_lock *h, const void *lock,
			 unsigned int rank, unsigned int flags)
{
	unsigned int held_rank = h->rank & RANK_MASK;

	if ((h->rank ^ rank) >> RANK_BITS)
		return true;			/* R5 */
	rank &= RANK_MASK;
	if (!held_rank || !rank || held_rank < rank)
		return true;			/* R2 */
	return held_rank == rank && ((flags & LOCK_NESTED) || ascends(m, h->lock, lock));
}

static void check_order(struct fiber *f, const void *lock, unsigned int rank, unsigned int flags,
			const struct site *site)
{
	struct machine *m = this_machine();
	char taking[DESCRIBE_BYTES], holding[DESCRIBE_BYTES];

	for (unsigned int i = 0; i < nr_recorded(f); i++) {
		const struct held_lock *h = &f->held[i];

		if (!h->lock)
			continue;
		if (h->lock == lock) {
			if (flags & LOCK_RECURSIVE)
				return;
			BUG_MSG("deadlock: takes %s again, holds it as %s",
				describe(taking, m, lock, rank, site),
				describe(holding, m, h->lock, h->rank, h->site));
		}
		if (!order_allows(m, h, lock, rank, flags))
			BUG_MSG("lock order: takes %s inside %s",
				describe(taking, m, lock, rank, site),
				describe(holding, m, h->lock, h->rank, h->site));
	}
}

void lockrank_take(const void *lock, unsigned int rank, unsigned int flags,
		   const struct site *site)
{
	struct fiber *f = fiber_self();

	rank |= context_bits();
	if (!(flags & LOCK_TRY))
		check_order(f, lock, rank, flags, site);
	if (f->nr_held < FIBER_MAX_LOCKS) {
		f->held[f->nr_held] = (struct held_lock){ lock, site, rank };
		address_filter_add(this_machine(), &this_machine()->held_locks, lock, 1);
	}
	f->nr_held++;
}

/* The record of @lock that was made last, or NULL. */
static struct held_lock *find_held(struct fiber *f, const void *lock)
{
	for (unsigned int i = nr_recorded(f); i-- > 0; ) {
		if (f->held[i].lock == lock)
			return &f->held[i];
	}
	return NULL;
}

void lockrank_release(const void *lock)
{
	struct fiber *f = fiber_self();
	struct held_lock *h = find_held(f, lock);
	char text[DESCRIBE_BYTES];
	unsigned int nr = nr_recorded(f);

	if (!h && f->nr_held <= FIBER_MAX_LOCKS)
		h = find_held(f, NULL);		/* one that found no room when it was taken */
	if (!h && f->nr_held <= FIBER_MAX_LOCKS)
		BUG_MSG("unlock: this fiber does not hold %s",
			describe(text, this_machine(), lock, LR_NONE, NULL));
	if (h) {
		if (h->lock)
			address_filter_add(this_machine(), &this_machine()->held_locks, h->lock,
					   (u32)-1);
		memmove(h, h + 1, (size_t)(&f->held[nr] - (h + 1)) * sizeof(*h));
		f->held[nr - 1] = (struct held_lock){ .lock = NULL };
	}
	f->nr_held--;
}

bool lockrank_holds(const void *lock)
{
	struct fiber *f = fiber_self();

	/* Beyond the record nobody knows: give the benefit of the doubt. */
	return find_held(f, lock) || f->nr_held > FIBER_MAX_LOCKS || find_held(f, NULL);
}

const struct site *lockrank_site(const void *lock)
{
	struct held_lock *h = find_held(fiber_self(), lock);

	return h ? h->site : NULL;
}

void lockrank_forget(struct machine *m, struct fiber *f)
{
	for (unsigned int i = 0; i < nr_recorded(f); i++) {
		if (f->held[i].lock)
			address_filter_add(m, &m->held_locks, f->held[i].lock, (u32)-1);
	}
	f->nr_held = 0;
}

/* The first lock in [@p, @p + @bytes) that @f holds; it may be running, then see above. */
__no_sanitize_thread static bool find_in_range(const struct fiber *f, const char *p, size_t bytes,
					       struct lock_in_memory *found)
{
	unsigned int nr = f->nr_held;

	for (unsigned int i = 0; i < nr && i < FIBER_MAX_LOCKS; i++) {
		const struct held_lock *h = &f->held[i];

		if (!h->lock || (u64)((const char *)h->lock - p) >= bytes)
			continue;
		found->lock = h->lock;
		found->site = h->site;
		found->rank = h->rank & RANK_MASK;
		return true;
	}
	return false;
}

bool lockrank_find_in(const void *p, size_t bytes, struct lock_in_memory *found)
{
	struct machine *m = this_machine();
	struct fiber *f;
	bool has = false;

	if (likely(!address_filter_may_have(m, &m->held_locks, p, bytes)))
		return false;
	hw_lock(m, &m->fibers_lock);
	list_for_each_entry(f, &m->all_fibers, all_node) {
		has = find_in_range(f, p, bytes, found);
		if (!has)
			continue;
		found->mine = f == fiber_self();
		found->task_id = f->id;
		snprintf(found->task, sizeof(found->task), "%s", f->name);
		break;
	}
	hw_unlock(m, &m->fibers_lock);
	return has;
}

#else

unsigned int lockrank_held(void)
{
	return 0;
}

void lockrank_forget(struct machine *m, struct fiber *f)
{
	(void)m;
	f->nr_held = 0;
}

#endif
