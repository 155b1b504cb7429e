/* SPDX-License-Identifier: MIT */
/*
 * Goal: the kernel's copies to and from user memory do exactly what is possible and say exactly how
 * much that was.
 * Method: copies that start, end and break at every kind of place around a page boundary.
 */
#include "space_test.h"

#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/uaccess.h>

#define USER(addr)	((void __user *)(addr))

/* Two pages, then nothing; loaded. */
static struct mm_struct *two_pages(void)
{
	struct mm_struct *mm = new_mm();

	map_at(mm, BASE, 2, RW);
	switch_mm(NULL, mm);
	return mm;
}

static void unload(struct mm_struct *mm)
{
	assert_false(fault_take_pending(NULL));
	switch_mm(mm, NULL);
	mmput(mm);
}

static void copies_come_back_as_they_went(void **state)
{
	struct mm_struct *mm = two_pages();
	static unsigned char out[2 * PAGE_SIZE], in[2 * PAGE_SIZE];
	(void)state;

	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 7 + i / 256);
	assert_int_equal(copy_to_user(USER(BASE), out, sizeof(out)), 0);
	assert_int_equal(copy_from_user(in, USER(BASE), sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(copy_from_user(in, USER(BASE + P - 3), 6), 0);
	assert_memory_equal(in, out + P - 3, 6);
	assert_int_equal(copy_to_user(USER(BASE), out, 0), 0);
	assert_int_equal(clear_user(USER(BASE + P - 5), 10), 0);
	assert_int_equal(peek(mm, BASE + P - 6), out[P - 6]);
	assert_int_equal(peek(mm, BASE + P + 4), 0);
	assert_int_equal(peek(mm, BASE + P + 5), out[P + 5]);
	unload(mm);
}

static void a_partial_copy_says_what_is_missing_and_zeroes_the_rest(void **state)
{
	struct mm_struct *mm = two_pages();
	unsigned char buf[32];
	(void)state;

	for (unsigned int have = 0; have <= sizeof(buf); have++) {
		memset(buf, 0xcc, sizeof(buf));
		assert_int_equal(copy_to_user(USER(BASE + 2 * P - have), buf, sizeof(buf)),
				 sizeof(buf) - have);
		memset(buf, 0xdd, sizeof(buf));
		assert_int_equal(copy_from_user(buf, USER(BASE + 2 * P - have), sizeof(buf)),
				 sizeof(buf) - have);
		for (unsigned int i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], i < have ? 0xcc : 0);
		assert_int_equal(clear_user(USER(BASE + 2 * P - have), sizeof(buf)),
				 sizeof(buf) - have);
	}
	unload(mm);
}

static void what_is_no_user_memory_is_refused_whole(void **state)
{
	struct mm_struct *mm = two_pages();
	void *kernel = kmalloc(64, GFP_KERNEL);
	unsigned char buf[8];
	(void)state;

	memset(buf, 0xdd, sizeof(buf));
	assert_false(access_ok(USER(TASK_SIZE_MAX), 1));
	assert_true(access_ok(USER(TASK_SIZE_MAX), 0));
	assert_false(access_ok(USER(TASK_SIZE_MAX - 1), 2));
	assert_false(access_ok(USER(8), ~0UL));
	assert_false(access_ok(USER(~0UL), 1));
	assert_int_equal(copy_from_user(buf, USER(0xffff888000000000UL), 8), 8);
	assert_int_equal(buf[0] | buf[7], 0);
	/* Our own memory, although its number is that of a user address, and even one in use. */
	assert_int_equal(copy_to_user(kernel, buf, 8), 8);
	assert_int_equal(copy_from_user(buf, kernel, 8), 8);
	map_at(mm, (unsigned long)kernel & PAGE_MASK, 1, RW);
	assert_int_equal(copy_from_user(buf, kernel, 8), 8);
	assert_int_equal(copy_to_user(kernel, buf, 8), 8);
	kfree(kernel);
	unload(mm);
}

static void without_a_loaded_space_nothing_is_copied(void **state)
{
	unsigned char buf[8];
	(void)state;

	memset(buf, 1, sizeof(buf));
	assert_int_equal(copy_from_user(buf, USER(BASE), 8), 8);
	assert_int_equal(buf[7], 0);
}

static void writing_to_a_shared_page_makes_a_copy_first(void **state)
{
	struct mm_struct *mm = two_pages(), *child;
	(void)state;

	assert_true(poke(mm, BASE, 'p'));
	child = dup_mm(mm);
	assert_int_equal(copy_to_user(USER(BASE), "n", 1), 0);
	assert_int_equal(peek(mm, BASE), 'n');
	assert_int_equal(peek(child, BASE), 'p');
	mmput(child);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	assert_int_equal(copy_to_user(USER(BASE), "x", 1), 1);
	assert_int_equal(peek(mm, BASE), 'n');
	unload(mm);
}

static void scalars_come_one_at_a_time(void **state)
{
	struct mm_struct *mm = two_pages();
	unsigned long *word = (unsigned long *)BASE;
	unsigned char *byte = (unsigned char *)BASE;
	int *beyond = (int *)(BASE + 2 * P - 2);
	unsigned long value = 5;
	int number = 7;
	(void)state;

	assert_int_equal(put_user(0x1122334455667788UL, word), 0);
	assert_int_equal(get_user(value, word), 0);
	assert_int_equal(value, 0x1122334455667788UL);
	assert_int_equal(get_user(value, byte), 0);
	assert_int_equal(value, 0x88);
	assert_int_equal(get_user(number, beyond), -EFAULT);
	assert_int_equal(number, 0);
	assert_int_equal(put_user(1, beyond), -EFAULT);
	unload(mm);
}

static void strings_end_at_their_nul_at_the_count_or_in_a_fault(void **state)
{
	struct mm_struct *mm = two_pages();
	char buf[64];
	(void)state;

	assert_int_equal(copy_to_user(USER(BASE + P - 3), "hello", 6), 0);
	memset(buf, 'z', sizeof(buf));
	assert_int_equal(strncpy_from_user(buf, USER(BASE + P - 3), sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	assert_int_equal(strncpy_from_user(buf, USER(BASE + P - 3), 4), 4);
	assert_int_equal(strncpy_from_user(buf, USER(BASE + P - 3), 0), 0);
	assert_int_equal(strnlen_user(USER(BASE + P - 3), 64), 6);
	assert_int_equal(strnlen_user(USER(BASE + P - 3), 3), 4);
	assert_int_equal(copy_to_user(USER(BASE + 2 * P - 4), "end!", 4), 0);
	assert_int_equal(strncpy_from_user(buf, USER(BASE + 2 * P - 4), 4), 4);
	assert_int_equal(strncpy_from_user(buf, USER(BASE + 2 * P - 4), 5), -EFAULT);
	assert_int_equal(strnlen_user(USER(BASE + 2 * P - 4), 64), 0);
	assert_int_equal(strncpy_from_user(buf, USER(8), 5), -EFAULT);
	unload(mm);
}

static void zeroed_user_memory_is_recognised_across_pages(void **state)
{
	struct mm_struct *mm = two_pages();
	(void)state;

	assert_int_equal(clear_user(USER(BASE), 2 * P), 0);
	assert_true(poke(mm, BASE + P - 4, 1));
	assert_true(poke(mm, BASE + P + 4, 1));
	for (unsigned long start = BASE + P - 8; start <= BASE + P + 8; start++) {
		for (unsigned long end = start; end <= BASE + P + 8; end++) {
			bool zero = !(start <= BASE + P - 4 && BASE + P - 4 < end) &&
				    !(start <= BASE + P + 4 && BASE + P + 4 < end);

			assert_int_equal(check_zeroed_user(USER(start), end - start), zero);
		}
	}
	assert_int_equal(check_zeroed_user(USER(BASE + 2 * P - 1), 2), -EFAULT);
	assert_int_equal(check_zeroed_user(USER(BASE + P + 4), 2 * P), 0);
	unload(mm);
}

static void structs_of_other_sizes_follow_the_rule(void **state)
{
	struct mm_struct *mm = two_pages();
	unsigned char user[16] = { 1, 2, 3, 4, 5, 6, 7, 8 }, kernel[8];
	(void)state;

	assert_int_equal(copy_to_user(USER(BASE), user, sizeof(user)), 0);
	assert_int_equal(copy_struct_from_user(kernel, 8, USER(BASE), 8), 0);
	assert_memory_equal(kernel, user, 8);
	memset(kernel, 0xee, sizeof(kernel));
	assert_int_equal(copy_struct_from_user(kernel, 8, USER(BASE), 4), 0);
	assert_memory_equal(kernel, ((unsigned char[]){ 1, 2, 3, 4, 0, 0, 0, 0 }), 8);
	assert_int_equal(copy_struct_from_user(kernel, 8, USER(BASE), 16), 0);
	assert_int_equal(copy_struct_from_user(kernel, 4, USER(BASE), 16), -E2BIG);
	assert_int_equal(copy_struct_from_user(kernel, 8, USER(BASE + 2 * P - 4), 8), -EFAULT);
	assert_int_equal(copy_struct_from_user(kernel, 4, USER(BASE + 2 * P - 4), 8), -EFAULT);
	unload(mm);
}

/* EDGE_CASES: usercopy whitelist and object-size checks on copy_*_user */

struct copy {
	void *kernel;
	unsigned long n;
	bool to_user;
};

static long copies(void *arg)
{
	const struct copy *c = arg;

	if (c->to_user)
		return (long)copy_to_user(USER(BASE), c->kernel, c->n);
	return (long)copy_from_user(c->kernel, USER(BASE), c->n);
}

static void copies_beyond_an_object_end_the_task(void **state)
{
	struct mm_struct *mm = two_pages();
	struct kmem_cache *cache = kmem_cache_create_usercopy("partly", 64, 0, 0, 8, 16, NULL);
	char *p = kmem_cache_zalloc(cache, GFP_KERNEL), *q = kzalloc(100, GFP_KERNEL);
	(void)state;

	assert_int_equal(copy_to_user(USER(BASE), p + 8, 16), 0);
	assert_int_equal(copy_from_user(p + 8, USER(BASE), 16), 0);
	assert_int_equal(copy_to_user(USER(BASE), q, 100), 0);
	expect_bug(copies, (&(struct copy){ p, 16, true }),
		   "Kernel memory exposure attempt detected from SLAB object 'partly' "
		   "(offset 0, size 16)!");
	expect_bug(copies, (&(struct copy){ p + 8, 17, false }),
		   "Kernel memory overwrite attempt detected to SLAB object 'partly'");
	expect_bug(copies, (&(struct copy){ q, 200, true }), "from SLAB object 'kmalloc-128'");
	expect_bug(copies, (&(struct copy){ NULL, 4, false }), "null address");
	expect_bug(copies, (&(struct copy){ (void *)-8L, 100, true }), "wrapped address");
	kmem_cache_free(cache, p);
	kfree(q);
	kmem_cache_destroy(cache);
	unload(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(copies_come_back_as_they_went),
		karc_unit_test(a_partial_copy_says_what_is_missing_and_zeroes_the_rest),
		karc_unit_test(what_is_no_user_memory_is_refused_whole),
		karc_unit_test(without_a_loaded_space_nothing_is_copied),
		KARC_TESTS(writing_to_a_shared_page_makes_a_copy_first),
		karc_unit_test(scalars_come_one_at_a_time),
		karc_unit_test(strings_end_at_their_nul_at_the_count_or_in_a_fault),
		karc_unit_test(zeroed_user_memory_is_recognised_across_pages),
		karc_unit_test(structs_of_other_sizes_follow_the_rule),
		karc_unit_test(copies_beyond_an_object_end_the_task),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
