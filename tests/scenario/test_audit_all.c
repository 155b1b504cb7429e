/* SPDX-License-Identifier: MIT */
/*
 * test_audit_all.c - the whole house, and every count explained
 *
 * Goal: at a quiet point each strong count, each weak count and each number of users equals what
 * field tables, graph sources and registered holders say, there is no cycle of strong references,
 * and from the holders everything is reached; with processes, threads, files, shared memory,
 * copied pages, groups, programs, areas of the kernel range and kobjects.
 *
 * Method: act, quiesce, audit, in every state that lasts. References of the test itself are
 * registered while it has them.
 */
#include "../support/fixture.h"

#include <fcntl.h>
#include <karc/base/err.h>
#include <karc/harness/guest.h>
#include <karc/kobject/kobject.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/kva/vmalloc.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/proc/exec.h>
#include <karc/proc/exit.h>
#include <karc/proc/fork.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/sched.h>
#include <karc/proc/shm.h>
#include <karc/proc/syscall.h>
#include <karc/refcount/audit.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>

static void print_line(void *arg, const char *text)
{
	(void)arg;
	print_error("%s\n", text);
}

static void print_node(void *arg, const struct arc_graph_node *node)
{
	(void)arg;
	print_error("%s: %s '%s' from %s:%u\n", arc_verdict_name((enum arc_verdict)node->verdict),
		    node->type, node->label, node->site ? node->site->file : "?",
		    node->site ? node->site->line : 0);
}

static void check_all_counts(const char *when)
{
	struct machine *m = fixture_machine();
	struct check_report report = { .quiet = false };
	long counts, cycles, lost;

	machine_quiesce(m);
	counts = audit_counts(m, &report);
	cycles = audit_cycles(m, print_line, NULL);
	lost = audit_mark(m, 0, print_node, NULL);
	if (counts || cycles || lost)
		fail_msg("%s: %ld counts are wrong (%s), %ld cycles, %ld objects not reached",
			 when, counts, report.last, cycles, lost);
}

/* ---- the test's own references ----------------------------------------------------------- */

static struct task_struct *start_init(void)
{
	struct task_struct *init = task_create_init("init");

	assert_false(IS_ERR(init));
	audit_hold(&init->arc);
	return init;
}

static struct task_struct *fork_of(struct task_struct *parent)
{
	long pid = guest_fork(parent);
	struct task_struct *child = pid > 0 ? find_get_task_by_vpid((pid_t)pid) : NULL;

	assert_non_null(child);
	audit_hold(&child->arc);
	return child;
}

static void let_go(struct task_struct *task)
{
	audit_release(&task->arc);
	put_task_struct(task);
}

static void end(struct task_struct *parent, struct task_struct *task)
{
	guest_exit(task, 0);
	check_all_counts("a zombie");
	if (parent)
		assert_int_equal(guest_wait(parent, task->pid, NULL), task->pid);
	let_go(task);
}

static unsigned long map_anon(struct task_struct *task, unsigned long pages, unsigned long flags)
{
	long at = guest_mmap(task, 0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     flags | MAP_ANONYMOUS, -1);

	assert_true(at > 0);
	return (unsigned long)at;
}

static void put_byte(struct task_struct *task, unsigned long at)
{
	assert_int_equal(guest_write(task, at, "x", 1), 0);
}

static long install_file(struct task_struct *task, const char *name)
{
	struct file *file = memfile_create(name, 8 * PAGE_SIZE, 0755, NULL, NULL);
	long fd;

	assert_false(IS_ERR(file));
	fd = guest_install(task, file);
	assert_true(fd >= 0);
	return fd;
}

/* ---- what a machine does ----------------------------------------------------------------- */

static void nothing_but_the_machine(void **state)
{
	(void)state;
	check_all_counts("after boot");
}

static void forks_files_and_copies(void **state)
{
	struct task_struct *init = start_init(), *child, *grandchild;
	unsigned long private, shared;
	long fd, text;
	char byte;

	(void)state;
	check_all_counts("init alone");
	fd = install_file(init, "/lib/libc.so");
	text = guest_mmap(init, 0, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, (int)fd);
	assert_true(text > 0);
	private = map_anon(init, 600, MAP_PRIVATE);
	shared = map_anon(init, 4, MAP_SHARED);
	put_byte(init, private);
	put_byte(init, private + 520 * PAGE_SIZE);	/* another table */
	put_byte(init, shared);
	assert_int_equal(guest_read(init, (unsigned long)text, &byte, 1), 0);
	assert_int_equal(guest_read(init, private + PAGE_SIZE, &byte, 1), 0);	/* the zero page */
	check_all_counts("mapped and touched");
	child = fork_of(init);
	check_all_counts("forked");
	put_byte(child, private);
	put_byte(child, (unsigned long)text);
	put_byte(init, (unsigned long)text);
	put_byte(child, shared + PAGE_SIZE);
	grandchild = fork_of(child);
	put_byte(grandchild, private);
	check_all_counts("copied on write");
	guest_exit(child, 0);
	check_all_counts("an orphan, and a zombie");
	assert_int_equal(guest_wait(init, child->pid, NULL), child->pid);
	let_go(child);
	end(init, grandchild);
	check_all_counts("alone again");
	end(NULL, init);
	check_all_counts("at the end");
}

struct split {
	unsigned long at;
};

/* A mapping is cut, renamed, protected and moved; the pieces share what they hold. */
static long split_entry(void *arg)
{
	const struct split *s = arg;

	assert_int_equal(sys_mprotect(s->at + 4 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(sys_munmap(s->at + 10 * PAGE_SIZE, PAGE_SIZE), 0);
	return sys_mremap(s->at, 2 * PAGE_SIZE, 6 * PAGE_SIZE, MREMAP_MAYMOVE, 0) > 0 ? 0 : -1;
}

static void mappings_cut_moved_and_shared(void **state)
{
	struct task_struct *init = start_init();
	struct split s = { .at = map_anon(init, 16, MAP_PRIVATE) };
	unsigned int i;

	(void)state;
	for (i = 0; i < 16; i++)
		put_byte(init, s.at + i * PAGE_SIZE);
	assert_int_equal(task_call(init, split_entry, &s).value, 0);
	check_all_counts("cut and moved");
	end(NULL, init);
	check_all_counts("at the end");
}

static long thread_entry(void *arg)
{
	struct kernel_clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD,
	};

	(void)arg;
	return kernel_clone(&args);
}

static long pidfd_entry(void *arg)
{
	return sys_pidfd_open((pid_t)(long)arg, 0);
}

static long setsid_entry(void *arg)
{
	(void)arg;
	return sys_setsid();
}

static void threads_sessions_and_pidfds(void **state)
{
	struct task_struct *init = start_init(), *child = fork_of(init);
	struct machine_result res;

	(void)state;
	assert_true(task_call(child, setsid_entry, NULL).value > 0);
	check_all_counts("a session");
	res = task_call(child, thread_entry, NULL);
	assert_true(res.value > 0);
	check_all_counts("a thread");
	assert_true(task_call(init, pidfd_entry, (void *)(long)child->pid).value >= 0);
	check_all_counts("a descriptor that names a process");
	end(init, child);
	check_all_counts("a descriptor that names a process that was");
	end(NULL, init);
	check_all_counts("at the end");
}

static long shm_entry(void *arg)
{
	long id = sys_shmget(IPC_PRIVATE, 4 * PAGE_SIZE, IPC_CREAT | 0600);
	long at = id < 0 ? id : sys_shmat((int)id, 0, 0);

	*(long *)arg = id;
	return at;
}

static long remove_entry(void *arg)
{
	return sys_shmctl((int)*(long *)arg, IPC_RMID, 0);
}

static void shared_memory_that_outlives_its_makers(void **state)
{
	struct task_struct *init = start_init(), *child = fork_of(init);
	struct machine_result res;
	long id = -1;

	(void)state;
	res = task_call(child, shm_entry, &id);
	assert_true(res.value > 0);
	put_byte(child, (unsigned long)res.value);
	check_all_counts("attached");
	end(init, child);
	check_all_counts("attached to nobody");
	assert_int_equal(task_call(init, remove_entry, &id).value, 0);
	check_all_counts("removed");
	end(NULL, init);
	check_all_counts("at the end");
}

static long exec_entry(void *arg)
{
	static const struct exec_segment segment = {
		.vaddr = 0x400000, .file_bytes = PAGE_SIZE, .mem_bytes = 3 * PAGE_SIZE,
		.align = PAGE_SIZE, .flags = 7,
	};
	const struct exec_elf elf = { .file = arg, .gnu_stack = 6, .nr_segments = 1,
				      .segments = &segment };
	const struct exec_image image = { .program = &elf, .args_bytes = 900, .tables_bytes = 600,
					  .comm = "demo" };

	return kernel_execve_image(&image);
}

static void a_program_takes_the_place_of_another(void **state)
{
	struct file *file = memfile_create("/bin/demo", 4 * PAGE_SIZE, 0755, NULL, NULL);
	struct task_struct *init = start_init(), *child = fork_of(init);

	(void)state;
	assert_false(IS_ERR(file));
	assert_int_equal(task_call(child, exec_entry, file).value, 0);
	fput(file);
	check_all_counts("another program");
	end(init, child);
	end(NULL, init);
	check_all_counts("at the end");
}

static void kobjects_and_areas(void **state)
{
	struct kset *set = kset_create_and_add("devices", NULL, NULL);
	struct kobject *bus, *disk;
	void *area, *block;

	(void)state;
	assert_non_null(set);
	audit_hold(&set->kobj.arc);
	bus = kobject_create_and_add("bus", &set->kobj);
	audit_hold(&bus->arc);
	disk = kobject_create_and_add("disk", bus);
	audit_hold(&disk->arc);
	area = vmalloc(5 * PAGE_SIZE);
	block = kmalloc(64UL << 10, GFP_KERNEL);
	assert_true(area && block);
	check_all_counts("objects, an area, a large block");
	audit_release(&bus->arc);
	kobject_put(bus);
	audit_release(&set->kobj.arc);
	kset_unregister(set);
	check_all_counts("held by their child alone");
	audit_release(&disk->arc);
	kobject_put(disk);
	vfree(area);
	kfree(block);
	check_all_counts("at the end");
}

/* The audit must see what is wrong, or its silence above says nothing. */
static void a_forgotten_reference_is_found(void **state)
{
	struct task_struct *init = start_init();
	struct check_report report = { .quiet = true };

	(void)state;
	mmgrab(init->mm);
	machine_quiesce(fixture_machine());
	assert_true(audit_counts(fixture_machine(), &report) > 0);
	mmdrop(init->mm);
	check_all_counts("it was put");
	end(NULL, init);
}

/* The same with a record of each reference, which must not be counted once more. */
static const struct machine_config with_holders = { .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(forks_files_and_copies, 4, &with_holders),
		karc_unit_test_config(threads_sessions_and_pidfds, 4, &with_holders),
		karc_unit_test_config(shared_memory_that_outlives_its_makers, 4, &with_holders),
		karc_unit_test_config(a_program_takes_the_place_of_another, 4, &with_holders),
		karc_unit_test_config(kobjects_and_areas, 4, &with_holders),
		KARC_TESTS(nothing_but_the_machine),
		KARC_TESTS(forks_files_and_copies),
		KARC_TESTS(mappings_cut_moved_and_shared),
		KARC_TESTS(threads_sessions_and_pidfds),
		KARC_TESTS(shared_memory_that_outlives_its_makers),
		KARC_TESTS(a_program_takes_the_place_of_another),
		KARC_TESTS(kobjects_and_areas),
		KARC_TESTS(a_forgotten_reference_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
