/* SPDX-License-Identifier: MIT */
/*
 * graph_dot.c - the picture in Graphviz's language
 *
 * Owners stand left of what they own. Colours say what family an object is of, and red and orange
 * belong to what is wrong alone; whoever sees no colours reads it in the box. The legend names
 * only what the picture has.
 */
#include "graph.h"
#include "graph_text.h"
#include <string.h>

#define LABEL_MAX	34u		/* characters of a label before it is cut */
#define GREY_TEXT	"#5f6670"
#define ORANGE		"#d9660a"
#define RED		"#c8201d"
#define BLUE		"#2f6db5"

struct family {
	const char *name, *fill, *line;
	const char *types[8];
};

static const struct family families[] = {
	{ "process", "#dce9f8", "#5b8cc7", { "task_struct", "signal_struct", "sighand_struct", "pid",
	  "files_struct", "fs_struct" } },
	{ "address space", "#e0f1dc", "#62a257", { "mm_struct", "vm_area_struct", "anon_vma",
	  "vma_name", "page table" } },
	{ "file", "#fbf1cf", "#bd9a34", { "file", "inode", "shmid_kernel" } },
	{ "frame", "#ececec", "#8b8b8b", { "page", "slab page", "vm_struct" } },
	{ "other", "#ebe2f6", "#8f73ba", { NULL } },
};

#define NR_FAMILIES	(sizeof(families) / sizeof(families[0]))

static const struct family *family_of(const char *type)
{
	unsigned int i, t;

	for (i = 0; i < NR_FAMILIES - 1; i++)
		for (t = 0; families[i].types[t]; t++)
			if (!strcmp(families[i].types[t], type))
				return &families[i];
	return &families[NR_FAMILIES - 1];
}

/* ---- boxes ------------------------------------------------------------------------------- */

static void write_bytes(FILE *out, u64 bytes)
{
	if (bytes < 10240)
		fprintf(out, "%llu bytes", (unsigned long long)bytes);
	else if (bytes < 10ULL << 20)
		fprintf(out, "%llu KiB", (unsigned long long)bytes >> 10);
	else
		fprintf(out, "%llu MiB", (unsigned long long)bytes >> 20);
}

static void write_counts(FILE *out, const struct picture_node *box)
{
	if (box->count_low == ARC_NONE)
		fputs("not counted", out);
	else if (box->count_low == box->count_high)
		fprintf(out, "count %u", box->count_low);
	else
		fprintf(out, "count %u to %u", box->count_low, box->count_high);
	if (box->users)
		fprintf(out, ", users %u", box->users);
	if (box->weak)
		fprintf(out, ", weak %u", box->weak);
	if (box->nr > 1) {
		fputs(", ", out);
		write_bytes(out, box->bytes);
	}
}

static void write_site(FILE *out, const struct site *site)
{
	text_html(out, site->file, 60);
	fprintf(out, ":%u ", site->line);
	text_html(out, site->func, 40);
	fputs("()", out);
}

static const char *wrong_text(unsigned int wrong)
{
	if (wrong & GRAPH_DYING)
		return "torn down, memory kept";
	if (wrong & GRAPH_MISCOUNT)
		return "FEWER REFERENCES THAN HOLDERS";
	if (wrong & GRAPH_CYCLE)
		return wrong & GRAPH_LEAKED ? "LEAKED: A CYCLE KEEPS IT" : "ON A CYCLE";
	return wrong & GRAPH_LEAKED ? "LEAKED" : NULL;
}

static const char *line_colour(const struct picture_node *box)
{
	if (box->wrong & GRAPH_CYCLE)
		return ORANGE;
	if (box->wrong & (GRAPH_LEAKED | GRAPH_MISCOUNT))
		return RED;
	return box->wrong & GRAPH_DYING ? "#a0a0a0" : family_of(box->type)->line;
}

static const char *fill_colour(const struct picture_node *box)
{
	if (box->wrong & (GRAPH_LEAKED | GRAPH_MISCOUNT))
		return "#fbdcd9";
	if (box->wrong & GRAPH_CYCLE)
		return "#fde6cf";
	return box->wrong & GRAPH_DYING ? "#fafafa" : family_of(box->type)->fill;
}

static void write_box(FILE *out, const struct picture *p, unsigned int i)
{
	const struct picture_node *box = &p->nodes[i];
	const char *wrong = wrong_text(box->wrong);
	bool bad = box->wrong & (GRAPH_LEAKED | GRAPH_CYCLE | GRAPH_MISCOUNT);

	fprintf(out, "  b%u [tooltip=\"", i);
	if (box->site)
		write_site(out, box->site);
	else
		fputs("created at several places", out);
	fprintf(out, "\", label=<<TABLE BORDER=\"%u\" COLOR=\"%s\" BGCOLOR=\"%s\" CELLBORDER=\"0\" "
		"CELLSPACING=\"2\" CELLPADDING=\"1\" STYLE=\"ROUNDED\"><TR><TD>  <B>", bad ? 2 : 1,
		line_colour(box), fill_colour(box));
	text_html(out, box->type, LABEL_MAX);
	fputs("</B>", out);
	if (box->nr > 1)
		fprintf(out, " &#215; %u", box->nr);
	fputs("  </TD></TR>", out);
	if (box->label[0]) {
		fputs("<TR><TD>  ", out);
		text_html(out, box->label, LABEL_MAX);
		fputs("  </TD></TR>", out);
	}
	if (p->grouping == GRAPH_GROUP_SITE && box->site) {
		fputs("<TR><TD><FONT POINT-SIZE=\"8\">  ", out);
		write_site(out, box->site);
		fputs("  </FONT></TD></TR>", out);
	}
	fputs("<TR><TD><FONT POINT-SIZE=\"9\" COLOR=\"" GREY_TEXT "\">  ", out);
	write_counts(out, box);
	fputs("  </FONT></TD></TR>", out);
	if (wrong)
		fprintf(out, "<TR><TD><FONT POINT-SIZE=\"9\" COLOR=\"%s\"><B>  %s  </B></FONT></TD>"
			"</TR>", line_colour(box), wrong);
	fputs("</TABLE>>];\n", out);
}

/* ---- holders ----------------------------------------------------------------------------- */

static void write_holder(FILE *out, const struct picture_holder *h, unsigned int i)
{
	if (h->machine)
		fprintf(out, "  h%u [shape=box, style=\"rounded,filled\", fillcolor=\"#414b59\", "
			"color=\"#414b59\", fontcolor=white, margin=\"0.12,0.05\", height=0.3, label=<",
			i);
	else
		fprintf(out, "  h%u [shape=note, style=filled, fillcolor=\"%s\", color=\"%s\", "
			"margin=\"0.12,0.06\", height=0.3, label=<", i,
			h->gone ? "#fbdcd9" : "#fffce8", h->gone ? RED : "#7d7d7d");
	text_html(out, h->text, 60);
	if (h->gone)
		fputs(" forgot it", out);
	if (h->where[0]) {
		fputs("<BR/><FONT POINT-SIZE=\"8\">", out);
		text_html(out, h->where, 60);
		fputs("</FONT>", out);
	}
	fputs(">];\n", out);
}

/* ---- arrows ------------------------------------------------------------------------------ */

static void write_arrow_style(FILE *out, u8 kind, bool on_cycle)
{
	if (on_cycle)
		fputs("color=\"" ORANGE "\", fontcolor=\"" ORANGE "\", penwidth=2.4", out);
	else if (kind == ARC_EDGE_WEAK)
		fputs("color=\"#8a8a8a\", fontcolor=\"#8a8a8a\", style=dashed, arrowhead=onormal",
		      out);
	else if (kind == ARC_EDGE_USER)
		fputs("color=\"" BLUE ":white:" BLUE "\", fontcolor=\"" BLUE "\"", out);
	else
		fputs("color=\"#4b5563\", fontcolor=\"#4b5563\"", out);
}

static void write_arrow(FILE *out, const struct picture_arrow *a)
{
	fprintf(out, "  b%u -> b%u [", a->from, a->to);
	write_arrow_style(out, a->kind, a->on_cycle);
	if (a->kind == ARC_EDGE_WEAK)		/* leads back to owners as a rule */
		fputs(", constraint=false", out);
	fputs(", label=<", out);
	text_html(out, a->field, LABEL_MAX);
	if (a->index != ARC_NONE)
		fprintf(out, "[%u]", a->index);
	if (a->nr > 1)
		fprintf(out, " &#215; %u", a->nr);
	fputs(">];\n", out);
}

static void write_hold(FILE *out, const struct picture_hold *h)
{
	fprintf(out, "  h%u -> b%u [", h->holder, h->node);
	write_arrow_style(out, h->kind, false);
	if (h->nr > 1)
		fprintf(out, ", label=<&#215; %u>", h->nr);
	fputs("];\n", out);
}

/* ---- legend ------------------------------------------------------------------------------ */

static void legend_box(FILE *out, const char *fill, const char *line, unsigned int border,
		       const char *text)
{
	fprintf(out, "<TD BORDER=\"%u\" COLOR=\"%s\" BGCOLOR=\"%s\" STYLE=\"ROUNDED\">  %s  </TD>",
		border, line, fill, text);
}

static void legend_line(FILE *out, const char *colour, const char *line, const char *text)
{
	fprintf(out, "<TD><FONT COLOR=\"%s\"><B>%s</B></FONT> %s</TD>", colour, line, text);
}

static bool has_family(const struct picture *p, const struct family *f)
{
	unsigned int i;

	for (i = 0; i < p->nr_nodes; i++)
		if (fill_colour(&p->nodes[i]) == f->fill)
			return true;
	return false;
}

static unsigned int all_wrong(const struct picture *p)
{
	unsigned int i, wrong = 0;

	for (i = 0; i < p->nr_nodes; i++)
		wrong |= p->nodes[i].wrong;
	return wrong;
}

static bool has_kind(const struct picture *p, u8 kind)
{
	unsigned int i;

	for (i = 0; i < p->nr_arrows; i++)
		if (p->arrows[i].kind == kind)
			return true;
	for (i = 0; i < p->nr_holds; i++)
		if (p->holds[i].kind == kind)
			return true;
	return false;
}

static bool has_holder(const struct picture *p, bool machine, bool gone)
{
	unsigned int i;

	for (i = 0; i < p->nr_holders; i++)
		if (p->holders[i].machine == machine && p->holders[i].gone == gone)
			return true;
	return false;
}

static void legend_families(FILE *out, const struct picture *p)
{
	unsigned int i, nr = 0;

	for (i = 0; i < NR_FAMILIES; i++)
		nr += has_family(p, &families[i]);
	if (!nr && !p->nr_holders)
		return;			/* a row without a cell is none */
	fputs("<TR>", out);
	for (i = 0; i < NR_FAMILIES; i++)
		if (has_family(p, &families[i]))
			legend_box(out, families[i].fill, families[i].line, 1, families[i].name);
	if (has_holder(p, true, false))
		legend_box(out, "#414b59", "#414b59", 1,
			   "<FONT COLOR=\"white\">held by the machine</FONT>");
	if (has_holder(p, false, false))
		legend_box(out, "#fffce8", "#7d7d7d", 1, "held from outside");
	if (has_holder(p, false, true))
		legend_box(out, "#fbdcd9", RED, 1, "forgotten by a task that ended");
	fputs("</TR>", out);
}

static void write_legend(FILE *out, const struct picture *p)
{
	unsigned int wrong = all_wrong(p);

	fputs("<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"5\" CELLPADDING=\"3\">", out);
	legend_families(out, p);
	fputs("<TR>", out);
	legend_line(out, "#4b5563", "&#8212;&#9654;", "owns (strong)");
	if (has_kind(p, ARC_EDGE_USER))
		legend_line(out, BLUE, "&#9552;&#9654;", "uses (users tier)");
	if (has_kind(p, ARC_EDGE_WEAK))
		legend_line(out, "#8a8a8a", "&#8211; &#8211;&#9655;", "weak");
	if (wrong & GRAPH_CYCLE)
		legend_line(out, ORANGE, "&#9473;&#9654;", "strong cycle");
	if (wrong & GRAPH_LEAKED)
		legend_box(out, "#fbdcd9", RED, 2, "leaked");
	if (wrong & GRAPH_CYCLE)
		legend_box(out, wrong & GRAPH_LEAKED ? "#fbdcd9" : "#fde6cf", ORANGE, 2,
			   "on a cycle");
	if (wrong & GRAPH_DYING)
		legend_box(out, "#fafafa", "#a0a0a0", 1, "torn down");
	fputs("</TR></TABLE>", out);
}

static void write_title(FILE *out, const struct picture *p)
{
	static const char *const groups[] = {
		[GRAPH_GROUP_TYPE] = ", one box for each type",
		[GRAPH_GROUP_SITE] = ", one box for each type and place of creation",
		[GRAPH_GROUP_NONE] = "", [GRAPH_GROUP_AUTO] = "",
	};

	fputs("<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"2\"><TR><TD>"
	      "<FONT POINT-SIZE=\"14\"><B>", out);
	text_html(out, p->scene->title, 100);
	fputs("</B></FONT></TD></TR><TR><TD>", out);
	text_html(out, p->scene->moment, 100);
	fprintf(out, "</TD></TR><TR><TD><FONT POINT-SIZE=\"9\" COLOR=\"" GREY_TEXT "\">%u objects%s",
		p->nr_objects, groups[p->grouping]);
	if (p->nr_hidden)
		fprintf(out, "; %u more not shown", p->nr_hidden);
	fputs("</FONT></TD></TR>", out);
	if (p->nr_leaked)
		fprintf(out, "<TR><TD><FONT COLOR=\"" RED "\"><B>%u leaked</B></FONT></TD></TR>",
			p->nr_leaked);
	fputs("</TABLE>", out);
}

void picture_write_dot(const struct picture *p, FILE *out)
{
	unsigned int i;

	fputs("digraph karc {\n"
	      "  graph [rankdir=LR, bgcolor=white, labelloc=t, nodesep=0.16, ranksep=0.55, "
	      "fontname=\"Helvetica,Arial,sans-serif\", fontsize=11, label=<", out);
	write_title(out, p);
	fputs(">];\n"
	      "  node [shape=plain, fontname=\"Helvetica,Arial,sans-serif\", fontsize=10];\n"
	      "  edge [fontname=\"Helvetica,Arial,sans-serif\", fontsize=8, arrowsize=0.6];\n"
	      "  subgraph cluster_all {\n"
	      "  peripheries=0; labelloc=b; fontsize=9;\n"
	      "  label=<", out);
	write_legend(out, p);
	fputs(">;\n", out);
	if (!p->nr_nodes)
		fputs("  none [shape=box, style=\"rounded,dashed\", margin=\"0.2,0.1\", "
		      "label=\"nothing is left\"];\n", out);
	for (i = 0; i < p->nr_holders; i++)
		write_holder(out, &p->holders[i], i);
	for (i = 0; i < p->nr_nodes; i++)
		write_box(out, p, i);
	for (i = 0; i < p->nr_holds; i++)
		write_hold(out, &p->holds[i]);
	for (i = 0; i < p->nr_arrows; i++)
		write_arrow(out, &p->arrows[i]);
	fputs("  }\n}\n", out);
}
