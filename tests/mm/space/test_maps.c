/* SPDX-License-Identifier: MIT */
/*
 * Goal: the text is Linux's, byte for byte.
 */
#include "space_test.h"

static void lines_look_like_linux(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("/usr/lib/libc.so.6", 16);
	char text[2048];

	(void)state;
	file_inode(file)->i_ino = 123456;
	file_inode(file)->i_dev_id = (8u << 20) | 1;
	assert_int_equal(ksys_mmap(mm, 0x555555554000, 2 * P, PROT_READ | PROT_EXEC,
				   MAP_PRIVATE | MAP_FIXED, file, 3 * P), 0x555555554000);
	assert_int_equal(ksys_mmap(mm, 0x7f0000000000, P, RW, MAP_SHARED | MAP_FIXED, file, 0),
			 0x7f0000000000);
	assert_int_equal(ksys_brk(mm, 0x601000), 0x601000);
	map_at(mm, BASE, 1, PROT_NONE);
	assert_int_equal(setup_arg_pages(mm, STACK_TOP, 100, false), 0);
	maps_text(mm, text, sizeof(text));
	assert_string_equal(text,
		"00600000-00601000 rw-p 00000000 00:00 0                                  [heap]\n"
		"10000000-10001000 ---p 00000000 00:00 0 \n"
		"555555554000-555555556000 r-xp 00003000 08:01 123456                     "
		"/usr/lib/libc.so.6\n"
		"7f0000000000-7f0000001000 rw-s 00000000 08:01 123456                     "
		"/usr/lib/libc.so.6\n"
		"7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n");
	mmput(mm);
	fput(file);
}

static void shared_anonymous_memory_names_its_device(void **state)
{
	struct mm_struct *mm = new_mm();
	char text[512];

	(void)state;
	assert_int_equal(map(mm, BASE, 1, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED), BASE);
	file_inode(vma_lookup(mm, BASE)->vm_file)->i_ino = 4098;
	maps_text(mm, text, sizeof(text));
	assert_string_equal(text, "10000000-10001000 rw-s 00000000 00:01 4098"
			    "                               /dev/zero (deleted)\n");
	mmput(mm);
}

static void touching_is_no_overlap_for_newer_kernels(void **state)
{
	struct mm_struct *mm = new_mm();
	char text[512];

	(void)state;
	assert_int_equal(ksys_brk(mm, 0x601000), 0x601000);
	map_at(mm, 0x601000, 1, PROT_READ);
	maps_text(mm, text, sizeof(text));
	assert_non_null(strstr(text, "r--p 00000000 00:00 0                                  [heap]"));
	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	maps_text(mm, text, sizeof(text));
	assert_null(strstr(text, "r--p 00000000 00:00 0                                  [heap]"));
	assert_non_null(strstr(text, "rw-p 00000000 00:00 0                                  [heap]"));
	mmput(mm);
}

static void newline_in_a_name_is_escaped(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("a\nb", 1);
	char text[512];

	(void)state;
	assert_true(ksys_mmap(mm, 0, P, PROT_READ, MAP_PRIVATE, file, 0) > 0);
	maps_text(mm, text, sizeof(text));
	assert_non_null(strstr(text, " a\\012b\n"));
	mmput(mm);
	fput(file);
}

static void short_buffers_are_cut_and_terminated(void **state)
{
	struct mm_struct *mm = new_mm();
	char text[64];
	size_t need;

	(void)state;
	map_at(mm, BASE, 1, RW);
	map_at(mm, BASE + 2 * P, 1, RW);
	need = maps_text(mm, NULL, 0);
	assert_int_equal(need, 2 * strlen("10000000-10001000 rw-p 00000000 00:00 0 \n"));
	assert_int_equal(maps_text(mm, text, 10), need);
	assert_string_equal(text, "10000000-");
	mmput(mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(lines_look_like_linux),
		karc_unit_test(shared_anonymous_memory_names_its_device),
		karc_unit_test(touching_is_no_overlap_for_newer_kernels),
		karc_unit_test(newline_in_a_name_is_escaped),
		karc_unit_test(short_buffers_are_cut_and_terminated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
