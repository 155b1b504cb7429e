/* SPDX-License-Identifier: MIT */
/*
 * cmd_stat.c - karc stat: the texts of /proc at a moment of a story, and the picture of memory
 */
#include "cmd.h"
#include "graph_text.h"
#include "replay.h"
#include "stat.h"
#include <errno.h>
#include <karc/hw/context.h>
#include <karc/mm/kva/vmallocinfo.h>
#include <karc/mm/phys/show.h>
#include <karc/mm/reclaim/meminfo.h>
#include <karc/mm/slab/slab.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct stat_kind kinds[] = {
	{ "buddyinfo", buddyinfo_show, stat_json_buddyinfo, "free blocks by zone and order" },
	{ "zoneinfo", zoneinfo_show, stat_json_zoneinfo,
	  "zones: watermarks, reserves, counters, lists of the CPUs" },
	{ "pagetypeinfo", pagetypeinfo_show, stat_json_pagetypeinfo,
	  "free blocks by migrate type, and how many blocks have which" },
	{ "slabinfo", slabinfo_show, stat_json_slabinfo, "caches: objects, slabs, hits and misses" },
	{ "vmallocinfo", vmallocinfo_show, stat_json_vmallocinfo,
	  "areas of the vmalloc window and who asked for them" },
	{ "meminfo", meminfo_show, stat_json_meminfo, "what the memory is used for" },
};

#define NR_KINDS	(sizeof(kinds) / sizeof(kinds[0]))

static void list_kinds(FILE *out)
{
	size_t i;

	for (i = 0; i < NR_KINDS; i++)
		fprintf(out, "  %-14s %s\n", kinds[i].name, kinds[i].what);
}

static void usage(FILE *out)
{
	fprintf(out,
		"usage: karc stat NAME... [--scenario NAME | --trace FILE] [--at MOMENT] [OPTION...]\n"
		"       karc stat --plot FILE.svg [--scenario NAME | --trace FILE] [OPTION...]\n"
		"       karc stat --scenario NAME --moments\n"
		"\n"
		"Writes what Linux would show in /proc, in its own format, of a simulated machine at one\n"
		"moment: of a scenario (see karc run; exit, unless you say which) or of a recorded\n"
		"program's life (see karc record). The names:\n"
		"\n");
	list_kinds(out);
	fprintf(out,
		"\n"
		"  --at MOMENT    of a scenario: a number or a part of a heading, as --moments lists\n"
		"                 them, or a step's function (mmput, mmput:2 is the second one);\n"
		"                 of a recording: a line's number, or end\n"
		"                 (the one that says most; the line after which most is alive)\n"
		"  --case CASE    of a scenario that has cases\n"
		"  --touch HOW    of a recording: access the memory that calls give; none, some or all\n"
		"                 (none)\n"
		"  --json         one JSON object with the same numbers\n"
		"  --plot FILE    draw physical memory by use over the whole run, a strip for each zone;\n"
		"                 - is standard output\n"
		"  --cpus N       simulated CPUs, 1 to 64 (1)\n"
		"  --seed N       of the scheduler (1)\n"
		MACHINE_OPTIONS_MEMORY_HELP
		"  --append TEXT  boot options, as on Linux's command line: \"init_on_free=1\"\n"
		"  --moments      list the moments of the scenario\n"
		"  --help         this text\n"
		"\n"
		"Exit status: 0 written, 2 wrong usage, bad input, or it cannot be done here.\n");
}

static int try_help(void)
{
	fprintf(stderr, "karc stat --help says what there is\n");
	return 2;
}

/* ---- options ----------------------------------------------------------------------------- */

enum {
	OPT_AT = 256, OPT_CASE, OPT_HELP, OPT_JSON, OPT_MOMENTS, OPT_PLOT, OPT_SCENARIO, OPT_TOUCH,
	OPT_TRACE,
};

static const struct option options[] = {
	MACHINE_OPTIONS_FIXED,
	{ "at", required_argument, NULL, OPT_AT },
	{ "case", required_argument, NULL, OPT_CASE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "moments", no_argument, NULL, OPT_MOMENTS },
	{ "plot", required_argument, NULL, OPT_PLOT },
	{ "scenario", required_argument, NULL, OPT_SCENARIO },
	{ "touch", required_argument, NULL, OPT_TOUCH },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ NULL, 0, NULL, 0 },
};

/**
 * struct command - what was asked for, and the texts when they have been taken
 * @wanted: places in kinds[]
 */
struct command {
	struct moment_options where;
	const char *plot;
	bool json, moments, help;
	unsigned int wanted[NR_KINDS];
	unsigned int nr_wanted;
	char *text[NR_KINDS];		/* of wanted[i] */
	char title[200], moment[300];
};

static bool take_touch(struct moment_options *where)
{
	enum replay_touch touch = TOUCH_NONE;

	if (!replay_touch_parse("karc stat", optarg, &touch))
		return false;
	where->touch = touch;
	return true;
}

/* One option into @cmd; false after a line that says what is wrong. */
static bool take_option(int c, struct command *cmd)
{
	int taken = machine_option("karc stat", c, &cmd->where.machine);

	if (taken)
		return taken > 0;
	switch (c) {
	case OPT_AT:
		cmd->where.at = optarg;
		return true;
	case OPT_CASE:
		cmd->where.part = optarg;
		return true;
	case OPT_HELP:
	case 'h':
		return cmd->help = true;
	case OPT_JSON:
		return cmd->json = true;
	case OPT_MOMENTS:
		return cmd->moments = true;
	case OPT_PLOT:
		cmd->plot = optarg;
		return true;
	case OPT_SCENARIO:
		cmd->where.scenario = optarg;
		return true;
	case OPT_TOUCH:
		return take_touch(&cmd->where);
	case OPT_TRACE:
		cmd->where.trace = optarg;
		return true;
	default:
		return false;		/* getopt_long() has said which */
	}
}

static bool take_name(struct command *cmd, const char *name)
{
	unsigned int i, k;

	for (k = 0; k < NR_KINDS; k++)
		if (!strcmp(kinds[k].name, name))
			break;
	if (k == NR_KINDS) {
		fprintf(stderr, "karc stat: no '%s'; there are:\n", name);
		list_kinds(stderr);
		return false;
	}
	for (i = 0; i < cmd->nr_wanted; i++) {
		if (cmd->wanted[i] == k) {
			fprintf(stderr, "karc stat: %s: once is enough\n", name);
			return false;
		}
	}
	cmd->wanted[cmd->nr_wanted++] = k;
	return true;
}

/* Do the options go together? False after a line that says which do not. */
static bool check(struct command *cmd)
{
	const char *wrong = NULL;

	if (cmd->where.scenario && cmd->where.trace)
		wrong = "--scenario and --trace: one of them";
	else if (cmd->where.trace && cmd->moments)
		wrong = "--moments: a recording has none";
	else if (cmd->where.trace && cmd->where.part)
		wrong = "--case: a recording has none";
	else if (!cmd->where.trace && cmd->where.touch)
		wrong = "--touch: only recordings need it";
	else if (cmd->plot && cmd->nr_wanted)
		wrong = "--plot: it draws a run, and takes no name";
	else if (cmd->plot && cmd->where.at)
		wrong = "--plot: it draws all moments, so --at chooses none";
	else if (cmd->plot && cmd->json)
		wrong = "--plot: it writes SVG, not JSON";
	else if (!cmd->plot && !cmd->moments && !cmd->nr_wanted)
		wrong = "which? buddyinfo zoneinfo pagetypeinfo slabinfo vmallocinfo meminfo, "
			"or --plot";
	if (wrong)
		fprintf(stderr, "karc stat: %s\n", wrong);
	if (!cmd->where.scenario && !cmd->where.trace)
		cmd->where.scenario = "exit";
	return !wrong;
}

/* ---- texts ------------------------------------------------------------------------------- */

static char *text_of(const struct stat_kind *kind)
{
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	if (!out)
		return NULL;
	kind->show(out);
	return fclose(out) ? NULL : text;
}

/* At the moment: what the machine says now. */
static int take_texts(const struct moment *moment, void *arg)
{
	struct command *cmd = arg;
	unsigned int i;

	if (!preemptible()) {
		fprintf(stderr, "karc stat: --at: '%s' happens where nothing may sleep, and the "
			"texts need locks that sleep; --moments lists better ones\n", moment->name);
		return 2;
	}
	snprintf(cmd->title, sizeof(cmd->title), "%s", moment->title);
	snprintf(cmd->moment, sizeof(cmd->moment), "%s", moment->name);
	for (i = 0; i < cmd->nr_wanted; i++) {
		cmd->text[i] = text_of(&kinds[cmd->wanted[i]]);
		if (!cmd->text[i]) {
			fprintf(stderr, "karc stat: no memory on the host\n");
			return 2;
		}
	}
	return 0;
}

static void write_json(const struct command *cmd)
{
	unsigned int i;

	fputs("{\"schema\": \"karc-stat-1\",\n \"title\": ", stdout);
	text_json(stdout, cmd->title);
	fputs(",\n \"moment\": ", stdout);
	text_json(stdout, cmd->moment);
	for (i = 0; i < cmd->nr_wanted; i++) {
		printf(",\n \"%s\": ", kinds[cmd->wanted[i]].name);
		kinds[cmd->wanted[i]].json(stdout, cmd->text[i]);
	}
	fputs("\n}\n", stdout);
}

static void write_texts(const struct command *cmd)
{
	unsigned int i;

	for (i = 0; i < cmd->nr_wanted; i++) {
		if (cmd->nr_wanted > 1)
			printf("%s==> %s <==\n", i ? "\n" : "", kinds[cmd->wanted[i]].name);
		fputs(cmd->text[i], stdout);
	}
}

static int run_texts(struct command *cmd)
{
	static const struct moment_ops ops = { .show = take_texts };
	int status = moment_find(&cmd->where, &ops, cmd);
	unsigned int i;

	if (!status && cmd->json)
		write_json(cmd);
	else if (!status)
		write_texts(cmd);
	for (i = 0; i < cmd->nr_wanted; i++)
		free(cmd->text[i]);
	return status;
}

/* ---- picture ----------------------------------------------------------------------------- */

static int write_plot(const struct use_history *history, const char *path)
{
	bool to_stdout = !strcmp(path, "-");
	FILE *out = to_stdout ? stdout : fopen(path, "w");
	bool ok;

	if (!out) {
		fprintf(stderr, "karc stat: --plot: %s: %s\n", path, strerror(errno));
		return 2;
	}
	ok = use_history_plot(history, out);
	if (!ok)
		fprintf(stderr, "karc stat: no memory on the host\n");
	if (to_stdout)
		return ok ? 0 : 2;	/* what does not arrive is told at the end */
	if (ferror(out) | fclose(out)) {
		fprintf(stderr, "karc stat: --plot: %s: write error\n", path);
		ok = false;
	}
	return ok ? 0 : 2;
}

static int run_plot(const struct command *cmd)
{
	struct use_history *history = calloc(1, sizeof(*history));
	int status = 2;

	if (!history)
		fprintf(stderr, "karc stat: no memory on the host\n");
	else
		status = use_history_take(&cmd->where, history);
	if (!status)
		status = write_plot(history, cmd->plot);
	if (history)
		use_history_free(history);
	free(history);
	return status;
}

int cmd_stat(int argc, char **argv)
{
	struct command cmd = { .where = { .who = "karc stat",
					  .machine = MACHINE_OPTIONS_DEFAULT } };
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (!take_option(c, &cmd))
			return try_help();
	if (cmd.help) {
		usage(stdout);
		return 0;
	}
	for (; optind < argc; optind++)
		if (!take_name(&cmd, argv[optind]))
			return try_help();
	if (!check(&cmd))
		return try_help();
	if (cmd.moments)
		return moment_list(&cmd.where, stdout);
	return cmd.plot ? run_plot(&cmd) : run_texts(&cmd);
}
