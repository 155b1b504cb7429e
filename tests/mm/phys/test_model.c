/* SPDX-License-Identifier: MIT */
/*
 * Goal: no frame has two owners, none is lost, and what is free lies in the largest blocks that
 * there can be, whatever is asked for in whatever order.
 * Method: random requests of every kind on all CPUs against a table of who owns which frame (seed
 * printed). After a drain the table says which free blocks there must be: from the lowest address
 * up, always the largest aligned one. That is compared between two requests on one CPU, and when
 * all of several have paused; what they hold stays. In machines that track, and in ones that do
 * not and so use the short ways. KARC_TEST_LONG makes it more than a million operations in all
 * machines of so many CPUs and one mode.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/mm/phys/page_alloc.h>
#include <karc/mm/phys/pcp.h>
#include "mm/phys/internal.h"

#define MIB		(1ULL << 20)
#define SLOTS		64
#define MANY		12
#define NR_LOOKS	200u
#define OPS_LONG	400000u		/* in each of three machines */
#define OPS_SHORT	6000u

enum kind { EMPTY, BLOCK, COMPOUND, SINGLES, EXACT, RANGE, HEAD_ONLY };

/* What a worker holds in one place. */
struct slot {
	enum kind kind;
	struct page *page[MANY];	/* all but SINGLES: the first only */
	unsigned long nr;		/* frames, or entries of page[] */
	unsigned int order;
	u32 who;
};

/* One of each CPU. */
struct worker {
	struct rnd rnd;
	u32 name, nr_done;
	struct slot slot[SLOTS];
};

static struct model {
	u32 *owner;			/* by pfn; 0 is free */
	unsigned long max_pfn;
	_Atomic unsigned long nr_used;
	struct worker worker[MACHINE_MAX_CPUS];
} model;

static unsigned long free_before;

static u64 seed_of_run(void)
{
	const char *text = getenv("KARC_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 20;
}

/* Of one worker. */
static unsigned long nr_steps(void)
{
	return (getenv("KARC_TEST_LONG") ? OPS_LONG : OPS_SHORT) / machine_nr_cpus(this_machine());
}

/* Pauses in which the lists are compared; one worker does it as it goes. */
static unsigned long nr_parts(void)
{
	if (machine_nr_cpus(this_machine()) == 1)
		return 1;
	return getenv("KARC_TEST_LONG") ? NR_LOOKS : 3;
}

/* Each frame says who has it, in the table and in its memory. */
static void take(struct page *page, unsigned long nr, u32 who)
{
	unsigned long pfn = page_to_pfn(page);

	for (unsigned long i = 0; i < nr; i++) {
		assert_true(pfn_valid(pfn + i));
		assert_int_equal(model.owner[pfn + i], 0);
		model.owner[pfn + i] = who;
		*(u32 *)page_address(page + i) = who;
	}
	model.nr_used += nr;
}

static void give(struct page *page, unsigned long nr, u32 who)
{
	unsigned long pfn = page_to_pfn(page);

	for (unsigned long i = 0; i < nr; i++) {
		assert_int_equal(model.owner[pfn + i], who);
		assert_int_equal(*(u32 *)page_address(page + i), who);
		model.owner[pfn + i] = 0;
	}
	model.nr_used -= nr;
}

static gfp_t random_gfp(struct rnd *rnd)
{
	static const gfp_t kinds[] = {
		GFP_KERNEL, GFP_KERNEL, GFP_KERNEL | __GFP_MOVABLE, GFP_ATOMIC, GFP_HIGHUSER_MOVABLE,
		GFP_KERNEL | __GFP_RECLAIMABLE, GFP_KERNEL | GFP_DMA, GFP_NOWAIT,
		GFP_KERNEL | __GFP_NORETRY, GFP_ATOMIC | __GFP_NOMEMALLOC,
	};

	return kinds[rnd_below(rnd, ARRAY_SIZE(kinds))] | __GFP_NOWARN;
}

static void take_block(struct rnd *rnd, struct slot *s)
{
	gfp_t gfp = random_gfp(rnd);

	s->kind = rnd_chance(rnd, 1, 4) ? COMPOUND : BLOCK;
	s->order = rnd_chance(rnd, 1, 60) ? rnd_below(rnd, MAX_ORDER) :
		   rnd_chance(rnd, 2, 3) ? 0 : rnd_below(rnd, 5);
	s->nr = 1UL << s->order;
	if (s->order == 0 && rnd_chance(rnd, 1, 2))	/* what the compiler knows goes the short way */
		s->page[0] = alloc_page(GFP_KERNEL | __GFP_NOWARN);
	else
		s->page[0] = alloc_pages(gfp | (s->kind == COMPOUND ? __GFP_COMP : 0), s->order);
	if (!s->page[0]) {
		s->kind = EMPTY;
		return;
	}
	assert_true(IS_ALIGNED(page_to_pfn(s->page[0]), s->nr));
	take(s->page[0], s->nr, s->who);
}

static void take_singles(struct rnd *rnd, struct slot *s)
{
	struct page *page, *next;
	LIST_HEAD(list);

	s->kind = SINGLES;
	s->nr = 1 + rnd_below(rnd, MANY);
	memset(s->page, 0, sizeof(s->page));
	if (rnd_chance(rnd, 1, 2)) {
		s->nr = alloc_pages_bulk_array(random_gfp(rnd), s->nr, s->page);
	} else {
		unsigned long nr = 0;

		s->nr = alloc_pages_bulk_list(random_gfp(rnd), s->nr, &list);
		list_for_each_entry_safe(page, next, &list, lru) {
			list_del(&page->lru);
			s->page[nr++] = page;
		}
		assert_int_equal(nr, s->nr);
	}
	for (unsigned long i = 0; i < s->nr; i++)
		take(s->page[i], 1, s->who);
}

static void take_exact(struct rnd *rnd, struct slot *s)
{
	void *virt;

	s->kind = EXACT;
	s->nr = 1 + rnd_below(rnd, 40);
	virt = alloc_pages_exact(s->nr * PAGE_SIZE - rnd_below(rnd, 100),
				 GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);
	if (!virt) {
		s->kind = EMPTY;
		return;
	}
	s->page[0] = virt_to_page(virt);
	take(s->page[0], s->nr, s->who);
}

static void take_range(struct rnd *rnd, struct slot *s)
{
	s->kind = RANGE;
	s->nr = 1 + rnd_below(rnd, 1500);
	s->page[0] = alloc_contig_pages(s->nr, GFP_KERNEL | __GFP_NOWARN, NUMA_NO_NODE, NULL);
	if (!s->page[0]) {
		s->kind = EMPTY;
		return;
	}
	take(s->page[0], s->nr, s->who);
}

static void take_something(struct rnd *rnd, struct slot *s)
{
	if (rnd_chance(rnd, 1, 400))
		take_range(rnd, s);
	else if (rnd_chance(rnd, 1, 12))
		take_singles(rnd, s);
	else if (rnd_chance(rnd, 1, 20))
		take_exact(rnd, s);
	else
		take_block(rnd, s);
}

/* A block that is not compound ends in one of three ways; true when nothing of it is left. */
static bool give_block(struct rnd *rnd, struct slot *s)
{
	if (s->order && rnd_chance(rnd, 1, 3)) {	/* somebody still holds the first frame */
		get_page(s->page[0]);
		give(s->page[0] + 1, s->nr - 1, s->who);
		__free_pages(s->page[0], s->order);
		assert_int_equal(page_count(s->page[0]), 1);
		s->kind = HEAD_ONLY;
		return false;
	}
	give(s->page[0], s->nr, s->who);
	if (!s->order) {
		__free_page(s->page[0]);
	} else if (rnd_chance(rnd, 1, 3)) {
		split_page(s->page[0], s->order);
		for (unsigned long i = s->nr; i--;)
			put_page(s->page[0] + i);
	} else {
		__free_pages(s->page[0], s->order);
	}
	return true;
}

static void give_something(struct rnd *rnd, struct slot *s)
{
	switch (s->kind) {
	case BLOCK:
		if (!give_block(rnd, s))
			return;
		break;
	case COMPOUND:
		give(s->page[0], s->nr, s->who);
		put_page(s->page[0] + rnd_below(rnd, (u32)s->nr));
		break;
	case SINGLES:
		for (unsigned long i = 0; i < s->nr; i++) {
			give(s->page[i], 1, s->who);
			__free_page(s->page[i]);
		}
		break;
	case EXACT:
		give(s->page[0], s->nr, s->who);
		free_pages_exact(page_address(s->page[0]), s->nr * PAGE_SIZE);
		break;
	case RANGE:
		give(s->page[0], s->nr, s->who);
		free_contig_range(page_to_pfn(s->page[0]), s->nr);
		break;
	case HEAD_ONLY:
		give(s->page[0], 1, s->who);
		put_page(s->page[0]);
		break;
	case EMPTY:
		break;
	}
	s->kind = EMPTY;
}

static bool is_free_in_model(unsigned long pfn)
{
	return pfn && pfn < model.max_pfn && pfn_valid(pfn) && !model.owner[pfn];
}

static bool block_is_free_in_model(unsigned long pfn, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++) {
		if (!is_free_in_model(pfn + i))
			return false;
	}
	return true;
}

/* Nothing is on a per-CPU list: the free blocks are those that the table says, and no others. */
static void compare_with_the_lists(void)
{
	unsigned long pfn = 0, nr_free = 0;

	while (pfn < model.max_pfn) {
		const struct page *page = pfn_to_page(pfn);
		unsigned int order = MAX_ORDER - 1;

		if (!is_free_in_model(pfn)) {
			assert_false(pfn_valid(pfn) && PageBuddy(page));
			pfn++;
			continue;
		}
		while (!IS_ALIGNED(pfn, 1UL << order) || !block_is_free_in_model(pfn, order))
			order--;
		assert_true(PageBuddy(page));
		assert_int_equal(buddy_order(page), order);
		if (order == MAX_ORDER - 1)
			assert_int_equal(page_migratetype(page), get_pageblock_migratetype(page));
		nr_free += 1UL << order;
		pfn += 1UL << order;
	}
	assert_int_equal(phys_nr_free(this_machine()), nr_free);
}

static long works(void *arg)
{
	bool alone = machine_nr_cpus(this_machine()) == 1;
	unsigned long nr = nr_steps() / nr_parts(), look_every = max(nr / NR_LOOKS, 512UL);
	struct worker *w = arg;

	for (unsigned long i = 0; i < nr; i++) {
		struct slot *s = &w->slot[rnd_below(&w->rnd, SLOTS)];

		if (s->kind != EMPTY) {
			give_something(&w->rnd, s);
		} else {
			s->who = w->name << 24 | ++w->nr_done;
			take_something(&w->rnd, s);
		}
		if (rnd_chance(&w->rnd, 1, 300))
			drain_local_pages(NULL);
		if (alone)
			assert_int_equal(phys_nr_free(this_machine()),
					 free_before - model.nr_used);
		if (alone && i % look_every == 0) {
			drain_all_pages(NULL);
			compare_with_the_lists();
		}
	}
	return 0;
}

static long gives_all(void *arg)
{
	struct worker *w = arg;

	for (unsigned int i = 0; i < SLOTS; i++) {
		while (w->slot[i].kind != EMPTY)
			give_something(&w->rnd, &w->slot[i]);
	}
	return 0;
}

/* All workers at once, to their ends; then nothing moves. */
static void run_all(long (*fn)(void *))
{
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	struct fiber *fibers[MACHINE_MAX_CPUS];
	struct machine_result result;

	for (unsigned int i = 0; i < nr_cpus; i++)
		fibers[i] = fiber_spawn(i, "worker", fn, &model.worker[i]);
	for (unsigned int i = 0; i < nr_cpus; i++) {
		fiber_join(fibers[i], &result);
		assert_int_equal(result.end, MACHINE_VALUE);
	}
	drain_all_pages(NULL);
	assert_int_equal(phys_nr_free(this_machine()), free_before - model.nr_used);
	compare_with_the_lists();
}

static void random_requests_agree_with_a_table_of_owners(void **state)
{
	struct machine *m = this_machine();

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed_of_run());
	memset(&model, 0, sizeof(model));
	free_before = phys_nr_free(m);
	model.max_pfn = physmem_max_pfn(m);
	model.owner = calloc(model.max_pfn, sizeof(u32));
	for (u32 i = 0; i < MACHINE_MAX_CPUS; i++) {
		model.worker[i].name = i + 1;
		rnd_seed(&model.worker[i].rnd, seed_of_run() * MACHINE_MAX_CPUS + i + 1);
	}
	for (unsigned long i = nr_parts(); i--;)
		run_all(works);
	run_all(gives_all);
	assert_int_equal(model.nr_used, 0);
	free(model.owner);
}

/* Small enough to run out now and then. */
static const struct machine_config tracked = { .mem_bytes = 48 * MIB };
static const struct machine_config untracked = { .mem_bytes = 48 * MIB, .cmdline = "untracked" };
static const struct machine_config short_of_memory = { .mem_bytes = 8 * MIB,
						       .cmdline = "untracked" };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test_config(random_requests_agree_with_a_table_of_owners, 1, &tracked),
		karc_unit_test_config(random_requests_agree_with_a_table_of_owners, 4, &tracked),
		karc_unit_test_config(random_requests_agree_with_a_table_of_owners, 1, &untracked),
		karc_unit_test_config(random_requests_agree_with_a_table_of_owners, 4, &untracked),
		karc_unit_test_config(random_requests_agree_with_a_table_of_owners, 1,
				      &short_of_memory),
		karc_unit_test_config(random_requests_agree_with_a_table_of_owners, 4,
				      &short_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
