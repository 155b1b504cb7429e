/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the refcount room share and nobody else may see
 */
#ifndef KARC_SRC_REFCOUNT_INTERNAL_H
#define KARC_SRC_REFCOUNT_INTERNAL_H

#include <karc/base/bug.h>
#include <karc/base/err.h>
#include <karc/base/list.h>
#include <karc/hw/clock.h>
#include <karc/hw/cpu.h>
#include <karc/hw/machine.h>
#include <karc/hw/spinlock.h>
#include <karc/hw/tracepoint.h>
#include <karc/hw/wait.h>
#include <karc/refcount/arc.h>
#include <karc/refcount/fault.h>
#include <karc/refcount/ledger.h>
#include <karc/refcount/local.h>

struct ledger_slot {
	const void *key;			/* arc type, or text of a small kind */
	const struct site *site;
	struct ledger_cell *cell;
};

struct ledger_shard {
	struct ledger_near near[LEDGER_NR_NEAR];	/* arcs, by the address of the site */
	struct ledger_slot *slots;		/* open addressing, never full */
	unsigned int nr_used;
	unsigned int bits;			/* log2 of the number of slots */
};

struct ledger_line;

struct ledger {
	spinlock_t lock;			/* additions to the lists and to any slots */
	struct ledger_kind *kinds, **last_kind;	/* in order of appearance; only grow */
	struct ledger_line *lines, **last_line;
	unsigned int nr_shards;			/* 1 in deterministic mode, else one for each CPU */
	struct ledger_shard shards[];
};

struct ledger *ledger_create(unsigned int nr_shards);
void ledger_destroy(struct ledger *l);
void ledger_report_left(struct ledger *l, struct machine *m);
void ledger_check(struct ledger *l, struct check_report *report);
int ledger_register(struct ledger *l, const struct arc_type *type);
void ledger_count_in(struct ledger *l, struct ledger_shard *s, const void *key,
		     const struct arc_type *type, const struct site *site, long nr, s64 bytes);
struct ledger_cell *ledger_arc_in(struct arc *arc);
void ledger_arc_out(struct arc *arc);
struct ledger_cell *ledger_arc_cell(const struct arc *arc);	/* this shard's */
void ledger_cell_add(struct ledger_cell *cell, long nr);
/* rcu.c: a queue of callbacks, and one CPU's queues. */
struct rcu_queue {
	struct rcu_head *head, **tail;
};

/* Which CPUs were not seen outside readers yet. */
struct rcu_wait {
	u64 cpus;
	u64 nr_switches[MACHINE_MAX_CPUS];
};

struct rcu_cpu {
	/* this CPU only, interrupts off */
	struct rcu_queue next;			/* queued; their grace period has not begun */
	struct rcu_queue wait;			/* their grace period runs */
	struct rcu_wait gp;
	struct rcu_queue done;			/* may be called; the softirq is at them */
	bool calling;				/* one is being called, or it never returned */
	unsigned long nr_begun;			/* grace periods of this CPU's batches */
	struct hw_timer timer;			/* looks again while @wait is not empty */
	/* counters: written by this CPU, read by any */
	unsigned long nr_queued;
	unsigned long nr_done;
};

int rcu_init(struct machine *m);
void rcu_exit(struct machine *m);
unsigned long rcu_drain(struct machine *m);

/*
 * reap.c
 *
 *	reap_unfinished()	its construction failed: drop what is there, without its body
 *	reap_moved()		its content was moved away: nothing to drop but the memory
 */
unsigned long reap_drain(struct machine *m);
struct reap;
void reap_died(struct reap *r, struct arc *arc, const struct site *site);
void reap_unfinished(struct arc *arc, const struct site *site);
void reap_moved(struct arc *arc);

/* Its memory goes although it is alive: nobody knows it any more, and later puts are caught. */
void reap_forget(struct arc *arc);

/* plain.c: true when that was all; the other one's strong count is zero, and it is alone. */
bool plain_last_put(struct arc *arc);
void plain_unordered(struct reap *r, struct arc *arc, const struct site *site);

/*
 * The same in order, from field arc->field on. @top: what is torn down after @arc; when a dying
 * object is not plain it is on top of that and of the owners between, and this returns.
 */
void plain_ordered(struct reap *r, struct arc **top, struct arc *arc, const struct site *site);

/* Dying objects whose teardown waits for a grace period, batch by batch; arc_put_rcu(). */
struct reap_rcu {
	struct arc *next;			/* pushed here; their grace period has not begun */
	struct arc *wait;			/* their grace period runs, as long as @queued */
	struct rcu_head head;
	bool queued;
};

/* users.c: one user less; true when it was the last, and the users' reference is to be put. */
bool users_were_last(struct arc *arc, const struct site *site);

/* dtor.c: take the latest callback off; NULL when there is none. */
struct arc_dtor *arc_dtor_pop(struct arc_dtor **head);

/* track.c: arcs of a machine with tracking on. */
struct track;

struct track *track_create(void);
void track_destroy(struct track *t);
void track_add(struct track *t, struct arc *arc);
void track_del(struct track *t, struct arc *arc);
void track_check(struct track *t, struct check_report *report);
bool track_has(struct track *t, const struct arc *arc);	/* an address; is it on the list? */
struct arc *track_find_in(struct track *t, const void *p, size_t bytes); /* a live one in there */

/* References from outside; @kind is an enum arc_edge_kind, @name stays valid or is NULL. */
void track_hold(struct arc *arc, const char *name, const struct site *site, int kind);
void track_release(struct arc *arc, const char *name, int kind);

/* graph.c: rooms that show objects of smaller form; changed by their init and exit. */
struct arc_graph_source;

struct arc_graph_sources {
	const struct arc_graph_source **source;
	unsigned int nr, max;
};

void graph_sources_exit(struct machine *m, struct arc_graph_sources *s);

/* leaks.c: at shutdown, the graph from before the first room went. */
struct arc_graph;
struct arc_leaks;

struct leaks_at_shutdown {
	struct arc_graph *graph;
	struct {
		void (*fn)(void *arg, const struct arc_leaks *leaks);
	} ops;
	void *arg;
};

void leaks_parting(struct machine *m);
void leaks_report_left(struct machine *m);

/*
 * holder.c: who holds what, on machines booted with machine_config.holders. All but holder_born()
 * and holder_users_born() are for arcs with ARC_TRACKED only, which holder_born() sets.
 *
 *	holder_born()	in arc_init(), after flags are set: the first reference, the running task's
 *	holder_get()	after the count went up; for upgrades, trygets, slot loads too
 *	holder_put()	before the count goes down, whoever gives it up and how
 *	holder_gone()	the object leaves the ledger
 *	holder_field_drop()	before the count goes down: teardown took @child out of field @f
 *	holder_users_born()	of a two-tier object: the first reference becomes that of its users
 *			together, and the running task has one of the users
 *	holder_users_end()	before the users' reference is put: it is the running task's
 */
struct holders;

struct holders *holders_create(struct machine *m);
void holders_destroy(struct holders *h);
void holders_check(struct holders *h, struct check_report *report);
void holder_born(struct arc *arc, const struct site *site);
void holder_get(struct arc *arc, const struct site *site);
void holder_put(struct arc *arc, const struct site *site);
void holder_gone(struct arc *arc);
void holder_field_drop(struct arc *owner, const struct arc_field *f, struct arc *child);
void holder_users_born(struct arc *arc, const struct site *site);
void holder_user_get(struct arc *arc, const struct site *site);
void holder_user_put(struct arc *arc, const struct site *site);
void holder_users_end(struct arc *arc);
void holder_fiber_ends(struct fiber *f);	/* holder_settle.c */

/* fault.c, quarantine.c: faults, and who is dead */
struct fault_state {
	u32 policy;			/* enum arc_policy, atomic like the rest */
	arc_fault_fn fn;
	void *arg;
	unsigned long nr[ARC_FAULT_NR];
};

/* arc_type_register() refuses @type: a line on the console, or what the policy says. */
void arc_fault_type(enum arc_fault kind, const struct arc_type *type, const char *fault);

/*
 * On tracked machines, before the last put of @arc is believed: true, and reported, when it is no
 * object of this machine's, or is dying or dead already.
 */
bool arc_fault_stray(struct arc *arc, const struct site *where);

struct quarantine;

int quarantine_create(struct machine *m, u64 *order);
void quarantine_destroy(struct machine *m);
unsigned long quarantine_drain(struct machine *m);
void quarantine_run(void);
void quarantine_write(struct quarantine *q, struct arc *arc, const struct site *where,
		      const struct arc_type *owner) __cold;
bool quarantine_hold(struct quarantine *q, struct arc *arc) __cold;

/* The word of an object whose memory is returned; of one whose lookups must go on to see 0. */
#define ARC_WORD_POISON		((u64)(u32)ARC_POISON << 32 | (u32)ARC_POISON)
#define ARC_WORD_POISON_WEAK	((u64)(u32)ARC_POISON << 32)

/* The memory is about to be returned: whoever still counts here is caught. */
static inline void arc_poison(struct arc *arc)
{
	WRITE_ONCE(arc->word, arc->flags & ARC_FINDABLE ? ARC_WORD_POISON_WEAK : ARC_WORD_POISON);
}

/*
 * local.c: what counts by CPU (ARC_PERCPU, ARC_BIASED)
 *
 *	arc_local_begin()	the object is live: count by CPU and set ARC_LOCAL, if it can
 *	local_run_queued()	what run_deferred() has to do: puts from atomic context
 */
struct local_chunk;

/* What is known of a counter in use. Under local_state.lock. */
struct local_slot {
	struct rcu_head rcu;
	struct arc *arc;		/* NULL: a percpu_ref's */
	void (*confirm)(struct arc *arc);
	bool guess;			/* a quiet point's guess that there is no reference left */
};

/* A put from atomic context that waits for the owner's CPU; the reference is its. */
struct local_put {
	struct local_put *next;
	struct arc *arc;
};

struct local_state {
	spinlock_t lock;
	struct local_chunk *chunks;
	struct list_head refs;		/* percpu_ref_data */
	wait_queue_head_t settled;	/* some counters were added up */
};

void arc_local_begin(struct arc *arc);
void local_init(struct machine *m);
void local_exit(struct machine *m);
void local_check(struct machine *m, struct check_report *report);
unsigned long local_drain(struct machine *m);
unsigned long local_run_queued(void);

/* Counters, one for each CPU, by CPU 0's; NULL: no memory. Under local_state.lock. */
struct local_counter *local_counts_alloc(struct machine *m);
void local_counts_free(struct local_counter *counter);
void local_counts_clear(struct machine *m, struct local_counter *counter);
long local_counts_sum(struct machine *m, const struct local_counter *counter);
struct local_slot *local_slot_of(const struct local_counter *counter);

/* percpu_ref.c */
void percpu_refs_exit(struct machine *m, struct local_state *l);
void percpu_refs_check(struct machine *m, struct local_state *l, struct check_report *report);

/* The room's state: machine->room[ROOM_REFCOUNT]. */
struct refcount_state {
	struct ledger *ledger;
	struct rcu_cpu *rcu;			/* one for each CPU */
	struct track *track;			/* NULL without machine_config.track */
	struct arc_graph_sources sources;
	struct leaks_at_shutdown leaks;
	struct holders *holders;		/* NULL without machine_config.holders */
	struct local_state local;
	struct fault_state fault;
	u64 quarantine_order;			/* atomic */
	struct trace_event_watch events;
	bool deterministic;
	bool parting;				/* the machine goes down */
};

/* Bits of refcount_hot.watch. */
#define WATCH_TRACK	0x1u
#define WATCH_HOLDERS	0x2u

/* plain.c: the leaf that went last here. At an address that no object had to be asked for. */
struct plain_hot {
	const struct arc_type *type;
	const struct site *site;
	struct ledger_cell *cell;
	struct array_cache *ac;
};

/* The room's hot area of each CPU. */
struct refcount_hot {
	struct local_hot local;			/* first: local_inline.h knows that */
	struct ledger_near *near;		/* second: ledger_inline.h knows that; of @shard */
	struct ledger *ledger;
	struct ledger_shard *shard;
	struct track *track;
	struct holders *holders;
	struct quarantine *quarantine;		/* NULL without machine_config.quarantine */
	struct plain_hot plain;
	struct rcu_cpu *rcu;			/* NULL from rcu_exit() on */
	bool rcu_busy;				/* this CPU is in its softirq, atomic */
	unsigned int watch;			/* WATCH_*, what arc_init() has to do besides */
	struct local_put *queued;		/* as deferred */
	struct reap_rcu put_rcu;		/* this CPU only, interrupts off */
	struct arc *deferred;			/* stack: pushed here, taken anywhere */
	unsigned long nr_deferred;		/* atomic: its length */
	unsigned long nr_reaping;		/* fibers of this CPU inside reap_deferred() */
};

static_assert(sizeof(struct refcount_hot) <= CPU_HOT_BYTES, "hot area too small");
static_assert(offsetof(struct refcount_hot, local) == 0, "local_hot() would find something else");
static_assert(offsetof(struct refcount_hot, near) == sizeof(struct local_hot),
	      "ledger_near_here() would find something else");

static inline struct refcount_hot *refcount_hot(void)
{
	return this_cpu_hot(ROOM_REFCOUNT);
}

/*
 * The strong count of @arc reached zero: at @where, if known, and in the teardown of @owner, whose
 * field gave it up, if any.
 */
static inline void quarantine_note(struct arc *arc, const struct site *where,
				   const struct arc *owner)
{
	struct quarantine *q = refcount_hot()->quarantine;

	if (unlikely(q))
		quarantine_write(q, arc, where, owner ? owner->type : NULL);
}

/* Its memory would be returned now: true when it is kept, and ops.free called later. */
static inline bool quarantine_keeps(struct arc *arc)
{
	struct quarantine *q = refcount_hot()->quarantine;

	return unlikely(q) && quarantine_hold(q, arc);
}

static inline struct refcount_hot *refcount_hot_of(struct machine *m, unsigned int cpu)
{
	return cpu_hot(machine_cpu(m, cpu), ROOM_REFCOUNT);
}

static inline struct refcount_state *refcount_state(struct machine *m)
{
	return machine_room(m, ROOM_REFCOUNT);
}

#endif
