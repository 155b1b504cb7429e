/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - entry points on current's memory and descriptors: thin wrappers that find mm and files
 */
#include <karc/base/err.h>
#include <karc/hw/mmu.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/proc/files.h>
#include <karc/proc/signal.h>
#include <karc/proc/syscall.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>

/* personality(READ_IMPLIES_EXEC): what can be read can be executed. */
static unsigned long implied_prot(unsigned long prot)
{
	if ((prot & PROT_READ) && (current->personality & READ_IMPLIES_EXEC))
		prot |= PROT_EXEC;
	return prot;
}

long sys_mmap_file(unsigned long addr, unsigned long len, unsigned long prot,
		   unsigned long flags, struct file *file, unsigned long offset_bytes)
{
	return ksys_mmap(current->mm, addr, len, implied_prot(prot), flags, file, offset_bytes);
}

long sys_mmap(unsigned long addr, unsigned long len, unsigned long prot, unsigned long flags,
	      int fd, unsigned long offset_bytes)
{
	struct file *file = NULL;
	long ret;

	if (offset_in_page(offset_bytes))
		return -EINVAL;
	if (!(flags & MAP_ANONYMOUS)) {
		file = fd < 0 ? NULL : fget_files(current->files, (unsigned int)fd);
		if (!file)
			return -EBADF;
	}
	ret = sys_mmap_file(addr, len, prot, flags, file, offset_bytes);
	fput(file);
	return ret;
}

unsigned long vm_mmap(struct file *file, unsigned long addr, unsigned long len,
		      unsigned long prot, unsigned long flag, unsigned long offset)
{
	return mm_mmap(current->mm, file, addr, len, prot, flag, offset);
}

int vm_munmap(unsigned long start, size_t len)
{
	return mm_munmap(current->mm, start, len);
}

long sys_munmap(unsigned long addr, unsigned long len)
{
	return ksys_munmap(current->mm, addr, len);
}

long sys_mprotect(unsigned long addr, unsigned long len, unsigned long prot)
{
	return ksys_mprotect(current->mm, addr, len, implied_prot(prot));
}

long sys_brk(unsigned long brk)
{
	return ksys_brk(current->mm, brk);
}

long sys_mremap(unsigned long addr, unsigned long old_len, unsigned long new_len,
		unsigned long flags, unsigned long new_addr)
{
	return ksys_mremap(current->mm, addr, old_len, new_len, flags, new_addr);
}

long sys_madvise(unsigned long addr, unsigned long len, int advice)
{
	return ksys_madvise(current->mm, addr, len, advice);
}

long sys_mlock(unsigned long addr, unsigned long len)
{
	return ksys_mlock(current->mm, addr, len);
}

long sys_mlock2(unsigned long addr, unsigned long len, int flags)
{
	return ksys_mlock2(current->mm, addr, len, flags);
}

long sys_munlock(unsigned long addr, unsigned long len)
{
	return ksys_munlock(current->mm, addr, len);
}

long sys_mlockall(int flags)
{
	return ksys_mlockall(current->mm, flags);
}

long sys_munlockall(void)
{
	return ksys_munlockall(current->mm);
}

long sys_msync(unsigned long addr, unsigned long len, int flags)
{
	return ksys_msync(current->mm, addr, len, flags);
}

long sys_mincore(unsigned long addr, unsigned long len, unsigned char *vec)
{
	return ksys_mincore(current->mm, addr, len, vec);
}

long sys_remap_file_pages(unsigned long addr, unsigned long size, unsigned long prot,
			  unsigned long pgoff, unsigned long flags)
{
	return ksys_remap_file_pages(current->mm, addr, size, prot, pgoff, flags);
}

long sys_mseal(unsigned long addr, unsigned long len, unsigned long flags)
{
	return ksys_mseal(current->mm, addr, len, flags);
}

long sys_pkey_mprotect(unsigned long addr, unsigned long len, unsigned long prot, int pkey)
{
	return ksys_pkey_mprotect(current->mm, addr, len, implied_prot(prot), pkey);
}

long sys_close(int fd)
{
	return fd < 0 ? -EBADF : close_fd_of(current->files, (unsigned int)fd);
}

long sys_dup3(int oldfd, int newfd, int flags)
{
	struct file *file;
	int err;

	if ((flags & ~O_CLOEXEC) || oldfd == newfd)
		return -EINVAL;
	if (newfd < 0 || (unsigned int)newfd >= rlimit(RLIMIT_NOFILE))
		return -EBADF;
	file = oldfd < 0 ? NULL : fget_files(current->files, (unsigned int)oldfd);
	if (!file)
		return -EBADF;
	err = fd_install_at(current->files, (unsigned int)newfd, file, flags & O_CLOEXEC);
	if (err)
		return err == -EMFILE ? -EBADF : err;
	return newfd;
}

static int user_access(unsigned long addr, void *buf, size_t bytes, enum mmu_access access)
{
	struct fault_info info;
	int err;

	if (!current->mm)	/* a borrowed space is nothing to look into */
		return -EFAULT;
	err = mmu_access_user(addr, buf, bytes, access);
	if (!err)
		return 0;
	if (err == -EINVAL)	/* not canonical: a general-protection fault, which names no address */
		force_sig_fault(SIGSEGV, SI_KERNEL, 0);
	else if (fault_take_pending(&info))
		force_sig_fault(info.si_signo, info.si_code, info.sig_addr);
	return -EFAULT;
}

int user_read(unsigned long addr, void *buf, size_t bytes)
{
	return user_access(addr, buf, bytes, MMU_READ);
}

int user_write(unsigned long addr, const void *buf, size_t bytes)
{
	return user_access(addr, (void *)buf, bytes, MMU_WRITE);
}

int user_exec(unsigned long addr)
{
	return user_access(addr, NULL, 1, MMU_EXEC);
}
