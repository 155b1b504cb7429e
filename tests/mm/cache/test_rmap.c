/* SPDX-License-Identifier: MIT */
/*
 * Goal: VMAs share an anon_vma exactly when Linux lets them, a forked one has its own and keeps its
 * parent's alive, and mapcounts follow the entries.
 * Method: hand-made VMAs on a hand-made mm; counts in the ledger.
 */
#include <string.h>

#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/vm_flags.h>
#include <karc/refcount/ledger.h>
#include "fixture.h"

static unsigned long live(void)
{
	return ledger_live_kind(this_machine(), "anon_vma");
}

struct space {
	struct mm_struct mm;
	struct vm_area_struct vma[3];
};

/* Three neighbours of one page each, in order. */
static void space_init(struct space *s)
{
	memset(s, 0, sizeof(*s));
	INIT_LIST_HEAD(&s->mm.vmas.list);
	for (unsigned int i = 0; i < 3; i++) {
		struct vm_area_struct *vma = &s->vma[i];

		vma->vm_mm = &s->mm;
		vma->vm_start = (i + 1) * PAGE_SIZE;
		vma->vm_end = vma->vm_start + PAGE_SIZE;
		vma->vm_pgoff = i + 1;
		vma->vm_flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE;
		INIT_LIST_HEAD(&vma->rmap_node);
		list_add_tail(&vma->vm_list, &s->mm.vmas.list);
	}
}

static void space_exit(struct space *s)
{
	for (unsigned int i = 0; i < 3; i++)
		unlink_anon_vmas(&s->vma[i]);
}

static void neighbours_that_could_merge_share_an_anon_vma(void **state)
{
	struct space s;
	(void)state;

	space_init(&s);
	s.vma[1].vm_flags &= ~VM_WRITE;
	assert_int_equal(anon_vma_prepare(&s.vma[0]), 0);
	assert_int_equal(anon_vma_prepare(&s.vma[0]), 0);
	assert_int_equal(live(), 1);
	assert_int_equal(anon_vma_prepare(&s.vma[1]), 0);
	assert_ptr_equal(s.vma[1].anon_vma, s.vma[0].anon_vma);
	assert_int_equal(arc_count(&s.vma[0].anon_vma->arc), 2);
	s.vma[2].vm_flags |= VM_LOCKED;
	assert_int_equal(anon_vma_prepare(&s.vma[2]), 0);
	assert_ptr_not_equal(s.vma[2].anon_vma, s.vma[0].anon_vma);
	assert_int_equal(live(), 2);
	assert_true(is_mergeable_anon_vma(s.vma[0].anon_vma, s.vma[1].anon_vma, NULL));
	assert_false(is_mergeable_anon_vma(s.vma[0].anon_vma, s.vma[2].anon_vma, NULL));
	assert_true(is_mergeable_anon_vma(s.vma[0].anon_vma, NULL, &s.vma[0]));
	space_exit(&s);
	assert_int_equal(live(), 0);
}

static void a_forked_vma_gets_its_own_and_does_not_lend_it(void **state)
{
	struct space parent, child;
	(void)state;

	space_init(&parent);
	space_init(&child);
	assert_int_equal(anon_vma_fork(&child.vma[2], &parent.vma[2]), 0);
	assert_null(child.vma[2].anon_vma);
	assert_int_equal(anon_vma_prepare(&parent.vma[0]), 0);
	assert_int_equal(anon_vma_fork(&child.vma[0], &parent.vma[0]), 0);
	assert_ptr_equal(child.vma[0].anon_vma->parent, parent.vma[0].anon_vma);
	assert_true(anon_vma_is_singular(&parent.vma[0]));
	assert_false(anon_vma_is_singular(&child.vma[0]));
	assert_false(is_mergeable_anon_vma(child.vma[0].anon_vma, NULL, &child.vma[0]));
	assert_int_equal(anon_vma_prepare(&child.vma[1]), 0);
	assert_ptr_not_equal(child.vma[1].anon_vma, child.vma[0].anon_vma);
	/* The parent's goes when the child that inherited its pages has gone. */
	space_exit(&parent);
	assert_int_equal(live(), 3);
	space_exit(&child);
	assert_int_equal(live(), 0);
}

static void a_long_line_of_forks_is_torn_down_flat(void **state)
{
	struct vm_area_struct vma[2];
	struct space first;
	(void)state;

	space_init(&first);
	assert_int_equal(anon_vma_prepare(&first.vma[0]), 0);
	vma[0] = first.vma[0];
	for (unsigned int i = 0; i < 20000; i++) {
		vma[1] = vma[0];
		vma[1].anon_vma = NULL;
		assert_int_equal(anon_vma_fork(&vma[1], &vma[0]), 0);
		unlink_anon_vmas(&vma[0]);
		vma[0] = vma[1];
	}
	assert_int_equal(live(), 20001);
	unlink_anon_vmas(&vma[0]);
	assert_int_equal(live(), 0);
}

static void pieces_of_a_vma_own_the_same_anon_vma(void **state)
{
	struct space s;
	(void)state;

	space_init(&s);
	assert_int_equal(anon_vma_clone(&s.vma[1], &s.vma[0]), 0);
	assert_null(s.vma[1].anon_vma);
	assert_int_equal(anon_vma_prepare(&s.vma[0]), 0);
	assert_int_equal(anon_vma_clone(&s.vma[1], &s.vma[0]), 0);
	assert_ptr_equal(s.vma[0].anon_vma, s.vma[1].anon_vma);
	unlink_anon_vmas(&s.vma[0]);
	assert_int_equal(live(), 1);
	space_exit(&s);
	assert_int_equal(live(), 0);
}

static void mapcount_and_statistics_follow_the_entries(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);
	struct space s;
	(void)state;

	space_init(&s);
	assert_int_equal(anon_vma_prepare(&s.vma[0]), 0);
	page_add_new_anon_rmap(page, &s.vma[0], PAGE_SIZE);
	assert_int_equal(page_mapcount(page), 1);
	assert_true(PageAnon(page));
	assert_int_equal(page->index, 1);
	assert_int_equal(global_node_page_state(NR_ANON_MAPPED), 1);
	page_dup_rmap(page);
	assert_int_equal(page_mapcount(page), 2);
	page_remove_rmap(page, &s.vma[0]);
	assert_int_equal(global_node_page_state(NR_ANON_MAPPED), 1);
	page_remove_rmap(page, &s.vma[0]);
	assert_int_equal(page_mapcount(page), 0);
	assert_int_equal(global_node_page_state(NR_ANON_MAPPED), 0);
	put_page(page);
	page = alloc_page(GFP_KERNEL);
	page_add_file_rmap(page, &s.vma[1]);
	assert_int_equal(global_node_page_state(NR_FILE_MAPPED), 1);
	page_remove_rmap(page, &s.vma[1]);
	assert_int_equal(global_node_page_state(NR_FILE_MAPPED), 0);
	put_page(page);
	space_exit(&s);
}

static void file_mappings_are_listed_while_they_are_linked(void **state)
{
	struct file *file = memfile_create("f", PAGE_SIZE, 0600, NULL, NULL);
	struct space s;
	(void)state;

	space_init(&s);
	vma_link_file(&s.vma[0]);
	assert_true(list_empty(&s.vma[0].rmap_node));
	s.vma[0].vm_file = file;
	vma_link_file(&s.vma[0]);
	assert_false(list_empty(&file->f_mapping->i_mmap));
	unlink_file_vma(&s.vma[0]);
	unlink_file_vma(&s.vma[0]);
	assert_true(list_empty(&file->f_mapping->i_mmap));
	fput(file);
}

struct nth {
	struct space s;
	struct vm_area_struct child;
};

static long prepare_and_fork(void *arg)
{
	struct nth *n = arg;
	int err = anon_vma_prepare(&n->s.vma[0]);

	if (!err)
		err = anon_vma_fork(&n->child, &n->s.vma[0]);
	if (err)
		unlink_anon_vmas(&n->s.vma[0]);
	return err;
}

static void prepare_undo(void *arg)
{
	struct nth *n = arg;

	unlink_anon_vmas(&n->child);
	unlink_anon_vmas(&n->s.vma[0]);
}

static void count_live(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = live();
}

static void failed_allocations_leave_vmas_without_anon_vma(void **state)
{
	struct nth n;
	(void)state;

	memset(&n, 0, sizeof(n));
	space_init(&n.s);
	assert_true(fixture_fail_nth(prepare_and_fork, prepare_undo, count_live, &n) >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(neighbours_that_could_merge_share_an_anon_vma),
		karc_unit_test(a_forked_vma_gets_its_own_and_does_not_lend_it),
		karc_unit_test(a_long_line_of_forks_is_torn_down_flat),
		karc_unit_test(pieces_of_a_vma_own_the_same_anon_vma),
		karc_unit_test(mapcount_and_statistics_follow_the_entries),
		karc_unit_test(file_mappings_are_listed_while_they_are_linked),
		karc_unit_test(failed_allocations_leave_vmas_without_anon_vma),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
