/* SPDX-License-Identifier: MIT */
/*
 * Goal: mapped memory files: who shares what, what a change of size or a hole does to mappings,
 * what is promised, where they are placed.
 * Method: two spaces over one file, counts of frames and promises, random calls against arrays of
 * bytes, every allocation failed once.
 */
#include <fcntl.h>

#include <karc/hw/fiber.h>
#include <karc/mm/cache/shmem.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/pgtable/tlbflush.h>
#include "space_test.h"

#define TOP	0x7ffff7fff000UL
#define HUGE	(2UL << 20)
#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static struct file *memfd(unsigned int flags, unsigned long pages)
{
	struct file *file = ksys_memfd_create("m", flags);

	assert_false(IS_ERR(file));
	assert_int_equal(file_truncate(file, (loff_t)(pages * P)), 0);
	return file;
}

static long map_file(struct mm_struct *mm, unsigned long addr, unsigned long pages, int prot,
		     int flags, struct file *file)
{
	return ksys_mmap(mm, addr, pages * P, (unsigned long)prot,
			 (unsigned long)(flags | (addr ? MAP_FIXED : 0)), file, 0);
}

static int answer_at(struct mm_struct *mm, unsigned long addr, u32 error_code)
{
	struct fault_info info;

	do_user_addr_fault(mm, addr, error_code, &info);
	if (info.si_signo == SIGBUS)
		assert_int_equal(info.si_code, BUS_ADRERR);
	return info.si_signo;
}

static void names_of_memory_files_are_linux(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = memfd(0, 1), *posix = shmem_create("/dev/shm/x", (loff_t)P, 0600);
	char text[1024];

	(void)state;
	file_inode(file)->i_ino = 7;
	file_inode(posix)->i_ino = 8;
	file_inode(posix)->i_dev_id = 26;
	assert_int_equal(map_file(mm, BASE, 1, RW, MAP_SHARED, file), BASE);
	assert_int_equal(map_file(mm, BASE + P, 1, PROT_READ, MAP_PRIVATE, file), BASE + P);
	assert_int_equal(map_file(mm, BASE + 2 * P, 1, RW, MAP_SHARED, posix), BASE + 2 * P);
	maps_text(mm, text, sizeof(text));
	assert_string_equal(text,
		"10000000-10001000 rw-s 00000000 00:01 7                                  "
		"/memfd:m (deleted)\n"
		"10001000-10002000 r--p 00000000 00:01 7                                  "
		"/memfd:m (deleted)\n"
		"10002000-10003000 rw-s 00000000 00:1a 8                                  "
		"/dev/shm/x\n");
	fput(posix);
	fput(file);
	mmput(mm);
}

static void pages_live_as_long_as_file_or_mapping(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = memfd(0, 3);
	unsigned long before;

	(void)state;
	assert_int_equal(map_file(mm, BASE, 3, RW, MAP_SHARED, file), BASE);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + P, 2));
	assert_int_equal(global_node_page_state(NR_SHMEM), 2);
	assert_int_equal(get_mm_counter(mm, MM_SHMEMPAGES), 2);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 0);
	fput(file);
	assert_int_equal(ledger_live_kind(this_machine(), "inode"), 1);
	assert_int_equal(peek(mm, BASE + P), 2);
	assert_int_equal(global_node_page_state(NR_SHMEM), 2);
	/* Part of the mapping goes, the file's page stays: there may be others. */
	assert_int_equal(ksys_munmap(mm, BASE, P), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 2);
	machine_quiesce(this_machine());
	before = phys_nr_free(this_machine());
	assert_int_equal(ksys_munmap(mm, BASE + P, 2 * P), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
	assert_int_equal(ledger_live_kind(this_machine(), "inode"), 0);
	machine_quiesce(this_machine());
	assert_true(phys_nr_free(this_machine()) >= before + 2);
	mmput(mm);
}

static void truncation_reaches_every_mapping(void **state)
{
	struct mm_struct *mm = new_mm(), *other = new_mm();
	struct file *file = memfd(0, 4);

	(void)state;
	assert_int_equal(map_file(mm, BASE, 4, RW, MAP_SHARED, file), BASE);
	assert_int_equal(map_file(other, BASE, 4, RW, MAP_PRIVATE, file), BASE);
	for (unsigned long i = 0; i < 4; i++) {
		assert_true(poke(mm, BASE + i * P, 's'));
		assert_true(poke(mm, BASE + i * P + 200, 't'));
		if (i != 1)
			assert_true(poke(other, BASE + i * P, 'p'));
	}
	assert_int_equal(file_truncate(file, (loff_t)P + 100), 0);
	assert_int_equal(file->f_mapping->nrpages, 2);
	assert_int_equal(get_mm_rss(mm), 2);
	assert_int_equal(get_mm_rss(other), 1);
	assert_int_equal(answer_at(mm, BASE + 2 * P, PF_USER), SIGBUS);
	assert_int_equal(answer_at(mm, BASE + 3 * P, PF_USER | PF_WRITE), SIGBUS);
	assert_int_equal(answer_at(other, BASE + 2 * P, PF_USER | PF_WRITE), SIGBUS);
	/* The rest of the last page is zero for all; a private copy keeps its bytes. */
	assert_int_equal(peek(mm, BASE + P), 's');
	assert_int_equal(peek(mm, BASE + P + 200), 0);
	assert_int_equal(peek(other, BASE + P + 200), 0);
	assert_int_equal(peek(other, BASE + 200), 't');
	assert_int_equal(peek(other, BASE), 'p');
	/* Growing makes it all readable again, as zeros. */
	assert_int_equal(file_truncate(file, 4 * (loff_t)P), 0);
	assert_int_equal(peek(mm, BASE + 3 * P), 0);
	assert_int_equal(peek(other, BASE + 2 * P), 0);
	assert_int_equal(peek(mm, BASE + P + 200), 0);
	fput(file);
	mmput(other);
	mmput(mm);
}

static void a_described_file_may_change_its_size_while_mapped(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = new_file("/var/log", 2), *reader = reopen(file, O_RDONLY);

	(void)state;
	assert_int_equal(map_file(mm, BASE, 4, PROT_READ, MAP_SHARED, reader), BASE);
	assert_int_equal(peek(mm, BASE + P), 0);
	assert_int_equal(answer_at(mm, BASE + 2 * P, PF_USER), SIGBUS);
	/* Whoever has it open for reading only sees others change it. */
	assert_int_equal(file_truncate(reader, 0), -EINVAL);
	assert_int_equal(inode_truncate(file_inode(reader), 3 * (loff_t)P), 0);
	assert_int_equal(peek(mm, BASE + 2 * P), 0);
	assert_int_equal(inode_truncate(file_inode(reader), 0), 0);
	assert_int_equal(get_mm_rss(mm), 0);
	assert_int_equal(answer_at(mm, BASE, PF_USER), SIGBUS);
	assert_int_equal(kernel_write(file, "w", 1, &(loff_t){ (loff_t)P + 7 }), 1);
	assert_int_equal(peek(mm, BASE + P + 7), 'w');
	assert_int_equal(answer_at(mm, BASE + 2 * P, PF_USER), SIGBUS);
	fput(reader);
	fput(file);
	mmput(mm);
}

static void a_hole_is_seen_by_all_but_private_copies(void **state)
{
	struct mm_struct *mm = new_mm(), *other = new_mm();
	struct file *file = memfd(0, 3);

	(void)state;
	assert_int_equal(map_file(mm, BASE, 3, RW, MAP_SHARED, file), BASE);
	assert_int_equal(map_file(other, BASE, 3, RW, MAP_PRIVATE, file), BASE);
	for (unsigned long i = 0; i < 3; i++)
		assert_true(poke(mm, BASE + i * P, 's'));
	assert_true(poke(other, BASE + P, 'p'));
	assert_int_equal(peek(other, BASE), 's');
	assert_int_equal(vfs_fallocate(file, PUNCH, 0, 2 * (loff_t)P), 0);
	assert_int_equal(file->f_mapping->nrpages, 1);
	assert_int_equal(peek(mm, BASE), 0);
	assert_int_equal(peek(mm, BASE + P), 0);
	assert_int_equal(peek(mm, BASE + 2 * P), 's');
	assert_int_equal(peek(other, BASE), 0);
	assert_int_equal(peek(other, BASE + P), 'p');
	fput(file);
	mmput(other);
	mmput(mm);
}

static void a_fork_shares_shared_memory_and_copies_private(void **state)
{
	struct mm_struct *mm = new_mm(), *child;
	struct file *file = memfd(0, 2);

	(void)state;
	assert_int_equal(map_file(mm, BASE, 2, RW, MAP_SHARED, file), BASE);
	assert_int_equal(map_file(mm, BASE + 4 * P, 2, RW, MAP_PRIVATE, file), BASE + 4 * P);
	assert_int_equal(map(mm, BASE + 8 * P, 2, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED),
			 BASE + 8 * P);
	assert_true(poke(mm, BASE, 'a'));
	assert_true(poke(mm, BASE + 4 * P, 'b'));
	assert_true(poke(mm, BASE + 8 * P, 'c'));
	child = dup_mm(mm);
	assert_non_null(child);
	assert_true(poke(child, BASE, 'A'));
	assert_true(poke(child, BASE + 4 * P, 'B'));
	assert_true(poke(child, BASE + 8 * P, 'C'));
	assert_true(poke(child, BASE + 9 * P, 'D'));
	assert_int_equal(peek(mm, BASE), 'A');
	assert_int_equal(peek(mm, BASE + 4 * P), 'b');
	assert_int_equal(peek(mm, BASE + 8 * P), 'C');
	assert_int_equal(peek(mm, BASE + 9 * P), 'D');
	mmput(mm);
	assert_int_equal(peek(child, BASE + 9 * P), 'D');
	fput(file);
	mmput(child);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
}

static void a_seal_against_writing_waits_for_no_mapping_and_allows_none(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = memfd(MFD_ALLOW_SEALING, 2);

	(void)state;
	assert_int_equal(map_file(mm, BASE, 2, RW, MAP_SHARED, file), BASE);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), -EBUSY);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, PROT_READ), 0);
	/* It could become writable again. */
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), -EBUSY);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	assert_int_equal(ksys_mprotect(mm, BASE, 2 * P, RW), 0);
	assert_true(poke(mm, BASE, 'x'));
	assert_int_equal(map_file(mm, BASE + 4 * P, 2, RW, MAP_SHARED, file), -EPERM);
	assert_int_equal(ksys_munmap(mm, BASE, 2 * P), 0);
	assert_int_equal(map_file(mm, BASE + 8 * P, 2, RW, MAP_PRIVATE, file), BASE + 8 * P);
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_true(poke(mm, BASE + 8 * P, 'y'));
	assert_int_equal(map_file(mm, BASE, 2, RW, MAP_SHARED, file), -EPERM);
	assert_int_equal(map_file(mm, BASE, 2, PROT_READ, MAP_SHARED, file), BASE);
	assert_int_equal(ksys_mprotect(mm, BASE, P, RW), -EACCES);
	assert_int_equal(peek(mm, BASE), 'x');
	fput(file);
	mmput(mm);
}

static void a_mapping_that_came_late_cannot_write_what_was_sealed(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = memfd(MFD_ALLOW_SEALING, 1);
	struct vm_area_struct *vma;

	(void)state;
	/* As if mmap() had looked at the seals just before this one came. */
	assert_int_equal(memfd_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(map_file(mm, BASE, 1, PROT_READ, MAP_SHARED, file), BASE);
	vma = vma_lookup(mm, BASE);
	vma->vm_flags |= VM_MAYWRITE | VM_WRITE;
	assert_int_equal(answer_at(mm, BASE, PF_USER | PF_WRITE), SIGBUS);
	assert_int_equal(answer_at(mm, BASE, PF_USER), SIGBUS);
	vma->vm_flags &= ~(VM_MAYWRITE | VM_WRITE);
	assert_int_equal(peek(mm, BASE), 0);
	fput(file);
	mmput(mm);
}

static void promises_are_by_size_or_by_page(void **state)
{
	struct mm_struct *mm = new_mm();
	unsigned long before = vm_memory_committed();
	struct file *file;

	(void)state;
	assert_int_equal(map(mm, BASE, 5, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED), BASE);
	assert_int_equal(vm_memory_committed(), before + 5);
	assert_true(poke(mm, BASE, 1));
	assert_int_equal(vm_memory_committed(), before + 5);
	/* Half of it unmapped, the object stays as large as it was. */
	assert_int_equal(ksys_munmap(mm, BASE, 3 * P), 0);
	assert_int_equal(vm_memory_committed(), before + 5);
	assert_int_equal(ksys_munmap(mm, BASE + 3 * P, 2 * P), 0);
	assert_int_equal(vm_memory_committed(), before);
	assert_int_equal(map(mm, BASE, 5, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED |
			     MAP_NORESERVE), BASE);
	assert_int_equal(vm_memory_committed(), before);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + P, 1));
	assert_int_equal(vm_memory_committed(), before + 2);
	assert_int_equal(ksys_munmap(mm, BASE, 5 * P), 0);
	file = memfd(0, 100);
	assert_int_equal(map_file(mm, BASE, 100, RW, MAP_SHARED, file), BASE);
	assert_int_equal(vm_memory_committed(), before);
	assert_int_equal(vfs_fallocate(file, 0, 0, 10 * (loff_t)P), 0);
	assert_int_equal(vm_memory_committed(), before + 10);
	fput(file);
	mmput(mm);
	assert_int_equal(vm_memory_committed(), before);
}

static void a_page_that_may_not_be_promised_is_sigbus(void **state)
{
	struct mm_struct *mm = new_mm();
	struct space_sysctl *sysctl = space_sysctl();
	struct file *file = memfd(0, 8);
	unsigned long limit = vm_memory_committed() + 3;

	(void)state;
	assert_int_equal(map_file(mm, BASE, 8, RW, MAP_SHARED, file), BASE);
	sysctl->overcommit_memory = OVERCOMMIT_NEVER;
	sysctl->admin_reserve_kbytes = sysctl->user_reserve_kbytes = 0;
	sysctl->overcommit_kbytes = limit << (PAGE_SHIFT - 10);
	assert_true(poke(mm, BASE, 1));
	assert_true(poke(mm, BASE + P, 1));
	assert_int_equal(answer_at(mm, BASE + 2 * P, PF_USER | PF_WRITE), SIGBUS);
	assert_int_equal(kernel_write(file, "x", 1, &(loff_t){ 4 * (loff_t)P }), -ENOSPC);
	assert_int_equal(map(mm, BASE + 16 * P, 2, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED),
			 -ENOMEM);
	assert_int_equal(file->f_mapping->nrpages, 2);
	fput(file);
	mmput(mm);
}

/* ---- placement ---- */

static struct mm_struct *aligning_mm(struct mm_profile *profile)
{
	struct mm_struct *mm = new_mm();

	*profile = *mm_profile_newest();
	profile->shmem_align = true;
	mm_set_layout(mm, profile, NULL, false);
	return mm;
}

static void shared_memory_is_aligned_when_the_setting_says_so(void **state)
{
	struct mm_profile profile;
	struct mm_struct *mm = aligning_mm(&profile);
	struct file *file = memfd(0, 4 * HUGE / P), *posix;
	unsigned long at = TOP & ~(HUGE - 1);

	(void)state;
	/* One page short of a huge page: the plain place. */
	assert_int_equal(map(mm, 0, HUGE / P - 1, RW, MAP_SHARED | MAP_ANONYMOUS), TOP - HUGE + P);
	/* Its own size and the rest of a huge page is looked for. */
	at = (TOP - HUGE + P - 2 * HUGE + P + HUGE - 1) & ~(HUGE - 1);
	assert_int_equal(map(mm, 0, HUGE / P, RW, MAP_SHARED | MAP_ANONYMOUS), at);
	assert_int_equal(map_file(mm, 0, HUGE / P, RW, MAP_SHARED, file), at - HUGE);
	assert_int_equal(map_file(mm, 0, HUGE / P, PROT_READ, MAP_PRIVATE, file), at - 2 * HUGE);
	/* Congruent to the offset in the file. */
	assert_int_equal(ksys_mmap(mm, 0, 2 * HUGE, RW, MAP_SHARED, file, P) & (long)(HUGE - 1),
			 P);
	/* A file of a tmpfs follows its own mount. */
	posix = shmem_create("/dev/shm/x", 4 * (loff_t)HUGE, 0600);
	assert_int_not_equal(map_file(mm, 0, HUGE / P + 2, RW, MAP_SHARED, posix) &
			     (long)(HUGE - 1), 0);
	file_inode(posix)->placement_align = HUGE;
	assert_int_equal(map_file(mm, 0, HUGE / P + 2, RW, MAP_SHARED, posix) & (long)(HUGE - 1),
			 0);
	fput(posix);
	fput(file);
	mmput(mm);
}

static void a_hint_that_is_taken_wins_over_alignment(void **state)
{
	struct mm_profile profile;
	struct mm_struct *mm = aligning_mm(&profile);

	(void)state;
	assert_int_equal(map(mm, BASE + P, HUGE / P, RW, MAP_SHARED | MAP_ANONYMOUS), BASE + P);
	/* Not free: elsewhere, and aligned. */
	assert_int_equal(map(mm, BASE + P, HUGE / P, RW, MAP_SHARED | MAP_ANONYMOUS) &
			 (long)(HUGE - 1), 0);
	assert_int_equal(map(mm, BASE + 3 * HUGE + P, HUGE / P, RW, MAP_SHARED | MAP_ANONYMOUS |
			     MAP_FIXED), BASE + 3 * HUGE + P);
	mmput(mm);
}

static void shared_memory_is_not_aligned_by_default(void **state)
{
	struct mm_struct *mm = new_mm();
	struct file *file = memfd(0, 2 * HUGE / P);

	(void)state;
	mm_set_layout(mm, mm_profile_newest(), NULL, false);
	assert_int_equal(map(mm, 0, HUGE / P, RW, MAP_SHARED | MAP_ANONYMOUS), TOP - HUGE);
	file_inode(file)->placement_align = HUGE;
	assert_int_equal(map_file(mm, 0, HUGE / P, RW, MAP_SHARED, file), TOP - 2 * HUGE);
	fput(file);
	mmput(mm);
}

/* ---- mappings against arrays ---- */

#define PAGES		16u
#define SPOTS		2u		/* watched bytes of each page: 0 and 2048 */
#define SPOT_BYTES	2048u
#define PRIVATE		(BASE + 64 * P)
#define ROUNDS		3000u

struct model {
	unsigned char file[PAGES][SPOTS];
	bool exists[PAGES];
	loff_t size;
	struct model_space {
		bool shared[PAGES], private[PAGES];	/* mapped */
		bool copied[PAGES];
		unsigned char copy[PAGES][SPOTS];
	} space[2];
};

struct run {
	struct model m;
	struct mm_struct *mm[2];
	struct file *file;
	struct rnd rnd;
};

static unsigned int any(struct run *r, unsigned int n)
{
	return (unsigned int)(rnd_u64(&r->rnd) % n);
}

static bool page_inside(const struct model *m, unsigned int page)
{
	return (loff_t)(page * P) < m->size;
}

/* One store or load through a shared or private mapping of one space. */
static void access_spot(struct run *r)
{
	unsigned int who = any(r, 2), page = any(r, PAGES), spot = any(r, SPOTS);
	struct model_space *s = &r->m.space[who];
	bool shared = any(r, 2), write = any(r, 2), copied = !shared && s->copied[page];
	unsigned long addr = (shared ? BASE : PRIVATE) + page * P + spot * SPOT_BYTES;
	bool ok = shared ? s->shared[page] : s->private[page];
	unsigned char value = (unsigned char)(1 + any(r, 250)), *byte;

	/* Bytes stored behind the end are nobody's. */
	if (page_inside(&r->m, page) && (loff_t)(page * P + spot * SPOT_BYTES) >= r->m.size)
		return;
	ok = ok && (copied || page_inside(&r->m, page));
	if (ok)
		r->m.exists[page] |= !copied;
	if (ok && !shared && write && !copied) {
		s->copied[page] = true;
		memcpy(s->copy[page], r->m.file[page], SPOTS);
		copied = true;
	}
	byte = copied ? &s->copy[page][spot] : &r->m.file[page][spot];
	if (write) {
		assert_int_equal(poke(r->mm[who], addr, value), ok);
		if (ok)
			*byte = value;
	} else {
		assert_int_equal(peek(r->mm[who], addr), ok ? *byte : -1);
	}
}

static void remap(struct run *r)
{
	unsigned int who = any(r, 2), at = any(r, PAGES), n = 1 + any(r, PAGES - at);
	struct model_space *s = &r->m.space[who];
	bool shared = any(r, 2), unmap = any(r, 2);
	unsigned long addr = (shared ? BASE : PRIVATE) + at * P;

	if (unmap)
		assert_int_equal(ksys_munmap(r->mm[who], addr, n * P), 0);
	else
		assert_int_equal(ksys_mmap(r->mm[who], addr, n * P, RW, MAP_FIXED |
					   (shared ? MAP_SHARED : MAP_PRIVATE), r->file, at * P),
				 addr);
	for (unsigned int i = at; i < at + n; i++) {
		if (shared)
			s->shared[i] = !unmap;
		else
			s->private[i] = !unmap;
		if (!shared)
			s->copied[i] = false;
	}
}

static void zero_range(struct model *m, loff_t start, loff_t end)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		for (unsigned int spot = 0; spot < SPOTS; spot++) {
			loff_t pos = (loff_t)(i * P + spot * SPOT_BYTES);

			if (pos >= start && pos < end)
				m->file[i][spot] = 0;
		}
		if ((loff_t)(i * P) >= start && (loff_t)((i + 1) * P) <= end)
			m->exists[i] = false;
	}
}

static void resize(struct run *r)
{
	struct model *m = &r->m;
	loff_t size = (loff_t)(any(r, PAGES * 2 + 1) * SPOT_BYTES + any(r, 2));

	size = min(size, (loff_t)(PAGES * P));
	assert_int_equal(file_truncate(r->file, size), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		if ((loff_t)(i * P) >= size && size < m->size)
			m->space[0].copied[i] = m->space[1].copied[i] = false;
	if (size < m->size)
		zero_range(m, size, (loff_t)(PAGES * P));
	m->size = size;
}

static void punch(struct run *r)
{
	loff_t start = (loff_t)any(r, PAGES * (unsigned int)P), len = 1 + (loff_t)any(r, 5 * P);

	len = min(len, (loff_t)(PAGES * P) - start);
	assert_int_equal(vfs_fallocate(r->file, PUNCH, start, len), 0);
	zero_range(&r->m, start, start + len);
}

static unsigned long model_pages(const struct model *m)
{
	unsigned long n = 0;

	for (unsigned int i = 0; i < PAGES; i++)
		n += m->exists[i];
	return n;
}

static void random_mappings_agree_with_arrays(void **state)
{
	static struct run run;
	struct run *r = &run;
	unsigned long before = vm_memory_committed(), promised;

	(void)state;
	memset(r, 0, sizeof(*r));
	rnd_seed(&r->rnd, test_seed());
	r->file = memfd(0, PAGES);
	r->m.size = (loff_t)(PAGES * P);
	r->mm[0] = new_mm();
	r->mm[1] = new_mm();
	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int what = any(r, 20);

		if (what == 0)
			resize(r);
		else if (what == 1)
			punch(r);
		else if (what < 5)
			remap(r);
		else
			access_spot(r);
		assert_int_equal(r->file->f_mapping->nrpages, model_pages(&r->m));
		promised = 0;
		for (unsigned int i = 0; i < PAGES; i++)
			promised += r->m.space[0].private[i] + r->m.space[1].private[i];
		assert_int_equal(vm_memory_committed(), before + promised + model_pages(&r->m));
	}
	check_mm_clean(r->mm[0]);
	check_mm_clean(r->mm[1]);
	fput(r->file);
	mmput(r->mm[0]);
	mmput(r->mm[1]);
	assert_int_equal(vm_memory_committed(), before);
}

/* ---- faults on all CPUs against cuts and holes ---- */

#define STORM_PAGES	24u
#define STORM_CPUS	8u

struct storm {
	struct mm_struct *mm;		/* of all */
	struct file *file;
	unsigned int nr, next_id;
	u64 seed;
};

static void cut_or_punch(struct storm *s, struct rnd *rnd)
{
	loff_t at = (loff_t)(rnd_below(rnd, STORM_PAGES) * P);

	if (rnd_chance(rnd, 1, 2))
		assert_int_equal(file_truncate(s->file, at), 0);
	else
		assert_int_equal(vfs_fallocate(s->file, PUNCH, at, 3 * (loff_t)P), 0);
	if (rnd_chance(rnd, 1, 2))
		assert_int_equal(file_truncate(s->file, STORM_PAGES * (loff_t)P), 0);
}

/* A mapping of one's own in the common space comes and goes meanwhile. */
static void map_and_unmap(struct storm *s, unsigned int id)
{
	unsigned long at = BASE + (256 + 64 * id) * P;

	assert_int_equal(map_file(s->mm, at, STORM_PAGES, RW, id & 1 ? MAP_SHARED : MAP_PRIVATE,
				  s->file), at);
	poke(s->mm, at + 5 * P + 100 + id, 'm');
	/* Cuts and joins while others look for its pages through the file. */
	assert_int_equal(ksys_mprotect(s->mm, at + 4 * P, 3 * P, PROT_READ), 0);
	poke(s->mm, at + 9 * P + 100 + id, 'm');
	assert_int_equal(ksys_munmap(s->mm, at + 10 * P, 2 * P), 0);
	assert_int_equal(ksys_mprotect(s->mm, at + 4 * P, 3 * P, RW), 0);
	assert_int_equal(ksys_munmap(s->mm, at, STORM_PAGES * P), 0);
}

/* Each writes a byte of its own in every page: it reads that, zero, or nothing. */
static long faults(void *arg)
{
	struct storm *s = arg;
	unsigned int id = __atomic_fetch_add(&s->next_id, 1, __ATOMIC_RELAXED), i;
	bool written[STORM_PAGES][256] = { { false } };
	unsigned char last[STORM_PAGES] = { 0 };
	struct rnd rnd;

	rnd_seed(&rnd, s->seed + id);
	for (i = 0; i < 250; i++) {
		unsigned int page = rnd_below(&rnd, STORM_PAGES), private = rnd_below(&rnd, 2);
		unsigned long at = BASE + (private * 64 + page) * P + id;
		unsigned char mine = (unsigned char)(i + 1);
		int value;

		if (!id && i % 4 == 0)
			cut_or_punch(s, &rnd);
		else if (i % 16 == 5)
			map_and_unmap(s, id);
		if (rnd_chance(&rnd, 1, 2) && poke(s->mm, at, mine)) {
			written[page][mine] = true;
			if (!private)
				last[page] = mine;
		}
		value = peek(s->mm, at);
		if (value <= 0)
			continue;
		/* A private page keeps what the file had when anybody wrote to it first. */
		assert_true(written[page][value]);
		if (!private)
			assert_int_equal(value, last[page]);
	}
	return 0;
}

static void faults_of_all_cpus_agree_with_cuts_and_holes(void **state)
{
	struct storm s = { .mm = new_mm(), .file = memfd(0, STORM_PAGES) };
	struct fiber *f[STORM_CPUS];
	struct machine_result r;
	unsigned int i;

	(void)state;
	s.nr = min(machine_nr_cpus(this_machine()), STORM_CPUS);
	s.seed = test_seed();
	assert_int_equal(map_file(s.mm, BASE, STORM_PAGES, RW, MAP_SHARED, s.file), BASE);
	assert_int_equal(map_file(s.mm, BASE + 64 * P, STORM_PAGES, RW, MAP_PRIVATE, s.file),
			 BASE + 64 * P);
	for (i = 0; i < s.nr; i++)
		f[i] = fiber_spawn(i, "faults", faults, &s);
	for (i = 0; i < s.nr; i++) {
		fiber_join(f[i], &r);
		assert_string_equal(r.message, "");
	}
	check_mm_clean(s.mm);
	assert_int_equal(machine_check(this_machine()), 0);
	fput(s.file);
	mmput(s.mm);
	assert_int_equal(shmem_accounted_pages(), 0);
	assert_int_equal(global_node_page_state(NR_SHMEM), 0);
}

/* ---- failures ---- */

struct nth {
	struct mm_struct *mm;
};

static long nth_body(void *arg)
{
	struct nth *n = arg;
	long addr = map(n->mm, BASE, 3, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED);

	if (addr < 0)
		return addr;
	if (poke(n->mm, BASE, 1) && poke(n->mm, BASE + 2 * P, 1))
		return 0;
	assert_int_equal(ksys_munmap(n->mm, BASE, 3 * P), 0);
	return -ENOMEM;
}

static void nth_undo(void *arg)
{
	struct nth *n = arg;

	assert_int_equal(ksys_munmap(n->mm, BASE, 3 * P), 0);
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	struct nth *n = arg;

	machine_quiesce(this_machine());
	space_snapshot(n->mm, values);
	values[20] = phys_nr_free(this_machine());
	values[21] = (u64)shmem_accounted_pages();
	values[22] = ledger_live_total(this_machine());
}

static void a_failed_shared_mapping_leaves_nothing(void **state)
{
	struct nth n = { .mm = new_mm() };

	(void)state;
	assert_int_equal(nth_body(&n), 0);
	nth_undo(&n);
	assert_in_range(fixture_fail_nth(nth_body, nth_undo, nth_snapshot, &n), 8, 40);
	mmput(n.mm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(names_of_memory_files_are_linux),
		karc_unit_test(pages_live_as_long_as_file_or_mapping),
		KARC_TESTS(truncation_reaches_every_mapping),
		karc_unit_test(a_described_file_may_change_its_size_while_mapped),
		karc_unit_test(a_hole_is_seen_by_all_but_private_copies),
		KARC_TESTS(a_fork_shares_shared_memory_and_copies_private),
		karc_unit_test(a_seal_against_writing_waits_for_no_mapping_and_allows_none),
		karc_unit_test(a_mapping_that_came_late_cannot_write_what_was_sealed),
		karc_unit_test(promises_are_by_size_or_by_page),
		karc_unit_test(a_page_that_may_not_be_promised_is_sigbus),
		karc_unit_test(shared_memory_is_aligned_when_the_setting_says_so),
		karc_unit_test(a_hint_that_is_taken_wins_over_alignment),
		karc_unit_test(shared_memory_is_not_aligned_by_default),
		KARC_TESTS(random_mappings_agree_with_arrays),
		KARC_TESTS(faults_of_all_cpus_agree_with_cuts_and_holes),
		karc_unit_test(a_failed_shared_mapping_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
