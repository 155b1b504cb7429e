/* SPDX-License-Identifier: MIT */
/*
 * cmd_run.c - karc run: play a scenario
 */
#include "cmd.h"
#include "scenario.h"
#include <string.h>
#include <unistd.h>

static void usage(FILE *out)
{
	fprintf(out,
		"usage: karc run [OPTION...] NAME [CASE]\n"
		"       karc run --list [NAME]\n"
		"\n"
		"Plays a small story on a fresh simulated machine and shows what happens inside.\n"
		"A NAME with cases (segv) shows them all as a table, or the one CASE step by step.\n"
		"\n"
		MACHINE_OPTIONS_HELP
		MACHINE_OPTIONS_MEMORY_HELP
		"  --case CASE    the same as CASE behind NAME\n"
		"  --leaks        instead of the story: what leaked, by type, by site and by holder, and\n"
		"                 why it is alive\n"
		"  --by TABLE     of the leaks one table only: type, site or holder\n"
		"  --holders      remember who holds each reference, and tell it of what leaked\n"
		"  --json         the report as JSON (segv, --leaks)\n"
		"  --list         the names, or the cases of NAME\n"
		"  --help         this text\n"
		"\n"
		"Exit status: 0 all as expected and nothing left, 1 something is left (the scenarios\n"
		"leak and cycle leak on purpose) or not as expected, 2 wrong usage, or no machine.\n");
}

static void list(FILE *out)
{
	const struct scenario *sc;
	unsigned int i;

	for (i = 0; (sc = scenario_at(i)); i++)
		fprintf(out, "%-8s  %s\n", sc->name, sc->what);
}

static void list_parts(FILE *out, const struct scenario *sc)
{
	const char *name, *what = "";
	unsigned int i;

	for (i = 0; (name = sc->part_at(i, &what)); i++)
		fprintf(out, "%-13s  %s\n", name, what);
}

static int try_help(void)
{
	fprintf(stderr, "karc run --help says what there is\n");
	return 2;
}

static const struct option options[] = {
	MACHINE_OPTIONS,
	{ "by", required_argument, NULL, 'b' },
	{ "case", required_argument, NULL, 'C' },
	{ "help", no_argument, NULL, 'h' },
	{ "holders", no_argument, NULL, 'H' },
	{ "json", no_argument, NULL, 'j' },
	{ "leaks", no_argument, NULL, 'L' },
	{ "list", no_argument, NULL, 'l' },
	{ NULL, 0, NULL, 0 },
};

struct command {
	struct scenario_options opt;
	struct leak_report report;
	bool leaks, list, help;
};

static bool take_table(struct command *cmd)
{
	if (leak_tables_parse(optarg, &cmd->report.tables))
		return true;
	fprintf(stderr, "karc run: --by: '%s' is not type, site or holder\n", optarg);
	return false;
}

/* One option into @cmd; false after a line that says what is wrong. */
static bool take_option(int c, struct command *cmd)
{
	int taken = machine_option("karc run", c, &cmd->opt.machine);

	if (taken)
		return taken > 0;
	switch (c) {
	case 'b':
		return take_table(cmd);
	case 'C':
		cmd->opt.part = optarg;
		return true;
	case 'H':
		return cmd->opt.holders = true;
	case 'L':
		return cmd->leaks = true;
	case 'j':
		return cmd->opt.json = true;
	case 'l':
		return cmd->list = true;
	case 'h':
		return cmd->help = true;
	default:
		return false;		/* getopt_long() has said which */
	}
}

static const struct scenario *find(const char *name)
{
	const struct scenario *sc = scenario_find(name);

	if (sc)
		return sc;
	fprintf(stderr, "karc run: no scenario '%s'; there are:\n", name);
	list(stderr);
	return NULL;
}

static int run_list(const char *name)
{
	const struct scenario *sc = name ? find(name) : NULL;

	if (!name) {
		list(stdout);
		return 0;
	}
	if (!sc)
		return 2;
	if (!sc->part_at) {
		fprintf(stderr, "karc run: --list: %s has no cases\n", name);
		return 2;
	}
	list_parts(stdout, sc);
	return 0;
}

/* Does @sc have what the options ask for? */
static bool fits(const struct command *cmd, const struct scenario *sc)
{
	const char *part = cmd->opt.part;

	if (cmd->report.tables != LEAKS_ALL && (!cmd->leaks || cmd->opt.json)) {
		fprintf(stderr, "karc run: --by: it chooses a table of --leaks%s\n",
			cmd->leaks ? ", and JSON has them all" : "");
		return false;
	}
	if (cmd->opt.json && !sc->part_at && !cmd->leaks) {
		fprintf(stderr, "karc run: --json: %s is for reading only\n", sc->name);
		return false;
	}
	if (part && !sc->part_at) {
		fprintf(stderr, "karc run: %s has no cases, so no '%s'\n", sc->name, part);
		return false;
	}
	if (part && !scenario_has_part(sc, part)) {
		fprintf(stderr, "karc run: %s has no case '%s'; there are:\n", sc->name, part);
		list_parts(stderr, sc);
		return false;
	}
	return true;
}

static int run_scenario(struct command *cmd, const char *name)
{
	const struct scenario *sc = find(name);
	int status;

	if (!sc || !fits(cmd, sc))
		return 2;
	if (cmd->leaks) {
		cmd->report.json = cmd->opt.json;
		cmd->opt.out = NULL;
		cmd->opt.json = false;
		cmd->opt.holders = true;
	}
	if (cmd->opt.holders)
		cmd->opt.report = &cmd->report;
	status = scenario_run(sc, &cmd->opt);
	if (cmd->report.text && (cmd->leaks || (cmd->report.nr && !cmd->opt.json)))
		printf("%s%s", cmd->leaks ? "" : "\n", cmd->report.text);
	leak_report_free(&cmd->report);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct command cmd = { .opt = { .who = "karc run", .out = stdout,
					.machine = MACHINE_OPTIONS_DEFAULT } };
	int c, nr;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (!take_option(c, &cmd))
			return try_help();
	if (cmd.help) {
		usage(stdout);
		return 0;
	}
	cmd.opt.colour = isatty(STDOUT_FILENO);
	nr = argc - optind;
	if (cmd.list && nr <= 1)
		return run_list(nr ? argv[optind] : NULL);
	if (!nr) {
		usage(stderr);
		return 2;
	}
	if (nr > 2 || cmd.list || (nr == 2 && cmd.opt.part)) {
		fprintf(stderr, "karc run: '%s' is one argument too many\n", argv[argc - 1]);
		return try_help();
	}
	if (nr == 2)
		cmd.opt.part = argv[optind + 1];
	return run_scenario(&cmd, argv[optind]);
}
