/* SPDX-License-Identifier: MIT */
/*
 * pgtable.c - table pages: made, hooked, unhooked, checked
 *
 * What it is
 *	A space's translations are a tree of table pages, four levels deep, that the MMU walks. Each
 *	table page is an object with one owner: the entry that points at it, or the mm for the root.
 *	An entry that is not none is a reference from below, so a table is needed while it has
 *	entries; when the last one has gone, free_pgtables() ends the owner's hold and the table
 *	dies.
 *
 * Objects
 *	mm --owns--> PGD --entry owns--> PUD --entry owns--> PMD --entry owns--> PTE table
 *	                                                                          | entry: one
 *	      page->pt_parent, pt_slot: the way back, holds nothing               v reference
 *	      page->dtors: callbacks, run when the table dies                   frame
 *
 * Invariants
 *	I1 pt_entries equals the number of entries that are not none
 *	I2 a table of level n+1 points at tables of level n only, and each of those names it in
 *	   pt_parent and the entry's index in pt_slot
 *	I3 all tables of a space have its mm in pt_mm; mm->pgtables_bytes is PAGE_SIZE times their
 *	   number, the root not counted
 *	I4 a hooked table is unhooked before it dies, and dies after the flush that follows
 *
 * Locking
 *	field                        read                  write
 *	entries, pt_entries          ptl (MMU: none)       the table's own ptl
 *	pt_parent, pt_slot           mmap_lock             mmap_lock, parent's ptl
 *	tables unhooked, moved       -                     mmap_lock for writing, and no mapping
 *	                                                   that a file lists reaches into their span
 *	                                                   (or its i_mmap_rwsem for writing)
 *
 * Life
 *	X_alloc_one -> bare; X_populate or pgtable_commit -> hooked; free_pgtables -> unhooked,
 *	gathered; flush; pgtable_destroy: callbacks (latest first), frame back.
 *
 * Worst case
 *	free_pgtables() looks at each existing table of the range once and at most at 512 entries of
 *	each level for holes; no table is looked for below an entry that is none.
 *
 * Unlike Linux
 *	Tables are freed by their own count, which needs mmap_lock for writing. The neighbours'
 *	floor and ceiling matter only where truncation may walk: it holds no mmap_lock, and relies
 *	on the tables of every mapping that its file still lists. The kernel half is in init_mm's
 *	tables (see kva) and in nobody else's. Entries of 1 GiB and five levels are absent; 2 MiB
 *	entries have helpers but nothing here makes them.
 */
#include <karc/base/err.h>
#include <karc/hw/machine.h>
#include <karc/mm/pgtable/mmu_gather.h>
#include <karc/mm/pgtable/pgtable.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/dtor.h>
#include <karc/refcount/ledger.h>
#include <string.h>
#include "internal.h"

#define LEDGER_KIND		"pgtable"
#define GFP_PGTABLE_KERNEL	(GFP_KERNEL | __GFP_ZERO)
#define GFP_PGTABLE_USER	(GFP_PGTABLE_KERNEL | __GFP_ACCOUNT)

static const char *const level_names[PGTABLE_LEVELS] = { "pte", "pmd", "pud", "pgd" };

const char *pgtable_level_name(unsigned int level)
{
	return level < PGTABLE_LEVELS ? level_names[level] : "?";
}

pgprot_t vm_get_page_prot(unsigned long vm_flags)
{
	bool shared = vm_flags & VM_SHARED;
	bool write = vm_flags & VM_WRITE;
	bool exec = vm_flags & VM_EXEC;

	if (!(vm_flags & VM_ACCESS_FLAGS))
		return PAGE_NONE;
	if (write && shared)
		return exec ? PAGE_SHARED_EXEC : PAGE_SHARED;
	return exec ? PAGE_READONLY_EXEC : PAGE_READONLY;
}

/* ---- one table page ---- */

static struct page *table_alloc(struct mm_struct *mm, unsigned int level, const struct site *site)
{
	/* A space without room for users is the kernel's own: nobody's group pays for it. */
	gfp_t gfp = mm->task_size ? GFP_PGTABLE_USER : GFP_PGTABLE_KERNEL;
	struct page *table = alloc_pages_site(gfp, 0, site);

	if (!table)
		return NULL;
	__SetPageTable(table);
	table->pt_parent = NULL;
	table->pt_mm = mm;
	spin_lock_init_rank(&table->ptl, LR_PGTABLE);
	table->pt_entries = 0;
	table->pt_slot = 0;
	table->pt_level = (unsigned short)level;
	table->dtors = NULL;
	atomic_long_inc(&pgtable_state()->nr_alive[level]);
	ledger_add(LEDGER_KIND, page_site(table), PAGE_SIZE);
	inc_node_page_state(table, NR_PAGETABLE);
	return table;
}

void pgtable_destroy(struct page *table)
{
	unsigned int level = table->pt_level;

	BUG_ON(!PageTable(table));
	BUG_ON(table->pt_entries);
	arc_dtor_run(&table->dtors, table);
	dec_node_page_state(table, NR_PAGETABLE);
	ledger_sub(LEDGER_KIND, page_site(table), PAGE_SIZE);
	atomic_long_dec(&pgtable_state()->nr_alive[level]);
	/* The overlay becomes an ordinary page's zero fields again. */
	table->pt_parent = NULL;
	table->pt_mm = NULL;
	memset(&table->ptl, 0, sizeof(table->ptl));
	table->pt_slot = 0;
	table->pt_level = 0;
	__ClearPageTable(table);
	put_page(table);
}

void pgtable_on_drop(struct page *table, struct arc_dtor *dtor,
		     void (*fn)(void *obj, void *arg), void *arg)
{
	arc_dtor_push(&table->dtors, dtor, fn, arg);
}

pgd_t *pgd_alloc_site(struct mm_struct *mm, const struct site *site)
{
	struct page *table = table_alloc(mm, PGTABLE_PGD, site);

	if (!table)
		return NULL;
	mm->pgd = page_to_virt(table);
	return mm->pgd;
}

void pgd_free(struct mm_struct *mm, pgd_t *pgd)
{
	struct page *table = virt_to_page(pgd);

	BUG_ON(table->pt_level != PGTABLE_PGD || table->pt_mm != mm);
	BUG_ON(__atomic_load_n(&mm->cpu_bitmap, __ATOMIC_ACQUIRE));
	mm->pgd = NULL;
	if (WARN(table->pt_entries, "pgd_free: %u entries are left in the root table",
		 table->pt_entries))
		return;
	pgtable_destroy(table);
}

pgtable_t pte_alloc_one(struct mm_struct *mm)
{
	return table_alloc(mm, PGTABLE_PTE, SITE());
}

pmd_t *pmd_alloc_one(struct mm_struct *mm, unsigned long addr)
{
	struct page *table = table_alloc(mm, PGTABLE_PMD, SITE());

	(void)addr;
	return table ? page_to_virt(table) : NULL;
}

pud_t *pud_alloc_one(struct mm_struct *mm, unsigned long addr)
{
	struct page *table = table_alloc(mm, PGTABLE_PUD, SITE());

	(void)addr;
	return table ? page_to_virt(table) : NULL;
}

void pte_free(struct mm_struct *mm, struct page *table)
{
	(void)mm;
	pgtable_destroy(table);
}

void pmd_free(struct mm_struct *mm, pmd_t *table)
{
	(void)mm;
	pgtable_destroy(virt_to_page(table));
}

void pud_free(struct mm_struct *mm, pud_t *table)
{
	(void)mm;
	pgtable_destroy(virt_to_page(table));
}

/* ---- hooking ---- */

static u64 table_entry_value(const struct page *table)
{
	return page_to_phys(table) | _PAGE_TABLE;
}

/* The child knows its place before the walker can find it: set_pxd() stores with release. */
static void link_parent(void *entry, struct page *child)
{
	if (!PageTable(child))
		return;
	child->pt_parent = pgtable_page_of(entry);
	child->pt_slot = (unsigned short)(offset_in_page(entry) / sizeof(u64));
}

void pmd_populate(struct mm_struct *mm, pmd_t *pmd, pgtable_t pte)
{
	(void)mm;
	link_parent(pmd, pte);
	set_pmd(pmd, __pmd(table_entry_value(pte)));
}

void pud_populate(struct mm_struct *mm, pud_t *pud, pmd_t *pmd)
{
	(void)mm;
	link_parent(pud, virt_to_page(pmd));
	set_pud(pud, __pud(table_entry_value(virt_to_page(pmd))));
}

void p4d_populate(struct mm_struct *mm, p4d_t *p4d, pud_t *pud)
{
	(void)mm;
	link_parent(p4d, virt_to_page(pud));
	set_p4d(p4d, __p4d(table_entry_value(virt_to_page(pud))));
}

/* Hook @child below @entry unless somebody else was first; true when it was hooked. */
static bool table_hook(struct mm_struct *mm, u64 *entry, struct page *child)
{
	spinlock_t *ptl = pgtable_lockptr(entry);
	bool first;

	spin_lock(ptl);
	first = !READ_ONCE(*entry);
	if (first) {
		link_parent(entry, child);
		pgtable_account(entry, 0, table_entry_value(child));
		smp_store_release(entry, table_entry_value(child));
		mm_inc_nr_ptes(mm);
	}
	spin_unlock(ptl);
	return first;
}

static int table_make(struct mm_struct *mm, u64 *entry, unsigned int level,
		      const struct site *site)
{
	struct page *table = table_alloc(mm, level, site);

	if (!table)
		return -ENOMEM;
	if (!table_hook(mm, entry, table))
		pgtable_destroy(table);
	return 0;
}

int __pte_alloc(struct mm_struct *mm, pmd_t *pmd)
{
	return table_make(mm, &pmd->pmd, PGTABLE_PTE, SITE());
}

pmd_t *__pmd_alloc(struct mm_struct *mm, pud_t *pud, unsigned long addr)
{
	return table_make(mm, &pud->pud, PGTABLE_PMD, SITE()) ? NULL : pmd_offset(pud, addr);
}

pud_t *__pud_alloc(struct mm_struct *mm, p4d_t *p4d, unsigned long addr)
{
	return table_make(mm, &p4d->p4d, PGTABLE_PUD, SITE()) ? NULL : pud_offset(p4d, addr);
}

/* ---- walking by level ---- */

static unsigned int table_index(unsigned int level, unsigned long addr)
{
	return (addr >> pgtable_shift(level)) & (PTRS_PER_TABLE - 1);
}

static u64 *root_entries(const struct mm_struct *mm)
{
	return (u64 *)mm->pgd;
}

static u64 *entry_table(u64 entry)
{
	return phys_to_virt(entry & PTE_PFN_MASK);
}

/* The lowest entry on @addr's path that exists above the leaf; *@level is where it was found. */
static u64 *walk_to(const struct mm_struct *mm, unsigned long addr, unsigned int *level)
{
	u64 *entry = root_entries(mm) + table_index(PGTABLE_PGD, addr);
	unsigned int at = PGTABLE_PGD;

	while (at > PGTABLE_PMD) {
		u64 value = smp_load_acquire(entry);

		if (!value)
			break;
		at--;
		entry = entry_table(value) + table_index(at, addr);
	}
	*level = at;
	return entry;
}

pmd_t *mm_find_pmd(const struct mm_struct *mm, unsigned long addr)
{
	unsigned int level;
	u64 *entry = walk_to(mm, addr, &level);

	return level == PGTABLE_PMD ? (pmd_t *)entry : NULL;
}

pmd_t *mm_next_leaf(const struct mm_struct *mm, unsigned long *addr, unsigned long end)
{
	while (*addr < end) {
		unsigned int level;
		u64 *entry = walk_to(mm, *addr, &level);

		if (level == PGTABLE_PMD && READ_ONCE(*entry))
			return (pmd_t *)entry;
		*addr = pgtable_addr_end(*addr, end, pgtable_shift(level));
	}
	return NULL;
}

pte_t mm_lookup_pte(const struct mm_struct *mm, unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(mm, addr);

	if (!pmd || pmd_none(pmdp_get(pmd)))
		return __pte(0);
	return ptep_get(pte_offset_map(pmd, addr));
}

/* ---- reserve, commit ---- */

void pgtable_unreserve(struct mm_struct *mm, struct pgtable_reserve *r)
{
	unsigned int level;

	(void)mm;
	for (level = 0; level < PGTABLE_PGD; level++) {
		if (r->table[level])
			pgtable_destroy(r->table[level]);
		r->table[level] = NULL;
	}
}

int pgtable_reserve_down_to(struct mm_struct *mm, unsigned long addr, unsigned int lowest,
			    struct pgtable_reserve *r)
{
	unsigned int level;

	*r = (struct pgtable_reserve) { .lowest = lowest };
	if (READ_ONCE(*walk_to(mm, addr, &level)))
		return 0;
	while (level-- > lowest) {
		r->table[level] = table_alloc(mm, level, SITE());
		if (!r->table[level]) {
			pgtable_unreserve(mm, r);
			return -ENOMEM;
		}
	}
	return 0;
}

pmd_t *pgtable_commit(struct mm_struct *mm, unsigned long addr, struct pgtable_reserve *r)
{
	u64 *entry = root_entries(mm) + table_index(PGTABLE_PGD, addr);
	unsigned int level;

	for (level = PGTABLE_PGD; level > r->lowest; level--) {
		struct page *child = r->table[level - 1];

		if (!READ_ONCE(*entry)) {
			BUG_ON(!child);		/* tables went away under mmap_lock */
			if (table_hook(mm, entry, child))
				r->table[level - 1] = NULL;
		}
		if (level > PGTABLE_PMD)
			entry = entry_table(smp_load_acquire(entry)) + table_index(level - 1, addr);
	}
	pgtable_unreserve(mm, r);
	return (pmd_t *)entry;
}

/* ---- moving ---- */

/* The lock of the lower address first: two parents, both locked. */
static void lock_two(spinlock_t *a, spinlock_t *b)
{
	spin_lock(a < b ? a : b);
	if (a != b)
		spin_lock_nested(a < b ? b : a, 1);
}

static void unlock_two(spinlock_t *a, spinlock_t *b)
{
	if (a != b)
		spin_unlock(a < b ? b : a);
	spin_unlock(a < b ? a : b);
}

bool pgtable_move_leaf(struct mm_struct *mm, pmd_t *from, pmd_t *to, unsigned long addr)
{
	spinlock_t *from_ptl = pmd_lockptr(mm, from), *to_ptl = pmd_lockptr(mm, to);
	pmd_t entry;
	bool free;

	lock_two(from_ptl, to_ptl);
	free = pmd_none(pmdp_get(to));
	if (free) {
		entry = pmdp_get(from);
		pmd_clear(from);
		/* Before the table is reachable again: nobody may store through the old way. */
		flush_tlb_mm_range(mm, addr, addr + PMD_SIZE);
		pmd_populate(mm, to, pmd_page(entry));
	}
	unlock_two(from_ptl, to_ptl);
	return free;
}

/* ---- unhooking ---- */

/* First address that @table translates. */
static unsigned long table_address(const struct page *table)
{
	unsigned long addr = 0;

	for (; table->pt_parent; table = table->pt_parent)
		addr |= (unsigned long)table->pt_slot << pgtable_shift(table->pt_level + 1u);
	return addr;
}

void pgtable_unhook(struct mmu_gather *tlb, struct page *table)
{
	struct page *parent = table->pt_parent;
	unsigned long addr = table_address(table);
	u64 *entry = table_entries(parent) + table->pt_slot;

	spin_lock(&parent->ptl);
	BUG_ON((READ_ONCE(*entry) & PTE_PFN_MASK) != page_to_phys(table));
	WRITE_ONCE(*entry, 0);
	WRITE_ONCE(parent->pt_entries, parent->pt_entries - 1);
	spin_unlock(&parent->ptl);
	mm_dec_nr_ptes(table->pt_mm);
	table->pt_parent = NULL;
	tlb_remove_tlb_entry(tlb, addr);
	tlb_remove_table(tlb, table);
}

/* Is nothing below @floor or from @ceiling on translated by @table? */
static bool table_between(const struct page *table, unsigned long floor, unsigned long ceiling)
{
	unsigned long start = table_address(table);
	unsigned long last = start + ((1UL << pgtable_shift(table->pt_level + 1u)) - 1);

	return start >= floor && last <= ceiling - 1;
}

void free_pgtables_between(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
			   unsigned long end, unsigned long floor, unsigned long ceiling)
{
	unsigned long addr = start;

	while (addr < end) {
		unsigned int level;
		u64 *entry = walk_to(mm, addr, &level);
		unsigned long next = pgtable_addr_end(addr, end, pgtable_shift(level));
		struct page *table = pgtable_page_of(entry);

		if (READ_ONCE(*entry))
			table = phys_to_page(READ_ONCE(*entry) & PTE_PFN_MASK);
		while (table->pt_parent && !READ_ONCE(table->pt_entries) &&
		       table_between(table, floor, ceiling)) {
			struct page *parent = table->pt_parent;

			pgtable_unhook(tlb, table);
			table = parent;
		}
		addr = next;
	}
}

void free_pgtables(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
		   unsigned long end)
{
	free_pgtables_between(tlb, mm, start, end, 0, 0);
}

/* ---- checks and reports ---- */

/* A step of a walk over all tables: the entry in @parent's @slot, which is not none. */
struct table_step {
	struct page *parent;
	unsigned int slot;
	u64 entry;
	unsigned long addr;
};

/* Calls @see for each table below the root, parents first; it says whether to go down. */
static void walk_tables(struct page *root, bool (*see)(void *arg, const struct table_step *step),
			void *arg)
{
	struct page *at[PGTABLE_LEVELS] = { [PGTABLE_PGD] = root };
	unsigned long base[PGTABLE_LEVELS] = { 0 };
	unsigned int pos[PGTABLE_LEVELS] = { 0 };
	unsigned int level = PGTABLE_PGD;

	while (level < PGTABLE_LEVELS) {
		struct table_step step = { .parent = at[level], .slot = pos[level] };

		if (pos[level] == PTRS_PER_TABLE) {
			level++;
			continue;
		}
		pos[level]++;
		step.entry = READ_ONCE(table_entries(at[level])[step.slot]);
		step.addr = base[level] + ((unsigned long)step.slot << pgtable_shift(level));
		if (!step.entry || !see(arg, &step) || level == PGTABLE_PMD)
			continue;
		level--;
		at[level] = phys_to_page(step.entry & PTE_PFN_MASK);
		base[level] = step.addr;
		pos[level] = 0;
	}
}

struct for_each_arg {
	void (*see)(void *arg, struct page *table, unsigned long addr);
	void *arg;
};

static bool see_table(void *arg, const struct table_step *step)
{
	struct for_each_arg *f = arg;

	f->see(f->arg, phys_to_page(step->entry & PTE_PFN_MASK), step->addr);
	return true;
}

void pgtable_for_each(const struct mm_struct *mm,
		      void (*see)(void *arg, struct page *table, unsigned long addr), void *arg)
{
	struct for_each_arg f = { see, arg };
	struct page *root = virt_to_page(mm->pgd);

	see(arg, root, 0);
	walk_tables(root, see_table, &f);
}

static void count_table(void *arg, struct page *table, unsigned long addr)
{
	struct pgtable_stats *stats = arg;
	unsigned int i;

	(void)addr;
	stats->tables[table->pt_level]++;
	if (table->pt_level != PGTABLE_PTE)
		return;
	for (i = 0; i < PTRS_PER_PTE; i++) {
		pte_t pte = __pte(READ_ONCE(table_entries(table)[i]));

		if (pte_present(pte))
			stats->present++;
		else if (!pte_none(pte))
			stats->swap++;
	}
}

void pgtable_count_all(const struct mm_struct *mm, struct pgtable_stats *stats)
{
	*stats = (struct pgtable_stats) { { 0 }, 0, 0 };
	pgtable_for_each(mm, count_table, stats);
}

struct check_tables {
	struct check_report *report;
	struct mm_struct *mm;
	unsigned long nr_tables;
};

static void check_entries(struct check_report *report, const struct page *table)
{
	unsigned int i, nr = 0;

	for (i = 0; i < PTRS_PER_TABLE; i++)
		nr += !!READ_ONCE(table_entries(table)[i]);
	if (nr != table->pt_entries)
		check_fail(report, "I1: %s table at pfn %lu has %u entries and counts %u",
			   pgtable_level_name(table->pt_level), page_to_pfn(table), nr,
			   table->pt_entries);
}

static bool check_table(void *arg, const struct table_step *step)
{
	struct check_tables *c = arg;
	unsigned long pfn = (unsigned long)((step->entry & PTE_PFN_MASK) >> PAGE_SHIFT);
	unsigned int level = step->parent->pt_level - 1u;
	struct page *table;

	if (!pfn_valid(pfn) || !PageTable(pfn_to_page(pfn))) {
		check_fail(c->report, "I2: entry %u of a %s table points at pfn %lu, no table",
			   step->slot, pgtable_level_name(level + 1), pfn);
		return false;
	}
	table = pfn_to_page(pfn);
	c->nr_tables++;
	if (table->pt_level != level) {
		check_fail(c->report, "I2: table at pfn %lu is of level %u below level %u", pfn,
			   table->pt_level, level + 1);
		return false;
	}
	if (table->pt_parent != step->parent || table->pt_slot != step->slot)
		check_fail(c->report, "I2: table at pfn %lu has another parent or slot than %u",
			   pfn, step->slot);
	if (table->pt_mm != c->mm)
		check_fail(c->report, "I3: table at pfn %lu belongs to another mm", pfn);
	if (page_ref_count(table) < 1)
		check_fail(c->report, "I4: table at pfn %lu is hooked and its frame is free", pfn);
	check_entries(c->report, table);
	return true;
}

void pgtable_check_root(struct page *root, struct check_report *report)
{
	struct check_tables c = { .report = report, .mm = root->pt_mm };

	if (root->pt_level != PGTABLE_PGD || root->pt_parent) {
		check_fail(report, "I2: the root at pfn %lu has level %u", page_to_pfn(root),
			   root->pt_level);
		return;
	}
	check_entries(report, root);
	walk_tables(root, check_table, &c);
	if (mm_pgtables_bytes(c.mm) != c.nr_tables * PAGE_SIZE)
		check_fail(report, "I3: pgtables_bytes is %lu with %lu tables",
			   mm_pgtables_bytes(c.mm), c.nr_tables);
}

void pgtable_check(const struct mm_struct *mm, struct check_report *report)
{
	struct page *root = virt_to_page(mm->pgd);

	if (!PageTable(root) || root->pt_mm != mm)
		check_fail(report, "I3: mm->pgd is not the root of this mm");
	else
		pgtable_check_root(root, report);
}

unsigned long pgtable_nr_alive(void)
{
	struct pgtable_room_state *s = pgtable_state();
	unsigned int level;
	long sum = 0;

	for (level = 0; level < PGTABLE_LEVELS; level++)
		sum += atomic_long_read(&s->nr_alive[level]);
	return (unsigned long)sum;
}
