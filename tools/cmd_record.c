/* SPDX-License-Identifier: MIT */
/*
 * cmd_record.c - `karc record -o FILE -- CMD...`: records the life of a program
 *
 * Runs strace over the command with address randomisation off, reads what it prints through a
 * fifo while the command runs, and writes the recording beside FILE; it takes FILE's name only
 * when it is whole. The command keeps its own standard input, output and error.
 */
#define _GNU_SOURCE
#include "cmd.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_INCOMPLETE	1
#define EXIT_USAGE	2
#define READ_BYTES	65536
#define PROGRESS_SECONDS	2

/* Calls whose arguments must be printed decoded; those of all others are printed as registers. */
#define DECODED "execve,execveat,open,openat,openat2,creat,mmap,clone3,pipe,pipe2,socketpair," \
		"wait4,waitid,prlimit64,setrlimit,getrlimit,chdir,fchdir,truncate,io_setup," \
		"prctl,memfd_create,shmctl,rt_sigaction,read,pread64,readv,preadv,recvmsg,recvmmsg," \
		"unlink,unlinkat,rename,renameat,renameat2"

static const char usage[] =
	"usage: karc record -o FILE [--] COMMAND [ARGUMENT...]\n"
	"\n"
	"Runs COMMAND under strace and writes its life as a recording to FILE: every call that\n"
	"touches memory, tasks or files, with its result. No contents of memory, files, arguments\n"
	"or environment are kept, only sizes, the paths of mapped and executed files, and what\n"
	"COMMAND read of its own /proc/self/maps.\n"
	"`karc replay FILE` replays it.\n"
	"\n"
	"  -o FILE   where the recording goes; written only when it is whole\n"
	"  --help    this text\n"
	"\n"
	"Exit status: that of COMMAND, 128 and the signal's number if one killed it. If there is no\n"
	"recording: 1 COMMAND could not be recorded wholly, 2 wrong usage, no such command, or\n"
	"recording is not possible here; a message says which.\n";

struct session {
	const char *out_path;
	char **command;
	char program[PATH_MAX];	/* the command's file */
	char strace[PATH_MAX];
	char temp_path[PATH_MAX];	/* the recording, until it is whole */
	char dir[64], fifo[80];
	FILE *out, *body;
	struct record_layout layout;
	struct rec_info info;
	struct record_trace *trace;
	pid_t child;		/* strace */
	bool child_done;
	int child_status;
	int in;			/* reading end of the fifo */
	char *text;		/* bytes read and not yet taken */
	size_t text_used, text_max;
	bool on_terminal, has_progress;
	time_t next_progress;
};

static int complain(int status, const char *what, const char *detail)
{
	fprintf(stderr, "karc record: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
	return status;
}

/* ---- finding programs -------------------------------------------------------------------- */

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool find_program(const char *name, char *found, size_t bytes)
{
	const char *at = getenv("PATH");

	if (strchr(name, '/')) {
		snprintf(found, bytes, "%s", name);
		return is_program(found);
	}
	for (at = at ? at : "/usr/bin:/bin"; at; at = strchr(at, ':')) {
		int length;

		at += *at == ':';
		length = (int)strcspn(at, ":");
		if (snprintf(found, bytes, "%.*s%s%s", length, at, length ? "/" : "", name) <
		    (int)bytes && is_program(found))
			return true;
	}
	return false;
}

/* ---- what the host allows ---------------------------------------------------------------- */

static int check_host(struct session *session)
{
	struct record_denial denial;
	char text[512];

	if (!find_program("strace", session->strace, sizeof(session->strace)))
		return complain(EXIT_USAGE, "strace is not installed; ./configure.py --install "
				"installs it, or apt-get install strace", NULL);
	if (!record_strace_is_usable(session->strace, text, sizeof(text)))
		return complain(EXIT_USAGE, text, NULL);
	record_look_around(&denial);
	if (record_explain_denial(&denial, text, sizeof(text)))
		return complain(EXIT_USAGE, text, NULL);
	return 0;
}

/* ---- the layout, measured in a fresh process --------------------------------------------- */

/* `karc record --layout`, run by measure_layout(): prints struct record_layout as bytes. */
static int print_layout(void)
{
	struct record_layout layout;

	if (!record_measure_layout(&layout) ||
	    write(STDOUT_FILENO, &layout, sizeof(layout)) != sizeof(layout))
		return EXIT_INCOMPLETE;
	return 0;
}

static void run_layout(int out)
{
	static char name[] = "karc", verb[] = "record", option[] = "--layout";
	char *argv[] = { name, verb, option, NULL };

	personality((unsigned int)personality(0xffffffff) | ADDR_NO_RANDOMIZE);
	dup2(out, STDOUT_FILENO);
	execv("/proc/self/exe", argv);
	_exit(EXIT_INCOMPLETE);
}

static int measure_layout(struct session *session)
{
	int ends[2];
	ssize_t got;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return complain(EXIT_USAGE, "cannot make a pipe", strerror(errno));
	child = fork();
	if (child == 0)
		run_layout(ends[1]);
	close(ends[1]);
	got = child < 0 ? -1 : read(ends[0], &session->layout, sizeof(session->layout));
	close(ends[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	if (got != sizeof(session->layout))
		return complain(EXIT_USAGE, "the layout of a process cannot be measured", NULL);
	return 0;
}

/* ---- files ------------------------------------------------------------------------------- */

static int open_output(struct session *session)
{
	int fd;
	mode_t mask = umask(0);
	struct stat st;

	umask(mask);
	if (stat(session->out_path, &st) == 0 && !S_ISREG(st.st_mode))
		return complain(EXIT_USAGE, session->out_path, "there is something else already");
	if (snprintf(session->temp_path, sizeof(session->temp_path), "%s.XXXXXX",
		     session->out_path) >= (int)sizeof(session->temp_path)) {
		session->temp_path[0] = '\0';
		return complain(EXIT_USAGE, "the name of FILE is too long", NULL);
	}
	fd = mkostemp(session->temp_path, O_CLOEXEC);
	if (fd < 0) {
		session->temp_path[0] = '\0';
		return complain(EXIT_USAGE, session->out_path, strerror(errno));
	}
	fchmod(fd, 0666 & ~mask);
	session->out = fdopen(fd, "w");
	session->body = tmpfile();
	if (!session->out || !session->body)
		return complain(EXIT_USAGE, "cannot make a temporary file", strerror(errno));
	fcntl(fileno(session->body), F_SETFD, FD_CLOEXEC);
	return 0;
}

/*
 * strace opens the fifo itself, so that the recorded program inherits no descriptor of it. The
 * reading end is opened first and does not wait: strace may fail before it opens its end.
 */
static int open_fifo(struct session *session)
{
	const char *temp = getenv("TMPDIR");

	if (snprintf(session->dir, sizeof(session->dir), "%s/karc-XXXXXX",
		     temp && *temp ? temp : "/tmp") >= (int)sizeof(session->dir))
		strcpy(session->dir, "/tmp/karc-XXXXXX");
	if (!mkdtemp(session->dir)) {
		session->dir[0] = '\0';
		return complain(EXIT_USAGE, "cannot make a temporary directory", strerror(errno));
	}
	snprintf(session->fifo, sizeof(session->fifo), "%s/strace", session->dir);
	if (mkfifo(session->fifo, 0600) != 0)
		return complain(EXIT_USAGE, "cannot make a fifo", strerror(errno));
	session->in = open(session->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (session->in < 0)
		return complain(EXIT_USAGE, "cannot open a fifo", strerror(errno));
	return 0;
}

static void clean_up(struct session *session)
{
	if (session->in >= 0)
		close(session->in);
	if (session->dir[0]) {
		unlink(session->fifo);
		rmdir(session->dir);
	}
	if (session->out)
		fclose(session->out);
	if (session->body)
		fclose(session->body);
	if (session->temp_path[0])
		unlink(session->temp_path);
	if (session->trace)
		record_trace_free(session->trace);
	free(session->text);
}

/* ---- the run ----------------------------------------------------------------------------- */

static void exec_strace(struct session *session, const sigset_t *mask)
{
	static const char *const options[] = {
		"strace", "-f", "-y", "-q", "-v", "-xx", "-X", "raw", "-s", "131072",
		"-e", "raw=!" DECODED, "-o",
	};
	size_t nr_options = sizeof(options) / sizeof(options[0]), nr_words = 0;
	char **argv;

	while (session->command[nr_words])
		nr_words++;
	argv = calloc(nr_options + nr_words + 3, sizeof(*argv));
	if (!argv)
		_exit(EXIT_INCOMPLETE);
	memcpy(argv, options, sizeof(options));
	argv[nr_options++] = session->fifo;
	argv[nr_options++] = (char[]){ "--" };
	memcpy(argv + nr_options, session->command, nr_words * sizeof(*argv));
	sigprocmask(SIG_SETMASK, mask, NULL);
	unsetenv("STRACE_OPTS");
	prctl(PR_SET_PDEATHSIG, SIGTERM);	/* nobody is left to read it then */
	personality((unsigned int)personality(0xffffffff) | ADDR_NO_RANDOMIZE);
	execv(session->strace, argv);
	_exit(EXIT_INCOMPLETE);
}

static void reap_strace(struct session *session, int flags)
{
	if (!session->child_done &&
	    waitpid(session->child, &session->child_status, flags) == session->child)
		session->child_done = true;
}

/* Takes the whole lines out of the text read so far. */
static bool take_lines(struct session *session)
{
	char *at = session->text, *end = at + session->text_used, *newline;
	bool good = true;

	while (good && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		*newline = '\0';
		good = record_trace_line(session->trace, at);
		at = newline + 1;
	}
	session->text_used = (size_t)(end - at);
	memmove(session->text, at, session->text_used);
	return good;
}

/* 1: something was read, 0: the end, -1: nothing yet. */
static int read_some(struct session *session)
{
	ssize_t got;

	if (session->text_max - session->text_used < READ_BYTES) {
		session->text_max = session->text_max * 2 + 2 * READ_BYTES;
		session->text = record_checked(realloc(session->text, session->text_max));
	}
	got = read(session->in, session->text + session->text_used, READ_BYTES);
	if (got > 0)
		session->text_used += (size_t)got;
	return got > 0 ? 1 : got == 0 ? 0 : -1;
}

static void passed_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGHUP);
}

/*
 * A signal that a person or a program sent to karc alone is for the recorded program; one from
 * the terminal has reached it already, as a member of the same group. Until the program is known
 * signals stay pending.
 */
static void pass_signals(struct session *session)
{
	pid_t pid = record_trace_first_pid(session->trace);
	siginfo_t info;
	sigset_t set;

	if (!pid)
		return;
	passed_signals(&set);
	while (sigtimedwait(&set, &info, &(struct timespec){ 0, 0 }) > 0)
		if (info.si_code != SI_KERNEL)
			kill(pid, info.si_signo);
}

/* On a terminal, what a long recording has come to; the command writes there too, so rarely. */
static void show_progress(struct session *session)
{
	struct timespec now;

	if (!session->on_terminal)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec < session->next_progress)
		return;
	session->next_progress = now.tv_sec + PROGRESS_SECONDS;
	session->has_progress = true;
	fprintf(stderr, "\r\033[Kkarc record: %" PRIu64 " calls of %u task%s so far\r",
		record_trace_calls(session->trace), record_trace_tasks(session->trace),
		record_trace_tasks(session->trace) == 1 ? "" : "s");
}

static void start_progress(struct session *session)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	session->on_terminal = isatty(STDERR_FILENO);
	session->next_progress = now.tv_sec + PROGRESS_SECONDS;
}

/* Reads until strace has gone and the fifo is empty. */
static bool follow_strace(struct session *session)
{
	struct pollfd wait = { .fd = session->in, .events = POLLIN };
	bool good = true;
	int got;

	start_progress(session);
	for (;;) {
		poll(&wait, 1, 100);
		show_progress(session);
		pass_signals(session);
		reap_strace(session, WNOHANG);
		got = read_some(session);
		if (got > 0 && good)
			good = take_lines(session);
		else if (got > 0)
			session->text_used = 0;
		else if (session->child_done)
			break;
	}
	if (session->has_progress)
		fputs("\r\033[K", stderr);
	return good;
}

static int report_failure(struct session *session)
{
	return complain(EXIT_INCOMPLETE, "the command could not be recorded",
			record_trace_error(session->trace));
}

static void print_outcome(const struct session *session)
{
	int status = session->child_status;

	fprintf(stderr, "karc record: %s: %" PRIu64 " calls of %u task%s; ", session->out_path,
		record_trace_calls(session->trace), record_trace_tasks(session->trace),
		record_trace_tasks(session->trace) == 1 ? "" : "s");
	if (WIFSIGNALED(status))
		fprintf(stderr, "the command was killed by %s\n",
			rec_signal_name(WTERMSIG(status)) ? rec_signal_name(WTERMSIG(status)) :
			"a signal");
	else
		fprintf(stderr, "the command exited with %d\n", WEXITSTATUS(status));
}

static int finish(struct session *session)
{
	if (!record_trace_tasks(session->trace))
		return complain(EXIT_INCOMPLETE, "strace recorded nothing", NULL);
	if (session->text_used)
		return complain(EXIT_INCOMPLETE, "strace ended in the middle of a line", NULL);
	record_fill_info(&session->info, &session->layout);
	if (!record_trace_finish(session->trace, &session->info, session->out))
		return report_failure(session);
	if (rename(session->temp_path, session->out_path) != 0)
		return complain(EXIT_INCOMPLETE, session->out_path, strerror(errno));
	session->temp_path[0] = '\0';
	print_outcome(session);
	return WIFSIGNALED(session->child_status) ? 128 + WTERMSIG(session->child_status) :
	       WEXITSTATUS(session->child_status);
}

/* All of karc's own are closed on exec, so these are what the command is started with. */
static void take_born_fds(struct session *session)
{
	char **labels = record_checked(calloc(REC_BORN_FDS_MAX, sizeof(*labels)));
	int32_t *fds = record_checked(calloc(REC_BORN_FDS_MAX, sizeof(*fds)));
	unsigned int nr = record_born_fds(fds, labels, REC_BORN_FDS_MAX);

	for (unsigned int i = 0; i < nr; i++) {
		record_trace_born_fd(session->trace, fds[i], labels[i]);
		free(labels[i]);
	}
	free(labels);
	free(fds);
}

static int run(struct session *session)
{
	sigset_t set, old;
	bool good;

	session->trace = record_trace_new(session->body);
	take_born_fds(session);
	passed_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	fflush(NULL);
	session->child = fork();
	if (session->child < 0)
		return complain(EXIT_USAGE, "cannot start a process", strerror(errno));
	if (session->child == 0)
		exec_strace(session, &old);
	good = follow_strace(session);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return good ? finish(session) : report_failure(session);
}

/* ---- the command line -------------------------------------------------------------------- */

/* -1: go on; else the exit status. */
static int parse_args(struct session *session, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(usage, stdout);
			return 0;
		}
		if (strcmp(argv[i], "--layout") == 0)
			return print_layout();
		if (strncmp(argv[i], "-o", 2) != 0)
			return complain(EXIT_USAGE, "unknown option (--help shows the usage)",
					argv[i]);
		session->out_path = argv[i][2] ? argv[i] + 2 : i + 1 < argc ? argv[++i] : NULL;
	}
	session->command = argv + i;
	if (!session->out_path || !session->out_path[0])
		return complain(EXIT_USAGE, "-o FILE is missing (--help shows the usage)", NULL);
	if (strcmp(session->out_path, "-") == 0)
		return complain(EXIT_USAGE, "-o - is not possible: the standard output is the "
				"command's", NULL);
	if (!session->command[0])
		return complain(EXIT_USAGE, "no command to record (--help shows the usage)", NULL);
	if (!find_program(session->command[0], session->program, sizeof(session->program)))
		return complain(EXIT_USAGE, session->command[0], "no such command");
	return -1;
}

int cmd_record(int argc, char **argv)
{
	struct session *session = record_checked(calloc(1, sizeof(*session)));
	int status;

	session->in = -1;
	status = parse_args(session, argc, argv);
	if (status < 0) {
		status = check_host(session);
		if (!status)
			status = measure_layout(session);
		if (!status)
			status = open_output(session);
		if (!status)
			status = open_fifo(session);
		if (!status)
			status = run(session);
	}
	clean_up(session);
	free(session);
	return status;
}
