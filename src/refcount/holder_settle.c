/* SPDX-License-Identifier: MIT */
/*
 * holder_settle.c - what a task that ends still has
 *
 * What it is      The account at the point of no return. A record of the task is either explained
 *                 or names a reference that was forgotten. What explains it is a field of a live
 *                 object that holds the same object and has no record of its own: the task stored
 *                 the reference there, and the record becomes the field's.
 * Method          With the machine frozen, the field tables of all live objects are read once.
 *                 Edges to objects that the task has records of are matched: first with the record
 *                 that the field has, then with the task's oldest. Of what is left, at most as
 *                 many are forgotten as the object's count exceeds its edges and the records of
 *                 others: a kref that was put directly has no record to end.
 *                 Somebody may be between taking a pointer out of a field and putting it. So
 *                 whoever looks guilty is looked at once more, after others have had their turn.
 * Invariants      I1  No accusation on less than full knowledge: an object with references that
 *                     have no record, or a saturated count, is passed over.
 *                 I2  An accusation is made once: the record is HOLDER_GONE from then on.
 * Locking         machine_freeze(); the lock of holder.c is free then, and not taken.
 * Worst case      A task without records costs one look at a hash bucket; others one pass over all
 *                 tracked objects and edges, twice if something was forgotten. On a parallel
 *                 machine that cannot be frozen (a CPU in host code) nobody is accused; the records say
 *                 who it was.
 * Unlike Linux    Nothing like it there. An edge that two records could explain goes to the task
 *                 that ends first.
 */
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/hw/fiber.h>
#include <karc/hw/freeze.h>
#include <karc/hw/stacktrace.h>
#include <karc/refcount/users.h>
#include <string.h>

#include "holder_internal.h"
#include "track.h"

#define TURNS	64		/* that others have before an accusation */

struct settle {
	struct holders *h;
	struct holder_who who;
	const struct arc *owner;
};

static bool has_records(struct settle *s)
{
	struct holder_record *r;
	bool some = false;

	holders_lock(s->h);
	list_for_each_entry(r, holder_task_bucket(s->h, s->who.key), of_task)
		some |= r->key == s->who.key;
	holders_unlock(s->h);
	return some;
}

static void begin_look(struct settle *s)
{
	struct holders *h = s->h;
	struct holder_record *r;

	h->look++;
	list_for_each_entry(r, holder_task_bucket(h, s->who.key), of_task) {
		if (r->key != s->who.key)
			continue;
		r->set->look = h->look;
		r->set->nr_in[0] = 0;
		r->set->nr_in[1] = 0;
	}
}

static struct holder_record *oldest_own(struct settle *s, const struct holder_set *set, bool user)
{
	struct holder_record *r;

	list_for_each_entry_reverse(r, holder_pair_bucket(s->h, s->who.key, set->arc), of_pair)
		if (r->set == set && holder_is_own(r, &s->who, user))
			return r;
	return NULL;
}

/* The record of a field that was not met in this look. */
static struct holder_record *record_of_field(struct settle *s, const struct holder_set *set,
					     const struct arc_field *f, bool user)
{
	struct holder_record *r;

	list_for_each_entry(r, holder_pair_bucket(s->h, s->owner, set->arc), of_pair)
		if (r->set == set && r->h.kind == HOLDER_FIELD && r->h.owner == s->owner &&
		    r->h.user == user && r->look != s->h->look && !strcmp(r->h.label, f->name))
			return r;
	return NULL;
}

static void see_edge(void *arg, const struct arc_field *f, unsigned int index,
		     enum arc_edge_kind kind, struct arc *child)
{
	struct settle *s = arg;
	bool user = kind == ARC_EDGE_USER;
	struct holder_record *r;
	struct holder_set *set;

	(void)index;
	if (kind == ARC_EDGE_WEAK)
		return;
	set = holder_find_set(s->h, child);
	if (!set || set->look != s->h->look)
		return;
	set->nr_in[user]++;
	r = record_of_field(s, set, f, user);
	if (!r) {
		r = oldest_own(s, set, user);
		if (r)
			holder_make_field(s->h, r, s->owner, f->name);
	}
	if (r)
		r->look = s->h->look;
}

/* Teardown has not come to the fields, or is at them: what it took out is not there any more. */
static bool has_fields(const struct arc *arc)
{
	return arc->type->fields && (arc->state == ARC_LIVE || arc->state == ARC_DYING);
}

static void see_all_edges(struct settle *s)
{
	struct track *t = refcount_state(s->h->machine)->track;
	struct track_node *n;

	list_for_each_entry(n, &t->nodes, node) {
		s->owner = n->arc;
		if (has_fields(n->arc))
			fields_walk(n->arc, see_edge, s);
	}
}

static unsigned int count_of(const struct arc *arc, bool user)
{
	if (user && !arc->type->ops.on_last_user)
		return 0;
	return user ? arc_users_count(arc) : arc_count(arc);
}

/* How many of the task's records of @set nothing explains. */
static unsigned int nr_unexplained(struct settle *s, const struct holder_set *set, bool user)
{
	unsigned int own = 0, explained = set->nr_in[user], count = count_of(set->arc, user);
	const struct holder_record *r;

	if (set->nr_untracked[user] || count > REFCOUNT_MAX)
		return 0;			/* I1 */
	list_for_each_entry(r, &set->records, of_set) {
		if (r->h.user != user)
			continue;
		if (holder_is_own(r, &s->who, user))
			own++;
		else
			explained += r->h.kind != HOLDER_FIELD;
	}
	if (count <= explained)
		return 0;
	return min(own, count - explained);
}

static struct holder_record *first_own(struct settle *s)
{
	struct holder_record *r;

	list_for_each_entry(r, holder_task_bucket(s->h, s->who.key), of_task)
		if (r->key == s->who.key)
			return r;
	return NULL;
}

/*
 * Nothing is the task's any more: the latest of its records on @r's object are accused, as many
 * as nothing explains; the others have no reference any more, or nobody knows.
 */
static unsigned int disown(struct settle *s, struct holder_record *r)
{
	struct holder_set *set = r->set;
	bool user = r->h.user;
	unsigned int nr = nr_unexplained(s, set, user), left = nr;
	struct holder_record *next;

	list_for_each_entry_safe_reverse(r, next, &set->records, of_set) {
		if (!holder_is_own(r, &s->who, user))
			continue;
		holder_make_gone(r, &s->who);
		r->accused = left > 0;
		left -= left > 0;
	}
	return nr;
}

/* Some of the task's records are not explained. */
static bool is_suspect(struct settle *s)
{
	const struct holder_record *r;

	list_for_each_entry(r, holder_task_bucket(s->h, s->who.key), of_task) {
		if (r->key != s->who.key || r->set->judged == s->h->look)
			continue;
		r->set->judged = s->h->look;
		if (nr_unexplained(s, r->set, false) || nr_unexplained(s, r->set, true))
			return true;
	}
	return false;
}

enum verdict { NOTHING, SUSPECT, FORGOTTEN };

/* One look; the last one ends in a verdict. */
static enum verdict look(struct settle *s, bool last)
{
	enum verdict verdict = NOTHING;
	struct holder_record *r;
	bool frozen = machine_freeze();

	if (frozen) {
		begin_look(s);
		see_all_edges(s);
		if (!last && is_suspect(s))
			verdict = SUSPECT;
	} else {
		holders_lock(s->h);
	}
	while (verdict != SUSPECT && (r = first_own(s))) {
		if (frozen && disown(s, r))
			verdict = FORGOTTEN;
		else if (!frozen)
			holder_make_gone(r, &s->who);
	}
	if (frozen)
		machine_thaw();
	else
		holders_unlock(s->h);
	return verdict;
}

/* ---- the report ---- */

/* The next record of this task that is accused, copied. */
static bool next_accused(struct settle *s, struct holder *copy)
{
	struct holder_record *r;
	bool found = false;

	holders_lock(s->h);
	list_for_each_entry(r, &s->h->all, all) {
		found = r->accused && r->h.id == s->who.id && r->h.is_pid == s->who.is_pid;
		if (found) {
			r->accused = false;
			*copy = r->h;
			break;
		}
	}
	holders_unlock(s->h);
	return found;
}

static void accuse(const struct holder *h)
{
	const struct arc_type *type = h->arc->type;

	arc_fault_tell(ARC_FAULT_FORGOTTEN, h->arc, h->site,
		       "arc: %s (%s %llu) ends and has forgotten a %s of %s %p, got at %s:%u %s",
		       h->name[0] ? h->name : "a task", h->is_pid ? "pid" : "fiber",
		       (unsigned long long)h->id, h->user ? "use" : "reference", type->name,
		       (const void *)((const char *)h->arc - type->offset),
		       h->site ? h->site->file : "?", h->site ? h->site->line : 0,
		       h->site ? h->site->func : "");
	if (refcount_state(this_machine())->fault.policy == ARC_POLICY_CALL)
		return;
	pr_warn("It was got by:\n");
	stack_trace_print(h->stack, h->nr_stack, 0);
}

unsigned int holder_settle(void)
{
	struct settle s = { .h = refcount_hot()->holders };
	enum verdict verdict;
	unsigned int nr = 0;
	struct holder copy;

	if (!s.h)
		return 0;
	s.who = holder_who(s.h);
	if (s.who.kind != HOLDER_TASK || !has_records(&s))
		return 0;
	verdict = look(&s, false);
	if (verdict == SUSPECT) {
		machine_give_turns(TURNS);
		verdict = look(&s, true);
	}
	while (verdict == FORGOTTEN && next_accused(&s, &copy)) {
		accuse(&copy);
		nr++;
	}
	return nr;
}

/* The function of fiber_on_end(): a fiber that stands for a task is asked by do_exit(). */
void holder_fiber_ends(struct fiber *f)
{
	struct holders *h = refcount_hot()->holders;

	if (h && !(f->task && READ_ONCE(h->tasks)))
		holder_settle();
}
