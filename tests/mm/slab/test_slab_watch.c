/* SPDX-License-Identifier: MIT */
/*
 * Goal: each call that a trace point stands for is announced once, with Linux's text, whichever
 * way it takes, and nothing is lost or found when somebody listens or stops to.
 * Method: listen, call, compare texts.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/hw/cpumask.h>
#include <karc/hw/fiber.h>
#include "mm/slab/internal.h"

#define TEXTS_MAX	400

struct heard {
	unsigned int nr;
	unsigned int of[NR_TRACE_EVENTS];
	struct trace_record record[TEXTS_MAX];
	char text[TEXTS_MAX][200];
};

static void hear(void *arg, const struct trace_record *record)
{
	struct heard *heard = arg;

	heard->of[record->event]++;
	if (heard->nr == TEXTS_MAX)
		return;
	heard->record[heard->nr] = *record;
	trace_event_format(record, heard->text[heard->nr++], sizeof(heard->text[0]));
}

/* The compiler has opinions about pointers that were freed. */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

/* Host memory of the test: what the listener writes must not be allocated from who is watched. */
static struct heard *new_heard(void)
{
	struct heard *heard = calloc(1, sizeof(*heard));

	assert_non_null(heard);
	return heard;
}

static const struct trace_record *find(const struct heard *heard, enum trace_event event,
				       const void *ptr)
{
	for (unsigned int i = 0; i < heard->nr; i++) {
		if (heard->record[i].event == event && heard->record[i].ptr == ptr)
			return &heard->record[i];
	}
	return NULL;
}

static bool has_step(const struct heard *heard, const char *text)
{
	for (unsigned int i = 0; i < heard->nr; i++) {
		if (strstr(heard->text[i], text))
			return true;
	}
	return false;
}

static void calls_of_all_kinds_are_announced(void **state)
{
	struct trace_event_listener listener;
	struct kmem_cache *c = kmem_cache_create("named", 100, 0, 0, NULL);
	struct heard *heard = new_heard();
	const struct trace_record *r;
	void *small, *large, *object;

	(void)state;
	trace_event_listen(this_machine(), TRACE_SLAB_ALL & ~TRACE_BIT(TRACE_SLAB_STEP), &listener,
			   hear, heard);
	small = kmalloc(100, GFP_KERNEL | __GFP_ZERO);
	large = kmalloc(30000, GFP_ATOMIC);
	object = kmem_cache_alloc(c, GFP_KERNEL);
	kmem_cache_free(c, object);
	kfree(hidden(large));
	kfree(hidden(small));
	kfree(NULL);
	kfree(kmalloc(0, GFP_KERNEL));
	trace_event_unlisten(this_machine(), &listener);

	r = find(heard, TRACE_KMALLOC, small);
	assert_non_null(r);
	assert_int_equal(r->bytes_req, 100);
	assert_int_equal(r->bytes_alloc, 128);
	assert_string_equal(r->site->func, "calls_of_all_kinds_are_announced");
	r = find(heard, TRACE_KMALLOC, large);
	assert_non_null(r);
	assert_int_equal(r->bytes_alloc, 32768);
	r = find(heard, TRACE_KMEM_CACHE_ALLOC, object);
	assert_non_null(r);
	assert_int_equal(r->bytes_req, 100);
	assert_non_null(find(heard, TRACE_KMEM_CACHE_FREE, object));
	assert_non_null(find(heard, TRACE_KFREE, small));
	assert_non_null(find(heard, TRACE_KFREE, large));
	assert_non_null(find(heard, TRACE_KFREE, NULL));	/* before the "<= 16" test */
	assert_non_null(find(heard, TRACE_KFREE, ZERO_SIZE_PTR));
	assert_int_equal(heard->of[TRACE_KFREE], 4);
	assert_int_equal(heard->of[TRACE_KMALLOC], 2);
	assert_true(has_step(heard, "gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=false"));
	assert_true(has_step(heard, "gfp_flags=GFP_ATOMIC"));
	assert_true(has_step(heard, " name=named"));
	free(heard);
	kmem_cache_destroy(c);
}

static void nobody_listens_nothing_is_announced(void **state)
{
	struct trace_event_listener listener;
	struct heard *heard = new_heard();

	(void)state;
	trace_event_listen(this_machine(), TRACE_ALL, &listener, hear, heard);
	trace_event_unlisten(this_machine(), &listener);
	kfree(kmalloc(100, GFP_KERNEL));
	assert_int_equal(heard->nr, 0);
	free(heard);
}

#define X(name) extern const struct room name;
KARC_TEST_ROOMS
#undef X

/* In a machine that does not track, most calls are inlined pops and pushes otherwise. */
static void inlined_calls_take_the_long_way_meanwhile(void **state)
{
	struct machine_config config = { .quiet = true, .nr_cpus = 1 };
	static const struct room *const rooms[] = {
#define X(name) &name,
		KARC_TEST_ROOMS
#undef X
	};
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	struct trace_event_listener listener;
	struct heard *heard = calloc(1, sizeof(*heard));
	void *p[600];

	(void)state;
	machine_enter(m);
	for (int round = 0; round < 4; round++) {
		if (round == 1)
			trace_event_listen(m, TRACE_BIT(TRACE_KMALLOC) | TRACE_BIT(TRACE_KFREE),
					   &listener, hear, heard);
		if (round == 2)
			trace_event_unlisten(m, &listener);
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			p[i] = kmalloc(64, GFP_KERNEL);
		for (unsigned int i = 0; i < ARRAY_SIZE(p); i++)
			kfree(p[i]);
	}
	assert_int_equal(heard->of[TRACE_KMALLOC], ARRAY_SIZE(p));
	assert_int_equal(heard->of[TRACE_KFREE], ARRAY_SIZE(p));
	/* And the short one again afterwards: the slot has its array back. */
	if (!slab_here()->kmalloc[0][6]->debug)
		assert_ptr_not_equal(slab_hot()->array[slab_here()->kmalloc[0][6]->hot_class],
				     &array_none);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
	free(heard);
}

static void a_free_shows_its_steps(void **state)
{
	struct trace_event_listener listener;
	struct heard *heard = new_heard();
	void *p = kmalloc(100, GFP_KERNEL), *large = kmalloc(30000, GFP_KERNEL);

	(void)state;
	trace_event_listen(this_machine(), TRACE_BIT(TRACE_SLAB_STEP), &listener, hear, heard);
	kfree(NULL);
	kfree(p);
	kfree(large);
	trace_event_unlisten(this_machine(), &listener);
	assert_true(has_step(heard, "slab_step: ZERO_OR_NULL_PTR: nothing to free"));
	assert_true(has_step(heard, "slab_step: virt_to_head_page: pfn 0x"));
	assert_true(has_step(heard, "kmalloc-128"));
	assert_true(has_step(heard, "slab_step: debug_check_no_locks_freed: cache kmalloc-128"));
	assert_true(has_step(heard, "slab_step: memcg_slab_free_hook: cache kmalloc-128"));
	assert_true(has_step(heard, "slab_step: ___cache_free: pushed: the CPU's array of"));
	assert_true(has_step(heard, "slab_step: local_irq_save: interrupts off"));
	assert_true(has_step(heard, "slab_step: free_large_kmalloc: order 3 to the buddy"));
	free(heard);
}

static long allocates_and_frees(void *arg)
{
	(void)arg;
	for (int i = 0; i < 40; i++) {
		kfree(kmalloc(64, GFP_KERNEL));
		hw_safepoint();
	}
	return 0;
}

static void all_cpus_are_heard(void **state)
{
	unsigned int n = num_online_cpus();
	struct trace_event_listener listener;
	struct heard *heard = new_heard();
	struct machine_result r;
	struct fiber *f[8];

	(void)state;
	trace_event_listen(this_machine(), TRACE_BIT(TRACE_KMALLOC) | TRACE_BIT(TRACE_KFREE),
			   &listener, hear, heard);
	for (unsigned int i = 0; i < n; i++)
		f[i] = fiber_spawn(i, "worker", allocates_and_frees, NULL);
	for (unsigned int i = 0; i < n; i++)
		fiber_join(f[i], &r);
	trace_event_unlisten(this_machine(), &listener);
	assert_int_equal(heard->of[TRACE_KMALLOC], 40 * n);
	assert_int_equal(heard->of[TRACE_KFREE], 40 * n);
	free(heard);
}

static long fails(void *arg)
{
	void *p = kmalloc(100, GFP_KERNEL);

	(void)arg;
	if (!p)
		return -ENOMEM;
	kfree(p);
	return 0;
}

static void what_fails_is_not_announced(void **state)
{
	struct trace_event_listener listener;
	struct heard *heard = new_heard();

	(void)state;
	trace_event_listen(this_machine(), TRACE_ALL & ~TRACE_BIT(TRACE_SLAB_STEP), &listener, hear,
			   heard);
	fixture_fail_nth(.body = fails);
	trace_event_unlisten(this_machine(), &listener);
	assert_int_equal(heard->of[TRACE_KMALLOC], 1);
	assert_int_equal(heard->of[TRACE_KFREE], 1);
	free(heard);
}

/* ---- usercopy ---- */

struct window {
	const void *p;
	unsigned long n;
	bool to_user;
};

static long checks(void *arg)
{
	const struct window *w = arg;

	check_heap_object(w->p, w->n, w->to_user);
	return 0;
}

static void only_the_users_part_of_an_object_may_be_copied(void **state)
{
	struct kmem_cache *c = kmem_cache_create_usercopy("partly", 100, 0, 0, 20, 30, NULL);
	struct kmem_cache *d = kmem_cache_create("secret", 100, 0, 0, NULL);
	char *p = kmem_cache_alloc(c, GFP_KERNEL), *q = kmem_cache_alloc(d, GFP_KERNEL);

	(void)state;
	check_heap_object(p + 20, 30, true);
	check_heap_object(p + 30, 20, false);
	check_heap_object(p + 50, 0, true);
	expect_bug(checks, (&(struct window){ p + 19, 2, true }),
		   "usercopy: Kernel memory exposure attempt detected from SLAB object 'partly' "
		   "(offset 19, size 2)!");
	expect_bug(checks, (&(struct window){ p + 40, 11, false }),
		   "overwrite attempt detected to SLAB object 'partly' (offset 40, size 11)!");
	expect_bug(checks, (&(struct window){ q, 1, true }), "from SLAB object 'secret'");
	kmem_cache_free(c, p);
	kmem_cache_free(d, q);
	kmem_cache_destroy(c);
	kmem_cache_destroy(d);
}

static void kmalloc_memory_may_be_copied_whole(void **state)
{
	char *small = kmalloc(100, GFP_KERNEL), *large = kmalloc(30000, GFP_KERNEL);

	(void)state;
	check_heap_object(small, 128, true);
	expect_bug(checks, (&(struct window){ small + 100, 29, true }),
		   "SLAB object 'kmalloc-128' (offset 100, size 29)");
	check_heap_object(large, 32768, false);
	expect_bug(checks, (&(struct window){ large + 1, 32768, false }),
		   "overwrite attempt detected to page alloc (offset 1, size 32768)");
	check_heap_object(&small, 8, true);	/* the stack is not in the direct map */
	kfree(small);
	kfree(large);
}

static const struct machine_config soft = { .cmdline = "hardened_usercopy=off" };

static void the_check_can_be_turned_off(void **state)
{
	struct kmem_cache *c = kmem_cache_create("secret", 100, 0, 0, NULL);
	char *p = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	check_heap_object(p, 200, true);
	kmem_cache_free(c, p);
	kmem_cache_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(calls_of_all_kinds_are_announced),
		KARC_TESTS(nobody_listens_nothing_is_announced),
		cmocka_unit_test(inlined_calls_take_the_long_way_meanwhile),
		KARC_TESTS(a_free_shows_its_steps),
		KARC_TESTS(all_cpus_are_heard),
		karc_unit_test(what_fails_is_not_announced),
		karc_unit_test(only_the_users_part_of_an_object_may_be_copied),
		karc_unit_test(kmalloc_memory_may_be_copied_whole),
		karc_unit_test_config(the_check_can_be_turned_off, 1, &soft),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
