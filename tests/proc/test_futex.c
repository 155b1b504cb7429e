/* SPDX-License-Identifier: MIT */
/*
 * test_futex.c - a wake is not lost, reaches who waits for the same word, and nobody else
 *
 * Method: waiters as threads on several CPUs; words private, in shared files seen at two addresses,
 * and at one address in two spaces; every refusal.
 */
#include "guests.h"
#include <karc/mm/cache/file.h>
#include <karc/proc/files.h>
#include <karc/proc/futex.h>
#include <karc/proc/signal.h>

#define WAIT	KARC_FUTEX_WAIT
#define WAKE	KARC_FUTEX_WAKE
#define PRIVATE	KARC_FUTEX_PRIVATE_FLAG

GUEST_CALL(futex_, do_futex((u32 __user *)a[0], (int)a[1], (u32)a[2], a[3], (u32)a[4]))
GUEST_CALL(map_fd, sys_mmap(0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)a[0], 0))

struct waiter {
	struct task_struct *task;
	unsigned long addr;
	int op;
	u32 bitset;
	u64 timeout_ns;
	long result;
	u32 val;
};

static long wait_entry(void *arg)
{
	struct waiter *w = arg;

	w->result = do_futex((u32 __user *)w->addr, w->op, w->val, w->timeout_ns, w->bitset);
	return 0;
}

static long run_waiter(void *arg)
{
	struct waiter *w = arg;

	task_call(w->task, wait_entry, w);
	return 0;
}

static struct fiber *start_waiter(struct waiter *w, unsigned int cpu)
{
	struct fiber *fiber = fiber_spawn(cpu % machine_nr_cpus(fixture_machine()), "waiter",
					  run_waiter, w);

	assert_non_null(fiber);
	return fiber;
}

/* Wakes until @nr were woken: they may not have gone to sleep yet. */
static void wake_all(struct task_struct *task, unsigned long addr, unsigned int op, long nr)
{
	while (nr > 0) {
		long woken = as_guest(task, futex_, addr, op, (unsigned long)nr, 0, 1);

		assert_in_range(woken, 0, nr);
		nr -= woken;
		fiber_yield();
	}
}

static void threads_wait_and_are_woken(void **state)
{
	struct task_struct *init = start_init();
	unsigned int cpus = machine_nr_cpus(fixture_machine());
	unsigned long addr = map_anon(init, PAGE_SIZE);
	struct waiter w[4];
	struct fiber *fibers[4];
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		w[i] = (struct waiter){ new_thread(init), addr, i & 1 ? WAIT : WAIT | PRIVATE, 0,
					KARC_FUTEX_FOREVER, -1, 0 };
		assert_int_equal(migrate_task_to(w[i].task, (unsigned int)i % cpus), 0);
		fibers[i] = start_waiter(&w[i], (unsigned int)i);
	}
	wake_all(init, addr, WAKE, 4);		/* anonymous memory: private or not is the same */
	join_all(fibers, 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(w[i].result, 0);
		exit_thread(w[i].task, 0);
		put_task_struct(w[i].task);
	}
	assert_int_equal(as_guest(init, futex_, addr, WAKE, 9), 0);
	end_init(init);
}

static void the_word_decides_whether_to_sleep(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);

	(void)state;
	assert_int_equal(as_guest(init, futex_, addr, WAIT, 1, KARC_FUTEX_FOREVER), -EAGAIN);
	assert_int_equal(as_guest(init, futex_, addr, WAIT, 0, 5000000), -ETIMEDOUT);
	assert_int_equal(as_guest(init, futex_, addr, WAIT | PRIVATE, 0, 1), -ETIMEDOUT);
	end_init(init);
}

static void refusals_are_linux_s(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);

	(void)state;
	assert_int_equal(as_guest(init, futex_, addr + 2, WAKE, 1), -EINVAL);
	assert_int_equal(as_guest(init, futex_, addr, KARC_FUTEX_WAKE_BITSET, 1, 0, 0), -EINVAL);
	assert_int_equal(as_guest(init, futex_, addr, 3, 1), -ENOSYS);
	assert_int_equal(as_guest(init, futex_, addr, WAKE | KARC_FUTEX_CLOCK_REALTIME, 1), -ENOSYS);
	assert_int_equal(as_guest(init, futex_, 0, WAIT, 0, 0), -EFAULT);
	assert_int_equal(as_guest(init, futex_, 0, WAIT | PRIVATE, 0, 0), -EFAULT);
	assert_int_equal(as_guest(init, futex_, 1UL << 47, WAKE, 0, 0), -EFAULT);
	assert_int_equal(do_futex((u32 __user *)addr, WAKE, 1, 0, 0), -EFAULT);	/* no space */
	end_init(init);
}

static void bits_choose_who_is_woken(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);
	struct waiter w = { new_thread(init), addr, KARC_FUTEX_WAIT_BITSET, 4, KARC_FUTEX_FOREVER,
			    -1, 0 };
	struct fiber *fiber = start_waiter(&w, 1);

	(void)state;
	assert_int_equal(as_guest(init, futex_, addr, KARC_FUTEX_WAKE_BITSET, 1, 0, 3), 0);
	while (!as_guest(init, futex_, addr, KARC_FUTEX_WAKE_BITSET, 1, 0, 6))
		fiber_yield();
	join_all(&fiber, 1);
	assert_int_equal(w.result, 0);
	exit_thread(w.task, 0);
	put_task_struct(w.task);
	end_init(init);
}

/* One file at two addresses in two processes is one futex; one private address in both is two. */
static void a_shared_word_is_known_by_its_file(void **state)
{
	struct task_struct *init = start_init(), *child;
	struct file *file = memfile_create("f", PAGE_SIZE, 0600, NULL, NULL);
	int fd = fd_alloc_install(init->files, 0, file, false);
	unsigned long private = map_anon(init, PAGE_SIZE), here, there;
	struct fiber *fiber;
	struct waiter w;

	(void)state;
	child = fork_flags(init, 0);
	map_anon(child, PAGE_SIZE);		/* so that it comes to lie elsewhere */
	here = (unsigned long)as_guest(init, map_fd, (unsigned long)fd);
	there = (unsigned long)as_guest(child, map_fd, (unsigned long)fd);
	assert_int_not_equal(here, there);
	w = (struct waiter){ child, there + 8, WAIT, 0, KARC_FUTEX_FOREVER, -1, 0 };
	fiber = start_waiter(&w, 1);
	assert_int_equal(as_guest(init, futex_, here + 12, WAKE, 1), 0);
	assert_int_equal(as_guest(init, futex_, here + 8, WAKE | PRIVATE, 1), 0);
	assert_int_equal(as_guest(init, futex_, private, WAKE, 1), 0);
	wake_all(init, here + 8, WAKE, 1);
	join_all(&fiber, 1);
	assert_int_equal(w.result, 0);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static void a_kill_ends_the_wait(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct waiter w = { child, map_anon(child, PAGE_SIZE), WAIT, 0, KARC_FUTEX_FOREVER, -1, 0 };
	struct fiber *fiber = start_waiter(&w, 1);

	(void)state;
	assert_int_equal(kill_task(child, SIGKILL), 0);
	join_all(&fiber, 1);
	assert_int_equal(reap(init, child), SIGKILL);
	end_init(init);
}

/* What pthread_join() does: the kernel clears the word and wakes when the thread is gone. */
static void the_end_of_a_thread_wakes_its_joiner(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);
	struct kernel_clone_args args = {
		.flags = CLONE_PTHREAD | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID |
			 CLONE_PARENT_SETTID,
		.child_tid = (int __user *)addr, .parent_tid = (int __user *)(addr + 8),
	};
	struct task_struct *thread = clone_args(init, &args), *joiner = new_thread(init);
	struct waiter w = { joiner, addr, WAIT, 0, KARC_FUTEX_FOREVER, -1, (u32)thread->pid };
	struct fiber *fiber;

	(void)state;
	assert_int_equal(read_byte(init, addr + 8), thread->pid);
	assert_int_equal(read_byte(init, addr), 0);
	assert_int_equal(read_byte(thread, addr), thread->pid);		/* its first run */
	fiber = start_waiter(&w, 1);
	fiber_yield();
	exit_thread(thread, 0);
	join_all(&fiber, 1);
	assert_in_set(w.result, ((const unsigned long long[]){ 0, (unsigned long long)-EAGAIN }), 2);
	assert_int_equal(read_byte(init, addr), 0);
	put_task_struct(thread);
	exit_thread(joiner, 0);
	put_task_struct(joiner);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(threads_wait_and_are_woken),
		KARC_TESTS(the_word_decides_whether_to_sleep),
		KARC_TESTS(refusals_are_linux_s),
		KARC_TESTS(bits_choose_who_is_woken),
		KARC_TESTS(a_shared_word_is_known_by_its_file),
		KARC_TESTS(a_kill_ends_the_wait),
		KARC_TESTS(the_end_of_a_thread_wakes_its_joiner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
