/* SPDX-License-Identifier: MIT */
/*
 * Goal: every flag of a request does what its name says: which zone, which reserve, whether it may
 * wait and for what, what the memory looks like, who pays, and what is said when there is none.
 * Method: a test for each flag, in machines small enough to be used up; a reclaim that writes
 * down what it was asked.
 */
#include "fixture.h"

#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/mm/phys/memcg.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include "mm/phys/internal.h"

#define MIB (1ULL << 20)

static const struct machine_config small = { .mem_bytes = 16 * MIB };
static const struct machine_config all_zones = {
	.mem_bytes = 64 * MIB,
	.dma_end = 8 * MIB,
	.dma32_end = 16 * MIB,
	.movable_start = 40 * MIB,
	.highmem_start = 48 * MIB,
};
static const struct machine_config two_nodes = { .mem_bytes = 32 * MIB, .nr_nodes = 2 };

static unsigned long take_all(gfp_t gfp, unsigned int order, struct list_head *taken)
{
	unsigned long nr = 0;
	struct page *page;

	while ((page = alloc_pages(gfp | __GFP_NOWARN, order))) {
		list_add(&page->lru, taken);
		nr++;
	}
	return nr;
}

static void give_all(unsigned int order, struct list_head *taken)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, taken, lru) {
		list_del(&page->lru);
		__free_pages(page, order);
	}
}

static unsigned long nr_free(void)
{
	return phys_nr_free(this_machine());
}

/* ---- a room above that writes down what it is asked ---- */

static struct {
	gfp_t gfp;
	unsigned int nr_room, nr_last, nr_pressure;
	unsigned int memalloc;		/* the scopes of the task while it makes room */
	struct list_head kept;
} above;

static unsigned long make_room(gfp_t gfp, unsigned int order)
{
	struct page *page = list_first_entry_or_null(&above.kept, struct page, lru);

	(void)order;
	above.gfp = gfp;
	above.nr_room++;
	above.memalloc = memalloc_flags();
	if (!page)
		return 0;
	list_del(&page->lru);
	__free_page(page);
	return 1;
}

static bool last_resort(gfp_t gfp, unsigned int order)
{
	(void)gfp, (void)order;
	above.nr_last++;
	return false;
}

static void pressure(struct zone *zone, unsigned int order)
{
	(void)zone, (void)order;
	above.nr_pressure++;
}

static const struct reclaim_ops ops = {
	.make_room = make_room, .last_resort = last_resort, .pressure = pressure,
};

static void use_up(gfp_t gfp)
{
	memset(&above, 0, sizeof(above));
	INIT_LIST_HEAD(&above.kept);
	take_all(gfp, 0, &above.kept);
	phys_set_reclaim(this_machine(), &ops);
}

static void recover(unsigned long before)
{
	phys_set_reclaim(this_machine(), NULL);
	give_all(0, &above.kept);
	assert_int_equal(nr_free(), before);
}

/* A failing request's answer; what it asked the room above for is in `above`. */
static void fails(gfp_t gfp, unsigned int order)
{
	struct list_head kept = above.kept;

	/* Nothing to reclaim for it. */
	list_replace_init(&above.kept, &kept);
	above.nr_room = above.nr_last = above.nr_pressure = 0;
	assert_null(alloc_pages(gfp | __GFP_NOWARN, order));
	list_replace(&kept, &above.kept);
}

/* ---- who may wait, and for what ---- */

static void gfp_kernel_reclaims_with_io_and_fs_and_as_a_last_resort_kills(void **state)
{
	unsigned long before = nr_free();
	struct page *page;

	(void)state;
	use_up(GFP_KERNEL);
	page = alloc_page(GFP_KERNEL);
	assert_non_null(page);
	assert_true(above.nr_room > 0 && above.nr_pressure > 0);
	assert_true((above.gfp & (__GFP_IO | __GFP_FS)) == (__GFP_IO | __GFP_FS));
	assert_true(above.memalloc & PF_MEMALLOC);	/* who makes room may use the reserves */
	assert_false(memalloc_flags() & PF_MEMALLOC);
	fails(GFP_KERNEL, 5);
	assert_int_equal(above.nr_last, 0);		/* not for 32 frames in a row */
	fails(GFP_KERNEL, 0);
	assert_true(above.nr_last > 0);
	__free_page(page);
	recover(before);
}

static void gfp_user_waits_like_kernel_and_hardwall_restricts_nothing(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	use_up(GFP_KERNEL);
	fails(GFP_USER, 0);
	assert_true(above.nr_room > 0 && above.nr_last > 0);
	assert_true(above.gfp & __GFP_HARDWALL);	/* passed on; there are no cpusets here */
	recover(before);
}

static void gfp_noio_and_nofs_say_so_to_reclaim_and_kill_nobody(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	use_up(GFP_KERNEL);
	fails(GFP_NOIO, 0);
	assert_true(above.nr_room > 0 && !above.nr_last);
	assert_false(above.gfp & (__GFP_IO | __GFP_FS));
	fails(GFP_NOFS, 0);
	assert_true(above.gfp & __GFP_IO);
	assert_false(above.gfp & __GFP_FS);
	assert_int_equal(above.nr_last, 0);
	recover(before);
}

static void gfp_nowait_tells_of_pressure_and_does_not_wait(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	use_up(GFP_KERNEL);
	preempt_disable();
	fails(GFP_NOWAIT, 0);
	preempt_enable();
	expect_no_warn();
	assert_int_equal(above.nr_room, 0);
	assert_true(above.nr_pressure > 0);
	fails(GFP_NOWAIT & ~__GFP_KSWAPD_RECLAIM, 0);
	assert_int_equal(above.nr_pressure, 0);
	recover(before);
}

static void noretry_asks_once_and_retry_mayfail_often_but_kills_nobody(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	use_up(GFP_KERNEL);
	fails(GFP_KERNEL | __GFP_NORETRY, 0);
	assert_int_equal(above.nr_room, 1);
	assert_int_equal(above.nr_last, 0);
	fails(GFP_KERNEL | __GFP_RETRY_MAYFAIL, 0);
	assert_int_equal(above.nr_last, 0);
	above.nr_room = 0;
	assert_null(alloc_pages(GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN, 9));
	assert_in_range(above.nr_room, 2, MAX_RECLAIM_ROUNDS + 1);
	recover(before);
}

static void nofail_goes_on_until_it_has_it(void **state)
{
	unsigned long before = nr_free();
	struct page *page;

	(void)state;
	use_up(GFP_KERNEL);
	page = alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 3);
	assert_non_null(page);
	__free_pages(page, 3);
	recover(before);
}

static void nofail_that_cannot_wait_is_reported(void **state)
{
	unsigned long before = nr_free();

	(void)state;
	use_up(GFP_ATOMIC | __GFP_MEMALLOC);
	fails(GFP_NOWAIT | __GFP_NOFAIL, 0);
	expect_warn("DIRECT_RECLAIM");
	recover(before);
}

static void sleeping_flags_in_atomic_context_name_the_caller(void **state)
{
	static const gfp_t sleeping[] = {
		GFP_KERNEL, GFP_USER, GFP_HIGHUSER, GFP_HIGHUSER_MOVABLE, GFP_NOIO, GFP_NOFS,
		GFP_KERNEL_ACCOUNT,
	};
	static const gfp_t others[] = { GFP_ATOMIC, GFP_NOWAIT, GFP_DMA, GFP_DMA32, __GFP_ZERO };
	unsigned long flags;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sleeping); i++) {
		preempt_disable();
		__free_page(alloc_page(sleeping[i]));
		preempt_enable();
		expect_warn("called from invalid context at tests/mm/phys/test_gfp.c");
	}
	local_irq_save(flags);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		__free_page(alloc_page(others[i]));
	local_irq_restore(flags);
	expect_no_warn();
	preempt_disable();
	might_alloc(GFP_KERNEL);
	preempt_enable();
	expect_warn("called from invalid context at tests/mm/phys/test_gfp.c");
}

/* ---- who may use the reserves ---- */

/* Each kind of request gets further than the one before, and all comes back. */
static void atomic_high_and_memalloc_each_get_further_than_kernel(void **state)
{
	unsigned long before = nr_free(), high, atomic, rest;
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_DMA];
	LIST_HEAD(taken);

	(void)state;
	assert_true(take_all(GFP_KERNEL, 0, &taken) > 0);
	assert_int_equal(take_all(GFP_NOWAIT, 0, &taken), 0);
	assert_in_range(zone_page_state(zone, NR_FREE_PAGES), 1, min_wmark_pages(zone));
	assert_int_equal(take_all(GFP_ATOMIC & ~__GFP_HIGH & ~__GFP_ATOMIC, 0, &taken), 0);
	high = take_all(__GFP_HIGH, 0, &taken);
	assert_true(high > 0);
	atomic = take_all(GFP_ATOMIC, 0, &taken);
	assert_true(atomic > 0);
	assert_true(zone_page_state(zone, NR_FREE_PAGES) >= min_wmark_pages(zone) / 4);
	assert_int_equal(take_all(GFP_ATOMIC | __GFP_NOMEMALLOC | __GFP_MEMALLOC, 0, &taken), 0);
	rest = take_all(__GFP_MEMALLOC, 0, &taken);
	assert_true(rest > 0);
	assert_int_equal(nr_free(), 0);
	give_all(0, &taken);
	assert_int_equal(nr_free(), before);
}

/* Free frames of each zone, and free blocks of each order, with nothing on the CPUs' lists. */
static void count_zones(unsigned long nr[MAX_NR_ZONES][MAX_ORDER + 1])
{
	drain_all_pages(NULL);
	for (int type = 0; type < MAX_NR_ZONES; type++) {
		struct zone *zone = &NODE_DATA(0)->node_zones[type];

		nr[type][MAX_ORDER] = zone_page_state(zone, NR_FREE_PAGES);
		for (unsigned int order = 0; order < MAX_ORDER; order++)
			nr[type][order] = zone->free_area[order].nr_free;
	}
}

static void exhaustion_fails_cleanly_and_recovers_to_the_same_free_blocks(void **state)
{
	static const gfp_t kinds[] = {
		GFP_ATOMIC, GFP_KERNEL | __GFP_NORETRY, GFP_HIGHUSER_MOVABLE | __GFP_NORETRY,
		GFP_ATOMIC | __GFP_MEMALLOC, GFP_NOWAIT,
	};
	unsigned long before[MAX_NR_ZONES][MAX_ORDER + 1], after[MAX_NR_ZONES][MAX_ORDER + 1];

	(void)state;
	count_zones(before);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (unsigned int order = 0; order < 7; order += 3) {
			LIST_HEAD(taken);

			assert_true(take_all(kinds[i], order, &taken) > 0);
			give_all(order, &taken);
			count_zones(after);
			assert_memory_equal(before, after, sizeof(before));
		}
	}
}

static void memalloc_scope_opens_the_reserves_and_says_so(void **state)
{
	unsigned long before = nr_free();
	unsigned int scope;
	struct page *page;

	(void)state;
	use_up(GFP_KERNEL);
	take_all(GFP_ATOMIC, 0, &above.kept);
	scope = memalloc_noreclaim_save();
	page = alloc_page(GFP_KERNEL);
	assert_non_null(page);
	assert_true(page_is_pfmemalloc(page));
	assert_int_equal(above.nr_room, 0);		/* who makes room does not ask for it */
	assert_null(alloc_page(GFP_KERNEL | __GFP_NOMEMALLOC | __GFP_NOWARN));
	memalloc_noreclaim_restore(scope);
	__free_page(page);
	recover(before);
	page = alloc_page(GFP_KERNEL | __GFP_MEMALLOC);
	assert_false(page_is_pfmemalloc(page));		/* there was enough without */
	__free_page(page);
}

static void scopes_nest_and_weaken_what_is_asked(void **state)
{
	unsigned int io = memalloc_noio_save(), fs = memalloc_nofs_save(), again;

	(void)state;
	assert_int_equal(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	again = memalloc_noio_save();
	memalloc_noio_restore(again);
	assert_int_equal(current_gfp_context(GFP_KERNEL), GFP_NOIO);
	memalloc_noio_restore(io);
	assert_int_equal(current_gfp_context(GFP_KERNEL), GFP_NOFS);
	memalloc_nofs_restore(fs);
	assert_int_equal(current_gfp_context(GFP_HIGHUSER_MOVABLE), GFP_HIGHUSER_MOVABLE);
	io = memalloc_pin_save();
	assert_int_equal(current_gfp_context(GFP_HIGHUSER_MOVABLE), GFP_HIGHUSER);
	memalloc_pin_restore(io);
}

static void scopes_reach_reclaim(void **state)
{
	unsigned long before = nr_free();
	unsigned int scope;

	(void)state;
	use_up(GFP_KERNEL);
	scope = memalloc_nofs_save();
	fails(GFP_KERNEL, 0);
	memalloc_nofs_restore(scope);
	assert_true(above.gfp & __GFP_IO);
	assert_false(above.gfp & __GFP_FS);
	recover(before);
}

static long victim(void *arg)
{
	struct list_head *taken = arg;

	memalloc_save(PF_OOM_VICTIM);
	return (long)take_all(GFP_KERNEL | __GFP_NORETRY, 0, taken);
}

static void victim_of_the_oom_killer_gets_half_of_the_reserve(void **state)
{
	unsigned long before = nr_free(), reserve;
	struct machine_result result;
	LIST_HEAD(taken);

	(void)state;
	take_all(GFP_KERNEL, 0, &taken);
	reserve = nr_free();
	result = machine_call(this_machine(), 0, victim, &taken);
	assert_in_range(result.value, reserve / 2 - 8, reserve / 2 + 8);
	give_all(0, &taken);
	assert_int_equal(nr_free(), before);
}

static void exhaustion_leaves_the_blocks_for_atomic_requests(void **state)
{
	unsigned long before = nr_free();
	struct zone *zone = &NODE_DATA(0)->node_zones[ZONE_DMA];
	LIST_HEAD(taken);
	struct page *page;

	(void)state;
	take_all(GFP_KERNEL, 1, &taken);
	page = alloc_pages(GFP_ATOMIC, 1);		/* below the mark: its block is kept */
	assert_non_null(page);
	assert_int_equal(zone->nr_reserved_highatomic, pageblock_nr_pages);
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_HIGHATOMIC);
	__free_pages(page, 1);
	assert_null(alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 1));
	page = alloc_pages(GFP_ATOMIC, 1);
	assert_int_equal(get_pageblock_migratetype(page), MIGRATE_HIGHATOMIC);
	__free_pages(page, 1);
	take_all(GFP_KERNEL, 0, &taken);		/* who may wait gets it back in the end */
	assert_int_equal(zone->nr_reserved_highatomic, 0);
	while (!list_empty(&taken)) {
		page = list_first_entry(&taken, struct page, lru);
		list_del(&page->lru);
		__free_pages(page, page_block_order(page));
	}
	assert_int_equal(nr_free(), before);
}

/* ---- which memory ---- */

static void zone_flags_choose_the_highest_zone(void **state)
{
	static const struct {
		gfp_t gfp;
		enum zone_type zone;
	} want[] = {
		{ GFP_KERNEL, ZONE_NORMAL }, { GFP_ATOMIC, ZONE_NORMAL }, { GFP_USER, ZONE_NORMAL },
		{ GFP_NOFS, ZONE_NORMAL }, { GFP_NOIO, ZONE_NORMAL }, { GFP_NOWAIT, ZONE_NORMAL },
		{ GFP_DMA, ZONE_DMA }, { GFP_KERNEL | GFP_DMA, ZONE_DMA },
		{ GFP_DMA32, ZONE_DMA32 }, { GFP_KERNEL | GFP_DMA32, ZONE_DMA32 },
		{ GFP_HIGHUSER, ZONE_HIGHMEM }, { GFP_HIGHUSER_MOVABLE, ZONE_MOVABLE },
		{ GFP_KERNEL | __GFP_MOVABLE, ZONE_NORMAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		for (unsigned int order = 0; order < 3; order++) {
			struct page *page = alloc_pages(want[i].gfp, order);

			assert_int_equal(gfp_zone(want[i].gfp), want[i].zone);
			assert_int_equal(page_zonenum(page), want[i].zone);
			if (want[i].zone == ZONE_DMA)
				assert_true(page_to_phys(page) + (PAGE_SIZE << order) <= 8 * MIB);
			if (want[i].zone == ZONE_HIGHMEM)
				assert_null(page_address(page));	/* nobody mapped it */
			__free_pages(page, order);
		}
	}
}

static void mobility_flags_choose_the_block(void **state)
{
	struct page *fixed = alloc_page(GFP_KERNEL);
	struct page *movable = alloc_page(GFP_KERNEL | __GFP_MOVABLE);
	struct page *reclaimable = alloc_page(GFP_KERNEL | __GFP_RECLAIMABLE);

	(void)state;
	assert_int_equal(get_pageblock_migratetype(fixed), MIGRATE_UNMOVABLE);
	assert_int_equal(get_pageblock_migratetype(movable), MIGRATE_MOVABLE);
	assert_int_equal(get_pageblock_migratetype(reclaimable), MIGRATE_RECLAIMABLE);
	__free_page(fixed);
	__free_page(movable);
	__free_page(reclaimable);
}

static void thisnode_and_nodemask_keep_to_their_nodes(void **state)
{
	nodemask_t second = { { 2 } };
	struct page *page = alloc_pages_node(1, GFP_KERNEL | __GFP_THISNODE, 0);
	LIST_HEAD(taken);

	(void)state;
	assert_int_equal(page_to_nid(page), 1);
	__free_page(page);
	page = __alloc_pages(GFP_KERNEL, 2, 0, &second);
	assert_int_equal(page_to_nid(page), 1);
	__free_pages(page, 2);
	while ((page = alloc_pages_node(1, GFP_NOWAIT | __GFP_THISNODE | __GFP_NOWARN, 0))) {
		assert_int_equal(page_to_nid(page), 1);
		list_add(&page->lru, &taken);
	}
	page = alloc_pages_node(1, GFP_NOWAIT, 0);
	assert_int_equal(page_to_nid(page), 0);
	__free_page(page);
	give_all(0, &taken);
}

static void zero_and_comp_do_what_they_say(void **state)
{
	static const char zeros[PAGE_SIZE];

	(void)state;
	for (unsigned int order = 0; order < 4; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		memset(page_address(page), 0x5a, PAGE_SIZE << order);
		assert_false(PageCompound(page));
		__free_pages(page, order);
		page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, order);
		for (unsigned int i = 0; i < 1u << order; i++) {
			assert_memory_equal(page_address(page + i), zeros, PAGE_SIZE);
			assert_ptr_equal(compound_head(page + i), page);
		}
		assert_int_equal(PageCompound(page), order != 0);
		assert_int_equal(compound_order(page), order);
		__free_pages(page, order);
	}
}

/* ---- who pays ---- */

static void account_charges_the_active_group_and_nobody_else(void **state)
{
	struct mem_cgroup *group = mem_cgroup_alloc(8 * PAGE_SIZE, GFP_KERNEL), *old;
	unsigned long before = nr_free();
	struct page *page, *other;

	(void)state;
	page = alloc_page(GFP_KERNEL_ACCOUNT);
	assert_null(page_memcg(page));			/* no group is active */
	__free_page(page);
	old = set_active_memcg(group);
	assert_ptr_equal(active_memcg(), group);
	other = alloc_page(GFP_KERNEL);
	assert_int_equal(mem_cgroup_usage(group), 0);
	page = alloc_pages(GFP_KERNEL_ACCOUNT, 2);
	assert_ptr_equal(page_memcg(page + 3), group);
	assert_int_equal(mem_cgroup_usage(group), 4 * PAGE_SIZE);
	assert_null(alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_NOWARN, 3));
	assert_int_equal(group->nr_refused, 1);
	assert_int_equal(mem_cgroup_usage(group), 4 * PAGE_SIZE);
	set_active_memcg(old);
	split_page(page, 2);
	for (int i = 0; i < 4; i++) {			/* in whatever parts it is freed */
		assert_int_equal(mem_cgroup_usage(group), (unsigned long)(4 - i) * PAGE_SIZE);
		__free_page(page + i);
	}
	assert_int_equal(mem_cgroup_usage(group), 0);
	__free_page(other);
	assert_int_equal(nr_free(), before);
	mem_cgroup_put(group);
}

static void what_must_not_fail_is_charged_beyond_the_limit(void **state)
{
	struct mem_cgroup *group = mem_cgroup_alloc(PAGE_SIZE, GFP_KERNEL);
	struct mem_cgroup *old = set_active_memcg(group);
	struct page *page = alloc_pages(GFP_KERNEL_ACCOUNT | __GFP_NOFAIL, 1);
	struct page *atomic = alloc_page(GFP_ATOMIC | __GFP_ACCOUNT);

	(void)state;
	assert_non_null(page);
	assert_non_null(atomic);
	assert_int_equal(mem_cgroup_usage(group), 3 * PAGE_SIZE);
	assert_int_equal(group->max_usage_bytes, 3 * PAGE_SIZE);
	set_active_memcg(old);
	mem_cgroup_put(group);				/* what is charged keeps it alive */
	get_page(page);
	__free_pages(page, 1);				/* the tail goes, the head stays charged */
	assert_int_equal(mem_cgroup_usage(page_memcg(page)), 2 * PAGE_SIZE);
	put_page(page);
	__free_page(atomic);
}

static void group_refuses_to_give_back_what_it_has_not(void **state)
{
	struct mem_cgroup *group = mem_cgroup_alloc(MEMCG_NO_LIMIT, GFP_KERNEL);

	(void)state;
	assert_int_equal(memcg_charge(group, 100), 0);
	memcg_uncharge(group, 200);
	expect_warn("200 bytes given back, 100 charged");
	assert_int_equal(memcg_charge(NULL, 100), 0);
	memcg_uncharge(NULL, 100);
	mem_cgroup_put(group);
}

static int irq_saw_group;

static irqreturn_t look_at_group(int irq, void *dev)
{
	(void)irq;
	irq_saw_group = active_memcg() == dev;
	return IRQ_HANDLED;
}

static void interrupts_are_not_part_of_the_group(void **state)
{
	struct mem_cgroup *group = mem_cgroup_alloc(MEMCG_NO_LIMIT, GFP_KERNEL), *old;

	(void)state;
	assert_int_equal(request_irq(5, look_at_group, 0, "test", group), 0);
	old = set_active_memcg(group);
	irq_saw_group = -1;
	irq_raise(this_machine(), 0, 5);
	while (READ_ONCE(irq_saw_group) < 0)
		hw_safepoint();
	assert_int_equal(irq_saw_group, 0);
	set_active_memcg(old);
	free_irq(5, group);
	mem_cgroup_put(group);
}

/* ---- what is said ---- */

static void flags_have_linuxs_names(void **state)
{
	static const struct {
		gfp_t gfp;
		const char *names;
	} want[] = {
		{ GFP_KERNEL, "GFP_KERNEL" }, { GFP_ATOMIC, "GFP_ATOMIC" }, { 0, "none" },
		{ GFP_KERNEL | __GFP_ZERO, "GFP_KERNEL|__GFP_ZERO" },
		{ GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE" }, { GFP_USER, "GFP_USER" },
		{ GFP_ATOMIC | __GFP_COMP | __GFP_NOWARN, "GFP_ATOMIC|__GFP_NOWARN|__GFP_COMP" },
		{ GFP_NOWAIT, "GFP_NOWAIT" }, { GFP_NOIO | GFP_DMA, "GFP_NOIO|GFP_DMA" },
		{ GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT" },
		{ __GFP_DIRECT_RECLAIM | __GFP_THISNODE, "__GFP_THISNODE|__GFP_DIRECT_RECLAIM" },
	};
	char buf[GFP_NAMES_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(gfp_flag_names(want[i].gfp, buf, sizeof(buf)), want[i].names);
	assert_non_null(strstr(gfp_flag_names(1u << 31 | GFP_KERNEL, buf, sizeof(buf)),
			       "|0x80000000"));
	assert_true(strlen(gfp_flag_names(__GFP_BITS_MASK, buf, sizeof(buf))) <
		    sizeof(buf) - 1);
}

static void failure_is_said_with_flags_caller_and_what_is_free(void **state)
{
	LIST_HEAD(taken);

	(void)state;
	take_all(GFP_KERNEL, 0, &taken);
	assert_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, 3));
	assert_false(fixture_log_contains("page allocation failure"));
	assert_null(alloc_pages(GFP_KERNEL | __GFP_COMP, 3));
	assert_true(fixture_log_contains("page allocation failure: order:3, mode:"));
	assert_true(fixture_log_contains("(GFP_KERNEL|__GFP_COMP), nodemask=(null)"));
	assert_true(fixture_log_contains("failure_is_said_with_flags"));
	assert_true(fixture_log_contains("Mem-Info:"));
	assert_true(fixture_log_contains("Node 0 DMA free:"));
	assert_true(fixture_log_contains("*4kB"));
	assert_true(fixture_log_contains("pages RAM"));
	give_all(0, &taken);
	expect_no_warn();
}

static unsigned int nr_lines_with(const char *text)
{
	struct log_record record;
	unsigned int nr = 0;
	u64 seq = 0;

	while (karc_log_read(machine_log(this_machine()), &seq, &record))
		nr += strstr(record.text, text) != NULL;
	return nr;
}

static void failures_are_said_ten_times_in_a_row_at_most(void **state)
{
	LIST_HEAD(taken);

	(void)state;
	take_all(GFP_KERNEL, 0, &taken);
	for (int i = 0; i < 30; i++)
		assert_null(alloc_pages(GFP_NOWAIT, 6));
	assert_in_range(nr_lines_with("page allocation failure"), 1, 10);
	give_all(0, &taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define SMALL(fn) karc_unit_test_config(fn, 1, &small), karc_unit_test_config(fn, 4, &small)
		SMALL(gfp_kernel_reclaims_with_io_and_fs_and_as_a_last_resort_kills),
		SMALL(gfp_user_waits_like_kernel_and_hardwall_restricts_nothing),
		SMALL(gfp_noio_and_nofs_say_so_to_reclaim_and_kill_nobody),
		SMALL(gfp_nowait_tells_of_pressure_and_does_not_wait),
		SMALL(noretry_asks_once_and_retry_mayfail_often_but_kills_nobody),
		SMALL(nofail_goes_on_until_it_has_it),
		SMALL(nofail_that_cannot_wait_is_reported),
		KARC_TESTS(sleeping_flags_in_atomic_context_name_the_caller),
		SMALL(atomic_high_and_memalloc_each_get_further_than_kernel),
		karc_unit_test_config(exhaustion_fails_cleanly_and_recovers_to_the_same_free_blocks,
				      1, &all_zones),
		karc_unit_test_config(exhaustion_fails_cleanly_and_recovers_to_the_same_free_blocks,
				      4, &all_zones),
		SMALL(memalloc_scope_opens_the_reserves_and_says_so),
		KARC_TESTS(scopes_nest_and_weaken_what_is_asked),
		SMALL(scopes_reach_reclaim),
		SMALL(victim_of_the_oom_killer_gets_half_of_the_reserve),
		SMALL(exhaustion_leaves_the_blocks_for_atomic_requests),
		karc_unit_test_config(zone_flags_choose_the_highest_zone, 1, &all_zones),
		karc_unit_test_config(zone_flags_choose_the_highest_zone, 4, &all_zones),
		KARC_TESTS(mobility_flags_choose_the_block),
		karc_unit_test_config(thisnode_and_nodemask_keep_to_their_nodes, 1, &two_nodes),
		karc_unit_test_config(thisnode_and_nodemask_keep_to_their_nodes, 4, &two_nodes),
		KARC_TESTS(zero_and_comp_do_what_they_say),
		KARC_TESTS(account_charges_the_active_group_and_nobody_else),
		KARC_TESTS(what_must_not_fail_is_charged_beyond_the_limit),
		karc_unit_test(group_refuses_to_give_back_what_it_has_not),
		KARC_TESTS(interrupts_are_not_part_of_the_group),
		karc_unit_test(flags_have_linuxs_names),
		SMALL(failure_is_said_with_flags_caller_and_what_is_free),
		SMALL(failures_are_said_ten_times_in_a_row_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
