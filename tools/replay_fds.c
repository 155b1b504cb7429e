/* SPDX-License-Identifier: MIT */
/*
 * replay_fds.c - calls on descriptors
 *
 * They are carried out because mappings get their files from them, and compared because their
 * numbers follow a rule. After a difference the descriptor is moved to where the recording has it,
 * so that one difference does not make others.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/cache/shmem.h>
#include <karc/proc/files.h>
#include <karc/proc/syscall.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC	4
#endif
#define SOCK_CLOEXEC_BIT	02000000

/* ---- new numbers ------------------------------------------------------------------------- */

/* Numbers that earlier steps kept for this call (replay_order.c) are free now. */
static void give_back_reserved(struct replay_task *t)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (t->reserved[i] >= 0)
			close_fd_of(t->task->files, (unsigned int)t->reserved[i]);
		t->reserved[i] = -1;
	}
}

/* Was number @want kept for this call? Then it is to be used now. */
static bool was_reserved(struct replay_task *t, int64_t want)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (t->reserved[i] < 0 || t->reserved[i] != want)
			continue;
		t->reserved[i] = -1;
		return true;
	}
	return false;
}

long replay_put_fd(struct replay_job *job, int64_t want, unsigned int start,
		   KARC_TAKES struct file *file, bool cloexec)
{
	struct files_struct *files = job->t->task->files;
	int got, err;

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (was_reserved(job->t, want)) {
		err = fd_install_at(files, (unsigned int)want, file, cloexec);
		return err ? err : want;
	}
	if (job->t->reserved[1] < 0)	/* kept for an end that turned out otherwise */
		give_back_reserved(job->t);
	got = fd_alloc_install(files, start, get_file(file), cloexec);
	if (got < 0 || got == want || want < 0 || want > INT_MAX) {
		fput(file);
		return got;
	}
	close_fd_of(files, (unsigned int)got);
	if (fd_install_at(files, (unsigned int)want, file, cloexec))
		return -ENOMEM;
	return got;
}

/* An open of @id, or of the file that stands for all that are never mapped. Or ERR_PTR. */
KARC_GIVES static struct file *open_again(struct replay *r, uint32_t id, unsigned int flags)
{
	struct file *known = replay_file(r, id), *file;

	if (!known)
		return ERR_PTR(-ENOMEM);
	file = file_open_inode(file_inode(known), flags & (O_ACCMODE | O_APPEND));
	if (!IS_ERR(file))
		replay_file_mark(file, file_inode(file) == file_inode(r->any_file) ? 0 : id);
	return file;
}

/* ---- calls that make descriptors --------------------------------------------------------- */

static long do_open(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	unsigned int flags = call->nr == REC_NR_creat ? O_WRONLY : (unsigned int)call->args[0];
	uint32_t id = call->nr_out ? (uint32_t)call->out[0] : 0;

	return replay_put_fd(job, call->result, 0, open_again(job->r, id, flags),
			     flags & O_CLOEXEC);
}

static long do_memfd(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	uint32_t id = call->nr_out ? (uint32_t)call->out[0] : 0;
	struct file *file = replay_new_memfd(job->r, id, (unsigned int)call->args[0]);

	return replay_put_fd(job, call->result, 0, file, call->args[0] & MFD_CLOEXEC);
}

static long do_newfd(struct replay_job *job)
{
	return replay_put_fd(job, job->call->result, 0, open_again(job->r, 0, O_RDWR),
			     job->call->args[0]);
}

static long do_pair(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	bool cloexec = call->nr_out > 2 && (call->out[2] & SOCK_CLOEXEC_BIT);
	long got;
	int i;

	for (i = 0; i < call->nr_out && i < 2; i++) {
		got = replay_put_fd(job, (int64_t)call->out[i], 0, open_again(job->r, 0, O_RDWR),
				    cloexec);
		if (got != (int64_t)call->out[i])
			snprintf(job->note, sizeof(job->note), "descriptor %ld, not %" PRId64, got,
				 (int64_t)call->out[i]);
	}
	return 0;
}

static long do_dup_fixed(struct replay_job *job, KARC_TAKES struct file *file, bool cloexec)
{
	const uint64_t *a = job->call->args;
	int err;

	if (job->call->nr == REC_NR_dup2 && a[0] == a[1]) {	/* onto itself */
		fput(file);
		return (long)a[1];
	}
	if (a[0] == a[1] || (job->call->nr == REC_NR_dup3 && (a[2] & ~(uint64_t)O_CLOEXEC))) {
		fput(file);
		return -EINVAL;
	}
	err = fd_install_at(current->files, (unsigned int)a[1], file, cloexec);
	return err ? err : (long)a[1];
}

static long do_dup(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	struct file *file = fget_files(current->files, (unsigned int)call->args[0]);
	bool cloexec = (call->nr == REC_NR_dup3 && (call->args[2] & O_CLOEXEC)) ||
		       (call->nr == REC_NR_fcntl && call->args[1] == F_DUPFD_CLOEXEC);

	if (!file)
		return -EBADF;
	if (call->nr == REC_NR_dup)
		return replay_put_fd(job, call->result, 0, file, cloexec);
	if (call->nr == REC_NR_fcntl)
		return replay_put_fd(job, call->result, (unsigned int)call->args[2], file, cloexec);
	return do_dup_fixed(job, file, cloexec);
}

void replay_received(struct replay *r, struct replay_task *t, const struct rec_call *call)
{
	struct replay_job job = { .r = r, .t = t, .call = call };
	int64_t want = (int64_t)call->args[0];
	long got;

	replay_order(r, t, call);
	got = replay_put_fd(&job, want, 0, open_again(r, (uint32_t)call->args[2], O_RDWR),
			    call->args[1]);
	r->n.fd_calls++;
	r->n.fd_same += got == want;
	if (got != want)
		replay_mismatch(r, call, "received descriptor %" PRId64 ", got %ld", want, got);
}

bool replay_first_fds(struct replay *r, struct task_struct *task)
{
	unsigned int i;
	struct file *file;

	for (i = 0; i < r->info->nr_born_fds; i++) {
		const struct rec_born_fd *fd = &r->info->born_fds[i];

		file = open_again(r, fd->file, O_RDWR);
		if (IS_ERR(file) ||
		    fd_install_at(task->files, (unsigned int)fd->fd, file, false))
			return false;
	}
	return true;
}

/* ---- the others -------------------------------------------------------------------------- */

static long do_close(struct replay_job *job)
{
	return sys_close((int)job->call->args[0]);
}

static long do_close_range(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	unsigned int last = files_max(current->files);
	uint64_t fd;

	if (a[0] > a[1])
		return -EINVAL;
	for (fd = a[0]; fd < last && fd <= a[1]; fd++) {
		if (a[2] & CLOSE_RANGE_CLOEXEC)
			fd_set_cloexec(current->files, (unsigned int)fd, true);
		else
			close_fd_of(current->files, (unsigned int)fd);
	}
	return 0;
}

/* Commands on the descriptor, or on a memory file; what other files answer is not karc's. */
static long do_fcntl(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	struct file *file = fget_files(current->files, (unsigned int)a[0]);
	long ret = REPLAY_NOTED;

	if (!file)
		return -EBADF;
	if (a[1] == F_SETFD)
		ret = fd_set_cloexec(current->files, (unsigned int)a[0], a[2] & FD_CLOEXEC);
	else if ((a[1] == F_ADD_SEALS || a[1] == F_GET_SEALS) && shmem_mapping(file->f_mapping))
		ret = memfd_fcntl(file, (unsigned int)a[1], (unsigned int)a[2]);
	fput(file);
	return ret;
}

/* ---- sizes ------------------------------------------------------------------------------- */

/* The open file that is meant: the descriptor's if it is the right one. */
KARC_GIVES static struct file *file_meant(struct replay_job *job, uint64_t fd, uint32_t id)
{
	struct file *want = replay_file(job->r, id);
	struct file *have = fget_files(current->files, (unsigned int)fd);

	if (have && want && file_inode(have) == file_inode(want))
		return have;
	fput(have);
	return want ? get_file(want) : NULL;
}

static long do_truncate_call(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	struct file *file;
	long ret;

	replay_touch_wait_all(job->r);
	if (call->nr == REC_NR_truncate) {
		file = call->args[1] ? replay_file(job->r, (uint32_t)call->args[1]) : NULL;
		return file ? inode_truncate(file_inode(file), (loff_t)call->args[0]) :
			      REPLAY_NOTED;
	}
	if (!call->args[2])
		return REPLAY_NOTED;		/* never mapped: it has no size here */
	file = file_meant(job, call->args[0], (uint32_t)call->args[2]);
	ret = file ? file_truncate(file, (loff_t)call->args[1]) : -ENOMEM;
	fput(file);
	return ret;
}

static long do_fallocate_call(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	struct file *file;
	long ret;

	if (!a[4])
		return REPLAY_NOTED;
	replay_touch_wait_all(job->r);
	file = file_meant(job, a[0], (uint32_t)a[4]);
	if (!file)
		return -ENOMEM;
	ret = vfs_fallocate(file, (int)a[1], (loff_t)a[2], (loff_t)a[3]);
	job->r->patterned[a[4]] = false;
	fput(file);
	return ret;
}

/* ---- which is which ---------------------------------------------------------------------- */

/* A call that failed because of what was opened says nothing about descriptors. */
static long do_failed(struct replay_job *job)
{
	give_back_reserved(job->t);
	return REPLAY_NOTED;
}

static bool can_fail_here(const struct rec_call *call)
{
	switch (call->nr) {
	case REC_NR_close: case REC_NR_dup: case REC_NR_dup2: case REC_NR_dup3:
	case REC_NR_fcntl:
		return call->result == -EBADF && (int64_t)call->args[0] >= 0;
	case REC_NR_ftruncate: case REC_NR_fallocate:
		return call->result == -EPERM || call->result == -EINVAL;	/* sealed */
	default:
		return false;
	}
}

replay_fn replay_file_fn(const struct rec_call *call)
{
	if (call->result < 0 && !can_fail_here(call))
		return do_failed;
	switch (call->nr) {
	case REC_NR_open: case REC_NR_openat: case REC_NR_openat2: case REC_NR_creat:
		return do_open;
	case REC_NR_memfd_create:
		return do_memfd;
	case REC_NR_close:
		return do_close;
	case REC_NR_close_range:
		return do_close_range;
	case REC_NR_dup: case REC_NR_dup2: case REC_NR_dup3:
		return do_dup;
	case REC_NR_pipe: case REC_NR_pipe2: case REC_NR_socketpair:
		return do_pair;
	case REC_NR_ftruncate: case REC_NR_truncate:
		return do_truncate_call;
	case REC_NR_fallocate:
		return do_fallocate_call;
	case REC_NR_fcntl:
		if (call->args[1] == F_DUPFD || call->args[1] == F_DUPFD_CLOEXEC)
			return do_dup;
		return do_fcntl;
	default:
		return call->class == REC_CLASS_NEWFD ? do_newfd : replay_refuse;
	}
}
