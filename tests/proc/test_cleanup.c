/* SPDX-License-Identifier: MIT */
/*
 * Goal: what a __free() variable of each kind holds is given up with its scope, and not when it
 * was handed on.
 * Method: functions that take several things and fail at a chosen place; the counts before and
 * after must be equal, whatever the place. The fixture's leak check watches over the rest. In this
 * room because it sees all the kinds.
 */
#include "guests.h"
#include <karc/kobject/kobject.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/slab/percpu.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/files.h>
#include <karc/proc/fs.h>
#include <karc/proc/pid.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/rcu.h>
#include <string.h>

/* ---- memory ---- */

struct made {
	char *small, *large;
};

static long makes_memory(int fail, struct made *made)
{
	char *small __free(kfree) = kmalloc(100, GFP_KERNEL);
	char *large __free(kvfree) = kvmalloc(1 << 20, GFP_KERNEL);
	char *secret __free(kfree_sensitive) = kzalloc(64, GFP_KERNEL);
	void *area __free(vfree) = vmalloc(3 * PAGE_SIZE);
	void *page __free(free_page) = (void *)__get_free_page(GFP_KERNEL);
	int __percpu *counters __free(free_percpu) = alloc_percpu(int);
	char *error __free(kfree) = ERR_PTR(-EIO);

	if (!small || !large || !secret || !area || !page || !counters)
		return -ENOMEM;
	if (fail || !IS_ERR(error))
		return -EINVAL;
	memset(small, 1, 100);
	made->large = no_free_ptr(large);
	made->small = no_free_ptr(small);
	return 0;
}

static void memory_is_freed_on_every_way_out(void **state)
{
	struct made made = { NULL, NULL };

	(void)state;
	assert_int_equal(makes_memory(1, &made), -EINVAL);
	assert_null(made.small);
	assert_int_equal(makes_memory(0, &made), 0);
	assert_non_null(made.small);
	assert_int_equal(made.small[99], 1);
	kfree(made.small);
	kvfree(made.large);
}

static long nth_memory(void *arg)
{
	long err = makes_memory(0, arg);
	struct made *made = arg;

	if (!err) {
		kfree(made->small);
		kvfree(made->large);
	}
	return err;
}

static void memory_is_freed_wherever_it_runs_out(void **state)
{
	struct made made;

	(void)state;
	fixture_fail_nth(.body = nth_memory, .arg = &made);
}

/* ---- counted things ---- */

static struct file *some_file(void)
{
	struct file *file = memfile_create("f", 1, 0600, NULL, NULL);

	assert_false(IS_ERR(file));
	return file;
}

static struct file *opened(struct file *file, bool fail)
{
	struct file *one __free(fput) = get_file(file);
	struct file *two __free(fput) = get_file(file);
	struct file *none __free(fput) = ERR_PTR(-ENOENT);

	if (fail || !IS_ERR(none))
		return NULL;
	assert_int_equal(file_count(two), 3);
	return_ptr(one);
}

static void files_are_put(void **state)
{
	struct file *file = some_file(), *got;

	(void)state;
	assert_null(opened(file, true));
	assert_int_equal(file_count(file), 1);
	got = opened(file, false);
	assert_int_equal(file_count(file), 2);
	fput(got);
	fput(file);
}

static void address_spaces_are_put_in_both_tiers(void **state)
{
	struct mm_struct *mm = mm_alloc();

	(void)state;
	assert_non_null(mm);
	scoped_guard(mmap_write_lock, mm) {
		struct mm_struct *user __free(mmput) = mm;
		struct mm_struct *lazy __free(mmdrop) = mm;

		mmget(mm);
		mmgrab(mm);
		assert_int_equal(mm_users(user), 2);
		assert_int_equal(mm_count(lazy), 2);
	}
	assert_int_equal(mm_users(mm), 1);
	assert_int_equal(mm_count(mm), 1);
	scoped_guard(mmap_read_lock, mm)
		scoped_guard(mmap_read_lock_try, mm)
			assert_int_equal(mm_users(mm), 1);
	mmput(mm);
}

static long mapped(struct mm_struct *mm, bool fail)
{
	struct vm_area_struct *vma __free(vma_put) = vm_area_alloc(mm);

	if (!vma)
		return -ENOMEM;
	return fail ? -EINVAL : 0;
}

static void areas_are_put(void **state)
{
	struct mm_struct *mm __free(mmput) = mm_alloc();

	(void)state;
	assert_non_null(mm);
	assert_int_equal(mapped(mm, true), -EINVAL);
	assert_int_equal(mapped(mm, false), 0);
}

static long finds_a_task(struct task_struct *task, bool fail)
{
	struct task_struct *held __free(put_task) = get_task_struct(task);
	struct pid *pid __free(put_pid) = find_get_pid(task->pid);

	if (fail)
		return -EINVAL;
	return held == task && pid ? arc_count(&pid->arc) : 0;
}

static void tasks_and_pids_are_put(void **state)
{
	struct task_struct *init = start_init();
	unsigned int task_count = arc_count(&init->arc);
	unsigned int pid_count = arc_count(&init->thread_pid->arc);

	(void)state;
	assert_int_equal(finds_a_task(init, true), -EINVAL);
	assert_int_equal(finds_a_task(init, false), pid_count + 1);
	assert_int_equal(arc_count(&init->arc), task_count);
	assert_int_equal(arc_count(&init->thread_pid->arc), pid_count);
	end_init(init);
}

static void tables_of_files_are_put(void **state)
{
	struct files_struct *files __free(put_files_struct) = files_alloc();
	struct file *file __free(fput) = some_file();

	(void)state;
	assert_non_null(files);
	assert_int_equal(fd_alloc_install(files, 0, get_file(file), false), 0);
}

static struct kobject *named(const char *name, bool fail)
{
	struct kobject *parent __free(kobject_put) = kobject_create_and_add(name, NULL);
	struct kobject *child __free(kobject_put) =
		parent ? kobject_create_and_add("child", parent) : NULL;

	if (!child || fail)
		return NULL;
	return_ptr(child);
}

static void kobjects_are_put(void **state)
{
	struct kobject *child;

	(void)state;
	assert_null(named("first", true));
	child = named("second", false);		/* keeps its parent */
	assert_string_equal(kobject_name(child->parent), "second");
	kobject_put(child);
}

static void pages_are_put(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	(void)state;
	assert_non_null(page);
	{
		struct page *held __free(put_page) = page;

		get_page(page);
		assert_int_equal(page_count(held), 2);
	}
	assert_int_equal(page_count(page), 1);
	__free_page(page);
}

/* ---- arcs ---- */

struct thing {
	struct arc arc;
};

static void thing_drop(void *obj)
{
	kfree(obj);
}

static const struct arc_type thing_type = {
	.name = "cleanup thing", .size = sizeof(struct thing),
	.ops = { .drop = thing_drop },
};

static const struct arc_type leaf_type = {
	.name = "cleanup leaf", .size = sizeof(struct thing), .flags = ARC_LEAF,
	.ops = { .free = thing_drop },
};

static struct arc *thing_new(const struct arc_type *type)
{
	struct thing *t __free(kfree) = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t || arc_type_register(type))
		return NULL;
	arc_init(&t->arc, type);
	return &no_free_ptr(t)->arc;
}

static void arcs_are_put_strong_and_weak(void **state)
{
	struct machine *m = this_machine();

	(void)state;
	{
		struct arc *strong __free(arc_put) = thing_new(&leaf_type);
		struct arc *weak __free(arc_weak_put) = arc_downgrade(strong);
		struct arc *other __free(arc_put) = thing_new(&thing_type);
		struct arc *none __free(arc_put) = NULL;

		guard(rcu)();
		assert_true(!none && other && arc_count(weak) == 1);
		assert_int_equal(ledger_live(m, &leaf_type), 1);
	}
	assert_int_equal(ledger_live(m, &leaf_type), 0);
	assert_int_equal(ledger_live(m, &thing_type), 0);
}

static long reads_under_rcu(void)
{
	guard(rcu)();
	return in_atomic();
}

static void rcu_guard_is_a_read_side(void **state)
{
	(void)state;
	assert_int_equal(reads_under_rcu(), 1);
	assert_false(in_atomic());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(memory_is_freed_on_every_way_out),
		karc_unit_test(memory_is_freed_wherever_it_runs_out),
		karc_unit_test(files_are_put),
		karc_unit_test(address_spaces_are_put_in_both_tiers),
		karc_unit_test(areas_are_put),
		karc_unit_test(tasks_and_pids_are_put),
		karc_unit_test(tables_of_files_are_put),
		karc_unit_test(kobjects_are_put),
		karc_unit_test(pages_are_put),
		karc_unit_test(arcs_are_put_strong_and_weak),
		karc_unit_test(rcu_guard_is_a_read_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
