/* SPDX-License-Identifier: MIT */
/*
 * test_shm.c - System V segments live until they are removed and nobody has them, and every call
 * answers as Linux does
 *
 * Method: attach counts and frames after each step of fork, exit, exec, split; the table against
 * an array under random calls; every allocation failed once.
 */
#include "guests.h"
#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/maps.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/exec.h>
#include <karc/proc/files.h>
#include <karc/proc/shm.h>
#include <karc/refcount/ledger.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define P	PAGE_SIZE
#define BASE	0x10000000UL
#define TOP	0x7ffff7fff000UL

static int get_segment(struct task_struct *task, key_t key, size_t size, int flags)
{
	return (int)ksys_shmget(task->mm, key, size, flags);
}

static long attach(struct task_struct *task, int id, unsigned long addr, int flags)
{
	return ksys_shmat(task->mm, id, addr, flags);
}

static struct shmid_ds stat_of(struct task_struct *task, int id)
{
	struct shmid_ds ds;

	assert_int_equal(ksys_shmctl(task->mm, id, IPC_STAT, &ds), 0);
	return ds;
}

static unsigned long attached(struct task_struct *task, int id)
{
	return stat_of(task, id).shm_nattch;
}

static int remove_segment(struct task_struct *task, int id)
{
	return (int)ksys_shmctl(task->mm, id, IPC_RMID, NULL);
}

static void keys_find_segments_and_flags_decide(void **state)
{
	struct task_struct *init = start_init();
	int id, other;

	(void)state;
	assert_int_equal(get_segment(init, 0x1234, P, 0), -ENOENT);
	id = get_segment(init, 0x1234, 5000, IPC_CREAT | 0600);
	assert_int_equal(id, 0);
	assert_int_equal(get_segment(init, 0x1234, 0, 0), id);
	assert_int_equal(get_segment(init, 0x1234, 5000, IPC_CREAT), id);
	assert_int_equal(get_segment(init, 0x1234, 5001, 0), -EINVAL);
	assert_int_equal(get_segment(init, 0x1234, 1, IPC_CREAT | IPC_EXCL), -EEXIST);
	assert_int_equal(get_segment(init, 0x99, 0, IPC_CREAT), -EINVAL);
	assert_int_equal(get_segment(init, 0x99, ~0UL, IPC_CREAT), -EINVAL);
	assert_int_equal(get_segment(init, 0x99, SHM_MAX_BYTES, IPC_CREAT), -EINVAL);
	assert_int_equal(get_segment(init, 0x99, 1UL << 60, IPC_CREAT), -ENOMEM);
	assert_int_equal(get_segment(init, 0x99, P, IPC_CREAT | SHM_HUGETLB), -ENOSYS);
	other = get_segment(init, IPC_PRIVATE, P, 0600);
	assert_int_equal(other, 1);
	assert_int_equal(get_segment(init, IPC_PRIVATE, P, 0600), 2);
	assert_int_equal(shm_nr_segments(), 3);
	/* A number does not come back with its slot. */
	assert_int_equal(remove_segment(init, other), 0);
	assert_int_equal(remove_segment(init, other), -EINVAL);
	assert_int_equal(get_segment(init, IPC_PRIVATE, P, 0600), 32768 + 1);
	assert_int_equal(attach(init, other, 0, 0), -EINVAL);
	end_init(init);
}

static void permissions_are_the_owners(void **state)
{
	struct task_struct *init = start_init();
	int id = get_segment(init, 1, P, IPC_CREAT | 0400);
	struct shmid_ds ds;
	(void)state;

	mm_flag_assign(init->mm, MMF_CAPABLE, false);
	assert_int_equal(get_segment(init, 1, P, 0600), -EACCES);
	assert_int_equal(get_segment(init, 1, P, 0400), id);
	assert_int_equal(attach(init, id, 0, 0), -EACCES);
	assert_true(attach(init, id, 0, SHM_RDONLY) > 0);
	assert_int_equal(attach(init, id, 0, SHM_RDONLY | SHM_EXEC), -EACCES);
	ds = stat_of(init, id);
	assert_int_equal(ds.shm_nattch, 1);
	ds.shm_perm.mode = 0700;
	assert_int_equal(ksys_shmctl(init->mm, id, IPC_SET, &ds), 0);
	assert_int_equal(stat_of(init, id).shm_perm.mode, 0700);
	assert_true(attach(init, id, 0, SHM_EXEC) > 0);
	ds.shm_perm.mode = 0;
	assert_int_equal(ksys_shmctl(init->mm, id, IPC_SET, &ds), 0);
	assert_int_equal(ksys_shmctl(init->mm, id, IPC_STAT, &ds), -EACCES);
	assert_int_equal(ksys_shmctl(init->mm, id, SHM_STAT_ANY, &ds), id);
	mm_flag_assign(init->mm, MMF_CAPABLE, true);
	assert_int_equal(ksys_shmctl(init->mm, id, IPC_STAT, &ds), 0);
	end_init(init);
}

static void attaching_maps_like_linux(void **state)
{
	struct task_struct *init = start_init();
	int id = get_segment(init, 0xabcd, 2 * P + 1, IPC_CREAT | 0600);
	char text[2048], *line;

	(void)state;
	assert_int_equal(attach(init, id, 0, 0), TOP - 3 * P);
	assert_int_equal(attach(init, id, BASE + 5, SHM_RND | SHM_RDONLY), BASE);
	assert_int_equal(attach(init, id, BASE + 5, 0), -EINVAL);
	assert_int_equal(attach(init, id, BASE + 2 * P, 0), -EINVAL);	/* taken */
	assert_int_equal(attach(init, id, BASE + P, SHM_REMAP), BASE + P);
	assert_int_equal(attach(init, id, 0, SHM_REMAP), -EINVAL);
	assert_int_equal(attach(init, id, 5, SHM_REMAP | SHM_RND), -EINVAL);
	assert_int_equal(attach(init, -1, 0, 0), -EINVAL);
	assert_int_equal(attach(init, id + 1, 0, 0), -EINVAL);
	assert_int_equal(attach(init, id, ~0UL & PAGE_MASK, 0), -EINVAL);	/* wraps */
	assert_int_equal(attached(init, id), 3);
	write_byte(init, BASE + P, 'x');
	assert_int_equal(read_byte(init, TOP - 3 * P), 'x');
	assert_int_equal(write_byte(init, BASE, 'y'), -EFAULT);		/* what is left of it */
	maps_text(init->mm, text, sizeof(text));
	line = "10001000-10004000 rw-s 00000000 00:01 0"
	       "                                  /SYSV0000abcd (deleted)\n";
	assert_non_null(strstr(text, line));
	assert_non_null(strstr(text, "10000000-10001000 r--s 00000000 00:01 0 "));
	end_init(init);
	assert_int_equal(shm_nr_segments(), 1);
}

static void a_removed_segment_goes_with_its_last_mapping(void **state)
{
	struct task_struct *init = start_init(), *child;
	int id = get_segment(init, 7, 3 * P, IPC_CREAT | 0600);
	unsigned long before = vm_memory_committed();
	long at = attach(init, id, 0, 0);

	(void)state;
	write_byte(init, (unsigned long)at, 'x');
	child = fork_flags(init, 0);
	assert_int_equal(attached(init, id), 2);
	assert_int_equal(remove_segment(init, id), 0);
	assert_int_equal(stat_of(init, id).shm_perm.mode, 0600 | 01000);
	assert_int_equal(stat_of(init, id).shm_perm.__key, IPC_PRIVATE);
	assert_int_equal(get_segment(init, 7, P, 0), -ENOENT);
	/* By number it can still be had. */
	assert_int_equal(attach(child, id, BASE, 0), BASE);
	assert_int_equal(attached(init, id), 3);
	assert_int_equal(ksys_shmdt(init->mm, (unsigned long)at), 0);
	assert_int_equal(ksys_shmdt(init->mm, (unsigned long)at), -EINVAL);
	assert_int_equal(ksys_shmdt(init->mm, (unsigned long)at + 1), -EINVAL);
	assert_int_equal(attached(init, id), 2);
	assert_int_equal(read_byte(child, BASE), 'x');
	assert_int_equal(vm_memory_committed(), before);
	exit_task(child, 0);
	reap(init, child);
	assert_int_equal(shm_nr_segments(), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
	assert_int_equal(vm_memory_committed(), before - 3);
	assert_int_equal(remove_segment(init, id), -EINVAL);
	end_init(init);
}

static void a_segment_stays_when_nobody_has_it(void **state)
{
	struct task_struct *init = start_init(), *child;
	int id = get_segment(init, 7, P, IPC_CREAT | 0600);

	(void)state;
	child = fork_flags(init, 0);
	assert_int_equal(attach(child, id, BASE, 0), BASE);
	write_byte(child, BASE, 'k');
	assert_int_equal(stat_of(init, id).shm_lpid, 0);	/* the test itself called */
	exit_task(child, 0);
	reap(init, child);
	assert_int_equal(attached(init, id), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 1);
	assert_int_equal(attach(init, get_segment(init, 7, 0, 0), BASE, SHM_RDONLY), BASE);
	assert_int_equal(read_byte(init, BASE), 'k');
	end_init(init);
	/* And leaves with the machine: nothing is reported as left. */
}

static long entry_shm_calls(void *arg)
{
	int *id = arg;
	long at;

	*id = (int)sys_shmget(IPC_PRIVATE, 2 * P, 0600);
	at = sys_shmat(*id, 0, 0);
	if (at < 0 || user_write((unsigned long)at, "q", 1))
		return -1;
	return sys_shmdt((unsigned long)at);
}

static void callers_are_remembered(void **state)
{
	struct task_struct *init = start_init(), *child = fork_flags(init, 0);
	struct shmid_ds ds;
	int id = -1;

	(void)state;
	assert_int_equal(as_task(child, entry_shm_calls, &id), 0);
	ds = stat_of(init, id);
	assert_int_equal(ds.shm_cpid, child->tgid);
	assert_int_equal(ds.shm_lpid, child->tgid);
	assert_int_equal(ds.shm_nattch, 0);
	assert_int_equal(ds.shm_segsz, 2 * P);
	exit_task(child, 0);
	reap(init, child);
	end_init(init);
}

static void the_parts_of_an_attachment_go_together(void **state)
{
	struct task_struct *init = start_init();
	int id = get_segment(init, IPC_PRIVATE, 8 * P, 0600), other;

	(void)state;
	other = get_segment(init, IPC_PRIVATE, 8 * P, 0600);
	assert_int_equal(attach(init, id, BASE, 0), BASE);
	assert_int_equal(ksys_mprotect(init->mm, BASE + 2 * P, P, PROT_READ), 0);
	assert_int_equal(attached(init, id), 3);
	assert_int_equal(ksys_munmap(init->mm, BASE + 4 * P, P), 0);
	assert_int_equal(attached(init, id), 4);
	/* Others' memory within: a plain mapping, and another attachment at its own place. */
	assert_int_equal(ksys_mmap(init->mm, BASE + 4 * P, P, PROT_READ,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0), BASE + 4 * P);
	assert_int_equal(attach(init, other, BASE + 8 * P, 0), BASE + 8 * P);
	assert_int_equal(ksys_shmdt(init->mm, BASE), 0);
	assert_int_equal(attached(init, id), 0);
	assert_int_equal(attached(init, other), 1);
	assert_int_equal(init->mm->map_count, 2);
	assert_int_equal(ksys_shmdt(init->mm, BASE), -EINVAL);
	/* The first part may be gone already. */
	assert_int_equal(ksys_munmap(init->mm, BASE + 8 * P, 3 * P), 0);
	assert_int_equal(ksys_shmdt(init->mm, BASE + 8 * P), 0);
	assert_int_equal(attached(init, other), 0);
	end_init(init);
}

static long entry_exec(void *arg)
{
	static const struct exec_segment segment = {
		.file_bytes = P, .mem_bytes = P, .align = P, .flags = 5,
	};
	const struct exec_elf elf = {
		.file = arg, .dyn = true, .gnu_stack = 6, .nr_segments = 1, .segments = &segment,
	};
	const struct exec_image image = { .program = &elf, .args_bytes = 100, .tables_bytes = 100 };

	return kernel_execve_image(&image);
}

static void exec_detaches(void **state)
{
	struct task_struct *init = start_init(), *child;
	struct file *program = memfile_create("/bin/x", P, 0755, NULL, NULL);
	int id = get_segment(init, IPC_PRIVATE, P, 0600);

	(void)state;
	assert_int_equal(attach(init, id, 0, 0) > 0, 1);
	child = fork_flags(init, 0);
	assert_int_equal(attached(init, id), 2);
	assert_int_equal(as_task(child, entry_exec, program), 0);
	assert_int_equal(attached(init, id), 1);
	exit_task(child, 0);
	reap(init, child);
	fput(program);
	end_init(init);
}

static void limits_and_usage_are_told(void **state)
{
	struct task_struct *init = start_init();
	struct shm_info usage;
	struct shminfo limits;
	struct shmid_ds ds;
	int a = get_segment(init, IPC_PRIVATE, P, 0600), b, c;

	(void)state;
	b = get_segment(init, IPC_PRIVATE, 3 * P, 0600);
	c = get_segment(init, IPC_PRIVATE, 5 * P, 0600);
	assert_int_equal(ksys_shmctl(init->mm, 0, IPC_INFO, &limits), 2);
	assert_int_equal(limits.shmmax, SHM_MAX_BYTES);
	assert_int_equal(limits.shmmin, 1);
	assert_int_equal(limits.shmmni, 4096);
	assert_int_equal(attach(init, c, BASE, 0), BASE);
	write_byte(init, BASE, 1);
	write_byte(init, BASE + P, 1);
	assert_int_equal(ksys_shmctl(init->mm, 0, SHM_INFO, &usage), 2);
	assert_int_equal(usage.used_ids, 3);
	assert_int_equal(usage.shm_tot, 9);
	assert_int_equal(usage.shm_rss, 2);
	remove_segment(init, a);
	assert_int_equal(ksys_shmctl(init->mm, 0, SHM_STAT, &ds), -EINVAL);
	assert_int_equal(ksys_shmctl(init->mm, 1, SHM_STAT, &ds), b);
	assert_int_equal(ds.shm_segsz, 3 * P);
	assert_int_equal(ksys_shmctl(init->mm, b, SHM_LOCK, NULL), 0);
	assert_int_equal(stat_of(init, b).shm_perm.mode, 0600 | 02000);
	assert_int_equal(ksys_shmctl(init->mm, b, SHM_UNLOCK, NULL), 0);
	assert_int_equal(stat_of(init, b).shm_perm.mode, 0600);
	assert_int_equal(ksys_shmctl(init->mm, b, 99, NULL), -EINVAL);
	assert_int_equal(ksys_shmctl(init->mm, -1, IPC_STAT, &ds), -EINVAL);
	assert_int_equal(ksys_shmctl(init->mm, 77, IPC_STAT, &ds), -EINVAL);
	end_init(init);
}

static void there_are_so_many_and_no_more(void **state)
{
	struct task_struct *init = start_init();
	int i;

	(void)state;
	for (i = 0; i < SHM_MAX_SEGMENTS; i++)
		assert_int_equal(get_segment(init, IPC_PRIVATE, 1, 0600), i);
	assert_int_equal(get_segment(init, IPC_PRIVATE, 1, 0600), -ENOSPC);
	assert_int_equal(remove_segment(init, 100), 0);
	assert_int_equal(get_segment(init, IPC_PRIVATE, 1, 0600), 32768 + 100);
	end_init(init);
}

/* ---- system calls with descriptors and user memory ---- */

static long entry_memfd(void *arg)
{
	int fd = (int)sys_memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	long at;

	(void)arg;
	if (sys_ftruncate(fd, 2 * (loff_t)P) || sys_ftruncate(fd, -1) != -EINVAL ||
	    sys_ftruncate(fd + 1, 0) != -EBADF || sys_fallocate(fd, 0, 0, 3 * (loff_t)P) ||
	    sys_fallocate(-1, 0, 0, 1) != -EBADF || sys_fcntl_seals(99, F_GET_SEALS, 0) != -EBADF)
		return -1;
	at = sys_mmap(0, 3 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at < 0 || user_write((unsigned long)at + 2 * P, "x", 1))
		return -2;
	if (sys_fcntl_seals(fd, F_ADD_SEALS, F_SEAL_SHRINK) || sys_ftruncate(fd, 0) != -EPERM ||
	    sys_fcntl_seals(fd, F_GET_SEALS, 0) != F_SEAL_SHRINK)
		return -3;
	return sys_close(fd);
}

static void memfd_calls_work_on_descriptors(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(as_task(init, entry_memfd, NULL), 0);
	assert_int_equal(files_count(init->files), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 3);
	end_init(init);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
}

static long entry_ctl(void *arg)
{
	long at = sys_mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int id = (int)sys_shmget(IPC_PRIVATE, 123, 0640);
	struct shmid_ds ds;

	(void)arg;
	if (sys_shmctl(id, IPC_STAT, 16) != -EFAULT || sys_shmctl(id, IPC_STAT, (unsigned long)at))
		return -1;
	if (user_read((unsigned long)at, &ds, sizeof(ds)) || ds.shm_segsz != 123)
		return -2;
	ds.shm_perm.mode = 0600;
	if (user_write((unsigned long)at, &ds, sizeof(ds)) ||
	    sys_shmctl(id, IPC_SET, (unsigned long)at) || sys_shmctl(id, IPC_SET, 16) != -EFAULT)
		return -3;
	return sys_shmctl(id, IPC_RMID, 0);
}

static void shmctl_copies_from_and_to_the_program(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(as_task(init, entry_ctl, NULL), 0);
	assert_int_equal(shm_nr_segments(), 0);
	end_init(init);
}

/* ---- failures ---- */

static void snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct task_struct *init = arg;

	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
	values[1] = ledger_live_total(this_machine());
	values[2] = vm_memory_committed();
	values[3] = shm_nr_segments();
	values[4] = (u64)init->mm->map_count;
	values[5] = (u64)shmem_accounted_pages();
}

static long nth_body(void *arg)
{
	struct task_struct *init = arg;
	int id = get_segment(init, 5, 2 * P, IPC_CREAT | 0600);
	long at;

	if (id < 0)
		return id;
	at = attach(init, id, BASE, 0);
	remove_segment(init, id);
	return at < 0 ? at : 0;
}

static void nth_undo(void *arg)
{
	struct task_struct *init = arg;

	assert_int_equal(ksys_shmdt(init->mm, BASE), 0);
}

static void a_failed_call_leaves_nothing(void **state)
{
	struct task_struct *init = start_init();

	(void)state;
	assert_int_equal(nth_body(init), 0);
	nth_undo(init);
	assert_in_range(fixture_fail_nth(nth_body, nth_undo, snapshot, init), 7, 40);
	end_init(init);
}

/* ---- against an array ---- */

#define SEGMENTS	6
#define PROCS		3

struct model {
	int id[SEGMENTS];		/* -1: does not exist */
	bool removed[SEGMENTS];
	unsigned int at[PROCS][SEGMENTS];	/* attachments */
	char byte[SEGMENTS];
};

static unsigned int total(const struct model *m, unsigned int seg)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < PROCS; i++)
		n += m->at[i][seg];
	return n;
}

static unsigned long place(unsigned int seg, unsigned int nth)
{
	return BASE + (seg * 16 + nth) * 4 * P;
}

static void random_step(struct task_struct **task, struct model *m, struct rnd *rnd)
{
	unsigned int who = (unsigned int)(rnd_u64(rnd) % PROCS);
	unsigned int seg = (unsigned int)(rnd_u64(rnd) % SEGMENTS), *at = &m->at[who][seg];

	switch (rnd_u64(rnd) % 4) {
	case 0:
		if (m->id[seg] < 0) {
			m->id[seg] = get_segment(task[who], (key_t)(seg + 1), 2 * P,
						 IPC_CREAT | IPC_EXCL | 0600);
			assert_true(m->id[seg] >= 0);
			m->removed[seg] = false;
			m->byte[seg] = 0;
		} else {
			assert_int_equal(remove_segment(task[who], m->id[seg]), 0);
			m->removed[seg] = true;
		}
		break;
	case 1:
		if (*at < 16) {
			long got = attach(task[who], m->id[seg], place(seg, *at), 0);

			assert_int_equal(got, m->id[seg] < 0 ? -EINVAL : (long)place(seg, *at));
			*at += m->id[seg] >= 0;
		}
		break;
	case 2:
		if (*at)
			assert_int_equal(ksys_shmdt(task[who]->mm, place(seg, --*at)), 0);
		break;
	default:
		if (*at) {
			assert_int_equal(read_byte(task[who], place(seg, 0) + P), m->byte[seg]);
			m->byte[seg] = (char)rnd_u64(rnd);
			write_byte(task[who], place(seg, *at - 1) + P, m->byte[seg]);
		}
	}
	if (m->id[seg] >= 0 && m->removed[seg] && !total(m, seg)) {
		struct shmid_ds ds;

		assert_int_equal(ksys_shmctl(task[0]->mm, m->id[seg], IPC_STAT, &ds), -EINVAL);
		m->id[seg] = -1;
	}
	if (m->id[seg] >= 0)
		assert_int_equal(attached(task[0], m->id[seg]), total(m, seg));
}

static void random_calls_agree_with_an_array(void **state)
{
	struct task_struct *init = start_init(), *task[PROCS] = { init };
	u64 seed = machine_random(this_machine());
	struct model m = { 0 };
	struct rnd rnd;
	unsigned int i;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (i = 0; i < SEGMENTS; i++)
		m.id[i] = -1;
	for (i = 1; i < PROCS; i++)
		task[i] = fork_flags(init, 0);
	for (i = 0; i < 600; i++)
		random_step(task, &m, &rnd);
	for (i = 1; i < PROCS; i++) {
		exit_task(task[i], 0);
		reap(init, task[i]);
		memset(m.at[i], 0, sizeof(m.at[i]));
	}
	for (i = 0; i < SEGMENTS; i++)
		if (m.id[i] >= 0 && (total(&m, i) || !m.removed[i]))
			assert_int_equal(attached(init, m.id[i]), total(&m, i));
	end_init(init);
}

/* ---- on all CPUs at once ---- */

#define STORM_CPUS	8u

struct storm {
	struct task_struct *task[STORM_CPUS];
	unsigned int next_id;
	u64 seed;
};

static long uses_segments(void *arg)
{
	struct storm *s = arg;
	unsigned int id = __atomic_fetch_add(&s->next_id, 1, __ATOMIC_RELAXED), i;
	struct mm_struct *mm = s->task[id]->mm;
	struct rnd rnd;

	rnd_seed(&rnd, s->seed + id);
	for (i = 0; i < 150; i++) {
		key_t key = 1 + (key_t)rnd_below(&rnd, 3);
		int segment = (int)ksys_shmget(mm, key, 3 * P, IPC_CREAT | 0600);
		unsigned char byte = (unsigned char)(1 + id), seen = 0;
		long at;

		assert_true(segment >= 0);
		at = ksys_shmat(mm, segment, 0, 0);
		if (at < 0) {	/* somebody has removed it since */
			assert_int_equal(at, -EINVAL);
			continue;
		}
		assert_int_equal(access_remote_vm(mm, (unsigned long)at + P + id, &byte, 1, true),
				 1);
		if (rnd_chance(&rnd, 1, 4))
			ksys_shmctl(mm, segment, IPC_RMID, NULL);
		if (rnd_chance(&rnd, 1, 4))
			assert_int_equal(ksys_mprotect(mm, (unsigned long)at, P, PROT_READ), 0);
		assert_int_equal(access_remote_vm(mm, (unsigned long)at + P + id, &seen, 1, false),
				 1);
		assert_int_equal(seen, byte);
		assert_int_equal(ksys_shmdt(mm, (unsigned long)at), 0);
	}
	return 0;
}

static void segments_of_all_cpus_are_removed_once(void **state)
{
	struct task_struct *init = start_init();
	unsigned int nr = min(machine_nr_cpus(this_machine()), STORM_CPUS), i;
	struct storm s = { .seed = machine_random(this_machine()) };
	struct fiber *f[STORM_CPUS];
	key_t key;

	(void)state;
	print_message("seed %llu\n", s.seed);
	for (i = 0; i < nr; i++)
		s.task[i] = fork_flags(init, 0);
	for (i = 0; i < nr; i++)
		f[i] = fiber_spawn(i, "storm", uses_segments, &s);
	join_all(f, nr);
	for (key = 1; key <= 3; key++)
		if (get_segment(init, key, 0, 0) >= 0)
			remove_segment(init, get_segment(init, key, 0, 0));
	assert_int_equal(shm_nr_segments(), 0);
	assert_int_equal(shmem_accounted_pages(), 0);
	for (i = 0; i < nr; i++) {
		exit_task(s.task[i], 0);
		reap(init, s.task[i]);
	}
	end_init(init);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(keys_find_segments_and_flags_decide),
		karc_unit_test(permissions_are_the_owners),
		karc_unit_test(attaching_maps_like_linux),
		KARC_TESTS(a_removed_segment_goes_with_its_last_mapping),
		karc_unit_test(a_segment_stays_when_nobody_has_it),
		karc_unit_test(callers_are_remembered),
		karc_unit_test(the_parts_of_an_attachment_go_together),
		karc_unit_test(exec_detaches),
		karc_unit_test(limits_and_usage_are_told),
		karc_unit_test(there_are_so_many_and_no_more),
		karc_unit_test(memfd_calls_work_on_descriptors),
		karc_unit_test(shmctl_copies_from_and_to_the_program),
		karc_unit_test(a_failed_call_leaves_nothing),
		KARC_TESTS(random_calls_agree_with_an_array),
		KARC_TESTS(segments_of_all_cpus_are_removed_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
