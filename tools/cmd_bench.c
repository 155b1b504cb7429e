/* SPDX-License-Identifier: MIT */
/*
 * cmd_bench.c - karc bench: our hot paths next to what others offer
 */
#include "../bench/bench.h"
#include "cmd.h"
#include "number.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void usage(FILE *out)
{
	fprintf(out,
		"usage: karc bench [OPTION...] [FILTER]\n"
		"       karc bench --list\n"
		"\n"
		"Measures hot paths next to what one would take instead, all in one process and\n"
		"interleaved, and prints a line for each goal: id, path, ours, best peer, ratio with\n"
		"least and greatest, goal, and meets, misses, waived (it misses for a reason that was\n"
		"measured) or skipped (no such peer here). FILTER is an id or its beginning (R1, R),\n"
		"or part of a line of --list.\n"
		"\n"
		"  --rounds N     of which the median counts, 1 to %u (7)\n"
		"  --quick        small and few, to see that it works; figures mean nothing\n"
		"  --goal X       judge every ratio by X instead of the goals, without waivers\n"
		"  --json[=FILE]  JSON to FILE, or instead of the table\n"
		"  --peers DIR    where the peers are (bench/ beside this program)\n"
		"  --list         the rows\n"
		"  --help         this text\n"
		"\n"
		"`ninja bench` builds the peers that can be built here and runs this.\n"
		"Exit status: 0 all rows meet their goals, are waived or skipped, 1 one misses,\n"
		"2 wrong usage, or it cannot be measured here.\n", BENCH_MAX_ROUNDS);
}

static int try_help(void)
{
	fprintf(stderr, "karc bench --help says what there is\n");
	return 2;
}

static const struct option options[] = {
	{ "count", required_argument, NULL, 'C' },	/* what callgrind is given, see count.c */
	{ "goal", required_argument, NULL, 'g' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", optional_argument, NULL, 'j' },
	{ "list", no_argument, NULL, 'l' },
	{ "peer", required_argument, NULL, 'o' },	/* with --count */
	{ "peers", required_argument, NULL, 'p' },
	{ "quick", no_argument, NULL, 'q' },
	{ "rounds", required_argument, NULL, 'r' },
	{ NULL, 0, NULL, 0 },
};

struct command {
	struct bench_options opt;
	const char *json;		/* file; "" for standard output */
	const char *count, *peer;
	bool list, help;
};

static bool take_goal(const char *text, double *goal)
{
	char *end;

	*goal = strtod(text, &end);
	if (end != text && !*end && *goal > 0)
		return true;
	fprintf(stderr, "karc bench: --goal: '%s' is no ratio above 0\n", text);
	return false;
}

/* One option into @cmd; false after a line that says what is wrong. */
static bool take_option(int c, struct command *cmd)
{
	uint64_t n;

	switch (c) {
	case 'r':
		if (!number_parse("karc bench: --rounds", optarg, 1, BENCH_MAX_ROUNDS, &n))
			return false;
		cmd->opt.rounds = (unsigned int)n;
		return true;
	case 'g':
		return take_goal(optarg, &cmd->opt.goal);
	case 'j':
		cmd->json = optarg ? optarg : "";
		return true;
	case 'p':
		cmd->opt.peers = optarg;
		return true;
	case 'C':
		cmd->count = optarg;
		return true;
	case 'o':
		cmd->peer = optarg;
		return true;
	case 'q':
		cmd->opt.quick = true;
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

static int run(struct command *cmd)
{
	int status;

	cmd->opt.out = stdout;
	if (cmd->json && !cmd->json[0]) {
		cmd->opt.json = stdout;
		cmd->opt.out = NULL;
	} else if (cmd->json) {
		cmd->opt.json = fopen(cmd->json, "w");
		if (!cmd->opt.json) {
			fprintf(stderr, "karc bench: %s: %s\n", cmd->json, strerror(errno));
			return 2;
		}
	}
	cmd->opt.colour = isatty(STDOUT_FILENO);
	cmd->opt.progress = isatty(STDERR_FILENO) ? stderr : NULL;
	status = bench_run(&cmd->opt);
	if (cmd->opt.json && cmd->opt.json != stdout && fclose(cmd->opt.json)) {
		fprintf(stderr, "karc bench: %s: write error\n", cmd->json);
		return 2;
	}
	return status;
}

/* This program into @self, and the peers' directory beside it into @dir. */
static void find_self(char *self, char *dir, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", self, size - 1);
	char *slash;

	self[len > 0 ? len : 0] = '\0';
	slash = strrchr(self, '/');
	snprintf(dir, size, "%.*s/bench", slash ? (int)(slash - self) : 1, slash ? self : ".");
}

/*
 * Peers are opened when the program runs already, and then glibc has little room left for their
 * variables of each thread, for jemalloc's too little. How much it keeps is settled at its start.
 */
static void start_with_room(char *self, int argc, char **argv)
{
	static const char name[] = "GLIBC_TUNABLES", room[] = "glibc.rtld.optional_static_tls=16384";
	const char *given = getenv(name);
	char both[4096], verb[] = "bench";
	char **args;

	if (given && strstr(given, "optional_static_tls"))
		return;
	args = calloc((size_t)argc + 2, sizeof(*args));
	snprintf(both, sizeof(both), "%s%s%s", given ? given : "", given ? ":" : "", room);
	if (args && !setenv(name, both, 1)) {
		args[0] = self;
		args[1] = verb;
		memcpy(args + 2, argv + 1, (size_t)(argc - 1) * sizeof(*args));
		execv(self, args);	/* else: the peer is skipped, with the reason */
	}
	free(args);
}

int cmd_bench(int argc, char **argv)
{
	struct command cmd = { .opt = { .rounds = 7 } };
	char self[2048], dir[2048];
	int c;

	find_self(self, dir, sizeof(self));
	start_with_room(self, argc, argv);
	cmd.opt.self = self;
	cmd.opt.peers = dir;
	optind = 1;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		if (!take_option(c, &cmd))
			return try_help();
	if (cmd.help || cmd.list) {
		(cmd.help ? usage : bench_list)(stdout);
		return 0;
	}
	if (argc - optind > 1) {
		fprintf(stderr, "karc bench: '%s' is one argument too many\n", argv[argc - 1]);
		return try_help();
	}
	if (cmd.count)
		return bench_count_child(cmd.count, cmd.peer ? cmd.peer : "ours", cmd.opt.peers);
	cmd.opt.filter = argv[optind];
	return run(&cmd);
}
