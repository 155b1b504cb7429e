/* SPDX-License-Identifier: MIT */
/*
 * test_storm.c - thousands of random lives on all CPUs leave nothing behind
 *
 * Method: drivers, two on each CPU, each with a seeded generator and a family of processes of its
 * own, threads among them, that fork, share, map, touch, execute, move, borrow, wait, kill, fault
 * and exit at random, while the machine switches between all of them. Private memory is compared
 * with what was last written there. In the end every family is ended, init reaps what it inherited,
 * and the fixture asks what is left. A second kind of storm fails random allocations all the way.
 * The seed is printed; KARC_TEST_SEED=n replays machine and storm.
 */
#include "guests.h"
#include <karc/base/compiler.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/hw/inject.h>
#include <karc/hw/mutex.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/slab/kmalloc.h>
#include <karc/mm/space/mm.h>
#include <karc/proc/exec.h>
#include <karc/proc/files.h>
#include <karc/proc/group.h>
#include <karc/proc/signal.h>
#include <sys/prctl.h>

#define NR_DRIVERS	8
#define FAMILY		8
#if KARC_VARIANT == KARC_VARIANT_TSAN
#define NR_STEPS	100	/* of each driver; some milliseconds each */
#else
#define NR_STEPS	1000
#endif
#define FAIL_WITHIN	60

struct storm {
	struct task_struct *init;
	struct mutex init_lock;		/* one call at a time */
	struct file *program;
	bool failing;			/* allocations fail at random */
};

/* One process. What it knows about one byte of its memory. */
struct soul {
	struct task_struct *task;	/* NULL: free slot */
	unsigned long addr;		/* 0: nothing mapped that is remembered */
	char value;
	bool shared;			/* others write there too */
};

struct driver {
	struct storm *storm;
	struct rnd rnd;
	struct soul family[FAMILY];
	struct soul *now;		/* whose call it is */
};

static struct soul *free_slot(struct driver *d)
{
	int i;

	for (i = 0; i < FAMILY; i++)
		if (!d->family[i].task)
			return &d->family[i];
	return NULL;
}

static bool no_memory(const struct driver *d, long err)
{
	return err == -ENOMEM && d->storm->failing;
}

/* ---- inside a call ---- */

static long in_map(void *arg)
{
	struct driver *d = arg;
	unsigned long len = (1 + rnd_below(&d->rnd, 40)) * PAGE_SIZE;
	long addr = sys_mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char value = (char)rnd_u32(&d->rnd), seen = 0;
	unsigned long at;
	int err;

	if (addr < 0)
		return addr;
	at = (unsigned long)addr + rnd_below(&d->rnd, (u32)len);
	err = user_write(at, &value, 1);
	fiber_yield();
	if (!err)
		err = user_read(at, &seen, 1);
	if (err)
		return no_memory(d, -ENOMEM) ? -ENOMEM : err;
	assert_int_equal(seen, value);
	if (rnd_chance(&d->rnd, 1, 3))
		return sys_munmap((unsigned long)addr, len);
	d->now->addr = at;
	d->now->value = value;
	d->now->shared = d->now->shared || mm_users(current->mm) > 1;
	return 0;
}

static long in_rewrite(void *arg)
{
	struct driver *d = arg;
	char value = (char)rnd_u32(&d->rnd), seen = 0;

	if (!d->now->addr)
		return 0;
	if (user_read(d->now->addr, &seen, 1))
		return no_memory(d, -ENOMEM) ? -ENOMEM : -EFAULT;
	if (!d->now->shared)
		assert_int_equal(seen, d->now->value);
	if (user_write(d->now->addr, &value, 1))
		return no_memory(d, -ENOMEM) ? -ENOMEM : -EFAULT;
	d->now->value = value;
	return 0;
}

static long in_cut(void *arg)
{
	struct driver *d = arg;
	unsigned long page = d->now->addr & PAGE_MASK;

	if (!d->now->addr || d->now->shared)
		return 0;
	d->now->addr = 0;
	return rnd_chance(&d->rnd, 1, 2) ? sys_munmap(page, PAGE_SIZE) :
	       sys_mprotect(page, PAGE_SIZE, PROT_READ);
}

static long in_move(void *arg)
{
	struct driver *d = arg;

	migrate_task_to(current, rnd_below(&d->rnd, machine_nr_cpus(fixture_machine())));
	return in_rewrite(d);
}

static long in_files(void *arg)
{
	struct driver *d = arg;
	unsigned int fd = rnd_below(&d->rnd, 100);
	int err;

	if (rnd_chance(&d->rnd, 1, 2)) {
		close_fd_of(current->files, fd);
		return 0;
	}
	err = fd_install_at(current->files, fd, get_file(d->storm->program),
			    rnd_chance(&d->rnd, 1, 2));
	return err;
}

static long in_exec(void *arg)
{
	static const struct exec_segment segments[] = {
		{ 0, 0, 0x1200, 0x1200, 0x1000, 5 },
		{ 0x2100, 0x3100, 0x200, 0x3000, 0x1000, 6 },
	};
	struct driver *d = arg;
	struct exec_elf elf = { .file = d->storm->program, .dyn = true, .gnu_stack = 6,
				.nr_segments = 2, .segments = segments };
	struct exec_image image = { .program = &elf, .args_bytes = 300, .tables_bytes = 400,
				    .vdso_bytes = PAGE_SIZE, .comm = "storm" };
	int err = kernel_execve_image(&image);

	if (!err) {
		d->now->addr = 0;
		d->now->shared = false;
	}
	return err;
}

static long in_wait(void *arg)
{
	long pid = kernel_wait4(-1, NULL, WNOHANG | __WALL);

	(void)arg;
	return pid == -ECHILD || pid >= 0 ? 0 : pid;
}

static long in_fault(void *arg)
{
	(void)arg;
	if (user_write(16, "x", 1) != -EFAULT)
		return -EINVAL;
	do_group_exit(current->fault.signo);
}

static long in_exit(void *arg)
{
	struct driver *d = arg;

	do_group_exit((int)rnd_below(&d->rnd, 256) << 8);
}

/* This thread only. */
static long in_exit_thread(void *arg)
{
	struct driver *d = arg;

	do_exit((int)rnd_below(&d->rnd, 256) << 8);
}

/* One of the family, perhaps itself; those that are dead already do not mind. */
static long in_kill(void *arg)
{
	static const int signals[] = { 0, SIGCHLD, SIGTERM, SIGKILL };
	struct driver *d = arg;
	struct soul *victim = &d->family[rnd_below(&d->rnd, FAMILY)];
	int signo = signals[rnd_below(&d->rnd, ARRAY_SIZE(signals))];
	int err = victim->task ? kill_task(victim->task, signo) : 0;

	return err == -ESRCH ? 0 : err;
}

static long in_group(void *arg)
{
	struct driver *d = arg;

	if (rnd_chance(&d->rnd, 1, 2))
		ksys_setsid();
	else
		ksys_setpgid(0, 0);
	return ksys_setpgid(0, 0) == -EINVAL;
}

static long in_setting(void *arg)
{
	(void)arg;
	sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return sys_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* ---- one step ---- */

static void bury(struct soul *soul)
{
	assert_true(soul->task->exit_state != 0);
	put_task_struct(soul->task);
	soul->task = NULL;
}

/* The child knows what its parent knew; with a common space both may write there. */
static void step_fork(struct driver *d)
{
	static const u64 flags[] = { 0, 0, 0, CLONE_VM, CLONE_FILES, CLONE_PARENT, CLONE_PTHREAD,
				     CLONE_PTHREAD, CLONE_VM | CLONE_SIGHAND, CLONE_FS };
	struct guest_clone g = { .args = {
		.flags = flags[rnd_below(&d->rnd, ARRAY_SIZE(flags))],
		.exit_signal = rnd_chance(&d->rnd, 1, 8) ? 0 : SIGCHLD,
	} };
	struct soul *child = free_slot(d), *parent = d->now;
	struct machine_result r;

	if (!child)
		return;
	r = task_call(parent->task, entry_copy, &g);
	if (g.child && !IS_ERR(g.child)) {	/* also if it was killed on its way back */
		*child = *parent;
		child->task = g.child;
		if (g.args.flags & CLONE_VM)
			child->shared = parent->shared = true;
		migrate_task_to(child->task,
				rnd_below(&d->rnd, machine_nr_cpus(fixture_machine())));
	}
	if (r.end == MACHINE_EXITED)
		bury(parent);
	else if (!no_memory(d, r.value))
		assert_int_equal(r.value, 0);
}

/* Somebody from outside looks at the space for a while, on either of its two counts. */
static void step_borrow(struct driver *d)
{
	struct mm_struct *mm = get_task_mm(d->now->task);

	if (!mm)
		return;			/* it was killed */
	if (rnd_chance(&d->rnd, 1, 2)) {
		fiber_yield();
		mmput(mm);
	} else {
		mmgrab(mm);
		mmput(mm);
		fiber_yield();
		mmdrop(mm);
	}
}

static void step_call(struct driver *d)
{
	static long (*const calls[])(void *arg) = {
		in_map, in_map, in_map, in_rewrite, in_rewrite, in_cut, in_move, in_files, in_exec,
		in_wait, in_wait, in_fault, in_exit, in_exit_thread, in_kill, in_group, in_setting,
	};
	struct machine_result r;

	r = task_call(d->now->task, calls[rnd_below(&d->rnd, ARRAY_SIZE(calls))], d);
	if (r.end == MACHINE_EXITED) {
		bury(d->now);
		return;
	}
	assert_int_equal(r.end, MACHINE_VALUE);
	if (!no_memory(d, r.value))
		assert_int_equal(r.value, 0);
}

/* A family that died out begins anew. */
static void found_family(struct driver *d)
{
	struct kernel_clone_args args = { .exit_signal = SIGCHLD };
	long pid;

	mutex_lock(&d->storm->init_lock);
	pid = as_task(d->storm->init, entry_clone, &args);
	mutex_unlock(&d->storm->init_lock);
	if (no_memory(d, pid))
		return;
	assert_true(pid > 0);
	d->family[0] = (struct soul){ .task = find_get_task_by_vpid((pid_t)pid) };
}

static void step(struct driver *d)
{
	d->now = &d->family[rnd_below(&d->rnd, FAMILY)];
	if (!d->now->task)
		d->now = &d->family[0];
	if (d->storm->failing && rnd_chance(&d->rnd, 1, 4))
		inject_arm(fixture_machine(), 1 + rnd_below(&d->rnd, FAIL_WITHIN));
	if (!d->now->task)
		found_family(d);
	else if (rnd_chance(&d->rnd, 1, 4))
		step_fork(d);
	else if (rnd_chance(&d->rnd, 1, 10))
		step_borrow(d);
	else
		step_call(d);
}

static long drive(void *arg)
{
	struct driver *d = arg;
	int i;

	for (i = 0; i < NR_STEPS; i++)
		step(d);
	for (i = 0; i < FAMILY; i++) {
		d->now = &d->family[i];
		if (!d->now->task)
			continue;
		task_call(d->now->task, in_exit, d);
		bury(d->now);
	}
	return 0;
}

static long in_reap_all(void *arg)
{
	(void)arg;
	while (kernel_wait4(-1, NULL, WNOHANG | __WALL) > 0)
		;
	return kernel_wait4(-1, NULL, __WALL);
}

static void run_storm(bool failing)
{
	unsigned int cpus = machine_nr_cpus(fixture_machine()), i;
	u64 seed = machine_random(fixture_machine());
	struct storm storm = { .init = start_init(), .failing = failing };
	struct driver *drivers = kcalloc(NR_DRIVERS, sizeof(*drivers), GFP_KERNEL);
	struct fiber *fibers[NR_DRIVERS];
	struct pid *last;

	print_message("seed 0x%llx\n", (unsigned long long)seed);
	mutex_init(&storm.init_lock);
	storm.program = memfile_create("/bin/storm", 3 * PAGE_SIZE, 0755, NULL, NULL);
	for (i = 0; i < NR_DRIVERS; i++) {
		drivers[i].storm = &storm;
		rnd_seed(&drivers[i].rnd, seed + i);
		fibers[i] = fiber_spawn(i % cpus, "driver", drive, &drivers[i]);
		assert_non_null(fibers[i]);
	}
	join_all(fibers, NR_DRIVERS);
	inject_disarm(fixture_machine());
	kfree(drivers);
	last = alloc_pid(0);
	print_message("%d processes lived\n", pid_nr(last));
	put_pid(last);
	assert_int_equal(as_task(storm.init, in_reap_all, NULL), -ECHILD);
	assert_int_equal(machine_nr_tasks(fixture_machine()), 1);
	fput(storm.program);
	end_init(storm.init);
}

static void random_lives_leave_nothing(void **state)
{
	(void)state;
	run_storm(false);
}

static void random_lives_without_memory_leave_nothing(void **state)
{
	(void)state;
	run_storm(true);
}

static const struct machine_config restless = { .switch_every = 4 };
static const struct machine_config tracked = { .switch_every = 4, .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(random_lives_leave_nothing, 1, &restless),
		karc_unit_test_config(random_lives_leave_nothing, 4, &restless),
		karc_unit_test_config(random_lives_leave_nothing, 4, &tracked),
		karc_unit_test_config(random_lives_without_memory_leave_nothing, 1, &restless),
		karc_unit_test_config(random_lives_without_memory_leave_nothing, 4, &restless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
