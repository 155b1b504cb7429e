/* SPDX-License-Identifier: MIT */
/*
 * test_wait.c - reaping: who finds whom, and waiting for a child that is still alive
 *
 * Method: results and statuses of wait4 for children in each state; parents that sleep in it on one
 * CPU while children die on others.
 */
#include "guests.h"
#include <limits.h>

static void wait_without_children_is_echild(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(wait_for(init, -1, 0, NULL), -ECHILD);
	assert_int_equal(wait_for(init, 77, WNOHANG, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -1, 0x40000, NULL), -EINVAL);
	assert_int_equal(wait_for(init, 0, 0, NULL), -ENOSYS);
	assert_int_equal(wait_for(init, -7, 0, NULL), -ENOSYS);
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
		KARC_TESTS(a_zombie_is_reaped_once_and_by_number),
		KARC_TESTS(waiting_parent_is_woken_by_the_death),
		karc_unit_test_config(deaths_everywhere_are_all_reaped, 1, &restless),
		karc_unit_test_config(deaths_everywhere_are_all_reaped, 4, &restless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
