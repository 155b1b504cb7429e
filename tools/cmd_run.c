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
		"usage: karc run [--cpus N] [--seed N] NAME\n"
		"       karc run --list\n"
		"\n"
		"Plays a small story on a fresh simulated machine and shows what happens inside.\n"
		"Exit status: 0 as expected and nothing left, 1 something leaked or is wrong (the\n"
		"leak scenario leaks on purpose), 2 usage.\n");
}

static void list(FILE *out)
{
	const struct scenario *sc;
	unsigned int i;

	for (i = 0; (sc = scenario_at(i)); i++)
		fprintf(out, "%-8s  %s\n", sc->name, sc->what);
}

int cmd_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "cpus", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const struct scenario *sc;
	uint64_t cpus = 1, seed = 1;
	int c;

	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			if (!number_parse("karc run: --cpus", optarg, 1, MACHINE_MAX_CPUS, &cpus))
				return 2;
			break;
		case 's':
			if (!number_parse("karc run: --seed", optarg, 0, UINT64_MAX, &seed))
				return 2;
			break;
		case 'l':
			list(stdout);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (argc - optind != 1) {
		usage(stderr);
		return 2;
	}
	sc = scenario_find(argv[optind]);
	if (!sc) {
		fprintf(stderr, "karc run: no scenario '%s'; there are:\n", argv[optind]);
		list(stderr);
		return 2;
	}
	return scenario_run(sc, stdout, isatty(STDOUT_FILENO), (unsigned int)cpus, seed);
}
