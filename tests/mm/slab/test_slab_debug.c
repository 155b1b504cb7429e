/* SPDX-License-Identifier: MIT */
/*
 * Goal: what the debug flags find, and which site a report names.
 * Method: write where one must not, through a pointer the sanitizer was told to forgive.
 */
#include "fixture.h"

#include <string.h>

#include "mm/slab/internal.h"

static void scribble(void *p, size_t offset)
{
	char *volatile q = p;

	mem_unpoison(q + offset, 1);
	q[offset] ^= 0x55;
	mem_poison(q + offset, 1);
}

static void write_after_free_is_found_when_the_object_is_used_again(void **state)
{
	struct kmem_cache *c = kmem_cache_create("poisoned", 100, 0, SLAB_POISON, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_free(c, obj);
	scribble(obj, 50);
	assert_ptr_equal(kmem_cache_alloc(c, GFP_KERNEL), obj);
	expect_warn("slab poisoned: object at");
	assert_true(fixture_log_contains("was written to after it was freed"));
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
	kmem_cache_destroy(c);
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
		karc_unit_test(write_beyond_the_object_is_found_when_it_is_freed),
		karc_unit_test(patterns_leave_constructed_objects_alone),
		karc_unit_test(object_is_found_from_any_of_its_bytes),
		cmocka_unit_test(forgotten_objects_are_named_by_cache_and_site),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
