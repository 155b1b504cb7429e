/* SPDX-License-Identifier: MIT */
/*
 * test_limits.c - limits are kept, shared, inherited, and honoured where karc enforces them
 *
 * Method: prlimit's refusals; every limit set and read back; then each enforced one is reached.
 */
#include "guests.h"
#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/files.h>
#include <karc/proc/signal.h>
#include <sys/resource.h>

static struct task_rlimit set, old;

GUEST_CALL(prlimit_, sys_prlimit64((pid_t)a[0], (unsigned int)a[1], &set, &old))
GUEST_CALL(read_limit, sys_getrlimit((unsigned int)a[0], &old))
GUEST_CALL(map_some, sys_mmap(0, a[0], PROT_READ | PROT_WRITE, (int)a[1] | MAP_PRIVATE |
			      MAP_ANONYMOUS, -1, 0))
GUEST_CALL(open_some, fd_alloc_install(current->files, (unsigned int)a[0],
				       get_file((struct file *)a[1]), false))
GUEST_CALL(dup_to, sys_dup3((int)a[0], (int)a[1], 0))

static long set_limit(struct task_struct *task, unsigned int which, unsigned long cur,
		      unsigned long max)
{
	set = (struct task_rlimit){ cur, max };
	return as_guest(task, prlimit_, 0, which);
}

static void each_limit_is_kept_and_inherited(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0);
	struct task_struct *thread = new_thread(task), *child;
	unsigned int i;

	(void)state;
	for (i = 0; i < KARC_RLIM_NLIMITS; i++) {
		as_guest(task, read_limit, i);
		assert_int_equal(set_limit(task, i, old.cur / 2, old.max / 2), 0);
	}
	child = fork_flags(thread, 0);
	for (i = 0; i < KARC_RLIM_NLIMITS; i++) {
		struct task_rlimit mine = task->signal->rlim[i];

		assert_int_equal(as_guest(thread, read_limit, i), 0);
		assert_int_equal(old.cur, mine.cur);
		assert_int_equal(as_guest(child, read_limit, i), 0);
		assert_int_equal(old.max, mine.max);
		as_guest(init, read_limit, i);
		assert_int_equal(old.cur / 2, mine.cur);
	}
	exit_task(child, 0);
	reap(task, child);
	exit_task(task, 0);
	put_task_struct(thread);
	reap(init, task);
	end_init(init);
}

static void refusals_are_linux_s(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);

	(void)state;
	assert_int_equal(set_limit(init, KARC_RLIM_NLIMITS, 0, 0), -EINVAL);
	assert_int_equal(as_guest(init, read_limit, 99), -EINVAL);
	assert_int_equal(set_limit(init, RLIMIT_CORE, 2, 1), -EINVAL);
	assert_int_equal(set_limit(init, RLIMIT_NOFILE, 5, 5000), -EPERM);
	assert_int_equal(set_limit(init, RLIMIT_NOFILE, 5, 50), 0);
	assert_int_equal(old.max, 4096);
	assert_int_equal(set_limit(init, RLIMIT_NOFILE, 50, 51), -EPERM);
	mm_flag_assign(init->mm, MMF_CAPABLE, true);
	assert_int_equal(set_limit(init, RLIMIT_NOFILE, 50, 51), 0);
	assert_int_equal(set_limit(init, RLIMIT_NOFILE, 50, (1UL << 20) + 1), -EPERM);
	set = (struct task_rlimit){ 7, 8 };
	assert_int_equal(as_guest(init, prlimit_, (unsigned long)child->pid, RLIMIT_CPU), 0);
	assert_int_equal(child->signal->rlim[RLIMIT_CPU].cur, 7);
	assert_int_equal(as_guest(init, prlimit_, 99, RLIMIT_CPU), -ESRCH);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static void the_space_honours_its_limits(void **state)
{
	struct task_struct *init = start_init();
	struct mm_struct *mm = init->mm;

	(void)state;
	assert_int_equal(set_limit(init, RLIMIT_STACK, 1 << 20, KARC_RLIM_INFINITY), 0);
	assert_int_equal(mm->rlim.stack, 1 << 20);
	assert_int_equal(set_limit(init, RLIMIT_AS, 64 * PAGE_SIZE, KARC_RLIM_INFINITY), 0);
	assert_true(as_guest(init, map_some, 32 * PAGE_SIZE) > 0);
	assert_int_equal(as_guest(init, map_some, 33 * PAGE_SIZE), -ENOMEM);
	assert_int_equal(set_limit(init, RLIMIT_AS, KARC_RLIM_INFINITY, KARC_RLIM_INFINITY), 0);
	assert_int_equal(set_limit(init, RLIMIT_DATA, 40 * PAGE_SIZE, KARC_RLIM_INFINITY), 0);
	assert_int_equal(as_guest(init, map_some, 33 * PAGE_SIZE), -ENOMEM);
	assert_int_equal(set_limit(init, RLIMIT_MEMLOCK, PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(as_guest(init, map_some, 2 * PAGE_SIZE, MAP_LOCKED), -EAGAIN);
	end_init(init);
}

/* Its own limits are the process's; a space that it shares with its parent is not told. */
static void a_vfork_child_does_not_limit_its_parent(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, CLONE_VM | CLONE_VFORK);

	(void)state;
	assert_int_equal(set_limit(child, RLIMIT_AS, PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(child->signal->rlim[RLIMIT_AS].cur, PAGE_SIZE);
	assert_int_equal(init->mm->rlim.as, KARC_RLIM_INFINITY);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static void descriptors_end_at_the_limit(void **state)
{
	struct task_struct *init = start_init();
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);
	unsigned long f = (unsigned long)file;

	(void)state;
	assert_int_equal(set_limit(init, RLIMIT_NOFILE, 3, 3), 0);
	assert_int_equal(as_guest(init, open_some, 0, f), 0);
	assert_int_equal(as_guest(init, open_some, 2, f), 2);
	assert_int_equal(as_guest(init, open_some, 2, f), -EMFILE);
	assert_int_equal(as_guest(init, open_some, 70, f), -EMFILE);
	assert_int_equal(as_guest(init, open_some, 0, f), 1);
	assert_int_equal(as_guest(init, open_some, 0, f), -EMFILE);
	assert_int_equal(as_guest(init, dup_to, 0, 3), -EBADF);
	assert_int_equal(as_guest(init, dup_to, 0, 2), 2);
	fput(file);
	end_init(init);
}

static void fork_ends_at_the_limit(void **state)
{
	struct task_struct *init = start_init(), *child;
	struct kernel_clone_args args = { .exit_signal = SIGCHLD };

	(void)state;
	assert_int_equal(set_limit(init, RLIMIT_NPROC, 2, 2), 0);
	child = fork_flags(init, 0);
	assert_int_equal(as_task(init, entry_clone, &args), -EAGAIN);
	args.flags = CLONE_PTHREAD;
	assert_int_equal(as_task(init, entry_clone, &args), -EAGAIN);
	mm_flag_assign(init->mm, MMF_CAPABLE, true);
	put_task_struct(new_thread(init));
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(each_limit_is_kept_and_inherited),
		KARC_TESTS(refusals_are_linux_s),
		KARC_TESTS(the_space_honours_its_limits),
		KARC_TESTS(a_vfork_child_does_not_limit_its_parent),
		KARC_TESTS(descriptors_end_at_the_limit),
		KARC_TESTS(fork_ends_at_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
