/* SPDX-License-Identifier: MIT */
/*
 * Goal: what lies behind the arrays: shared arrays, alien caches, other nodes, the reserves, groups
 * that pay, many objects at once, the reaper, free lists that say nonsense, slabinfo's sums.
 * Method: machines with one, two and four nodes; each step looked at where it leaves its trace.
 */
#include "storm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/memalloc.h>
#include <karc/mm/phys/memcg.h>
#include <karc/mm/phys/vmstat.h>
#include "mm/slab/internal.h"

static const struct machine_config two_nodes = { .nr_nodes = 2, .mem_bytes = 64ULL << 20 };
static const struct machine_config four_nodes = { .nr_nodes = 4, .mem_bytes = 128ULL << 20 };
static const struct machine_config no_aliens = {
	.nr_nodes = 2, .mem_bytes = 64ULL << 20, .cmdline = "noaliencache",
};
static const struct machine_config small = { .mem_bytes = 16ULL << 20 };

#define NR	1200

static struct kmem_cache *cache;
static void *obj[NR];

static struct kmem_cache *cache_of(const char *name, unsigned int size, slab_flags_t flags)
{
	struct kmem_cache *c = kmem_cache_create(name, size, 0, flags, NULL);

	assert_non_null(c);
	return c;
}

/* Run fn(arg) on @cpu and wait. */
static void on_cpu(unsigned int cpu, long (*fn)(void *arg), void *arg)
{
	struct machine_result r;

	fiber_join(fiber_spawn(cpu, "there", fn, arg), &r);
	assert_string_equal(r.message, "");
	assert_int_equal(r.end, MACHINE_VALUE);
}

static unsigned int last_cpu(void)
{
	return machine_nr_cpus(this_machine()) - 1;
}

/* ---- aliens ---- */

static long free_all(void *arg)
{
	(void)arg;
	for (int i = 0; i < NR; i++)
		kmem_cache_free(cache, obj[i]);
	return 0;
}

static void take_all(void)
{
	for (int i = 0; i < NR; i++) {
		obj[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		assert_int_equal(page_to_nid(virt_to_head_page(obj[i])), 0);
	}
}

static void remote_frees_gather_in_alien_caches_and_come_home_in_batches(void **state)
{
	const struct alien_cache *alien;
	struct slabinfo info;

	(void)state;
	cache = cache_of("remote", 64, 0);
	take_all();
	on_cpu(last_cpu(), free_all, NULL);
	alien = cache->node[1]->alien[0];
	assert_non_null(alien);
	get_slabinfo(cache, &info);
	assert_int_equal(info.node_frees, NR);
	assert_int_equal(info.alien_overflows, (NR - 1) / alien->ac.limit);
	assert_int_equal(alien->ac.avail, (NR - 1) % alien->ac.limit + 1);
	/* They are this node's again: in its shared array, or on its slabs. */
	assert_true(cache->node[0]->free_objects + shared_avail(cache->node[0]) >=
		    NR - alien->ac.limit);
	assert_int_equal(cache->node[1]->total_slabs, 0);
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	assert_int_equal(kmem_cache_shrink(cache), 0);
	assert_int_equal(alien->ac.avail, 0);
	kmem_cache_destroy(cache);
}

static void with_noaliencache_each_object_goes_home_at_once(void **state)
{
	struct slabinfo info;

	(void)state;
	cache = cache_of("remote", 64, 0);
	take_all();
	on_cpu(last_cpu(), free_all, NULL);
	assert_null(cache->node[1]->alien[0]);
	get_slabinfo(cache, &info);
	assert_int_equal(info.node_frees, NR);
	assert_int_equal(info.alien_overflows, 0);
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kmem_cache_destroy(cache);
}

static void one_node_has_neither_alien_caches_nor_their_cost(void **state)
{
	(void)state;
	cache = cache_of("local", 64, 0);
	take_all();
	assert_false(cache->debug & DEBUG_HOME);
	on_cpu(last_cpu(), free_all, NULL);
	for (int nid = 0; nid < MAX_NUMNODES; nid++)
		assert_null(cache->node[0]->alien[nid]);
	kmem_cache_destroy(cache);
}

/* ---- the node that was asked for ---- */

static void object_comes_from_the_node_that_was_asked_for(void **state)
{
	int nr_nodes = (int)machine_nr_nodes(this_machine());
	void *p[40];

	(void)state;
	cache = cache_of("placed", 700, 0);
	for (int i = 0; i < 40; i++) {
		p[i] = kmem_cache_alloc_node(cache, GFP_KERNEL | __GFP_ZERO, i % nr_nodes);
		assert_int_equal(page_to_nid(virt_to_head_page(p[i])), i % nr_nodes);
		assert_int_equal(*(u64 *)p[i], 0);
	}
	assert_int_equal(machine_check(this_machine()), 0);
	for (int i = 0; i < 40; i++)
		kmem_cache_free(cache, p[i]);
	p[0] = kmem_cache_alloc_node(cache, GFP_KERNEL, NUMA_NO_NODE);
	assert_int_equal(page_to_nid(virt_to_head_page(p[0])), 0);
	kmem_cache_free(cache, p[0]);
	p[0] = kmem_cache_alloc_node(cache, GFP_KERNEL, 7);
	expect_warn("there is no node 7");
	kmem_cache_free(cache, p[0]);
	kmem_cache_destroy(cache);
}

static void kmalloc_node_gives_memory_of_that_node_of_any_size(void **state)
{
	static const size_t sizes[] = { 1, 100, 5000, 100000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int nid = 0; nid < (int)machine_nr_nodes(this_machine()); nid++) {
			u8 *p = kzalloc_node(sizes[i], GFP_KERNEL, nid);

			assert_int_equal(page_to_nid(virt_to_head_page(p)), nid);
			assert_int_equal(p[0] | p[sizes[i] - 1], 0);
			kfree(p);
		}
	}
	assert_ptr_equal(kmalloc_node(0, GFP_KERNEL, 1), ZERO_SIZE_PTR);
	assert_null(kcalloc_node(SIZE_MAX / 2, 4, GFP_KERNEL, 1));
}

/* Objects chained through their first word. */
static unsigned long fill_node(struct kmem_cache *c, gfp_t gfp, int node, void ***chain)
{
	unsigned long nr = 0;
	void **p;

	while ((p = kmem_cache_alloc_node(c, gfp | __GFP_NOWARN, node))) {
		*p = *chain;
		*chain = p;
		nr++;
	}
	return nr;
}

static void free_chain(struct kmem_cache *c, void **chain)
{
	while (chain) {
		void **next = *chain;

		kmem_cache_free(c, chain);
		chain = next;
	}
}

static void full_node_is_helped_out_by_others_unless_it_must_be_this_one(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	void **chain = NULL;
	void *p;

	(void)state;
	cache = cache_of("big", 4096, 0);
	assert_true(fill_node(cache, GFP_NOWAIT | __GFP_THISNODE, 1, &chain) > 1000);
	p = kmem_cache_alloc_node(cache, GFP_NOWAIT, 1);
	assert_non_null(p);
	assert_int_equal(page_to_nid(virt_to_head_page(p)), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_free(cache, p);
	free_chain(cache, chain);
	kmem_cache_destroy(cache);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* The CPU's node runs dry: single objects of others, and none of them in its arrays. */
static void arrays_never_hold_objects_of_another_node(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	unsigned long foreign = 0, nr = 0;
	void **chain = NULL, **p;

	(void)state;
	cache = cache_of("dry", 1024, 0);
	while (foreign < 300) {
		p = kmem_cache_alloc(cache, GFP_KERNEL);
		assert_non_null(p);
		*p = chain;
		chain = p;
		foreign += page_to_nid(virt_to_head_page(p)) != 0;
		if (++nr % 4096 == 0 || (foreign && foreign % 100 == 0))
			assert_int_equal(machine_check(this_machine()), 0);
	}
	free_chain(cache, chain);
	assert_int_equal(machine_check(this_machine()), 0);
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kmem_cache_destroy(cache);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* ---- the reserves ---- */

static void slabs_of_the_reserves_serve_only_who_may_use_them(void **state)
{
	struct kmem_cache *vital = cache_of("vital", 256, 0), *filler = cache_of("filler", 4096, 0);
	void **chain = NULL;
	struct page *page;
	void *a, *b;

	(void)state;
	fill_node(filler, GFP_ATOMIC | __GFP_NOMEMALLOC, NUMA_NO_NODE, &chain);
	assert_null(kmem_cache_alloc(vital, GFP_NOWAIT | __GFP_NOWARN));
	a = kmem_cache_alloc(vital, GFP_NOWAIT | __GFP_MEMALLOC);
	assert_non_null(a);
	page = virt_to_head_page(a);
	assert_true(PagePfMemalloc(page));
	assert_int_equal(vital->node[0]->nr_reserve, 1);
	assert_int_equal(page->slab_active, 1);		/* nothing of it went into an array */
	assert_null(kmem_cache_alloc(vital, GFP_NOWAIT | __GFP_NOWARN));
	b = kmem_cache_alloc(vital, GFP_NOWAIT | __GFP_MEMALLOC);
	assert_ptr_equal(virt_to_head_page(b), page);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_free(vital, b);
	assert_int_equal(page->slab_active, 1);		/* straight to its slab */
	assert_int_equal(arrays_cached(vital), 0);
	kfree(a);
	kmem_cache_shrink(vital);
	assert_int_equal(vital->node[0]->nr_reserve, 0);
	free_chain(filler, chain);
	kmem_cache_destroy(filler);
	kmem_cache_destroy(vital);
}

/* ---- groups that pay ---- */

static void accounted_objects_are_charged_until_they_are_freed(void **state)
{
	struct kmem_cache *c = cache_of("paid", 200, SLAB_ACCOUNT);
	struct kmem_cache *plain = cache_of("plain", 64, 0);
	unsigned int debug = c->debug;
	struct mem_cgroup *cg = mem_cgroup_alloc(5 * c->size, GFP_KERNEL);
	struct mem_cgroup *old = set_active_memcg(cg);
	void *p[5], *q, *free_of_charge;

	(void)state;
	assert_false(debug & DEBUG_ACCOUNT);	/* it cost nothing before there was a group */
	assert_true(c->debug & DEBUG_ACCOUNT);
	for (int i = 0; i < 5; i++) {
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
		assert_non_null(p[i]);
		assert_ptr_equal(slab_object_memcg(p[i]), cg);
		assert_int_equal(mem_cgroup_usage(cg), (size_t)(i + 1) * c->size);
	}
	assert_null(kmem_cache_alloc(c, GFP_KERNEL));		/* over the limit */
	assert_int_equal(kmem_cache_live_objects(c), 5);
	kmem_cache_free(c, p[4]);
	free_of_charge = kmem_cache_alloc(plain, GFP_KERNEL);
	q = kmem_cache_alloc(plain, GFP_KERNEL_ACCOUNT);
	assert_null(slab_object_memcg(free_of_charge));
	assert_ptr_equal(slab_object_memcg(q), cg);
	assert_int_equal(mem_cgroup_usage(cg), 4 * c->size + plain->size);
	set_active_memcg(old);
	mem_cgroup_put(cg);		/* what is charged holds it */
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_free(plain, q);
	kmem_cache_free(plain, free_of_charge);
	kmem_cache_free_bulk(c, 4, p);
	q = kmem_cache_alloc(c, GFP_KERNEL);			/* nobody is active */
	assert_null(slab_object_memcg(q));
	kmem_cache_free(c, q);
	kmem_cache_destroy(c);
	kmem_cache_destroy(plain);
}

static void kmalloc_charges_what_is_asked_for_with_account(void **state)
{
	struct mem_cgroup *cg = mem_cgroup_alloc(MEMCG_NO_LIMIT, GFP_KERNEL);
	struct mem_cgroup *old = set_active_memcg(cg);
	void *p = kmalloc(100, GFP_KERNEL_ACCOUNT), *q = kmalloc(100, GFP_KERNEL);
	struct kmem_cache *c;

	(void)state;
	set_active_memcg(old);
	slab_object_of(p, &c);
	assert_int_equal(mem_cgroup_usage(cg), c->size);
	assert_string_equal(kmem_cache_name(c), "kmalloc-cg-128");
	slab_object_of(q, &c);
	assert_string_equal(kmem_cache_name(c), "kmalloc-128");
	kfree(p);
	kfree(q);
	assert_int_equal(mem_cgroup_usage(cg), 0);
	mem_cgroup_put(cg);
}

static void bulk_over_the_limit_gives_nothing_and_charges_nothing(void **state)
{
	struct kmem_cache *c = cache_of("paid", 200, SLAB_ACCOUNT);
	struct mem_cgroup *cg = mem_cgroup_alloc(10 * c->size, GFP_KERNEL);
	struct mem_cgroup *old = set_active_memcg(cg);
	void *p[20];

	(void)state;
	assert_int_equal(kmem_cache_alloc_bulk(c, GFP_KERNEL, 20, p), 0);
	assert_int_equal(mem_cgroup_usage(cg), 0);
	assert_int_equal(kmem_cache_live_objects(c), 0);
	assert_int_equal(kmem_cache_alloc_bulk(c, GFP_KERNEL, 9, p), 9);
	kmem_cache_free_bulk(c, 9, p);
	assert_int_equal(mem_cgroup_usage(cg), 0);
	set_active_memcg(old);
	mem_cgroup_put(cg);
	kmem_cache_destroy(c);
}

/* ---- many at once ---- */

static void bulk_is_taken_and_given_in_batches_over_many_slabs(void **state)
{
	struct kmem_cache *a = cache_of("many", 64, 0), *b = cache_of("others", 900, 0);
	static void *p[3000], *mixed[60];
	struct slabinfo info;

	(void)state;
	assert_int_equal(kmem_cache_alloc_bulk(a, GFP_KERNEL, 3000, p), 3000);
	for (int i = 0; i < 3000; i++)
		memset(p[i], i, 64);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(((u8 *)p[i])[63], (u8)i);
	assert_int_equal(kmem_cache_live_objects(a), 3000);
	kmem_cache_free_bulk(a, 3000, p);
	assert_int_equal(kmem_cache_live_objects(a), 0);
	get_slabinfo(a, &info);
	assert_int_equal(info.max_objs >= 3000, true);
	for (int i = 0; i < 60; i++)
		mixed[i] = i % 7 == 0 ? kmalloc(20000, GFP_KERNEL) :
			   kmem_cache_alloc(i % 3 ? a : b, GFP_KERNEL);
	kfree_bulk(60, mixed);
	assert_int_equal(kmem_cache_live_objects(a) + kmem_cache_live_objects(b), 0);
	assert_int_equal(kmem_cache_alloc_bulk(a, GFP_KERNEL, 0, p), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_destroy(a);
	kmem_cache_destroy(b);
}

static void mistakes_in_a_bulk_free_are_reported_one_by_one(void **state)
{
	struct kmem_cache *a = cache_of("many", 64, 0), *b = cache_of("others", 900, 0);
	int on_stack;
	void *p[6];

	(void)state;
	assert_int_equal(kmem_cache_alloc_bulk(a, GFP_KERNEL, 3, p), 3);
	p[3] = kmem_cache_alloc(b, GFP_KERNEL);
	p[4] = p[2];
	p[5] = &on_stack;
	kmem_cache_free_bulk(a, 6, p);
	expect_warn("wrong slab cache");
	assert_true(fixture_log_contains("double free detected in cache 'many'"));
	assert_true(fixture_log_contains("stack of the running task"));
	assert_int_equal(kmem_cache_live_objects(a) + kmem_cache_live_objects(b), 0);
	kmem_cache_destroy(a);
	kmem_cache_destroy(b);
}

/* ---- the reaper ---- */

/* As many objects as fill arrays, given back. */
static void churn(struct kmem_cache *c)
{
	for (int i = 0; i < NR; i++)
		obj[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (int i = 0; i < NR; i++)
		kmem_cache_free(c, obj[i]);
}

static void reaper_gives_back_little_by_little_what_nobody_uses(void **state)
{
	struct kmem_cache *c = cache_of("idle", 256, 0);
	unsigned long slabs, last, most_at_once = 0, rounds = 0;

	(void)state;
	churn(c);
	last = slabs = kmem_cache_nr_slabs(c);
	assert_true(slabs > 0);
	while (kmem_cache_nr_slabs(c) || arrays_cached(c) || nodes_cached(c)) {
		slab_reap_round();
		if (last - kmem_cache_nr_slabs(c) > most_at_once)
			most_at_once = last - kmem_cache_nr_slabs(c);
		last = kmem_cache_nr_slabs(c);
		assert_int_equal(machine_check(this_machine()), 0);
		assert_true(++rounds < 200);
	}
	assert_true(rounds > 3);
	assert_true(most_at_once < slabs);
	kmem_cache_destroy(c);
}

static void reaper_leaves_alone_what_was_used_since_it_looked(void **state)
{
	struct kmem_cache *c = cache_of("busy", 256, 0);
	unsigned long cached;

	(void)state;
	churn(c);
	for (int i = 0; i < 8; i++) {
		void *p = kmem_cache_alloc(c, GFP_KERNEL);

		kmem_cache_free(c, p);
		cached = arrays_cached(c);
		slab_reap_round();
		assert_int_equal(arrays_cached(c), cached);
	}
	slab_reap_round();
	assert_true(arrays_cached(c) < cached);
	kmem_cache_destroy(c);
}

static void be_busy(void)
{
	u64 end = ktime_get_ns() + 90 * NSEC_PER_MSEC;

	while (ktime_get_ns() < end)
		hw_safepoint();
}

/* A busy CPU has a tick each 1/HZ second; a round takes several of them, every 2 seconds. */
static void reaper_comes_with_the_ticks_of_a_busy_cpu(void **state)
{
	struct kmem_cache *c = cache_of("ticked", 256, 0);
	unsigned long cached;

	(void)state;
	churn(c);
	cached = arrays_cached(c);
	msleep(2000);
	be_busy();			/* it sees that they were used ... */
	/* In parallel mode time passes while the host runs others: perhaps that of two rounds. */
	if (machine_config(this_machine())->mode == MACHINE_DETERMINISTIC)
		assert_int_equal(arrays_cached(c), cached);
	/* ... and that they were not, since; a slow host has fewer ticks than it should. */
	for (int i = 0; i < 20 && arrays_cached(c) == cached; i++) {
		msleep(2000);
		be_busy();
	}
	assert_true(arrays_cached(c) < cached);
	kmem_cache_destroy(c);
}

static long blocks_for_good(void *arg)
{
	struct kmem_cache *c = arg;

	churn(c);
	fiber_prepare();
	fiber_block(SITE());
	return 0;
}

static void reaper_hides_no_deadlock(void **state)
{
	struct kmem_cache *c = cache_of("stuck", 256, 0);

	(void)state;
	expect_stuck(blocks_for_good, c, "");
	assert_true(ktime_get_ns() < NSEC_PER_SEC);
	kmem_cache_destroy(c);
}

static long makes_and_breaks(struct storm_worker *w)
{
	for (int i = 0; i < 40; i++) {
		struct kmem_cache *c = kmem_cache_create("brief", 100 + 8 * w->index, 0, 0, NULL);
		void *p[8];

		assert_non_null(c);
		for (int k = 0; k < 8; k++)
			p[k] = kmem_cache_alloc(c, GFP_KERNEL);
		slab_reap_round();
		for (int k = 0; k < 8; k++)
			kmem_cache_free(c, p[k]);
		slab_reap_round();
		kmem_cache_destroy(c);
	}
	return 0;
}

static void caches_may_go_while_cpus_reap(void **state)
{
	struct storm storm;

	(void)state;
	storm_run(&storm, 1, makes_and_breaks, NULL);
	expect_no_warn();
}

/* ---- damage ---- */

static void damaged_free_list_costs_its_free_objects_and_no_more(void **state)
{
	struct kmem_cache *c = cache_of("hurt", 64, 0);
	void *p = kmem_cache_alloc(c, GFP_KERNEL), *q;
	struct page *page = virt_to_head_page(p);
	struct slabinfo info;

	(void)state;
	drain_cpu_array(c, smp_processor_id());
	((freelist_idx_t *)page->freelist)[1] = 0x7ffe;
	q = kmem_cache_alloc(c, GFP_KERNEL);
	expect_warn("free list of a slab of cache 'hurt'");
	assert_non_null(q);
	assert_ptr_not_equal(virt_to_head_page(q), page);
	get_slabinfo(c, &info);
	assert_int_equal(info.errors, 1);
	assert_int_equal(machine_check(this_machine()), 0);
	assert_int_equal(kmem_cache_live_objects(c), c->num + 1);	/* as if in use for ever */
	kmem_cache_free(c, q);
	kmem_cache_free(c, p);
	/* The lost ones come back for the machine's end to be clean. */
	for (unsigned int i = 1; i < c->num; i++)
		free_to_node(c, index_to_obj(c, page, i), 0);
	kmem_cache_destroy(c);
}

static void second_free_is_caught_at_the_slab_in_every_build(void **state)
{
	struct kmem_cache *c = cache_of("twice", 64, 0);
	void *p = kmem_cache_alloc(c, GFP_KERNEL), *q = kmem_cache_alloc(c, GFP_KERNEL);
	void *both[3] = { p, q, p };
	struct slabinfo info;

	(void)state;
	if (c->debug & DEBUG_TRACK) {
		struct obj_track *track = track_of(c, virt_to_head_page(p), p);

		track->alloc = NULL;
		track_of(c, virt_to_head_page(q), q)->alloc = NULL;
	}
	free_many_to_node(c, both, 3, this_node());
	expect_warn("double free detected in cache 'twice'");
	get_slabinfo(c, &info);
	assert_int_equal(info.errors, 1);
	assert_int_equal(kmem_cache_live_objects(c), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_destroy(c);
}

/* ---- the check finds what it is for ---- */

static void check_finds_objects_where_they_must_not_be(void **state)
{
	struct check_report report = { .quiet = true };
	struct kmem_cache *c = cache_of("looked", 64, 0);
	void *p = kmem_cache_alloc(c, GFP_KERNEL), *q = kmem_cache_alloc(c, GFP_KERNEL);
	struct array_cache *ac = c->cpu_cache[smp_processor_id()];
	unsigned int avail;

	(void)state;
	drain_cpu_array(c, smp_processor_id());
	avail = ac->avail;
	kmem_cache_free(c, p);
	ac->entry[ac->avail++] = p;		/* twice */
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I4"));
	ac->entry[ac->avail - 1] = index_to_obj(c, virt_to_head_page(q), c->num - 1);
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "I3"));
	ac->avail = avail + 1;
	c->node[0]->nr_reserve++;
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 3);
	c->node[0]->nr_reserve--;
	kmem_cache_free(c, q);
	kmem_cache_destroy(c);
}

/* ---- numbers ---- */

static void statistics_return_to_where_they_were(void **state)
{
	struct kmem_cache *c = cache_of("counted", 128, 0);
	struct slabinfo before, after;
	struct reclaim_state reclaim = { 0 };

	(void)state;
	churn(c);
	kmem_cache_shrink(c);
	get_slabinfo(c, &before);
	fiber_self()->reclaim_state = &reclaim;
	churn(c);
	kmem_cache_shrink(c);
	fiber_self()->reclaim_state = NULL;
	get_slabinfo(c, &after);
	assert_int_equal(before.active_objs | before.num_objs | before.num_slabs, 0);
	assert_int_equal(after.active_objs | after.num_objs | after.num_slabs, 0);
	assert_int_equal(after.shared_avail | after.active_slabs, 0);
	assert_int_equal(after.errors, 0);
	assert_int_equal(after.cpu.allochit + after.cpu.allocmiss, 2 * NR);
	assert_int_equal(after.cpu.freehit + after.cpu.freemiss, 2 * NR);
	assert_int_equal(kmem_cache_alloc_bulk(c, GFP_KERNEL, NR, obj), NR);
	kmem_cache_free_bulk(c, NR, obj);
	get_slabinfo(c, &after);
	assert_int_equal(after.cpu.allochit + after.cpu.allocmiss, 3 * NR);
	assert_int_equal(after.cpu.freehit + after.cpu.freemiss, 3 * NR);
	assert_true(after.max_objs >= NR);
	assert_true(after.list_allocs >= after.max_objs);
	assert_true(after.grown >= NR / c->num);
	assert_true(reclaim.reclaimed_slab >= NR / c->num << c->gfporder);
	kmem_cache_destroy(c);
}

static void slabinfo_has_the_columns_of_a_kernel_with_statistics(void **state)
{
	struct kmem_cache *c = cache_of("shown", 64, 0);
	unsigned long g[9], s[4];
	char *text = NULL, *line;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	churn(c);
	slabinfo_show(out);
	fclose(out);
	assert_int_equal(strncmp(text, "slabinfo - version: 2.1 (statistics)\n", 37), 0);
	assert_non_null(strstr(text, " : globalstat <listallocs> <maxobjs> <grown> <reaped> <error>"
			       " <maxfreeable> <nodeallocs> <remotefrees> <alienoverflow>"
			       " : cpustat <allochit> <allocmiss> <freehit> <freemiss>\n"));
	line = strstr(strstr(text, "\nshown "), " : globalstat");
	assert_non_null(line);
	assert_int_equal(sscanf(line, " : globalstat %lu %lu %lu %lu %lu %lu %lu %lu %lu"
				" : cpustat %lu %lu %lu %lu", &g[0], &g[1], &g[2], &g[3], &g[4],
				&g[5], &g[6], &g[7], &g[8], &s[0], &s[1], &s[2], &s[3]), 13);
	assert_int_equal(s[0] + s[1], NR);
	assert_int_equal(s[2] + s[3], NR);
	assert_true(g[0] >= NR && g[2] >= NR / c->num);
	free(text);
	kmem_cache_destroy(c);
}

/* ---- failures ---- */

static long nth_alloc_there(void *arg)
{
	void **where = arg;

	*where = kmem_cache_alloc_node(cache, GFP_KERNEL, 1);
	return *where ? 0 : -ENOMEM;
}

static void nth_free_here(void *arg)
{
	kmem_cache_free(cache, *(void **)arg);
	kmem_cache_shrink(cache);
}

static long nth_bulk(void *arg)
{
	(void)arg;
	return kmem_cache_alloc_bulk(cache, GFP_KERNEL, 30, obj) == 30 ? 0 : -ENOMEM;
}

static void nth_bulk_free(void *arg)
{
	(void)arg;
	kmem_cache_free_bulk(cache, 30, obj);
	kmem_cache_shrink(cache);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = kmem_cache_live_objects(cache);
	values[2] = kmem_cache_nr_slabs(cache);
}

static void each_failure_leaves_nodes_as_they_were(void **state)
{
	void *p;

	(void)state;
	cache = cache_of("nth", 500, 0);
	/* Of another node: the object, its frame here, its frame anywhere. */
	assert_in_range(fixture_fail_nth(.body = nth_alloc_there, .undo = nth_free_here,
					 .snapshot = nth_snapshot, .arg = &p), 1, 3);
	/* 30 objects, and the frames of 4 slabs: a failure here is made good elsewhere. */
	assert_true(fixture_fail_nth(.body = nth_bulk, .undo = nth_bulk_free,
				     .snapshot = nth_snapshot) >= 30);
	kmem_cache_destroy(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(remote_frees_gather_in_alien_caches_and_come_home_in_batches,
				      2, &two_nodes),
		karc_unit_test_config(with_noaliencache_each_object_goes_home_at_once, 2,
				      &no_aliens),
		karc_unit_test_cpus(one_node_has_neither_alien_caches_nor_their_cost, 4),
		karc_unit_test_config(object_comes_from_the_node_that_was_asked_for, 1, &two_nodes),
		karc_unit_test_config(object_comes_from_the_node_that_was_asked_for, 4,
				      &four_nodes),
		karc_unit_test_config(kmalloc_node_gives_memory_of_that_node_of_any_size, 4,
				      &four_nodes),
		karc_unit_test_config(full_node_is_helped_out_by_others_unless_it_must_be_this_one,
				      2, &two_nodes),
		karc_unit_test_config(arrays_never_hold_objects_of_another_node, 2, &two_nodes),
		karc_unit_test_config(slabs_of_the_reserves_serve_only_who_may_use_them, 1, &small),
		karc_unit_test_config(slabs_of_the_reserves_serve_only_who_may_use_them, 4, &small),
		KARC_TESTS(accounted_objects_are_charged_until_they_are_freed),
		KARC_TESTS(kmalloc_charges_what_is_asked_for_with_account),
		karc_unit_test(bulk_over_the_limit_gives_nothing_and_charges_nothing),
		KARC_TESTS(bulk_is_taken_and_given_in_batches_over_many_slabs),
		karc_unit_test_config(bulk_is_taken_and_given_in_batches_over_many_slabs, 4,
				      &two_nodes),
		karc_unit_test(mistakes_in_a_bulk_free_are_reported_one_by_one),
		karc_unit_test_cpus_deterministic(
			reaper_gives_back_little_by_little_what_nobody_uses, 4),
		karc_unit_test_config_deterministic(
			reaper_gives_back_little_by_little_what_nobody_uses, 2, &two_nodes),
		karc_unit_test_cpus_deterministic(
			reaper_leaves_alone_what_was_used_since_it_looked, 1),
		karc_unit_test_cpus(reaper_comes_with_the_ticks_of_a_busy_cpu, 1),
		karc_unit_test_cpus(reaper_comes_with_the_ticks_of_a_busy_cpu, 4),
		karc_unit_test_cpus_deterministic(reaper_hides_no_deadlock, 4),
		KARC_TESTS(caches_may_go_while_cpus_reap),
		karc_unit_test(damaged_free_list_costs_its_free_objects_and_no_more),
		karc_unit_test(second_free_is_caught_at_the_slab_in_every_build),
		karc_unit_test(check_finds_objects_where_they_must_not_be),
		karc_unit_test(statistics_return_to_where_they_were),
		karc_unit_test(slabinfo_has_the_columns_of_a_kernel_with_statistics),
		karc_unit_test_config(each_failure_leaves_nodes_as_they_were, 1, &two_nodes),
		karc_unit_test_config(each_failure_leaves_nodes_as_they_were, 4, &two_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
