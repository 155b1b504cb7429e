/* SPDX-License-Identifier: MIT */
/*
 * room.c - the kva room: power on, power off, what is left, what is wrong
 *
 * An area that is still there at power off is reported by its site, then undone, so that its
 * frames and its descriptor are not reported once more below. The check cites the invariants of
 * vmap.c (V) and highmem.c (K).
 */
#include <karc/refcount/graph.h>
#include "internal.h"

static int kva_init(struct machine *m)
{
	struct kva *kva = hostmem_zalloc(machine_hostmem(m), sizeof(*kva));
	u64 bytes;
	int err = -ENOMEM;

	if (!kva)
		return -ENOMEM;
	kva->machine = m;
	kva->start = (unsigned long)physmem_window(m, WINDOW_VMALLOC, &bytes);
	kva->end = kva->start + bytes;
	kva->search_from = kva->start;
	spin_lock_init_rank(&kva->lock, LR_VMAP);
	kva->area_cache = KMEM_CACHE(vmap_area, 0);
	if (!kva->area_cache)
		goto free_kva;
	err = kmap_init(kva);
	if (err)
		goto destroy_cache;
	err = arc_graph_source_register(&kva_graph_source);
	if (err)
		goto kmap_exit;
	machine_set_room(m, ROOM_KVA, kva);
	return 0;
kmap_exit:
	kmap_exit(kva);
destroy_cache:
	kmem_cache_destroy(kva->area_cache);
free_kva:
	hostmem_free(machine_hostmem(m), kva);
	return err;
}

static void kva_exit(struct machine *m)
{
	struct kva *kva = machine_room(m, ROOM_KVA);

	arc_graph_source_unregister(&kva_graph_source);
	while (kva->areas.rb_node) {
		struct vmap_area *va = rb_entry(rb_first(&kva->areas), struct vmap_area, node);

		machine_report_left(m, va->vm.flags & VM_ALLOC ? "vmalloc area" : "vmap area",
				    va->vm.caller, 1, (u64)va->vm.nr_pages << PAGE_SHIFT);
		area_release(area_take(va->vm.addr));
	}
	kmap_exit(kva);
	kmem_cache_destroy(kva->area_cache);
	hostmem_free(machine_hostmem(m), kva);
	machine_set_room(m, ROOM_KVA, NULL);
}

static void kva_check(struct machine *m, struct check_report *report)
{
	struct kva *kva = machine_room(m, ROOM_KVA);
	unsigned long end = kva->start, nr = 0, hole = 0;

	for (struct rb_node *n = rb_first(&kva->areas); n; n = rb_next(n)) {
		const struct vmap_area *va = rb_entry(n, struct vmap_area, node);
		unsigned long guard = va->vm.flags & VM_NO_GUARD ? 0 : PAGE_SIZE;

		if (va->va_start < end || va->va_end > kva->end || va->va_start >= va->va_end ||
		    offset_in_page(va->va_start | va->va_end))
			check_fail(report, "V1: area %lu overlaps or is out of place", nr);
		if (va->vm.nr_pages * PAGE_SIZE + guard > va->va_end - va->va_start)
			check_fail(report, "V2: area %lu has no guard page", nr);
		if (va->va_start <= kva->search_from && va->va_start > end)
			hole = max(hole, va->va_start - end);
		end = va->va_end;
		nr++;
	}
	if (hole > kva->skipped_hole)
		check_fail(report, "V3: a hole of %lu bytes lies below the search, known: %lu",
			   hole, kva->skipped_hole);
	if (nr != kva->nr_areas)
		check_fail(report, "V4: %lu areas, %lu counted", nr, kva->nr_areas);
	kmap_check(kva, report);
}

const struct room kva_room = {
	.name = "kva",
	.id = ROOM_KVA,
	.init = kva_init,
	.exit = kva_exit,
	.check = kva_check,
};
