/* SPDX-License-Identifier: MIT */
#ifndef KARC_TOOLS_LEAK_REPORT_H
#define KARC_TOOLS_LEAK_REPORT_H

/*
 * leak_report.h - what a machine leaves behind, kept as text until it can be printed
 */
#include <karc/karc.h>
#include <karc/refcount/leaks.h>
#include <stdbool.h>
#include <stdio.h>

/* Which tables: all with the reasons, or one of them. */
enum leak_tables { LEAKS_ALL, LEAKS_TYPE, LEAKS_SITE, LEAKS_HOLDER };

/**
 * struct leak_report - zeroed, with the first two set, before its use
 * @text: of the report, or NULL
 */
struct leak_report {
	enum leak_tables tables;
	bool json;
	char *text;
	size_t bytes;
	unsigned long nr;		/* objects that leaked */
};

/* @name as one of the tables (type, site, holder); false: it is none. */
bool leak_tables_parse(const char *name, enum leak_tables *tables);

/* The report is of @leaks from now on, borrowed for the call. */
void leak_report_set(struct leak_report *r, const struct arc_leaks *leaks);

/*
 * The report is of what is lost now, and of what is left at shutdown if that is anything.
 * Context: on the machine, at a quiet point, the last before its shutdown.
 */
void leak_report_watch(struct leak_report *r, struct machine *m);

void leak_report_free(struct leak_report *r);

#endif
