/* SPDX-License-Identifier: MIT */
/*
 * bench.c - which rows, against whom, and whether they meet their goals
 *
 * What it is      For each row that the filter selects: collect the ways that can be measured here,
 *                 measure them together, and turn each goal into a line. The peer of a goal is the
 *                 fastest of those it names; one that is not installed is not in the line, and the
 *                 report's head says why.
 */
#include "bench_internal.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct bench_unit *const units[] = {
	&bench_refcount,
	&bench_phys,
	&bench_slab,
	&bench_kva,
};

#define NR_UNITS	(sizeof(units) / sizeof(units[0]))

/* "R" and "R1" by id ("R1" is not "R10"), anything else is part of "R1 path". */
static bool selects(const char *filter, const struct bench_row *row)
{
	size_t len = filter ? strlen(filter) : 0;
	char both[256];

	if (!len)
		return true;
	if (!strncasecmp(row->id, filter, len) &&
	    (!row->id[len] || !isdigit((unsigned char)filter[len - 1])))
		return true;
	snprintf(both, sizeof(both), "%s %s", row->id, row->path);
	return len > strlen(row->id) && strstr(both, filter);
}

static bool last_goal(const struct bench_goal *goal)
{
	return !goal->peers[0] && goal->limit == 0;
}

static const struct variant *find_variant(const struct measured *m, const char *file)
{
	unsigned int i;

	for (i = 1; i < m->nr_variants; i++)
		if (!strcmp(m->variant[i].file, file))
			return &m->variant[i];
	return NULL;
}

static void add_variant(struct measured *m, struct peers *peers, const char *file)
{
	struct variant *v = &m->variant[m->nr_variants];
	struct peer *peer = peers_find(peers, file);

	if (m->nr_variants == MAX_VARIANTS || find_variant(m, file))
		return;
	*v = (struct variant){ .file = file, .name = peer ? peer->name : file };
	if (!strcmp(file, "bare"))
		v->ops = m->row->base;
	else if (!peer_ops(peer, m->row, &v->ops))
		return;
	m->nr_variants++;
}

static void collect(struct measured *m, const struct bench_row *row, struct peers *peers,
		    const struct bench_options *opt)
{
	const struct bench_goal *goal;
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->row = row;
	m->n = opt->quick && row->quick_n ? row->quick_n : row->n;
	m->variant[0].name = "karc";
	m->variant[0].ops = row->ours;
	m->nr_variants = 1;
	for (goal = row->goals; goal && !last_goal(goal); goal++)
		for (i = 0; i < BENCH_GOAL_PEERS && goal->peers[i]; i++)
			add_variant(m, peers, goal->peers[i]);
}

static const struct variant *best_of(const struct measured *m, const struct bench_goal *goal)
{
	const struct variant *best = NULL, *v;
	unsigned int i;

	for (i = 0; i < BENCH_GOAL_PEERS && goal->peers[i]; i++) {
		v = find_variant(m, goal->peers[i]);
		if (v && (!best || v->median < best->median))
			best = v;
	}
	return best;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void ratios(struct line *line)
{
	const struct measured *m = line->m;
	double ratio[BENCH_MAX_ROUNDS];
	unsigned int i;

	for (i = 0; i < m->nr_rounds; i++)
		ratio[i] = m->variant[0].value[i] / line->best->value[i];
	qsort(ratio, m->nr_rounds, sizeof(double), compare);
	line->ratio = ratio[m->nr_rounds / 2];
	line->low = ratio[0];
	line->high = ratio[m->nr_rounds - 1];
}

static void say_missing(struct line *line, struct peers *peers)
{
	const struct bench_goal *goal = line->goal;
	size_t at = (size_t)snprintf(line->note, sizeof(line->note), "no peer here:");
	unsigned int i;

	for (i = 0; i < BENCH_GOAL_PEERS && goal->peers[i] && at < sizeof(line->note); i++) {
		struct peer *peer = peers_find(peers, goal->peers[i]);

		at += (size_t)snprintf(line->note + at, sizeof(line->note) - at, " %s",
				       peer ? peer->name : goal->peers[i]);
	}
}

/*
 * How far a figure is from its goal: above 1 it misses. Goals have two decimals, and figures are
 * judged with as many: the same instructions on both sides of R1 are 1.00, give or take 0.001.
 */
static double judged(const struct line *line)
{
	if (line->m->row->kind == BENCH_YES)
		return line->m->yes ? 0 : 2;
	if (line->m->row->kind == BENCH_COUNT)
		return line->m->variant[0].median / (line->limit + 0.05);
	return line->ratio / (line->limit + 0.005);
}

static void judge(struct line *line, struct peers *peers, const struct bench_options *opt)
{
	const struct measured *m = line->m;

	line->limit = opt->goal > 0 ? opt->goal : line->goal->limit;
	line->verdict = SKIPPED;
	if (m->skipped) {
		snprintf(line->note, sizeof(line->note), "%s", m->skipped);
		return;
	}
	line->best = best_of(m, line->goal);
	if (line->best)
		ratios(line);
	if (!line->best && m->row->kind == BENCH_TIME) {
		say_missing(line, peers);
		return;
	}
	line->verdict = judged(line) <= 1 ? MEETS : MISSES;
	if (line->verdict == MISSES && line->goal->waiver && !(opt->goal > 0)) {
		line->verdict = WAIVED;
		snprintf(line->note, sizeof(line->note), "%s", line->goal->waiver);
	}
}

/* -1 when it could not be measured. */
static int do_row(const struct bench_unit *unit, const struct bench_row *row, struct peers *peers,
		  struct report *report, const struct bench_options *opt)
{
	const struct bench_goal *goal;
	struct measured *m = malloc(sizeof(*m));
	int err = -1;

	if (!m)
		return -1;
	collect(m, row, peers, opt);
	err = row->kind == BENCH_COUNT ? count_row(m, opt) : measure_row(unit, m, opt);
	for (goal = row->goals; !err && !last_goal(goal); goal++) {
		struct line line = { .m = m, .goal = goal };

		judge(&line, peers, opt);
		bench_report_line(report, &line);
	}
	free(m);
	return err;
}

static bool selects_any(const char *filter)
{
	unsigned int u, i;

	for (u = 0; u < NR_UNITS; u++)
		for (i = 0; i < units[u]->nr_rows; i++)
			if (selects(filter, &units[u]->rows[i]))
				return true;
	return false;
}

int bench_run(const struct bench_options *opt)
{
	struct report *report;
	struct peers peers;
	unsigned int u, i;
	int err = 0, status;

	if (!selects_any(opt->filter)) {
		fprintf(stderr, "karc bench: no row '%s'; karc bench --list has all\n",
			opt->filter);
		return 2;
	}
	if (peers_open(&peers, opt->peers))
		return 2;
	report = bench_report_begin(opt, &peers);
	if (!report) {
		peers_close(&peers);
		return 2;
	}
	for (u = 0; u < NR_UNITS; u++)
		for (i = 0; i < units[u]->nr_rows; i++)
			if (selects(opt->filter, &units[u]->rows[i]))
				err |= do_row(units[u], &units[u]->rows[i], &peers, report, opt);
	status = bench_report_end(report);
	peers_close(&peers);
	return err ? 2 : status;
}

void bench_list(FILE *out)
{
	unsigned int u, i;

	for (u = 0; u < NR_UNITS; u++)
		for (i = 0; i < units[u]->nr_rows; i++)
			fprintf(out, "%-3s %s\n", units[u]->rows[i].id, units[u]->rows[i].path);
}

int bench_count_child(const char *id_path, const char *peer, const char *peers_dir)
{
	const struct bench_row *row = NULL;
	struct bench_ops ops = { .run = NULL };
	struct peers peers;
	char both[256];
	unsigned int u, i;

	for (u = 0; u < NR_UNITS; u++) {
		for (i = 0; i < units[u]->nr_rows; i++) {
			row = &units[u]->rows[i];
			snprintf(both, sizeof(both), "%s %s", row->id, row->path);
			if (!strcmp(both, id_path))
				goto found;
		}
	}
	fprintf(stderr, "karc bench: --count: no row '%s'\n", id_path);
	return 2;
found:
	if (peers_open(&peers, peers_dir))
		return 2;
	if (!strcmp(peer, "ours"))
		ops = row->ours;
	else if (!peer_ops(peers_find(&peers, peer), row, &ops))
		fprintf(stderr, "karc bench: --count: no peer '%s'\n", peer);
	peers_close(&peers);
	return ops.run ? count_ops(units[u], row, &ops) : 2;
}
