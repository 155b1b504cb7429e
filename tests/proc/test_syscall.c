/* SPDX-License-Identifier: MIT */
/*
 * test_syscall.c - entry points answer what Linux's system calls answer
 *
 * Method: calls made as the first process. What the calls do is the tests of space and files; here
 * it is that they find the right mm and table, and the order of refusals.
 */
#include "guests.h"
#include <karc/base/math.h>
#include <karc/mm/cache/file.h>
#include <karc/proc/files.h>
#include <fcntl.h>

static long mmap_without_file(void *arg)
{
	(void)arg;
	return sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 9, 0);
}

/* A bad offset comes before a bad descriptor. */
static long mmap_unaligned(void *arg)
{
	(void)arg;
	return sys_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 9, 1);
}

static long getpid_entry(void *arg)
{
	(void)arg;
	return sys_getpid();
}

static void results_are_linux_errnos(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(as_task(init, mmap_without_file, NULL), -EBADF);
	assert_int_equal(as_task(init, mmap_unaligned, NULL), -EINVAL);
	assert_int_equal(as_task(init, getpid_entry, NULL), init->pid);
	end_init(init);
}

static long brk_and_protect(void *arg)
{
	long brk = sys_brk(0);

	(void)arg;
	assert_int_equal(sys_brk((unsigned long)brk + PAGE_SIZE), brk + (long)PAGE_SIZE);
	assert_int_equal(user_write((unsigned long)brk, "x", 1), 0);
	assert_int_equal(sys_mprotect((unsigned long)brk, PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(user_write((unsigned long)brk, "y", 1), -EFAULT);
	assert_int_equal(current->fault.code, SEGV_ACCERR);
	assert_int_equal(user_exec((unsigned long)brk), -EFAULT);
	assert_int_equal(current->fault.code, SEGV_ACCERR);
	assert_int_equal(sys_munmap((unsigned long)brk, PAGE_SIZE), 0);
	assert_int_equal(user_exec((unsigned long)brk), -EFAULT);
	assert_int_equal(current->fault.code, SEGV_MAPERR);
	return 0;
}

static void memory_calls_work_on_the_current_mm(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	init->mm->start_brk = init->mm->brk = 0x555555559000;	/* as execve would */
	assert_int_equal(as_task(init, brk_and_protect, NULL), 0);
	end_init(init);
}

static long dup_entry(void *arg)
{
	const int *a = arg;

	return sys_dup3(a[0], a[1], a[2]);
}

static long close_entry(void *arg)
{
	return sys_close(*(int *)arg);
}

static void dup3_and_close(void **state)
{
	struct task_struct *init = start_init();
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);
	int fd = fd_alloc_install(init->files, 0, get_file(file), false);
	int good[] = { fd, 9, O_CLOEXEC }, same[] = { fd, fd, 0 }, none[] = { 5, 6, 0 };
	int huge[] = { fd, 1 << 24, 0 }, nine = 9;

	(void)state;
	assert_int_equal(as_task(init, dup_entry, good), 9);
	assert_int_equal(as_task(init, dup_entry, same), -EINVAL);
	assert_int_equal(as_task(init, dup_entry, none), -EBADF);
	assert_int_equal(as_task(init, dup_entry, huge), -EBADF);
	assert_int_equal(file_count(file), 3);
	assert_int_equal(as_task(init, close_entry, &nine), 0);
	assert_int_equal(as_task(init, close_entry, &nine), -EBADF);
	fput(file);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(results_are_linux_errnos),
		KARC_TESTS(memory_calls_work_on_the_current_mm),
		KARC_TESTS(dup3_and_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
