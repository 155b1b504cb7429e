/* SPDX-License-Identifier: MIT */
/*
 * test_exit.c - everything a process owned is gone when its last owner has left
 *
 * Method: processes driven call by call; the fixture's shutdown asks what is left, the trace says
 * in which order the steps came.
 */
#include "guests.h"
#include "../../src/proc/internal.h"
#include <karc/hw/trace.h>
#include <karc/mm/slab/slab.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/signal.h>
#include <karc/refcount/ledger.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static void exit_of_init_leaves_nothing(void **state)
{
	struct task_struct *init = start_init();
	unsigned long addr = map_anon(init, 16 * PAGE_SIZE);

	(void)state;
	write_byte(init, addr, 1);
	end_init(init);
}

struct steps {
	struct trace_listener listener;
	char text[2048];
};

static void hear(void *arg, const char *fn, const char *text)
{
	struct steps *s = arg;

	(void)text;
	if (strlen(s->text) + strlen(fn) + 2 < sizeof(s->text)) {
		strcat(s->text, fn);
		strcat(s->text, " ");
	}
}

/* @names in this order, others may come in between. */
static void assert_order(const char *heard, const char *const *names)
{
	const char *at = heard;

	for (; *names; names++) {
		const char *found = strstr(at, *names);

		if (!found)
			fail_msg("%s does not follow in: %s", *names, heard);
		at = found + strlen(*names);
	}
}

static void teardown_takes_linux_road(void **state)
{
	static const char *const road[] = {
		"do_exit", "exit_signals", "exit_mm", "mmput", "exit_mmap", "exit_files",
		"exit_notify", "schedule", "finish_task_switch", "__mmdrop", "mm_free_pgd",
		"free_mm", NULL
	};
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct steps s = { .text = "" };

	(void)state;
	write_byte(child, map_anon(child, PAGE_SIZE), 1);
	trace_listen(fixture_machine(), &s.listener, hear, &s);
	exit_task(child, 0);
	wait_for(init, child->pid, 0, NULL);	/* the CPU goes on to another mm */
	trace_unlisten(fixture_machine(), &s.listener);
	assert_order(s.text, road);
	put_task_struct(child);
	end_init(init);
}

static void lazy_cpu_holds_mm_count_only(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct mm_struct *mm = child->mm;

	(void)state;
	mmgrab(mm);
	map_anon(child, PAGE_SIZE);
	exit_task(child, 0);
	assert_int_equal(mm_users(mm), 0);
	assert_int_equal(mm->map_count, 0);
	assert_int_equal(mm_count(mm), 2);	/* ours and the lazy CPU's */
	wait_for(init, child->pid, 0, NULL);
	assert_int_equal(mm_count(mm), 1);	/* ours */
	mmdrop(mm);
	put_task_struct(child);
	end_init(init);
}

struct note {
	struct arc_dtor dtor[2];
	char order[8];
	unsigned int nr;
};

static void note_first(void *obj, void *arg)
{
	struct note *n = arg;

	(void)obj;
	n->order[n->nr++] = '1';
}

static void note_second(void *obj, void *arg)
{
	struct note *n = arg;

	(void)obj;
	n->order[n->nr++] = '2';
}

static void note_arc(struct note *n, struct arc *arc)
{
	memset(n, 0, sizeof(*n));
	arc_on_drop(arc, &n->dtor[0], note_first, n);
	arc_on_drop(arc, &n->dtor[1], note_second, n);
}

static void callbacks_on_mm_and_vma_run_once_in_reverse_order(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct note mm_note, vma_note, task_note;
	unsigned long addr = map_anon(child, PAGE_SIZE);

	(void)state;
	note_arc(&mm_note, &child->mm->arc);
	note_arc(&vma_note, &vma_lookup(child->mm, addr)->arc);
	note_arc(&task_note, &child->arc);
	exit_task(child, 0);
	assert_string_equal(vma_note.order, "21");
	wait_for(init, child->pid, 0, NULL);
	assert_string_equal(mm_note.order, "21");
	assert_string_equal(task_note.order, "");
	put_task_struct(child);
	assert_string_equal(task_note.order, "21");
	end_init(init);
}

static void borrower_of_users_keeps_mappings(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct mm_struct *mm = mmget(child->mm);

	(void)state;
	map_anon(child, PAGE_SIZE);
	exit_task(child, 0);
	assert_int_equal(mm_users(mm), 1);
	assert_int_equal(mm->map_count, 1);
	mmput(mm);
	wait_for(init, child->pid, 0, NULL);
	put_task_struct(child);
	end_init(init);
}

static void orphans_go_to_init(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct task_struct *grandchild = fork_flags(child, 0);
	pid_t pid = grandchild->pid;
	int status;

	(void)state;
	exit_task(child, 1);
	assert_ptr_equal(grandchild->real_parent, init);
	exit_task(grandchild, 2);
	assert_int_equal(wait_for(init, pid, 0, &status), pid);
	assert_int_equal(status, 2 << 8);
	assert_int_equal(wait_for(init, -1, 0, NULL), child->pid);
	assert_int_equal(wait_for(init, -1, 0, NULL), -ECHILD);
	put_task_struct(child);
	put_task_struct(grandchild);
	end_init(init);
}

static void orphans_of_init_reap_themselves(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *zombie = fork_flags(init, 0);
	struct task_struct *alive = fork_flags(init, 0);

	(void)state;
	exit_task(zombie, 0);
	put_task_struct(zombie);
	end_init(init);
	exit_task(alive, 0);
	assert_int_equal(alive->exit_state, EXIT_DEAD);
	put_task_struct(alive);
}

static long wait_any(void *arg)
{
	struct task_struct *init = arg;

	return wait_for(init, -1, 0, NULL);
}

static bool somebody_waits(wait_queue_head_t *wq)
{
	bool waits;

	spin_lock(&wq->lock);
	waits = waitqueue_active(wq);
	spin_unlock(&wq->lock);
	return waits;
}

/* The zombie is there before init sleeps for it: nobody dies any more, it only changes parents. */
static void an_adopted_zombie_wakes_its_new_parent(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct task_struct *grandchild = fork_flags(child, 0);
	struct kernel_clone_args odd = { .exit_signal = SIGUSR1 };
	struct machine_result r;
	struct fiber *waiter;
	pid_t stray;

	(void)state;
	stray = (pid_t)as_task(child, entry_clone, &odd);
	exit_task(grandchild, 3);
	assert_int_equal(migrate_task_to(init, machine_nr_cpus(fixture_machine()) - 1), 0);
	waiter = fiber_spawn(0, "waiter", wait_any, init);
	while (!somebody_waits(&init->signal->wait_chldexit))
		fiber_yield();
	spin_lock(&proc_state()->tasklist_lock);
	child->exit_signal = 0;		/* its own death is nothing init waits for */
	spin_unlock(&proc_state()->tasklist_lock);
	exit_task(child, 1);
	fiber_join(waiter, &r);
	assert_int_equal(r.value, grandchild->pid);
	put_task_struct(grandchild);
	grandchild = find_get_task_by_vpid(stray);
	assert_int_equal(grandchild->exit_signal, SIGCHLD);	/* adopted: an ordinary child now */
	exit_task(grandchild, 0);
	reap(init, grandchild);
	assert_int_equal(wait_for(init, -1, WNOHANG, NULL), -ECHILD);
	assert_int_equal(wait_for(init, -1, __WCLONE, NULL), child->pid);
	put_task_struct(child);
	end_init(init);
}

/* ---- deaths by BUG and Oops: run from outside, since each turns the fixture red ---- */

static volatile unsigned long wild = 64;

static long oops_entry(void *arg)
{
	(void)arg;
	return *(volatile long *)wild;
}

static long bug_entry(void *arg)
{
	(void)arg;
	BUG();
}

static void killed_by(long (*entry)(void *arg), enum machine_end end, int signo)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct machine_result r;

	child->cpu = machine_nr_cpus(fixture_machine()) - 1;
	write_byte(child, map_anon(child, PAGE_SIZE), 1);
	r = task_call(child, entry, NULL);
	assert_int_equal(r.end, end);
	assert_null(child->fiber);
	assert_null(child->mm);
	assert_int_equal(child->exit_state, EXIT_ZOMBIE);
	assert_int_equal(reap(init, child), signo);
	end_init(init);
}

static void body_oops(void)
{
	killed_by(oops_entry, MACHINE_OOPS, SIGKILL);
}

static void body_bug(void)
{
	killed_by(bug_entry, MACHINE_BUG, SIGSEGV);
}

static void oops_or_bug_kills_the_task_and_frees_what_it_had(void **state)
{
	struct fixture_verdict v;
	unsigned int cpus;

	(void)state;
	for (cpus = 1; cpus <= 4; cpus += 3) {
		v = fixture_run(cpus, body_oops);
		assert_int_equal(v.nr_failures + v.nr_left + v.nr_violations + v.nr_warnings, 0);
		assert_int_equal(v.nr_bugs, 1);
		v = fixture_run(cpus, body_bug);
		assert_int_equal(v.nr_failures + v.nr_left + v.nr_violations + v.nr_warnings, 0);
		assert_int_equal(v.nr_bugs, 1);
	}
}

static void die_in_the_middle(void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	BUG();
}

/* A destructor of the dying task's address space fails: the task stays behind, and is named. */
static void body_bug_in_exit(void)
{
	struct task_struct *init = start_init();
	struct task_struct *child = fork_flags(init, 0);
	struct arc_dtor dtor;
	struct machine_result r;
	struct guest g = { .a = { 0 } };

	map_anon(child, PAGE_SIZE);
	arc_on_drop(&vma_first(child->mm)->arc, &dtor, die_in_the_middle, NULL);
	r = task_call(child, entry_exit, &g);
	assert_int_equal(r.end, MACHINE_BUG);
	assert_true(fixture_log_contains("Fixing recursive fault but reboot is needed!"));
	assert_int_equal(wait_for(init, child->pid, WNOHANG, NULL), 0);	/* it never ends */
	put_task_struct(child);
	end_init(init);
}

static void bug_while_exiting_leaves_the_task_and_the_machine_goes_on(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_bug_in_exit);

	(void)state;
	assert_int_equal(v.nr_failures, 0);
	assert_int_equal(v.nr_bugs, 1);
	assert_non_null(strstr(v.reason, "1 task_struct"));
}

static void many_processes_leave_nothing(void **state)
{
	struct task_struct *init = start_init();
	struct task_struct *children[64];
	unsigned int i;

	(void)state;
	write_byte(init, map_anon(init, 64 * PAGE_SIZE), 1);
	for (i = 0; i < 64; i++) {
		children[i] = fork_flags(i ? children[i / 2] : init, 0);
		assert_int_equal(migrate_task_to(children[i],
						 i % machine_nr_cpus(fixture_machine())), 0);
		write_byte(children[i], map_anon(children[i], (i + 1) * PAGE_SIZE), 2);
	}
	for (i = 0; i < 64; i++) {
		exit_task(children[(i * 37) % 64], (int)i);
		put_task_struct(children[(i * 37) % 64]);
	}
	while (wait_for(init, -1, WNOHANG, NULL) > 0)
		;
	end_init(init);
}

/* ---- caches ---- */

/* What each cache has; without what it did since boot, which only grows. */
static void slab_state(char *text, size_t size)
{
	FILE *out = fmemopen(text, size, "w");
	char *from = text, *to = text, *cut;

	assert_non_null(out);
	machine_quiesce(fixture_machine());
	slabinfo_show(out);
	fclose(out);
	while ((cut = strstr(from, " : globalstat"))) {
		memmove(to, from, (size_t)(cut - from));
		to += cut - from;
		from = strchr(cut, '\n');
		assert_non_null(from);
	}
	*to = 0;
}

static void caches_are_as_at_boot_after_the_last_exit(void **state)
{
	static char at_boot[32768], inside[32768], at_end[32768];
	struct task_struct *init, *child;

	(void)state;
	slab_state(at_boot, sizeof(at_boot));
	init = start_init();
	write_byte(init, map_anon(init, 64 * PAGE_SIZE), 1);
	child = fork_flags(init, 0);
	slab_state(inside, sizeof(inside));
	assert_string_not_equal(at_boot, inside);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
	slab_state(at_end, sizeof(at_end));
	assert_string_equal(at_boot, at_end);
}

/* ---- leaks ---- */

static struct task_struct *left_behind;

enum { LEAK_LINE = __LINE__ + 4 };

static void body_leaks_a_task(void)
{
	left_behind = task_create_init("init");
	exit_task(left_behind, 0);		/* and the reference is forgotten */
}

static void forgotten_reference_turns_the_fixture_red(void **state)
{
	struct fixture_verdict v = fixture_run(1, body_leaks_a_task);
	char site[64];

	(void)state;
	snprintf(site, sizeof(site), "test_exit.c:%d body_leaks_a_task", LEAK_LINE);
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 task_struct"));
	assert_non_null(strstr(v.reason, site));
}

/* A process that nobody ended: it is named, its parts are, and the idle tasks are not. */
static void body_forgets_to_exit(void)
{
	left_behind = start_init();
	write_byte(left_behind, map_anon(left_behind, PAGE_SIZE), 1);
	put_task_struct(left_behind);
}

static void process_left_alive_is_reported_and_shutdown_survives(void **state)
{
	struct fixture_verdict v = fixture_run(4, body_forgets_to_exit);

	(void)state;
	assert_true(v.red);
	assert_non_null(strstr(v.reason, "1 task_struct"));
	assert_non_null(strstr(v.reason, "1 mm_struct"));
	assert_null(strstr(v.reason, "room.c"));
}

GUEST_CALL(prctl_, sys_prctl((int)a[0], a[1], 0, 0, 0))

static void exit_group_ends_every_thread(void **state)
{
	struct task_struct *init = start_init(), *task = fork_flags(init, 0);
	struct task_struct *thread[3];
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		thread[i] = new_thread(task);
	exit_task(thread[1], 6);
	assert_true(task_is_dead(task));
	assert_int_equal(task->exit_state, EXIT_ZOMBIE);
	for (i = 0; i < 3; i++) {
		assert_true(task_is_dead(thread[i]));
		assert_int_equal(thread[i]->exit_state, EXIT_DEAD);
		assert_int_equal(thread[i]->exit_code, 6 << 8);
		put_task_struct(thread[i]);
	}
	assert_int_equal(reap(init, task), 6 << 8);
	end_init(init);
}

/* The children of a thread go to another one of its process; later to the reaper. */
static void orphans_go_to_a_thread_a_subreaper_or_init(void **state)
{
	struct task_struct *init = start_init(), *top = fork_flags(init, 0);
	struct task_struct *middle = fork_flags(top, 0), *thread = new_thread(middle);
	struct task_struct *orphan = fork_flags(thread, 0);

	(void)state;
	exit_thread(thread, 0);
	put_task_struct(thread);
	assert_ptr_equal(orphan->real_parent, middle);
	assert_int_equal(as_guest(top, prctl_, PR_SET_CHILD_SUBREAPER, 1), 0);
	exit_task(middle, 0);
	assert_ptr_equal(orphan->real_parent, top);
	reap(top, middle);
	middle = fork_flags(top, 0);
	assert_int_equal(as_guest(top, prctl_, PR_SET_CHILD_SUBREAPER, 0), 0);
	thread = fork_flags(middle, 0);
	exit_task(middle, 0);
	reap(top, middle);
	assert_ptr_equal(thread->real_parent, init);
	exit_task(top, 0);
	reap(init, top);
	exit_task(thread, 0);
	reap(init, thread);
	exit_task(orphan, 0);
	reap(init, orphan);
	end_init(init);
}

static void a_parents_death_signal_is_sent(void **state)
{
	struct task_struct *init = start_init(), *parent = fork_flags(init, 0);
	struct task_struct *child = fork_flags(parent, 0), *other = fork_flags(parent, 0);

	(void)state;
	assert_int_equal(as_guest(child, prctl_, PR_SET_PDEATHSIG, SIGHUP), 0);
	exit_task(parent, 0);
	assert_true(task_is_dead(child));
	assert_false(task_is_dead(other));
	reap(init, parent);
	assert_int_equal(reap(init, child), SIGHUP);
	exit_task(other, 0);
	reap(init, other);
	end_init(init);
}

/* Another exit signal than SIGCHLD does to the parent what it does; after an execve it is SIGCHLD. */
static void the_exit_signal_reaches_the_parent(void **state)
{
	struct kernel_clone_args args = { .exit_signal = SIGTERM };
	struct task_struct *init = start_init(), *parent = fork_flags(init, 0);
	struct task_struct *child = clone_args(parent, &args), *late = clone_args(parent, &args);

	(void)state;
	parent->self_exec_id++;
	exit_task(late, 0);
	assert_false(task_is_dead(parent));
	parent->self_exec_id--;
	exit_task(child, 0);
	assert_true(task_is_dead(parent));
	put_task_struct(child);
	put_task_struct(late);
	assert_int_equal(reap(init, parent), SIGTERM);
	while (wait_for(init, -1, WNOHANG | __WALL, NULL) > 0)
		;
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(exit_of_init_leaves_nothing),
		KARC_TESTS(teardown_takes_linux_road),
		KARC_TESTS(lazy_cpu_holds_mm_count_only),
		KARC_TESTS(callbacks_on_mm_and_vma_run_once_in_reverse_order),
		KARC_TESTS(borrower_of_users_keeps_mappings),
		KARC_TESTS(orphans_go_to_init),
		KARC_TESTS(orphans_of_init_reap_themselves),
		KARC_TESTS(an_adopted_zombie_wakes_its_new_parent),
		KARC_TESTS(many_processes_leave_nothing),
		KARC_TESTS(caches_are_as_at_boot_after_the_last_exit),
		cmocka_unit_test(oops_or_bug_kills_the_task_and_frees_what_it_had),
		cmocka_unit_test(bug_while_exiting_leaves_the_task_and_the_machine_goes_on),
		cmocka_unit_test(forgotten_reference_turns_the_fixture_red),
		cmocka_unit_test(process_left_alive_is_reported_and_shutdown_survives),
		KARC_TESTS(exit_group_ends_every_thread),
		KARC_TESTS(orphans_go_to_a_thread_a_subreaper_or_init),
		KARC_TESTS(a_parents_death_signal_is_sent),
		KARC_TESTS(the_exit_signal_reaches_the_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
