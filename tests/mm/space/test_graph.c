/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - who owns whom in an address space: mappings, tables, frames, names
 */
#include "space_test.h"

#include "graph_look.h"

#include <karc/mm/cache/rmap.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/refcount/audit.h>

/* The table page of @level on the way to @addr. */
static struct page *table_at(struct mm_struct *mm, unsigned long addr, unsigned int level)
{
	u64 *entries = (u64 *)mm->pgd;
	unsigned int at;

	for (at = PGTABLE_PGD; at > level; at--)
		entries = phys_to_virt(entries[addr >> pgtable_shift(at) & (PTRS_PER_TABLE - 1)] &
				       PTE_PFN_MASK);
	return virt_to_page(entries);
}

static void a_space_owns_tables_and_each_entry_a_frame(void **state)
{
	struct mm_struct *mm = new_mm();
	struct page *pte, *pmd, *page;
	struct arc_graph *g;

	(void)state;
	map_at(mm, BASE, 4, RW);
	poke(mm, BASE + 2 * P, 'x');
	pte = table_at(mm, BASE, PGTABLE_PTE);
	pmd = table_at(mm, BASE, PGTABLE_PMD);
	page = pte_page(mm_lookup_pte(mm, BASE + 2 * P));
	g = look();
	assert_int_equal(look_edges(g, &mm->arc, virt_to_page(mm->pgd), ARC_EDGE_STRONG, "pgd",
				    ARC_NONE), 1);
	assert_int_equal(look_edges(g, pmd, pte, ARC_EDGE_STRONG, "", (BASE >> 21) & 511), 1);
	assert_int_equal(look_edges(g, pte, page, ARC_EDGE_STRONG, "", ((BASE >> 12) + 2) & 511),
			 1);
	assert_string_equal(look_node(g, pte)->type, "page table");
	assert_int_equal(strncmp(look_node(g, pmd)->label, "PMD frame ", 10), 0);
	assert_int_equal(look_node(g, page)->nr_in, 1);
	arc_graph_free(g);
	mmput(mm);
}

static void the_zero_page_is_the_machines_and_no_entrys(void **state)
{
	struct mm_struct *mm = new_mm();
	struct arc_graph *g;

	(void)state;
	map_at(mm, BASE, 1, RW);
	peek(mm, BASE);
	g = look();
	assert_int_equal(look_roots(g, zero_page(), "zero page"), 1);
	assert_int_equal(look_node(g, zero_page())->count, 1);
	assert_int_equal(look_node(g, zero_page())->nr_in, 0);
	arc_graph_free(g);
	mmput(mm);
}

static void a_mapping_owns_file_and_anon_vma_and_knows_its_space(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;
	struct arc_graph *g;

	(void)state;
	map_at(mm, BASE, 4, RW);
	poke(mm, BASE, 'x');
	vma = vma_lookup(mm, BASE);
	g = look();
	assert_int_equal(look_edges(g, &mm->arc, &vma->arc, ARC_EDGE_STRONG, "vmas.list", 0), 1);
	assert_int_equal(look_edges(g, &vma->arc, &mm->arc, ARC_EDGE_WEAK, "vm_mm", ARC_NONE), 1);
	assert_int_equal(look_edges(g, &vma->arc, &vma->anon_vma->arc, ARC_EDGE_STRONG,
				    "anon_vma", ARC_NONE), 1);
	assert_string_equal(look_node(g, &vma->arc)->label, "10000000-10004000 rw-p");
	assert_int_equal(arc_graph_nr_components(g), 0);
	arc_graph_free(g);
	mmput(mm);
}

static void every_count_is_explained(void **state)
{
	struct check_report report = { .quiet = true };
	struct mm_struct *mm = new_mm(), *copy;

	(void)state;
	audit_hold_user(&mm->arc);
	map_at(mm, BASE, 600, RW);
	poke(mm, BASE, 'x');
	poke(mm, BASE + 599 * P, 'x');
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	copy = dup_mm(mm);
	audit_hold_user(&copy->arc);
	poke(copy, BASE, 'y');
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	assert_int_equal(ksys_munmap(mm, BASE + P, 300 * P), 0);
	assert_int_equal(audit_counts(fixture_machine(), &report), 0);
	assert_int_equal(audit_mark(fixture_machine(), 0, NULL, NULL), 0);
	audit_release_user(&copy->arc);
	mmput(copy);
	audit_release_user(&mm->arc);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_space_owns_tables_and_each_entry_a_frame),
		KARC_TESTS(the_zero_page_is_the_machines_and_no_entrys),
		KARC_TESTS(a_mapping_owns_file_and_anon_vma_and_knows_its_space),
		KARC_TESTS(every_count_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
