/* SPDX-License-Identifier: MIT */
/*
 * Goal: an address space lives as long as it has users, its struct as long as anything refers to
 * it, and its end runs once, in order, and can be watched.
 */
#include "space_test.h"

#include <karc/hw/trace.h>

static void new_mm_has_one_user_and_one_reference(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_int_equal(mm_users(mm), 1);
	assert_int_equal(mm_count(mm), 1);
	assert_int_equal(mm->map_count, 0);
	assert_int_equal(mm_nr_alive(), 1);
	assert_non_null(mm->pgd);
	mmput(mm);
	assert_int_equal(mm_nr_alive(), 0);
}

static void last_user_unmaps_while_the_struct_stays(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_true(poke(mm, BASE, 7));
	mmgrab(mm);
	mmget(mm);
	assert_int_equal(mm_users(mm), 2);
	mmput(mm);
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(peek(mm, BASE), 7);
	mmput(mm);
	/* No users: empty, but still there for who grabbed it. */
	assert_int_equal(mm_users(mm), 0);
	assert_int_equal(mm->map_count, 0);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(mm_count(mm), 1);
	assert_non_null(mm->pgd);
	assert_false(mmget_not_zero(mm));
	assert_int_equal(vm_memory_committed(), 0);
	mmdrop(mm);
	assert_int_equal(mm_nr_alive(), 0);
}

static void mmget_not_zero_gives_a_user_while_there_is_one(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	assert_true(mmget_not_zero(mm));
	assert_int_equal(mm_users(mm), 2);
	mmput(mm);
	mmput(mm);
}

struct order {
	char text[32];
};

static void note_a(void *obj, void *arg)
{
	(void)obj;
	strcat(((struct order *)arg)->text, "a");
}

static void note_b(void *obj, void *arg)
{
	(void)obj;
	strcat(((struct order *)arg)->text, "b");
}

static void two_destructors_on_an_mm_run_once_in_reverse_order(void **state)
{
	struct mm_struct *mm = new_mm();
	struct order order = { "" };
	struct arc_dtor a, b;

	(void)state;
	arc_on_drop(&mm->arc, &a, note_a, &order);
	arc_on_drop(&mm->arc, &b, note_b, &order);
	mmgrab(mm);
	mmput(mm);
	assert_string_equal(order.text, "");
	mmdrop(mm);
	assert_string_equal(order.text, "ba");
}

static void two_destructors_on_a_vma_run_once_in_reverse_order(void **state)
{
	struct mm_struct *mm = new_mm();
	struct order order = { "" };
	struct vm_area_struct *vma;
	struct arc_dtor a, b;

	(void)state;
	map_at(mm, BASE, 2, RW);
	vma = vma_lookup(mm, BASE);
	arc_on_drop(&vma->arc, &a, note_a, &order);
	arc_on_drop(&vma->arc, &b, note_b, &order);
	vma = vma_get(vma);
	assert_int_equal(ksys_munmap(mm, BASE, 2 * P), 0);
	assert_string_equal(order.text, "");
	vma_put(vma);
	assert_string_equal(order.text, "ba");
	mmput(mm);
}

static void vma_outlives_its_mm_without_dangling(void **state)
{
	struct mm_struct *mm = new_mm();
	struct vm_area_struct *vma;

	(void)state;
	map_at(mm, BASE, 1, RW);
	vma = vma_get(vma_lookup(mm, BASE));
	mmput(mm);
	assert_int_equal(vma->vm_start, BASE);
	/* The weak reference keeps the memory: dead, but not reused. */
	assert_int_equal(arc_count(&vma->vm_mm->arc), 0);
	vma_put(vma);
}

struct heard {
	char text[512];
};

static void hear(void *arg, const char *fn, const char *text)
{
	struct heard *heard = arg;

	(void)text;
	snprintf(heard->text + strlen(heard->text), sizeof(heard->text) - strlen(heard->text),
		 "%s ", fn);
}

static void teardown_announces_each_step_in_order(void **state)
{
	struct mm_struct *mm = new_mm();
	struct trace_listener listener;
	struct heard heard = { "" };

	(void)state;
	map_at(mm, BASE, 1, RW);
	assert_true(poke(mm, BASE, 1));
	trace_listen(this_machine(), &listener, hear, &heard);
	mmput(mm);
	trace_unlisten(this_machine(), &listener);
	assert_string_equal(heard.text, "mmput unmap_vmas free_pgtables vma_put exit_mmap mmdrop "
					"__mmdrop mm_free_pgd check_mm free_mm ");
}

static void bad_rss_counter_is_reported(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	add_mm_counter(mm, MM_ANONPAGES, 3);
	mmput(mm);
	assert_true(fixture_log_contains("BUG: Bad rss-counter state"));
	assert_true(fixture_log_contains("type:MM_ANONPAGES val:3"));
}

static int count_users(struct mm_struct *mm, void *arg)
{
	*(unsigned int *)arg += mm_users(mm);
	return 0;
}

static void walk_over_all_mms_holds_each_by_a_user(void **state)
{
	struct mm_struct *a = new_mm(), *b = new_mm();
	unsigned int sum = 0;

	(void)state;
	assert_int_equal(mm_for_each(count_users, &sum), 0);
	assert_int_equal(sum, 4);
	assert_int_equal(mm_users(a), 1);
	mmput(a);
	mmput(b);
}

static long alloc_body(void *arg)
{
	struct mm_struct **mm = arg;

	*mm = mm_alloc();
	return *mm ? 0 : -ENOMEM;
}

static void alloc_undo(void *arg)
{
	mmput(*(struct mm_struct **)arg);
}

static void mm_alloc_fails_cleanly_at_every_allocation(void **state)
{
	struct mm_struct *mm;

	(void)state;
	assert_true(fixture_fail_nth(.body = alloc_body, .undo = alloc_undo, .arg = &mm) >= 2);
}

static void users_are_an_atomic_under_their_linux_name(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	mmget(mm);
	assert_int_equal(atomic_read(&mm->mm_users), 2);
	assert_ptr_equal(&mm->mm_users, &mm->users.count.refs);
	mmput(mm);
	mmput(mm);
}

static void saturated_users_keep_the_mappings(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	refcount_set(&mm->users.count, REFCOUNT_MAX);
	mmget(mm);
	expect_warn("refcount_t: saturated; leaking memory.");
	mmput(mm);
	expect_warn("refcount_t: underflow; use-after-free.");
	assert_int_equal((int)mm_users(mm), REFCOUNT_SATURATED);
	assert_int_equal(mm_count(mm), 1);
	refcount_set(&mm->users.count, 1);
	mmput(mm);
}

static long put_too_often(void *arg)
{
	struct mm_struct *mm = arg;

	mmgrab(mm);
	mmput(mm);
	mmput(mm);
	return 0;
}

static void mmput_of_a_dead_user_is_a_bug(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	expect_bug(put_too_often, mm, "mm.c");
	mmdrop(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(new_mm_has_one_user_and_one_reference),
		KARC_TESTS(last_user_unmaps_while_the_struct_stays),
		KARC_TESTS(mmget_not_zero_gives_a_user_while_there_is_one),
		KARC_TESTS(two_destructors_on_an_mm_run_once_in_reverse_order),
		KARC_TESTS(two_destructors_on_a_vma_run_once_in_reverse_order),
		KARC_TESTS(vma_outlives_its_mm_without_dangling),
		KARC_TESTS(teardown_announces_each_step_in_order),
		KARC_TESTS(bad_rss_counter_is_reported),
		KARC_TESTS(walk_over_all_mms_holds_each_by_a_user),
		KARC_TESTS(mm_alloc_fails_cleanly_at_every_allocation),
		karc_unit_test(users_are_an_atomic_under_their_linux_name),
		karc_unit_test(saturated_users_keep_the_mappings),
		karc_unit_test(mmput_of_a_dead_user_is_a_bug),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
