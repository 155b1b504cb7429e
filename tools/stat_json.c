/* SPDX-License-Identifier: MIT */
/*
 * stat_json.c - the texts of /proc as JSON
 *
 * What it is
 *	A parser of Linux's texts, one function for each: it sees nothing but what any other parser
 *	would see, so the numbers are the same by construction. Keys are Linux's own words; where a
 *	column has none, those of stat's documentation in examples/stat/README.md.
 */
#include "graph_text.h"
#include "stat.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- words and lines --------------------------------------------------------------------- */

/* The next line of *@text into @line, cut if need be; false at the end. */
static bool next_line(const char **text, char *line, size_t size)
{
	size_t len = strcspn(*text, "\n");

	if (!**text)
		return false;
	snprintf(line, size, "%.*s", (int)len, *text);
	*text += len + ((*text)[len] == '\n');
	return true;
}

/* The next word of *@at, which moves behind it; "" at the end of the line. */
static const char *next_word(char **at)
{
	char *word = *at + strspn(*at, " ");

	*at = word + strcspn(word, " ");
	if (**at)
		*(*at)++ = '\0';
	return word;
}

/* "Node 0, zone      DMA" at *@at: both, and *@at behind them. */
static bool take_place(char **at, int *node, char zone[32])
{
	int used = 0;

	if (sscanf(*at, "Node %d, zone %31[^ ,]%n", node, zone, &used) != 2)
		return false;
	*at += used;
	return true;
}

static void open_row(FILE *out, unsigned int *nr, int node, const char *zone)
{
	fprintf(out, "%s\n  {\"node\": %d, \"zone\": ", (*nr)++ ? "," : "", node);
	text_json(out, zone);
}

/* Numbers up to the end of the line, as a list. A > before one is left out: it is the most. */
static void write_numbers(FILE *out, char *at)
{
	const char *word, *sep = "";

	fputc('[', out);
	while (*(word = next_word(&at))) {
		fprintf(out, "%s%ld", sep, strtol(word + (*word == '>'), NULL, 10));
		sep = ", ";
	}
	fputc(']', out);
}

/* ---- buddyinfo, pagetypeinfo ------------------------------------------------------------- */

void stat_json_buddyinfo(FILE *out, const char *text)
{
	char line[512], zone[32], *at;
	unsigned int nr = 0;
	int node;

	fputc('[', out);
	while (next_line(&text, line, sizeof(line))) {
		at = line;
		if (!take_place(&at, &node, zone))
			continue;
		open_row(out, &nr, node, zone);
		fputs(", \"free\": ", out);
		write_numbers(out, at);
		fputc('}', out);
	}
	fputs("\n ]", out);
}

/* The part of pagetypeinfo about free blocks, or the one about blocks' types. */
static void write_type_rows(FILE *out, const char *text, bool blocks)
{
	char line[512], zone[32], type[32], names[512] = "", *at, *name;
	unsigned int nr = 0;
	int node, used;

	while (next_line(&text, line, sizeof(line))) {
		at = line;
		if (!strncmp(line, "Number of blocks type", 21))
			snprintf(names, sizeof(names), "%s", line + 21);
		if (!take_place(&at, &node, zone))
			continue;
		used = 0;
		if ((sscanf(at, ", type %31s%n", type, &used) == 1) == blocks)
			continue;
		open_row(out, &nr, node, zone);
		if (!blocks) {
			fputs(", \"type\": ", out);
			text_json(out, type);
			fputs(", \"free\": ", out);
			write_numbers(out, at + used);
		} else {
			char copy[512];

			memcpy(copy, names, sizeof(copy));
			for (name = copy; *(name += strspn(name, " "));) {
				const char *word = next_word(&name);

				fprintf(out, ", \"%s\": %ld", word,
					strtol(next_word(&at), NULL, 10));
			}
		}
		fputc('}', out);
	}
}

static long number_behind(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtol(at + strlen(key), NULL, 10) : 0;
}

void stat_json_pagetypeinfo(FILE *out, const char *text)
{
	fprintf(out, "{\"page_block_order\": %ld, \"pages_per_block\": %ld,\n  \"free\": [",
		number_behind(text, "Page block order: "),
		number_behind(text, "Pages per block:  "));
	write_type_rows(out, text, false);
	fputs("],\n  \"blocks\": [", out);
	write_type_rows(out, text, true);
	fputs("]}", out);
}

/* ---- zoneinfo ---------------------------------------------------------------------------- */

/* Where in a zone's part of zoneinfo the reader is. */
enum zone_part { ZONE_TOP, ZONE_NODE_STATS, ZONE_PAGES, ZONE_STATS, ZONE_PAGESETS };

static void close_part(FILE *out, enum zone_part part)
{
	if (part == ZONE_NODE_STATS || part == ZONE_STATS)
		fputc('}', out);
	if (part == ZONE_PAGESETS)
		fputs("}]", out);
}

static void write_protection(FILE *out, char *list)
{
	for (char *c = list; *c; c++)
		if (*c == '(' || *c == ')' || *c == ',')
			*c = ' ';
	fputs(", \"protection\": ", out);
	write_numbers(out, list);
}

/* One line of a zone's part; the place in it goes on. */
static enum zone_part zone_line(FILE *out, char *line, enum zone_part part, unsigned int *nr)
{
	char *at = line;
	const char *name = next_word(&at);

	if (!strcmp(name, "per-node")) {
		fputs(",\n   \"node_stats\": {", out);
		return *nr = 0, ZONE_NODE_STATS;
	}
	if (!strcmp(name, "pages") || !strcmp(name, "pagesets")) {
		close_part(out, part);
		*nr = 0;
		if (name[5])
			return fputs(",\n   \"pagesets\": [", out), ZONE_PAGESETS;
		fprintf(out, ",\n   \"%s\": ", next_word(&at));
		fprintf(out, "%ld", strtol(next_word(&at), NULL, 10));
		return ZONE_PAGES;
	}
	if (!strcmp(name, "protection:")) {
		write_protection(out, at);
	} else if (!strcmp(name, "vm")) {
		fprintf(out, ", \"stat_threshold\": %ld", number_behind(at, "threshold: "));
	} else if (!strcmp(name, "node_unreclaimable:") || !strcmp(name, "start_pfn:")) {
		close_part(out, part);
		fprintf(out, ", \"%.*s\": %ld", (int)strlen(name) - 1, name,
			strtol(next_word(&at), NULL, 10));
		return ZONE_PAGES;
	} else if (part == ZONE_PAGESETS) {
		bool cpu = !strcmp(name, "cpu:");

		fprintf(out, "%s\"%.*s\": %ld", !cpu ? ", " : (*nr)++ ? "},\n    {" : "\n    {",
			(int)strlen(name) - 1, name, strtol(next_word(&at), NULL, 10));
	} else if (*name) {
		if (part == ZONE_PAGES && !strncmp(name, "nr_", 3)) {
			fputs(",\n   \"stats\": {", out);
			part = ZONE_STATS;
			*nr = 0;
		}
		fprintf(out, "%s\"%s\": %ld", (*nr)++ || part == ZONE_PAGES ? ", " : "", name,
			strtol(next_word(&at), NULL, 10));
	}
	return part;
}

void stat_json_zoneinfo(FILE *out, const char *text)
{
	enum zone_part part = ZONE_TOP;
	unsigned int nr = 0, nr_in_part = 0;
	char line[512], zone[32], *at;
	int node;

	fputc('[', out);
	while (next_line(&text, line, sizeof(line))) {
		at = line;
		if (take_place(&at, &node, zone)) {
			close_part(out, part);
			if (nr)
				fputc('}', out);
			open_row(out, &nr, node, zone);
			part = ZONE_TOP;
		} else {
			part = zone_line(out, line, part, &nr_in_part);
		}
	}
	close_part(out, part);
	fputs(nr ? "}\n ]" : "]", out);
}

/* ---- slabinfo ---------------------------------------------------------------------------- */

/* A cache's line against the heading's: " : " parts both, <words> name the numbers. */
static void write_cache(FILE *out, char *line, char *heading)
{
	const char *name = next_word(&heading), *word = next_word(&line), *sep = "";
	bool inner = false;

	while (!strcmp(name, "#") || !strcmp(name, "name"))
		name = next_word(&heading);
	fputs("{\"name\": ", out);
	text_json(out, word);
	for (; *name; name = next_word(&heading)) {
		word = next_word(&line);
		if (!strcmp(name, ":")) {
			name = next_word(&heading);
			next_word(&line);
			fprintf(out, "%s, \"%s\": {", inner ? "}" : "", name);
			inner = true;
			sep = "";
			continue;
		}
		fprintf(out, "%s\"%.*s\": %ld", inner ? sep : ", ", (int)strlen(name) - 2, name + 1,
			strtol(word, NULL, 10));
		sep = ", ";
	}
	fputs(inner ? "}}" : "}", out);
}

void stat_json_slabinfo(FILE *out, const char *text)
{
	char line[1024], heading[1024], copy[1024];
	const char *sep = "";

	fputc('[', out);
	next_line(&text, line, sizeof(line));		/* the version */
	if (next_line(&text, heading, sizeof(heading))) {
		while (next_line(&text, line, sizeof(line))) {
			memcpy(copy, heading, sizeof(copy));
			fprintf(out, "%s\n  ", sep);
			write_cache(out, line, copy);
			sep = ",";
		}
	}
	fputs("\n ]", out);
}

/* ---- vmallocinfo, meminfo ---------------------------------------------------------------- */

/* What stands behind an area's size: pages=, N0=, flags; the first word is the caller. */
static void write_area_words(FILE *out, char *at)
{
	char flags[256] = "", nodes[256] = "";
	const char *word, *caller = NULL;
	size_t nf = 0, nn = 0;
	long pages = 0;

	while (*(word = next_word(&at))) {
		if (!strncmp(word, "pages=", 6))
			pages = strtol(word + 6, NULL, 10);
		else if (*word == 'N' && isdigit((unsigned char)word[1]) && strchr(word, '='))
			nn += (size_t)snprintf(nodes + nn, sizeof(nodes) - nn, "%s\"%.*s\": %ld",
					       nn ? ", " : "", (int)strcspn(word + 1, "="),
					       word + 1, strtol(strchr(word, '=') + 1, NULL, 10));
		else if (!caller && strcmp(word, "vm_map_ram") && strcmp(word, "unpurged"))
			caller = word;
		else if (nf < sizeof(flags) - 32 && strcmp(word, "vm_area"))
			nf += (size_t)snprintf(flags + nf, sizeof(flags) - nf, "%s\"%.16s\"",
					       nf ? ", " : "", word);
	}
	fputs(", \"caller\": ", out);
	if (caller)
		text_json(out, caller);
	else
		fputs("null", out);
	fprintf(out, ", \"pages\": %ld, \"flags\": [%s], \"nodes\": {%s}", pages, flags, nodes);
}

void stat_json_vmallocinfo(FILE *out, const char *text)
{
	unsigned long long start, end;
	const char *sep = "";
	char line[512];
	long bytes;
	int used;

	fputc('[', out);
	while (next_line(&text, line, sizeof(line))) {
		used = 0;
		if (sscanf(line, "0x%llx-0x%llx %ld%n", &start, &end, &bytes, &used) != 3)
			continue;
		fprintf(out, "%s\n  {\"start\": \"0x%016llx\", \"end\": \"0x%016llx\", "
			"\"bytes\": %ld", sep, start, end, bytes);
		write_area_words(out, line + used);
		fputc('}', out);
		sep = ",";
	}
	fputs("\n ]", out);
}

void stat_json_meminfo(FILE *out, const char *text)
{
	const char *sep = "";
	char line[512];

	fputc('{', out);
	while (next_line(&text, line, sizeof(line))) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		fprintf(out, "%s\n  \"%s\": %ld", sep, line, strtol(colon + 1, NULL, 10));
		sep = ",";
	}
	fputs("\n }", out);
}
