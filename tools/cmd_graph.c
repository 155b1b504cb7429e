/* SPDX-License-Identifier: MIT */
/*
 * cmd_graph.c - karc graph: the command line, and Graphviz
 */
#include "cmd.h"
#include "graph.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void usage(FILE *out)
{
	fprintf(out,
		"usage: karc graph [--scenario NAME | --trace FILE] [--at MOMENT] -o FILE [OPTION...]\n"
		"       karc graph --scenario NAME --moments\n"
		"\n"
		"Draws who owns whom on a simulated machine at one moment: of a scenario (see karc run;\n"
		"exit, unless you say which) or of a recorded program's life (see karc record).\n"
		"\n"
		"  -o FILE          where to; its ending says what: .svg (Graphviz draws), .dot, .json;\n"
		"                   - is standard output\n"
		"  --format FORMAT  svg, dot or json, whatever the ending\n"
		"  --at MOMENT      of a scenario: a number or a part of a heading, as --moments lists\n"
		"                   them, or a step's function (mmput, mmput:2 is the second one);\n"
		"                   of a recording: a line's number, or end\n"
		"                   (the one that says most; the line after which most is alive)\n"
		"  --case CASE      of a scenario that has cases\n"
		"  --group HOW      which objects share a box: none, type, site (type and place of\n"
		"                   creation) or auto: none of a few, else by type (auto)\n"
		"  --type TYPE[:TEXT]   only objects of this type (and with this text in their label),\n"
		"                   and their neighbours; may come again\n"
		"  --focus TYPE[:TEXT]  only these and what they own; may come again\n"
		"  --all            what the machine has of itself too\n"
		"  --cpus N         simulated CPUs, 1 to %u (1)\n"
		"  --seed N         of the scheduler (1)\n"
		"  --append TEXT    boot options\n"
		"  --mem SIZE, --nodes N, --highmem SIZE, --movable SIZE   the memory, as karc run has\n"
		"                   them\n"
		"  --moments        list the moments of the scenario\n"
		"  --help           this text\n"
		"\n"
		"Exit status: 0 drawn, 1 drawn and something leaked or is on a cycle, 2 wrong usage, bad\n"
		"input, or it cannot be done here.\n", MACHINE_MAX_CPUS);
}

static int try_help(void)
{
	fprintf(stderr, "karc graph --help says what there is\n");
	return 2;
}

/* ---- options ----------------------------------------------------------------------------- */

enum {
	OPT_ALL = 256, OPT_AT, OPT_CASE, OPT_FOCUS, OPT_FORMAT, OPT_GROUP, OPT_HELP, OPT_MOMENTS,
	OPT_SCENARIO, OPT_TRACE, OPT_TYPE,
};

static const struct option options[] = {
	MACHINE_OPTIONS_FIXED,
	{ "all", no_argument, NULL, OPT_ALL },
	{ "at", required_argument, NULL, OPT_AT },
	{ "case", required_argument, NULL, OPT_CASE },
	{ "focus", required_argument, NULL, OPT_FOCUS },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "moments", no_argument, NULL, OPT_MOMENTS },
	{ "output", required_argument, NULL, 'o' },
	{ "scenario", required_argument, NULL, OPT_SCENARIO },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "type", required_argument, NULL, OPT_TYPE },
	{ NULL, 0, NULL, 0 },
};

struct command {
	struct graph_options opt;
	const char *format;		/* as given, or NULL */
	bool help;
};

/* @text as one of @names, its place; -1 after a line that says what there is. */
static int choose(const char *option, const char *text, const char *const *names)
{
	int i;

	for (i = 0; names[i]; i++)
		if (!strcmp(text, names[i]))
			return i;
	fprintf(stderr, "karc graph: %s: '%s' is none of:", option, text);
	for (i = 0; names[i]; i++)
		fprintf(stderr, " %s", names[i]);
	fputc('\n', stderr);
	return -1;
}

static bool take_group(struct graph_options *opt, const char *text)
{
	static const char *const names[] = { "auto", "none", "type", "site", NULL };
	int how = choose("--group", text, names);

	opt->grouping = (enum graph_grouping)(how < 0 ? 0 : how);
	return how >= 0;
}

static bool take_one(const char *option, const char **list, unsigned int *nr)
{
	if (*nr == GRAPH_LIST_MAX) {
		fprintf(stderr, "karc graph: %s: %u of them at most\n", option, GRAPH_LIST_MAX);
		return false;
	}
	list[(*nr)++] = optarg;
	return true;
}

/* One option into @cmd; false after a line that says what is wrong. */
static bool take_option(int c, struct command *cmd)
{
	struct graph_options *opt = &cmd->opt;
	int taken = machine_option("karc graph", c, &opt->machine);

	if (taken)
		return taken > 0;
	switch (c) {
	case OPT_ALL:
		return opt->all = true;
	case OPT_AT:
		opt->moment = optarg;
		return true;
	case OPT_CASE:
		opt->part = optarg;
		return true;
	case OPT_FOCUS:
		return take_one("--focus", opt->focus, &opt->nr_focus);
	case OPT_TYPE:
		return take_one("--type", opt->types, &opt->nr_types);
	case OPT_FORMAT:
		cmd->format = optarg;
		return true;
	case OPT_GROUP:
		return take_group(opt, optarg);
	case OPT_HELP:
	case 'h':
		return cmd->help = true;
	case OPT_MOMENTS:
		return opt->list_moments = true;
	case OPT_SCENARIO:
		opt->scenario = optarg;
		return true;
	case OPT_TRACE:
		opt->trace = optarg;
		return true;
	case 'o':
		opt->out = optarg;
		return true;
	default:
		return false;		/* getopt_long() has said which */
	}
}

/* The format, as given or from the ending of the file's name. */
static bool choose_format(struct command *cmd)
{
	static const char *const names[] = { "svg", "dot", "json", NULL };
	const char *dot = strrchr(cmd->opt.out, '.');
	int format;

	if (cmd->format) {
		format = choose("--format", cmd->format, names);
	} else if (!strcmp(cmd->opt.out, "-")) {
		format = GRAPH_DOT;
	} else if (!dot || strchr(dot, '/')) {
		fprintf(stderr, "karc graph: -o: '%s' has no ending that says the format; "
			"--format does\n", cmd->opt.out);
		return false;
	} else {
		format = choose("-o: the ending", dot + 1, names);
	}
	cmd->opt.format = (enum graph_format)(format < 0 ? 0 : format);
	return format >= 0;
}

/* Do the options go together? */
static bool check(struct command *cmd)
{
	struct graph_options *opt = &cmd->opt;

	if (opt->scenario && opt->trace) {
		fprintf(stderr, "karc graph: --scenario and --trace: one of them\n");
		return false;
	}
	if (opt->trace && (opt->list_moments || opt->part)) {
		fprintf(stderr, "karc graph: %s: a recording has none\n",
			opt->part ? "--case" : "--moments");
		return false;
	}
	if (!opt->scenario && !opt->trace)
		opt->scenario = "exit";
	if (opt->list_moments)
		return true;
	if (!opt->out) {
		fprintf(stderr, "karc graph: -o says where to\n");
		return false;
	}
	return choose_format(cmd);
}

/* ---- drawing ----------------------------------------------------------------------------- */

struct drawing {
	const struct graph_options *opt;
	char *text;			/* DOT or JSON */
	size_t bytes;
};

/* That nothing is left when a story is over is a picture too; no such object at all is none. */
static bool filters_match(const struct picture *p, const struct graph_options *opt)
{
	unsigned int i;

	if (p->nr_objects || (!opt->nr_types && !opt->nr_focus))
		return true;
	fprintf(stderr, "karc graph: nothing to show at this moment");
	for (i = 0; i < opt->nr_types; i++)
		fprintf(stderr, "%s --type %s", i ? "," : ":", opt->types[i]);
	for (i = 0; i < opt->nr_focus; i++)
		fprintf(stderr, "%s --focus %s", i || opt->nr_types ? "," : ":", opt->focus[i]);
	fputc('\n', stderr);
	return false;
}

static bool write_text(struct drawing *d, const struct picture *p)
{
	FILE *out = open_memstream(&d->text, &d->bytes);

	if (!out)
		return false;
	if (d->opt->format == GRAPH_JSON)
		picture_write_json(p, out);
	else
		picture_write_dot(p, out);
	return !fclose(out);
}

static bool has_findings(const struct graph_scene *scene)
{
	unsigned int i;

	for (i = 0; i < arc_graph_nr_nodes(scene->graph); i++)
		if (graph_wrong(scene, i) & (GRAPH_LEAKED | GRAPH_CYCLE | GRAPH_MISCOUNT))
			return true;
	return false;
}

static int draw(const struct graph_scene *scene, void *arg)
{
	struct drawing *d = arg;
	struct picture p;
	int status = 2;

	if (!picture_make(&p, scene, d->opt)) {
		fprintf(stderr, "karc graph: no memory on the host\n");
		return 2;
	}
	if (!filters_match(&p, d->opt))
		status = 2;
	else if (!write_text(d, &p))
		fprintf(stderr, "karc graph: no memory on the host\n");
	else
		status = has_findings(scene);
	picture_free(&p);
	return status;
}

static bool write_all(int fd, const char *text, size_t bytes)
{
	ssize_t n;

	for (; bytes; text += n, bytes -= (size_t)n) {
		n = write(fd, text, bytes);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return false;
	}
	return true;
}

/* A file without a name that holds the text, read from its beginning; -1: none. */
static int hold_text(const struct drawing *d)
{
	FILE *file = tmpfile();
	int fd;

	if (!file)
		return -1;
	fd = dup(fileno(file));
	fclose(file);
	if (fd >= 0 && write_all(fd, d->text, d->bytes) && !lseek(fd, 0, SEEK_SET))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int spawn_dot(int in, int out, pid_t *pid)
{
	char *const argv[] = { "dot", "-Tsvg", NULL };
	posix_spawn_file_actions_t actions;
	int err = posix_spawn_file_actions_init(&actions);

	if (err)
		return err;
	err = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!err)
		err = posix_spawnp(pid, "dot", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return err;
}

/* dot(1) from @in to @out. */
static bool run_dot(int in, int out)
{
	int status = 0, err;
	pid_t pid;

	err = spawn_dot(in, out, &pid);
	if (err == ENOENT)
		fprintf(stderr, "karc graph: dot is not on PATH (it comes with Graphviz); "
			"-o FILE.dot and -o FILE.json need none\n");
	else if (err)
		fprintf(stderr, "karc graph: dot: %s\n", strerror(err));
	if (err)
		return false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!status)
		return true;
	fprintf(stderr, "karc graph: dot failed, %s %d\n", WIFSIGNALED(status) ? "signal" :
		"exit status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return false;
}

/* Through a temporary file when dot draws, so that nothing is left of what failed. */
static bool put_out(const struct drawing *d, int out)
{
	int in;
	bool ok;

	if (d->opt->format != GRAPH_SVG)
		return write_all(out, d->text, d->bytes);
	in = hold_text(d);
	if (in < 0)
		return false;
	ok = run_dot(in, out);
	close(in);
	return ok;
}

static int deliver(const struct drawing *d)
{
	const char *path = d->opt->out;
	bool to_stdout = !strcmp(path, "-");
	int out = to_stdout ? STDOUT_FILENO :
		  open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	bool ok, regular;
	struct stat st;

	if (out < 0) {
		fprintf(stderr, "karc graph: %s: %s\n", path, strerror(errno));
		return 2;
	}
	regular = !to_stdout && !fstat(out, &st) && S_ISREG(st.st_mode);
	errno = 0;
	ok = put_out(d, out);
	if (!ok && errno)
		fprintf(stderr, "karc graph: %s: %s\n", to_stdout ? "standard output" : path,
			strerror(errno));
	if (!to_stdout)
		ok = !close(out) && ok;
	if (!ok && regular)
		unlink(path);		/* half a picture is none */
	return ok ? 0 : 2;
}

int cmd_graph(int argc, char **argv)
{
	struct command cmd = { .opt = { .machine = MACHINE_OPTIONS_DEFAULT } };
	struct drawing d = { .opt = &cmd.opt };
	int c, status;

	optind = 1;
	while ((c = getopt_long(argc, argv, "ho:", options, NULL)) != -1)
		if (!take_option(c, &cmd))
			return try_help();
	if (cmd.help) {
		usage(stdout);
		return 0;
	}
	if (optind < argc) {
		fprintf(stderr, "karc graph: '%s' is one argument too many\n", argv[optind]);
		return try_help();
	}
	if (!check(&cmd))
		return try_help();
	status = graph_at_moment(&cmd.opt, draw, &d);
	if (d.text && status != 2 && deliver(&d))
		status = 2;
	free(d.text);
	return status;
}
