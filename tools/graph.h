/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_GRAPH_H
#define KARC_TOOLS_GRAPH_H

/*
 * graph.h - what the files of `karc graph` share
 *
 * graph_moment.c plays a scenario or a recording up to the moment that was asked for; graph_pick.c
 * chooses which objects are shown and puts them together in groups: that is the picture;
 * graph_dot.c and graph_json.c write it down; cmd_graph.c talks to people.
 */
#include "machine_options.h"
#include <karc/karc.h>
#include <karc/refcount/graph.h>
#include <stdbool.h>
#include <stdio.h>

enum graph_format { GRAPH_SVG, GRAPH_DOT, GRAPH_JSON };
enum graph_grouping { GRAPH_GROUP_AUTO, GRAPH_GROUP_NONE, GRAPH_GROUP_TYPE, GRAPH_GROUP_SITE };

#define GRAPH_LIST_MAX	16	/* --type and --focus, each */

/**
 * struct graph_options - what was asked for
 * @source:   a scenario's name or the path of a recording, for titles
 * @moment:   --at, or NULL for the default
 * @out:      path, "-" for standard output
 * @types:    only objects of these types, and what leads to and from them
 * @focus:    only what these own, directly or not: "type" or "type:part of the label"
 * @all:      what the machine had at boot and the slabs too
 */
struct graph_options {
	const char *scenario, *trace, *part;
	const char *moment;
	const char *out;
	enum graph_format format;
	enum graph_grouping grouping;
	const char *types[GRAPH_LIST_MAX];
	unsigned int nr_types;
	const char *focus[GRAPH_LIST_MAX];
	unsigned int nr_focus;
	bool all, list_moments;
	struct machine_options machine;
};

/**
 * struct graph_scene - the graph at the moment, for the length of one call
 * @title:   "leak: somebody forgets one mmput"
 * @moment:  "The child calls exit(7)"
 * @at_boot: ids up to this were there before the story began
 * @quiet:   nothing is under way: counts and references must agree
 * @over:    the story is over: what is alive now and was not at boot has leaked
 */
struct graph_scene {
	struct machine *m;
	const struct arc_graph *graph;
	const char *title;
	const char *moment;
	u64 at_boot;
	bool quiet, over;
};

/* What is wrong with an object, or with one of a group; bits. */
#define GRAPH_LEAKED	0x1u	/* nothing that lives leads to it, or the story is over */
#define GRAPH_CYCLE	0x2u	/* on a cycle of strong references */
#define GRAPH_MISCOUNT	0x4u	/* fewer references than edges and holders */
#define GRAPH_DYING	0x8u	/* torn down, and the memory is still there */

/**
 * struct picture_node - one box: an object, or several of one kind
 * @nr:       objects; @first: the lowest number among them in the graph
 * @type, @label, @site: as the objects'; label only of a single object
 */
struct picture_node {
	unsigned int first, nr;
	const char *type, *label;
	const struct site *site;	/* NULL: several */
	unsigned int count_low, count_high, weak, users;
	u64 bytes;
	unsigned int wrong;		/* GRAPH_* */
	unsigned int nr_wrong;		/* objects that have one of them */
};

/**
 * struct picture_arrow - references between two boxes by one field
 * @index: ARC_NONE when there are several, or the field holds one
 */
struct picture_arrow {
	unsigned int from, to;
	const char *field;
	unsigned int index, nr;
	u8 kind;			/* enum arc_edge_kind */
	bool on_cycle;
};

/**
 * struct picture_holder - somebody who holds from outside: a root of the machine, or a task
 * @text:  "pid table", "karc, at tools/play_exit.c:94"
 */
struct picture_holder {
	char text[96];
	char where[96];			/* site, or "" */
	bool machine;			/* the machine itself */
	bool gone;			/* a task that ended and forgot it */
};

struct picture_hold {
	unsigned int holder, node;
	unsigned int nr;
	u8 kind;
};

/**
 * struct picture - what is drawn
 * @box:       by number of the graph's node: its box, or ARC_NONE when it is not shown
 * @nr_objects: in the boxes; @nr_hidden: of the graph and in none
 */
struct picture {
	const struct graph_scene *scene;
	unsigned int *box;
	struct picture_node *nodes;
	unsigned int nr_nodes;
	struct picture_arrow *arrows;
	unsigned int nr_arrows;
	struct picture_holder *holders;
	unsigned int nr_holders;
	struct picture_hold *holds;
	unsigned int nr_holds;
	unsigned int nr_objects, nr_hidden;
	unsigned int nr_leaked, nr_cycles;
	enum graph_grouping grouping;	/* what AUTO chose */
};

/* graph_pick.c. False: no host memory. With nothing to show, nr_nodes is 0. */
bool picture_make(struct picture *p, const struct graph_scene *scene,
		  const struct graph_options *opt);
void picture_free(struct picture *p);
/* What is wrong with the graph's node @i, GRAPH_* bits. */
unsigned int graph_wrong(const struct graph_scene *scene, unsigned int i);

/* graph_dot.c, graph_json.c */
void picture_write_dot(const struct picture *p, FILE *out);
void picture_write_json(const struct picture *p, FILE *out);

/**
 * graph_at_moment - play, and call @show once with the graph at the moment
 *
 * Returns: what @show returned; 2 after a line on standard error when there is no such scenario,
 *          recording or moment.
 */
int graph_at_moment(const struct graph_options *opt,
		    int (*show)(const struct graph_scene *scene, void *arg), void *arg);

#endif
