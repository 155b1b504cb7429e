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
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE		0x08
#endif
#define PROT_SEM		0x8
#define MAP_ABOVE4G		0x80

/* Where the C library hides them or is older. */
#ifndef MREMAP_MAYMOVE
#define MREMAP_MAYMOVE		1
#endif
#ifndef MREMAP_FIXED
#define MREMAP_FIXED		2
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP		4
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT		1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT		4
#endif
#ifndef MADV_NORMAL
#define MADV_NORMAL		0
#endif
#ifndef MADV_RANDOM
#define MADV_RANDOM		1
#endif
#ifndef MADV_SEQUENTIAL
#define MADV_SEQUENTIAL		2
#endif
#ifndef MADV_WILLNEED
#define MADV_WILLNEED		3
#endif
#ifndef MADV_DONTNEED
#define MADV_DONTNEED		4
#endif
#ifndef MADV_FREE
#define MADV_FREE		8
#endif
#ifndef MADV_REMOVE
#define MADV_REMOVE		9
#endif
#ifndef MADV_DONTFORK
#define MADV_DONTFORK		10
#endif
#ifndef MADV_DOFORK
#define MADV_DOFORK		11
#endif
#ifndef MADV_MERGEABLE
#define MADV_MERGEABLE		12
#endif
#ifndef MADV_UNMERGEABLE
#define MADV_UNMERGEABLE	13
#endif
#ifndef MADV_HUGEPAGE
#define MADV_HUGEPAGE		14
#endif
#ifndef MADV_NOHUGEPAGE
#define MADV_NOHUGEPAGE		15
#endif
#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP		16
#endif
#ifndef MADV_DODUMP
#define MADV_DODUMP		17
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK		18
#endif
#ifndef MADV_KEEPONFORK
#define MADV_KEEPONFORK		19
#endif
#ifndef MADV_COLD
#define MADV_COLD		20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED	24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif
#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE	103
#endif

struct file;

/**
 * ksys_mmap - the mmap system call
 * @file:         what to map; ignored with MAP_ANONYMOUS; NULL without it is -EBADF
 * @offset_bytes: -EINVAL unless page aligned
 *
 * Borrows: @file; the mapping takes its own reference.
 * Context: may sleep; mmap_lock not held.
 * Errors:  exactly Linux's: -EINVAL, -ENOMEM, -EOVERFLOW, -EEXIST, -EACCES, -ENODEV, -EPERM,
 *          -EAGAIN, -EOPNOTSUPP, -EBADF, -EPERM (sealed). MAP_HUGETLB: as a machine without
 *          reserved huge pages. Nothing changed then.
 * Returns: the address, or -errno.
 */
long ksys_mmap(struct mm_struct *mm, unsigned long addr, unsigned long len, unsigned long prot,
	       unsigned long flags, struct file *file, unsigned long offset_bytes);
long ksys_munmap(struct mm_struct *mm, unsigned long addr, unsigned long len);
long ksys_mprotect(struct mm_struct *mm, unsigned long start, unsigned long len,
		   unsigned long prot);
/* Returns the new break, or the old one when it could not be moved. */
long ksys_brk(struct mm_struct *mm, unsigned long brk);

/**
 * ksys_mremap - the mremap system call
 * @flags: MREMAP_*
 *
 * Context: may sleep; mmap_lock not held. Errors: Linux's; a move that fails leaves the source as
 * it was. With MREMAP_FIXED what lay at @new_addr may be gone by then, as in Linux.
 * Returns: the address, or -errno.
 */
long ksys_mremap(struct mm_struct *mm, unsigned long addr, unsigned long old_len,
		 unsigned long new_len, unsigned long flags, unsigned long new_addr);

/**
 * ksys_madvise - the madvise system call; process_madvise() is this for each range of its vector
 *
 * Context: may sleep; mmap_lock not held. Errors: Linux's; -ENOMEM for a hole comes after all that
 * is mapped has been treated. -EINVAL for MADV_HWPOISON, MADV_SOFT_OFFLINE.
 */
long ksys_madvise(struct mm_struct *mm, unsigned long start, unsigned long len, int behavior);

/**
 * ksys_mlock and relatives - memory that stays resident
 * @flags: of mlock2: MLOCK_ONFAULT; of mlockall: MCL_*
 *
 * RLIMIT_MEMLOCK is mm->rlim.memlock; MMF_CAPABLE stands for CAP_IPC_LOCK.
 * Context: may sleep; mmap_lock not held. Errors: Linux's.
 */
long ksys_mlock(struct mm_struct *mm, unsigned long start, unsigned long len);
long ksys_mlock2(struct mm_struct *mm, unsigned long start, unsigned long len, int flags);
long ksys_munlock(struct mm_struct *mm, unsigned long start, unsigned long len);
long ksys_mlockall(struct mm_struct *mm, int flags);
long ksys_munlockall(struct mm_struct *mm);

/*
 * Pages in memory that VM_LOCKED mappings of this machine hold (Linux's Mlocked), each mapping's
 * for itself. Counts them all. Context: may sleep; no mmap_lock held.
 */
unsigned long nr_mlocked_pages(void);

/* @flags: MS_*. Pages of memory files are their own storage: nothing is written anywhere. */
long ksys_msync(struct mm_struct *mm, unsigned long start, unsigned long len, int flags);

/* @vec: kernel memory, one byte for each page of @len; bit 0: resident. */
long ksys_mincore(struct mm_struct *mm, unsigned long start, unsigned long len,
		  unsigned char *vec);

/* Emulated by mapping anew, as in Linux since 4.0. @pgoff: pages. */
long ksys_remap_file_pages(struct mm_struct *mm, unsigned long start, unsigned long size,
			   unsigned long prot, unsigned long pgoff, unsigned long flags);

/* No change of the mappings in the range from now on. @flags: 0. */
long ksys_mseal(struct mm_struct *mm, unsigned long start, unsigned long len,
		unsigned long flags);

/* A host without protection keys: @pkey -1 is mprotect, any other -EINVAL. */
long ksys_pkey_mprotect(struct mm_struct *mm, unsigned long start, unsigned long len,
			unsigned long prot, int pkey);

/**
 * ksys_set_anon_name - prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): shown as [anon:name]
 * @name: printable, at most 79 characters; NULL takes the name away. Copied.
 */
long ksys_set_anon_name(struct mm_struct *mm, unsigned long start, unsigned long len,
			const char *name);

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
 * Locks:  caller holds mmap_lock for writing.
 * Errors: -ENOMEM: RLIMIT_STACK, RLIMIT_AS, commit limit or the guard gap forbid it; -EPERM below
 *         mmap_min_addr; -EFAULT for a VMA that does not grow.
 */
KARC_MUST_CHECK int expand_stack(struct vm_area_struct *vma, unsigned long address);

/* The VMA at @addr, grown to it if it is a stack that may; NULL if there is none. Locks: same. */
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
