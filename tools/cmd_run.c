/* SPDX-License-Identifier: MIT */
/*
 * cmd_run.c - karc run: play a scenario
 */
#include "cmd.h"
#include "number.h"
#include "scenario.h"
#include <getopt.h>
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
		"  --cpus N     simulated CPUs, 1 to %u (1)\n"
		"  --mode MODE  deterministic: one host thread, the same run for the same seed\n"
		"               (default); parallel: a host thread for each CPU\n"
		"  --parallel   the same as --mode parallel\n"
		"  --seed N     of the scheduler (1)\n"
		"  --case CASE  the same as CASE behind NAME\n"
		"  --json       the report as JSON (segv)\n"
		"  --list       the names, or the cases of NAME\n"
		"  --help       this text\n"
		"\n"
		"Exit status: 0 all as expected and nothing left, 1 something is left (the leak\n"
		"scenario leaks on purpose) or not as expected, 2 wrong usage, or no machine.\n", MACHINE_MAX_CPUS);
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

static bool mode_parse(const char *text, enum machine_mode *mode)
{
	if (!strcmp(text, "deterministic"))
		*mode = MACHINE_DETERMINISTIC;
	else if (!strcmp(text, "parallel"))
		*mode = MACHINE_PARALLEL;
	else
		return false;
	return true;
}

static const struct option options[] = {
	{ "case", required_argument, NULL, 'C' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, 'j' },
	{ "list", no_argument, NULL, 'l' },
	{ "mode", required_argument, NULL, 'm' },
	{ "parallel", no_argument, NULL, 'p' },
	{ "seed", required_argument, NULL, 's' },
	{ NULL, 0, NULL, 0 },
};

struct command {
	struct scenario_options opt;
	bool list, help;
};

/* One option into @cmd; false after a line that says what is wrong. */
static bool take_option(int c, struct command *cmd)
{
	uint64_t n;

	switch (c) {
	case 'C':
		cmd->opt.part = optarg;
		return true;
	case 'c':
		if (!number_parse("karc run: --cpus", optarg, 1, MACHINE_MAX_CPUS, &n))
			return false;
		cmd->opt.cpus = (unsigned int)n;
		return true;
	case 'm':
		if (mode_parse(optarg, &cmd->opt.mode))
			return true;
		fprintf(stderr, "karc run: --mode: '%s' is neither deterministic nor parallel\n",
			optarg);
		return false;
	case 'p':
		cmd->opt.mode = MACHINE_PARALLEL;
		return true;
	case 's':
		if (!number_parse("karc run: --seed", optarg, 0, UINT64_MAX, &n))
			return false;
		cmd->opt.seed = n;
		return true;
	case 'j':
		cmd->opt.json = true;
		return true;
	case 'l':
		cmd->list = true;
		return true;
	case 'h':
		cmd->help = true;
		return true;
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

static int run_scenario(const struct command *cmd, const char *name)
{
	const struct scenario *sc = find(name);

	if (!sc)
		return 2;
	if (cmd->opt.json && !sc->part_at) {
		fprintf(stderr, "karc run: --json: %s is for reading only\n", name);
		return 2;
	}
	if (cmd->opt.part && !sc->part_at) {
		fprintf(stderr, "karc run: %s has no cases, so no '%s'\n", name, cmd->opt.part);
		return 2;
	}
	if (cmd->opt.part && !scenario_has_part(sc, cmd->opt.part)) {
		fprintf(stderr, "karc run: %s has no case '%s'; there are:\n", name, cmd->opt.part);
		list_parts(stderr, sc);
		return 2;
	}
	return scenario_run(sc, &cmd->opt);
}

int cmd_run(int argc, char **argv)
{
	struct command cmd = { .opt = { .out = stdout, .cpus = 1, .seed = 1 } };
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
