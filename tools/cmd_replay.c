/* SPDX-License-Identifier: MIT */
/*
 * cmd_replay.c - karc replay: the command line
 */
#include "cmd.h"
#include "replay.h"
#include <string.h>
#include <unistd.h>

static void usage(FILE *out)
{
	fprintf(out,
		"usage: karc replay FILE [--cpus N] [--mode MODE] [--mem SIZE] [--touch HOW]\n"
		"                   [--seed N] [--append TEXT] [--json] [--verbose]\n"
		"\n"
		"Lives a recorded program's memory life (see karc record) again on a simulated\n"
		"machine, holds each result against what the host kernel returned, and says what\n"
		"every process gave back when it ended and what is left. Task n runs on CPU (n - 1)\n"
		"modulo their number.\n"
		"\n"
		MACHINE_OPTIONS_HELP
		MACHINE_OPTIONS_MEMORY_HELP
		"  --touch HOW    access the memory that calls give: none; some: a quarter, which the\n"
		"                 seed chooses; all (none)\n"
		"  --json         the report as JSON\n"
		"  --verbose      the teardown of every process, however many\n"
		"\n"
		"Exit status: 0 all matched and nothing left, 1 a difference or a leak, 2 bad input\n"
		"or a call that karc cannot replay.\n");
}

static const struct option long_options[] = {
	MACHINE_OPTIONS,
	{ "touch", required_argument, NULL, 't' },
	{ "json", no_argument, NULL, 'j' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* One option into @opt; false after what is wrong was said. */
static bool take_option(int c, struct replay_options *opt)
{
	int taken = machine_option("karc replay", c, &opt->machine);

	if (taken)
		return taken > 0;
	switch (c) {
	case 't':
		return replay_touch_parse("karc replay", optarg, &opt->touch);
	case 'j':
		opt->json = true;
		return true;
	case 'v':
		opt->verbose = true;
		return true;
	default:
		usage(stderr);
		return false;
	}
}

/* 0: go on; otherwise exit with *@status. */
static int parse(int argc, char **argv, struct replay_options *opt, int *status)
{
	int c;

	optind = 1;
	*status = 2;
	while ((c = getopt_long(argc, argv, "hv", long_options, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			*status = 0;
			return 1;
		}
		if (!take_option(c, opt))
			return 1;
	}
	if (argc - optind != 1) {
		usage(stderr);
		return 1;
	}
	opt->path = argv[optind];
	return 0;
}

int cmd_replay(int argc, char **argv)
{
	struct replay_options opt = {
		.who = "karc replay", .machine = MACHINE_OPTIONS_DEFAULT, .out = stdout,
		.colour = isatty(STDOUT_FILENO), .progress = isatty(STDERR_FILENO),
	};
	int status;

	if (parse(argc, argv, &opt, &status))
		return status;
	return replay_run(&opt);
}
