/* SPDX-License-Identifier: MIT */
/*
 * graph.c - page tables and names of mappings in the ownership graph
 *
 * What it is      The mm owns its root table, each entry of a table the table below, and each
 *                 present entry that is not special a frame. Names of anonymous memory are counted
 *                 too, by the mappings that have them.
 * Worst case      Looks at 512 entries of each table that exists.
 */
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/refcount/graph.h>

#include <string.h>

#include "internal.h"
#include "vma_internal.h"

/* What entry @value of a table of @level refers to, or NULL. */
static struct page *entry_page(u64 value, unsigned int level)
{
	if (level > PGTABLE_PTE)
		return value && !(value & _PAGE_PSE) ? phys_to_page(value & PTE_PFN_MASK) : NULL;
	return pte_present(__pte(value)) && !pte_special(__pte(value)) ? pte_page(__pte(value)) :
									 NULL;
}

static void see_tables(struct arc_graph_see *see, const struct mm_struct *mm)
{
	const struct page *table[PGTABLE_LEVELS] = { NULL };
	unsigned int slot[PGTABLE_LEVELS] = { 0 };
	unsigned int level = PGTABLE_PGD;

	table[level] = virt_to_page(mm->pgd);
	arc_graph_see_edge(see, &mm->arc, table[level], ARC_EDGE_STRONG, "pgd", ARC_NONE);
	while (level < PGTABLE_LEVELS) {	/* down to a table's entries, then up again */
		const u64 *entries = page_to_virt(table[level]);
		unsigned int i = slot[level];
		struct page *page;

		if (i == PTRS_PER_TABLE) {
			slot[level++] = 0;
			continue;
		}
		slot[level]++;
		page = entry_page(READ_ONCE(entries[i]), level);
		if (!page)
			continue;
		arc_graph_see_edge(see, table[level], page, ARC_EDGE_STRONG, "", i);
		if (level > PGTABLE_PTE)
			table[--level] = page;
	}
}

static void see_name(struct arc_graph_see *see, const struct vm_area_struct *vma)
{
	struct vma_name *name = vma->anon_name;

	if (!name)
		return;
	arc_graph_see_object(see, name, "vma_name", NULL, refcount_read(&name->count),
			     sizeof(*name) + strlen(name->text) + 1, "%s", name->text);
	arc_graph_see_edge(see, &vma->arc, name, ARC_EDGE_STRONG, "anon_name", ARC_NONE);
}

static void space_visit(struct machine *m, struct arc_graph_see *see)
{
	struct space_state *space = machine_room(m, ROOM_SPACE);
	struct vm_area_struct *vma;
	struct mm_struct *mm;

	arc_graph_see_root(see, zero_page(), "zero page");
	list_for_each_entry(mm, &space->mms, mm_node) {
		if (mm->pgd)
			see_tables(see, mm);
		for_each_vma_of(mm, vma)
			see_name(see, vma);
	}
}

const struct arc_graph_source space_graph_source = {
	.name = "space",
	.ops = { .visit = space_visit },
};
