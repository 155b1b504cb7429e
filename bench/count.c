/* SPDX-License-Identifier: MIT */
/*
 * count.c - how many instructions a path takes, which no noise changes
 *
 * What it is      This program runs itself below valgrind --tool=callgrind, which counts what is
 *                 executed inside bench_counted(): one way of one row, many times. Of n operations
 *                 the loop around them is a part, two or three instructions each, for us as for the
 *                 peers.
 * Worst case      One run of valgrind for each way, some seconds.
 */
#include "bench_internal.h"
#include <karc/karc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* callgrind looks for it by name. */
noinline void bench_counted(const struct bench_ops *ops, void *state, unsigned long n);
noinline void bench_counted(const struct bench_ops *ops, void *state, unsigned long n)
{
	ops->run(state, n);
	__asm__ volatile("");		/* no tail call: it has to end here */
}

int count_ops(const struct bench_unit *unit, const struct bench_row *row,
	      const struct bench_ops *ops)
{
	struct machine *m = bench_machine(unit, row);
	void *state;

	if (!m)
		return 2;
	machine_enter(m);
	state = ops->begin ? ops->begin(row->n, NULL) : NULL;
	bench_counted(ops, state, row->n);
	if (ops->end)
		ops->end(state);
	machine_leave();
	return machine_shutdown(m) ? 2 : 0;
}

/* The child: what execlp() below is given. */
static void exec_valgrind(const struct bench_options *opt, const struct measured *m,
			  const struct variant *v, const char *out_option)
{
	char what[256];

	snprintf(what, sizeof(what), "--count=%s %s", m->row->id, m->row->path);
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		_exit(127);
	execlp("valgrind", "valgrind", "--tool=callgrind", "--toggle-collect=bench_counted",
	       out_option, opt->self, "bench", what, "--peer", v->file ? v->file : "ours",
	       "--peers", opt->peers, (char *)NULL);
	_exit(127);
}

/* The total that callgrind wrote; below 0 when there is none. */
static double read_total(const char *path)
{
	double total = -1;
	char text[256];
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	while (fgets(text, sizeof(text), f))
		if (sscanf(text, "summary: %lf", &total) == 1 ||
		    sscanf(text, "totals: %lf", &total) == 1)
			break;
	fclose(f);
	return total;
}

/* NULL, or why there is no count. */
static const char *count_variant(const struct bench_options *opt, const struct measured *m,
				 struct variant *v)
{
	char path[] = P_tmpdir "/karc-bench-XXXXXX", option[64 + sizeof(path)];
	int fd = mkstemp(path), status;
	double total;
	pid_t pid;

	if (fd < 0)
		return "no temporary file";
	close(fd);
	snprintf(option, sizeof(option), "--callgrind-out-file=%s", path);
	fflush(NULL);
	pid = fork();
	if (!pid)
		exec_valgrind(opt, m, v, option);
	status = pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
	total = read_total(path);
	unlink(path);
	if (status == -1)
		return "no process";
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return "no valgrind on PATH";
	if (status || total < 0)
		return "valgrind could not run this program";
	v->value[0] = v->median = total / (double)m->row->n;
	return NULL;
}

/* Peers that cannot be counted are left out; without ours there is nothing. */
int count_row(struct measured *m, const struct bench_options *opt)
{
	const char *why;
	unsigned int i;

	if (opt->quick) {
		m->skipped = "not with --quick";
		return 0;
	}
	for (i = 0; i < m->nr_variants; i++) {
		if (opt->progress)
			fprintf(opt->progress, "\r\033[K%s %s: counting %s", m->row->id,
				m->row->path, m->variant[i].name);
		why = count_variant(opt, m, &m->variant[i]);
		if (why && !i) {
			m->skipped = why;
			return 0;
		}
		if (why)
			m->variant[i--] = m->variant[--m->nr_variants];
	}
	m->nr_rounds = 1;
	return 0;
}
