/* SPDX-License-Identifier: MIT */
/*
 * graph_moment.c - the ownership graph at the moment that is to be drawn
 */
#include "graph.h"
#include "moment.h"

struct taking {
	int (*show)(const struct graph_scene *scene, void *arg);
	void *arg;
	u64 at_boot;			/* newest object then */
};

static void booted(struct machine *m, void *arg)
{
	struct taking *t = arg;
	struct arc_graph *g = arc_graph_take(m, ARC_GRAPH_TRUST);
	unsigned int i;

	t->at_boot = 0;
	for (i = 0; g && i < arc_graph_nr_nodes(g); i++)
		if (arc_graph_node(g, i)->arc)
			t->at_boot = arc_graph_node(g, i)->id;
	if (g)
		arc_graph_free(g);
}

static int show(const struct moment *moment, void *arg)
{
	struct taking *t = arg;
	struct arc_graph *g = arc_graph_take(moment->m, moment->quiet ? 0 : ARC_GRAPH_TRUST);
	struct graph_scene scene = { .m = moment->m, .graph = g, .title = moment->title,
				     .moment = moment->name, .at_boot = t->at_boot,
				     .quiet = moment->quiet, .over = moment->over };
	int status;

	if (!g) {
		fprintf(stderr, "karc graph: no memory on the host\n");
		return 2;
	}
	status = t->show(&scene, t->arg);
	arc_graph_free(g);
	return status;
}

int graph_at_moment(const struct graph_options *opt,
		    int (*draw)(const struct graph_scene *scene, void *arg), void *arg)
{
	static const struct moment_ops ops = { booted, show };
	const struct moment_options where = {
		.who = "karc graph", .scenario = opt->scenario, .trace = opt->trace,
		.part = opt->part, .at = opt->moment, .holders = true, .machine = opt->machine,
	};
	struct taking t = { .show = draw, .arg = arg };

	if (opt->list_moments)
		return moment_list(&where, stdout);
	return moment_find(&where, &ops, &t);
}
