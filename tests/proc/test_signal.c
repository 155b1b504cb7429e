/* SPDX-License-Identifier: MIT */
/*
 * test_signal.c - which fault delivers what, and how a death by signal looks to the parent
 *
 * Method: bad accesses of each kind through the simulated MMU, compared with what Linux on x86-64
 * puts into siginfo; then the default action.
 */
#include "guests.h"
#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/files.h>
#include <karc/proc/signal.h>

static void assert_fault(const struct task_struct *task, int signo, int code, unsigned long addr)
{
	assert_int_equal(task->fault.signo, signo);
	assert_int_equal(task->fault.code, code);
	assert_int_equal(task->fault.addr, addr);
}

static void an_address_without_mapping_is_maperr(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);

	(void)state;
	assert_int_equal(write_byte(init, addr - PAGE_SIZE, 1), -EFAULT);
	assert_fault(init, SIGSEGV, SEGV_MAPERR, addr - PAGE_SIZE);
	assert_int_equal(write_byte(init, 8, 1), -EFAULT);
	assert_fault(init, SIGSEGV, SEGV_MAPERR, 8);
	end_init(init);
}

static long map_read_only(void *arg)
{
	(void)arg;
	return sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void a_forbidden_access_is_accerr(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = (unsigned long)as_task(init, map_read_only, NULL);

	(void)state;
	assert_int_equal(read_byte(init, addr), 0);
	assert_int_equal(write_byte(init, addr + 5, 1), -EFAULT);
	assert_fault(init, SIGSEGV, SEGV_ACCERR, addr + 5);
	end_init(init);
}

static long map_file(void *arg)
{
	return sys_mmap(0, 2 * PAGE_SIZE, PROT_READ, MAP_PRIVATE, *(int *)arg, 0);
}

static long read_far(void *arg)
{
	char byte;

	return user_read(*(unsigned long *)arg, &byte, 1);
}

static void behind_the_end_of_a_file_is_a_bus_error(void **state)
{
	struct task_struct *init = start_init();
	struct file *file = memfile_create("f", 10, 0600, NULL, NULL);
	int fd = fd_alloc_install(init->files, 0, file, false);
	unsigned long addr = (unsigned long)as_task(init, map_file, &fd), far = addr + PAGE_SIZE;

	(void)state;
	assert_int_equal(read_byte(init, addr + 100), 0);	/* the rest of the last page */
	assert_int_equal(as_task(init, read_far, &far), -EFAULT);
	assert_fault(init, SIGBUS, BUS_ADRERR, far);
	end_init(init);
}

/* No page fault at all: the processor names no address. */
static void an_impossible_address_is_a_protection_fault(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(write_byte(init, 1UL << 47, 1), -EFAULT);
	assert_fault(init, SIGSEGV, SI_KERNEL, 0);
	assert_int_equal(write_byte(init, ~0UL << 47, 1), -EFAULT);	/* the kernel's half */
	assert_int_equal(init->fault.signo, SIGSEGV);
	assert_int_equal(init->fault.code, SEGV_MAPERR);
	end_init(init);
}

static long fault_and_die(void *arg)
{
	(void)arg;
	if (!user_write(16, "x", 1))
		return 0;
	do_group_exit(current->fault.signo);
}

static void death_by_signal_is_the_parents_status(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	int status;

	(void)state;
	assert_int_equal(as_task(child, fault_and_die, NULL), SIGSEGV);
	assert_true(child->flags & PF_SIGNALED);
	assert_true(child->signal->group_exit);
	assert_int_equal(child->signal->group_exit_code, SIGSEGV);
	status = reap(init, child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	child = fork_flags(init, 0);
	exit_task(child, 9);
	assert_false(child->flags & PF_SIGNALED);
	status = reap(init, child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 9);
	end_init(init);
}

static void each_process_has_its_own(void **state)
{
	struct signal_struct *alone = signal_alloc();
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);

	(void)state;
	assert_ptr_not_equal(child->signal, init->signal);
	assert_int_equal(arc_count(&alone->arc), 1);
	put_signal_struct(alone);
	put_signal_struct(NULL);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

GUEST_CALL(action_, do_sigaction((int)a[0], &(struct signal_action){ a[1], 0 }, NULL))
GUEST_CALL(kill_self, kill_task(current, (int)a[0]))
GUEST_CALL(pending_, signal_pending(current) + 2 * fatal_signal_pending(current))

/* Nobody drives it: the killer runs its end. */
static void a_kill_ends_a_process_in_user_mode(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct task_struct *thread = new_thread(child);
	struct machine_result r;

	(void)state;
	write_byte(child, map_anon(child, PAGE_SIZE), 1);
	assert_int_equal(kill_task(thread, SIGTERM), 0);
	assert_true(task_is_dead(child) && task_is_dead(thread));
	assert_null(child->mm);
	assert_int_equal(kill_task(child, SIGKILL), 0);		/* a zombie: nothing happens */
	assert_int_equal(kill_task(thread, 0), -ESRCH);		/* released */
	r = task_call(child, pending_, NULL);
	assert_int_equal(r.end, MACHINE_EXITED);
	assert_int_equal(r.value, SIGTERM);
	put_task_struct(thread);
	assert_int_equal(reap(init, child), SIGTERM);
	end_init(init);
}

static void a_task_that_kills_itself_ends_at_the_return(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct machine_result r;

	(void)state;
	r = task_call(child, kill_self, (unsigned long[]){ SIGINT });
	assert_int_equal(r.end, MACHINE_EXITED);
	assert_int_equal(r.value, SIGINT);
	assert_int_equal(reap(init, child), SIGINT);
	end_init(init);
}

/* It has told its code already, whatever comes later. */
static void a_kill_does_not_change_a_zombie(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);

	(void)state;
	exit_thread(child, 3);
	assert_int_equal(kill_task(child, SIGKILL), 0);
	assert_int_equal(reap(init, child), 3 << 8);
	end_init(init);
}

static void defaults_and_handlers_decide(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct signal_action old;

	(void)state;
	assert_int_equal(kill_task(child, SIGCHLD), 0);		/* ignored by default */
	assert_int_equal(kill_task(child, SIGWINCH), 0);
	assert_int_equal(kill_task(child, SIGSTOP), -ENOSYS);
	assert_int_equal(kill_task(child, 65), -EINVAL);
	assert_int_equal(kill_task(child, -1), -EINVAL);
	assert_int_equal(as_guest(child, action_, SIGTERM, 1), 0);	/* SIG_IGN */
	assert_int_equal(as_guest(child, action_, SIGUSR1, 0x1000), 0);
	assert_int_equal(as_guest(child, action_, SIGTSTP, 0x1000), 0);
	assert_int_equal(as_guest(child, action_, SIGKILL, 1), -EINVAL);
	assert_int_equal(as_guest(child, action_, SIGSTOP, 1), -EINVAL);
	assert_int_equal(as_guest(child, action_, 0, 1), -EINVAL);
	assert_int_equal(as_guest(child, action_, 65, 1), -EINVAL);
	assert_int_equal(kill_task(child, SIGTERM), 0);
	assert_int_equal(kill_task(child, SIGTSTP), 0);
	assert_int_equal(kill_task(child, SIGUSR1), 0);
	assert_true(signal_pending(child));
	assert_int_equal(as_guest(child, pending_), 0);		/* the handler has run before */
	assert_int_equal(as_guest(child, kill_self, SIGUSR1), 0);
	assert_false(signal_pending(child));
	assert_int_equal(kill_thread(child, SIGUSR1), 0);
	assert_true(signal_pending(child));
	assert_int_equal(do_sigaction(SIGTERM, NULL, &old), -EINVAL);	/* idle has none */
	assert_int_equal(kill_task(child, SIGKILL), 0);
	assert_int_equal(reap(init, child), SIGKILL);
	end_init(init);
}

static void init_is_spared_at_its_defaults(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(kill_task(init, SIGKILL), 0);
	assert_int_equal(kill_task(init, SIGTERM), 0);
	assert_false(signal_pending(init));
	assert_int_equal(as_guest(init, action_, SIGTERM, 0x1000), 0);
	assert_int_equal(kill_task(init, SIGTERM), 0);
	assert_true(signal_pending(init));
	end_init(init);
}

struct sleeper {
	struct task_struct *task;
	struct machine_result result;
	bool begun;
};

static long wait_for_a_child(void *arg)
{
	struct sleeper *s = arg;

	WRITE_ONCE(s->begun, true);
	return kernel_wait4(-1, NULL, 0);
}

static long run_sleeper(void *arg)
{
	struct sleeper *s = arg;

	s->result = task_call(s->task, wait_for_a_child, s);
	return 0;
}

/* Sleeps in wait4 on another CPU for a child that does not end. */
static void a_signal_ends_a_sleep(void **state)
{
	unsigned int cpu = machine_nr_cpus(fixture_machine()) - 1;
	struct task_struct *init = start_init(), *parent = fork_flags(init, 0), *child;
	struct sleeper s = { .task = parent };
	struct fiber *fiber;
	int round;

	(void)state;
	child = fork_flags(parent, 0);
	migrate_task_to(parent, cpu);
	as_guest(parent, action_, SIGUSR1, 0x1000);
	for (round = 0; round < 2; round++) {
		s.begun = false;
		fiber = fiber_spawn(0, "sleeper", run_sleeper, &s);
		while (!READ_ONCE(s.begun))
			fiber_yield();
		assert_int_equal(kill_task(parent, round ? SIGKILL : SIGUSR1), 0);
		join_all(&fiber, 1);
		assert_int_equal(s.result.end, round ? MACHINE_EXITED : MACHINE_VALUE);
		assert_int_equal(s.result.value, round ? SIGKILL : -ERESTARTSYS);
	}
	assert_int_equal(reap(init, parent), SIGKILL);
	assert_ptr_equal(child->real_parent, init);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

/* Each asked to die with its parent: one kill ends them all, without one stack for each. */
static void a_chain_of_deaths_is_flat(void **state)
{
	enum { DEPTH = 300 };
	struct task_struct *init = start_init(), *task = fork_flags(init, 0), *next;
	struct task_struct *first = get_task_struct(task);
	int i;

	(void)state;
	for (i = 0; i < DEPTH; i++) {
		next = fork_flags(task, 0);
		next->pdeath_signal = SIGKILL;
		put_task_struct(task);
		task = next;
	}
	assert_int_equal(kill_task(first, SIGKILL), 0);
	assert_true(task_is_dead(task));
	put_task_struct(task);
	put_task_struct(first);
	for (i = 0; i <= DEPTH; i++)
		assert_true(wait_for(init, -1, WNOHANG, NULL) > 0);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 1);
	end_init(init);
}

static void handlers_are_shared_or_copied(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0);
	struct task_struct *shared, *copy, *clear;

	(void)state;
	as_guest(task, action_, SIGUSR1, 0x1000);
	as_guest(task, action_, SIGTERM, 1);
	copy = fork_flags(task, 0);
	shared = fork_flags(task, CLONE_VM | CLONE_SIGHAND);
	clear = fork_flags(task, CLONE_CLEAR_SIGHAND);
	assert_ptr_equal(shared->sighand, task->sighand);
	assert_ptr_not_equal(shared->signal, task->signal);
	assert_int_equal(task->sighand->users, 2);
	assert_int_equal(copy->sighand->action[SIGUSR1 - 1].handler, 0x1000);
	assert_int_equal(clear->sighand->action[SIGUSR1 - 1].handler, 0);
	assert_int_equal(clear->sighand->action[SIGTERM - 1].handler, 1);
	as_guest(shared, action_, SIGUSR1, 0);
	assert_int_equal(kill_task(task, SIGUSR1), 0);
	assert_true(task_is_dead(task));
	assert_false(task_is_dead(shared));
	exit_task(shared, 0);
	exit_task(copy, 0);
	exit_task(clear, 0);
	put_task_struct(shared);
	put_task_struct(copy);
	put_task_struct(clear);
	reap(init, task);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(an_address_without_mapping_is_maperr),
		KARC_TESTS(a_forbidden_access_is_accerr),
		KARC_TESTS(behind_the_end_of_a_file_is_a_bus_error),
		KARC_TESTS(an_impossible_address_is_a_protection_fault),
		KARC_TESTS(death_by_signal_is_the_parents_status),
		KARC_TESTS(each_process_has_its_own),
		KARC_TESTS(a_kill_ends_a_process_in_user_mode),
		KARC_TESTS(a_task_that_kills_itself_ends_at_the_return),
		KARC_TESTS(a_kill_does_not_change_a_zombie),
		KARC_TESTS(defaults_and_handlers_decide),
		KARC_TESTS(init_is_spared_at_its_defaults),
		KARC_TESTS(a_signal_ends_a_sleep),
		KARC_TESTS(a_chain_of_deaths_is_flat),
		KARC_TESTS(handlers_are_shared_or_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
