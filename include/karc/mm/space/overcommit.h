/* SPDX-License-Identifier: MIT */
/*
 * overcommit.h - promises of memory: Committed_AS, the commit limit, and the room's settings
 */
#ifndef KARC_MM_SPACE_OVERCOMMIT_H
#define KARC_MM_SPACE_OVERCOMMIT_H

#include <karc/base/contract.h>
#include <karc/mm/mm_types.h>

#define OVERCOMMIT_GUESS	0
#define OVERCOMMIT_ALWAYS	1
#define OVERCOMMIT_NEVER	2

#define DEFAULT_MAX_MAP_COUNT	65530	/* 65535 - 5: what an ELF core file can number */

/**
 * struct space_sysctl - /proc/sys/vm of one machine; read without a lock, written at quiet times
 */
struct space_sysctl {
	int overcommit_memory;			/* OVERCOMMIT_* */
	int overcommit_ratio;			/* percent of RAM */
	unsigned long overcommit_kbytes;	/* replaces the ratio unless 0 */
	unsigned long user_reserve_kbytes;
	unsigned long admin_reserve_kbytes;
	int max_map_count;
	unsigned long mmap_min_addr;		/* bytes */
	unsigned long stack_guard_gap;		/* bytes */
	bool legacy_va_layout;
};

/* Settings of the current machine, for reading and writing. */
struct space_sysctl *space_sysctl(void);

/**
 * __vm_enough_memory - promise @pages more, if the mode allows it
 * @cap_sys_admin: the asker may use the administrator's reserve
 *
 * Errors: -ENOMEM; Committed_AS is as before. On success it has grown by @pages;
 * vm_unacct_memory() takes them back.
 */
KARC_MUST_CHECK int __vm_enough_memory(struct mm_struct *mm, long pages, int cap_sys_admin);
/* The same with the right of @mm's tasks. Linux's security_vm_enough_memory_mm(). */
KARC_MUST_CHECK int security_vm_enough_memory_mm(struct mm_struct *mm, long pages);

void vm_acct_memory(long pages);
void vm_unacct_memory(long pages);

/* Pages: promised now; what mode 2 allows. */
unsigned long vm_memory_committed(void);
unsigned long vm_commit_limit(void);

#endif
