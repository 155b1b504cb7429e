/* SPDX-License-Identifier: MIT */
/*
 * room.c - the kva room: power on, power off, what is left, what is wrong
 *
 * An area that is still there at power off is reported by its site, then undone, so that its
 * frames and its descriptor are not reported once more below. The check cites the invariants of
 * ranges.c (V), window.c (W), lazy.c (L) and highmem.c (K).
 */
#include <karc/base/err.h>
#include <karc/hw/trap.h>
#include <karc/mm/slab/slab.h>
#include <karc/refcount/graph.h>
#include "internal.h"

/* What freed areas may keep: as Linux, but no more than an eighth of RAM. */
static unsigned long lazy_max_pages(struct machine *m)
{
	unsigned long for_each_cpu_bit = (32UL << 20) >> PAGE_SHIFT;

	return min(for_each_cpu_bit * (unsigned long)fls((int)machine_nr_cpus(m)),
		   physmem_nr_frames(m) / 8);
}

static void kva_setup(struct kva *kva, struct machine *m)
{
	unsigned int i;
	u64 bytes;

	kva->machine = m;
	kva->start = (unsigned long)physmem_window(m, WINDOW_VMALLOC, &bytes);
	kva->end = kva->start + bytes;
	kva->top = kva->start;
	kva->eager = machine_config(m)->track || KARC_VARIANT != KARC_VARIANT_RELEASE;
	kva->lazy_max_pages = lazy_max_pages(m);
	spin_lock_init_rank(&kva->lock, LR_VMAP);
	INIT_LIST_HEAD(&kva->lazy);
	for (i = 0; i < NR_SIZE_LISTS; i++)
		INIT_LIST_HEAD(&kva->by_size[i]);
}

static int kva_init(struct machine *m)
{
	struct kva *kva = hostmem_zalloc(machine_hostmem(m), sizeof(*kva));
	int err;

	if (!kva)
		return -ENOMEM;
	kva_setup(kva, m);
	err = window_init(kva);
	if (err)
		goto free_kva;
	err = -ENOMEM;
	kva->area_cache = KMEM_CACHE(vmap_area, 0);
	if (!kva->area_cache)
		goto window_exit;
	err = kmap_init(kva);
	if (err)
		goto destroy_cache;
	err = arc_graph_source_register(&kva_graph_source);
	if (err)
		goto kmap_exit;
	machine_set_room(m, ROOM_KVA, kva);
	slab_on_foreign(m, area_say);
	window_arm(kva);
	return 0;
kmap_exit:
	kmap_exit(kva);
destroy_cache:
	kmem_cache_destroy(kva->area_cache);
window_exit:
	window_exit(kva);
free_kva:
	hostmem_free(machine_hostmem(m), kva);
	return err;
}

static void end_left_area(struct machine *m, struct vmap_area *va)
{
	const char *kind = va->vm.flags & VM_ALLOC ? "vmalloc area" : "vmap area";
	unsigned long flags = va->vm.flags & (VM_ALLOC | VM_MAP | VM_RAM | VM_MAP_PUT_PAGES);

	machine_report_left(m, kind, va->vm.caller, 1, (u64)va->nr_mapped << PAGE_SHIFT);
	area_retire(area_take(va->vm.addr, flags, "vfree", SITE()), false);
}

static void kva_exit(struct machine *m)
{
	struct kva *kva = machine_room(m, ROOM_KVA);

	arc_graph_source_unregister(&kva_graph_source);
	slab_on_foreign(m, NULL);
	areas_purge(kva);
	kva->eager = true;
	while (kva->areas.rb_node)
		end_left_area(m, rb_entry(rb_first(&kva->areas), struct vmap_area, node));
	BUG_ON(kva->holes.rb_node);
	trap_on_fault(m, NULL);
	slab_on_foreign(m, NULL);
	kmap_exit(kva);
	kmem_cache_destroy(kva->area_cache);
	window_exit(kva);
	hostmem_free(machine_hostmem(m), kva);
	machine_set_room(m, ROOM_KVA, NULL);
}

static void check_lazy(struct kva *kva, struct check_report *report)
{
	unsigned long nr_pages = 0, nr = 0, in_tree = 0;
	struct vmap_area *va;
	struct rb_node *n;

	list_for_each_entry(va, &kva->lazy, lazy) {
		nr++;
		nr_pages += (va->va_end - va->va_start) >> PAGE_SHIFT;
	}
	for (n = rb_first(&kva->areas); n; n = rb_next(n))
		in_tree += rb_entry(n, struct vmap_area, node)->state == AREA_LAZY;
	if (nr != in_tree || nr_pages != kva->nr_lazy_pages)
		check_fail(report, "L1: %lu lazy areas of %lu pages, in the tree %lu, counted %lu",
			   nr, nr_pages, in_tree, kva->nr_lazy_pages);
	if (kva->eager && nr)
		check_fail(report, "L3: %lu lazy areas on a machine that is eager", nr);
}

static void kva_check(struct machine *m, struct check_report *report)
{
	struct kva *kva = machine_room(m, ROOM_KVA);

	ranges_check(kva, report);
	window_check(kva, report);
	check_lazy(kva, report);
	kmap_check(kva, report);
}

static unsigned long kva_drain(struct machine *m)
{
	struct kva *kva = machine_room(m, ROOM_KVA);
	unsigned long nr = areas_purge(kva);

	return nr + window_free_tables(kva);
}

const struct room kva_room = {
	.name = "kva",
	.id = ROOM_KVA,
	.init = kva_init,
	.exit = kva_exit,
	.check = kva_check,
	.drain = kva_drain,
};
