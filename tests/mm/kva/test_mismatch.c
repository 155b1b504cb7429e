/* SPDX-License-Identifier: MIT */
/*
 * Goal: memory that is given back wrongly is reported once, with who allocated it, who freed it
 * before and who does now, and nothing in the allocators is changed by it.
 * Method: see tests/refcount/corpus.h; here with the rooms up to kva. After each case every
 * structure of every allocator is checked, and nothing may be left.
 *
 * EDGE_CASES: double free through per-CPU array, cross-cache free, free of non-slab page, NULL cache,
 * interior pointer, double kmem_cache_destroy, destroy with live objects: each reported, not
 * corrupting; krealloc(freed) refused.
 */
#include "../../refcount/corpus.h"

#include <karc/hw/clock.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/mempool.h>
#include <karc/mm/slab/percpu.h>

/* A case: its body, and the check after it. */
#define FAULT(name)								\
	static void name(void);							\
	static void run_##name(void)						\
	{									\
		name();								\
		CHECK(!machine_check(this_machine()));				\
	}									\
	static void name(void)

/* The compiler sees many of these mistakes itself. */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

/* ---- slab objects freed twice ---- */

FAULT(object_in_the_cpus_array)
{
	void *p = hidden((AT(a), kmalloc(100, GFP_KERNEL)));
	void *other = kmalloc(100, GFP_KERNEL);

	AT(b), kfree(hidden(p));
	kfree(other);
	AT(c), kfree(hidden(p));
}

FAULT(object_freed_last)
{
	void *p = hidden((AT(a), kmalloc(100, GFP_KERNEL)));

	AT(b), kfree(hidden(p));
	AT(c), kfree(hidden(p));
}

FAULT(object_that_was_flushed_to_its_slab)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	void *p = hidden((AT(a), kmem_cache_alloc(c, GFP_KERNEL)));
	void *keeps_the_slab = kmem_cache_alloc(c, GFP_KERNEL);

	AT(b), kmem_cache_free(c, p);
	CHECK(kmem_cache_shrink(c));
	AT(c), kmem_cache_free(c, p);
	kmem_cache_free(c, keeps_the_slab);
	kmem_cache_destroy(c);
}

FAULT(object_whose_slab_is_gone)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	void *p = hidden((AT(a), kmem_cache_alloc(c, GFP_KERNEL)));

	AT(b), kmem_cache_free(c, p);
	CHECK(!kmem_cache_shrink(c));
	AT(c), kfree(hidden(p));
	kmem_cache_destroy(c);
}

FAULT(object_twice_in_a_bulk_free)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	void *p[3];

	CHECK((AT(a), kmem_cache_alloc_bulk(c, GFP_KERNEL, 2, p)) == 2);
	p[2] = p[0];
	AT(b), kmem_cache_free_bulk(c, 3, p);
	kmem_cache_destroy(c);
}

FAULT(object_with_its_user_stored)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, SLAB_STORE_USER, NULL);
	void *p = hidden((AT(a), kmem_cache_alloc(c, GFP_KERNEL)));

	AT(b), kmem_cache_free(c, p);
	AT(c), kmem_cache_free(c, p);
	kmem_cache_destroy(c);
}

FAULT(large_block)
{
	void *p = hidden((AT(a), kmalloc(20000, GFP_KERNEL)));

	AT(b), kfree(hidden(p));
	AT(c), kfree(hidden(p));
}

FAULT(frames)
{
	unsigned long addr = (AT(a), __get_free_pages(GFP_KERNEL, 1));

	AT(b), free_pages(addr, 1);
	AT(c), free_pages(addr, 1);
}

FAULT(vmalloc_area)
{
	void *p = hidden((AT(a), vmalloc(5000)));

	AT(b), vfree(hidden(p));
	AT(c), vfree(hidden(p));
}

FAULT(element_of_a_pool)
{
	mempool_t *pool = mempool_create_kmalloc_pool(1, 64);
	void *p = hidden((AT(a), mempool_alloc(pool, GFP_KERNEL)));

	AT(b), mempool_free(p, pool);
	AT(c), mempool_free(p, pool);
	mempool_destroy(pool);
}

FAULT(per_cpu_object)
{
	int __percpu *p = (AT(a), alloc_percpu(int));

	AT(b), free_percpu(p);
	AT(c), free_percpu(p);
}

FAULT(whole_cache)
{
	struct kmem_cache *c = (AT(a), kmem_cache_create("things", 64, 0, 0, NULL));

	AT(b), kmem_cache_destroy(c);
	AT(c), kmem_cache_destroy(c);
}

/* ---- the wrong way back ---- */

FAULT(kfree_of_vmalloc_memory)
{
	void *p = hidden((AT(a), vmalloc(5000)));

	AT(b), kfree(hidden(p));
	vfree(hidden(p));
}

FAULT(vfree_of_kmalloc_memory)
{
	void *p = hidden((AT(a), kmalloc(100, GFP_KERNEL)));

	AT(b), vfree(hidden(p));
	kfree(hidden(p));
}

FAULT(vfree_of_a_large_block)
{
	void *p = hidden((AT(a), kmalloc(20000, GFP_KERNEL)));

	AT(b), vfree(hidden(p));
	kfree(hidden(p));
}

FAULT(vfree_inside_an_area)
{
	char *p = hidden((AT(a), vmalloc(5000)));

	AT(b), vfree((char *)hidden(p) + 4096);
	vfree(hidden(p));
}

FAULT(kfree_of_frames)
{
	unsigned long addr = (AT(a), __get_free_pages(GFP_KERNEL, 0));

	AT(b), kfree((void *)addr);
	free_pages(addr, 0);
}

FAULT(free_pages_of_an_object)
{
	void *p = hidden((AT(a), kmalloc(4096, GFP_KERNEL)));

	AT(b), free_pages((unsigned long)p, 0);
	kfree(hidden(p));
}

FAULT(too_small_an_order)
{
	unsigned long addr = (AT(a), __get_free_pages(GFP_KERNEL, 2));

	AT(b), free_pages(addr, 1);
}

FAULT(too_large_an_order)
{
	unsigned long addr = (AT(a), __get_free_pages(GFP_KERNEL, 1));

	AT(b), free_pages(addr, 3);
}

FAULT(object_of_another_cache)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	struct kmem_cache *d = kmem_cache_create("others", 64, 0, 0, NULL);
	void *p = hidden((AT(a), kmem_cache_alloc(c, GFP_KERNEL)));

	AT(b), kmem_cache_free(d, p);	/* goes to its own */
	kmem_cache_destroy(c);
	kmem_cache_destroy(d);
}

FAULT(no_object_to_a_cache)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	unsigned long addr = (AT(a), __get_free_pages(GFP_KERNEL, 0));

	AT(b), kmem_cache_free(c, (void *)addr);
	free_pages(addr, 0);
	kmem_cache_destroy(c);
}

FAULT(object_to_no_cache)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	void *p = hidden((AT(a), kmem_cache_alloc(c, GFP_KERNEL)));

	AT(b), kmem_cache_free(hidden(NULL), p);
	kmem_cache_destroy(c);
}

FAULT(cache_with_a_live_object)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);
	void *p = hidden((AT(a), kmem_cache_alloc(c, GFP_KERNEL)));

	AT(b), kmem_cache_destroy(c);
	kmem_cache_free(c, p);		/* still possible */
}

FAULT(krealloc_of_freed_memory)
{
	void *p = hidden((AT(a), kmalloc(100, GFP_KERNEL)));

	AT(b), kfree(hidden(p));
	CHECK((AT(c), !krealloc(p, 200, GFP_KERNEL)));
}

FAULT(null_to_a_cache)
{
	struct kmem_cache *c = kmem_cache_create("things", 64, 0, 0, NULL);

	AT(a), kmem_cache_free(c, NULL);
	kmem_cache_destroy(c);
}

/* ---- no pointer that was ever given ---- */

FAULT(inside_an_object)
{
	char *p = hidden((AT(a), kmalloc(100, GFP_KERNEL)));

	AT(b), kfree(p + 8);
	kfree(hidden(p));
}

FAULT(inside_a_large_block)
{
	char *p = hidden((AT(a), kmalloc(20000, GFP_KERNEL)));

	AT(b), kfree(p + 4096);
	kfree(hidden(p));
}

FAULT(behind_the_objects_of_a_slab)
{
	struct kmem_cache *c = kmem_cache_create("things", 1000, 0, 0, NULL);
	char *p = kmem_cache_alloc(c, GFP_KERNEL);
	char *slab = page_to_virt(virt_to_head_page(p));

	AT(a), kfree((char *)hidden(slab) + page_size(virt_to_head_page(p)) - 8);
	kmem_cache_free(c, p);
	kmem_cache_destroy(c);
}

FAULT(stack)
{
	long local = 0;

	AT(a), kfree(hidden(&local));
}

FAULT(hosts_heap)
{
	void *p = hidden(corpus_alloc(100));

	AT(a), kfree(hidden(p));
}

static void *others_object;

static long takes_an_object(void *arg)
{
	(void)arg;
	others_object = kmalloc(100, GFP_KERNEL);
	return 0;
}

FAULT(object_of_another_machine)
{
	AT(a), kfree(others_object);
}

/* ---- in use by others ---- */

static void never(struct hw_timer *timer)
{
	(void)timer;
}

FAULT(armed_timer_inside)
{
	struct hw_timer *t = hidden(kmalloc(sizeof(*t), GFP_KERNEL));

	hw_timer_init(t, never);
	AT(a), hw_timer_start(t, ktime_get_ns() + 1000 * NSEC_PER_SEC);
	AT(b), kfree(hidden(t));
}

static const struct arc_type embedded_type =
	THING_TYPE("embedded", 0, thing_drop, thing_free);

FAULT(live_object_inside)
{
	struct thing *t = hidden(kzalloc(sizeof(*t), GFP_KERNEL));

	CHECK(!arc_type_register(&embedded_type));
	AT(a), arc_init(&t->arc, &embedded_type);
	AT(b), kfree(hidden(t));
}

FAULT(live_object_inside_vmalloc_memory)
{
	struct thing *t = hidden(vzalloc(sizeof(*t)));

	CHECK(!arc_type_register(&embedded_type));
	AT(a), arc_init(&t->arc, &embedded_type);
	AT(b), vfree(hidden(t));
}

#define CASE(fn, ...) { .name = #fn, .run = run_##fn, __VA_ARGS__ }

static struct seeded cases[] = {
#include "mismatch_reports.h"
};

int main(void)
{
	struct machine *m = machine_boot_rooms(&(struct machine_config){ .quiet = true },
					       corpus_rooms, ARRAY_SIZE(corpus_rooms));
	int failed;

	if (IS_ERR(m))
		return 1;
	machine_call(m, 0, takes_an_object, NULL);
	failed = corpus_main(cases, ARRAY_SIZE(cases), __FILE__);
	machine_shutdown(m);
	return failed;
}
