/* SPDX-License-Identifier: MIT */
/*
 * test_group.c - process groups and sessions: who may go where, and what a name outlives
 *
 * Method: results of setpgid, setsid and their readers in the situations that Linux tells apart; a
 * number that a group still has; a group killed as a whole; a corrupted group.
 */
#include "guests.h"
#include <karc/base/list.h>
#include <karc/proc/group.h>
#include <karc/proc/signal.h>

GUEST_CALL(setsid_, ksys_setsid())
GUEST_CALL(setpgid_, ksys_setpgid((pid_t)a[0], (pid_t)a[1]))
GUEST_CALL(getpgid_, ksys_getpgid((pid_t)a[0]))
GUEST_CALL(getsid_, ksys_getsid((pid_t)a[0]))
GUEST_CALL(getpgrp_, sys_getpgrp())

#define PID(task) ((unsigned long)(task)->pid)

static struct task_struct *new_session(struct task_struct *init)
{
	struct task_struct *shell = fork_flags(init, 0);

	assert_int_equal(as_guest(shell, setsid_), shell->pid);
	return shell;
}

static void end_session(struct task_struct *init, struct task_struct *shell)
{
	exit_task(shell, 0);
	reap(init, shell);
	end_init(init);
}

static void the_first_process_has_neither(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);

	(void)state;
	assert_int_equal(as_guest(init, getpgid_, 0), 0);
	assert_int_equal(as_guest(init, getsid_, 0), 0);
	assert_int_equal(as_guest(child, getsid_, PID(init)), 0);
	assert_int_equal(as_guest(child, getsid_, 99), -ESRCH);
	assert_int_equal(as_guest(child, getpgid_, -1UL), -ESRCH);
	exit_task(child, 0);
	reap(init, child);
	assert_int_equal(as_guest(init, setsid_), init->pid);
	assert_int_equal(as_guest(init, setsid_), -EPERM);
	end_init(init);
}

static void children_inherit_group_and_session(void **state)
{
	struct task_struct *init = start_init(), *shell = new_session(init);
	struct task_struct *child = fork_flags(shell, 0), *thread = new_thread(child);

	(void)state;
	assert_int_equal(as_guest(child, getpgrp_), shell->pid);
	assert_int_equal(as_guest(child, getsid_, 0), shell->pid);
	assert_int_equal(as_guest(child, setsid_), child->pid);
	assert_int_equal(as_guest(thread, getsid_, 0), child->pid);
	assert_int_equal(as_guest(shell, getsid_, PID(child)), child->pid);
	assert_int_equal(task_pgrp_nr(child), child->pid);
	assert_int_equal(task_session_nr(shell), shell->pid);
	exit_task(child, 0);
	put_task_struct(thread);
	reap(shell, child);
	end_session(init, shell);
}

static void setpgid_refuses_what_linux_refuses(void **state)
{
	struct task_struct *init = start_init(), *shell = new_session(init);
	struct task_struct *job = fork_flags(shell, 0), *thread = new_thread(job);
	struct task_struct *away = fork_flags(shell, 0), *grandchild = fork_flags(job, 0);

	(void)state;
	assert_int_equal(as_guest(shell, setpgid_, 0, -1UL), -EINVAL);
	assert_int_equal(as_guest(shell, setpgid_, 99, 0), -ESRCH);
	assert_int_equal(as_guest(shell, setpgid_, PID(init), 0), -ESRCH);	/* not its child */
	assert_int_equal(as_guest(shell, setpgid_, PID(grandchild), 0), -ESRCH);
	assert_int_equal(as_guest(shell, setpgid_, PID(thread), 0), -EINVAL);
	assert_int_equal(as_guest(shell, setpgid_, 0, 0), -EPERM);	/* it leads a session */
	assert_int_equal(as_guest(shell, setpgid_, PID(job), PID(away)), -EPERM); /* no group */
	assert_int_equal(as_guest(shell, setpgid_, PID(job), 0), 0);
	assert_int_equal(as_guest(shell, setpgid_, PID(away), PID(job)), 0);
	assert_int_equal(as_guest(away, getpgrp_), job->pid);
	assert_int_equal(as_guest(away, setsid_), away->pid);
	assert_int_equal(as_guest(shell, setpgid_, PID(away), PID(job)), -EPERM); /* session */
	assert_int_equal(as_guest(job, setsid_), -EPERM);	/* leads a group */
	grandchild->flags &= ~(unsigned int)PF_FORKNOEXEC;	/* as after execve */
	assert_int_equal(as_guest(job, setpgid_, PID(grandchild), 0), -EACCES);
	assert_int_equal(as_guest(thread, setpgid_, 0, PID(shell)), 0);	/* means its process */
	assert_int_equal(as_guest(job, getpgrp_), shell->pid);
	exit_task(grandchild, 0);
	reap(job, grandchild);
	exit_task(job, 0);
	put_task_struct(thread);
	reap(shell, job);
	exit_task(away, 0);
	reap(shell, away);
	end_session(init, shell);
}

/* The group's first process is gone; the others are still in the group that has its number. */
static void a_group_keeps_its_number(void **state)
{
	struct task_struct *init = start_init(), *shell = new_session(init);
	struct task_struct *first = fork_flags(shell, 0), *second = fork_flags(shell, 0);
	struct kernel_clone_args again = { .exit_signal = SIGCHLD };
	pid_t group = first->pid;

	(void)state;
	as_guest(shell, setpgid_, PID(first), 0);
	as_guest(shell, setpgid_, PID(second), PID(first));
	exit_task(first, 0);
	reap(shell, first);
	again.want_pid = group;
	assert_int_equal(as_task(shell, entry_clone, &again), -EEXIST);
	assert_null(find_get_task_by_vpid(group));
	assert_int_equal(as_guest(shell, getpgid_, PID(second)), group);
	assert_int_equal(kill_pgrp(group, 0), 0);
	exit_task(second, 0);
	reap(shell, second);
	assert_int_equal(kill_pgrp(group, 0), -ESRCH);
	assert_int_equal(as_task(shell, entry_clone, &again), group);
	first = find_get_task_by_vpid(group);
	exit_task(first, 0);
	reap(shell, first);
	end_session(init, shell);
}

static void a_group_is_killed_as_a_whole(void **state)
{
	struct task_struct *init = start_init(), *shell = new_session(init);
	struct task_struct *job[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		job[i] = fork_flags(shell, 0);
		as_guest(shell, setpgid_, PID(job[i]), PID(job[0]));
	}
	assert_int_equal(kill_pgrp(job[0]->pid, SIGTERM), 0);
	for (i = 0; i < 4; i++) {
		assert_true(task_is_dead(job[i]));
		assert_int_equal(reap(shell, job[i]), SIGTERM);
	}
	assert_int_equal(kill_pgrp(77, SIGTERM), -ESRCH);
	assert_int_equal(kill_pgrp(shell->pid, 99), -EINVAL);
	end_session(init, shell);
}

static void a_corrupted_group_is_found(void **state)
{
	struct task_struct *init = start_init(), *shell = new_session(init);
	struct task_struct *child = fork_flags(shell, 0);
	struct check_report report = { .quiet = true };

	(void)state;
	list_del_init(&child->signal->group_node[0]);
	proc_room.check(fixture_machine(), &report);
	assert_true(report.nr_violations >= 2);		/* the list, and the uses of the number */
	list_add_tail(&child->signal->group_node[0], &child->signal->pgrp->groups[0]);
	exit_task(child, 0);
	reap(shell, child);
	end_session(init, shell);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(the_first_process_has_neither),
		KARC_TESTS(children_inherit_group_and_session),
		KARC_TESTS(setpgid_refuses_what_linux_refuses),
		KARC_TESTS(a_group_keeps_its_number),
		KARC_TESTS(a_group_is_killed_as_a_whole),
		KARC_TESTS(a_corrupted_group_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
