/* SPDX-License-Identifier: MIT */
/*
 * Goal: whatever is asked of caches of every kind, in any order and from any CPU, each word of
 * memory belongs to one object at a time, objects keep what was written to them, constructed ones
 * come as they were made, and the caches' own counts agree with a list of what is out.
 * Method: random operations (seed printed; 1,000,000 of them with KARC_TEST_LONG) against a
 * table that names the owner of every 8 bytes of RAM: slow, and too simple to be wrong.
 */
#include "storm.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/hostmem.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/rcu.h>
#include "mm/slab/internal.h"

#define OPS_LONG	1000000u	/* of one CPU; of four in three machines together */
#define OPS_SHORT	6000u
#define PARTS_LONG	50u
#define NR_SLOTS	1500u
#define BULK_MAX	40u
#define WORDS		((32ULL << 20) / sizeof(u64))

static const struct machine_config one_node = { .mem_bytes = 32ULL << 20 };
static const struct machine_config two_nodes = { .mem_bytes = 32ULL << 20, .nr_nodes = 2 };
static const struct machine_config no_aliens = {
	.mem_bytes = 32ULL << 20, .nr_nodes = 2, .cmdline = "noaliencache",
};

static void ctor(void *obj)
{
	*(u64 *)obj = ~0ULL;
}

static const struct kind {
	unsigned int size, align;
	slab_flags_t flags;
	void (*ctor)(void *obj);
} kinds[] = {
	{ 8, 0, 0, NULL },				/* list on the slab */
	{ 64, 64, SLAB_HWCACHE_ALIGN, NULL },
	{ 200, 0, 0, NULL },				/* list in a free object */
	{ 1024, 0, SLAB_RECLAIM_ACCOUNT, NULL },
	{ 2048, 0, 0, ctor },				/* list elsewhere */
	{ 136, 8, 0, ctor },
	{ 512, 0, SLAB_TYPESAFE_BY_RCU, NULL },
	{ 5000, 0, 0, NULL },				/* slabs of several frames */
	{ 96, 0, SLAB_RED_ZONE | SLAB_POISON, NULL },
};

struct slot {
	u64 *obj;
	struct kmem_cache *cache;
	u32 stamp;
};

/* All under @lock but the caches. */
static struct model {
	spinlock_t lock;
	struct kmem_cache *cache[ARRAY_SIZE(kinds)];
	unsigned long live[ARRAY_SIZE(kinds)];
	struct slot slot[NR_SLOTS];
	u32 *owner;			/* by word of RAM: 1 + slot, 0: nobody's */
	unsigned long nr_ops;
} model;

static u64 word_of(const void *obj)
{
	return (u64)((const char *)obj - karc_cpu->arena) / sizeof(u64);
}

static unsigned int kind_of(const struct kmem_cache *c)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (model.cache[k] == c)
			return k;
	}
	fail();
}

/* The slot's object is out: nobody else's, and filled. */
static void own(unsigned int i, struct kmem_cache *c, u64 *obj, u32 stamp)
{
	const struct kind *kind = &kinds[kind_of(c)];
	unsigned int words = kind->size / sizeof(u64);

	assert_true(IS_ALIGNED((unsigned long)obj, max(kind->align, 8u)));
	assert_ptr_equal(virt_to_head_page(obj)->slab_cache, c);
	if (kind->ctor)
		assert_int_equal(*obj, ~0ULL);
	spin_lock(&model.lock);
	for (unsigned int w = 0; w < words; w++) {
		if (model.owner[word_of(obj) + w])
			fail_msg("word %u of a new object is slot %u's", w,
				 model.owner[word_of(obj) + w] - 1);
		model.owner[word_of(obj) + w] = i + 1;
	}
	model.live[kind - kinds]++;
	spin_unlock(&model.lock);
	for (unsigned int w = 0; w < words; w++)
		obj[w] = stamp + w;
	model.slot[i] = (struct slot){ obj, c, stamp };
}

/* About to be freed: it is as it was left. */
static void disown(unsigned int i)
{
	struct slot *s = &model.slot[i];
	const struct kind *kind = &kinds[kind_of(s->cache)];
	unsigned int words = kind->size / sizeof(u64);

	for (unsigned int w = 0; w < words; w++) {
		if (s->obj[w] != (u64)s->stamp + w)
			fail_msg("word %u of slot %u is 0x%llx", w, i,
				 (unsigned long long)s->obj[w]);
	}
	if (kind->ctor)
		*s->obj = ~0ULL;
	spin_lock(&model.lock);
	for (unsigned int w = 0; w < words; w++) {
		assert_int_equal(model.owner[word_of(s->obj) + w], i + 1);
		model.owner[word_of(s->obj) + w] = 0;
	}
	model.live[kind - kinds]--;
	spin_unlock(&model.lock);
	s->obj = NULL;
}

/* ---- operations on the slots of one worker: [first, first + nr) ---- */

struct part {
	unsigned int first, nr;
	struct rnd *rnd;
};

static unsigned int any_slot(const struct part *p)
{
	return p->first + rnd_below(p->rnd, p->nr);
}

static struct kmem_cache *any_cache(const struct part *p)
{
	return model.cache[rnd_below(p->rnd, ARRAY_SIZE(kinds))];
}

static void one(const struct part *p)
{
	unsigned int i = any_slot(p);
	struct slot *s = &model.slot[i];
	struct kmem_cache *c = any_cache(p);
	gfp_t gfp = (rnd_chance(p->rnd, 1, 2) ? GFP_KERNEL : GFP_NOWAIT) | __GFP_NOWARN;
	u64 *obj;

	if (s->obj) {
		obj = s->obj;
		c = s->cache;
		disown(i);
		if (rnd_chance(p->rnd, 1, 4))
			kfree(obj);
		else
			kmem_cache_free(c, obj);
		return;
	}
	if (rnd_chance(p->rnd, 1, 6))
		obj = kmem_cache_alloc_node(c, gfp, (int)rnd_below(p->rnd,
					    machine_nr_nodes(this_machine())));
	else
		obj = kmem_cache_alloc(c, gfp);
	if (obj)
		own(i, c, obj, rnd_u32(p->rnd));
}

static void many(const struct part *p)
{
	unsigned int nr = 1 + rnd_below(p->rnd, BULK_MAX), got = 0;
	struct kmem_cache *c = any_cache(p);
	void *obj[BULK_MAX];
	unsigned int free_slot[BULK_MAX];

	for (unsigned int i = p->first; i < p->first + p->nr && got < nr; i++) {
		if (!model.slot[i].obj)
			free_slot[got++] = i;
	}
	if (!kmem_cache_alloc_bulk(c, GFP_KERNEL | __GFP_NOWARN, got, obj))
		return;
	for (unsigned int k = 0; k < got; k++)
		own(free_slot[k], c, obj[k], rnd_u32(p->rnd));
}

static void many_back(const struct part *p)
{
	unsigned int nr = 1 + rnd_below(p->rnd, BULK_MAX), got = 0;
	void *obj[BULK_MAX];

	for (unsigned int i = any_slot(p); i < p->first + p->nr && got < nr; i++) {
		if (!model.slot[i].obj)
			continue;
		obj[got++] = model.slot[i].obj;
		disown(i);
	}
	kfree_bulk(got, obj);
}

static void step(const struct part *p)
{
	unsigned int dice = rnd_below(p->rnd, 100);

	if (dice < 90)
		one(p);
	else if (dice < 94)
		many(p);
	else if (dice < 98)
		many_back(p);
	else if (rnd_chance(p->rnd, 1, 10))
		kmem_cache_shrink(any_cache(p));
	else if (rnd_chance(p->rnd, 1, 4))
		slab_reap_round();
}

static long works(struct storm_worker *w)
{
	unsigned int nr = NR_SLOTS / w->storm->nr;
	struct part part = { .first = w->index * nr, .nr = nr, .rnd = &w->rnd };

	for (unsigned long i = 0; i < model.nr_ops / w->storm->nr; i++) {
		step(&part);
		if (i % 64 == 0)
			cond_resched();
	}
	return 0;
}

/* What the caches say is what is out. No slab is on its way home meanwhile. */
static void assert_counts(void)
{
	rcu_barrier();
	assert_int_equal(machine_check(this_machine()), 0);
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		assert_int_equal(kmem_cache_live_objects(model.cache[k]), model.live[k]);
}

static void random_operations_agree_with_a_table_of_owners(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	struct storm storm;
	unsigned int nr_parts;

	(void)state;
	memset(&model, 0, sizeof(model));
	spin_lock_init(&model.lock);
	model.nr_ops = !getenv("KARC_TEST_LONG") ? OPS_SHORT :
		       num_online_cpus() == 1 ? OPS_LONG : OPS_LONG / 100 * 35;
	model.owner = hostmem_map(machine_hostmem(this_machine()), WORDS * sizeof(u32));
	assert_non_null(model.owner);
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		model.cache[k] = kmem_cache_create("model", kinds[k].size, kinds[k].align,
						   kinds[k].flags, kinds[k].ctor);
		assert_non_null(model.cache[k]);
	}
	/* In parts, so that the counts are compared with things out, too. */
	nr_parts = getenv("KARC_TEST_LONG") ? PARTS_LONG : 2;
	model.nr_ops /= nr_parts;
	while (nr_parts--) {
		storm_run(&storm, 1, works, NULL);
		assert_counts();
	}
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		void *obj = model.slot[i].obj;

		if (!obj)
			continue;
		disown(i);
		kfree(obj);
	}
	assert_counts();
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		kmem_cache_destroy(model.cache[k]);
	hostmem_unmap(machine_hostmem(this_machine()), model.owner, WORDS * sizeof(u32));
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(random_operations_agree_with_a_table_of_owners, 1, &one_node),
		karc_unit_test_config(random_operations_agree_with_a_table_of_owners, 4, &one_node),
		karc_unit_test_config(random_operations_agree_with_a_table_of_owners, 4,
				      &two_nodes),
		karc_unit_test_config(random_operations_agree_with_a_table_of_owners, 4,
				      &no_aliens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
