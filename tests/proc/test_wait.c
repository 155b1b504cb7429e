/* SPDX-License-Identifier: MIT */
/*
 * test_wait.c - reaping: who finds whom, and waiting for a child that is still alive
 *
 * Method: results and statuses of wait4 for children in each state; parents that sleep in it on one
 * CPU while children die on others.
 */
#include "guests.h"
#include <karc/proc/group.h>
#include <karc/proc/signal.h>
#include <limits.h>

GUEST_CALL(do_setsid, ksys_setsid())
GUEST_CALL(do_setpgid, ksys_setpgid((pid_t)a[0], (pid_t)a[1]))
GUEST_CALL(do_action, do_sigaction((int)a[0], &(struct signal_action){ a[1], a[2] }, NULL))

static void wait_without_children_is_echild(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(wait_for(init, -1, 0, NULL), -ECHILD);
	assert_int_equal(wait_for(init, 77, WNOHANG, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -1, 0x40000, NULL), -EINVAL);
	assert_int_equal(wait_for(init, 0, 0, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -7, 0, NULL), -ECHILD);
	assert_int_equal(wait_for(init, INT_MIN, 0, NULL), -ESRCH);
	assert_int_equal(kernel_wait4(-1, NULL, 0), -ECHILD);	/* idle's reap themselves */
	end_init(init);
}

static void children_of_another_signal_want_wclone(void **state)
{
	struct task_struct *init = start_init();
	struct kernel_clone_args args = { .exit_signal = SIGUSR1 };
	pid_t pid = (pid_t)as_task(init, entry_clone, &args);
	struct task_struct *odd = find_get_task_by_vpid(pid);
	struct task_struct *plain = fork_flags(init, 0);

	(void)state;
	exit_task(odd, 1);
	assert_int_equal(odd->exit_state, EXIT_ZOMBIE);
	assert_int_equal(wait_for(init, -1, WNOHANG, NULL), 0);		/* plain is alive */
	assert_int_equal(wait_for(init, pid, WNOHANG, NULL), -ECHILD);
	exit_task(plain, 2);
	assert_int_equal(wait_for(init, plain->pid, __WCLONE, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -1, __WCLONE | __WNOTHREAD, NULL), pid);
	assert_int_equal(wait_for(init, -1, __WALL, NULL), plain->pid);
	put_task_struct(odd);
	put_task_struct(plain);
	end_init(init);
}

static void wnohang_does_not_wait(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);

	(void)state;
	assert_int_equal(wait_for(init, -1, WNOHANG, NULL), 0);
	exit_task(child, 3);
	assert_int_equal(wait_for(init, -1, WNOHANG, NULL), child->pid);
	put_task_struct(child);
	end_init(init);
}

static void groups_are_waited_for(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *shell = fork_flags(init, 0), *job, *other;

	(void)state;
	assert_int_equal(as_guest(shell, do_setsid), shell->pid);
	job = fork_flags(shell, 0);
	other = fork_flags(shell, 0);
	assert_int_equal(as_guest(shell, do_setpgid, (unsigned long)job->pid), 0);
	exit_task(job, 1);
	exit_task(other, 2);
	assert_int_equal(wait_for(shell, -shell->pid, 0, NULL), other->pid);
	assert_int_equal(wait_for(shell, 0, 0, NULL), -ECHILD);		/* none left in its own */
	assert_int_equal(wait_for(shell, -other->pid, 0, NULL), -ECHILD);	/* not a group */
	assert_int_equal(wait_for(shell, -job->pid, 0, NULL), job->pid);
	put_task_struct(job);
	put_task_struct(other);
	exit_task(shell, 0);
	reap(init, shell);
	end_init(init);
}

static struct waitid_info told;

GUEST_CALL(do_waitid, kernel_waitid((int)a[0], (pid_t)a[1], &told, (int)a[2]))
GUEST_CALL(open_pidfd, sys_pidfd_open((pid_t)a[0], 0))

static void waitid_tells_how_it_ended(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	unsigned long pid = (unsigned long)child->pid;
	long fd = as_guest(init, open_pidfd, pid);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PID, pid, WEXITED | WNOHANG), 0);
	assert_int_equal(told.pid, 0);			/* alive */
	exit_task(child, 7);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PIDFD, (unsigned long)fd,
				  WEXITED | WNOWAIT), 0);
	assert_int_equal(told.pid, pid);
	assert_int_equal(told.code, CLD_EXITED);
	assert_int_equal(told.status, 7);
	assert_int_equal(told.wait_status, 7 << 8);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_ALL, 0, WSTOPPED), -ECHILD);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_ALL, 0, WEXITED), 0);	/* still there */
	assert_int_equal(told.pid, pid);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_ALL, 0, WEXITED), -ECHILD);
	put_task_struct(child);
	child = fork_flags(init, 0);
	assert_int_equal(kill_task(child, SIGTERM), 0);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PGID, 0, WEXITED), -ECHILD);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PID, (unsigned long)child->pid,
				  WEXITED), 0);
	assert_int_equal(told.code, CLD_KILLED);
	assert_int_equal(told.status, SIGTERM);
	put_task_struct(child);
	end_init(init);
}

static void waitid_refuses_what_linux_refuses(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(as_guest(init, do_waitid, KARC_P_ALL, 0, 0), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_ALL, 0, WNOHANG), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_ALL, 0, WEXITED | 0x100), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, 4, 0, WEXITED), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PID, 0, WEXITED), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PGID, -1UL, WEXITED), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PIDFD, -1UL, WEXITED), -EINVAL);
	assert_int_equal(as_guest(init, do_waitid, KARC_P_PIDFD, 3, WEXITED), -EBADF);
	assert_int_equal(wait_for(init, -1, WNOWAIT, NULL), -EINVAL);
	assert_int_equal(wait_for(init, -1, WEXITED, NULL), -EINVAL);
	end_init(init);
}

/* Threads wait for each other's children, unless they ask for their own. */
static void threads_wait_for_each_others_children(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0);
	struct task_struct *thread = new_thread(task), *child = fork_flags(thread, 0);
	pid_t pid = child->pid;

	(void)state;
	exit_task(child, 0);
	put_task_struct(child);
	assert_int_equal(wait_for(task, -1, __WNOTHREAD, NULL), -ECHILD);
	assert_int_equal(wait_for(task, pid, 0, NULL), pid);
	child = fork_flags(thread, 0);
	exit_task(child, 0);
	assert_int_equal(wait_for(thread, -1, __WNOTHREAD, NULL), child->pid);
	put_task_struct(child);
	assert_int_equal(wait_for(task, thread->pid, __WALL, NULL), -ECHILD);	/* no child */
	exit_task(thread, 0);
	put_task_struct(thread);
	reap(init, task);
	end_init(init);
}

static void a_leader_is_reaped_after_its_threads(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0);
	struct task_struct *thread = new_thread(task);
	int status;

	(void)state;
	exit_thread(task, 3);
	assert_int_equal(task->exit_state, EXIT_ZOMBIE);
	assert_int_equal(wait_for(init, task->pid, WNOHANG, NULL), 0);
	exit_thread(thread, 5);
	assert_int_equal(wait_for(init, task->pid, 0, &status), task->pid);
	assert_int_equal(status, 3 << 8);		/* the leader's code is the process's */
	put_task_struct(thread);
	put_task_struct(task);
	end_init(init);
}

static void ignored_sigchld_leaves_no_zombie(void **state)
{
	struct task_struct *init = start_init(), *parent = fork_flags(init, 0), *child;
	static const unsigned long ways[][2] = { { 1, 0 }, { 0, SA_NOCLDWAIT } };
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(as_guest(parent, do_action, SIGCHLD, ways[i][0], ways[i][1]), 0);
		child = fork_flags(parent, 0);
		exit_task(child, 0);
		assert_int_equal(child->exit_state, EXIT_DEAD);
		assert_int_equal(wait_for(parent, -1, 0, NULL), -ECHILD);
		put_task_struct(child);
	}
	exit_task(parent, 0);
	reap(init, parent);
	end_init(init);
}

static void a_zombie_is_reaped_once_and_by_number(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *first = fork_flags(init, 0);
	struct task_struct *second = fork_flags(init, 0);
	int status;

	(void)state;
	exit_task(first, 1);
	exit_task(second, 2);
	assert_int_equal(wait_for(init, second->pid, 0, &status), second->pid);
	assert_int_equal(status, 2 << 8);
	assert_int_equal(wait_for(init, second->pid, 0, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -1, 0, &status), first->pid);
	assert_int_equal(status, 1 << 8);
	assert_null(find_get_task_by_vpid(first->pid));
	put_task_struct(first);
	put_task_struct(second);
	end_init(init);
}

static long wait_fiber(void *arg)
{
	return wait_for(arg, -1, 0, NULL);
}

static void waiting_parent_is_woken_by_the_death(void **state)
{
	unsigned int cpu = machine_nr_cpus(fixture_machine()) - 1;
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct machine_result r;
	struct fiber *waiter;
	int i;

	(void)state;
	assert_int_equal(migrate_task_to(init, cpu), 0);
	waiter = fiber_spawn(cpu, "waiter", wait_fiber, init);
	assert_non_null(waiter);
	for (i = 0; i < 20; i++)
		fiber_yield();		/* let it fall asleep in wait4 */
	exit_task(child, 0);
	fiber_join(waiter, &r);
	assert_int_equal(r.value, child->pid);
	put_task_struct(child);
	end_init(init);
}

static long exit_fiber(void *arg)
{
	exit_task(arg, 5);
	put_task_struct(arg);
	return 0;
}

static long reap_fiber(void *arg)
{
	int i, status;

	for (i = 0; i < 16; i++) {
		if (wait_for(arg, -1, 0, &status) <= 0 || status != 5 << 8)
			return -ECHILD;
	}
	return 0;
}

/* Deaths on every CPU, at once with the parent's wait: each is found, none twice. */
static void deaths_everywhere_are_all_reaped(void **state)
{
	unsigned int cpus = machine_nr_cpus(fixture_machine()), i;
	struct task_struct *init = start_init();
	struct fiber *fibers[17];

	(void)state;
	for (i = 0; i < 16; i++) {
		struct task_struct *child = fork_flags(init, 0);

		assert_int_equal(migrate_task_to(child, i % cpus), 0);
		fibers[i] = fiber_spawn(i % cpus, "death", exit_fiber, child);
	}
	fibers[16] = fiber_spawn(0, "reaper", reap_fiber, init);
	join_all(fibers, 17);
	assert_int_equal(wait_for(init, -1, 0, NULL), -ECHILD);
	end_init(init);
}

static const struct machine_config restless = { .switch_every = 1 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(wait_without_children_is_echild),
		KARC_TESTS(children_of_another_signal_want_wclone),
		KARC_TESTS(wnohang_does_not_wait),
		KARC_TESTS(groups_are_waited_for),
		KARC_TESTS(waitid_tells_how_it_ended),
		KARC_TESTS(waitid_refuses_what_linux_refuses),
		KARC_TESTS(threads_wait_for_each_others_children),
		KARC_TESTS(a_leader_is_reaped_after_its_threads),
		KARC_TESTS(ignored_sigchld_leaves_no_zombie),
		KARC_TESTS(a_zombie_is_reaped_once_and_by_number),
		KARC_TESTS(waiting_parent_is_woken_by_the_death),
		karc_unit_test_config(deaths_everywhere_are_all_reaped, 1, &restless),
		karc_unit_test_config(deaths_everywhere_are_all_reaped, 4, &restless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
