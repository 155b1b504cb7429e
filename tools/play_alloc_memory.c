/* SPDX-License-Identifier: MIT */
/*
 * play_alloc_memory.c - what sort of memory each call gives
 *
 * Each cell is looked up or tried: sizes by asking for more until it is refused, places from the
 * frames' numbers, devices by dma_map_single() and dma_map_page(), contents by looking, mappings to
 * user space by a process that reads through one.
 */
#include "play_alloc.h"
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/kobject/dma.h>
#include <karc/mm/kva/highmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define OBJECT_BYTES	100u
#define USER_ADDRESS	0x10000000ul

enum column { BY_KMALLOC, BY_CACHE, BY_PAGES, BY_VMALLOC, BY_KMAP, NR_COLUMNS };

/* The table while it is made. */
struct table {
	struct stage *s;
	struct device *dev;
	struct kmem_cache *cache;
	unsigned int nr_made;		/* calls of the cache's constructor */
	unsigned int nr_wrong;
	char cell[NR_COLUMNS][32];
};

static void set(struct table *t, enum column column, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void set(struct table *t, enum column column, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->cell[column], sizeof(t->cell[column]), fmt, args);
	va_end(args);
}

static void row(struct table *t, const char *name)
{
	stage_say(t->s, "%-23s %-14s %-17s %-14s %-14s %s", name, t->cell[BY_KMALLOC],
		  t->cell[BY_CACHE], t->cell[BY_PAGES], t->cell[BY_VMALLOC], t->cell[BY_KMAP]);
}

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static void expect(struct table *t, bool ok)
{
	t->nr_wrong += !ok;
}

/* ---- unit and limit ---------------------------------------------------------------------- */

static void tell_units(struct table *t)
{
	void *k = kmalloc(1, GFP_KERNEL), *v = vmalloc(1);
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	struct vm_struct *area = v ? find_vm_area(v) : NULL;

	set(t, BY_KMALLOC, "%zu bytes", k ? ksize(k) : 0);
	set(t, BY_CACHE, "object, %u B", t->cache->size);
	set(t, BY_PAGES, "%lu B frames", page ? page_size(page) : 0);
	set(t, BY_VMALLOC, "%lu B frames", area ? area->nr_pages * PAGE_SIZE : 0);
	set(t, BY_KMAP, "1 frame");
	row(t, "unit");
	expect(t, k && area && page && ksize(k) == KMALLOC_MIN_SIZE && area->nr_pages == 1);
	kfree(k);
	vfree(v);
	if (page)
		__free_page(page);
}

static bool vmalloc_works(unsigned long bytes)
{
	void *p = __vmalloc(bytes, GFP_KERNEL | __GFP_HIGHMEM | ALLOC_QUIETLY);
	bool works = p != NULL;

	vfree(p);
	return works;
}

/* The most that vmalloc() gives now, to a part in 32. */
static unsigned long vmalloc_limit_mib(struct machine *m)
{
	unsigned long mib = phys_nr_free(m) << PAGE_SHIFT >> 20;

	while (mib && !vmalloc_works(mib << 20))
		mib -= mib / 32 + 1;	/* it is near: only reserves are kept from it */
	return mib;
}

static void tell_limits(struct table *t)
{
	unsigned long bytes = 1, order = 0, mib;
	struct kmem_cache *most;
	struct page *page;
	void *p;

	while ((p = kmalloc(2 * bytes, GFP_KERNEL | ALLOC_QUIETLY))) {
		kfree(p);
		bytes *= 2;
	}
	while ((page = alloc_pages(GFP_KERNEL | ALLOC_QUIETLY, (unsigned int)order + 1))) {
		__free_pages(page, (unsigned int)order + 1);
		order++;
	}
	most = kmem_cache_create("demo-most", (unsigned int)bytes, 0, 0, NULL);
	set(t, BY_KMALLOC, "%lu MiB", bytes >> 20);
	set(t, BY_CACHE, "%s%lu MiB", most ? "" : "less than ", bytes >> 20);
	set(t, BY_PAGES, "%lu MiB", PAGE_SIZE << order >> 20);
	mib = vmalloc_limit_mib(t->s->m);
	set(t, BY_VMALLOC, "%lu MiB: RAM", mib);
	set(t, BY_KMAP, "1 frame");
	row(t, "limit");
	expect(t, bytes == KMALLOC_MAX_SIZE && order == MAX_ORDER - 1 && most &&
	       mib << 20 > KMALLOC_MAX_SIZE);
	kmem_cache_destroy(most);
}

/* ---- place ------------------------------------------------------------------------------- */

static void tell_addresses(struct table *t)
{
	void *k = kmalloc(ALLOC_BLOCK_BYTES, GFP_KERNEL), *v = vmalloc(ALLOC_BLOCK_BYTES);
	void *obj = kmem_cache_alloc(t->cache, GFP_KERNEL);
	struct page *page = alloc_pages(GFP_KERNEL, ALLOC_BLOCK_ORDER);
	struct page *high = alloc_page(GFP_KERNEL | __GFP_HIGHMEM);
	bool ok = k && v && obj && page && high;

	if (ok) {
		void *m = kmap(high);

		set(t, BY_KMALLOC, "%s", yes_no(alloc_is_contiguous(k, ALLOC_BLOCK_BYTES)));
		set(t, BY_CACHE, "%s", yes_no(alloc_is_contiguous(obj, OBJECT_BYTES)));
		set(t, BY_PAGES, "%s", yes_no(alloc_is_contiguous(page_address(page), ALLOC_BLOCK_BYTES)));
		set(t, BY_VMALLOC, "%s", yes_no(alloc_is_contiguous(v, ALLOC_BLOCK_BYTES)));
		set(t, BY_KMAP, "%s", yes_no(alloc_is_contiguous(m, PAGE_SIZE)));
		row(t, "contiguous addresses");
		set(t, BY_KMALLOC, "%s", yes_no(alloc_runs_of(k, ALLOC_BLOCK_BYTES) == 1));
		set(t, BY_CACHE, "%s", yes_no(alloc_runs_of(obj, OBJECT_BYTES) == 1));
		set(t, BY_PAGES, "%s", yes_no(alloc_runs_of(page_address(page), ALLOC_BLOCK_BYTES) == 1));
		set(t, BY_VMALLOC, alloc_vmalloc_places(t->s->m) == 1 ? "yes" : "no");
		set(t, BY_KMAP, "%s", yes_no(alloc_runs_of(m, PAGE_SIZE) == 1));
		row(t, "contiguous in RAM");
		expect(t, alloc_runs_of(k, ALLOC_BLOCK_BYTES) == 1 && !strcmp(t->cell[BY_VMALLOC], "no"));
		kunmap(high);
	}
	expect(t, ok);
	kfree(k);
	vfree(v);
	if (obj)
		kmem_cache_free(t->cache, obj);
	if (page)
		__free_pages(page, ALLOC_BLOCK_ORDER);
	if (high)
		__free_page(high);
}

/* ---- devices ----------------------------------------------------------------------------- */

/* Does a device of that many address bits get at [p, p + bytes)? Whether it should, is counted. */
static bool device_reaches(struct table *t, unsigned int bits, void *p, size_t bytes)
{
	phys_addr_t end = is_vmalloc_addr(p) ? 0 : virt_to_phys(p) + bytes - 1;
	dma_addr_t at;
	bool ok;

	if (dma_coerce_mask_and_coherent(t->dev, DMA_BIT_MASK(bits)))
		return false;
	at = dma_map_single(t->dev, p, bytes, DMA_TO_DEVICE);
	ok = !dma_mapping_error(t->dev, at);
	if (ok)
		dma_unmap_single(t->dev, at, bytes, DMA_TO_DEVICE);
	expect(t, ok == (!is_vmalloc_addr(p) && end <= DMA_BIT_MASK(bits)));
	return ok;
}

static bool device_reaches_page(struct table *t, unsigned int bits, struct page *page)
{
	dma_addr_t at;
	bool ok;

	if (dma_coerce_mask_and_coherent(t->dev, DMA_BIT_MASK(bits)))
		return false;
	at = dma_map_page(t->dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE);
	ok = !dma_mapping_error(t->dev, at);
	if (ok)
		dma_unmap_page(t->dev, at, PAGE_SIZE, DMA_TO_DEVICE);
	expect(t, ok == (page_to_phys(page) + PAGE_SIZE - 1 <= DMA_BIT_MASK(bits)));
	return ok;
}

static void tell_bits(struct table *t, unsigned int bits, void *const *mem, struct page *high)
{
	char name[32];

	set(t, BY_KMALLOC, "%s", yes_no(device_reaches(t, bits, mem[BY_KMALLOC], 256)));
	set(t, BY_CACHE, "%s", yes_no(device_reaches(t, bits, mem[BY_CACHE], OBJECT_BYTES)));
	set(t, BY_PAGES, "%s", yes_no(device_reaches(t, bits, mem[BY_PAGES], PAGE_SIZE)));
	set(t, BY_VMALLOC, device_reaches(t, bits, mem[BY_VMALLOC], PAGE_SIZE) ? "yes" :
	    "refused");
	set(t, BY_KMAP, "%s", yes_no(device_reaches_page(t, bits, high)));
	snprintf(name, sizeof(name), "DMA, %u-bit device", bits);
	row(t, name);
}

/* The same from ZONE_DMA: GFP_DMA, or a cache with SLAB_CACHE_DMA. */
static void tell_dma_zone(struct table *t)
{
	struct kmem_cache *cache = kmem_cache_create("demo-dma", OBJECT_BYTES, 0, SLAB_CACHE_DMA,
						     NULL);
	void *k = kmalloc(256, GFP_KERNEL | GFP_DMA);
	void *obj = cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
	unsigned long frame = __get_free_pages(GFP_KERNEL | GFP_DMA, 0);

	if (k && obj && frame) {
		set(t, BY_KMALLOC, "%s", yes_no(device_reaches(t, 24, k, 256)));
		set(t, BY_CACHE, "%s", yes_no(device_reaches(t, 24, obj, OBJECT_BYTES)));
		set(t, BY_PAGES, "%s", yes_no(device_reaches(t, 24, (void *)frame, PAGE_SIZE)));
		set(t, BY_VMALLOC, "-");
		set(t, BY_KMAP, "-");
		row(t, "  with GFP_DMA");
	}
	expect(t, k && obj && frame && slab_object_of(k, NULL) &&
	       !strcmp(virt_to_head_page(k)->slab_cache->name, "dma-kmalloc-256"));
	kfree(k);
	if (obj)
		kmem_cache_free(cache, obj);
	free_page(frame);
	kmem_cache_destroy(cache);
}

/* The same below 4 GiB; Linux's kmalloc() has no such caches. */
static void tell_dma32_zone(struct table *t)
{
	struct kmem_cache *cache = kmem_cache_create("demo-dma32", OBJECT_BYTES, 0,
						     SLAB_CACHE_DMA32, NULL);
	void *obj = cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
	unsigned long frame = __get_free_pages(GFP_KERNEL | GFP_DMA32, 0);
	void *v = vmalloc_32(PAGE_SIZE);

	if (obj && frame && v) {
		set(t, BY_KMALLOC, "-");
		set(t, BY_CACHE, "%s", yes_no(device_reaches(t, 32, obj, OBJECT_BYTES)));
		set(t, BY_PAGES, "%s", yes_no(device_reaches(t, 32, (void *)frame, PAGE_SIZE)));
		set(t, BY_VMALLOC, device_reaches(t, 32, v, PAGE_SIZE) ? "yes" : "refused");
		row(t, "  with GFP_DMA32");
	}
	expect(t, obj && frame && v && vmalloc_to_pfn(v) < 1ul << (32 - PAGE_SHIFT));
	if (obj)
		kmem_cache_free(cache, obj);
	free_page(frame);
	vfree(v);
	kmem_cache_destroy(cache);
}

static void tell_devices(struct table *t)
{
	void *mem[NR_COLUMNS] = { NULL };
	struct page *high = alloc_page(GFP_KERNEL | __GFP_HIGHMEM);

	mem[BY_KMALLOC] = kmalloc(256, GFP_KERNEL);
	mem[BY_CACHE] = kmem_cache_alloc(t->cache, GFP_KERNEL);
	mem[BY_PAGES] = (void *)__get_free_pages(GFP_KERNEL, 0);
	mem[BY_VMALLOC] = vmalloc(PAGE_SIZE);
	if (mem[BY_KMALLOC] && mem[BY_CACHE] && mem[BY_PAGES] && mem[BY_VMALLOC] && high) {
		tell_bits(t, 24, mem, high);
		tell_dma_zone(t);
		tell_bits(t, 32, mem, high);
		tell_dma32_zone(t);
		tell_bits(t, 64, mem, high);
	} else {
		expect(t, false);
	}
	kfree(mem[BY_KMALLOC]);
	if (mem[BY_CACHE])
		kmem_cache_free(t->cache, mem[BY_CACHE]);
	free_page((unsigned long)mem[BY_PAGES]);
	vfree(mem[BY_VMALLOC]);
	if (high)
		__free_page(high);
}

/* ---- contents ---------------------------------------------------------------------------- */

#define NR_DIRTY	64u

static bool is_zero(const char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i])
			return false;
	return true;
}

static void *take(struct table *t, enum column column, gfp_t gfp)
{
	if (column == BY_KMALLOC)
		return kmalloc(256, gfp);
	if (column == BY_CACHE)
		return kmem_cache_alloc(t->cache, gfp);
	if (column == BY_PAGES)
		return (void *)__get_free_pages(gfp, 0);
	return __vmalloc(PAGE_SIZE, gfp | __GFP_HIGHMEM);
}

static void give(struct table *t, enum column column, void *p)
{
	if (column == BY_KMALLOC)
		kfree(p);
	else if (column == BY_CACHE)
		kmem_cache_free(t->cache, p);
	else if (column == BY_PAGES)
		free_page((unsigned long)p);
	else
		vfree(p);
}

/* Write to some, free them, take some again: are those zero? */
static bool comes_zeroed(struct table *t, enum column column, gfp_t gfp)
{
	size_t bytes = column == BY_CACHE ? OBJECT_BYTES : 256;
	void *p[NR_DIRTY];
	bool zero = true;

	for (unsigned int round = 0; round < 2; round++) {
		unsigned int nr = 0;

		while (nr < NR_DIRTY && (p[nr] = take(t, column, GFP_KERNEL | (round ? gfp : 0)))) {
			if (round)
				zero = zero && is_zero(p[nr], bytes);
			memset(p[nr], 0x5a, bytes);
			nr++;
		}
		while (nr)
			give(t, column, p[--nr]);
	}
	return zero;
}

static void tell_contents(struct table *t)
{
	for (enum column c = BY_KMALLOC; c <= BY_VMALLOC; c++)
		set(t, c, "%s", yes_no(comes_zeroed(t, c, 0)));
	set(t, BY_KMAP, "-");
	row(t, "zeroed");
	for (enum column c = BY_KMALLOC; c <= BY_VMALLOC; c++) {
		bool zero = comes_zeroed(t, c, __GFP_ZERO);

		set(t, c, "%s", yes_no(zero));
		expect(t, zero);
	}
	row(t, "  with __GFP_ZERO");
}

static void construct(void *obj)
{
	memset(obj, 0x77, OBJECT_BYTES);
}

static void tell_constructors(struct table *t)
{
	struct kmem_cache *cache = kmem_cache_create("demo-ctor", OBJECT_BYTES, 0, 0, construct);
	char *obj = cache ? kmem_cache_alloc(cache, GFP_KERNEL) : NULL;
	bool made = obj && obj[0] == 0x77 && obj[OBJECT_BYTES - 1] == 0x77;

	for (enum column c = 0; c < NR_COLUMNS; c++)
		set(t, c, "no");
	set(t, BY_CACHE, made ? "yes, no dtor" : "no");
	row(t, "constructor");
	expect(t, made);
	if (obj)
		kmem_cache_free(cache, obj);
	kmem_cache_destroy(cache);
}

/* ---- user space -------------------------------------------------------------------------- */

/* A mapping of one frame, as a driver makes it. */
struct shown_frame {
	struct vm_special_mapping mapping;	/* first: what a fault is given leads here */
	struct page *page;
};

static vm_fault_t show_frame(const struct vm_special_mapping *sm, struct vm_area_struct *vma,
			     struct vm_fault *vmf)
{
	const struct shown_frame *shown = (const struct shown_frame *)sm;

	(void)vma;
	get_page(shown->page);
	vmf->page = shown->page;
	return 0;
}

static long map_entry(void *arg)
{
	struct shown_frame *shown = arg;
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;

	mmap_write_lock(mm);
	vma = _install_special_mapping(mm, USER_ADDRESS, PAGE_SIZE,
				       VM_READ | VM_MAYREAD | VM_SHARED | VM_MAYSHARE,
				       &shown->mapping);
	mmap_write_unlock(mm);
	return IS_ERR(vma) ? PTR_ERR(vma) : 0;
}

/* Does a process that maps the frame of @p read what stands at @p? */
static bool user_sees(struct page *page, char *p)
{
	struct shown_frame shown = { .mapping = { .name = "[demo]", .ops = { show_frame } },
				     .page = page };
	struct task_struct *task = task_create_init("reader");
	char got = 0;
	bool ok = false;

	if (IS_ERR(task))
		return false;
	*p = 'k';
	if (!task_call(task, map_entry, &shown).value)
		ok = !guest_read(task, USER_ADDRESS, &got, 1) && got == 'k';
	guest_exit(task, 0);
	put_task_struct(task);
	return ok;
}

static void tell_user_space(struct table *t)
{
	char *k = kmalloc(256, GFP_KERNEL), *obj = kmem_cache_alloc(t->cache, GFP_KERNEL);
	char *frame = (char *)get_zeroed_page(GFP_KERNEL), *v = vmalloc(PAGE_SIZE);

	if (k && obj && frame && v) {
		bool pages = user_sees(virt_to_page(frame), frame);
		bool area = user_sees(vmalloc_to_page(v), v);

		set(t, BY_KMALLOC, PageSlab(virt_to_head_page(k)) ? "no, slab" : "yes");
		set(t, BY_CACHE, PageSlab(virt_to_head_page(obj)) ? "no, slab" : "yes");
		set(t, BY_PAGES, "%s", yes_no(pages));
		set(t, BY_VMALLOC, "%s", yes_no(area));
		set(t, BY_KMAP, "its frame");
		row(t, "user space may map it");
		expect(t, pages && area && PageSlab(virt_to_head_page(k)));
	} else {
		expect(t, false);
	}
	kfree(k);
	if (obj)
		kmem_cache_free(t->cache, obj);
	free_page((unsigned long)frame);
	vfree(v);
}

/* ---- the way back ------------------------------------------------------------------------ */

static void tell_frees(struct table *t)
{
	set(t, BY_KMALLOC, "kfree");
	set(t, BY_CACHE, "kmem_cache_free");
	set(t, BY_PAGES, "__free_pages");
	set(t, BY_VMALLOC, "vfree");
	set(t, BY_KMAP, "kunmap(page)");
	row(t, "free with");
}

static unsigned long warnings(const struct stage *s)
{
	return machine_counters(s->m).warnings;
}

/* The compiler knows which free is whose. */
static void *hide(void *p)
{
	__asm__ volatile("" : "+r" (p));
	return p;
}

/* Each to the wrong one: told, nothing freed, and the right one still works. */
static void tell_wrong_frees(struct stage *s)
{
	unsigned long before = warnings(s), free_before;
	void *k, *v;

	stage_head(s, "And with the wrong one?");
	free_before = phys_nr_free(s->m);
	k = kmalloc(2 * KMALLOC_MAX_CACHE_SIZE, GFP_KERNEL);
	v = vmalloc(PAGE_SIZE);
	if (!k || !v) {
		stage_expect(s, false, "memory");
		goto out;
	}
	stage_log_skip(s);
	kfree(hide(v));
	stage_expect(s, warnings(s) == before + 1 && stage_log(s, "kfree"),
		     "kfree of vmalloc memory is reported");
	vfree(hide(k));
	stage_expect(s, warnings(s) == before + 2 && stage_log(s, "vfree"),
		     "vfree of kmalloc memory is reported");
	stage_expect(s, alloc_is_contiguous(k, 2 * KMALLOC_MAX_CACHE_SIZE) && alloc_is_contiguous(v, PAGE_SIZE),
		     "both are still their owners'");
out:
	kfree(k);
	vfree(v);
	stage_say(s, "%lu frames were free before, %lu are now (areas and slabs are kept for a while)",
		  free_before, phys_nr_free(s->m));
}

/* ---- the whole --------------------------------------------------------------------------- */

void alloc_tell_memory(struct stage *s)
{
	struct table t = { .s = s };

	stage_head(s, "What sort of memory it is: contiguous where, for whom, and whose way back");
	t.dev = root_device_register("demo");
	t.cache = kmem_cache_create("demo-object", OBJECT_BYTES, 0, 0, NULL);
	if (IS_ERR(t.dev) || !t.cache) {
		stage_expect(s, false, "a device and a cache");
		goto out;
	}
	stage_say(s, "%-23s %-14s %-17s %-14s %-14s %s", "", "kmalloc", "kmem_cache_alloc",
		  "alloc_pages", "vmalloc", "kmap");
	tell_units(&t);
	tell_limits(&t);
	tell_addresses(&t);
	tell_devices(&t);
	tell_contents(&t);
	tell_user_space(&t);
	tell_constructors(&t);
	tell_frees(&t);
	stage_expect(s, !t.nr_wrong, "every cell is what Linux 6.1 gives");
	tell_wrong_frees(s);
out:
	kmem_cache_destroy(t.cache);
	if (!IS_ERR(t.dev))
		root_device_unregister(t.dev);
}
