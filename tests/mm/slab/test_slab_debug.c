/* SPDX-License-Identifier: MIT */
/*
 * Goal: what the debug flags and boot options find, and which site a report names.
 * Method: write where one must not, through a pointer the sanitizer was told to forgive.
 */
#include "fixture.h"

#include <string.h>

#include <karc/hw/spinlock.h>
#include "mm/slab/internal.h"

/* The compiler has opinions about pointers that were freed. */
static void *hidden(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

/* Valgrind and ASan are told to forgive, the debug flags are not. */
static void scribble(void *p, long offset)
{
	char *volatile q = p;

	watch_open(q + offset, 1);
	q[offset] ^= 0x55;
	watch_hide(q + offset, 1);
}

/* The first byte that is not zero. */
static const u8 *memchr_inv_or_null(const u8 *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (p[i])
			return p + i;
	}
	return NULL;
}

static bool logged(const char *text)
{
	return fixture_log_contains(text);
}

/* ---- patterns and guards ---- */

static void write_after_free_is_found_when_the_object_is_used_again(void **state)
{
	struct kmem_cache *c = kmem_cache_create("poisoned", 100, 0, SLAB_POISON, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, obj);
	scribble(obj, 50);
	assert_ptr_equal(kmem_cache_alloc(c, GFP_KERNEL), obj);
	expect_warn("slab poisoned: object at");
	assert_true(logged("was written to after it was freed: byte 50 is 0x3e, not 0x6b"));
	assert_true(logged("object last freed at tests/mm/slab/test_slab_debug.c"));
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

static void write_to_the_last_byte_after_free_is_found(void **state)
{
	struct kmem_cache *c = kmem_cache_create("poisoned", 100, 0, SLAB_POISON, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, obj);
	scribble(obj, 99);
	kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
	expect_warn("byte 99 is 0xf0, not 0xa5");
	kmem_cache_destroy(c);
}

static void fresh_memory_has_a_pattern_of_its_own(void **state)
{
	struct kmem_cache *c = kmem_cache_create("poisoned", 100, 0, SLAB_POISON, NULL);
	u8 *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	assert_int_equal(obj[0], 0x5a);
	assert_int_equal(obj[99], 0x5a);
	kmem_cache_free(c, obj);
	obj = kmem_cache_zalloc(c, GFP_KERNEL);
	assert_int_equal(obj[0] | obj[99], 0);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

static void write_beyond_the_object_is_found_when_it_is_freed(void **state)
{
	struct kmem_cache *c = kmem_cache_create("guarded", 96, 0, SLAB_RED_ZONE, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	memset(obj, 1, 96);
	kmem_cache_free(c, obj);
	expect_no_warn();
	obj = kmem_cache_alloc(c, GFP_KERNEL);
	scribble(obj, 96);
	kmem_cache_free(c, obj);
	expect_warn("slab guarded: written beyond the object");
	assert_true(logged("byte 96 is 0x99, not 0xcc"));
	assert_true(logged("object allocated at tests/mm/slab/test_slab_debug.c"));
	assert_true(logged("freed at tests/mm/slab/test_slab_debug.c"));
	kmem_cache_destroy(c);
}

static void write_before_the_object_is_found_when_it_is_freed(void **state)
{
	struct kmem_cache *c = kmem_cache_create("guarded", 96, 0, SLAB_RED_ZONE, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	scribble(obj, -1);
	kmem_cache_free(c, obj);
	expect_warn("slab guarded: written before the object");
	assert_true(logged("byte -1 is 0x99, not 0xcc"));
	kmem_cache_destroy(c);
}

static void guards_of_free_objects_are_watched_too(void **state)
{
	struct kmem_cache *c = kmem_cache_create("guarded", 96, 0, SLAB_RED_ZONE, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, obj);
	scribble(obj, -3);
	assert_ptr_equal(kmem_cache_alloc(c, GFP_KERNEL), obj);
	expect_warn("slab guarded: guard of the free object at");
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

static void guards_keep_the_alignment(void **state)
{
	static const unsigned int aligns[] = { 0, 8, 64, 256, 4096 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(aligns); i++) {
		struct kmem_cache *c = kmem_cache_create("aligned", 40, aligns[i], SLAB_RED_ZONE,
							 NULL);
		void *obj[3];

		for (int k = 0; k < 3; k++) {
			obj[k] = kmem_cache_alloc(c, GFP_KERNEL);
			assert_int_equal((u64)obj[k] % (aligns[i] ? aligns[i] : 8), 0);
			memset(obj[k], 0xff, 40);
		}
		for (int k = 0; k < 3; k++)
			kmem_cache_free(c, obj[k]);
		kmem_cache_destroy(c);
	}
	expect_no_warn();
}

static const struct machine_config guarded_kmalloc = { .cmdline = "slab_debug=Z" };

static void bytes_that_were_not_asked_for_are_guarded(void **state)
{
	char *p = kmalloc(100, GFP_KERNEL);

	(void)state;
	scribble(p, 100);
	kfree(hidden(p));
	expect_warn("slab kmalloc-128: written beyond what was asked for of the object");
	p = kmalloc(100, GFP_KERNEL);
	assert_int_equal(ksize(p), 128);
	memset(p, 1, 128);		/* ksize() says he may */
	kfree(hidden(p));
	expect_no_warn();
	for (size_t size = 8; size <= 8192; size *= 2) {
		p = kmalloc(size, GFP_KERNEL);
		assert_int_equal((u64)p % min(size, PAGE_SIZE), 0);
		scribble(p, (long)size);
		kfree(hidden(p));
		expect_warn("written beyond the object");
	}
}

static void patterns_leave_constructed_objects_alone(void **state)
{
	struct kmem_cache *c = kmem_cache_create("rcu", 96, 0, SLAB_POISON | SLAB_TYPESAFE_BY_RCU,
						 NULL);
	u64 *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	*obj = 99;
	kmem_cache_free(c, obj);
	assert_int_equal(*obj, 99);
	kmem_cache_destroy(c);
}

static void who_and_when_are_stored_on_demand(void **state)
{
	struct kmem_cache *c = kmem_cache_create("user", 64, 0, SLAB_STORE_USER, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	assert_true(kmem_dump_obj((char *)obj + 5));
	assert_true(logged("slab user, object at"));
	assert_true(logged("pointer offset 5, size 64"));
	assert_true(logged("who_and_when_are_stored_on_demand, cpu=0 task="));
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
	assert_true(kmem_dump_obj(obj));
	assert_true(logged("it was an object of 'user', whose memory is gone"));
	assert_false(kmem_dump_obj(&c));
}

/* ---- all objects at once ---- */

static void validation_finds_each_damaged_object_and_repairs_it(void **state)
{
	struct kmem_cache *c = kmem_cache_create("checked", 64, 0,
						 SLAB_POISON | SLAB_RED_ZONE, NULL);
	void *obj[20];

	(void)state;
	for (int i = 0; i < 20; i++)
		obj[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (int i = 0; i < 10; i++)
		kmem_cache_free(c, obj[i]);
	assert_int_equal(validate_slab_cache(c), 0);
	scribble(obj[3], 12);		/* free: the pattern */
	scribble(obj[4], 64);		/* free: the guard */
	scribble(obj[15], 64);		/* live: the guard */
	scribble(obj[16], -8);
	assert_int_not_equal(machine_check(this_machine()), 0);
	scribble(obj[3], 12);
	scribble(obj[16], -8);
	assert_int_equal(validate_slab_cache(c), 2);
	expect_warn("slab checked: object at");
	assert_int_equal(validate_slab_cache(c), 0);
	for (int i = 10; i < 20; i++)
		kmem_cache_free(c, obj[i]);
	expect_no_warn();
	kmem_cache_destroy(c);
}

static void caches_without_patterns_are_always_valid(void **state)
{
	struct kmem_cache *c = kmem_cache_create("plain", 64, 0, 0, NULL);

	(void)state;
	assert_int_equal(validate_slab_cache(c), 0);
	kmem_cache_destroy(c);
}

/* ---- boot options ---- */

#define ALL_CHECKS	(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

static slab_flags_t flags_of_new(const char *name, slab_flags_t flags)
{
	struct kmem_cache *c = kmem_cache_create(name, 64, 0, flags, NULL);
	slab_flags_t got = c->flags & (ALL_CHECKS | SLAB_TRACE);

	kmem_cache_destroy(c);
	return got;
}

#define ON_BOOT(name, line) \
	static const struct machine_config name = { .cmdline = line }

ON_BOOT(bare, "slab_debug");
ON_BOOT(old_name, "slub_debug=FZ");
ON_BOOT(none, "slab_debug=FZPU-");
ON_BOOT(one_list, "slab_debug=,dentry,inode*");
ON_BOOT(blocks, "slab_debug=Z;FP,kmalloc-*,buf;;U,task;");
ON_BOOT(bad_letter, "slab_debug=FxZ");
ON_BOOT(no_orders, "slab_debug=OZP");
ON_BOOT(traced, "slab_debug=T,noisy");

static void the_bare_word_means_all_checks_everywhere(void **state)
{
	(void)state;
	assert_int_equal(flags_of_new("any", 0), ALL_CHECKS);
	assert_int_equal(slab_here()->kmalloc[0][6]->flags & ALL_CHECKS, ALL_CHECKS);
	assert_int_equal(flags_of_new("own", SLAB_NOLEAKTRACE), ALL_CHECKS & ~SLAB_STORE_USER);
}

static void the_old_name_works_too(void **state)
{
	(void)state;
	assert_int_equal(flags_of_new("any", 0), SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE);
}

static void a_dash_takes_all_back(void **state)
{
	(void)state;
	assert_int_equal(flags_of_new("any", 0), 0);
	assert_int_equal(flags_of_new("own", SLAB_POISON), SLAB_POISON);
}

static void a_list_without_letters_checks_those_caches_only(void **state)
{
	(void)state;
	assert_int_equal(flags_of_new("dentry", 0), ALL_CHECKS);
	assert_int_equal(flags_of_new("inode_cache", 0), ALL_CHECKS);
	assert_int_equal(flags_of_new("dentry2", 0), 0);
	assert_int_equal(flags_of_new("dent", 0), 0);
}

static void blocks_say_what_for_whom(void **state)
{
	slab_flags_t f = SLAB_CONSISTENCY_CHECKS | SLAB_POISON;

	(void)state;
	assert_int_equal(flags_of_new("any", 0), SLAB_RED_ZONE);
	assert_int_equal(flags_of_new("buf", 0), f);
	assert_int_equal(flags_of_new("task", 0), SLAB_STORE_USER);
	assert_int_equal(slab_here()->kmalloc[0][6]->flags & ALL_CHECKS, f);
}

static void an_unknown_letter_is_named_and_skipped(void **state)
{
	(void)state;
	assert_true(logged("slab_debug option 'x' unknown. skipped"));
	assert_int_equal(flags_of_new("any", 0), SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE);
}

static void o_spares_those_whose_slabs_would_grow(void **state)
{
	struct kmem_cache *c = kmem_cache_create("page", 4096, 0, 0, NULL);

	(void)state;
	assert_int_equal(c->flags & ALL_CHECKS, 0);
	assert_int_equal(c->red_left, 0);
	kmem_cache_destroy(c);
	assert_int_equal(flags_of_new("small", 0), SLAB_RED_ZONE | SLAB_POISON);
}

static void t_logs_each_call(void **state)
{
	struct kmem_cache *c = kmem_cache_create("noisy", 64, 0, 0, NULL);

	(void)state;
	kmem_cache_free(c, kmem_cache_alloc(c, GFP_KERNEL));
	assert_true(logged("TRACE noisy alloc 0x"));
	assert_true(logged("TRACE noisy free 0x"));
	kmem_cache_destroy(c);
}

/* EDGE_CASES: init_on_alloc/init_on_free apply to every path; not to ctor and RCU caches. */
ON_BOOT(init_alloc, "init_on_alloc=1");
ON_BOOT(init_free, "init_on_free=1");
ON_BOOT(init_poisoned, "init_on_alloc=1 init_on_free=1 slab_debug=P");

static void init_on_alloc_zeroes_what_nobody_asked_to_zero(void **state)
{
	struct kmem_cache *c = kmem_cache_create("zeroed", 200, 0, 0, NULL);
	void *bulk[3];
	u8 *p;

	(void)state;
	for (int i = 0; i < 3; i++) {
		p = kmalloc(300, GFP_KERNEL);
		assert_null(memchr_inv_or_null(p, 300));
		memset(p, 0xff, 300);
		kfree(hidden(p));
		p = kmem_cache_alloc(c, GFP_ATOMIC);
		assert_null(memchr_inv_or_null(p, 200));
		memset(p, 0xff, 200);
		kmem_cache_free(c, p);
	}
	assert_int_equal(kmem_cache_alloc_bulk(c, GFP_KERNEL, 3, bulk), 3);
	for (int i = 0; i < 3; i++)
		assert_null(memchr_inv_or_null(bulk[i], 200));
	kmem_cache_free_bulk(c, 3, bulk);
	kmem_cache_destroy(c);
}

static void init_on_free_wipes_before_anyone_can_read(void **state)
{
	struct kmem_cache *c = kmem_cache_create("wiped", 200, 0, 0, NULL);
	u8 *p = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	memset(p, 0xff, 200);
	kmem_cache_free(c, p);
	watch_open(p, 200);
	assert_null(memchr_inv_or_null(p, 200));
	assert_ptr_equal(kmem_cache_alloc(c, GFP_KERNEL), p);
	kmem_cache_free(c, p);
	kmem_cache_destroy(c);
}

static void set_to_seven(void *obj)
{
	memset(obj, 7, 64);
}

static void neither_touches_constructed_or_rcu_objects(void **state)
{
	struct kmem_cache *made = kmem_cache_create("made", 64, 0, 0, set_to_seven);
	struct kmem_cache *rcu = kmem_cache_create("rcu", 64, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	u8 *a = kmem_cache_alloc(made, GFP_KERNEL), *b = kmem_cache_alloc(rcu, GFP_KERNEL);

	(void)state;
	assert_int_equal(a[0], 7);
	b[63] = 9;
	kmem_cache_free(made, a);
	kmem_cache_free(rcu, b);
	assert_int_equal(b[63], 9);
	assert_ptr_equal(kmem_cache_alloc(made, GFP_KERNEL), a);
	assert_int_equal(a[63], 7);
	assert_ptr_equal(kmem_cache_alloc(rcu, GFP_KERNEL | __GFP_ZERO), b);
	assert_int_equal(b[63], 0);	/* who asks for zeroes gets them */
	kmem_cache_free(made, a);
	kmem_cache_free(rcu, b);
	kmem_cache_destroy(made);
	kmem_cache_destroy(rcu);
}

static void poisoning_wins_over_wiping(void **state)
{
	u8 *p = kmalloc(64, GFP_KERNEL);

	(void)state;
	assert_int_equal(p[0], 0x5a);
	kfree(hidden(p));
	watch_open(p, 64);
	assert_int_equal(p[0], 0x6b);
	watch_hide(p, 64);
}

/* ---- what must not lie in freed memory ---- */

struct busy {
	u64 before[3];
	struct hw_timer timer;
	spinlock_t lock;
};

static void never(struct hw_timer *timer)
{
	(void)timer;
}

static void an_armed_timer_in_a_freed_object_is_reported(void **state)
{
	struct busy *b = kzalloc(sizeof(*b), GFP_KERNEL);
	struct busy *large = kzalloc(40000, GFP_KERNEL);

	(void)state;
	hw_timer_init(&b->timer, never);
	hw_timer_start(&b->timer, ktime_get_ns() + 1000 * NSEC_PER_SEC);
	kfree(hidden(b));
	expect_warn("kfree: active timer freed, 24 bytes into a block of");
	hw_timer_init(&large->timer, never);
	hw_timer_start(&large->timer, ktime_get_ns() + 1000 * NSEC_PER_SEC);
	kfree(hidden(large));
	expect_warn("kfree: active timer freed, 24 bytes into a block of 65536");
}

#ifdef KARC_DEBUG
static void a_held_lock_in_a_freed_object_is_reported(void **state)
{
	struct busy *b = kzalloc(sizeof(*b), GFP_KERNEL), *again;

	(void)state;
	spin_lock_init(&b->lock);
	spin_lock(&b->lock);
	kfree(hidden(b));
	expect_warn("kfree: held lock freed: unranked lock");
	/* The same memory again, so that it can be unlocked. */
	again = kmalloc(sizeof(*b), GFP_ATOMIC);
	spin_unlock(&again->lock);
	kfree(again);
}
#endif

/* ---- finding and forgetting ---- */

static void object_is_found_from_any_of_its_bytes(void **state)
{
	struct kmem_cache *c = kmem_cache_create("found", 100, 0, 0, NULL), *of = NULL;
	char *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	assert_ptr_equal(slab_object_of(obj + 99, &of), obj);
	assert_ptr_equal(of, c);
	assert_null(slab_object_of(&of, NULL));
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

static void forgets_objects(void)
{
	assert_non_null(kmalloc(100, GFP_KERNEL));
	for (int i = 0; i < 3; i++)
		assert_non_null(kmalloc(4096, GFP_KERNEL));
}

static void forgets_a_cache_and_an_object(void)
{
	struct kmem_cache *c = kmem_cache_create("forgotten", 40, 0, 0, NULL);

	assert_non_null(kmem_cache_alloc(c, GFP_KERNEL));
}

static void forgets_large_memory(void)
{
	assert_non_null(kmalloc(30000, GFP_KERNEL));
}

/* One leak is named once: by its object, not again by its frame. */
static void forgotten_objects_are_named_by_cache_and_site(void **state)
{
	struct fixture_verdict v = fixture_run(4, forgets_objects);

	(void)state;
	assert_true(v.red);
	assert_int_equal(v.nr_left, 4);
	assert_non_null(strstr(v.reason, "left: 1 kmalloc-128, 128 bytes, from tests/mm/slab/"));
	assert_non_null(strstr(v.reason, "left: 3 kmalloc-4k, 12288 bytes, from tests/mm/slab/"));
	assert_non_null(strstr(v.reason, "forgets_objects"));
	v = fixture_run(1, forgets_a_cache_and_an_object);
	assert_int_equal(v.nr_left, 2);
	assert_non_null(strstr(v.reason, "kmem_cache 'forgotten'"));
	assert_non_null(strstr(v.reason, "left: 1 forgotten, 40 bytes"));
	v = fixture_run(1, forgets_large_memory);
	assert_int_equal(v.nr_left, 1);
	assert_non_null(strstr(v.reason, "compound page, 32768 bytes"));
	assert_non_null(strstr(v.reason, "forgets_large_memory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(write_after_free_is_found_when_the_object_is_used_again),
		karc_unit_test(write_to_the_last_byte_after_free_is_found),
		karc_unit_test(fresh_memory_has_a_pattern_of_its_own),
		karc_unit_test(write_beyond_the_object_is_found_when_it_is_freed),
		karc_unit_test(write_before_the_object_is_found_when_it_is_freed),
		karc_unit_test(guards_of_free_objects_are_watched_too),
		karc_unit_test(guards_keep_the_alignment),
		karc_unit_test_config(bytes_that_were_not_asked_for_are_guarded, 1,
				      &guarded_kmalloc),
		karc_unit_test(patterns_leave_constructed_objects_alone),
		KARC_TESTS(who_and_when_are_stored_on_demand),
		KARC_TESTS(validation_finds_each_damaged_object_and_repairs_it),
		karc_unit_test(caches_without_patterns_are_always_valid),
		karc_unit_test_config(the_bare_word_means_all_checks_everywhere, 1, &bare),
		karc_unit_test_config(the_old_name_works_too, 1, &old_name),
		karc_unit_test_config(a_dash_takes_all_back, 1, &none),
		karc_unit_test_config(a_list_without_letters_checks_those_caches_only, 1,
				      &one_list),
		karc_unit_test_config(blocks_say_what_for_whom, 1, &blocks),
		karc_unit_test_config(an_unknown_letter_is_named_and_skipped, 1, &bad_letter),
		karc_unit_test_config(o_spares_those_whose_slabs_would_grow, 1, &no_orders),
		karc_unit_test_config(t_logs_each_call, 1, &traced),
		karc_unit_test_config(init_on_alloc_zeroes_what_nobody_asked_to_zero, 4,
				      &init_alloc),
		karc_unit_test_config(init_on_free_wipes_before_anyone_can_read, 4, &init_free),
		karc_unit_test_config(neither_touches_constructed_or_rcu_objects, 1, &init_alloc),
		karc_unit_test_config(neither_touches_constructed_or_rcu_objects, 1, &init_free),
		karc_unit_test_config(poisoning_wins_over_wiping, 1, &init_poisoned),
		KARC_TESTS(an_armed_timer_in_a_freed_object_is_reported),
#ifdef KARC_DEBUG
		KARC_TESTS(a_held_lock_in_a_freed_object_is_reported),
#endif
		karc_unit_test(object_is_found_from_any_of_its_bytes),
		cmocka_unit_test(forgotten_objects_are_named_by_cache_and_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
