/* SPDX-License-Identifier: MIT */
/*
 * test_threads.c - the threads of one process at work on all CPUs, until one of them ends it
 *
 * Method: rounds; in each a process with a thread for each of several drivers, which make calls as
 * their thread all at once: memory, files, forks, futexes, waits, limits, names. After a while one
 * driver, by lot, has its thread end the process by exit_group, execve, a kill from inside or one
 * from outside, or all threads leave one by one. Every driver must then find its thread dead, the
 * parent one status, and the fixture nothing left. The seed is the machine's.
 */
#include "guests.h"
#include <karc/base/compiler.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/mm/cache/file.h>
#include <karc/proc/exec.h>
#include <karc/proc/files.h>
#include <karc/proc/futex.h>
#include <karc/proc/group.h>
#include <karc/proc/signal.h>
#include <karc/refcount/ledger.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define NR_THREADS	8
#if KARC_VARIANT == KARC_VARIANT_TSAN
#define NR_ROUNDS	10
#else
#define NR_ROUNDS	40
#endif

enum ending {
	END_EXIT_GROUP, END_EXEC, END_KILL_SELF, END_KILL_OUTSIDE, END_ONE_BY_ONE, NR_ENDINGS
};

struct crowd {
	struct task_struct *init, *leader;
	struct file *file;
	unsigned long word;		/* a page of shared memory */
	enum ending ending;
	bool over;			/* the one who ends it has begun */
};

struct driver {
	struct crowd *crowd;
	struct task_struct *task;
	struct rnd rnd;
	unsigned int index, ender;
	bool survived;			/* it executed, and is the process now */
};

static long in_map(void *arg)
{
	struct driver *d = arg;
	unsigned long len = (1 + rnd_below(&d->rnd, 20)) * PAGE_SIZE;
	long addr = sys_mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char value = (char)d->index, seen = 0;

	if (addr < 0)
		return addr;
	assert_int_equal(user_write((unsigned long)addr, &value, 1), 0);
	assert_int_equal(user_read((unsigned long)addr, &seen, 1), 0);
	assert_int_equal(seen, value);
	return sys_munmap((unsigned long)addr, len);
}

static long in_files(void *arg)
{
	struct driver *d = arg;
	int fd = fd_alloc_install(current->files, 0, get_file(d->crowd->file), false);

	return fd < 0 ? fd : sys_close(fd);
}

/* A child, ended by a kill, and reaped by this thread or another one. */
static long in_fork(void *arg)
{
	const struct kernel_clone_args args = { .exit_signal = SIGCHLD };
	struct task_struct *child = copy_process(&args);
	int err;

	(void)arg;
	if (IS_ERR(child))
		return PTR_ERR(child);
	err = kill_task(child, SIGKILL);
	put_task_struct(child);
	kernel_wait4(-1, NULL, WNOHANG);
	return err;
}

static long in_futex(void *arg)
{
	struct driver *d = arg;
	u32 __user *word = (u32 __user *)d->crowd->word;
	long ret;

	if (rnd_chance(&d->rnd, 1, 2))
		ret = do_futex(word, KARC_FUTEX_WAIT, 0, 20000000, 0);
	else
		ret = do_futex(word, KARC_FUTEX_WAKE, 2, 0, 0);
	return ret >= 0 || ret == -ETIMEDOUT || ret == -ERESTARTSYS ? 0 : ret;
}

static long in_wait(void *arg)
{
	struct driver *d = arg;
	long ret = kernel_wait4(-1, NULL, rnd_chance(&d->rnd, 1, 2) ? WNOHANG : 0);

	return ret >= 0 || ret == -ECHILD || ret == -ERESTARTSYS ? 0 : ret;
}

static long in_settings(void *arg)
{
	struct driver *d = arg;
	struct task_rlimit old, set;
	long err = sys_getrlimit(RLIMIT_NOFILE, &old);

	set = (struct task_rlimit){ 500 + d->index, old.max };
	if (!err)
		err = sys_setrlimit(RLIMIT_NOFILE, &set);
	if (!err)
		err = sys_prctl(PR_SET_CHILD_SUBREAPER, d->index & 1, 0, 0, 0);
	if (!err)
		err = sys_setpgid(0, 0);
	return err;
}

/* One more thread, which another one of this driver's calls could be; it leaves at once. */
static long in_thread(void *arg)
{
	const struct kernel_clone_args args = { .flags = CLONE_PTHREAD };
	struct task_struct *thread = copy_process(&args);

	(void)arg;
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	task_call(thread, entry_exit_thread, &(struct guest){ .a = { 0 } });
	put_task_struct(thread);
	return 0;
}

static long in_exit_group(void *arg)
{
	(void)arg;
	do_group_exit(7 << 8);
}

static long in_exit(void *arg)
{
	(void)arg;
	do_exit(7 << 8);
}

static long in_kill_self(void *arg)
{
	struct driver *d = arg;

	return kill_task(d->crowd->leader, SIGTERM);
}

static long in_exec(void *arg)
{
	static const struct exec_segment code = { 0, 0x400000, 0x1000, 0x1000, 0x1000, 5 };
	struct driver *d = arg;
	struct exec_elf elf = { .file = d->crowd->file, .gnu_stack = 6, .nr_segments = 1,
				.segments = &code };
	struct exec_image image = { .program = &elf, .args_bytes = 10, .tables_bytes = 10 };

	return kernel_execve_image(&image);
}

static void end_process(struct driver *d)
{
	static long (*const ends[])(void *arg) = {
		[END_EXIT_GROUP] = in_exit_group, [END_EXEC] = in_exec,
		[END_KILL_SELF] = in_kill_self, [END_ONE_BY_ONE] = in_exit,
	};
	struct machine_result r;

	WRITE_ONCE(d->crowd->over, true);
	if (d->crowd->ending == END_KILL_OUTSIDE) {
		assert_int_equal(kill_task(d->crowd->leader, SIGKILL), 0);
		r = task_call(d->task, in_exit, d);
	} else {
		r = task_call(d->task, ends[d->crowd->ending], d);
	}
	d->survived = r.end == MACHINE_VALUE;
	assert_true(d->survived == (d->crowd->ending == END_EXEC));
	if (d->survived)
		assert_int_equal(r.value, 0);
}

static long drive(void *arg)
{
	static long (*const calls[])(void *arg) = {
		in_map, in_map, in_files, in_fork, in_futex, in_futex, in_wait, in_settings,
		in_thread,
	};
	struct driver *d = arg;
	struct machine_result r;
	unsigned int steps = 10 + rnd_below(&d->rnd, 40);

	for (;;) {
		if (d->index == d->ender && !steps--) {
			end_process(d);
			return 0;
		}
		if (d->crowd->ending == END_ONE_BY_ONE && READ_ONCE(d->crowd->over)) {
			task_call(d->task, in_exit, d);
			return 0;
		}
		r = task_call(d->task, calls[rnd_below(&d->rnd, ARRAY_SIZE(calls))], d);
		if (r.end == MACHINE_EXITED)
			return 0;
		assert_int_equal(r.end, MACHINE_VALUE);
		assert_int_equal(r.value == -EINTR ? 0 : r.value, 0);
	}
}

static void crowd_round(struct crowd *c, struct driver *drivers, struct rnd *rnd)
{
	unsigned int cpus = machine_nr_cpus(fixture_machine());
	unsigned int ender = rnd_below(rnd, NR_THREADS), i;
	struct task_struct *left = NULL;
	struct fiber *fibers[NR_THREADS];
	int status;
	pid_t pid;

	c->over = false;
	c->ending = (enum ending)rnd_below(rnd, NR_ENDINGS);
	c->leader = fork_flags(c->init, 0);
	pid = c->leader->pid;
	c->word = map_anon(c->leader, PAGE_SIZE);
	for (i = 0; i < NR_THREADS; i++) {
		drivers[i] = (struct driver){ .crowd = c, .index = i, .ender = ender,
					      .task = i ? new_thread(c->leader) : c->leader };
		rnd_seed(&drivers[i].rnd, machine_random(fixture_machine()));
		migrate_task_to(drivers[i].task, i % cpus);
	}
	for (i = 0; i < NR_THREADS; i++)
		fibers[i] = fiber_spawn((i + 1) % cpus, "driver", drive, &drivers[i]);
	join_all(fibers, NR_THREADS);
	for (i = 0; i < NR_THREADS; i++) {
		if (drivers[i].survived)
			left = drivers[i].task;
		else
			assert_true(task_is_dead(drivers[i].task));
	}
	if (left)
		exit_task(left, 7);
	assert_int_equal(wait_for(c->init, pid, 0, &status), pid);
	assert_int_equal(status, c->ending == END_KILL_SELF ? SIGTERM :
			 c->ending == END_KILL_OUTSIDE ? SIGKILL : 7 << 8);
	for (i = 0; i < NR_THREADS; i++)
		put_task_struct(drivers[i].task);
	while (wait_for(c->init, -1, WNOHANG, NULL) > 0)	/* children nobody reaped */
		;
	assert_int_equal(machine_nr_tasks(fixture_machine()), 1);
}

static void threads_work_and_die_together(void **state)
{
	struct crowd c = { .init = start_init() };
	struct driver drivers[NR_THREADS];
	struct rnd rnd;
	u64 alive;
	int round;

	(void)state;
	c.file = memfile_create("/bin/tiny", PAGE_SIZE, 0755, NULL, NULL);
	rnd_seed(&rnd, machine_random(fixture_machine()));
	machine_quiesce(fixture_machine());
	alive = ledger_live_total(fixture_machine());
	for (round = 0; round < NR_ROUNDS; round++)
		crowd_round(&c, drivers, &rnd);
	machine_quiesce(fixture_machine());
	assert_int_equal(ledger_live_total(fixture_machine()), alive);
	fput(c.file);
	end_init(c.init);
}

static const struct machine_config restless = { .switch_every = 4 };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(threads_work_and_die_together),
		karc_unit_test_config(threads_work_and_die_together, 4, &restless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
