/* SPDX-License-Identifier: MIT */
/*
 * pgtable.h - page tables: entries, levels, and table pages as owned objects
 *
 * Four levels in x86-64 format, stored in simulated frames and read by the MMU; P4D is folded
 * into PGD. Names are Linux's. A table page is owned by the entry that points at it, the root by
 * its mm; see the theory statement in pgtable.c.
 *
 * Every store of an entry goes through the functions here: they keep page->pt_entries, the
 * number of entries of a table that are not none.
 */
#ifndef KARC_MM_PGTABLE_PGTABLE_H
#define KARC_MM_PGTABLE_PGTABLE_H

#include <karc/base/atomic.h>
#include <karc/base/bitops.h>
#include <karc/base/contract.h>
#include <karc/base/math.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include <karc/hw/spinlock.h>
#include <karc/mm/mm_types.h>
#include <karc/mm/phys/page.h>
#include <karc/mm/vm_flags.h>

struct check_report;
struct mmu_gather;

#define PTRS_PER_PTE	512
#define PTRS_PER_PMD	512
#define PTRS_PER_PUD	512
#define PTRS_PER_P4D	1
#define PTRS_PER_PGD	512
#define PTRS_PER_TABLE	512

#define PMD_SHIFT	21
#define PUD_SHIFT	30
#define P4D_SHIFT	39
#define PGDIR_SHIFT	39
#define PMD_SIZE	(1UL << PMD_SHIFT)
#define PUD_SIZE	(1UL << PUD_SHIFT)
#define P4D_SIZE	(1UL << P4D_SHIFT)
#define PGDIR_SIZE	(1UL << PGDIR_SHIFT)
#define PMD_MASK	(~(PMD_SIZE - 1))
#define PUD_MASK	(~(PUD_SIZE - 1))
#define P4D_MASK	(~(P4D_SIZE - 1))
#define PGDIR_MASK	(~(PGDIR_SIZE - 1))

#define FIRST_USER_ADDRESS	0UL
#define USER_PTRS_PER_PGD	256
#ifndef TASK_SIZE_MAX
#define TASK_SIZE_MAX		((1UL << 47) - PAGE_SIZE)
#endif

/* page->pt_level */
enum pgtable_level {
	PGTABLE_PTE,
	PGTABLE_PMD,
	PGTABLE_PUD,
	PGTABLE_PGD,
	PGTABLE_LEVELS
};

static inline unsigned int pgtable_shift(unsigned int level)
{
	return PAGE_SHIFT + 9 * level;
}

/* ---- bits ---- */

#define _PAGE_PRESENT	HW_PTE_PRESENT
#define _PAGE_RW	HW_PTE_RW
#define _PAGE_USER	HW_PTE_USER
#define _PAGE_ACCESSED	HW_PTE_ACCESSED
#define _PAGE_DIRTY	HW_PTE_DIRTY
#define _PAGE_PSE	HW_PTE_PSE
#define _PAGE_GLOBAL	HW_PTE_GLOBAL
#define _PAGE_NX	HW_PTE_NX
#define _PAGE_PWT	(1ULL << 3)
#define _PAGE_PCD	(1ULL << 4)
#define _PAGE_SPECIAL	(1ULL << 9)	/* no struct page counts behind this entry */
#define _PAGE_SOFT_DIRTY (1ULL << 11)
#define _PAGE_DEVMAP	(1ULL << 58)
#define _PAGE_GUARD	(1ULL << 10)	/* alone: no page, access is SIGSEGV (MADV_GUARD_INSTALL) */
#define _PAGE_PROTNONE	_PAGE_GLOBAL	/* while PRESENT is clear: mapped, but no access at all */

#define PTE_PFN_MASK	HW_PTE_PFN_MASK
#define PTE_FLAGS_MASK	(~PTE_PFN_MASK)
#define _PAGE_TABLE	(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY)
#define _PAGE_CHG_MASK	(PTE_PFN_MASK | _PAGE_PWT | _PAGE_PCD | _PAGE_ACCESSED | _PAGE_DIRTY | \
			 _PAGE_SPECIAL | _PAGE_SOFT_DIRTY | _PAGE_DEVMAP)

#define __pte(x)	((pte_t) { (x) })
#define __pmd(x)	((pmd_t) { (x) })
#define __pud(x)	((pud_t) { (x) })
#define __p4d(x)	((p4d_t) { (x) })
#define __pgd(x)	((pgd_t) { (x) })
#define __pgprot(x)	((pgprot_t) { (x) })
#define pte_val(x)	((x).pte)
#define pmd_val(x)	((x).pmd)
#define pud_val(x)	((x).pud)
#define p4d_val(x)	((x).p4d)
#define pgd_val(x)	((x).pgd)
#define pgprot_val(x)	((x).pgprot)

#define PAGE_NONE		__pgprot(_PAGE_PROTNONE | _PAGE_ACCESSED)
#define PAGE_SHARED		__pgprot(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | \
					 _PAGE_ACCESSED | _PAGE_NX)
#define PAGE_SHARED_EXEC	__pgprot(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_COPY		__pgprot(_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED | _PAGE_NX)
#define PAGE_COPY_EXEC		__pgprot(_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_READONLY		PAGE_COPY
#define PAGE_READONLY_EXEC	PAGE_COPY_EXEC
#define PAGE_KERNEL		__pgprot(_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | \
					 _PAGE_DIRTY | _PAGE_NX)

#define PAGE_KERNEL_RO		__pgprot(_PAGE_PRESENT | _PAGE_ACCESSED | _PAGE_NX)
#define PAGE_KERNEL_EXEC	__pgprot(_PAGE_PRESENT | _PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY)

/* The protection of a VMA's entries. Private writable mappings start read-only: COW. */
pgprot_t vm_get_page_prot(unsigned long vm_flags);

/* ---- values: the same family for leaves at the three lower levels ---- */

#define KARC_ENTRY_FAMILY(P)								\
static inline bool P##_none(P##_t e) { return !P##_val(e); }				\
static inline bool P##_same(P##_t a, P##_t b) { return P##_val(a) == P##_val(b); }	\
static inline bool P##_young(P##_t e) { return P##_val(e) & _PAGE_ACCESSED; }		\
static inline bool P##_dirty(P##_t e) { return P##_val(e) & _PAGE_DIRTY; }		\
static inline bool P##_write(P##_t e) { return P##_val(e) & _PAGE_RW; }			\
static inline bool P##_user(P##_t e) { return P##_val(e) & _PAGE_USER; }		\
static inline bool P##_exec(P##_t e) { return !(P##_val(e) & _PAGE_NX); }		\
static inline bool P##_special(P##_t e) { return P##_val(e) & _PAGE_SPECIAL; }		\
static inline bool P##_devmap(P##_t e) { return P##_val(e) & _PAGE_DEVMAP; }		\
static inline bool P##_soft_dirty(P##_t e) { return P##_val(e) & _PAGE_SOFT_DIRTY; }	\
static inline unsigned long P##_pfn(P##_t e)						\
{ return (P##_val(e) & PTE_PFN_MASK) >> PAGE_SHIFT; }					\
static inline u64 P##_flags(P##_t e) { return P##_val(e) & PTE_FLAGS_MASK; }		\
static inline P##_t P##_set_flags(P##_t e, u64 set) { return __##P(P##_val(e) | set); }	\
static inline P##_t P##_clear_flags(P##_t e, u64 c) { return __##P(P##_val(e) & ~c); }	\
static inline P##_t P##_mkyoung(P##_t e) { return P##_set_flags(e, _PAGE_ACCESSED); }	\
static inline P##_t P##_mkold(P##_t e) { return P##_clear_flags(e, _PAGE_ACCESSED); }	\
static inline P##_t P##_mkdirty(P##_t e)						\
{ return P##_set_flags(e, _PAGE_DIRTY | _PAGE_SOFT_DIRTY); }				\
static inline P##_t P##_mkclean(P##_t e) { return P##_clear_flags(e, _PAGE_DIRTY); }	\
static inline P##_t P##_mkwrite(P##_t e) { return P##_set_flags(e, _PAGE_RW); }		\
static inline P##_t P##_wrprotect(P##_t e) { return P##_clear_flags(e, _PAGE_RW); }	\
static inline P##_t P##_mkexec(P##_t e) { return P##_clear_flags(e, _PAGE_NX); }	\
static inline P##_t P##_mkspecial(P##_t e) { return P##_set_flags(e, _PAGE_SPECIAL); }	\
static inline P##_t P##_mkdevmap(P##_t e)						\
{ return P##_set_flags(e, _PAGE_SPECIAL | _PAGE_DEVMAP); }				\
static inline P##_t pfn_##P(unsigned long pfn, pgprot_t prot)				\
{ return __##P(((u64)pfn << PAGE_SHIFT) | pgprot_val(prot)); }				\
static inline pgprot_t P##_pgprot(P##_t e) { return __pgprot(P##_flags(e)); }		\
static inline P##_t P##_modify(P##_t e, pgprot_t prot)					\
{											\
	return __##P((P##_val(e) & _PAGE_CHG_MASK) |					\
		     (pgprot_val(prot) & ~_PAGE_CHG_MASK));				\
}

KARC_ENTRY_FAMILY(pte)
KARC_ENTRY_FAMILY(pmd)
KARC_ENTRY_FAMILY(pud)

static inline bool pte_present(pte_t e)
{
	return pte_val(e) & (_PAGE_PRESENT | _PAGE_PROTNONE);
}

static inline bool pte_protnone(pte_t e)
{
	return (pte_val(e) & (_PAGE_PRESENT | _PAGE_PROTNONE)) == _PAGE_PROTNONE;
}

static inline bool pte_guard(pte_t e)
{
	return pte_val(e) == _PAGE_GUARD;
}

static inline pte_t pte_mkguard(void)
{
	return __pte(_PAGE_GUARD);
}

static inline bool pmd_present(pmd_t e)
{
	return pmd_val(e) & (_PAGE_PRESENT | _PAGE_PROTNONE | _PAGE_PSE);
}

static inline bool pud_present(pud_t e)
{
	return pud_val(e) & (_PAGE_PRESENT | _PAGE_PROTNONE | _PAGE_PSE);
}

/* An entry of an upper level that maps a large page instead of pointing at a table. */
static inline bool pmd_leaf(pmd_t e) { return pmd_val(e) & _PAGE_PSE; }
static inline bool pud_leaf(pud_t e) { return pud_val(e) & _PAGE_PSE; }
static inline pmd_t pmd_mkhuge(pmd_t e) { return pmd_set_flags(e, _PAGE_PSE); }
static inline pud_t pud_mkhuge(pud_t e) { return pud_set_flags(e, _PAGE_PSE); }

/* Not none, and not an entry that points at a table either. */
static inline bool pmd_bad(pmd_t e)
{
	return (pmd_flags(e) & ~(u64)_PAGE_USER) != (_PAGE_TABLE & ~_PAGE_USER);
}

static inline bool pud_bad(pud_t e)
{
	return (pud_flags(e) & ~(u64)_PAGE_USER) != (_PAGE_TABLE & ~_PAGE_USER);
}

static inline bool p4d_none(p4d_t e) { return !p4d_val(e); }
static inline bool p4d_present(p4d_t e) { return p4d_val(e) & _PAGE_PRESENT; }
static inline bool p4d_same(p4d_t a, p4d_t b) { return p4d_val(a) == p4d_val(b); }
static inline bool p4d_bad(p4d_t e)
{
	return (p4d_val(e) & PTE_FLAGS_MASK & ~(u64)_PAGE_USER) != (_PAGE_TABLE & ~_PAGE_USER);
}

/* P4D is folded: what the PGD level answers is decided one level down. */
static inline bool pgd_none(pgd_t e) { (void)e; return false; }
static inline bool pgd_bad(pgd_t e) { (void)e; return false; }
static inline bool pgd_present(pgd_t e) { (void)e; return true; }
static inline bool pgd_same(pgd_t a, pgd_t b) { return pgd_val(a) == pgd_val(b); }

#define mk_pte(page, prot) pfn_pte(page_to_pfn(page), prot)
#define pte_page(pte) pfn_to_page(pte_pfn(pte))
#define pmd_page(pmd) pfn_to_page(pmd_pfn(pmd))
#define pud_page(pud) pfn_to_page(pud_pfn(pud))
#define p4d_page(p4d) pfn_to_page((p4d_val(p4d) & PTE_PFN_MASK) >> PAGE_SHIFT)

/* ---- places ---- */

#define pte_index(addr) (((addr) >> PAGE_SHIFT) & (PTRS_PER_PTE - 1))
#define pmd_index(addr) (((addr) >> PMD_SHIFT) & (PTRS_PER_PMD - 1))
#define pud_index(addr) (((addr) >> PUD_SHIFT) & (PTRS_PER_PUD - 1))
#define pgd_index(addr) (((addr) >> PGDIR_SHIFT) & (PTRS_PER_PGD - 1))

/* The end of @addr's part of [.., @end) at a level; safe at the top of the address range. */
static inline unsigned long pgtable_addr_end(unsigned long addr, unsigned long end,
					     unsigned int shift)
{
	unsigned long next = (addr + (1UL << shift)) & ~((1UL << shift) - 1);

	return next - 1 < end - 1 ? next : end;
}
#define pmd_addr_end(addr, end) pgtable_addr_end(addr, end, PMD_SHIFT)
#define pud_addr_end(addr, end) pgtable_addr_end(addr, end, PUD_SHIFT)
#define p4d_addr_end(addr, end) (end)
#define pgd_addr_end(addr, end) pgtable_addr_end(addr, end, PGDIR_SHIFT)

static inline pgd_t *pgd_offset(const struct mm_struct *mm, unsigned long addr)
{
	return mm->pgd + pgd_index(addr);
}

static inline p4d_t *p4d_offset(pgd_t *pgd, unsigned long addr)
{
	(void)addr;
	return (p4d_t *)pgd;
}

static inline pud_t *pud_offset(p4d_t *p4d, unsigned long addr)
{
	return (pud_t *)phys_to_virt(smp_load_acquire(&p4d->p4d) & PTE_PFN_MASK) + pud_index(addr);
}

static inline pmd_t *pmd_offset(pud_t *pud, unsigned long addr)
{
	return (pmd_t *)phys_to_virt(smp_load_acquire(&pud->pud) & PTE_PFN_MASK) + pmd_index(addr);
}

static inline pte_t *pte_offset_kernel(pmd_t *pmd, unsigned long addr)
{
	return (pte_t *)phys_to_virt(smp_load_acquire(&pmd->pmd) & PTE_PFN_MASK) + pte_index(addr);
}
#define pte_offset_map(pmd, addr) pte_offset_kernel(pmd, addr)
#define pte_unmap(pte) ((void)(pte))

static inline pte_t ptep_get(const pte_t *ptep) { return __pte(READ_ONCE(ptep->pte)); }
static inline pmd_t pmdp_get(const pmd_t *pmdp) { return __pmd(smp_load_acquire(&pmdp->pmd)); }
static inline pud_t pudp_get(const pud_t *pudp) { return __pud(smp_load_acquire(&pudp->pud)); }
static inline p4d_t p4dp_get(const p4d_t *p4dp) { return __p4d(smp_load_acquire(&p4dp->p4d)); }

/**
 * mm_find_pmd - the PMD entry of @addr, or NULL when the tables do not reach that far
 * Locks: mmap_lock, or nobody else changes the tables.
 */
pmd_t *mm_find_pmd(const struct mm_struct *mm, unsigned long addr);

/**
 * mm_next_leaf - the next PTE table of [*@addr, @end)
 * Returns: its PMD entry with *@addr moved up to the first address of the range that it covers;
 *          NULL when there is none. Locks: as mm_find_pmd().
 */
pmd_t *mm_next_leaf(const struct mm_struct *mm, unsigned long *addr, unsigned long end);

/* The leaf entry of @addr by value, none when there is no table (tests, reports, spurious). */
pte_t mm_lookup_pte(const struct mm_struct *mm, unsigned long addr);

/* ---- stores; the caller holds the table's lock, or owns the table alone ---- */

/* The table page that holds an entry. */
static inline struct page *pgtable_page_of(const void *entry)
{
	return virt_to_page((const void *)((unsigned long)entry & PAGE_MASK));
}

static inline bool page_is_table(const struct page *page)
{
	return test_bit(PG_table, &page->flags);
}

/* Keeps pt_entries of registered tables; bare frames used as tables (tests) are just written. */
static inline void pgtable_account(const void *entry, u64 old, u64 new)
{
	struct page *table;

	if (!old == !new)
		return;
	table = pgtable_page_of(entry);
	if (page_is_table(table))
		WRITE_ONCE(table->pt_entries, table->pt_entries + (new ? 1u : -1u));
}

static inline void set_pte(pte_t *ptep, pte_t pte)
{
	pgtable_account(ptep, READ_ONCE(ptep->pte), pte_val(pte));
	/* Release: the page behind the entry is filled before another CPU's walk can find it. */
	smp_store_release(&ptep->pte, pte_val(pte));
}

/* As set_pte() for @nr entries of one table, of frames that follow each other. */
static inline void set_pte_run(pte_t *ptep, pte_t pte, unsigned int nr)
{
	struct page *table = pgtable_page_of(ptep);
	unsigned int i, nr_none = 0;

	for (i = 0; i < nr; i++) {
		nr_none += !READ_ONCE(ptep[i].pte);
		smp_store_release(&ptep[i].pte, pte_val(pte) + ((u64)i << PAGE_SHIFT));
	}
	if (page_is_table(table))
		WRITE_ONCE(table->pt_entries, table->pt_entries + nr_none);
}

/* As pte_clear() for @nr entries of one table. */
static inline void clear_pte_run(pte_t *ptep, unsigned int nr)
{
	struct page *table = pgtable_page_of(ptep);
	unsigned int i, nr_set = 0;

	for (i = 0; i < nr; i++) {
		nr_set += !!READ_ONCE(ptep[i].pte);
		WRITE_ONCE(ptep[i].pte, 0);
	}
	if (page_is_table(table))
		WRITE_ONCE(table->pt_entries, table->pt_entries - nr_set);
}

static inline void set_pmd(pmd_t *pmdp, pmd_t pmd)
{
	pgtable_account(pmdp, READ_ONCE(pmdp->pmd), pmd_val(pmd));
	smp_store_release(&pmdp->pmd, pmd_val(pmd));
}

static inline void set_pud(pud_t *pudp, pud_t pud)
{
	pgtable_account(pudp, READ_ONCE(pudp->pud), pud_val(pud));
	smp_store_release(&pudp->pud, pud_val(pud));
}

static inline void set_p4d(p4d_t *p4dp, p4d_t p4d)
{
	pgtable_account(p4dp, READ_ONCE(p4dp->p4d), p4d_val(p4d));
	smp_store_release(&p4dp->p4d, p4d_val(p4d));
}

static inline void set_pgd(pgd_t *pgdp, pgd_t pgd)
{
	set_p4d((p4d_t *)pgdp, __p4d(pgd_val(pgd)));
}

static inline void set_pte_at(struct mm_struct *mm, unsigned long addr, pte_t *ptep, pte_t pte)
{
	(void)mm;
	(void)addr;
	set_pte(ptep, pte);
}

static inline void set_pmd_at(struct mm_struct *mm, unsigned long addr, pmd_t *pmdp, pmd_t pmd)
{
	(void)mm;
	(void)addr;
	set_pmd(pmdp, pmd);
}

static inline void set_pud_at(struct mm_struct *mm, unsigned long addr, pud_t *pudp, pud_t pud)
{
	(void)mm;
	(void)addr;
	set_pud(pudp, pud);
}

static inline void pte_clear(struct mm_struct *mm, unsigned long addr, pte_t *ptep)
{
	set_pte_at(mm, addr, ptep, __pte(0));
}

static inline void pmd_clear(pmd_t *pmdp) { set_pmd(pmdp, __pmd(0)); }
static inline void pud_clear(pud_t *pudp) { set_pud(pudp, __pud(0)); }
static inline void p4d_clear(p4d_t *p4dp) { set_p4d(p4dp, __p4d(0)); }
static inline void pgd_clear(pgd_t *pgdp) { (void)pgdp; }

/* Empty an entry and return what it was, with the A and D bits that the MMU set meanwhile. */
static inline pte_t ptep_get_and_clear(struct mm_struct *mm, unsigned long addr, pte_t *ptep)
{
	u64 old = __atomic_exchange_n(&ptep->pte, 0ULL, __ATOMIC_ACQ_REL);

	(void)mm;
	(void)addr;
	pgtable_account(ptep, old, 0);
	return __pte(old);
}

/* @full: the whole space goes and no CPU walks it, so a plain exchange will do. */
static inline pte_t ptep_get_and_clear_full(struct mm_struct *mm, unsigned long addr,
					    pte_t *ptep, int full)
{
	pte_t old;

	if (!full)
		return ptep_get_and_clear(mm, addr, ptep);
	old = ptep_get(ptep);
	pte_clear(mm, addr, ptep);
	return old;
}

static inline void ptep_set_wrprotect(struct mm_struct *mm, unsigned long addr, pte_t *ptep)
{
	(void)mm;
	(void)addr;
	__atomic_fetch_and(&ptep->pte, ~_PAGE_RW, __ATOMIC_ACQ_REL);
}

static inline int ptep_test_and_clear_young(struct vm_area_struct *vma, unsigned long addr,
					    pte_t *ptep)
{
	(void)vma;
	(void)addr;
	return !!(__atomic_fetch_and(&ptep->pte, ~_PAGE_ACCESSED, __ATOMIC_ACQ_REL) &
		  _PAGE_ACCESSED);
}

/* Widen an entry (young, dirty, writable); 1 when it changed. Never needs a flush elsewhere. */
static inline int ptep_set_access_flags(struct vm_area_struct *vma, unsigned long addr,
					pte_t *ptep, pte_t entry, int dirty)
{
	int changed = !pte_same(ptep_get(ptep), entry);

	(void)vma;
	(void)addr;
	if (changed && dirty)
		set_pte(ptep, entry);
	return changed;
}

/* ---- table pages ---- */

/* Names of the levels: "pte", "pmd", "pud", "pgd". */
const char *pgtable_level_name(unsigned int level);

/* What keeps a table alive: its entries, each a reference from below, and its owner's hold. */
static inline unsigned int pgtable_count(const struct page *table)
{
	return table->pt_entries + 1;
}

/**
 * pgd_alloc - a root table for @mm; sets mm->pgd
 * Gives:  the table, owned by @mm; end it with pgd_free() when it is empty.
 * Errors: NULL, nothing changed. Context: may sleep.
 */
KARC_MUST_CHECK pgd_t *pgd_alloc_site(struct mm_struct *mm, const struct site *site);
#define pgd_alloc(mm) pgd_alloc_site(mm, SITE())

/**
 * pgd_free - drop the mm's hold on its root
 * The table is empty and no CPU has it loaded; a table that is not empty is warned about and
 * stays (reported at shutdown), because its children would point into a freed frame.
 */
void pgd_free(struct mm_struct *mm, pgd_t *pgd);

/*
 * Bare table pages, not yet hooked below anything; NULL for no memory. X_free() takes one back
 * that was never hooked, or was unhooked again.
 */
KARC_MUST_CHECK pgtable_t pte_alloc_one(struct mm_struct *mm);
KARC_MUST_CHECK pmd_t *pmd_alloc_one(struct mm_struct *mm, unsigned long addr);
KARC_MUST_CHECK pud_t *pud_alloc_one(struct mm_struct *mm, unsigned long addr);
void pte_free(struct mm_struct *mm, struct page *table);
void pmd_free(struct mm_struct *mm, pmd_t *table);
void pud_free(struct mm_struct *mm, pud_t *table);

/*
 * Hook a bare table below an entry: the entry owns it from now on, and the table's page knows
 * parent and slot. The caller holds the parent's lock; the entry is none.
 */
void pmd_populate(struct mm_struct *mm, pmd_t *pmd, pgtable_t pte);
void pud_populate(struct mm_struct *mm, pud_t *pud, pmd_t *pmd);
void p4d_populate(struct mm_struct *mm, p4d_t *p4d, pud_t *pud);

/*
 * The next level of @addr's path, made when it is missing. NULL (pte_alloc: -ENOMEM, p4d never)
 * when there is no memory. The caller holds mmap_lock. Context: may sleep.
 */
int __pte_alloc(struct mm_struct *mm, pmd_t *pmd);
pmd_t *__pmd_alloc(struct mm_struct *mm, pud_t *pud, unsigned long addr);
pud_t *__pud_alloc(struct mm_struct *mm, p4d_t *p4d, unsigned long addr);

static inline p4d_t *p4d_alloc(struct mm_struct *mm, pgd_t *pgd, unsigned long addr)
{
	(void)mm;
	return p4d_offset(pgd, addr);
}

static inline pud_t *pud_alloc(struct mm_struct *mm, p4d_t *p4d, unsigned long addr)
{
	return p4d_none(p4dp_get(p4d)) ? __pud_alloc(mm, p4d, addr) : pud_offset(p4d, addr);
}

static inline pmd_t *pmd_alloc(struct mm_struct *mm, pud_t *pud, unsigned long addr)
{
	return pud_none(pudp_get(pud)) ? __pmd_alloc(mm, pud, addr) : pmd_offset(pud, addr);
}

#define pte_alloc(mm, pmd) (pmd_none(pmdp_get(pmd)) ? __pte_alloc(mm, pmd) : 0)
#define pte_alloc_map(mm, pmd, addr) \
	(pte_alloc(mm, pmd) ? NULL : pte_offset_map(pmd, addr))
#define pte_alloc_map_lock(mm, pmd, addr, ptlp) \
	(pte_alloc(mm, pmd) ? NULL : pte_offset_map_lock(mm, pmd, addr, ptlp))

/*
 * All tables that @addr's path misses, taken in one go: so that an operation can take what may
 * run out first, and then change the tables in a part that cannot fail.
 */
struct pgtable_reserve {
	struct page *table[PGTABLE_PGD];	/* by level; NULL: exists already */
	unsigned int lowest;			/* level at which the path ends */
};

/**
 * pgtable_reserve - allocate the tables that are missing on @addr's path
 * Locks:  mmap_lock in any mode, held until pgtable_commit() or pgtable_unreserve().
 * Errors: -ENOMEM, nothing changed and nothing held.
 */
KARC_MUST_CHECK int pgtable_reserve_down_to(struct mm_struct *mm, unsigned long addr,
					    unsigned int lowest, struct pgtable_reserve *r);

/* The whole path; pgtable_reserve_down_to() leaves out the tables of levels below @lowest. */
static inline __must_check int pgtable_reserve(struct mm_struct *mm, unsigned long addr,
					       struct pgtable_reserve *r)
{
	return pgtable_reserve_down_to(mm, addr, PGTABLE_PTE, r);
}

/* Hook what is still missing; tables that somebody else hooked first go back. Cannot fail. */
pmd_t *pgtable_commit(struct mm_struct *mm, unsigned long addr, struct pgtable_reserve *r);
void pgtable_unreserve(struct mm_struct *mm, struct pgtable_reserve *r);

/* ---- locks: each table's entries are guarded by the lock in its own page ---- */

static inline spinlock_t *pgtable_lockptr(const void *entry)
{
	return &pgtable_page_of(entry)->ptl;
}

static inline spinlock_t *pte_lockptr(struct mm_struct *mm, pmd_t *pmd)
{
	(void)mm;
	return &pmd_page(pmdp_get(pmd))->ptl;
}

static inline spinlock_t *pmd_lockptr(struct mm_struct *mm, pmd_t *pmd)
{
	(void)mm;
	return pgtable_lockptr(pmd);
}

static inline spinlock_t *pud_lockptr(struct mm_struct *mm, pud_t *pud)
{
	(void)mm;
	return pgtable_lockptr(pud);
}

static inline spinlock_t *pmd_lock(struct mm_struct *mm, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lockptr(mm, pmd);

	spin_lock(ptl);
	return ptl;
}

static inline spinlock_t *pud_lock(struct mm_struct *mm, pud_t *pud)
{
	spinlock_t *ptl = pud_lockptr(mm, pud);

	spin_lock(ptl);
	return ptl;
}

#define pte_offset_map_lock(mm, pmd, addr, ptlp) (__extension__ ({		\
	spinlock_t *karc_ptl_ = pte_lockptr(mm, pmd);				\
	pte_t *karc_pte_ = pte_offset_map(pmd, addr);				\
	*(ptlp) = karc_ptl_;							\
	spin_lock(karc_ptl_);							\
	karc_pte_; }))

#define pte_unmap_unlock(pte, ptl) do {						\
	spin_unlock(ptl);							\
	pte_unmap(pte);								\
} while (0)

/* ---- accounting: mm->pgtables_bytes counts every table but the root, as Linux does ---- */

static inline unsigned long mm_pgtables_bytes(const struct mm_struct *mm)
{
	return (unsigned long)atomic_long_read(&mm->pgtables_bytes);
}

static inline void mm_inc_nr_ptes(struct mm_struct *mm)
{
	atomic_long_add(PAGE_SIZE, &mm->pgtables_bytes);
}

static inline void mm_dec_nr_ptes(struct mm_struct *mm)
{
	atomic_long_sub(PAGE_SIZE, &mm->pgtables_bytes);
}

#define mm_inc_nr_pmds(mm) mm_inc_nr_ptes(mm)
#define mm_dec_nr_pmds(mm) mm_dec_nr_ptes(mm)
#define mm_inc_nr_puds(mm) mm_inc_nr_ptes(mm)
#define mm_dec_nr_puds(mm) mm_dec_nr_ptes(mm)

/* ---- death ---- */

/**
 * free_pgtables - unhook the tables that hold nothing any more
 * @tlb:   gathers them; they die in tlb_finish_mmu(), after the flush
 * @start: of the range that was unmapped
 * @end:   of it
 *
 * Every empty table whose span meets [@start, @end) goes, and so does each parent that becomes
 * empty by it; tables with an entry stay, so neighbours need not be known. The root stays.
 * Locks: mmap_lock for writing, or the space's last user: nobody may be about to use a table.
 *
 * free_pgtables_between() spares tables that reach below @floor or above @ceiling (0: none): the
 * ends of the mappings around, whose tables truncation may be walking.
 */
void free_pgtables(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
		   unsigned long end);
void free_pgtables_between(struct mmu_gather *tlb, struct mm_struct *mm, unsigned long start,
			   unsigned long end, unsigned long floor, unsigned long ceiling);

/**
 * pgtable_move_leaf - hook the leaf table below @from under @to instead; false: that is taken
 * @addr: first address that @from translates
 *
 * Flushes what is remembered of the old place. Locks: mmap_lock for writing; i_mmap_rwsem of a
 * file whose mapping this is, for writing.
 */
bool pgtable_move_leaf(struct mm_struct *mm, pmd_t *from, pmd_t *to, unsigned long addr);

/* Take one table out of its parent and hand it to @tlb. The caller knows that it is empty. */
void pgtable_unhook(struct mmu_gather *tlb, struct page *table);

/**
 * pgtable_on_drop - register a destructor callback on one table page
 * @dtor: caller's memory until it has run; latest registered runs first
 *
 * Runs once, when the table dies and before its frame is given back; @fn gets the struct page.
 */
void pgtable_on_drop(struct page *table, struct arc_dtor *dtor,
		     void (*fn)(void *obj, void *arg), void *arg);

/* The table dies: callbacks, ledger, frame. For mmu_gather and the X_free() family. */
void pgtable_destroy(struct page *table);

/* ---- checks and reports ---- */

/* Verify all tables of @mm: counts, parents, slots, levels, pgtables_bytes. Only reads. */
void pgtable_check(const struct mm_struct *mm, struct check_report *report);

struct pgtable_stats {
	unsigned long tables[PGTABLE_LEVELS];	/* by level */
	unsigned long present;			/* leaf entries that are present */
	unsigned long swap;			/* leaf entries that are neither none nor present */
};

/* Count @mm's tables. Locks: mmap_lock. */
void pgtable_count_all(const struct mm_struct *mm, struct pgtable_stats *stats);

/* Call @see for every table of @mm, parents first. Locks: mmap_lock. */
void pgtable_for_each(const struct mm_struct *mm,
		      void (*see)(void *arg, struct page *table, unsigned long addr), void *arg);

/* Table pages alive on this machine. */
unsigned long pgtable_nr_alive(void);

extern const struct room pgtable_room;

#endif
