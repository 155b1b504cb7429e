/* SPDX-License-Identifier: MIT */
/*
 * scenario.c - the stage: boots a machine, prints what plays say and what the rooms announce
 */
#include "scenario.h"
#include <errno.h>
#include <karc/base/log.h>
#include <stdarg.h>
#include <string.h>

static const struct scenario scenarios[] = {
	{ "exit", "a process ends: every put of the teardown chain, counts before and after",
	  false, "borrows its address space", play_exit, NULL, NULL },
	{ "segv", "wild pointers: what the CPU and the kernel look at, and which signal it is", false,
	  "mappings", play_segv, segv_part_at, NULL },
	{ "kobject", "a tree of kobjects is put away in one cascade", false, "five kobjects",
	  play_kobject, NULL, NULL },
	{ "cow", "two processes share a page until one of them writes", false, "It forks",
	  play_cow, NULL, NULL },
	{ "leak", "somebody forgets one mmput: how the report names it", true, "Power off",
	  play_leak, NULL, NULL },
	{ "cycle", "three objects hold each other and nobody holds them", true, "Power off",
	  play_cycle, NULL, NULL },
	{ "crowd", "sixty processes share files, memory and ancestors: a thousand objects", false,
	  "sixty", play_crowd, NULL, NULL },
	{ "alloc", "what gives memory, who may call it where, and what sort of memory it is", false,
	  "contiguous", play_alloc, NULL, alloc_machine },
	{ "kfree", "one object goes home, every step of the way, and what is no object", false,
	  "flush", play_kfree, NULL, kfree_machine },
};

#define SCENARIO_MEM_BYTES	(64ULL << 20)

#define NR_SCENARIOS	(sizeof(scenarios) / sizeof(scenarios[0]))

const struct scenario *scenario_at(unsigned int i)
{
	return i < NR_SCENARIOS ? &scenarios[i] : NULL;
}

const struct scenario *scenario_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < NR_SCENARIOS; i++)
		if (!strcmp(scenarios[i].name, name))
			return &scenarios[i];
	return NULL;
}

bool scenario_has_part(const struct scenario *sc, const char *name)
{
	const char *part, *what;
	unsigned int i;

	for (i = 0; sc->part_at && (part = sc->part_at(i, &what)); i++)
		if (!strcmp(part, name))
			return true;
	return false;
}

const char *stage_colour(const struct stage *s, const char *code)
{
	return s->opt->colour ? code : "";
}

static void stage_moment(struct stage *s, enum stage_moment moment, const char *name)
{
	const struct stage_watch *watch = s->opt->watch;

	if (watch)
		watch->ops.moment(s, moment, name, watch->arg);
}

void stage_mark(struct stage *s, const char *name)
{
	stage_moment(s, STAGE_HEADED, name);
}

void stage_look(struct stage *s)
{
	if (s->heading[0])
		stage_moment(s, STAGE_HEADED, s->heading);
	s->heading[0] = '\0';
}

void stage_head(struct stage *s, const char *fmt, ...)
{
	va_list args;

	stage_look(s);
	va_start(args, fmt);
	vsnprintf(s->heading, sizeof(s->heading), fmt, args);
	va_end(args);
	flockfile(s->out);	/* steps of other CPUs come between lines, not inside */
	fprintf(s->out, "\n%s%s%s\n", stage_colour(s, "\033[1m"), s->heading,
		stage_colour(s, "\033[0m"));
	funlockfile(s->out);
}

void stage_say(struct stage *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	flockfile(s->out);
	fputs("  ", s->out);
	vfprintf(s->out, fmt, args);
	fputc('\n', s->out);
	funlockfile(s->out);
	va_end(args);
}

void stage_expect(struct stage *s, bool ok, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	flockfile(s->out);
	fprintf(s->out, "  %s%s%s ", stage_colour(s, ok ? "\033[32m" : "\033[31m"),
		ok ? "ok  " : "NOT ", stage_colour(s, "\033[0m"));
	vfprintf(s->out, fmt, args);
	fputc('\n', s->out);
	funlockfile(s->out);
	va_end(args);
	if (!ok)
		s->nr_wrong++;
}

void stage_listen(struct stage *s, bool on)
{
	__atomic_store_n(&s->mute, !on, __ATOMIC_RELAXED);
}

void stage_step(struct stage *s, const char *fn, const char *text)
{
	int width = strlen(fn) > 20 ? 26 : 20;

	fprintf(s->out, "    %s%-*s%s %s\n", stage_colour(s, "\033[36m"), width, fn,
		stage_colour(s, "\033[0m"), text);
}

static void announced(void *arg, const char *fn, const char *text)
{
	struct stage *s = arg;

	stage_moment(s, STAGE_STEP, fn);
	if (!__atomic_load_n(&s->mute, __ATOMIC_RELAXED))
		stage_step(s, fn, text);
}

void stage_log_skip(struct stage *s)
{
	struct log_record record;

	while (karc_log_read(machine_log(s->m), &s->log_seq, &record))
		;
}

bool stage_log(struct stage *s, const char *text)
{
	struct log_record record;
	bool found = false;

	while (karc_log_read(machine_log(s->m), &s->log_seq, &record)) {
		if (!found && strstr(record.text, text)) {
			stage_say(s, "log: %s", record.text);
			found = true;
		}
	}
	return found;
}

static void note_left(void *arg, const struct machine_left *left)
{
	struct stage *s = arg;
	struct stage_left *row;

	if (s->nr_left == sizeof(s->left) / sizeof(s->left[0]))
		return;
	row = &s->left[s->nr_left++];
	row->object = !strcmp(left->room, "refcount");
	snprintf(row->kind, sizeof(row->kind), "%s", left->kind);
	row->site = left->site;
	row->count = left->count;
	row->bytes = left->bytes;
}

/* Rows of the ledger, or all the others. */
static void print_left(const struct stage *s, bool objects, const char *title)
{
	unsigned int i, shown = 0;

	for (i = 0; i < s->nr_left; i++) {
		const struct stage_left *left = &s->left[i];

		if (left->object != objects)
			continue;
		if (!shown++)
			fprintf(s->out, "  %s%s%s\n", stage_colour(s, "\033[31m"), title,
				stage_colour(s, "\033[0m"));
		fprintf(s->out, "    %4lu %-18s %6llu bytes", left->count, left->kind,
			(unsigned long long)left->bytes);
		if (left->site)
			fprintf(s->out, "  from %s:%u %s", left->site->file, left->site->line,
				left->site->func);
		fputc('\n', s->out);
	}
}

static void tell_left(struct stage *s, unsigned long left)
{
	if (s->opt->json) {
		fprintf(s->out, "\n ],\n \"left\": %lu, \"wrong\": %u}\n", left, s->nr_wrong);
		return;
	}
	print_left(s, true, "LEAK: objects that nobody let go of, and who made them");
	print_left(s, false, "and the memory that is held by them");
	if (!left)
		stage_say(s, "nothing: every object gone, every frame back in the buddy");
}

static void tell_title(const struct stage *s, const struct scenario *sc)
{
	if (s->opt->json)
		fprintf(s->out, "{\"scenario\": \"%s\", \"cpus\": %u, \"mode\": \"%s\", "
			"\"seed\": %llu,\n \"cases\": [", sc->name, s->opt->machine.cpus,
			s->opt->machine.mode == MACHINE_PARALLEL ? "parallel" : "deterministic",
			(unsigned long long)s->opt->machine.seed);
	else if (!s->opt->part)
		fprintf(s->out, "%s: %s\n", sc->name, sc->what);
}

static void play(struct stage *s, const struct scenario *sc)
{
	tell_title(s, sc);
	trace_listen(s->m, &s->listener, announced, s);
	machine_on_left(s->m, note_left, s);
	machine_enter(s->m);
	stage_moment(s, STAGE_BOOTED, "");
	sc->play(s);
	if (!s->opt->json)
		stage_head(s, "Power off: what is still alive?");
	machine_quiesce(s->m);
	stage_moment(s, STAGE_OVER, "Power off: what is still alive?");
	if (s->opt->report)
		leak_report_watch(s->opt->report, s->m);
	trace_unlisten(s->m, &s->listener);
	machine_leave();
}

int scenario_run(const struct scenario *sc, const struct scenario_options *opt)
{
	struct machine_config config = {
		.track = true, .holders = opt->holders, .quiet = true, .check_tlb = true,
	};
	bool own = sc->machine && !opt->machine.mem_bytes && !opt->machine.nodes &&
		   !opt->machine.highmem_bytes && !opt->machine.movable_bytes;
	struct stage s = { .opt = opt, .out = opt->out ? opt->out : fopen("/dev/null", "w") };
	unsigned long left = 0;

	if (!machine_options_config(opt->who, &opt->machine, SCENARIO_MEM_BYTES, &config)) {
		if (!opt->out && s.out)
			fclose(s.out);
		return 2;
	}
	if (own)
		sc->machine(&config);
	if (!s.out) {
		fprintf(stderr, "%s: /dev/null: %s\n", opt->who, strerror(errno));
		return 2;
	}
	s.m = machine_boot(&config);
	if (IS_ERR(s.m)) {
		fprintf(stderr, "%s: no machine: %s\n", opt->who, strerror((int)-PTR_ERR(s.m)));
	} else {
		play(&s, sc);
		left = machine_shutdown(s.m);
		tell_left(&s, left);
	}
	if (!opt->out)
		fclose(s.out);
	if (IS_ERR(s.m))
		return 2;
	return left || s.nr_wrong ? 1 : 0;
}
