/* SPDX-License-Identifier: MIT */
/*
 * Goal: a fork's copy has the same contents and maps, shares pages until one side writes, and a
 * copy that fails anywhere leaves nothing behind.
 */
#include "space_test.h"

#include <karc/hw/inject.h>

static struct mm_struct *dup_of(struct mm_struct *mm)
{
	struct mm_struct *copy = dup_mm(mm);

	assert_non_null(copy);
	check_mm_clean(mm);
	check_mm_clean(copy);
	return copy;
}

static void copy_has_the_same_maps_and_settings(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;
	struct file *file = new_file("f", 4);
	char *one = malloc(8192), *two = malloc(8192);

	(void)state;
	map_at(mm, BASE, 4, RW);
	map_at(mm, BASE + 8 * P, 2, PROT_READ);
	assert_int_equal(ksys_mmap(mm, BASE + 16 * P, 4 * P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 BASE + 16 * P);
	assert_true(map(mm, 0, 2, RW, MAP_SHARED | MAP_ANONYMOUS) > 0);
	assert_int_equal(ksys_brk(mm, 0x602000), 0x602000);
	mm->rlim.data = 1UL << 30;
	copy = dup_of(mm);
	assert_int_equal(mm_users(copy), 1);
	assert_int_equal(mm_count(copy), 1);
	maps_text(mm, one, 8192);
	maps_text(copy, two, 8192);
	assert_string_equal(one, two);
	assert_int_equal(copy->total_vm, mm->total_vm);
	assert_int_equal(copy->brk, mm->brk);
	assert_int_equal(copy->rlim.data, mm->rlim.data);
	assert_ptr_equal(copy->profile, mm->profile);
	/* Private writable memory is promised twice now, shared memory once. */
	assert_int_equal(vm_memory_committed(), 2 * (4 + 2) + 2);
	assert_int_equal(file_count(file), 3);
	mmput(mm);
	mmput(copy);
	assert_int_equal(file_count(file), 1);
	fput(file);
	assert_int_equal(vm_memory_committed(), 0);
	free(one);
	free(two);
}

static void each_side_sees_its_own_writes_only(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;
	unsigned long i;

	(void)state;
	map_at(mm, BASE, 4, RW);
	for (i = 0; i < 4; i++)
		assert_true(poke(mm, BASE + i * P, (unsigned char)(10 + i)));
	copy = dup_of(mm);
	assert_int_equal(get_mm_rss(copy), 4);
	assert_true(poke(mm, BASE, 50));
	assert_true(poke(copy, BASE + P, 60));
	assert_int_equal(peek(mm, BASE), 50);
	assert_int_equal(peek(copy, BASE), 10);
	assert_int_equal(peek(mm, BASE + P), 11);
	assert_int_equal(peek(copy, BASE + P), 60);
	assert_int_equal(peek(copy, BASE + 3 * P), 13);
	mmput(mm);
	assert_int_equal(peek(copy, BASE + 2 * P), 12);
	assert_true(poke(copy, BASE + 2 * P, 70));
	assert_int_equal(peek(copy, BASE + 2 * P), 70);
	mmput(copy);
}

static void three_generations_write_apart(void **state)
{
	struct mm_struct *mm[3];
	unsigned int i;

	(void)state;
	mm[0] = new_mm();
	map_at(mm[0], BASE, 1, RW);
	assert_true(poke(mm[0], BASE, 1));
	mm[1] = dup_of(mm[0]);
	mm[2] = dup_of(mm[1]);
	for (i = 0; i < 3; i++)
		assert_int_equal(peek(mm[i], BASE), 1);
	for (i = 0; i < 3; i++)
		assert_true(poke(mm[i], BASE, (unsigned char)(100 + i)));
	for (i = 0; i < 3; i++)
		assert_int_equal(peek(mm[i], BASE), 100 + i);
	mmput(mm[1]);
	assert_int_equal(peek(mm[0], BASE), 100);
	assert_int_equal(peek(mm[2], BASE), 102);
	mmput(mm[0]);
	mmput(mm[2]);
}

static void shared_mappings_stay_shared(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;
	unsigned long at = (unsigned long)map(mm, 0, 2, RW, MAP_SHARED | MAP_ANONYMOUS);

	(void)state;
	assert_true(poke(mm, at, 1));
	copy = dup_of(mm);
	assert_true(poke(copy, at, 2));
	assert_int_equal(peek(mm, at), 2);
	assert_true(poke(mm, at + P, 3));
	assert_int_equal(peek(copy, at + P), 3);
	mmput(mm);
	assert_int_equal(peek(copy, at), 2);
	mmput(copy);
}

static void dontcopy_and_wipeonfork(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;

	(void)state;
	map_at(mm, BASE, 2, RW);
	map_at(mm, BASE + 4 * P, 2, RW);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + 4 * P, 2));
	vma_lookup(mm, BASE)->vm_flags |= VM_DONTCOPY;
	vma_lookup(mm, BASE + 4 * P)->vm_flags |= VM_WIPEONFORK;
	copy = dup_of(mm);
	assert_ranges(copy, "10004000-10006000 rw-p");
	assert_int_equal(peek(copy, BASE + 4 * P), 0);
	assert_int_equal(peek(mm, BASE + 4 * P), 2);
	assert_int_equal(vm_memory_committed(), 4 + 2);
	mmput(copy);
	mmput(mm);
}

static void locks_are_not_inherited(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;

	(void)state;
	assert_int_equal(map(mm, BASE, 2, RW, FIXED | MAP_LOCKED), BASE);
	copy = dup_of(mm);
	assert_int_equal(copy->locked_vm, 0);
	assert_false(vma_lookup(copy, BASE)->vm_flags & VM_LOCKED);
	mmput(copy);
	mmput(mm);
}

/* A VMA inherited over fork does not melt with a new one: its pages are found by other ways. */
static void inherited_mappings_do_not_merge_with_new_ones(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;

	(void)state;
	map_at(mm, BASE, 1, RW);
	assert_true(poke(mm, BASE, 1));
	copy = dup_of(mm);
	map_at(mm, BASE + P, 1, RW);
	map_at(copy, BASE + P, 1, RW);
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(copy->map_count, 2);
	mmput(copy);
	mmput(mm);
}

static void refused_promise_fails_the_fork(void **state)
{
	struct mm_struct *mm = new_mm();

	(void)state;
	space_sysctl()->overcommit_memory = OVERCOMMIT_NEVER;
	space_sysctl()->overcommit_kbytes = 400;
	space_sysctl()->admin_reserve_kbytes = 0;
	map_at(mm, BASE, 4, RW);
	map_at(mm, BASE + 8 * P, 60, RW);
	assert_true(poke(mm, BASE, 1));
	assert_null(dup_mm(mm));
	assert_int_equal(vm_memory_committed(), 64);
	assert_int_equal(mm_nr_alive(), 1);
	assert_true(poke(mm, BASE, 2));
	mmput(mm);
}

struct nth {
	struct mm_struct *mm, *copy;
};

static long nth_dup(void *arg)
{
	struct nth *n = arg;

	n->copy = dup_mm(n->mm);
	return n->copy ? 0 : -ENOMEM;
}

static void nth_undo(void *arg)
{
	mmput(((struct nth *)arg)->copy);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	space_snapshot(n->mm, values);
	values[20] = (u64)peek(n->mm, BASE);
	values[21] = (u64)peek(n->mm, BASE + 40 * P);
	values[22] = mm_nr_alive();
}

static void failing_anywhere_leaves_nothing(void **state)
{
	struct nth n = { .mm = new_mm() };
	struct file *file = new_file("f", 4);

	(void)state;
	map_at(n.mm, BASE, 4, RW);
	map_at(n.mm, BASE + 40 * P, 4, RW);
	map_at(n.mm, BASE + (64UL << 20), 2, RW);
	assert_int_equal(ksys_mmap(n.mm, BASE + 20 * P, 4 * P, RW, MAP_PRIVATE | MAP_FIXED, file,
				   0), BASE + 20 * P);
	assert_true(poke(n.mm, BASE, 1));
	assert_true(poke(n.mm, BASE + 40 * P, 2));
	assert_true(poke(n.mm, BASE + (64UL << 20), 3));
	assert_true(poke(n.mm, BASE + 21 * P, 4));
	assert_true(fixture_fail_nth(.body = nth_dup, .undo = nth_undo, .snapshot = nth_snapshot,
				     .arg = &n) >= 8);
	mmput(n.mm);
	fput(file);
}

static void many_forks_leave_no_frame_behind(void **state)
{
	struct mm_struct *mm = new_mm(), *copy;
	unsigned long i, round, free = 0;

	(void)state;
	map_at(mm, BASE, 64, RW);
	for (i = 0; i < 64; i++)
		assert_true(poke(mm, BASE + i * P, 1));
	for (round = 0; round < 4; round++) {
		copy = dup_of(mm);
		for (i = 0; i < 64; i += 2)
			assert_true(poke(copy, BASE + i * P, 2));
		mmput(copy);
		machine_quiesce(this_machine());
		if (round == 0)
			free = phys_nr_free(this_machine());
		assert_int_equal(phys_nr_free(this_machine()), free);
	}
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(copy_has_the_same_maps_and_settings),
		KARC_TESTS(each_side_sees_its_own_writes_only),
		KARC_TESTS(three_generations_write_apart),
		KARC_TESTS(shared_mappings_stay_shared),
		KARC_TESTS(dontcopy_and_wipeonfork),
		karc_unit_test(locks_are_not_inherited),
		karc_unit_test(inherited_mappings_do_not_merge_with_new_ones),
		karc_unit_test(refused_promise_fails_the_fork),
		KARC_TESTS(failing_anywhere_leaves_nothing),
		KARC_TESTS(many_forks_leave_no_frame_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
