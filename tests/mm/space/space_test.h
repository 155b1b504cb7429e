/* SPDX-License-Identifier: MIT */
/*
 * space_test.h - what the tests of address spaces share: short calls, and a world to compare
 */
#ifndef KARC_TESTS_SPACE_TEST_H
#define KARC_TESTS_SPACE_TEST_H

#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <karc/base/err.h>
#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/mm/cache/file.h>
#include <karc/mm/cache/filemap.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/mm/space/dup.h>
#include <karc/mm/space/fault.h>
#include <karc/mm/space/maps.h>
#include <karc/mm/space/memory.h>
#include <karc/mm/space/mm.h>
#include <karc/mm/space/mmap.h>
#include <karc/mm/space/overcommit.h>
#include <karc/mm/space/profile.h>
#include <karc/mm/space/vma.h>
#include <karc/refcount/ledger.h>

#define P		PAGE_SIZE
#define RW		(PROT_READ | PROT_WRITE)
#define ANON		(MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED		(ANON | MAP_FIXED)
#define BASE		0x10000000UL

/* The running kernel's rules do not matter here: 6.1's are the reference. */
static inline struct mm_struct *new_mm(void)
{
	struct mm_struct *mm = mm_alloc();

	assert_non_null(mm);
	mm_set_layout(mm, mm_profile_reference(), NULL, false);
	mm->start_brk = mm->brk = 0x600000;
	return mm;
}

static inline void check_mm_clean(struct mm_struct *mm)
{
	struct check_report report = { 0 };

	mm_check(mm, &report);
	if (report.nr_violations)
		fail_msg("mm_check: %s", report.last);
}

static inline long map(struct mm_struct *mm, unsigned long addr, unsigned long pages, int prot,
		       int flags)
{
	return ksys_mmap(mm, addr, pages * P, prot, flags, NULL, 0);
}

static inline void map_at(struct mm_struct *mm, unsigned long addr, unsigned long pages, int prot)
{
	assert_int_equal(map(mm, addr, pages, prot, FIXED), addr);
}

/* The ranges and permissions of @mm as one line: "10000-13000 rw-p, ...". One buffer. */
static inline const char *ranges(struct mm_struct *mm)
{
	static __thread char text[4096];
	struct vm_area_struct *vma;
	size_t at = 0;

	text[0] = '\0';
	for_each_vma_of(mm, vma)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%lx-%lx %c%c%c%c",
				       at ? ", " : "", vma->vm_start, vma->vm_end,
				       vma->vm_flags & VM_READ ? 'r' : '-',
				       vma->vm_flags & VM_WRITE ? 'w' : '-',
				       vma->vm_flags & VM_EXEC ? 'x' : '-',
				       vma->vm_flags & VM_MAYSHARE ? 's' : 'p');
	return text;
}

#define assert_ranges(mm, text) assert_string_equal(ranges(mm), text)

/* One byte, as a program would; false when that faults. */
static inline bool poke(struct mm_struct *mm, unsigned long addr, unsigned char value)
{
	return access_remote_vm(mm, addr, &value, 1, true) == 1;
}

static inline int peek(struct mm_struct *mm, unsigned long addr)
{
	unsigned char value;

	return access_remote_vm(mm, addr, &value, 1, false) == 1 ? value : -1;
}

/* A file of @pages pages that may be read and written. */
static inline struct file *new_file(const char *name, unsigned long pages)
{
	struct file *file = memfile_create(name, (loff_t)(pages * P), 0644, NULL, NULL);

	assert_false(IS_ERR(file));
	return file;
}

static inline struct file *reopen(struct file *file, unsigned int flags)
{
	struct file *again = file_open_inode(file_inode(file), flags);

	assert_false(IS_ERR(again));
	return again;
}

/* What must not change when a call fails: counts, promises, frames, the map. */
static inline void space_snapshot(struct mm_struct *mm, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct machine *m = this_machine();
	u64 hash = 1469598103934665603ULL;
	const char *c;

	for (c = ranges(mm); *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
	values[0] = hash;
	values[1] = (u64)mm->map_count;
	values[2] = mm->total_vm;
	values[3] = mm->data_vm;
	values[4] = vm_memory_committed();
	values[5] = ledger_live_kind(m, "vm_area_struct");
	values[6] = ledger_live_kind(m, "mm_struct");
	values[7] = ledger_live_kind(m, "file");
	values[8] = ledger_live_kind(m, "inode");
	values[9] = ledger_live_kind(m, "anon_vma");
	values[10] = mm->brk;
	values[11] = get_mm_rss(mm);
	values[12] = (u64)atomic_long_read(&mm->pgtables_bytes);
	values[13] = mm->locked_vm;
	values[14] = mm->stack_vm;
	values[15] = mm->exec_vm;
	check_mm_clean(mm);
}

/* Seed of a random test: printed when it fails, KARC_TEST_SEED overrides. */
static inline u64 test_seed(void)
{
	const char *text = getenv("KARC_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 20240229;
}

#endif
