/* SPDX-License-Identifier: MIT */
/*
 * ledger.c - what is alive, by kind and by (kind, site)
 *
 * What it is      Every counted object enters when it is made and leaves when its memory goes,
 *                 so that a leak has a name without anybody having asked for tracking. One
 *                 indexed load finds the cell, one plain addition is all.
 * Objects         ledger ---- kinds: name, type, peak, the lines of the kind
 *                    |  `---- lines: (kind, site), one cell for each shard
 *                    `------- shards: near[] by address of the site -> cell, of types
 *                                     hash (key, site) -> cell, of all
 *                 A key is an arc type, or the text of a small kind; equal texts share a line.
 *                 Kinds and lines live until the machine's end and are only appended.
 * Invariants      I1  The live objects of a (kind, site) are the sum of its cells; one cell may
 *                     be negative (made on one CPU, gone on another), a sum may not.
 *                 I2  A kind's count is the sum over its lines' cells.
 *                 I3  Each type in use was registered; arc_init() of another one is a BUG.
 *                 I4  With one shard: the rooms of a kind's cells (look - live) together are at
 *                     most its peak less its sum, so that no peak passes unseen; a cell that
 *                     leaves its room looks, and all get an even part of what is left.
 * Locking         cells, near, slots  only the shard's CPU writes; sums read cells relaxed
 *                 kinds, lines, a new slot  ledger->lock (LR_LEDGER), interrupts off; readers of
 *                 the lists need no lock: elements are published with release and never go
 * Life            A slot appears with the first object of its (key, site) on its shard.
 * Worst case      As many lines as the program has creating call sites. Host memory running out
 *                 for a new line stops the machine: a ledger that forgets is worth nothing.
 *                 Peak: exact with one shard, which deterministic mode has (one host thread runs
 *                 all CPUs). With several, a shard looks at the sum each time its own share moved
 *                 by more than a 64th of it (at most LOOK_BATCH), so a peak can be missed by that
 *                 and one more for each CPU that allocates.
 * Unlike Linux    Linux has slabinfo, page_owner and kmemleak; nothing counts by owner type.
 */
#include <karc/base/bug.h>
#include <karc/base/hostmem.h>
#include <karc/base/log.h>
#include <karc/base/math.h>
#include <karc/refcount/ledger.h>
#include <limits.h>
#include <string.h>

#include "internal.h"

#define FIRST_BITS	6
#define LOOK_BATCH	32L
#define LOOK_SHARE	64L

struct ledger_kind {
	struct ledger_kind *next;
	const char *name;
	const struct arc_type *type;
	struct ledger *ledger;
	struct ledger_line *lines;		/* only grows; newest first */
	long nr_lines;
	long peak;
};

struct ledger_line {
	struct ledger_line *next;
	struct ledger_line *next_of_kind;
	struct ledger_kind *kind;
	const struct site *site;
	struct ledger_cell cells[];
};

static inline unsigned int slot_of(const struct ledger_shard *s, const void *key,
				   const struct site *site)
{
	u64 h = (u64)(uintptr_t)key + ((u64)(uintptr_t)site << 1);

	return (unsigned int)(h * 0x9e3779b97f4a7c15ULL >> (64 - s->bits));
}

/* The slot of (key, site), or the empty one where it belongs. */
static inline struct ledger_slot *ledger_probe(const struct ledger_shard *s,
					       const void *key, const struct site *site)
{
	unsigned int mask = (1u << s->bits) - 1;
	unsigned int i = slot_of(s, key, site);

	while (s->slots[i].cell && (s->slots[i].key != key || s->slots[i].site != site))
		i = (i + 1) & mask;
	return &s->slots[i];
}

static long line_sum(const struct ledger *l, const struct ledger_line *line)
{
	long sum = 0;
	unsigned int i;

	for (i = 0; i < l->nr_shards; i++)
		sum += READ_ONCE(line->cells[i].live);
	return sum;
}

static long kind_sum(const struct ledger_kind *kind)
{
	const struct ledger_line *line;
	long sum = 0;

	for (line = smp_load_acquire(&kind->lines); line; line = line->next_of_kind)
		sum += line_sum(kind->ledger, line);
	return sum;
}

/* One shard: the sum may grow by @room before it is a new peak; each cell gets its share. */
static void share_room(struct ledger_kind *kind, long room)
{
	struct ledger_line *line;

	for (line = kind->lines; line; line = line->next_of_kind)
		line->cells[0].look = line->cells[0].live + room / kind->nr_lines;
}

/* A shard's share moved far enough for the sum to matter. I4. */
noinline void ledger_look(struct ledger_cell *cell)
{
	struct ledger_kind *kind = cell->line->kind;
	long sum = kind_sum(kind), peak = READ_ONCE(kind->peak), slack;

	while (sum > peak && !try_cmpxchg_relaxed(&kind->peak, &peak, sum))
		;
	if (kind->ledger->nr_shards == 1) {
		share_room(kind, max(peak - sum, 0L));
		return;
	}
	slack = clamp(sum / LOOK_SHARE, 0L, LOOK_BATCH) / READ_ONCE(kind->nr_lines);
	cell->look = cell->live + slack;
	cell->low = cell->live - 1 - slack;
}

static void *ledger_memory(size_t bytes)
{
	void *p = hostmem_zalloc(NULL, bytes);

	BUG_ON(!p);	/* see "Worst case" */
	return p;
}

static struct ledger_kind *find_type(struct ledger *l, const struct arc_type *type)
{
	struct ledger_kind *kind;

	for (kind = smp_load_acquire(&l->kinds); kind; kind = smp_load_acquire(&kind->next))
		if (kind->type == type)
			return kind;
	return NULL;
}

/* A kind of ledger_add(). */
static struct ledger_kind *find_small(struct ledger *l, const char *name)
{
	struct ledger_kind *kind;

	for (kind = smp_load_acquire(&l->kinds); kind; kind = smp_load_acquire(&kind->next))
		if (!kind->type && !strcmp(kind->name, name))
			return kind;
	return NULL;
}

/* NULL when the host has no memory. Lock held. */
static struct ledger_kind *new_kind(struct ledger *l, const struct arc_type *type,
				    const char *name)
{
	struct ledger_kind *kind = hostmem_zalloc(NULL, sizeof(*kind));

	if (!kind)
		return NULL;
	kind->name = name;
	kind->type = type;
	kind->ledger = l;
	smp_store_release(l->last_kind, kind);
	l->last_kind = &kind->next;
	return kind;
}

/* Find or make. Lock held. */
static struct ledger_line *get_line(struct ledger *l, struct ledger_kind *kind,
				    const struct site *site)
{
	struct ledger_line *line;
	unsigned int i;

	for (line = l->lines; line; line = line->next)
		if (line->kind == kind && line->site == site)
			return line;
	line = ledger_memory(sizeof(*line) + l->nr_shards * sizeof(line->cells[0]));
	line->kind = kind;
	line->site = site;
	for (i = 0; i < l->nr_shards; i++) {
		line->cells[i].line = line;
		line->cells[i].low = l->nr_shards == 1 ? LONG_MIN : -1;
	}
	line->next_of_kind = kind->lines;
	WRITE_ONCE(kind->nr_lines, kind->nr_lines + 1);
	smp_store_release(&kind->lines, line);
	smp_store_release(l->last_line, line);
	l->last_line = &line->next;
	return line;
}

/* Keep a quarter of the slots empty. Lock held. */
static void ledger_make_room(struct ledger_shard *s)
{
	struct ledger_shard bigger = { .bits = s->bits + 1, .nr_used = s->nr_used };
	unsigned int i;

	if (s->nr_used + 1 <= 3u << s->bits >> 2)
		return;
	bigger.slots = ledger_memory(sizeof(*s->slots) << bigger.bits);
	for (i = 0; i < 1u << s->bits; i++)
		if (s->slots[i].cell)
			*ledger_probe(&bigger, s->slots[i].key, s->slots[i].site) = s->slots[i];
	hostmem_free(NULL, s->slots);
	*s = bigger;
}

/* The first object of (key, site) on this shard. */
static noinline struct ledger_cell *ledger_open(struct ledger *l, struct ledger_shard *s,
						const void *key, const struct arc_type *type,
						const struct site *site)
{
	struct ledger_kind *kind;
	struct ledger_line *line;
	struct ledger_slot *slot;
	struct ledger_cell *cell;
	unsigned long flags;

	spin_lock_irqsave(&l->lock, flags);
	kind = type ? find_type(l, type) : find_small(l, key);
	if (type && unlikely(!kind)) {
		spin_unlock_irqrestore(&l->lock, flags);
		pr_err("arc_init: type \"%s\" is not registered: call arc_type_register() first\n",
		       type->name ? type->name : "?");
		BUG();
	}
	if (!kind)
		kind = new_kind(l, NULL, key);
	BUG_ON(!kind);
	line = get_line(l, kind, site);
	cell = &line->cells[s - l->shards];
	ledger_make_room(s);
	slot = ledger_probe(s, key, site);
	if (!slot->cell) {
		slot->key = key;
		slot->site = site;
		slot->cell = cell;
		s->nr_used++;
	}
	spin_unlock_irqrestore(&l->lock, flags);
	return cell;
}

static inline void cell_add(struct ledger_cell *cell, long nr, s64 bytes)
{
	long live = cell->live + nr;

	WRITE_ONCE(cell->bytes, cell->bytes + bytes);
	WRITE_ONCE(cell->live, live);
	if (unlikely(live > cell->look || live < cell->low))
		ledger_look(cell);
}

static inline struct ledger_cell *ledger_find(struct ledger *l, struct ledger_shard *s,
					      const void *key, const struct arc_type *type,
					      const struct site *site)
{
	struct ledger_cell *cell = ledger_probe(s, key, site)->cell;

	return likely(cell) ? cell : ledger_open(l, s, key, type, site);
}

void ledger_count_in(struct ledger *l, struct ledger_shard *s, const void *key,
		     const struct arc_type *type, const struct site *site, long nr, s64 bytes)
{
	cell_add(ledger_find(l, s, key, type, site), nr, bytes);
}

struct ledger_cell *ledger_arc_in(struct arc *arc)
{
	struct refcount_hot *hot = refcount_hot();
	struct ledger_cell *cell;

	cell = ledger_find(hot->ledger, hot->shard, arc->type, arc->type, arc->site);
	ledger_cell_in(cell);
	return cell;
}

struct ledger_cell *ledger_arc_cell(const struct arc *arc)
{
	struct refcount_hot *hot = refcount_hot();
	struct ledger_near *near = ledger_near(hot->near, arc->site);

	if (likely(near->site == arc->site && near->type == arc->type))
		return near->cell;
	return ledger_find(hot->ledger, hot->shard, arc->type, arc->type, arc->site);
}

void ledger_arc_out(struct arc *arc)
{
	ledger_cell_out(ledger_arc_cell(arc));
}

void ledger_cell_add(struct ledger_cell *cell, long nr)
{
	cell_add(cell, nr, 0);
}

void ledger_add(const char *kind, const struct site *site, u64 bytes)
{
	struct refcount_hot *hot = refcount_hot();

	ledger_count_in(hot->ledger, hot->shard, kind, NULL, site, 1, (s64)bytes);
}

void ledger_sub(const char *kind, const struct site *site, u64 bytes)
{
	struct refcount_hot *hot = refcount_hot();

	ledger_count_in(hot->ledger, hot->shard, kind, NULL, site, -1, -(s64)bytes);
}

int ledger_register(struct ledger *l, const struct arc_type *type)
{
	unsigned long flags;
	int err = 0;

	spin_lock_irqsave(&l->lock, flags);
	if (!find_type(l, type) && !new_kind(l, type, type->name))
		err = -ENOMEM;
	spin_unlock_irqrestore(&l->lock, flags);
	return err;
}

/* A sum that is below zero only while somebody is between two additions. */
static unsigned long not_negative(long sum)
{
	return sum > 0 ? (unsigned long)sum : 0;
}

static struct ledger_row line_row(const struct ledger *l, const struct ledger_line *line,
				  long *live)
{
	s64 bytes = 0;
	unsigned int i;

	*live = line_sum(l, line);
	for (i = 0; i < l->nr_shards; i++)
		bytes += READ_ONCE(line->cells[i].bytes);
	if (line->kind->type)
		bytes = *live * (s64)line->kind->type->size;
	return (struct ledger_row){
		.kind = line->kind->name,
		.type = line->kind->type,
		.site = line->site,
		.live = not_negative(*live),
		.peak = not_negative(READ_ONCE(line->kind->peak)),
		.bytes = bytes > 0 ? (u64)bytes : 0,
	};
}

static void ledger_lines(struct ledger *l, void (*fn)(void *arg, const struct ledger_row *row),
			 void *arg)
{
	struct ledger_line *line;
	struct ledger_row row;
	long live;

	for (line = smp_load_acquire(&l->lines); line; line = smp_load_acquire(&line->next)) {
		row = line_row(l, line, &live);
		fn(arg, &row);
	}
}

void ledger_for_each(struct machine *m, void (*fn)(void *arg, const struct ledger_row *row),
		     void *arg)
{
	ledger_lines(refcount_state(m)->ledger, fn, arg);
}

void ledger_for_each_kind(struct machine *m,
			  void (*fn)(void *arg, const struct ledger_row *row), void *arg)
{
	struct ledger *l = refcount_state(m)->ledger;
	struct ledger_kind *kind;
	struct ledger_line *line;
	struct ledger_row row;
	long live;

	for (kind = smp_load_acquire(&l->kinds); kind; kind = smp_load_acquire(&kind->next)) {
		u64 bytes = 0;

		for (line = smp_load_acquire(&l->lines); line; line = smp_load_acquire(&line->next))
			if (line->kind == kind)
				bytes += line_row(l, line, &live).bytes;
		row = (struct ledger_row){
			.kind = kind->name,
			.type = kind->type,
			.live = not_negative(kind_sum(kind)),
			.peak = not_negative(READ_ONCE(kind->peak)),
			.bytes = bytes,
		};
		fn(arg, &row);
	}
}

unsigned long ledger_live(struct machine *m, const struct arc_type *type)
{
	struct ledger_kind *kind = find_type(refcount_state(m)->ledger, type);

	return kind ? not_negative(kind_sum(kind)) : 0;
}

unsigned long ledger_peak(struct machine *m, const struct arc_type *type)
{
	struct ledger_kind *kind = find_type(refcount_state(m)->ledger, type);

	return kind ? not_negative(READ_ONCE(kind->peak)) : 0;
}

/* Types of two rooms may bear one name: all of them together. */
static unsigned long kind_figure(struct ledger *l, const char *name, bool peak)
{
	struct ledger_kind *kind;
	unsigned long sum = 0;

	for (kind = smp_load_acquire(&l->kinds); kind; kind = smp_load_acquire(&kind->next))
		if (!name || !strcmp(kind->name, name))
			sum += not_negative(peak ? READ_ONCE(kind->peak) : kind_sum(kind));
	return sum;
}

unsigned long ledger_live_kind(struct machine *m, const char *kind)
{
	return kind_figure(refcount_state(m)->ledger, kind, false);
}

unsigned long ledger_peak_kind(struct machine *m, const char *kind)
{
	return kind_figure(refcount_state(m)->ledger, kind, true);
}

unsigned long ledger_live_total(struct machine *m)
{
	return kind_figure(refcount_state(m)->ledger, NULL, false);
}

void ledger_check(struct ledger *l, struct check_report *report)
{
	struct ledger_line *line;
	struct ledger_row row;
	long live;

	for (line = smp_load_acquire(&l->lines); line; line = smp_load_acquire(&line->next)) {
		row = line_row(l, line, &live);
		if (live < 0)
			check_fail(report, "I1: ledger counts %ld of %s from %s:%u", live, row.kind,
				   row.site ? row.site->file : "?", row.site ? row.site->line : 0);
	}
}

static void report_row(void *arg, const struct ledger_row *row)
{
	if (row->live)
		machine_report_left(arg, row->kind, row->site, row->live, row->bytes);
}

void ledger_report_left(struct ledger *l, struct machine *m)
{
	ledger_lines(l, report_row, m);
}

struct ledger *ledger_create(unsigned int nr_shards)
{
	struct ledger *l = hostmem_zalloc(NULL, sizeof(*l) + nr_shards * sizeof(l->shards[0]));
	unsigned int i;

	if (!l)
		return NULL;
	spin_lock_init_rank(&l->lock, LR_LEDGER);
	l->last_kind = &l->kinds;
	l->last_line = &l->lines;
	l->nr_shards = nr_shards;
	for (i = 0; i < nr_shards; i++) {
		l->shards[i].bits = FIRST_BITS;
		l->shards[i].slots = hostmem_zalloc(NULL,
						    sizeof(struct ledger_slot) << FIRST_BITS);
		if (!l->shards[i].slots) {
			ledger_destroy(l);
			return NULL;
		}
	}
	return l;
}

void ledger_destroy(struct ledger *l)
{
	struct ledger_kind *kind, *next_kind;
	struct ledger_line *line, *next_line;
	unsigned int i;

	if (!l)
		return;
	for (kind = l->kinds; kind; kind = next_kind) {
		next_kind = kind->next;
		hostmem_free(NULL, kind);
	}
	for (line = l->lines; line; line = next_line) {
		next_line = line->next;
		hostmem_free(NULL, line);
	}
	for (i = 0; i < l->nr_shards; i++)
		hostmem_free(NULL, l->shards[i].slots);
	hostmem_free(NULL, l);
}
