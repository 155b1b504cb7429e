/* SPDX-License-Identifier: MIT */
/*
 * replay.c - the loop: one line of the recording after the other
 *
 * What it is
 *	Recorded tasks are karc tasks, children of an init that stands for the shell. A call that
 *	was recorded whole is carried out at its line; one that was interrupted by others' lines at
 *	its end, except that a child shows itself (REC_BORN) before the call that makes it ends,
 *	so it is made then. A task ends at the line where it was seen to end.
 *
 * Worst case
 *	Memory grows with the tasks and files alive, not with the recording; the report keeps one
 *	record for each process.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/overcommit.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/fork.h>
#include <karc/refcount/ledger.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MEM_MAX		(64ULL << 30)	/* of a simulated machine, unless --mem says more */

void replay_stop(struct replay *r, uint64_t line, bool bad_input, const char *fmt, ...)
{
	va_list args;

	if (r->stop)
		return;
	va_start(args, fmt);
	vsnprintf(r->error, sizeof(r->error), fmt, args);
	va_end(args);
	r->error_line = line;
	r->bad_input = bad_input;
	r->stop = true;
}

void replay_mismatch(struct replay *r, const struct rec_call *call, const char *fmt, ...)
{
	va_list args;
	char text[160];
	uint8_t i;

	r->n.mismatched++;
	if (r->n.mismatched > 20)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	fprintf(stderr, "%s:%" PRIu64 ": %s(", r->opt.path, call->line, call->name);
	for (i = 0; i < call->nr_args; i++)
		fprintf(stderr, "%s0x%" PRIx64, i ? ", " : "", call->args[i]);
	fprintf(stderr, ") of pid %u: %s\n", call->pid, text);
	if (r->n.mismatched == 20)
		fprintf(stderr, "%s: further differences are only counted\n", r->opt.path);
}

/* ---- tasks ------------------------------------------------------------------------------- */

struct replay_task *replay_task(struct replay *r, uint32_t pid)
{
	return xa_load(&r->tasks, pid);
}

static struct replay_task *task_add(struct replay *r, uint32_t pid, uint32_t parent,
				    struct task_struct *task)
{
	struct replay_task *t = calloc(1, sizeof(*t));

	if (!t || xa_err(xa_store(&r->tasks, pid, t, GFP_KERNEL))) {
		free(t);
		put_task_struct(task);
		replay_stop(r, r->n.lines, false, "no memory on the host");
		return NULL;
	}
	t->pid = pid;
	t->parent = parent;
	t->task = task;
	task->cpu = pid % r->opt.cpus;
	r->n.processes++;
	r->nr_alive++;
	if (r->nr_alive > r->n.most_alive)
		r->n.most_alive = r->nr_alive;
	return t;
}

struct mm_watch {
	struct arc_dtor dtor;
	struct replay *r;
};

static void mm_dies(void *obj, void *arg)
{
	struct mm_struct *mm = obj;
	struct mm_watch *watch = arg;
	int kind;

	for (kind = 0; kind < NR_FAULT_KINDS; kind++)
		watch->r->n.faults[kind] += (uint64_t)atomic64_read(&mm->nr_faults[kind]);
	free(watch);
}

void replay_watch_mm(struct replay *r, struct mm_struct *mm)
{
	struct mm_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return;
	watch->r = r;
	arc_on_drop(&mm->arc, &watch->dtor, mm_dies, watch);
}

struct birth {
	struct replay *r;
	const struct rec_call *call;
	struct task_struct *child;
};

static long birth_entry(void *arg)
{
	struct birth *b = arg;
	struct kernel_clone_args args = { .exit_signal = SIGCHLD };

	if (b->call && b->call->nr == REC_NR_vfork)
		args.flags = CLONE_VM | CLONE_VFORK;
	if (b->call && (b->call->nr == REC_NR_clone || b->call->nr == REC_NR_clone3)) {
		args.flags = b->call->args[0];
		args.exit_signal = (int)b->call->args[1];
	}
	b->child = copy_process(&args);
	if (IS_ERR(b->child))
		return PTR_ERR(b->child);
	if (!(args.flags & CLONE_VM))
		replay_watch_mm(b->r, b->child->mm);
	return 0;
}

struct replay_task *replay_birth(struct replay *r, struct replay_task *parent, uint32_t child,
				 const struct rec_call *call, long *result)
{
	struct birth b = { .r = r, .call = call };
	struct machine_result res = task_call(parent->task, birth_entry, &b);

	*result = res.end == MACHINE_VALUE ? res.value : -EFAULT;
	if (*result == -ENOSYS)
		replay_stop(r, call->line, true, "karc cannot replay %s with flags 0x%" PRIx64
			    " yet (threads)", call->name, call->args[0]);
	if (*result)
		return NULL;
	return task_add(r, child, parent->pid, b.child);
}

/* A task shows itself before its parent's call ended: find that call. */
static void born(struct replay *r, const struct rec_call *call)
{
	struct replay_task *parent = call->other ? replay_task(r, call->other) : NULL;
	unsigned long i;
	long result;

	if (replay_task(r, call->pid))
		return;
	if (!parent) {
		struct replay_task *t;

		xa_for_each(&r->tasks, i, t)
			if (t->task && t->has_begun && replay_is_clone(t->begun.nr))
				parent = t;
	}
	if (!parent || !parent->task || !parent->has_begun || !replay_is_clone(parent->begun.nr)) {
		replay_stop(r, call->line, true, "pid %u is there, but nobody is making it",
			    call->pid);
		return;
	}
	if (replay_birth(r, parent, call->pid, &parent->begun, &result))
		parent->born_child = call->pid;
	else
		replay_stop(r, call->line, false, "%s failed with %s", parent->begun.name,
			    rec_errno_name((int)-result));
}

/* ---- ends -------------------------------------------------------------------------------- */

static long exit_entry(void *arg)
{
	do_group_exit(*(int *)arg);
}

static long nothing_entry(void *arg)
{
	(void)arg;
	return 0;
}

static void snapshot(struct replay *r, long counts[NR_REPLAY_KINDS])
{
	int kind;

	for (kind = 0; kind < RK_FRAME; kind++)
		counts[kind] = (long)ledger_live_kind(r->m, replay_kind_names[kind]);
	counts[RK_FRAME] = -(long)phys_nr_free(r->m);
}

static struct replay_death *death_record(struct replay *r)
{
	if (r->nr_deaths == r->max_deaths) {
		size_t max = r->max_deaths ? r->max_deaths * 2 : 16;
		struct replay_death *more = reallocarray(r->deaths, max, sizeof(*more));

		if (!more)
			return NULL;
		r->deaths = more;
		r->max_deaths = max;
	}
	memset(&r->deaths[r->nr_deaths], 0, sizeof(*r->deaths));
	return &r->deaths[r->nr_deaths++];
}

static void describe(struct replay_death *d, const struct replay_task *t, int status)
{
	const struct task_struct *task = t->task;
	struct mm_struct *mm = task->mm;

	d->pid = t->pid;
	d->status = status;
	memcpy(d->comm, task->comm, sizeof(d->comm));
	d->files = task->files ? files_count(task->files) : 0;
	if (!mm)
		return;
	d->shared_mm = mm_users(mm) > 1;
	d->mappings = mm->map_count;
	d->anon_pages = get_mm_counter(mm, MM_ANONPAGES);
	d->file_pages = get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_SHMEMPAGES);
	d->pgtable_bytes = atomic_long_read(&mm->pgtables_bytes);
}

/*
 * Let the task die, then let its CPU go on to another process, so that the lazily held mm goes
 * too; what is gone afterwards is what this death freed.
 */
static void death(struct replay *r, struct replay_task *t, int status, bool by_us)
{
	long before[NR_REPLAY_KINDS], after[NR_REPLAY_KINDS];
	struct replay_death *d = death_record(r);
	struct machine_result res;
	int kind;

	snapshot(r, before);
	if (d) {
		describe(d, t, status);
		d->killed_by_us = by_us;
	}
	res = task_call(t->task, exit_entry, &status);
	if (res.end != MACHINE_EXITED)
		replay_stop(r, r->n.lines, false, "pid %u did not end: %s", t->pid, res.message);
	r->init->cpu = t->task->cpu;
	task_call(r->init, nothing_entry, NULL);
	snapshot(r, after);
	for (kind = 0; d && kind < NR_REPLAY_KINDS; kind++)
		d->freed[kind] = before[kind] - after[kind];
	t->zombie = t->task;
	t->task = NULL;
	r->nr_alive--;
}

static void ended(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	int status = call->kind == REC_EXITED ? (int)(call->args[0] & 0xff) << 8 :
		     (int)(call->args[0] | (call->args[1] ? WCOREFLAG : 0));

	death(r, t, status, false);
	r->n.replayed++;		/* exit_group, or the signal */
	if (!r->stop)
		r->n.matched++;
}

/* ---- the loop ---------------------------------------------------------------------------- */

static void resized(struct replay *r, const struct rec_call *call)
{
	struct file *file = replay_file(r, (uint32_t)call->args[0]);

	if (file && file != r->any_file)
		file_truncate(file, (loff_t)call->args[1]);
}

static void line(struct replay *r, const struct rec_call *call)
{
	struct replay_task *t;

	if (call->kind == REC_BORN) {
		born(r, call);
		return;
	}
	if (call->kind == REC_RESIZED) {
		resized(r, call);
		return;
	}
	if (call->kind == REC_SUPERSEDED) {
		replay_stop(r, call->line, true, "karc cannot replay execve in a thread yet");
		return;
	}
	t = replay_task(r, call->pid);
	if (!t || !t->task) {
		replay_stop(r, call->line, true, "pid %u is not alive", call->pid);
		return;
	}
	switch (call->kind) {
	case REC_BEGIN:
		t->begun = *call;
		t->has_begun = true;
		break;
	case REC_END:
		t->has_begun = false;
		replay_call(r, t, call);
		break;
	case REC_CALL:
		replay_call(r, t, call);
		break;
	case REC_EXITED:
	case REC_KILLED:
		ended(r, t, call);
		break;
	default:			/* signals, stops, looks at maps: nothing to carry out */
		break;
	}
}

static void watch_memory(struct replay *r)
{
	unsigned long nr_free = phys_nr_free(r->m);

	if (nr_free < r->least_free)
		r->least_free = nr_free;
}

static void play(struct replay *r)
{
	struct recording_error err;
	struct rec_call call;
	int more = 1;

	while (!r->stop && (more = recording_next(r->rec, &call, &err)) > 0) {
		r->n.lines = call.line;
		line(r, &call);
		watch_memory(r);
		if (r->opt.progress && call.line % 512 == 0)
			replay_progress(r, false);
	}
	if (r->opt.progress)
		replay_progress(r, true);
	if (more < 0)
		replay_stop(r, err.line, true, "%s", err.what);
}

/* ---- before and after -------------------------------------------------------------------- */

static void set_profile(struct replay *r)
{
	const struct rec_info *info = r->info;

	r->profile = *mm_profile_for(info->kernel[0], info->kernel[1]);
	r->profile.huge_bytes = info->huge_size;
	r->profile.anon_align = (enum mm_anon_align)info->anon_align;
	r->profile.align_snug = info->align_snug;
}

static bool start(struct replay *r)
{
	struct birth b = { .r = r };
	struct space_sysctl *sysctl = space_sysctl();
	struct machine_result res;
	int fd;

	sysctl->overcommit_memory = (int)r->info->overcommit;
	sysctl->overcommit_ratio = (int)r->info->overcommit_ratio;
	sysctl->overcommit_kbytes = r->info->overcommit_kbytes;
	sysctl->max_map_count = (int)r->info->max_map_count;
	sysctl->mmap_min_addr = r->info->mmap_min_addr;
	r->init = task_create_init("init");
	if (IS_ERR(r->init)) {
		r->init = NULL;
		return false;
	}
	res = task_call(r->init, birth_entry, &b);
	if (res.end != MACHINE_VALUE || res.value || !task_add(r, 1, 0, b.child))
		return false;
	for (fd = 0; fd < 3; fd++)
		if (fd_install_at(b.child->files, (unsigned int)fd, get_file(r->any_file), false))
			return false;
	return true;
}

static long reap_entry(void *arg)
{
	(void)arg;
	while (kernel_wait4(-1, NULL, WNOHANG) > 0)
		;
	return 0;
}

static struct replay_live *live_row(struct replay *r, const char *kind)
{
	unsigned int i;

	for (i = 0; i < r->nr_live; i++)
		if (!strcmp(r->live[i].kind, kind))
			return &r->live[i];
	if (r->nr_live == sizeof(r->live) / sizeof(r->live[0]))
		return NULL;
	r->live[r->nr_live].kind = kind;
	return &r->live[r->nr_live++];
}

static void live_at_boot(void *arg, const struct ledger_row *row)
{
	struct replay_live *live = live_row(arg, row->kind);

	if (live)
		live->at_boot = (long)row->live;
}

static void live_at_end(void *arg, const struct ledger_row *row)
{
	struct replay_live *live = live_row(arg, row->kind);

	if (live)
		live->at_end = (long)row->live;
}

long replay_live_delta(const struct replay *r)
{
	long delta = 0;
	unsigned int i;

	for (i = 0; i < r->nr_live; i++)
		delta += labs(r->live[i].at_end - r->live[i].at_boot);
	return delta;
}

static void finish(struct replay *r)
{
	int killed = SIGKILL, code = 0;
	struct replay_task *t;
	unsigned long i;

	xa_for_each(&r->tasks, i, t) {
		if (t->task)
			death(r, t, killed, true);
		put_task_struct(t->zombie);
		free(t);
	}
	xa_destroy(&r->tasks);
	if (r->init) {
		task_call(r->init, reap_entry, NULL);
		task_call(r->init, exit_entry, &code);
		put_task_struct(r->init);
	}
	replay_files_exit(r);
	machine_quiesce(r->m);
	r->free_at_end = phys_nr_free(r->m);
	ledger_for_each_kind(r->m, live_at_end, r);
}

static void note_left(void *arg, const struct machine_left *left)
{
	struct replay *r = arg;
	struct replay_left *l;

	if (r->nr_left == sizeof(r->left) / sizeof(r->left[0]))
		return;
	l = &r->left[r->nr_left++];
	snprintf(l->kind, sizeof(l->kind), "%s", left->kind);
	if (left->site)
		snprintf(l->site, sizeof(l->site), "%s:%u %s", left->site->file, left->site->line,
			 left->site->func);
	l->count = left->count;
	l->bytes = left->bytes;
}

static bool boot(struct replay *r)
{
	struct machine_config config = {
		.nr_cpus = r->opt.cpus, .seed = r->opt.seed, .quiet = true, .track = true,
	};

	config.mem_bytes = r->opt.mem_bytes ? r->opt.mem_bytes : r->info->memory_bytes;
	if (!r->opt.mem_bytes && config.mem_bytes > MEM_MAX)
		config.mem_bytes = MEM_MAX;
	config.mem_bytes &= ~(PAGE_SIZE - 1);
	r->opt.mem_bytes = config.mem_bytes;
	r->m = machine_boot(&config);
	if (IS_ERR(r->m)) {
		fprintf(stderr, "karc replay: no machine with %" PRIu64 " MiB: %s\n",
			(uint64_t)config.mem_bytes >> 20, strerror((int)-PTR_ERR(r->m)));
		return false;
	}
	machine_on_left(r->m, note_left, r);
	return true;
}

static int verdict(const struct replay *r)
{
	if (r->bad_input)
		return 2;
	return r->stop || r->n.mismatched || r->machine_left ||
	       r->free_at_boot != r->free_at_end || replay_live_delta(r);
}

int replay_run(const struct replay_options *opt)
{
	struct replay r = { .opt = *opt };
	struct recording_error err;
	int status = 2;

	r.rec = recording_open(opt->path, &err);
	if (!r.rec) {
		if (err.line)
			fprintf(stderr, "%s:%" PRIu64 ": %s\n", opt->path, err.line, err.what);
		else
			fprintf(stderr, "karc replay: %s: %s\n", opt->path, err.what);
		return 2;
	}
	r.info = recording_info(r.rec);
	set_profile(&r);
	rnd_seed(&r.rnd, opt->seed);
	if (!boot(&r))
		goto close;
	machine_enter(r.m);
	machine_quiesce(r.m);
	xa_init(&r.tasks);
	r.free_at_boot = r.least_free = phys_nr_free(r.m);
	ledger_for_each_kind(r.m, live_at_boot, &r);
	r.nr_frames = phys_stats(r.m).nr_present;
	if (!replay_files_init(&r) || !start(&r))
		replay_stop(&r, 0, false, "the machine is too small to begin");
	play(&r);
	finish(&r);
	machine_leave();
	r.machine_left = machine_shutdown(r.m);
	replay_report(&r);
	status = verdict(&r);
close:
	free(r.deaths);
	recording_close(r.rec);
	return status;
}
