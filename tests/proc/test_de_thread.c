/* SPDX-License-Identifier: MIT */
/*
 * test_de_thread.c - execve by one thread of several: the others end, the pid stays
 *
 * Method: a tiny program executed by the leader and by another thread, with the others in user mode,
 * asleep in a call on another CPU, already dead, or executing too; counts before and after.
 */
#include "guests.h"
#include <karc/hw/inject.h>
#include <karc/mm/cache/file.h>
#include <karc/proc/exec.h>
#include <karc/proc/futex.h>
#include <karc/proc/group.h>
#include <karc/proc/signal.h>

static const struct exec_segment code = { 0, 0x400000, 0x1000, 0x1000, 0x1000, 5 };

struct world {
	struct task_struct *init, *leader, *thread[3];
	struct file *file;
	struct exec_elf elf;
	struct exec_image image;
};

static void world_make(struct world *w)
{
	int i;

	w->init = start_init();
	w->leader = fork_flags(w->init, 0);
	for (i = 0; i < 3; i++)
		w->thread[i] = new_thread(w->leader);
	w->file = memfile_create("/bin/tiny", 0x1000, 0755, NULL, NULL);
	w->elf = (struct exec_elf){ .file = w->file, .gnu_stack = 6, .nr_segments = 1,
				    .segments = &code };
	w->image = (struct exec_image){ .program = &w->elf, .args_bytes = 100,
					.tables_bytes = 100, .comm = "tiny" };
}

/* Ends the process, whose leader is @leader now. */
static void world_end(struct world *w, struct task_struct *leader)
{
	pid_t pid = leader->pid;
	int i;

	exit_task(leader, 4);
	assert_int_equal(wait_for(w->init, pid, 0, NULL), pid);
	for (i = 0; i < 3; i++)
		put_task_struct(w->thread[i]);
	put_task_struct(w->leader);
	fput(w->file);
	end_init(w->init);
}

GUEST_CALL(setsid_, ksys_setsid())

static long entry_exec(void *arg)
{
	struct world *w = arg;

	return kernel_execve_image(&w->image);
}

static void assert_alone(struct task_struct *task, pid_t pid)
{
	assert_int_equal(task->pid, pid);
	assert_int_equal(task->tgid, pid);
	assert_ptr_equal(task->group_leader, task);
	assert_true(thread_group_leader(task));
	assert_int_equal(task->signal->nr_threads, 1);
	assert_int_equal(mm_users(task->mm), 1);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 2);
	assert_null(task->signal->group_exec);
}

static void the_leader_executes_and_the_others_end(void **state)
{
	struct world w;
	pid_t pid;
	int i;

	(void)state;
	world_make(&w);
	pid = w.leader->pid;
	assert_int_equal(as_task(w.leader, entry_exec, &w), 0);
	for (i = 0; i < 3; i++) {
		assert_true(task_is_dead(w.thread[i]));
		assert_int_equal(w.thread[i]->exit_state, EXIT_DEAD);
		assert_int_equal(task_call(w.thread[i], entry_exec, &w).end, MACHINE_EXITED);
	}
	assert_alone(w.leader, pid);
	world_end(&w, w.leader);
}

static void another_thread_takes_over_the_pid(void **state)
{
	struct task_struct *found, *child;
	struct world w;
	pid_t pid, tid;

	(void)state;
	world_make(&w);
	pid = w.leader->pid;
	tid = w.thread[1]->pid;
	child = fork_flags(w.leader, 0);	/* of the old leader: goes over with the process */
	assert_int_equal(as_task(w.thread[1], entry_exec, &w), 0);
	assert_true(task_is_dead(w.leader));
	assert_int_equal(w.leader->pid, tid);
	found = find_get_task_by_vpid(pid);
	assert_ptr_equal(found, w.thread[1]);
	put_task_struct(found);
	assert_null(find_get_task_by_vpid(tid));
	assert_ptr_equal(child->real_parent, w.thread[1]);
	exit_task(child, 0);
	reap(w.thread[1], child);
	assert_alone(w.thread[1], pid);
	assert_string_equal(w.thread[1]->comm, "tiny");
	world_end(&w, w.thread[1]);
}

static void a_dead_leader_is_taken_over_too(void **state)
{
	struct world w;
	pid_t pid;

	(void)state;
	world_make(&w);
	pid = w.leader->pid;
	exit_thread(w.leader, 1);
	assert_int_equal(wait_for(w.init, pid, WNOHANG, NULL), 0);
	assert_int_equal(as_task(w.thread[2], entry_exec, &w), 0);
	assert_alone(w.thread[2], pid);
	assert_int_equal(wait_for(w.init, pid, WNOHANG, NULL), 0);	/* nobody saw a death */
	world_end(&w, w.thread[2]);
}

static void a_group_and_session_stay_the_process_s(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	assert_int_equal(as_task(w.leader, entry_exec, &w), 0);
	world_end(&w, w.leader);
	world_make(&w);
	assert_int_equal(as_guest(w.leader, setsid_), w.leader->pid);
	assert_int_equal(as_task(w.thread[0], entry_exec, &w), 0);
	assert_int_equal(task_pgrp_nr(w.thread[0]), w.thread[0]->pid);
	assert_int_equal(kill_pgrp(w.thread[0]->pid, SIGCHLD), 0);
	world_end(&w, w.thread[0]);
}

static long sleep_entry(void *arg)
{
	return do_futex(arg, KARC_FUTEX_WAIT, 0, KARC_FUTEX_FOREVER, 0);
}

struct sleeper {
	struct task_struct *task;
	void *addr;
};

static long run_sleeper(void *arg)
{
	struct sleeper *s = arg;
	struct machine_result r = task_call(s->task, sleep_entry, s->addr);

	assert_int_equal(r.end, MACHINE_EXITED);
	assert_int_equal(r.value, 0);
	return 0;
}

static void threads_asleep_on_other_cpus_are_ended(void **state)
{
	unsigned int cpus = machine_nr_cpus(fixture_machine()), i;
	struct fiber *fibers[3];
	struct sleeper s[3];
	struct world w;
	pid_t pid;
	void *addr;

	(void)state;
	world_make(&w);
	pid = w.leader->pid;
	addr = (void *)map_anon(w.leader, 4096);
	for (i = 0; i < 3; i++) {
		s[i] = (struct sleeper){ i ? w.thread[i] : w.leader, addr };
		assert_int_equal(migrate_task_to(s[i].task, i % cpus), 0);
		fibers[i] = fiber_spawn(i % cpus, "sleeper", run_sleeper, &s[i]);
	}
	fiber_yield();
	assert_int_equal(as_task(w.thread[0], entry_exec, &w), 0);
	join_all(fibers, 3);
	assert_alone(w.thread[0], pid);
	world_end(&w, w.thread[0]);
}

struct racer {
	struct world *w;
	struct task_struct *task;
	struct machine_result result;
};

static long run_racer(void *arg)
{
	struct racer *r = arg;

	r->result = task_call(r->task, entry_exec, r->w);
	return 0;
}

/* One wins; the others are ended by it, whatever they had built. */
static void of_threads_that_all_execute_one_is_left(void **state)
{
	unsigned int cpus = machine_nr_cpus(fixture_machine()), i, winners = 0;
	struct task_struct *left = NULL;
	struct fiber *fibers[4];
	struct racer r[4];
	struct world w;
	pid_t pid;

	(void)state;
	world_make(&w);
	pid = w.leader->pid;
	for (i = 0; i < 4; i++) {
		r[i] = (struct racer){ .w = &w, .task = i ? w.thread[i - 1] : w.leader };
		migrate_task_to(r[i].task, i % cpus);
		fibers[i] = fiber_spawn(i % cpus, "racer", run_racer, &r[i]);
	}
	join_all(fibers, 4);
	for (i = 0; i < 4; i++) {
		if (task_is_dead(r[i].task)) {
			assert_int_equal(r[i].result.end, MACHINE_EXITED);
			continue;
		}
		assert_int_equal(r[i].result.value, 0);
		left = r[i].task;
		winners++;
	}
	assert_int_equal(winners, 1);
	assert_alone(left, pid);
	world_end(&w, left);
}

/* An execve that fails before the others were touched leaves them alone. */
static void a_failed_execve_ends_nobody(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.elf.segments = &(struct exec_segment){ 0, 0, 2, 1, 0x1000, 5 };
	assert_int_equal(as_task(w.thread[0], entry_exec, &w), -EINVAL);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 5);
	w.elf.segments = &code;
	inject_arm(fixture_machine(), 1);
	assert_int_equal(as_task(w.thread[0], entry_exec, &w), -ENOMEM);
	inject_disarm(fixture_machine());
	assert_int_equal(machine_nr_tasks(fixture_machine()), 5);
	world_end(&w, w.leader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(the_leader_executes_and_the_others_end),
		KARC_TESTS(another_thread_takes_over_the_pid),
		KARC_TESTS(a_dead_leader_is_taken_over_too),
		KARC_TESTS(a_group_and_session_stay_the_process_s),
		KARC_TESTS(threads_asleep_on_other_cpus_are_ended),
		KARC_TESTS(of_threads_that_all_execute_one_is_left),
		KARC_TESTS(a_failed_execve_ends_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
