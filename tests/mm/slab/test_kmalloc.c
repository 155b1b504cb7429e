/* SPDX-License-Identifier: MIT */
/*
 * Goal: kmalloc and kfree: sizes, alignment, what is zero and what is kept, growing, freeing
 * after a grace period, and every kind of pointer that must not be freed.
 * Method: 1e5 random operations with content checks on 4 CPUs (seed printed); each mistake is made
 * and must be reported while the allocator stays whole.
 */
#include "fixture.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <karc/base/err.h>
#include <karc/base/rand.h>
#include <karc/hw/fiber.h>
#include <karc/hw/irq.h>
#include <karc/hw/inject.h>
#include <karc/mm/phys/vmstat.h>
#include "mm/slab/internal.h"

static u64 seed_of_run(void)
{
	const char *text = getenv("KARC_TEST_SEED");

	return text ? strtoull(text, NULL, 0) : 22;
}

/* So that compilers do not see the mistakes that are made on purpose. */
static void *launder(const void *p)
{
	void *volatile q = (void *)p;

	return q;
}

/* ---- random operations ---- */

#define NR_SLOTS	1024
#define ROUNDS		12000		/* on each CPU */

struct slot {
	u8 *p;
	size_t size;
	u8 stamp;
};

static struct slot slots[NR_SLOTS];
static spinlock_t slots_lock;

static size_t random_size(struct rnd *rnd)
{
	if (rnd_chance(rnd, 1, 200))
		return 1 + rnd_below(rnd, 100000);
	return 1 + (rnd_chance(rnd, 1, 10) ? rnd_below(rnd, 9000) : rnd_below(rnd, 300));
}

static void assert_bytes(const u8 *p, size_t size, u8 stamp)
{
	assert_int_equal(p[0], stamp);
	assert_int_equal(p[size - 1], stamp);
	assert_true(size < 2 || memcmp(p, p + 1, size - 1) == 0);
}

static void regrow(struct slot *slot, size_t size)
{
	u8 *p = krealloc(slot->p, size, GFP_KERNEL);

	assert_non_null(p);
	assert_bytes(p, min(size, slot->size), slot->stamp);
	memset(p, slot->stamp, size);
	slot->p = p;
	slot->size = size;
}

/* What is in a slot is nobody else's while it is out. */
static struct slot slot_take(struct slot *slot)
{
	struct slot mine;

	spin_lock(&slots_lock);
	mine = *slot;
	slot->p = NULL;
	spin_unlock(&slots_lock);
	return mine;
}

/* False when somebody put something there meanwhile. */
static bool slot_give(struct slot *slot, const struct slot *mine)
{
	bool empty;

	spin_lock(&slots_lock);
	empty = !slot->p;
	if (empty)
		*slot = *mine;
	spin_unlock(&slots_lock);
	return empty;
}

static void slots_init(void)
{
	spin_lock_init(&slots_lock);
	memset(slots, 0, sizeof(slots));
}

static long worker(void *arg)
{
	struct rnd rnd;

	rnd_seed(&rnd, (u64)(unsigned long)arg);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct slot *slot = &slots[rnd_below(&rnd, NR_SLOTS)];
		struct slot mine = slot_take(slot);

		if (!mine.p) {
			mine.size = random_size(&rnd);
			mine.stamp = (u8)rnd_u32(&rnd);
			mine.p = kmalloc(mine.size, GFP_KERNEL);
			assert_non_null(mine.p);
			memset(mine.p, mine.stamp, mine.size);
		} else {
			assert_bytes(mine.p, mine.size, mine.stamp);
			if (rnd_chance(&rnd, 1, 8)) {
				regrow(&mine, random_size(&rnd));
			} else {
				kfree(mine.p);
				continue;
			}
		}
		if (!slot_give(slot, &mine))
			kfree(mine.p);
	}
	return 0;
}

static void random_operations_keep_every_byte(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	unsigned int nr_cpus = machine_nr_cpus(this_machine());
	struct fiber *fibers[8];

	(void)state;
	print_message("seed %llu\n", seed_of_run());
	slots_init();
	for (unsigned int i = 0; i < nr_cpus; i++)
		fibers[i] = fiber_spawn(i, "worker", worker,
					(void *)(unsigned long)(seed_of_run() * 8 + i));
	for (unsigned int i = 0; i < nr_cpus; i++)
		fiber_join(fibers[i], NULL);
	assert_int_equal(machine_check(this_machine()), 0);
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		kfree(slots[i].p);
	machine_quiesce(this_machine());
	assert_int_equal(phys_nr_free(this_machine()), before);
}

/* ---- the same without tracking: the fast road ---- */

#define X(name) extern const struct room name;
KARC_TEST_ROOMS
#undef X

static const struct room *const rooms[] = {
#define X(name) &name,
	KARC_TEST_ROOMS
#undef X
};

static void untracked_machine_keeps_every_byte(enum machine_mode mode)
{
	struct machine_config config = { .mode = mode, .nr_cpus = 4, .quiet = true };
	struct machine *m = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	struct fiber *fibers[4];
	unsigned long before;
	void *p, *q, *again;

	assert_false(IS_ERR(m));
	before = phys_nr_free(m);
	slots_init();
	machine_enter(m);
	for (unsigned int i = 0; i < 4; i++)
		fibers[i] = fiber_spawn(i, "worker", worker, (void *)(unsigned long)(i + 1));
	for (unsigned int i = 0; i < 4; i++)
		fiber_join(fibers[i], NULL);
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		kfree(slots[i].p);
	machine_quiesce(m);		/* no array is busy now: the last one freed comes first */
	p = kmalloc(64, GFP_KERNEL);
	again = launder(p);
	kfree(p);
	q = kmalloc(64, GFP_KERNEL);
	assert_ptr_equal(again, q);
	again = launder(q);
	kfree(q);
	assert_int_equal(machine_counters(m).warnings, 0);
	kfree(again);			/* the last one freed, again */
	assert_int_equal(machine_counters(m).warnings, 1);
	machine_quiesce(m);
	assert_int_equal(machine_check(m), 0);
	assert_int_equal(phys_nr_free(m), before);
	machine_leave();
	assert_int_equal(machine_shutdown(m), 0);
}

static void untracked_machine_keeps_every_byte_too(void **state)
{
	(void)state;
	untracked_machine_keeps_every_byte(MACHINE_DETERMINISTIC);
	untracked_machine_keeps_every_byte(MACHINE_PARALLEL);
}

/* ---- sizes ---- */

static void sizes_round_up_to_their_cache(void **state)
{
	static const struct {
		size_t size, gives;
	} want[] = {
		{ 1, 8 }, { 8, 8 }, { 9, 16 }, { 33, 64 }, { 65, 96 }, { 96, 96 }, { 97, 128 },
		{ 129, 192 }, { 193, 256 }, { 257, 512 }, { 4096, 4096 }, { 4097, 8192 },
		{ 8192, 8192 }, { 8193, 16384 }, { 100000, 131072 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		char *p = kmalloc(want[i].size, GFP_KERNEL);

		assert_int_equal(ksize(p), want[i].gives);
		assert_int_equal(kmalloc_size_roundup(want[i].size), want[i].gives);
		memset(p, 0xff, ksize(p));
		if (is_power_of_2(want[i].gives))
			assert_true(IS_ALIGNED((unsigned long)p, want[i].gives));
		kfree(p);
	}
}

static void large_blocks_come_from_the_buddy_up_to_4_mib(void **state)
{
	unsigned long before = phys_nr_free(this_machine());
	char *p = kmalloc(4UL << 20, GFP_KERNEL);

	(void)state;
	assert_int_equal(KMALLOC_MAX_SIZE, 4UL << 20);
	assert_false(PageSlab(virt_to_head_page(p)));
	p[0] = p[(4UL << 20) - 1] = 1;
	kfree(p);
	assert_int_equal(phys_nr_free(this_machine()), before);
	assert_null(kmalloc((4UL << 20) + 1, GFP_KERNEL));
	expect_warn("__GFP_NOWARN");
	assert_null(kmalloc((4UL << 20) + 1, GFP_KERNEL | __GFP_NOWARN));
	expect_no_warn();
}

static void zero_size_is_a_pointer_that_can_be_freed(void **state)
{
	void *p = kmalloc(0, GFP_KERNEL);

	(void)state;
	assert_ptr_equal(p, ZERO_SIZE_PTR);
	assert_int_equal(ksize(p), 0);
	kfree(p);
	kfree(NULL);
	kfree_sensitive(NULL);
}

static void overflowing_products_fail_quietly(void **state)
{
	(void)state;
	assert_null(kmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL));
	assert_null(kcalloc(SIZE_MAX, SIZE_MAX, GFP_KERNEL));
	expect_no_warn();
}

static void zeroed_memory_is_zero_after_use(void **state)
{
	(void)state;
	for (size_t size = 8; size <= 32768; size *= 2) {
		u8 *p = kmalloc(size, GFP_KERNEL);

		memset(p, 0xee, size);
		kfree(p);
		p = kzalloc(size, GFP_KERNEL);
		assert_int_equal(p[0], 0);
		assert_true(memcmp(p, p + 1, size - 1) == 0);
		kfree(p);
		p = kcalloc(size / 8, 8, GFP_KERNEL);
		assert_int_equal(p[size - 1], 0);
		kfree(p);
	}
}

static void dma_memory_is_below_16_mib(void **state)
{
	void *p = kmalloc(100, GFP_KERNEL | GFP_DMA), *q = kmalloc(20000, GFP_KERNEL | GFP_DMA);

	(void)state;
	assert_true(virt_to_phys(p) < 16UL << 20);
	assert_true(virt_to_phys(q) < 16UL << 20);
	kfree(p);
	kfree(q);
}

static void slab_bytes_are_counted(void **state)
{
	unsigned long before = global_node_page_state(NR_SLAB_UNRECLAIMABLE_B);
	/* The second so small that its free list is on the slab whatever is checked. */
	void *p = kmalloc(65536, GFP_KERNEL), *q = kmalloc(8, GFP_KERNEL);

	(void)state;
	assert_int_equal(global_node_page_state(NR_SLAB_UNRECLAIMABLE_B),
			 before + 65536 + page_size(virt_to_head_page(q)));
	kfree(p);
	kfree(q);
	machine_quiesce(this_machine());
	assert_int_equal(global_node_page_state(NR_SLAB_UNRECLAIMABLE_B), before);
}

/* ---- krealloc, kfree_sensitive ---- */

static void krealloc_grows_in_place_or_moves(void **state)
{
	char *p = kmalloc(40, GFP_KERNEL), *q;

	(void)state;
	strcpy(p, "keep");
	q = krealloc(p, 64, GFP_KERNEL);
	assert_ptr_equal(q, p);
	q = krealloc(p, 65, GFP_KERNEL);
	assert_ptr_not_equal(q, p);
	assert_string_equal(q, "keep");
	p = krealloc(q, 20000, GFP_KERNEL);
	assert_string_equal(p, "keep");
	assert_ptr_equal(krealloc(p, 0, GFP_KERNEL), ZERO_SIZE_PTR);
	p = krealloc(NULL, 10, GFP_KERNEL);
	assert_int_equal(ksize(p), 16);
	inject_arm(this_machine(), 1);
	assert_null(krealloc(p, 1000, GFP_KERNEL));
	assert_true(inject_disarm(this_machine()));
	q = launder(p);
	kfree(p);
	assert_null(krealloc(q, 100, GFP_KERNEL));
	expect_warn("krealloc of freed memory");
}

static void sensitive_memory_is_wiped(void **state)
{
	u8 *p = kmalloc(64, GFP_KERNEL), *freed = launder(p);

	(void)state;
	memset(p, 0x77, 64);
	kfree_sensitive(p);
	mem_unpoison(freed, 64);
	assert_int_equal(freed[63], 0);
	mem_poison(freed, 64);
}

/* ---- after a grace period ---- */

struct counted {
	char pad[24];
	struct rcu_head rcu;
};

struct large {
	char pad[10000];
	struct rcu_head rcu;
};

static void kfree_rcu_waits_for_readers(void **state)
{
	struct counted *p = kmalloc(sizeof(*p), GFP_KERNEL);
	struct large *q = kmalloc(sizeof(*q), GFP_KERNEL);
	struct kmem_cache *c = kmem_cache_create("rcu", sizeof(*p), 0, 0, NULL);
	struct counted *r = kmem_cache_alloc(c, GFP_KERNEL), *none = NULL;

	(void)state;
	rcu_read_lock();
	p->pad[0] = 5;
	kfree_rcu(p, rcu);
	kfree_rcu(q, rcu);
	kfree_rcu(r, rcu);
	kfree_rcu(none, rcu);
	assert_int_equal(p->pad[0], 5);
	assert_int_equal(kmem_cache_live_objects(c), 1);
	rcu_read_unlock();
	rcu_barrier();
	assert_int_equal(kmem_cache_live_objects(c), 0);
	p = kmalloc(sizeof(*p), GFP_KERNEL);
	kfree_rcu(p);
	kmem_cache_destroy(c);
}

/* ---- pointers that must not be freed ---- */

static void what_is_no_slab_object_is_reported_and_left_alone(void **state)
{
	unsigned long before;
	struct page *page = alloc_page(GFP_KERNEL);
	struct page *block = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	char *large = kmalloc(20000, GFP_KERNEL), *small = kmalloc(64, GFP_KERNEL);
	int on_stack;
	static int of_the_host;

	(void)state;
	before = phys_nr_free(this_machine());
	kfree(launder(&on_stack));
	expect_warn("stack of the running task");
	kfree(launder(&of_the_host));
	expect_warn("memory of the host or of another machine");
	kfree(launder(page_address(page)));
	expect_warn("a frame that is not a slab page");
	kfree(launder(page_address(block)));
	expect_warn("inside a block of frames");
	kfree(launder(large + 4096));
	expect_warn("inside a block of frames");
	kfree(launder(small + 8));
	expect_warn("not the start of an object");
	kfree(launder(phys_to_virt(700UL << 10)));
	expect_warn("an address without memory behind it");
	assert_int_equal(ksize(&on_stack), 0);
	expect_warn("ksize: an address on the stack");
	assert_int_equal(phys_nr_free(this_machine()), before);
	kfree(large);
	kfree(small);
	__free_pages(block, 2);
	__free_page(page);
}

static void object_of_another_machine_is_reported(void **state)
{
	struct machine_config config = { .quiet = true };
	struct machine *a = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	struct machine *b = machine_boot_rooms(&config, rooms, ARRAY_SIZE(rooms));
	void *p;

	(void)state;
	machine_enter(a);
	p = kmalloc(100, GFP_KERNEL);
	machine_leave();
	machine_enter(b);
	kfree(launder(p));
	assert_int_equal(machine_counters(b).warnings, 1);
	machine_leave();
	assert_int_equal(machine_shutdown(b), 0);
	machine_enter(a);
	kfree(p);
	machine_leave();
	assert_int_equal(machine_shutdown(a), 0);
}

static void double_kfree_is_reported(void **state)
{
	void *p = kmalloc(100, GFP_KERNEL), *q = kmalloc(100, GFP_KERNEL);
	void *large = kmalloc(50000, GFP_KERNEL);
	void *again = launder(p), *large_again = launder(large);

	(void)state;
	kfree(p);
	kfree(q);
	kfree(again);
	expect_warn("double free detected in cache 'kmalloc-128'");
	assert_true(fixture_log_contains("freed again at tests/mm/slab/test_kmalloc.c"));
	kfree(large);
	kfree(large_again);
	expect_warn("a frame that is not a slab page");
	assert_int_equal(machine_check(this_machine()), 0);
}

/* ---- context and failure ---- */

static void allocation_works_with_interrupts_off_if_it_may_not_sleep(void **state)
{
	unsigned long flags;
	void *p;

	(void)state;
	local_irq_save(flags);
	p = kmalloc(100, GFP_ATOMIC);
	assert_true(irqs_disabled());
	kfree(p);
	assert_true(irqs_disabled());
	local_irq_restore(flags);
	expect_no_warn();
	local_irq_save(flags);
	p = kmalloc(100, GFP_KERNEL);
	local_irq_restore(flags);
	expect_warn("invalid context at tests/mm/slab/test_kmalloc.c");
	kfree(p);
}

static void *nth_p;

static long nth_kmalloc(void *arg)
{
	nth_p = kmalloc((size_t)arg, GFP_KERNEL);
	return nth_p ? 0 : -ENOMEM;
}

static void nth_kfree(void *arg)
{
	(void)arg;
	kfree(nth_p);
	machine_quiesce(this_machine());
}

static void nth_snapshot(void *arg, u64 values[FIXTURE_SNAPSHOT_MAX])
{
	(void)arg;
	machine_quiesce(this_machine());
	values[0] = phys_nr_free(this_machine());
}

static void injected_failure_changes_nothing(void **state)
{
	static const size_t sizes[] = { 8, 192, 1024, 4096 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* The object and its frame; a free list elsewhere is an object with a frame, too. */
		bool off_slab = OFF_SLAB(kmalloc_slab(slab_here(), sizes[i], GFP_KERNEL));

		assert_int_equal(fixture_fail_nth(.body = nth_kmalloc, .undo = nth_kfree,
						  .snapshot = nth_snapshot,
						  .arg = (void *)sizes[i]), off_slab ? 4 : 2);
	}
	assert_int_equal(fixture_fail_nth(.body = nth_kmalloc, .undo = nth_kfree,
					  .snapshot = nth_snapshot, .arg = (void *)20000UL), 1);
}

static void request_that_must_not_fail_ignores_injection(void **state)
{
	void *p;

	(void)state;
	inject_arm(this_machine(), 1);
	p = kmalloc(100, GFP_KERNEL | __GFP_NOFAIL);
	assert_non_null(p);
	inject_disarm(this_machine());
	kfree(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(random_operations_keep_every_byte),
		cmocka_unit_test(untracked_machine_keeps_every_byte_too),
		karc_unit_test(sizes_round_up_to_their_cache),
		karc_unit_test(large_blocks_come_from_the_buddy_up_to_4_mib),
		karc_unit_test(zero_size_is_a_pointer_that_can_be_freed),
		karc_unit_test(overflowing_products_fail_quietly),
		karc_unit_test(zeroed_memory_is_zero_after_use),
		karc_unit_test(dma_memory_is_below_16_mib),
		karc_unit_test(slab_bytes_are_counted),
		karc_unit_test(krealloc_grows_in_place_or_moves),
		karc_unit_test(sensitive_memory_is_wiped),
		KARC_TESTS(kfree_rcu_waits_for_readers),
		karc_unit_test(what_is_no_slab_object_is_reported_and_left_alone),
		cmocka_unit_test(object_of_another_machine_is_reported),
		karc_unit_test(double_kfree_is_reported),
		karc_unit_test(allocation_works_with_interrupts_off_if_it_may_not_sleep),
		KARC_TESTS(injected_failure_changes_nothing),
		karc_unit_test(request_that_must_not_fail_ignores_injection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
