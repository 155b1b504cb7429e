/* SPDX-License-Identifier: MIT */
/*
 * Goal: counts that CPUs keep by themselves hold when CPUs really run at once: a kill finds the
 * last reference, and an owner and the others count together.
 * Method: every CPU gets and puts as fast as it can while one kills; the release is counted, and
 * what is counted is plain memory that the release writes, for the thread sanitizer.
 */
#include "storm.h"

#include <karc/refcount/local.h>
#include <karc/refcount/percpu_ref.h>
#include <karc/refcount/rcu.h>
#include "refcount_test.h"

#define ALIVE		0x600d600dU
#define GONE		0xdeadU
#define ROUNDS		30u
#define GETS		200u

struct item {
	struct arc arc;
	unsigned int word;		/* plain */
};

struct field {
	unsigned int arrived;
	struct item *item;
	struct percpu_ref ref;
	unsigned int ref_word;		/* plain */
	unsigned int nr_released, nr_confirmed;
};

static unsigned int nr_dropped, nr_freed;
static struct field field;

static void count(unsigned int *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static void item_drop(void *obj)
{
	struct item *i = obj;

	assert_int_equal(i->word, ALIVE);
	i->word = GONE;
	count(&nr_dropped);
}

static void item_free(void *obj)
{
	count(&nr_freed);
	hostmem_free(NULL, obj);
}

static const struct arc_type percpu_type = {
	.name = "storm percpu", .size = sizeof(struct item), .offset = offsetof(struct item, arc),
	.flags = ARC_PERCPU, .ops = { .drop = item_drop, .free = item_free },
};

static const struct arc_type biased_type = {
	.name = "storm biased", .size = sizeof(struct item), .offset = offsetof(struct item, arc),
	.flags = ARC_BIASED, .ops = { .drop = item_drop, .free = item_free },
};

static struct item *item_new(const struct arc_type *type)
{
	struct item *i = must_alloc(sizeof(*i));

	i->word = ALIVE;
	arc_init(&i->arc, type);
	return i;
}

static void begin(void)
{
	field = (struct field){ .item = NULL };
	nr_dropped = nr_freed = 0;
	assert_int_equal(arc_type_register(&percpu_type), 0);
	assert_int_equal(arc_type_register(&biased_type), 0);
}

static void gate(struct storm_worker *w, unsigned int nth)
{
	__atomic_fetch_add(&field.arrived, 1, __ATOMIC_ACQ_REL);
	while (smp_load_acquire(&field.arrived) < w->storm->nr * nth)
		cpu_relax();
}

static void get_and_put(struct item *i)
{
	for (unsigned int k = 0; k < GETS; k++) {
		arc_get(&i->arc);
		assert_int_equal(i->word, ALIVE);
		arc_put(&i->arc);
		if (k % 16 == 0)
			cond_resched();
	}
}

/* ---- ARC_PERCPU ---- */

static long gets_while_it_is_killed(struct storm_worker *w)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct item *i;

		if (!w->index) {
			field.item = item_new(&percpu_type);
			for (unsigned int k = 0; k < w->storm->nr; k++)
				arc_get(&field.item->arc);
		}
		gate(w, 2 * round + 1);
		i = field.item;
		if (w->index == round % w->storm->nr)
			arc_kill(&i->arc, NULL);
		get_and_put(i);
		if (arc_tryget_live(&i->arc))
			arc_put(&i->arc);
		arc_put(&i->arc);
		gate(w, 2 * round + 2);
	}
	return 0;
}

static void a_killed_item_is_torn_down_once(void **state)
{
	struct storm s;

	(void)state;
	begin();
	storm_run(&s, 1, gets_while_it_is_killed, NULL);
	machine_quiesce(this_machine());
	assert_int_equal(nr_dropped, ROUNDS);
	assert_int_equal(nr_freed, ROUNDS);
}

/* ---- percpu_ref ---- */

static void ref_released(struct percpu_ref *ref)
{
	assert_ptr_equal(ref, &field.ref);
	assert_int_equal(field.ref_word, ALIVE);
	field.ref_word = GONE;
	__atomic_fetch_add(&field.nr_released, 1, __ATOMIC_RELEASE);
}

static void ref_confirmed(struct percpu_ref *ref)
{
	(void)ref;
	__atomic_fetch_add(&field.nr_confirmed, 1, __ATOMIC_RELEASE);
}

static void use_ref(void)
{
	for (unsigned int k = 0; k < GETS; k++) {
		percpu_ref_get(&field.ref);
		assert_int_equal(field.ref_word, ALIVE);
		percpu_ref_put(&field.ref);
		if (k % 16 == 0)
			cond_resched();
	}
}

static long refs_while_it_is_killed(struct storm_worker *w)
{
	unsigned int gates = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		if (!w->index) {
			field.ref_word = ALIVE;
			assert_int_equal(percpu_ref_init(&field.ref, ref_released, 0, 0), 0);
			percpu_ref_get_many(&field.ref, w->storm->nr);
		}
		gate(w, ++gates);
		if (w->index == round % w->storm->nr)
			percpu_ref_kill_and_confirm(&field.ref, ref_confirmed);
		use_ref();
		if (smp_load_acquire(&field.nr_confirmed) == round + 1)
			assert_false(percpu_ref_tryget_live(&field.ref));
		percpu_ref_put(&field.ref);
		gate(w, ++gates);
		if (!w->index) {
			while (smp_load_acquire(&field.nr_released) != round + 1)
				cpu_relax();
			assert_int_equal(field.nr_confirmed, round + 1);
			percpu_ref_exit(&field.ref);
		}
	}
	return 0;
}

static void a_killed_ref_is_released_once(void **state)
{
	struct storm s;

	(void)state;
	begin();
	storm_run(&s, 1, refs_while_it_is_killed, NULL);
	assert_int_equal(field.nr_released, ROUNDS);
}

/* ---- ARC_BIASED ---- */

/* Each in turn makes one, which its CPU owns, and hands a reference to each. */
static long counts_with_the_owner(struct storm_worker *w)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct item *i;

		if (w->index == round % w->storm->nr) {
			field.item = item_new(&biased_type);
			for (unsigned int k = 1; k < w->storm->nr; k++)
				arc_get(&field.item->arc);
		}
		gate(w, 2 * round + 1);
		i = field.item;
		get_and_put(i);
		if (w->index % 3 == 1) {
			preempt_disable();
			arc_put(&i->arc);
			preempt_enable();
		} else {
			arc_put(&i->arc);
		}
		gate(w, 2 * round + 2);
	}
	return 0;
}

static void owner_and_others_count_together(void **state)
{
	struct storm s;

	(void)state;
	begin();
	storm_run(&s, 1, counts_with_the_owner, NULL);
	machine_quiesce(this_machine());
	assert_int_equal(nr_dropped, ROUNDS);
	assert_int_equal(nr_freed, ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(a_killed_item_is_torn_down_once),
		KARC_TESTS(a_killed_ref_is_released_once),
		KARC_TESTS(owner_and_others_count_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
