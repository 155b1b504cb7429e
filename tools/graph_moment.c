/* SPDX-License-Identifier: MIT */
/*
 * graph_moment.c - play up to the moment that is to be drawn
 *
 * What it is
 *	A scenario's moments are its headings: what stands under one has happened, and nothing is
 *	under way. A function that announces steps names a moment as well; then the machine is in
 *	the middle of something. A recording's moments are its lines. Each is played twice in
 *	deterministic mode: once to find the moment, once to look at it. The second run is the first
 *	one again, for the same seed.
 *
 * Worst case
 *	Two runs. Where nobody says which line of a recording, the one after which most objects were
 *	alive is taken: a sum over all types for each line.
 */
#include "graph.h"
#include "number.h"
#include "replay.h"
#include "scenario.h"
#include <ctype.h>
#include <inttypes.h>
#include <karc/refcount/ledger.h>
#include <stdlib.h>
#include <string.h>

#define OVER	UINT64_MAX		/* the moment after the last */

/**
 * struct moments - one run of a story
 * @wanted:  the moment to be looked at: counted from 1 over everything that is announced; a line of
 *           the recording; OVER. 0: only look for it.
 * @seen:    moments so far, or the last line
 * @heading: headings so far
 * @best:    where it was found, 0 if nowhere; @score: objects alive then
 */
struct moments {
	const struct graph_options *opt;
	int (*show)(const struct graph_scene *scene, void *arg);
	void *arg;
	FILE *list;			/* NULL, or where moments are to be listed */
	char title[160];
	uint64_t wanted, seen, heading, best;
	uint64_t first;			/* heading: shown when the default is not in a case's story */
	unsigned long score, skip;
	u64 at_boot;
	const char *look;
	int status;
	bool shown;
};

static u64 newest_object(struct machine *m)
{
	struct arc_graph *g = arc_graph_take(m, ARC_GRAPH_TRUST);
	u64 newest = 0;
	unsigned int i;

	for (i = 0; g && i < arc_graph_nr_nodes(g); i++)
		if (arc_graph_node(g, i)->arc)
			newest = arc_graph_node(g, i)->id;
	if (g)
		arc_graph_free(g);
	return newest;
}

static void show_now(struct moments *mo, struct machine *m, const char *name, bool quiet,
		     bool over)
{
	struct arc_graph *g = arc_graph_take(m, quiet ? 0 : ARC_GRAPH_TRUST);
	struct graph_scene scene = { .m = m, .graph = g, .title = mo->title, .moment = name,
				     .at_boot = mo->at_boot, .quiet = quiet, .over = over };

	mo->shown = true;
	if (!g) {
		fprintf(stderr, "karc graph: no memory on the host\n");
		mo->status = 2;
		return;
	}
	mo->status = mo->show(&scene, mo->arg);
	arc_graph_free(g);
}

/* ---- scenarios --------------------------------------------------------------------------- */

static bool contains(const char *text, const char *part)
{
	size_t len = strlen(part);

	for (; *text; text++)
		if (!strncasecmp(text, part, len))
			return true;
	return false;
}

static bool is_number(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

/* Is this the one that --at means? Steps only by their whole name, "name:2" the second one. */
static bool is_wanted(struct moments *mo, enum stage_moment moment, const char *name)
{
	const char *at = mo->look;
	size_t len = strcspn(at, ":");

	if (moment != STAGE_STEP)
		return is_number(at) ? strtoull(at, NULL, 10) == mo->heading : contains(name, at);
	if (strlen(name) != len || strncmp(name, at, len))
		return false;
	return ++mo->skip == (is_number(at + len + !!at[len]) ?
			      strtoul(at + len + 1, NULL, 10) : 1);
}

static void scenario_moment(struct stage *s, enum stage_moment moment, const char *name, void *arg)
{
	struct moments *mo = arg;

	if (moment == STAGE_BOOTED) {
		mo->at_boot = newest_object(s->m);
		return;
	}
	mo->seen++;
	mo->heading += moment != STAGE_STEP;
	if (!mo->first && moment == STAGE_HEADED)
		mo->first = mo->seen;
	if (mo->list) {
		if (moment != STAGE_STEP)
			fprintf(mo->list, "%3" PRIu64 "  %s\n", mo->heading, name);
	} else if (!mo->wanted) {
		if (!mo->best && is_wanted(mo, moment, name))
			mo->best = mo->seen;
	} else if (mo->seen == mo->wanted) {
		show_now(mo, s->m, name, moment != STAGE_STEP, moment == STAGE_OVER);
	}
}

static void run_scenario(struct moments *mo, const struct scenario *sc)
{
	const struct stage_watch watch = { .ops = { .moment = scenario_moment }, .arg = mo };
	const struct scenario_options opt = {
		.who = "karc graph", .machine = mo->opt->machine, .part = mo->opt->part,
		.holders = true, .watch = &watch,
	};

	mo->seen = mo->heading = mo->skip = 0;
	if (scenario_run(sc, &opt) == 2)
		mo->status = 2;
}

static int no_moment(struct moments *mo, const struct scenario *sc)
{
	fprintf(stderr, "karc graph: --at: %s has no moment '%s', and no step of that name; its "
		"moments are:\n", sc->name, mo->look);
	mo->list = stderr;
	run_scenario(mo, sc);
	return 2;
}

static int scenario_at_moment(struct moments *mo, const struct scenario *sc)
{
	snprintf(mo->title, sizeof(mo->title), "%s: %s", sc->name, sc->what);
	mo->look = mo->opt->moment ? mo->opt->moment : sc->look;
	run_scenario(mo, sc);
	if (mo->list || mo->status)
		return mo->status;
	if (!mo->best && !mo->opt->moment)
		mo->best = mo->first;
	if (!mo->best)
		return no_moment(mo, sc);
	mo->wanted = mo->best;
	run_scenario(mo, sc);
	return mo->status;
}

/* ---- recordings -------------------------------------------------------------------------- */

static void line_moment(struct machine *m, uint64_t line, const struct rec_call *call, void *arg)
{
	struct moments *mo = arg;
	unsigned long alive;
	char name[120];

	if (!line) {
		mo->at_boot = newest_object(m);
		return;
	}
	mo->seen = line;
	if (!mo->wanted) {
		alive = ledger_live_total(m);
		if (alive > mo->score) {
			mo->score = alive;
			mo->best = line;
		}
	} else if (line >= mo->wanted && !mo->shown) {
		snprintf(name, sizeof(name), "after line %" PRIu64 ": %s, task %u", line,
			 call->name[0] ? call->name : "an event", call->pid);
		show_now(mo, m, name, true, false);
	}
}

static void recording_over(struct machine *m, void *arg)
{
	struct moments *mo = arg;

	if (mo->wanted == OVER)
		show_now(mo, m, "when everything has ended", true, true);
}

/* False: it could not be replayed at all. */
static bool run_recording(struct moments *mo, FILE *nowhere)
{
	const struct replay_watch watch = {
		.ops = { .after = line_moment, .over = recording_over }, .arg = mo,
	};
	const struct replay_options opt = {
		.who = "karc graph", .path = mo->opt->trace, .machine = mo->opt->machine,
		.out = nowhere, .holders = true, .watch = &watch,
	};

	mo->seen = 0;
	return replay_run(&opt) != 2;
}

static int recording_at_moment_of(struct moments *mo, FILE *nowhere)
{
	const char *at = mo->opt->moment;

	snprintf(mo->title, sizeof(mo->title), "%s", mo->opt->trace);
	if (at && !strcmp(at, "end"))
		mo->wanted = OVER;
	else if (at && !number_parse("karc graph: --at", at, 1, OVER - 1, &mo->wanted))
		return 2;
	if (!mo->wanted) {
		if (!run_recording(mo, nowhere))
			return 2;
		mo->wanted = mo->best ? mo->best : OVER;
	}
	if (!run_recording(mo, nowhere) && !mo->shown)
		return 2;
	if (mo->shown)
		return mo->status;
	fprintf(stderr, "karc graph: --at: %s ends at line %" PRIu64 ", before line %" PRIu64 "\n",
		mo->opt->trace, mo->seen, mo->wanted);
	return 2;
}

static int recording_at_moment(struct moments *mo)
{
	FILE *nowhere = fopen("/dev/null", "w");	/* the replay's report is not asked for */
	int status;

	if (!nowhere) {
		perror("karc graph: /dev/null");
		return 2;
	}
	status = recording_at_moment_of(mo, nowhere);
	fclose(nowhere);
	return status;
}

/* ---- both -------------------------------------------------------------------------------- */

static const struct scenario *find(const struct graph_options *opt)
{
	const struct scenario *sc = scenario_find(opt->scenario);
	unsigned int i;

	if (!sc) {
		fprintf(stderr, "karc graph: no scenario '%s'; there are:", opt->scenario);
		for (i = 0; scenario_at(i); i++)
			fprintf(stderr, " %s", scenario_at(i)->name);
		fputc('\n', stderr);
		return NULL;
	}
	if (opt->part && (!sc->part_at || !scenario_has_part(sc, opt->part))) {
		fprintf(stderr, "karc graph: --case: %s has no case '%s'\n", sc->name, opt->part);
		return NULL;
	}
	return sc;
}

int graph_at_moment(const struct graph_options *opt,
		    int (*show)(const struct graph_scene *scene, void *arg), void *arg)
{
	struct moments mo = { .opt = opt, .show = show, .arg = arg,
			      .list = opt->list_moments ? stdout : NULL };
	const struct scenario *sc = opt->scenario ? find(opt) : NULL;

	if (opt->scenario && !sc)
		return 2;
	return sc ? scenario_at_moment(&mo, sc) : recording_at_moment(&mo);
}
