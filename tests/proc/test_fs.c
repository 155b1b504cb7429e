/* SPDX-License-Identifier: MIT */
/*
 * test_fs.c - the umask is shared with CLONE_FS and copied without it
 */
#include "guests.h"
#include <karc/proc/fs.h>

GUEST_CALL(umask_, sys_umask((unsigned int)a[0]))
GUEST_CALL(unshare_, ksys_unshare(a[0]))

static void the_umask_is_copied_or_shared(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *copy = fork_flags(init, 0), *shared = fork_flags(init, CLONE_FS);

	(void)state;
	assert_int_equal(as_guest(init, umask_, 07777), 022);
	assert_int_equal(as_guest(shared, umask_, 01), 0777);
	assert_int_equal(as_guest(copy, umask_, 02), 022);
	assert_int_equal(as_guest(init, umask_, 0), 01);
	assert_int_equal(as_guest(shared, unshare_, CLONE_FS), 0);
	assert_ptr_not_equal(shared->fs, init->fs);
	assert_int_equal(as_guest(shared, umask_, 07), 0);
	assert_int_equal(as_guest(init, umask_, 0), 0);
	exit_task(copy, 0);
	exit_task(shared, 0);
	assert_null(shared->fs);
	reap(init, copy);
	reap(init, shared);
	end_init(init);
}

static void it_is_counted(void **state)
{
	struct fs_struct *fs = fs_alloc(0);

	(void)state;
	assert_int_equal(arc_count(&fs->arc), 1);
	put_fs_struct(fs);
	put_fs_struct(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(the_umask_is_copied_or_shared),
		KARC_TESTS(it_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
