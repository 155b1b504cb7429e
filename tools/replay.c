/* SPDX-License-Identifier: MIT */
/*
 * replay.c - the machine before and after a replay, and the verdict
 *
 * The machine is given what the recording measured of the host: memory, limits, overcommit,
 * placement rules, privilege. Objects and frames are counted at boot and at the end.
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
#include <karc/proc/shm.h>
#include <karc/proc/signal.h>
#include <karc/proc/syscall.h>
#include <karc/refcount/ledger.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MEM_MAX		(64ULL << 30)	/* of a simulated machine, unless --mem says more */
#define CAP_IPC_LOCK_BIT	14	/* in rec_info.capabilities */

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

/* ---- before ------------------------------------------------------------------------------ */

bool replay_capable(const struct replay *r)
{
	return r->info->capabilities >> CAP_IPC_LOCK_BIT & 1;
}

static void set_profile(struct replay *r)
{
	const struct rec_info *info = r->info;

	r->profile = *mm_profile_for(info->kernel[0], info->kernel[1]);
	r->profile.huge_bytes = info->huge_size;
	r->profile.anon_align = (enum mm_anon_align)info->anon_align;
	r->profile.align_snug = info->align_snug;
	r->profile.shmem_align = info->thp_shmem != REC_THP_NONE &&
				 info->thp_shmem != REC_THP_NEVER;
	r->profile.vvar_vclock_bytes = info->vvar_clock_bytes;
}

static void set_sysctls(const struct replay *r)
{
	struct space_sysctl *sysctl = space_sysctl();

	sysctl->overcommit_memory = (int)r->info->overcommit;
	sysctl->overcommit_ratio = (int)r->info->overcommit_ratio;
	sysctl->overcommit_kbytes = r->info->overcommit_kbytes;
	sysctl->max_map_count = (int)r->info->max_map_count;
	sysctl->mmap_min_addr = r->info->mmap_min_addr;
}

/* As the first task: limits, ignored signals and personality that it was started with. */
static long settings_entry(void *arg)
{
	const struct signal_action ignore = { .handler = 1 };
	const struct replay *r = arg;
	unsigned int i;
	long err = 0;

	for (i = 0; i < REC_NR_LIMITS && !err; i++) {
		struct task_rlimit set = { r->info->limits[i].cur, r->info->limits[i].max };

		err = do_prlimit(current, i, &set, NULL);
	}
	for (i = 1; i <= KARC_NSIG && !err; i++)
		if (r->info->ignored_signals >> (i - 1) & 1)
			err = do_sigaction((int)i, &ignore, NULL);
	if (!err && sys_personality((unsigned int)r->info->personality) < 0)
		err = -EINVAL;
	mm_flag_assign(current->mm, MMF_CAPABLE, replay_capable(r));
	return err;
}

/* init stands for the shell: its session and group are those that lie outside the recording. */
static long shell_entry(void *arg)
{
	(void)arg;
	return sys_setsid();
}

static bool start(struct replay *r)
{
	struct machine_result res;
	struct replay_task *first;

	set_sysctls(r);
	r->init = task_create_init("init");
	if (IS_ERR(r->init)) {
		r->init = NULL;
		return false;
	}
	mm_flag_assign(r->init->mm, MMF_CAPABLE, true);	/* for limits above the defaults */
	res = task_call(r->init, shell_entry, NULL);
	if (res.end != MACHINE_VALUE || res.value < 0 || !replay_first_task(r))
		return false;
	first = replay_task(r, 1);
	res = task_call(first->task, settings_entry, r);
	return res.end == MACHINE_VALUE && !res.value && replay_first_fds(r, first->task);
}

/* ---- after ------------------------------------------------------------------------------- */

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

static long reap_entry(void *arg)
{
	(void)arg;
	while (kernel_wait4(-1, NULL, WNOHANG | __WALL) > 0)
		;
	return 0;
}

/* Segments outlive who made them; the host's were not the program's last word either. */
static long remove_segments_entry(void *arg)
{
	struct replay *r = arg;
	unsigned long id;
	void *value;

	xa_for_each(&r->shm_ids, id, value)
		ksys_shmctl(current->mm, (int)xa_to_value(value), IPC_RMID, NULL);
	return 0;
}

static long exit_entry(void *arg)
{
	(void)arg;
	do_group_exit(0);
}

static void finish(struct replay *r)
{
	replay_end_all(r);
	if (r->init) {
		task_call(r->init, reap_entry, NULL);
		task_call(r->init, remove_segments_entry, r);
		task_call(r->init, exit_entry, NULL);
		put_task_struct(r->init);
	}
	xa_destroy(&r->shm_ids);
	xa_destroy(&r->shm_ids_back);
	replay_ahead_free(r);
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
	uint64_t recorded = min((uint64_t)r->info->memory_bytes, (uint64_t)MEM_MAX) &
			    ~(uint64_t)(PAGE_SIZE - 1);
	struct machine_config config = {
		.quiet = true, .track = true, .holders = r->opt.holders,
	};

	if (!machine_options_config(r->opt.who, &r->opt.machine, recorded, &config))
		return false;
	r->opt.machine.mem_bytes = config.mem_bytes;
	r->m = machine_boot(&config);
	if (IS_ERR(r->m)) {
		fprintf(stderr, "%s: no machine with %" PRIu64 " MiB: %s\n", r->opt.who,
			(uint64_t)config.mem_bytes >> 20, strerror((int)-PTR_ERR(r->m)));
		return false;
	}
	machine_on_left(r->m, note_left, r);
	return true;
}

static void take_stock_at_boot(struct replay *r)
{
	machine_quiesce(r->m);
	r->free_at_boot = r->least_free = phys_nr_free(r->m);
	ledger_for_each_kind(r->m, live_at_boot, r);
	r->nr_frames = phys_stats(r->m).nr_present;
}

static int verdict(const struct replay *r)
{
	if (r->bad_input)
		return 2;
	return r->stop || r->n.mismatched || r->machine_left ||
	       r->free_at_boot != r->free_at_end || replay_live_delta(r);
}

static struct recording *open_recording(const char *who, const char *path)
{
	struct recording_error err;
	struct recording *rec = recording_open(path, &err);

	if (!rec && err.line)
		fprintf(stderr, "%s:%" PRIu64 ": %s\n", path, err.line, err.what);
	else if (!rec)
		fprintf(stderr, "%s: %s: %s\n", who, path, err.what);
	return rec;
}

int replay_run(const struct replay_options *opt)
{
	struct replay r = { .opt = *opt };
	int status = 2;

	r.rec = open_recording(opt->who, opt->path);
	if (!r.rec)
		return 2;
	r.info = recording_info(r.rec);
	set_profile(&r);
	if (!boot(&r))
		goto close;
	machine_enter(r.m);
	xa_init(&r.tasks);
	xa_init(&r.numbers);
	xa_init(&r.shm_ids);
	xa_init(&r.shm_ids_back);
	INIT_LIST_HEAD(&r.open);
	INIT_LIST_HEAD(&r.touching);
	take_stock_at_boot(&r);
	if (opt->watch)
		opt->watch->ops.after(r.m, 0, NULL, opt->watch->arg);
	if (!replay_files_init(&r) || !start(&r))
		replay_stop(&r, 0, false, "the machine is too small to begin");
	replay_play(&r);
	finish(&r);
	if (opt->watch)
		opt->watch->ops.over(r.m, opt->watch->arg);
	machine_leave();
	r.machine_left = machine_shutdown(r.m);
	replay_report(&r);
	status = verdict(&r);
close:
	free(r.deaths);
	recording_close(r.rec);
	return status;
}
