/* SPDX-License-Identifier: MIT */
/*
 * memcg.c - groups with a limit, and the frames that are charged to them
 *
 * What it is
 *	A group counts bytes. Frames and objects (the room above) of __GFP_ACCOUNT requests are
 *	charged to the group that is active; a frame's group is in a table by its number, which
 *	exists once the machine has a group, and PG_memcg says that there is something in it.
 *
 * Objects
 *	fiber -> active group (borrowed); phys.memcg_of[pfn] -> group
 *	All charges of a group together hold one reference on it.
 *
 * Invariants
 *	I1 usage is what was charged and not given back; if it is not 0 the group is alive
 *	I2 a frame is PG_memcg exactly if phys.memcg_of[pfn] names a group and PAGE_SIZE is charged
 *
 * Locking
 *	usage		read by anybody, written under memcg->lock
 *	memcg_of[pfn]	whoever owns the frame
 *
 * Unlike Linux
 *	Groups have no parents and no tasks: who is active is said by set_active_memcg() alone. What
 *	goes over the limit is refused without reclaiming first. User memory is not counted.
 */
#include <karc/base/hostmem.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/hw/irq.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/mm/phys/memcg.h>
#include "internal.h"

static void memcg_free(void *obj)
{
	hostmem_free(machine_hostmem(karc_cpu->machine), obj);
}

static const struct arc_type mem_cgroup_type = {
	.name = "mem_cgroup",
	.size = sizeof(struct mem_cgroup),
	.offset = offsetof(struct mem_cgroup, arc),
	.flags = ARC_LEAF,
	.ops = { .free = memcg_free },
};

static size_t table_bytes(const struct phys *phys)
{
	return phys->max_pfn * sizeof(struct mem_cgroup *);
}

int memcg_init(void)
{
	return arc_type_register(&mem_cgroup_type);
}

void memcg_exit(struct phys *phys)
{
	if (phys->memcg_of)
		hostmem_unmap(machine_hostmem(phys->machine), phys->memcg_of, table_bytes(phys));
	phys->memcg_of = NULL;
}

/* The table by frame, made by whoever needs it first. */
static bool have_table(struct phys *phys)
{
	struct hostmem_account *account = machine_hostmem(phys->machine);
	struct mem_cgroup **table, **none = NULL;

	if (__atomic_load_n(&phys->memcg_of, __ATOMIC_ACQUIRE))
		return true;
	table = hostmem_map(account, table_bytes(phys));
	if (!table)
		return false;
	if (!__atomic_compare_exchange_n(&phys->memcg_of, &none, table, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		hostmem_unmap(account, table, table_bytes(phys));
	else if (phys->memcg_begin)
		phys->memcg_begin(phys->machine);
	return true;
}

void phys_set_memcg_begin(struct machine *m, void (*begin)(struct machine *m))
{
	phys_of(m)->memcg_begin = begin;
}

struct mem_cgroup *mem_cgroup_alloc_site(size_t limit_bytes, gfp_t gfp, const struct site *site)
{
	struct phys *phys = phys_here();
	struct mem_cgroup *memcg;

	if (gfp & __GFP_DIRECT_RECLAIM)
		might_sleep_site(site);
	if (inject_fail() || !have_table(phys))
		return NULL;
	memcg = hostmem_zalloc(machine_hostmem(phys->machine), sizeof(*memcg));
	if (!memcg)
		return NULL;
	spin_lock_init(&memcg->lock);
	memcg->limit_bytes = limit_bytes;
	arc_init_site(&memcg->arc, &mem_cgroup_type, site);
	return memcg;
}

static void **active_slot(void)
{
	return in_task() ? &karc_cpu->fiber->active_memcg : &phys_hot()->int_active_memcg;
}

struct mem_cgroup *set_active_memcg(struct mem_cgroup *memcg)
{
	void **slot = active_slot();
	struct mem_cgroup *old = *slot;

	*slot = memcg;
	return old;
}

struct mem_cgroup *active_memcg(void)
{
	return *active_slot();
}

/* I1. The first charge takes the reference that all of them hold. */
static int charge(struct mem_cgroup *memcg, size_t bytes, bool beyond_limit)
{
	unsigned long flags;
	int err = 0;

	if (!memcg || !bytes)
		return 0;
	spin_lock_irqsave(&memcg->lock, flags);
	if (bytes > memcg->limit_bytes || memcg->usage_bytes > memcg->limit_bytes - bytes) {
		memcg->nr_refused++;
		err = beyond_limit ? 0 : -ENOMEM;
	}
	if (!err) {
		if (!memcg->usage_bytes)
			mem_cgroup_get(memcg);
		WRITE_ONCE(memcg->usage_bytes, memcg->usage_bytes + bytes);
		memcg->max_usage_bytes = max(memcg->max_usage_bytes, memcg->usage_bytes);
	}
	spin_unlock_irqrestore(&memcg->lock, flags);
	return err;
}

int memcg_charge(struct mem_cgroup *memcg, size_t bytes)
{
	return charge(memcg, bytes, false);
}

int memcg_charge_gfp(struct mem_cgroup *memcg, size_t bytes, gfp_t gfp)
{
	return charge(memcg, bytes, gfp & (__GFP_NOFAIL | __GFP_HIGH) ||
				    memalloc_flags() & PF_MEMALLOC);
}

void memcg_uncharge(struct mem_cgroup *memcg, size_t bytes)
{
	unsigned long flags;
	size_t had;

	if (!memcg || !bytes)
		return;
	spin_lock_irqsave(&memcg->lock, flags);
	had = memcg->usage_bytes;
	WRITE_ONCE(memcg->usage_bytes, had - min(had, bytes));
	spin_unlock_irqrestore(&memcg->lock, flags);
	WARN(had < bytes, "memcg: %zu bytes given back, %zu charged", bytes, had);
	if (had && had <= bytes)
		mem_cgroup_put(memcg);
}

size_t mem_cgroup_usage(const struct mem_cgroup *memcg)
{
	return memcg ? READ_ONCE(memcg->usage_bytes) : 0;
}

struct mem_cgroup *page_memcg(const struct page *page)
{
	const struct phys *phys = phys_here();

	page = compound_head(page);
	return PageMemcg(page) ? phys->memcg_of[page_to_pfn(page)] : NULL;
}

/* Each frame by itself, so that blocks may be split and freed in parts. I2. */
int memcg_charge_block(struct page *page, unsigned int order, gfp_t gfp)
{
	struct mem_cgroup *memcg = active_memcg();
	struct mem_cgroup **of;

	if (!memcg)
		return 0;
	if (memcg_charge_gfp(memcg, PAGE_SIZE << order, gfp))
		return -ENOMEM;
	of = phys_here()->memcg_of + page_to_pfn(page);
	for (unsigned long i = 0; i < 1UL << order; i++) {
		of[i] = memcg;
		__SetPageMemcg(page + i);
	}
	return 0;
}

void memcg_uncharge_frame(struct page *page)
{
	struct mem_cgroup **of = &phys_here()->memcg_of[page_to_pfn(page)];
	struct mem_cgroup *memcg = *of;

	*of = NULL;
	__ClearPageMemcg(page);
	memcg_uncharge(memcg, PAGE_SIZE);
}
