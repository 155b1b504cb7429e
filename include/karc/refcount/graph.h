/* SPDX-License-Identifier: MIT */
/*
 * graph.h - who owns whom, as a data structure
 *
 * arc_graph_take() reads the whole ownership graph of a machine off its objects and keeps it: what
 * dies later still stands in the graph, names and labels included. Audit, snapshots, why-alive,
 * the leak report and the tools' pictures all read this one structure.
 *
 * Nodes are the arcs of a machine booted with machine_config.track, in order of creation, and then
 * the objects of smaller form (pages, page tables) that the rooms' sources show, in the order they
 * are shown. Nothing in a graph depends on an address: the same seed gives the same graph.
 */
#ifndef KARC_REFCOUNT_GRAPH_H
#define KARC_REFCOUNT_GRAPH_H

#include <karc/base/contract.h>
#include <karc/base/site.h>
#include <karc/base/types.h>
#include <karc/hw/machine.h>
#include <karc/refcount/arc.h>

struct arc_graph;
struct arc_graph_see;

#define ARC_NONE	(~0u)		/* no index, no count, no node */

enum arc_edge_kind {
	ARC_EDGE_STRONG,
	ARC_EDGE_WEAK,			/* owns nothing */
	ARC_EDGE_USER,			/* one of the users of a two-tier object; owns like a strong one */
};

/**
 * struct arc_graph_edge - one reference from a field to an object
 * @from / @to: numbers of nodes
 * @field:  name of the field in the owner's field table, or as the source gave it
 * @index:  of the element in an array, list, tree or visitor; ARC_NONE: the field holds one
 * @on_cycle: owning, and both ends are in one strongly connected component
 */
struct arc_graph_edge {
	unsigned int from, to;
	const char *field;
	unsigned int index;
	u8 kind;			/* enum arc_edge_kind */
	bool on_cycle;
};

enum arc_holder_kind {
	ARC_HOLDER_ROOT,		/* registered from outside: arc_hold(), audit_hold() */
	ARC_HOLDER_MACHINE,		/* the machine itself, told by a source */
	ARC_HOLDER_TASK,		/* a task or interrupt, from its records (machine_config.holders) */
	ARC_HOLDER_GONE,		/* a task that ended and forgot it: explains nothing */
};

#define ARC_HOLDER_STACK	8	/* callers that are kept of it */

/**
 * struct arc_graph_holder - references on one node that no field shows
 * @node:  which
 * @name:  "init, pid 1", "pid table", or "" when it was registered without a name
 * @site:  where it was taken, or NULL
 * @nr:    number of references
 * @weak:  they are weak ones
 * @user:  they count as users of a two-tier object
 * @stack: return addresses, innermost first, @nr_stack of them
 *
 * A task's record explains what edges and other holders leave unexplained, and no more: it may
 * not know yet that the reference was stored somewhere.
 */
struct arc_graph_holder {
	unsigned int node;
	enum arc_holder_kind kind;
	const char *name;
	const struct site *site;
	unsigned int nr;
	bool weak, user;
	unsigned int nr_stack;
	unsigned long stack[ARC_HOLDER_STACK];
};

/* Why an object is alive; what it says of objects without arc too. */
enum arc_verdict {
	ARC_REACHED,	/* a path of owning edges leads to it from a holder */
	ARC_LOST,	/* no path, and it has references that nobody is known to hold */
	ARC_CYCLE,	/* no path, every count explained: its own cycle keeps it */
	ARC_BEHIND,	/* no path; it is owned, in the end, only by such as the two above */
	ARC_GONE,	/* dying, or dead and kept by weak references */
};

const char *arc_verdict_name(enum arc_verdict verdict);	/* "reached", "LOST", "CYCLE", ... */

/**
 * struct arc_graph_node - one object
 * @key:     its arc, or its address; to be compared only
 * @arc:     NULL for objects of the small form
 * @type:    name of the type
 * @label:   what the object says of itself (ops.describe, or the source), "" if nothing
 * @site:    where it was created, or NULL
 * @id:      order of creation among the arcs of the machine, from 1, never used twice; for small
 *           forms their number of appearance behind the last arc of the machine so far
 * @bytes:   of memory
 * @count:   strong references, CPU-local ones included; ARC_NONE: not to be compared
 * @weak:    weak references; 0 for small forms
 * @users:   of a two-tier object; ARC_NONE: it has one tier
 * @state:   enum arc_state
 * @nr_in:   owning edges that lead here. With a users tier: strong edges, and one for all users
 * @nr_user_in, @nr_weak_in: user edges, weak edges that lead here
 * @nr_held, @nr_user_held, @nr_weak_held: references of holders, together
 * @nr_unknown: strong references (or users) that neither edges nor holders explain
 * @cycle:   0: on none; else the number of its strongly connected component, from 1
 * @via:     the owning edge that leads here on a shortest path from a holder (for BEHIND: from a
 *           LOST or CYCLE object), or ARC_NONE
 * @root:    the node where that path begins; ARC_NONE: there is none
 * @distance: edges on the path from a holder; ARC_NONE: not reached
 * @first_edge, @nr_edges: its references to others, by field and index
 * @first_holder, @nr_holders: its holders
 */
struct arc_graph_node {
	const void *key;
	const struct arc *arc;
	const char *type;
	const char *label;
	const struct site *site;
	u64 id;
	u64 bytes;
	unsigned int count, weak, users;
	u8 state;
	u8 verdict;			/* enum arc_verdict */
	bool saturated;			/* a counter that warned: explains nothing */
	unsigned int nr_in, nr_user_in, nr_weak_in;
	unsigned int nr_held, nr_user_held, nr_weak_held;
	unsigned int nr_unknown;
	unsigned int cycle;
	unsigned int via, root, distance;
	unsigned int first_edge, nr_edges;
	unsigned int first_holder, nr_holders;
};

/**
 * struct arc_graph_source - a room that shows objects of smaller form, and edges of its own
 * @name:  for messages
 * @ops.visit: shows all of them, with the arc_graph_see_*() functions below, changing nothing and
 *         in an order that does not depend on addresses. Called once for each graph.
 */
struct arc_graph_source {
	const char *name;
	struct {
		void (*visit)(struct machine *m, struct arc_graph_see *see);
	} ops;
};

/**
 * arc_graph_source_register - from now on graphs of the current machine ask @source
 * @source: stays valid until arc_graph_source_unregister(); the exit of the room that
 *          registered it must call that
 *
 * Errors: -ENOMEM; -EEXIST if it is registered.
 */
KARC_MUST_CHECK int arc_graph_source_register(const struct arc_graph_source *source);
void arc_graph_source_unregister(const struct arc_graph_source *source);

/**
 * arc_graph_see_object - for sources: there is an object without arc
 * @obj:   its address; seen twice, the first wins
 * @type:  a string that stays valid
 * @site:  where it was created, or NULL
 * @count: its reference count, to be compared with what is known; ARC_NONE: not to be compared
 * @label_fmt: what the graph prints of it besides @type; NULL for nothing
 */
void arc_graph_see_object(struct arc_graph_see *see, const void *obj, const char *type,
			  const struct site *site, unsigned int count, u64 bytes,
			  const char *label_fmt, ...) __printf(7, 8);

/**
 * arc_graph_see_edge - for sources: @from refers to @to
 * @from / @to: address of a struct arc, or of an object of small form; an edge may be shown before
 *          its objects. Nothing is shown twice: what a field table has must not come again.
 * @field:  a string that stays valid; @index: of the element, or ARC_NONE
 */
void arc_graph_see_edge(struct arc_graph_see *see, const void *from, const void *to,
			enum arc_edge_kind kind, const char *field, unsigned int index);

/* For sources: the machine itself holds one strong reference on @to, named by the text. */
void arc_graph_see_root(struct arc_graph_see *see, const void *to, const char *fmt, ...)
	__printf(3, 4);

/* For sources: a label for an arc, where its type's own does not say enough. */
void arc_graph_see_label(struct arc_graph_see *see, const struct arc *arc, const char *fmt, ...)
	__printf(3, 4);

/**
 * arc_graph_take - the ownership graph of @m as it is now
 * @flags: ARC_GRAPH_*
 *
 * Gives:   the graph; end it with arc_graph_free(), before the machine goes.
 * Context: a quiet point: no teardown under way, nobody inside a get or put. Does not sleep.
 * Errors:  NULL without host memory. Without machine_config.track it has no arcs.
 * Cost:    linear in objects and edges; about 200 bytes an object and 50 an edge while it is made.
 */
KARC_MUST_CHECK struct arc_graph *arc_graph_take(struct machine *m, unsigned int flags);
void arc_graph_free(struct arc_graph *g);

/*
 * Who has references that nobody is known to hold counts as held: right while tasks run whose
 * references are not tracked. Then nothing is LOST, and what is CYCLE is so for certain.
 */
#define ARC_GRAPH_TRUST	0x1u

unsigned int arc_graph_nr_nodes(const struct arc_graph *g);
unsigned int arc_graph_nr_edges(const struct arc_graph *g);
unsigned int arc_graph_nr_holders(const struct arc_graph *g);

/* Number @i, which must exist; valid until arc_graph_free(). */
const struct arc_graph_node *arc_graph_node(const struct arc_graph *g, unsigned int i);
const struct arc_graph_edge *arc_graph_edge(const struct arc_graph *g, unsigned int i);
const struct arc_graph_holder *arc_graph_holder(const struct arc_graph *g, unsigned int i);

/* The number of the node whose arc or address is @key; ARC_NONE if there is none. */
unsigned int arc_graph_find(const struct arc_graph *g, const void *key);

/**
 * arc_graph_path - a shortest path of owning edges from a holder to node @i
 * @edges: gets up to @max numbers of edges, from the holder on; the first edge starts at a node
 *         that has a holder. May be NULL with @max 0.
 *
 * Of several, the one whose nodes are older. Returns: length of the path; 0: @i itself has a
 * holder; ARC_NONE: none leads there.
 */
unsigned int arc_graph_path(const struct arc_graph *g, unsigned int i, unsigned int *edges,
			    unsigned int max);

/**
 * arc_graph_path_text - the same as one line
 *
 *	init, pid 1: task_struct.mm -> mm_struct.vmas.list[2] -> vm_area_struct
 *
 * For an object that is BEHIND, from the object that keeps it: "#7 folder (LOST): folder.owner ->
 * folder". Empty for other objects that no path leads to.
 * Returns: length of the text, which was cut to @size - 1 ("..." at its end) if longer.
 */
size_t arc_graph_path_text(const struct arc_graph *g, unsigned int i, char *buf, size_t size);

/* One step, "type.field[index]" or, for a field without a name, "type[index]". */
size_t arc_graph_step_text(const struct arc_graph *g, unsigned int edge, char *buf, size_t size);

/* Number of strongly connected components that have a cycle. */
unsigned int arc_graph_nr_components(const struct arc_graph *g);

/**
 * struct arc_graph_cycle - one cycle of owning edges
 * @component: number of the strongly connected component, from 1
 * @nr_objects: size of that component
 * @edges:     the numbers of its @nr edges, each starts where the one before leads to
 * @shortest:  the shortest one of the component; the others are closed by one back edge each
 * @text:      "page.vma_set -> vma.shared_anon -> pages[3]": the last step leads back to the first
 *             object; a long one is cut in the middle
 */
struct arc_graph_cycle {
	unsigned int component;
	unsigned int nr_objects;
	const unsigned int *edges;
	unsigned int nr;
	bool shortest;
	const char *text;
};

/**
 * arc_graph_cycles - the cycles of owning edges, by the age of their oldest object
 * @fn: called for each, @cycle is valid in the call; may be NULL
 *
 * Each strongly connected component gives its shortest cycle (through its oldest object, if it is
 * too large to try all: more than ARC_CYCLE_EXACT objects times edges), and then, for each back
 * edge of one depth-first walk, the cycle that this edge closes, at most ARC_CYCLES_SHOWN in all.
 * Without the back edges there would be no cycle.
 * Returns: number of cycles (those not shown included), or -ENOMEM.
 */
long arc_graph_cycles(const struct arc_graph *g,
		      void (*fn)(void *arg, const struct arc_graph_cycle *cycle), void *arg);

#define ARC_CYCLE_EXACT		(1u << 20)
#define ARC_CYCLES_SHOWN	64u

/**
 * struct arc_graph_dangling - a field that points at nothing that lives
 * @from, @field, @index, @kind: as an edge's
 *
 * Also a member of a list that is no object of this machine.
 */
struct arc_graph_dangling {
	unsigned int from;
	const char *field;
	unsigned int index;
	u8 kind;
};

/**
 * arc_graph_cycle_text - a shortest cycle through node @i as one line, beginning there
 *
 * Returns: length of the text; 0: @i is on none. -ENOMEM.
 */
long arc_graph_cycle_text(const struct arc_graph *g, unsigned int i, char *buf, size_t size);

unsigned int arc_graph_nr_dangling(const struct arc_graph *g);
const struct arc_graph_dangling *arc_graph_dangling(const struct arc_graph *g, unsigned int i);

/* Number of nodes with @verdict. */
unsigned int arc_graph_nr_verdict(const struct arc_graph *g, enum arc_verdict verdict);

#endif
