/* SPDX-License-Identifier: MIT */
/*
 * test_kfree_rcu.c - memory without a head that goes after a grace period
 *
 * Goal: nothing goes while somebody may read, everything goes after a barrier, many calls share a
 * block, and without memory for one the call still frees.
 * Method: objects of a cache, which counts those that are alive; a reader on another CPU.
 */
#include "fixture.h"
#include <karc/hw/fiber.h>
#include <karc/hw/inject.h>
#include "mm/slab/internal.h"

#define NR	200u

static struct kmem_cache *cache;

static void give_up(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		void *p = kmem_cache_alloc(cache, GFP_KERNEL);

		assert_non_null(p);
		kfree_rcu_mightsleep(p);
	}
}

static void begin(void)
{
	cache = kmem_cache_create("gone", 64, 0, 0, NULL);
	assert_non_null(cache);
}

static void end(void)
{
	rcu_barrier();
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kmem_cache_destroy(cache);
	cache = NULL;
}

static void many_share_a_grace_period(void **state)
{
	(void)state;
	begin();
	give_up(NR);
	assert_true(rcu_nr_pending() < NR);
	end();
}

static void without_memory_the_caller_waits(void **state)
{
	void *p;

	(void)state;
	begin();
	p = kmem_cache_alloc(cache, GFP_KERNEL);
	assert_non_null(p);
	rcu_barrier();			/* no block takes it */
	inject_arm(this_machine(), 1);
	kfree_rcu_mightsleep(p);
	assert_true(inject_disarm(this_machine()));
	assert_int_equal(kmem_cache_live_objects(cache), 0);
	kfree_rcu_mightsleep((void *)NULL);
	kfree_rcu_mightsleep(ZERO_SIZE_PTR);
	end();
}

static long gives_up(void *arg)
{
	(void)arg;
	give_up(NR);
	return 0;
}

static void all_cpus_at_once(void **state)
{
	unsigned int nr = machine_nr_cpus(this_machine());
	struct fiber *fibers[2 * MACHINE_MAX_CPUS];

	(void)state;
	begin();
	for (unsigned int i = 0; i < 2 * nr; i++)
		fibers[i] = fiber_spawn(i % nr, "gives up", gives_up, NULL);
	for (unsigned int i = 0; i < 2 * nr; i++)
		fiber_join(fibers[i], NULL);
	end();
}

static unsigned int reads;	/* 0: not yet; 1: a reader is at it; 2: it may end */

static long reader(void *arg)
{
	(void)arg;
	rcu_read_lock();
	__atomic_store_n(&reads, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&reads, __ATOMIC_ACQUIRE) != 2)
		cpu_relax();
	rcu_read_unlock();
	return 0;
}

static void a_reader_holds_them_back(void **state)
{
	struct fiber *f;

	(void)state;
	begin();
	reads = 0;
	f = fiber_spawn(1, "reader", reader, NULL);
	while (!__atomic_load_n(&reads, __ATOMIC_ACQUIRE))
		cpu_relax();
	give_up(3);
	assert_int_equal(kmem_cache_live_objects(cache), 3);
	__atomic_store_n(&reads, 2, __ATOMIC_RELEASE);
	fiber_join(f, NULL);
	end();
}

static const struct machine_config untracked = { .cmdline = "untracked" };

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(many_share_a_grace_period),
		karc_unit_test(without_memory_the_caller_waits),
		KARC_TESTS(all_cpus_at_once),
		karc_unit_test_config(all_cpus_at_once, 4, &untracked),
		karc_unit_test_cpus(a_reader_holds_them_back, 2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
