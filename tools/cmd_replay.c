/* SPDX-License-Identifier: MIT */
/*
 * cmd_replay.c - karc replay: the command line
 */
#include "cmd.h"
#include "number.h"
#include "replay.h"
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#define MEM_LEAST	(16ULL << 20)
#define MEM_MOST	(1ULL << 40)

static void usage(FILE *out)
{
	fprintf(out,
		"usage: karc replay FILE [--cpus N] [--mode MODE] [--mem SIZE] [--touch HOW]\n"
		"                   [--seed N] [--json] [--verbose]\n"
		"\n"
		"Lives a recorded program's memory life (see karc record) again on a simulated\n"
		"machine, holds each result against what the host kernel returned, and says what\n"
		"every process gave back when it ended and what is left.\n"
		"\n"
		"  --cpus N       simulated CPUs, 1 to 64 (1); task n runs on CPU (n - 1) modulo N\n"
		"  --mode MODE    deterministic: one host thread, the same run for the same seed (default);\n"
		"                 parallel: a host thread for each CPU\n"
		"  --parallel     the same as --mode parallel\n"
		"  --mem SIZE     RAM, with K, M, G or T (as recorded, 64G at most)\n"
		"  --touch HOW    access the memory that calls give: none, a quarter, all (none)\n"
		"  --seed N       of the scheduler and of --touch some (1)\n"
		"  --json         the report as JSON\n"
		"  --verbose      the teardown of every process, however many\n"
		"\n"
		"Exit status: 0 all matched and nothing left, 1 a difference or a leak, 2 bad input\n"
		"or a call that karc cannot replay.\n");
}

static bool touch_parse(const char *text, enum replay_touch *touch)
{
	static const char *const names[] = { "none", "some", "all" };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		if (!strcmp(text, names[i])) {
			*touch = (enum replay_touch)i;
			return true;
		}
	}
	fprintf(stderr, "karc replay: --touch: '%s' is not none, some or all\n", text);
	return false;
}

static bool mode_parse(const char *text, enum machine_mode *mode)
{
	if (!strcmp(text, "deterministic"))
		*mode = MACHINE_DETERMINISTIC;
	else if (!strcmp(text, "parallel"))
		*mode = MACHINE_PARALLEL;
	else
		fprintf(stderr, "karc replay: --mode: '%s' is neither deterministic nor parallel\n",
			text);
	return !strcmp(text, "deterministic") || !strcmp(text, "parallel");
}

static const struct option long_options[] = {
	{ "cpus", required_argument, NULL, 'c' },
	{ "mode", required_argument, NULL, 'M' },
	{ "parallel", no_argument, NULL, 'p' },
	{ "mem", required_argument, NULL, 'm' },
	{ "touch", required_argument, NULL, 't' },
	{ "seed", required_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* 0: go on; otherwise exit with *@status. */
static int parse(int argc, char **argv, struct replay_options *opt, int *status)
{
	uint64_t cpus = opt->cpus;
	bool ok = true;
	int c;

	optind = 1;
	while (ok && (c = getopt_long(argc, argv, "hv", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			ok = number_parse("karc replay: --cpus", optarg, 1, MACHINE_MAX_CPUS, &cpus);
			break;
		case 'M':
			ok = mode_parse(optarg, &opt->mode);
			break;
		case 'p':
			opt->mode = MACHINE_PARALLEL;
			break;
		case 'm':
			ok = size_parse("karc replay: --mem", optarg, MEM_LEAST, MEM_MOST,
					&opt->mem_bytes);
			break;
		case 't':
			ok = touch_parse(optarg, &opt->touch);
			break;
		case 's':
			ok = number_parse("karc replay: --seed", optarg, 0, UINT64_MAX, &opt->seed);
			break;
		case 'j':
			opt->json = true;
			break;
		case 'v':
			opt->verbose = true;
			break;
		case 'h':
			usage(stdout);
			*status = 0;
			return 1;
		default:
			usage(stderr);
			ok = false;
		}
	}
	*status = 2;
	if (!ok)
		return 1;
	if (argc - optind != 1) {
		usage(stderr);
		return 1;
	}
	opt->cpus = (unsigned int)cpus;
	opt->path = argv[optind];
	return 0;
}

int cmd_replay(int argc, char **argv)
{
	struct replay_options opt = {
		.cpus = 1, .seed = 1, .out = stdout,
		.colour = isatty(STDOUT_FILENO), .progress = isatty(STDERR_FILENO),
	};
	int status;

	if (parse(argc, argv, &opt, &status))
		return status;
	return replay_run(&opt);
}
