/* SPDX-License-Identifier: MIT */
/*
 * test_pidfd.c - a descriptor names one process, and goes on naming it when it is gone
 *
 * Method: pidfds from clone and from pidfd_open, used while the process lives, is a zombie, is
 * reaped, and its number is another's.
 */
#include "guests.h"
#include <karc/mm/cache/file.h>
#include <karc/proc/files.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/signal.h>
#include <fcntl.h>

GUEST_CALL(open_, sys_pidfd_open((pid_t)a[0], (unsigned int)a[1]))
GUEST_CALL(send_, sys_pidfd_send_signal((int)a[0], (int)a[1], (unsigned int)a[2]))
GUEST_CALL(getfd_, sys_pidfd_getfd((int)a[0], (int)a[1], (unsigned int)a[2]))
GUEST_CALL(map_, sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, (int)a[0], 0))

static void clone_gives_a_pidfd(void **state)
{
	struct task_struct *init = start_init(), *child;
	unsigned long addr = map_anon(init, PAGE_SIZE);
	struct kernel_clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD,
					  .pidfd = (int __user *)addr };
	unsigned long fd;

	(void)state;
	write_byte(init, addr, 9);
	child = clone_args(init, &args);
	fd = (unsigned long)read_byte(init, addr);
	assert_int_equal(fd, 0);
	assert_int_equal(files_count(init->files), 1);
	assert_int_equal(files_count(child->files), 0);		/* made after the copy */
	assert_int_equal(as_guest(init, map_, fd), -ENODEV);
	assert_int_equal(as_guest(init, send_, fd, 0), 0);
	assert_int_equal(as_guest(init, send_, fd, SIGKILL), 0);
	assert_int_equal(reap(init, child), SIGKILL);
	assert_int_equal(as_guest(init, send_, fd, 0), -ESRCH);
	end_init(init);
}

static void a_failed_clone_closes_its_pidfd(void **state)
{
	struct task_struct *init = start_init();
	struct kernel_clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD,
					  .pidfd = (int __user *)8 };

	(void)state;
	assert_int_equal(as_task(init, entry_clone, &args), -EFAULT);
	assert_int_equal(files_count(init->files), 0);
	args.flags |= CLONE_PARENT_SETTID;
	args.parent_tid = args.pidfd;
	assert_int_equal(as_task(init, entry_clone, &args), -EINVAL);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 1);
	end_init(init);
}

static void open_refuses_what_linux_refuses(void **state)
{
	struct task_struct *init = start_init(), *thread = new_thread(init);

	(void)state;
	assert_int_equal(as_guest(init, open_, 0), -EINVAL);
	assert_int_equal(as_guest(init, open_, 77), -ESRCH);
	assert_int_equal(as_guest(init, open_, (unsigned long)thread->pid), -EINVAL);
	assert_int_equal(as_guest(init, open_, (unsigned long)init->pid, 1), -EINVAL);
	assert_int_equal(as_guest(init, open_, (unsigned long)init->pid, O_NONBLOCK), 0);
	assert_int_equal(as_guest(init, send_, 7, 0), -EBADF);
	assert_int_equal(as_guest(init, send_, 0, 0, 1), -EINVAL);
	assert_int_equal(as_guest(init, send_, 0, 99), -EINVAL);
	exit_thread(thread, 0);
	put_task_struct(thread);
	end_init(init);
}

static void a_number_given_anew_is_another_process(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0), *next;
	struct kernel_clone_args again = { .exit_signal = SIGCHLD, .want_pid = child->pid };

	(void)state;
	assert_int_equal(as_guest(init, open_, (unsigned long)child->pid), 0);
	exit_task(child, 0);
	assert_int_equal(as_guest(init, send_, 0, 0), 0);	/* a zombie is there still */
	reap(init, child);
	next = clone_args(init, &again);
	assert_int_equal(next->pid, again.want_pid);
	assert_int_equal(as_guest(init, send_, 0, SIGKILL), -ESRCH);
	assert_false(task_is_dead(next));
	exit_task(next, 0);
	reap(init, next);
	end_init(init);
}

static void getfd_takes_a_file_of_another(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);

	(void)state;
	assert_int_equal(fd_alloc_install(child->files, 5, get_file(file), false), 5);
	assert_int_equal(as_guest(init, open_, (unsigned long)child->pid), 0);
	assert_int_equal(as_guest(init, getfd_, 0, 5), 1);
	assert_int_equal(file_count(file), 3);
	assert_int_equal(as_guest(init, getfd_, 0, 6), -EBADF);
	assert_int_equal(as_guest(init, getfd_, 0, -1UL), -EBADF);
	assert_int_equal(as_guest(init, getfd_, 1, 5), -EBADF);	/* no pidfd */
	assert_int_equal(as_guest(init, getfd_, 0, 5, 1), -EINVAL);
	exit_task(child, 0);
	assert_int_equal(as_guest(init, getfd_, 0, 5), -EBADF);
	reap(init, child);
	assert_int_equal(as_guest(init, getfd_, 0, 5), -ESRCH);
	fput(file);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(clone_gives_a_pidfd),
		KARC_TESTS(a_failed_clone_closes_its_pidfd),
		KARC_TESTS(open_refuses_what_linux_refuses),
		KARC_TESTS(a_number_given_anew_is_another_process),
		KARC_TESTS(getfd_takes_a_file_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
