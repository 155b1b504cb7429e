/* SPDX-License-Identifier: MIT */
/*
 * moment.c - play up to the moment that is to be looked at
 *
 * What it is
 *	A scenario's moments are its headings: what stands under one has happened, and nothing is
 *	under way. A function that announces steps names a moment as well; then the machine is in
 *	the middle of something. A recording's moments are its lines. To find one, the story is
 *	played twice in deterministic mode: once to find the moment, once to look at it. The second
 *	run is the first one again, for the same seed.
 *
 * Worst case
 *	Two runs. Where nobody says which line of a recording, the one after which most objects were
 *	alive is taken: a sum over all types for each line.
 */
#include "moment.h"
#include "number.h"
#include "replay.h"
#include "scenario.h"
#include <errno.h>
#include <inttypes.h>
#include <karc/refcount/ledger.h>
#include <stdlib.h>
#include <string.h>

#define OVER	UINT64_MAX		/* the moment after the last */

/**
 * struct moments - one run of a story
 * @each:    called at every moment; or NULL, and one is wanted
 * @list:    NULL, or where moments are to be listed
 * @wanted:  the moment to be looked at: counted from 1 over everything that is announced; a line of
 *           the recording; OVER. 0: only look for it.
 * @seen:    moments so far, or the last line
 * @heading: headings so far
 * @best:    where it was found, 0 if nowhere; @score: objects alive then
 */
struct moments {
	const struct moment_options *opt;
	const struct moment_ops *ops;
	void (*each)(const struct moment *moment, void *arg);
	void *arg;
	FILE *list;
	char title[160];
	uint64_t wanted, seen, heading, best;
	uint64_t first;			/* heading: for a case's story that has not the default */
	unsigned long score, skip;
	const char *look;
	int status;
	bool shown;
};

/* The moment for whoever wants it: each of them, or the one. */
static void tell(struct moments *mo, const struct moment *moment)
{
	if (mo->each) {
		mo->each(moment, mo->arg);
		return;
	}
	mo->shown = true;
	mo->status = mo->ops->show(moment, mo->arg);
}

static void booted(struct moments *mo, struct machine *m)
{
	const struct moment moment = { .m = m, .title = mo->title, .name = "", .quiet = true };

	if (mo->each)
		mo->each(&moment, mo->arg);
	else if (mo->ops && mo->ops->booted)
		mo->ops->booted(m, mo->arg);
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

static void scenario_moment(struct stage *s, enum stage_moment kind, const char *name, void *arg)
{
	struct moments *mo = arg;
	struct moment moment = { .m = s->m, .title = mo->title, .name = name,
				 .step = kind == STAGE_STEP, .quiet = kind != STAGE_STEP,
				 .over = kind == STAGE_OVER };

	if (kind == STAGE_BOOTED) {
		booted(mo, s->m);
		return;
	}
	moment.nr = ++mo->seen;
	mo->heading += kind != STAGE_STEP;
	if (!mo->first && kind == STAGE_HEADED)
		mo->first = mo->seen;
	if (mo->list) {
		if (kind != STAGE_STEP)
			fprintf(mo->list, "%3" PRIu64 "  %s\n", mo->heading, name);
	} else if (!mo->wanted && !mo->each) {
		if (!mo->best && is_wanted(mo, kind, name))
			mo->best = mo->seen;
	} else if (mo->each || mo->seen == mo->wanted) {
		tell(mo, &moment);
	}
}

static void run_scenario(struct moments *mo, const struct scenario *sc)
{
	const struct stage_watch watch = { .ops = { .moment = scenario_moment }, .arg = mo };
	const struct scenario_options opt = {
		.who = mo->opt->who, .machine = mo->opt->machine, .part = mo->opt->part,
		.holders = mo->opt->holders, .watch = &watch,
	};

	mo->seen = mo->heading = mo->skip = 0;
	if (scenario_run(sc, &opt) == 2)
		mo->status = 2;
}

static int no_moment(struct moments *mo, const struct scenario *sc)
{
	fprintf(stderr, "%s: --at: %s has no moment '%s', and no step of that name; its "
		"moments are:\n", mo->opt->who, sc->name, mo->look);
	mo->list = stderr;
	run_scenario(mo, sc);
	return 2;
}

static int scenario_at_moment(struct moments *mo, const struct scenario *sc)
{
	snprintf(mo->title, sizeof(mo->title), "%s: %s", sc->name, sc->what);
	mo->look = mo->opt->at ? mo->opt->at : sc->look;
	run_scenario(mo, sc);
	if (mo->list || mo->each || mo->status)
		return mo->status;
	if (!mo->best && !mo->opt->at)
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
	struct moment moment = { .m = m, .title = mo->title, .nr = line, .quiet = true };
	unsigned long alive;
	char name[120];

	if (!line) {
		booted(mo, m);
		return;
	}
	mo->seen = line;
	if (!mo->wanted && !mo->each) {
		alive = ledger_live_total(m);
		if (alive > mo->score) {
			mo->score = alive;
			mo->best = line;
		}
	} else if (mo->each || (line >= mo->wanted && !mo->shown)) {
		snprintf(name, sizeof(name), "after line %" PRIu64 ": %s, task %u", line,
			 call->name[0] ? call->name : "an event", call->pid);
		moment.name = name;
		tell(mo, &moment);
	}
}

static void recording_over(struct machine *m, void *arg)
{
	struct moments *mo = arg;
	const struct moment moment = { .m = m, .title = mo->title, .nr = mo->seen + 1,
				       .name = "when everything has ended",
				       .quiet = true, .over = true };

	if (mo->each || mo->wanted == OVER)
		tell(mo, &moment);
}

/* False: it could not be replayed at all. */
static bool run_recording(struct moments *mo, FILE *nowhere)
{
	const struct replay_watch watch = {
		.ops = { .after = line_moment, .over = recording_over }, .arg = mo,
	};
	const struct replay_options opt = {
		.who = mo->opt->who, .path = mo->opt->trace, .machine = mo->opt->machine,
		.out = nowhere, .holders = mo->opt->holders, .watch = &watch,
		.touch = (enum replay_touch)mo->opt->touch,
	};

	mo->seen = 0;
	return replay_run(&opt) != 2;
}

static int recording_at_moment_of(struct moments *mo, FILE *nowhere)
{
	const char *at = mo->opt->at;
	char whose[64];

	snprintf(mo->title, sizeof(mo->title), "%s", mo->opt->trace);
	if (mo->each)
		return run_recording(mo, nowhere) ? 0 : 2;
	snprintf(whose, sizeof(whose), "%s: --at", mo->opt->who);
	if (at && !strcmp(at, "end"))
		mo->wanted = OVER;
	else if (at && !number_parse(whose, at, 1, OVER - 1, &mo->wanted))
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
	fprintf(stderr, "%s: --at: %s ends at line %" PRIu64 ", before line %" PRIu64 "\n",
		mo->opt->who, mo->opt->trace, mo->seen, mo->wanted);
	return 2;
}

static int recording_at_moment(struct moments *mo)
{
	FILE *nowhere = fopen("/dev/null", "w");	/* the replay's report is not asked for */
	int status;

	if (!nowhere) {
		fprintf(stderr, "%s: /dev/null: %s\n", mo->opt->who, strerror(errno));
		return 2;
	}
	status = recording_at_moment_of(mo, nowhere);
	fclose(nowhere);
	return status;
}

/* ---- both -------------------------------------------------------------------------------- */

static const struct scenario *find(const struct moment_options *opt)
{
	const struct scenario *sc = scenario_find(opt->scenario);
	unsigned int i;

	if (!sc) {
		fprintf(stderr, "%s: no scenario '%s'; there are:", opt->who, opt->scenario);
		for (i = 0; scenario_at(i); i++)
			fprintf(stderr, " %s", scenario_at(i)->name);
		fputc('\n', stderr);
		return NULL;
	}
	if (opt->part && (!sc->part_at || !scenario_has_part(sc, opt->part))) {
		fprintf(stderr, "%s: --case: %s has no case '%s'\n", opt->who, sc->name, opt->part);
		return NULL;
	}
	return sc;
}

static int play(struct moments *mo)
{
	const struct scenario *sc = mo->opt->scenario ? find(mo->opt) : NULL;

	if (mo->opt->scenario && !sc)
		return 2;
	return sc ? scenario_at_moment(mo, sc) : recording_at_moment(mo);
}

int moment_find(const struct moment_options *opt, const struct moment_ops *ops, void *arg)
{
	struct moments mo = { .opt = opt, .ops = ops, .arg = arg };

	return play(&mo);
}

int moment_each(const struct moment_options *opt,
		void (*each)(const struct moment *moment, void *arg), void *arg)
{
	struct moments mo = { .opt = opt, .each = each, .arg = arg };

	return play(&mo);
}

int moment_list(const struct moment_options *opt, FILE *out)
{
	struct moments mo = { .opt = opt, .list = out };

	return play(&mo);
}
