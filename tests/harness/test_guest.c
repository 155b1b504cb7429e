/* SPDX-License-Identifier: MIT */
/*
 * test_guest.c - a process driven from outside behaves as one that runs
 *
 * Method: each call once with its result and once refused; a guest that dies in a call; the leak
 * report of a guest that was forgotten.
 */
#include "../support/fixture.h"
#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct task_struct *guest_start(void)
{
	struct task_struct *guest = task_create_init("guest");

	assert_false(IS_ERR(guest));
	return guest;
}

static void guest_end(struct task_struct *guest)
{
	assert_int_equal(guest_exit(guest, 0), 0);
	put_task_struct(guest);
}

static void memory_is_mapped_written_and_read(void **state)
{
	struct task_struct *guest = guest_start();
	const char text[] = "seventeen letters";
	char back[sizeof(text)] = "";
	long addr = guest_mmap(guest, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	unsigned long at = (unsigned long)addr + PAGE_SIZE - 5;	/* across two pages */

	(void)state;
	assert_true(addr > 0);
	assert_int_equal(guest_write(guest, at, text, sizeof(text)), 0);
	assert_int_equal(guest_read(guest, at, back, sizeof(back)), 0);
	assert_string_equal(back, text);
	assert_int_equal(guest_write(guest, 16, text, 1), -EFAULT);
	assert_int_equal(guest->fault.signo, SIGSEGV);
	assert_int_equal(guest->fault.addr, 16);
	assert_int_equal(guest_mmap(guest, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1),
			 -EINVAL);
	assert_int_equal(guest_mmap(guest, 0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 3), -EBADF);
	guest_end(guest);
}

static void files_are_installed_and_mapped(void **state)
{
	struct task_struct *guest = guest_start();
	struct file *file = memfile_create("f", PAGE_SIZE, 0600, NULL, NULL);
	long addr;
	char byte = 1;

	(void)state;
	assert_int_equal(guest_install(guest, get_file(file)), 0);
	assert_int_equal(guest_install(guest, get_file(file)), 1);
	addr = guest_mmap(guest, 0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 1);
	assert_true(addr > 0);
	assert_int_equal(guest_read(guest, (unsigned long)addr, &byte, 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(file_count(file), 4);	/* two descriptors, the mapping, ours */
	guest_end(guest);
	assert_int_equal(file_count(file), 1);
	fput(file);
}

static void children_are_forked_and_reaped(void **state)
{
	struct task_struct *guest = guest_start(), *child;
	long pid = guest_fork(guest);
	int status;

	(void)state;
	child = find_get_task_by_vpid((pid_t)pid);
	assert_non_null(child);
	assert_int_equal(guest_exit(child, 0x107), 7 << 8);	/* the low byte */
	assert_int_equal(guest_wait(guest, -1, &status), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(guest_wait(guest, -1, NULL), -ECHILD);
	put_task_struct(child);
	guest_end(guest);
}

static long nth_install(void *arg)
{
	struct task_struct *guest = arg;
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);
	long fd;

	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = guest_install(guest, file);
	return fd < 0 ? fd : 0;
}

/* 64 descriptors fit into the first table; from there on installing allocates. */
static void refused_install_takes_the_file_too(void **state)
{
	struct task_struct *guest = guest_start();
	int i;

	(void)state;
	for (i = 0; i < 64; i++)
		assert_int_equal(nth_install(guest), 0);
	assert_true(fixture_fail_nth(.body = nth_install, .arg = guest) >= 2);
	guest_end(guest);
}

static void fail_now(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	BUG();
}

/* The parent's wait puts the child's last reference, and with it runs the callback. */
static void body_guest_dies_in_a_call(void)
{
	struct task_struct *guest = guest_start(), *parent, *child;
	long pid = guest_fork(guest), grandchild;
	struct arc_dtor dtor;

	parent = find_get_task_by_vpid((pid_t)pid);
	grandchild = guest_fork(parent);
	child = find_get_task_by_vpid((pid_t)grandchild);
	arc_on_drop(&child->arc, &dtor, fail_now, NULL);
	assert_int_equal(guest_exit(child, 1), 1 << 8);
	put_task_struct(child);
	assert_int_equal(guest_wait(parent, (pid_t)grandchild, NULL), -EFAULT);
	assert_int_equal(parent->exit_state, EXIT_ZOMBIE);
	assert_int_equal(guest_wait(guest, (pid_t)pid, NULL), pid);
	put_task_struct(parent);
	guest_end(guest);
}

static void a_guest_that_dies_in_a_call_answers_efault(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_guest_dies_in_a_call);

	(void)state;
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_bugs, 1);
}

static struct task_struct *left_behind;

static void body_forgets_a_guest(void)
{
	left_behind = guest_start();
	assert_true(guest_fork(left_behind) > 0);
}

static void forgotten_guest_turns_the_fixture_red(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_forgets_a_guest);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 task_struct"));
	assert_non_null(strstr(v.reason, "test_guest.c"));
	assert_non_null(strstr(v.reason, "guest_start"));
	assert_non_null(strstr(v.reason, "body_forgets_a_guest"));	/* who forked the other */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(memory_is_mapped_written_and_read),
		KARC_TESTS(files_are_installed_and_mapped),
		KARC_TESTS(children_are_forked_and_reaped),
		KARC_TESTS(refused_install_takes_the_file_too),
		cmocka_unit_test(a_guest_that_dies_in_a_call_answers_efault),
		cmocka_unit_test(forgotten_guest_turns_the_fixture_red),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
