/* SPDX-License-Identifier: MIT */
/*
 * pidfd.c - descriptors that name a process
 *
 * A pidfd is a file of an inode of its own whose private_data holds the struct pid, so that the
 * name outlives the process. It cannot be read, written or mapped.
 *
 * Unlike Linux
 *	Every pidfd has its own inode. It is not polled.
 */
#include <karc/base/err.h>
#include <karc/mm/cache/file.h>
#include <karc/proc/files.h>
#include <karc/proc/pidfd.h>
#include <karc/proc/task.h>
#include "internal.h"

static int pidfd_release(struct inode *inode, struct file *file)
{
	(void)inode;
	put_pid(file->private_data);
	file->private_data = NULL;
	return 0;
}

static int pidfd_mmap(struct file *file, struct vm_area_struct *vma)
{
	(void)file;
	(void)vma;
	return -ENODEV;
}

static struct arc *pidfd_private_arc(const struct file *file)
{
	struct pid *pid = file->private_data;

	return pid ? &pid->arc : NULL;
}

static const struct file_operations pidfd_fops = {
	.private_arc = pidfd_private_arc,
	.mmap = pidfd_mmap,
	.release = pidfd_release,
};

struct file *KARC_BODY(pidfd_file_site)(struct pid *pid, unsigned int flags,
					const struct site *site)
{
	struct inode *inode = new_inode_site("anon_inode:[pidfd]", 0600, site);
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	inode->i_fop = &pidfd_fops;
	file = file_open_inode_site(inode, flags, site);
	iput(inode);
	if (IS_ERR(file))
		return file;
	file->private_data = get_pid(pid);
	if (pid)
		arc_hand_to_field(&pid->arc, &file->arc, "private_data");
	return file;
}

struct pid *KARC_BODY(pidfd_get_pid)(unsigned int fd)
{
	struct task_struct *task = current;
	struct file *file = task->files ? fget_files(task->files, fd) : NULL;
	struct pid *pid;

	if (!file)
		return ERR_PTR(-EBADF);
	pid = file->f_op == &pidfd_fops ? get_pid(file->private_data) : NULL;
	fput(file);
	return pid ? pid : ERR_PTR(-EBADF);
}
