/* SPDX-License-Identifier: MIT */
/*
 * ledger_inline.h - arc_init() and its entry in the ledger, inlined; included by arc.h
 *
 * What there is to know of the objects that one line of code makes, of one type, lies in a small
 * table of the CPU, found by the address of the line's site. arc_init() copies from there, and adds
 * one to a counter that no other CPU writes.
 */
#include <karc/refcount/arc.h>	/* first: it includes this, which is done after it then */

#ifndef KARC_REFCOUNT_LEDGER_INLINE_H
#define KARC_REFCOUNT_LEDGER_INLINE_H

#include <karc/base/atomic.h>
#include <karc/hw/cpu.h>
#include <karc/refcount/local_inline.h>

struct ledger_line;
struct ledger_near;

/* One shard's share of a (kind, site); one CPU writes it, so it has a cache line of its own. */
struct ledger_cell {
	struct ledger_line *line;
	long live;			/* what this shard added less what it took out */
	long look;			/* above this look at the sum of the kind, */
	long low;			/* and below this */
	s64 bytes;			/* of a small kind; a type's follow from @live */
	long pad[3];
};

static_assert(sizeof(struct ledger_cell) == 64, "no two CPUs write to a line");

/* The end of struct arc, as one word. */
struct arc_tail {
	u32 cursor;
	u8 state;
	u8 flags;
	u16 field;
};

static_assert(sizeof(struct arc_tail) == 8 && offsetof(struct arc, cursor) == 40 &&
	      offsetof(struct arc, state) == 44 && offsetof(struct arc, flags) == 45 &&
	      offsetof(struct arc, field) == 46, "struct arc_tail is the end of struct arc");

/* What arc_init() needs to know of a (type, site). */
struct ledger_near {
	const struct site *site;	/* NULL: empty */
	const struct arc_type *type;
	struct ledger_cell *cell;
	struct arc_tail tail;		/* of a new arc */
};

#define LEDGER_NR_NEAR	64u

static __always_inline struct ledger_near *ledger_near(struct ledger_near *table,
						       const struct site *site)
{
	unsigned long mask = (LEDGER_NR_NEAR - 1) * sizeof(struct ledger_near);

	static_assert(sizeof(struct ledger_near) == 32, "the offset is a part of the address");
	return (struct ledger_near *)((char *)table + ((unsigned long)site & mask));
}

/* The table of this CPU's shard: second in the room's hot area. */
static __always_inline struct ledger_near *ledger_near_here(struct cpu *cpu)
{
	return *(struct ledger_near **)(void *)(cpu->hot[ROOM_REFCOUNT] +
						sizeof(struct local_hot));
}

/* ledger.c: a cell left its room. */
void ledger_look(struct ledger_cell *cell);

/* One more or one less in a cell of this CPU's shard. */
static __always_inline void ledger_cell_in(struct ledger_cell *cell)
{
	long live = cell->live + 1;

	WRITE_ONCE(cell->live, live);
	if (unlikely(live > cell->look))
		ledger_look(cell);
}

static __always_inline void ledger_cell_out(struct ledger_cell *cell)
{
	long live = cell->live - 1;

	WRITE_ONCE(cell->live, live);
	if (unlikely(live < cell->low))
		ledger_look(cell);
}

/* arc.c: the first object from here, or one that somebody watches. */
void arc_init_far(struct arc *arc, const struct arc_type *type, const struct site *site);

#ifndef __clang_analyzer__
static __always_inline void arc_init_site(struct arc *arc, const struct arc_type *type,
					  const struct site *site)
{
	struct ledger_near *near = ledger_near(ledger_near_here(this_cpu()), site);
	struct ledger_cell *cell = near->cell;

	if (unlikely(near->site != site || near->type != type)) {
		arc_init_far(arc, type, site);
		return;
	}
	WRITE_ONCE(arc->word, ARC_WORD_ONE);
	arc->type = type;
	arc->link = NULL;
	arc->site = site;
	arc->dtors = NULL;
	__builtin_memcpy(&arc->cursor, &near->tail, sizeof(near->tail));
	ledger_cell_in(cell);
}
#endif

#endif
