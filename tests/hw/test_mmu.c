/* SPDX-License-Identifier: MIT */
/*
 * Goal: the walker does what x86-64 hardware does: permissions at each level, accessed and dirty
 * bits, reserved bits, large leaves, error codes; user accesses go through TLB, walk and hook.
 * Method: tables by hand; each permission combination at each level; and random tables compared
 * with a slow model that reads physical memory and knows nothing of the walker's code.
 */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/math.h>
#include <karc/base/rand.h>
#include <karc/hw/cpu.h>
#include <karc/hw/machine.h>
#include <karc/hw/mmu.h>
#include <karc/hw/physmem.h>
#include "tables.h"

#define MIB		(1ULL << 20)
#define VA		0x00007f1234567000ULL
#define FRAME		(64 * MIB)

static int walk_code(u64 va, enum mmu_access access, bool user, u32 *code)
{
	*code = 0;
	return mmu_walk(this_cpu(), va, access, user, NULL, code);
}

static void assert_allowed(u64 va, enum mmu_access access, bool user, phys_addr_t expected)
{
	phys_addr_t pa = 0;
	u32 code;

	assert_int_equal(mmu_walk(this_cpu(), va, access, user, &pa, &code), 0);
	assert_int_equal(pa, expected);
}

static void assert_fault(u64 va, enum mmu_access access, bool user, u32 expected)
{
	u32 code;

	assert_int_equal(walk_code(va, access, user, &code), -EFAULT);
	assert_int_equal(code, expected);
}

static void walk_finds_the_frame_and_offset(void **state)
{
	struct tables t;

	(void)state;
	tables_init(&t);
	tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	assert_allowed(VA, MMU_READ, true, FRAME);
	assert_allowed(VA + 0xabc, MMU_WRITE, true, FRAME + 0xabc);
	assert_allowed(VA + 0xfff, MMU_EXEC, false, FRAME + 0xfff);
	assert_fault(VA + PAGE_SIZE, MMU_READ, true, PF_USER);
	assert_fault(VA + PAGE_SIZE, MMU_WRITE, false, PF_WRITE);
	assert_fault(VA + PAGE_SIZE, MMU_EXEC, true, PF_USER | PF_INSTR);
}

static void without_a_root_every_access_faults(void **state)
{
	(void)state;
	mmu_load_cr3(0);
	assert_fault(VA, MMU_READ, true, PF_USER);
}

static void non_canonical_addresses_are_not_walked(void **state)
{
	struct tables t;
	u32 code;
	char byte;

	(void)state;
	tables_init(&t);
	mmu_load_cr3(t.root);
	assert_int_equal(walk_code(0x0000800000000000ULL, MMU_READ, true, &code), -EINVAL);
	assert_int_equal(walk_code(0xffff7fffffffffffULL, MMU_READ, true, &code), -EINVAL);
	assert_int_equal(walk_code(0x00007fffffffffffULL, MMU_READ, true, &code), -EFAULT);
	assert_int_equal(walk_code(0xffff800000000000ULL, MMU_READ, true, &code), -EFAULT);
	assert_int_equal(mmu_access_user(0x8000000000000000ULL, &byte, 1, MMU_READ), -EINVAL);
}

/* Each of present, write, user, NX missing (or set) at each of the four levels. */
static void each_permission_counts_at_each_level(void **state)
{
	struct tables t;

	(void)state;
	tables_init(&t);
	tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	for (int level = 0; level < 4; level++) {
		u64 *entry = tables_entry(&t, VA, level, USER_RW);
		u64 good = *entry;

		*entry = good & ~HW_PTE_PRESENT;
		assert_fault(VA, MMU_READ, true, PF_USER);
		assert_fault(VA, MMU_WRITE, true, PF_USER | PF_WRITE);

		*entry = good & ~HW_PTE_RW;
		assert_allowed(VA, MMU_READ, true, FRAME);
		assert_allowed(VA, MMU_EXEC, true, FRAME);
		assert_fault(VA, MMU_WRITE, true, PF_PROT | PF_USER | PF_WRITE);
		assert_fault(VA, MMU_WRITE, false, PF_PROT | PF_WRITE);

		*entry = good & ~HW_PTE_USER;
		assert_fault(VA, MMU_READ, true, PF_PROT | PF_USER);
		assert_fault(VA, MMU_EXEC, true, PF_PROT | PF_USER | PF_INSTR);
		assert_allowed(VA, MMU_READ, false, FRAME);
		assert_allowed(VA, MMU_WRITE, false, FRAME);

		*entry = good | HW_PTE_NX;
		assert_allowed(VA, MMU_WRITE, true, FRAME);
		assert_fault(VA, MMU_EXEC, true, PF_PROT | PF_USER | PF_INSTR);
		assert_fault(VA, MMU_EXEC, false, PF_PROT | PF_INSTR);

		*entry = good | 1ULL << 50;
		assert_fault(VA, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
		*entry = good;
	}
}

static void accessed_and_dirty_follow_the_access(void **state)
{
	struct tables t;
	u64 *leaf;

	(void)state;
	tables_init(&t);
	leaf = tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	assert_fault(VA + PAGE_SIZE, MMU_READ, true, PF_USER);
	assert_false(*tables_entry(&t, VA, 3, 0) & HW_PTE_ACCESSED);	/* a fault marks nothing */
	assert_allowed(VA, MMU_READ, true, FRAME);
	for (int level = 0; level < 4; level++) {
		assert_true(*tables_entry(&t, VA, level, 0) & HW_PTE_ACCESSED);
		assert_false(*tables_entry(&t, VA, level, 0) & HW_PTE_DIRTY);
	}
	*leaf &= ~HW_PTE_ACCESSED;
	assert_allowed(VA, MMU_WRITE, true, FRAME);
	assert_int_equal(*leaf, FRAME | USER_RW | HW_PTE_ACCESSED | HW_PTE_DIRTY);
	for (int level = 1; level < 4; level++)
		assert_false(*tables_entry(&t, VA, level, 0) & HW_PTE_DIRTY);
}

static void large_leaves_cover_2_mib(void **state)
{
	struct tables t;
	u64 base = VA & ~(2 * MIB - 1);
	u64 *pmd, *pud;

	(void)state;
	tables_init(&t);
	pmd = tables_entry(&t, base, 1, USER_RW);
	pud = tables_entry(&t, base, 2, USER_RW);
	*pmd = FRAME | USER_RW | HW_PTE_PSE;
	mmu_load_cr3(t.root);
	assert_allowed(base, MMU_READ, true, FRAME);
	assert_allowed(base + 0x123456, MMU_WRITE, true, FRAME + 0x123456);
	assert_int_equal(*pmd, FRAME | USER_RW | HW_PTE_PSE | HW_PTE_ACCESSED | HW_PTE_DIRTY);
	*pmd = FRAME | 1ULL << 12 | USER_RW | HW_PTE_PSE;	/* PAT: means nothing here */
	assert_allowed(base + 0x5678, MMU_READ, true, FRAME + 0x5678);
	*pmd = FRAME | 1ULL << 13 | USER_RW | HW_PTE_PSE;
	assert_fault(base, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
	*pmd = FRAME | USER_RW;
	*pud |= HW_PTE_PSE;				/* 1 GiB leaves: not this CPU */
	assert_fault(base, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
}

static void tables_and_frames_outside_ram_are_reserved_faults(void **state)
{
	struct tables t;
	u64 *pmd, *leaf;

	(void)state;
	tables_init(&t);
	leaf = tables_map(&t, VA, 0xa0000, USER_RW);	/* the PC's hole */
	pmd = tables_entry(&t, VA, 1, USER_RW);
	mmu_load_cr3(t.root);
	assert_fault(VA, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
	*leaf = (1ULL << 40) | USER_RW;
	assert_fault(VA, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
	*pmd = (1ULL << 40) | USER_RW;
	assert_fault(VA, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
	*pmd = 0xa0000 | USER_RW;
	assert_fault(VA, MMU_READ, true, PF_PROT | PF_RSVD | PF_USER);
}

/* ---- the model ---- */

struct model_result {
	int err;
	u32 code;
	phys_addr_t pa;
	unsigned int nr_entries;
	phys_addr_t entry_pa[4];
	bool leaf_dirty;
};

static u64 model_load(phys_addr_t pa)
{
	u64 entry;

	physmem_read(this_machine(), pa, &entry, sizeof(entry));
	return entry;
}

static bool model_is_ram(phys_addr_t pa)
{
	struct machine_bank b;

	for (unsigned int i = 0; physmem_bank(this_machine(), i, &b); i++) {
		if (pa >= b.start && pa < b.start + b.size)
			return true;
	}
	return false;
}

/* The manual's text as straight code; index 0 is the root's level. */
static struct model_result model_walk(phys_addr_t root, u64 va, enum mmu_access access, bool user)
{
	static const unsigned int shift[4] = { 39, 30, 21, 12 };
	struct model_result r = { .err = -EFAULT };
	u64 top = va >> 47;
	bool writable = true, user_ok = true, executable = true;
	u64 base = root, leaf_bytes = 0;

	if (top != 0 && top != 0x1ffff)
		return (struct model_result){ .err = -EINVAL };
	if (access == MMU_WRITE)
		r.code |= 2;
	if (user)
		r.code |= 4;
	if (access == MMU_EXEC)
		r.code |= 16;
	for (int i = 0; i < 4 && !leaf_bytes; i++) {
		phys_addr_t at = base + (va >> shift[i] & 511) * 8;
		u64 entry;

		if (!model_is_ram(at) || at >= physmem_direct_map_bytes(this_machine())) {
			r.code |= 1 | 8;
			return r;
		}
		entry = model_load(at);
		if (!(entry & 1))
			return r;
		if (entry >> 44 & 0xff || (i < 2 && entry & 0x80) ||
		    (i == 2 && entry & 0x80 && entry & 0x1fe000)) {
			r.code |= 1 | 8;
			return r;
		}
		r.entry_pa[r.nr_entries++] = at;
		writable = writable && (entry & 2);
		user_ok = user_ok && (entry & 4);
		executable = executable && !(entry >> 63);
		base = entry & 0x000ffffffffff000ULL;
		if (i == 2 && (entry & 0x80))
			leaf_bytes = 2 * MIB;
		else if (i == 3)
			leaf_bytes = 4096;
	}
	r.pa = base / leaf_bytes * leaf_bytes + va % leaf_bytes;
	if (!model_is_ram(r.pa)) {
		r.code |= 1 | 8;
		return r;
	}
	if ((user && !user_ok) || (access == MMU_WRITE && !writable) ||
	    (access == MMU_EXEC && !executable)) {
		r.code |= 1;
		return r;
	}
	r.err = 0;
	r.code = 0;
	r.leaf_dirty = access == MMU_WRITE;
	return r;
}

#define NR_TABLES	12
#define NR_SLOTS	4
static const unsigned int slots[NR_SLOTS] = { 0, 1, 256, 511 };

/* An entry with mostly good bits; leads to a table, a frame, HIGHMEM, a hole or nowhere. */
static u64 random_entry(struct rnd *rnd, const phys_addr_t *tables)
{
	u64 r = rnd_u64(rnd);
	u64 entry = HW_PTE_PRESENT | HW_PTE_RW | HW_PTE_USER;
	u64 frame;

	switch (r % 16) {
	case 0: frame = 0xa0000; break;
	case 1: frame = 1ULL << 39; break;
	case 2: frame = 192 * MIB; break;
	default: frame = tables[(r >> 8) % NR_TABLES]; break;
	}
	entry |= frame;
	for (unsigned int i = 0; i < 3; i++) {
		if ((r >> (16 + 4 * i)) % 8 == 0)
			entry &= ~(1ULL << i);
	}
	if ((r >> 32) % 8 == 0)
		entry |= HW_PTE_NX;
	if ((r >> 36) % 8 == 0)
		entry = (entry & ~0x1ff000ULL) | HW_PTE_PSE;
	if ((r >> 40) % 32 == 0)
		entry |= 1ULL << (12 + (r >> 48) % 40);
	return entry;
}

static u64 random_va(struct rnd *rnd)
{
	u64 va = rnd_u64(rnd) % PAGE_SIZE;

	for (int level = 0; level < 4; level++)
		va |= (u64)slots[rnd_u64(rnd) % NR_SLOTS] << (12 + 9 * level);
	if (va >> 47)
		va |= 0xffffULL << 48;
	if (rnd_u64(rnd) % 64 == 0)
		va ^= 1ULL << 55;
	return va;
}

static void compare_one(struct rnd *rnd, phys_addr_t root, u64 seed)
{
	u64 va = random_va(rnd);
	enum mmu_access access = rnd_u64(rnd) % 3;
	bool user = rnd_u64(rnd) % 2;
	struct model_result expected = model_walk(root, va, access, user);
	u64 before[4] = { 0 };
	phys_addr_t pa = 0;
	u32 code = 0;
	int err;

	for (unsigned int i = 0; i < expected.nr_entries; i++)
		before[i] = model_load(expected.entry_pa[i]);
	err = mmu_walk(this_cpu(), va, access, user, &pa, &code);
	if (err != expected.err || code != expected.code || (!err && pa != expected.pa))
		fail_msg("seed %llu, va 0x%llx, access %d, user %d: "
			 "%d 0x%x 0x%llx, model: %d 0x%x 0x%llx", seed, va, access, user, err, code, pa,
			 expected.err, expected.code,
			 expected.pa);
	for (unsigned int i = 0; i < expected.nr_entries; i++) {
		/* One table may stand at several levels, so marks are compared as "at least". */
		u64 now = model_load(expected.entry_pa[i]);
		u64 want = before[i];

		if (!expected.err)
			want |= HW_PTE_ACCESSED;
		if (!expected.err && expected.leaf_dirty && i + 1 == expected.nr_entries)
			want |= HW_PTE_DIRTY;
		assert_int_equal(now & want, want);
		assert_int_equal(now & ~(want | HW_PTE_DIRTY), 0);
		if (expected.err)
			assert_int_equal(now, before[i]);
	}
}

static void random_tables_agree_with_the_model(void **state)
{
	u64 seed = machine_random(this_machine());
	struct tables t;
	struct rnd rnd;

	(void)state;
	print_message("seed %llu\n", seed);
	rnd_seed(&rnd, seed);
	for (unsigned int round = 0; round < 60; round++) {
		phys_addr_t tables[NR_TABLES];

		t.next = TABLES_FIRST;
		for (unsigned int i = 0; i < NR_TABLES; i++)
			tables[i] = tables_frame(&t);
		for (unsigned int i = 0; i < NR_TABLES; i++) {
			u64 *table = phys_to_virt(tables[i]);

			for (unsigned int k = 0; k < NR_SLOTS; k++)
				table[slots[k]] = random_entry(&rnd, tables);
		}
		mmu_load_cr3(tables[0]);
		for (unsigned int i = 0; i < 200; i++)
			compare_one(&rnd, tables[0], seed);
	}
	mmu_load_cr3(0);
}

/* ---- user accesses ---- */

/* What the hook of these tests does and has seen; one machine at a time. */
static struct hook_state {
	struct tables *t;
	phys_addr_t give;	/* frame to map on a fault; 0: refuse */
	bool lie;		/* say "handled" and do nothing */
	unsigned int nr;
	u64 va;
	u32 code;
} hook;

static int hook_fn(u64 va, u32 code)
{
	hook.nr++;
	hook.va = va;
	hook.code = code;
	if (hook.lie)
		return 0;
	if (!hook.give)
		return -1;
	tables_map(hook.t, va & ~(PAGE_SIZE - 1), hook.give, USER_RW);
	hook.give += PAGE_SIZE;
	return 0;
}

static void use_hook(struct tables *t, phys_addr_t give)
{
	hook = (struct hook_state){ .t = t, .give = give };
	mmu_on_fault(this_machine(), hook_fn);
}

static void faults_go_to_the_hook_and_are_retried(void **state)
{
	struct tables t;
	u64 value = 0x1122334455667788ULL, back = 0;

	(void)state;
	tables_init(&t);
	use_hook(&t, FRAME);
	mmu_load_cr3(t.root);
	assert_int_equal(mmu_access_user(VA + 8, &value, 8, MMU_WRITE), 0);
	assert_int_equal(hook.nr, 1);
	assert_int_equal(hook.va, VA + 8);
	assert_int_equal(hook.code, PF_USER | PF_WRITE);
	assert_int_equal(mmu_access_user(VA + 8, &back, 8, MMU_READ), 0);
	assert_int_equal(back, value);
	assert_int_equal(hook.nr, 1);
	assert_int_equal(*(u64 *)phys_to_virt(FRAME + 8), value);
	mmu_on_fault(this_machine(), NULL);
	assert_int_equal(mmu_access_user(VA + PAGE_SIZE, &back, 8, MMU_READ), -EFAULT);
}

static void refused_faults_end_the_access(void **state)
{
	struct tables t;
	char byte = 1;

	(void)state;
	tables_init(&t);
	use_hook(&t, 0);
	tables_map(&t, VA, FRAME, HW_PTE_PRESENT | HW_PTE_USER | HW_PTE_NX);
	mmu_load_cr3(t.root);
	assert_int_equal(mmu_access_user(VA + 3, &byte, 1, MMU_WRITE), -EFAULT);
	assert_int_equal(hook.code, PF_PROT | PF_WRITE | PF_USER);
	assert_int_equal(hook.va, VA + 3);
	assert_int_equal(mmu_access_user(VA, &byte, 1, MMU_EXEC), -EFAULT);
	assert_int_equal(hook.code, PF_PROT | PF_INSTR | PF_USER);
	assert_int_equal(mmu_access_user(VA, &byte, 1, MMU_READ), 0);
	assert_int_equal(mmu_access_user(VA + PAGE_SIZE, NULL, 0, MMU_READ), 0);
	assert_int_equal(hook.nr, 2);
}

static void accesses_are_split_at_page_boundaries(void **state)
{
	struct tables t;
	unsigned char out[3 * 4096], in[3 * 4096];

	(void)state;
	tables_init(&t);
	use_hook(&t, 0);
	/* Three pages in frames that are not neighbours. */
	tables_map(&t, VA, FRAME + 5 * PAGE_SIZE, USER_RW);
	tables_map(&t, VA + PAGE_SIZE, FRAME, USER_RW);
	tables_map(&t, VA + 2 * PAGE_SIZE, FRAME + 9 * PAGE_SIZE, USER_RW);
	mmu_load_cr3(t.root);
	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 7 + i / 256);
	assert_int_equal(mmu_access_user(VA + 100, out, 2 * PAGE_SIZE + 50, MMU_WRITE), 0);
	assert_int_equal(mmu_access_user(VA + 100, in, 2 * PAGE_SIZE + 50, MMU_READ), 0);
	assert_memory_equal(in, out, 2 * PAGE_SIZE + 50);
	assert_memory_equal(phys_to_virt(FRAME), out + PAGE_SIZE - 100, PAGE_SIZE);
	assert_int_equal(mmu_access_user(VA + PAGE_SIZE - 1, in, 2, MMU_READ), 0);
	assert_memory_equal(in, out + PAGE_SIZE - 101, 2);

	/* The refused page's address is where the access entered it; what came before is done. */
	assert_int_equal(mmu_access_user(VA + 3 * PAGE_SIZE - 4, out, 8, MMU_WRITE), -EFAULT);
	assert_int_equal(hook.va, VA + 3 * PAGE_SIZE);
	assert_memory_equal(phys_to_virt(FRAME + 10 * PAGE_SIZE - 4), out, 4);
}

static void an_access_ends_at_the_canonical_hole(void **state)
{
	struct tables t;
	char two[2] = { 1, 2 };

	(void)state;
	tables_init(&t);
	use_hook(&t, 0);
	tables_map(&t, 0x00007ffffffff000ULL, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	assert_int_equal(mmu_access_user(0x00007fffffffffffULL, two, 2, MMU_WRITE), -EINVAL);
	assert_int_equal(hook.nr, 0);
}

static void highmem_frames_are_reached_without_a_direct_map(void **state)
{
	struct tables t;
	u64 value = 42, back = 0, ram = 0;

	(void)state;
	assert_true(physmem_pfn_is_highmem(this_machine(), 200 * MIB / PAGE_SIZE));
	tables_init(&t);
	use_hook(&t, 0);
	tables_map(&t, VA, 200 * MIB, USER_RW);
	mmu_load_cr3(t.root);
	for (int i = 0; i < 3; i++) {		/* by a walk, then by the TLB */
		value++;
		assert_int_equal(mmu_access_user(VA + 16, &value, 8, MMU_WRITE), 0);
		assert_int_equal(mmu_access_user(VA + 16, &back, 8, MMU_READ), 0);
		assert_int_equal(back, value);
	}
	physmem_read(this_machine(), 200 * MIB + 16, &ram, 8);
	assert_int_equal(ram, value);
}

static void touching_marks_without_moving_bytes(void **state)
{
	struct tables t;
	u64 *leaf;

	(void)state;
	tables_init(&t);
	use_hook(&t, 0);
	leaf = tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	memset(phys_to_virt(FRAME), 0x5a, PAGE_SIZE);
	assert_int_equal(mmu_access_user(VA, NULL, PAGE_SIZE, MMU_WRITE), 0);
	assert_true(*leaf & HW_PTE_DIRTY);
	assert_int_equal(*(unsigned char *)phys_to_virt(FRAME), 0x5a);
}

static long access_with_lying_hook(void *arg)
{
	char byte;

	return mmu_access_user(*(u64 *)arg, &byte, 1, MMU_READ);
}

static void a_hook_that_makes_no_progress_is_a_bug(void **state)
{
	struct tables t;
	u64 va = VA;

	(void)state;
	tables_init(&t);
	use_hook(&t, 0);
	hook.lie = true;
	mmu_load_cr3(t.root);
	expect_bug(access_with_lying_hook, &va, "0x7f1234567000");
	assert_int_equal(hook.nr, MMU_MAX_RETRIES);
}

/* ---- hits that are checked ---- */

struct stale_case {
	const char *what;
	enum mmu_access access;
	u64 leaf;			/* what becomes of FRAME | USER_RW; 0: unmapped */
	const char *says;		/* NULL: no staleness */
};

static const struct stale_case stale_cases[] = {
	{ "unmapped", MMU_READ, 0, "read at 0x7f1234567010, cached 0x4000007, in memory 0x0" },
	{ "another frame", MMU_WRITE, (FRAME + PAGE_SIZE) | USER_RW, "in memory 0x4001007" },
	{ "not writable", MMU_WRITE, FRAME | (USER_RW & ~HW_PTE_RW), "write at 0x7f1234567010" },
	{ "not the user's", MMU_READ, FRAME | (USER_RW & ~HW_PTE_USER), "CPU 0, read" },
	{ "not executable", MMU_EXEC, FRAME | USER_RW | HW_PTE_NX, "execute at" },
	{ "read although not writable", MMU_READ, FRAME | (USER_RW & ~HW_PTE_RW), NULL },
	{ "accessed and dirty", MMU_READ, FRAME | USER_RW | HW_PTE_ACCESSED | HW_PTE_DIRTY, NULL },
	{ "accessed and dirty cleared", MMU_WRITE, FRAME | USER_RW, NULL },
	{ "global", MMU_WRITE, FRAME | USER_RW | HW_PTE_GLOBAL, NULL },
};

static long one_access(void *arg)
{
	const struct stale_case *c = arg;
	char byte = 0;

	return mmu_access_user(VA + 0x10, &byte, 1, c->access);
}

static void a_hit_that_the_tables_deny_is_a_bug(void **state)
{
	struct tables t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(stale_cases); i++) {
		struct stale_case c = stale_cases[i];

		tables_init(&t);
		tables_map(&t, VA, FRAME, USER_RW);
		mmu_load_cr3(t.root);
		tlb_flush_all_local();
		assert_int_equal(one_access(&c), 0);
		tables_map(&t, VA, c.leaf & HW_PTE_PFN_MASK, c.leaf & ~HW_PTE_PFN_MASK);
		if (c.says)
			expect_bug(one_access, &c, c.says);
		else
			assert_int_equal(one_access(&c), 0);
		tlb_flush_page_local(VA);
		if (c.leaf & HW_PTE_GLOBAL)
			assert_int_equal(one_access(&c), 0);
	}
}

static void a_missing_table_is_noticed_too(void **state)
{
	struct stale_case c = { .access = MMU_READ };
	struct tables t;

	(void)state;
	tables_init(&t);
	tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	assert_int_equal(one_access(&c), 0);
	*tables_entry(&t, VA, 2, 0) = 0;
	expect_bug(one_access, &c, "stale TLB entry");
	tlb_flush_all_local();
}

static void unchecked_machines_do_not_look(void **state)
{
	static const struct room *const rooms[] = { &hw_room };
	const struct machine_config config = { .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, 1);
	struct stale_case c = { .access = MMU_READ };
	struct tables t;

	(void)state;
	machine_enter(m);
	tables_init(&t);
	tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	assert_int_equal(one_access(&c), 0);
	*tables_entry(&t, VA, 0, 0) = 0;
	assert_int_equal(one_access(&c), 0);
	assert_true(mmu_access_user_hit(VA, NULL, 8, MMU_READ));
	tlb_flush_all_local();
	assert_int_equal(one_access(&c), -EFAULT);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

/* Aligned words of up to 8 bytes arrive in one piece, everything else byte for byte. */
static void bytes_arrive_whatever_size_and_alignment(void **state)
{
	char in[64], out[64];
	struct tables t;

	(void)state;
	tables_init(&t);
	tables_map(&t, VA, FRAME, USER_RW);
	mmu_load_cr3(t.root);
	for (volatile u64 at = 0; at < 9; at++) {
		for (volatile u64 n = 1; n <= 24; n++) {
			for (u64 i = 0; i < n; i++)
				in[i] = (char)(at * 31 + n * 7 + i + 1);
			memset(phys_to_virt(FRAME), 0, 64);
			assert_int_equal(mmu_access_user(VA + at, in, n, MMU_WRITE), 0);
			memset(out, 0, sizeof(out));
			assert_int_equal(mmu_access_user(VA + at, out, n, MMU_READ), 0);
			assert_memory_equal(in, out, n);
			assert_memory_equal(phys_to_virt(FRAME + at), in, n);
			assert_int_equal(((char *)phys_to_virt(FRAME))[at + n], 0);
			assert_int_equal(out[n], 0);
		}
	}
}

/* HIGHMEM from 192 MiB on. */
static const struct machine_config with_highmem = {
	.mem_bytes = 256 * MIB, .highmem_start = 192 * MIB,
};

#define MMU_TEST(fn) karc_unit_test_config(fn, 1, &with_highmem)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MMU_TEST(walk_finds_the_frame_and_offset),
		MMU_TEST(without_a_root_every_access_faults),
		MMU_TEST(non_canonical_addresses_are_not_walked),
		MMU_TEST(each_permission_counts_at_each_level),
		MMU_TEST(accessed_and_dirty_follow_the_access),
		MMU_TEST(large_leaves_cover_2_mib),
		MMU_TEST(tables_and_frames_outside_ram_are_reserved_faults),
		MMU_TEST(random_tables_agree_with_the_model),
		MMU_TEST(faults_go_to_the_hook_and_are_retried),
		MMU_TEST(refused_faults_end_the_access),
		MMU_TEST(accesses_are_split_at_page_boundaries),
		MMU_TEST(an_access_ends_at_the_canonical_hole),
		MMU_TEST(highmem_frames_are_reached_without_a_direct_map),
		MMU_TEST(touching_marks_without_moving_bytes),
		MMU_TEST(a_hook_that_makes_no_progress_is_a_bug),
		KARC_TESTS(a_hit_that_the_tables_deny_is_a_bug),
		KARC_TESTS(a_missing_table_is_noticed_too),
		cmocka_unit_test(unchecked_machines_do_not_look),
		MMU_TEST(bytes_arrive_whatever_size_and_alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
