/* SPDX-License-Identifier: MIT */
/*
 * Goal: allocators under the loads that allocators are usually tried with give nobody's memory to
 * two owners, and have all of it back at the end.
 * Method: programs in the manner of mstress (long-lived objects of all sizes that change owners
 * through a common table), xmalloc (one CPU allocates batches, another frees them) and larson
 * (objects at random places are replaced, and the whole lot passes from worker to worker). Each
 * parcel is checked before its free (load.h); counts of frames before and after, by zone.
 * KARC_TEST_LONG makes them long.
 */
#include <karc/mm/phys/vmstat.h>
#include "load.h"

#define TABLE		512u		/* parcels on their way to another owner */
#define RETAINED	400u		/* long-lived parcels of a worker */
#define BATCH		60u
#define LIVE		600u		/* of a larson worker */
#define NR_ZONES	(MAX_NUMNODES * MAX_NR_ZONES)

/* All that the workers of one test share. */
struct job {
	struct load load;
	struct parcel *table[TABLE];	/* atomic exchange */
	spinlock_t lock;
	/* written under lock */
	struct parcel *batches;		/* chained by ->next */
	unsigned int nr_waiting;	/* so many; also read without the lock */

	struct parcel *lot[STORM_MAX][LIVE];	/* of larson: the worker of that number owns it */
	unsigned int nr_replaced;		/* atomic */
};

/* Free frames of each zone when nothing is merely cached: what must be so again. */
static void zone_counts(unsigned long counts[NR_ZONES])
{
	struct pglist_data *pgdat;
	unsigned int nr = 0;

	machine_quiesce(this_machine());
	memset(counts, 0, NR_ZONES * sizeof(counts[0]));
	for_each_online_pgdat(pgdat)
		for (unsigned int i = 0; i < MAX_NR_ZONES; i++)
			counts[nr++] = zone_page_state(&pgdat->node_zones[i], NR_FREE_PAGES);
}

static void run_job(long (*fn)(struct storm_worker *w), unsigned int rounds,
		    void (*rest)(struct job *job), bool may_fail)
{
	struct job *job = calloc(1, sizeof(*job));
	unsigned long before[NR_ZONES], after[NR_ZONES];
	struct storm storm;

	assert_non_null(job);
	spin_lock_init(&job->lock);
	zone_counts(before);
	load_init(&job->load);
	job->load.may_fail = may_fail;
	for (unsigned int i = 0; i < rounds; i++)
		storm_run(&storm, 1, fn, job);
	rest(job);
	assert_int_equal(machine_check(this_machine()), 0);
	load_end(&job->load);
	zone_counts(after);
	assert_memory_equal(before, after, sizeof(before));
	free(job);
}

static void run(long (*fn)(struct storm_worker *w), unsigned int rounds,
		void (*rest)(struct job *job))
{
	run_job(fn, rounds, rest, false);
}

/* ---- in the manner of mstress ---- */

static struct parcel *trade(struct job *job, struct rnd *rnd, struct parcel *p)
{
	return __atomic_exchange_n(&job->table[rnd_below(rnd, TABLE)], p, __ATOMIC_ACQ_REL);
}

static long hoards_and_trades(struct storm_worker *w)
{
	struct job *job = w->storm->arg;
	struct parcel *mine[RETAINED] = { NULL }, *p;

	for (unsigned int i = 0; i < 5 * RETAINED; i++) {
		struct parcel **place = &mine[rnd_below(&w->rnd, RETAINED)];

		if (rnd_chance(&w->rnd, 1, 4)) {
			*place = trade(job, &w->rnd, *place);
		} else {
			p = *place;
			*place = NULL;
			parcel_end(&job->load, p);
			*place = parcel_make(&job->load, &w->rnd);
		}
		if (i % 32 == 0)
			cond_resched();
	}
	/* Some outlive their maker. */
	for (unsigned int i = 0; i < RETAINED; i++) {
		p = mine[i];
		if (rnd_chance(&w->rnd, 1, 2))
			p = trade(job, &w->rnd, p);
		parcel_end(&job->load, p);
	}
	return 0;
}

static void free_the_table(struct job *job)
{
	for (unsigned int i = 0; i < TABLE; i++)
		parcel_end(&job->load, __atomic_exchange_n(&job->table[i], NULL, __ATOMIC_ACQUIRE));
}

static void objects_of_all_sizes_change_owners_and_come_home(void **state)
{
	(void)state;
	run(hoards_and_trades, load_rounds(4), free_the_table);
}

/* ---- in the manner of xmalloc ---- */

static struct parcel *take_batch(struct job *job)
{
	struct parcel *first = NULL;

	spin_lock(&job->lock);
	if (job->nr_waiting) {
		struct parcel **last = &job->batches;

		first = job->batches;
		unsigned int nr = 0;

		for (; nr < BATCH && *last; nr++)
			last = &(*last)->next;
		WRITE_ONCE(job->nr_waiting, job->nr_waiting - nr);
		job->batches = *last;
		*last = NULL;
	}
	spin_unlock(&job->lock);
	return first;
}

static unsigned int free_batch(struct job *job)
{
	struct parcel *p = take_batch(job), *next;
	unsigned int nr = 0;

	for (; p; p = next, nr++) {
		next = p->next;
		parcel_end(&job->load, p);
	}
	return nr;
}

static void give_batch(struct job *job, struct rnd *rnd)
{
	struct parcel *first = NULL, **last = &first, *p;
	unsigned int nr = 0;

	for (unsigned int i = 0; i < BATCH; i++) {
		p = parcel_make(&job->load, rnd);
		if (!p)
			continue;
		*last = p;
		last = &p->next;
		nr++;
	}
	spin_lock(&job->lock);
	*last = job->batches;
	job->batches = first;
	WRITE_ONCE(job->nr_waiting, job->nr_waiting + nr);
	spin_unlock(&job->lock);
}

static long makes_or_frees(struct storm_worker *w)
{
	struct job *job = w->storm->arg;
	bool maker = w->index % 2 == 0;

	for (unsigned int i = 0; i < 30; i++) {
		if (maker)
			give_batch(job, &w->rnd);
		else
			free_batch(job);
		/* Makers do not run away from those who free. */
		if (maker && READ_ONCE(job->nr_waiting) > 10 * BATCH)
			free_batch(job);
		cond_resched();
	}
	return 0;
}

static void free_the_batches(struct job *job)
{
	while (free_batch(job))
		;
}

static void batches_of_one_cpu_are_freed_by_another(void **state)
{
	(void)state;
	run(makes_or_frees, load_rounds(6), free_the_batches);
}

/* ---- in the manner of larson ---- */

static long replaces_at_random(struct storm_worker *w)
{
	struct job *job = w->storm->arg;
	/* The lot of the worker before this one in the last round, perhaps of another CPU. */
	unsigned int turn = __atomic_load_n(&job->nr_replaced, __ATOMIC_RELAXED) / w->storm->nr;
	struct parcel **lot = job->lot[(w->index + turn) % w->storm->nr];

	for (unsigned int i = 0; i < 2 * LIVE; i++) {
		struct parcel **place = &lot[rnd_below(&w->rnd, LIVE)], *p = *place;

		*place = NULL;
		parcel_end(&job->load, p);
		*place = parcel_make(&job->load, &w->rnd);
		if (i % 32 == 0)
			cond_resched();
	}
	return 0;
}

static long replaces_and_passes_on(struct storm_worker *w)
{
	long err = replaces_at_random(w);
	struct job *job = w->storm->arg;

	__atomic_fetch_add(&job->nr_replaced, 1, __ATOMIC_RELAXED);
	return err;
}

static void free_the_lots(struct job *job)
{
	for (unsigned int i = 0; i < STORM_MAX; i++)
		for (unsigned int k = 0; k < LIVE; k++)
			parcel_end(&job->load, job->lot[i][k]);
}

static void a_lot_of_objects_passes_from_cpu_to_cpu(void **state)
{
	(void)state;
	run(replaces_and_passes_on, load_rounds(6), free_the_lots);
}

/* ---- all of it on machines that are too small ---- */

static void hoard_where_memory_is_short(struct job *job)
{
	free_the_table(job);
	assert_true(job->load.nr_failed);
}

static long asks_for_more_than_there_is(struct storm_worker *w)
{
	struct job *job = w->storm->arg;
	struct parcel *all = NULL, *p;
	unsigned int failures = 0;

	while (failures < 20) {
		p = parcel_make(&job->load, &w->rnd);
		if (!p) {
			failures++;
			/* What others free meanwhile is taken again. */
			for (unsigned int i = 0; i < 10 && all; i++) {
				p = all;
				all = p->next;
				parcel_end(&job->load, p);
			}
			cond_resched();
			continue;
		}
		p->next = all;
		all = p;
		if (rnd_chance(&w->rnd, 1, 64))
			cond_resched();
	}
	while (all) {
		p = all;
		all = p->next;
		parcel_end(&job->load, p);
	}
	return 0;
}

static void a_machine_that_is_too_small_recovers_all_of_it(void **state)
{
	(void)state;
	run_job(asks_for_more_than_there_is, load_rounds(1), hoard_where_memory_is_short, true);
}

#define ON(fn, n) karc_unit_test_cpus(fn, n)

int main(void)
{
	static const struct machine_config nodes = { .nr_nodes = 2, .mem_bytes = 128ULL << 20 };
	static const struct machine_config small = { .mem_bytes = 16ULL << 20 };
	const struct CMUnitTest tests[] = {
		ON(objects_of_all_sizes_change_owners_and_come_home, 1),
		ON(objects_of_all_sizes_change_owners_and_come_home, 2),
		ON(objects_of_all_sizes_change_owners_and_come_home, 4),
		karc_unit_test_config(objects_of_all_sizes_change_owners_and_come_home, 4, &nodes),
		ON(batches_of_one_cpu_are_freed_by_another, 2),
		ON(batches_of_one_cpu_are_freed_by_another, 4),
		karc_unit_test_config(batches_of_one_cpu_are_freed_by_another, 2, &nodes),
		ON(a_lot_of_objects_passes_from_cpu_to_cpu, 2),
		ON(a_lot_of_objects_passes_from_cpu_to_cpu, 4),
		karc_unit_test_config(a_machine_that_is_too_small_recovers_all_of_it, 1, &small),
		karc_unit_test_config(a_machine_that_is_too_small_recovers_all_of_it, 4, &small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
