/* SPDX-License-Identifier: MIT */
/*
 * measure.c - how long a path takes, next to its peers
 *
 * What it is      Hosts are shared and noisy, so no time means anything by itself. All ways of a
 *                 row run in this process, interleaved: a round is some slices of each way in
 *                 turn (A B C A B C ...), each slice a fraction of a millisecond, or one whole
 *                 teardown. A round's time of a way is that of its fastest slice: what disturbs
 *                 only ever adds. One thread is timed by its own CPU time, which stands still
 *                 while somebody else has the CPU; several by the clock. A round gives
 *                 one ratio for each peer; the row's is the median
 *                 over the rounds, after one round that is thrown away. Ways that were disturbed
 *                 for a whole round, or a host that changed its clock between, show as the spread
 *                 (least and greatest ratio), which the report prints beside the median.
 * Objects         measured: the row, its ways, for each way one value for each round
 * Invariants      I1  Between the two readings of the clock nothing runs but the way itself.
 *                 I2  The process has a second thread during all of it: C libraries and libstdc++
 *                     leave locked instructions out while there is one thread only, which nobody
 *                     who needs an atomic count has.
 *                 I3  Our way runs in a parallel machine, release build, tracking off;
 *                     a machine is booted for each row, so that no row finds another's memory.
 * Locking         none; threads of a slice start together at a barrier and meet at another
 * Worst case      rounds * slices * ways * time of a slice, and one round more
 */
#define _GNU_SOURCE	/* CPU sets */
#include "bench_internal.h"
#include <karc/karc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_THREADS	8u

struct slice {
	const struct bench_ops *ops;
	void *state;
	unsigned long n;
	struct machine *m;		/* NULL: a peer's */
	unsigned int nr_threads;
	pthread_barrier_t barrier;
	bool failed;			/* atomic */
};

struct slice_thread {
	struct slice *slice;
	unsigned int id;
	pthread_t thread;
	u64 begin_ns, end_ns;
};

static u64 now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (u64)t.tv_sec * 1000000000ULL + (u64)t.tv_nsec;
}

struct machine *bench_machine(const struct bench_unit *unit, const struct bench_row *row)
{
	struct machine_config config = {
		.nr_cpus = row->threads ? row->threads : 1,
		.mem_bytes = unit->mem_bytes,
		/* The clock of a machine that is counted must not run while valgrind thinks. */
		.mode = row->kind == BENCH_COUNT ? MACHINE_DETERMINISTIC : MACHINE_PARALLEL,
		.switch_every = ~0u,
		.quiet = true,
		.cmdline = "valgrind=0",	/* it counts our instructions, it is not to watch us */
	};
	struct machine *m = machine_boot(&config);

	if (!IS_ERR(m))
		return m;
	fprintf(stderr, "karc bench: %s: no machine: %s\n", row->id, strerror((int)-PTR_ERR(m)));
	return NULL;
}

/* Thread @id on the @id-th of the host's CPUs that we may use, if there is one. */
static void pin(unsigned int id)
{
	cpu_set_t may, one;
	unsigned int cpu;

	if (sched_getaffinity(0, sizeof(may), &may) || CPU_COUNT(&may) < 2)
		return;
	id %= (unsigned int)CPU_COUNT(&may);
	for (cpu = 0; !CPU_ISSET(cpu, &may) || id--; cpu++)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void *slice_thread(void *arg)
{
	struct slice_thread *t = arg;
	struct slice *s = t->slice;
	bool entered;

	pin(t->id);
	entered = s->m && !machine_enter_cpu(s->m, t->id);
	if (s->m && !entered)
		__atomic_store_n(&s->failed, true, __ATOMIC_RELAXED);
	pthread_barrier_wait(&s->barrier);
	t->begin_ns = now_ns(CLOCK_MONOTONIC);
	if (!__atomic_load_n(&s->failed, __ATOMIC_RELAXED))
		s->ops->run(s->state, s->n);
	t->end_ns = now_ns(CLOCK_MONOTONIC);
	pthread_barrier_wait(&s->barrier);
	if (entered)
		machine_leave();
	return NULL;
}

/* From the first that begins to the last that ends. */
static u64 run_threads(struct slice *s)
{
	struct slice_thread t[MAX_THREADS];
	u64 begin = ~0ULL, end = 0;
	unsigned int i;

	pthread_barrier_init(&s->barrier, NULL, s->nr_threads);
	for (i = 0; i < s->nr_threads; i++) {
		t[i] = (struct slice_thread){ .slice = s, .id = i };
		if (pthread_create(&t[i].thread, NULL, slice_thread, &t[i]))
			abort();	/* the others would wait for ever */
	}
	for (i = 0; i < s->nr_threads; i++) {
		pthread_join(t[i].thread, NULL);
		begin = t[i].begin_ns < begin ? t[i].begin_ns : begin;
		end = t[i].end_ns > end ? t[i].end_ns : end;
	}
	pthread_barrier_destroy(&s->barrier);
	return end - begin;
}

static u64 run_alone(const struct slice *s)
{
	u64 begin = now_ns(CLOCK_THREAD_CPUTIME_ID);

	s->ops->run(s->state, s->n);
	return now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
}

/* ns for one operation; below 0 when it could not be done. */
static double run_slice(const struct bench_row *row, const struct bench_ops *ops,
			unsigned long n, struct machine *m, const unsigned int *order)
{
	struct slice s = { .ops = ops, .n = n, .nr_threads = row->threads };
	bool threads = row->threads > 1;
	u64 ns;

	machine_enter(m);
	if (ops->begin)
		s.state = ops->begin(n, order);
	if (threads) {
		machine_leave();
		s.m = ops == &row->ours || ops == &row->base ? m : NULL;
		ns = run_threads(&s);
		machine_enter(m);
	} else {
		ns = run_alone(&s);
	}
	if (ops->end)
		ops->end(s.state);
	machine_leave();
	return s.failed ? -1.0 : (double)ns / (double)n;
}

/* I2. */
static void *stay(void *arg)
{
	pthread_barrier_wait(arg);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The first @nr values are in; the median is not that of the rows' ratios, only for the table. */
void measured_done(struct measured *m, unsigned int nr_rounds)
{
	double sorted[BENCH_MAX_ROUNDS];
	unsigned int i;

	m->nr_rounds = nr_rounds;
	for (i = 0; i < m->nr_variants; i++) {
		memcpy(sorted, m->variant[i].value, nr_rounds * sizeof(double));
		qsort(sorted, nr_rounds, sizeof(double), compare);
		m->variant[i].median = sorted[nr_rounds / 2];
	}
}

static int one_round(struct measured *m, struct machine *machine, const unsigned int *order,
		     unsigned int slices, unsigned int round)
{
	const struct bench_row *row = m->row;
	unsigned int i, k;
	double ns;

	for (k = 0; k < slices; k++) {
		for (i = 0; i < m->nr_variants; i++) {
			struct variant *v = &m->variant[i];
			const struct bench_ops *ops = &v->ops;

			if (!v->file)
				ops = &row->ours;
			else if (!strcmp(v->file, "bare"))
				ops = &row->base;
			ns = run_slice(row, ops, m->n, machine, order);
			if (ns < 0)
				return -1;
			if (!k || ns < v->value[round])
				v->value[round] = ns;
		}
	}
	return 0;
}

static int rounds(struct measured *m, struct machine *machine, const unsigned int *order,
		  const struct bench_options *opt)
{
	unsigned int slices = opt->quick ? 1 : m->row->slices ? m->row->slices : 1;
	unsigned int i;

	if (!opt->quick && one_round(m, machine, order, slices, 0))	/* thrown away */
		return -1;
	for (i = 0; i < opt->rounds; i++) {
		if (opt->progress)
			fprintf(opt->progress, "\r\033[K%s %s: round %u of %u", m->row->id,
				m->row->path, i + 1, opt->rounds);
		if (one_round(m, machine, order, slices, i))
			return -1;
	}
	measured_done(m, opt->rounds);
	return 0;
}

static int measure_yes(struct measured *m, struct machine *machine)
{
	machine_enter(machine);
	m->row->ours.run(&m->yes, m->n);
	machine_leave();
	return 0;
}

/* The machine, the second thread and the order around the rounds. */
int measure_row(const struct bench_unit *unit, struct measured *m, const struct bench_options *opt)
{
	unsigned int *order = NULL;
	struct machine *machine;
	pthread_barrier_t parked;
	pthread_t thread;
	int err = -1;

	machine = bench_machine(unit, m->row);
	if (!machine)
		return -1;
	if (m->row->order) {
		order = m->row->order(m->n);
		if (!order)
			goto shutdown;
	}
	pthread_barrier_init(&parked, NULL, 2);
	if (pthread_create(&thread, NULL, stay, &parked))
		goto destroy;
	err = m->row->kind == BENCH_YES ? measure_yes(m, machine) : rounds(m, machine, order, opt);
	pthread_barrier_wait(&parked);
	pthread_join(thread, NULL);
destroy:
	pthread_barrier_destroy(&parked);
	free(order);
shutdown:
	if (machine_shutdown(machine)) {
		fprintf(stderr, "karc bench: %s %s: it left something behind\n", m->row->id,
			m->row->path);
		err = -1;
	}
	if (err)
		fprintf(stderr, "karc bench: %s %s: could not be measured\n", m->row->id,
			m->row->path);
	return err;
}
