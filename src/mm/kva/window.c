/* SPDX-License-Identifier: MIT */
/*
 * window.c - what init_mm's tables say of the vmalloc window, and what the host shows of it
 *
 * What it is
 *	The truth about the window is in init_mm's tables: an entry for each mapped page, at
 *	VMALLOC_START plus the page's place in the window, as the simulated MMU reads them. The
 *	host's own mappings are a cache of them, as a TLB is: normally filled when an area is
 *	mapped, with one host mapping for each run of frames that are neighbours in RAM too. The
 *	host has a limit for mappings, which areas of one page with a guard page each would reach
 *	at half of it. So there is a cap; beyond it areas stay dark, and whoever touches one takes a
 *	host fault, whose handler walks the tables and maps what is asked for. When the cap is
 *	reached it makes room by taking away all that is shown in some other chunk of 2 MiB, which
 *	is one call to the host however much it is.
 *
 * Objects
 *	struct kva -> init_mm -> tables;  struct kva -> window -> two bitmaps of the window's pages
 *
 * Invariants
 *	I1 a present entry names the frame that the area has there
 *	I2 what is shown has a present entry of the same frame, or its area was freed and waits for
 *	   the purge
 *	I3 a bit in starts means one in shown; each chunk's first shown page has one; no host
 *	   mapping begins at a shown page without one. So nr_starts, the number of bits, is at
 *	   least the number of mappings that the host has for the window
 *	I4 nr_starts exceeds cap by the pages of a chunk at most: a refill spares its own
 *	I5 nothing is shown from page high on: evictions look at no more than was ever in use
 *
 * Locking
 *	entries, bitmaps, counters: window->lock. It is no spinlock of the machine: the fault handler
 *	takes it on any thread of the process. Under it nothing passes a safe point, touches the
 *	window, or allocates. Upper levels are hooked with the tables' own locks by whoever is
 *	counted in nr_mapping, and unhooked under window->lock while nobody is.
 *
 * Life
 *	window_map: entry set, shown if the cap allows -> hidden and shown again, as often as it
 *	takes -> window_clear: entry gone -> window_hide
 *
 * Worst case
 *	A touch of a dark page: one host fault, one mapping, and one unmapping when the cap is
 *	reached. A program that walks more than cap areas again and again pays that at each step.
 *
 * Unlike Linux
 *	A host system call that is given the address of a dark page returns EFAULT: the host's
 *	kernel takes no signal for it. Touch the page first (vmalloc_prefault()), or keep to fewer
 *	areas than the cap. Upper entries carry the user bit, which leaves do not.
 */
#include <sched.h>
#include <string.h>

#include <karc/base/bitops.h>
#include <karc/base/err.h>
#include <karc/hw/trap.h>
#include "internal.h"

#define CHUNK_PAGES	PTRS_PER_PTE	/* one table's worth */
#define CHUNK_WORDS	(CHUNK_PAGES / BITS_PER_LONG)

/* Alone in its neighbourhood each costs two of the host's mappings: half of its usual limit. */
#define CAP_DEFAULT	16384u

/* Larger ones are touched in parts, perhaps: the host fills its tables as they are. */
#define POPULATE_MAX	((16UL << 20) >> PAGE_SHIFT)

static unsigned long window_pages(const struct kva *kva)
{
	return (kva->end - kva->start) >> PAGE_SHIFT;
}

static char *page_addr(const struct kva *kva, unsigned long page)
{
	return (char *)kva->start + (page << PAGE_SHIFT);
}

static unsigned long page_simulated(const struct kva *kva, unsigned long page)
{
	return kva_simulated(kva, kva->start + (page << PAGE_SHIFT));
}

static void window_lock(struct window *w)
{
	while (__atomic_exchange_n(&w->lock, 1, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(&w->lock, __ATOMIC_RELAXED))
			sched_yield();
	}
}

static void window_unlock(struct window *w)
{
	__atomic_store_n(&w->lock, 0, __ATOMIC_RELEASE);
}

/* ---- entries ---- */

/* As phys_to_virt(), on threads outside the machine too. */
static u64 *table_of(const struct kva *kva, u64 entry)
{
	return (u64 *)(kva->arena + (entry & PTE_PFN_MASK));
}

/* The entry for @addr at @level, or the one above it that is none, with *@level set to its. */
static u64 *entry_at(const struct kva *kva, unsigned long addr, unsigned int *level)
{
	u64 *entry = (u64 *)kva->kernel_mm.pgd + pgd_index(addr);
	unsigned int at = PGTABLE_PGD;

	while (at > *level) {
		u64 value = smp_load_acquire(entry);

		if (!value)
			break;
		at--;
		entry = table_of(kva, value) +
			((addr >> pgtable_shift(at)) & (PTRS_PER_TABLE - 1));
	}
	*level = at;
	return entry;
}

/* The leaf entry of a page of the window, or NULL when no table has it. */
static pte_t *leaf_at(const struct kva *kva, unsigned long page)
{
	unsigned int level = PGTABLE_PTE;
	u64 *entry = entry_at(kva, page_simulated(kva, page), &level);

	return level == PGTABLE_PTE ? (pte_t *)entry : NULL;
}

/* Pages from @page to the end of its chunk, @nr at most. */
static unsigned long in_chunk(const struct kva *kva, unsigned long page, unsigned long nr)
{
	unsigned long to_end = PTRS_PER_PTE - pte_index(page_simulated(kva, page));

	return min(nr, to_end);
}

pte_t window_entry(struct kva *kva, unsigned long addr)
{
	pte_t *leaf, entry = __pte(0);

	window_lock(&kva->window);
	leaf = leaf_at(kva, kva_page(kva, addr));
	if (leaf)
		entry = ptep_get(leaf);
	window_unlock(&kva->window);
	return entry;
}

/* ---- what the host shows ---- */

static bool is_shown(const struct window *w, unsigned long page)
{
	return test_bit(page % BITS_PER_LONG, &w->shown[page / BITS_PER_LONG]);
}

/* Bits of one word in [page, end), and where the next word begins. */
static unsigned long word_mask(unsigned long page, unsigned long end, unsigned long *next)
{
	unsigned long from = page % BITS_PER_LONG, nr = min(BITS_PER_LONG - from, end - page);

	*next = page + nr;
	return (nr == BITS_PER_LONG ? ~0UL : (1UL << nr) - 1) << from;
}

static bool any_shown(const struct window *w, unsigned long page, unsigned long end)
{
	unsigned long next;

	for (; page < end; page = next) {
		if (w->shown[page / BITS_PER_LONG] & word_mask(page, end, &next))
			return true;
	}
	return false;
}

static void mark_start(struct window *w, unsigned long page)
{
	unsigned long *word = &w->starts[page / BITS_PER_LONG], bit = 1UL << page % BITS_PER_LONG;

	w->nr_starts += !(*word & bit);
	*word |= bit;
}

static void mark_shown(struct kva *kva, unsigned long page, unsigned long end)
{
	struct window *w = &kva->window;
	unsigned long at, next;

	for (at = page; at < end; at += in_chunk(kva, at, end - at))
		mark_start(w, at);
	for (at = page; at < end; at = next)
		w->shown[at / BITS_PER_LONG] |= word_mask(at, end, &next);
	w->high = max(w->high, end);
}

static void mark_hidden(struct kva *kva, unsigned long page, unsigned long end)
{
	struct window *w = &kva->window;
	unsigned long at, next;

	for (at = page; at < end; at = next) {
		unsigned long mask = word_mask(at, end, &next), i = at / BITS_PER_LONG;

		w->nr_starts -= (unsigned long)__builtin_popcountl(w->starts[i] & mask);
		w->starts[i] &= ~mask;
		w->shown[i] &= ~mask;
	}
	/* The rest of a run that was cut has a mapping of its own now. */
	if (end < window_pages(kva) && is_shown(w, end))
		mark_start(w, end);
	if (!w->nr_starts)
		w->high = 0;
}

/* Nothing in [@page, @end) is shown any more. Lock held. */
static void hide(struct kva *kva, unsigned long page, unsigned long end)
{
	struct window *w = &kva->window;

	if (!any_shown(w, page, end))
		return;
	WRITE_ONCE(w->nr_host_calls, w->nr_host_calls + 1);
	/* At the host's limit it may take all of the window for the host to cut nothing in two. */
	if (physmem_window_hide(kva->machine, page_addr(kva, page), end - page)) {
		mark_hidden(kva, page, end);
		return;
	}
	BUG_ON(!physmem_window_hide(kva->machine, page_addr(kva, 0), window_pages(kva)));
	mark_hidden(kva, 0, window_pages(kva));
}

/* All that is shown in some chunk, but the one that holds @spare, goes. False: there is none. */
static bool evict(struct kva *kva, unsigned long spare)
{
	struct window *w = &kva->window;
	unsigned long nr_chunks = DIV_ROUND_UP(w->high, CHUNK_PAGES), i;

	for (i = 0; i < nr_chunks; i++) {
		unsigned long chunk = w->hand % nr_chunks, page = chunk * CHUNK_PAGES;

		w->hand = chunk + 1;
		if (chunk == spare / CHUNK_PAGES ||
		    !any_shown(w, page, min(page + CHUNK_PAGES, window_pages(kva))))
			continue;
		hide(kva, page, min(page + CHUNK_PAGES, window_pages(kva)));
		return true;
	}
	return false;
}

static bool host_show(struct kva *kva, unsigned long page, unsigned long nr, pte_t entry,
		      bool populate)
{
	struct window *w = &kva->window;
	unsigned int flags = (pte_write(entry) ? 0 : WINDOW_READONLY) |
			     (populate ? WINDOW_POPULATE : 0);

	WRITE_ONCE(w->nr_host_calls, w->nr_host_calls + 1);
	if (!physmem_window_show(kva->machine, page_addr(kva, page), pte_pfn(entry), nr, flags))
		return false;
	mark_shown(kva, page, page + nr);
	return true;
}

/*
 * Show [@page, @page + @nr), a run that @entry begins, when an area is mapped. Beyond the cap it
 * stays dark; so it does when the host refuses, and then its limit is nearer than the cap.
 */
static void show_new(struct kva *kva, unsigned long page, unsigned long nr, pte_t entry,
		     bool populate)
{
	struct window *w = &kva->window;

	if (w->nr_starts + 1 + nr / CHUNK_PAGES >= w->cap)
		return;
	if (!host_show(kva, page, nr, entry, populate))
		w->cap = max(w->nr_starts, 64UL);
}

/* ---- the fault ---- */

static bool continues(const struct window *w, const pte_t *leaf, unsigned long page, long step)
{
	return !is_shown(w, page + (unsigned long)step) &&
	       pte_val(ptep_get(leaf + step)) ==
	       pte_val(ptep_get(leaf)) + ((u64)step << PAGE_SHIFT);
}

/* The run of dark pages around @page within its chunk. */
static void show_around(struct kva *kva, unsigned long page, const pte_t *leaf)
{
	struct window *w = &kva->window;
	unsigned long low = pte_index(page_simulated(kva, page)), nr = 1, first = page;
	unsigned long high = CHUNK_PAGES - low;

	while (low && continues(w, leaf - (page - first), first, -1)) {
		first--;
		low--;
	}
	while (nr < high && page + nr < window_pages(kva) &&
	       continues(w, leaf + nr - 1, page + nr - 1, 1))
		nr++;
	leaf -= page - first;
	nr += page - first;
	while (w->nr_starts >= w->cap && evict(kva, page))
		;
	while (!host_show(kva, first, nr, ptep_get(leaf), true) && evict(kva, page))
		;
	WRITE_ONCE(w->nr_refills, w->nr_refills + 1);
}

/* In a signal handler, on any thread. */
static bool window_fault(struct machine *m, void *addr, bool write)
{
	struct kva *kva = machine_room(m, ROOM_KVA);
	unsigned long page;
	const pte_t *leaf;
	bool retry;

	if (!kva || (unsigned long)addr - kva->start >= kva->end - kva->start)
		return false;
	page = kva_page(kva, (unsigned long)addr);
	window_lock(&kva->window);
	leaf = leaf_at(kva, page);
	retry = leaf && pte_present(ptep_get(leaf)) && (!write || pte_write(ptep_get(leaf)));
	if (retry && !is_shown(&kva->window, page)) {
		show_around(kva, page, leaf);
		retry = is_shown(&kva->window, page);
	}
	window_unlock(&kva->window);
	return retry;
}

/* ---- mapping ---- */

static void mapping_begin(struct window *w)
{
	window_lock(w);
	w->nr_mapping++;
	window_unlock(w);
}

static void mapping_end(struct window *w)
{
	window_lock(w);
	w->nr_mapping--;
	window_unlock(w);
}

/* All tables of [@page, @end). What was made stays; nobody minds an empty one. */
static int make_tables(struct kva *kva, unsigned long page, unsigned long end)
{
	for (; page < end; page += in_chunk(kva, page, end - page)) {
		unsigned long addr = page_simulated(kva, page);
		struct pgtable_reserve r;
		int err;

		if (leaf_at(kva, page))
			continue;
		err = pgtable_reserve(&kva->kernel_mm, addr, &r);
		if (err)
			return err;
		pgtable_commit(&kva->kernel_mm, addr, &r);
	}
	return 0;
}

/* Frames from pages[0] on that follow each other; @nr at most. */
static unsigned long run_length(struct page **pages, unsigned long nr)
{
	unsigned long run = 1;

	while (run < nr && pages[run] == pages[0] + run)
		run++;
	return run;
}

/* Entries of one run, in as many tables as it takes. */
static void set_entries(struct kva *kva, unsigned long page, unsigned long nr, pte_t entry)
{
	while (nr) {
		unsigned long part = in_chunk(kva, page, nr);

		set_pte_run(leaf_at(kva, page), entry, (unsigned int)part);
		entry = __pte(pte_val(entry) + (part << PAGE_SHIFT));
		page += part;
		nr -= part;
	}
}

/* Errors: -ENOMEM: no tables; nothing is mapped. */
int window_map(struct kva *kva, unsigned long addr, struct page **pages, unsigned int nr_pages,
	       pgprot_t prot)
{
	unsigned long page = kva_page(kva, addr), run, i;
	struct window *w = &kva->window;
	int err;

	mapping_begin(w);
	err = make_tables(kva, page, page + nr_pages);
	if (err) {
		mapping_end(w);
		return err;
	}
	for (i = 0; i < nr_pages; i += run) {
		pte_t entry = mk_pte(pages[i], prot);

		run = run_length(pages + i, nr_pages - i);
		window_lock(w);
		set_entries(kva, page + i, run, entry);
		show_new(kva, page + i, run, entry, nr_pages <= POPULATE_MAX);
		window_unlock(w);
	}
	mapping_end(w);
	return 0;
}

/* The entries go; what the host shows stays until window_hide(). */
void window_clear(struct kva *kva, unsigned long addr, unsigned long nr_pages)
{
	unsigned long page = kva_page(kva, addr);

	window_lock(&kva->window);
	while (nr_pages) {
		unsigned long part = in_chunk(kva, page, nr_pages);
		pte_t *leaf = leaf_at(kva, page);

		if (leaf)
			clear_pte_run(leaf, (unsigned int)part);
		page += part;
		nr_pages -= part;
	}
	window_unlock(&kva->window);
}

/* [@start, @end) faults from now on, until it is shown again. */
void window_hide(struct kva *kva, unsigned long start, unsigned long end)
{
	window_lock(&kva->window);
	hide(kva, kva_page(kva, start), kva_page(kva, end));
	window_unlock(&kva->window);
}

/* Other protection bits for the entries of a range; false when a page of it is not mapped. */
bool window_change(struct kva *kva, unsigned long addr, unsigned long nr_pages, u64 set, u64 clear)
{
	unsigned long page = kva_page(kva, addr), i;
	bool ok = true;

	window_lock(&kva->window);
	for (i = 0; i < nr_pages && ok; i++) {
		const pte_t *leaf = leaf_at(kva, page + i);

		ok = leaf && pte_present(ptep_get(leaf));
	}
	for (i = 0; i < nr_pages && ok; i++) {
		pte_t *leaf = leaf_at(kva, page + i);

		set_pte(leaf, pte_clear_flags(pte_set_flags(ptep_get(leaf), set), clear));
	}
	if (ok)
		hide(kva, page, page + nr_pages);
	window_unlock(&kva->window);
	return ok;
}

void vmalloc_prefault(const void *addr, size_t bytes)
{
	const volatile char *p = addr, *end = p + bytes;

	if (!bytes)
		return;
	for (; p < end; p = (const volatile char *)(((unsigned long)p & PAGE_MASK) + PAGE_SIZE))
		(void)*p;
}

unsigned long vmalloc_nr_refills(struct machine *m)
{
	struct kva *kva = machine_room(m, ROOM_KVA);

	return READ_ONCE(kva->window.nr_refills);
}

/* ---- tables that hold nothing ---- */

/* The empty tables of @level in the window, unhooked and chained by pt_parent. Lock held. */
static struct page *unhook_empty(struct kva *kva, unsigned int level, struct page *chain)
{
	unsigned long addr = page_simulated(kva, 0);
	unsigned long end = page_simulated(kva, window_pages(kva));

	while (addr < end) {
		unsigned int at = level + 1;
		u64 *entry = entry_at(kva, addr, &at);
		struct page *table, *parent = pgtable_page_of(entry);

		addr = pgtable_addr_end(addr, end, pgtable_shift(at));
		if (at != level + 1 || !READ_ONCE(*entry))
			continue;
		table = phys_to_page(*entry & PTE_PFN_MASK);
		if (READ_ONCE(table->pt_entries))
			continue;
		WRITE_ONCE(*entry, 0);
		WRITE_ONCE(parent->pt_entries, parent->pt_entries - 1);
		table->pt_parent = chain;
		chain = table;
	}
	return chain;
}

/* Give the window's empty tables back; returns how many. */
unsigned long window_free_tables(struct kva *kva)
{
	struct page *chain = NULL;
	unsigned int level;
	unsigned long nr = 0;

	if (!mm_pgtables_bytes(&kva->kernel_mm))
		return 0;
	window_lock(&kva->window);
	for (level = PGTABLE_PTE; level < PGTABLE_PGD && !kva->window.nr_mapping; level++)
		chain = unhook_empty(kva, level, chain);
	window_unlock(&kva->window);
	while (chain) {
		struct page *table = chain;

		chain = table->pt_parent;
		table->pt_parent = NULL;
		mm_dec_nr_ptes(&kva->kernel_mm);
		pgtable_destroy(table);
		nr++;
	}
	return nr;
}

/* ---- power on, power off ---- */

static size_t bitmap_bytes(const struct kva *kva)
{
	return DIV_ROUND_UP(window_pages(kva), CHUNK_PAGES) * CHUNK_WORDS * sizeof(unsigned long);
}

int window_init(struct kva *kva)
{
	struct hostmem_account *account = machine_hostmem(kva->machine);
	struct window *w = &kva->window;

	kva->arena = physmem_arena(kva->machine);
	kva->kernel_mm.page_table_lock = SPIN_LOCK_UNLOCKED_RANK(LR_PGTABLE);
	w->cap = CAP_DEFAULT;
	w->shown = hostmem_map(account, bitmap_bytes(kva));
	if (!w->shown)
		return -ENOMEM;
	w->starts = hostmem_map(account, bitmap_bytes(kva));
	if (!w->starts)
		goto unmap_shown;
	if (!pgd_alloc(&kva->kernel_mm))
		goto unmap_starts;
	return 0;
unmap_starts:
	hostmem_unmap(account, w->starts, bitmap_bytes(kva));
unmap_shown:
	hostmem_unmap(account, w->shown, bitmap_bytes(kva));
	return -ENOMEM;
}

void window_arm(struct kva *kva)
{
	trap_on_fault(kva->machine, window_fault);
}

void window_exit(struct kva *kva)
{
	struct hostmem_account *account = machine_hostmem(kva->machine);

	window_free_tables(kva);
	pgd_free(&kva->kernel_mm, kva->kernel_mm.pgd);
	hostmem_unmap(account, kva->window.starts, bitmap_bytes(kva));
	hostmem_unmap(account, kva->window.shown, bitmap_bytes(kva));
}

/* ---- check ---- */

/* Entries of one area against its frames; returns how many are there. */
static unsigned long check_area(const struct kva *kva, const struct vmap_area *va,
				struct check_report *report)
{
	unsigned long page = kva_page(kva, va->va_start), nr = 0, i;

	for (i = 0; i < (va->va_end - va->va_start) >> PAGE_SHIFT; i++) {
		const pte_t *leaf = leaf_at(kva, page + i);
		bool present = leaf && pte_present(ptep_get(leaf));

		nr += present;
		if (present != (i < va->nr_mapped))
			check_fail(report, "W1: page %lu of an area is %smapped", i,
				   present ? "" : "not ");
		else if (present && i < va->vm.nr_pages && pte_page(*leaf) != va->vm.pages[i])
			check_fail(report, "W1: page %lu of an area shows another frame", i);
		if (va->state == AREA_BUSY && !present && is_shown(&kva->window, page + i))
			check_fail(report, "W2: page %lu of an area is shown and not mapped", i);
	}
	return nr;
}

static void check_entry_count(struct kva *kva, unsigned long expected,
			      struct check_report *report)
{
	struct pgtable_stats stats;

	pgtable_count_all(&kva->kernel_mm, &stats);
	if (stats.present != expected)
		check_fail(report, "W1: init_mm has %lu entries, the areas have %lu pages",
			   stats.present, expected);
}

/* What is shown above top has a bit in starts, which the count below would miss. */
static void check_bitmaps(const struct kva *kva, struct check_report *report)
{
	const struct window *w = &kva->window;
	unsigned long words = DIV_ROUND_UP(kva_page(kva, kva->top), BITS_PER_LONG);
	unsigned long i, nr = 0, stray = 0;

	for (i = 0; i < words; i++) {
		nr += (unsigned long)__builtin_popcountl(w->starts[i]);
		stray += !!(w->starts[i] & ~w->shown[i]);
	}
	if (any_shown(w, w->high, max(w->high, kva_page(kva, kva->top))))
		check_fail(report, "W3: a page from %lu on is shown", w->high);
	if (stray)
		check_fail(report, "W3: %lu words of starts have bits that are not shown", stray);
	if (nr != w->nr_starts)
		check_fail(report, "W3: %lu mappings begin, %lu counted", nr, w->nr_starts);
}

void window_check(struct kva *kva, struct check_report *report)
{
	unsigned long nr = 0;
	struct rb_node *n;

	for (n = rb_first(&kva->areas); n; n = rb_next(n))
		nr += check_area(kva, rb_entry(n, struct vmap_area, node), report);
	check_entry_count(kva, nr, report);
	check_bitmaps(kva, report);
	for (n = rb_first(&kva->holes); n; n = rb_next(n)) {
		const struct vmap_area *hole = rb_entry(n, struct vmap_area, node);

		if (any_shown(&kva->window, kva_page(kva, hole->va_start),
			      kva_page(kva, hole->va_end)))
			check_fail(report, "W2: something is shown in a hole");
	}
}
