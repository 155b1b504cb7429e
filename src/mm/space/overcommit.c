/* SPDX-License-Identifier: MIT */
/*
 * What it is      Memory is promised when it is mapped and given when it is touched. Committed_AS
 *                 is the sum of promises; the mode says how far they may go.
 *
 * Modes           0 refuse only what exceeds RAM and swap together in a single request
 *                 1 refuse nothing
 *                 2 keep the sum below ratio * RAM + swap (or a number of kilobytes), less a
 *                   reserve for the administrator and one for the user to recover
 *
 * Invariants      I10 (room.c): the counter is exact. A refused request leaves it as it was, on
 *                 the way it may be too high for a moment, so that two requests can both be
 *                 refused where one would have fitted; never both granted.
 *
 * Locking         one atomic counter.
 *
 * Unlike Linux    no per-CPU batches, so mode 2 has no slack. No swap yet: its part is 0.
 */
#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/mm.h>

#include "internal.h"
#include "vma_internal.h"

#define KB_TO_PAGES(kb)		((kb) >> (PAGE_SHIFT - 10))
#define PAGES_TO_KB(pages)	((pages) << (PAGE_SHIFT - 10))

#define USER_RESERVE_MAX_KB	(128UL << 10)
#define ADMIN_RESERVE_MAX_KB	(8UL << 10)

/* For shmem files; @mm may be NULL. */
static int charge_shmem(struct mm_struct *mm, long pages)
{
	return __vm_enough_memory(mm, pages, mm && mm_flag_test(mm, MMF_CAPABLE));
}

static const struct cache_acct_ops acct_ops = {
	.charge = charge_shmem,
	.uncharge = vm_unacct_memory,
};

void overcommit_init(struct machine *m, struct space_state *space)
{
	unsigned long share = PAGES_TO_KB(phys_nr_free(m)) / 32;

	cache_register_acct(&acct_ops);
	space->totalram_pages = phys_stats(m).nr_managed;
	space->sysctl.overcommit_memory = OVERCOMMIT_GUESS;
	space->sysctl.overcommit_ratio = 50;
	space->sysctl.user_reserve_kbytes = min(share, USER_RESERVE_MAX_KB);
	space->sysctl.admin_reserve_kbytes = min(share, ADMIN_RESERVE_MAX_KB);
}

void vm_acct_memory(long pages)
{
	atomic_long_add(pages, &space_state()->committed);
}

void vm_unacct_memory(long pages)
{
	long left = atomic_long_sub_return(pages, &space_state()->committed);

	WARN_ON_ONCE(left < 0);
}

unsigned long vm_memory_committed(void)
{
	long pages = atomic_long_read(&space_state()->committed);

	return pages < 0 ? 0 : (unsigned long)pages;
}

unsigned long vm_commit_limit(void)
{
	const struct space_state *space = space_state();
	unsigned long allowed;

	if (space->sysctl.overcommit_kbytes)
		allowed = KB_TO_PAGES(space->sysctl.overcommit_kbytes);
	else
		allowed = space->totalram_pages * space->sysctl.overcommit_ratio / 100;
	return allowed + space->total_swap_pages;
}

/* Mode 2: what @mm may bring the sum up to. May be negative on a small machine. */
static long commit_allowance(const struct mm_struct *mm, int cap_sys_admin)
{
	const struct space_sysctl *sysctl = space_sysctl();
	long allowed = vm_commit_limit(), reserve;

	if (!cap_sys_admin)
		allowed -= KB_TO_PAGES(sysctl->admin_reserve_kbytes);
	if (mm) {
		reserve = KB_TO_PAGES(sysctl->user_reserve_kbytes);
		allowed -= min_t(long, mm->total_vm / 32, reserve);
	}
	return allowed;
}

int __vm_enough_memory(struct mm_struct *mm, long pages, int cap_sys_admin)
{
	const struct space_state *space = space_state();
	bool enough = true;

	vm_acct_memory(pages);
	switch (space->sysctl.overcommit_memory) {
	case OVERCOMMIT_ALWAYS:
		break;
	case OVERCOMMIT_NEVER:
		enough = (long)vm_memory_committed() < commit_allowance(mm, cap_sys_admin);
		break;
	default:
		enough = pages <= (long)(space->totalram_pages + space->total_swap_pages);
	}
	if (enough)
		return 0;
	pr_debug("%s: mm %llu: %ld pages refused\n", __func__,
		 mm ? (unsigned long long)mm->id : 0ULL, pages);
	vm_unacct_memory(pages);
	return -ENOMEM;
}

int security_vm_enough_memory_mm(struct mm_struct *mm, long pages)
{
	return __vm_enough_memory(mm, pages, mm_flag_test(mm, MMF_CAPABLE));
}
