/* SPDX-License-Identifier: MIT */
/*
 * Goal: the explorer sees. Each way to count wrongly that people have come up with is found, and
 * the schedule that shows it shows it again.
 * Method: toy protocols of a few lines, each with one classic mistake in it; the other tests of
 * this kind run what karc does instead.
 */
#include "explore_test.h"

#include <karc/hw/context.h>
#include <karc/hw/fiber.h>
#include <karc/hw/spinlock.h>
#include <karc/refcount/rcu.h>

struct callback {
	struct callback *next;
};

struct toy {
	int strong, weak;
	unsigned int word;
	unsigned int nr_dropped, nr_freed, nr_called;
};

static struct world {
	struct toy toy;
	struct toy *shared;
	spinlock_t lock;
	int by_cpu[EXPLORE_MAX_TASKS];
	int killed, alone, local, users;
	struct callback *callbacks, callback[EXPLORE_MAX_TASKS];
} world;

/* ---- right parts ---- */

static int load(int *p)
{
	return __atomic_load_n(KARC_STEPPED(p, KARC_READS), __ATOMIC_ACQUIRE);
}

static void store(int *p, int value)
{
	__atomic_store_n(KARC_STEPPED(p, KARC_WRITES), value, __ATOMIC_RELEASE);
}

static int add(int *p, int value)
{
	return __atomic_add_fetch(KARC_STEPPED(p, KARC_WRITES), value, __ATOMIC_ACQ_REL);
}

static bool add_not_zero(int *p)
{
	int old = load(p);

	while (old && !try_cmpxchg(p, &old, old + 1))
		;
	return old;
}

static void use(struct toy *t)
{
	KARC_STEP_READ(&t->word);
	explore_check(t->word == ALIVE);
}

static void drop(struct toy *t)
{
	KARC_STEP_WRITE(&t->word);
	explore_check(t->word == ALIVE);
	t->word = TORN_DOWN;
	t->nr_dropped++;
}

static void release(struct toy *t)
{
	KARC_STEP_BYTES(t, sizeof(*t), KARC_WRITES);
	explore_check(t->word == TORN_DOWN);
	t->word = FREED;
	t->nr_freed++;
}

static void drop_and_release(struct toy *t)
{
	drop(t);
	release(t);
}

/* Counts are in memory that must be there. */
static void there(struct toy *t)
{
	KARC_STEP_READ(&t->word);
	explore_check(t->word != FREED);
}

static void put_right(struct toy *t)
{
	if (!add(&t->strong, -1))
		drop_and_release(t);
}

static void weak_put_right(struct toy *t)
{
	there(t);
	if (!add(&t->weak, -1))
		release(t);
}

static void put_with_weak(struct toy *t)
{
	if (add(&t->strong, -1))
		return;
	drop(t);
	weak_put_right(t);
}

/* ---- setups and checks ---- */

static void with(int strong, int weak)
{
	memset(&world, 0, sizeof(world));
	world.toy = (struct toy){ .strong = strong, .weak = weak, .word = ALIVE };
	world.shared = &world.toy;
	spin_lock_init(&world.lock);
}

static void one(void *arg)
{
	(void)arg;
	with(1, 0);
}

static void two(void *arg)
{
	(void)arg;
	with(2, 0);
}

static void one_and_weak(void *arg)
{
	(void)arg;
	with(1, 2);
}

static void gone_once(void *arg)
{
	(void)arg;
	explore_check(world.toy.nr_dropped == 1 && world.toy.nr_freed == 1);
}

static void use_and_put(void *arg)
{
	(void)arg;
	use(&world.toy);
	put_right(&world.toy);
}

static void use_and_put_with_weak(void *arg)
{
	(void)arg;
	use(&world.toy);
	put_with_weak(&world.toy);
}

static void catches(const char *name, const char *text, void (*setup)(void *), void (*a)(void *),
		    void (*b)(void *), void (*c)(void *), void (*check)(void *))
{
	explore_catches(&(struct exploration){
		.name = name, .nr_tasks = c ? 3 : 2, .setup = setup, .task = { a, b, c },
		.check = check,
	}, text);
}

/* ---- puts ---- */

static void put_by_load_and_store(void *arg)
{
	int old = load(&world.toy.strong);

	(void)arg;
	store(&world.toy.strong, old - 1);
	if (old == 1)
		drop_and_release(&world.toy);
}

static void put_then_look(void *arg)
{
	(void)arg;
	add(&world.toy.strong, -1);
	if (!load(&world.toy.strong))
		drop_and_release(&world.toy);
}

static void use_after_put(void *arg)
{
	(void)arg;
	put_right(&world.toy);
	use(&world.toy);
}

static void get_from_nothing(void *arg)
{
	(void)arg;
	add(&world.toy.strong, 1);
	use(&world.toy);
	put_right(&world.toy);
}

static void wrong_puts_are_found(void **state)
{
	(void)state;
	catches("put by load and store", "nr_dropped == 1", two, put_by_load_and_store,
		put_by_load_and_store, NULL, gone_once);
	catches("put, then look", "t->word == ALIVE", two, put_then_look, put_then_look, NULL,
		gone_once);
	catches("use after put", "t->word == ALIVE", two, use_after_put, use_and_put, NULL,
		gone_once);
	catches("get without a reference", "t->word == ALIVE", one, get_from_nothing, use_and_put,
		NULL, gone_once);
}

/* ---- tryget, upgrade ---- */

static void tryget_load_then_add(void *arg)
{
	(void)arg;
	if (!load(&world.toy.strong))
		return;
	add(&world.toy.strong, 1);
	use(&world.toy);
	put_right(&world.toy);
}

static void upgrade_load_then_add(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (load(&t->strong)) {
		add(&t->strong, 1);
		use(t);
		put_with_weak(t);
	}
	weak_put_right(t);
}

static void upgrade_add_then_undo(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (add(&t->strong, 1) > 1) {
		use(t);
		put_with_weak(t);
	} else {
		add(&t->strong, -1);
	}
	weak_put_right(t);
}

static void upgrade_right(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	there(t);
	if (add_not_zero(&t->strong)) {
		use(t);
		put_with_weak(t);
	}
	weak_put_right(t);
}

static void put_without_weak(void *arg)
{
	(void)arg;
	use(&world.toy);
	put_right(&world.toy);		/* frees, whoever holds a weak one */
}

/* Alone, as it thinks; somebody may still upgrade. */
static void private_put_without_weak_check(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (load(&t->strong) == 1) {
		store(&t->strong, 0);
		drop(t);
		weak_put_right(t);
		return;
	}
	put_with_weak(t);
}

static void one_and_two_weak(void *arg)
{
	(void)arg;
	with(1, 3);
}

static void wrong_upgrades_are_found(void **state)
{
	(void)state;
	catches("tryget: load, then add", "t->word == ALIVE", one, tryget_load_then_add,
		use_and_put, NULL, gone_once);
	catches("upgrade: load, then add", "t->word == ALIVE", one_and_weak,
		upgrade_load_then_add, use_and_put_with_weak, NULL, gone_once);
	catches("upgrade: add, then undo", "t->word == ALIVE", one_and_two_weak,
		upgrade_add_then_undo, upgrade_add_then_undo, use_and_put_with_weak, gone_once);
	catches("put frees under weak references", "t->word != FREED", one_and_weak, upgrade_right,
		put_without_weak, NULL, gone_once);
	catches("last put by a plain load without the weak check", "t->word == ALIVE", one_and_weak,
		upgrade_right, private_put_without_weak_check, NULL, gone_once);
}

/* ---- who thinks to be alone ---- */

static void change_alone(struct toy *t)
{
	KARC_STEP_WRITE(&t->word);
	t->word = ALIVE + 1;
	KARC_STEP_WRITE(&t->word);
	t->word = ALIVE;
}

static void get_mut_by_two_loads(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (load(&t->strong) == 1 && load(&t->weak) == 1)
		change_alone(t);
	put_with_weak(t);
}

/* The weak one is gone before the strong one is used. */
static void upgrade_and_forget_weak(void *arg)
{
	struct toy *t = &world.toy;
	bool strong = add_not_zero(&t->strong);

	(void)arg;
	weak_put_right(t);
	if (!strong)
		return;
	use(t);
	put_with_weak(t);
}

static void unwrap_by_load_and_store(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (load(&t->strong) == 1) {
		store(&t->strong, 0);
		drop(t);		/* moved out */
		weak_put_right(t);
		return;
	}
	put_with_weak(t);
}

static void wrong_loners_are_found(void **state)
{
	(void)state;
	catches("get_mut by two loads", "t->word == ALIVE", one_and_weak, get_mut_by_two_loads,
		upgrade_and_forget_weak, NULL, gone_once);
	catches("unwrap by load and store", "t->word == ALIVE", one_and_weak,
		unwrap_by_load_and_store, upgrade_right, NULL, gone_once);
}

/* ---- what is found without a reference ---- */

static void unpublish_free_now(void *arg)
{
	struct toy *t = xchg(&world.shared, NULL);

	(void)arg;
	put_right(t);
}

static void unpublish_free_later(void *arg)
{
	struct toy *t = xchg(&world.shared, NULL);

	(void)arg;
	if (add(&t->strong, -1))
		return;
	drop(t);
	synchronize_rcu();
	release(t);
}

static void use_found(struct toy *t)
{
	if (!t)
		return;
	use(t);
	put_right(t);
}

static struct toy *tryget_found(void)
{
	struct toy *t = rcu_dereference(world.shared);

	if (!t)
		return NULL;
	there(t);
	return add_not_zero(&t->strong) ? t : NULL;
}

static void reader(void *arg)
{
	struct toy *t;

	(void)arg;
	rcu_read_lock();
	t = tryget_found();
	rcu_read_unlock();
	use_found(t);
}

static void reader_without_rcu(void *arg)
{
	(void)arg;
	use_found(tryget_found());
}

static void reader_that_gets(void *arg)
{
	struct toy *t;

	(void)arg;
	rcu_read_lock();
	t = rcu_dereference(world.shared);
	if (t)
		add(&t->strong, 1);
	rcu_read_unlock();
	use_found(t);
}

static void reader_that_leaves_too_early(void *arg)
{
	struct toy *t;

	(void)arg;
	rcu_read_lock();
	t = rcu_dereference(world.shared);
	rcu_read_unlock();
	if (!t)
		return;
	there(t);
	if (add_not_zero(&t->strong))
		use_found(t);
}

static void wait_before_unpublishing(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	synchronize_rcu();
	world.shared = xchg(&world.shared, NULL) ? NULL : NULL;
	if (add(&t->strong, -1))
		return;
	drop(t);
	release(t);
}

static void lookup_under_lock(void *arg)
{
	struct toy *t;

	(void)arg;
	spin_lock(&world.lock);
	KARC_STEP_READ(&world.shared);
	t = world.shared;
	if (t)
		add(&t->strong, 1);
	spin_unlock(&world.lock);
	use_found(t);
}

/* To zero first, then the lock: whoever looked up in between gets the dead. */
static void dec_then_lock(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (add(&t->strong, -1))
		return;
	spin_lock(&world.lock);
	KARC_STEP_WRITE(&world.shared);
	world.shared = NULL;
	spin_unlock(&world.lock);
	drop_and_release(t);
}

static void wrong_lookups_are_found(void **state)
{
	(void)state;
	catches("RCU: freed without a grace period", "t->word != FREED", one, reader,
		unpublish_free_now, NULL, gone_once);
	catches("RCU: reader without the lock", "t->word != FREED", one, reader_without_rcu,
		unpublish_free_later, NULL, gone_once);
	catches("RCU: get instead of tryget", "t->word == ALIVE", one, reader_that_gets,
		unpublish_free_later, NULL, gone_once);
	catches("RCU: reader leaves before tryget", "t->word != FREED", one,
		reader_that_leaves_too_early, unpublish_free_later, NULL, gone_once);
	catches("RCU: grace period before unpublishing", "t->word != FREED", one, reader,
		wait_before_unpublishing, NULL, gone_once);
	catches("dec_and_lock: dec, then lock", "t->word == ALIVE", one, lookup_under_lock,
		dec_then_lock, NULL, gone_once);
}

/* ---- counts by CPU ---- */

/* Two references, one counted by CPU; the other is the initial one. */
static void by_cpu(void *arg)
{
	(void)arg;
	with(1, 0);
	world.by_cpu[0] = 1;
}

static void put_by_cpu(void *arg)
{
	int *own = &world.by_cpu[explore_task()];

	(void)arg;
	use(&world.toy);
	rcu_read_lock();
	if (!load(&world.killed)) {
		store(own, load(own) - 1);
		rcu_read_unlock();
		return;
	}
	rcu_read_unlock();
	if (!add(&world.toy.strong, -1))
		drop_and_release(&world.toy);
}

static void get_put_by_cpu(void *arg)
{
	int *own = &world.by_cpu[explore_task()];

	(void)arg;
	rcu_read_lock();
	if (!load(&world.killed))
		store(own, load(own) + 1);
	else
		add(&world.toy.strong, 1);
	rcu_read_unlock();
	put_by_cpu(arg);
	put_by_cpu(arg);
}

static void sum_up_and_put(void)
{
	int sum = -1;		/* the initial reference */

	for (unsigned int i = 0; i < EXPLORE_MAX_TASKS; i++)
		sum += load(&world.by_cpu[i]);
	if (!add(&world.toy.strong, sum))
		drop_and_release(&world.toy);
}

static void kill_without_grace_period(void *arg)
{
	(void)arg;
	store(&world.killed, 1);
	sum_up_and_put();
}

/* The others may come to zero before what was counted by CPU is there. */
static void kill_without_bias(void *arg)
{
	(void)arg;
	store(&world.killed, 1);
	synchronize_rcu();
	sum_up_and_put();
}

/* The owner counts without a locked instruction; so does another CPU here. */
static void biased_put_from_elsewhere(void *arg)
{
	int left;

	(void)arg;
	use(&world.toy);
	left = load(&world.toy.strong) - 1;
	store(&world.toy.strong, left);
	if (!left)
		drop_and_release(&world.toy);
}

/* The bias ends by a plain test and store, while the owner still counts. */
static void owner_get_puts(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	if (!load(&world.killed)) {
		store(&world.local, load(&world.local) + 1);
		use(t);
		store(&world.local, load(&world.local) - 1);
	}
	if (!load(&world.killed))
		store(&world.local, load(&world.local) - 1);
	else if (!add(&t->strong, -1))
		drop_and_release(t);
}

static void owned(void *arg)
{
	(void)arg;
	with(1, 0);
	world.local = 1;
}

static void unbias_without_asking(void *arg)
{
	struct toy *t = &world.toy;

	(void)arg;
	store(&world.killed, 1);
	if (!add(&t->strong, load(&world.local) - 1))
		drop_and_release(t);
}

static void wrong_local_counts_are_found(void **state)
{
	(void)state;
	catches("kill without a grace period", "", by_cpu, put_by_cpu, kill_without_grace_period,
		NULL, gone_once);
	catches("kill without a bias", "t->word == ALIVE", by_cpu, get_put_by_cpu,
		kill_without_bias, NULL, gone_once);
	catches("biased put from elsewhere", "nr_dropped == 1", two, biased_put_from_elsewhere,
		biased_put_from_elsewhere, NULL, gone_once);
	catches("bias taken without asking the owner", "", owned, owner_get_puts,
		unbias_without_asking, NULL, gone_once);
}

/* ---- the rest ---- */

static void push_by_store(void *arg)
{
	struct callback *c = &world.callback[explore_task()];

	(void)arg;
	KARC_STEP_READ(&world.callbacks);
	c->next = world.callbacks;
	KARC_STEP_WRITE(&world.callbacks);
	world.callbacks = c;
}

static void both_are_there(void *arg)
{
	unsigned int nr = 0;

	(void)arg;
	for (struct callback *c = world.callbacks; c; c = c->next)
		nr++;
	explore_check(nr == 2);
}

#define FULL	3

static void almost_full(void *arg)
{
	(void)arg;
	with(FULL - 1, 0);
}

static void saturate_before_adding(void *arg)
{
	(void)arg;
	if (load(&world.toy.strong) < FULL)
		add(&world.toy.strong, 1);
}

static void never_above(void *arg)
{
	(void)arg;
	explore_check(world.toy.strong <= FULL);
}

static void with_users(void *arg)
{
	(void)arg;
	with(2, 0);
	world.users = 1;
}

static void user_put(void *arg)
{
	(void)arg;
	if (!add(&world.users, -1)) {
		KARC_STEP_WRITE(&world.alone);
		world.alone = 1;	/* emptied */
		put_right(&world.toy);
	}
}

static void keeper_gets_users(void *arg)
{
	(void)arg;
	add(&world.users, 1);		/* instead of tryget */
	KARC_STEP_READ(&world.alone);
	explore_check(!world.alone);
	user_put(arg);
	put_right(&world.toy);
}

static void take_deferred_by_store(void *arg)
{
	(void)arg;
	KARC_STEP_READ(&world.callbacks);
	for (struct callback *c = world.callbacks; c; c = c->next)
		world.toy.nr_called++;
	KARC_STEP_WRITE(&world.callbacks);
	world.callbacks = NULL;
}

static void push_right(void *arg)
{
	struct callback *c = &world.callback[explore_task()];

	(void)arg;
	KARC_STEP_READ(&world.callbacks);
	c->next = world.callbacks;
	while (!try_cmpxchg(&world.callbacks, &c->next, c))
		;
}

static void called_or_there(void *arg)
{
	(void)arg;
	explore_check(world.toy.nr_called + (world.callbacks != NULL) == 1);
}

static void other_mistakes_are_found(void **state)
{
	(void)state;
	catches("callback pushed by a store", "nr == 2", one, push_by_store, push_by_store, NULL,
		both_are_there);
	catches("saturation tested before adding", "<= FULL", almost_full, saturate_before_adding,
		saturate_before_adding, NULL, never_above);
	catches("users: get instead of tryget", "!world.alone", with_users, keeper_gets_users,
		user_put, NULL, NULL);
	catches("deferred puts taken by load and store", "nr_called", one, push_right,
		take_deferred_by_store, NULL, called_or_there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Schedules are those of deterministic mode; each task has a CPU of its own. */
		karc_unit_test_cpus_deterministic(wrong_puts_are_found, 4),
		karc_unit_test_cpus_deterministic(wrong_upgrades_are_found, 4),
		karc_unit_test_cpus_deterministic(wrong_loners_are_found, 4),
		karc_unit_test_cpus_deterministic(wrong_lookups_are_found, 4),
		karc_unit_test_cpus_deterministic(wrong_local_counts_are_found, 4),
		karc_unit_test_cpus_deterministic(other_mistakes_are_found, 4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
