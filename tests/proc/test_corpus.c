/* SPDX-License-Identifier: MIT */
/*
 * Goal: what a task forgets is named when it exits, and what else real objects of the machine can
 * suffer is reported whole.
 * Method: see tests/refcount/corpus.h; here with the rooms up to proc, holders on.
 */
#include "../refcount/corpus.h"

#include <karc/mm/cache/file.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/proc/pid.h>
#include <karc/proc/task.h>

static struct file *some_file_site(const struct site *site)
{
	struct file *file = memfile_create_site("shared", 1, 0600, NULL, NULL, site);

	CHECK(!IS_ERR(file));
	return file;
}

#define some_file() some_file_site(SITE())

static long exits(void *arg)
{
	do_exit((long)arg);
}

/* A task that runs @fn and then exits. */
static void run_to_the_end(long (*fn)(void *arg), void *arg)
{
	struct task_struct *task = (AT(c), task_create_init("worker"));

	CHECK(!IS_ERR(task));
	task_call(task, fn, arg);
	task_call(task, exits, NULL);
	put_task_struct(task);
}

static long gets_and_forgets(void *arg)
{
	AT(a), get_file(arg);
	return 0;
}

static void file_left_on_the_stack_of_a_task_that_exits(void)
{
	struct file *file = (AT(b), some_file());

	run_to_the_end(gets_and_forgets, file);
	CHECK(file_count(file) == 2);
	fput(file);
	fput(file);		/* for it */
}

static long gets_and_installs(void *arg)
{
	return fd_alloc_install(current->files, 0, get_file(arg), false);
}

static void file_handed_to_the_table_of_a_task_that_exits(void)
{
	struct file *file = some_file();

	run_to_the_end(gets_and_installs, file);
	CHECK(file_count(file) == 1);		/* closed, and nothing to report */
	fput(file);
}

static struct pid *looked_up;

static long looks_up_and_forgets(void *arg)
{
	(void)arg;
	AT(a), looked_up = find_get_pid(current->pid);
	return 0;
}

static void pid_left_on_the_stack_of_a_task_that_exits(void)
{
	run_to_the_end(looks_up_and_forgets, NULL);
	put_pid(looked_up);
}

static struct mm_struct *borrowed;

static long uses_and_forgets(void *arg)
{
	borrowed = arg;
	AT(a), mmget(borrowed);
	return 0;
}

static void use_of_an_address_space_left_by_a_task_that_exits(void)
{
	struct mm_struct *mm = (AT(b), mm_alloc());

	run_to_the_end(uses_and_forgets, mm);
	CHECK(mm_users(mm) == 2);
	mmput(mm);
	mmput(mm);		/* for it */
}

#define CASE(fn, ...) { .name = #fn, .run = fn, .config = { .holders = true }, __VA_ARGS__ }

static struct seeded cases[] = {
	CASE(file_left_on_the_stack_of_a_task_that_exits,
	     .expected =
		"------------[ cut here ]------------\n"
		"arc: worker (pid 1) ends and has forgotten a reference of file ADDR, got at $a "
		"gets_and_forgets\n"
		" object: file at ADDR, N bytes, alive\n"
		" created: $b file_left_on_the_stack_of_a_task_that_exits\n"
		"WARNING: CPU: 0 PID: N at $a gets_and_forgets\n"
		"CPU: 0 PID: N Comm: worker preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"It was got by:\n"),
	CASE(file_handed_to_the_table_of_a_task_that_exits, .expected = ""),
	CASE(pid_left_on_the_stack_of_a_task_that_exits,
	     .expected =
		"------------[ cut here ]------------\n"
		"arc: worker (pid 1) ends and has forgotten a reference of pid ADDR, got at $a "
		"looks_up_and_forgets\n"
		" object: pid at ADDR, N bytes, alive\n"
		" created: $c run_to_the_end\n"
		"WARNING: CPU: 0 PID: N at $a looks_up_and_forgets\n"
		"CPU: 0 PID: N Comm: worker preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"It was got by:\n"),
	CASE(use_of_an_address_space_left_by_a_task_that_exits,
	     .expected =
		"------------[ cut here ]------------\n"
		"arc: worker (pid 1) ends and has forgotten a use of mm_struct ADDR, got at $a "
		"uses_and_forgets\n"
		" object: mm_struct at ADDR, N bytes, alive\n"
		" created: $b use_of_an_address_space_left_by_a_task_that_exits\n"
		"WARNING: CPU: 0 PID: N at $a uses_and_forgets\n"
		"CPU: 0 PID: N Comm: worker preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"It was got by:\n"),
};

int main(void)
{
	return corpus_main(cases, ARRAY_SIZE(cases), __FILE__);
}
