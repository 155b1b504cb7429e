/* SPDX-License-Identifier: MIT */
/*
 * Goal: what a scope owns ends with it, whichever way it is left, the latest first.
 * Method: classes that write a letter when they are made and when they end; one function for each
 * way out of a scope, whose writing is compared. The guards of real locks are in the tests of the
 * rooms that have the locks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <karc/base/cleanup.h>

/* What happened, in order: a capital when something begins, its small letter when it ends. */
struct diary {
	char text[64];
	size_t used;
};

static void note(struct diary *d, char c)
{
	assert_true(d->used + 1 < sizeof(d->text));
	d->text[d->used++] = c;
}

struct entry {
	struct diary *diary;
	char letter;
};

static struct entry entry_begin(struct diary *d, char letter)
{
	note(d, letter);
	return (struct entry){ d, letter };
}

DEFINE_CLASS(entry, struct entry, note(_T.diary, (char)(_T.letter + 'a' - 'A')),
	     entry_begin(d, letter), struct diary *d, char letter)
EXTEND_CLASS(entry, _x, entry_begin(d, 'X'), struct diary *d)

/* A lock of the diary: L and l; and one that can be refused. */
struct lock {
	struct diary *diary;
	bool held, refuse;
};

static void lock(struct lock *l)
{
	assert_false(l->held);
	l->held = true;
	note(l->diary, 'L');
}

static bool trylock(struct lock *l)
{
	if (l->refuse)
		return false;
	lock(l);
	return true;
}

static void unlock(struct lock *l)
{
	assert_true(l->held);
	l->held = false;
	note(l->diary, 'l');
}

DEFINE_GUARD(lock, struct lock *, lock(_T), unlock(_T))
DEFINE_GUARD_COND(lock, _try, trylock(_T))
DEFINE_LOCK_GUARD_1(flock, struct lock, (lock(_T->lock), _T->flags = 7),
		    (assert_int_equal(_T->flags, 7), unlock(_T->lock)), int flags)
DEFINE_LOCK_GUARD_1_COND(flock, _try, (_T->flags = 7, trylock(_T->lock)))

static void assert_diary(struct diary *d, const char *text)
{
	assert_string_equal(d->text, text);
	memset(d, 0, sizeof(*d));
}

/* ---- classes ---- */

static void latest_ends_first(void **state)
{
	struct diary d = { .used = 0 };

	(void)state;
	{
		CLASS(entry, a)(&d, 'A');
		CLASS(entry, b)(&d, 'B');
		CLASS(entry_x, x)(&d);

		note(&d, a.letter == 'A' && b.letter == 'B' && x.letter == 'X' ? '.' : '!');
	}
	assert_diary(&d, "ABX.xba");
}

static int leaves_early(struct diary *d, int where)
{
	CLASS(entry, a)(d, 'A');

	if (where == 1)
		return 1;
	CLASS(entry, b)(d, 'B');
	if (where == 2)
		return 2;
	note(d, '.');
	return 0;
}

static void return_ends_what_has_begun(void **state)
{
	struct diary d = { .used = 0 };

	(void)state;
	assert_int_equal(leaves_early(&d, 0), 0);
	assert_diary(&d, "AB.ba");
	assert_int_equal(leaves_early(&d, 1), 1);
	assert_diary(&d, "Aa");
	assert_int_equal(leaves_early(&d, 2), 2);
	assert_diary(&d, "ABba");
}

static void goto_out_of_a_scope_ends_it(void **state)
{
	struct diary d = { .used = 0 };

	(void)state;
	{
		CLASS(entry, a)(&d, 'A');
		{
			CLASS(entry, b)(&d, 'B');
			if (d.used)
				goto out;
		}
		note(&d, '!');
	}
out:
	assert_diary(&d, "ABba");
}

static void each_turn_of_a_loop_is_a_scope(void **state)
{
	struct diary d = { .used = 0 };
	int i;

	(void)state;
	for (i = 0; i < 4; i++) {
		CLASS(entry, a)(&d, (char)('A' + i));

		if (i == 1)
			continue;
		if (i == 2)
			break;
		note(&d, '.');
	}
	assert_diary(&d, "A.aBbCc");
}

/* ---- __free ---- */

/* Memory of the test's own: the analyzer takes what cleanups free for leaked. */
struct box {
	struct diary *diary;
	char letter;
	bool used;
};

static struct box boxes[4];

static struct box *box_new(struct diary *d, char letter)
{
	struct box *b = boxes;

	while (b->used)
		b++;
	assert_true(b < boxes + ARRAY_SIZE(boxes));
	*b = (struct box){ d, letter, true };
	note(d, letter);
	return b;
}

static void box_free(struct box *b)
{
	assert_true(b->used);
	note(b->diary, (char)(b->letter + 'a' - 'A'));
	b->used = false;
}

static void assert_all_free(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(boxes); i++)
		assert_false(boxes[i].used);
}

DEFINE_FREE(box, struct box *, if (_T) box_free(_T))

static void free_variables_are_freed_latest_first(void **state)
{
	struct diary d = { .used = 0 };

	(void)state;
	{
		struct box *a __free(box) = box_new(&d, 'A');
		struct box *b __free(box) = box_new(&d, 'B');
		struct box *none __free(box) = NULL;

		assert_true(a != b && !none);
	}
	assert_diary(&d, "ABba");
	assert_all_free();
}

static struct box *box_made(struct diary *d, bool fail)
{
	struct box *a __free(box) = box_new(d, 'A');
	struct box *b __free(box) = box_new(d, 'B');

	if (fail)
		return NULL;
	note(d, b->letter == 'B' ? '.' : '!');
	return_ptr(a);
}

static void return_ptr_hands_the_value_to_the_caller(void **state)
{
	struct diary d = { .used = 0 };
	struct box *b;

	(void)state;
	assert_null(box_made(&d, true));
	assert_diary(&d, "ABba");
	b = box_made(&d, false);
	assert_int_equal(b->letter, 'A');
	assert_diary(&d, "AB.b");
	box_free(b);
	assert_all_free();
}

static void no_free_ptr_moves_ownership(void **state)
{
	struct diary d = { .used = 0 };
	struct box *kept;

	(void)state;
	{
		struct box *a __free(box) = box_new(&d, 'A');

		kept = no_free_ptr(a);
		assert_null(a);
	}
	assert_diary(&d, "A");
	{
		struct box *again __free(box) = kept;

		assert_int_equal(again->letter, 'A');
	}
	assert_diary(&d, "a");
}

static void take_over(struct box **place, struct box *b)
{
	*place = b;
}

static void retain_and_null_ptr_forgets_what_was_taken_over(void **state)
{
	struct diary d = { .used = 0 };
	struct box *place = NULL;

	(void)state;
	{
		struct box *a __free(box) = box_new(&d, 'A');

		take_over(&place, a);
		retain_and_null_ptr(a);
		assert_null(a);
	}
	assert_diary(&d, "A");
	box_free(place);
	assert_all_free();
}

/* ---- guards ---- */

static int guarded(struct lock *l, bool early)
{
	guard(lock)(l);
	if (early)
		return 1;
	note(l->diary, '.');
	return 0;
}

static void guard_holds_to_the_end_of_the_scope(void **state)
{
	struct diary d = { .used = 0 };
	struct lock l = { .diary = &d };

	(void)state;
	guarded(&l, false);
	assert_diary(&d, "L.l");
	guarded(&l, true);
	assert_diary(&d, "Ll");
}

static void guards_nest_and_release_inside_out(void **state)
{
	struct diary outer = { .used = 0 }, inner = { .used = 0 };
	struct lock a = { .diary = &outer }, b = { .diary = &inner };

	(void)state;
	{
		guard(lock)(&a);
		{
			guard(flock)(&b);
			assert_true(a.held && b.held);
		}
		assert_true(a.held && !b.held);
	}
	assert_false(a.held);
	assert_diary(&outer, "Ll");
	assert_diary(&inner, "Ll");
}

static int scoped(struct lock *l, int way)
{
	int i;

	for (i = 0; i < 2; i++) {
		scoped_guard(lock, l) {
			if (way == 1)
				return 1;
			if (way == 2)
				break;		/* leaves the guard, not the loop */
			if (way == 3)
				continue;
			if (way == 4)
				goto out;
			note(l->diary, '.');
		}
		note(l->diary, '-');
	}
	return 0;
out:
	return 4;
}

static void scoped_guard_can_be_left_in_every_way(void **state)
{
	struct diary d = { .used = 0 };
	struct lock l = { .diary = &d };

	(void)state;
	assert_int_equal(scoped(&l, 0), 0);
	assert_diary(&d, "L.l-L.l-");
	assert_int_equal(scoped(&l, 1), 1);
	assert_diary(&d, "Ll");
	assert_int_equal(scoped(&l, 2), 0);
	assert_diary(&d, "Ll-Ll-");
	assert_int_equal(scoped(&l, 3), 0);
	assert_diary(&d, "Ll-Ll-");
	assert_int_equal(scoped(&l, 4), 4);
	assert_diary(&d, "Ll");
}

/* That it compiles without a warning shows that the compiler sees the body run. */
static int returns_from_inside(struct lock *l)
{
	scoped_guard(flock, l)
		return 3;
}

static void scoped_guard_is_seen_to_run(void **state)
{
	struct diary d = { .used = 0 };
	struct lock l = { .diary = &d };

	(void)state;
	assert_int_equal(returns_from_inside(&l), 3);
	assert_diary(&d, "Ll");
	if (d.used)
		scoped_guard(lock, &l)
			note(&d, '!');
	else
		note(&d, '.');
	assert_diary(&d, ".");
}

static void conditional_guard_that_fails_skips_its_scope(void **state)
{
	struct diary d = { .used = 0 };
	struct lock l = { .diary = &d };

	(void)state;
	scoped_guard(lock_try, &l)
		note(&d, '.');
	assert_diary(&d, "L.l");
	l.refuse = true;
	scoped_guard(lock_try, &l)
		note(&d, '!');
	scoped_guard(flock_try, &l)
		note(&d, '!');
	assert_diary(&d, "");
	assert_false(l.held);
}

static int cond_scoped(struct lock *l)
{
	scoped_cond_guard(lock_try, return -16, l) {
		note(l->diary, '.');
		scoped_cond_guard(flock_try, note(l->diary, '?'), l)
			note(l->diary, '!');
		return 5;
	}
	return 0;
}

static void scoped_cond_guard_says_what_to_do_when_it_fails(void **state)
{
	struct diary d = { .used = 0 };
	struct lock l = { .diary = &d };
	int failed = 0;

	(void)state;
	l.refuse = true;
	assert_int_equal(cond_scoped(&l), -16);
	scoped_cond_guard(flock_try, failed = 1, &l)
		failed = 2;
	assert_int_equal(failed, 1);
	assert_diary(&d, "");
	l.refuse = false;
	scoped_cond_guard(flock_try, failed = 3, &l)
		failed = 4;
	assert_int_equal(failed, 4);
	assert_diary(&d, "Ll");
}

static void inner_conditional_guard_fails_alone(void **state)
{
	struct diary d = { .used = 0 }, other = { .used = 0 };
	struct lock l = { .diary = &d }, busy = { .diary = &other, .refuse = true };

	(void)state;
	scoped_guard(lock, &l) {
		scoped_guard(lock_try, &busy)
			note(&d, '!');
		note(&d, '.');
	}
	assert_diary(&d, "L.l");
	assert_diary(&other, "");
}

static void guard_of_nothing_does_nothing(void **state)
{
	(void)state;
	scoped_guard(lock_try, NULL)
		fail();
	scoped_guard(flock_try, NULL)
		fail();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(latest_ends_first),
		cmocka_unit_test(return_ends_what_has_begun),
		cmocka_unit_test(goto_out_of_a_scope_ends_it),
		cmocka_unit_test(each_turn_of_a_loop_is_a_scope),
		cmocka_unit_test(free_variables_are_freed_latest_first),
		cmocka_unit_test(return_ptr_hands_the_value_to_the_caller),
		cmocka_unit_test(no_free_ptr_moves_ownership),
		cmocka_unit_test(retain_and_null_ptr_forgets_what_was_taken_over),
		cmocka_unit_test(guard_holds_to_the_end_of_the_scope),
		cmocka_unit_test(guards_nest_and_release_inside_out),
		cmocka_unit_test(scoped_guard_can_be_left_in_every_way),
		cmocka_unit_test(scoped_guard_is_seen_to_run),
		cmocka_unit_test(conditional_guard_that_fails_skips_its_scope),
		cmocka_unit_test(scoped_cond_guard_says_what_to_do_when_it_fails),
		cmocka_unit_test(inner_conditional_guard_fails_alone),
		cmocka_unit_test(guard_of_nothing_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
