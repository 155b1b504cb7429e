/* SPDX-License-Identifier: MIT */
/*
 * Goal: the examples by which introductions to Linux's memory interfaces explain them work here as
 * written, and where such texts and Linux differ karc does what Linux does.
 * Method: a test for each example, with the names that the texts use; then a test for each line of
 * the README's table of differences.
 */
#include <string.h>

#include <karc/kobject/kobject.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/mempool.h>
#include <karc/proc/exit.h>
#include <karc/proc/task.h>
#include "../support/fixture.h"

/* ---- allocate, use, free: each pair of the texts' tables ---- */

static void kmalloc_then_kfree(void **state)
{
	void *ptr = kmalloc(1024, GFP_KERNEL), *p = kmalloc(128, GFP_KERNEL);

	(void)state;
	assert_non_null(ptr);
	assert_non_null(p);
	memset(ptr, 1, 1024);
	memset(p, 2, 128);
	kfree(p);
	kfree(ptr);
	p = kzalloc(128, GFP_KERNEL);
	assert_null(memchr(p, 2, 128));
	kfree(p);
	kfree(NULL);
}

static void vmalloc_then_vfree(void **state)
{
	void *ptr = vmalloc(1024), *p = vmalloc(1024 * 1024);
	u8 *zeros = vzalloc(10000);

	(void)state;
	assert_non_null(ptr);
	assert_non_null(p);
	memset(ptr, 1, 1024);
	memset(p, 2, 1024 * 1024);
	assert_int_equal(zeros[0] | zeros[9999], 0);
	vfree(zeros);
	vfree(p);
	vfree(ptr);
	vfree(NULL);
}

static void get_free_pages_then_free_pages(void **state)
{
	unsigned long addr = __get_free_pages(GFP_KERNEL, 0);

	(void)state;
	assert_true(addr != 0);
	memset((void *)addr, 1, PAGE_SIZE);
	free_pages(addr, 0);
	addr = __get_free_pages(GFP_KERNEL, 1);
	memset((void *)addr, 1, 2 * PAGE_SIZE);
	free_pages(addr, 1);
	addr = __get_free_page(GFP_KERNEL);
	free_page(addr);
}

static void alloc_pages_then_free_pages(void **state)
{
	struct page *p = alloc_pages(GFP_KERNEL, 2), *single = alloc_page(GFP_KERNEL);
	void *vaddr = page_address(p);

	(void)state;
	assert_non_null(p);
	assert_non_null(single);
	memset(vaddr, 1, 4 * PAGE_SIZE);
	assert_int_equal(page_to_phys(p) % (4 * PAGE_SIZE), 0);
	__free_pages(p, 2);
	free_page((unsigned long)page_address(single));
}

struct inode_like {
	u64 number;
	char name[100];
};

static unsigned int nr_constructed;

static void construct(void *obj)
{
	((struct inode_like *)obj)->number = 42;
	nr_constructed++;
}

static void kmem_cache_alloc_then_free_then_destroy(void **state)
{
	struct kmem_cache *cache = kmem_cache_create("inode_like", sizeof(struct inode_like), 0,
						     SLAB_HWCACHE_ALIGN, construct);
	struct inode_like *obj, *again;

	(void)state;
	nr_constructed = 0;
	obj = kmem_cache_alloc(cache, GFP_KERNEL);
	assert_non_null(obj);
	assert_int_equal(obj->number, 42);
	kmem_cache_free(cache, obj);
	/* The hot object comes first, and is not constructed again. */
	again = kmem_cache_alloc(cache, GFP_KERNEL);
	assert_ptr_equal(again, obj);
	assert_true(nr_constructed >= 1);
	kmem_cache_free(cache, again);
	kmem_cache_destroy(cache);
}

static void kmap_then_kunmap(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_HIGHMEM, 0);
	char *vaddr;

	(void)state;
	assert_true(PageHighMem(page));
	assert_null(page_address(page));
	vaddr = kmap(page);
	strcpy(vaddr, "written through kmap");
	kunmap(page);
	vaddr = kmap_atomic(page);
	assert_string_equal(vaddr, "written through kmap");
	kunmap_atomic(vaddr);
	vaddr = kmap_local_page(page);
	assert_string_equal(vaddr, "written through kmap");
	kunmap_local(vaddr);
	__free_pages(page, 0);
}

static void *element_alloc(gfp_t gfp, void *pool_data)
{
	return kmalloc(*(size_t *)pool_data, gfp);
}

static void element_free(void *element, void *pool_data)
{
	(void)pool_data;
	kfree(element);
}

static void mempool_alloc_then_free_then_destroy(void **state)
{
	size_t size = 200;
	mempool_t *pool = mempool_create(4, element_alloc, element_free, &size);
	void *element;

	(void)state;
	assert_non_null(pool);
	element = mempool_alloc(pool, GFP_KERNEL);
	memset(element, 1, size);
	mempool_free(element, pool);
	mempool_destroy(pool);
}

static void kobject_create_then_kobject_put(void **state)
{
	struct kobject *kobj = kobject_create();

	(void)state;
	assert_non_null(kobj);
	assert_int_equal(kref_read(&kobj->kref), 1);
	kobject_get(kobj);
	kobject_put(kobj);
	kobject_put(kobj);
	/* Linux itself exports this one, which also names it. */
	kobj = kobject_create_and_add("created", NULL);
	assert_string_equal(kobject_name(kobj), "created");
	kobject_put(kobj);
}

static long entry_exit(void *arg)
{
	(void)arg;
	do_exit(0);
}

static void do_exit_frees_mm_page_tables_and_mm_struct(void **state)
{
	unsigned long before;
	struct task_struct *init;

	(void)state;
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	init = task_create_init("init");
	assert_true(phys_nr_free(this_machine()) < before);
	assert_int_equal(task_call(init, entry_exit, NULL).end, MACHINE_EXITED);
	assert_null(init->mm);
	put_task_struct(init);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* ---- zones, flags, lists of the CPU ---- */

static enum zone_type zone_of(gfp_t gfp)
{
	struct page *page = alloc_page(gfp);
	enum zone_type type;

	assert_non_null(page);
	type = page_zonenum(page);
	__free_page(page);
	return type;
}

static void each_zone_serves_its_flag(void **state)
{
	(void)state;
	assert_int_equal(zone_of(GFP_KERNEL | GFP_DMA), ZONE_DMA);
	assert_int_equal(zone_of(GFP_DMA32), ZONE_DMA32);
	assert_int_equal(zone_of(GFP_KERNEL), ZONE_NORMAL);
	assert_int_equal(zone_of(GFP_HIGHUSER), ZONE_HIGHMEM);
	assert_int_equal(zone_of(GFP_ATOMIC), ZONE_NORMAL);
	assert_int_equal(zone_of(GFP_NOWAIT | __GFP_ZERO), ZONE_NORMAL);
	assert_int_equal(zone_of(GFP_NOFS), ZONE_NORMAL);
	assert_int_equal(zone_of(GFP_USER), ZONE_NORMAL);
}

static void single_pages_come_from_and_go_to_the_cpus_list(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL), *again;
	struct zone *zone = page_zone(page);
	unsigned long free_in_zone = zone_page_state(zone, NR_FREE_PAGES);

	(void)state;
	__free_page(page);
	assert_int_equal(zone_page_state(zone, NR_FREE_PAGES), free_in_zone);
	again = alloc_page(GFP_KERNEL);
	assert_ptr_equal(again, page);
	__free_page(again);
	drain_local_pages(zone);
	assert_true(zone_page_state(zone, NR_FREE_PAGES) > free_in_zone);
}

/* ---- the road of kfree ---- */

static void kfree_finds_the_cache_through_the_head_page(void **state)
{
	u8 *objp = kmalloc(8192, GFP_KERNEL);
	struct page *page = virt_to_page(objp + PAGE_SIZE);

	(void)state;
	/* The object's second page is a tail: bit 0, and the rest is the head. */
	assert_int_equal(page->compound_head & 1, 1);
	assert_ptr_equal((struct page *)(page->compound_head - 1), compound_head(page));
	assert_ptr_equal(virt_to_head_page(objp + PAGE_SIZE), virt_to_head_page(objp));
	assert_true(PageSlab(virt_to_head_page(objp)));
	assert_int_equal(kmem_cache_size(virt_to_head_page(objp)->slab_cache), 8192);
	kfree(objp);
	objp = kmalloc(0, GFP_KERNEL);
	assert_ptr_equal(objp, ZERO_SIZE_PTR);
	assert_true(ZERO_OR_NULL_PTR(objp));
	kfree(objp);
}

/* How can a page that is no slab get to kfree? So. */
static void kfree_of_a_page_that_is_no_slab_is_reported(void **state)
{
	unsigned long addr = __get_free_page(GFP_KERNEL);

	(void)state;
	kfree((void *)addr);
	expect_warn("kfree");
	free_page(addr);
}

static void an_object_freed_twice_in_a_row_is_caught(void **state)
{
	struct kmem_cache *cache = kmem_cache_create("twice", 64, 0, 0, NULL);
	void *obj = kmem_cache_alloc(cache, GFP_KERNEL);

	(void)state;
	kmem_cache_free(cache, obj);
	(kmem_cache_free)(cache, obj);
	expect_warn("double free");
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kmem_cache_destroy(cache);
}

static void slabs_of_freed_objects_go_back_to_the_buddy(void **state)
{
	enum { NR = 3000 };
	static void *obj[NR];
	struct kmem_cache *cache = kmem_cache_create("flushed", 1024, 0, 0, NULL);
	unsigned long slabs;

	(void)state;
	for (unsigned int i = 0; i < NR; i++)
		obj[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	slabs = kmem_cache_nr_slabs(cache);
	for (unsigned int i = 0; i < NR; i++)
		kmem_cache_free(cache, obj[i]);
	/* Array, shared array and free_limit keep some; most went with cache_flusharray(). */
	assert_true(kmem_cache_nr_slabs(cache) < slabs);
	assert_int_equal(kmem_cache_shrink(cache), 0);
	assert_int_equal(kmem_cache_nr_slabs(cache), 0);
	kmem_cache_destroy(cache);
}

/* ---- where the texts and Linux differ ---- */

static void kmalloc_reaches_4_mib_not_1(void **state)
{
	void *p = kmalloc(4 << 20, GFP_KERNEL);

	(void)state;
	assert_non_null(p);
	assert_true(page_to_phys(virt_to_page(p)) % (4 << 20) == 0);
	kfree(p);
	assert_int_equal(KMALLOC_MAX_SIZE, 4 << 20);
	assert_int_equal(KMALLOC_MAX_CACHE_SIZE, 8 << 10);
	assert_null(kmalloc((4 << 20) + 1, GFP_KERNEL | __GFP_NOWARN));
}

static void alloc_pages_reaches_4_mib_not_8(void **state)
{
	struct page *page = alloc_pages(GFP_KERNEL, MAX_ORDER - 1);

	(void)state;
	assert_int_equal(PAGE_SIZE << (MAX_ORDER - 1), 4 << 20);
	assert_non_null(page);
	__free_pages(page, MAX_ORDER - 1);
	assert_null(alloc_pages(GFP_KERNEL | __GFP_NOWARN, MAX_ORDER));
}

static long alloc_pages_in_atomic(void *arg)
{
	struct page *page;

	preempt_disable();
	page = alloc_pages(*(gfp_t *)arg, 0);
	preempt_enable();
	if (page)
		__free_page(page);
	return 0;
}

/* "alloc_pages cannot sleep": it can, unless it is told not to. */
static void who_may_sleep_is_said_by_the_flags(void **state)
{
	gfp_t gfp = GFP_KERNEL;

	(void)state;
	machine_call(this_machine(), 0, alloc_pages_in_atomic, &gfp);
	expect_warn("sleeping function called from invalid context");
	gfp = GFP_ATOMIC;
	machine_call(this_machine(), 0, alloc_pages_in_atomic, &gfp);
	expect_no_warn();
}

/* "Constructor and destructor": slabs have had no destructor since Linux 2.6.24. */
static void kmem_cache_create_takes_a_constructor_only(void **state)
{
	struct kmem_cache *cache;

	(void)state;
	static_assert(__builtin_types_compatible_p(__typeof__(kmem_cache_create_site),
		struct kmem_cache *(const char *, unsigned int, unsigned int, slab_flags_t,
				    void (*)(void *), const struct site *)),
		"no room for a destructor");
	cache = kmem_cache_create("no_dtor", 64, 0, 0, construct);
	kmem_cache_destroy(cache);
}

/* "kmap is physically contiguous": each page is, and two mapped one after the other are not. */
static void kmap_maps_one_page_at_a_time(void **state)
{
	struct page *block = alloc_pages(GFP_HIGHUSER, 1);
	struct page *other = alloc_page(GFP_HIGHUSER);
	char *a, *b;

	(void)state;
	a = kmap(block);
	b = kmap(other);
	assert_ptr_not_equal(kmap_to_page(a), kmap_to_page(b));
	assert_ptr_equal(kmap_to_page(a + PAGE_SIZE - 1), block);
	assert_ptr_not_equal(kmap_to_page(a + PAGE_SIZE), block + 1);
	kunmap(other);
	kunmap(block);
	__free_pages(block, 1);
	__free_page(other);
}

/* "kmalloc memory can be used for DMA": not by a device that cannot reach it. */
static void only_gfp_dma_promises_memory_below_16_mib(void **state)
{
	void *p = kmalloc(100, GFP_KERNEL), *dma = kmalloc(100, GFP_KERNEL | GFP_DMA);

	(void)state;
	assert_true(virt_to_phys(p) >= 16 << 20);
	assert_true(virt_to_phys(dma) + 100 <= 16 << 20);
	kfree(dma);
	kfree(p);
}

/* "kmap_atomic may be ended with the page": what it wants is the address. */
static void kunmap_atomic_of_a_page_does_not_compile(void **state)
{
	struct page *page = alloc_page(GFP_HIGHUSER);
	void *vaddr = kmap_atomic(page);

	(void)state;
	static_assert(!__same_type(vaddr, struct page *), "the check of kunmap_atomic()");
	static_assert(__same_type(page, struct page *), "which this would not pass");
	kunmap_atomic(vaddr);
	__free_page(page);
}

/* "vmalloc only where one may sleep" holds; vfree() is the one that may be called anywhere. */
static void vfree_may_be_called_with_interrupts_off(void **state)
{
	void *p = vmalloc(PAGE_SIZE);
	unsigned long flags;

	(void)state;
	local_irq_save(flags);
	vfree(p);
	local_irq_restore(flags);
	expect_no_warn();
}

int main(void)
{
	/* A little of each zone. */
	static const struct machine_bank banks[] = {
		{ 0, 40 << 20, 0 }, { 4ULL << 30, 64 << 20, 0 },
	};
	static const struct machine_config zones = {
		.banks = banks, .nr_banks = 2, .highmem_start = (4ULL << 30) + (32 << 20),
	};
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(kmalloc_then_kfree, 2, &zones),
		karc_unit_test_config(vmalloc_then_vfree, 2, &zones),
		karc_unit_test_config(get_free_pages_then_free_pages, 2, &zones),
		karc_unit_test_config(alloc_pages_then_free_pages, 2, &zones),
		karc_unit_test_config(kmem_cache_alloc_then_free_then_destroy, 2, &zones),
		karc_unit_test_config(kmap_then_kunmap, 2, &zones),
		karc_unit_test_config(mempool_alloc_then_free_then_destroy, 2, &zones),
		karc_unit_test_config(kobject_create_then_kobject_put, 2, &zones),
		karc_unit_test_config(do_exit_frees_mm_page_tables_and_mm_struct, 2, &zones),
		karc_unit_test_config(each_zone_serves_its_flag, 1, &zones),
		karc_unit_test_config(single_pages_come_from_and_go_to_the_cpus_list, 1, &zones),
		karc_unit_test_config(kfree_finds_the_cache_through_the_head_page, 1, &zones),
		karc_unit_test_config(kfree_of_a_page_that_is_no_slab_is_reported, 1, &zones),
		karc_unit_test_config(an_object_freed_twice_in_a_row_is_caught, 1, &zones),
		karc_unit_test_config(slabs_of_freed_objects_go_back_to_the_buddy, 1, &zones),
		karc_unit_test_config(kmalloc_reaches_4_mib_not_1, 1, &zones),
		karc_unit_test_config(alloc_pages_reaches_4_mib_not_8, 1, &zones),
		karc_unit_test_config(who_may_sleep_is_said_by_the_flags, 1, &zones),
		karc_unit_test_config(kmem_cache_create_takes_a_constructor_only, 1, &zones),
		karc_unit_test_config(kmap_maps_one_page_at_a_time, 1, &zones),
		karc_unit_test_config(only_gfp_dma_promises_memory_below_16_mib, 1, &zones),
		karc_unit_test_config(kunmap_atomic_of_a_page_does_not_compile, 1, &zones),
		karc_unit_test_config(vfree_may_be_called_with_interrupts_off, 1, &zones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
