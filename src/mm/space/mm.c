/* SPDX-License-Identifier: MIT */
/*
 * What it is      Life and death of an address space. Two counts answer two questions: do the
 *                 mappings still serve anyone (mm_users), and does anything still point at the
 *                 structure and its page-table root (the arc, Linux's mm_count)?
 *
 * Objects         tasks, borrowers --mmget--> mm_users
 *                 all users together --one--> arc;  lazy CPUs, observers --mmgrab--> arc
 *                 mm ==owns==> VMAs (through the index), root table, exe_file
 *                 the machine's list of mms holds nothing; lookups use arc_tryget under its lock
 *
 * Invariants      I7 mm_users > 0 implies one arc reference on their behalf (refcount/users.c)
 *                 I8 an mm without users has no VMA, no page and no table but its root
 *                 I9 when the struct goes, each rss counter and pgtables_bytes are zero
 *                    ("Bad rss-counter state" otherwise)
 *
 * Locking         mm_users: a refcount_t. The machine's list: space_state.mm_lock. The rest of the
 *                 struct: see mm_types.h.
 *
 * Life            mm_alloc        users 1, count 1
 *                 mmput, last     __mmput: exit_mmap (unmap_vmas, free_pgtables, each VMA put),
 *                                 exe_file put; then the users' reference goes, as in mmdrop
 *                 mmdrop, last    destructor callbacks, then __mmdrop: mm_free_pgd, check_mm;
 *                                 the memory goes back when no VMA remembers it: free_mm
 *
 * Worst case      exit_mmap is linear in VMAs and present entries and runs in the last mmput().
 *
 * Unlike Linux    resource limits sit in the mm, not in the task: calls name an mm, no task.
 */
#include <karc/base/bitops.h>
#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/profile.h>
#include <karc/refcount/users.h>
#include <stdio.h>

#include "internal.h"
#include "vma_internal.h"

#define MM_GAP_MIN	(128UL << 20)	/* kept free below the stack's end, whatever its limit */

static unsigned long long mm_nr(const struct mm_struct *mm)
{
	return (unsigned long long)mm->id;
}

void mm_flag_assign(struct mm_struct *mm, unsigned int bit, bool value)
{
	assign_bit(bit, &mm->flags, value);
}

unsigned int mm_users(const struct mm_struct *mm)
{
	return arc_users_count(&mm->arc);
}

unsigned int mm_count(const struct mm_struct *mm)
{
	return arc_count(&mm->arc);
}

/* ---- the end of the struct ---- */

static void mm_free_pgd(struct mm_struct *mm)
{
	pgd_free(mm, mm->pgd);
	mm->pgd = NULL;
	trace_step("mm_free_pgd", "mm %llu: root page table freed", mm_nr(mm));
}

static void check_mm(struct mm_struct *mm)
{
	static const char *const names[NR_MM_COUNTERS] = {
		[MM_FILEPAGES] = "MM_FILEPAGES", [MM_ANONPAGES] = "MM_ANONPAGES",
		[MM_SWAPENTS] = "MM_SWAPENTS", [MM_SHMEMPAGES] = "MM_SHMEMPAGES",
	};
	long value, bytes = atomic_long_read(&mm->pgtables_bytes);
	unsigned int i;

	for (i = 0; i < NR_MM_COUNTERS; i++) {
		value = atomic_long_read(&mm->rss_stat[i]);
		if (unlikely(value))
			pr_alert("BUG: Bad rss-counter state mm:%llu type:%s val:%ld\n",
				 mm_nr(mm), names[i], value);
	}
	if (bytes)
		pr_alert("BUG: non-zero pgtables_bytes on freeing mm:%llu: %ld\n",
			 mm_nr(mm), bytes);
	trace_step("check_mm", "mm %llu: every counter is zero: %s", mm_nr(mm),
		   get_mm_rss(mm) || bytes ? "no" : "yes");
}

static void __mmdrop(void *obj)
{
	struct space_state *space = space_state();
	struct mm_struct *mm = obj;

	trace_step("__mmdrop", "mm %llu: the last reference is gone", mm_nr(mm));
	BUG_ON(mm_users(mm));
	BUG_ON(mm->map_count || !list_empty(&mm->vmas.list));
	spin_lock(&space->mm_lock);
	list_del_init(&mm->mm_node);
	spin_unlock(&space->mm_lock);
	mm_free_pgd(mm);
	check_mm(mm);
}

static void free_mm(void *obj)
{
	struct mm_struct *mm = obj;

	trace_step("free_mm", "mm %llu: mm_struct goes back to its slab", mm_nr(mm));
	kmem_cache_free(space_state()->mm_cache, mm);
}

static void mm_arc_check(const void *obj, struct check_report *report)
{
	const struct mm_struct *mm = obj;

	if (!mm_users(mm) && mm->map_count)
		check_fail(report, "I8: mm %llu has %d VMAs and no user", mm_nr(mm), mm->map_count);
}

static void mm_describe(const void *obj, char *buf, size_t bytes)
{
	const struct mm_struct *mm = obj;

	snprintf(buf, bytes, "mm %llu, %d mapping%s", mm_nr(mm), mm->map_count,
		 mm->map_count == 1 ? "" : "s");
}

static void __mmput(void *obj);

static const struct arc_field mm_fields[] = {
	ARC_LIST(mm_struct, vmas.list, vm_area_struct, vm_list),
	ARC_OWNED(mm_struct, exe_file, file),
	ARC_FIELDS_END
};

const struct arc_type mm_struct_type = {
	.name = "mm_struct",
	.size = sizeof(struct mm_struct),
	.offset = offsetof(struct mm_struct, arc),
	.users = offsetof(struct mm_struct, users),
	.flags = ARC_FINDABLE,
	.ops = {
		.on_last_user = __mmput,
		.drop = __mmdrop,
		.free = free_mm,
		.check = mm_arc_check,
		.describe = mm_describe,
	},
	.fields = mm_fields,
};

/* ---- birth ---- */

static unsigned long mmap_base_of(const struct mm_struct *mm)
{
	unsigned long gap = mm->rlim.stack, pad = space_sysctl()->stack_guard_gap;

	if (gap + pad > gap)		/* an unlimited stack would wrap around */
		gap += pad;
	gap = clamp(gap, MM_GAP_MIN, mm->task_size / 6 * 5);
	return PAGE_ALIGN(mm->task_size - gap);
}

void mm_set_layout(struct mm_struct *mm, const struct mm_profile *profile,
		   const struct mm_rlimits *rlim, bool legacy)
{
	if (profile)
		mm->profile = profile;
	if (rlim)
		mm->rlim = *rlim;
	mm->mmap_legacy_base = PAGE_ALIGN(mm->task_size / 3);
	mm->mmap_base = legacy ? mm->mmap_legacy_base : mmap_base_of(mm);
	mm_flag_assign(mm, MMF_TOPDOWN, !legacy);
}

/* The parts that start new in a fresh mm and in a copied one alike. */
static void mm_init_fresh(struct mm_struct *mm)
{
	mm->vmas.tree = RB_ROOT;
	INIT_LIST_HEAD(&mm->vmas.list);
	init_rwsem_rank(&mm->mmap_lock, LR_MMAP);
	mm->page_table_lock = SPIN_LOCK_UNLOCKED_RANK(LR_PGTABLE);
}

static void mm_enlist(struct mm_struct *mm)
{
	struct space_state *space = space_state();

	spin_lock(&space->mm_lock);
	mm->id = ++space->next_mm_id;
	list_add_tail(&mm->mm_node, &space->mms);
	spin_unlock(&space->mm_lock);
}

struct mm_struct *KARC_BODY(mm_alloc_site)(const struct site *site)
{
	struct space_state *space = space_state();
	struct mm_struct *mm;

	mm = kmem_cache_alloc_site(space->mm_cache, GFP_KERNEL | __GFP_ZERO, site);
	if (!mm)
		return NULL;
	mm_init_fresh(mm);
	mm->task_size = TASK_SIZE;
	if (!pgd_alloc_site(mm, site)) {
		kmem_cache_free(space->mm_cache, mm);
		return NULL;
	}
	mm->rlim = (struct mm_rlimits) {
		.as = MM_RLIM_UNLIMITED, .data = MM_RLIM_UNLIMITED,
		.stack = MM_RLIM_STACK_DEFAULT, .memlock = MM_RLIM_MEMLOCK_DEFAULT,
	};
	mm_set_layout(mm, mm_profile_newest(), NULL, space->sysctl.legacy_va_layout);
	arc_init_site(&mm->arc, &mm_struct_type, site);
	arc_users_init_site(&mm->arc, site);
	mm_enlist(mm);
	return mm;
}

struct mm_struct *(mm_alloc)(void)
{
	return mm_alloc_site(SITE());
}

/* ---- counts ---- */

struct mm_struct *(mmget_site)(struct mm_struct *mm, const struct site *site)
{
	arc_users_get_site(&mm->arc, site);
	return mm;
}

struct mm_struct *(mmget)(struct mm_struct *mm)
{
	return mmget_site(mm, SITE());
}

bool mmget_not_zero_site(struct mm_struct *mm, const struct site *site)
{
	return arc_users_tryget_site(&mm->arc, site) != NULL;
}

bool (mmget_not_zero)(struct mm_struct *mm)
{
	return mmget_not_zero_site(mm, SITE());
}

struct mm_struct *(mmgrab_site)(struct mm_struct *mm, const struct site *site)
{
	arc_get_site(&mm->arc, site);
	return mm;
}

struct mm_struct *(mmgrab)(struct mm_struct *mm)
{
	return mmgrab_site(mm, SITE());
}

static void trace_mmdrop(struct mm_struct *mm)
{
	unsigned int count = mm_count(mm);

	trace_step("mmdrop", "mm %llu: mm_count %u -> %u", mm_nr(mm), count, count - 1);
}

void KARC_BODY(mmdrop_site)(struct mm_struct *mm, const struct site *site)
{
	if (!mm)
		return;
	trace_mmdrop(mm);
	arc_put_site(&mm->arc, site);
}

void (mmdrop)(struct mm_struct *mm)
{
	mmdrop_site(mm, SITE());
}

/* The last user is gone; their common reference goes right after this. */
static void __mmput(void *obj)
{
	struct mm_struct *mm = obj;
	struct file *exe_file = mm->exe_file;

	exit_mmap(mm);
	mm->exe_file = NULL;
	if (exe_file)
		fput(exe_file);
	trace_mmdrop(mm);
}

void KARC_BODY(mmput_site)(struct mm_struct *mm, const struct site *site)
{
	unsigned int users;

	if (!mm)
		return;
	might_sleep();
	users = mm_users(mm);
	BUG_ON(!users);
	trace_step("mmput", "mm %llu: mm_users %u -> %u", mm_nr(mm), users, users - 1);
	arc_users_put_site(&mm->arc, site);
}

void (mmput)(struct mm_struct *mm)
{
	mmput_site(mm, SITE());
}

/* ---- emptying the space ---- */

/* Unlink and put every VMA; their pages are gone. Returns the pages of Committed_AS they held. */
static unsigned long remove_all_vmas(struct mm_struct *mm)
{
	struct vm_area_struct *vma;
	unsigned long accounted = 0;

	while ((vma = vma_first(mm))) {
		if (vma->vm_flags & VM_ACCOUNT)
			accounted += vma_pages(vma);
		vma_unlink(mm, vma);
		vma_put(vma);
		cond_resched();
	}
	mm->total_vm = mm->data_vm = mm->exec_vm = mm->stack_vm = mm->locked_vm = 0;
	return accounted;
}

void exit_mmap(struct mm_struct *mm)
{
	int nr_vmas = mm->map_count;
	unsigned long accounted, rss;
	struct mmu_gather tlb;
	long tables;

	if (!nr_vmas)
		return;
	rss = get_mm_rss(mm);
	mmap_write_lock(mm);
	mm_flag_assign(mm, MMF_OOM_SKIP, true);
	tlb_gather_mmu_fullmm(&tlb, mm);
	unmap_vmas(&tlb, mm, vma_first(mm), 0, mm->task_size);
	trace_step("unmap_vmas", "mm %llu: %d VMAs, resident pages %lu -> %lu", mm_nr(mm), nr_vmas,
		   rss, get_mm_rss(mm));
	tables = atomic_long_read(&mm->pgtables_bytes);
	free_pgtables(&tlb, mm, 0, mm->task_size);
	tlb_finish_mmu(&tlb);
	trace_step("free_pgtables", "mm %llu: page tables %ld -> %ld bytes, the root stays",
		   mm_nr(mm), tables, atomic_long_read(&mm->pgtables_bytes));
	accounted = remove_all_vmas(mm);
	trace_step("exit_mmap", "mm %llu: VMAs %d -> %d, %lu pages leave Committed_AS", mm_nr(mm),
		   nr_vmas, mm->map_count, accounted);
	mmap_write_unlock(mm);
	vm_unacct_memory(accounted);
}

/* ---- all of them ---- */

unsigned long mm_nr_alive(void)
{
	struct space_state *space = space_state();
	struct mm_struct *mm;
	unsigned long nr = 0;

	spin_lock(&space->mm_lock);
	list_for_each_entry(mm, &space->mms, mm_node)
		nr++;
	spin_unlock(&space->mm_lock);
	return nr;
}

/* The first mm with users and a number above @id, held by a user; ids grow along the list. */
static struct mm_struct *mm_get_after(u64 id)
{
	struct space_state *space = space_state();
	struct mm_struct *mm, *found = NULL;

	spin_lock(&space->mm_lock);
	list_for_each_entry(mm, &space->mms, mm_node) {
		/* Users hold the struct up, and it is on the list: mm_users may be read. */
		if (mm->id > id && mmget_not_zero(mm)) {
			found = mm;
			break;
		}
	}
	spin_unlock(&space->mm_lock);
	return found;
}

int mm_for_each(int (*fn)(struct mm_struct *mm, void *arg), void *arg)
{
	struct mm_struct *mm;
	u64 id = 0;
	int err = 0;

	while (!err && (mm = mm_get_after(id))) {
		id = mm->id;
		err = fn(mm, arg);
		mmput(mm);
	}
	return err;
}
