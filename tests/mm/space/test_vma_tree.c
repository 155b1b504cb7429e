/* SPDX-License-Identifier: MIT */
/*
 * Goal: the index finds what a plain array finds. Method: random single-page-grained VMAs put in
 * and taken out directly, every lookup and gap search compared with a scan over an array of
 * pages; then mm_check() must see each corruption planted here.
 */
#include "space_test.h"

#include "mm/space/vma_internal.h"

#define PAGES	200u

/* Which VMA (by number + 1) has the page; 0 is free. */
struct model {
	unsigned int owner[PAGES];
	unsigned int serial;
};

static unsigned long addr_of(unsigned int page)
{
	return BASE + page * P;
}

static void index_add(struct mm_struct *mm, struct model *model, unsigned int first,
		      unsigned int pages, vm_flags_t flags)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);
	unsigned int i;

	assert_non_null(vma);
	vma->vm_start = addr_of(first);
	vma->vm_end = addr_of(first + pages);
	vma->vm_flags = flags;
	vma->vm_private_data = (void *)(unsigned long)++model->serial;
	vma_link(mm, vma);
	vm_stat_account(mm, flags, pages);
	for (i = first; i < first + pages; i++)
		model->owner[i] = model->serial;
}

static void index_del(struct mm_struct *mm, struct model *model, struct vm_area_struct *vma)
{
	unsigned long at;

	for (at = vma->vm_start; at < vma->vm_end; at += P)
		model->owner[(at - BASE) / P] = 0;
	vm_stat_account(mm, vma->vm_flags, -(long)vma_pages(vma));
	vma_unlink(mm, vma);
	vma_put(vma);
}

static unsigned int owner_of(const struct vm_area_struct *vma)
{
	return vma ? (unsigned int)(unsigned long)vma->vm_private_data : 0;
}

static void compare_lookups(struct mm_struct *mm, const struct model *model)
{
	unsigned int page, above;

	for (page = 0; page < PAGES; page++) {
		for (above = page; above < PAGES && !model->owner[above]; above++)
			;
		assert_int_equal(owner_of(vma_lookup(mm, addr_of(page))), model->owner[page]);
		assert_int_equal(owner_of(find_vma(mm, addr_of(page))),
				 above < PAGES ? model->owner[above] : 0);
		assert_int_equal(owner_of(find_vma_intersection(mm, addr_of(page),
								addr_of(page + 3))),
				 above < page + 3 && above < PAGES ? model->owner[above] : 0);
	}
}

/* Is [page, page + len) free in the model? */
static bool model_free(const struct model *model, unsigned int page, unsigned int len)
{
	unsigned int i;

	for (i = page; i < page + len; i++)
		if (model->owner[i])
			return false;
	return true;
}

static unsigned long model_gap(const struct model *model, unsigned int low, unsigned int high,
			       unsigned int len, bool topdown)
{
	unsigned int i, at;

	if (high < low + len)
		return -ENOMEM;
	for (i = 0; i + len <= high - low; i++) {
		at = topdown ? high - len - i : low + i;
		if (model_free(model, at, len))
			return addr_of(at);
	}
	return -ENOMEM;
}

static void compare_gaps(struct mm_struct *mm, const struct model *model, struct rnd *rnd)
{
	unsigned int low = rnd_below(rnd, PAGES), high = low + rnd_below(rnd, PAGES - low) + 1;
	unsigned int len = 1 + rnd_below(rnd, 12), way;
	struct vma_gap_request want = {
		.length = len * P, .low_limit = addr_of(low), .high_limit = addr_of(high),
	};

	for (way = 0; way < 2; way++) {
		want.topdown = way;
		assert_int_equal(vma_find_gap(mm, &want), model_gap(model, low, high, len, way));
	}
}

static void random_index_equals_the_array(void **state)
{
	struct model model = { { 0 }, 0 };
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;
	unsigned int i, at, len;
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, test_seed());
	for (i = 0; i < 1500; i++) {
		at = rnd_below(&rnd, PAGES - 8);
		len = 1 + rnd_below(&rnd, 8);
		vma = vma_lookup(mm, addr_of(at));
		if (vma)
			index_del(mm, &model, vma);
		else if (model_free(&model, at, len))
			index_add(mm, &model, at, len, VM_READ);
		compare_gaps(mm, &model, &rnd);
		if (i % 50 == 0)
			compare_lookups(mm, &model);
		check_mm_clean(mm);
	}
	compare_lookups(mm, &model);
	mmput(mm);
}

static void gap_search_honours_alignment(void **state)
{
	struct vma_gap_request want = {
		.length = 3 * P, .low_limit = BASE, .high_limit = BASE + 64 * P,
		.align_mask = 16 * P - 1, .align_offset = 5 * P, .topdown = true,
	};
	struct model model = { { 0 }, 0 };
	struct mm_struct *mm = new_mm();
	unsigned long at;

	(void)state;
	index_add(mm, &model, 40, 24, VM_READ);
	at = vma_find_gap(mm, &want);
	assert_int_equal((at - 5 * P) % (16 * P), 0);
	assert_int_equal(at, BASE + 37 * P);
	want.topdown = false;
	at = vma_find_gap(mm, &want);
	assert_int_equal(at, BASE + 5 * P);
	mmput(mm);
}

static void gap_search_keeps_the_guard_below_a_stack_free(void **state)
{
	struct vma_gap_request want = {
		.length = P, .low_limit = BASE, .high_limit = BASE + 4096 * P, .topdown = true,
	};
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = vm_area_alloc(mm);

	(void)state;
	vma->vm_start = BASE + 4000 * P;
	vma->vm_end = BASE + 4096 * P;
	vma->vm_flags = VM_READ | VM_WRITE | VM_GROWSDOWN;
	vma_link(mm, vma);
	vm_stat_account(mm, vma->vm_flags, 96);
	assert_int_equal(vma_find_gap(mm, &want), BASE + (4000 - 256 - 1) * P);
	mmput(mm);
}

static void walks_go_in_order(void **state)
{
	struct model model = { { 0 }, 0 };
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma, *prev;
	unsigned long last = 0;

	(void)state;
	index_add(mm, &model, 20, 2, VM_READ);
	index_add(mm, &model, 5, 2, VM_READ);
	index_add(mm, &model, 10, 2, VM_READ);
	for_each_vma_of(mm, vma) {
		assert_true(vma->vm_start > last);
		last = vma->vm_start;
	}
	assert_int_equal(vma_first(mm)->vm_start, addr_of(5));
	assert_int_equal(vma_last(mm)->vm_start, addr_of(20));
	assert_null(vma_next(vma_last(mm)));
	assert_null(vma_prev(vma_first(mm)));
	assert_int_equal(find_vma_prev(mm, addr_of(8), &prev)->vm_start, addr_of(10));
	assert_int_equal(prev->vm_start, addr_of(5));
	assert_null(find_vma_prev(mm, addr_of(100), &prev));
	assert_int_equal(prev->vm_start, addr_of(20));
	mmput(mm);
}

static void finds(struct mm_struct *mm, const char *what)
{
	struct check_report report = { .quiet = true };

	mm_check(mm, &report);
	assert_true(report.nr_violations > 0);
	assert_non_null(strstr(report.last, what));
}

static void check_finds_what_is_wrong(void **state)
{
	struct model model = { { 0 }, 0 };
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;

	(void)state;
	index_add(mm, &model, 0, 2, VM_READ);
	index_add(mm, &model, 8, 2, VM_READ | VM_WRITE);
	vma = vma_lookup(mm, addr_of(8));
	check_mm_clean(mm);

	mm->map_count++;
	finds(mm, "I3");
	mm->map_count--;
	mm->data_vm++;
	finds(mm, "I5");
	mm->data_vm--;
	vma->rb_subtree_gap += P;
	finds(mm, "I4");
	vma->rb_subtree_gap -= P;
	list_del(&vma->vm_list);
	list_add(&vma->vm_list, &mm->vmas.list);
	finds(mm, "I1");
	list_del(&vma->vm_list);
	list_add_tail(&vma->vm_list, &mm->vmas.list);
	vma->vm_end += 1;
	finds(mm, "I2");
	vma->vm_end -= 1;
	check_mm_clean(mm);
	mmput(mm);
}

static long link_it(void *arg)
{
	struct vm_area_struct *vma = arg;

	vma_link(vma->vm_mm, vma);
	return 0;
}

static void linking_an_overlap_is_a_bug(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma = vm_area_alloc(mm);

	(void)state;
	map_at(mm, BASE, 2, PROT_READ);
	vma->vm_start = BASE + P;
	vma->vm_end = BASE + 3 * P;
	expect_bug(link_it, vma, "vma_tree.c");
	/* Seen before anything was changed. */
	check_mm_clean(mm);
	vm_area_free(vma);
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(random_index_equals_the_array),
		karc_unit_test(gap_search_honours_alignment),
		karc_unit_test(gap_search_keeps_the_guard_below_a_stack_free),
		KARC_TESTS(walks_go_in_order),
		karc_unit_test(check_finds_what_is_wrong),
		karc_unit_test(linking_an_overlap_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
