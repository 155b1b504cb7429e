/* SPDX-License-Identifier: MIT */
/*
 * scenario.c - the stage: boots a machine, prints what plays say and what the rooms announce
 */
#include "scenario.h"
#include <stdarg.h>
#include <string.h>

static const struct scenario scenarios[] = {
	{ "exit", "a process ends: every put of the teardown chain, counts before and after",
	  false, play_exit },
	{ "segv", "a wild pointer: what the kernel looks at, and its four answers", false,
	  play_segv },
	{ "kobject", "a tree of kobjects is put away in one cascade", false, play_kobject },
	{ "cow", "two processes share a page until one of them writes", false, play_cow },
	{ "leak", "somebody forgets one mmput: how the report names it", true, play_leak },
};

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

static const char *colour(const struct stage *s, const char *code)
{
	return s->colour ? code : "";
}

void stage_head(struct stage *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(s->out, "\n%s", colour(s, "\033[1m"));
	vfprintf(s->out, fmt, args);
	fprintf(s->out, "%s\n", colour(s, "\033[0m"));
	va_end(args);
}

void stage_say(struct stage *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("  ", s->out);
	vfprintf(s->out, fmt, args);
	fputc('\n', s->out);
	va_end(args);
}

void stage_expect(struct stage *s, bool ok, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(s->out, "  %s%s%s ", colour(s, ok ? "\033[32m" : "\033[31m"),
		ok ? "ok  " : "NOT ", colour(s, "\033[0m"));
	vfprintf(s->out, fmt, args);
	fputc('\n', s->out);
	va_end(args);
	if (!ok)
		s->nr_wrong++;
}

void stage_listen(struct stage *s, bool on)
{
	s->mute = !on;
}

static void stage_step(void *arg, const char *fn, const char *text)
{
	struct stage *s = arg;

	if (s->mute)
		return;
	fprintf(s->out, "    %s%-20s%s %s\n", colour(s, "\033[36m"), fn, colour(s, "\033[0m"),
		text);
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
			fprintf(s->out, "  %s%s%s\n", colour(s, "\033[31m"), title,
				colour(s, "\033[0m"));
		fprintf(s->out, "    %4lu %-18s %6llu bytes", left->count, left->kind,
			(unsigned long long)left->bytes);
		if (left->site)
			fprintf(s->out, "  from %s:%u %s", left->site->file, left->site->line,
				left->site->func);
		fputc('\n', s->out);
	}
}

int scenario_run(const struct scenario *sc, FILE *out, bool with_colour, unsigned int cpus,
		 u64 seed)
{
	const struct machine_config config = {
		.nr_cpus = cpus, .seed = seed, .track = true, .quiet = true,
		.mem_bytes = 64ULL << 20,
	};
	struct stage s = { .out = out, .colour = with_colour };
	unsigned long left;

	fprintf(out, "%s: %s\n", sc->name, sc->what);
	s.m = machine_boot(&config);
	if (IS_ERR(s.m)) {
		fprintf(stderr, "karc run: no machine: %s\n", strerror((int)-PTR_ERR(s.m)));
		return 2;
	}
	trace_listen(s.m, &s.listener, stage_step, &s);
	machine_on_left(s.m, note_left, &s);
	machine_enter(s.m);
	sc->play(&s);
	stage_head(&s, "Power off: what is still alive?");
	machine_quiesce(s.m);
	trace_unlisten(s.m, &s.listener);
	machine_leave();
	left = machine_shutdown(s.m);
	print_left(&s, true, "LEAK: objects that nobody let go of, and who made them");
	print_left(&s, false, "and the memory that is held by them");
	if (!left)
		stage_say(&s, "nothing: every object gone, every frame back in the buddy");
	return left || s.nr_wrong ? 1 : 0;
}
