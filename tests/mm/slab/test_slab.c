/* SPDX-License-Identifier: MIT */
/*
 * Goal: objects of a cache: nobody shares one, constructors run once per object's life, arrays
 * refill and flush as SLAB's do, slab pages count their objects and run their destructors,
 * and mistakes are reported without damage.
 * Method: random operations with content checks against a plain table (seed printed); single
 * promises; whole fixture runs for what must turn a test red.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include "mm/slab/internal.h"

static u64 seed_of_run(void)
{
	const char *text = getenv("KARC_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 21;
}

static struct kmem_cache *cache_of(unsigned int size)
{
	struct kmem_cache *c = kmem_cache_create("test", size, 0, 0, NULL);

	assert_non_null(c);
	return c;
}

/* ---- the model: what each object must hold ---- */

#define NR_SHARED	512
#define ROUNDS		(getenv("KARC_TEST_LONG") ? 6000u : 2000u)

struct slot {
	void *obj;
	u32 stamp;
};

static struct slot slots[NR_SHARED];
static spinlock_t slots_lock;
static struct kmem_cache *model_cache;

static void fill(void *obj, u32 stamp)
{
	u32 *words = obj;

	for (unsigned int i = 0; i < kmem_cache_size(model_cache) / sizeof(u32); i++)
		words[i] = stamp + i;
}

static void assert_filled(const void *obj, u32 stamp)
{
	const u32 *words = obj;

	for (unsigned int i = 0; i < kmem_cache_size(model_cache) / sizeof(u32); i++)
		assert_int_equal(words[i], stamp + i);
}

/* A slot is taken out of the table while a CPU works on it. */
static struct slot slot_take(struct slot *slot)
{
	struct slot mine;

	spin_lock(&slots_lock);
	mine = *slot;
	slot->obj = NULL;
	spin_unlock(&slots_lock);
	return mine;
}

/* False when somebody put something there meanwhile. */
static bool slot_give(struct slot *slot, const struct slot *mine)
{
	bool empty;

	spin_lock(&slots_lock);
	empty = !slot->obj;
	if (empty)
		*slot = *mine;
	spin_unlock(&slots_lock);
	return empty;
}

static long worker(void *arg)
{
	struct rnd rnd;

	rnd_seed(&rnd, (u64)(unsigned long)arg);
	for (unsigned int i = 0, rounds = ROUNDS; i < rounds; i++) {
		struct slot *slot = &slots[rnd_below(&rnd, NR_SHARED)];
		struct slot mine = slot_take(slot);

		if (mine.obj) {
			assert_filled(mine.obj, mine.stamp);
			kmem_cache_free(model_cache, mine.obj);
			continue;
		}
		mine.obj = kmem_cache_alloc(model_cache, rnd_chance(&rnd, 1, 2) ? GFP_KERNEL :
					    GFP_ATOMIC);
		assert_non_null(mine.obj);
		mine.stamp = rnd_u32(&rnd);
		fill(mine.obj, mine.stamp);
		if (!slot_give(slot, &mine))
			kmem_cache_free(model_cache, mine.obj);
	}
	return 0;
}

static void objects_are_nobody_elses(void **state)
{
	static const unsigned int sizes[] = { 8, 40, 64, 300, 1000, 5000 };
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	struct fiber *fibers[8];

	(void)state;
	print_message("seed %llu\n", seed_of_run());
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		model_cache = cache_of(sizes[s]);
		spin_lock_init(&slots_lock);
		memset(slots, 0, sizeof(slots));
		for (unsigned int i = 0; i < nr_cpus; i++)
			fibers[i] = fiber_spawn(i, "worker", worker,
						(void *)(unsigned long)(seed_of_run() + s * 8 + i));
		for (unsigned int i = 0; i < nr_cpus; i++)
			fiber_join(fibers[i], NULL);
		assert_int_equal(machine_check(this_machine()), 0);
		for (unsigned int i = 0; i < NR_SHARED; i++) {
			if (slots[i].obj) {
				assert_filled(slots[i].obj, slots[i].stamp);
				kmem_cache_free(model_cache, slots[i].obj);
			}
		}
		assert_int_equal(kmem_cache_live_objects(model_cache), 0);
		kmem_cache_destroy(model_cache);
	}
}

/* ---- arrays ---- */

static void freed_object_is_the_next_one_handed_out(void **state)
{
	struct kmem_cache *c = cache_of(64);
	void *a = kmem_cache_alloc(c, GFP_KERNEL), *b = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, a);
	kmem_cache_free(c, b);
	assert_ptr_equal(kmem_cache_alloc(c, GFP_KERNEL), b);
	assert_ptr_equal(kmem_cache_alloc(c, GFP_KERNEL), a);
	kmem_cache_free(c, a);
	kmem_cache_free(c, b);
	kmem_cache_destroy(c);
}

static void refill_hands_out_ascending_objects(void **state)
{
	struct kmem_cache *c = cache_of(64);
	char *p[40];

	(void)state;
	for (int i = 0; i < 40; i++) {
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
		if (i && (i % 16))	/* refills of an array not in use bring 16 */
			assert_ptr_equal(p[i], p[i - 1] + c->size);
	}
	for (int i = 0; i < 40; i++)
		kmem_cache_free(c, p[i]);
	kmem_cache_destroy(c);
}

static void full_array_flushes_a_batch_to_the_shared_one(void **state)
{
	static void *p[600];
	struct kmem_cache *c = cache_of(64);
	struct array_cache *ac;

	(void)state;
	c->spare_limit = 0;		/* as on a machine with little memory */
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		kmem_cache_free(c, p[i]);
		assert_true(c->cpu_cache[0]->avail <= c->limit);
	}
	ac = c->cpu_cache[0];
	assert_true(ac->avail >= c->limit - c->batchcount);
	if (machine_nr_cpus(this_machine()) > 1) {
		assert_non_null(c->node[0]->shared);
		assert_true(c->node[0]->shared->avail >= c->batchcount);
	} else {
		assert_null(c->node[0]->shared);
	}
	assert_int_equal(kmem_cache_live_objects(c), 0);
	kmem_cache_destroy(c);
}

/* ---- slabs ---- */

static void shrink_gives_every_frame_back(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct kmem_cache *c = cache_of(200);
	static void *p[1000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	assert_true(kmem_cache_nr_slabs(c) >= 1000 / c->num);
	for (size_t i = 1; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	assert_int_equal(kmem_cache_shrink(c), 1);
	assert_int_equal(kmem_cache_nr_slabs(c), 1);
	kmem_cache_free(c, p[0]);
	assert_int_equal(kmem_cache_shrink(c), 0);
	assert_int_equal(kmem_cache_nr_slabs(c), 0);
	kmem_cache_destroy(c);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void slab_page_counts_its_objects_and_lists_follow(void **state)
{
	struct kmem_cache *c = cache_of(1024);
	struct kmem_cache_node *n = c->node[0];
	void *p[4];
	struct page *page;

	(void)state;
	assert_int_equal(c->num, 4);
	for (unsigned int i = 0; i < 4; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	page = virt_to_head_page(p[0]);
	assert_true(PageSlab(page));
	assert_ptr_equal(page->slab_cache, c);
	assert_int_equal(page->slab_active, c->num);
	assert_false(list_empty(&n->slabs_full));
	kmem_cache_free(c, p[0]);
	assert_int_equal(page->slab_active, c->num);	/* it lies in the CPU's array */
	kmem_cache_shrink(c);
	assert_int_equal(page->slab_active, c->num - 1);
	assert_ptr_equal(n->slabs_partial.next, &page->slab_list);
	for (unsigned int i = 1; i < 4; i++)
		kmem_cache_free(c, p[i]);
	kmem_cache_shrink(c);
	assert_int_equal(n->total_slabs, 0);
	kmem_cache_destroy(c);
}

static void too_many_free_objects_send_slabs_home(void **state)
{
	static void *p[4000];
	struct kmem_cache *c = cache_of(4096);
	unsigned long most;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	most = kmem_cache_nr_slabs(c);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		kmem_cache_free(c, p[i]);
	assert_true(c->node[0]->free_objects <= c->node[0]->free_limit);
	assert_true(kmem_cache_nr_slabs(c) < most / 10);
	kmem_cache_destroy(c);
}

/* Frames that slabs have, by what is kept for each large page of the host's. */
static unsigned long frames_counted(unsigned int *nr_joined)
{
	const struct slab_state *slabs = slab_here();
	unsigned long nr = 0;

	*nr_joined = 0;
	for (unsigned long i = 0; i <= slabs->max_pfn / PHYSMEM_JOIN_FRAMES; i++) {
		nr += slabs->block_use[i] & 0x7fffu;
		*nr_joined += slabs->block_use[i] >> 15;
	}
	return nr;
}

static void many_slabs_ask_for_large_pages_of_the_host(void **state)
{
	static void *p[2000];
	struct kmem_cache *c = cache_of(4096);
	unsigned int nr_joined, joined_before;
	unsigned long before;

	(void)state;
	machine_quiesce(this_machine());
	before = frames_counted(&joined_before);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
		memset(p[i], (int)(i & 0xff), 4096);
	}
	assert_true(frames_counted(&nr_joined) >= before + ARRAY_SIZE(p));
	assert_true(nr_joined > joined_before);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		assert_int_equal(((unsigned char *)p[i])[4095], i & 0xff);
		kmem_cache_free(c, p[i]);
	}
	kmem_cache_destroy(c);
	machine_quiesce(this_machine());
	assert_int_equal(frames_counted(&nr_joined), before);
}

static void successive_slabs_begin_at_different_colours(void **state)
{
	struct kmem_cache *c = cache_of(600);
	bool seen[8] = { false };
	void *p[60];
	unsigned int nr_seen = 0;

	(void)state;
	assert_true(c->colour > 1);
	for (int i = 0; i < 60; i++) {
		size_t offset;

		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
		offset = offset_in_page(virt_to_head_page(p[i])->s_mem);
		assert_true(offset / c->colour_off < max(c->colour, 1u));
		nr_seen += !seen[offset / c->colour_off % 8];
		seen[offset / c->colour_off % 8] = true;
	}
	assert_true(nr_seen > 1);
	for (int i = 0; i < 60; i++)
		kmem_cache_free(c, p[i]);
	kmem_cache_destroy(c);
}

static char order_run[16];
static unsigned int nr_run;

static void note(void *page, void *arg)
{
	assert_true(PageSlab((struct page *)page));
	order_run[nr_run++] = *(char *)arg;
}

static void destructors_of_a_slab_page_run_once_in_reverse_order(void **state)
{
	static char first = '1', second = '2';
	static struct arc_dtor dtors[2];
	struct kmem_cache *c = cache_of(128);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);
	struct page *page = virt_to_head_page(obj);

	(void)state;
	nr_run = 0;
	slab_on_destroy(page, &dtors[0], note, &first);
	slab_on_destroy(page, &dtors[1], note, &second);
	kmem_cache_shrink(c);
	assert_int_equal(nr_run, 0);
	kmem_cache_free(c, obj);
	assert_int_equal(nr_run, 0);
	kmem_cache_shrink(c);
	assert_int_equal(nr_run, 2);
	assert_memory_equal(order_run, "21", 2);
	kmem_cache_destroy(c);
	assert_int_equal(nr_run, 2);
}

static void destroying_the_cache_runs_them_too(void **state)
{
	static char first = '1';
	static struct arc_dtor dtor;
	struct kmem_cache *c = cache_of(128);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	nr_run = 0;
	slab_on_destroy(virt_to_head_page(obj), &dtor, note, &first);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
	assert_int_equal(nr_run, 1);
}

/* ---- constructors ---- */

static unsigned int nr_ctor;

static void ctor(void *obj)
{
	nr_ctor++;
	*(u64 *)obj = 0x1234;
}

static void constructor_runs_once_per_object_of_a_slab(void **state)
{
	struct kmem_cache *c = kmem_cache_create("ctor", 100, 0, 0, ctor);
	u64 *obj;

	(void)state;
	nr_ctor = 0;
	obj = kmem_cache_alloc(c, GFP_KERNEL);
	assert_int_equal(nr_ctor, c->num);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(*obj, 0x1234);
		kmem_cache_free(c, obj);
		obj = kmem_cache_alloc(c, GFP_KERNEL);
	}
	assert_int_equal(nr_ctor, c->num);
	kmem_cache_free(c, obj);
	kmem_cache_shrink(c);
	obj = kmem_cache_alloc(c, GFP_KERNEL);
	assert_int_equal(nr_ctor, 2 * c->num);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

/* ---- freed after a grace period ---- */

static void typesafe_object_keeps_its_content_until_it_is_reused(void **state)
{
	struct kmem_cache *c = kmem_cache_create("rcu", 64, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	u64 *obj = kmem_cache_alloc(c, GFP_KERNEL);
	struct page *page = virt_to_head_page(obj);

	(void)state;
	*obj = 77;
	rcu_read_lock();
	kmem_cache_free(c, obj);
	assert_int_equal(*obj, 77);
	rcu_read_unlock();
	kmem_cache_shrink(c);
	assert_int_equal(kmem_cache_nr_slabs(c), 0);
	rcu_barrier();
	assert_false(PageSlab(page));
	obj = kmem_cache_alloc(c, GFP_KERNEL | __GFP_ZERO);
	assert_int_equal(*obj, 0);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);		/* waits for the grace period */
	assert_int_equal(rcu_nr_pending(), 0);
}

static void typesafe_slab_outlives_the_readers(void **state)
{
	struct kmem_cache *c = kmem_cache_create("rcu", 64, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	u64 *obj = kmem_cache_alloc(c, GFP_KERNEL);
	struct page *page = virt_to_head_page(obj);
	LIST_HEAD(none);

	(void)state;
	kmem_cache_free(c, obj);
	rcu_read_lock();
	drain_cpu_array(c, smp_processor_id());
	drain_freelist(c, c->node[0], ~0UL, false);
	assert_int_equal(c->node[0]->total_slabs, 0);
	assert_true(PageSlab(page));
	rcu_read_unlock();
	rcu_barrier();
	assert_false(PageSlab(page));
	kmem_cache_destroy(c);
}

struct deferred {
	struct rcu_head rcu;
	u64 value;
};

static struct kmem_cache *deferred_cache;

static void free_deferred(struct rcu_head *head)
{
	kmem_cache_free(deferred_cache, container_of(head, struct deferred, rcu));
}

static long defers_frees(void *arg)
{
	(void)arg;
	for (u64 i = 0; i < 2000;) {
		struct deferred *d = kmem_cache_alloc(deferred_cache, GFP_NOWAIT | __GFP_NOWARN);

		if (!d) {
			cond_resched();
			continue;
		}
		d->value = i++;
		call_rcu(&d->rcu, free_deferred);
		if (i % 64 == 0)
			cond_resched();
	}
	return 0;
}

static void rcu_callbacks_free_into_the_cache_that_is_in_use(void **state)
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	struct fiber *fibers[8];

	(void)state;
	deferred_cache = kmem_cache_create("deferred", sizeof(struct deferred), 0, 0, NULL);
	for (unsigned int i = 0; i < nr_cpus; i++)
		fibers[i] = fiber_spawn(i, "deferrer", defers_frees, NULL);
	for (unsigned int i = 0; i < nr_cpus; i++)
		fiber_join(fibers[i], NULL);
	rcu_barrier();
	assert_int_equal(kmem_cache_live_objects(deferred_cache), 0);
	kmem_cache_destroy(deferred_cache);
}

/* ---- bulk ---- */

static void bulk_allocation_is_all_or_nothing(void **state)
{
	struct kmem_cache *c = cache_of(2000);
	void *p[50], *q[50];

	(void)state;
	assert_int_equal(kmem_cache_alloc_bulk(c, GFP_KERNEL, 50, p), 50);
	for (int i = 0; i < 50; i++)
		memset(p[i], i, 2000);
	inject_arm(this_machine(), 30);
	assert_int_equal(kmem_cache_alloc_bulk(c, GFP_KERNEL, 50, q), 0);
	assert_true(inject_disarm(this_machine()));
	assert_int_equal(kmem_cache_live_objects(c), 50);
	kmem_cache_free_bulk(c, 25, p);
	kfree_bulk(25, p + 25);
	assert_int_equal(kmem_cache_live_objects(c), 0);
	kmem_cache_destroy(c);
}

/* ---- mistakes ---- */

static void double_free_is_reported_with_both_sites(void **state)
{
	struct kmem_cache *c = cache_of(64);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL), *other = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, obj);
	kmem_cache_free(c, other);
	kmem_cache_free(c, obj);
	expect_warn("double free detected in cache 'test'");
	assert_true(fixture_log_contains("freed again at tests/mm/slab/test_slab.c"));
	assert_true(fixture_log_contains("object last freed at tests/mm/slab/test_slab.c"));
	assert_int_equal(kmem_cache_live_objects(c), 0);
	kmem_cache_destroy(c);
}

static void interior_pointer_is_refused(void **state)
{
	struct kmem_cache *c = cache_of(64);
	char *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, obj + 8);
	expect_warn("not the start of an object");
	assert_int_equal(kmem_cache_live_objects(c), 1);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

static void object_goes_home_to_its_own_cache(void **state)
{
	struct kmem_cache *a = cache_of(64), *b = cache_of(64);
	void *obj = kmem_cache_alloc(a, GFP_KERNEL);

	(void)state;
	kmem_cache_free(b, obj);
	expect_warn("wrong slab cache");
	assert_int_equal(kmem_cache_live_objects(a), 0);
	assert_int_equal(kmem_cache_live_objects(b), 0);
	kmem_cache_free(a, NULL);
	expect_warn("kmem_cache_free: NULL");
	kmem_cache_free(a, &a);
	expect_warn("stack of the running task");
	kmem_cache_destroy(a);
	kmem_cache_destroy(b);
}

static void zeroing_a_constructed_object_is_refused(void **state)
{
	struct kmem_cache *c = kmem_cache_create("ctor", 100, 0, 0, ctor);
	u64 *obj = kmem_cache_zalloc(c, GFP_KERNEL);

	(void)state;
	expect_warn("ctor");
	assert_int_equal(*obj, 0x1234);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

/* ---- the rest ---- */

static void sleeping_allocation_in_atomic_context_is_reported(void **state)
{
	struct kmem_cache *c = cache_of(64);
	void *obj;

	(void)state;
	preempt_disable();
	obj = kmem_cache_alloc(c, GFP_KERNEL);
	preempt_enable();
	expect_warn("sleeping function called from invalid context");
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

static struct kmem_cache *nth_cache;
static void *nth_obj;

static long nth_alloc(void *arg)
{
	(void)arg;
	nth_obj = kmem_cache_alloc(nth_cache, GFP_KERNEL);
	return nth_obj ? 0 : -ENOMEM;
}

static void nth_free(void *arg)
{
	(void)arg;
	kmem_cache_free(nth_cache, nth_obj);
	kmem_cache_shrink(nth_cache);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = kmem_cache_live_objects(nth_cache);
	values[2] = kmem_cache_nr_slabs(nth_cache);
}

/* Object, frames, and for large objects the free list elsewhere. */
static void injected_failure_changes_nothing(void **state)
{
	(void)state;
	nth_cache = cache_of(64);
	assert_int_equal(fixture_fail_nth(.body = nth_alloc, .undo = nth_free,
					  .snapshot = nth_snapshot), 2);
	kmem_cache_destroy(nth_cache);
	nth_cache = kmem_cache_create("off", 4096, 0, 0, ctor);
	assert_true(OFF_SLAB(nth_cache));
	assert_int_equal(fixture_fail_nth(.body = nth_alloc, .undo = nth_free,
					  .snapshot = nth_snapshot), 4);
	kmem_cache_destroy(nth_cache);
}

static const struct machine_config small = { .mem_bytes = 8ULL << 20 };

static void exhaustion_fails_cleanly_and_recovers(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct kmem_cache *c = cache_of(1000);
	LIST_HEAD(list);
	struct list_head *obj, *next;
	unsigned long nr = 0;

	(void)state;
	while ((obj = kmem_cache_alloc(c, GFP_KERNEL | __GFP_NOWARN))) {
		list_add(obj, &list);
		nr++;
	}
	assert_true(nr > 4000);
	assert_int_equal(kmem_cache_live_objects(c), nr);
	list_for_each_safe(obj, next, &list)
		kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static const struct machine_bank node_banks[] = {
	{ .start = 0, .size = 16ULL << 20, .node = 0 },
	{ .start = 16ULL << 20, .size = 16ULL << 20, .node = 1 },
};

static const struct machine_config two_nodes = {
	.banks = node_banks,
	.nr_banks = ARRAY_SIZE(node_banks),
};

static void object_of_another_node_goes_home(void **state)
{
	struct kmem_cache *c = cache_of(1024);
	static void *p[6000];
	unsigned long nr = 0, foreign = 0;

	(void)state;
	while (nr < ARRAY_SIZE(p) && foreign < 100) {
		p[nr] = kmem_cache_alloc(c, GFP_KERNEL);
		if (!p[nr])
			break;
		if (page_to_nid(virt_to_head_page(p[nr++])) == 0)
			continue;
		foreign++;
	}
	while (nr)
		kmem_cache_free(c, p[--nr]);
	assert_int_equal(kmem_cache_live_objects(c), 0);
	assert_int_equal(machine_check(this_machine()), 0);
	kmem_cache_destroy(c);
}

static void check_finds_a_damaged_free_list(void **state)
{
	struct check_report report = { .quiet = true };
	struct kmem_cache *c = cache_of(64);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);
	struct page *page = virt_to_head_page(obj);
	u16 *freelist = page->freelist;
	u16 saved = freelist[c->num - 1];

	(void)state;
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 0);
	freelist[c->num - 1] = freelist[c->num - 2];
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 1);
	assert_non_null(strstr(report.last, "I3"));
	freelist[c->num - 1] = saved;
	freelist[0] |= 0x8000;		/* an object in use that claims to be free */
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 2);
	assert_non_null(strstr(report.last, "I3"));
	freelist[0] &= 0x7fff;
	c->node[0]->free_objects++;
	slab_room.check(this_machine(), &report);
	assert_int_equal(report.nr_violations, 3);
	assert_non_null(strstr(report.last, "I2"));
	c->node[0]->free_objects--;
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(objects_are_nobody_elses),
		KARC_TESTS(freed_object_is_the_next_one_handed_out),
		karc_unit_test(refill_hands_out_ascending_objects),
		KARC_TESTS(full_array_flushes_a_batch_to_the_shared_one),
		KARC_TESTS(shrink_gives_every_frame_back),
		karc_unit_test(slab_page_counts_its_objects_and_lists_follow),
		KARC_TESTS(too_many_free_objects_send_slabs_home),
		karc_unit_test(many_slabs_ask_for_large_pages_of_the_host),
		karc_unit_test(successive_slabs_begin_at_different_colours),
		KARC_TESTS(destructors_of_a_slab_page_run_once_in_reverse_order),
		karc_unit_test(destroying_the_cache_runs_them_too),
		karc_unit_test(constructor_runs_once_per_object_of_a_slab),
		KARC_TESTS(typesafe_object_keeps_its_content_until_it_is_reused),
		karc_unit_test(typesafe_slab_outlives_the_readers),
		KARC_TESTS(rcu_callbacks_free_into_the_cache_that_is_in_use),
		karc_unit_test(bulk_allocation_is_all_or_nothing),
		karc_unit_test(double_free_is_reported_with_both_sites),
		karc_unit_test(interior_pointer_is_refused),
		karc_unit_test(object_goes_home_to_its_own_cache),
		karc_unit_test(zeroing_a_constructed_object_is_refused),
		karc_unit_test(sleeping_allocation_in_atomic_context_is_reported),
		KARC_TESTS(injected_failure_changes_nothing),
		karc_unit_test_config(exhaustion_fails_cleanly_and_recovers, 1, &small),
		karc_unit_test_config(exhaustion_fails_cleanly_and_recovers, 4, &small),
		karc_unit_test_config(object_of_another_node_goes_home, 1, &two_nodes),
		karc_unit_test(check_finds_a_damaged_free_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
