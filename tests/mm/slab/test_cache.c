/* SPDX-License-Identifier: MIT */
/*
 * Goal: caches: geometry for any size and alignment, creation that fails cleanly, destruction
 * with live objects and twice, and the text of slabinfo.
 * Method: sweeps over sizes; fail-nth; the text is parsed as a reader of /proc/slabinfo does.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include <karc/refcount/ledger.h>
#include "mm/slab/internal.h"

static void any_size_and_alignment_works(void **state)
{
	(void)state;
	for (unsigned int size = 8; size <= 4096; size = size * 3 / 2 + 1) {
		struct kmem_cache *c = kmem_cache_create("sweep", size, 0, 0, NULL);
		char *obj = kmem_cache_alloc(c, GFP_KERNEL);

		memset(obj, 1, size);
		assert_true(c->num * c->size <= PAGE_SIZE << c->gfporder);
		assert_true(c->size >= size);
		kmem_cache_free(c, obj);
		kmem_cache_destroy(c);
	}
	for (unsigned int size = 8; size <= 32768; size *= 2) {
		struct kmem_cache *c = kmem_cache_create("sweep", size, size, 0, NULL);
		void *obj[3];

		for (int i = 0; i < 3; i++) {
			obj[i] = kmem_cache_alloc(c, GFP_KERNEL);
			assert_true(IS_ALIGNED((unsigned long)obj[i], size));
		}
		for (int i = 0; i < 3; i++)
			kmem_cache_free(c, obj[i]);
		kmem_cache_destroy(c);
	}
}

static void hwcache_align_keeps_objects_in_one_line(void **state)
{
	static const unsigned int sizes[] = { 8, 20, 33, 60, 100 };
	static const unsigned int want[] = { 8, 32, 64, 64, 64 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *c = kmem_cache_create("line", sizes[i], 0, SLAB_HWCACHE_ALIGN,
							 NULL);

		assert_int_equal(c->align, want[i]);
		kmem_cache_destroy(c);
	}
}

static void leaves_it_alone(void *obj)
{
	(void)obj;
}

/* In Linux's order: in a free object, elsewhere, on the slab. */
static void free_list_lies_where_it_costs_least(void **state)
{
	struct kmem_cache *small = kmem_cache_create("small", 64, 0, 0, NULL);
	struct kmem_cache *plain = kmem_cache_create("plain", 2048, 0, 0, NULL);
	struct kmem_cache *made = kmem_cache_create("made", 2048, 0, 0, leaves_it_alone);
	struct kmem_cache *rcu = kmem_cache_create("rcu", 1024, 0, SLAB_TYPESAFE_BY_RCU, NULL);
	struct kmem_cache *spacious = kmem_cache_create("room", 1300, 0, 0, leaves_it_alone);
	struct kmem_cache *secret = kmem_cache_create("secret", 2048, 0, SLAB_NOLEAKTRACE,
						      leaves_it_alone);
	void *obj = kmem_cache_alloc(made, GFP_KERNEL);

	(void)state;
	assert_false(OFF_SLAB(small) || OBJFREELIST(small));
	assert_int_equal(OBJFREELIST(plain), !(plain->debug & DEBUG_FREE_IS_FIXED));
	assert_false(OBJFREELIST(plain) && OFF_SLAB(plain));
	assert_true(OFF_SLAB(made) && OFF_SLAB(rcu));
	assert_false(OFF_SLAB(spacious) || OBJFREELIST(spacious));
	assert_false(OFF_SLAB(secret) || OBJFREELIST(secret));
	assert_false(OFF_SLAB(made->freelist_cache));
	assert_ptr_equal(virt_to_head_page(virt_to_head_page(obj)->freelist)->slab_cache,
			 made->freelist_cache);
	kmem_cache_free(made, obj);
	kmem_cache_destroy(small);
	kmem_cache_destroy(plain);
	kmem_cache_destroy(made);
	kmem_cache_destroy(rcu);
	kmem_cache_destroy(spacious);
	kmem_cache_destroy(secret);
}

/* The list moves to whichever object comes back first, and out of the one that goes last. */
static void free_list_in_a_free_object_survives_any_order(void **state)
{
	struct kmem_cache *c = kmem_cache_create("inside", 512, 0, 0, NULL);
	static char *p[8];
	struct page *page;

	(void)state;
	if (!OBJFREELIST(c)) {
		kmem_cache_destroy(c);
		skip();
	}
	assert_int_equal(c->num, 8);
	for (unsigned int i = 0; i < 8; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	page = virt_to_head_page(p[0]);
	for (unsigned int first = 0; first < 8; first++) {
		assert_null(page->freelist);
		for (unsigned int i = 0; i < 8; i++) {
			memset(p[(first + i * 3) % 8], 0xff, 512);
			kmem_cache_free(c, p[(first + i * 3) % 8]);
			drain_cpu_array(c, smp_processor_id());
			drain_shared_array(c, c->node[0], 0);
			if (!i)
				assert_ptr_equal(page->freelist, p[first]);
			assert_int_equal(machine_check(this_machine()), 0);
		}
		for (unsigned int i = 0; i < 8; i++) {
			p[i] = kmem_cache_alloc(c, GFP_KERNEL);
			for (unsigned int k = 0; k < i; k++)
				assert_ptr_not_equal(p[i], p[k]);
		}
		/* Ascending again by name, whatever order they came in. */
		for (unsigned int i = 0; i < 8; i++)
			p[i] = (char *)page->s_mem + i * 512;
	}
	for (unsigned int i = 0; i < 8; i++)
		kmem_cache_free(c, p[i]);
	kmem_cache_destroy(c);
}

static void same_name_can_come_and_go(void **state)
{
	unsigned long before = phys_nr_free(this_machine());

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct kmem_cache *c = kmem_cache_create("again", 100 + i, 0, 0, NULL);
		void *obj = kmem_cache_alloc(c, GFP_KERNEL);

		assert_string_equal(kmem_cache_name(c), "again");
		assert_int_equal(kmem_cache_size(c), 100 + i);
		kmem_cache_free(c, obj);
		kmem_cache_destroy(c);
	}
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

static void nonsense_is_refused(void **state)
{
	(void)state;
	assert_null(kmem_cache_create(NULL, 8, 0, 0, NULL));
	expect_warn("!name");
	assert_null(kmem_cache_create("huge", KMALLOC_MAX_SIZE + 1, 0, 0, NULL));
	expect_warn("!name");
	assert_null(kmem_cache_create("crooked", 8, 24, 0, NULL));
	expect_warn("!name");
	assert_null(kmem_cache_create_usercopy("copy", 64, 0, 0, 60, 8, NULL));
	expect_warn("!name");
}

static long create_in_panic(void *arg)
{
	(void)arg;
	inject_arm(this_machine(), 1);
	return kmem_cache_create("vital", 8, 0, SLAB_PANIC, NULL) != NULL;
}

static void panic_flag_makes_failure_a_bug(void **state)
{
	(void)state;
	expect_bug(create_in_panic, NULL, "kmem_cache_create(vital) failed");
	inject_disarm(this_machine());
}

static struct kmem_cache *nth_cache;

static long nth_create(void *arg)
{
	(void)arg;
	nth_cache = kmem_cache_create("nth", 64, 0, 0, NULL);
	return nth_cache ? 0 : -ENOMEM;
}

static void nth_destroy(void *arg)
{
	(void)arg;
	kmem_cache_destroy(nth_cache);
}

static void creation_fails_cleanly(void **state)
{
	(void)state;
	assert_int_equal(fixture_fail_nth(.body = nth_create, .undo = nth_destroy), 1);
}

static void destroy_with_live_objects_names_them_and_lets_them_be_freed(void **state)
{
	struct kmem_cache *c = kmem_cache_create("busy", 64, 0, 0, NULL);
	void *a = kmem_cache_alloc(c, GFP_KERNEL), *b = kmem_cache_alloc(c, GFP_KERNEL);

	(void)state;
	kmem_cache_destroy(c);
	expect_warn("kmem_cache_destroy busy: Slab cache still has objects");
	assert_true(fixture_log_contains("busy: 2 objects, from tests/mm/slab/test_cache.c"));
	kfree(a);
	kmem_cache_free(c, b);
	assert_int_equal(kmem_cache_live_objects(c), 0);
}

/* Each by itself, up to a bound; those that lie free in arrays are not among them. */
static void destroy_names_each_live_object(void **state)
{
	struct kmem_cache *c = kmem_cache_create("crowd", 512, 0, 0, NULL);
	char line[80];
	void *p[12];

	(void)state;
	for (int i = 0; i < 12; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	for (int i = 0; i < 12; i += 3)
		kmem_cache_free(c, p[i]);
	kmem_cache_destroy(c);
	expect_warn("kmem_cache_destroy crowd: Slab cache still has objects");
	for (int i = 0; i < 12; i++) {
		snprintf(line, sizeof(line), "crowd: object 0x%llx of slab",
			 (unsigned long long)trace_address(p[i]));
		assert_int_equal(fixture_log_contains(line), i % 3 != 0);
	}
	for (int i = 0; i < 12; i++) {
		if (i % 3)
			kfree(p[i]);
	}
}

static void any_power_of_two_aligns_any_size(void **state)
{
	(void)state;
	for (unsigned int align = 8; align <= 4096; align *= 2) {
		for (unsigned int size = 8; size <= 4096; size = size * 5 / 3 + 3) {
			struct kmem_cache *c = kmem_cache_create("pair", size, align, 0, NULL);
			void *p[2];

			for (int i = 0; i < 2; i++) {
				p[i] = kmem_cache_alloc(c, GFP_KERNEL);
				assert_true(IS_ALIGNED((unsigned long)p[i], align));
				memset(p[i], 0xa5, size);
			}
			kmem_cache_free(c, p[0]);
			kmem_cache_free(c, p[1]);
			kmem_cache_destroy(c);
		}
	}
}

/* Never merged here, with a ctor or without one. */
static void twins_share_no_slab(void **state)
{
	struct kmem_cache *a = kmem_cache_create("twin", 64, 0, 0, leaves_it_alone);
	struct kmem_cache *b = kmem_cache_create("twin", 64, 0, 0, NULL);
	void *p = kmem_cache_alloc(a, GFP_KERNEL), *q = kmem_cache_alloc(b, GFP_KERNEL);

	(void)state;
	assert_ptr_not_equal(virt_to_head_page(p), virt_to_head_page(q));
	kmem_cache_free(a, p);
	kmem_cache_free(b, q);
	kmem_cache_destroy(a);
	kmem_cache_destroy(b);
}

static void slab_pages_are_in_the_ledger(void **state)
{
	unsigned long before = ledger_live_kind(this_machine(), "slab page");
	struct kmem_cache *c = kmem_cache_create("entered", 2048, 0, 0, NULL);
	void *p[6];

	(void)state;
	for (int i = 0; i < 6; i++)
		p[i] = kmem_cache_alloc(c, GFP_KERNEL);
	/* And that of the free lists, if they lie elsewhere. */
	assert_int_equal(ledger_live_kind(this_machine(), "slab page"),
			 before + kmem_cache_nr_slabs(c) + (OFF_SLAB(c) ? 1 : 0));
	for (int i = 0; i < 6; i++)
		kmem_cache_free(c, p[i]);
	kmem_cache_destroy(c);
	machine_quiesce(this_machine());
	assert_int_equal(ledger_live_kind(this_machine(), "slab page"), before);
}

static void second_destroy_is_reported(void **state)
{
	struct kmem_cache *c = kmem_cache_create("twice", 64, 0, 0, NULL);

	(void)state;
	kmem_cache_destroy(NULL);
	kmem_cache_destroy(c);
	expect_no_warn();
	kmem_cache_destroy(c);
	expect_warn("not a cache, or destroyed already");
}

static void slabinfo_reads_as_linux_writes_it(void **state)
{
	struct kmem_cache *c = kmem_cache_create("shown", 64, 0, 0, NULL);
	void *obj = kmem_cache_alloc(c, GFP_KERNEL);
	char *text = NULL, *line;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned long active, num, objsize, per_slab, pages, slabs[2];

	(void)state;
	slabinfo_show(out);
	fclose(out);
	assert_int_equal(strncmp(text, "slabinfo - version: 2.1 (statistics)\n# name", 43), 0);
	line = strstr(text, "\nshown ");
	assert_non_null(line);
	assert_int_equal(sscanf(line, " shown %lu %lu %lu %lu %lu : tunables %*u %*u %*u : "
				"slabdata %lu %lu", &active, &num, &objsize, &per_slab, &pages,
				&slabs[0], &slabs[1]), 7);
	assert_int_equal(num, c->num);
	assert_int_equal(objsize, c->size);
	assert_int_equal(per_slab, c->num);
	assert_int_equal(pages, 1);
	assert_int_equal(slabs[1], 1);
	assert_in_range(active, 1, num);
	assert_non_null(strstr(text, "\nkmalloc-8k "));
	free(text);
	kmem_cache_free(c, obj);
	kmem_cache_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(any_size_and_alignment_works),
		karc_unit_test(hwcache_align_keeps_objects_in_one_line),
		karc_unit_test(free_list_lies_where_it_costs_least),
		karc_unit_test(free_list_in_a_free_object_survives_any_order),
		KARC_TESTS(same_name_can_come_and_go),
		karc_unit_test(nonsense_is_refused),
		karc_unit_test(panic_flag_makes_failure_a_bug),
		karc_unit_test(creation_fails_cleanly),
		KARC_TESTS(destroy_with_live_objects_names_them_and_lets_them_be_freed),
		KARC_TESTS(destroy_names_each_live_object),
		karc_unit_test(any_power_of_two_aligns_any_size),
		karc_unit_test(twins_share_no_slab),
		karc_unit_test(slab_pages_are_in_the_ledger),
		karc_unit_test(second_destroy_is_reported),
		karc_unit_test(slabinfo_reads_as_linux_writes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
