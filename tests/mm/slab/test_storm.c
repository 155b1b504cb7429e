/* SPDX-License-Identifier: MIT */
/*
 * Goal: memory taken on one CPU and given back on another is nobody else's in between and comes
 * home, while caches are made, shrunk and destroyed around it.
 * Method: rings between CPUs; every object says what its bytes are; counts of frames and objects
 * before and after.
 */
#include <string.h>

#include <karc/hw/percpu.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/mempool.h>
#include <karc/mm/slab/percpu.h>
#include <karc/mm/slab/slab.h>
#include "mm/slab/internal.h"
#include "storm.h"

#define RING		32u

/* At the start of each object; the rest of it is @stamp. */
struct parcel {
	u32 size;
	u8 stamp;
};

/* Objects for one CPU to free. */
struct ring {
	spinlock_t lock;
	unsigned int nr;
	struct parcel *parcel[RING];
};

/* All that the CPUs of one test share. */
struct shared {
	struct ring ring[MACHINE_MAX_CPUS];
	struct kmem_cache *cache;		/* NULL: kmalloc */
	mempool_t *pool;
	unsigned int nr_asked;			/* by the pool, since it is stingy */
	bool stingy;
	unsigned long __percpu *counter;
};

static void shared_init(struct shared *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned int i = 0; i < ARRAY_SIZE(s->ring); i++)
		spin_lock_init(&s->ring[i].lock);
}

static struct parcel *parcel_make(struct shared *s, struct rnd *rnd)
{
	u32 size = (u32)sizeof(struct parcel) +
		   rnd_below(rnd, rnd_chance(rnd, 1, 50) ? 20000 : 300);
	gfp_t gfp = rnd_chance(rnd, 1, 2) ? GFP_KERNEL : GFP_ATOMIC;
	u8 stamp = (u8)rnd_u32(rnd);
	struct parcel *p;

	if (s->cache) {
		size = kmem_cache_size(s->cache);
		p = kmem_cache_alloc(s->cache, gfp);
	} else {
		p = kmalloc(size, gfp);
	}
	if (!p)
		return NULL;
	memset(p, stamp, size);
	p->size = size;
	p->stamp = stamp;
	return p;
}

static void parcel_end(struct shared *s, struct parcel *p)
{
	const u8 *bytes = (const u8 *)p;

	for (u32 i = sizeof(*p); i < p->size; i++)
		if (bytes[i] != p->stamp)
			fail_msg("byte %u of %u is 0x%x, not 0x%x", i, p->size, bytes[i], p->stamp);
	if (s->cache)
		kmem_cache_free(s->cache, p);
	else
		kfree(p);
}

/* Put @p into @ring; what it took the place of, or NULL. */
static struct parcel *ring_swap(struct ring *ring, struct parcel *p)
{
	struct parcel *old = NULL;

	spin_lock(&ring->lock);
	if (ring->nr < RING) {
		ring->parcel[ring->nr++] = p;
	} else {
		old = ring->parcel[0];
		ring->parcel[0] = p;
	}
	spin_unlock(&ring->lock);
	return old;
}

static struct parcel *ring_take(struct ring *ring)
{
	struct parcel *p = NULL;

	spin_lock(&ring->lock);
	if (ring->nr)
		p = ring->parcel[--ring->nr];
	spin_unlock(&ring->lock);
	return p;
}

static long sends_and_frees(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;
	unsigned int id = w->index;
	struct parcel *p;

	for (unsigned int i = 0; i < 1500; i++) {
		p = parcel_make(s, &w->rnd);
		assert_non_null(p);
		p = ring_swap(&s->ring[rnd_below(&w->rnd, w->storm->nr)], p);
		if (p)
			parcel_end(s, p);
		for (unsigned int k = rnd_below(&w->rnd, 3); k > 0; k--) {
			p = ring_take(&s->ring[id]);
			if (p)
				parcel_end(s, p);
		}
		if (s->cache && i % 256 == id)
			kmem_cache_shrink(s->cache);
		if (i % 64 == 0)
			cond_resched();
	}
	return 0;
}

static void rings_empty(struct shared *s)
{
	struct parcel *p;

	for (unsigned int i = 0; i < ARRAY_SIZE(s->ring); i++)
		while ((p = ring_take(&s->ring[i])))
			parcel_end(s, p);
}

static void kmalloc_here_and_kfree_there(void **state)
{
	static struct shared s;
	struct storm storm;
	unsigned long before;
	(void)state;

	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	shared_init(&s);
	storm_run(&storm, 1, sends_and_frees, &s);
	rings_empty(&s);
	assert_int_equal(machine_check(this_machine()), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void a_cache_can_go_when_its_objects_came_home(void **state)
{
	static const unsigned int sizes[] = { 16, 200, 3000 };
	static struct shared s;
	struct storm storm;
	(void)state;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		shared_init(&s);
		s.cache = kmem_cache_create("storm", sizes[i], 0, 0, NULL);
		assert_non_null(s.cache);
		storm_run(&storm, 1, sends_and_frees, &s);
		rings_empty(&s);
		assert_int_equal(kmem_cache_live_objects(s.cache), 0);
		kmem_cache_destroy(s.cache);
	}
	expect_no_warn();
}

/* CPU 0 fills its array, and all CPUs have theirs emptied, by all at once: most have none. */
static long shrinks_what_others_use(struct storm_worker *w)
{
	struct kmem_cache *c = w->storm->arg;

	for (unsigned int i = 0; i < 60; i++) {
		if (!w->index) {
			void *p = kmem_cache_alloc(c, GFP_KERNEL);

			assert_non_null(p);
			kmem_cache_free(c, p);
		}
		kmem_cache_shrink(c);
		cond_resched();
	}
	return 0;
}

static void cpus_without_an_array_are_drained_together(void **state)
{
	const struct array_cache before = array_none;
	struct kmem_cache *c = kmem_cache_create("storm", 200, 0, 0, NULL);
	struct storm storm;
	(void)state;

	assert_non_null(c);
	storm_run(&storm, 1, shrinks_what_others_use, c);
	assert_memory_equal(&array_none, &before, sizeof(before));
	assert_int_equal(kmem_cache_live_objects(c), 0);
	kmem_cache_destroy(c);
	expect_no_warn();
}

static long makes_caches(struct storm_worker *w)
{
	unsigned int id = w->index;

	for (unsigned int i = 0; i < 12; i++) {
		bool rcu = rnd_chance(&w->rnd, 1, 4);
		struct kmem_cache *c = kmem_cache_create("twin", 40 + 8 * id, 0,
							 rcu ? SLAB_TYPESAFE_BY_RCU : 0, NULL);
		void *p[30];

		assert_non_null(c);
		for (unsigned int k = 0; k < ARRAY_SIZE(p); k++)
			p[k] = kmem_cache_alloc(c, GFP_KERNEL);
		for (unsigned int k = 0; k < ARRAY_SIZE(p); k++)
			kmem_cache_free(c, p[k]);
		if (rnd_chance(&w->rnd, 1, 6))
			kmem_cache_shrink_all();
		kmem_cache_destroy(c);
	}
	return 0;
}

static void caches_come_and_go_on_all_cpus(void **state)
{
	struct storm storm;
	(void)state;

	storm_run(&storm, 1, makes_caches, NULL);
	expect_no_warn();
}

/* ---- per-CPU memory ---- */

static long uses_percpu(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;

	for (unsigned int i = 0; i < 200; i++) {
		size_t size = 8 + rnd_below(&w->rnd, 200);
		u8 __percpu *p = __alloc_percpu(size, 8);
		u8 *mine;

		assert_non_null(p);
		preempt_disable();
		mine = this_cpu_ptr(p);
		for (size_t k = 0; k < size; k++)
			assert_int_equal(mine[k], 0);
		memset(mine, 0xee, size);
		preempt_enable();
		free_percpu(p);
		this_cpu_inc(*s->counter);
	}
	return 0;
}

static void percpu_objects_of_all_cpus_are_apart(void **state)
{
	static struct shared s;
	struct storm storm;
	unsigned long sum = 0;
	unsigned int cpu;
	(void)state;

	shared_init(&s);
	s.counter = alloc_percpu(unsigned long);
	storm_run(&storm, 1, uses_percpu, &s);
	for_each_cpu_of(this_machine(), cpu)
		sum += *per_cpu_ptr(s.counter, cpu);
	assert_int_equal(sum, storm.nr * 200);
	free_percpu(s.counter);
	assert_int_equal(percpu_nr_objects(this_machine()), 0);
}

/* The chunk is made by whoever comes first. */
static long allocates_one(struct storm_worker *w)
{
	int __percpu *p;

	(void)w;
	p = alloc_percpu(int);
	assert_non_null(p);
	this_cpu_inc(*p);
	free_percpu(p);
	return 0;
}

static void the_first_percpu_object_may_be_several(void **state)
{
	struct storm storm;
	(void)state;

	storm_run(&storm, 1, allocates_one, NULL);
	assert_int_equal(percpu_nr_objects(this_machine()), 0);
}

/* ---- reserves ---- */

/* Fails more often than not, once it has begun to. */
static void *stingy_alloc(gfp_t gfp, void *data)
{
	struct shared *s = data;

	if (s->stingy && __atomic_fetch_add(&s->nr_asked, 1, __ATOMIC_RELAXED) % 3)
		return NULL;
	return kmalloc(64, gfp);
}

static void stingy_free(void *element, void *data)
{
	(void)data;
	kfree(element);
}

static long lives_on_reserves(struct storm_worker *w)
{
	struct shared *s = w->storm->arg;

	for (unsigned int i = 0; i < 200; i++) {
		u64 *p = mempool_alloc(s->pool, GFP_KERNEL);

		assert_non_null(p);
		p[0] = p[7] = i;
		cond_resched();
		assert_int_equal(p[0], i);
		assert_int_equal(p[7], i);
		mempool_free(p, s->pool);
	}
	return 0;
}

static void a_reserve_serves_all_cpus(void **state)
{
	static struct shared s;
	struct storm storm;
	(void)state;

	shared_init(&s);
	s.pool = mempool_create(2, stingy_alloc, stingy_free, &s);
	assert_non_null(s.pool);
	s.stingy = true;
	storm_run(&storm, 1, lives_on_reserves, &s);
	mempool_destroy(s.pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(kmalloc_here_and_kfree_there),
		KARC_TESTS(a_cache_can_go_when_its_objects_came_home),
		KARC_TESTS(cpus_without_an_array_are_drained_together),
		KARC_TESTS(caches_come_and_go_on_all_cpus),
		KARC_TESTS(percpu_objects_of_all_cpus_are_apart),
		KARC_TESTS(the_first_percpu_object_may_be_several),
		KARC_TESTS(a_reserve_serves_all_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
