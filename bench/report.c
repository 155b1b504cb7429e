/* SPDX-License-Identifier: MIT */
/*
 * report.c - the table for people, JSON for machines
 *
 * What it is      One line a goal: id, path, ours, best peer, ratio with its spread, goal, verdict.
 *                 What is not such a line begins with '#': the peers with their versions, those
 *                 that are missing with the reason, and the reasons of waivers.
 */
#include "bench_internal.h"
#include <karc/karc.h>
#include <stdlib.h>

struct report {
	const struct bench_options *opt;
	unsigned int nr_lines, nr_missed;
};

static const char *const variant_name[] = { "release", "debug", "asan", "tsan" };
static const char *const verdict_name[] = { "meets", "misses", "waived", "skipped" };
static const char *const verdict_colour[] = { "\033[32m", "\033[1;31m", "\033[33m", "\033[2m" };

static const char *unit_of(const struct line *line)
{
	return line->m->row->kind == BENCH_COUNT ? "ins" : "ns";
}

/* ---- JSON ---- */

static void json_string(FILE *f, const char *text)
{
	fputc('"', f);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', f);
		if ((unsigned char)*text < ' ')
			fprintf(f, "\\u%04x", (unsigned int)*text);
		else
			fputc(*text, f);
	}
	fputc('"', f);
}

static void json_field(FILE *f, const char *name, const char *text)
{
	fprintf(f, "\"%s\": ", name);
	if (text)
		json_string(f, text);
	else
		fputs("null", f);
}

static void json_peers(FILE *f, const struct peers *peers)
{
	unsigned int i;

	fputs("  \"peers\": [", f);
	for (i = 0; i < peers->nr; i++) {
		const struct peer *peer = &peers->peer[i];

		fprintf(f, "%s\n    {", i ? "," : "");
		json_field(f, "name", peer->name);
		fprintf(f, ", \"installed\": %s, ", peer->handle ? "true" : "false");
		json_field(f, peer->handle ? "version" : "reason", peer->text);
		fputc('}', f);
	}
	fputs("\n  ],\n", f);
}

static void json_all(FILE *f, const struct measured *m)
{
	unsigned int i;

	fputs("[", f);
	for (i = 0; i < m->nr_variants; i++) {
		fprintf(f, "%s{", i ? ", " : "");
		json_field(f, "name", m->variant[i].name);
		fprintf(f, ", \"value\": %.4f}", m->variant[i].median);
	}
	fputs("]", f);
}

static void json_result(FILE *f, const struct line *line)
{
	const struct measured *m = line->m;

	if (m->row->kind == BENCH_YES) {
		fprintf(f, ", \"ours\": %s, ", m->yes ? "true" : "false");
		return;
	}
	fprintf(f, ", \"unit\": \"%s\", \"ours\": %.4f, \"goal\": %.4f, \"all\": ", unit_of(line),
		m->variant[0].median, line->limit);
	json_all(f, m);
	fputs(", ", f);
	json_field(f, "best_peer", line->best ? line->best->name : NULL);
	if (line->best)
		fprintf(f, ", \"ratio\": %.4f, \"ratio_least\": %.4f, \"ratio_greatest\": %.4f",
			line->ratio, line->low, line->high);
	fputs(", ", f);
}

static void json_line(struct report *r, const struct line *line)
{
	FILE *f = r->opt->json;

	fprintf(f, "%s\n    {", r->nr_lines ? "," : "");
	json_field(f, "id", line->m->row->id);
	fputs(", ", f);
	json_field(f, "path", line->m->row->path);
	fprintf(f, ", \"n\": %lu", line->m->n);
	if (line->m->skipped)
		fputs(", ", f);
	else
		json_result(f, line);
	if (line->note[0]) {
		json_field(f, "note", line->note);
		fputs(", ", f);
	}
	json_field(f, "verdict", verdict_name[line->verdict]);
	fputc('}', f);
}

/* ---- the table ---- */

static void table_result(FILE *f, const struct line *line)
{
	const struct measured *m = line->m;
	char best[64] = "-", ratio[64] = "-", goal[32] = "";
	bool count = m->row->kind == BENCH_COUNT;

	if (m->row->kind == BENCH_YES) {
		fprintf(f, "  %12s  %-22s  %-20s  %-8s", m->yes ? "yes" : "no", "-", "-", "yes");
		return;
	}
	if (line->best) {
		snprintf(best, sizeof(best), "%s %.*f %s", line->best->name, count ? 1 : 2,
			 line->best->median, unit_of(line));
		snprintf(ratio, sizeof(ratio), "%.3f", line->ratio);
		if (m->nr_rounds > 1)
			snprintf(ratio, sizeof(ratio), "%.3f (%.3f..%.3f)", line->ratio, line->low,
				 line->high);
	}
	snprintf(goal, sizeof(goal), count ? "<= %.0f %s" : "<= %.2f", line->limit, unit_of(line));
	fprintf(f, "  %*.*f %-3s  %-22s  %-20s  %-8s", 8, count ? 1 : 2, m->variant[0].median,
		unit_of(line), best, ratio, goal);
}

static void table_line(struct report *r, const struct line *line)
{
	const char *verdict = verdict_name[line->verdict];
	FILE *f = r->opt->out;

	fprintf(f, "%-3s %-40s", line->m->row->id, line->m->row->path);
	if (line->m->skipped || line->verdict == SKIPPED)
		fprintf(f, "  %s", line->note);
	else
		table_result(f, line);
	if (r->opt->colour)
		fprintf(f, "  %s%s\033[0m\n", verdict_colour[line->verdict], verdict);
	else
		fprintf(f, "  %s\n", verdict);
	if (line->verdict == WAIVED)
		fprintf(f, "# %s %s: %s\n", line->m->row->id, line->m->row->path, line->note);
	fflush(f);
}

static void table_head(const struct bench_options *opt, const struct peers *peers)
{
	unsigned int i;

	fprintf(opt->out, "# karc %s, %s, median of %u rounds%s\n", karc_version(),
		variant_name[KARC_VARIANT], opt->rounds, opt->quick ? ", quick: figures mean nothing" : "");
	for (i = 0; i < peers->nr; i++)
		fprintf(opt->out, "# peer %s: %s%s\n", peers->peer[i].name,
			peers->peer[i].handle ? "" : "skipped: ", peers->peer[i].text);
}

struct report *bench_report_begin(const struct bench_options *opt, const struct peers *peers)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->opt = opt;
	if (opt->out)
		table_head(opt, peers);
	if (opt->json) {
		fputs("{\n  ", opt->json);
		json_field(opt->json, "karc", karc_version());
		fputs(", ", opt->json);
		json_field(opt->json, "variant", variant_name[KARC_VARIANT]);
		fprintf(opt->json, ", \"rounds\": %u, \"quick\": %s,\n", opt->rounds,
			opt->quick ? "true" : "false");
		json_peers(opt->json, peers);
		fputs("  \"rows\": [", opt->json);
	}
	return r;
}

void bench_report_line(struct report *r, const struct line *line)
{
	if (r->opt->progress)
		fputs("\r\033[K", r->opt->progress);
	if (r->opt->out)
		table_line(r, line);
	if (r->opt->json)
		json_line(r, line);
	r->nr_lines++;
	r->nr_missed += line->verdict == MISSES;
}

int bench_report_end(struct report *r)
{
	int status = r->nr_missed ? 1 : 0;

	if (r->opt->json)
		fprintf(r->opt->json, "\n  ],\n  \"missed\": %u\n}\n", r->nr_missed);
	if (r->opt->out && r->nr_missed)
		fprintf(r->opt->out, "# %u of %u rows miss\n", r->nr_missed, r->nr_lines);
	free(r);
	return status;
}
