/* SPDX-License-Identifier: MIT */
/*
 * Goal: the room comes and goes without a trace, a leak in it is told by type and place, and its
 * check finds a wrong sum.
 */
#include "space_test.h"

static void nothing(void)
{
}

static void room_boots_and_leaves_nothing(void **state)
{
	struct fixture_verdict verdict = fixture_run(4, nothing);

	(void)state;
	assert_false(verdict.red);
}

/* Where forgotten references go, so that the analyzer does not find them before the machine. */
static void *volatile forgotten;

static void leak_an_mm(void)
{
	struct mm_struct *mm = new_mm();

	map_at(mm, BASE, 2, RW);
	forgotten = mm;
}

static void forgotten_mmput_turns_the_fixture_red(void **state)
{
	struct fixture_verdict verdict = fixture_run(1, leak_an_mm);

	(void)state;
	assert_true(verdict.red);
	assert_true(verdict.nr_left > 0);
	assert_non_null(strstr(verdict.reason, "mm_struct"));
	assert_non_null(strstr(verdict.reason, "space_test.h"));
}

static void leak_a_vma(void)
{
	struct mm_struct *mm = new_mm();

	map_at(mm, BASE, 2, RW);
	forgotten = vma_get(vma_lookup(mm, BASE));
	mmput(mm);
}

static void forgotten_vma_put_turns_the_fixture_red(void **state)
{
	struct fixture_verdict verdict = fixture_run(1, leak_a_vma);

	(void)state;
	assert_true(verdict.red);
	assert_non_null(strstr(verdict.reason, "vm_area_struct"));
	assert_non_null(strstr(verdict.reason, "mmap.c"));
}

static void leak_a_promise(void)
{
	vm_acct_memory(3);
}

static void wrong_committed_as_is_found(void **state)
{
	struct fixture_verdict verdict = fixture_run(1, leak_a_promise);

	(void)state;
	assert_true(verdict.red);
	assert_true(verdict.nr_violations > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_boots_and_leaves_nothing),
		cmocka_unit_test(forgotten_mmput_turns_the_fixture_red),
		cmocka_unit_test(forgotten_vma_put_turns_the_fixture_red),
		cmocka_unit_test(wrong_committed_as_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
