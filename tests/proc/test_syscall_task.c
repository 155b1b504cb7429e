/* SPDX-License-Identifier: MIT */
/*
 * test_syscall_task.c - entry points about tasks answer what Linux's system calls answer
 *
 * Method: each call made by a task; what the mechanisms behind do is the tests of their files.
 */
#include "guests.h"
#include <karc/proc/signal.h>
#include <limits.h>

GUEST_CALL(getpid_, sys_getpid())
GUEST_CALL(gettid_, sys_gettid())
GUEST_CALL(getppid_, sys_getppid())
GUEST_CALL(set_tid_, sys_set_tid_address((int __user *)a[0]))
GUEST_CALL(clone_, sys_clone(a[0], a[1], (int __user *)a[2], (int __user *)a[3], a[4]))
GUEST_CALL(kill_, sys_kill((pid_t)a[0], (int)a[1]))
GUEST_CALL(tkill_, sys_tkill((pid_t)a[0], (int)a[1]))
GUEST_CALL(tgkill_, sys_tgkill((pid_t)a[0], (pid_t)a[1], (int)a[2]))
GUEST_CALL(setsid_, sys_setsid())

#define PID(task) ((unsigned long)(task)->pid)

static void numbers_tell_threads_from_processes(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct task_struct *thread = new_thread(child), *grandchild = fork_flags(thread, 0);

	(void)state;
	assert_int_equal(as_guest(init, getppid_), 0);
	assert_int_equal(as_guest(thread, getpid_), child->pid);
	assert_int_equal(as_guest(thread, gettid_), thread->pid);
	assert_int_not_equal(thread->pid, child->pid);
	assert_int_equal(as_guest(thread, getppid_), init->pid);
	assert_int_equal(as_guest(grandchild, getppid_), child->pid);
	assert_int_equal(as_guest(thread, set_tid_, 64), thread->pid);
	assert_ptr_equal(thread->clear_child_tid, 64);
	exit_task(grandchild, 0);
	reap(child, grandchild);
	exit_task(child, 0);
	put_task_struct(thread);
	reap(init, child);
	end_init(init);
}

/* The low byte is the signal; the number goes to two places. */
static void the_old_clone_takes_its_signal_from_the_flags(void **state)
{
	struct task_struct *init = start_init(), *child;
	unsigned long addr = map_anon(init, PAGE_SIZE);
	long pid = as_guest(init, clone_, SIGUSR1 | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, 0x5000,
			    addr, addr + 4, 0);

	(void)state;
	child = find_get_task_by_vpid((pid_t)pid);
	assert_int_equal(child->exit_signal, SIGUSR1);
	assert_int_equal(child->thread.stack, 0x5000);
	assert_int_equal(read_byte(init, addr), pid);
	assert_int_equal(read_byte(init, addr + 4), 0);
	assert_int_equal(read_byte(child, addr + 4), pid);
	exit_task(child, 0);
	put_task_struct(child);
	assert_int_equal(wait_for(init, (pid_t)pid, __WCLONE, NULL), pid);
	end_init(init);
}

static struct kernel_clone_args bad3[] = {
	{ .flags = 1ULL << 40 },
	{ .flags = CLONE_DETACHED },
	{ .flags = SIGCHLD },
	{ .flags = CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND },
	{ .flags = CLONE_PARENT, .exit_signal = SIGCHLD },
	{ .flags = CLONE_PTHREAD, .exit_signal = SIGCHLD },
	{ .exit_signal = 65 },
	{ .exit_signal = -1 },
	{ .stack = 0x1000 },
	{ .stack_size = 0x1000 },
	{ .stack = 1UL << 47, .stack_size = 0x1000 },
};

static long clone3_entry(void *arg)
{
	return sys_clone3(arg);
}

static void clone3_refuses_what_linux_refuses(void **state)
{
	struct task_struct *init = start_init();
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(bad3) / sizeof(bad3[0]); i++)
		assert_int_equal(as_task(init, clone3_entry, &bad3[i]), -EINVAL);
	assert_int_equal(as_task(init, clone3_entry,
				 &(struct kernel_clone_args){ .flags = CLONE_NEWTIME }), -ENOSYS);
	end_init(init);
}

static void kill_chooses_by_number(void **state)
{
	struct task_struct *init = start_init(), *shell = fork_flags(init, 0);
	struct task_struct *a, *b;

	(void)state;
	as_guest(shell, setsid_);
	a = fork_flags(shell, 0);
	b = fork_flags(shell, 0);
	assert_int_equal(as_guest(shell, kill_, 99, SIGTERM), -ESRCH);
	assert_int_equal(as_guest(shell, kill_, PID(a), 65), -EINVAL);
	assert_int_equal(as_guest(shell, kill_, (unsigned long)INT_MIN, 0), -ESRCH);
	assert_int_equal(as_guest(shell, kill_, -99UL, 0), -ESRCH);
	assert_int_equal(as_guest(shell, kill_, PID(a), 0), 0);
	assert_int_equal(as_guest(shell, kill_, PID(a), SIGTERM), 0);
	assert_int_equal(reap(shell, a), SIGTERM);
	assert_int_equal(as_guest(shell, kill_, PID(init), SIGKILL), 0);	/* init is spared */
	assert_false(task_is_dead(init));
	assert_int_equal(as_guest(shell, kill_, -1UL, SIGINT), 0);
	assert_int_equal(reap(shell, b), SIGINT);
	assert_int_equal(as_guest(shell, kill_, -1UL, SIGINT), -ESRCH);
	assert_int_equal(as_guest(shell, kill_, 0, SIGQUIT), SIGQUIT);	/* itself too: it died */
	assert_int_equal(reap(init, shell), SIGQUIT);
	end_init(init);
}

static void a_thread_is_killed_by_its_own_number(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct task_struct *thread = new_thread(child);

	(void)state;
	assert_int_equal(as_guest(init, tkill_, 0, 0), -EINVAL);
	assert_int_equal(as_guest(init, tgkill_, 0, PID(thread), 0), -EINVAL);
	assert_int_equal(as_guest(init, tgkill_, PID(init), PID(thread), 0), -ESRCH);
	assert_int_equal(as_guest(init, tgkill_, PID(child), PID(thread), 0), 0);
	assert_int_equal(as_guest(init, tkill_, PID(thread), 0), 0);
	assert_int_equal(as_guest(init, tkill_, 99, 0), -ESRCH);
	assert_int_equal(as_guest(init, tgkill_, PID(child), PID(thread), SIGKILL), 0);
	assert_true(task_is_dead(child) && task_is_dead(thread));	/* the process, not one */
	put_task_struct(thread);
	assert_int_equal(reap(init, child), SIGKILL);
	end_init(init);
}

static long exit_entry(void *arg)
{
	(void)arg;
	sys_exit(0x1ff);
}

static long exit_group_entry(void *arg)
{
	(void)arg;
	sys_exit_group(-1);
}

static void exit_codes_are_eight_bits(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct task_struct *thread = new_thread(child);

	(void)state;
	assert_int_equal(as_task(thread, exit_entry, NULL), 0xff00);
	assert_false(task_is_dead(child));
	assert_int_equal(as_task(child, exit_group_entry, NULL), 0xff00);
	put_task_struct(thread);
	assert_int_equal(reap(init, child), 0xff00);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(numbers_tell_threads_from_processes),
		KARC_TESTS(the_old_clone_takes_its_signal_from_the_flags),
		KARC_TESTS(clone3_refuses_what_linux_refuses),
		KARC_TESTS(kill_chooses_by_number),
		KARC_TESTS(a_thread_is_killed_by_its_own_number),
		KARC_TESTS(exit_codes_are_eight_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
