/* SPDX-License-Identifier: MIT */
/*
 * graph.c - areas of the kernel range in the ownership graph
 *
 * An area has no count: who made it ends it. It holds its frames, unless they were only borrowed
 * for being shown side by side (vmap() without VM_MAP_PUT_PAGES).
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

static void kva_visit(struct machine *m, struct arc_graph_see *see)
{
	struct kva *kva = machine_room(m, ROOM_KVA);
	struct rb_node *n;

	for (n = rb_first(&kva->areas); n; n = rb_next(n))
		see_area(see, &rb_entry(n, struct vmap_area, node)->vm);
}

const struct arc_graph_source kva_graph_source = {
	.name = "kva",
	.ops = { .visit = kva_visit },
};
