/* SPDX-License-Identifier: MIT */
/*
 * vm_flags.h - what a mapping allows and how it behaves: values of vma->vm_flags as in Linux 6.1
 */
#ifndef KARC_MM_VM_FLAGS_H
#define KARC_MM_VM_FLAGS_H

#define VM_NONE		0x00000000UL

#define VM_READ		0x00000001UL	/* what the page tables allow now */
#define VM_WRITE	0x00000002UL
#define VM_EXEC		0x00000004UL
#define VM_SHARED	0x00000008UL

#define VM_MAYREAD	0x00000010UL	/* the limits of mprotect() */
#define VM_MAYWRITE	0x00000020UL
#define VM_MAYEXEC	0x00000040UL
#define VM_MAYSHARE	0x00000080UL

#define VM_GROWSDOWN	0x00000100UL
#define VM_UFFD_MISSING	0x00000200UL
#define VM_PFNMAP	0x00000400UL	/* bare frames, no struct page behind the entries */
#define VM_MAYBE_GUARD	0x00000800UL	/* guards were put here: fork must copy the entries */
#define VM_UFFD_WP	0x00001000UL

#define VM_LOCKED	0x00002000UL
#define VM_IO		0x00004000UL
#define VM_SEQ_READ	0x00008000UL
#define VM_RAND_READ	0x00010000UL

#define VM_DONTCOPY	0x00020000UL	/* not inherited by fork */
#define VM_DONTEXPAND	0x00040000UL	/* mremap() must not grow it */
#define VM_LOCKONFAULT	0x00080000UL
#define VM_ACCOUNT	0x00100000UL	/* counted in Committed_AS */
#define VM_NORESERVE	0x00200000UL
#define VM_HUGETLB	0x00400000UL
#define VM_SYNC		0x00800000UL
#define VM_ARCH_1	0x01000000UL
#define VM_WIPEONFORK	0x02000000UL
#define VM_DONTDUMP	0x04000000UL
#define VM_SOFTDIRTY	0x08000000UL
#define VM_MIXEDMAP	0x10000000UL
#define VM_HUGEPAGE	0x20000000UL
#define VM_NOHUGEPAGE	0x40000000UL
#define VM_MERGEABLE	0x80000000UL
#define VM_DROPPABLE	(1UL << 40)	/* its pages may go at any time */
#define VM_SEALED	(1UL << 42)	/* the mapping stays as it is */

#define VM_STACK		VM_GROWSDOWN
#define VM_GROWSUP		VM_NONE

#define VM_ACCESS_FLAGS		(VM_READ | VM_WRITE | VM_EXEC)

#define VM_DATA_FLAGS_NON_EXEC	(VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC)
#define VM_DATA_FLAGS_EXEC	(VM_DATA_FLAGS_NON_EXEC | VM_EXEC)
#define VM_DATA_DEFAULT_FLAGS	VM_DATA_FLAGS_NON_EXEC
#define VM_STACK_DEFAULT_FLAGS	VM_DATA_DEFAULT_FLAGS
#define VM_STACK_FLAGS		(VM_STACK | VM_STACK_DEFAULT_FLAGS | VM_ACCOUNT)

/* The initial stack while exec builds it. */
#define VM_STACK_INCOMPLETE_SETUP	(VM_RAND_READ | VM_SEQ_READ)

/* Differences that keep nobody from merging; the whole has what a part has. */
#define VM_IGNORE_MERGE		(VM_SOFTDIRTY | VM_MAYBE_GUARD)

/* Mappings that are never merged with a neighbour. */
#define VM_SPECIAL		(VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)

#define VM_INIT_DEF_MASK	VM_NOHUGEPAGE
#define VM_LOCKED_MASK		(VM_LOCKED | VM_LOCKONFAULT)

#endif
