/* SPDX-License-Identifier: MIT */
/*
 * Goal: the table "who may call what where" of the README, cell by cell.
 * Method: every cell is tried on a machine. In each context the call is made, and its warnings are
 * counted and must name this file; addresses and frame numbers tell what is contiguous; devices
 * with three masks are offered the memory; pages are shown to a user; memory that somebody left
 * dirty tells what is zeroed; and where memory is used up, a hook of the allocator tells who sleeps.
 */
#include "../support/fixture.h"

#include <string.h>

#include <karc/base/err.h>
#include <karc/hw/clock.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/kobject/dma.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/mempool.h>
#include <karc/mm/slab/percpu.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/vma.h>

#define MIB	(1ULL << 20)
#define GIB	(1ULL << 30)
#define QUIET	__GFP_NOWARN

/* The compiler knows what allocators do, and some of the mistakes below. It is not to see. */
static void *unknown(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* ---- rows ---- */

/* What a call gave, and what its counterpart wants to hear. */
struct piece {
	void *p;
	struct page *page;
	dma_addr_t addr;
};

struct world {
	struct kmem_cache *cache;
	mempool_t *pool;
	struct device *dev[3];		/* masks of 24, 32 and 64 bits */
	struct page *high;
};

static struct world w;

static void world_up(void)
{
	static const char *const names[] = { "dev24", "dev32", "dev64" };
	static const unsigned int bits[] = { 24, 32, 64 };

	w.cache = kmem_cache_create("context", 64, 0, 0, NULL);
	w.pool = mempool_create_kmalloc_pool(1, 64);
	w.high = alloc_page(GFP_HIGHUSER);
	for (int i = 0; i < 3; i++) {
		w.dev[i] = root_device_register(names[i]);
		assert_int_equal(dma_coerce_mask_and_coherent(w.dev[i], DMA_BIT_MASK(bits[i])), 0);
	}
}

static void world_down(void)
{
	for (int i = 0; i < 3; i++)
		root_device_unregister(w.dev[i]);
	__free_page(w.high);
	mempool_destroy(w.pool);
	kmem_cache_destroy(w.cache);
}

static void make_kmalloc(struct piece *x, gfp_t gfp)
{
	x->p = kmalloc(64, gfp);
}

static void end_kmalloc(struct piece *x)
{
	kfree(x->p);
}

static void make_vmalloc(struct piece *x, gfp_t gfp)
{
	x->p = __vmalloc(64, gfp);
}

static void end_vmalloc(struct piece *x)
{
	vfree(x->p);
}

static void make_kvmalloc(struct piece *x, gfp_t gfp)
{
	x->p = kvmalloc(64, gfp);
}

static void end_kvmalloc(struct piece *x)
{
	kvfree(x->p);
}

static void make_pages(struct piece *x, gfp_t gfp)
{
	x->page = alloc_pages(gfp, 0);
	x->p = x->page ? page_address(x->page) : NULL;
}

static void end_pages(struct piece *x)
{
	__free_pages(x->page, 0);
}

static void make_kmap(struct piece *x, gfp_t gfp)
{
	(void)gfp;
	x->page = w.high;
	x->p = kmap(w.high);
}

static void end_kmap(struct piece *x)
{
	kunmap(x->page);
}

static void make_kmap_atomic(struct piece *x, gfp_t gfp)
{
	(void)gfp;
	x->p = kmap_atomic(w.high);
}

static void end_kmap_atomic(struct piece *x)
{
	kunmap_atomic(x->p);
}

static void make_kmap_local(struct piece *x, gfp_t gfp)
{
	(void)gfp;
	x->p = kmap_local_page(w.high);
}

static void end_kmap_local(struct piece *x)
{
	kunmap_local(x->p);
}

static void make_cached(struct piece *x, gfp_t gfp)
{
	x->p = kmem_cache_alloc(w.cache, gfp);
}

static void end_cached(struct piece *x)
{
	kmem_cache_free(w.cache, x->p);
}

static void make_pooled(struct piece *x, gfp_t gfp)
{
	x->p = mempool_alloc(w.pool, gfp);
}

static void end_pooled(struct piece *x)
{
	mempool_free(x->p, w.pool);
}

static void make_percpu(struct piece *x, gfp_t gfp)
{
	x->p = (void *)__alloc_percpu_gfp(64, 8, gfp);
}

static void end_percpu(struct piece *x)
{
	free_percpu(x->p);
}

static void make_coherent(struct piece *x, gfp_t gfp)
{
	x->p = dma_alloc_coherent(w.dev[2], 64, &x->addr, gfp);
}

static void end_coherent(struct piece *x)
{
	dma_free_coherent(w.dev[2], 64, x->p, x->addr);
}

/*
 * Contexts, in this order: task, preemption off, spinlock held, interrupts off, softirq, hardirq.
 * '.' may be called there, 'W' is reported with the caller's place.
 */
enum where { TASK, PREEMPT_OFF, SPINLOCK, IRQS_OFF, SOFTIRQ, HARDIRQ, NR_WHERE };

static const char *const where_name[] = {
	"task", "preemption off", "spinlock held", "interrupts off", "softirq", "hardirq",
};

struct row {
	const char *name;
	void (*make)(struct piece *x, gfp_t gfp);
	gfp_t gfp;
	const char *make_where;
	void (*end)(struct piece *x);
	const char *end_where;
	bool sleeps;			/* for memory, when there is none */
	bool at_once;			/* to be ended where it was made */
};

static const struct row rows[] = {
	{ "kmalloc GFP_KERNEL", make_kmalloc, GFP_KERNEL, ".WWWWW", end_kmalloc, "......",
	  true, 0 },
	{ "kmalloc GFP_ATOMIC", make_kmalloc, GFP_ATOMIC, "......", end_kmalloc, "......",
	  0, 0 },
	{ "kmem_cache_alloc GFP_KERNEL", make_cached, GFP_KERNEL, ".WWWWW", end_cached, "......",
	  true, 0 },
	{ "kmem_cache_alloc GFP_ATOMIC", make_cached, GFP_ATOMIC, "......", end_cached, "......",
	  0, 0 },
	{ "alloc_pages GFP_KERNEL", make_pages, GFP_KERNEL, ".WWWWW", end_pages, "......",
	  true, 0 },
	{ "alloc_pages GFP_ATOMIC", make_pages, GFP_ATOMIC, "......", end_pages, "......",
	  0, 0 },
	{ "vmalloc", make_vmalloc, GFP_KERNEL, ".WWWWW", end_vmalloc, "......",
	  true, 0 },
	{ "kvmalloc", make_kvmalloc, GFP_KERNEL, ".WWWWW", end_kvmalloc, "......",
	  true, 0 },
	{ "kmap", make_kmap, 0, ".WWWWW", end_kmap, ".WWWWW", 0, 0 },
	{ "kmap_local_page", make_kmap_local, 0, "......", end_kmap_local, "......", 0, true },
	{ "kmap_atomic", make_kmap_atomic, 0, "......", end_kmap_atomic, "......", 0, true },
	{ "mempool_alloc GFP_KERNEL", make_pooled, GFP_KERNEL, ".WWWWW", end_pooled, "......",
	  true, 0 },
	{ "mempool_alloc GFP_ATOMIC", make_pooled, GFP_ATOMIC, "......", end_pooled, "......",
	  0, 0 },
	{ "alloc_percpu", make_percpu, GFP_KERNEL, ".WWWWW", end_percpu, "......", true, 0 },
	{ "alloc_percpu_gfp GFP_ATOMIC", make_percpu, GFP_ATOMIC, "......", end_percpu, "......",
	  0, 0 },
	{ "dma_alloc_coherent GFP_KERNEL", make_coherent, GFP_KERNEL, ".WWWWW", end_coherent,
	  "...W.W", true, 0 },
	{ "dma_alloc_coherent GFP_ATOMIC", make_coherent, GFP_ATOMIC, "......", end_coherent,
	  "...W.W", 0, 0 },
};

/* ---- where: what is called in which context ---- */

struct call {
	const struct row *row;
	struct piece *x;
	bool make, end;
	unsigned int nr;		/* times it ran */
};

static struct call the_call;

static void call_it(void)
{
	struct call *c = &the_call;

	if (c->make)
		c->row->make(c->x, c->row->gfp);
	if (c->end)
		c->row->end(c->x);
	c->nr++;
}

static void call_softirq(struct softirq_action *action)
{
	(void)action;
	assert_true(in_serving_softirq());
	call_it();
}

static irqreturn_t call_hardirq(int irq, void *dev)
{
	(void)irq;
	(void)dev;
	assert_true(in_hardirq());
	call_it();
	return IRQ_HANDLED;
}

static void call_in(enum where where)
{
	spinlock_t lock;

	the_call.nr = 0;
	switch (where) {
	case PREEMPT_OFF:
		preempt_disable();
		call_it();
		preempt_enable();
		break;
	case SPINLOCK:
		spin_lock_init(&lock);
		spin_lock(&lock);
		call_it();
		spin_unlock(&lock);
		break;
	case IRQS_OFF:
		local_irq_disable();
		call_it();
		local_irq_enable();
		break;
	case SOFTIRQ:
		open_softirq(NET_RX_SOFTIRQ, call_softirq);
		raise_softirq(NET_RX_SOFTIRQ);
		cond_resched();
		open_softirq(NET_RX_SOFTIRQ, NULL);
		break;
	case HARDIRQ:
		assert_int_equal(request_irq(9, call_hardirq, 0, "context", &w), 0);
		irq_raise(this_machine(), smp_processor_id(), 9);
		cond_resched();
		free_irq(9, &w);
		break;
	default:
		call_it();
	}
	assert_int_equal(the_call.nr, 1);
	assert_true(preemptible());
}

/* The cell's verdict by the machine's own counters and log, against the table's. */
static void judge(const char *row, const char *half, enum where where, char expected,
		  unsigned long warnings)
{
	bool reported = machine_counters(this_machine()).warnings != warnings;

	if (reported != (expected == 'W'))
		fail_msg("%s (%s), %s: %s", row, half, where_name[where],
			 reported ? "reported" : "not reported");
	if (reported)
		expect_warn("tests/kobject/test_context.c");
	else
		expect_no_warn();
}

static void each_call_in_each_context(void **state)
{
	(void)state;
	world_up();
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		for (enum where where = TASK; where < NR_WHERE; where++) {
			struct piece x = { NULL, NULL, 0 };
			unsigned long warnings = machine_counters(this_machine()).warnings;

			the_call = (struct call){ row, &x, true, row->at_once, 0 };
			call_in(where);
			if (!x.p)
				fail_msg("%s, %s: gave nothing", row->name, where_name[where]);
			judge(row->name, "make", where, row->make_where[where], warnings);
			if (row->at_once)
				continue;
			warnings = machine_counters(this_machine()).warnings;
			the_call = (struct call){ row, &x, false, true, 0 };
			call_in(where);
			judge(row->name, "end", where, row->end_where[where], warnings);
		}
	}
	world_down();
}

/* ---- may sleep: memory is used up, and who asks for it waits ---- */

#define HOARD	20000

static struct page *hoard[HOARD];
static unsigned int nr_hoard, nr_waits;

static unsigned long waits_and_frees(gfp_t gfp, unsigned int order)
{
	unsigned long nr = 0;

	(void)gfp;
	(void)order;
	assert_true(preemptible());
	nr_waits++;
	msleep(1);
	while (nr < 256 && nr_hoard) {
		__free_page(hoard[--nr_hoard]);
		nr++;
	}
	return nr;
}

static const struct reclaim_ops waiting_ops = { .make_room = waits_and_frees };

static void use_memory_up(gfp_t more)
{
	const gfp_t gfp = GFP_ATOMIC | QUIET | __GFP_HIGHMEM | more;
	struct page *page;

	while (nr_hoard < HOARD && (page = alloc_page(gfp)) != NULL)
		hoard[nr_hoard++] = page;
	assert_in_range(nr_hoard, 1000, HOARD - 1);
}

static void give_memory_back(void)
{
	while (nr_hoard)
		__free_page(hoard[--nr_hoard]);
}

#define PIECES_MAX	4096

static void who_may_sleep(void **state)
{
	static struct piece x[PIECES_MAX];

	(void)state;
	world_up();
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		unsigned int nr = 0;

		use_memory_up(0);
		phys_set_reclaim(this_machine(), &waiting_ops);
		nr_waits = 0;
		/* What is cached for it goes first. */
		while (nr < (row->gfp ? PIECES_MAX : 1) && !nr_waits) {
			x[nr] = (struct piece){ NULL, NULL, 0 };
			row->make(&x[nr], row->gfp | (row->gfp ? QUIET : 0));
			if (!x[nr].p)
				break;
			nr++;
		}
		phys_set_reclaim(this_machine(), NULL);
		if ((nr_waits != 0) != row->sleeps)
			fail_msg("%s: waited %u times in %u calls", row->name, nr_waits, nr);
		while (nr)
			row->end(&x[--nr]);
		give_memory_back();
		machine_quiesce(this_machine());
	}
	expect_no_warn();
	world_down();
}

static long unmaps_later(void *page)
{
	msleep(50);
	kunmap(page);
	return 0;
}

/* kmap() sleeps for addresses, not for memory. */
static void kmap_sleeps_for_an_address(void **state)
{
	static struct page *pages[8192];
	unsigned long before = jiffies;
	struct fiber *f = NULL;
	unsigned int nr;
	u64 bytes;
	char *p;

	(void)state;
	physmem_window(this_machine(), WINDOW_KMAP, &bytes);
	for (nr = 0; nr < ARRAY_SIZE(pages) && !f; nr++) {
		pages[nr] = alloc_page(GFP_HIGHUSER);
		if (PageHighMem(pages[nr]) && kmap_nr_mapped(this_machine()) ==
		    (bytes >> PAGE_SHIFT) - KMAP_LOCAL_SLOTS)
			f = fiber_spawn(0, "unmapper", unmaps_later, pages[0]);
		kmap(pages[nr]);
	}
	assert_non_null(f);
	assert_true(jiffies != before);
	p = kmap_local_page(pages[1]);		/* has its own */
	kunmap_local(p);
	fiber_join(f, NULL);
	while (nr) {
		if (--nr)
			kunmap(pages[nr]);
		__free_page(pages[nr]);
	}
}

/* ---- units and limits ---- */

static void units_and_limits(void **state)
{
	dma_addr_t addr;
	char *p, *q;

	(void)state;
	world_up();
	/* kmalloc: bytes, in steps of eight at least; to 4 MiB */
	p = kmalloc(1, GFP_KERNEL);
	assert_int_equal(ksize(p), 8);
	kfree(p);
	p = kmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL);
	assert_non_null(p);
	kfree(p);
	assert_true(KMALLOC_MAX_SIZE == 4 * MIB);
	assert_null(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL | QUIET));
	/* caches: objects of one size, to 4 MiB */
	assert_int_equal(kmem_cache_size(w.cache), 64);
	/* pages: powers of two, order 10 at most, which is 4 MiB too */
	p = (char *)__get_free_pages(GFP_KERNEL, 10);
	assert_non_null(p);
	free_pages((unsigned long)p, 10);
	assert_null(alloc_pages(GFP_KERNEL | QUIET, 11));
	/* vmalloc: whole pages, each area with a guard; as much as there is memory */
	p = vmalloc(1);
	q = vmalloc(PAGE_SIZE);
	assert_true(offset_in_page(p) == 0 && (p > q ? p - q : q - p) >= 2 * (long)PAGE_SIZE);
	vfree(p);
	vfree(q);
	p = vmalloc(32 * MIB);
	assert_non_null(p);
	vfree(p);
	assert_null(__vmalloc(1 * GIB, GFP_KERNEL | QUIET));
	/* per-CPU memory: eight bytes to 32 KiB */
	p = (char *)__alloc_percpu(1, 1);
	q = (char *)__alloc_percpu(1, 1);
	assert_int_equal(q - p, PCPU_MIN_ALLOC_SIZE);
	free_percpu(p);
	free_percpu(q);
	assert_null(__alloc_percpu(PCPU_MIN_UNIT_SIZE + 1, 8));
	expect_warn("illegal size");
	/* coherent memory: whole pages, to 4 MiB */
	p = dma_alloc_coherent(w.dev[2], 4 * MIB, &addr, GFP_KERNEL);
	assert_non_null(p);
	dma_free_coherent(w.dev[2], 4 * MIB, p, addr);
	assert_null(dma_alloc_coherent(w.dev[2], 4 * MIB + 1, &addr, GFP_KERNEL | QUIET));
	expect_no_warn();
	world_down();
}

/* ---- contiguous: memory is there, but no two frames of it are neighbours ---- */

static const struct machine_config plain_memory = { .mem_bytes = 64 * MIB };

static void frames_without_neighbours(void)
{
	unsigned int kept = 0;

	use_memory_up(__GFP_MEMALLOC);		/* the reserves too */
	for (unsigned int i = 0; i < nr_hoard; i++) {
		if (page_to_pfn(hoard[i]) % 2)
			hoard[kept++] = hoard[i];
		else
			__free_page(hoard[i]);
	}
	nr_hoard = kept;
}

static void touch_all(char *p, size_t bytes)
{
	for (size_t at = 0; at < bytes; at++)
		p[at] = (char)(at * 7);
	for (size_t at = 0; at < bytes; at++)
		assert_int_equal(p[at], (char)(at * 7));
}

static void what_is_contiguous(void **state)
{
	const size_t size = 4 * PAGE_SIZE;
	struct kmem_cache *big = kmem_cache_create("big", 4 * PAGE_SIZE, 0, 0, NULL);
	unsigned int broken = 0;
	dma_addr_t addr;
	char *p;

	(void)state;
	world_up();
	frames_without_neighbours();
	/* By frames, so not to be had: */
	assert_null(kmalloc(size, GFP_KERNEL | QUIET | __GFP_NORETRY));
	assert_null(alloc_pages(GFP_KERNEL | QUIET | __GFP_NORETRY, 2));
	assert_null(kmem_cache_alloc(big, GFP_KERNEL | QUIET | __GFP_NORETRY));
	assert_null(dma_alloc_coherent(w.dev[2], size, &addr, GFP_KERNEL | QUIET | __GFP_NORETRY));
	/* By address only: */
	p = vmalloc(size);
	assert_non_null(p);
	touch_all(p, size);
	for (size_t i = 1; i < 4; i++)
		broken += page_to_pfn(vmalloc_to_page(p + i * PAGE_SIZE)) !=
			  page_to_pfn(vmalloc_to_page(p)) + i;
	assert_int_equal(broken, 3);
	vfree(p);
	p = kvmalloc(size, GFP_KERNEL);
	assert_true(is_vmalloc_addr(p));
	touch_all(p, size);
	kvfree(p);
	p = (char *)__alloc_percpu(size, 8);
	assert_non_null(p);
	for (unsigned int cpu = 0; cpu < machine_nr_cpus(this_machine()); cpu++)
		touch_all(per_cpu_ptr(p, cpu), size);
	free_percpu(p);
	give_memory_back();
	/* With neighbours all of them give it, in frames that follow each other. */
	machine_quiesce(this_machine());
	p = kmalloc(size, GFP_KERNEL);
	touch_all(p, size);
	assert_true(virt_to_phys(p + size - 1) == virt_to_phys(p) + size - 1);
	kfree(p);
	p = kmem_cache_alloc(big, GFP_KERNEL);
	touch_all(p, size);
	kmem_cache_free(big, p);
	p = dma_alloc_coherent(w.dev[2], size, &addr, GFP_KERNEL);
	touch_all(p, size);
	assert_true(addr == virt_to_phys(p));
	dma_free_coherent(w.dev[2], size, p, addr);
	expect_no_warn();
	world_down();
	kmem_cache_destroy(big);
}

/* ---- devices ---- */

/* RAM below 16 MiB, below 4 GiB, above, and HIGHMEM. */
static const struct machine_bank banks[] = {
	{ .start = MIB, .size = 31 * MIB },
	{ .start = 5 * GIB, .size = 64 * MIB },
	{ .start = 6 * GIB, .size = 32 * MIB },
};
static const struct machine_config all_zones = {
	.banks = banks, .nr_banks = ARRAY_SIZE(banks), .highmem_start = 6 * GIB,
};

/* Which of the three devices take the memory: one letter each. */
static void assert_devices(const char *what, void *p, const char *expected)
{
	for (int i = 0; i < 3; i++) {
		dma_addr_t addr = dma_map_single(w.dev[i], p, 64, DMA_TO_DEVICE);
		bool mapped = !dma_mapping_error(w.dev[i], addr);

		if (mapped != (expected[i] == 'y'))
			fail_msg("%s, %s: %s", what, dev_name(w.dev[i]),
				 mapped ? "mapped" : "refused");
		if (mapped)
			dma_unmap_single(w.dev[i], addr, 64, DMA_TO_DEVICE);
		else
			expect_warn("DMA-API");
	}
}

static void which_memory_devices_reach(void **state)
{
	struct kmem_cache *low = kmem_cache_create("low", 64, 0, SLAB_CACHE_DMA, NULL);
	struct page *page;
	dma_addr_t addr;
	void *p;

	(void)state;
	world_up();
	p = kmalloc(64, GFP_KERNEL);
	assert_devices("kmalloc", p, "nny");
	kfree(p);
	p = kmalloc(64, GFP_KERNEL | GFP_DMA);
	assert_true(virt_to_phys(p) < 16 * MIB);
	assert_devices("kmalloc GFP_DMA", p, "yyy");
	kfree(p);
	p = kmem_cache_alloc(w.cache, GFP_KERNEL);
	assert_devices("kmem_cache_alloc", p, "nny");
	kmem_cache_free(w.cache, p);
	p = kmem_cache_alloc(low, GFP_KERNEL);
	assert_devices("cache with SLAB_CACHE_DMA", p, "yyy");
	kmem_cache_free(low, p);
	p = (void *)__get_free_page(GFP_KERNEL);
	assert_devices("page", p, "nny");
	free_page((unsigned long)p);
	p = (void *)__get_free_page(GFP_KERNEL | GFP_DMA32);
	assert_devices("page GFP_DMA32", p, virt_to_phys(p) < 16 * MIB ? "yyy" : "nyy");
	free_page((unsigned long)p);
	p = (void *)__get_free_page(GFP_KERNEL | GFP_DMA);
	assert_devices("page GFP_DMA", p, "yyy");
	free_page((unsigned long)p);
	p = mempool_alloc(w.pool, GFP_KERNEL);
	assert_devices("mempool_alloc", p, "nny");
	mempool_free(p, w.pool);
	p = vmalloc(64);
	assert_devices("vmalloc", p, "nnn");
	vfree(p);
	p = (void *)__alloc_percpu(64, 8);
	assert_devices("alloc_percpu", this_cpu_ptr((char *)p), "nnn");
	free_percpu(p);
	p = kmap(w.high);
	assert_devices("kmap", p, "nnn");
	kunmap(w.high);
	page = w.high;			/* the frame itself may be mapped, without an address */
	addr = dma_map_page(w.dev[2], page, 0, 64, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(w.dev[2], addr), 0);
	dma_unmap_page(w.dev[2], addr, 64, DMA_TO_DEVICE);
	assert_int_equal(dma_mapping_error(w.dev[1], dma_map_page(w.dev[1], page, 0, 64,
								  DMA_TO_DEVICE)), -ENOMEM);
	expect_warn("beyond the mask");
	for (int i = 0; i < 3; i++) {
		p = dma_alloc_coherent(w.dev[i], 64, &addr, GFP_KERNEL);
		assert_true(addr + 63 <= w.dev[i]->coherent_dma_mask);
		dma_free_coherent(w.dev[i], 64, p, addr);
	}
	world_down();
	kmem_cache_destroy(low);
}

/* ---- users ---- */

#define USER_AT	0x10000000UL

struct shown {
	struct vm_special_mapping mapping;
	struct page *page;
};

static vm_fault_t show_page(const struct vm_special_mapping *sm, struct vm_area_struct *vma,
			    struct vm_fault *vmf)
{
	struct shown *shown = container_of(sm, struct shown, mapping);

	(void)vma;
	get_page(shown->page);
	vmf->page = shown->page;
	return 0;
}

/* A user writes a byte to the frame, the kernel reads it at @p, and the other way round. */
static void assert_users_share(const char *what, struct page *page, char *p)
{
	struct shown shown = { { .name = "[shown]", .ops = { show_page } }, page };
	struct mm_struct *mm = mm_alloc();
	struct vm_area_struct *vma;
	unsigned char byte = 77;

	mmap_write_lock(mm);
	vma = _install_special_mapping(mm, USER_AT, PAGE_SIZE, VM_READ | VM_WRITE | VM_SHARED |
				       VM_MAYREAD | VM_MAYWRITE, &shown.mapping);
	mmap_write_unlock(mm);
	assert_false(IS_ERR(vma));
	if (access_remote_vm(mm, USER_AT + 10, &byte, 1, true) != 1 || p[10] != 77)
		fail_msg("%s: what the user wrote is not there", what);
	p[11] = 78;
	if (access_remote_vm(mm, USER_AT + 11, &byte, 1, false) != 1 || byte != 78)
		fail_msg("%s: what the kernel wrote is not there", what);
	mmput(mm);
}

static void what_users_may_map(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	dma_addr_t addr;
	char *p;

	(void)state;
	world_up();
	assert_users_share("alloc_pages", page, page_address(page));
	__free_page(page);
	p = vmalloc(2 * PAGE_SIZE);
	assert_users_share("vmalloc", vmalloc_to_page(p + PAGE_SIZE), p + PAGE_SIZE);
	vfree(p);
	p = vmalloc_user(PAGE_SIZE);
	assert_int_equal(p[10], 0);
	assert_users_share("vmalloc_user", vmalloc_to_page(p), p);
	vfree(p);
	p = kmap(w.high);
	assert_users_share("kmap", w.high, p);
	kunmap(w.high);
	p = dma_alloc_coherent(w.dev[2], PAGE_SIZE, &addr, GFP_KERNEL);
	assert_users_share("dma_alloc_coherent", virt_to_page(p), p);
	dma_free_coherent(w.dev[2], PAGE_SIZE, p, addr);
	/* A slab's frame holds others' objects, and what it would be mapped with is in use. */
	p = kmalloc(64, GFP_KERNEL);
	assert_true(PageSlab(virt_to_head_page(p)));
	kfree(p);
	expect_no_warn();
	world_down();
}

/* ---- zeroed, constructor ---- */

static bool all_zero(const char *p, size_t bytes)
{
	size_t at = 0;

	while (at < bytes && !p[at])
		at++;
	return at == bytes;
}

/* The memory that the next ones get was somebody's who left it dirty. */
static void assert_zeroed(const struct row *row, gfp_t flag, bool expected)
{
	static struct piece x[256];
	unsigned int dirty = 0;

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(x); i++) {
		struct piece *y = &x[i % ARRAY_SIZE(x)];
		char *p;

		if (i == ARRAY_SIZE(x)) {
			for (unsigned int k = 0; k < ARRAY_SIZE(x); k++)
				row->end(&x[k]);
		}
		*y = (struct piece){ NULL, NULL, 0 };
		row->make(y, GFP_KERNEL | flag);
		p = row->make == make_percpu ? this_cpu_ptr((char *)y->p) : y->p;
		dirty += i >= ARRAY_SIZE(x) && !all_zero(p, 64);
		memset(p, 0xff, 64);
		y->p = unknown(y->p);	/* or the store before the free goes missing */
	}
	for (unsigned int k = 0; k < ARRAY_SIZE(x); k++)
		row->end(&x[k]);
	if ((dirty == 0) != expected)
		fail_msg("%s: %u of %zu are dirty", row->name, dirty, ARRAY_SIZE(x));
}

static void what_is_zeroed(void **state)
{
	(void)state;
	world_up();
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		bool always = row->make == make_percpu || row->make == make_coherent;

		if (row->gfp != GFP_KERNEL)
			continue;
		assert_zeroed(row, 0, always);
		if (row->make != make_pooled)
			assert_zeroed(row, __GFP_ZERO, true);
	}
	expect_no_warn();
	world_down();
}

static unsigned int nr_constructed;

static void constructs(void *obj)
{
	nr_constructed++;
	memset(obj, 'c', 64);
}

/* Only caches have one: it ran on each object before the first alloc, and not again. */
static void what_has_a_constructor(void **state)
{
	struct kmem_cache *c = kmem_cache_create("constructed", 64, 0, 0, constructs);
	unsigned int nr;
	char *p;

	(void)state;
	nr_constructed = 0;
	p = kmem_cache_alloc(c, GFP_KERNEL);
	nr = nr_constructed;
	assert_true(nr >= 1);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(p[63], 'c');
		kmem_cache_free(c, p);
		p = kmem_cache_alloc(c, GFP_KERNEL);
	}
	assert_int_equal(nr_constructed, nr);
	kmem_cache_free(c, p);
	kmem_cache_destroy(c);
}

/* ---- matching frees: every other one is reported and changes nothing ---- */

static void other_frees_are_reported(void **state)
{
	struct page *page;
	char *k, *v;
	char *pc;

	(void)state;
	world_up();
	k = unknown(kmalloc(64, GFP_KERNEL));
	v = unknown(vmalloc(64));
	page = alloc_page(GFP_KERNEL);
	pc = unknown((char *)__alloc_percpu(64, 8));
	vfree(unknown(k));
	expect_warn("test_context.c");
	free_percpu(unknown(k));
	expect_warn("test_context.c");
	kunmap_local(w.dev);
	expect_warn("test_context.c");
	kfree(unknown(v));
	expect_warn("test_context.c");
	free_percpu(unknown(v));
	expect_warn("test_context.c");
	kfree(unknown(page_address(page)));
	expect_warn("test_context.c");
	vfree(unknown(page_address(page)));
	expect_warn("test_context.c");
	kfree(unknown(pc));
	expect_warn("per-CPU memory, which free_percpu() frees");
	kfree(this_cpu_ptr(pc));
	expect_warn("one CPU's copy of a per-CPU object");
	kunmap(w.high);
	expect_warn("test_context.c");
	memset(k, 1, 64);
	memset(v, 1, 64);
	kfree(k);
	vfree(v);
	__free_page(page);
	free_percpu(pc);
	expect_no_warn();
	world_down();
}

static const struct machine_config with_highmem = {
	.mem_bytes = 64 * MIB, .highmem_start = 32 * MIB,
};

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(each_call_in_each_context, 1, &with_highmem),
		karc_unit_test_config(each_call_in_each_context, 4, &with_highmem),
		karc_unit_test_config(who_may_sleep, 1, &with_highmem),
		karc_unit_test_config(kmap_sleeps_for_an_address, 1, &with_highmem),
		karc_unit_test_config(units_and_limits, 4, &with_highmem),
		karc_unit_test_config(what_is_contiguous, 1, &plain_memory),
		karc_unit_test_config(which_memory_devices_reach, 1, &all_zones),
		karc_unit_test_config(what_users_may_map, 1, &with_highmem),
		karc_unit_test_config(what_is_zeroed, 1, &with_highmem),
		karc_unit_test_config(what_has_a_constructor, 1, &with_highmem),
		karc_unit_test_config(other_frees_are_reported, 1, &with_highmem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
