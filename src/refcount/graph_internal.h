/* SPDX-License-Identifier: MIT */
/*
 * graph_internal.h - what graph.c (taking), graph_holders.c, graph_mark.c (paths, components),
 * graph_cycles.c and graph_text.c share; also the writing helpers of the reports made from graphs
 */
#ifndef KARC_SRC_REFCOUNT_GRAPH_INTERNAL_H
#define KARC_SRC_REFCOUNT_GRAPH_INTERNAL_H

#include <karc/base/hostmem.h>
#include <karc/refcount/graph.h>

#include "internal.h"

#define CHAIN_SHOWN	6u		/* steps shown of each end of a path or cycle */

/* An array that grows. */
struct graph_vec {
	void *items;
	unsigned int nr, max;
	size_t item_bytes;
};

struct graph_texts;

struct arc_graph {
	struct machine *m;
	unsigned int flags;
	struct graph_vec nodes;		/* struct arc_graph_node */
	struct graph_vec edges;		/* struct arc_graph_edge */
	struct graph_vec holders;	/* struct arc_graph_holder */
	struct graph_vec dangling;	/* struct arc_graph_dangling */
	unsigned int *table;		/* hash: key -> 1 + number of the node */
	unsigned int table_bits;
	struct graph_texts *texts;	/* labels and names */
	unsigned int *depth;		/* by node: via edges up to where they begin */
	unsigned int *head;		/* by node: the one at depth CHAIN_SHOWN, or itself */
	unsigned int nr_components;
	unsigned int nr_verdict[ARC_GONE + 1];
};

/* Memory of graphs and reports: zeroed, charged to the machine; asks for injected failures. */
KARC_MUST_CHECK void *graph_alloc(struct machine *m, size_t bytes);
KARC_MUST_CHECK void *graph_alloc_array(struct machine *m, size_t nr, size_t bytes);
void graph_release(struct machine *m, void *block);

/* A new zeroed item at the end; NULL without memory. */
KARC_MUST_CHECK void *graph_vec_add(struct machine *m, struct graph_vec *v);
void graph_vec_free(struct machine *m, struct graph_vec *v);

static inline struct arc_graph_node *graph_node(const struct arc_graph *g, unsigned int i)
{
	return &((struct arc_graph_node *)g->nodes.items)[i];
}

static inline struct arc_graph_edge *graph_edge(const struct arc_graph *g, unsigned int i)
{
	return &((struct arc_graph_edge *)g->edges.items)[i];
}

static inline struct arc_graph_holder *graph_holder(const struct arc_graph *g, unsigned int i)
{
	return &((struct arc_graph_holder *)g->holders.items)[i];
}

static inline bool edge_owns(const struct arc_graph_edge *e)
{
	return e->kind != ARC_EDGE_WEAK;
}

/* What the machine holds itself, as a source showed it. */
struct seen_root {
	const void *to;
	const char *name;
};

/* The graph in the making. */
struct arc_graph_see {
	struct arc_graph *g;
	struct graph_vec edges;		/* struct seen_edge */
	struct graph_vec roots;		/* struct seen_root */
	u64 last_id;
	unsigned int from;		/* whose fields are walked */
	bool failed;
};

#define LABEL_BYTES	128u

/* graph.c: a copy of @text that lives as long as the graph; "" for none and on failure. */
const char *graph_keep_text(struct arc_graph_see *see, const char *text);

/* graph_holders.c: needs all nodes and edges; counts both, adds the holders, or sets ->failed. */
struct track;

void graph_add_holders(struct arc_graph_see *see, struct track *t);

/* graph_mark.c: fills in via, distance, cycle, verdict, on_cycle; -ENOMEM. */
KARC_MUST_CHECK int graph_mark(struct arc_graph *g);

/* graph_text.c: a line, cut to its size. */
struct graph_line {
	char *buf;
	size_t size;			/* not 0 */
	size_t at;
	bool cut;
};

void line_start(struct graph_line *line, char *buf, size_t size);
void line_add(struct graph_line *line, const char *fmt, ...) __printf(2, 3);
size_t line_end(struct graph_line *line);	/* returns the length */

/* The steps of a path or cycle of @nr edges: the first and the last ones. */

struct graph_chain {
	unsigned int nr;
	unsigned int head[CHAIN_SHOWN], tail[CHAIN_SHOWN];
};

void chain_put(struct graph_chain *chain, unsigned int at, unsigned int edge);
void chain_text(const struct arc_graph *g, const struct graph_chain *chain,
		struct graph_line *line);
void line_step(const struct arc_graph *g, unsigned int edge, struct graph_line *line);
void line_site(struct graph_line *line, const struct site *site);	/* "file:line", "?" */
/* Who holds node @i from outside, as one name. */
void line_holder(const struct arc_graph *g, unsigned int i, struct graph_line *line);
/* "#12 folder from x.c:10" and its label. */
void line_object(const struct arc_graph *g, unsigned int i, struct graph_line *line);

/* why.c: "path: ...", "kept by ...", "nobody known: ..." of node @i; cycles are not looked for. */
void graph_reason_straight(const struct arc_graph *g, unsigned int i, struct graph_line *line);

/*
 * graph_sort.c: @nr numbers by @order, which is below, 0 or above 0; @room is as large. Returns
 * which of the two arrays has the result.
 */
typedef int (*graph_order_t)(const void *ctx, unsigned int a, unsigned int b);

unsigned int *graph_sort(unsigned int *items, unsigned int *room, unsigned int nr,
			 graph_order_t order, const void *ctx);
int order_numbers(u64 a, u64 b);
int order_sites(const struct site *a, const struct site *b);	/* NULL is last */

/* graph_text.c: where reports go. */
struct graph_out {
	void (*write)(void *arg, const char *text);
	void *arg;
};

void out_text(const struct graph_out *out, const char *fmt, ...) __printf(2, 3);
void out_json(const struct graph_out *out, const char *text);	/* quoted and escaped */
void out_json_site(const struct graph_out *out, const struct site *site);
/* A further member; ARC_NONE is null. */
void out_json_number(const struct graph_out *out, const char *name, unsigned int nr);

#endif
