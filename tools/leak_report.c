/* SPDX-License-Identifier: MIT */
/*
 * leak_report.c - what a machine leaves behind, kept as text until it can be printed
 */
#include "leak_report.h"
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
	[LEAKS_TYPE] = "type", [LEAKS_SITE] = "site", [LEAKS_HOLDER] = "holder",
};

bool leak_tables_parse(const char *name, enum leak_tables *tables)
{
	unsigned int i;

	for (i = LEAKS_TYPE; i <= LEAKS_HOLDER; i++) {
		if (!strcmp(name, names[i])) {
			*tables = (enum leak_tables)i;
			return true;
		}
	}
	return false;
}

static void put_text(void *out, const char *text)
{
	fputs(text, out);
}

static void put_row(FILE *out, const struct arc_leak_row *row)
{
	fprintf(out, "  %7lu %10llu  %s", row->nr, (unsigned long long)row->bytes, row->name);
	if (row->site)
		fprintf(out, "  %s:%u %s()", row->site->file, row->site->line, row->site->func);
	fputc('\n', out);
}

static void put_table(FILE *out, const struct arc_leaks *leaks, enum leak_tables which)
{
	static const enum arc_leak_table tables[] = {
		[LEAKS_TYPE] = ARC_LEAKS_BY_TYPE, [LEAKS_SITE] = ARC_LEAKS_BY_SITE,
		[LEAKS_HOLDER] = ARC_LEAKS_BY_HOLDER,
	};
	unsigned int i, nr = arc_leaks_nr_rows(leaks, tables[which]);

	fprintf(out, "leaks: %lu objects, %llu bytes\n", arc_leaks_nr(leaks),
		(unsigned long long)arc_leaks_bytes(leaks));
	if (nr)
		fprintf(out, "\n  objects      bytes  by %s\n", names[which]);
	for (i = 0; i < nr; i++)
		put_row(out, arc_leaks_row(leaks, tables[which], i));
}

void leak_report_set(struct leak_report *r, const struct arc_leaks *leaks)
{
	FILE *out;

	free(r->text);
	r->text = NULL;
	r->nr = arc_leaks_nr(leaks);
	out = open_memstream(&r->text, &r->bytes);
	if (!out)
		return;
	if (r->json)
		arc_leaks_json(leaks, put_text, out);
	else if (r->tables == LEAKS_ALL)
		arc_leaks_text(leaks, put_text, out);
	else
		put_table(out, leaks, r->tables);
	fclose(out);
}

static void left_at_shutdown(void *arg, const struct arc_leaks *leaks)
{
	leak_report_set(arg, leaks);
}

void leak_report_watch(struct leak_report *r, struct machine *m)
{
	struct arc_leaks *leaks = arc_leaks_take(m, 0);

	if (leaks)
		leak_report_set(r, leaks);
	arc_leaks_free(leaks);
	arc_leaks_at_shutdown(m, left_at_shutdown, r);
}

void leak_report_free(struct leak_report *r)
{
	free(r->text);
	r->text = NULL;
}
