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
#include <karc/refcount/arc.h>
#include <karc/refcount/ledger.h>

/* ledger.c: one shard's share of a kind. */
struct ledger_count {
	struct ledger_kind *kind;
	long live;				/* what this shard added less what it took out */
	long look;				/* above this look at the sum over all shards, */
	long low;				/* and below this */
};

/* One shard's share of a (kind, site). */
struct ledger_cell {
	struct ledger_count *count;
	long live;
	s64 bytes;
};

struct ledger_slot {
	const void *key;			/* arc type, or text of a small kind */
	const struct site *site;
	struct ledger_cell *cell;
};

struct ledger_shard {
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
void ledger_arc_in(struct arc *arc);
void ledger_arc_out(struct arc *arc);

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
	struct hw_timer timer;			/* looks again while @wait is not empty */
	/* counters: written by this CPU, read by any */
	unsigned long nr_queued;
	unsigned long nr_done;
};

int rcu_init(struct machine *m);
void rcu_exit(struct machine *m);
unsigned long rcu_drain(struct machine *m);

/* reap.c */
unsigned long reap_drain(struct machine *m);

/* dtor.c: take the latest callback off; NULL when there is none. */
struct arc_dtor *arc_dtor_pop(struct arc_dtor **head);

/* audit.c: arcs of a machine with tracking on. */
struct track;

struct track *track_create(void);
void track_destroy(struct track *t);
void track_add(struct track *t, struct arc *arc);
void track_del(struct track *t, struct arc *arc);
void track_check(struct track *t, struct check_report *report);

/* The room's state: machine->room[ROOM_REFCOUNT]. */
struct refcount_state {
	struct ledger *ledger;
	struct rcu_cpu *rcu;			/* one for each CPU */
	struct track *track;			/* NULL without machine_config.track */
	bool deterministic;
};

/* The room's hot area of each CPU. */
struct refcount_hot {
	struct ledger *ledger;
	struct ledger_shard *shard;
	struct track *track;
	struct rcu_cpu *rcu;
	struct arc *deferred;			/* stack: pushed here, taken anywhere */
	unsigned long nr_deferred;		/* atomic: its length */
	unsigned long nr_reaping;		/* fibers of this CPU inside reap_deferred() */
};

static_assert(sizeof(struct refcount_hot) <= CPU_HOT_BYTES, "hot area too small");

static inline struct refcount_hot *refcount_hot(void)
{
	return this_cpu_hot(ROOM_REFCOUNT);
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
