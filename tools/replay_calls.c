/* SPDX-License-Identifier: MIT */
/*
 * replay_calls.c - carry out one recorded call as the task that made it, and compare
 *
 * Memory and process calls are carried out and compared. Calls on descriptors are carried out,
 * because mappings get their files from them; a descriptor lands where the recording has it. What
 * karc cannot carry out yet ends the replay by name.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/proc/exec.h>
#include <karc/proc/exit.h>
#include <karc/proc/files.h>
#include <karc/proc/syscall.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* One call on its way into the task's context. */
struct job {
	struct replay *r;
	struct replay_task *t;
	const struct rec_call *call;
	long (*fn)(struct job *job);
	bool unsupported;	/* karc has no such call yet */
	bool compare;		/* the result must equal the recorded one */
	bool descriptor;	/* counted apart: the table may begin otherwise, see call_file() */
};

/* Results in the kernel's own range: the call was restarted or interrupted. */
static bool was_interrupted(const struct rec_call *call)
{
	return call->has_result && call->result <= -512 && call->result >= -516;
}

static long job_entry(void *arg)
{
	struct job *job = arg;

	return job->fn(job);
}

static void say_mismatch(struct job *job, long got)
{
	const struct rec_call *call = job->call;
	const char *want_name = call->result < 0 ? rec_errno_name((int)-call->result) : NULL;
	const char *got_name = got < 0 && got >= -MAX_ERRNO ? rec_errno_name((int)-got) : NULL;
	char want_text[32], got_text[32];

	snprintf(want_text, sizeof(want_text), "0x%" PRIx64, (uint64_t)call->result);
	snprintf(got_text, sizeof(got_text), "0x%lx", (unsigned long)got);
	replay_mismatch(job->r, call, "expected %s, got %s", want_name ? want_name : want_text,
			got_name ? got_name : got_text);
}

static void run_job(struct job *job)
{
	struct replay *r = job->r;
	struct machine_result res;

	res = task_call(job->t->task, job_entry, job);
	if (res.end != MACHINE_VALUE) {
		replay_stop(r, job->call->line, false, "%s ended the task: %s", job->call->name,
			    res.message[0] ? res.message : "no memory for what it must write");
		return;
	}
	if (job->unsupported || (res.value == -ENOSYS && job->call->result != -ENOSYS)) {
		replay_stop(r, job->call->line, true, "karc cannot replay %s yet",
			    job->call->name);
		return;
	}
	if (job->descriptor) {
		r->n.fd_calls++;
		r->n.fd_same += res.value == job->call->result;
		return;
	}
	if (!job->compare || !job->call->has_result) {
		r->n.noted++;
		return;
	}
	r->n.replayed++;
	if (res.value == job->call->result)
		r->n.matched++;
	else
		say_mismatch(job, res.value);
}

/* ---- memory ------------------------------------------------------------------------------ */

/* The open file that an mmap means: the descriptor's if it is the right one, else any of it. */
static struct file *mmap_file(struct replay *r, const struct rec_call *call)
{
	struct file *want = replay_file(r, (uint32_t)call->args[6]);
	struct file *have = (int64_t)call->args[4] < 0 ? NULL :
			    fget_files(current->files, (unsigned int)call->args[4]);

	if (have && want && file_inode(have) == file_inode(want))
		return have;
	fput(have);
	return want ? get_file(want) : NULL;
}

static long job_mmap(struct job *job)
{
	const uint64_t *a = job->call->args;
	unsigned long flags = a[3];
	struct file *file = NULL;
	long ret;

	if (recording_file(job->r->rec, (uint32_t)a[6]) &&
	    recording_file(job->r->rec, (uint32_t)a[6])->kind == REC_FILE_ZERO)
		flags |= MAP_ANONYMOUS;
	if (!(flags & MAP_ANONYMOUS)) {
		if (!a[6] && job->call->result >= 0)
			return -EBADF;
		file = mmap_file(job->r, job->call);
		if (file && recording_file(job->r->rec, (uint32_t)a[6]) &&
		    recording_file(job->r->rec, (uint32_t)a[6])->size_bytes == REC_SIZE_UNKNOWN)
			replay_file_grow(file, a[5] + a[1]);
	}
	ret = ksys_mmap(current->mm, a[0], a[1], a[2], flags, file, a[5]);
	fput(file);
	if (ret >= 0 || ret < -MAX_ERRNO)
		replay_touch_range(job->r, (unsigned long)ret,
				   (unsigned long)ret + PAGE_ALIGN(a[1]));
	return ret;
}

static long job_munmap(struct job *job)
{
	return sys_munmap(job->call->args[0], job->call->args[1]);
}

static long job_mprotect(struct job *job)
{
	const uint64_t *a = job->call->args;
	long ret = sys_mprotect(a[0], a[1], a[2]);

	if (!ret)
		replay_touch_range(job->r, a[0], a[0] + PAGE_ALIGN(a[1]));
	return ret;
}

static long job_brk(struct job *job)
{
	unsigned long old = current->mm->brk;
	long ret = sys_brk(job->call->args[0]);

	if ((unsigned long)ret > old)
		replay_touch_range(job->r, PAGE_ALIGN(old), PAGE_ALIGN((unsigned long)ret));
	return ret;
}

static long job_mremap(struct job *job)
{
	const uint64_t *a = job->call->args;

	return sys_mremap(a[0], a[1], a[2], a[3], a[4]);
}

static long job_madvise(struct job *job)
{
	const uint64_t *a = job->call->args;

	return sys_madvise(a[0], a[1], (int)a[2]);
}

/* ---- processes --------------------------------------------------------------------------- */

bool replay_is_clone(enum rec_call_nr nr)
{
	return nr == REC_NR_clone || nr == REC_NR_clone3 || nr == REC_NR_fork ||
	       nr == REC_NR_vfork;
}

static void call_clone(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct replay_task *child;
	long result = 0;

	if (!call->has_result || call->result <= 0) {
		r->n.skipped++;		/* failed for the host's own reasons */
		return;
	}
	child = replay_task(r, (uint32_t)call->result);
	if (!child)
		child = replay_birth(r, t, (uint32_t)call->result, call, &result);
	t->born_child = 0;
	if (r->stop)
		return;
	r->n.replayed++;
	if (child && child->parent == t->pid)
		r->n.matched++;
	else if (child)
		replay_mismatch(r, call, "expected child %" PRId64 " of %u, it is a child of %u",
				call->result, t->pid, child->parent);
	else
		replay_mismatch(r, call, "expected child %" PRId64 ", got %s", call->result,
				rec_errno_name((int)-result) ? rec_errno_name((int)-result) : "?");
}

static bool elf_of(struct replay *r, uint32_t id, struct exec_elf *elf,
		   struct exec_segment segments[REC_SEGMENTS_MAX])
{
	const struct rec_file *f = recording_file(r->rec, id);
	unsigned int i;

	if (!f || !f->elf)
		return false;
	for (i = 0; i < f->elf->nr_segments; i++) {
		const struct rec_segment *s = &f->elf->segments[i];

		segments[i] = (struct exec_segment){ s->offset, s->vaddr, s->file_bytes,
						     s->mem_bytes, s->align, s->flags };
	}
	*elf = (struct exec_elf){
		.file = replay_file(r, id), .dyn = f->elf->type == 3,
		.gnu_stack = f->elf->gnu_stack, .nr_segments = f->elf->nr_segments,
		.segments = segments,
	};
	return elf->file != NULL;
}

/* argv, envp and their ends, the auxiliary vector, random bytes, platform, argc. */
static u64 tables_bytes(const struct rec_info *info, u64 argc, u64 envc)
{
	return 8 * (1 + argc + 1 + envc + 1) + 16 * (u64)info->auxv_entries +
	       info->platform_bytes + 16 + 64;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static long job_execve(struct job *job)
{
	struct replay *r = job->r;
	const uint64_t *a = job->call->args;
	const struct rec_info *info = r->info;
	const struct rec_file *f = recording_file(r->rec, (uint32_t)a[1]);
	struct exec_segment segs[REC_SEGMENTS_MAX], interp_segs[REC_SEGMENTS_MAX];
	struct exec_elf elf, interp;
	struct mm_rlimits rlim = {
		.as = info->limits[RLIMIT_AS].cur, .data = info->limits[RLIMIT_DATA].cur,
		.stack = info->limits[RLIMIT_STACK].cur,
		.memlock = info->limits[RLIMIT_MEMLOCK].cur,
	};
	struct exec_image image = {
		.program = &elf, .args_bytes = a[3] + a[5] + a[6],
		.tables_bytes = tables_bytes(info, a[2], a[4]),
		.vdso_bytes = info->vdso_bytes, .vvar_bytes = info->vvar_bytes,
		.profile = &r->profile, .legacy_layout = info->legacy_va_layout,
		.rlim = r->n.execs ? NULL : &rlim,
	};
	const struct rec_file *named = recording_file(r->rec, (uint32_t)a[0]);
	int err;

	if (!elf_of(r, (uint32_t)a[1], &elf, segs))
		return -ENOEXEC;
	if (f->elf->interp) {
		if (!elf_of(r, f->elf->interp, &interp, interp_segs))
			return -ELIBBAD;
		image.interp = &interp;
	}
	image.comm = base_name(named ? named->label : f->label);
	err = kernel_execve_image(&image);
	if (!err)
		replay_watch_mm(r, current->mm);
	if (!err && !replay_touch_range(r, 0, TASK_SIZE))
		return 0;
	return err;
}

static void call_execve(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct job job = { .r = r, .t = t, .call = call, .fn = job_execve, .compare = true };

	if (!call->has_result || call->result < 0) {
		r->n.skipped++;		/* refused before the address space was touched */
		return;
	}
	if (!call->args[1]) {
		replay_stop(r, call->line, true, "the recording could not tell what execve mapped");
		return;
	}
	run_job(&job);
	r->n.execs++;
}

static long job_wait(struct job *job)
{
	const struct rec_call *call = job->call;
	struct replay *r = job->r;
	struct replay_task *waited, *got_task;
	int32_t pid = (int32_t)call->args[0];
	int status = 0;
	long got;

	if (pid == 0 || pid < -1) {
		job->unsupported = true;
		return 0;
	}
	waited = pid > 0 ? replay_task(r, (uint32_t)pid) : NULL;
	if (pid > 0 && !waited)
		pid = PID_MAX_DEFAULT + 1;	/* nobody has that number */
	else if (waited)
		pid = waited->zombie ? waited->zombie->pid : waited->task->pid;
	got = kernel_wait4(pid, &status, (int)call->args[1] | WNOHANG);
	if (got <= 0)
		return got;
	got_task = call->result > 0 ? replay_task(r, (uint32_t)call->result) : NULL;
	if (!got_task || !got_task->zombie || got_task->zombie->pid != got)
		return got;
	if (call->nr_out && (call->out[0] & 0xff7f) != ((unsigned int)status & 0xff7f))
		return -EPROTO;			/* the right child with the wrong status */
	return call->result;
}

static void call_wait(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct job job = { .r = r, .t = t, .call = call, .fn = job_wait, .compare = true };
	struct replay_task *reaped;

	if (call->nr_out && call->result > 0 && WIFSTOPPED((int)call->out[0])) {
		replay_stop(r, call->line, true, "karc cannot replay wait4 for stopped children yet");
		return;
	}
	run_job(&job);
	reaped = call->result > 0 ? replay_task(r, (uint32_t)call->result) : NULL;
	if (reaped && reaped->zombie) {
		put_task_struct(reaped->zombie);
		reaped->zombie = NULL;
	}
}

static long job_prlimit(struct job *job)
{
	const uint64_t *a = job->call->args;
	bool old_form = job->call->nr == REC_NR_setrlimit;
	uint64_t resource = old_form ? a[0] : a[1];
	unsigned long cur = old_form ? a[1] : a[3];
	struct mm_rlimits *rlim = &current->mm->rlim;

	switch (resource) {
	case RLIMIT_AS: rlim->as = cur; break;
	case RLIMIT_DATA: rlim->data = cur; break;
	case RLIMIT_STACK: rlim->stack = cur; break;
	case RLIMIT_MEMLOCK: rlim->memlock = cur; break;
	}
	return 0;
}

static void call_limit(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct job job = { .r = r, .t = t, .call = call, .fn = job_prlimit };

	if (call->result < 0 || (call->nr == REC_NR_prlimit64 && !call->args[2])) {
		r->n.noted++;
		return;
	}
	if (call->nr == REC_NR_prlimit64 && call->args[0] && call->args[0] != t->pid) {
		replay_stop(r, call->line, true, "karc cannot replay prlimit64 of another process yet");
		return;
	}
	run_job(&job);
}

/* The number that karc gives, told as the ordinal of the task that has it. */
static long job_getpid(struct job *job)
{
	const struct rec_call *call = job->call;
	struct task_struct *parent = current->real_parent;
	pid_t got = call->nr == REC_NR_getppid ? parent->pid : (pid_t)sys_getpid();
	struct replay_task *named = replay_task(job->r, (uint32_t)call->result);

	return named && named->task && named->task->pid == got ? call->result : got;
}

static void call_getpid(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct job job = { .r = r, .t = t, .call = call, .fn = job_getpid, .compare = true };

	if (call->nr == REC_NR_getppid && call->result == 0)
		r->n.noted++;		/* the parent is outside the recording */
	else
		run_job(&job);
}

/* ---- descriptors ------------------------------------------------------------------------- */

/*
 * A new descriptor for @file (the reference is taken), the lowest free one from @start on. What
 * karc chose is returned; where the recording has another number the file is moved there, so that
 * later calls find it.
 */
static long put_fd(int64_t want, unsigned int start, struct file *file, bool cloexec)
{
	int got;

	if (!file)
		return -ENOMEM;
	got = fd_alloc_install(current->files, start, get_file(file), cloexec);
	if (got < 0 || got == want || want < 0) {
		fput(file);
		return got;
	}
	close_fd_of(current->files, (unsigned int)got);
	if (fd_install_at(current->files, (unsigned int)want, file, cloexec))
		return -ENOMEM;
	return got;
}

/* An open of @id, or of the file that stands for all that are never mapped. */
static struct file *open_again(struct replay *r, uint32_t id, unsigned int flags)
{
	struct file *file = replay_file(r, id);

	if (!file)
		return NULL;
	file = file_open_inode(file_inode(file), flags & (O_ACCMODE | O_APPEND));
	return IS_ERR(file) ? NULL : file;
}

static long job_open(struct job *job)
{
	const struct rec_call *call = job->call;
	unsigned int flags = call->nr == REC_NR_creat ? O_WRONLY :
			     call->nr == REC_NR_memfd_create ? O_RDWR :
			     (unsigned int)call->args[0];
	bool cloexec = call->nr == REC_NR_memfd_create ? call->args[0] & 1 : flags & O_CLOEXEC;
	uint32_t id = call->nr_out ? (uint32_t)call->out[0] : 0;
	struct file *file = open_again(job->r, id, flags);

	return put_fd(call->result, 0, file, cloexec);
}

static long job_newfd(struct job *job)
{
	return put_fd(job->call->result, 0, open_again(job->r, 0, O_RDWR), false);
}

static long job_pair(struct job *job)
{
	const struct rec_call *call = job->call;
	bool cloexec = call->nr == REC_NR_pipe2 && call->nr_out > 2 && (call->out[2] & O_CLOEXEC);
	bool same = true;
	int i;

	for (i = 0; i < call->nr_out && i < 2; i++) {
		int32_t want = (int32_t)call->out[i];

		same &= put_fd(want, 0, open_again(job->r, 0, O_RDWR), cloexec) == want;
	}
	return same ? 0 : -EBADF;
}

static long job_dup(struct job *job)
{
	const struct rec_call *call = job->call;
	struct file *file = fget_files(current->files, (unsigned int)call->args[0]);
	bool cloexec = (call->nr == REC_NR_dup3 && (call->args[2] & O_CLOEXEC)) ||
		       (call->nr == REC_NR_fcntl && call->args[1] == F_DUPFD_CLOEXEC);
	bool known = file != NULL;
	long got;

	if (!known)			/* inherited from outside the recording */
		file = open_again(job->r, 0, O_RDWR);
	if (call->nr == REC_NR_dup || call->nr == REC_NR_fcntl) {
		unsigned int start = call->nr == REC_NR_fcntl ? (unsigned int)call->args[2] : 0;

		got = put_fd(call->result, start, file, cloexec);
		return known ? got : -EBADF;
	}
	if (call->args[0] == call->args[1]) {		/* dup2 onto itself */
		fput(file);
		return known ? (long)call->args[1] : -EBADF;
	}
	if (!file || fd_install_at(current->files, (unsigned int)call->args[1], file, cloexec))
		return -ENOMEM;
	return known ? (long)call->args[1] : -EBADF;
}

static long job_close(struct job *job)
{
	return sys_close((int)job->call->args[0]);
}

static long job_close_range(struct job *job)
{
	unsigned int fd, last = files_max(current->files);
	bool only_flag = job->call->args[2] & 4;	/* CLOSE_RANGE_CLOEXEC */

	for (fd = (unsigned int)job->call->args[0]; fd < last && fd <= job->call->args[1]; fd++) {
		if (only_flag)
			fd_set_cloexec(current->files, fd, true);
		else
			close_fd_of(current->files, fd);
	}
	return 0;
}

static long job_setfd(struct job *job)
{
	return fd_set_cloexec(current->files, (unsigned int)job->call->args[0],
			      job->call->args[2] & FD_CLOEXEC);
}

static long job_truncate(struct job *job)
{
	const struct rec_call *call = job->call;
	bool by_path = call->nr == REC_NR_truncate;
	struct file *file = replay_file(job->r, (uint32_t)call->args[by_path ? 1 : 2]);

	if (!file || file == job->r->any_file)
		return 0;			/* never mapped: it has no size here */
	return file_truncate(file, (loff_t)call->args[by_path ? 0 : 1]);
}

static long (*file_job(const struct rec_call *call))(struct job *job)
{
	switch (call->nr) {
	case REC_NR_open: case REC_NR_openat: case REC_NR_openat2: case REC_NR_creat:
	case REC_NR_memfd_create: case REC_NR_memfd_secret:
		return job_open;
	case REC_NR_close:
		return job_close;
	case REC_NR_close_range:
		return job_close_range;
	case REC_NR_dup: case REC_NR_dup2: case REC_NR_dup3:
		return job_dup;
	case REC_NR_pipe: case REC_NR_pipe2: case REC_NR_socketpair:
		return job_pair;
	case REC_NR_ftruncate: case REC_NR_truncate:
		return job_truncate;
	case REC_NR_fcntl:
		if (call->args[1] == F_DUPFD || call->args[1] == F_DUPFD_CLOEXEC)
			return job_dup;
		return call->args[1] == F_SETFD ? job_setfd : NULL;
	default:
		return call->class == REC_CLASS_NEWFD ? job_newfd : NULL;
	}
}

/*
 * karc's own table answers, and how often it answered as recorded is told; but descriptors that the
 * program was born with are not in a recording, so another number is no finding.
 */
static void call_file(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct job job = { .r = r, .t = t, .call = call, .fn = file_job(call), .descriptor = true };

	if (!job.fn || !call->has_result || call->result < 0) {
		r->n.noted++;
		return;
	}
	run_job(&job);
}

/* ---- which is which ---------------------------------------------------------------------- */

static void call_memory(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct job job = { .r = r, .t = t, .call = call, .compare = true };

	switch (call->nr) {
	case REC_NR_mmap: job.fn = job_mmap; break;
	case REC_NR_munmap: job.fn = job_munmap; break;
	case REC_NR_mprotect: job.fn = job_mprotect; break;
	case REC_NR_brk: job.fn = job_brk; break;
	case REC_NR_mremap: job.fn = job_mremap; break;
	case REC_NR_madvise: job.fn = job_madvise; break;
	default:
		if (call->has_result && call->result < 0) {
			r->n.noted++;		/* refused: nothing happened */
			return;
		}
		replay_stop(r, call->line, true, "karc cannot replay %s yet", call->name);
		return;
	}
	run_job(&job);
}

static void call_process(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	switch (call->nr) {
	case REC_NR_clone: case REC_NR_clone3: case REC_NR_fork: case REC_NR_vfork:
		call_clone(r, t, call);
		return;
	case REC_NR_execve: case REC_NR_execveat:
		call_execve(r, t, call);
		return;
	case REC_NR_wait4:
		call_wait(r, t, call);
		return;
	case REC_NR_prlimit64: case REC_NR_setrlimit:
		call_limit(r, t, call);
		return;
	case REC_NR_getpid: case REC_NR_gettid: case REC_NR_getppid: case REC_NR_set_tid_address:
		call_getpid(r, t, call);
		return;
	case REC_NR_exit: case REC_NR_exit_group:
		return;			/* counted when the task is seen to end */
	case REC_NR_arch_prctl: case REC_NR_prctl:
		r->n.noted++;
		return;
	case REC_NR_personality:
		if (call->args[0] == 0xffffffff) {
			r->n.noted++;
			return;
		}
		break;
	default:
		break;
	}
	if (call->has_result && call->result < 0)
		r->n.noted++;
	else
		replay_stop(r, call->line, true, "karc cannot replay %s yet", call->name);
}

void replay_call(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	if (was_interrupted(call)) {
		r->n.noted++;
		return;
	}
	switch (call->class) {
	case REC_CLASS_MEM:
		call_memory(r, t, call);
		return;
	case REC_CLASS_PROC:
		call_process(r, t, call);
		return;
	case REC_CLASS_FILE:
	case REC_CLASS_NEWFD:
		call_file(r, t, call);
		return;
	case REC_CLASS_OTHER:
		r->n.skipped++;
		return;
	}
}
