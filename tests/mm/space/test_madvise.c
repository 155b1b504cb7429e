/* SPDX-License-Identifier: MIT */
/*
 * Goal: each advice does what it says to pages and flags, is refused where Linux refuses it, and
 * reaches all that is mapped before a hole is reported.
 */
#include <karc/mm/cache/shmem.h>
#include "space_test.h"

static struct mm_struct *newest_mm(void)
{
	struct mm_struct *mm = new_mm();

	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	return mm;
}

static long advise(struct mm_struct *mm, unsigned long addr, unsigned long pages, int behavior)
{
	return ksys_madvise(mm, addr, pages * P, behavior);
}

static void numbers_are_checked_first(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 2, RW);
	assert_int_equal(advise(mm, BASE, 1, 5), -EINVAL);
	assert_int_equal(advise(mm, BASE, 0, 5), -EINVAL);
	assert_int_equal(advise(mm, BASE, 1, MADV_HWPOISON), -EINVAL);
	assert_int_equal(advise(mm, BASE + 1, 1, MADV_DONTNEED), -EINVAL);
	assert_int_equal(ksys_madvise(mm, BASE, ~0UL, MADV_DONTNEED), -EINVAL);
	assert_int_equal(ksys_madvise(mm, BASE, ~0UL - 2 * P, MADV_DONTNEED), -EINVAL);
	assert_int_equal(advise(mm, 64 * P, 0, MADV_DONTNEED), 0);
	/* Older kernels know less. */
	mm->profile = mm_profile_reference();
	assert_int_equal(advise(mm, BASE, 1, MADV_GUARD_INSTALL), -EINVAL);
	mmput(mm);
}

static void holes_are_reported_after_the_rest_was_done(void **state)
{
	struct mm_struct *mm = newest_mm();

	(void)state;
	map_at(mm, BASE, 1, RW);
	map_at(mm, BASE + 2 * P, 1, RW);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + 2 * P, 1));
	assert_int_equal(advise(mm, BASE, 3, MADV_DONTNEED), -ENOMEM);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(advise(mm, BASE - P, 2, MADV_DONTDUMP), -ENOMEM);
	assert_true(vma_lookup(mm, BASE)->vm_flags & VM_DONTDUMP);
	assert_int_equal(advise(mm, BASE + P, 1, MADV_DONTNEED), -ENOMEM);
	assert_int_equal(advise(mm, BASE + 2 * P, 2, MADV_DONTNEED), -ENOMEM);
	mmput(mm);
}

static void dontneed_refills_from_zero_or_the_file(void **state)
{
	struct mm_struct *mm = newest_mm();
	struct file *file = new_file("f", 4);

	(void)state;
	map_at(mm, BASE, 2, RW);
	assert_int_equal(ksys_mmap(mm, BASE + 4 * P, P, RW, MAP_PRIVATE | MAP_FIXED, file, 0),
			 BASE + 4 * P);
	assert_int_equal(ksys_mmap(mm, BASE + 6 * P, P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 6 * P);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + 4 * P, 2));
	assert_true(poke(mm, BASE + 6 * P, 3));
	assert_int_equal(advise(mm, BASE, 2, MADV_DONTNEED), 0);
	assert_int_equal(advise(mm, BASE + 4 * P, 1, MADV_DONTNEED), 0);
	assert_int_equal(advise(mm, BASE + 6 * P, 1, MADV_DONTNEED), 0);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(peek(mm, BASE), 0);
	assert_int_equal(peek(mm, BASE + 4 * P), 3);
	assert_int_equal(peek(mm, BASE + 6 * P), 3);
	/* The promise stays. */
	assert_int_equal(vm_memory_committed(), 3);
	assert_int_equal(ksys_mlock(mm, BASE, P), 0);
	assert_int_equal(advise(mm, BASE, 1, MADV_DONTNEED), -EINVAL);
	assert_int_equal(advise(mm, BASE, 1, MADV_DONTNEED_LOCKED), 0);
	mmput(mm);
	fput(file);
}

static void free_and_cold_leave_contents(void **state)
{
	struct mm_struct *mm = newest_mm();
	struct file *file = new_file("f", 4);

	(void)state;
	map_at(mm, BASE, 2, RW);
	assert_true(poke(mm, BASE, 7));
	assert_int_equal(advise(mm, BASE, 2, MADV_FREE), 0);
	assert_false(pte_dirty(mm_lookup_pte(mm, BASE)));
	assert_int_equal(peek(mm, BASE), 7);
	assert_true(poke(mm, BASE, 8));
	assert_int_equal(advise(mm, BASE, 2, MADV_COLD), 0);
	assert_false(pte_young(mm_lookup_pte(mm, BASE)));
	assert_int_equal(advise(mm, BASE, 2, MADV_PAGEOUT), 0);
	assert_int_equal(peek(mm, BASE), 8);
	assert_int_equal(ksys_mmap(mm, BASE + 4 * P, P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 4 * P);
	assert_int_equal(advise(mm, BASE + 4 * P, 1, MADV_FREE), -EINVAL);
	mmput(mm);
	fput(file);
}

static void flags_split_mappings_and_join_them_again(void **state)
{
	static const int pairs[][2] = {
		{ MADV_DONTFORK, MADV_DOFORK }, { MADV_WIPEONFORK, MADV_KEEPONFORK },
		{ MADV_DONTDUMP, MADV_DODUMP }, { MADV_SEQUENTIAL, MADV_NORMAL },
		{ MADV_RANDOM, MADV_NORMAL }, { MADV_MERGEABLE, MADV_UNMERGEABLE },
	};
	struct mm_struct *mm = newest_mm();
	unsigned int i;

	(void)state;
	map_at(mm, BASE, 6, RW);
	assert_true(poke(mm, BASE + 3 * P, 9));
	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(advise(mm, BASE + 2 * P, 2, pairs[i][0]), 0);
		assert_int_equal(mm->map_count, 3);
		assert_int_equal(advise(mm, BASE + 2 * P, 2, pairs[i][1]), 0);
		assert_int_equal(mm->map_count, 1);
	}
	assert_int_equal(advise(mm, BASE, 2, MADV_HUGEPAGE), 0);
	assert_int_equal(advise(mm, BASE + 2 * P, 4, MADV_NOHUGEPAGE), 0);
	assert_int_equal(mm->map_count, 2);
	assert_int_equal(advise(mm, BASE, 2, MADV_NOHUGEPAGE), 0);
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(peek(mm, BASE + 3 * P), 9);
	assert_int_equal(vm_memory_committed(), 6);
	check_mm_clean(mm);
	mmput(mm);
}

static void fork_obeys_the_flags(void **state)
{
	struct mm_struct *mm = newest_mm(), *child;

	(void)state;
	map_at(mm, BASE, 3, RW);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + P, 2));
	assert_true(poke(mm, BASE + 2 * P, 3));
	assert_int_equal(advise(mm, BASE, 1, MADV_DONTFORK), 0);
	assert_int_equal(advise(mm, BASE + P, 1, MADV_WIPEONFORK), 0);
	child = dup_mm(mm);
	assert_non_null(child);
	assert_int_equal(peek(child, BASE), -1);
	assert_int_equal(peek(child, BASE + P), 0);
	assert_int_equal(peek(child, BASE + 2 * P), 3);
	mmput(child);
	mmput(mm);
}

static void some_mappings_refuse_some_advice(void **state)
{
	struct mm_struct *mm = newest_mm();
	unsigned long shared = (unsigned long)map(mm, 0, 2, RW, MAP_SHARED | MAP_ANONYMOUS);
	unsigned long vdso = (unsigned long)map_vdso(mm, 4 * P, 2 * P);

	(void)state;
	assert_int_equal(advise(mm, shared, 1, MADV_WIPEONFORK), -EINVAL);
	assert_int_equal(advise(mm, vdso - 4 * P, 1, MADV_DOFORK), -EINVAL);
	assert_int_equal(advise(mm, vdso, 2, MADV_DODUMP), -EINVAL);
	assert_int_equal(advise(mm, vdso - 4 * P, 1, MADV_DONTNEED), -EINVAL);
	assert_int_equal(advise(mm, vdso, 2, MADV_GUARD_INSTALL), -EINVAL);
	assert_int_equal(advise(mm, vdso, 2, MADV_REMOVE), -EINVAL);
	assert_int_equal(advise(mm, shared, 1, MADV_COLLAPSE), -EINVAL);
	assert_int_equal(advise(mm, shared, 2, MADV_WILLNEED), 0);
	mmput(mm);
}

static void populate_says_why_not(void **state)
{
	struct mm_struct *mm = newest_mm();
	struct file *file = new_file("f", 1);

	(void)state;
	map_at(mm, BASE, 4, RW);
	map_at(mm, BASE + 4 * P, 1, PROT_READ);
	assert_int_equal(ksys_mmap(mm, BASE + 8 * P, 2 * P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 8 * P);
	assert_int_equal(advise(mm, BASE, 5, MADV_POPULATE_READ), 0);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_true(pte_present(mm_lookup_pte(mm, BASE + 4 * P)));
	assert_int_equal(advise(mm, BASE, 5, MADV_POPULATE_WRITE), -EINVAL);
	assert_int_equal(get_mm_rss(mm), 4);
	assert_int_equal(advise(mm, BASE, 6, MADV_POPULATE_READ), -ENOMEM);
	assert_int_equal(advise(mm, BASE + 8 * P, 2, MADV_POPULATE_WRITE), -EFAULT);
	assert_int_equal(get_mm_rss(mm), 5);
	mmput(mm);
	fput(file);
}

static void remove_punches_the_file(void **state)
{
	struct mm_struct *mm = newest_mm();
	unsigned long at = (unsigned long)map(mm, 0, 4, RW, MAP_SHARED | MAP_ANONYMOUS);
	struct mm_struct *child;

	(void)state;
	map_at(mm, BASE, 1, RW);
	assert_true(poke(mm, at, 1));
	assert_true(poke(mm, at + P, 2));
	child = dup_mm(mm);
	assert_non_null(child);
	assert_int_equal(peek(child, at + P), 2);
	assert_int_equal(advise(mm, at + P, 2, MADV_REMOVE), 0);
	assert_int_equal(peek(child, at), 1);
	assert_int_equal(peek(child, at + P), 0);
	assert_int_equal(advise(mm, BASE, 1, MADV_REMOVE), -EINVAL);
	assert_int_equal(ksys_mlock(mm, at, P), 0);
	assert_int_equal(advise(mm, at, 1, MADV_REMOVE), -EINVAL);
	mmput(child);
	mmput(mm);
}

static void guards_end_in_a_signal_and_survive(void **state)
{
	struct mm_struct *mm = newest_mm(), *child;
	struct fault_info info;

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_true(poke(mm, BASE + P, 5));
	assert_int_equal(advise(mm, BASE + P, 2, MADV_GUARD_INSTALL), 0);
	assert_int_equal(do_user_addr_fault(mm, BASE + P, PF_USER, &info), -EFAULT);
	assert_int_equal(info.si_signo, SIGSEGV);
	assert_int_equal(info.si_code, SEGV_MAPERR);
	assert_int_equal(get_mm_rss(mm), 0);
	/* One mapping all along; neither advice nor rights nor fork nor a move removes a guard. */
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(advise(mm, BASE, 4, MADV_DONTNEED), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 4 * P, PROT_READ), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 4 * P, RW), 0);
	child = dup_mm(mm);
	assert_non_null(child);
	assert_int_equal(peek(child, BASE + 2 * P), -1);
	assert_int_equal(peek(child, BASE), 0);
	mmput(child);
	assert_int_equal(ksys_mremap(mm, BASE, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED,
				     BASE + 32 * P), BASE + 32 * P);
	assert_int_equal(peek(mm, BASE + 33 * P), -1);
	assert_int_equal(advise(mm, BASE + 32 * P, 4, MADV_POPULATE_READ), -EFAULT);
	assert_int_equal(advise(mm, BASE + 33 * P, 1, MADV_GUARD_REMOVE), 0);
	assert_true(poke(mm, BASE + 33 * P, 1));
	assert_int_equal(peek(mm, BASE + 34 * P), -1);
	/* Mapped anew it is memory again. */
	map_at(mm, BASE + 34 * P, 1, RW);
	assert_int_equal(peek(mm, BASE + 34 * P), 0);
	check_mm_clean(mm);
	mmput(mm);
}

static void guards_on_a_file_survive_fork_and_merges(void **state)
{
	struct mm_struct *mm = newest_mm(), *child;
	struct file *file = new_file("f", 8);

	(void)state;
	assert_int_equal(ksys_mmap(mm, BASE, 8 * P, RW, MAP_SHARED | MAP_FIXED, file, 0), BASE);
	assert_int_equal(advise(mm, BASE + 5 * P, 1, MADV_DONTDUMP), 0);
	assert_int_equal(advise(mm, BASE + 5 * P, 1, MADV_GUARD_INSTALL), 0);
	assert_int_equal(advise(mm, BASE + 5 * P, 1, MADV_DODUMP), 0);
	/* Where guards may be makes no seam. */
	assert_int_equal(mm->map_count, 1);
	child = dup_mm(mm);
	assert_non_null(child);
	assert_int_equal(peek(child, BASE + 5 * P), -1);
	assert_int_equal(peek(child, BASE + 4 * P), 0);
	mmput(child);
	mmput(mm);
	fput(file);
}

static void names_split_join_and_show(void **state)
{
	struct mm_struct *mm = newest_mm();
	struct file *file = new_file("f", 1);
	char text[1024];
	char longest[81];

	(void)state;
	map_at(mm, BASE, 4, RW);
	assert_int_equal(ksys_set_anon_name(mm, BASE + P, 2 * P, "stack 1"), 0);
	assert_int_equal(mm->map_count, 3);
	maps_text(mm, text, sizeof(text));
	assert_string_equal(text,
		"10000000-10001000 rw-p 00000000 00:00 0 \n"
		"10001000-10003000 rw-p 00000000 00:00 0                                  "
		"[anon:stack 1]\n"
		"10003000-10004000 rw-p 00000000 00:00 0 \n");
	assert_int_equal(ksys_set_anon_name(mm, BASE, 4 * P, "all"), 0);
	assert_int_equal(mm->map_count, 1);
	/* Equal names are enough, wherever the text is. */
	assert_int_equal(ksys_set_anon_name(mm, BASE, P, NULL), 0);
	assert_int_equal(ksys_set_anon_name(mm, BASE, P, "all"), 0);
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(ksys_set_anon_name(mm, BASE, 4 * P, NULL), 0);
	assert_int_equal(ksys_set_anon_name(mm, BASE, P, "a]"), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	longest[80] = '\0';
	assert_int_equal(ksys_set_anon_name(mm, BASE, P, longest), -EINVAL);
	longest[79] = '\0';
	assert_int_equal(ksys_set_anon_name(mm, BASE, P, longest), 0);
	assert_int_equal(ksys_mmap(mm, BASE + 8 * P, P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 8 * P);
	assert_int_equal(ksys_set_anon_name(mm, BASE + 8 * P, P, "x"), -EBADF);
	check_mm_clean(mm);
	mmput(mm);
	fput(file);
}

struct nth {
	struct mm_struct *mm;
	int behavior;
};

static long nth_advise(void *arg)
{
	struct nth *n = arg;

	return n->behavior < 0 ? ksys_set_anon_name(n->mm, BASE + 2 * P, 4 * P, "n") :
	       advise(n->mm, BASE + 2 * P, 4, n->behavior);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	space_snapshot(((struct nth *)arg)->mm, values);
}

static void failing_anywhere_changes_nothing(void **state)
{
	static const int behaviors[] = { MADV_DONTFORK, MADV_GUARD_INSTALL, -1 };
	struct nth n;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(behaviors); i++) {
		n.mm = newest_mm();
		n.behavior = behaviors[i];
		map_at(n.mm, BASE, 8, RW);
		assert_true(fixture_fail_nth(.body = nth_advise, .snapshot = nth_snapshot,
					     .arg = &n) >= 2);
		check_mm_clean(n.mm);
		mmput(n.mm);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(numbers_are_checked_first),
		karc_unit_test(holes_are_reported_after_the_rest_was_done),
		KARC_TESTS(dontneed_refills_from_zero_or_the_file),
		karc_unit_test(free_and_cold_leave_contents),
		KARC_TESTS(flags_split_mappings_and_join_them_again),
		karc_unit_test(fork_obeys_the_flags),
		karc_unit_test(some_mappings_refuse_some_advice),
		karc_unit_test(populate_says_why_not),
		KARC_TESTS(remove_punches_the_file),
		karc_unit_test(guards_end_in_a_signal_and_survive),
		karc_unit_test(guards_on_a_file_survive_fork_and_merges),
		karc_unit_test(names_split_join_and_show),
		karc_unit_test(failing_anywhere_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
