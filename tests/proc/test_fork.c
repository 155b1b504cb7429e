/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - a child has what its parent had, and a failed fork leaves no trace
 *
 * Method: contents and counts before and after; the fail-nth loop over fork of a furnished parent.
 */
#include "guests.h"
#include <karc/base/compiler.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/overcommit.h>
#include <karc/proc/files.h>
#include <karc/proc/signal.h>
#include <karc/proc/sched.h>
#include <karc/refcount/ledger.h>
#include <stdio.h>
#include <string.h>

static void child_sees_parents_memory_and_not_its_later_writes(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, 4 * PAGE_SIZE);
	struct task_struct *child;

	(void)state;
	write_byte(init, addr, 'a');
	child = fork_flags(init, 0);
	write_byte(init, addr, 'b');
	assert_int_equal(read_byte(child, addr), 'a');
	write_byte(child, addr, 'c');
	assert_int_equal(read_byte(init, addr), 'b');
	assert_int_equal(read_byte(child, addr), 'c');
	exit_task(child, 0);
	put_task_struct(child);
	end_init(init);
}

static void clone_vm_shares_the_address_space(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, PAGE_SIZE);
	struct task_struct *child = fork_flags(init, CLONE_VM | CLONE_VFORK);

	(void)state;
	assert_ptr_equal(child->mm, init->mm);
	assert_int_equal(mm_users(init->mm), 2);
	write_byte(child, addr, 'x');
	assert_int_equal(read_byte(init, addr), 'x');
	exit_task(child, 0);
	put_task_struct(child);
	assert_int_equal(mm_users(init->mm), 1);
	assert_int_equal(read_byte(init, addr), 'x');
	end_init(init);
}

static void files_are_copied_or_shared(void **state)
{
	struct task_struct *init = start_init();
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);
	struct task_struct *copy, *shared;
	int fd;

	(void)state;
	fd = fd_alloc_install(init->files, 0, get_file(file), false);
	assert_int_equal(fd, 0);
	copy = fork_flags(init, 0);
	shared = fork_flags(init, CLONE_FILES);
	assert_ptr_not_equal(copy->files, init->files);
	assert_ptr_equal(shared->files, init->files);
	assert_int_equal(file_count(file), 3);	/* ours, init's, the copy's */
	assert_int_equal(close_fd_of(shared->files, 0), 0);
	assert_int_equal(files_count(init->files), 0);
	assert_int_equal(files_count(copy->files), 1);
	exit_task(copy, 0);
	exit_task(shared, 0);
	assert_int_equal(file_count(file), 1);
	fput(file);
	put_task_struct(copy);
	put_task_struct(shared);
	end_init(init);
}

static long clone_flags(struct task_struct *task, u64 flags)
{
	struct kernel_clone_args args = { .flags = flags, .exit_signal = SIGCHLD };

	return as_task(task, entry_clone, &args);
}

static void flags_that_make_no_sense_are_refused(void **state)
{
	struct kernel_clone_args odd_signal = { .exit_signal = 256 };
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(clone_flags(init, CLONE_THREAD), -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_SIGHAND), -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_THREAD | CLONE_VM), -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_NEWNS | CLONE_FS), -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_NEWUSER | CLONE_FS), -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_PIDFD | CLONE_DETACHED), -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND),
			 -EINVAL);
	assert_int_equal(clone_flags(init, CLONE_PARENT), -EINVAL);	/* init has no siblings */
	assert_int_equal(clone_flags(init, SIGCHLD), -EINVAL);	/* belongs in .exit_signal */
	assert_int_equal(as_task(init, entry_clone, &odd_signal), -EINVAL);
	end_init(init);
}

static void flags_that_are_not_built_say_so(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(clone_flags(init, CLONE_INTO_CGROUP), -ENOSYS);
	assert_int_equal(clone_flags(init, CLONE_NEWPID), -ENOSYS);
	assert_int_equal(clone_flags(init, CLONE_NEWNS), -ENOSYS);
	assert_int_equal(clone_flags(init, CLONE_NEWNET | CLONE_VM), -ENOSYS);
	assert_int_equal(clone_flags(init, 1ULL << 63), -ENOSYS);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 1);
	end_init(init);
}

/* What libc passes for fork(), vfork() and posix_spawn(). */
static void flags_of_libc_are_accepted(void **state)
{
	static const u64 flags[] = {
		CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
		CLONE_VM | CLONE_VFORK,
		CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND,
	};
	struct task_struct *init = start_init(), *child;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		child = fork_flags(init, flags[i]);
		exit_task(child, 0);
		reap(init, child);
	}
	end_init(init);
}

static void clone_parent_makes_a_sibling(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0), *sibling;

	(void)state;
	child->exit_signal = SIGUSR1;
	sibling = fork_flags(child, CLONE_PARENT);
	assert_ptr_equal(sibling->real_parent, init);
	assert_int_equal(sibling->exit_signal, SIGUSR1);
	exit_task(sibling, 0);
	assert_int_equal(wait_for(child, -1, __WALL | WNOHANG, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -1, __WCLONE, NULL), sibling->pid);
	put_task_struct(sibling);
	exit_task(child, 0);
	put_task_struct(child);
	end_init(init);
}

static void child_inherits_name_and_cpu(void **state)
{
	struct task_struct *init = start_init(), *child;
	unsigned int cpu = machine_nr_cpus(fixture_machine()) - 1;

	(void)state;
	set_task_comm(init, "a name of more than fifteen bytes");
	assert_string_equal(init->comm, "a name of more ");
	assert_int_equal(migrate_task_to(init, cpu), 0);
	child = fork_flags(init, 0);
	assert_string_equal(child->comm, init->comm);
	assert_int_equal(child->cpu, cpu);
	assert_ptr_equal(child->real_parent, init);
	assert_ptr_equal(child->group_leader, child);
	assert_int_equal(child->tgid, child->pid);
	assert_int_equal(arc_count(&child->arc), 3);	/* by pid, on a CPU, ours */
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static void wanted_pid_is_given_once(void **state)
{
	struct task_struct *init = start_init();
	struct kernel_clone_args args = { .exit_signal = SIGCHLD, .want_pid = 4242 };
	struct task_struct *child;

	(void)state;
	assert_int_equal(as_task(init, entry_clone, &args), 4242);
	assert_int_equal(as_task(init, entry_clone, &args), -EEXIST);
	child = find_get_task_by_vpid(4242);
	exit_task(child, 0);
	assert_int_equal(as_task(init, entry_clone, &args), -EEXIST);	/* a zombie has it still */
	assert_int_equal(wait_for(init, 4242, 0, NULL), 4242);
	assert_int_equal(as_task(init, entry_clone, &args), 4242);	/* held by us, and free */
	put_task_struct(child);
	child = find_get_task_by_vpid(4242);
	exit_task(child, 0);
	put_task_struct(child);
	args.want_pid = -1;
	assert_int_equal(as_task(init, entry_clone, &args), -EINVAL);
	end_init(init);
}

static void a_thread_is_part_of_its_process(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0);
	struct task_struct *a = new_thread(task), *b = new_thread(a);

	(void)state;
	assert_int_equal(a->tgid, task->pid);
	assert_ptr_equal(b->group_leader, task);
	assert_ptr_equal(b->real_parent, init);
	assert_ptr_equal(a->signal, task->signal);
	assert_ptr_equal(a->sighand, task->sighand);
	assert_ptr_equal(a->mm, task->mm);
	assert_ptr_equal(a->files, task->files);
	assert_ptr_equal(a->fs, task->fs);
	assert_int_equal(a->exit_signal, -1);
	assert_false(thread_group_leader(a));
	assert_int_equal(task->signal->nr_threads, 3);
	assert_int_equal(mm_users(task->mm), 3);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 4);
	exit_thread(a, 9);
	assert_int_equal(a->exit_state, EXIT_DEAD);	/* nobody reaps a thread */
	assert_int_equal(task->signal->nr_threads, 2);
	assert_null(find_get_task_by_vpid(a->pid));
	put_task_struct(a);
	exit_task(b, 1);
	put_task_struct(b);
	assert_int_equal(reap(init, task), 1 << 8);
	end_init(init);
}

GUEST_CALL(vfork_, sys_vfork())

struct vforker {
	struct task_struct *task;
	long pid;
	bool back;
};

static long run_vforker(void *arg)
{
	struct vforker *v = arg;
	struct machine_result r = task_call(v->task, vfork_, NULL);

	v->pid = r.value;
	smp_store_release(&v->back, true);
	return 0;
}

static struct task_struct *first_child(struct task_struct *task)
{
	struct task_struct *child = NULL;
	pid_t pid;

	for (pid = 1; pid < 100 && !child; pid++) {
		child = find_get_task_by_vpid(pid);
		if (!child || child->real_parent == task)
			continue;
		put_task_struct(child);
		child = NULL;
	}
	return child;
}

static void vfork_returns_when_the_child_is_done(void **state)
{
	unsigned int cpu = machine_nr_cpus(fixture_machine()) - 1;
	struct task_struct *init = start_init(), *task = fork_flags(init, 0), *child;
	struct vforker v = { .task = task };
	struct fiber *fiber;
	int round;

	(void)state;
	for (round = 0; round < 2; round++) {
		v.back = false;
		migrate_task_to(task, cpu);
		fiber = fiber_spawn(0, "vfork", run_vforker, &v);
		while (!(child = first_child(task)))
			fiber_yield();
		assert_ptr_equal(child->mm, task->mm);
		assert_true(vfork_pending(child));
		assert_false(smp_load_acquire(&v.back));
		if (!round) {
			exit_task(child, 0);
		} else {		/* the kill ends the wait, and the child goes on */
			assert_int_equal(kill_task(task, SIGKILL), 0);
		}
		join_all(&fiber, 1);
		if (round) {
			assert_true(vfork_pending(child));
			exit_task(child, 0);
			assert_int_equal(reap(init, child), 0);
			continue;
		}
		assert_int_equal(v.pid, child->pid);
		assert_false(vfork_pending(child));
		reap(task, child);
	}
	reap(init, task);
	end_init(init);
}

GUEST_CALL(unshare_, ksys_unshare(a[0]))

static void unshare_takes_apart_what_it_can(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0), *thread;

	(void)state;
	assert_int_equal(as_guest(task, unshare_, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND), 0);
	thread = new_thread(task);
	assert_int_equal(as_guest(task, unshare_, CLONE_THREAD), -EINVAL);
	assert_int_equal(as_guest(task, unshare_, CLONE_SIGHAND), -EINVAL);
	assert_int_equal(as_guest(task, unshare_, CLONE_VM), -EINVAL);
	assert_int_equal(as_guest(task, unshare_, CLONE_PARENT), -EINVAL);
	assert_int_equal(as_guest(task, unshare_, CLONE_NEWNS), -ENOSYS);
	assert_int_equal(as_guest(task, unshare_, CLONE_SYSVSEM), 0);
	assert_int_equal(as_guest(thread, unshare_, CLONE_FILES), 0);
	assert_ptr_not_equal(thread->files, task->files);
	assert_ptr_equal(thread->fs, task->fs);
	exit_task(thread, 0);
	put_task_struct(thread);
	reap(init, task);
	end_init(init);
}

static void unbuilt_flags_have_names(void **state)
{
	(void)state;
	assert_string_equal(clone_flag_unbuilt(CLONE_VM | CLONE_NEWUSER), "CLONE_NEWUSER");
	assert_string_equal(clone_flag_unbuilt(CLONE_NEWTIME), "CLONE_NEWTIME");
	assert_null(clone_flag_unbuilt(CLONE_PTHREAD | CLONE_PIDFD));
}

struct nth {
	struct task_struct *init;
	u64 flags;
	unsigned long user;		/* where numbers are written */
	struct task_struct *child;
};

static long nth_fork(void *arg)
{
	struct nth *n = arg;
	struct guest_clone g = { .args = {
		.flags = n->flags, .exit_signal = SIGCHLD, .pidfd = (int __user *)n->user,
		.parent_tid = (int __user *)(n->user + 4), .child_tid = (int __user *)(n->user + 8),
	} };
	long err = as_task(n->init, entry_copy, &g);

	n->child = err ? NULL : g.child;
	return err;
}

static void nth_undo(void *arg)
{
	struct nth *n = arg;
	pid_t pid = n->child->pid;

	if (n->flags & CLONE_THREAD)
		exit_thread(n->child, 0);
	else
		exit_task(n->child, 0);
	put_task_struct(n->child);
	if (!(n->flags & CLONE_THREAD))
		assert_int_equal(wait_for(n->init, pid, 0, NULL), pid);
	if (n->flags & CLONE_PIDFD)
		assert_int_equal(close_fd_of(n->init->files, 0), 0);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;
	struct machine *m = fixture_machine();

	machine_quiesce(m);
	values[0] = phys_nr_free(m);
	values[1] = ledger_live_total(m);
	values[2] = vm_memory_committed();
	values[3] = machine_nr_tasks(m);
	values[4] = mm_users(n->init->mm);
	values[5] = mm_count(n->init->mm);
}

static void failed_fork_leaves_no_trace(void **state)
{
	struct nth n = { .init = start_init() };
	unsigned long addr, i;

	(void)state;
	addr = map_anon(n.init, 8 * PAGE_SIZE);
	for (i = 0; i < 8; i++)
		write_byte(n.init, addr + i * PAGE_SIZE, (char)i);
	map_anon(n.init, 1UL << 22);
	assert_true(fixture_fail_nth(.body = nth_fork, .undo = nth_undo,
				     .snapshot = nth_snapshot, .arg = &n) >= 6);
	for (i = 0; i < 8; i++)
		assert_int_equal(read_byte(n.init, addr + i * PAGE_SIZE), i);
	end_init(n.init);
}

/* Every mixture of what can be shared and asked for. */
static void failed_clone_leaves_no_trace_whatever_its_flags(void **state)
{
	static const u64 bits[] = { CLONE_FS, CLONE_FILES, CLONE_VM, CLONE_SIGHAND, CLONE_THREAD,
				    CLONE_PIDFD, CLONE_VFORK | CLONE_CHILD_CLEARTID |
				    CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | CLONE_SETTLS };
	struct nth n = { .init = start_init() };
	unsigned int mix, i;
	long refused = 0;

	(void)state;
	n.user = map_anon(n.init, PAGE_SIZE);
	write_byte(n.init, n.user, 1);
	for (mix = 0; mix < 1u << ARRAY_SIZE(bits); mix++) {
		for (n.flags = 0, i = 0; i < ARRAY_SIZE(bits); i++)
			n.flags |= mix >> i & 1 ? bits[i] : 0;
		if (nth_fork(&n) == -EINVAL) {
			refused++;
			continue;
		}
		nth_undo(&n);
		assert_true(fixture_fail_nth(.body = nth_fork, .undo = nth_undo,
					     .snapshot = nth_snapshot, .arg = &n) >= 2);
	}
	/* of thread, handlers, memory: 4 of 8 make sense; and no pidfd for a thread */
	assert_int_equal(refused, 128 - 16 * 4 + 8);
	end_init(n.init);
}

static void three_generations_write(void **state)
{
	struct task_struct *gen[4] = { start_init() };
	unsigned long addr = map_anon(gen[0], 8 * PAGE_SIZE);
	unsigned int g, i;

	(void)state;
	for (g = 0; g < 4; g++) {
		if (g)
			gen[g] = fork_flags(gen[g - 1], 0);
		for (i = g; i < 8; i++)
			write_byte(gen[g], addr + i * PAGE_SIZE, (char)(10 * g + i));
	}
	for (g = 0; g < 4; g++)
		for (i = 0; i < 8; i++)
			assert_int_equal(read_byte(gen[g], addr + i * PAGE_SIZE),
					 10 * (i < g ? i : g) + i);
	for (g = 3; g > 0; g--) {
		exit_task(gen[g], 0);
		put_task_struct(gen[g]);
	}
	end_init(gen[0]);
}

/* Two thirds of RAM, written by the parent; the child writes what there is room for. */
static void fork_with_most_of_memory_touched(void **state)
{
	struct machine *m = fixture_machine();
	struct task_struct *init = start_init();
	unsigned long nr = phys_nr_free(m) / 3 * 2, i, addr, before, after;
	struct task_struct *child;
	int round;

	(void)state;
	addr = map_anon(init, nr * PAGE_SIZE);
	for (i = 0; i < nr; i++)
		write_byte(init, addr + i * PAGE_SIZE, (char)i);
	machine_quiesce(m);
	before = phys_nr_free(m);
	for (round = 0; round < 3; round++) {
		child = fork_flags(init, 0);
		for (i = 0; i < nr / 4; i++)
			assert_int_equal(write_byte(child, addr + i * PAGE_SIZE, 1), 0);
		machine_quiesce(m);
		assert_in_range(before - phys_nr_free(m), nr / 4, nr / 4 + nr / 100 + 64);
		exit_task(child, 0);
		reap(init, child);
		machine_quiesce(m);
		after = phys_nr_free(m);
		assert_in_range(before - after + 16, 0, 32);	/* slabs and tables may differ */
		before = after;
	}
	for (i = 0; i < nr; i++)
		assert_int_equal(read_byte(init, addr + i * PAGE_SIZE), (char)i);
	end_init(init);
}

/* Once the child is gone the page is the parent's alone: written in place, not copied. */
static void page_is_reused_after_the_child_exits(void **state)
{
	struct task_struct *init = start_init(), *child;
	unsigned long addr = map_anon(init, PAGE_SIZE);
	atomic64_t *copies, *reuses;

	(void)state;
	copies = &init->mm->nr_faults[FAULT_COW_COPY];
	reuses = &init->mm->nr_faults[FAULT_COW_REUSE];
	write_byte(init, addr, 1);
	child = fork_flags(init, 0);
	exit_task(child, 0);
	reap(init, child);
	write_byte(init, addr, 2);
	assert_int_equal(atomic64_read(copies), 0);
	assert_int_equal(atomic64_read(reuses), 1);
	child = fork_flags(init, 0);
	write_byte(init, addr, 3);
	assert_int_equal(atomic64_read(copies), 1);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static struct task_struct *left_behind;

enum { LEAK_LINE = __LINE__ + 8 };

static long entry_copy_and_forget(void *arg)
{
	const struct kernel_clone_args args = { .exit_signal = SIGCHLD };

	(void)arg;
	left_behind = copy_process(&args);
	return 0;
}

static void body_forgets_a_child(void)
{
	struct task_struct *init = start_init();

	as_task(init, entry_copy_and_forget, NULL);
	exit_task(left_behind, 0);
	end_init(init);
}

static void forgotten_child_is_named_with_who_forked_it(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_forgets_a_child);
	char site[64];

	(void)state;
	snprintf(site, sizeof(site), "test_fork.c:%d entry_copy_and_forget", LEAK_LINE - 1);
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 task_struct"));
	assert_non_null(strstr(v.reason, site));
}

static const struct machine_config small = { .mem_bytes = 8 << 20 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(child_sees_parents_memory_and_not_its_later_writes),
		KARC_TESTS(clone_vm_shares_the_address_space),
		KARC_TESTS(files_are_copied_or_shared),
		KARC_TESTS(flags_that_make_no_sense_are_refused),
		KARC_TESTS(flags_that_are_not_built_say_so),
		KARC_TESTS(flags_of_libc_are_accepted),
		KARC_TESTS(clone_parent_makes_a_sibling),
		KARC_TESTS(child_inherits_name_and_cpu),
		KARC_TESTS(wanted_pid_is_given_once),
		KARC_TESTS(failed_fork_leaves_no_trace),
		KARC_TESTS(failed_clone_leaves_no_trace_whatever_its_flags),
		KARC_TESTS(a_thread_is_part_of_its_process),
		KARC_TESTS(vfork_returns_when_the_child_is_done),
		KARC_TESTS(unshare_takes_apart_what_it_can),
		cmocka_unit_test(unbuilt_flags_have_names),
		KARC_TESTS(three_generations_write),
		karc_unit_test_config(fork_with_most_of_memory_touched, 1, &small),
		karc_unit_test_config(fork_with_most_of_memory_touched, 4, &small),
		KARC_TESTS(page_is_reused_after_the_child_exits),
		cmocka_unit_test(forgotten_child_is_named_with_who_forked_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
