/* SPDX-License-Identifier: MIT */
/*
 * Goal: CPUs really run at once, start and stop with their machine whatever they are doing, and
 * machines do not see each other. Method: fibers that can only end when another CPU moves at the
 * same time; machines booted and powered off in the middle of things; several host threads, each
 * with machines of its own in both modes.
 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/rand.h>
#include <karc/hw/clock.h>
#include <karc/hw/context.h>
#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include <karc/hw/ipi.h>
#include <karc/hw/spinlock.h>

#include "hw/internal.h"

static const struct room *const only_hw[] = { &hw_room };

static struct machine *boot(enum machine_mode mode, unsigned int cpus)
{
	struct machine_config config = { .nr_cpus = cpus, .quiet = true, .mode = mode };
	struct machine *m = machine_boot_rooms(&config, only_hw, 1);

	return m;
}

/* ---- at once ---- */

struct meeting {
	unsigned int arrived;
};

/* No safe point, no cpu_relax(): only a CPU that runs at the same time ends it. */
static long meets(void *arg)
{
	struct meeting *meeting = arg;

	__atomic_fetch_add(&meeting->arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&meeting->arrived, __ATOMIC_SEQ_CST) < num_online_cpus())
		sched_yield();
	return 0;
}

static void all_cpus_run_at_once(void **state)
{
	struct meeting meeting = { .arrived = 0 };
	unsigned int cpus = num_online_cpus();
	struct fiber *f[8];

	(void)state;
	for (unsigned int i = 0; i < cpus; i++)
		f[i] = fiber_spawn(i, "guest", meets, &meeting);
	for (unsigned int i = 0; i < cpus; i++)
		fiber_join(f[i], NULL);
	assert_int_equal(meeting.arrived, num_online_cpus());
}

/* ---- moving ---- */

struct travels {
	spinlock_t lock;
	unsigned long stops;
};

static long travels(void *arg)
{
	struct travels *t = arg;
	unsigned int n = num_online_cpus();
	struct rnd rnd;

	rnd_seed(&rnd, fiber_self()->id);
	for (int i = 0; i < 200; i++) {
		unsigned int cpu = rnd_below(&rnd, n);

		fiber_set_cpu(fiber_self(), cpu);
		if (smp_processor_id() != cpu || fiber_self()->cpu != this_cpu())
			return -1;
		spin_lock(&t->lock);
		t->stops++;
		spin_unlock(&t->lock);
		if (i % 32 == 0)
			msleep(1);
	}
	return 0;
}

static void fibers_travel_between_host_threads(void **state)
{
	struct travels t = { .stops = 0 };
	struct machine_result r;
	struct fiber *f[16];

	(void)state;
	spin_lock_init(&t.lock);
	for (unsigned int i = 0; i < 16; i++)
		f[i] = fiber_spawn(i % num_online_cpus(), "traveller", travels, &t);
	for (unsigned int i = 0; i < 16; i++) {
		fiber_join(f[i], &r);
		assert_int_equal(r.value, 0);
	}
	assert_int_equal(t.stops, 16 * 200);
}

struct pushed {
	bool stop;
	unsigned long rounds;
};

static long is_pushed(void *arg)
{
	struct pushed *p = arg;

	while (!READ_ONCE(p->stop)) {
		fiber_prepare();
		fiber_block(SITE());
		__atomic_fetch_add(&p->rounds, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Woken and moved by others, while its own CPU may not have left its stack yet. */
static void a_blocked_fiber_is_moved_and_woken_by_others(void **state)
{
	struct pushed p = { .stop = false };
	struct fiber *f = fiber_spawn(0, "pushed", is_pushed, &p);

	(void)state;
	for (unsigned int i = 0; READ_ONCE(p.rounds) < 300; i++) {
		if (READ_ONCE(f->state) == FIBER_BLOCKED) {
			fiber_set_cpu(f, i % num_online_cpus());
			fiber_wake(f);
		}
		fiber_yield();
	}
	WRITE_ONCE(p.stop, true);
	while (READ_ONCE(f->state) != FIBER_DEAD) {
		fiber_wake(f);
		fiber_yield();
	}
	fiber_join(f, NULL);
}

/* ---- power ---- */

static unsigned int nr_host_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned int nr = 0;
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		nr += entry->d_name[0] != '.';
	closedir(dir);
	return nr;
}

static long seven(void *arg)
{
	(void)arg;
	return 7;
}

/* First of all tests here: a thread that was joined is listed until the host clears it away. */
static void a_machine_has_a_thread_for_each_cpu_but_the_first(void **state)
{
	unsigned int before = 0;
	struct machine *m;

	(void)state;
	for (int i = 0; i < 20; i++) {
		m = boot(MACHINE_PARALLEL, 8);
		assert_false(IS_ERR(m));
		if (!i)		/* a sanitizer has one of its own from the first pthread_create() on */
			before = nr_host_threads() - 7;
		assert_int_equal(nr_host_threads(), before + 7);
		assert_int_equal(machine_call(m, (unsigned int)i % 8, seven, NULL).value, 7);
		assert_int_equal(machine_shutdown(m), 0);
		while (nr_host_threads() != before)
			sched_yield();
	}
}

static void the_largest_machine_works(void **state)
{
	struct machine *m = boot(MACHINE_PARALLEL, MACHINE_MAX_CPUS);

	(void)state;
	assert_false(IS_ERR(m));
	for (unsigned int i = 0; i < MACHINE_MAX_CPUS; i += 7)
		assert_int_equal(machine_call(m, i, seven, NULL).value, 7);
	assert_int_equal(machine_shutdown(m), 0);
}

static long spins_for_ever(void *arg)
{
	WRITE_ONCE(*(bool *)arg, true);
	for (;;)
		hw_safepoint();
	return 0;
}

static long starts_a_spinner(void *arg)
{
	fiber_detach(fiber_spawn(1, "spinner", spins_for_ever, arg));
	while (!READ_ONCE(*(bool *)arg))
		cpu_relax();
	return 0;
}

/* With what it was in the middle of; nobody tries to be orderly. */
static void the_ground_can_be_taken_from_under_busy_cpus(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		struct machine *m = boot(MACHINE_PARALLEL, 4);
		bool runs = false;

		machine_call(m, 0, starts_a_spinner, &runs);
		assert_true(READ_ONCE(runs));
		machine_ground_down(m);
		machine_free(m);
	}
}

static long works_alone(void *arg)
{
	for (int i = 0; i < 100; i++)
		msleep(1);
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
	return 0;
}

static long starts_a_worker(void *arg)
{
	fiber_detach(fiber_spawn(1, "worker", works_alone, arg));
	return 0;
}

static void other_cpus_go_on_while_the_harness_is_out(void **state)
{
	struct machine *m = boot(MACHINE_PARALLEL, 2);
	bool done = false;

	(void)state;
	machine_call(m, 0, starts_a_worker, &done);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_int_equal(machine_shutdown(m), 0);
}

/* ---- several harness threads ---- */

#define VISITS	16

struct party {
	struct machine *m;
	struct counted *counted;
	unsigned int cpu;
	bool ok;
};

struct counted {
	spinlock_t lock;
	unsigned long sum;
	unsigned int ipis;
};

static void counts_call(void *info)
{
	__atomic_fetch_add(&((struct counted *)info)->ipis, 1, __ATOMIC_RELAXED);
}

static long adds_one(void *arg)
{
	struct counted *c = arg;

	spin_lock(&c->lock);
	c->sum++;
	spin_unlock(&c->lock);
	return 1;
}

static bool one_visit(struct party *p, int i)
{
	struct machine_result r;
	struct fiber *f;

	if (machine_enter_cpu(p->m, p->cpu) || machine_enter_cpu(p->m, p->cpu))
		return false;
	if (smp_processor_id() != p->cpu)
		return false;
	adds_one(p->counted);
	if (i % 8 == 0)
		on_each_cpu(counts_call, p->counted, 1);
	/* Not on CPU 0: nobody plays it when its visitor has gone for good. */
	f = fiber_spawn(1 + (p->cpu + (unsigned int)i) % 3, "child", adds_one, p->counted);
	cpu_leave();
	sched_yield();
	cpu_enter();
	fiber_join(f, &r);
	machine_leave();
	if (r.value != 1 || machine_call(p->m, p->cpu, adds_one, p->counted).value != 1)
		return false;
	machine_leave();
	return !this_machine();
}

static void *party_thread(void *arg)
{
	struct party *p = arg;
	bool ok = true;

	for (int i = 0; i < VISITS && ok; i++)
		ok = one_visit(p, i);
	p->ok = ok;
	return NULL;
}

static long keeps_busy(void *arg)
{
	while (!READ_ONCE(*(bool *)arg))
		hw_safepoint();
	return 0;
}

static void harness_threads_come_and_go_on_cpus_of_their_own(void **state)
{
	struct machine *m = boot(MACHINE_PARALLEL, 4);
	struct counted c = { .sum = 0 };
	struct fiber *busy[4];
	struct party p[4];
	pthread_t thread[4];
	bool stop = false;

	(void)state;
	spin_lock_init(&c.lock);
	machine_enter(m);
	for (unsigned int i = 0; i < 4; i++)
		busy[i] = fiber_spawn(i, "busy", keeps_busy, &stop);
	machine_leave();
	for (unsigned int i = 0; i < 4; i++) {
		p[i] = (struct party){ .m = m, .counted = &c, .cpu = i };
		assert_int_equal(pthread_create(&thread[i], NULL, party_thread, &p[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_true(p[i].ok);
	}
	WRITE_ONCE(stop, true);
	machine_enter(m);
	for (unsigned int i = 0; i < 4; i++)
		fiber_join(busy[i], NULL);
	machine_leave();
	assert_int_equal(c.sum, 3 * 4 * VISITS);
	assert_int_equal(c.ipis, 4 * VISITS / 8 * 4);
	assert_int_equal(machine_shutdown(m), 0);
}

static void entering_on_a_cpu_has_its_limits(void **state)
{
	struct machine *m = boot(MACHINE_PARALLEL, 2), *d = boot(MACHINE_DETERMINISTIC, 2);

	(void)state;
	assert_int_equal(machine_enter_cpu(m, 2), -EINVAL);
	assert_int_equal(machine_enter_cpu(d, 1), -EINVAL);
	assert_int_equal(machine_enter_cpu(d, 0), 0);
	assert_int_equal(machine_shutdown(d), 0);
	assert_int_equal(machine_enter_cpu(m, 1), 0);
	assert_int_equal(smp_processor_id(), 1);
	machine_enter(m);			/* in is in */
	assert_int_equal(smp_processor_id(), 1);
	machine_leave();
	machine_leave();
	assert_null(this_machine());
	assert_int_equal(machine_shutdown(m), 0);
}

/* ---- several machines ---- */

static long storm_child(void *arg)
{
	struct counted *c = arg;

	for (unsigned int i = 0; i < 100; i++) {
		spin_lock(&c->lock);
		c->sum++;
		spin_unlock(&c->lock);
		if (i % 16 == 0)
			msleep(1);
		if (i % 32 == 0)
			on_each_cpu(counts_call, c, 1);
	}
	return 0;
}

static long storm_body(void *arg)
{
	struct counted c = { .sum = 0 };
	struct fiber *f[8];

	(void)arg;
	spin_lock_init(&c.lock);
	for (unsigned int i = 0; i < 8; i++)
		f[i] = fiber_spawn(i % num_online_cpus(), "storm", storm_child, &c);
	for (unsigned int i = 0; i < 8; i++)
		fiber_join(f[i], NULL);
	return c.ipis == 8 * 4 * num_online_cpus() ? (long)c.sum : -1;
}

static long is_a_bug(void *arg)
{
	(void)arg;
	BUG();
	return 0;
}

static long oopses(void *arg)
{
	return *(volatile char *)arg;
}

struct harness {
	enum machine_mode first;
	bool ok;
};

static void *harness_thread(void *arg)
{
	struct harness *h = arg;

	for (int i = 0; i < 4; i++) {
		struct machine *m = boot((h->first + i) % 2 ? MACHINE_PARALLEL :
					 MACHINE_DETERMINISTIC, 4);

		if (IS_ERR(m))
			return NULL;
		if (machine_call(m, 0, storm_body, NULL).value != 800 ||
		    machine_call(m, 3, is_a_bug, NULL).end != MACHINE_BUG ||
		    machine_call(m, 2, oopses, (void *)8).end != MACHINE_OOPS ||
		    machine_call(m, 1, storm_body, NULL).value != 800 || machine_shutdown(m))
			return NULL;
	}
	h->ok = true;
	return NULL;
}

static void machines_in_both_modes_storm_at_once_without_seeing_each_other(void **state)
{
	struct harness h[3] = { { 0, false }, { 1, false }, { 1, false } };
	pthread_t thread[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, harness_thread, &h[i]), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_true(h[i].ok);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_has_a_thread_for_each_cpu_but_the_first),
		KARC_TESTS_PARALLEL(all_cpus_run_at_once),
		KARC_TESTS(fibers_travel_between_host_threads),
		KARC_TESTS(a_blocked_fiber_is_moved_and_woken_by_others),
		cmocka_unit_test(the_largest_machine_works),
		cmocka_unit_test(the_ground_can_be_taken_from_under_busy_cpus),
		cmocka_unit_test(other_cpus_go_on_while_the_harness_is_out),
		cmocka_unit_test(harness_threads_come_and_go_on_cpus_of_their_own),
		cmocka_unit_test(entering_on_a_cpu_has_its_limits),
		cmocka_unit_test(machines_in_both_modes_storm_at_once_without_seeing_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
