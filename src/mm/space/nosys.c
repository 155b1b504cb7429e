/* SPDX-License-Identifier: MIT */
/*
 * Calls of the mmap family that are not built yet. Each says so; none pretends.
 */
#include <errno.h>
#include <karc/mm/space/mmap.h>

#define NOT_BUILT(name, ...)	\
	long name(struct mm_struct *mm __attribute__((unused)), ##__VA_ARGS__) { return -ENOSYS; }
#define UL(x)	unsigned long x __attribute__((unused))
#define INT(x)	int x __attribute__((unused))

NOT_BUILT(ksys_mremap, UL(addr), UL(old_len), UL(new_len), UL(flags), UL(new_addr))
NOT_BUILT(ksys_madvise, UL(start), UL(len), INT(behavior))
NOT_BUILT(ksys_mlock, UL(start), UL(len), INT(flags))
NOT_BUILT(ksys_munlock, UL(start), UL(len))
NOT_BUILT(ksys_mlockall, INT(flags))
NOT_BUILT(ksys_munlockall)
NOT_BUILT(ksys_msync, UL(start), UL(len), INT(flags))
NOT_BUILT(ksys_mincore, UL(start), UL(len), unsigned char *vec __attribute__((unused)))
NOT_BUILT(ksys_remap_file_pages, UL(start), UL(size), UL(prot), UL(pgoff), UL(flags))
