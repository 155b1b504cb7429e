/* SPDX-License-Identifier: MIT */
/*
 * Goal: a slot always holds one reference of its own; whoever loads gets a live object or nothing,
 * and a look without a count stays whole to the end of the reader.
 * Method: objects that count their ends; readers and writers on all CPUs, who check the content.
 */
#include "fixture.h"

#include <karc/refcount/slot.h>

#include "refcount_test.h"

#define NR_ROUNDS	100

struct config {
	struct arc arc;
	unsigned int a, b;		/* a == b while it is whole */
	unsigned int *nr_drops;
};

static void config_drop(void *obj)
{
	struct config *c = obj;

	WRITE_ONCE(c->a, 0);
	__atomic_fetch_add(c->nr_drops, 1, __ATOMIC_RELAXED);
	WRITE_ONCE(c->b, 1);
}

static void config_free(void *obj)
{
	hostmem_free(NULL, obj);
}

static const struct arc_type config_type = {
	.name = "config", .size = sizeof(struct config), .flags = ARC_RCU,
	.ops = { .drop = config_drop, .free = config_free },
};

static const struct arc_type plain_type = {
	.name = "plain config", .size = sizeof(struct config),
	.ops = { .drop = config_drop, .free = config_free },
};

static struct arc *config_new_of(const struct arc_type *type, unsigned int n,
				 unsigned int *nr_drops)
{
	struct config *c = must_alloc(sizeof(*c));

	assert_int_equal(arc_type_register(type), 0);
	c->a = c->b = n;
	c->nr_drops = nr_drops;
	arc_init(&c->arc, type);
	return &c->arc;
}

static struct arc *config_new(unsigned int n, unsigned int *nr_drops)
{
	return config_new_of(&config_type, n, nr_drops);
}

static void load_gives_a_reference(void **state)
{
	struct arc_slot slot = ARC_SLOT_EMPTY;
	struct arc *arc, *loaded;
	unsigned int nr = 0;

	(void)state;
	assert_null(arc_slot_load(&slot));
	arc = config_new(1, &nr);
	arc_slot_store(&slot, arc);
	loaded = arc_slot_load(&slot);
	assert_ptr_equal(loaded, arc);
	assert_int_equal(arc_count(arc), 2);
	arc_slot_store(&slot, NULL);
	assert_null(arc_slot_load(&slot));
	assert_int_equal(arc_count(loaded), 1);
	assert_int_equal(nr, 0);
	arc_put(loaded);
	assert_int_equal(nr, 1);
}

static void store_puts_what_was_there_after_the_readers(void **state)
{
	struct arc_slot slot;
	struct config *lent;
	unsigned int nr = 0;

	(void)state;
	arc_slot_init(&slot);
	arc_slot_store(&slot, config_new(1, &nr));
	rcu_read_lock();
	lent = arc_object(arc_slot_load_rcu(&slot));
	arc_slot_store(&slot, config_new(2, &nr));
	assert_int_equal(lent->a, 1);
	assert_int_equal(lent->b, 1);
	assert_null(arc_tryget(&lent->arc));
	assert_int_equal(nr, 0);
	rcu_read_unlock();
	machine_quiesce(this_machine());
	assert_int_equal(nr, 1);
	arc_slot_store(&slot, NULL);
	machine_quiesce(this_machine());
	assert_int_equal(nr, 2);
}

static void exchange_gives_what_was_there(void **state)
{
	struct arc_slot slot = ARC_SLOT_EMPTY;
	unsigned int nr = 0;
	struct arc *one = config_new(1, &nr), *two = config_new(2, &nr);

	(void)state;
	assert_null(arc_slot_exchange(&slot, one));
	assert_ptr_equal(arc_slot_exchange(&slot, two), one);
	assert_int_equal(arc_count(one), 1);
	assert_int_equal(arc_count(two), 1);
	assert_ptr_equal((arc_slot_exchange)(&slot, NULL), two);
	assert_null((arc_slot_load)(&slot));
	(arc_slot_store)(&slot, one);
	assert_ptr_equal(arc_slot_exchange(&slot, NULL), one);
	arc_put_rcu(one);
	arc_put_rcu(two);
	machine_quiesce(this_machine());
	assert_int_equal(nr, 2);
}

static void compare_exchange_gives_what_is_not_in_the_slot(void **state)
{
	struct arc_slot slot = ARC_SLOT_EMPTY;
	unsigned int nr = 0;
	struct arc *one = config_new(1, &nr), *two = config_new(2, &nr);

	(void)state;
	assert_null(arc_slot_compare_exchange(&slot, NULL, one));
	assert_ptr_equal(arc_slot_compare_exchange(&slot, two, two), two);
	assert_ptr_equal(arc_slot_load_rcu(&slot), one);
	assert_ptr_equal(arc_slot_compare_exchange(&slot, one, two), one);
	assert_ptr_equal((arc_slot_compare_exchange)(&slot, one, one), one);
	assert_ptr_equal(arc_slot_compare_exchange(&slot, two, NULL), two);
	arc_put(one);
	arc_put(two);
	assert_int_equal(nr, 2);
}

static void type_that_is_not_rcu_is_refused(void **state)
{
	struct arc_slot slot = ARC_SLOT_EMPTY;
	unsigned int nr = 0, nr_plain = 0;
	struct arc *plain;

	(void)state;
	arc_slot_store(&slot, config_new(1, &nr));
	arc_slot_store(&slot, config_new_of(&plain_type, 2, &nr_plain));
	assert_int_equal(nr_plain, 1);
	expect_warn("arc_slot: type \"plain config\" is not ARC_RCU: a reader could meet freed memory");
	plain = config_new_of(&plain_type, 3, &nr_plain);
	assert_ptr_equal(arc_slot_exchange(&slot, plain), plain);
	assert_ptr_equal(arc_slot_compare_exchange(&slot, slot.arc, plain), plain);
	assert_int_equal(nr, 0);
	arc_put(plain);
	arc_slot_store(&slot, NULL);
	machine_quiesce(this_machine());
	assert_int_equal(nr, 1);
}

struct holder {
	struct arc arc;
	struct arc_slot slot;
};

static void slot_is_a_field_of_its_owner(void **state)
{
	static const struct arc_field fields[] = { ARC_SLOT(holder, slot), ARC_FIELDS_END };
	static const struct arc_type type = {
		.name = "slot owner", .size = sizeof(struct holder),
		.ops = { .free = config_free }, .fields = fields,
	};
	struct holder *h = must_alloc(sizeof(*h));
	unsigned int nr = 0;

	(void)state;
	assert_int_equal(arc_type_register(&type), 0);
	arc_init(&h->arc, &type);
	arc_slot_store(&h->slot, config_new(1, &nr));
	arc_put(&h->arc);
	machine_quiesce(this_machine());
	assert_int_equal(nr, 1);
}

/* ---- readers and writers ---- */

struct shop {
	struct arc_slot slot;
	unsigned int nr_made, nr_drops;
};

static struct arc *make(struct shop *s)
{
	return config_new(__atomic_add_fetch(&s->nr_made, 1, __ATOMIC_RELAXED), &s->nr_drops);
}

static void assert_whole(struct arc *arc)
{
	struct config *c = arc_object(arc);

	assert_int_equal(READ_ONCE(c->a), READ_ONCE(c->b));
	hw_safepoint();
	assert_int_equal(READ_ONCE(c->a), READ_ONCE(c->b));
}

static long read_and_write(void *arg)
{
	struct shop *s = arg;
	struct arc *arc, *mine, *back;
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		arc = arc_slot_load(&s->slot);
		assert_non_null(arc);
		assert_whole(arc);
		if (i % 7 == 1) {
			mine = make(s);
			back = arc_slot_compare_exchange(&s->slot, arc, mine);
			if (back == arc)
				arc_put_rcu(back);
			else
				arc_put(back);
		}
		arc_put_rcu(arc);
		rcu_read_lock();
		arc = arc_slot_load_rcu(&s->slot);
		assert_whole(arc);
		rcu_read_unlock();
		if (i % 10 == 3)
			arc_slot_store(&s->slot, make(s));
		if (i % 10 == 8)
			arc_put_rcu(arc_slot_exchange(&s->slot, make(s)));
	}
	return 0;
}

static void readers_see_whole_objects_while_writers_change_them(void **state)
{
	unsigned int i, nr = machine_nr_cpus(this_machine());
	struct shop s = { .slot = ARC_SLOT_EMPTY };
	struct fiber *f[MACHINE_MAX_CPUS];

	(void)state;
	arc_slot_store(&s.slot, make(&s));
	for (i = 0; i < nr; i++)
		f[i] = spawn_on(i, read_and_write, &s);
	for (i = 0; i < nr; i++)
		join_clean(f[i]);
	arc_slot_store(&s.slot, NULL);
	machine_quiesce(this_machine());
	assert_int_equal(s.nr_drops, s.nr_made);
}

/* The same once more where each reference has a holder: the records must come out even, too. */
static const struct machine_config held = { .holders = true };

int main(void)
{
	const struct CMUnitTest tests[] = {
		karc_unit_test(load_gives_a_reference),
		karc_unit_test_config(load_gives_a_reference, 1, &held),
		karc_unit_test(store_puts_what_was_there_after_the_readers),
		karc_unit_test_config(store_puts_what_was_there_after_the_readers, 1, &held),
		karc_unit_test(exchange_gives_what_was_there),
		karc_unit_test_config(exchange_gives_what_was_there, 1, &held),
		karc_unit_test(compare_exchange_gives_what_is_not_in_the_slot),
		karc_unit_test_config(compare_exchange_gives_what_is_not_in_the_slot, 1, &held),
		karc_unit_test(type_that_is_not_rcu_is_refused),
		karc_unit_test(slot_is_a_field_of_its_owner),
		karc_unit_test_config(slot_is_a_field_of_its_owner, 1, &held),
		KARC_TESTS(readers_see_whole_objects_while_writers_change_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
