/* SPDX-License-Identifier: MIT */
/*
 * account.c - objects that a group pays for
 *
 * What it is
 *	An object of a SLAB_ACCOUNT cache, or one that was asked for with __GFP_ACCOUNT, is charged
 *	to the group that is active where it is allocated (mm/phys/memcg.h), with its whole size in
 *	the slab; freeing it, wherever that is, gives the charge back to that group.
 *
 * Objects
 *	slab_state.groups[pfn of a slab's first frame] -> one group per object, or NULL
 *	Table and vectors are made when the first object of the machine, of the slab, is charged.
 *
 *	While the machine has no group nothing of this costs anything: SLAB_ACCOUNT caches are as
 *	fast as others until the first one is made.
 *
 * Invariants
 *	I1 a slot names the group of an object that is allocated; of a free one it is NULL
 *	I2 a cache with a slot that is not NULL has DEBUG_ACCOUNT, so each free looks here
 *
 * Locking
 *	a slot: whoever has the object. Table and vectors are published once, with a release.
 *
 * Unlike Linux
 *	Slab pages are not charged, objects are, byte for byte; there are no per-CPU stocks.
 */
#include <karc/mm/phys/memcg.h>
#include "internal.h"

static size_t table_bytes(const struct slab_state *state)
{
	return state->max_pfn * sizeof(*state->groups);
}

/* The table, made now if there is none; NULL: the host has no memory. */
static struct mem_cgroup ***groups_get(struct slab_state *state)
{
	struct mem_cgroup ***table = smp_load_acquire(&state->groups), ***mine;

	if (likely(table))
		return table;
	mine = hostmem_map(slab_hostmem(state), table_bytes(state));
	if (!mine)
		return NULL;
	if (__atomic_compare_exchange_n(&state->groups, &table, mine, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return mine;
	hostmem_unmap(slab_hostmem(state), mine, table_bytes(state));
	return table;
}

/* Where the group of @obj is remembered; NULL: nowhere, and @make could not change that. */
static struct mem_cgroup **slot_of(struct kmem_cache *cachep, const void *obj, bool make)
{
	struct slab_state *state = cachep->state;
	struct page *page = virt_to_head_page(obj);
	struct mem_cgroup ***table = make ? groups_get(state) : smp_load_acquire(&state->groups);
	struct mem_cgroup ***where, **vector, **mine;

	if (!table)
		return NULL;
	where = &table[page_to_pfn(page)];
	vector = smp_load_acquire(where);
	if (!vector && make) {
		mine = hostmem_zalloc(slab_hostmem(state), cachep->num * sizeof(*mine));
		if (!mine)
			return NULL;
		if (__atomic_compare_exchange_n(where, &vector, mine, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			vector = mine;
		else
			hostmem_free(slab_hostmem(state), mine);
	}
	return vector ? &vector[obj_to_index(cachep, page, obj)] : NULL;
}

/* Charge @obj if it is to be. False: over the limit, and nobody pays for it. */
bool memcg_slab_alloc_hook(struct kmem_cache *cachep, gfp_t gfp, const void *obj)
{
	struct mem_cgroup *memcg, **slot;

	if (!(gfp & __GFP_ACCOUNT) && !(cachep->flags & SLAB_ACCOUNT))
		return true;
	memcg = active_memcg();
	if (!memcg)
		return true;
	slot = slot_of(cachep, obj, true);
	if (!slot || memcg_charge_gfp(memcg, cachep->size, gfp))
		return false;
	cache_leave_fast_ways(cachep, DEBUG_ACCOUNT);
	*slot = memcg;
	return true;
}

/* The object is freed: whoever paid for it does so no more. Any context. */
void memcg_slab_free_hook(struct kmem_cache *cachep, const void *obj)
{
	struct mem_cgroup **slot = slot_of(cachep, obj, false), *memcg;

	if (!slot || !*slot)
		return;
	memcg = *slot;
	*slot = NULL;
	memcg_uncharge(memcg, cachep->size);
}

/* The slab goes; objects that nobody freed are paid for no more. */
void account_drop_slab(struct kmem_cache *cachep, const struct page *page)
{
	struct slab_state *state = cachep->state;
	struct mem_cgroup ***table = smp_load_acquire(&state->groups), **vector;

	if (likely(!table))
		return;
	vector = table[page_to_pfn(page)];
	if (!vector)
		return;
	table[page_to_pfn(page)] = NULL;
	for (unsigned int i = 0; i < cachep->num; i++) {
		if (vector[i])
			memcg_uncharge(vector[i], cachep->size);
	}
	hostmem_free(slab_hostmem(state), vector);
}

/* The machine has a group: from now on caches whose objects are charged look who pays. */
static void account_begin(struct machine *m)
{
	struct slab_state *state = machine_room(m, ROOM_SLAB);
	struct kmem_cache *cachep;
	unsigned long flags;

	spin_lock_irqsave(&state->list_lock, flags);
	state->has_groups = true;
	list_for_each_entry(cachep, &state->caches, list) {
		if (cachep->flags & SLAB_ACCOUNT)
			cache_leave_fast_ways(cachep, DEBUG_ACCOUNT);
	}
	spin_unlock_irqrestore(&state->list_lock, flags);
}

void account_start(struct slab_state *state)
{
	phys_set_memcg_begin(state->machine, account_begin);
}

void account_exit(struct slab_state *state)
{
	phys_set_memcg_begin(state->machine, NULL);
	if (state->groups)
		hostmem_unmap(slab_hostmem(state), state->groups, table_bytes(state));
}

/* The group that pays for @obj, or NULL. */
struct mem_cgroup *slab_object_memcg(const void *obj)
{
	struct page *page = slab_page_of(obj);
	struct mem_cgroup **slot = page ? slot_of(page->slab_cache, obj, false) : NULL;

	return slot ? *slot : NULL;
}

static void check_slab(const struct kmem_cache *cachep, const struct page *page,
		       struct mem_cgroup *const *vector, struct check_report *report)
{
	for (unsigned int i = 0; i < cachep->num; i++) {
		if (!vector[i])
			continue;
		if (slab_is_free_here(page, i))
			check_fail(report, "account I1: %s: a free object is charged",
				   cachep->name);
		if (!(cachep->debug & DEBUG_ACCOUNT))
			check_fail(report, "account I2: %s: frees do not look for charges",
				   cachep->name);
	}
}

/* Of a slab on a list. */
void account_check_slab(const struct kmem_cache *cachep, const struct page *page,
			struct check_report *report)
{
	struct mem_cgroup ***table = smp_load_acquire(&cachep->state->groups);

	if (table && table[page_to_pfn(page)])
		check_slab(cachep, page, table[page_to_pfn(page)], report);
}
