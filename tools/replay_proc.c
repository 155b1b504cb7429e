/* SPDX-License-Identifier: MIT */
/*
 * replay_proc.c - calls on tasks: making them, waiting, signals, groups, limits, settings
 *
 * Tasks are named by ordinals in a recording and by karc's numbers here; each answer that is a
 * number goes back through the bijection of replay_tasks.c before it is compared.
 *
 * Unlike karc's own calls
 *	A signal is not sent at the call that sends it, which is only asked whether it may: when it
 *	arrives and what else its target does before is in the lines of the target, and an end by a
 *	signal is carried out there.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/syscall.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif
#ifndef PR_SET_THP_DISABLE
#define PR_SET_THP_DISABLE	41
#define PR_GET_THP_DISABLE	42
#endif

#define STATUS_MASK	0xff7f		/* whether a core was written is the host's affair */
#define CAP_SYS_RESOURCE_BIT	24	/* in rec_info.capabilities */
#define ARCH_SET_GS_	0x1001
#define ARCH_SET_FS_	0x1002

/* ---- making tasks ------------------------------------------------------------------------ */

bool replay_is_clone(enum rec_call_nr nr)
{
	return nr == REC_NR_clone || nr == REC_NR_clone3 || nr == REC_NR_fork ||
	       nr == REC_NR_vfork;
}

/* The pidfd that the call gave as well. */
static void clone_pidfd(struct replay_job *job, struct replay_task *child)
{
	const struct rec_call *call = job->call;
	struct file *file;
	long got;

	if (!call->nr_out || (int64_t)call->out[0] < 0 || child->reaped)
		return;
	file = pidfd_file(child->task->thread_pid, O_RDWR);
	if (IS_ERR(file))
		return;
	got = replay_put_fd(job, (int64_t)call->out[0], 0, file, true);
	if (got != (int64_t)call->out[0])
		snprintf(job->note, sizeof(job->note), "pidfd %ld", got);
}

/* The parent of a vfork goes on when the child has done with its memory: by execve or its end. */
static void vfork_over(struct replay_job *job, struct replay_task *child)
{
	bool executes = child->has_begun && (child->begun.nr == REC_NR_execve ||
					     child->begun.nr == REC_NR_execveat);

	if (!vfork_pending(child->task))
		return;
	if (executes && !child->early && replay_call_early(job->r, child))
		job->r->n.reordered++;
	if (!child->leaves && vfork_pending(child->task))
		snprintf(job->note, sizeof(job->note), "the child still has the memory");
}

long replay_clone(struct replay_job *job)
{
	struct replay *r = job->r;
	struct replay_task *t = job->t, *child;
	const struct rec_call *call = job->call;
	bool born = t->born_child != 0;
	long result = 0;

	if (call->result < 0)
		return REPLAY_SKIPPED;		/* for the host's own reasons */
	if (!call->result)
		return REPLAY_SKIPPED;		/* in a number space of its own */
	if (born && t->born_child != (uint32_t)call->result) {
		snprintf(job->note, sizeof(job->note), "it made task %u", t->born_child);
		result = (long)t->born_child;
		t->born_child = 0;
		return result;
	}
	t->born_child = 0;
	child = replay_task(r, (uint32_t)call->result);
	if (!child && born)
		return call->result;		/* it lived and was waited for meanwhile */
	if (!child)
		child = replay_birth(r, t, (uint32_t)call->result, call, &result);
	if (!child)
		return result;
	if (child->maker != t->pid)
		snprintf(job->note, sizeof(job->note), "task %u made it", child->maker);
	else
		vfork_over(job, child);
	clone_pidfd(job, child);
	return child->pid;
}

/* ---- waiting ----------------------------------------------------------------------------- */

/* What was waited for, told as ordinal; a number that nobody has otherwise. */
static long waited(struct replay_job *job, pid_t got, bool reaped)
{
	struct replay_task *t;
	uint32_t pid;

	if (got <= 0)
		return got;
	t = xa_load(&job->r->numbers, (unsigned long)got);
	if (!t) {
		snprintf(job->note, sizeof(job->note), "number %d is none of the recorded", got);
		return got;
	}
	pid = t->pid;
	if (reaped)
		replay_reaped(job->r, t);
	return pid;
}

/* karc has no stopped children: such a call finds one that lives. */
static bool stopped_or_continued(const struct rec_call *call)
{
	if (!call->nr_out)
		return false;
	if (call->out[0] == REC_STATUS_UNKNOWN)
		return call->nr_out > 1 && (call->out[1] & (WUNTRACED | WCONTINUED));
	return WIFSTOPPED((int)call->out[0]) || WIFCONTINUED((int)call->out[0]);
}

static void end_if_unseen(struct replay_job *job, int64_t waited_for, uint64_t status)
{
	struct replay_task *t = waited_for > 0 ? replay_task(job->r, (uint32_t)waited_for) : NULL;

	if (t && t->untraced && !t->dead && t != job->t)
		replay_ended_unseen(job->r, t, status == REC_STATUS_UNKNOWN ? 0 : (int)status);
}

static long do_wait4_call(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	int options = call->nr_out > 1 ? (int)call->out[1] : 0, status = 0;
	pid_t got;

	if (call->args[0] == REC_PID_UNKNOWN)
		return REPLAY_NOTED;
	end_if_unseen(job, call->result, call->nr_out ? call->out[0] : 0);
	got = kernel_wait4(replay_karc_pid(job->r, (int32_t)call->args[0]), &status,
			   options | WNOHANG);
	if (!got && call->result > 0 && stopped_or_continued(call))
		return call->result;		/* a child that is there and not dead */
	if (got > 0 && call->nr_out && call->out[0] != REC_STATUS_UNKNOWN &&
	    (call->out[0] & STATUS_MASK) != ((unsigned int)status & STATUS_MASK))
		snprintf(job->note, sizeof(job->note), "status 0x%x", (unsigned int)status);
	return waited(job, got, true);
}

/* @got: the task's ordinal, 0: none */
static void compare_waited(struct replay_job *job, long got, const struct waitid_info *info,
			   int options)
{
	const struct rec_call *call = job->call;
	int code = call->nr_out > 1 ? (int)call->out[1] : 0;
	bool same;

	if (call->nr_out < 3)
		return;
	if (call->out[0] == REC_PID_UNKNOWN)	/* it did not want to know */
		same = got || (options & WNOHANG);
	else if (code == CLD_STOPPED || code == CLD_CONTINUED || code == CLD_TRAPPED)
		same = !got;			/* a child that is there and not dead */
	else
		same = got == (int64_t)call->out[0] && info->status == (int)call->out[2] &&
		       (info->code == CLD_EXITED) == (code == CLD_EXITED);
	if (!same)
		snprintf(job->note, sizeof(job->note), "task %ld, code %d, status %d", got,
			 info->code, info->status);
}

/* out: pid si_code si_status options */
static long do_waitid_call(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	int which = (int)call->args[0], options = call->nr_out > 3 ? (int)call->out[3] : WEXITED;
	struct waitid_info info = { .pid = 0 };
	int64_t want = call->nr_out ? (int64_t)call->out[0] : 0;
	pid_t id = (pid_t)call->args[1];
	long got;

	if (call->args[1] == REC_PID_UNKNOWN)
		return REPLAY_NOTED;
	if (which == P_PID || which == P_PGID)
		id = replay_karc_pid(job->r, id);
	got = kernel_waitid(which, id, &info, options | WNOHANG);
	/* A pidfd that was not made by a recorded clone. */
	if (got == -EBADF && which == KARC_P_PIDFD && want && want != REC_PID_UNKNOWN)
		got = kernel_waitid(P_PID, replay_karc_pid(job->r, (int32_t)want), &info,
				    options | WNOHANG);
	if (got)
		return got;
	got = waited(job, info.pid, !(options & WNOWAIT));
	compare_waited(job, got, &info, options);
	return 0;
}

/* ---- numbers and groups ------------------------------------------------------------------ */

/* A number as ordinal: 0 is what lies outside the recording. */
static long as_ordinal(struct replay_job *job, long got)
{
	uint32_t pid;

	if (got <= 0)
		return got;
	pid = replay_ordinal(job->r, (pid_t)got);
	if (pid || (pid_t)got == job->r->init->pid)
		return pid;
	snprintf(job->note, sizeof(job->note), "number %ld is none of the recorded", got);
	return got;
}

static long do_identity(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	int32_t named = call->nr_args ? (int32_t)call->args[0] : 0;

	pid_t group = call->nr_args > 1 ? replay_karc_pid(job->r, (int32_t)call->args[1]) : 0;

	if (named == REC_PID_UNKNOWN || call->result == REC_PID_UNKNOWN)
		return REPLAY_NOTED;
	if (call->nr_args > 1 && call->args[1] == REC_PID_UNKNOWN)
		group = job->r->init->pid;	/* stands for all outside */
	switch (call->nr) {
	case REC_NR_getpid:
		return as_ordinal(job, sys_getpid());
	case REC_NR_gettid:
		return as_ordinal(job, sys_gettid());
	case REC_NR_getppid:
		return as_ordinal(job, sys_getppid());
	case REC_NR_set_tid_address:
		return as_ordinal(job, sys_set_tid_address((int __user *)call->args[0]));
	case REC_NR_getpgrp:
		return as_ordinal(job, sys_getpgrp());
	case REC_NR_getpgid:
		return as_ordinal(job, sys_getpgid(replay_karc_pid(job->r, named)));
	case REC_NR_getsid:
		return as_ordinal(job, sys_getsid(replay_karc_pid(job->r, named)));
	case REC_NR_setsid:
		return as_ordinal(job, sys_setsid());
	default:
		return sys_setpgid(replay_karc_pid(job->r, named), group);
	}
}

/* Matters for children: a process that ignores SIGCHLD, or wants none to wait for, has no zombies. */
long replay_sigaction(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	struct signal_action act = { .flags = a[2] };

	if ((int64_t)a[1] < 0 || job->call->result == -EFAULT)
		return REPLAY_NOTED;
	act.handler = a[1] < 2 ? a[1] : PAGE_SIZE;	/* where a handler is does not matter */
	return sys_rt_sigaction((int)a[0], &act, NULL);
}

static bool names_outside(const struct rec_call *call, unsigned int nr)
{
	while (nr--)
		if (call->args[nr] == REC_PID_UNKNOWN)
			return true;
	return false;
}

/* The question only, see above. A group that reaches outside the recording cannot be asked. */
static long do_kill_call(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	bool two = call->nr == REC_NR_tgkill || call->nr == REC_NR_rt_tgsigqueueinfo;
	int sig = (int)call->args[two ? 2 : 1];
	pid_t first = replay_karc_pid(job->r, (int32_t)call->args[0]);

	if (names_outside(call, two ? 2 : 1) || (!two && (int32_t)call->args[0] <= 0))
		return REPLAY_NOTED;
	if (sig >= 0 && sig <= KARC_NSIG)
		sig = 0;
	if (two)
		return sys_tgkill(first, replay_karc_pid(job->r, (int32_t)call->args[1]), sig);
	return call->nr == REC_NR_tkill ? sys_tkill(first, sig) : sys_kill(first, sig);
}

static long do_pidfd_signal(struct replay_job *job)
{
	struct pid *pid = pidfd_get_pid((unsigned int)job->call->args[0]);

	if (IS_ERR(pid))
		return REPLAY_NOTED;	/* opened by number, which is not recorded */
	put_pid(pid);
	return sys_pidfd_send_signal((int)job->call->args[0], 0, 0);
}

/* ---- limits ------------------------------------------------------------------------------ */

static void compare_limit(struct replay_job *job, const struct task_rlimit *old)
{
	const struct rec_call *call = job->call;

	if (call->nr_out == 2 && (old->cur != call->out[0] || old->max != call->out[1]))
		snprintf(job->note, sizeof(job->note), "limits %" PRIu64 " %" PRIu64, old->cur,
			 old->max);
}

/*
 * A limit goes up with a privilege of its own, which a program can lack that has the others; karc
 * knows one for all.
 */
static long set_limit(struct replay_job *job, pid_t pid, unsigned int which,
		      const struct task_rlimit *set, struct task_rlimit *old)
{
	bool lacks = set && !(job->r->info->capabilities >> CAP_SYS_RESOURCE_BIT & 1);
	bool had = mm_flag_test(current->mm, MMF_CAPABLE);
	long ret;

	if (lacks)
		mm_flag_assign(current->mm, MMF_CAPABLE, false);
	ret = sys_prlimit64(pid, which, set, old);
	mm_flag_assign(current->mm, MMF_CAPABLE, had);
	return ret;
}

static long do_limit(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	struct task_rlimit set = { 0, 0 }, old = { 0, 0 };
	long ret;

	if (job->call->nr == REC_NR_setrlimit) {
		set = (struct task_rlimit){ a[1], a[2] };
		return set_limit(job, 0, (unsigned int)a[0], &set, &old);
	}
	if (job->call->nr == REC_NR_getrlimit) {
		ret = sys_getrlimit((unsigned int)a[0], &old);
	} else {
		if (a[0] == REC_PID_UNKNOWN)
			return REPLAY_NOTED;
		set = (struct task_rlimit){ a[3], a[4] };
		ret = set_limit(job, replay_karc_pid(job->r, (int32_t)a[0]), (unsigned int)a[1],
				a[2] ? &set : NULL, &old);
	}
	if (!ret)
		compare_limit(job, &old);
	return ret;
}

/* ---- settings ---------------------------------------------------------------------------- */

/* Options whose arguments are numbers; what lies in the program's memory is not recorded. */
static long do_prctl(struct replay_job *job)
{
	const uint64_t *a = job->call->args;

	switch ((int)a[0]) {
	case PR_SET_VMA:
		if (a[1] != PR_SET_VMA_ANON_NAME)
			break;
		return ksys_set_anon_name(current->mm, a[2], a[3], job->call->text);
	case PR_SET_PDEATHSIG:		/* ends are carried out where they were seen, not by this */
		return job->call->result < 0 ? REPLAY_NOTED :
		       sys_prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	case PR_SET_DUMPABLE: case PR_GET_DUMPABLE: case PR_SET_CHILD_SUBREAPER:
	case PR_SET_NO_NEW_PRIVS: case PR_GET_NO_NEW_PRIVS: case PR_SET_THP_DISABLE:
	case PR_GET_THP_DISABLE:
		return sys_prctl((int)a[0], a[1], a[2], a[3], a[4]);
	default:
		break;
	}
	return REPLAY_NOTED;
}

static long do_setting(struct replay_job *job)
{
	const uint64_t *a = job->call->args;

	switch (job->call->nr) {
	case REC_NR_arch_prctl:
		if (a[0] != ARCH_SET_FS_ && a[0] != ARCH_SET_GS_)
			return REPLAY_NOTED;
		return sys_arch_prctl((int)a[0], a[1]);
	case REC_NR_personality:
		return sys_personality((unsigned int)a[0]);
	case REC_NR_unshare:
		if (job->call->result < 0)
			return REPLAY_NOTED;
		if (clone_flag_unbuilt(a[0]))
			snprintf(job->note, sizeof(job->note), "with %s", clone_flag_unbuilt(a[0]));
		return sys_unshare(a[0]);
	default:
		return job->call->result < 0 ? REPLAY_NOTED : REPLAY_REFUSED;
	}
}

/* ---- which is which ---------------------------------------------------------------------- */

replay_fn replay_proc_fn(const struct rec_call *call)
{
	switch (call->nr) {
	case REC_NR_clone: case REC_NR_clone3: case REC_NR_fork: case REC_NR_vfork:
		return replay_clone;
	case REC_NR_execve: case REC_NR_execveat:
		return replay_execve;
	case REC_NR_wait4:
		return do_wait4_call;
	case REC_NR_waitid:
		return do_waitid_call;
	case REC_NR_getpid: case REC_NR_gettid: case REC_NR_getppid: case REC_NR_set_tid_address:
	case REC_NR_setpgid: case REC_NR_getpgid: case REC_NR_getpgrp: case REC_NR_setsid:
	case REC_NR_getsid:
		return do_identity;
	case REC_NR_kill: case REC_NR_tkill: case REC_NR_tgkill: case REC_NR_rt_sigqueueinfo:
	case REC_NR_rt_tgsigqueueinfo:
		return do_kill_call;
	case REC_NR_pidfd_send_signal:
		return do_pidfd_signal;
	case REC_NR_prlimit64: case REC_NR_setrlimit: case REC_NR_getrlimit:
		return do_limit;
	case REC_NR_prctl:
		return do_prctl;
	default:
		return do_setting;
	}
}
