/* SPDX-License-Identifier: MIT */
/*
 * Goal: a device gets memory that it reaches, and who treats mappings badly is told both places.
 * Method: devices with masks of 24, 32 and 64 bits on a machine that has memory in every zone;
 * each mistake is made and its report looked for.
 */
#include "../support/fixture.h"
#include "../support/storm.h"

#include <stdio.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/poison.h>
#include <karc/kobject/dma.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>

#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)

/* RAM below 16 MiB, below 4 GiB, above, and HIGHMEM. */
static const struct machine_bank banks[] = {
	{ .start = MIB, .size = 31 * MIB },
	{ .start = 5 * GIB, .size = 64 * MIB },
	{ .start = 6 * GIB, .size = 32 * MIB },
};
static const struct machine_config all_zones = {
	.banks = banks, .nr_banks = ARRAY_SIZE(banks), .highmem_start = 6 * GIB,
};

static struct device *device_named(const char *name, unsigned int bits)
{
	struct device *dev = root_device_register(name);

	assert_false(IS_ERR(dev));
	assert_int_equal(dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(bits)), 0);
	return dev;
}

static struct device *device_of(unsigned int bits)
{
	return device_named("dev", bits);
}

static void masks_that_reach_too_little_are_refused(void **state)
{
	struct device *dev = root_device_register("dev");
	u64 mask = DMA_BIT_MASK(32);

	(void)state;
	assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(32)), -EIO);	/* it has none to set */
	dev->dma_mask = &mask;
	assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(23)), -EIO);
	assert_true(mask == DMA_BIT_MASK(32));
	assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(24)), 0);
	assert_true(dma_get_mask(dev) == DMA_BIT_MASK(24));
	assert_int_equal(dma_set_coherent_mask(dev, 0xff), -EIO);
	assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
	assert_true(dev->coherent_dma_mask == ~0ULL);
	assert_true(dma_get_required_mask(dev) == DMA_BIT_MASK(33));
	root_device_unregister(dev);
}

static void coherent_memory_is_where_the_device_reaches_it(void **state)
{
	static const unsigned int bits[] = { 24, 28, 32, 36, 64 };
	unsigned long before = phys_nr_free(this_machine());

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++) {
		struct device *dev = device_of(bits[i]);
		dma_addr_t addr, addr2;
		char *p = dma_alloc_coherent(dev, 3 * PAGE_SIZE - 7, &addr, GFP_KERNEL);
		char *q = dma_alloc_coherent(dev, 1, &addr2, GFP_ATOMIC);

		assert_true(p && q && p != q);
		assert_true(addr + 3 * PAGE_SIZE - 1 <= DMA_BIT_MASK(bits[i]));
		assert_true(virt_to_phys(p) == addr && IS_ALIGNED(addr, 4 * PAGE_SIZE));
		for (unsigned int at = 0; at < 3 * PAGE_SIZE; at++)
			assert_int_equal(p[at], 0);
		memset(p, 0x55, 3 * PAGE_SIZE);
		assert_int_equal(dma_nr_mapped(dev), 2);
		dma_free_coherent(dev, 3 * PAGE_SIZE - 7, p, addr);
		dma_free_coherent(dev, 1, q, addr2);
		assert_int_equal(dma_nr_mapped(NULL), 0);
		root_device_unregister(dev);
	}
	machine_quiesce(this_machine());
	assert_in_range(phys_nr_free(this_machine()), before - 8, before);	/* "devices" */
}

static void coherent_requests_that_make_no_sense_fail(void **state)
{
	struct device *dev = device_of(24);
	dma_addr_t addr;

	(void)state;
	assert_null(dma_alloc_coherent(dev, 0, &addr, GFP_KERNEL));
	assert_null(dma_alloc_coherent(dev, 8 * MIB, &addr, GFP_KERNEL));
	expect_no_warn();
	dev->coherent_dma_mask = 0;
	assert_null(dma_alloc_coherent(dev, 8, &addr, GFP_KERNEL));
	expect_warn("coherent_dma_mask");
	root_device_unregister(dev);
}

static void a_mapping_is_the_memorys_physical_address(void **state)
{
	struct device *dev = device_of(64);
	struct page *high = alloc_page(GFP_HIGHUSER);
	char *p = kmalloc(3000, GFP_KERNEL);
	dma_addr_t a = dma_map_single(dev, p + 100, 500, DMA_TO_DEVICE);
	dma_addr_t b = dma_map_page(dev, high, 50, 100, DMA_FROM_DEVICE);
	dma_addr_t c = dma_map_single(dev, p, 3000, DMA_BIDIRECTIONAL);

	(void)state;
	assert_int_equal(dma_mapping_error(dev, a), 0);
	assert_int_equal(dma_mapping_error(dev, b), 0);
	assert_int_equal(dma_mapping_error(dev, c), 0);
	assert_true(a == virt_to_phys(p) + 100);
	assert_true(PageHighMem(high) && b == page_to_phys(high) + 50);
	dma_sync_single_for_cpu(dev, b, 100, DMA_FROM_DEVICE);
	dma_sync_single_range_for_device(dev, c, 1000, 1999, DMA_TO_DEVICE);
	dma_unmap_single(dev, c, 3000, DMA_BIDIRECTIONAL);
	dma_unmap_page(dev, b, 100, DMA_FROM_DEVICE);
	dma_unmap_single(dev, a, 500, DMA_TO_DEVICE);
	assert_int_equal(dma_nr_mapped(dev), 0);
	expect_no_warn();
	kfree(p);
	__free_page(high);
	root_device_unregister(dev);
}

/* Refused: the warning, and DMA_MAPPING_ERROR. */
#define assert_refused(dev, p, size, text) do {					\
	assert_int_equal(dma_mapping_error(dev, dma_map_single(dev, p, size, DMA_TO_DEVICE)), \
			 -ENOMEM);						\
	expect_warn(text);							\
} while (0)

static void memory_that_is_not_fit_for_devices_is_refused(void **state)
{
	struct device *dev = device_of(64), *isa = device_named("isa", 24);
	struct page *high = alloc_page(GFP_HIGHUSER), *freed = alloc_page(GFP_KERNEL);
	char *v = vmalloc(100), *k = kmap(high), *n = kmalloc(100, GFP_KERNEL);
	char *low = kmalloc(100, GFP_DMA), on_stack[16];
	void *gone = page_address(freed);
	dma_addr_t addr;

	(void)state;
	__free_page(freed);
	assert_refused(dev, v, 100, "maps vmalloc memory");
	assert_refused(dev, on_stack, 16, "maps memory from stack");
	assert_refused(dev, k, 16, "maps memory that is not of the direct map");
	assert_refused(dev, (void *)&all_zones, 16, "maps memory that is not of the direct map");
	assert_refused(dev, (char *)physmem_arena(this_machine()) + physmem_direct_map_bytes(
		       this_machine()) - 8, 16, "maps memory that is not of the direct map");
	assert_refused(dev, gone, 16, "maps memory that is free");
	assert_refused(isa, n, 100, "maps memory beyond the mask of the device");
	addr = dma_map_single(isa, low, 100, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(isa, addr), 0);
	assert_true(addr < 16 * MIB);
	dma_unmap_single(isa, addr, 100, DMA_TO_DEVICE);
	dev->bus_dma_limit = DMA_BIT_MASK(32);
	assert_refused(dev, n, 100, "maps memory beyond the mask of the device");
	dev->dma_mask = NULL;
	assert_refused(dev, low, 100, "dma_mask");
	assert_int_equal(dma_nr_mapped(NULL), 0);
	kunmap(high);
	__free_page(high);
	vfree(v);
	kfree(n);
	kfree(low);
	root_device_unregister(dev);
	root_device_unregister(isa);
}

static void wrong_unmaps_are_reported_with_both_places(void **state)
{
	struct device *dev = device_of(64);
	char *p = kmalloc(512, GFP_KERNEL), text[128];
	dma_addr_t a, h;
	void *c;

	(void)state;
	snprintf(text, sizeof(text), "mapped at tests/kobject/test_dma.c:%d", __LINE__ + 1);
	a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(dev, a), 0);
	dma_unmap_single(dev, a, 512, DMA_TO_DEVICE);
	dma_unmap_single(dev, a, 512, DMA_TO_DEVICE);
	expect_warn("tries to free DMA memory it has not allocated");
	assert_true(fixture_log_contains(text));
	assert_true(fixture_log_contains("unmapped at tests/kobject/test_dma.c"));
	a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);
	dma_unmap_single(dev, a, 512, DMA_TO_DEVICE);
	expect_warn("failed to check map error");
	a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(dev, a), 0);
	dma_sync_single_for_cpu(dev, a, 512, DMA_FROM_DEVICE);
	expect_warn("syncs DMA memory with different direction");
	dma_sync_single_for_cpu(dev, a, 513, DMA_TO_DEVICE);
	expect_warn("tries to sync DMA memory it has not allocated");
	dma_unmap_single(dev, a, 256, DMA_TO_DEVICE);
	expect_warn("frees DMA memory with different size");
	a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(dev, a), 0);
	dma_unmap_single(dev, a, 512, DMA_FROM_DEVICE);
	expect_warn("frees DMA memory with different direction");
	a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(dev, a), 0);
	dma_unmap_page(dev, a, 512, DMA_TO_DEVICE);
	expect_warn("frees DMA memory with wrong function");
	dma_unmap_page(dev, DMA_MAPPING_ERROR, 512, DMA_TO_DEVICE);
	expect_warn("tries to free an invalid DMA memory address");
	c = dma_alloc_coherent(dev, 100, &h, GFP_KERNEL);
	dma_free_coherent(dev, 100, p, h);
	expect_warn("frees DMA memory with different CPU address");
	local_irq_disable();
	dma_free_coherent(dev, 100, c, h);
	local_irq_enable();
	expect_warn("coherent memory is freed with interrupts off");
	dma_free_coherent(dev, 100, c, h);
	expect_warn("tries to free DMA memory it has not allocated");
	dma_free_coherent(dev, 100, NULL, 0);
	assert_int_equal(dma_nr_mapped(NULL), 0);
	kfree(p);
	root_device_unregister(dev);
}

static void a_device_that_ends_takes_its_mappings_along(void **state)
{
	struct device *dev = device_of(64);
	char *p = kmalloc(512, GFP_KERNEL);
	dma_addr_t a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);

	(void)state;
	assert_int_equal(dma_mapping_error(dev, a), 0);
	root_device_unregister(dev);
	expect_warn("dev: device driver has pending DMA allocations while released from device: "
		    "512 bytes mapped as single at tests/kobject/test_dma.c");
	assert_int_equal(dma_nr_mapped(NULL), 0);
	kfree(p);
}

static void forgets_to_unmap(void)
{
	struct device *dev = device_of(64);
	char *p = kmalloc(512, GFP_KERNEL);
	dma_addr_t a = dma_map_single(dev, p, 512, DMA_TO_DEVICE);

	assert_int_equal(dma_mapping_error(dev, a), 0);
	assert_non_null(dma_alloc_coherent(dev, 100, &a, GFP_KERNEL));
	kfree(p);
	get_device(dev);
	root_device_unregister(dev);
}

static void forgotten_mappings_are_named_by_site(void **state)
{
	struct fixture_verdict v = fixture_run(1, forgets_to_unmap);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 DMA mapping, 512 bytes, from tests/kobject/"));
	assert_non_null(strstr(v.reason, "1 coherent DMA block, 4096 bytes, from tests/kobject/"));
}

/* ---- pools ---- */

static void blocks_are_aligned_and_cross_no_boundary(void **state)
{
	static const size_t shapes[][3] = {	/* size, align, boundary */
		{ 1, 0, 0 }, { 24, 8, 0 }, { 100, 16, 256 }, { 96, 32, 1024 }, { 4096, 0, 0 },
		{ 5000, 64, 0 }, { 2048, 2048, 4096 },
	};
	struct device *dev = device_of(24);

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
		size_t size = shapes[i][0], align = shapes[i][1], boundary = shapes[i][2];
		struct dma_pool *pool = dma_pool_create("blocks", dev, size, align, boundary);
		dma_addr_t addr[100];
		char *p[100];

		assert_non_null(pool);
		for (int k = 0; k < 100; k++) {
			p[k] = k % 2 ? dma_pool_zalloc(pool, GFP_ATOMIC, &addr[k]) :
				       dma_pool_alloc(pool, GFP_KERNEL, &addr[k]);
			assert_true(p[k] && virt_to_phys(p[k]) == addr[k] && addr[k] < 16 * MIB);
			assert_true(!align || IS_ALIGNED(addr[k], align));
			assert_true(!boundary ||
				    addr[k] / boundary == (addr[k] + size - 1) / boundary);
			assert_int_equal((u8)p[k][size - 1], k % 2 ? 0 : POOL_POISON_ALLOCATED);
			memset(p[k], k, size);
		}
		for (int k = 0; k < 100; k++) {
			assert_int_equal(p[k][0], k);
			assert_int_equal(p[k][size - 1], k);
			dma_pool_free(pool, p[k], addr[k]);
		}
		dma_pool_destroy(pool);
		assert_int_equal(dma_nr_mapped(dev), 0);
	}
	assert_null(dma_pool_create("none", dev, 0, 0, 0));
	assert_null(dma_pool_create("none", dev, 8, 3, 0));
	assert_null(dma_pool_create("none", dev, 64, 0, 32));
	dma_pool_destroy(NULL);
	root_device_unregister(dev);
}

static void mistakes_with_blocks_are_reported(void **state)
{
	struct device *dev = device_of(32);
	struct dma_pool *pool = dma_pool_create("blocks", dev, 64, 0, 0);
	dma_addr_t a, b;
	char *p = dma_pool_alloc(pool, GFP_KERNEL, &a), *q = dma_pool_alloc(pool, GFP_KERNEL, &b);

	(void)state;
	dma_pool_free(pool, p, b);
	expect_warn("bad vaddr");
	dma_pool_free(pool, p, 0x1000);
	expect_warn("bad dma");
	dma_pool_free(pool, p + 8, a + 8);
	expect_warn("not the start of a block");
	dma_pool_free(pool, p, a);
	dma_pool_free(pool, p, a);
	expect_warn("already free");
	assert_int_equal((u8)p[10], POOL_POISON_FREED);
	p[10] = 1;
	assert_ptr_equal(dma_pool_alloc(pool, GFP_KERNEL, &a), p);
	expect_warn("a free block was written to");
	dma_pool_free(pool, p, a);
	dma_pool_destroy(pool);
	expect_warn("dma_pool_destroy blocks: 1 blocks at");
	dma_free_coherent(dev, PAGE_SIZE, (void *)((unsigned long)q & PAGE_MASK), b & PAGE_MASK);
	root_device_unregister(dev);
}

/* ---- many at once; failures ---- */

struct dma_storm {
	struct device *dev;
	struct dma_pool *pool;
};

static long maps_and_unmaps(struct storm_worker *w)
{
	struct dma_storm *d = w->storm->arg;

	for (unsigned int i = 0; i < 150; i++) {
		u32 *p = kmalloc(64 + rnd_below(&w->rnd, 5000), GFP_KERNEL), *c, *b;
		dma_addr_t a = dma_map_single(d->dev, p, 64, DMA_BIDIRECTIONAL), h, k;
		size_t size = 1 + rnd_below(&w->rnd, 9000);

		assert_int_equal(dma_mapping_error(d->dev, a), 0);
		c = dma_alloc_coherent(d->dev, size, &h, GFP_KERNEL);
		b = dma_pool_zalloc(d->pool, i % 2 ? GFP_KERNEL : GFP_ATOMIC, &k);
		assert_true(c && b && !*c && !*b);
		*p = *c = *b = w->index;
		cond_resched();
		assert_true(*p == w->index && *c == w->index && *b == w->index);
		dma_pool_free(d->pool, b, k);
		dma_free_coherent(d->dev, size, c, h);
		dma_unmap_single(d->dev, a, 64, DMA_BIDIRECTIONAL);
		kfree(p);
	}
	return 0;
}

static void many_tasks_share_a_device(void **state)
{
	static struct storm s;
	struct dma_storm d = { .dev = device_of(64) };

	(void)state;
	d.pool = dma_pool_create("storm", d.dev, 48, 16, 512);
	storm_run(&s, 2, maps_and_unmaps, &d);
	dma_pool_destroy(d.pool);
	assert_int_equal(dma_nr_mapped(NULL), 0);
	root_device_unregister(d.dev);
}

static struct device *nth_dev;
static struct dma_pool *nth_pool;
static void *nth_block, *nth_coherent;
static dma_addr_t nth_block_addr, nth_coherent_addr;

static long nth_alloc(void *arg)
{
	(void)arg;
	nth_coherent = dma_alloc_coherent(nth_dev, 5000, &nth_coherent_addr, GFP_KERNEL);
	if (!nth_coherent)
		return -ENOMEM;
	nth_pool = dma_pool_create("nth", nth_dev, 100, 0, 0);
	if (!nth_pool)
		goto free_coherent;
	nth_block = dma_pool_alloc(nth_pool, GFP_KERNEL, &nth_block_addr);
	if (nth_block)
		return 0;
	dma_pool_destroy(nth_pool);
free_coherent:
	dma_free_coherent(nth_dev, 5000, nth_coherent, nth_coherent_addr);
	return -ENOMEM;
}

static void nth_free(void *arg)
{
	(void)arg;
	dma_pool_free(nth_pool, nth_block, nth_block_addr);
	dma_pool_destroy(nth_pool);
	dma_free_coherent(nth_dev, 5000, nth_coherent, nth_coherent_addr);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = dma_nr_mapped(NULL);
}

static void failures_change_nothing(void **state)
{
	(void)state;
	nth_dev = device_of(24);
	assert_true(fixture_fail_nth(.body = nth_alloc, .undo = nth_free,
				     .snapshot = nth_snapshot) >= 4);
	root_device_unregister(nth_dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(masks_that_reach_too_little_are_refused, 1, &all_zones),
		karc_unit_test_config(coherent_memory_is_where_the_device_reaches_it, 4,
				      &all_zones),
		karc_unit_test(coherent_requests_that_make_no_sense_fail),
		karc_unit_test_config(a_mapping_is_the_memorys_physical_address, 1, &all_zones),
		karc_unit_test_config(memory_that_is_not_fit_for_devices_is_refused, 1,
				      &all_zones),
		karc_unit_test(wrong_unmaps_are_reported_with_both_places),
		karc_unit_test(a_device_that_ends_takes_its_mappings_along),
		cmocka_unit_test(forgotten_mappings_are_named_by_site),
		karc_unit_test(blocks_are_aligned_and_cross_no_boundary),
		karc_unit_test(mistakes_with_blocks_are_reported),
		KARC_TESTS(many_tasks_share_a_device),
		karc_unit_test(failures_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
