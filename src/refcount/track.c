/* SPDX-License-Identifier: MIT */
/*
 * track.c - every arc of a tracked machine, and who holds it from outside
 *
 * What it is      Machines booted with machine_config.track keep a list of all arcs, so that the
 *                 ownership graph can be read at any quiet point. Each gets a number when it is
 *                 made, which orders everything that is ever said about it: addresses differ from
 *                 run to run. Reports of roots (a global table, a test's local) hang off it here.
 * Objects         track -- nodes: one for each arc, in order of creation -- holds, latest first
 *                      `-- buckets: the arc's 64 bytes of memory -> node
 * Invariants      I1  A node exists from arc_init() until the object leaves the ledger.
 *                 I2  Numbers grow along the list and are used once.
 * Locking         track->lock (LR_LEDGER), interrupts off: all of it. Readers at a quiet point
 *                 take no lock.
 * Worst case      A holder for which there is no host memory is counted without its name. No
 *                 memory for a node stops the machine: a ledger that forgets is worth nothing.
 */
#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/base/math.h>
#include <karc/base/rbtree.h>
#include <karc/hw/inject.h>
#include <karc/refcount/audit.h>
#include <string.h>

#include "track.h"

#define FIRST_BUCKETS	256

/* Arcs of the same 64 bytes share a bucket: that is how those inside a block are found. */
#define GRANULE_SHIFT	6

static struct track_node **bucket_of(const struct track *t, const void *p)
{
	u64 h = ((u64)(uintptr_t)p >> GRANULE_SHIFT) * 0x9e3779b97f4a7c15ULL;

	return &t->buckets[(h >> 32) & (t->nr_buckets - 1)];
}

static u32 *page_slot(struct track *t, const void *p)
{
	return &t->in_page[((uintptr_t)p >> PAGE_SHIFT) & (TRACK_PAGE_SLOTS - 1)];
}

struct track_node *track_find(const struct track *t, const struct arc *arc)
{
	struct track_node *n = *bucket_of(t, arc);

	while (n && n->arc != arc)
		n = n->chain;
	return n;
}

static void track_grow(struct track *t)
{
	struct track_node **old = t->buckets, *n, **bucket;

	if (t->nr < t->nr_buckets)
		return;
	t->buckets = hostmem_zalloc(NULL, 2 * t->nr_buckets * sizeof(*old));
	if (!t->buckets) {	/* longer chains, then */
		t->buckets = old;
		return;
	}
	t->nr_buckets *= 2;
	list_for_each_entry(n, &t->nodes, node) {
		bucket = bucket_of(t, n->arc);
		n->chain = *bucket;
		*bucket = n;
	}
	hostmem_free(NULL, old);
}

void track_add(struct track *t, struct arc *arc)
{
	struct track_node *n = hostmem_zalloc(NULL, sizeof(*n)), **bucket;
	unsigned long flags;

	BUG_ON(!n);	/* see "Worst case" */
	n->arc = arc;
	spin_lock_irqsave(&t->lock, flags);
	track_grow(t);
	bucket = bucket_of(t, arc);
	n->chain = *bucket;
	*bucket = n;
	n->id = ++t->last_id;
	list_add_tail(&n->node, &t->nodes);
	t->nr++;
	__atomic_fetch_add(page_slot(t, arc), 1, __ATOMIC_RELAXED);
	spin_unlock_irqrestore(&t->lock, flags);
}

static void free_node(struct track_node *n)
{
	struct track_hold *hold, *next;

	for (hold = n ? n->holds : NULL; hold; hold = next) {
		next = hold->next;
		hostmem_free(NULL, hold);
	}
	hostmem_free(NULL, n);
}

void track_del(struct track *t, struct arc *arc)
{
	struct track_node **at, *n;
	unsigned long flags;

	spin_lock_irqsave(&t->lock, flags);
	at = bucket_of(t, arc);
	while (*at && (*at)->arc != arc)
		at = &(*at)->chain;
	n = *at;
	if (n) {
		*at = n->chain;
		list_del(&n->node);
		t->nr--;
		__atomic_fetch_sub(page_slot(t, arc), 1, __ATOMIC_RELAXED);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	free_node(n);
}

bool track_has(struct track *t, const struct arc *arc)
{
	unsigned long flags;
	bool has;

	spin_lock_irqsave(&t->lock, flags);
	has = track_find(t, arc) != NULL;
	spin_unlock_irqrestore(&t->lock, flags);
	return has;
}

static bool lives_in(const struct track_node *n, const char *p, size_t bytes)
{
	return (u64)((const char *)n->arc - p) < bytes && n->arc->state == ARC_LIVE;
}

/* One bucket for each 64 bytes, or all arcs there are, whichever is less. */
static struct arc *find_in(const struct track *t, const char *p, size_t bytes)
{
	const char *granule = (const char *)((uintptr_t)p >> GRANULE_SHIFT << GRANULE_SHIFT);
	const struct track_node *n;

	if (bytes >> GRANULE_SHIFT > t->nr) {
		list_for_each_entry(n, &t->nodes, node)
			if (lives_in(n, p, bytes))
				return n->arc;
		return NULL;
	}
	for (; granule < p + bytes; granule += 1ul << GRANULE_SHIFT)
		for (n = *bucket_of(t, granule); n; n = n->chain)
			if (lives_in(n, p, bytes))
				return n->arc;
	return NULL;
}

/* No means no. The memory is the caller's, so what is in it does not change. */
static bool may_have(struct track *t, const char *p, size_t bytes)
{
	const char *page = (const char *)((uintptr_t)p >> PAGE_SHIFT << PAGE_SHIFT);
	unsigned int looked;

	for (looked = 0; page < p + bytes && looked < TRACK_PAGE_SLOTS; looked++) {
		if (READ_ONCE(*page_slot(t, page)))
			return true;
		page += 1ul << PAGE_SHIFT;
	}
	return false;
}

struct arc *track_find_in(struct track *t, const void *p, size_t bytes)
{
	unsigned long flags;
	struct arc *arc;

	if (likely(!may_have(t, p, bytes)))
		return NULL;

	spin_lock_irqsave(&t->lock, flags);
	arc = find_in(t, p, bytes);
	spin_unlock_irqrestore(&t->lock, flags);
	return arc;
}

struct track *track_create(void)
{
	struct track *t = hostmem_zalloc(NULL, sizeof(*t));

	if (!t)
		return NULL;
	spin_lock_init_rank(&t->lock, LR_LEDGER);
	INIT_LIST_HEAD(&t->nodes);
	t->nr_buckets = FIRST_BUCKETS;
	t->buckets = hostmem_zalloc(NULL, FIRST_BUCKETS * sizeof(*t->buckets));
	if (!t->buckets) {
		hostmem_free(NULL, t);
		return NULL;
	}
	return t;
}

void track_destroy(struct track *t)
{
	struct track_node *n, *next;

	if (!t)
		return;
	list_for_each_entry_safe(n, next, &t->nodes, node)
		free_node(n);
	hostmem_free(NULL, t->buckets);
	hostmem_free(NULL, t);
}

unsigned long audit_nr_tracked(struct machine *m)
{
	struct track *t = refcount_state(m)->track;

	return t ? t->nr : 0;
}

u64 audit_id(const struct arc *arc)
{
	struct track *t = refcount_hot()->track;
	struct track_node *n;
	unsigned long flags;
	u64 id;

	if (!t)
		return 0;
	spin_lock_irqsave(&t->lock, flags);
	n = track_find(t, arc);
	id = n ? n->id : 0;
	spin_unlock_irqrestore(&t->lock, flags);
	return id;
}

/* ---- holders from outside ---- */

void track_hold(struct arc *arc, const char *name, const struct site *site, int kind)
{
	struct track *t = refcount_hot()->track;
	struct track_hold *hold;
	struct track_node *n;
	unsigned long flags;

	if (!t)
		return;
	hold = inject_fail() ? NULL : hostmem_zalloc(NULL, sizeof(*hold));
	if (hold)
		*hold = (struct track_hold){ .name = name, .site = site,
					     .kind = (enum arc_edge_kind)kind };
	spin_lock_irqsave(&t->lock, flags);
	n = track_find(t, arc);
	if (n && hold) {
		hold->next = n->holds;
		n->holds = hold;
		hold = NULL;
	} else if (n) {
		n->nr_bare[kind]++;
	}
	spin_unlock_irqrestore(&t->lock, flags);
	hostmem_free(NULL, hold);
}

static bool is_named(const struct track_hold *hold, const char *name)
{
	return !name || (hold->name && !strcmp(hold->name, name));
}

/* Take the latest one off @n's list. False: there is none. */
static bool take_hold(struct track_node *n, const char *name, int kind, struct track_hold **hold)
{
	struct track_hold **at = &n->holds;

	while (*at && ((*at)->kind != (enum arc_edge_kind)kind || !is_named(*at, name)))
		at = &(*at)->next;
	*hold = *at;
	if (*hold) {
		*at = (*hold)->next;
		return true;
	}
	if (!n->nr_bare[kind])
		return false;
	n->nr_bare[kind]--;
	return true;
}

static void release(struct arc *arc, const char *name, int kind, const struct site *site)
{
	struct track *t = refcount_hot()->track;
	struct track_hold *hold = NULL;
	struct track_node *n;
	unsigned long flags;
	bool held = true;

	if (!t)
		return;
	spin_lock_irqsave(&t->lock, flags);
	n = track_find(t, arc);
	if (n)
		held = take_hold(n, name, kind, &hold);
	spin_unlock_irqrestore(&t->lock, flags);
	hostmem_free(NULL, hold);
	if (!held)
		arc_fault_tell(ARC_FAULT_HOLDER, arc, site,
			       "arc: %s released by \"%s\", which does not hold it",
			       arc->type->name, name ? name : "?");
}

void track_release(struct arc *arc, const char *name, int kind)
{
	release(arc, name, kind, NULL);
}

void audit_hold_as(struct arc *arc, enum arc_edge_kind kind, const char *name,
		   const struct site *site)
{
	track_hold(arc, name, site, (int)kind);
}

void audit_release_as(struct arc *arc, enum arc_edge_kind kind, const char *name,
		      const struct site *site)
{
	release(arc, name, (int)kind, site);
}

unsigned int track_nr_held(const struct track_node *n, enum arc_edge_kind kind)
{
	const struct track_hold *hold;
	unsigned int nr = n->nr_bare[kind];

	for (hold = n->holds; hold; hold = hold->next)
		nr += hold->kind == kind;
	return nr;
}

/* ---- what one object refers to ---- */

struct walk {
	void (*see)(void *arg, const struct arc_field *f, unsigned int index,
		    enum arc_edge_kind kind, struct arc *child);
	void *arg;
	const struct arc_field *f;
	unsigned int index;
};

/* A visitor's next one; NULL is an empty place that has a number too. */
static void see_next(void *arg, struct arc *child)
{
	struct walk *w = arg;

	if (child)
		w->see(w->arg, w->f, w->index, ARC_EDGE_STRONG, child);
	if (w->index != ARC_NONE)
		w->index++;
}

static void walk_pointer(struct walk *w, char **slot, unsigned int index, enum arc_edge_kind kind)
{
	char *target = READ_ONCE(*slot);

	if (target)
		w->see(w->arg, w->f, index, kind, (struct arc *)(target + w->f->target));
}

static void walk_array(struct walk *w, char *obj)
{
	const struct arc_field *f = w->f;
	char **slots = (char **)(obj + f->offset);
	unsigned int i, n = f->count ? f->count : *(unsigned int *)(obj + f->count_offset);

	for (i = 0; i < n; i++)
		walk_pointer(w, &slots[i], i, ARC_EDGE_STRONG);
}

/* A list head that is all zero was never set up, and is empty. */
static void walk_list(struct walk *w, char *obj)
{
	struct list_head *head = (struct list_head *)(obj + w->f->offset), *node;

	for (node = head->next; node && node != head; node = node->next)
		see_next(w, (struct arc *)((char *)node - w->f->member + w->f->target));
}

static void walk_tree(struct walk *w, char *obj)
{
	struct rb_node *node = rb_first((struct rb_root *)(obj + w->f->offset));

	for (; node; node = rb_next(node))
		see_next(w, (struct arc *)((char *)node - w->f->member + w->f->target));
}

static void walk_field(struct walk *w, char *obj)
{
	const struct arc_field *f = w->f;

	w->index = 0;
	switch (f->kind) {
	case ARC_FIELD_OWNED:
		walk_pointer(w, (char **)(obj + f->offset), ARC_NONE, ARC_EDGE_STRONG);
		break;
	case ARC_FIELD_WEAK:
		walk_pointer(w, (char **)(obj + f->offset), ARC_NONE, ARC_EDGE_WEAK);
		break;
	case ARC_FIELD_USER:
		walk_pointer(w, (char **)(obj + f->offset), ARC_NONE, ARC_EDGE_USER);
		break;
	case ARC_FIELD_ARRAY:
		walk_array(w, obj);
		break;
	case ARC_FIELD_TREE:
		walk_tree(w, obj);
		break;
	case ARC_FIELD_LIST:
		walk_list(w, obj);
		break;
	case ARC_FIELD_VISITOR:
		w->index = f->count == 1 ? ARC_NONE : 0;
		if (f->ops.visit)
			f->ops.visit(obj, see_next, w);
		break;
	default:
		break;
	}
}

/* Between two steps of a teardown the fields say what is still owned, so DYING counts too. */
void fields_walk(struct arc *arc,
		 void (*see)(void *arg, const struct arc_field *f, unsigned int index,
			     enum arc_edge_kind kind, struct arc *child), void *arg)
{
	struct walk w = { .see = see, .arg = arg };

	if (arc->state != ARC_LIVE && arc->state != ARC_DYING)
		return;
	for (w.f = arc->type->fields; w.f && w.f->kind != ARC_FIELD_END; w.f++)
		walk_field(&w, arc_object(arc));
}
