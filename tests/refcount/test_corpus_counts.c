/* SPDX-License-Identifier: MIT */
/*
 * Goal: a count that goes wrong is reported with the object, its maker and its last put.
 * Method: see corpus.h. Here: counts below zero, beyond the maximum, and of objects that are dead
 * or were never made.
 */
#include "corpus.h"

#include <karc/refcount/kref.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/quarantine.h>
#include <karc/refcount/users.h>

/* ---- put too often ---- */

static void double_put(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	AT(c), arc_put(&t->arc);
}

static void double_put_beside_a_weak_reference(void)
{
	struct thing *t = (AT(a), thing_new());
	struct arc *weak = arc_downgrade(&t->arc);

	AT(b), arc_put(&t->arc);
	AT(c), arc_put(&t->arc);
	CHECK(!arc_upgrade(weak));	/* and not a reference to a dead object */
	arc_weak_put(weak);
}

static void weak_double_put(void)
{
	struct thing *t = (AT(a), thing_new());
	struct arc *weak = arc_downgrade(&t->arc);

	AT(b), arc_put(&t->arc);
	arc_weak_put(weak);
	AT(c), arc_weak_put(weak);
}

static void weak_put_in_place_of_a_strong_one(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_weak_put(&t->arc);	/* the one that all strong ones share is not his */
	CHECK(t->arc.state == ARC_LIVE && arc_count(&t->arc) == 1);
	AT(c), arc_put(&t->arc);
}

static void plain_counter_put_too_often(void)
{
	refcount_t r = REFCOUNT_INIT(1);

	CHECK(refcount_dec_and_test(&r));
	CHECK(!refcount_dec_and_test(&r));
}

static void kref_of_a_tracked_object_put_too_often(void)
{
	struct thing *t = (AT(a), thing_new());
	struct arc *weak = arc_downgrade(&t->arc);

	AT(b), arc_put(&t->arc);
	CHECK(!refcount_dec_and_test(&t->arc.kref.refcount));	/* as Linux-style code would */
	arc_weak_put(weak);
}

static void decrement_that_must_not_reach_zero(void)
{
	refcount_t r = REFCOUNT_INIT(1);

	refcount_dec(&r);
}

static void lock_form_on_a_dead_counter(void)
{
	refcount_t r = REFCOUNT_INIT(0);
	DEFINE_SPINLOCK(lock);

	CHECK(!refcount_dec_and_lock(&r, &lock));
}

/* ---- used after the last put ---- */

static void get_on_zero(void)
{
	refcount_t r = REFCOUNT_INIT(0);

	refcount_inc(&r);
}

static void get_after_the_last_put(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	AT(c), arc_get(&t->arc);
	arc_put(&t->arc);		/* never goes to zero again */
}

static void tryget_after_the_memory_went(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	CHECK((AT(c), !arc_tryget(&t->arc)));
}

static const struct arc_type findable_type =
	THING_TYPE("name", ARC_FINDABLE, thing_drop, thing_free);

static void tryget_by_a_lookup_of_a_findable_type(void)
{
	struct thing *t = thing_of(&findable_type);

	arc_put(&t->arc);
	CHECK(!arc_tryget(&t->arc));	/* right, and nothing to report */
}

static void upgrade_without_a_weak_reference(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	CHECK((AT(c), !arc_upgrade(&t->arc)));
}

static void upgrade_after_the_last_put(void)
{
	struct thing *t = thing_new();
	struct arc *weak = arc_downgrade(&t->arc);

	arc_put(&t->arc);
	CHECK(!arc_upgrade(weak));	/* right, and nothing to report */
	arc_weak_put(weak);
}

static void downgrade_after_the_memory_went(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	AT(c), arc_downgrade(&t->arc);
}

static void used_through_a_pointer_into_a_held_object(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	CHECK(quarantine_nr_held(this_machine()) == 1);
	AT(c), arc_get(&t->arc);
}

static void counts_of_a_held_object_overwritten(void)
{
	struct thing *t = (AT(a), thing_new());

	AT(b), arc_put(&t->arc);
	kref_init(&t->arc.kref);	/* whoever does this believes that it is new */
}

static void stale_put_meets_the_next_object_at_that_address(void)
{
	struct thing *t = thing_new();

	arc_put(&t->arc);
	AT(a), arc_init(&t->arc, &thing_type);
	AT(b), arc_put(&t->arc);
	AT(c), arc_put(&t->arc);	/* the report names the second, not the first */
}

static void stale_counter_in_reused_memory_has_no_name(void)
{
	struct thing *t = thing_new();

	arc_put(&t->arc);
	memset(t, 0, sizeof(*t));	/* now it is somebody else's, with a counter of his */
	refcount_inc(&t->arc.kref.refcount);
}

static void last_put_in_a_teardown(void)
{
	static const struct arc_field fields[] = {
		ARC_OWNED(thing, left, thing), ARC_FIELDS_END,
	};
	static const struct arc_type pair_type = {
		.name = "pair", .size = sizeof(struct thing), .offset = offsetof(struct thing, arc),
		.ops = { .free = thing_free }, .fields = fields,
	};
	struct thing *pair = thing_of(&pair_type), *t = (AT(a), thing_new());

	pair->left = t;
	AT(b), arc_put(&pair->arc);
	AT(c), arc_put(&t->arc);
}

/* ---- never made ---- */

static void put_of_an_object_never_initialised(void)
{
	struct thing *t = corpus_alloc(sizeof(*t));

	AT(a), arc_put(&t->arc);
}

static void get_of_an_object_never_initialised(void)
{
	struct thing *t = corpus_alloc(sizeof(*t));

	AT(a), arc_get(&t->arc);
	arc_put(&t->arc);
}

static void object_of_a_type_never_registered(void)
{
	static const struct arc_type unknown_type =
		THING_TYPE("unknown", 0, thing_drop, thing_free);
	struct thing *t = corpus_alloc(sizeof(*t));

	arc_init(&t->arc, &unknown_type);
}

/* ---- overflow: the counter is stored near the border, as 2^32 gets would leave it ---- */

static void strong_count_overflows(void)
{
	struct thing *t = (AT(a), thing_new());
	int i;

	refcount_set(&t->arc.kref.refcount, REFCOUNT_MAX);
	AT(b), arc_get(&t->arc);
	for (i = 0; i < 1000; i++)
		AT(c), arc_put(&t->arc);
	CHECK(t->arc.state == ARC_LIVE);
	CHECK((int)arc_count(&t->arc) == REFCOUNT_SATURATED);
}

static void strong_count_has_gone_round(void)
{
	struct thing *t = (AT(a), thing_new());

	refcount_set(&t->arc.kref.refcount, -1);	/* 2^32 - 1 gets without a put */
	AT(b), arc_get(&t->arc);
	AT(c), arc_put(&t->arc);
	CHECK(t->arc.state == ARC_LIVE);
}

static void tryget_overflows(void)
{
	struct thing *t = (AT(a), thing_new());

	refcount_set(&t->arc.kref.refcount, REFCOUNT_MAX);
	CHECK((AT(b), arc_tryget(&t->arc)) == &t->arc);
	CHECK((int)arc_count(&t->arc) == REFCOUNT_SATURATED);
}

static void weak_count_overflows(void)
{
	struct thing *t = (AT(a), thing_new());

	refcount_set(&t->arc.weak, REFCOUNT_MAX);
	AT(b), arc_downgrade(&t->arc);
	CHECK(arc_count(&t->arc) == 1);
	AT(c), arc_put(&t->arc);	/* dies, and its memory stays */
}

static void plain_counter_overflows(void)
{
	refcount_t r = REFCOUNT_INIT(REFCOUNT_MAX);

	CHECK(refcount_inc_not_zero(&r));
	CHECK((int)refcount_read(&r) == REFCOUNT_SATURATED);
}

static void kref_overflows(void)
{
	struct kref kref = KREF_INIT(REFCOUNT_MAX);

	kref_get(&kref);
	CHECK((int)kref_read(&kref) == REFCOUNT_SATURATED);
}

/* ---- two tiers ---- */

struct tiered {
	struct arc arc;
	struct arc_users users;
	int nr_emptied;
};

static void tiered_last_user(void *obj)
{
	((struct tiered *)obj)->nr_emptied++;
}

static void tiered_drop(void *obj)
{
	(void)obj;
}

static const struct arc_type tiered_type = {
	.name = "tiered", .size = sizeof(struct tiered), .offset = offsetof(struct tiered, arc),
	.users = offsetof(struct tiered, users),
	.ops = { .drop = tiered_drop, .free = thing_free, .on_last_user = tiered_last_user },
};

static struct tiered *tiered_of_site(const struct site *site)
{
	struct tiered *t = corpus_alloc(sizeof(*t));

	CHECK(!arc_type_register(&tiered_type));
	arc_init_site(&t->arc, &tiered_type, site);
	arc_users_init(&t->arc);
	return t;
}

static void users_put_too_often(void)
{
	struct tiered *t = (AT(a), tiered_of_site(SITE()));

	arc_get(&t->arc);
	arc_users_put(&t->arc);
	CHECK(t->nr_emptied == 1);
	AT(b), arc_users_put(&t->arc);
	CHECK(t->nr_emptied == 1);
	arc_put(&t->arc);
}

static void users_got_after_the_last(void)
{
	struct tiered *t = (AT(a), tiered_of_site(SITE()));

	arc_get(&t->arc);
	arc_users_put(&t->arc);
	AT(b), arc_users_get(&t->arc);
	arc_put(&t->arc);
}

static void users_overflow(void)
{
	struct tiered *t = (AT(a), tiered_of_site(SITE()));

	refcount_set(&t->users.count, REFCOUNT_MAX);
	AT(b), arc_users_get(&t->arc);
	AT(c), arc_users_put(&t->arc);
	CHECK(t->nr_emptied == 0);
}

static const struct arc_type slow_type = {
	.name = "slow", .size = sizeof(struct tiered), .offset = offsetof(struct tiered, arc),
	.users = offsetof(struct tiered, users), .flags = ARC_SLEEPS,
	.ops = { .drop = tiered_drop, .free = thing_free, .on_last_user = tiered_last_user },
};

static void last_user_of_a_type_that_sleeps_put_in_atomic_context(void)
{
	struct tiered *t = corpus_alloc(sizeof(*t));

	CHECK(!arc_type_register(&slow_type));
	AT(a), arc_init(&t->arc, &slow_type);
	arc_users_init(&t->arc);
	preempt_disable();
	AT(b), arc_users_put(&t->arc);
	preempt_enable();
	CHECK(t->nr_emptied == 0);
}

#define CASE(fn, ...) { .name = #fn, .run = fn, __VA_ARGS__ }

static struct seeded cases[] = {
	CASE(double_put,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a double_put\n"
		" last put: $b double_put, by task call (N)\n",
		"$c double_put")),
	CASE(double_put_beside_a_weak_reference,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a double_put_beside_a_weak_reference\n"
		" last put: $b double_put_beside_a_weak_reference, by task call (N)\n",
		"$c double_put_beside_a_weak_reference")),
	CASE(weak_double_put,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; weak count\n"
		" created: $a weak_double_put\n"
		" last put: $b weak_double_put, by task call (N)\n",
		"$c weak_double_put")),
	CASE(weak_put_in_place_of_a_strong_one,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, alive; weak count\n"
		" created: $a weak_put_in_place_of_a_strong_one\n",
		"$b weak_put_in_place_of_a_strong_one")
		"left: 1 thing, N bytes, from $a weak_put_in_place_of_a_strong_one\n"
		"alive: #1 thing from $a (gone): torn down: weak references keep its memory\n"),
	CASE(plain_counter_put_too_often,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(kref_of_a_tracked_object_put_too_often,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a kref_of_a_tracked_object_put_too_often\n"
		" last put: $b kref_of_a_tracked_object_put_too_often, by task call (N)\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(decrement_that_must_not_reach_zero,
	     .expected =
		WARNED(
		"refcount_t: decrement hit 0; leaking memory.\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(lock_form_on_a_dead_counter,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n",
		"fault.c:N arc_fault_raise")),
	CASE(get_on_zero,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(get_after_the_last_put,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a get_after_the_last_put\n"
		" last put: $b get_after_the_last_put, by task call (N)\n",
		"$c get_after_the_last_put")),
	CASE(tryget_after_the_memory_went,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a tryget_after_the_memory_went\n"
		" last put: $b tryget_after_the_memory_went, by task call (N)\n",
		"$c tryget_after_the_memory_went")),
	CASE(tryget_by_a_lookup_of_a_findable_type, .expected = ""),
	CASE(upgrade_without_a_weak_reference,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a upgrade_without_a_weak_reference\n"
		" last put: $b upgrade_without_a_weak_reference, by task call (N)\n",
		"$c upgrade_without_a_weak_reference")),
	CASE(upgrade_after_the_last_put, .expected = ""),
	CASE(downgrade_after_the_memory_went,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; weak count\n"
		" created: $a downgrade_after_the_memory_went\n"
		" last put: $b downgrade_after_the_memory_went, by task call (N)\n",
		"$c downgrade_after_the_memory_went")),
	CASE(used_through_a_pointer_into_a_held_object,
	     .config = { .quarantine_hold = true },
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a used_through_a_pointer_into_a_held_object\n"
		" last put: $b used_through_a_pointer_into_a_held_object, by task call (N)\n",
		"$c used_through_a_pointer_into_a_held_object")),
	CASE(counts_of_a_held_object_overwritten,
	     .config = { .quarantine_hold = true },
	     .expected =
		WARNED(
		"arc: counts of a dead thing were changed behind its back to ADDR\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a counts_of_a_held_object_overwritten\n"
		" last put: $b counts_of_a_held_object_overwritten, by task call (N)\n",
		"fault.c:N arc_fault_tell")),
	CASE(stale_put_meets_the_next_object_at_that_address,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a stale_put_meets_the_next_object_at_that_address\n"
		" last put: $b stale_put_meets_the_next_object_at_that_address, by task call "
		"(N)\n",
		"$c stale_put_meets_the_next_object_at_that_address")),
	CASE(stale_counter_in_reused_memory_has_no_name,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(last_put_in_a_teardown,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; strong count\n"
		" created: $a last_put_in_a_teardown\n"
		" last put: $b last_put_in_a_teardown, in the teardown of pair, by task call "
		"(N)\n",
		"$c last_put_in_a_teardown")),
	CASE(put_of_an_object_never_initialised,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: memory at ADDR that arc_init() has never seen\n",
		"$a put_of_an_object_never_initialised")),
	CASE(get_of_an_object_never_initialised,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: memory at ADDR that arc_init() has never seen\n",
		"$a get_of_an_object_never_initialised")),
	CASE(object_of_a_type_never_registered,
	     .expected =
		"arc_init: type \"unknown\" is not registered: call arc_type_register() first\n"
		"------------[ cut here ]------------\n"
		"kernel BUG at ledger.c:N!\n"
		"CPU: 0 PID: N Comm: call preempt_count: 0\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"),
	CASE(strong_count_overflows,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n"
		" object: thing at ADDR, N bytes, alive; strong count\n"
		" created: $a strong_count_overflows\n",
		"$b strong_count_overflows")
		WARNED_NR(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, alive; strong count\n"
		" created: $a strong_count_overflows\n",
		"$c strong_count_overflows", "2")
		"left: 1 thing, N bytes, from $a strong_count_overflows\n"
		"alive: #1 thing from $a (LOST): count is saturated\n"),
	CASE(strong_count_has_gone_round,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n"
		" object: thing at ADDR, N bytes, alive; strong count\n"
		" created: $a strong_count_has_gone_round\n",
		"$b strong_count_has_gone_round")
		WARNED_NR(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, alive; strong count\n"
		" created: $a strong_count_has_gone_round\n",
		"$c strong_count_has_gone_round", "2")
		"left: 1 thing, N bytes, from $a strong_count_has_gone_round\n"
		"alive: #1 thing from $a (LOST): count is saturated\n"),
	CASE(tryget_overflows,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n"
		" object: thing at ADDR, N bytes, alive; strong count\n"
		" created: $a tryget_overflows\n",
		"$b tryget_overflows")
		"left: 1 thing, N bytes, from $a tryget_overflows\n"
		"alive: #1 thing from $a (LOST): count is saturated\n"),
	CASE(weak_count_overflows,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n"
		" object: thing at ADDR, N bytes, alive; weak count\n"
		" created: $a weak_count_overflows\n",
		"$b weak_count_overflows")
		WARNED_NR(
		"refcount_t: underflow; use-after-free.\n"
		" object: thing at ADDR, N bytes, dead; weak count\n"
		" created: $a weak_count_overflows\n"
		" last put: $c weak_count_overflows, by task call (N)\n",
		"fault.c:N refcount_warn_saturate", "2")
		"left: 1 thing, N bytes, from $a weak_count_overflows\n"
		"alive: #1 thing from $a (gone): torn down: weak references keep its memory\n"),
	CASE(plain_counter_overflows,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(kref_overflows,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n",
		"fault.c:N refcount_warn_saturate")),
	CASE(users_put_too_often,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: tiered at ADDR, N bytes, alive; users count\n"
		" created: $a users_put_too_often\n",
		"$b users_put_too_often")),
	CASE(users_got_after_the_last,
	     .expected =
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: tiered at ADDR, N bytes, alive; users count\n"
		" created: $a users_got_after_the_last\n",
		"$b users_got_after_the_last")),
	CASE(users_overflow,
	     .expected =
		WARNED(
		"refcount_t: saturated; leaking memory.\n"
		" object: tiered at ADDR, N bytes, alive; users count\n"
		" created: $a users_overflow\n",
		"$b users_overflow")
		WARNED_NR(
		"refcount_t: underflow; use-after-free.\n"
		" object: tiered at ADDR, N bytes, alive; users count\n"
		" created: $a users_overflow\n",
		"$c users_overflow", "2")
		"left: 1 tiered, N bytes, from $a users_overflow\n"
		"alive: #1 tiered from $a (LOST): count is saturated\n"),
	CASE(last_user_of_a_type_that_sleeps_put_in_atomic_context,
	     .expected =
		"------------[ cut here ]------------\n"
		"arc: last user of a slow put in atomic context, and it sleeps; leaking it\n"
		" object: slow at ADDR, N bytes, alive\n"
		" created: $a last_user_of_a_type_that_sleeps_put_in_atomic_context\n"
		"WARNING: CPU: 0 PID: N at $b "
		"last_user_of_a_type_that_sleeps_put_in_atomic_context\n"
		"CPU: 0 PID: N Comm: call preempt_count: 1\n"
		"Call Trace:\n"
		"---[ end trace 0000000000000001 ]---\n"
		"left: 1 slow, N bytes, from $a "
		"last_user_of_a_type_that_sleeps_put_in_atomic_context\n"
		"alive: #1 slow from $a (LOST): nobody known: 1 reference without a holder\n"),
};

int main(void)
{
	return corpus_main(cases, ARRAY_SIZE(cases), __FILE__);
}
