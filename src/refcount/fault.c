/* SPDX-License-Identifier: MIT */
/*
 * fault.c - what is said about an ownership fault, and what becomes of the machine
 *
 * What it is      One road for all faults: contain (the caller has done that), count, find out what
 *                 the counter belongs to, write it down, and do what the policy says.
 * Objects         room state: policy, handler, how often each kind happened. Nothing allocated.
 * Invariants      I1  A counter is pinned before anything is said: no report opens a window in
 *                     which it may reach zero.
 *                 I2  A count that holds poison holds poison again afterwards: the object is dead,
 *                     and no number of stale gets and puts brings it to life or frees it twice.
 *                 I3  Nothing is read off an object unless somebody vouches for it: an obituary
 *                     that is still true, the list of tracked arcs, or a type pointer that the
 *                     ledger knows.
 *                 I4  The first line is Linux's own wherever Linux has one.
 * Locking         none of its own; the policy is read without a lock and changed at leisure.
 * Worst case      Naming an object reads all obituaries and all kinds of the ledger. A kind that
 *                 was reported already is only counted.
 * Unlike Linux    Linux names the counter's place in lib/refcount.c only. panic_on_warn is a
 *                 property of the machine here, and of these faults.
 */
#include <karc/base/bug.h>
#include <karc/base/log.h>
#include <karc/hw/panic.h>
#include <karc/hw/physmem.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/quarantine.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define REPORT_BYTES	896	/* first line, object, two places with names of files */

static const char text_saturated[] = "refcount_t: saturated; leaking memory.";
static const char text_on_zero[] = "refcount_t: addition on 0; use-after-free.";
static const char text_underflow[] = "refcount_t: underflow; use-after-free.";
static const char text_dec_leak[] = "refcount_t: decrement hit 0; leaking memory.";

/*
 * @each: every one is reported, because each is about another reference; otherwise once a kind.
 * @line: one line of the log and no WARNING: the call is refused and says so.
 */
static const struct fault_kind {
	const char *name;
	const char *text;
	bool each;
	bool line;
} kinds[ARC_FAULT_NR] = {
#define ONCE(name, text) { name, text, false, false }
#define EACH(name, text) { name, text, true, false }
#define LINE(name, text) { name, text, false, true }
	[ARC_FAULT_OVERFLOW] = ONCE("overflow", text_saturated),
	[ARC_FAULT_GET_ON_ZERO] = ONCE("get-on-zero", text_on_zero),
	[ARC_FAULT_UNDERFLOW] = ONCE("underflow", text_underflow),
	[ARC_FAULT_DEC_LEAK] = ONCE("dec-leak", text_dec_leak),
	[ARC_FAULT_USE_AFTER_PUT] = ONCE("use-after-put", "arc: used after its last put"),
	[ARC_FAULT_UNINITIALISED] = ONCE("uninitialised", "arc: used before arc_init()"),
	[ARC_FAULT_RESURRECTION] =
		ONCE("resurrection", "arc: got or put again while dying; leaking it"),
	[ARC_FAULT_WEAK_LEFT] =
		ONCE("weak-left", "arc: memory returned with weak references left"),
	[ARC_FAULT_ATOMIC] = ONCE("atomic", "arc: teardown that sleeps, in atomic context"),
	[ARC_FAULT_NO_DESTRUCTOR] = LINE("no-destructor", "arc: no destructor"),
	[ARC_FAULT_BAD_TYPE] = LINE("bad-type", "arc: type that makes no sense"),
	[ARC_FAULT_FOREIGN] = ONCE("foreign", "arc: object of another machine; leaking it"),
	[ARC_FAULT_FORGOTTEN] = EACH("forgotten", "arc: task ended with a reference"),
	[ARC_FAULT_HOLDER] = EACH("holder", "arc: released by who does not hold it"),
	[ARC_FAULT_LEFT_TRACKED] = EACH("left-tracked", "ref_tracker: reference left"),
	[ARC_FAULT_TRACKER] = EACH("tracker", "ref_tracker: misused"),
	[ARC_FAULT_KILLED_TWICE] = ONCE("killed-twice", "percpu_ref: killed more than once"),
	[ARC_FAULT_LOCAL] = ONCE("local", "arc: misuse of a count that CPUs keep by themselves"),
	[ARC_FAULT_NOT_RCU] = ONCE("not-rcu", "arc_slot: type is not ARC_RCU"),
	[ARC_FAULT_DTOR_TWICE] = ONCE("dtor-twice", "arc: destructor callback registered twice"),
#undef ONCE
#undef EACH
#undef LINE
};

const char *arc_fault_name(enum arc_fault kind)
{
	return kind < ARC_FAULT_NR ? kinds[kind].name : "?";
}

/* ---- policy ---- */

static struct fault_state *fault_state(struct machine *m)
{
	struct refcount_state *state = m ? refcount_state(m) : NULL;

	return state ? &state->fault : NULL;
}

struct arc_fault_policy arc_fault_policy(struct machine *m, enum arc_policy policy,
					 arc_fault_fn fn, void *arg)
{
	struct fault_state *s = fault_state(m);
	struct arc_fault_policy old = {
		.policy = READ_ONCE(s->policy),
		.ops.fn = READ_ONCE(s->fn),
		.arg = READ_ONCE(s->arg),
	};

	BUG_ON(policy == ARC_POLICY_CALL && !fn);
	WRITE_ONCE(s->arg, arg);
	WRITE_ONCE(s->fn, fn);
	/* Pairs with the acquire in fault_policy(). */
	smp_store_release(&s->policy, (u32)policy);
	return old;
}

void arc_fault_policy_restore(struct machine *m, const struct arc_fault_policy *policy)
{
	arc_fault_policy(m, policy->policy, policy->ops.fn, policy->arg);
}

unsigned long arc_fault_count(struct machine *m, enum arc_fault kind)
{
	return kind < ARC_FAULT_NR ? READ_ONCE(fault_state(m)->nr[kind]) : 0;
}

static enum arc_policy fault_policy(const struct fault_state *s)
{
	return s ? (enum arc_policy)smp_load_acquire(&s->policy) : ARC_POLICY_WARN;
}

/* ---- what the counter belongs to ---- */

struct type_search {
	const struct arc_type *type;
	bool found;
};

static void look_for_type(void *arg, const struct ledger_row *row)
{
	struct type_search *search = arg;

	search->found = search->found || row->type == search->type;
}

/* I3 */
static bool is_registered(const struct arc_type *type)
{
	struct type_search search = { .type = type };

	ledger_for_each_kind(this_machine(), look_for_type, &search);
	return type && search.found;
}

/* An arc and its strong count have one address: the kind tells which is meant. */
static const char *half_of(const struct arc *arc, const void *counter, enum arc_fault kind)
{
	if (counter == &arc->weak)
		return "weak";
	if (counter == &arc->kref.refcount)
		return kind <= ARC_FAULT_UNINITIALISED ? "strong" : NULL;
	return "users";
}

/* The memory is an arc's, so far as the caller knows; what is in it may be changing. */
static __no_sanitize_thread bool known_from_arc(struct arc_fault_info *info, const struct arc *arc)
{
	const struct arc_type *type = READ_ONCE(arc->type);

	if (!is_registered(type))
		return false;
	info->object = (const char *)arc - type->offset;
	info->type = type;
	info->state = READ_ONCE(arc->state);
	/* The site's place is the callback's once RCU waits for readers. */
	if (!((arc->flags & ARC_RCU) && info->state == ARC_DEAD))
		info->created = READ_ONCE(arc->site);
	return true;
}

static void known_from_obituary(struct arc_fault_info *info, const struct arc_obituary *o)
{
	info->object = o->object;
	info->type = o->type;
	info->created = o->created;
	info->last_put = (struct arc_fault_place){
		.site = o->put, .task = o->task, .task_id = o->task_id, .owner = o->owner,
	};
}

/* The tracked arc that @counter is one of the halves of. */
static const struct arc *tracked_at(const void *counter)
{
	struct track *track = refcount_hot()->track;
	const struct arc *arc = counter;

	if (!track)
		return NULL;
	if (track_has(track, arc))
		return arc;
	arc = (const struct arc *)((const char *)counter - offsetof(struct arc, weak));
	return track_has(track, arc) ? arc : NULL;
}

/*
 * @arc: the caller vouches for its being one, or NULL: then only what somebody wrote down counts.
 */
static void identify(struct arc_fault_info *info, const struct arc *arc, struct arc_obituary *o)
{
	bool dead = arc_obituary(info->counter, o);

	info->state = -1;
	if (dead) {
		known_from_obituary(info, o);
		info->state = READ_ONCE(o->arc->state);
		info->half = half_of(o->arc, info->counter, info->kind);
		return;
	}
	if (!arc)
		arc = tracked_at(info->counter);
	if (arc && known_from_arc(info, arc))
		info->half = half_of(arc, info->counter, info->kind);
}

/* ---- the text ---- */

struct report {
	char text[REPORT_BYTES];
	size_t used;
};

static void say(struct report *r, const char *fmt, ...) __printf(2, 3);
static void say(struct report *r, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(r->text + r->used, sizeof(r->text) - r->used, fmt, args);
	va_end(args);
	if (n > 0)
		r->used = min(r->used + (size_t)n, sizeof(r->text) - 1);
}

/* By its place in the machine, which is the same in every run with one seed, where it has one. */
static void say_address(struct report *r, const void *p)
{
	const char *arena = this_cpu()->arena;
	u64 offset = (u64)((const char *)p - arena);

	if (offset < physmem_arena_bytes(this_machine()))
		say(r, "arena+%#llx", offset);
	else
		say(r, "%p", p);
}

static const char *state_name(int state)
{
	static const char *const names[] = {
		[ARC_INIT] = "not initialised", [ARC_LIVE] = "alive", [ARC_DYING] = "dying",
		[ARC_DEAD] = "dead",
	};

	return state >= 0 && state < (int)ARRAY_SIZE(names) ? names[state] : "gone";
}

static void say_object(struct report *r, const struct arc_fault_info *info)
{
	if (!info->type && (info->kind == ARC_FAULT_UNINITIALISED ||
			    info->kind == ARC_FAULT_FOREIGN)) {
		say(r, "\n object: memory at ");
		say_address(r, info->counter);
		say(r, info->kind == ARC_FAULT_FOREIGN ? ", not of this machine" :
		       " that arc_init() has never seen");
	}
	if (!info->type)
		return;
	say(r, "\n object: %s at ", info->type->name);
	say_address(r, info->object);
	say(r, ", %zu bytes, %s", info->type->size, state_name(info->state));
	if (info->half)
		say(r, "; %s count", info->half);
	if (info->created)
		say(r, "\n created: %s:%u %s", info->created->file, info->created->line,
		    info->created->func);
}

static void say_last_put(struct report *r, const struct arc_fault_info *info)
{
	const struct arc_fault_place *put = &info->last_put;

	if (!put->task)
		return;
	if (put->site)
		say(r, "\n last put: %s:%u %s", put->site->file, put->site->line, put->site->func);
	else
		say(r, "\n last put: somewhere");
	if (put->owner)
		say(r, ", in the teardown of %s", put->owner->name);
	say(r, ", by task %s (%llu)", put->task, put->task_id);
}

/* ---- the road ---- */

static void arc_fault_warn(const struct arc_fault_info *info, const struct site *fallback)
{
	const struct bug_site where = { .site = *(info->where ? info->where : fallback) };

	if (kinds[info->kind].line)
		pr_err("%s\n", info->text);
	else
		karc_warn_hook(&where, info->text);
}

static void arc_fault_stop(const struct arc_fault_info *info, const struct site *fallback)
{
	arc_fault_warn(info, fallback);
	panic("ownership fault: %s", arc_fault_name(info->kind));
}

/* Nobody would be told: no need to find out what it is about. */
static bool is_old_news(struct machine *m, enum arc_fault kind, enum arc_policy policy)
{
	return policy == ARC_POLICY_WARN && !kinds[kind].each && !kinds[kind].line &&
	       !machine_once(m, &kinds[kind]);
}

struct fault {
	enum arc_fault kind;
	const void *counter;
	const struct arc *arc;		/* the caller vouches for it, or NULL */
	const struct site *where;
	const struct site *fallback;	/* shown when @where is NULL */
	const char *first;		/* line */
};

static void arc_fault_report(const struct fault *fault)
{
	struct machine *m = this_machine();
	struct fault_state *s = fault_state(m);
	enum arc_policy policy = fault_policy(s);
	struct arc_fault_info info = {
		.kind = fault->kind, .counter = fault->counter, .where = fault->where, .state = -1,
	};
	struct arc_obituary obituary;
	struct report report = { .used = 0 };

	if (s)
		__atomic_fetch_add(&s->nr[fault->kind], 1, __ATOMIC_RELAXED);
	if (m && is_old_news(m, fault->kind, policy))
		return;
	if (s && fault->counter)
		identify(&info, fault->arc, &obituary);
	say(&report, "%s", fault->first);
	say_object(&report, &info);
	say_last_put(&report, &info);
	info.text = report.text;
	switch (policy) {
	case ARC_POLICY_WARN:
		arc_fault_warn(&info, fault->fallback);
		break;
	case ARC_POLICY_STOP:
		arc_fault_stop(&info, fault->fallback);
		break;
	case ARC_POLICY_CALL:
		READ_ONCE(s->fn)(READ_ONCE(s->arg), &info);
		break;
	}
}

void arc_fault_raise(enum arc_fault kind, const void *subject, const struct site *where)
{
	struct fault fault = {
		.kind = kind, .counter = subject, .where = where, .fallback = SITE(),
		.first = kinds[kind].text,
	};

	arc_fault_report(&fault);
}

void arc_fault_tell(enum arc_fault kind, const void *subject, const struct site *where,
		    const char *fmt, ...)
{
	char first[REPORT_BYTES / 2];
	struct fault fault = {
		.kind = kind, .counter = subject, .where = where, .fallback = SITE(),
		.first = first,
	};
	va_list args;

	va_start(args, fmt);
	vsnprintf(first, sizeof(first), fmt, args);
	va_end(args);
	arc_fault_report(&fault);
}

void arc_fault_type(enum arc_fault kind, const struct arc_type *type, const char *why)
{
	char first[REPORT_BYTES / 2];
	struct fault fault = { .kind = kind, .fallback = SITE(), .first = first };

	snprintf(first, sizeof(first), "arc_type_register: type \"%s\" refused: %s",
		 type->name ? type->name : "?", why);
	arc_fault_report(&fault);
}

/* ---- counters ---- */

static bool is_put(enum refcount_saturation_type t)
{
	return t == REFCOUNT_SUB_UAF || t == REFCOUNT_DEC_LEAK;
}

static enum arc_fault kind_of(enum refcount_saturation_type t)
{
	static const enum arc_fault of[] = {
		[REFCOUNT_ADD_NOT_ZERO_OVF] = ARC_FAULT_OVERFLOW,
		[REFCOUNT_ADD_OVF] = ARC_FAULT_OVERFLOW,
		[REFCOUNT_ADD_UAF] = ARC_FAULT_GET_ON_ZERO,
		[REFCOUNT_SUB_UAF] = ARC_FAULT_UNDERFLOW,
		[REFCOUNT_DEC_LEAK] = ARC_FAULT_DEC_LEAK,
	};

	return (unsigned int)t < ARRAY_SIZE(of) ? of[t] : ARC_FAULT_OVERFLOW;
}

/* Nobody can hold a reference to what is dead: on zero, whatever the poison made of it. */
static void arc_fault_used_dead(struct arc *arc, refcount_t *r, enum refcount_saturation_type t,
		      const struct site *where)
{
	struct fault fault = {
		.kind = ARC_FAULT_USE_AFTER_PUT, .counter = r, .arc = arc, .where = where,
		.fallback = SITE(), .first = is_put(t) ? text_underflow : text_on_zero,
	};

	arc_fault_report(&fault);
}

void refcount_warn_saturate(refcount_t *r, enum refcount_saturation_type t)
{
	struct fault fault = { .kind = kind_of(t), .counter = r, .fallback = SITE() };

	if (ARC_IS_POISON(refcount_read(r))) {		/* only arcs hold that */
		refcount_set(r, ARC_POISON);
		arc_fault_used_dead(NULL, r, t, NULL);
		return;
	}
	refcount_set(r, REFCOUNT_SATURATED);
	fault.first = kinds[fault.kind].text;
	arc_fault_report(&fault);
}

bool arc_saturate(struct arc *arc, refcount_t *r, enum refcount_saturation_type t,
		  const struct site *where)
{
	struct fault fault = {
		.kind = kind_of(t), .counter = r, .arc = arc, .where = where, .fallback = SITE(),
	};
	u8 state = READ_ONCE(arc->state);

	if (ARC_IS_POISON(refcount_read(r))) {
		refcount_set(r, ARC_POISON);
		arc_fault_used_dead(arc, r, t, where);
		return false;
	}
	refcount_set(r, REFCOUNT_SATURATED);
	if (state == ARC_DEAD && r == &arc->kref.refcount) {
		/* Weak references keep the memory; for their upgrades it must be zero. */
		refcount_set(r, 0);
		arc_fault_used_dead(arc, r, t, where);
		return false;
	}
	if (state == ARC_INIT)
		fault.kind = ARC_FAULT_UNINITIALISED;
	fault.first = kinds[kind_of(t)].text;
	arc_fault_report(&fault);
	return state == ARC_LIVE;
}

bool arc_fault_stray(struct arc *arc, const struct site *where)
{
	struct track *track = refcount_hot()->track;

	if (!track_has(track, arc)) {
		refcount_set(&arc->kref.refcount, REFCOUNT_SATURATED);
		arc_fault_raise(ARC_FAULT_FOREIGN, arc, where);
		return true;
	}
	if (READ_ONCE(arc->state) == ARC_LIVE)
		return false;
	arc_fault_used_dead(arc, &arc->kref.refcount, REFCOUNT_SUB_UAF, where);
	return true;
}
