/* SPDX-License-Identifier: MIT */
/*
 * graph.c - areas of the kernel range in the ownership graph
 *
 * An area has no count: who made it ends it. It holds its frames, unless they were only borrowed
 * for being shown side by side (vmap() without VM_MAP_PUT_PAGES). What was freed and waits for the
 * purge holds them still. init_mm holds its tables; their entries hold no frames.
 */
#include <karc/refcount/graph.h>
#include "internal.h"

static void see_area(struct arc_graph_see *see, const struct vm_struct *vm)
{
	unsigned int i;

	arc_graph_see_object(see, vm, "vm_struct", vm->caller, 1, sizeof(*vm), "%lu KiB",
			     vm->size >> 10);
	arc_graph_see_root(see, vm, "vmalloc range");
	if (!(vm->flags & (VM_ALLOC | VM_MAP_PUT_PAGES)))
		return;
	for (i = 0; i < vm->nr_pages; i++)
		arc_graph_see_edge(see, vm, vm->pages[i], ARC_EDGE_STRONG, "pages", i);
}

static void see_table(void *arg, struct page *table, unsigned long addr)
{
	struct arc_graph_see *see = arg;

	(void)addr;
	if (table->pt_parent)
		arc_graph_see_edge(see, table->pt_parent, table, ARC_EDGE_STRONG, "",
				   table->pt_slot);
	else
		arc_graph_see_root(see, table, "init_mm");
}

static void kva_visit(struct machine *m, struct arc_graph_see *see)
{
	struct kva *kva = machine_room(m, ROOM_KVA);
	struct rb_node *n;

	pgtable_for_each(&kva->kernel_mm, see_table, see);
	for (n = rb_first(&kva->areas); n; n = rb_next(n))
		see_area(see, &rb_entry(n, struct vmap_area, node)->vm);
}

const struct arc_graph_source kva_graph_source = {
	.name = "kva",
	.ops = { .visit = kva_visit },
};
