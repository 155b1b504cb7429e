/* SPDX-License-Identifier: MIT */
/*
 * graph_json.c - the picture as JSON: what is shown, object by object, and the boxes
 *
 * "objects" and "references" are the ownership graph of what is shown, never grouped; "groups" are
 * the boxes that a drawing would have, and each object names its own.
 */
#include "graph.h"
#include "graph_text.h"

static const char *const kinds[] = {
	[ARC_EDGE_STRONG] = "strong", [ARC_EDGE_WEAK] = "weak", [ARC_EDGE_USER] = "user",
};

static void write_site(FILE *out, const struct site *site)
{
	if (!site) {
		fputs("null", out);
		return;
	}
	fputs("{\"file\": ", out);
	text_json(out, site->file);
	fprintf(out, ", \"line\": %u, \"function\": ", site->line);
	text_json(out, site->func);
	fputc('}', out);
}

static void write_number(FILE *out, const char *name, unsigned int n)
{
	if (n == ARC_NONE)
		fprintf(out, ", \"%s\": null", name);
	else
		fprintf(out, ", \"%s\": %u", name, n);
}

static void write_wrong(FILE *out, unsigned int wrong)
{
	fprintf(out, ", \"leaked\": %s, \"on_cycle\": %s, \"miscounted\": %s, \"torn_down\": %s",
		wrong & GRAPH_LEAKED ? "true" : "false", wrong & GRAPH_CYCLE ? "true" : "false",
		wrong & GRAPH_MISCOUNT ? "true" : "false", wrong & GRAPH_DYING ? "true" : "false");
}

static void write_holders(FILE *out, const struct arc_graph *g, const struct arc_graph_node *n)
{
	static const char *const who[] = {
		[ARC_HOLDER_ROOT] = "registered", [ARC_HOLDER_MACHINE] = "machine",
		[ARC_HOLDER_TASK] = "task", [ARC_HOLDER_GONE] = "task that is gone",
	};
	unsigned int i;

	fputs(",\n   \"holders\": [", out);
	for (i = 0; i < n->nr_holders; i++) {
		const struct arc_graph_holder *h = arc_graph_holder(g, n->first_holder + i);

		fprintf(out, "%s{\"by\": \"%s\", \"name\": ", i ? ", " : "", who[h->kind]);
		text_json(out, h->name ? h->name : "");
		fprintf(out, ", \"references\": %u, \"kind\": \"%s\", \"site\": ", h->nr,
			kinds[h->weak ? ARC_EDGE_WEAK : h->user ? ARC_EDGE_USER : ARC_EDGE_STRONG]);
		write_site(out, h->site);
		fputc('}', out);
	}
	fputc(']', out);
}

static void write_object(FILE *out, const struct picture *p, unsigned int i)
{
	const struct arc_graph_node *n = arc_graph_node(p->scene->graph, i);

	fprintf(out, "  {\"id\": %llu, \"type\": ", (unsigned long long)n->id);
	text_json(out, n->type);
	fputs(", \"label\": ", out);
	text_json(out, n->label);
	fprintf(out, ", \"bytes\": %llu", (unsigned long long)n->bytes);
	write_number(out, "count", n->count);
	write_number(out, "weak", n->weak);
	write_number(out, "users", n->users);
	write_number(out, "references_in", n->nr_in);
	write_number(out, "distance", n->distance);
	fprintf(out, ", \"group\": %u, \"verdict\": \"%s\"", p->box[i],
		arc_verdict_name((enum arc_verdict)n->verdict));
	write_wrong(out, p->nodes[p->box[i]].wrong);
	fputs(", \"site\": ", out);
	write_site(out, n->site);
	write_holders(out, p->scene->graph, n);
	fputc('}', out);
}

static void write_objects(FILE *out, const struct picture *p)
{
	unsigned int i, nr = 0;

	fputs(" \"objects\": [", out);
	for (i = 0; i < arc_graph_nr_nodes(p->scene->graph); i++) {
		if (p->box[i] == ARC_NONE)
			continue;
		fputs(nr++ ? ",\n" : "\n", out);
		write_object(out, p, i);
	}
	fputs("\n ],\n", out);
}

static void write_references(FILE *out, const struct picture *p)
{
	const struct arc_graph *g = p->scene->graph;
	unsigned int i, nr = 0;

	fputs(" \"references\": [", out);
	for (i = 0; i < arc_graph_nr_edges(g); i++) {
		const struct arc_graph_edge *e = arc_graph_edge(g, i);

		if (p->box[e->from] == ARC_NONE || p->box[e->to] == ARC_NONE)
			continue;
		fprintf(out, "%s  {\"from\": %llu, \"to\": %llu, \"kind\": \"%s\", \"field\": ",
			nr++ ? ",\n" : "\n",
			(unsigned long long)arc_graph_node(g, e->from)->id,
			(unsigned long long)arc_graph_node(g, e->to)->id, kinds[e->kind]);
		text_json(out, e->field);
		write_number(out, "index", e->index);
		fprintf(out, ", \"on_cycle\": %s}", e->on_cycle ? "true" : "false");
	}
	fputs("\n ],\n", out);
}

static void write_groups(FILE *out, const struct picture *p)
{
	unsigned int i;

	fputs(" \"groups\": [", out);
	for (i = 0; i < p->nr_nodes; i++) {
		const struct picture_node *box = &p->nodes[i];

		fprintf(out, "%s  {\"group\": %u, \"type\": ", i ? ",\n" : "\n", i);
		text_json(out, box->type);
		fprintf(out, ", \"objects\": %u, \"bytes\": %llu", box->nr,
			(unsigned long long)box->bytes);
		write_wrong(out, box->wrong);
		fputs(", \"site\": ", out);
		write_site(out, box->site);
		fputc('}', out);
	}
	fputs("\n ],\n \"arrows\": [", out);
	for (i = 0; i < p->nr_arrows; i++) {
		const struct picture_arrow *a = &p->arrows[i];

		fprintf(out, "%s  {\"from\": %u, \"to\": %u, \"kind\": \"%s\", \"field\": ",
			i ? ",\n" : "\n", a->from, a->to, kinds[a->kind]);
		text_json(out, a->field);
		fprintf(out, ", \"references\": %u, \"on_cycle\": %s}", a->nr,
			a->on_cycle ? "true" : "false");
	}
	fputs("\n ],\n", out);
}

struct cycles {
	FILE *out;
	unsigned int nr;
};

static void write_cycle(void *arg, const struct arc_graph_cycle *cycle)
{
	struct cycles *c = arg;

	fprintf(c->out, "%s  {\"component\": %u, \"objects\": %u, \"text\": ", c->nr++ ? ",\n" : "\n",
		cycle->component, cycle->nr_objects);
	text_json(c->out, cycle->text);
	fputc('}', c->out);
}

void picture_write_json(const struct picture *p, FILE *out)
{
	struct cycles cycles = { .out = out };

	fputs("{\"schema\": \"karc-graph-1\", \"title\": ", out);
	text_json(out, p->scene->title);
	fputs(", \"moment\": ", out);
	text_json(out, p->scene->moment);
	fprintf(out, ",\n \"shown\": %u, \"hidden\": %u, \"leaked\": %u,\n", p->nr_objects,
		p->nr_hidden, p->nr_leaked);
	write_objects(out, p);
	write_references(out, p);
	write_groups(out, p);
	fputs(" \"cycles\": [", out);
	arc_graph_cycles(p->scene->graph, write_cycle, &cycles);
	fputs("\n ]\n}\n", out);
}
