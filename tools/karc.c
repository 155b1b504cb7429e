/* SPDX-License-Identifier: MIT */
/*
 * karc.c - the program: one verb, one file
 */
#include "cmd.h"
#include <fcntl.h>
#include <karc/karc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct verb {
	const char *name;
	char *full_name;		/* its argv[0], with which getopt_long() begins messages */
	int (*run)(int argc, char **argv);
	const char *what;
} verbs[] = {
	{ "run", "karc run", cmd_run, "play a small story on a simulated machine, step by step" },
	{ "record", "karc record", cmd_record,
	  "write the memory life of a real program to a file" },
	{ "replay", "karc replay", cmd_replay,
	  "live that life again on a simulated machine, compared call by call" },
	{ "graph", "karc graph", cmd_graph, "draw who owns whom at a chosen moment" },
	{ "stat", "karc stat", cmd_stat,
	  "buddyinfo, meminfo and their like at a chosen moment, or memory as a picture" },
	{ "bench", "karc bench", cmd_bench,
	  "measure karc's hot paths next to what others offer" },
};

#define NR_VERBS	(sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *out)
{
	size_t i;

	fprintf(out, "usage: karc VERB [ARGUMENT...]\n"
		"       karc VERB --help\n"
		"       karc --version\n\n");
	for (i = 0; i < NR_VERBS; i++)
		fprintf(out, "  %-8s  %s\n", verbs[i].name, verbs[i].what);
	fprintf(out, "\nExit status: 0 clean, 1 findings (a leak, a difference), 2 wrong usage, bad\n"
		"input, or it cannot be done here. karc record exits as the program it recorded.\n");
}

/* A closed standard stream would be the number of the next file, and get what we print. */
static void hold_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);	/* nothing can be written to it */
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* A report that did not arrive is not a good end. */
static int flush_output(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	fprintf(stderr, "karc: standard output: write error\n");
	return 2;
}

static int run_verb(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("karc %s\n", karc_version());
		return 0;
	}
	for (i = 0; i < NR_VERBS; i++) {
		if (strcmp(argv[1], verbs[i].name))
			continue;
		argv[1] = verbs[i].full_name;
		return verbs[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "karc: no %s '%s'\n\n", argv[1][0] == '-' ? "option" : "verb", argv[1]);
	usage(stderr);
	return 2;
}

int main(int argc, char **argv)
{
	hold_standard_streams();
	return flush_output(run_verb(argc, argv));
}
