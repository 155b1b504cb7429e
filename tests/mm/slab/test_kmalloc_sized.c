/* SPDX-License-Identifier: MIT */
/*
 * Goal: the inlined calls are kmalloc() and kfree(), only quicker.
 *
 * Method: a machine without tracking, where they are inlined in a release build; every class; an
 * allocation that must fail; memory that goes back through an arc type's array.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <karc/base/math.h>
#include <karc/hw/inject.h>
#include <karc/hw/machine.h>
#include <karc/mm/phys/phys.h>
#include <karc/mm/slab/kmalloc_sized.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/room.h>

struct thing {
	struct arc arc;
	u64 payload[2];
};

DEFINE_KMALLOC_OPS(thing, struct thing)

static const struct arc_type thing_type = {
	.name = "thing",
	.size = sizeof(struct thing),
	.array = KMALLOC_ARRAY(sizeof(struct thing)),
	.flags = ARC_LEAF | ARC_PRIVATE,
	.ops = { .alloc = thing_alloc, .free = thing_free },
};

static struct machine *boot(enum machine_mode mode)
{
	static const struct room *const rooms[] = { &hw_room, &refcount_room, &phys_room,
						    &slab_room };
	struct machine_config config = { .mode = mode, .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));

	assert_false(IS_ERR(m));
	machine_enter(m);
	return m;
}

static void leave(struct machine *m)
{
	assert_int_equal(machine_check(m), 0);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

#define EXPECT_CLASS(size, class_size) do {					\
	void *p_ = kmalloc_sized(size, GFP_KERNEL);				\
	uintptr_t first_ = (uintptr_t)p_;					\
	assert_non_null(p_);							\
	assert_int_equal(ksize(p_), class_size);				\
	kfree_sized(p_, size);							\
	p_ = kmalloc_sized(size, GFP_NOWAIT);					\
	assert_int_equal((uintptr_t)p_, first_);				\
	kfree(p_);								\
	p_ = kmalloc_sized(size, GFP_KERNEL);					\
	assert_int_equal((uintptr_t)p_, first_);				\
	kfree_sized(p_, size);							\
} while (0)

static void sizes_have_the_classes_of_kmalloc(void **state)
{
	int mode;

	(void)state;
	for (mode = 0; mode < 2; mode++) {
		struct machine *m = boot(mode ? MACHINE_PARALLEL : MACHINE_DETERMINISTIC);

		EXPECT_CLASS(1, 8);
		EXPECT_CLASS(8, 8);
		EXPECT_CLASS(9, 16);
		EXPECT_CLASS(32, 32);
		EXPECT_CLASS(64, 64);
		EXPECT_CLASS(65, 96);
		EXPECT_CLASS(96, 96);
		EXPECT_CLASS(97, 128);
		EXPECT_CLASS(129, 192);
		EXPECT_CLASS(192, 192);
		EXPECT_CLASS(193, 256);
		EXPECT_CLASS(1024, 1024);
		EXPECT_CLASS(8192, 8192);
		leave(m);
	}
}

static void armed_failure_fails_it(void **state)
{
	struct machine *m = boot(MACHINE_DETERMINISTIC);
	unsigned long asked;
	void *p;

	(void)state;
	p = kmalloc_sized(64, GFP_KERNEL);
	kfree_sized(p, 64);
	asked = inject_count(m);
	p = kmalloc_sized(64, GFP_KERNEL);
	assert_in_range(inject_count(m), asked, asked + 1);	/* not asked where it is inlined */
	kfree_sized(p, 64);
	inject_arm(m, 2);
	p = kmalloc_sized(64, GFP_KERNEL);
	assert_non_null(p);
	assert_null(kmalloc_sized(64, GFP_KERNEL));
	assert_true(inject_disarm(m));
	kfree_sized(p, 64);
	leave(m);
}

static void many_fill_and_empty_the_arrays(void **state)
{
	static void *p[5000];
	struct machine *m = boot(MACHINE_DETERMINISTIC);
	unsigned int i, round;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = kmalloc_sized(128, GFP_KERNEL);
			assert_non_null(p[i]);
			*(unsigned int *)p[i] = i;
		}
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			assert_int_equal(*(unsigned int *)p[i], i);
			kfree_sized(p[i], 128);
		}
	}
	leave(m);
}

static void arc_of_such_memory_gives_it_back(void **state)
{
	struct machine *m = boot(MACHINE_DETERMINISTIC);
	struct thing *t = NULL;
	unsigned int i;

	(void)state;
	assert_int_equal(arc_type_register(&thing_type), 0);
	for (i = 0; i < 3; i++) {
		t = arc_new(&thing_type, GFP_KERNEL);
		assert_non_null(t);
		assert_int_equal(t->payload[0] | t->payload[1], 0);
		t->payload[1] = 1;
		arc_put(&t->arc);
	}
	assert_int_equal(ledger_live(m, &thing_type), 0);
	assert_int_equal(ledger_peak(m, &thing_type), 1);
	leave(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_the_classes_of_kmalloc),
		cmocka_unit_test(armed_failure_fails_it),
		cmocka_unit_test(many_fill_and_empty_the_arrays),
		cmocka_unit_test(arc_of_such_memory_gives_it_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
