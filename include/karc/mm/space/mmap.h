/* SPDX-License-Identifier: MIT */
/*
 * mmap.h - mmap, munmap, brk, mprotect and friends on an explicit mm
 *
 * ksys_x(mm, ...) are what the system calls do, return values and errno included; the proc room
 * wraps them with current->mm. They take mmap_lock themselves. do_x() want it held for writing.
 */
#ifndef KARC_MM_SPACE_MMAP_H
#define KARC_MM_SPACE_MMAP_H

#include <karc/base/contract.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/vm_fault.h>
#include <sys/mman.h>		/* PROT_*, MAP_* */

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE	0x03
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif
#ifndef MAP_SYNC
#define MAP_SYNC		0x080000
#endif
#ifndef MAP_UNINITIALIZED
#define MAP_UNINITIALIZED	0x4000000
#endif
#ifndef PROT_GROWSDOWN
#define PROT_GROWSDOWN		0x01000000
#define PROT_GROWSUP		0x02000000
#endif
#define PROT_SEM		0x8
#define MAP_ABOVE4G		0x80

struct file;

/**
 * ksys_mmap - the mmap system call
 * @file:         what to map; ignored with MAP_ANONYMOUS; NULL without it is -EBADF
 * @offset_bytes: -EINVAL unless page aligned
 *
 * Borrows: @file; the mapping takes its own reference.
 * Context: may sleep; mmap_lock not held.
 * Errors:  exactly Linux's: -EINVAL, -ENOMEM, -EOVERFLOW, -EEXIST, -EACCES, -ENODEV, -EPERM,
 *          -EAGAIN, -EOPNOTSUPP, -EBADF. -ENOSYS for MAP_HUGETLB. Nothing changed then.
 * Returns: the address, or -errno.
 */
long ksys_mmap(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot,
	       unsigned long flags, struct file *file, unsigned long offset_bytes);
long ksys_munmap(struct mm_struct *mm, unsigned long addr, unsigned long len);
long ksys_mprotect(struct mm_struct *mm, unsigned long start, unsigned long len,
		   unsigned long prot);
/* Returns the new break, or the old one when it could not be moved. */
long ksys_brk(struct mm_struct *mm, unsigned long brk);

/* Not built yet: -ENOSYS. */
long ksys_mremap(struct mm_struct *mm, unsigned long addr, unsigned long old_len,
		 unsigned long new_len, unsigned long flags, unsigned long new_addr);
long ksys_madvise(struct mm_struct *mm, unsigned long start, unsigned long len, int behavior);
long ksys_mlock(struct mm_struct *mm, unsigned long start, unsigned long len, int flags);
long ksys_munlock(struct mm_struct *mm, unsigned long start, unsigned long len);
long ksys_mlockall(struct mm_struct *mm, int flags);
long ksys_munlockall(struct mm_struct *mm);
long ksys_msync(struct mm_struct *mm, unsigned long start, unsigned long len, int flags);
long ksys_mincore(struct mm_struct *mm, unsigned long start, unsigned long len,
		  unsigned char *vec);
long ksys_remap_file_pages(struct mm_struct *mm, unsigned long start, unsigned long size,
			   unsigned long prot, unsigned long pgoff, unsigned long flags);

/**
 * mm_mmap / mm_munmap - the same for kernel code that builds another task's space: an ELF loader
 * @offset: bytes, page aligned
 *
 * Context: may sleep; mmap_lock not held. Returns: address or -errno as unsigned long / 0, -errno.
 */
unsigned long mm_mmap(struct mm_struct *mm, struct file *file, unsigned long addr,
		      unsigned long len, unsigned long prot, unsigned long flag,
		      unsigned long offset);
int mm_munmap(struct mm_struct *mm, unsigned long start, unsigned long len);

/**
 * vm_brk_flags - anonymous memory at a fixed place: the part of an ELF segment beyond its file
 * @flags: 0 or VM_EXEC
 */
KARC_MUST_CHECK int vm_brk_flags(struct mm_struct *mm, unsigned long addr, unsigned long len,
				 unsigned long flags);

/**
 * do_mmap - map, with mmap_lock held for writing
 * @pgoff:    offset in pages
 * @populate: set to the length to be faulted in by mm_populate() after unlock, else 0
 */
unsigned long do_mmap(struct mm_struct *mm, struct file *file, unsigned long addr,
		      unsigned long len, unsigned long prot, unsigned long flags,
		      unsigned long pgoff, unsigned long *populate);

/* Remove [start, start + len) with mmap_lock held for writing: 0, -EINVAL, -ENOMEM. */
KARC_MUST_CHECK int do_munmap(struct mm_struct *mm, unsigned long start, size_t len);

/* Fault in what can be faulted in; best effort; mmap_lock not held. */
void mm_populate(struct mm_struct *mm, unsigned long addr, unsigned long len);

/**
 * get_unmapped_area - where a mapping would be placed
 *
 * Locks: caller holds mmap_lock. Returns: address, or -ENOMEM, -EINVAL, -EPERM.
 */
unsigned long get_unmapped_area(struct mm_struct *mm, struct file *file, unsigned long addr,
				unsigned long len, unsigned long pgoff, unsigned long flags);

/* Would @npages more pages of this kind of mapping stay within RLIMIT_AS and RLIMIT_DATA? */
bool may_expand_vm(struct mm_struct *mm, vm_flags_t vm_flags, unsigned long npages);
void vm_stat_account(struct mm_struct *mm, vm_flags_t vm_flags, long npages);

/**
 * expand_stack - grow a VM_GROWSDOWN mapping down to @address
 *
 * Locks:  caller holds mmap_lock, for reading at least.
 * Errors: -ENOMEM: RLIMIT_STACK, RLIMIT_AS, commit limit or the guard gap forbid it; -EPERM below
 *         mmap_min_addr; -EFAULT for a VMA that does not grow.
 */
KARC_MUST_CHECK int expand_stack(struct vm_area_struct *vma, unsigned long address);

/* The VMA at @addr, grown to it if it is a stack that may; NULL if there is none. */
struct vm_area_struct *find_extend_vma(struct mm_struct *mm, unsigned long addr);

/**
 * setup_arg_pages - the initial stack of a new program
 * @stack_top:   its end, normally STACK_TOP
 * @args_bytes:  strings of arguments, environment and file name, terminating zeros included
 * @executable:  the program asks for an executable stack
 *
 * Maps what the strings need and 128 KiB more, within the stack limit; sets mm->start_stack to
 * the lowest string, and arg/env bounds are the caller's.
 * Context: may sleep; mmap_lock not held. Errors: -E2BIG (over a quarter of the stack limit or
 * 6 MiB), -ENOMEM.
 */
KARC_MUST_CHECK int setup_arg_pages(struct mm_struct *mm, unsigned long stack_top,
				    unsigned long args_bytes, bool executable);

/* A mapping with a name of its own: [vdso], [vvar]. Static data of the caller. */
struct vm_special_mapping {
	const char *name;
	struct {
		vm_fault_t (*fault)(const struct vm_special_mapping *sm,
				    struct vm_area_struct *vma, struct vm_fault *vmf);
	} ops;
};

/**
 * _install_special_mapping - map @spec at [addr, addr + len)
 *
 * Without a fault callback the pages read as zero-filled anonymous memory is not given: access is
 * SIGBUS. Locks: caller holds mmap_lock for writing.
 * Returns: the VMA, borrowed; ERR_PTR(-ENOMEM).
 */
KARC_MUST_CHECK struct vm_area_struct *
_install_special_mapping(struct mm_struct *mm, unsigned long addr, unsigned long len,
			 unsigned long flags, const struct vm_special_mapping *spec);

/**
 * map_vdso - [vvar], [vvar_vclock] by profile, and right above [vdso], placed like an anonymous one
 * @vvar_bytes / @vdso_bytes: page aligned; 0 leaves that part out
 *
 * Context: may sleep; mmap_lock not held. Returns: address of [vdso] (of [vvar] when there is no
 * [vdso]), or -errno.
 */
long map_vdso(struct mm_struct *mm, unsigned long vvar_bytes, unsigned long vdso_bytes);

#endif
