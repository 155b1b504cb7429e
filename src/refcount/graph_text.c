/* SPDX-License-Identifier: MIT */
/*
 * graph_text.c - steps, paths and holders of a graph as text, and how reports are written
 *
 * Long chains are shown by their first and last steps: a path of a million edges is one line.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph_internal.h"

#define OUT_BYTES	1024u
#define CUT		"..."

void line_start(struct graph_line *line, char *buf, size_t size)
{
	*line = (struct graph_line){ .buf = buf, .size = size };
	buf[0] = '\0';
}

void line_add(struct graph_line *line, const char *fmt, ...)
{
	va_list args;
	int len;

	if (line->cut)
		return;
	va_start(args, fmt);
	len = vsnprintf(line->buf + line->at, line->size - line->at, fmt, args);
	va_end(args);
	if (len < 0)
		return;
	line->at += (size_t)len;
	if (line->at >= line->size) {
		line->at = line->size - 1;
		line->cut = true;
	}
}

size_t line_end(struct graph_line *line)
{
	if (line->cut && line->size > sizeof(CUT))
		memcpy(line->buf + line->size - sizeof(CUT), CUT, sizeof(CUT));
	return line->at;
}

void line_site(struct graph_line *line, const struct site *site)
{
	if (site)
		line_add(line, "%s:%u", site->file, site->line);
	else
		line_add(line, "?");
}

void line_step(const struct arc_graph *g, unsigned int edge, struct graph_line *line)
{
	const struct arc_graph_edge *e = graph_edge(g, edge);

	line_add(line, "%s", graph_node(g, e->from)->type);
	if (e->field && e->field[0])
		line_add(line, ".%s", e->field);
	if (e->index != ARC_NONE)
		line_add(line, "[%u]", e->index);
}

void line_object(const struct arc_graph *g, unsigned int i, struct graph_line *line)
{
	const struct arc_graph_node *n = graph_node(g, i);

	line_add(line, "#%llu %s", (unsigned long long)n->id, n->type);
	if (n->label[0])
		line_add(line, " \"%s\"", n->label);
	line_add(line, " from ");
	line_site(line, n->site);
}

void line_holder(const struct arc_graph *g, unsigned int i, struct graph_line *line)
{
	const struct arc_graph_node *n = graph_node(g, i);
	const struct arc_graph_holder *h;
	unsigned int at;

	for (at = 0; at < n->nr_holders; at++) {
		h = graph_holder(g, n->first_holder + at);
		if (h->weak)
			continue;
		if (h->name[0])
			line_add(line, "%s", h->name);
		else if (h->site)
			line_add(line, "holder at %s:%u", h->site->file, h->site->line);
		else
			line_add(line, "holder without a name");
		return;
	}
	line_add(line, n->count == ARC_NONE ? "its room" : "somebody not known");
}

/* ---- chains ---- */

void chain_put(struct graph_chain *chain, unsigned int at, unsigned int edge)
{
	if (at < CHAIN_SHOWN)
		chain->head[at] = edge;
	if (chain->nr - at <= CHAIN_SHOWN)
		chain->tail[CHAIN_SHOWN - (chain->nr - at)] = edge;
}

void chain_text(const struct arc_graph *g, const struct graph_chain *chain,
		struct graph_line *line)
{
	unsigned int i;

	for (i = 0; i < chain->nr && i < CHAIN_SHOWN; i++) {
		line_add(line, i ? " -> " : "");
		line_step(g, chain->head[i], line);
	}
	if (chain->nr > 2 * CHAIN_SHOWN) {
		line_add(line, " -> (%u more)", chain->nr - 2 * CHAIN_SHOWN);
		i = chain->nr - CHAIN_SHOWN;
	}
	for (; i < chain->nr; i++) {
		line_add(line, " -> ");
		line_step(g, chain->tail[CHAIN_SHOWN - (chain->nr - i)], line);
	}
}

size_t arc_graph_step_text(const struct arc_graph *g, unsigned int edge, char *buf, size_t size)
{
	struct graph_line line;

	if (!size)
		return 0;
	line_start(&line, buf, size);
	line_step(g, edge, &line);
	return line_end(&line);
}

/* Up to CHAIN_SHOWN steps of the way to @i, from its end. */
static void put_way(const struct arc_graph *g, struct graph_chain *chain, unsigned int i)
{
	unsigned int shown, via, at = g->depth[i];

	for (shown = 0; at > 0 && shown < CHAIN_SHOWN; shown++) {
		via = graph_node(g, i)->via;
		chain_put(chain, --at, via);
		i = graph_edge(g, via)->from;
	}
}

size_t arc_graph_path_text(const struct arc_graph *g, unsigned int i, char *buf, size_t size)
{
	const struct arc_graph_node *n = arc_graph_node(g, i), *first;
	struct graph_chain chain = { .nr = g->depth[i] };
	struct graph_line line;

	if (!size)
		return 0;
	line_start(&line, buf, size);
	if (n->root == ARC_NONE || (n->distance == ARC_NONE && n->verdict != ARC_BEHIND))
		return 0;
	put_way(g, &chain, g->head[i]);
	put_way(g, &chain, i);
	first = graph_node(g, n->root);
	if (n->distance != ARC_NONE)
		line_holder(g, n->root, &line);
	else
		line_add(&line, "#%llu %s (%s)", (unsigned long long)first->id, first->type,
			 arc_verdict_name(first->verdict));
	line_add(&line, ": ");
	chain_text(g, &chain, &line);
	line_add(&line, "%s%s", chain.nr ? " -> " : "", n->type);
	return line_end(&line);
}

const char *arc_verdict_name(enum arc_verdict verdict)
{
	static const char *const names[] = { "reached", "LOST", "CYCLE", "BEHIND", "gone" };

	return verdict <= ARC_GONE ? names[verdict] : "?";
}

/* ---- reports ---- */

void out_text(const struct graph_out *out, const char *fmt, ...)
{
	char text[OUT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	out->write(out->arg, text);
}

/* Bytes above 0x7f pass: names and labels are UTF-8 where they are not ASCII. */
static size_t json_char(char *to, unsigned char c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	const char *at = c ? strchr(plain, c) : NULL;

	if (at) {
		to[0] = '\\';
		to[1] = letter[at - plain];
		return 2;
	}
	if (c < 0x20 || c == 0x7f)
		return (size_t)sprintf(to, "\\u%04x", c);
	to[0] = (char)c;
	return 1;
}

void out_json(const struct graph_out *out, const char *text)
{
	char part[256];
	size_t at = 0;

	part[at++] = '"';
	for (; *text; text++) {
		if (at > sizeof(part) - 16) {
			part[at] = '\0';
			out->write(out->arg, part);
			at = 0;
		}
		at += json_char(part + at, (unsigned char)*text);
	}
	part[at++] = '"';
	part[at] = '\0';
	out->write(out->arg, part);
}

void out_json_site(const struct graph_out *out, const struct site *site)
{
	if (!site) {
		out_text(out, "null");
		return;
	}
	out_text(out, "{\"file\":");
	out_json(out, site->file);
	out_text(out, ",\"line\":%u,\"function\":", site->line);
	out_json(out, site->func ? site->func : "?");
	out_text(out, "}");
}

void out_json_number(const struct graph_out *out, const char *name, unsigned int nr)
{
	if (nr == ARC_NONE)
		out_text(out, ",\"%s\":null", name);
	else
		out_text(out, ",\"%s\":%u", name, nr);
}
