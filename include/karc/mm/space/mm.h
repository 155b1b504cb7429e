/* SPDX-License-Identifier: MIT */
/*
 * mm.h - life and death of an address space: mm_struct
 *
 * Two tiers, as in Linux. mm_users counts threads and borrowers that use the mappings; the last
 * mmput() unmaps everything and drops the one structure reference that all users hold together.
 * The arc (Linux's mm_count) keeps the structure and its page-table root; the last mmdrop() frees
 * them. All VMAs are owned by the mm through its index; see vma.h.
 */
#ifndef KARC_MM_SPACE_MM_H
#define KARC_MM_SPACE_MM_H

#include <karc/base/cleanup.h>
#include <karc/base/contract.h>
#include <karc/hw/rwsem.h>
#include <karc/hw/trace.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/pgtable/pgtable.h>

/* The user half of a 4-level x86-64 address space; the last page stays unmapped, as in Linux. */
#define DEFAULT_MAP_WINDOW	TASK_SIZE_MAX
#define TASK_SIZE		TASK_SIZE_MAX
#define STACK_TOP		TASK_SIZE_MAX
#define STACK_TOP_MAX		TASK_SIZE_MAX

/* Bits of mm->flags (bit numbers). */
#define MMF_TOPDOWN	0	/* placement goes down from mmap_base, else up */
#define MMF_CAPABLE	1	/* its tasks hold CAP_SYS_RAWIO, CAP_SYS_ADMIN and CAP_IPC_LOCK */
#define MMF_OOM_SKIP	2	/* nothing left to reap */

/* Values of rlim fields. */
#define MM_RLIM_UNLIMITED	(~0UL)
#define MM_RLIM_STACK_DEFAULT	(8UL << 20)
#define MM_RLIM_MEMLOCK_DEFAULT	(8UL << 20)

/**
 * mm_alloc - an empty address space with its page-table root
 *
 * Layout as after execve() without randomisation under the default limits (see mm_set_layout()),
 * newest profile, no VMA.
 * Gives:   one user (mm_users = 1), which holds one structure reference; end it with mmput().
 * Context: may sleep. Errors: NULL; nothing changed.
 * Model:   Linux 6.1 mm_alloc().
 */
KARC_MUST_CHECK KARC_GIVES struct mm_struct *mm_alloc_site(const struct site *site);
KARC_MUST_CHECK KARC_GIVES struct mm_struct *mm_alloc(void);
#define mm_alloc() mm_alloc_site(SITE())

/**
 * mm_set_layout - choose where mappings are placed
 * @profile: kernel-version dependent rules, borrowed for the life of @mm and of its forks; NULL
 *           keeps the one in force
 * @rlim:    resource limits; NULL keeps those in force. The stack limit moves mmap_base.
 * @legacy:  bottom-up placement (vm.legacy_va_layout or ADDR_COMPAT_LAYOUT)
 *
 * Context: before the first mapping. Model: Linux 6.1 arch_pick_mmap_layout().
 */
void mm_set_layout(struct mm_struct *mm, const struct mm_profile *profile,
		   const struct mm_rlimits *rlim, bool legacy);

/* One more user, the caller has one already. Gives a user; end it with mmput(). */
struct mm_struct *mmget_site(struct mm_struct *mm, const struct site *site);
struct mm_struct *(mmget)(struct mm_struct *mm);
/* A user unless the last one is gone; the caller holds a structure reference. */
KARC_MUST_CHECK bool mmget_not_zero_site(struct mm_struct *mm, const struct site *site);
KARC_MUST_CHECK bool (mmget_not_zero)(struct mm_struct *mm);

/**
 * mmput - one user less; the last one empties the address space
 *
 * Takes:   one user. NULL is ignored.
 * Context: may sleep (the last user unmaps everything); mmap_lock not held.
 */
void mmput_site(KARC_TAKES struct mm_struct *mm, const struct site *site);
void (mmput)(KARC_TAKES struct mm_struct *mm);
#define mmput(mm) mmput_site((mm), SITE())

/* One more structure reference: keeps the struct and the page-table root, not the mappings. */
struct mm_struct *mmgrab_site(struct mm_struct *mm, const struct site *site);
struct mm_struct *(mmgrab)(struct mm_struct *mm);

/**
 * mmdrop - one structure reference less
 *
 * The last one runs the destructor callbacks registered on mm->arc, then __mmdrop: mm_free_pgd,
 * check_mm ("BUG: Bad rss-counter state" for what does not add up), free_mm.
 * Takes:   one structure reference. NULL is ignored. Context: any.
 */
void mmdrop_site(KARC_TAKES struct mm_struct *mm, const struct site *site);
void (mmdrop)(KARC_TAKES struct mm_struct *mm);
#define mmdrop(mm) mmdrop_site((mm), SITE())

#ifdef __clang_analyzer__
KARC_RETAINS(mm_struct);
#define mmget(mm) KARC_RETAIN(mm_struct, mm)
#define mmgrab(mm) KARC_RETAIN(mm_struct, mm)
#define mmget_site(mm, site) mmget(mm)
#define mmgrab_site(mm, site) mmgrab(mm)
bool karc_analyzer_mm_has_users(const struct mm_struct *mm);
#define mmget_not_zero(mm) \
	(karc_analyzer_mm_has_users(mm) && KARC_RETAIN(mm_struct, mm))
#else
#define mmget(mm) mmget_site((mm), SITE())
#define mmgrab(mm) mmgrab_site((mm), SITE())
#define mmget_not_zero(mm) mmget_not_zero_site((mm), SITE())
#endif

/* mm_users and mm_count (structure references), for reports and tests. */
unsigned int mm_users(const struct mm_struct *mm);
unsigned int mm_count(const struct mm_struct *mm);

/* exit_mmap's body, for the last user; unmaps everything, frees the tables, puts the VMAs. */
void exit_mmap(struct mm_struct *mm);

/* mmap_lock. */
static inline void mmap_read_lock(struct mm_struct *mm)
{
	down_read(&mm->mmap_lock);
}

static inline int mmap_read_trylock(struct mm_struct *mm)
{
	return down_read_trylock(&mm->mmap_lock);
}

static inline void mmap_read_unlock(struct mm_struct *mm)
{
	up_read(&mm->mmap_lock);
}

static inline void mmap_write_lock(struct mm_struct *mm)
{
	down_write(&mm->mmap_lock);
}

static inline int mmap_write_trylock(struct mm_struct *mm)
{
	return down_write_trylock(&mm->mmap_lock);
}

static inline void mmap_write_unlock(struct mm_struct *mm)
{
	up_write(&mm->mmap_lock);
}

static inline void mmap_write_downgrade(struct mm_struct *mm)
{
	downgrade_write(&mm->mmap_lock);
}

/* RSS counters, in pages. @member: MM_FILEPAGES .. MM_SHMEMPAGES. */
static inline void add_mm_counter(struct mm_struct *mm, int member, long value)
{
	atomic_long_add(value, &mm->rss_stat[member]);
}

static inline void inc_mm_counter(struct mm_struct *mm, int member)
{
	atomic_long_inc(&mm->rss_stat[member]);
}

static inline void dec_mm_counter(struct mm_struct *mm, int member)
{
	atomic_long_dec(&mm->rss_stat[member]);
}

/* Never negative: a reader may meet an update half way. */
static inline unsigned long get_mm_counter(struct mm_struct *mm, int member)
{
	long value = atomic_long_read(&mm->rss_stat[member]);

	return value < 0 ? 0 : (unsigned long)value;
}

static inline unsigned long get_mm_rss(struct mm_struct *mm)
{
	return get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_ANONPAGES) +
	       get_mm_counter(mm, MM_SHMEMPAGES);
}

static inline bool mm_flag_test(const struct mm_struct *mm, unsigned int bit)
{
	return (READ_ONCE(mm->flags) >> bit) & 1;
}

void mm_flag_assign(struct mm_struct *mm, unsigned int bit, bool value);

/**
 * mm_check - verify the invariants of one address space (vma_tree.c, mm.c)
 *
 * Context: mmap_lock held, or nobody else uses the mm. Only reads.
 */
void mm_check(struct mm_struct *mm, struct check_report *report);

/* Address spaces alive on the current machine (struct count), and a walk over them. */
unsigned long mm_nr_alive(void);

/**
 * mm_for_each - fn(mm, arg) for every mm that has users, each held by a user during the call
 * Context: may sleep. Returns: the first non-zero value of @fn, else 0.
 */
int mm_for_each(int (*fn)(struct mm_struct *mm, void *arg), void *arg);

extern const struct room space_room;

/* On a variable: __free(mmput); guard(mmap_read_lock)(mm). See base/cleanup.h. */
DEFINE_FREE(mmput, struct mm_struct *, if (_T) mmput(_T))
DEFINE_FREE(mmdrop, struct mm_struct *, if (_T) mmdrop(_T))
DEFINE_GUARD(mmap_read_lock, struct mm_struct *, mmap_read_lock(_T), mmap_read_unlock(_T))
DEFINE_GUARD_COND(mmap_read_lock, _try, mmap_read_trylock(_T))
DEFINE_GUARD(mmap_write_lock, struct mm_struct *, mmap_write_lock(_T), mmap_write_unlock(_T))

#endif
