/* SPDX-License-Identifier: MIT */
/*
 * Goal: ownership faults of kobjects are reported whole.
 * Method: see tests/refcount/corpus.h; here with the rooms up to kobject.
 */
#include "../refcount/corpus.h"

#include <karc/kobject/kobject.h>
#include <karc/mm/slab/kmalloc.h>

static struct kobj_type silent_ktype;

static void kobject_without_release(void)
{
	struct kobject *kobj = corpus_alloc(sizeof(*kobj));

	kobject_init(kobj, &silent_ktype);
	CHECK(!kobject_set_name(kobj, "mute"));
	kobject_put(kobj);
}

static void kobject_put_too_often(void)
{
	struct kobject *kobj = corpus_alloc(sizeof(*kobj));

	AT(a), kobject_init(kobj, &silent_ktype);
	CHECK(!kobject_set_name(kobj, "twice"));
	AT(b), kobject_put(kobj);
	AT(c), kobject_put(kobj);
}

static void kobject_put_in_its_release(struct kobject *kobj)
{
	AT(c), kobject_put(kobj);
}

static void kobject_that_puts_itself(void)
{
	static struct kobj_type ktype = { .release = kobject_put_in_its_release };
	struct kobject *kobj = corpus_alloc(sizeof(*kobj));

	AT(a), kobject_init(kobj, &ktype);
	CHECK(!kobject_set_name(kobj, "eager"));
	AT(b), kobject_put(kobj);
}

static void kobject_got_from_the_dead(void)
{
	struct kobject *kobj = corpus_alloc(sizeof(*kobj));

	AT(a), kobject_init(kobj, &silent_ktype);
	CHECK(!kobject_set_name(kobj, "ghost"));
	AT(b), kobject_put(kobj);
	AT(c), kobject_get(kobj);
	kobject_put(kobj);		/* never goes to zero again */
}

#define CASE(fn, ...) { .name = #fn, .run = fn, __VA_ARGS__ }

static struct seeded cases[] = {
	CASE(kobject_without_release,
	     .expected =
		"kobject: 'mute' (ADDR): does not have a release() function, it is broken and "
		"must be fixed.\n"),
	CASE(kobject_put_too_often,
	     .expected =
		"kobject: 'twice' (ADDR): does not have a release() function, it is broken and "
		"must be fixed.\n"
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: kobject at ADDR, N bytes, dead; strong count\n"
		" created: $a kobject_put_too_often\n"
		" last put: $b kobject_put_too_often, by task call (N)\n",
		"$c kobject_put_too_often")),
	CASE(kobject_that_puts_itself,
	     .expected =
		WARNED(
		"refcount_t: underflow; use-after-free.\n"
		" object: kobject at ADDR, N bytes, dead; strong count\n"
		" created: $a kobject_that_puts_itself\n"
		" last put: $b kobject_that_puts_itself, by task call (N)\n",
		"$c kobject_put_in_its_release")),
	CASE(kobject_got_from_the_dead,
	     .expected =
		"kobject: 'ghost' (ADDR): does not have a release() function, it is broken and "
		"must be fixed.\n"
		WARNED(
		"refcount_t: addition on 0; use-after-free.\n"
		" object: kobject at ADDR, N bytes, dead; strong count\n"
		" created: $a kobject_got_from_the_dead\n"
		" last put: $b kobject_got_from_the_dead, by task call (N)\n",
		"$c kobject_got_from_the_dead")),
};

int main(void)
{
	return corpus_main(cases, ARRAY_SIZE(cases), __FILE__);
}
