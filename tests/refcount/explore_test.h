/* SPDX-License-Identifier: MIT */
/*
 * explore_test.h - what the explore_*.c tests share: an object that notices what must not happen,
 * and running an exploration that must pass or must fail
 *
 * `ninja explore` builds and runs them. KARC_EXPLORE_SCHEDULE="name=0011" in the environment runs
 * that schedule of that exploration alone and shows its steps.
 */
#ifndef KARC_TESTS_EXPLORE_TEST_H
#define KARC_TESTS_EXPLORE_TEST_H

#ifndef KARC_EXPLORE
#define KARC_EXPLORE
#endif
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include <karc/base/log.h>
#include <karc/hw/explore.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/users.h>

#define ALIVE		0x600d600dU
#define TORN_DOWN	0xdead0001U
#define FREED		0xdead0002U
#define EVERY_LIMIT	5000UL		/* interleavings counted one by one */

/* Neither torn down twice nor while in use, its memory neither. Never really freed. */
struct obj {
	struct arc arc;
	unsigned int word;		/* ALIVE, ... */
	unsigned int nr_dropped, nr_freed;
	struct arc_users users;
	unsigned int nr_emptied;
};

/* Whoever has a strong reference may. */
static inline void obj_use(struct obj *o)
{
	KARC_STEP_READ(&o->word);
	explore_check(o->word == ALIVE);
}

static inline void obj_drop(void *obj)
{
	struct obj *o = obj;

	KARC_STEP_WRITE(&o->word);
	explore_check(o->word == ALIVE);
	o->word = TORN_DOWN;
	o->nr_dropped++;
}

/* All of it changes: whoever looks at it later, at the counts too, is seen to conflict. */
static inline void obj_free(void *obj)
{
	struct obj *o = obj;

	KARC_STEP_BYTES(o, sizeof(*o), KARC_WRITES);
	explore_check(o->word == TORN_DOWN);
	o->word = FREED;
	o->nr_freed++;
	/* Whoever counts on freed memory finds it saturated, which warns. */
	o->arc.kref.refcount.refs.counter = o->arc.weak.refs.counter = REFCOUNT_SATURATED;
}

static inline void obj_last_user(void *obj)
{
	struct obj *o = obj;

	KARC_STEP_WRITE(&o->nr_emptied);
	explore_check(o->word == ALIVE && !o->nr_emptied);
	o->nr_emptied++;
}

#define OBJ_TYPE(text, more_flags) { \
	.name = text, .size = sizeof(struct obj), .offset = offsetof(struct obj, arc), \
	.flags = (more_flags), .ops = { .drop = obj_drop, .free = obj_free }, \
}

static inline void obj_init(struct obj *o, const struct arc_type *type)
{
	memset(o, 0, sizeof(*o));
	o->word = ALIVE;
	arc_init(&o->arc, type);
}

/* Its end came, once. */
static inline void obj_is_gone(const struct obj *o)
{
	explore_check(o->nr_dropped == 1);
	explore_check(o->nr_freed == 1);
}

static inline const char *schedule_wanted(const char *name)
{
	const char *wanted = getenv("KARC_EXPLORE_SCHEDULE");
	size_t length = strlen(name);

	if (!wanted || strncmp(wanted, name, length) || wanted[length] != '=')
		return NULL;
	return wanted + length + 1;
}

static inline void show_log(void)
{
	struct log_record record;
	u64 seq = 0;

	while (karc_log_read(machine_log(this_machine()), &seq, &record))
		print_message("    | %s\n", record.text);
}

/* How many interleavings there are when each counts, as far as they are worth counting. */
static inline void count_every(struct exploration e, char *buf, size_t size)
{
	struct explore_result r;

	e.every = true;
	e.quiet = true;
	e.max_schedules = e.allow_warnings ? EVERY_LIMIT / 100 : EVERY_LIMIT;
	explore(&e, &r);
	assert_string_equal(r.message, "");
	snprintf(buf, size, "%s%lu", r.verdict == EXPLORE_LIMIT ? "more than " : "",
		 r.nr_schedules);
}

/* Every schedule is right. */
static inline void explore_all(const struct exploration *wanted)
{
	struct exploration e = *wanted;
	struct explore_result r;
	char every[64] = "";

	e.schedule = schedule_wanted(e.name);
	explore(&e, &r);
	if (e.schedule)
		show_log();
	assert_string_equal(r.message, "");
	assert_int_equal(r.verdict, EXPLORE_PASSED);
	if (e.max_preemptions)
		snprintf(every, sizeof(every), "those with %u preemptions of all",
			 e.max_preemptions);
	else if (!e.schedule)
		count_every(e, every, sizeof(every));
	print_message("%s: %u tasks, up to %u steps, %lu schedules for %s interleavings\n", e.name,
		      e.nr_tasks, r.longest, r.nr_schedules, every);
}

/* A wrong protocol: some schedule shows it, and shows it again. */
static inline void explore_catches(const struct exploration *wanted, const char *text)
{
	struct exploration e = *wanted;
	struct explore_result r, again;

	e.quiet = true;
	explore(&e, &r);
	print_message("%s: %s after %lu schedules\n", e.name,
		      r.message[0] ? r.message : "not found", r.nr_schedules);
	assert_in_range(r.verdict, EXPLORE_FAILED, EXPLORE_LIVELOCK);
	assert_true(r.nr_schedules > 1);	/* one after the other it works */
	assert_non_null(strstr(r.message, text));
	if (r.verdict != EXPLORE_FAILED)
		return;			/* what its tasks hold they hold for ever */
	e.schedule = r.schedule;
	explore(&e, &again);
	assert_string_equal(again.message, r.message);
}

#endif
