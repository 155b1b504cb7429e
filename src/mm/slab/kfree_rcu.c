/* SPDX-License-Identifier: MIT */
/*
 * kfree_rcu.c - memory without a struct rcu_head that goes after a grace period
 *
 * What it is
 *	With a head, kfree_rcu() is call_rcu(), whose callbacks share grace periods. Without one
 *	there is nowhere to queue the memory, so its address is put into a block that has a head. A
 *	block takes addresses as long as its own grace period has not begun: so many calls cost one.
 *
 * Objects
 *	slab_state.kfree_block[cpu] -> block -> addresses; the block is queued with call_rcu()
 *
 * Invariants
 *	I1 an address joins a block only on the CPU that queued the block, interrupts off, while
 *	   rcu_batch_here() is what it was when the block was queued
 *	I2 kfree_block[cpu] is a block that has not been called yet, or NULL
 *
 * Locking
 *	kfree_block[this cpu]	interrupts off; the callback takes its block out atomically
 *
 * Worst case
 *	One block of 512 bytes per BLOCK_MAX calls and CPU. Without memory for it the caller waits
 *	for a grace period of its own.
 *
 * Unlike Linux
 *	No timer that gathers: a batch is what comes until the CPU's next grace period begins. So
 *	rcu_barrier() waits for it.
 */
#include "internal.h"

#define BLOCK_MAX	58u

struct kfree_block {
	struct rcu_head rcu;
	struct { void (*free_one)(const void *p); } ops;
	unsigned long batch;
	unsigned int cpu;
	unsigned int nr;
	const void *ptr[BLOCK_MAX];
};

static_assert(sizeof(struct kfree_block) <= 512, "a block is an object of kmalloc-512");

static void block_called(struct rcu_head *head)
{
	struct kfree_block *block = container_of(head, struct kfree_block, rcu), *mine = block;

	/* Unless its CPU has begun another one. */
	__atomic_compare_exchange_n(&slab_here()->kfree_block[block->cpu], &mine, NULL, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < block->nr; i++)
		block->ops.free_one(block->ptr[i]);
	kfree(block);
}

/* I1. False: there is no block that still takes it. Interrupts are off. */
static bool join_block(const void *p, void (*free_one)(const void *p))
{
	struct kfree_block *block = READ_ONCE(slab_here()->kfree_block[smp_processor_id()]);

	if (!block || block->nr == BLOCK_MAX || block->ops.free_one != free_one ||
	    block->batch != rcu_batch_here())
		return false;
	block->ptr[block->nr++] = p;
	return true;
}

/* Interrupts are off. */
static void begin_block(struct kfree_block *block, const void *p, void (*free_one)(const void *p))
{
	block->ops.free_one = free_one;
	block->cpu = smp_processor_id();
	block->batch = rcu_batch_here();
	block->ptr[0] = p;
	block->nr = 1;
	WRITE_ONCE(slab_here()->kfree_block[block->cpu], block);
	call_rcu(&block->rcu, block_called);
}

void free_after_rcu(const void *p, void (*free_one)(const void *p))
{
	struct kfree_block *block;
	unsigned long flags;
	bool joined;

	might_sleep();
	local_irq_save(flags);
	joined = join_block(p, free_one);
	local_irq_restore(flags);
	if (joined)
		return;
	block = kmalloc(sizeof(*block), GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY |
			__GFP_NOMEMALLOC);
	if (!block) {
		synchronize_rcu();
		free_one(p);
		return;
	}
	/* It may have slept: somebody else may have begun one, or this is another CPU. */
	local_irq_save(flags);
	joined = join_block(p, free_one);
	if (!joined)
		begin_block(block, p, free_one);
	local_irq_restore(flags);
	if (joined)
		kfree(block);
}

void kfree_after_rcu(const void *p)
{
	if (!ZERO_OR_NULL_PTR(p))
		free_after_rcu(p, kfree);
}
