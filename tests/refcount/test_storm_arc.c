/* SPDX-License-Identifier: MIT */
/*
 * Goal: who is told to be alone with an object, who loads a slot, and who is a user, is right when
 * CPUs really run at once. explore_weak.c and explore_publish.c run every order of two and three
 * tasks; here the memory orders are the host's, and the thread sanitizer looks on.
 * Method: every CPU does the same to the same objects at the same time. The content is plain
 * memory: it is written only by who is alone, which is what the sanitizer checks.
 */
#include "storm.h"

#include <string.h>

#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/rcu.h>
#include <karc/refcount/slot.h>
#include <karc/refcount/users.h>
#include "refcount_test.h"

#define ALIVE		0x600d600dU
#define GONE		0xdeadU
#define ROUNDS		150u
#define LOADS		1500u

struct item {
	struct arc arc;
	unsigned int word;
	unsigned int value;		/* plain: changed by who is alone */
	struct arc_users users;
};

/* What the workers of a storm share. */
struct field {
	unsigned int arrived;
	struct item *item;
	struct arc_slot slot;
	unsigned int nr_made, nr_moved, nr_emptied, nr_changed;
};

static unsigned int nr_dropped, nr_freed, nr_cloned;

static unsigned int count(unsigned int *n)
{
	return __atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
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

static void *item_clone(const void *obj, gfp_t gfp);
static void item_last_user(void *obj);

static const struct arc_type item_type = {
	.name = "storm item", .size = sizeof(struct item), .offset = offsetof(struct item, arc),
	.ops = { .drop = item_drop, .free = item_free, .clone = item_clone },
};

static const struct arc_type rcu_item_type = {
	.name = "storm rcu item", .size = sizeof(struct item),
	.offset = offsetof(struct item, arc), .flags = ARC_RCU | ARC_FINDABLE,
	.ops = { .drop = item_drop, .free = item_free },
};

static const struct arc_type used_item_type = {
	.name = "storm used item", .size = sizeof(struct item),
	.offset = offsetof(struct item, arc), .users = offsetof(struct item, users),
	.ops = { .drop = item_drop, .free = item_free, .on_last_user = item_last_user },
};

static struct item *item_new(const struct arc_type *type)
{
	struct item *i = must_alloc(sizeof(*i));

	i->word = ALIVE;
	arc_init(&i->arc, type);
	return i;
}

static void *item_clone(const void *obj, gfp_t gfp)
{
	const struct item *from = obj;
	struct item *i = item_new(&item_type);

	(void)gfp;
	i->value = from->value;
	count(&nr_cloned);
	return i;
}

static void item_last_user(void *obj)
{
	struct item *i = obj;

	assert_int_equal(i->word, ALIVE);
	i->value++;			/* alone as users go; keepers do not look at it */
}

static void begin(struct field *f)
{
	*f = (struct field){ .item = NULL };
	nr_dropped = nr_freed = nr_cloned = 0;
	assert_int_equal(arc_type_register(&item_type), 0);
	assert_int_equal(arc_type_register(&rcu_item_type), 0);
	assert_int_equal(arc_type_register(&used_item_type), 0);
}

static void all_is_gone(const struct arc_type *type, unsigned int nr_made)
{
	machine_quiesce(this_machine());
	assert_int_equal(nr_dropped, nr_made);
	assert_int_equal(nr_freed, nr_made);
	assert_int_equal(ledger_live(this_machine(), type), 0);
}

/* All meet here, the @nth time, counted from 1. */
static void gate(struct storm_worker *w, unsigned int nth)
{
	struct field *f = w->storm->arg;

	__atomic_fetch_add(&f->arrived, 1, __ATOMIC_ACQ_REL);
	while (smp_load_acquire(&f->arrived) < w->storm->nr * nth)
		cpu_relax();
}

/* A new item with a strong reference for each worker, in ->item after the gate. */
static struct item *share(struct storm_worker *w, const struct arc_type *type, unsigned int nth)
{
	struct field *f = w->storm->arg;

	if (!w->index) {
		f->item = item_new(type);
		for (unsigned int i = 1; i < w->storm->nr; i++)
			arc_get(&f->item->arc);
	}
	gate(w, nth);
	return f->item;
}

/* ---- try_unwrap ---- */

static long unwraps(struct storm_worker *w)
{
	struct field *f = w->storm->arg;
	struct item moved;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct item *i = share(w, &item_type, 2 * round + 1);
		struct arc *weak = w->index % 2 ? arc_downgrade(&i->arc) : NULL, *strong;

		assert_int_equal(i->word, ALIVE);
		if (arc_try_unwrap(&i->arc, &moved)) {
			arc_put(&i->arc);
		} else {
			assert_int_equal(moved.word, ALIVE);
			count(&f->nr_moved);
		}
		if (weak) {
			strong = arc_upgrade(weak);
			if (strong) {
				assert_int_equal(i->word, ALIVE);
				arc_put(strong);
			}
			arc_weak_put(weak);
		}
		gate(w, 2 * round + 2);
	}
	return 0;
}

static void an_item_is_moved_out_or_torn_down(void **state)
{
	struct storm s;
	struct field f;

	(void)state;
	begin(&f);
	storm_run(&s, 1, unwraps, &f);
	assert_int_equal(f.nr_moved + nr_dropped, ROUNDS);
	assert_int_equal(nr_freed, ROUNDS);
	assert_int_equal(ledger_live(this_machine(), &item_type), 0);
}

/* ---- make_mut, get_mut ---- */

static long makes_mutable(struct storm_worker *w)
{
	struct field *f = w->storm->arg;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct arc *ref = &share(w, &item_type, 2 * round + 1)->arc;
		struct item *own = arc_make_mut(&ref, 0);

		assert_non_null(own);
		own->value = w->index;
		assert_int_equal(own->value, w->index);
		arc_put(ref);
		count(&f->nr_changed);
		gate(w, 2 * round + 2);
	}
	return 0;
}

static void each_changes_what_is_its_own(void **state)
{
	struct storm s;
	struct field f;

	(void)state;
	begin(&f);
	storm_run(&s, 1, makes_mutable, &f);
	assert_int_equal(f.nr_changed, ROUNDS * s.nr);
	all_is_gone(&item_type, ROUNDS + nr_cloned);
}

static long changes_when_alone(struct storm_worker *w)
{
	struct field *f = w->storm->arg;
	unsigned int value;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct item *i = share(w, &item_type, 2 * round + 1), *alone;

		value = i->value;	/* read by all, changed by the last one */
		assert_int_equal(value, 0);
		arc_get(&i->arc);
		arc_put(&i->arc);
		alone = arc_get_mut(&i->arc);
		if (alone) {
			alone->value = 1;
			count(&f->nr_changed);
		}
		arc_put(&i->arc);
		gate(w, 2 * round + 2);
	}
	return 0;
}

static void only_the_last_one_changes(void **state)
{
	struct storm s;
	struct field f;

	(void)state;
	begin(&f);
	storm_run(&s, 1, changes_when_alone, &f);
	assert_in_range(f.nr_changed, s.nr == 1 ? ROUNDS : 0, ROUNDS);
	all_is_gone(&item_type, ROUNDS);
}

/* ---- slots ---- */

static struct arc *new_in_slot(struct field *f)
{
	count(&f->nr_made);
	return &item_new(&rcu_item_type)->arc;
}

static void look(struct field *f)
{
	struct arc *arc;

	rcu_read_lock();
	arc = arc_slot_load_rcu(&f->slot);
	if (arc)
		assert_int_equal(((struct item *)arc_object(arc))->word, ALIVE);
	rcu_read_unlock();
}

static void load(struct field *f)
{
	struct arc *arc = arc_slot_load(&f->slot);

	if (!arc)
		return;
	assert_int_equal(((struct item *)arc_object(arc))->word, ALIVE);
	arc_put_rcu(arc);
}

static long uses_slot(struct storm_worker *w)
{
	struct field *f = w->storm->arg;

	for (unsigned int i = 0; i < LOADS; i++) {
		switch (rnd_below(&w->rnd, 8)) {
		case 0:
			arc_slot_store(&f->slot, new_in_slot(f));
			break;
		case 1:
			arc_put_rcu(arc_slot_exchange(&f->slot, new_in_slot(f)));
			break;
		case 2:
			look(f);
			break;
		case 3:
			arc_slot_store(&f->slot, NULL);
			break;
		default:
			load(f);
		}
		if (i % 32 == 0)
			cond_resched();
	}
	return 0;
}

static void a_slot_hands_out_living_items(void **state)
{
	struct storm s;
	struct field f;

	(void)state;
	begin(&f);
	storm_run(&s, 1, uses_slot, &f);
	arc_slot_store(&f.slot, NULL);
	all_is_gone(&rcu_item_type, f.nr_made);
}

/* ---- users ---- */

static long uses(struct storm_worker *w)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct field *f = w->storm->arg;
		struct item *i;

		if (!w->index) {
			f->item = item_new(&used_item_type);
			arc_users_init(&f->item->arc);
			for (unsigned int k = 0; k < w->storm->nr; k++) {
				arc_get(&f->item->arc);
				if (k)
					arc_users_get(&f->item->arc);
			}
		}
		gate(w, 2 * round + 1);
		i = f->item;
		arc_users_get(&i->arc);
		arc_users_put(&i->arc);
		arc_users_put(&i->arc);		/* its own */
		if (arc_users_tryget(&i->arc)) {
			assert_int_equal(i->word, ALIVE);
			arc_users_put(&i->arc);
		}
		arc_put(&i->arc);		/* the keeper's */
		gate(w, 2 * round + 2);
	}
	return 0;
}

static void the_last_user_empties_the_item_once(void **state)
{
	struct storm s;
	struct field f;

	(void)state;
	begin(&f);
	storm_run(&s, 1, uses, &f);
	all_is_gone(&used_item_type, ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KARC_TESTS(an_item_is_moved_out_or_torn_down),
		KARC_TESTS(each_changes_what_is_its_own),
		KARC_TESTS(only_the_last_one_changes),
		KARC_TESTS(a_slot_hands_out_living_items),
		KARC_TESTS(the_last_user_empties_the_item_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
