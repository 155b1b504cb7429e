/* SPDX-License-Identifier: MIT */
/*
 * replay_mem.c - calls on the address space, and System V shared memory
 *
 * Besides carrying them out this file says, for replay_order.c, where a call would be placed if it
 * took effect now, and what it frees and takes.
 */
#include "replay.h"
#include <karc/base/err.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/vma.h>
#include <karc/proc/files.h>
#include <karc/proc/shm.h>
#include <karc/proc/syscall.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MINCORE_PAGES	(1UL << 16)	/* asked for at a time */
#define SHM_CMD_MASK	0xff		/* without IPC_64 */

/* ---- mmap and relatives ------------------------------------------------------------------ */

/* Shared memory of /dev/zero has nothing of that file. */
static unsigned long mmap_flags(struct replay *r, const struct rec_call *call)
{
	const struct rec_file *f = recording_file(r->rec, (uint32_t)call->args[6]);
	bool shared = call->args[3] & MAP_SHARED;

	return call->args[3] | (shared && f && f->kind == REC_FILE_ZERO ? MAP_ANONYMOUS : 0);
}

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

static long mmap_of_file(struct replay_job *job, unsigned long flags)
{
	const uint64_t *a = job->call->args;
	const struct rec_file *f = recording_file(job->r->rec, (uint32_t)a[6]);
	struct file *file;
	long ret;

	if (job->call->result < 0 && job->call->result != -ENOMEM &&
	    (!f || f->kind != REC_FILE_REGULAR))
		return REPLAY_NOTED;	/* what a device or directory answers is its own affair */
	if (!f)
		return -EBADF;
	file = mmap_file(job->r, job->call);
	if (file && f->kind != REC_FILE_ZERO && f->size_bytes == REC_SIZE_UNKNOWN)
		replay_file_grow(job->r, file, a[5] + a[1]);
	ret = sys_mmap_file(a[0], a[1], a[2], flags, file, a[5]);
	fput(file);
	return ret;
}

static long do_mmap_call(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	unsigned long flags = mmap_flags(job->r, job->call);
	long ret;

	if (flags & MAP_ANONYMOUS)
		ret = sys_mmap_file(a[0], a[1], a[2], flags, NULL, a[5]);
	else
		ret = mmap_of_file(job, flags);
	if (!IS_ERR_VALUE((unsigned long)ret) && ret > REPLAY_REFUSED)
		replay_touch_later(job->r, job->t, (unsigned long)ret,
				   (unsigned long)ret + PAGE_ALIGN(a[1]));
	return ret;
}

static long do_munmap_call(struct replay_job *job)
{
	return sys_munmap(job->call->args[0], job->call->args[1]);
}

static long do_mprotect(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	long ret;

	if (job->call->nr == REC_NR_pkey_mprotect)
		ret = ksys_pkey_mprotect(current->mm, a[0], a[1], a[2], (int)a[3]);
	else
		ret = sys_mprotect(a[0], a[1], a[2]);
	if (!ret)
		replay_touch_later(job->r, job->t, a[0], a[0] + PAGE_ALIGN(a[1]));
	return ret;
}

static long do_brk_call(struct replay_job *job)
{
	unsigned long old = current->mm->brk;
	long ret = sys_brk(job->call->args[0]);

	if ((unsigned long)ret > old)
		replay_touch_later(job->r, job->t, PAGE_ALIGN(old), PAGE_ALIGN((unsigned long)ret));
	return ret;
}

static long do_mremap_call(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	long ret = sys_mremap(a[0], a[1], a[2], a[3], a[4]);

	if (!IS_ERR_VALUE((unsigned long)ret))
		replay_touch_later(job->r, job->t, (unsigned long)ret,
				   (unsigned long)ret + PAGE_ALIGN(a[2]));
	return ret;
}

/* ---- the rest of the address space ------------------------------------------------------- */

static long do_mincore_call(struct replay_job *job)
{
	unsigned long addr = job->call->args[0], len = job->call->args[1], bytes;
	unsigned char *vec = malloc(MINCORE_PAGES);
	long ret;

	if (!vec)
		return -EAGAIN;
	do {
		bytes = min(len, MINCORE_PAGES << PAGE_SHIFT);
		ret = sys_mincore(addr, bytes, vec);
		addr += bytes;
		len -= bytes;
	} while (!ret && len);
	free(vec);
	return ret;
}

static long do_advice(struct replay_job *job)
{
	const uint64_t *a = job->call->args;

	switch (job->call->nr) {
	case REC_NR_madvise:
		return sys_madvise(a[0], a[1], (int)a[2]);
	case REC_NR_mlock:
		return sys_mlock(a[0], a[1]);
	case REC_NR_mlock2:
		return sys_mlock2(a[0], a[1], (int)a[2]);
	case REC_NR_munlock:
		return sys_munlock(a[0], a[1]);
	case REC_NR_mlockall:
		return sys_mlockall((int)a[0]);
	case REC_NR_munlockall:
		return sys_munlockall();
	case REC_NR_msync:
		return sys_msync(a[0], a[1], (int)a[2]);
	case REC_NR_mincore:
		return do_mincore_call(job);
	case REC_NR_mseal:
		return ksys_mseal(current->mm, a[0], a[1], a[2]);
	case REC_NR_remap_file_pages:
		return sys_remap_file_pages(a[0], a[1], a[2], a[3], a[4]);
	default:
		return REPLAY_REFUSED;
	}
}

/* ---- System V shared memory -------------------------------------------------------------- */

/* karc's number for a recorded segment; one that no segment has if it is unknown. */
static int karc_shm(struct replay *r, int64_t id)
{
	void *value = id < 0 ? NULL : xa_load(&r->shm_ids, (unsigned long)id);

	return value ? (int)xa_to_value(value) : -1;
}

static void shm_forget(struct replay *r, int64_t id)
{
	int got = karc_shm(r, id);

	if (got < 0)
		return;
	xa_erase(&r->shm_ids, (unsigned long)id);
	xa_erase(&r->shm_ids_back, (unsigned long)got);
}

/* Segments are matched by bijection, as tasks are: recorded @want, karc's @got. */
static long shm_matched(struct replay_job *job, int64_t want, long got)
{
	struct replay *r = job->r;
	void *back;

	if (want < 0 || got < 0)
		return got;
	back = xa_load(&r->shm_ids_back, (unsigned long)got);
	if (karc_shm(r, want) == got && back && (int64_t)xa_to_value(back) == want)
		return want;
	if (back || karc_shm(r, want) >= 0) {
		snprintf(job->note, sizeof(job->note), "another segment than before");
		return got;
	}
	if (xa_err(xa_store(&r->shm_ids, (unsigned long)want, xa_mk_value((unsigned long)got),
			    GFP_KERNEL)) ||
	    xa_err(xa_store(&r->shm_ids_back, (unsigned long)got,
			    xa_mk_value((unsigned long)want), GFP_KERNEL)))
		replay_stop(r, job->call->line, false, "no memory on the host");
	return want;
}

static long do_shmget(struct replay_job *job)
{
	const uint64_t *a = job->call->args;

	return shm_matched(job, job->call->result, sys_shmget((key_t)a[0], a[1], (int)a[2]));
}

static long do_shmat_call(struct replay_job *job)
{
	const uint64_t *a = job->call->args;
	int id = karc_shm(job->r, (int64_t)a[0]);
	struct shmid_ds ds;
	long ret = sys_shmat(id, a[1], (int)a[2]);

	if (!IS_ERR_VALUE((unsigned long)ret) && !ksys_shmctl(current->mm, id, IPC_STAT, &ds))
		replay_touch_later(job->r, job->t, (unsigned long)ret,
				   (unsigned long)ret + PAGE_ALIGN(ds.shm_segsz));
	return ret;
}

static long do_shmdt_call(struct replay_job *job)
{
	return sys_shmdt(job->call->args[0]);
}

static long do_shmctl_call(struct replay_job *job)
{
	const struct rec_call *call = job->call;
	int id = karc_shm(job->r, (int64_t)call->args[0]);
	int cmd = (int)call->args[1] & SHM_CMD_MASK;
	struct shmid_ds ds = { .shm_segsz = 0 };
	long ret;

	if (cmd != IPC_RMID && cmd != IPC_STAT && cmd != SHM_LOCK && cmd != SHM_UNLOCK)
		return REPLAY_NOTED;	/* about the host, or with values that are not recorded */
	ret = ksys_shmctl(current->mm, id, cmd, &ds);
	/* One that is attached somewhere can still be attached by its number. */
	if (!ret && cmd == IPC_RMID && ksys_shmctl(current->mm, id, IPC_STAT, &ds) == -EINVAL)
		shm_forget(job->r, (int64_t)call->args[0]);
	if (!ret && cmd == IPC_STAT && call->nr_out == 2 &&
	    (ds.shm_segsz != call->out[0] || ds.shm_nattch != call->out[1]))
		snprintf(job->note, sizeof(job->note), "%lu bytes attached %lu times",
			 (unsigned long)ds.shm_segsz, (unsigned long)ds.shm_nattch);
	return ret;
}

/* ---- which is which ---------------------------------------------------------------------- */

long replay_refuse(struct replay_job *job)
{
	return job->call->result < 0 ? REPLAY_NOTED : REPLAY_REFUSED;
}

replay_fn replay_mem_fn(const struct rec_call *call)
{
	switch (call->nr) {
	case REC_NR_mmap:
		return do_mmap_call;
	case REC_NR_munmap:
		return do_munmap_call;
	case REC_NR_mprotect: case REC_NR_pkey_mprotect:
		return do_mprotect;
	case REC_NR_brk:
		return do_brk_call;
	case REC_NR_mremap:
		return do_mremap_call;
	case REC_NR_madvise: case REC_NR_mlock: case REC_NR_mlock2: case REC_NR_munlock:
	case REC_NR_mlockall: case REC_NR_munlockall: case REC_NR_msync: case REC_NR_mincore:
	case REC_NR_mseal: case REC_NR_remap_file_pages:
		return do_advice;
	case REC_NR_shmget:
		return do_shmget;
	case REC_NR_shmat:
		return do_shmat_call;
	case REC_NR_shmdt:
		return do_shmdt_call;
	case REC_NR_shmctl:
		return do_shmctl_call;
	default:
		return replay_refuse;
	}
}

/* ---- what would be ----------------------------------------------------------------------- */

static unsigned long shm_bytes(struct replay *r, struct replay_task *t,
			       const struct rec_call *call)
{
	struct shmid_ds ds;

	if (ksys_shmctl(t->task->mm, karc_shm(r, (int64_t)call->args[0]), IPC_STAT, &ds))
		return 0;
	return PAGE_ALIGN(ds.shm_segsz);
}

static unsigned long would_mmap(struct replay *r, struct mm_struct *mm,
				const struct rec_call *call)
{
	const uint64_t *a = call->args;
	unsigned long flags = mmap_flags(r, call);
	struct file *file = flags & MAP_ANONYMOUS ? NULL : replay_file(r, (uint32_t)a[6]);

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return 0;
	return get_unmapped_area(mm, file, a[0] & PAGE_MASK, PAGE_ALIGN(a[1]), a[5] >> PAGE_SHIFT,
				 flags);
}

/* What is mapped at @addr, as far as it matters for where it may go. Gives a file, or NULL. */
static struct file *mapped_file(struct mm_struct *mm, unsigned long addr, unsigned long *pgoff,
				unsigned long *flags)
{
	struct file *file = NULL;
	struct vm_area_struct *vma;

	*flags = MAP_PRIVATE;
	*pgoff = 0;
	mmap_read_lock(mm);
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr) {
		file = vma->vm_file ? get_file(vma->vm_file) : NULL;
		*pgoff = vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
		*flags = vma->vm_flags & VM_MAYSHARE ? MAP_SHARED : MAP_PRIVATE;
	}
	mmap_read_unlock(mm);
	return file;
}

static unsigned long would_mremap(struct mm_struct *mm, const struct rec_call *call,
				  struct file *file, unsigned long pgoff, unsigned long flags)
{
	const uint64_t *a = call->args;
	unsigned long old_end = a[0] + PAGE_ALIGN(a[1]), new_len = PAGE_ALIGN(a[2]);
	struct vm_area_struct *vma = find_vma(mm, a[0]);

	if (!vma || vma->vm_start > a[0] || (a[3] & MREMAP_FIXED) || new_len <= PAGE_ALIGN(a[1]))
		return 0;
	if (a[1] && vma->vm_end == old_end && !find_vma_intersection(mm, old_end, a[0] + new_len))
		return a[0];
	return get_unmapped_area(mm, file, 0, new_len, pgoff, flags);
}

unsigned long replay_mem_would(struct replay *r, struct replay_task *t, struct mm_struct *mm,
			       const struct rec_call *call)
{
	unsigned long would = 0, len = 0, pgoff = 0, flags = 0;
	struct file *file = NULL;

	if (call->nr == REC_NR_shmat && !call->args[1])
		len = shm_bytes(r, t, call);
	else if (call->nr == REC_NR_mremap)
		file = mapped_file(t->task->mm, call->args[0], &pgoff, &flags);
	mmap_read_lock(mm);
	if (call->nr == REC_NR_mmap)
		would = would_mmap(r, mm, call);
	else if (call->nr == REC_NR_mremap)
		would = would_mremap(mm, call, file, pgoff, flags);
	else if (len)
		would = get_unmapped_area(mm, NULL, 0, len, 0, MAP_SHARED);
	mmap_read_unlock(mm);
	fput(file);
	return IS_ERR_VALUE(would) ? 0 : would;
}

static struct replay_range range(unsigned long start, unsigned long bytes)
{
	return (struct replay_range){ start, start + PAGE_ALIGN(bytes) };
}

void replay_mem_effect(struct replay *r, struct replay_task *t, const struct rec_call *call,
		       bool known, struct replay_range *freed, struct replay_range *taken)
{
	const uint64_t *a = call->args;
	unsigned long at = known && call->result > 0 ? (unsigned long)call->result : 0;

	*freed = *taken = (struct replay_range){ 0, 0 };
	switch (call->nr) {
	case REC_NR_mmap:
		if (at)
			*taken = range(at, a[1]);
		break;
	case REC_NR_munmap:
		*freed = range(a[0], a[1]);
		break;
	case REC_NR_mremap:
		if (at != a[0])
			*freed = range(a[0], a[1]);
		else if (PAGE_ALIGN(a[2]) < PAGE_ALIGN(a[1]))
			*freed = range(a[0] + PAGE_ALIGN(a[2]), a[1] - PAGE_ALIGN(a[2]));
		if (at)
			*taken = range(at, a[2]);
		break;
	case REC_NR_brk:
		if (a[0] > t->task->mm->brk)
			*taken = range(t->task->mm->brk, a[0] - t->task->mm->brk);
		else if (a[0])
			*freed = range(a[0], t->task->mm->brk - a[0]);
		break;
	case REC_NR_shmat:
		if (at)
			*taken = range(at, shm_bytes(r, t, call));
		break;
	case REC_NR_shmdt:
		*freed = range(a[0], 1);
		break;
	default:
		break;
	}
}

struct replay_range replay_mem_disturbs(const struct rec_call *call)
{
	const uint64_t *a = call->args;
	struct replay_range none = { 0, 0 }, all = { 0, ~0UL };

	switch (call->nr) {
	case REC_NR_mmap:
		return a[3] & MAP_FIXED ? range(a[0], a[1]) : none;
	case REC_NR_munmap: case REC_NR_mprotect: case REC_NR_pkey_mprotect: case REC_NR_madvise:
	case REC_NR_remap_file_pages:
		return range(a[0], a[1]);
	case REC_NR_mremap:
		return a[3] & MREMAP_FIXED ? all : range(a[0], a[1]);
	case REC_NR_brk: case REC_NR_shmat: case REC_NR_shmdt:
	case REC_NR_execve: case REC_NR_execveat:
		return all;
	default:
		return none;
	}
}
