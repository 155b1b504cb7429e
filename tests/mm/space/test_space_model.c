/* SPDX-License-Identifier: MIT */
/*
 * Goal: under random mmap, munmap, mprotect, mremap and brk an address space equals an array of
 * pages.
 *
 * Method: the model keeps rights and "is promised" for each page of a region, knows nothing of
 * VMAs, and says what each call must return. What untouched private mappings look like follows
 * from the array alone: a VMA is a longest run of equal pages. Seed: KARC_TEST_SEED.
 */
#include "space_test.h"

#define PAGES	128u
#define ROUNDS	4000u

struct model {
	bool newest;			/* profile */
	unsigned char prot[PAGES];	/* PROT_* | MAPPED, 0 = nothing */
	bool promised[PAGES];		/* VM_ACCOUNT */
};

#define MAPPED	0x80

static unsigned long addr_of(unsigned int page)
{
	return BASE + page * P;
}

static void model_mmap(struct model *m, unsigned int at, unsigned int len, int prot)
{
	unsigned int i;

	for (i = at; i < at + len; i++) {
		m->prot[i] = (unsigned char)(prot | MAPPED);
		m->promised[i] = prot & PROT_WRITE;
	}
}

static void model_munmap(struct model *m, unsigned int at, unsigned int len)
{
	memset(m->prot + at, 0, len);
	memset(m->promised + at, 0, len * sizeof(m->promised[0]));
}

static long model_mprotect(struct model *m, unsigned int at, unsigned int len, int prot)
{
	unsigned int i;

	for (i = at; i < at + len; i++) {
		if (!m->prot[i])
			return -ENOMEM;
		m->prot[i] = (unsigned char)(prot | MAPPED);
		if (prot & PROT_WRITE)
			m->promised[i] = true;
		else if (m->newest)
			m->promised[i] = false;
	}
	return 0;
}

static bool model_same(const struct model *m, unsigned int a, unsigned int b)
{
	return m->prot[a] == m->prot[b] && m->promised[a] == m->promised[b];
}

/* Move [at, at + len) to @to: newer kernels take several mappings, and leave holes alone. */
static long model_move(struct model *m, unsigned int at, unsigned int len, unsigned int to)
{
	unsigned int i;

	if (at + len > to && to + len > at)
		return -EINVAL;
	if (!m->prot[at])
		return -EFAULT;
	for (i = at; i < at + len; i++)
		if (!m->newest && !model_same(m, i, at))
			return -EFAULT;
	for (i = 0; i < len; i++) {
		if (!m->prot[at + i])
			continue;
		m->prot[to + i] = m->prot[at + i];
		m->promised[to + i] = m->promised[at + i];
		m->prot[at + i] = 0;
		m->promised[at + i] = false;
	}
	return (long)addr_of(to);
}

/* One mapping's pages, twice: the old place stays mapped. */
static long model_double(struct model *m, unsigned int at, unsigned int len, unsigned int to)
{
	unsigned int i;

	if (at + len > to && to + len > at)
		return -EINVAL;
	if (!m->prot[at])
		return -EFAULT;
	for (i = at; i < at + len; i++)
		if (!model_same(m, i, at))
			return -EFAULT;
	for (i = 0; i < len; i++) {
		m->prot[to + i] = m->prot[at];
		m->promised[to + i] = m->promised[at];
	}
	return (long)addr_of(to);
}

/* Longer by @more where it is: the range ends a mapping, and there is room. */
static long model_grow(struct model *m, unsigned int at, unsigned int len, unsigned int more)
{
	unsigned int i;

	if (!m->prot[at])
		return -EFAULT;
	for (i = at; i < at + len; i++)
		if (!model_same(m, i, at))
			return -EFAULT;
	for (i = at + len; i < at + len + more; i++)
		if (m->prot[i])
			return -ENOMEM;
	for (i = at + len; i < at + len + more; i++) {
		m->prot[i] = m->prot[at];
		m->promised[i] = m->promised[at];
	}
	return (long)addr_of(at);
}

static unsigned long model_promised(const struct model *m)
{
	unsigned long sum = 0;
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		sum += m->promised[i];
	return sum;
}

static int prot_of(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_READ ? PROT_READ : 0) |
	       (vma->vm_flags & VM_WRITE ? PROT_WRITE : 0) |
	       (vma->vm_flags & VM_EXEC ? PROT_EXEC : 0) | MAPPED;
}

static void compare(struct mm_struct *mm, const struct model *m)
{
	unsigned int first = 0, last;
	struct vm_area_struct *vma = vma_first(mm);

	while (first < PAGES) {
		if (!m->prot[first]) {
			first++;
			continue;
		}
		for (last = first; last < PAGES && m->prot[last] == m->prot[first] &&
		     m->promised[last] == m->promised[first]; last++)
			;
		assert_non_null(vma);
		assert_int_equal(vma->vm_start, addr_of(first));
		assert_int_equal(vma->vm_end, addr_of(last));
		assert_int_equal(prot_of(vma), m->prot[first]);
		assert_int_equal(!!(vma->vm_flags & VM_ACCOUNT), m->promised[first]);
		vma = vma_next(vma);
		first = last;
	}
	assert_null(vma);
	assert_int_equal(vm_memory_committed(), model_promised(m));
	check_mm_clean(mm);
}

static void remap_step(struct mm_struct *mm, struct model *m, struct rnd *rnd)
{
	unsigned int at = rnd_below(rnd, PAGES - 12), to = rnd_below(rnd, PAGES - 12);
	unsigned int len = 1 + rnd_below(rnd, 8), more = 1 + rnd_below(rnd, 4);
	unsigned long flags = MREMAP_MAYMOVE | MREMAP_FIXED;

	switch (rnd_below(rnd, 4)) {
	case 0:
		/* A range of several mappings is for moves without more ado only. */
		if (m->newest)
			break;
		assert_int_equal(ksys_mremap(mm, addr_of(at), len * P, len * P,
					     flags | MREMAP_DONTUNMAP, addr_of(to)),
				 model_double(m, at, len, to));
		break;
	case 1:
		assert_int_equal(ksys_mremap(mm, addr_of(at), len * P, (len + more) * P, 0, 0),
				 model_grow(m, at, len, more));
		break;
	default:
		assert_int_equal(ksys_mremap(mm, addr_of(at), len * P, len * P, flags, addr_of(to)),
				 model_move(m, at, len, to));
	}
}

static void step(struct mm_struct *mm, struct model *m, struct rnd *rnd)
{
	unsigned int at = rnd_below(rnd, PAGES), len = 1 + rnd_below(rnd, 12);
	int prot = (int)rnd_below(rnd, 8);

	len = min(len, PAGES - at);
	switch (rnd_below(rnd, 4)) {
	case 3:
		remap_step(mm, m, rnd);
		break;
	case 0:
		assert_int_equal(map(mm, addr_of(at), len, prot, FIXED), addr_of(at));
		model_mmap(m, at, len, prot);
		break;
	case 1:
		assert_int_equal(ksys_munmap(mm, addr_of(at), len * P), 0);
		model_munmap(m, at, len);
		break;
	default:
		assert_int_equal(ksys_mprotect(mm, addr_of(at), len * P, (unsigned long)prot),
				 model_mprotect(m, at, len, prot));
	}
	compare(mm, m);
}

static void run_model(bool newest)
{
	struct mm_struct *mm = new_mm();
	struct model m = { .newest = newest };
	struct rnd rnd;
	unsigned int i;

	if (newest)
		mm_set_layout(mm, mm_profile_newest(), NULL, false);
	rnd_seed(&rnd, test_seed());
	for (i = 0; i < ROUNDS; i++)
		step(mm, &m, &rnd);
	mmput(mm);
}

static void random_calls_equal_the_page_array(void **state)
{
	(void)state;
	run_model(false);
}

static void random_calls_equal_the_page_array_of_newer_kernels(void **state)
{
	(void)state;
	run_model(true);
}

/* The heap: model is the break alone; obstacles come and go above it. */
static void random_breaks_equal_the_number(void **state)
{
	const unsigned long heap = 0x600000, obstacle = heap + 64 * P;
	unsigned long brk = heap, want, end;
	struct mm_struct *mm = new_mm();
	bool blocked = false;
	struct rnd rnd;
	unsigned int i;

	(void)state;
	rnd_seed(&rnd, test_seed());
	for (i = 0; i < ROUNDS; i++) {
		if (!rnd_below(&rnd, 20) && PAGE_ALIGN(brk) <= obstacle) {
			if (blocked)
				assert_int_equal(ksys_munmap(mm, obstacle, P), 0);
			else
				map_at(mm, obstacle, 1, PROT_READ);
			blocked = !blocked;
		}
		want = heap - 2 * P + rnd_below(&rnd, 100 * P);
		end = PAGE_ALIGN(want);
		if (want >= heap && !(blocked && end > PAGE_ALIGN(brk) && end + P > obstacle))
			brk = want;
		assert_int_equal(ksys_brk(mm, want), brk);
		assert_int_equal(vm_memory_committed(), (PAGE_ALIGN(brk) - heap) / P);
		check_mm_clean(mm);
	}
	mmput(mm);
}

/* With pages touched and forks, contents count: a shadow copy of each byte that was written. */
#define LIVES	3u

struct life {
	struct mm_struct *mm;
	int byte[PAGES];		/* -1: not accessible */
	bool writable[PAGES];
};

static void life_compare(struct life *life)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++)
		assert_int_equal(peek(life->mm, addr_of(i)), life->byte[i]);
	check_mm_clean(life->mm);
}

/* One page and its contents to another place. */
static void life_move(struct life *life, unsigned int at, unsigned int to)
{
	long ret = ksys_mremap(life->mm, addr_of(at), P, P, MREMAP_MAYMOVE | MREMAP_FIXED,
			       addr_of(to));

	if (at == to || life->byte[at] < 0) {
		assert_int_equal(ret, at == to ? -EINVAL : -EFAULT);
		return;
	}
	assert_int_equal(ret, addr_of(to));
	life->byte[to] = life->byte[at];
	life->writable[to] = life->writable[at];
	life->byte[at] = -1;
	life->writable[at] = false;
}

static void life_step(struct life *life, struct rnd *rnd)
{
	unsigned int at = rnd_below(rnd, PAGES - 8), len = 1 + rnd_below(rnd, 8), i;
	int value = (int)rnd_below(rnd, 256);
	bool rw = rnd_below(rnd, 2);

	switch (rnd_below(rnd, 12)) {
	case 0:
		map_at(life->mm, addr_of(at), len, rw ? RW : PROT_READ);
		for (i = at; i < at + len; i++) {
			life->byte[i] = 0;
			life->writable[i] = rw;
		}
		break;
	case 1:
		assert_int_equal(ksys_munmap(life->mm, addr_of(at), len * P), 0);
		for (i = at; i < at + len; i++) {
			life->byte[i] = -1;
			life->writable[i] = false;
		}
		break;
	case 2:
		ksys_mprotect(life->mm, addr_of(at), len * P, rw ? RW : PROT_READ);
		for (i = at; i < at + len && life->byte[i] >= 0; i++)
			life->writable[i] = rw;
		break;
	case 3:
		/* Holes included: what is not mapped gets no advice, what is loses its pages. */
		ksys_madvise(life->mm, addr_of(at), len * P, MADV_DONTNEED);
		for (i = at; i < at + len; i++)
			life->byte[i] = min(life->byte[i], 0);
		break;
	case 4:
		life_move(life, at, rnd_below(rnd, PAGES));
		break;
	case 5:
		ksys_mlock2(life->mm, addr_of(at), len * P, rw ? MLOCK_ONFAULT : 0);
		assert_int_equal(ksys_munlockall(life->mm), 0);
		break;
	default:
		assert_int_equal(poke(life->mm, addr_of(at), (unsigned char)value),
				 life->writable[at]);
		if (life->writable[at])
			life->byte[at] = value;
	}
}

static void contents_survive_calls_and_forks(void **state)
{
	static __thread struct life lives[LIVES];
	unsigned int i, j, from;
	struct rnd rnd;

	(void)state;
	rnd_seed(&rnd, test_seed());
	for (i = 0; i < LIVES; i++) {
		lives[i].mm = new_mm();
		for (j = 0; j < PAGES; j++) {
			lives[i].byte[j] = -1;
			lives[i].writable[j] = false;
		}
	}
	for (i = 0; i < ROUNDS; i++) {
		j = rnd_below(&rnd, LIVES);
		from = rnd_below(&rnd, LIVES);
		if (rnd_below(&rnd, 100) || from == j) {
			life_step(&lives[j], &rnd);
			continue;
		}
		mmput(lives[j].mm);
		lives[j] = lives[from];
		lives[j].mm = dup_mm(lives[from].mm);
		assert_non_null(lives[j].mm);
		life_compare(&lives[j]);
		life_compare(&lives[from]);
	}
	for (i = 0; i < LIVES; i++) {
		life_compare(&lives[i]);
		mmput(lives[i].mm);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(random_calls_equal_the_page_array),
		karc_unit_test(random_calls_equal_the_page_array_of_newer_kernels),
		karc_unit_test(random_breaks_equal_the_number),
		KARC_TESTS(contents_survive_calls_and_forks),
	};

	printf("seed %llu\n", (unsigned long long)test_seed());
	return cmocka_run_group_tests(tests, NULL, NULL);
}
