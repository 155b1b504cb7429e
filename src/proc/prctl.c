/* SPDX-License-Identifier: MIT */
/*
 * prctl.c - settings of a task and of its process: prctl, arch_prctl, personality
 *
 * Most are values that are kept, inherited, and given back.
 *
 * Unlike Linux
 *	PR_SET_DUMPABLE and PR_SET_THP_DISABLE belong to the process and not to its space. Options of
 *	Linux that are not listed here answer -EINVAL, as those that it does not know.
 */
#include <karc/base/err.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/uaccess.h>
#include <karc/proc/signal.h>
#include <karc/proc/syscall.h>
#include <asm/prctl.h>
#include <string.h>
#include <sys/prctl.h>
#include "internal.h"

#ifndef PR_SET_THP_DISABLE
#define PR_SET_THP_DISABLE	41
#define PR_GET_THP_DISABLE	42
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA		0x53564d41
#define PR_SET_VMA_ANON_NAME	0
#endif

#define VMA_NAME_BYTES		80

#define PERSONALITY_ASK		0xffffffffu

static int put_int(int value, unsigned long addr)
{
	return put_user(value, (int __user *)addr);
}

static long set_name(struct task_struct *task, unsigned long addr)
{
	char comm[TASK_COMM_LEN] = "";

	if (strncpy_from_user(comm, (const char __user *)addr, TASK_COMM_LEN - 1) < 0)
		return -EFAULT;
	set_task_comm(task, comm);
	return 0;
}

static long get_name(struct task_struct *task, unsigned long addr)
{
	char comm[TASK_COMM_LEN] = "";

	task_lock(task);
	memcpy(comm, task->comm, sizeof(comm));
	task_unlock(task);
	return copy_to_user((void __user *)addr, comm, sizeof(comm)) ? -EFAULT : 0;
}

static long set_pdeathsig(struct task_struct *task, unsigned long signo)
{
	struct proc_state *p = proc_state();

	if (signo > KARC_NSIG)
		return -EINVAL;
	spin_lock(&p->tasklist_lock);
	task->pdeath_signal = (int)signo;
	spin_unlock(&p->tasklist_lock);
	return 0;
}

static long set_subreaper(struct task_struct *task, bool on)
{
	struct proc_state *p = proc_state();

	spin_lock(&p->tasklist_lock);
	task->signal->is_child_subreaper = on;
	spin_unlock(&p->tasklist_lock);
	return 0;
}

static bool get_subreaper(struct task_struct *task)
{
	struct proc_state *p = proc_state();
	bool on;

	spin_lock(&p->tasklist_lock);
	on = task->signal->is_child_subreaper;
	spin_unlock(&p->tasklist_lock);
	return on;
}

static long set_vma_name(struct mm_struct *mm, unsigned long what, unsigned long start,
			 unsigned long len, unsigned long addr)
{
	char name[VMA_NAME_BYTES + 1] = "";
	long bytes;

	if (what != PR_SET_VMA_ANON_NAME)
		return -EINVAL;
	if (!addr)
		return ksys_set_anon_name(mm, start, len, NULL);
	bytes = strncpy_from_user(name, (const char __user *)addr, VMA_NAME_BYTES);
	if (bytes < 0)
		return -EFAULT;
	if (bytes == VMA_NAME_BYTES)
		return -EINVAL;
	return ksys_set_anon_name(mm, start, len, name);
}

long sys_prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4,
	       unsigned long arg5)
{
	struct task_struct *task = current;
	bool rest = arg3 || arg4 || arg5;

	switch (option) {
	case PR_SET_PDEATHSIG:
		return set_pdeathsig(task, arg2);
	case PR_GET_PDEATHSIG:
		return put_int(task->pdeath_signal, arg2);
	case PR_SET_DUMPABLE:
		if (arg2 > 1)
			return -EINVAL;
		WRITE_ONCE(task->signal->dumpable, (unsigned int)arg2);
		return 0;
	case PR_GET_DUMPABLE:
		return READ_ONCE(task->signal->dumpable);
	case PR_SET_NAME:
		return set_name(task, arg2);
	case PR_GET_NAME:
		return get_name(task, arg2);
	case PR_SET_CHILD_SUBREAPER:
		return set_subreaper(task, arg2);
	case PR_GET_CHILD_SUBREAPER:
		return put_int(get_subreaper(task), arg2);
	case PR_SET_NO_NEW_PRIVS:
		if (arg2 != 1 || rest)
			return -EINVAL;
		task->no_new_privs = true;
		return 0;
	case PR_GET_NO_NEW_PRIVS:
		return arg2 || rest ? -EINVAL : task->no_new_privs;
	case PR_SET_THP_DISABLE:
		if (rest)
			return -EINVAL;
		WRITE_ONCE(task->signal->thp_disabled, arg2 != 0);
		return 0;
	case PR_GET_THP_DISABLE:
		return arg2 || rest ? -EINVAL : READ_ONCE(task->signal->thp_disabled);
	case PR_SET_VMA:
		return set_vma_name(task->mm, arg2, arg3, arg4, arg5);
	default:
		return -EINVAL;
	}
}

long sys_arch_prctl(int code, unsigned long addr)
{
	struct task_struct *task = current;

	switch (code) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (addr >= TASK_SIZE_MAX)
			return -EPERM;
		if (code == ARCH_SET_FS)
			task->thread.fsbase = addr;
		else
			task->thread.gsbase = addr;
		return 0;
	case ARCH_GET_FS:
		return put_user(task->thread.fsbase, (unsigned long __user *)addr);
	case ARCH_GET_GS:
		return put_user(task->thread.gsbase, (unsigned long __user *)addr);
	default:
		return -EINVAL;
	}
}

long sys_personality(unsigned int persona)
{
	struct task_struct *task = current;
	unsigned int old = task->personality;

	if (persona != PERSONALITY_ASK)
		task->personality = persona;
	return old;
}
