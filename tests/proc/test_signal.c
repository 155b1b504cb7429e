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

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(an_address_without_mapping_is_maperr),
		KARC_TESTS(a_forbidden_access_is_accerr),
		KARC_TESTS(behind_the_end_of_a_file_is_a_bus_error),
		KARC_TESTS(an_impossible_address_is_a_protection_fault),
		KARC_TESTS(death_by_signal_is_the_parents_status),
		KARC_TESTS(each_process_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
