/* SPDX-License-Identifier: MIT */
/*
 * Goal: every touch of user memory ends as on Linux: the page appears, or the right signal with the
 * right code and address does; nothing is lost when memory runs out in the middle.
 * Method: programs' loads, stores and fetches through the MMU with the space loaded; fault
 * counters, entries, frames and counts looked at after each; contents compared byte by byte over
 * three generations of fork; each allocation of a fault failed once.
 */
#include "space_test.h"

#include <signal.h>

#include <karc/hw/fiber.h>
#include <karc/mm/cache/rmap.h>
#include <karc/mm/pgtable/tlbflush.h>
#include <karc/mm/phys/page_alloc.h>

#define RX	(PROT_READ | PROT_EXEC)

static u64 nr(struct mm_struct *mm, enum fault_kind kind)
{
	return (u64)atomic64_read(&mm->nr_faults[kind]);
}

/* A program's store; the signal it died of, or 0. */
static int store(unsigned long addr, unsigned char value, struct fault_info *info)
{
	*info = (struct fault_info) { 0 };
	fault_take_pending(NULL);
	if (!mmu_access_user(addr, &value, 1, MMU_WRITE))
		return 0;
	assert_true(fault_take_pending(info));
	return info->si_signo;
}

static int load(unsigned long addr, unsigned char *value, struct fault_info *info)
{
	*info = (struct fault_info) { 0 };
	fault_take_pending(NULL);
	if (!mmu_access_user(addr, value, 1, MMU_READ))
		return 0;
	assert_true(fault_take_pending(info));
	return info->si_signo;
}

static int fetch(unsigned long addr, struct fault_info *info)
{
	unsigned char byte;

	*info = (struct fault_info) { 0 };
	fault_take_pending(NULL);
	if (!mmu_access_user(addr, &byte, 1, MMU_EXEC))
		return 0;
	assert_true(fault_take_pending(info));
	return info->si_signo;
}

static int must_load(unsigned long addr)
{
	struct fault_info info;
	unsigned char value;

	assert_int_equal(load(addr, &value, &info), 0);
	return value;
}

static void must_store(unsigned long addr, unsigned char value)
{
	struct fault_info info;

	assert_int_equal(store(addr, value, &info), 0);
}

static struct page *page_at(struct mm_struct *mm, unsigned long addr)
{
	pte_t pte = mm_lookup_pte(mm, addr);

	return pte_present(pte) && !pte_special(pte) ? pte_page(pte) : NULL;
}

static struct mm_struct *loaded_mm(void)
{
	struct mm_struct *mm = new_mm();

	switch_mm(NULL, mm);
	return mm;
}

static void unload(struct mm_struct *mm)
{
	check_mm_clean(mm);
	switch_mm(mm, NULL);
	mmput(mm);
}

static void assert_segv(const struct fault_info *info, int code, unsigned long addr,
			enum fault_answer answer)
{
	assert_int_equal(info->si_signo, SIGSEGV);
	assert_int_equal(info->si_code, code);
	assert_int_equal(info->sig_addr, addr);
	assert_int_equal(info->answer, answer);
}

/* ---- private memory ---- */

static void a_first_read_maps_the_zero_page_and_a_write_replaces_it(void **state)
{
	struct mm_struct *mm = loaded_mm();
	(void)state;

	map_at(mm, BASE, 2, RW);
	assert_int_equal(must_load(BASE + 5), 0);
	assert_int_equal(nr(mm, FAULT_ANON_ZERO), 1);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_true(pte_special(mm_lookup_pte(mm, BASE)));
	assert_int_equal(page_ref_count(zero_page()), 1);
	must_store(BASE + 5, 9);
	assert_int_equal(nr(mm, FAULT_COW_COPY), 1);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 1);
	assert_int_equal(must_load(BASE + 5), 9);
	assert_int_equal(must_load(BASE + 6), 0);
	assert_int_equal(*(char *)page_address(zero_page()), 0);
	must_store(BASE + P, 7);
	assert_int_equal(nr(mm, FAULT_ANON), 1);
	assert_int_equal(page_count(page_at(mm, BASE + P)), 1);
	assert_int_equal(page_mapcount(page_at(mm, BASE + P)), 1);
	assert_true(pte_dirty(mm_lookup_pte(mm, BASE + P)));
	unload(mm);
}

static void frames_of_private_memory_die_with_their_last_entry(void **state)
{
	struct mm_struct *mm = loaded_mm();
	unsigned long before;
	(void)state;

	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	map_at(mm, BASE, 64, RW);
	for (unsigned int i = 0; i < 64; i++)
		must_store(BASE + i * P, (unsigned char)i);
	machine_quiesce(this_machine());
	/* 64 frames, a table of each of three levels, and the anon_vma's slab. */
	assert_true(phys_nr_free(this_machine()) <= before - 67);
	assert_int_equal(ksys_munmap(mm, BASE, 64 * P), 0);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(mm_pgtables_bytes(mm), 0);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
	unload(mm);
}

/* ---- wrong accesses ---- */

static void each_wrong_access_gets_its_signal_code(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct fault_info info;
	unsigned char byte;
	(void)state;

	assert_int_equal(load(BASE + 1, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_MAPERR, BASE + 1, FAULT_NO_VMA);
	assert_false(info.vma_found);
	assert_int_equal(load(8, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_MAPERR, 8, FAULT_NO_VMA);
	map_at(mm, BASE, 1, PROT_READ);
	assert_int_equal(load(BASE - 1, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_MAPERR, BASE - 1, FAULT_NO_VMA);
	assert_true(info.vma_found && !info.covers);
	assert_int_equal(store(BASE + 3, 1, &info), SIGSEGV);
	assert_segv(&info, SEGV_ACCERR, BASE + 3, FAULT_WRONG_ACCESS);
	assert_true(info.vma_found && info.covers);
	assert_int_equal(info.vma_start, BASE);
	assert_int_equal(info.error_code, PF_USER | PF_WRITE);
	assert_int_equal(must_load(BASE), 0);
	assert_int_equal(store(BASE + 3, 1, &info), SIGSEGV);
	assert_int_equal(info.error_code, PF_USER | PF_WRITE | PF_PROT);
	map_at(mm, BASE + P, 1, PROT_NONE);
	assert_int_equal(load(BASE + P, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_ACCERR, BASE + P, FAULT_WRONG_ACCESS);
	assert_int_equal(nr(mm, FAULT_SEGV), 6);
	unload(mm);
}

static void running_code_needs_exec_permission(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct fault_info info;
	(void)state;

	map_at(mm, BASE, 1, RW);
	assert_int_equal(fetch(BASE + 7, &info), SIGSEGV);
	assert_segv(&info, SEGV_ACCERR, BASE + 7, FAULT_WRONG_ACCESS);
	assert_true(info.error_code & PF_INSTR);
	map_at(mm, BASE + P, 1, RX);
	assert_int_equal(fetch(BASE + P, &info), 0);
	assert_int_equal(ksys_mprotect(mm, BASE + P, P, PROT_READ), 0);
	assert_int_equal(fetch(BASE + P, &info), SIGSEGV);
	unload(mm);
}

static void addresses_that_are_no_user_addresses(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct fault_info info;
	unsigned char byte;
	(void)state;

	assert_int_equal(load(0xffff888000000000UL, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_MAPERR, 0xffff888000000000UL, FAULT_KERNEL_ADDRESS);
	assert_int_equal(load(TASK_SIZE_MAX, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_MAPERR, TASK_SIZE_MAX, FAULT_NO_VMA);
	/* The MMU does not even ask; the trap handler does. */
	assert_int_equal(mmu_access_user(1UL << 60, &byte, 1, MMU_READ), -EINVAL);
	assert_int_equal(do_user_addr_fault(mm, 1UL << 60, PF_USER, &info), -EFAULT);
	assert_segv(&info, SI_KERNEL, 0, FAULT_NON_CANONICAL);
	unload(mm);
}

static void protection_changes_take_effect_at_once(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct fault_info info;
	unsigned char byte;
	struct page *page;
	(void)state;

	map_at(mm, BASE, 1, RW);
	must_store(BASE, 5);
	page = page_at(mm, BASE);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	assert_int_equal(store(BASE, 6, &info), SIGSEGV);
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_NONE), 0);
	assert_int_equal(load(BASE, &byte, &info), SIGSEGV);
	assert_segv(&info, SEGV_ACCERR, BASE, FAULT_WRONG_ACCESS);
	assert_true(pte_protnone(mm_lookup_pte(mm, BASE)));
	assert_int_equal(get_mm_rss(mm), 1);
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW), 0);
	assert_int_equal(must_load(BASE), 5);
	must_store(BASE, 8);
	assert_ptr_equal(page_at(mm, BASE), page);
	assert_int_equal(nr(mm, FAULT_COW_COPY), 0);
	unload(mm);
}

/* ---- the stack ---- */

static void a_stack_grows_to_the_touch_and_no_further_than_its_limit(void **state)
{
	struct mm_rlimits rlim = {
		.as = MM_RLIM_UNLIMITED, .data = MM_RLIM_UNLIMITED, .stack = 64 * P,
		.memlock = MM_RLIM_MEMLOCK_DEFAULT,
	};
	struct mm_struct *mm = loaded_mm();
	unsigned long top = BASE + 256 * P;
	struct fault_info info;
	(void)state;

	mm_set_layout(mm, NULL, &rlim, false);
	assert_int_equal(map(mm, top - 2 * P, 2, RW, FIXED | MAP_GROWSDOWN), top - 2 * P);
	must_store(top - 10 * P, 3);
	assert_int_equal(nr(mm, FAULT_STACK_GROW), 1);
	assert_int_equal(must_load(top - 10 * P), 3);
	assert_int_equal(find_vma(mm, top - 10 * P)->vm_start, top - 10 * P);
	assert_int_equal(store(top - 65 * P, 3, &info), SIGSEGV);
	assert_segv(&info, SEGV_MAPERR, top - 65 * P, FAULT_NO_STACK);
	assert_true(info.vma_found && !info.covers);
	assert_int_equal(find_vma(mm, top - 10 * P)->vm_start, top - 10 * P);
	must_store(top - 64 * P, 3);
	unload(mm);
}

/* ---- fork ---- */

static void exclusive_pages_are_taken_back_and_shared_ones_copied(void **state)
{
	struct mm_struct *parent = loaded_mm(), *child;
	struct page *page;
	(void)state;

	map_at(parent, BASE, 3, RW);
	for (unsigned int i = 0; i < 3; i++)
		must_store(BASE + i * P, (unsigned char)('a' + i));
	child = dup_mm(parent);
	assert_non_null(child);
	page = page_at(parent, BASE);
	assert_ptr_equal(page_at(child, BASE), page);
	assert_int_equal(page_count(page), 2);
	assert_int_equal(page_mapcount(page), 2);
	assert_int_equal(get_mm_rss(child), 3);
	/* The parent's TLB was flushed: its next store is a fault, and makes a copy. */
	must_store(BASE, 'A');
	assert_int_equal(nr(parent, FAULT_COW_COPY), 1);
	assert_ptr_not_equal(page_at(parent, BASE), page);
	assert_int_equal(page_count(page), 1);
	switch_mm(parent, child);
	assert_int_equal(must_load(BASE), 'a');
	must_store(BASE, 'z');
	assert_int_equal(nr(child, FAULT_COW_REUSE), 1);
	assert_ptr_equal(page_at(child, BASE), page);
	assert_ptr_equal((struct anon_vma *)page->mapping, vma_lookup(child, BASE)->anon_vma);
	must_store(BASE + P, 'y');
	assert_int_equal(nr(child, FAULT_COW_COPY), 1);
	switch_mm(child, parent);
	mmput(child);
	/* The child is gone: what is left belongs to the parent alone. */
	page = page_at(parent, BASE + 2 * P);
	must_store(BASE + 2 * P, 'C');
	assert_ptr_equal(page_at(parent, BASE + 2 * P), page);
	assert_int_equal(nr(parent, FAULT_COW_REUSE), 1);
	assert_int_equal(must_load(BASE), 'A');
	assert_int_equal(must_load(BASE + P), 'b');
	unload(parent);
}

#define GENERATIONS	3
#define FAMILY		4	/* processes per generation at most */
#define NR_PAGES	8

struct relative {
	struct mm_struct *mm;
	unsigned char bytes[NR_PAGES * 16];	/* what 16 bytes of each page must be */
};

static unsigned long byte_address(unsigned int i)
{
	return BASE + (i / 16) * P + (i % 16) * 251;
}

static void assert_remembers(struct relative *r)
{
	for (unsigned int i = 0; i < sizeof(r->bytes); i++)
		assert_int_equal(peek(r->mm, byte_address(i)), r->bytes[i]);
}

static void write_some(struct relative *r, struct rnd *rnd)
{
	for (unsigned int n = rnd_below(rnd, 40); n; n--) {
		unsigned int i = rnd_below(rnd, sizeof(r->bytes));

		r->bytes[i] = (unsigned char)rnd_u32(rnd);
		assert_true(poke(r->mm, byte_address(i), r->bytes[i]));
	}
}

static void generations_that_write_never_see_each_other(void **state)
{
	struct relative family[GENERATIONS * FAMILY + 1] = { 0 };
	unsigned int nr_alive = 1;
	u64 seed = test_seed();
	struct rnd rnd;
	(void)state;

	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (unsigned int round = 0; round < 3; round++) {
		family[0].mm = new_mm();
		memset(family[0].bytes, 0, sizeof(family[0].bytes));
		map_at(family[0].mm, BASE, NR_PAGES, RW);
		nr_alive = 1;
		for (unsigned int step = 0; step < 60; step++) {
			unsigned int who = rnd_below(&rnd, nr_alive);

			write_some(&family[who], &rnd);
			if (nr_alive < ARRAY_SIZE(family) && rnd_chance(&rnd, 1, 3)) {
				family[nr_alive] = family[who];
				family[nr_alive].mm = dup_mm(family[who].mm);
				assert_non_null(family[nr_alive++].mm);
			} else if (nr_alive > 1 && rnd_chance(&rnd, 1, 5)) {
				mmput(family[who].mm);
				family[who] = family[--nr_alive];
			}
			for (unsigned int i = 0; i < nr_alive; i++)
				assert_remembers(&family[i]);
		}
		while (nr_alive) {
			check_mm_clean(family[--nr_alive].mm);
			mmput(family[nr_alive].mm);
		}
	}
	assert_int_equal(ledger_live_kind(this_machine(), "anon_vma"), 0);
}

/* ---- files ---- */

static int fill_letters(void *priv, pgoff_t index, void *kaddr)
{
	(void)priv;
	memset(kaddr, (int)('a' + index), PAGE_SIZE);
	return 0;
}

static const struct memfile_ops letter_ops = { .fill = fill_letters };

static struct file *letters(loff_t size)
{
	struct file *file = memfile_create("letters", size, 0644, &letter_ops, NULL);

	assert_false(IS_ERR(file));
	return file;
}

static void map_file(struct mm_struct *mm, unsigned long addr, unsigned long pages, int prot,
		     int flags, struct file *file)
{
	assert_int_equal(ksys_mmap(mm, addr, pages * P, prot, flags | MAP_FIXED, file, 0), addr);
}

static int file_byte(struct file *file, loff_t pos)
{
	unsigned char byte;

	return kernel_read(file, &byte, 1, &pos) == 1 ? byte : -1;
}

static void private_writes_never_reach_the_file(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct file *file = letters(3 * P);
	struct page *cached;
	(void)state;

	map_file(mm, BASE, 3, RW, MAP_PRIVATE, file);
	assert_int_equal(must_load(BASE + P), 'b');
	assert_int_equal(nr(mm, FAULT_FILE_READ), 1);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 1);
	cached = find_get_page(file->f_mapping, 1);
	assert_ptr_equal(page_at(mm, BASE + P), cached);
	assert_int_equal(page_count(cached), 3);
	put_page(cached);
	must_store(BASE + P, 'X');
	assert_int_equal(nr(mm, FAULT_COW_COPY), 1);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 0);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 1);
	must_store(BASE, 'Y');
	assert_int_equal(nr(mm, FAULT_FILE_COW), 1);
	assert_int_equal(must_load(BASE + 1), 'a');
	assert_int_equal(file_byte(file, 0), 'a');
	assert_int_equal(file_byte(file, (loff_t)P), 'b');
	assert_int_equal(page_count(cached), 1);
	assert_false(PageDirty(cached));
	/* A write to the file before the first touch is seen, after a private copy it is not. */
	assert_int_equal(kernel_write(file, "QQ", 1, &(loff_t){ 2 * (loff_t)P }), 1);
	assert_int_equal(kernel_write(file, "QQ", 1, &(loff_t){ 0 }), 1);
	assert_int_equal(must_load(BASE + 2 * P), 'Q');
	assert_int_equal(must_load(BASE), 'Y');
	fput(file);
	unload(mm);
}

static void shared_writes_are_the_files_bytes_and_coherent(void **state)
{
	struct mm_struct *mm = loaded_mm(), *other = new_mm();
	struct file *file = letters(2 * P);
	struct page *page;
	(void)state;

	map_file(mm, BASE, 2, RW, MAP_SHARED, file);
	map_file(mm, BASE + 8 * P, 2, PROT_READ, MAP_SHARED, file);
	map_file(other, BASE, 2, RW, MAP_SHARED, file);
	must_store(BASE + 3, 'S');
	assert_int_equal(nr(mm, FAULT_FILE_SHARED), 1);
	page = page_at(mm, BASE);
	assert_true(PageDirty(page));
	assert_int_equal(must_load(BASE + 8 * P + 3), 'S');
	assert_int_equal(peek(other, BASE + 3), 'S');
	assert_int_equal(file_byte(file, 3), 'S');
	assert_true(poke(other, BASE + 3, 'T'));
	assert_int_equal(must_load(BASE + 3), 'T');
	/* A page first read may be written through the same entry: dirty comes with the unmap. */
	assert_int_equal(must_load(BASE + P), 'b');
	must_store(BASE + P, 'D');
	assert_int_equal(ksys_munmap(mm, BASE, 2 * P), 0);
	page = find_get_page(file->f_mapping, 1);
	assert_true(PageDirty(page));
	put_page(page);
	mmput(other);
	page_cache_shrink(~0UL);
	assert_int_equal(file_byte(file, 3), 'T');
	assert_int_equal(file_byte(file, (loff_t)P), 'D');
	fput(file);
	unload(mm);
}

static void past_the_end_of_the_file_is_zero_and_then_sigbus(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct file *file = letters((loff_t)P + 10);
	struct fault_info info;
	unsigned char byte;
	(void)state;

	map_file(mm, BASE, 4, RW, MAP_PRIVATE, file);
	assert_int_equal(must_load(BASE + P + 9), 'b');
	assert_int_equal(must_load(BASE + P + 10), 0);
	assert_int_equal(must_load(BASE + 2 * P - 1), 0);
	assert_int_equal(load(BASE + 2 * P + 5, &byte, &info), SIGBUS);
	assert_int_equal(info.si_code, BUS_ADRERR);
	assert_int_equal(info.sig_addr, BASE + 2 * P + 5);
	assert_int_equal(info.answer, FAULT_BAD_PAGE);
	assert_int_equal(store(BASE + 3 * P, 1, &info), SIGBUS);
	assert_int_equal(nr(mm, FAULT_BUS), 2);
	/* The file grows: the page is there now. */
	assert_int_equal(file_truncate(file, 3 * (loff_t)P), 0);
	assert_int_equal(must_load(BASE + 2 * P + 5), 0);
	fput(file);
	unload(mm);
}

static void stores_past_the_end_never_become_the_files_bytes(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct file *file = letters(10);
	(void)state;

	map_file(mm, BASE, 1, RW, MAP_SHARED, file);
	must_store(BASE + 9, 'i');
	must_store(BASE + 20, 'o');
	must_store(BASE + 200, 'o');
	assert_int_equal(must_load(BASE + 20), 'o');
	assert_int_equal(file_byte(file, 20), -1);
	assert_int_equal(file_truncate(file, 100), 0);
	assert_int_equal(file_byte(file, 9), 'i');
	assert_int_equal(file_byte(file, 20), 0);
	must_store(BASE + 300, 'o');
	assert_int_equal(kernel_write(file, "w", 1, &(loff_t){ 400 }), 1);
	assert_int_equal(file_byte(file, 300), 0);
	assert_int_equal(must_load(BASE + 400), 'w');
	fput(file);
	unload(mm);
}

static void truncation_reaches_all_mappings_private_copies_too(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct file *file = letters(4 * (loff_t)P);
	struct fault_info info;
	unsigned char byte;
	(void)state;

	map_file(mm, BASE, 4, RW, MAP_PRIVATE, file);
	map_file(mm, BASE + 8 * P, 4, RW, MAP_SHARED, file);
	for (unsigned int i = 0; i < 4; i++) {
		must_store(BASE + i * P, 'p');
		must_store(BASE + (8 + i) * P, 's');
	}
	assert_int_equal(get_mm_rss(mm), 8);
	assert_int_equal(file_truncate(file, 2 * (loff_t)P), 0);
	assert_int_equal(get_mm_rss(mm), 4);
	assert_int_equal(must_load(BASE + P), 'p');
	assert_int_equal(load(BASE + 2 * P, &byte, &info), SIGBUS);
	assert_int_equal(load(BASE + 10 * P, &byte, &info), SIGBUS);
	assert_int_equal(file_truncate(file, 4 * (loff_t)P), 0);
	assert_int_equal(must_load(BASE + 2 * P), 0);
	assert_int_equal(must_load(BASE + 9 * P), 's');
	fput(file);
	unload(mm);
}

static int fill_error(void *priv, pgoff_t index, void *kaddr)
{
	(void)priv;
	(void)index;
	(void)kaddr;
	return -EIO;
}

static void an_unreadable_page_is_sigbus_and_leaves_nothing(void **state)
{
	static const struct memfile_ops ops = { .fill = fill_error };
	struct file *file = memfile_create("bad", (loff_t)P, 0600, &ops, NULL);
	struct mm_struct *mm = loaded_mm();
	struct fault_info info;
	unsigned char byte;
	(void)state;

	map_file(mm, BASE, 1, RW, MAP_PRIVATE, file);
	assert_int_equal(load(BASE, &byte, &info), SIGBUS);
	assert_int_equal(store(BASE, 1, &info), SIGBUS);
	assert_int_equal(mm_pgtables_bytes(mm), 0);
	assert_int_equal(page_cache_count(), 0);
	fput(file);
	unload(mm);
}

static void a_mapping_outlives_the_close_of_its_file(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct file *file = letters((loff_t)P);
	(void)state;

	map_file(mm, BASE, 1, PROT_READ, MAP_PRIVATE, file);
	fput(file);
	assert_int_equal(must_load(BASE), 'a');
	assert_int_equal(ledger_live_kind(this_machine(), "file"), 1);
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	assert_int_equal(ledger_live_kind(this_machine(), "file"), 0);
	unload(mm);
}

/* ---- a driver's own operations ---- */

static unsigned int mkwrites;
static vm_fault_t mkwrite_answer;

static vm_fault_t count_mkwrite(struct vm_fault *vmf)
{
	assert_non_null(vmf->page);
	mkwrites++;
	return mkwrite_answer;
}

static const struct vm_operations_struct mkwrite_ops = {
	.fault = filemap_fault,
	.page_mkwrite = count_mkwrite,
};

static void page_mkwrite_may_refuse_a_shared_write(void **state)
{
	struct mm_struct *mm = loaded_mm();
	struct file *file = letters((loff_t)P);
	struct fault_info info;
	(void)state;

	map_file(mm, BASE, 1, RW, MAP_SHARED, file);
	vma_lookup(mm, BASE)->vm_ops = &mkwrite_ops;
	mkwrites = 0;
	mkwrite_answer = VM_FAULT_SIGBUS;
	assert_int_equal(store(BASE, 1, &info), SIGBUS);
	assert_int_equal(mm_pgtables_bytes(mm), 0);
	mkwrite_answer = 0;
	must_store(BASE, 1);
	must_store(BASE, 2);
	assert_int_equal(mkwrites, 2);
	/* After a write protection the next write asks again. */
	assert_int_equal(ksys_mprotect(mm, BASE, P, PROT_READ), 0);
	vma_lookup(mm, BASE)->vm_page_prot = PAGE_READONLY;
	vma_lookup(mm, BASE)->vm_flags |= VM_WRITE;
	must_store(BASE, 3);
	assert_int_equal(mkwrites, 3);
	vma_lookup(mm, BASE)->vm_flags &= ~VM_WRITE;
	fput(file);
	unload(mm);
}

/* ---- failures ---- */

struct nth {
	struct mm_struct *mm;
	unsigned long addr;
	unsigned int error_code;
	struct file *file;	/* emptied by undo: a dirty page would stay cached */
};

static long fault_body(void *arg)
{
	struct nth *n = arg;
	struct fault_info info;
	int err = do_user_addr_fault(n->mm, n->addr, n->error_code, &info);

	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(info.answer, FAULT_NO_MEMORY);
		assert_int_equal(info.pte_before, info.pte_after);
	}
	return err;
}

/* Back to the start: nothing mapped in, caches empty, the VMA as it was made. */
static void fault_undo(void *arg)
{
	struct nth *n = arg;
	struct vm_area_struct *vma = vma_lookup(n->mm, n->addr);
	struct mmu_gather tlb;

	mmap_write_lock(n->mm);
	tlb_gather_mmu(&tlb, n->mm);
	unmap_page_range(&tlb, vma, vma->vm_start, vma->vm_end);
	free_pgtables(&tlb, n->mm, vma->vm_start, vma->vm_end);
	tlb_finish_mmu(&tlb);
	unlink_anon_vmas(vma);
	mmap_write_unlock(n->mm);
	assert_int_equal(file_truncate(n->file, 0), 0);
	assert_int_equal(file_truncate(n->file, 4 * (loff_t)P), 0);
}

static void fault_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	/* What a file fault cached may stay; it is no part of what must be as before. */
	page_cache_shrink(~0UL);
	machine_quiesce(this_machine());
	space_snapshot(n->mm, values);
	values[20] = phys_nr_free(this_machine());
	values[21] = pte_val(mm_lookup_pte(n->mm, n->addr));
	values[22] = ledger_live_total(this_machine());
}

static void fail_each_allocation(struct nth *n, unsigned long at_least)
{
	/* Once before: the slab caches make what they keep for good. */
	assert_int_equal(fault_body(n), 0);
	fault_undo(n);
	assert_in_range(fixture_fail_nth(fault_body, fault_undo, fault_snapshot, n), at_least, 20);
}

static void a_fault_that_runs_out_of_memory_changes_nothing(void **state)
{
	struct file *file = letters(4 * (loff_t)P);
	struct nth n = { new_mm(), BASE, PF_USER, file };
	(void)state;

	map_at(n.mm, BASE, 4, RW);
	map_file(n.mm, BASE + PUD_SIZE, 4, RW, MAP_PRIVATE, file);
	map_file(n.mm, BASE + 2 * PUD_SIZE, 4, RW, MAP_SHARED, file);
	fail_each_allocation(&n, 3);			/* zero page: tables */
	n.error_code |= PF_WRITE;
	fail_each_allocation(&n, 4);			/* fresh page */
	n.addr = BASE + PUD_SIZE + P;
	fail_each_allocation(&n, 5);			/* private copy of a file's page */
	n.error_code &= ~PF_WRITE;
	fail_each_allocation(&n, 4);			/* the file's page */
	n.addr = BASE + 2 * PUD_SIZE + P;
	n.error_code |= PF_WRITE;
	fail_each_allocation(&n, 4);			/* the same, shared */
	fput(file);
	mmput(n.mm);
}

static long cow_body(void *arg)
{
	struct nth *n = arg;
	struct fault_info info;

	return do_user_addr_fault(n->mm, n->addr, PF_USER | PF_WRITE | PF_PROT, &info);
}

static void cow_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	machine_quiesce(this_machine());
	space_snapshot(n->mm, values);
	values[20] = phys_nr_free(this_machine());
	values[21] = pte_val(mm_lookup_pte(n->mm, n->addr));
}

static void a_copy_that_runs_out_of_memory_leaves_the_page_shared(void **state)
{
	struct relative family[2] = { { .mm = new_mm() } };
	struct nth n = { family[0].mm, BASE, 0, NULL };
	(void)state;

	map_at(n.mm, BASE, 1, RW);
	assert_true(poke(n.mm, BASE, 'x'));
	family[1].mm = dup_mm(n.mm);
	assert_true(fixture_fail_nth(cow_body, NULL, cow_snapshot, &n) >= 1);
	assert_ptr_not_equal(page_at(n.mm, BASE), page_at(family[1].mm, BASE));
	assert_int_equal(peek(family[1].mm, BASE), 'x');
	mmput(family[1].mm);
	mmput(n.mm);
}

/* ---- several CPUs ---- */

struct racer {
	struct mm_struct *mm;
	unsigned int self;
};

#define RACE_PAGES	32

static long race(void *arg)
{
	struct racer *r = arg;

	switch_mm(NULL, r->mm);
	for (unsigned int i = 0; i < RACE_PAGES; i++) {
		unsigned char byte = (unsigned char)(r->self + 1);

		assert_int_equal(mmu_access_user(BASE + i * P + r->self, &byte, 1, MMU_WRITE), 0);
	}
	switch_mm(r->mm, NULL);
	return 0;
}

static void cpus_that_fault_on_the_same_pages_lose_nothing(void **state)
{
	struct mm_struct *mm = new_mm(), *child;
	struct racer racer[4];
	struct fiber *fiber[4];
	(void)state;

	map_at(mm, BASE, RACE_PAGES, RW);
	for (unsigned int i = 0; i < RACE_PAGES; i += 2)
		assert_true(poke(mm, BASE + i * P + 99, 9));
	child = dup_mm(mm);
	for (unsigned int cpu = 0; cpu < 4; cpu++) {
		racer[cpu] = (struct racer) { mm, cpu };
		fiber[cpu] = fiber_spawn(cpu, "racer", race, &racer[cpu]);
	}
	for (unsigned int cpu = 0; cpu < 4; cpu++)
		fiber_join(fiber[cpu], NULL);
	for (unsigned int i = 0; i < RACE_PAGES; i++) {
		for (unsigned int cpu = 0; cpu < 4; cpu++) {
			assert_int_equal(peek(mm, BASE + i * P + cpu), cpu + 1);
			assert_int_equal(peek(child, BASE + i * P + cpu), 0);
		}
		assert_int_equal(peek(mm, BASE + i * P + 99), i % 2 ? 0 : 9);
		assert_int_equal(page_count(page_at(mm, BASE + i * P)), 1);
	}
	assert_int_equal(get_mm_rss(mm), RACE_PAGES);
	check_mm_clean(mm);
	mmput(child);
	mmput(mm);
}

static void frames_without_a_direct_map_work_like_others(void **state)
{
	struct mm_struct *mm = loaded_mm(), *child;
	struct file *file = letters(2 * (loff_t)P);
	(void)state;

	map_at(mm, BASE, 4, RW);
	map_file(mm, BASE + 8 * P, 2, RW, MAP_PRIVATE, file);
	must_store(BASE + 7, 'h');
	assert_true(PageHighMem(page_at(mm, BASE)));
	assert_int_equal(must_load(BASE + 8), 0);
	must_store(BASE + 8 * P, 'x');
	assert_true(PageHighMem(page_at(mm, BASE + 8 * P)));
	assert_int_equal(must_load(BASE + 8 * P + 1), 'a');
	child = dup_mm(mm);
	assert_non_null(child);
	must_store(BASE + 7, 'H');
	assert_int_equal(nr(mm, FAULT_COW_COPY), 1);
	assert_int_equal(must_load(BASE + 8), 0);
	assert_int_equal(peek(child, BASE + 7), 'h');
	mmput(child);
	fput(file);
	unload(mm);
}

static void names_exist_for_all_kinds_and_answers(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < NR_FAULT_KINDS; i++)
		assert_string_not_equal(fault_kind_name((enum fault_kind)i), "?");
	for (unsigned int i = 0; i <= FAULT_NO_MEMORY; i++)
		assert_string_not_equal(fault_answer_name((enum fault_answer)i), "?");
	assert_string_equal(fault_kind_name((enum fault_kind)99), "?");
}

int main(void)
{
	static const struct machine_config highmem = { .highmem_start = 64UL << 20 };
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_first_read_maps_the_zero_page_and_a_write_replaces_it),
		KARC_TESTS(frames_of_private_memory_die_with_their_last_entry),
		karc_unit_test(each_wrong_access_gets_its_signal_code),
		karc_unit_test(running_code_needs_exec_permission),
		karc_unit_test(addresses_that_are_no_user_addresses),
		karc_unit_test(protection_changes_take_effect_at_once),
		karc_unit_test(a_stack_grows_to_the_touch_and_no_further_than_its_limit),
		KARC_TESTS(exclusive_pages_are_taken_back_and_shared_ones_copied),
		KARC_TESTS(generations_that_write_never_see_each_other),
		karc_unit_test(private_writes_never_reach_the_file),
		karc_unit_test(shared_writes_are_the_files_bytes_and_coherent),
		karc_unit_test(past_the_end_of_the_file_is_zero_and_then_sigbus),
		karc_unit_test(stores_past_the_end_never_become_the_files_bytes),
		karc_unit_test(truncation_reaches_all_mappings_private_copies_too),
		karc_unit_test(an_unreadable_page_is_sigbus_and_leaves_nothing),
		karc_unit_test(a_mapping_outlives_the_close_of_its_file),
		karc_unit_test(page_mkwrite_may_refuse_a_shared_write),
		karc_unit_test(a_fault_that_runs_out_of_memory_changes_nothing),
		karc_unit_test(a_copy_that_runs_out_of_memory_leaves_the_page_shared),
		karc_unit_test_cpus(cpus_that_fault_on_the_same_pages_lose_nothing, 4),
		karc_unit_test_config(frames_without_a_direct_map_work_like_others, 1, &highmem),
		karc_unit_test(names_exist_for_all_kinds_and_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
