/* SPDX-License-Identifier: MIT */
/*
 * test_task_ledger.c - a task that ends gives account of the references it holds
 *
 * Method: a guest takes one reference of each kind and forgets it; the handler must be told that
 * line and no other. Then ordinary lives (fork, threads, exec-like replacement of files, kills,
 * orphans, vfork) end without any accusation, on all CPUs at once too.
 */
#include "guests.h"

#include <karc/kobject/kobject.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/files.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/signal.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/holder.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LEDGER(n)	(&(const struct machine_config){ .nr_cpus = (n), .holders = true })
#define LEDGER_TESTS(fn) \
	karc_unit_test_config(fn, 1, LEDGER(1)), karc_unit_test_config(fn, 4, LEDGER(4))

/* Accusations of one test. */
struct court {
	unsigned int nr;		/* atomic: several tasks may end at once */
	unsigned int line;
	char text[1024];
	struct arc_fault_policy before;
};

static void hear(void *arg, const struct arc_fault_info *info)
{
	struct court *c = arg;

	if (__atomic_fetch_add(&c->nr, 1, __ATOMIC_ACQ_REL))
		return;
	c->line = info->where ? info->where->line : 0;
	snprintf(c->text, sizeof(c->text), "%s", info->text);
}

static void open_court(struct court *c)
{
	*c = (struct court){ .nr = 0 };
	c->before = arc_fault_policy(fixture_machine(), ARC_POLICY_CALL, hear, c);
}

static void close_court(struct court *c, unsigned int nr)
{
	arc_fault_policy_restore(fixture_machine(), &c->before);
	if (c->nr != nr)
		fail_msg("%u accusations instead of %u, the first: %s", c->nr, nr, c->text);
}

/* ---- one forgotten reference of each kind ---- */

/* What a guest forgets, and where; @undo puts it for the fixture's sake. */
struct crime {
	unsigned int line;
	void *what;
	struct kobject kobj;
};

static long forget_file(void *arg)
{
	struct crime *c = arg;
	struct file *file = shmem_file_setup("secret", PAGE_SIZE, 0);

	assert_int_equal(fd_alloc_install(current->files, 0, file, false), 0);
	c->what = fget_files(current->files, 0); c->line = __LINE__;
	assert_non_null(c->what);
	return 0;
}

static void undo_file(struct crime *c)
{
	fput(c->what);
}

static long forget_open_file(void *arg)
{
	struct crime *c = arg;

	c->what = shmem_file_setup("secret", PAGE_SIZE, 0); c->line = __LINE__;
	return 0;
}

static long forget_inode(void *arg)
{
	struct crime *c = arg;
	struct file *file = shmem_file_setup("secret", PAGE_SIZE, 0);

	c->what = file_inode(file);
	ihold(file_inode(file)); c->line = __LINE__;
	fput(file);
	return 0;
}

static void undo_inode(struct crime *c)
{
	iput(c->what);
}

static long forget_mm_user(void *arg)
{
	struct crime *c = arg;

	c->what = get_task_mm(current); c->line = __LINE__;
	return 0;
}

static void undo_mm_user(struct crime *c)
{
	mmput(c->what);
}

static long forget_mm_count(void *arg)
{
	struct crime *c = arg;

	c->what = mmgrab(current->mm); c->line = __LINE__;
	return 0;
}

static void undo_mm_count(struct crime *c)
{
	mmdrop(c->what);
}

static long forget_task(void *arg)
{
	struct crime *c = arg;

	c->what = find_get_task_by_vpid(1); c->line = __LINE__;
	return 0;
}

static void undo_task(struct crime *c)
{
	put_task_struct(c->what);
}

static long forget_pid(void *arg)
{
	struct crime *c = arg;

	c->what = get_pid(current->thread_pid); c->line = __LINE__;
	return 0;
}

static void undo_pid(struct crime *c)
{
	put_pid(c->what);
}

static long forget_anon_vma(void *arg)
{
	struct crime *c = arg;
	long at = sys_mmap(0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	struct vm_area_struct *vma;

	assert_int_equal(user_write((unsigned long)at, "x", 1), 0);
	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, (unsigned long)at);
	c->what = get_anon_vma(vma->anon_vma); c->line = __LINE__;
	mmap_read_unlock(current->mm);
	return 0;
}

static void undo_anon_vma(struct crime *c)
{
	put_anon_vma(c->what);
}

static void kobj_gone(struct kobject *kobj)
{
	(void)kobj;
}

static const struct kobj_type kobj_type = { .release = kobj_gone };

static long forget_kobject(void *arg)
{
	struct crime *c = arg;

	kobject_init(&c->kobj, &kobj_type);
	arc_hand_to_root(&c->kobj.arc, "the test");
	c->what = kobject_get(&c->kobj); c->line = __LINE__;
	return 0;
}

static void undo_kobject(struct crime *c)
{
	kobject_put(c->what);
	kobject_put(&c->kobj);
}

static const struct kind {
	const char *type;
	bool user;
	long (*forget)(void *arg);
	void (*undo)(struct crime *c);
} kinds[] = {
	{ "file", false, forget_file, undo_file },
	{ "file", false, forget_open_file, undo_file },
	{ "inode", false, forget_inode, undo_inode },
	{ "mm_struct", true, forget_mm_user, undo_mm_user },
	{ "mm_struct", false, forget_mm_count, undo_mm_count },
	{ "task_struct", false, forget_task, undo_task },
	{ "pid", false, forget_pid, undo_pid },
	{ "anon_vma", false, forget_anon_vma, undo_anon_vma },
	{ "kobject", false, forget_kobject, undo_kobject },
};

static void assert_named(const struct court *c, const struct kind *kind,
			 const struct crime *crime, const struct task_struct *task)
{
	char text[192];

	if (c->line != crime->line)
		fail_msg("line %u instead of %u: %s", c->line, crime->line, c->text);
	snprintf(text, sizeof(text), "%s (pid %d) ends and has forgotten a %s of %s ", task->comm,
		 task->pid, kind->user ? "use" : "reference", kind->type);
	if (!strstr(c->text, text) || !strstr(c->text, "test_task_ledger.c:"))
		fail_msg("\"%s\" is not in \"%s\"", text, c->text);
}

static void commit(struct task_struct *init, const struct kind *kind)
{
	struct task_struct *child = fork_flags(init, 0);
	struct crime crime = { .line = 0 };
	struct court court;

	assert_int_equal(as_task(child, kind->forget, &crime), 0);
	open_court(&court);
	exit_task(child, 0);
	close_court(&court, 1);
	assert_named(&court, kind, &crime, child);
	assert_int_equal(reap(init, child), 0);
	kind->undo(&crime);
}

static void each_kind_of_forgotten_reference_is_named(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		commit(init, &kinds[i]);
	end_init(init);
}

static void threads_give_account_too(void **state)
{
	struct task_struct *init = start_init(), *thread = new_thread(init);
	struct crime crime = { .line = 0 };
	struct court court;

	(void)state;
	assert_int_equal(as_task(thread, forget_pid, &crime), 0);
	open_court(&court);
	exit_thread(thread, 0);
	close_court(&court, 1);
	assert_int_equal(court.line, crime.line);
	undo_pid(&crime);
	put_task_struct(thread);
	end_init(init);
}

static void killed_tasks_give_account_too(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct crime crime = { .line = 0 };
	struct court court;

	(void)state;
	assert_int_equal(as_task(child, forget_pid, &crime), 0);
	open_court(&court);
	assert_int_equal(kill_task(child, SIGKILL), 0);
	close_court(&court, 1);
	assert_int_equal(court.line, crime.line);
	undo_pid(&crime);
	assert_int_equal(reap(init, child), SIGKILL);
	end_init(init);
}

static long forget_and_die(void *arg)
{
	forget_pid(arg);
	BUG();
}

/* Run from outside: a BUG turns the fixture red. */
static void body_bug(void)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct crime crime = { .line = 0 };
	struct court court;

	open_court(&court);
	assert_int_equal(task_call(child, forget_and_die, &crime).end, MACHINE_BUG);
	close_court(&court, 1);
	assert_int_equal(court.line, crime.line);
	undo_pid(&crime);
	assert_int_equal(reap(init, child), SIGSEGV);
	end_init(init);
}

static void task_that_a_bug_ended_gives_account_too(void **state)
{
	struct fixture_verdict v = fixture_run_config(LEDGER(1), body_bug);

	(void)state;
	assert_int_equal(v.nr_failures + v.nr_left + v.nr_violations + v.nr_warnings, 0);
	assert_int_equal(v.nr_bugs, 1);
}

static long call_forgets(void *arg)
{
	return forget_task(arg);
}

static void machine_calls_give_account_too(void **state)
{
	struct task_struct *init = start_init();
	struct crime crime = { .line = 0 };
	struct machine_result r;
	struct court court;

	(void)state;
	open_court(&court);
	r = machine_call(fixture_machine(), 0, call_forgets, &crime);
	assert_int_equal(r.end, MACHINE_VALUE);
	close_court(&court, 1);
	assert_int_equal(court.line, crime.line);
	undo_task(&crime);
	end_init(init);
}

/* ---- ordinary lives ---- */

static long live(void *arg)
{
	long at = sys_mmap(0, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct file *file = shmem_file_setup("life", 4 * PAGE_SIZE, 0);
	int fd = fd_alloc_install(current->files, 0, file, false);
	long shared;

	(void)arg;
	shared = sys_mmap(0, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at < 0 || fd < 0 || shared < 0)
		return -1;
	if (user_write((unsigned long)at, "x", 1) || user_write((unsigned long)shared, "y", 1))
		return -2;
	sys_mprotect((unsigned long)at + PAGE_SIZE, PAGE_SIZE, PROT_READ);	/* splits */
	sys_munmap((unsigned long)at + 4 * PAGE_SIZE, PAGE_SIZE);
	fd = fd_alloc_install(current->files, 0, shmem_file_setup("other", PAGE_SIZE, 0), true);
	return close_fd_of(current->files, (unsigned int)fd);
}

static long open_pidfd(void *arg)
{
	const struct task_struct *task = arg;
	struct file *file = pidfd_file(task->thread_pid, O_RDWR);

	return IS_ERR(file) ? PTR_ERR(file) : fd_alloc_install(current->files, 0, file, true);
}

static void family(struct task_struct *init, u64 flags)
{
	struct task_struct *child = fork_flags(init, flags);
	struct task_struct *grandchild, *thread;

	assert_int_equal(as_task(child, live, NULL), 0);
	grandchild = fork_flags(child, 0);
	assert_int_equal(as_task(grandchild, live, NULL), 0);
	assert_true(as_task(child, open_pidfd, grandchild) >= 0);
	thread = new_thread(grandchild);
	exit_thread(thread, 0);
	put_task_struct(thread);
	exit_task(child, 3);			/* an orphan is left, for init */
	assert_int_equal(reap(init, child), 3 << 8);
	write_byte(grandchild, map_anon(grandchild, PAGE_SIZE), 1);
	assert_int_equal(kill_task(grandchild, SIGKILL), 0);
	assert_int_equal(reap(init, grandchild), SIGKILL);
}

static void ordinary_lives_are_not_accused(void **state)
{
	static const u64 flags[] = { 0, CLONE_FILES, CLONE_FS, CLONE_VM | CLONE_VFORK,
				     CLONE_VM | CLONE_FILES | CLONE_FS };
	struct task_struct *init = start_init();
	struct court court;

	(void)state;
	open_court(&court);
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++)
		family(init, flags[i]);
	end_init(init);
	close_court(&court, 0);
}

#define FAMILIES	4

static long family_fiber(void *arg)
{
	struct task_struct *head = arg;

	for (int i = 0; i < 3; i++) {
		struct task_struct *child = fork_flags(head, i ? 0 : CLONE_FILES);

		if (as_task(child, live, NULL))
			return 1;
		exit_task(child, i);
		if (reap(head, child) != i << 8)
			return 2;
	}
	return 0;
}

static void families_on_all_cpus_are_not_accused(void **state)
{
	struct task_struct *init = start_init(), *head[FAMILIES];
	struct fiber *fibers[FAMILIES];
	unsigned int nr_cpus = machine_nr_cpus(fixture_machine());
	struct court court;

	(void)state;
	open_court(&court);
	for (unsigned int i = 0; i < FAMILIES; i++) {
		head[i] = fork_flags(init, 0);
		assert_int_equal(migrate_task_to(head[i], i % nr_cpus), 0);
		fibers[i] = fiber_spawn(i % nr_cpus, "family", family_fiber, head[i]);
	}
	join_all(fibers, FAMILIES);
	for (unsigned int i = 0; i < FAMILIES; i++) {
		exit_task(head[i], 0);
		reap(init, head[i]);
	}
	end_init(init);
	close_court(&court, 0);
}

/* The number of records after an ordinary life is the number before it. */
static void records_go_with_their_references(void **state)
{
	struct task_struct *init = start_init();
	unsigned long before;

	(void)state;
	family(init, 0);
	machine_quiesce(fixture_machine());
	before = holder_nr_records(fixture_machine());
	family(init, 0);
	machine_quiesce(fixture_machine());
	assert_int_equal(holder_nr_records(fixture_machine()), before);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LEDGER_TESTS(each_kind_of_forgotten_reference_is_named),
		LEDGER_TESTS(threads_give_account_too),
		LEDGER_TESTS(killed_tasks_give_account_too),
		cmocka_unit_test(task_that_a_bug_ended_gives_account_too),
		LEDGER_TESTS(machine_calls_give_account_too),
		LEDGER_TESTS(ordinary_lives_are_not_accused),
		LEDGER_TESTS(families_on_all_cpus_are_not_accused),
		karc_unit_test_config(families_on_all_cpus_are_not_accused, 8, LEDGER(8)),
		LEDGER_TESTS(records_go_with_their_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
