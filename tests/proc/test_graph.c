/* SPDX-License-Identifier: MIT */
/*
 * test_graph.c - what the machine holds of processes, and what they hold of each other
 */
#include "guests.h"

#include "graph_look.h"

#include <karc/mm/space/mm.h>
#include <karc/proc/files.h>
#include <karc/proc/shm.h>
#include <karc/proc/syscall.h>
#include <sys/ipc.h>

static void a_task_is_held_by_the_table_and_a_cpu_until_its_end(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_roots(g, &child->arc, "pid table"), 1);
	assert_int_equal(look_roots(g, &child->arc, "CPU 0"), 1);
	assert_int_equal(look_roots(g, &init->arc, "init of the machine"), 1);
	assert_string_equal(look_node(g, &child->arc)->label, "init, pid 2");
	arc_graph_free(g);
	exit_task(child, 0);
	g = look();
	assert_int_equal(look_roots(g, &child->arc, "pid table"), 1);	/* a zombie has its number */
	assert_int_equal(look_roots(g, &child->arc, "CPU 0"), 0);
	assert_string_equal(look_node(g, &child->arc)->label, "init, pid 2, dead");
	arc_graph_free(g);
	assert_int_equal(wait_for(init, child->pid, 0, NULL), child->pid);
	g = look();
	assert_int_equal(look_roots(g, &child->arc, "pid table"), 0);
	arc_graph_free(g);
	put_task_struct(child);
	end_init(init);
}

static void a_task_uses_its_space_and_owns_its_parts(void **state)
{
	struct task_struct *init = start_init();
	struct arc_graph *g = look();

	(void)state;
	assert_int_equal(look_edges(g, &init->arc, &init->mm->arc, ARC_EDGE_USER, "mm", ARC_NONE),
			 1);
	assert_int_equal(look_node(g, &init->mm->arc)->users, 1);
	assert_int_equal(look_edges(g, &init->arc, &init->thread_pid->arc, ARC_EDGE_STRONG,
				    "thread_pid", ARC_NONE), 1);
	assert_int_equal(look_edges(g, &init->arc, &init->real_parent->arc, ARC_EDGE_STRONG,
				    "real_parent", ARC_NONE), 1);
	arc_graph_free(g);
	end_init(init);
}

GUEST_CALL(call_pidfd_open, sys_pidfd_open((pid_t)a[0], 0))
GUEST_CALL(call_shmget, sys_shmget(IPC_PRIVATE, 4 * PAGE_SIZE, IPC_CREAT | 0600))
GUEST_CALL(call_shmat, sys_shmat((int)a[0], 0, 0))
GUEST_CALL(call_shm_remove, sys_shmctl((int)a[0], IPC_RMID, 0))
GUEST_CALL(call_memfd, sys_memfd_create("bits", 0))

static const struct arc_graph_node *only(const struct arc_graph *g, const char *type)
{
	const struct arc_graph_node *found = NULL;
	unsigned int i;

	for (i = 0; i < arc_graph_nr_nodes(g); i++) {
		if (strcmp(arc_graph_node(g, i)->type, type))
			continue;
		assert_null(found);
		found = arc_graph_node(g, i);
	}
	assert_non_null(found);
	return found;
}

static void descriptors_are_shown_by_their_number(void **state)
{
	struct task_struct *init = start_init();
	const struct arc_graph_node *file;
	struct arc_graph *g;

	(void)state;
	assert_int_equal(as_guest(init, call_memfd), 0);
	assert_int_equal(as_guest(init, call_memfd), 1);
	assert_int_equal(close_fd_of(init->files, 0), 0);
	g = look();
	file = only(g, "file");
	assert_int_equal(look_edges(g, only(g, "files_struct")->key, file->key,
				    ARC_EDGE_STRONG, "fds", 1), 1);
	arc_graph_free(g);
	end_init(init);
}

static void a_pidfd_and_an_attachment_own_what_they_name(void **state)
{
	struct task_struct *init = start_init();
	const struct arc_graph_node *file;
	struct arc_graph *g;
	long id;

	(void)state;
	assert_int_equal(as_guest(init, call_pidfd_open, (unsigned long)init->pid), 0);
	g = look();
	file = only(g, "file");
	assert_int_equal(look_edges(g, file->key, &init->thread_pid->arc, ARC_EDGE_STRONG,
				    "private_data", ARC_NONE), 1);
	arc_graph_free(g);
	assert_int_equal(close_fd_of(init->files, 0), 0);

	id = as_guest(init, call_shmget);
	assert_true(id >= 0);
	assert_true(as_guest(init, call_shmat, (unsigned long)id) > 0);
	g = look();
	assert_int_equal(look_roots(g, only(g, "shmid_kernel")->key, "table of segments"), 1);
	assert_int_equal(look_edges(g, only(g, "file")->key, only(g, "shmid_kernel")->key,
				    ARC_EDGE_STRONG, "private_data", ARC_NONE), 1);
	assert_int_equal(look_edges(g, only(g, "shmid_kernel")->key, only(g, "inode")->key,
				    ARC_EDGE_STRONG, "inode", ARC_NONE), 1);
	arc_graph_free(g);
	assert_int_equal(as_guest(init, call_shm_remove, (unsigned long)id), 0);
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_task_is_held_by_the_table_and_a_cpu_until_its_end),
		KARC_TESTS(a_task_uses_its_space_and_owns_its_parts),
		KARC_TESTS(descriptors_are_shown_by_their_number),
		KARC_TESTS(a_pidfd_and_an_attachment_own_what_they_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
